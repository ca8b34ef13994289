//! The transfer to one peer: a delta beside its replica, all of a first copy, or what differs.

use super::Sender;
use super::chain::Way;
use super::files::{Files, program, remove};
use super::round::{LIST, Round};
use super::verify::BLOCK;
use crate::cmd::{Cmd, End, Meter, Output, Stage};
use crate::error::{Error, Result};
use crate::host::Cx;
use crate::state::gate::Held;
use crate::sync::{Job, Progress, Sent, common};
use serde::Deserialize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What comes for each block: bytes.
const HASH: u64 = 32;

/// What `dds --merge --json` counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Counts {
    chunk_size: u64,
    chunks: u64,
    bytes: u64,
    bytes_total: Option<u64>,
}

impl Counts {
    /// The report of 2010 about the stream of 2010 with these chunks.
    pub(super) fn report(&self) -> String {
        let chunk = self.chunk_size.max(1);
        let areas = self.chunks / (chunk / 16).max(1) + 1;
        let (meta, data) = ((1 + areas) * chunk / 1024, self.chunks * chunk / 1024);
        let lines = [
            ("Exception chunks", areas.to_string()),
            ("Exceptions", self.chunks.to_string()),
            ("Output size meta", format!("{meta} KB")),
            ("Output size data", format!("{data} KB")),
            ("Output size total", format!("{} KB", meta + data)),
        ];
        let lines: String = lines.iter().map(|(label, value)| format!("  {label:<18}{value}\n")).collect();
        let head = format!(
            "  magic             0x70416e53\n  version           1\n  valid             yes\n  chunk_size        {} KB\n",
            chunk / 1024
        );
        format!("Snapshot header:\n{head}Report:\n{lines}")
    }

    fn sent(&self, what: &str) -> Sent {
        Sent { bytes: self.bytes_total, summary: format!("{what}, {} chunks, {}", self.chunks, common::size(self.bytes)) }
    }
}

/// What stands beside a replica.
pub(super) enum Beside {
    /// A delta: it is reported as in 2010.
    Delta(Counts),
    /// What was found by comparing.
    Differing,
}

/// A transfer to `job.peer`.
struct Transfer<'a> {
    sender: &'a Sender,
    cx: &'a Cx<'a>,
    job: &'a Job,
    round: &'a Round,
    dds: String,
    /// Where to, there.
    dst: String,
}

/// Sends what is frozen, and says what stands beside the replica now; nothing: it is where it belongs.
pub(super) fn send(sender: &Sender, cx: &Cx, job: &Job, round: &Round) -> Result<(Sent, Option<Beside>)> {
    let dds = program(cx.host).map_err(Error::Text)?;
    let transfer = Transfer { sender, cx, job, round, dds, dst: sender.place_on(&job.peer) };
    let way = {
        let mut chain = round.chain();
        if chain.heard(&job.peer, job.held.as_ref()) {
            Files(cx).save(&chain)?;
        }
        chain.way(&job.peer, job.held.as_ref(), job.mode)
    };
    transfer.go(way)
}

impl Transfer<'_> {
    fn go(&self, way: Way) -> Result<(Sent, Option<Beside>)> {
        let peer = &self.job.peer;
        match way {
            Way::Delta { behind } => {
                let list = Files(self.cx).behind(peer);
                if behind && !list.exists() {
                    return self.hashes("the list of what it lacks is gone", false);
                }
                self.delta(&if behind { vec![list] } else { Vec::new() })
            }
            Way::Union => match self.union() {
                Ok(lists) => self.delta(&lists).inspect(|_| _ = remove(&Files(self.cx).passing("theirs", peer))),
                Err(why) => self.hashes(&why, false),
            },
            Way::Whole => self.whole(),
            Way::Hashes { why, in_place } => self.hashes(&why, in_place),
        }
    }

    /// The base's table and `lists`, beside the replica.
    fn delta(&self, lists: &[PathBuf]) -> Result<(Sent, Option<Beside>)> {
        let mut words = vec!["--cow".to_owned(), self.round.volume.table()];
        words.extend(lists.iter().flat_map(|list| ["--behind".to_owned(), list.display().to_string()]));
        let counts = self.staged(words)?;
        Ok((counts.sent("delta"), Some(Beside::Delta(counts))))
    }

    /// Of who has written of its own: the list of that, from an image that both know, and the own list from there.
    fn union(&self) -> std::result::Result<Vec<PathBuf>, String> {
        let (files, peer) = (Files(self.cx), &self.job.peer);
        let starts = self.round.chain().starts(peer);
        let theirs = files.passing("theirs", peer);
        for id in starts {
            let behind = self.round.chain().covers(peer, &id).unwrap_or_default();
            if behind && !files.behind(peer).exists() {
                continue;
            }
            let words = ["dds", "--list", "--since", &id, "--for", &self.cx.host.node].map(str::to_owned);
            let Ok(remote) = self.receiver(words) else { continue };
            // on the disk before the peer's own is given up
            let keep = Cmd::change(["dd".to_owned(), format!("of={}", theirs.display()), "conv=fsync".into(), "status=none".into()]);
            if self.cx.run_quiet(&remote.pipe(keep).timeout(LIST)).ok() {
                return Ok(std::iter::once(theirs).chain(behind.then(|| files.behind(peer))).collect());
            }
        }
        Err("it has writes of its own, and no list of them".into())
    }

    /// All of it, over what is there, of which nothing counts.
    fn whole(&self) -> Result<(Sent, Option<Beside>)> {
        Ok((self.in_place(vec!["--all".into()])?.sent("first copy"), None))
    }

    fn in_place(&self, what: Vec<String>) -> Result<Counts> {
        let (peer, volume) = (&self.job.peer, &self.round.volume);
        let size = common::size(volume.size);
        self.cx.log.warning(format!("there is no usable copy of {} on {peer} until this first one has ended ({size})", volume.device()));
        let mut words = vec!["--merge", "--dest", &self.dst, "--json"];
        words.extend((!self.dst.starts_with("/dev/")).then_some("--create"));
        self.run(self.extract(what, None), &words)
    }

    /// What differs.
    fn hashes(&self, why: &str, in_place: bool) -> Result<(Sent, Option<Beside>)> {
        let peer = &self.job.peer;
        self.cx.log.info(format!("comparing {} with {} on {peer} block by block: {why}", self.round.device(), self.dst));
        let set = Files(self.cx).passing("differ", peer);
        remove(&set)?;
        let path = set.display().to_string();
        let theirs = self.receiver(["dds", "--hash", "--source", &self.dst, "--block", &BLOCK.to_string()].map(str::to_owned))?;
        let size = self.round.volume.size;
        let theirs = self.watched(theirs, move |n| format!("compared {}", common::size((n / HASH * BLOCK).min(size))));
        let diff = Cmd::change([&self.dds, "--diff", "--source", &self.round.device(), "--hashes", "-", "--set", &path, "--json"]);
        let cmd = theirs.pipe(diff).unbounded();
        self.cx.log.info(cmd.line());
        self.check(&self.cx.host.runner.run(&cmd))?;
        let sent = self.differing(&path, in_place);
        remove(&set)?;
        sent
    }

    fn differing(&self, set: &str, in_place: bool) -> Result<(Sent, Option<Beside>)> {
        let words = vec!["--behind".to_owned(), set.to_owned()];
        if in_place {
            return Ok((self.in_place(words)?.sent("what differed"), None));
        }
        Ok((self.staged(words)?.sent("what differed"), Some(Beside::Differing)))
    }

    /// Beside the replica, for [`super::SyncDriver::apply`].
    fn staged(&self, what: Vec<String>) -> Result<Counts> {
        let base = self.job.held.as_ref().and_then(|held: &Held| held.image.id.as_deref());
        let mut words = vec!["--merge", "--dest", &self.dst, "--json"];
        words.extend(base.into_iter().flat_map(|base| ["--expect-base", base]));
        words.push("--hold");
        self.run(self.extract(what, base), &words)
    }

    /// The command that reads. `what`: which chunks.
    fn extract(&self, what: Vec<String>, base: Option<&str>) -> Cmd {
        let image = &self.job.image;
        let mut words = vec![self.dds.clone(), "--extract".into(), "--frame".into()];
        words.extend(what);
        words.extend(["--source".into(), self.round.device()]);
        let frozen_at = image.frozen_at.map(|at| at.to_rfc3339());
        let texts =
            [("--base", base), ("--image", image.id.as_deref()), ("--frozen-at", frozen_at.as_deref()), ("--note", image.round.as_deref())];
        words.extend(texts.into_iter().filter_map(|(name, text)| Some([name.to_owned(), text?.to_owned()])).flatten());
        words.extend(self.sender.bwlimit.into_iter().flat_map(|kb| ["--bwlimit".to_owned(), kb.to_string()]));
        Cmd::change(words)
    }

    /// The command that runs on the peer, below its receiver.
    fn receiver<S: Into<String>>(&self, words: impl IntoIterator<Item = S>) -> Result<Cmd> {
        let (host, peer) = (self.cx.host, &self.job.peer);
        let remote = host.peers.connect(peer).map_err(|why| Error::text(format!("{peer} cannot be reached: {why}")))?;
        let receiver = common::receiver(host, peer, self.cx.service, self.cx.rid, self.job.epoch);
        Ok(Cmd::change(receiver.into_iter().chain(words.into_iter().map(Into::into))).on(&remote))
    }

    fn run(&self, extract: Cmd, words: &[&str]) -> Result<Counts> {
        let receiver = self.receiver(["dds"].iter().chain(words).map(|w| (*w).to_owned()))?;
        let cmd = self.watched(extract, common::size).pipe(receiver).unbounded();
        self.cx.log.info(cmd.line());
        let out = self.cx.host.runner.run(&cmd);
        self.check(&out)?;
        serde_json::from_slice(&out.stdout).map_err(|e| Error::text(format!("{} does not tell what it has received: {e}", self.job.peer)))
    }

    /// With somebody who watches what it gives to the next stage.
    fn watched(&self, cmd: Cmd, words: impl Fn(u64) -> String + Send + Sync + 'static) -> Cmd {
        let Some(tell) = self.job.progress.clone() else { return cmd };
        let (peer, rid) = (self.job.peer.clone(), self.cx.rid.to_owned());
        let told = move |n| tell(Progress { peer: peer.clone(), rid: rid.clone(), words: words(n) });
        cmd.meter(Meter { limit: None, told: Arc::new(told) })
    }

    fn check(&self, out: &Output) -> Result<()> {
        let Some(_) = out.failure() else { return Ok(()) };
        for stage in out.stages.iter().filter(|s| !s.stderr.trim().is_empty()) {
            self.cx.log.error(format!("stderr:\n{}", stage.stderr));
        }
        let (dst, peer) = (&self.dst, &self.job.peer);
        Err(Error::text(format!(
            "node {peer} synchronization failed ({} => {dst})\n{}",
            self.round.volume.device(),
            cause(self.cx, peer, out)
        )))
    }
}

/// Has the peer make its replica of what stands beside it.
pub(super) fn apply(sender: &Sender, cx: &Cx, job: &Job, round: &Round, beside: &Beside) -> Result<()> {
    let dds = program(cx.host).map_err(Error::Text)?;
    let transfer = Transfer { sender, cx, job, round, dds, dst: sender.place_on(&job.peer) };
    let cmd = transfer.receiver(["dds", "--recover"])?.unbounded();
    cx.log.info(cmd.line());
    transfer.check(&cx.host.runner.run(&cmd))?;
    if let Beside::Delta(counts) = beside {
        cx.log.info(counts.report());
    }
    Ok(())
}

/// Why it failed. Who reads a pipe fails when who writes it does, and the other way round: the one that does not speak
/// of the other knows.
fn cause(cx: &Cx, peer: &str, out: &Output) -> String {
    if crate::cmd::system::interrupted() {
        return "interrupted by signal".into();
    }
    let failed: Vec<&Stage> = out.stages.iter().filter(|s| !s.ok()).collect();
    // 255 is ssh's own. The end of the shared connection, which brought it about, may be noticed a moment later
    let broken = failed.iter().any(|s| s.end == End::Exited(255));
    for _ in 0..if broken { 30 } else { 1 } {
        if cx.host.peers.lost(peer) {
            return format!("the connection to {peer} was lost");
        }
        if broken {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    let pipe = |s: &&Stage| s.end == End::Signaled(13) || s.stderr.to_lowercase().contains("broken pipe");
    let knows = failed.iter().find(|s| !pipe(s)).or(failed.first());
    let Some(stage) = knows else { return String::new() };
    stage.stderr.lines().find(|l| !l.trim().is_empty()).map_or_else(|| stage.why(), str::to_owned)
}
