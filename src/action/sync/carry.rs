//! The transfers: snapshots and triggers around them, peers side by side, stamps, history, postsync.

use super::{Task, Work, by_peer, own_files, round};
use crate::action::Id;
use crate::cmd::{Cmd, system};
use crate::error::{Error, Result};
use crate::log::Level;
use crate::service::Res;
use crate::state::history::{self, Entry};
use crate::state::stamp;
use crate::sync::{Job, Sent, SyncDriver, rsync};
use std::time::{Duration, Instant};

/// How long a peer may take to hear that it is over. It waits for no lock there, whatever the words of 2014 say.
const POSTSYNC: Duration = Duration::from_secs(30);
const WAITLOCK: &str = "3600";

/// A resource that is sent, with the driver of each way it goes.
struct Source<'a> {
    res: &'a Res,
    drivers: Vec<&'a dyn SyncDriver>,
}

impl<'a> Source<'a> {
    fn of(tasks: &[Task<'a>]) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for task in tasks {
            match all.iter_mut().find(|s| s.res.rid == task.res.rid) {
                None => all.push(Self { res: task.res, drivers: vec![task.driver] }),
                Some(known) if known.drivers.iter().any(|d| std::ptr::addr_eq(*d, task.driver)) => {}
                Some(known) => known.drivers.push(task.driver),
            }
        }
        all
    }
}

/// Sends every task; peers at the same time, each peer's tasks one after the other.
pub(super) fn all(work: &Work, tasks: Vec<Task>) {
    let sources = Source::of(&tasks);
    let ready: Vec<&Source> = sources.iter().filter(|source| before(work, source.res)).collect();
    let frozen = freeze(work, &ready);
    let tasks = tasks.into_iter().filter(|t| frozen.iter().any(|s| s.res.rid == t.res.rid)).collect();
    std::thread::scope(|scope| {
        for (peer, tasks) in by_peer(tasks) {
            scope.spawn(move || {
                to_peer(work, &peer, &tasks);
                push_stamps(work, &peer);
            });
        }
    });
    let mut news = Vec::new();
    for Source { res, drivers } in sources {
        let log = work.logger(res);
        let cx = work.service.cx(work.host, &log, res, false);
        drivers.iter().for_each(|d| d.release(&cx));
        news.extend(drivers.iter().flat_map(|d| d.news(&cx)).map(|path| path.display().to_string()));
        after(work, res);
    }
    tell_own_copy(work, &news);
}

/// Takes the snapshots of all resources between the two triggers; those that can be sent.
fn freeze<'s, 'a>(work: &Work, sources: &[&'s Source<'a>]) -> Vec<&'s Source<'a>> {
    if !sources.iter().flat_map(|s| &s.drivers).any(|d| d.has_snapshot()) {
        return sources.to_vec();
    }
    if let Err(e) = snap_trigger(work, "presnap_trigger") {
        sources.iter().for_each(|s| work.fail_with(s.res, &e));
        return Vec::new();
    }
    let frozen = sources.iter().copied().filter(|Source { res, drivers }| {
        let log = work.logger(res);
        let cx = work.service.cx(work.host, &log, res, false);
        let made = drivers.iter().try_for_each(|d| {
            d.freeze(&cx)?;
            if let (Some(image), Ok(mut images)) = (d.frozen(&cx), work.images.lock()) {
                images.insert(res.rid.clone(), image);
            }
            Ok(())
        });
        made.inspect_err(|e| work.fail_with(res, e)).is_ok()
    });
    let frozen: Vec<&Source> = frozen.collect();
    // it thaws what presnap_trigger has stopped: run whatever became of the snapshots
    if let Err(e) = snap_trigger(work, "postsnap_trigger") {
        sources.iter().for_each(|s| work.fail_with(s.res, &e));
        return Vec::new();
    }
    frozen
}

fn snap_trigger(work: &Work, key: &str) -> Result<()> {
    let words: Vec<String> = work.service.config.plain("DEFAULT", key).unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    if words.is_empty() {
        return Ok(());
    }
    let mut cmd = Cmd::change(words).timeout(crate::action::triggers::TIMEOUT);
    cmd.env = work.service.environment(work.host);
    work.log.info(cmd.line());
    let out = work.host.runner.run(&cmd);
    out.failure().map_or(Ok(()), |failed| Err(Error::text(format!("{key} failed: {}", failed.why()))))
}

/// The triggers before a sync; false: a blocking one forbids it.
fn before(work: &Work, res: &Res) -> bool {
    triggers(work, res, "pre").inspect_err(|e| work.fail_with(res, e)).is_ok()
}

fn after(work: &Work, res: &Res) {
    if let Err(e) = triggers(work, res, "post") {
        work.fail_with(res, &e);
    }
}

fn triggers(work: &Work, res: &Res, when: &str) -> Result<()> {
    let names: &[&str] = match work.id {
        Id::SyncAll => &["syncnodes", "syncdrp"],
        Id::SyncNodes => &["syncnodes"],
        Id::SyncDrp => &["syncdrp"],
        Id::SyncUpdate => &["syncupdate"],
        _ => &[],
    };
    let stopper = format!("blocking_{when}_sync");
    let log = work.logger(res);
    for keyword in names.iter().map(|n| format!("{when}_{n}")).chain([stopper.clone()]) {
        crate::action::triggers::run(work.service, work.host, &log, res, &keyword, &stopper)?;
    }
    Ok(())
}

/// A transfer that ended well, as far as this side can tell.
struct Carried<'t, 'a> {
    task: &'t Task<'a>,
    sent: Sent,
    took: Duration,
}

/// The tasks of one peer. What crosses from copy to copy counts only when the peer has confirmed it.
fn to_peer(work: &Work, peer: &str, tasks: &[Task]) {
    let (mut staged, mut to_confirm) = (Vec::new(), Vec::new());
    for task in tasks {
        if system::interrupted() {
            break; // what was sent is there
        }
        match transfer(work, task) {
            Some(carried) if task.driver.staged() => staged.push(carried),
            Some(carried) if round::crosses(work, task) => to_confirm.push(carried),
            Some(carried) => _ = arrived(work, carried),
            None => {}
        }
    }
    for carried in applied(work, tasks, staged) {
        if round::crosses(work, carried.task) { to_confirm.push(carried) } else { _ = arrived(work, carried) }
    }
    if to_confirm.is_empty() {
        return;
    }
    let answer = round::confirm(work, peer, to_confirm.iter().map(|c| c.task.res.rid.as_str()));
    for carried in to_confirm {
        let task = carried.task;
        let granted = answer.as_ref().map_err(Clone::clone).and_then(|answer| match answer.refusal(&task.res.rid) {
            None => Ok(answer),
            Some(why) => Err(why),
        });
        let kept = match granted {
            Ok(answer) => round::whole(work, task, answer).and_then(|()| confirmed(work, task)),
            Err(why) => Err(Error::text(format!("{} was sent, but {peer} did not confirm it: {why}. sync again", task.res.rid))),
        };
        match kept {
            Ok(()) => _ = arrived(work, carried),
            Err(e) => failed(work, task, &e),
        }
    }
}

/// Has the peer make its replicas of what stands beside them, when all members of the round have arrived: of half a
/// round the data would not belong together. Those it has made.
fn applied<'t, 'a>(work: &Work, tasks: &[Task], staged: Vec<Carried<'t, 'a>>) -> Vec<Carried<'t, 'a>> {
    let arrived = |task: &Task| staged.iter().any(|c| c.task.res.rid == task.res.rid);
    let missing: Vec<&str> = tasks.iter().filter(|t| t.driver.staged() && !arrived(t)).map(|t| t.res.rid.as_str()).collect();
    if !missing.is_empty() || system::interrupted() {
        let why = if missing.is_empty() { "interrupted by signal".into() } else { format!("{} did not arrive", missing.join(", ")) };
        for Carried { task, .. } in staged {
            let why =
                format!("{} has arrived on {} and is not applied, as {why}: the replica there is what it was", task.res.rid, task.peer);
            failed(work, task, &Error::text(why));
        }
        return Vec::new();
    }
    let apply = |Carried { task, sent, took }: Carried<'t, 'a>| {
        let log = work.logger(task.res);
        let cx = work.service.cx(work.host, &log, task.res, work.options.force);
        let begun = Instant::now();
        let ready = if round::crosses(work, task) { round::applying(work, task) } else { Ok(()) };
        match ready.and_then(|()| task.driver.apply(&cx, &job(work, task))) {
            Ok(()) => Some(Carried { task, sent, took: took + begun.elapsed() }),
            Err(e) => {
                failed(work, task, &e);
                None
            }
        }
    };
    staged.into_iter().filter_map(apply).collect()
}

fn confirmed(work: &Work, task: &Task) -> Result<()> {
    let log = work.logger(task.res);
    task.driver.confirmed(&work.service.cx(work.host, &log, task.res, work.options.force), &task.peer)
}

pub(super) fn job(work: &Work, task: &Task) -> Job {
    Job {
        peer: task.peer.clone(),
        class: task.class,
        mode: work.mode(),
        epoch: work.epoch,
        held: task.held.clone(),
        image: work.image(&task.res.rid),
        progress: work.live.listener(),
        content: work.options.content,
    }
}

/// One transfer that needs no word of the peer, with all that is said and kept of it. True: the peer has the data.
pub(super) fn one(work: &Work, task: &Task) -> bool {
    transfer(work, task).is_some_and(|carried| arrived(work, carried))
}

/// Sends. Nothing is stamped yet.
fn transfer<'t, 'a>(work: &Work, task: &'t Task<'a>) -> Option<Carried<'t, 'a>> {
    let log = work.logger(task.res);
    let cx = work.service.cx(work.host, &log, task.res, work.options.force);
    let ready = if round::crosses(work, task) { round::begun(work, task) } else { Ok(()) };
    let begun = Instant::now();
    let done = ready.and_then(|()| task.driver.send(&cx, &job(work, task)));
    work.live.done(&task.peer);
    match done {
        Ok(sent) => Some(Carried { task, sent, took: begun.elapsed() }),
        Err(e) => {
            failed(work, task, &e);
            None
        }
    }
}

/// The peer has the data: stamped, said, remembered.
fn arrived(work: &Work, Carried { task, sent: Sent { bytes, summary }, took }: Carried) -> bool {
    let log = work.logger(task.res);
    let stamps = match task.driver.stamp(&work.service.cx(work.host, &log, task.res, false), &task.peer, work.started) {
        Ok(stamps) => stamps,
        Err(e) => {
            failed(work, task, &e);
            return false;
        }
    };
    let level = if task.driver.internal() { Level::Debug } else { Level::Info };
    log.log(level, format!("{}: {summary} in {}", task.peer, spoken(took)));
    if let Ok(mut sent) = work.sent.lock() {
        sent.entry(task.peer.clone()).or_default().push((task.res.rid.clone(), stamps));
    }
    remember(work, task, Entry { bytes, result: "ok".into(), ..Entry::default() });
    if task.res.rid == "sync#i0" {
        own_files::sent(work);
    }
    true
}

fn failed(work: &Work, task: &Task, e: &Error) {
    work.fail_with(task.res, e);
    if round::crosses(work, task) {
        round::broken(work, task, &e.to_string());
    }
    remember(work, task, Entry { result: "failed".into(), why: Some(e.to_string()), ..Entry::default() });
}

/// `3 s`, `0.4 s`, `12 min 5 s`.
fn spoken(took: Duration) -> String {
    match took.as_secs() {
        0..10 => format!("{:.1} s", took.as_secs_f64()),
        s @ 10..120 => format!("{s} s"),
        s => format!("{} min {} s", s / 60, s % 60),
    }
}

/// A line of history.
pub(super) fn remember(work: &Work, task: &Task, entry: Entry) {
    if work.options.dry_run {
        return;
    }
    let started = stamp::format(work.started);
    let frozen = work.image(&task.res.rid).frozen_at.map_or_else(String::new, stamp::format);
    let entry = Entry {
        action: work.name.clone(),
        rid: task.res.rid.clone(),
        peer: task.peer.clone(),
        frozen_at: if entry.result == "ok" { frozen } else { String::new() },
        started,
        ended: stamp::format(work.host.clock.now()),
        ..entry
    };
    if let Err(e) = history::append(&work.host.paths.var, &work.service.name, &entry) {
        work.say(task.res, Level::Warning, e.to_string());
    }
}

/// Gives a peer the stamps of what it received: its own status is made of them. Not a failure of the sync,
/// the data are there.
fn push_stamps(work: &Work, peer: &str) {
    let mut sent = work.sent.lock().ok().and_then(|sent| sent.get(peer).cloned()).unwrap_or_default();
    sent.retain(|(_, stamps)| !stamps.is_empty());
    let rids: Vec<&str> = sent.iter().map(|(rid, _)| rid.as_str()).collect();
    let Some(res) = rids.first().and_then(|rid| work.service.find(rid)) else { return };
    if work.host.peers.lost(peer) {
        return work.log.warning(format!("the stamps of {} did not reach {peer}, whose status will not know of them", rids.join(", ")));
    }
    let files: Vec<String> = sent.iter().flat_map(|(_, stamps)| stamps).map(|p| p.display().to_string()).collect();
    let log = work.logger(res);
    // under the name of sync#i0: stamps are the service's own files, whatever the peer thinks of the data
    if let Err(e) = rsync::push(&work.service.cx(work.host, &log, res, false), peer, "sync#i0", &files) {
        work.log.warning(format!("the stamps of {} did not reach {peer}, whose status will not know of them: {e}", rids.join(", ")));
    }
}

/// Gives the other nodes that share this copy of the data what their rows are made of. Not a failure of the sync.
fn tell_own_copy(work: &Work, news: &[String]) {
    let Some(res) = work.service.find("sync#i0").filter(|_| !news.is_empty()) else { return };
    let others = work.here.copy().into_iter().flat_map(|copy| &copy.nodes).filter(|node| **node != work.host.node);
    let log = work.logger(res);
    for node in others {
        if let Err(e) = rsync::push(&work.service.cx(work.host, &log, res, false), node, "sync#i0", news) {
            work.log.warning(format!("{node} does not know of this sync, and its status neither: {e}"));
        }
    }
}

/// Tells the peers that have received something that the sync is over.
pub(super) fn postsync(work: &Work) {
    let peers: Vec<String> = work.sent.lock().map(|sent| sent.keys().cloned().collect()).unwrap_or_default();
    let name = &work.service.name;
    let mut options: Vec<&str> = Vec::new();
    options.extend(work.options.cluster.then_some("--cluster"));
    options.extend(work.options.cron.then_some("--cron"));
    options.extend(["--waitlock", WAITLOCK, "postsync"]);
    std::thread::scope(|scope| {
        for peer in &peers {
            let options = &options;
            work.log.info(format!("exec '{} {}' on node {peer}", work.host.paths.etc.join(name).display(), options.join(" ")));
            scope.spawn(move || {
                let Ok(remote) = work.host.peers.connect(peer) else { return };
                let mut argv = work.host.peers.svcmgr(&work.host.paths, peer);
                argv.extend(["-s".to_owned(), name.clone()]);
                argv.extend(options.iter().map(|o| (*o).to_owned()));
                let out = work.host.runner.run(&Cmd::change(argv).on(&remote).timeout(POSTSYNC));
                if let Some(failed) = out.failure() {
                    work.log.debug(format!("postsync on {peer}: {}", failed.why()));
                }
            });
        }
    });
}
