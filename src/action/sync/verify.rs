//! Compares copies, moving no data: all of it when asked to, a part of it after each sync.

use super::{Task, Work, ask, by_peer, carry, decide};
use crate::action::select::Selection;
use crate::error::{Error, Result};
use crate::state::history::Entry;

/// `sync verify`: what each peer has with what was sent to it last.
pub(super) fn all(work: &Work, selection: &Selection) {
    let tasks = ask::granted(work, decide::tasks(work, selection));
    for task in &tasks {
        // history tells of which image it was
        if let (Some(held), Ok(mut images)) = (&task.held, work.images.lock()) {
            images.insert(task.res.rid.clone(), held.image.clone());
        }
    }
    if work.options.dry_run {
        tasks.iter().for_each(|t| work.logger(t.res).info(format!("{} {} on {}", work.name, t.driver.label(), t.peer)));
        return;
    }
    side_by_side(work, tasks, |task| {
        let log = work.logger(task.res);
        let done = task.driver.verify(&work.service.cx(work.host, &log, task.res, false), &carry::job(work, task));
        match &done {
            Ok(()) => carry::remember(work, task, Entry { result: "ok".into(), ..Entry::default() }),
            Err(e) => carry::remember(work, task, Entry { result: "failed".into(), why: Some(e.to_string()), ..Entry::default() }),
        }
        done
    });
}

/// After a round: the part whose turn it is, of what has arrived.
pub(super) fn scrub(work: &Work, tasks: Vec<Task>) {
    if crate::cmd::system::interrupted() {
        return;
    }
    let arrived = tasks.into_iter().filter(|t| work.arrived(&t.peer).contains(&t.res.rid)).collect();
    side_by_side(work, arrived, |task| {
        let log = work.logger(task.res);
        task.driver.scrub(&work.service.cx(work.host, &log, task.res, false), &carry::job(work, task))
    });
}

fn side_by_side<'a>(work: &Work, tasks: Vec<Task<'a>>, compare: impl Fn(&Task<'a>) -> Result<()> + Sync) {
    std::thread::scope(|scope| {
        for tasks in by_peer(tasks).into_values() {
            let compare = &compare;
            scope.spawn(move || {
                for task in &tasks {
                    match compare(task) {
                        Ok(()) => {}
                        Err(Error::Reported) => work.fail(task.res),
                        Err(e) => work.fail_with(task.res, &e),
                    }
                }
            });
        }
    });
}
