//! Asking things that may never answer: a hung filesystem, a resolver.

use std::sync::mpsc;
use std::time::Duration;

/// Runs `ask` in a thread of its own and waits at most `limit` for its answer; the thread is left behind if
/// it hangs (a system call on a dead NFS server cannot be taken back).
pub fn within<T: Send + 'static>(limit: Duration, ask: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let _ = tell.send(ask()); // nobody may be listening any more
    });
    told.recv_timeout(limit).ok()
}
