//! The transfer: what the peer has, what it needs, the pipe to it, the word to make it the replica.

use super::base::{self, Plan};
use super::{Zfs, source};
use crate::cmd::{Cmd, Meter, Output, Remote};
use crate::error::{Error, Result};
use crate::host::Cx;
use crate::host::zfs::{self, Tree};
use crate::sync::{Job, Mode, Sent, common};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long the peer may take to say what it has.
const LOOK: Duration = Duration::from_secs(60);
/// How long it may take to put the new in place of the old: a destroy frees as it goes.
const APPLY: Duration = Duration::from_secs(1800);

/// What zfs(8) here can do, by its own usage text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Can {
    /// Blocks go as they are on disk.
    compressed: bool,
    /// Encrypted ones too.
    raw: bool,
    /// It tells the size beforehand.
    estimate: bool,
}

impl Can {
    /// From `send [-DnPpRvLecw] [-[i|I] snapshot] <snapshot>`.
    fn of(usage: &str) -> Self {
        let line = usage.lines().map(str::trim).find(|l| l.starts_with("send ") || l.starts_with("zfs send ")).unwrap_or_default();
        let letters = line.split_once("[-").and_then(|(_, rest)| rest.split_once(']')).map_or("", |(letters, _)| letters);
        let has = |c: char| letters.contains(c);
        Self { compressed: has('c'), raw: has('w'), estimate: has('n') && has('P') && has('v') }
    }

    fn ask(cx: &Cx) -> Self {
        let out = cx.probe(&Cmd::probe(["zfs", "send"]).timeout(Duration::from_secs(10)));
        out.stages.first().map(|s| Self::of(&s.stderr)).unwrap_or_default()
    }
}

/// The words on the peer, behind its receiver.
fn remote(zfs: &Zfs, cx: &Cx, job: &Job, words: &[&str]) -> Result<(Remote, Vec<String>)> {
    let peer = &job.peer;
    let remote = cx.host.peers.connect(peer).map_err(|why| Error::text(format!("{peer} cannot be reached: {why}")))?;
    let mut argv = common::receiver(cx.host, peer, cx.service, cx.rid, job.epoch);
    argv.extend(["zfs", words.first().copied().unwrap_or_default(), &zfs.dst].map(str::to_owned));
    argv.extend(words.iter().skip(1).map(|w| (*w).to_owned()));
    Ok((remote, argv))
}

/// What the peer has there. `None`: nothing.
fn there(zfs: &Zfs, cx: &Cx, job: &Job) -> Result<Option<Tree>> {
    let (remote, argv) = remote(zfs, cx, job, &["list"])?;
    let out = cx.probe(&Cmd::probe(argv).on(&remote).timeout(LOOK));
    let tree = zfs::answer(&out, &zfs.dst)
        .map_err(|_| Error::text(format!("{} does not say what it has: {}", job.peer, common::cause(cx, job, &out))))?;
    Ok(tree.map(|t| if zfs.recursive { t } else { t.alone() }))
}

pub(super) fn send(zfs: &Zfs, cx: &Cx, job: &Job) -> Result<Sent> {
    let src = zfs.source(cx)?;
    let there = there(zfs, cx, job)?;
    let here = zfs.here(cx, &src)?;
    source::mark(zfs, cx, &here, there.as_ref(), &job.peer)?;
    let plan = match job.mode {
        Mode::Full => Plan::Whole(None),
        _ => base::plan(&here, there.as_ref(), &zfs.names, job.held.as_ref(), (&cx.host.node, &job.peer)),
    };
    let what = match &plan {
        Plan::Since(_) => "incremental",
        Plan::Whole(Some(why)) => {
            common::status::needs_full(cx, job, why);
            "full"
        }
        Plan::Whole(None) => "full",
    };
    let (bytes, took) = carry(zfs, cx, job, &src, &plan)?;
    let rate = common::size((bytes as f64 / took.as_secs_f64().max(0.001)) as u64);
    Ok(Sent { bytes: Some(bytes), summary: format!("{what}, {} at {rate}/s", common::size(bytes)) })
}

/// The pipe. What it moved.
fn carry(zfs: &Zfs, cx: &Cx, job: &Job, src: &str, plan: &Plan) -> Result<(u64, Duration)> {
    let can = Can::ask(cx);
    let send = words(zfs, cx, src, plan, can);
    let total = can.estimate.then(|| estimate(cx, &send)).flatten();
    let mut there = vec!["receive"];
    if let Plan::Since(base) = plan {
        there.extend(["--base", &base.guid]);
    }
    if zfs.compress {
        there.push("--zstd");
    }
    let (remote, argv) = remote(zfs, cx, job, &there)?;
    let passed = Arc::new(AtomicU64::new(0));
    let meter = Meter { limit: zfs.bwlimit, told: common::told(cx, job, passed.clone(), total.filter(|_| !zfs.compress)) };
    let first = Cmd::change(send).unbounded();
    let receive = Cmd::change(argv).on(&remote);
    let cmd = match zfs.compress {
        true => first.pipe(Cmd::change(["zstd", "-q", "-c"]).meter(meter)).pipe(receive),
        false => first.meter(meter).pipe(receive),
    };
    cx.log.info(cmd.line());
    let begun = Instant::now();
    let out = cx.host.runner.run(&cmd);
    if !out.ok() {
        return Err(failure(zfs, cx, job, &out));
    }
    Ok((passed.load(Ordering::SeqCst), begun.elapsed()))
}

/// `zfs send` and its words.
fn words(zfs: &Zfs, cx: &Cx, src: &str, plan: &Plan, can: Can) -> Vec<String> {
    let mut words: Vec<String> = vec!["zfs".into(), "send".into()];
    words.extend(zfs.recursive.then(|| "-R".to_owned()));
    // one that is not encrypted may be sent so, too
    let raw =
        || zfs::settings(cx, src, &["encryption"]).values().any(|p| p.values().any(|(value, _)| !matches!(value.as_str(), "off" | "-")));
    let encrypted = can.raw && raw();
    words.extend((encrypted).then(|| "-w".to_owned()));
    words.extend((can.compressed && !encrypted).then(|| "-c".to_owned()));
    if let Plan::Since(base) = plan {
        words.extend(["-i".into(), format!("{src}@{}", base.name)]);
    }
    words.push(format!("{src}@{}", zfs.names.tosend()));
    words
}

/// What `zfs send -nvP` says it will be.
fn estimate(cx: &Cx, send: &[String]) -> Option<u64> {
    let mut argv = send.to_vec();
    argv.insert(2.min(argv.len()), "-nvP".into());
    let out = cx.probe(&Cmd::probe(argv).timeout(LOOK));
    let (text, said) = (out.text(), out.stages.first().map(|s| s.stderr.clone()).unwrap_or_default());
    text.lines().chain(said.lines()).filter_map(|l| l.strip_prefix("size")?.trim().parse().ok()).next_back()
}

/// Why it failed: said at the end where it began.
fn failure(zfs: &Zfs, cx: &Cx, job: &Job, out: &Output) -> Error {
    let text = out.stages.iter().map(|s| s.stderr.as_str()).collect::<Vec<_>>().join("\n");
    let (peer, name, rid) = (&job.peer, cx.service, cx.rid);
    if text.contains("has been modified") || text.contains("does not match incremental source") {
        let amount = written(zfs, cx, job).map_or_else(|| "amount unknown".into(), common::size);
        return Error::text(format!(
            "{rid} of {name} is not sent from {0} to {peer}: {peer} has writes of its own\n  why:      its zfs says that the data there were written to since they came from {0}\n  at stake: what was written there: {amount}\n  type:     on {0}: svcmgr -s {name} sync update --rid {rid} --force --abandon {peer}   (gives those writes up)",
            cx.host.node
        ));
    }
    Error::text(format!("node {peer} synchronization failed: {}", common::cause(cx, job, out)))
}

/// Bytes that were written on the peer since the last transfer, where its zfs knows.
fn written(zfs: &Zfs, cx: &Cx, job: &Job) -> Option<u64> {
    let (remote, argv) = remote(zfs, cx, job, &["written"]).ok()?;
    let out = cx.probe(&Cmd::probe(argv).on(&remote).timeout(LOOK));
    out.ok().then(|| sum(&out.text()))
}

/// Of a column of numbers.
fn sum(text: &str) -> u64 {
    text.lines().filter_map(|l| l.trim().parse::<u64>().ok()).sum()
}

/// Has the peer make its replica of what has arrived.
pub(super) fn apply(zfs: &Zfs, cx: &Cx, job: &Job) -> Result<()> {
    let here = zfs.here(cx, &zfs.source(cx)?)?;
    let (id, at) = (job.image.id.clone().unwrap_or_default(), job.image.frozen_at.map(|at| at.to_rfc3339()).unwrap_or_default());
    let count = base::count(&here, &zfs.names.tosend()).to_string();
    let (remote, argv) = remote(zfs, cx, job, &["apply", "--image", &id, "--frozen-at", &at, "--count", &count])?;
    let cmd = Cmd::change(argv).on(&remote).timeout(APPLY);
    cx.log.debug(cmd.line());
    let out = cx.host.runner.run(&cmd);
    if out.ok() {
        // what is not tidy there is no failure, and somebody must hear of it
        let said = out.stages.iter().flat_map(|s| s.stderr.lines()).filter(|l| l.contains(" WARNING "));
        said.filter_map(|l| l.split_once("  ")).for_each(|(_, why)| cx.log.warning(format!("{}: {why}", job.peer)));
        Ok(())
    } else {
        Err(Error::text(format!("{} has all of it and could not put it in place: {}", job.peer, common::cause(cx, job, &out))))
    }
}

/// Compares the snapshots of both sides: a snapshot is what its guid says.
pub(super) fn verify(zfs: &Zfs, cx: &Cx, job: &Job) -> Result<()> {
    let here = zfs.here(cx, &zfs.source(cx)?)?;
    let there = there(zfs, cx, job)?;
    let last = here.top().and_then(|top| top.named(&zfs.names.sent()).or_else(|| zfs.newest(top)));
    let sent = last.map_or_else(|| zfs.names.sent(), |s| s.name.clone());
    let theirs = |guid: &str| there.as_ref().and_then(|t| t.datasets.iter().find(|d| d.with(guid).is_some()));
    let mut wrong = Vec::new();
    let mine = here.datasets.iter().filter_map(|d| Some((d, d.named(&sent)?)));
    for (dataset, snapshot) in mine.clone() {
        match theirs(&snapshot.guid) {
            None => wrong.push(format!("{}@{sent} is not there", dataset.name)),
            Some(d) if zfs.written_to(d, snapshot).is_some() => wrong.push(format!("{} was written to after it", d.name)),
            Some(_) => {}
        }
    }
    if mine.clone().next().is_none() {
        wrong.push("nothing was ever sent".into());
    }
    if wrong.is_empty() {
        let guids: Vec<&str> = mine.map(|(_, s)| s.guid.as_str()).collect();
        cx.log.info(format!("src/dst snapshots verified: {} on {} and {}", guids.join(" "), cx.host.node, job.peer));
        return Ok(());
    }
    cx.log.error(format!("src/dst snapshots differ for {}/{}: {}", job.peer, zfs.dst, wrong.join(", ")));
    Err(Error::Reported)
}

#[cfg(test)]
#[path = "send_tests.rs"]
mod tests;
