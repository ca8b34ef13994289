//! Compares the image that was sent last with what a peer has, block by block, moving no data: all of it, or the part
//! whose turn it is after a sync.

use super::Sender;
use super::files::{Files, program};
use super::volume::{Volume, Which};
use crate::cmd::Cmd;
use crate::config::scope::Params;
use crate::error::{Error, Result};
use crate::host::Cx;
use crate::state::authority::{read_json, write_json};
use crate::sync::Share;
use crate::sync::{Job, common};
use chrono::{DateTime, Local};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What both sides compare at once, and what is sent again if it differs: bytes. The hashes of a volume are a thousandth of it.
pub(super) const BLOCK: u64 = 32768;

/// So many parts of each peer are remembered.
const REMEMBERED: usize = 100;

/// What `dds --diff --json` says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Found {
    blocks: u64,
    differing: u64,
    first: Option<u64>,
}

/// `var/NAME/RID.scrub.json`: how far each peer was compared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Record {
    peers: BTreeMap<String, Progress>,
}

/// Of one peer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Progress {
    /// Where the next part begins: bytes.
    next: u64,
    /// How often the whole volume was gone through.
    passes: u64,
    /// The last parts, the oldest first.
    history: Vec<Part>,
}

/// A part that was compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Part {
    at: DateTime<Local>,
    image: String,
    from: u64,
    length: u64,
    /// Blocks that were not the same.
    differing: u64,
}

impl Progress {
    /// The part whose turn it is: a share of `size`, in whole blocks.
    fn turn(&self, size: u64, share: Share) -> (u64, u64) {
        let from = if self.next < size { self.next } else { 0 };
        let length = share.of(size).next_multiple_of(BLOCK).max(BLOCK);
        (from, length.min(size - from))
    }

    fn done(&mut self, size: u64, part: Part) {
        let end = part.from + part.length;
        (self.next, self.passes) = if end < size { (end, self.passes) } else { (0, self.passes + 1) };
        self.history.push(part);
        let old = self.history.len().saturating_sub(REMEMBERED);
        self.history.drain(..old);
    }
}

/// `scrub = 5%`; `None`: nothing is compared after a sync.
pub(super) fn scrub_of(p: &Params) -> std::result::Result<Option<Share>, String> {
    let Some(text) = p.text("scrub").filter(|t| !t.is_empty()) else { return Ok(None) };
    let share =
        Share::parse(text).ok_or_else(|| format!("config file section {}: scrub = {text} is no share of the volume, as 5%", p.section))?;
    Ok(Some(share).filter(|s| !s.is_nothing()))
}

/// The image that was sent last, still there as a snapshot.
struct Base {
    volume: Volume,
    id: String,
    equals: Option<String>,
}

fn base(sender: &Sender, cx: &Cx) -> Result<Base> {
    let none = |why: &str| {
        Error::text(format!("{} cannot be compared: {why}. sync first: svcmgr -s {} sync update --force", sender.src, cx.service))
    };
    let volume = Volume::of(cx, &sender.src)?;
    let old = volume.look(cx)?.seen.old.ok_or_else(|| none("the snapshot of the last sync is not there"))?;
    if !old.valid {
        return Err(none("the snapshot of the last sync was full"));
    }
    let equals = Files(cx).chain().base.filter(|b| b.id == old.id).and_then(|b| b.equals);
    Ok(Base { volume, id: old.id, equals })
}

/// Compares all of it.
pub(super) fn verify(sender: &Sender, cx: &Cx, job: &Job) -> Result<()> {
    let base = base(sender, cx)?;
    let held = job.held.as_ref().and_then(|h| h.image.id.clone());
    if held.as_ref().is_none_or(|id| *id != base.id && Some(id) != base.equals.as_ref()) {
        let (peer, name) = (&job.peer, cx.service);
        return Err(Error::text(format!(
            "{peer} does not have the image that was sent last, with which it would be compared. sync first: svcmgr -s {name} sync update --force"
        )));
    }
    cx.log.info("start checksum threads. please be patient.");
    let found = compare(sender, cx, job, &base, None)?;
    judged(cx, job, &found)?;
    cx.log.info("src/dst checksums verified");
    Ok(())
}

/// Compares the part whose turn it is, and remembers how far that was.
pub(super) fn scrub(sender: &Sender, share: Share, cx: &Cx, job: &Job) -> Result<()> {
    let base = base(sender, cx)?;
    if job.image.id.as_ref() != Some(&base.id) {
        return Ok(()); // the snapshots could not be rotated; that was said
    }
    let path = Files(cx).scrub();
    let mut record = read_json::<Record>(&path).known().cloned().unwrap_or_default();
    let progress = record.peers.entry(job.peer.clone()).or_default();
    let (size, (from, length)) = (base.volume.size, progress.turn(base.volume.size, share));
    let found = compare(sender, cx, job, &base, Some((from, length)))?;
    progress.done(size, Part { at: cx.host.clock.now(), image: base.id.clone(), from, length, differing: found.differing });
    let passes = progress.passes;
    write_json(&path, &record)?;
    judged(cx, job, &found)?;
    let until = (from + length).saturating_mul(100) / size.max(1);
    cx.log.info(format!(
        "{}: {} compared, the same on both sides ({until} % of pass {})",
        job.peer,
        common::size(length),
        passes + u64::from(until < 100)
    ));
    Ok(())
}

/// Both sides read; hashes alone are sent. `part`: from, length.
fn compare(sender: &Sender, cx: &Cx, job: &Job, base: &Base, part: Option<(u64, u64)>) -> Result<Found> {
    let (host, peer) = (cx.host, &job.peer);
    let dds = program(host).map_err(Error::Text)?;
    let remote = host.peers.connect(peer).map_err(|why| Error::text(format!("{peer} cannot be reached: {why}")))?;
    let mut words = common::receiver(host, peer, cx.service, cx.rid, job.epoch);
    words.extend(["dds", "--hash", "--source", &sender.place_on(peer), "--block", &BLOCK.to_string()].map(str::to_owned));
    let numbers = part.map(|(from, length)| ["--from".to_owned(), from.to_string(), "--length".to_owned(), length.to_string()]);
    words.extend(numbers.into_iter().flatten());
    let diff = Cmd::probe([&dds, "--diff", "--source", &base.volume.snap_device(Which::Old), "--hashes", "-", "--json"]);
    let cmd = Cmd::change(words).on(&remote).pipe(diff).unbounded();
    cx.log.info(cmd.line());
    let out = host.runner.run(&cmd);
    if let Some(failed) = out.failure() {
        return Err(Error::text(format!("{} could not be compared with what {peer} has: {}", base.volume.device(), failed.why())));
    }
    serde_json::from_slice(&out.stdout).map_err(|e| Error::text(format!("dds does not tell what it has compared: {e}")))
}

/// The words of 2014; what differs, and how it is mended.
fn judged(cx: &Cx, job: &Job, found: &Found) -> Result<()> {
    if found.differing == 0 && found.blocks > 0 {
        return Ok(());
    }
    if found.blocks == 0 {
        return Err(Error::text("nothing was compared"));
    }
    let (node, peer) = (&cx.host.node, &job.peer);
    cx.log.error(format!("src/dst checksums differ for {node}/{peer}"));
    let first = found.first.map_or_else(String::new, |at| format!(", the first at byte {at}"));
    cx.log.error(format!(
        "{} of {} blocks of {} KB are not the same on {peer}{first}: something else has written there, or a disk has changed them. to mend them, on {node}: svcmgr -s {} sync resync --rid {}",
        found.differing, found.blocks, BLOCK / 1024, cx.service, cx.rid
    ));
    Err(Error::Reported)
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
