//! Asking things that may never answer: a hung filesystem, a resolver.

use std::sync::Mutex;
use std::sync::mpsc::{self, Sender};
use std::time::{Duration, Instant};

type Job = Box<dyn FnOnce() + Send>;

/// A thread that has nothing to do at the moment. A thousand questions need no thousand threads.
static IDLE: Mutex<Option<Sender<Job>>> = Mutex::new(None);

fn worker() -> Sender<Job> {
    if let Some(idle) = IDLE.lock().ok().and_then(|mut idle| idle.take()) {
        return idle;
    }
    let (give, jobs) = mpsc::channel::<Job>();
    std::thread::spawn(move || jobs.iter().for_each(|job| job()));
    give
}

/// Runs `ask` in another thread and waits at most `limit` for its answer; the thread is left behind if
/// it hangs (a system call on a dead NFS server cannot be taken back).
pub fn within<T: Send + 'static>(limit: Duration, ask: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (tell, told) = mpsc::channel();
    let worker = worker();
    let job = move || {
        let _ = tell.send(ask()); // nobody may be listening any more
    };
    worker.send(Box::new(job)).ok()?;
    let answer = told.recv_timeout(limit).ok()?;
    if let Ok(mut idle) = IDLE.lock() {
        *idle = Some(worker);
    }
    Some(answer)
}

/// Looks again and again until `ready`, for at most `limit`; whether it was.
pub fn wait_until(limit: Duration, mut ready: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + limit;
    loop {
        if ready() {
            return true;
        }
        if Instant::now() >= until {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::within;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn what_hangs_is_left_behind_and_the_next_question_is_answered() {
        let (hold, held) = mpsc::channel::<()>();
        assert_eq!(within(Duration::from_millis(20), move || held.recv().is_ok()), None);
        assert_eq!(within(Duration::from_secs(20), || 7), Some(7));
        assert_eq!(within(Duration::from_secs(20), || 8), Some(8));
        drop(hold);
    }
}
