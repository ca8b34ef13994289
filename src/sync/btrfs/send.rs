//! The transfer: what the peer has, what it needs, the pipe to it, the word to make it the replica.

use super::base::{self, Plan, There};
use super::spot::Spot;
use super::{Btrfs, source};
use crate::cmd::{Cmd, Meter, Output, Remote};
use crate::error::{Error, Result};
use crate::host::Cx;
use crate::sync::{Job, Mode, Sent, common};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long the peer may take to say what it has.
const LOOK: Duration = Duration::from_secs(120);
/// How long to look for the size of what is to be sent, when somebody watches.
const ESTIMATE: Duration = Duration::from_secs(20);
/// How long it may take to put the new in place of the old.
const APPLY: Duration = Duration::from_secs(1800);

/// The words on the peer, behind its receiver.
pub(super) fn remote(sync: &Btrfs, cx: &Cx, job: &Job, words: &[&str]) -> Result<(Remote, Vec<String>)> {
    let peer = &job.peer;
    let remote = cx.host.peers.connect(peer).map_err(|why| Error::text(format!("{peer} cannot be reached: {why}")))?;
    let mut argv = common::receiver(cx.host, peer, cx.service, cx.rid, job.epoch);
    argv.extend(["btrfs", words.first().copied().unwrap_or_default(), &sync.way.words.1].map(str::to_owned));
    argv.extend(words.iter().skip(1).map(|w| (*w).to_owned()));
    Ok((remote, argv))
}

/// What the peer has there, as it says.
pub(super) fn there(sync: &Btrfs, cx: &Cx, job: &Job) -> Result<String> {
    let (remote, argv) = remote(sync, cx, job, &["list"])?;
    let out = cx.probe(&Cmd::probe(argv).on(&remote).timeout(LOOK));
    if out.ok() {
        return Ok(out.text());
    }
    Err(Error::text(format!("{} does not say what it has: {}", job.peer, common::cause(cx, job, &out))))
}

pub(super) fn send(sync: &Btrfs, cx: &Cx, job: &Job) -> Result<Sent> {
    let there = there(sync, cx, job)?;
    sync.with(cx, &sync.way.src, |spots| {
        let (mut bytes, mut took, mut whole) = (0, Duration::ZERO, false);
        for spot in spots {
            let there = There::parse(&there, spot.index);
            if job.mode != Mode::Full {
                source::no_other_disk(sync, cx, spot, &there, &job.peer)?;
            }
            source::mark(sync, cx, spot, &there, &job.peer)?;
            let plan = match job.mode {
                Mode::Full => Plan::Whole(None),
                _ => base::plan(spot, &spot.list(cx)?, &there, (&cx.host.node, &job.peer)),
            };
            if let Plan::Whole(why) = &plan {
                whole = true;
                if let Some(why) = why {
                    common::status::needs_full(cx, job, why);
                }
            }
            let begun = Instant::now();
            bytes += carry(sync, cx, job, spot, &plan)?;
            took += begun.elapsed();
        }
        let what = if whole { "full" } else { "incremental" };
        let rate = common::size((bytes as f64 / took.as_secs_f64().max(0.001)) as u64);
        Ok(Sent { bytes: Some(bytes), summary: format!("{what}, {} at {rate}/s", common::size(bytes)) })
    })
}

/// The pipe. How many bytes it moved.
fn carry(sync: &Btrfs, cx: &Cx, job: &Job, spot: &Spot, plan: &Plan) -> Result<u64> {
    let index = spot.index.to_string();
    let (mut send, mut there) = (vec!["btrfs".to_owned(), "send".into(), "-q".into()], vec!["receive", &index]);
    if let Plan::Since(base) = plan {
        send.extend(["-p".into(), spot.at(&base.path)]);
        there.extend(["--base", base.image()]);
    }
    send.push(spot.at(&spot.tosend()));
    let total = job.progress.as_ref().filter(|_| !sync.compress).and_then(|_| estimate(cx, &send));
    if sync.compress {
        there.push("--zstd");
    }
    let (remote, argv) = remote(sync, cx, job, &there)?;
    let passed = Arc::new(AtomicU64::new(0));
    let meter = Meter { limit: sync.bwlimit, told: common::told(cx, job, passed.clone(), total) };
    let (first, receive) = (Cmd::change(send).unbounded(), Cmd::change(argv).on(&remote));
    let cmd = match sync.compress {
        true => first.pipe(Cmd::change(["zstd", "-q", "-c"]).meter(meter)).pipe(receive),
        false => first.meter(meter).pipe(receive),
    };
    cx.log.info(cmd.line());
    let out = cx.host.runner.run(&cmd);
    if !out.ok() {
        return Err(failure(cx, job, spot, &out));
    }
    Ok(passed.load(Ordering::SeqCst))
}

/// The bytes of the files that `send` is going to send. `None`: it takes too long to find out.
fn estimate(cx: &Cx, send: &[String]) -> Option<u64> {
    let mut argv = send.to_vec();
    argv.insert(2.min(argv.len()), "--no-data".into());
    let (total, rest) = (Arc::new(AtomicU64::new(0)), Mutex::new(String::new()));
    let sum = total.clone();
    let told = move |bytes: &[u8]| {
        let Ok(mut rest) = rest.lock() else { return };
        rest.push_str(&String::from_utf8_lossy(bytes));
        let whole = rest.rfind('\n').map_or(0, |end| end + 1);
        sum.fetch_add(rest.drain(..whole).as_str().lines().filter_map(extent).sum(), Ordering::SeqCst);
    };
    let dump = Cmd::probe(["btrfs", "receive", "--dump"]);
    let out = cx.probe(&Cmd::probe(argv).pipe(dump).on_output(Arc::new(told)).timeout(ESTIMATE));
    out.ok().then(|| total.load(Ordering::SeqCst))
}

/// `update_extent PATH offset=N len=N`, of btrfs-receive(8).
fn extent(line: &str) -> Option<u64> {
    line.strip_prefix("update_extent ")?.rsplit_once(" len=")?.1.trim().parse().ok()
}

fn failure(cx: &Cx, job: &Job, spot: &Spot, out: &Output) -> Error {
    Error::text(format!("node {} synchronization failed: {}: {}", job.peer, spot.name, common::cause(cx, job, out)))
}

/// Has the peer make its replica of what has arrived.
pub(super) fn apply(sync: &Btrfs, cx: &Cx, job: &Job) -> Result<()> {
    let (id, at) = (job.image.id.clone().unwrap_or_default(), job.image.frozen_at.map(|at| at.to_rfc3339()).unwrap_or_default());
    let (remote, argv) = remote(sync, cx, job, &["apply", "--image", &id, "--frozen-at", &at])?;
    let cmd = Cmd::change(argv).on(&remote).timeout(APPLY);
    cx.log.debug(cmd.line());
    let out = cx.host.runner.run(&cmd);
    common::relay(cx, job, &out);
    if out.ok() {
        return Ok(());
    }
    Err(Error::text(format!("{} has all of it and could not put it in place: {}", job.peer, common::cause(cx, job, &out))))
}
