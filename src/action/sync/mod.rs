//! The sync actions: who may send, when, to whom; the peers asked; the transfers, peers side by side.

mod ask;
mod authority;
mod carry;
mod decide;
mod live;

use super::authority::Desk;
use super::select::Selection;
use super::{Id, Info, Options};
use crate::authority::Here;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::log::{Level, Logger};
use crate::service::{Res, Service};
use crate::state::authority::Holder;
use crate::sync::{Class, Mode, SyncDriver};
use chrono::{DateTime, Local};
use std::collections::{BTreeMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One resource to be sent to one peer.
#[derive(Clone)]
struct Task<'a> {
    res: &'a Res,
    driver: &'a dyn SyncDriver,
    peer: String,
    class: Class,
}

/// A sync action at work.
struct Work<'a> {
    service: &'a Service,
    host: &'a Host,
    log: Logger,
    id: Id,
    /// Words of the action, for triggers and history: `syncnodes`.
    name: String,
    options: &'a Options,
    /// Stamps tell this time: the data are at least as new.
    started: DateTime<Local>,
    /// What this node knows of authority; it holds it, if the service is replicated.
    here: Here,
    /// The epoch in which it does.
    epoch: u64,
    /// A holder that a peer knows, and we did not.
    news: Mutex<Option<Holder>>,
    /// Lines said already: each is said once per command.
    said: Mutex<HashSet<String>>,
    failures: AtomicUsize,
    /// What each peer has received.
    sent: Mutex<BTreeMap<String, Vec<String>>>,
    live: live::Live,
}

/// Does one of the actions of class Sync. What is not this node's turn is no failure; what was refused or failed is.
pub fn act(service: &Service, host: &Host, log: &Logger, info: &Info, options: &Options) -> Result<()> {
    let selection = Selection::of(service, options)?;
    if matches!(info.id, Id::PreSync | Id::PostSync) {
        return Ok(()); // for drivers that have something to do there
    }
    if !selection.is_all() && !service.resources.iter().any(|r| r.sync().is_some() && selection.has(&r.rid)) {
        return Err(Error::text(format!("nothing to do: none of the selected resources of {} is a sync", service.name)));
    }
    let mut desk = Desk::load(service, host, log, options.dry_run, false);
    if !authority::may_send(&mut desk, info, options)? {
        return Ok(());
    }
    let here = desk.here;
    let live = live::Live::new(options.live && !options.dry_run);
    let work = Work {
        service,
        host,
        log: live.logger(log),
        id: info.id,
        name: info.name.replace('_', ""),
        options,
        started: host.clock.now(),
        epoch: here.holder().map_or(0, |h| h.epoch),
        here,
        news: Mutex::default(),
        said: Mutex::default(),
        failures: AtomicUsize::new(0),
        sent: Mutex::default(),
        live,
    };
    if matches!(info.id, Id::SyncResync | Id::SyncVerify) {
        work.not_yet(&selection);
    } else {
        work.go(&selection);
    }
    work.live.end();
    if crate::cmd::system::interrupted() {
        return Err(Error::text(format!("{} interrupted by signal", work.name)));
    }
    match work.failures.load(Ordering::SeqCst) {
        0 => Ok(()),
        _ => Err(Error::Reported),
    }
}

impl Work<'_> {
    fn go(&self, selection: &Selection) {
        let tasks = decide::tasks(self, selection);
        if tasks.is_empty() {
            return;
        }
        let tasks = ask::granted(self, tasks);
        if self.options.dry_run {
            for task in &tasks {
                self.logger(task.res).info(format!("{} {} to {}", self.name, task.driver.label(), task.peer));
            }
            return;
        }
        carry::all(self, tasks);
        if matches!(self.id, Id::SyncNodes | Id::SyncDrp | Id::SyncAll) {
            carry::postsync(self);
        }
    }

    /// resync and verify: no driver of this version has them. Of rsync nobody expects them.
    fn not_yet(&self, selection: &Selection) {
        for res in decide::candidates(self, selection).filter(|r| r.rtype != "sync.rsync") {
            self.logger(res).error(format!("{} of {} is not supported by this version", self.name, res.rtype));
            self.fail(res);
        }
    }

    fn mode(&self) -> Mode {
        if self.id == Id::SyncFull { Mode::Full } else { Mode::Update }
    }

    /// The classes the action is about.
    fn classes(&self) -> &'static [Class] {
        match self.id {
            Id::SyncNodes => &[Class::Nodes],
            Id::SyncDrp => &[Class::Drpnodes],
            _ => &[Class::Nodes, Class::Drpnodes],
        }
    }

    fn logger(&self, res: &Res) -> Logger {
        self.log.child(&res.log_name())
    }

    /// Says something about a resource, unless it was said before.
    fn say(&self, res: &Res, level: Level, line: impl Into<String>) {
        let line = line.into();
        if self.said.lock().is_ok_and(|mut said| said.insert(format!("{}: {line}", res.rid))) {
            self.logger(res).log(level, line);
        }
    }

    /// The talk of 2014 that `--cron` silences.
    fn chat(&self, res: &Res, line: impl Into<String>) {
        if !self.options.cron {
            self.say(res, Level::Info, line);
        }
    }

    /// Something about `res` has failed.
    fn fail(&self, res: &Res) {
        if !res.optional {
            self.failures.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// The same, with the reason, unless the log has it.
    fn fail_with(&self, res: &Res, error: &Error) {
        if !matches!(error, Error::Reported) {
            self.say(res, Level::Error, error.to_string());
        }
        self.fail(res);
    }
}

/// The tasks by peer, peers by name.
fn by_peer<'a>(tasks: Vec<Task<'a>>) -> BTreeMap<String, Vec<Task<'a>>> {
    let mut peers: BTreeMap<String, Vec<Task>> = BTreeMap::new();
    for task in tasks {
        peers.entry(task.peer.clone()).or_default().push(task);
    }
    peers
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
