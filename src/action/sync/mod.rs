//! The sync actions: who may send, when, to whom; the peers asked; the transfers, peers side by side.

mod ask;
mod authority;
mod carry;
mod decide;
mod live;
mod own_files;
mod round;
mod routes;
mod verify;

use super::authority::Desk;
use super::select::Selection;
use super::{Id, Info, Options};
use crate::authority::Here;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::log::{Level, Logger};
use crate::service::{Res, Service};
use crate::state::authority::Holder;
use crate::state::gate::Held;
use crate::state::replica::Image;
use crate::state::stamp;
use crate::sync::{Class, Mode, Side, SyncDriver};
use chrono::{DateTime, Local};
use routes::Routes;
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One resource to be sent to one peer.
#[derive(Clone)]
struct Task<'a> {
    res: &'a Res,
    driver: &'a dyn SyncDriver,
    peer: String,
    class: Class,
    /// What the peer said it has.
    held: Option<Held>,
}

/// A resource that a peer has received, and the files that tell it so.
type Sending = (String, Vec<PathBuf>);

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
    /// Authority goes along with the data.
    handover: bool,
    /// Ways that differ from the service file's.
    routes: &'a Routes,
    /// Lines said already: each is said once per command.
    said: Mutex<HashSet<String>>,
    failures: AtomicUsize,
    /// What was frozen of each resource.
    images: Mutex<BTreeMap<String, Image>>,
    /// By peer.
    sent: Mutex<BTreeMap<String, Vec<Sending>>>,
    live: live::Live,
}

/// What is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// The service's own files.
    Own,
    /// All of its data.
    Data,
    /// Those that are not on whole devices: they are sent from what is mounted.
    Files,
    /// Those that are: sent when nothing is mounted any more, which writes to them as well.
    Devices,
}

/// The device or dataset that holds the data of a replication on a node that is `side`, if it is sent as a whole: whether
/// it is mounted or not, and to unmount it writes to it.
pub fn whole_device(driver: &dyn SyncDriver, side: Side) -> Option<&str> {
    driver.target().map(|t| t.place(side)).filter(|place| place.starts_with("/dev/") || !place.starts_with('/'))
}

/// Sends data of the service to `to`, whatever the schedule and the state of the service: what is left before authority
/// goes there. When it returns Ok, `to` has confirmed all of them; they are of the instant that is returned.
pub fn deliver(service: &Service, host: &Host, log: &Logger, options: &Options, to: &str, load: Load) -> Result<BTreeMap<String, Image>> {
    let here = Desk::load(service, host, log, options.dry_run, false).here;
    let routes = Routes::of(service, &here);
    let own = load == Load::Own;
    let id = if own { Id::SyncAll } else { Id::SyncUpdate };
    let work = Work { handover: true, ..Work::new((service, host, log), id, "handover", options, here, &routes) };
    let fits = |rid: &String| {
        let device =
            service.find(rid).and_then(|r| r.sync()).is_some_and(|d| whole_device(d, side_of(&work.here, d, &host.node)).is_some());
        work.here.copies.reaches(rid, to) && (load == Load::Data || device == (load == Load::Devices))
    };
    let wanted: Vec<String> = if own { vec!["sync#i0".into()] } else { work.here.rids().into_iter().filter(fits).collect() };
    let idle = |rid: &&String| !own && service.find(rid).is_none_or(|r| r.disable);
    if let Some(rid) = wanted.iter().find(idle) {
        let (name, node) = (&service.name, &host.node);
        return Err(Error::text(format!(
            "{rid} is disabled on {node}, or wrong: its data would not go along to {to}. on {node}: svcmgr -s {name} enable --rid {rid}   (see also: svcmgr -s {name} validate)"
        )));
    }
    let mut tasks = Vec::new();
    for res in wanted.iter().filter_map(|rid| service.find(rid)).filter(|r| !r.disable) {
        let driver = routes.driver(res, to).map_err(Error::Text)?;
        tasks.push(Task { res, driver, peer: to.to_owned(), class: decide::class_of(&work, to), held: None });
    }
    decide::ready(&work, &mut tasks);
    let tasks = ask::granted(&work, tasks);
    if !options.dry_run {
        carry::all(&work, tasks);
    }
    work.live.end();
    let arrived = work.arrived(to);
    let missing: Vec<&str> = wanted
        .iter()
        .filter(|rid| service.find(rid).is_some_and(|r| !r.disable) && !arrived.contains(rid) && !options.dry_run)
        .map(String::as_str)
        .collect();
    if crate::cmd::system::interrupted() {
        return Err(Error::text("interrupted by signal"));
    }
    if !missing.is_empty() {
        return Err(Error::text(format!("{} did not get {}", to, missing.join(", "))));
    }
    Ok(arrived.into_iter().map(|rid| (rid.clone(), work.image(&rid))).collect())
}

pub use crate::service::side::side_of;

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
    if !authority::may_send(&mut desk, info, options, &selection)? {
        return Ok(());
    }
    let here = desk.here;
    let routes = Routes::of(service, &here);
    let work = Work::new((service, host, log), info.id, &info.name.replace('_', ""), options, here, &routes);
    if info.id == Id::SyncVerify {
        verify::all(&work, &selection);
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

impl<'a> Work<'a> {
    fn new(
        (service, host, log): (&'a Service, &'a Host, &Logger),
        id: Id,
        name: &str,
        options: &'a Options,
        here: Here,
        routes: &'a Routes,
    ) -> Self {
        let live = live::Live::new(options.live && !options.dry_run);
        Self {
            service,
            host,
            log: live.logger(log),
            id,
            name: name.into(),
            options,
            started: host.clock.now(),
            epoch: here.holder().map_or(0, |h| h.epoch),
            here,
            news: Mutex::default(),
            handover: false,
            routes,
            said: Mutex::default(),
            failures: AtomicUsize::new(0),
            images: Mutex::default(),
            sent: Mutex::default(),
            live,
        }
    }

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
        carry::all(self, tasks.clone());
        verify::scrub(self, tasks);
        if matches!(self.id, Id::SyncNodes | Id::SyncDrp | Id::SyncAll) {
            carry::postsync(self);
        }
    }

    /// What is sent of `rid` by this command.
    fn image(&self, rid: &str) -> Image {
        let frozen = self.images.lock().ok().and_then(|images| images.get(rid).cloned()).unwrap_or_default();
        Image {
            id: frozen.id,
            frozen_at: frozen.frozen_at.or(Some(self.started)),
            epoch: self.epoch,
            round: Some(format!("{} {}", stamp::format(self.started), self.host.node)),
        }
    }

    /// The resources that `peer` has received.
    fn arrived(&self, peer: &str) -> Vec<String> {
        let sent = self.sent.lock().ok().and_then(|sent| sent.get(peer).cloned()).unwrap_or_default();
        sent.into_iter().map(|(rid, _)| rid).collect()
    }

    fn mode(&self) -> Mode {
        match self.id {
            Id::SyncFull => Mode::Full,
            Id::SyncResync => Mode::Resync,
            _ => Mode::Update,
        }
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
