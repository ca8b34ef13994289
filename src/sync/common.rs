//! What the block, subvolume and image drivers share: `target`, the state file, the question.

pub mod frozen;
pub mod share;
pub mod status;

use super::schedule::Schedule;
use super::{Class, Job, OnProgress, Progress, Way};
use crate::cmd::{Cmd, End, Output, Remote, Stage, quote, system};
use crate::config::scope::Params;
use crate::error::Result;
use crate::host::{Cx, Host};
use crate::report::Probe;
use crate::state::stamp;
use crate::status::Status;
use chrono::{DateTime, Local};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The classes `target` names, each once, in file order. Other words are ignored.
pub fn targets(p: &Params) -> Vec<Class> {
    let mut targets = Vec::new();
    for word in p.words("target") {
        let class = match word.as_str() {
            "nodes" => Class::Nodes,
            "drpnodes" => Class::Drpnodes,
            _ => continue,
        };
        if !targets.contains(&class) {
            targets.push(class);
        }
    }
    targets
}

/// A Python list of the words of `target`, as 2014's labels have it.
pub(super) fn target_list(targets: &[Class]) -> String {
    let words: Vec<String> = targets.iter().map(|c| format!("'{}'", c.word())).collect();
    format!("[{}]", words.join(", "))
}

/// The 2014 line for a sync section without `key`.
pub fn required<'a>(p: &Params<'a>, key: &str) -> Result<&'a str, String> {
    p.text(key).ok_or_else(|| format!("config file section {} must have {key} set", p.section))
}

/// `var/NAME_RID_DRIVER_state`, of 2014: `DATE;ID`.
pub fn state_file(cx: &Cx, driver: &str) -> PathBuf {
    cx.host.paths.var.join(format!("{}_{}_{driver}_state", cx.service, cx.rid))
}

/// When the state file says the data were frozen.
pub(super) fn state_file_date(cx: &Cx, driver: &str) -> Option<DateTime<Local>> {
    stamp::parse(std::fs::read_to_string(state_file(cx, driver)).ok()?.split(';').next()?)
}

/// When `peer` was sent to last: as its stamp says; of an upgrade from 2014, whose state file is of all peers, that.
pub(super) fn last(cx: &Cx, driver: &str, peer: &str) -> Option<DateTime<Local>> {
    let (var, name, rid) = (&cx.host.paths.var, cx.service, cx.rid);
    let own = stamp::read(&stamp::of_node(var, peer, name, rid));
    own.or_else(|| state_file_date(cx, driver).filter(|_| !stamp::last(var, name, rid).exists()))
}

/// Stamps that `peer` and this node have the data of `at`; the files that a peer beside us is to have too.
pub fn stamped(cx: &Cx, driver: &str, peer: &str, at: DateTime<Local>) -> Result<Vec<PathBuf>> {
    let (var, name, rid) = (&cx.host.paths.var, cx.service, cx.rid);
    let both = [stamp::of_node(var, peer, name, rid), stamp::of_node(var, &cx.host.node, name, rid)];
    for path in both.iter().chain([&stamp::last(var, name, rid)]) {
        stamp::write(path, at)?;
    }
    Ok(both.into_iter().chain([state_file(cx, driver)]).collect())
}

/// What a stream that was compressed by zstd goes through where it arrives.
pub fn unzstd() -> Vec<String> {
    ["zstd", "-q", "-d", "-c"].map(str::to_owned).to_vec()
}

/// The state that `var/NAME_RID_DRIVER_state` tells: `DATE;ID`, one line. The same on sender and receivers.
pub(super) fn state_file_status(cx: &Cx, driver: &str, schedule: &Schedule) -> Probe {
    let Ok(text) = std::fs::read_to_string(state_file(cx, driver)) else {
        return Probe::because(Status::Warn, format!("{driver} state file not found"));
    };
    let mut fields = text.trim_end_matches('\n').split(';');
    let (date, id, more) = (fields.next().unwrap_or_default(), fields.next(), fields.next());
    let Some(last) = stamp::parse(date).filter(|_| id.is_some() && more.is_none() && !text.trim_end().contains('\n')) else {
        return Probe::because(Status::Warn, "failed to get status");
    };
    if schedule.late(cx.host.clock.now(), Some(last)) {
        return Probe::because(Status::Warn, format!("Last sync on {date} older than {} minutes", schedule.max_delay));
    }
    Probe::new(Status::Up)
}

/// The words that start a writer on `peer`: every one runs below `svcmgr recv`, which lets it in and ends
/// it with the connection. The writer's own words come after these.
pub fn receiver(host: &Host, peer: &str, service: &str, rid: &str, epoch: u64) -> Vec<String> {
    let svcmgr = host.peers.svcmgr(&host.paths, peer);
    let epoch = epoch.to_string();
    let words = ["-s", service, "recv", "--rid", rid, "--epoch", &epoch, "--"];
    svcmgr.into_iter().chain(words.map(str::to_owned)).collect()
}

/// How rsync comes to `receiver`, which runs its other end, on a peer.
pub fn rsync_way(remote: &Remote, receiver: &[String]) -> [String; 3] {
    ["-e".into(), remote.ssh.join(" "), format!("--rsync-path={}", quote::join(receiver))]
}

/// Of an rsync whose receiver reads its words: what the environment asks for would keep it from seeing what is meant.
pub fn plain_words(rsync: Cmd) -> Cmd {
    rsync.env("RSYNC_PROTECT_ARGS", "0").env("RSYNC_OLD_ARGS", "0")
}

/// The error of a way back that comes with a later version.
pub fn no_way_back(way: &Way, driver: &str) -> String {
    let (from, to) = (&way.here.config.scope.node, &way.there.config.scope.node);
    format!("{} ({driver}) cannot be sent back from {from} to {to} by this version", way.here.section)
}

/// A size as people read it: `812 B`, `1.2 MB`, of a thousand each.
pub fn size(n: u64) -> String {
    let mut value = n as f64;
    for unit in ["B", "KB", "MB", "GB"] {
        if value < 1000.0 {
            return if unit == "B" { format!("{n} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}

/// How far a transfer is: `1.2 GB 45% 110.0 MB/s 0:00:12`; without the size that is to come, no percentage and no time left.
pub fn progress(passed: u64, total: Option<u64>, took: Duration) -> String {
    let rate = passed as f64 / took.as_secs_f64().max(0.001);
    let words = format!("{} {}/s", size(passed), size(rate as u64));
    let Some(total) = total.filter(|t| *t > 0) else { return words };
    let left = (total.saturating_sub(passed) as f64 / rate.max(1.0)) as u64;
    let percent = (passed.min(total) as u128 * 100 / u128::from(total)) as u64;
    format!("{} {percent}% {}/s {}:{:02}:{:02}", size(passed), size(rate as u64), left / 3600, left / 60 % 60, left % 60)
}

/// Tells who watches of what has passed, and keeps the number. `total`: what is to come in all.
pub(super) fn told(cx: &Cx, job: &Job, passed: Arc<AtomicU64>, total: Option<u64>) -> Arc<dyn Fn(u64) + Send + Sync> {
    let (peer, rid, begun) = (job.peer.clone(), cx.rid.to_owned(), Instant::now());
    let tell: Option<OnProgress> = job.progress.clone();
    Arc::new(move |n| {
        passed.store(n, Ordering::SeqCst);
        if let Some(tell) = &tell {
            tell(Progress { peer: peer.clone(), rid: rid.clone(), words: progress(n, total, begun.elapsed()) });
        }
    })
}

/// Why a pipe to a peer failed: in the words of the side where it began.
pub(super) fn cause(cx: &Cx, job: &Job, out: &Output) -> String {
    if system::interrupted() {
        return "interrupted by signal".into();
    }
    // the end of the shared connection may be noticed a moment later
    for _ in 0..20 {
        if cx.host.peers.lost(&job.peer) {
            return format!("the connection to {} was lost", job.peer);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    spoken(&job.peer, out)
}

/// The receiver's word before that of the sender, to whom it is a broken pipe. A receiver that has none was killed: ssh
/// ends with 255 then.
pub(super) fn spoken(peer: &str, out: &Output) -> String {
    let failed: Vec<&Stage> = out.stages.iter().filter(|s| !s.ok()).collect();
    let words = |stage: &Stage| {
        let done = |l: &&str| l.get(8..14) != Some(" INFO ");
        stage.stderr.lines().map(str::trim).filter(|l| !l.is_empty()).filter(done).collect::<Vec<_>>().join(" ")
    };
    let pipe = |s: &Stage| s.end == End::Signaled(13) || s.stderr.to_lowercase().contains("broken pipe");
    if failed.iter().rev().all(|s| pipe(s) || (s.end == End::Exited(255) && words(s).is_empty())) && !failed.is_empty() {
        return format!("what receives it on {peer} was killed, or the node died");
    }
    let speaks = failed.iter().rev().find(|s| !words(s).is_empty()).or(failed.last());
    speaks.map_or_else(String::new, |stage| if words(stage).is_empty() { stage.why() } else { words(stage) })
}

/// A line of another node's log, of this level.
fn is_told(line: &str, level: &str) -> bool {
    line.split_whitespace().nth(1) == Some(level)
}

/// What the receiver warns of is said here too: who works is here.
pub(super) fn relay(cx: &Cx, job: &Job, out: &Output) {
    for line in out.stages.iter().flat_map(|s| s.stderr.lines()).filter(|l| is_told(l, "WARNING")) {
        let words: Vec<&str> = line.split_whitespace().skip(3).collect();
        cx.log.warning(format!("{}: {}", job.peer, words.join(" ")));
    }
}
