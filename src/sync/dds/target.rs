//! The receiving side of dds: what a sender's words come to on this node, and what the device here is.

use super::files::{program, state_file};
use super::moved;
use super::words::{self, Words};
use crate::cmd::Cmd;
use crate::config::scope::Params;
use crate::error::{Error, Result};
use crate::host::Cx;
use crate::host::device::{self, Place};
use crate::state::gate::{Detail, Held};
use crate::state::replica::{Image, State};
use crate::state::{atomic, stamp};
use crate::sync::{Effect, Receipt, Recovered, Side, Target};
use chrono::{DateTime, Local};
use serde::Deserialize;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long dds may take to read the two ends of a device, or the head of a spool.
const LOOK: Duration = Duration::from_secs(20);

/// How long it may take to finish an apply: as long as the disk takes to write a volume.
const APPLY: Duration = Duration::from_secs(24 * 3600);

/// The receiving side of one section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Receiver {
    /// `src`, as this node resolves it.
    src: String,
    /// `dst`, the same.
    dst: String,
    /// Below it are the spools; `None`: below var.
    store: Option<PathBuf>,
    /// Of snapshots made here: MB.
    snap_size: Option<i64>,
}

impl Receiver {
    /// Of a section.
    pub(super) fn of(p: &Params, src: &str, dst: &str) -> Self {
        let snap_size = p.integer("snap_size").ok().flatten().filter(|mb| *mb > 0);
        Self { src: src.into(), dst: dst.into(), store: p.text("delta_store").map(PathBuf::from), snap_size }
    }

    /// Where deltas wait until they are applied.
    pub(super) fn spool(&self, cx: &Cx) -> PathBuf {
        match &self.store {
            Some(store) => store.join(cx.service).join(cx.rid),
            None => cx.host.paths.service_var(cx.service).join("spool").join(cx.rid),
        }
    }

    fn ready_spool(&self, cx: &Cx) -> Result<String> {
        let spool = self.spool(cx);
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&spool).map_err(Error::io("create", &spool))?;
        Ok(spool.display().to_string())
    }

    /// Of the delta that waits: its image, and the one it begins at.
    fn waiting(&self, cx: &Cx, dds: &str) -> Result<(Image, Option<String>)> {
        let spool = self.spool(cx);
        let none = |why: &str| Error::text(format!("no delta of {} waits in {} on {}: {why}", cx.rid, spool.display(), cx.host.node));
        let out = cx.probe(&Cmd::probe([dds, "--inspect", &spool.display().to_string(), "--json"]).timeout(LOOK));
        if let Some(failed) = out.failure() {
            return Err(none(&failed.why()));
        }
        let head: Head = serde_json::from_slice(&out.stdout).map_err(|e| none(&format!("dds does not tell what it is: {e}")))?;
        let id = head.image.filter(|id| !id.is_empty()).ok_or_else(|| none("it does not say what it is"))?;
        let frozen_at = head.frozen_at.as_deref().and_then(instant);
        Ok((Image { id: Some(id), frozen_at, epoch: 0, round: head.note.filter(|n| !n.is_empty()) }, head.base.filter(|b| !b.is_empty())))
    }

    fn merge(&self, cx: &Cx, side: Side, dds: &str, words: &Words, held: &Held) -> Result<Receipt> {
        let (place, node) = (self.place(side), &cx.host.node);
        let mut argv = vec![dds.to_owned(), "--merge".into()];
        if !words.has("--hold") {
            // what is whole is written to in one way only: from beside it
            if !matches!(held.state, Some(State::None | State::Torn)) || held.applying {
                return Err(Error::text(format!("{} has a copy of {} on {node}: it is not overwritten in place", cx.rid, cx.service)));
            }
            if words.has("--create") && place.starts_with("/dev/") {
                return Err(Error::text(format!("{place} is a device: it is not made on {node}")));
            }
            argv.extend(["--dest".into(), place.into()]);
            argv.extend(words.flags(&["--create", "-v", "--json"]));
            return Ok(Receipt { argv, effect: Effect::Overwrites });
        }
        let base = words.value("--expect-base");
        begins_here(cx, base, held)?;
        argv.extend(["--spool".into(), self.ready_spool(cx)?, "--dest".into(), place.into(), "--hold".into()]);
        argv.extend(base.into_iter().flat_map(|base| ["--expect-base".to_owned(), base.to_owned()]));
        argv.extend(words.flags(&["-v", "--json"]));
        Ok(Receipt { argv, effect: Effect::Stages })
    }
}

/// The header of a delta, as `dds --inspect --json` tells it.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Head {
    base: Option<String>,
    image: Option<String>,
    frozen_at: Option<String>,
    note: Option<String>,
}

/// What `dds --recover --json` says.
#[derive(Deserialize)]
struct Done {
    state: String,
}

impl Target for Receiver {
    fn place(&self, side: Side) -> &str {
        match side {
            Side::Source => &self.src,
            Side::Target => &self.dst,
        }
    }

    fn unfit(&self, cx: &Cx, side: Side, detail: &Detail) -> Option<String> {
        let (place, node, name, rid) = (self.place(side), &cx.host.node, cx.service, cx.rid);
        let refuse = |why: String| Some(format!("{rid} of {name} is not received on {node}: {why}"));
        let same = |dst: &str| dst == place || cx.host.facts.real_path(dst) == cx.host.facts.real_path(place);
        if let Some(dst) = detail.dst.as_deref().filter(|dst| !same(dst)) {
            return refuse(format!(
                "it would be written to {dst}, and by the service file of {node} its place is {place}: the two differ. from the holder: svcmgr -s {name} sync all --rid sync#i0"
            ));
        }
        if let Err(why) = program(cx.host) {
            return refuse(why);
        }
        let device = place.starts_with("/dev/");
        match device::look(place) {
            Place::Block { busy: true, number, .. } => refuse(in_use(cx, place, &number)),
            Place::Block { size, .. } => match detail.size.filter(|wanted| *wanted > size) {
                Some(wanted) => {
                    refuse(format!("{place} has {size} bytes there, and the volume has {wanted}. on {node}: lvextend -L {wanted}b {place}"))
                }
                None => None,
            },
            Place::Missing if device => refuse(format!(
                "{place} is not there. on {node}: svcmgr -s {name} startstandby, if its volume group is not active; else make it: lvcreate -L {}b -n LV VG",
                detail.size.unwrap_or_default()
            )),
            Place::Missing if Path::new(place).parent().is_some_and(Path::is_dir) => None, // a first copy makes it
            Place::Missing => {
                let folder = Path::new(place).parent().unwrap_or(Path::new("/")).display();
                refuse(format!("the folder of {place} is not there. on {node}: mkdir -p {folder}"))
            }
            Place::File(_) if device => {
                refuse(format!("{place} is a file there, not a block device: something has written it by mistake. on {node}: remove it"))
            }
            Place::File(_) => {
                let loops = cx.host.facts.loops_of(place);
                let used = loops.first().map(|l| format!("{place} is in use there (held by {})", l.device));
                used.and_then(refuse)
            }
            Place::Other => refuse(format!("{place} is neither a block device nor a file there")),
            Place::Unknown(why) => refuse(why),
        }
    }

    fn receive(&self, cx: &Cx, side: Side, words: &[String], held: &Held) -> Result<Receipt> {
        let words = Words::parse(words).map_err(Error::Usage)?;
        let dds = program(cx.host).map_err(Error::Text)?;
        let place = self.place(side);
        let named = words.value("--dest").or(words.value("--source"));
        if named.is_some_and(|named| named != place && cx.host.facts.real_path(named) != cx.host.facts.real_path(place)) {
            let named = named.unwrap_or_default();
            return Err(Error::text(format!("{} is on {place} on {}, not on {named}", cx.rid, cx.host.node)));
        }
        match words.verb() {
            words::Verb::Merge => self.merge(cx, side, &dds, &words, held),
            words::Verb::Recover => {
                let (image, base) = self.waiting(cx, &dds)?;
                begins_here(cx, base.as_deref(), held)?;
                let mut argv = vec![dds, "--recover".into(), self.spool(cx).display().to_string(), "--dest".into(), place.into()];
                argv.extend(words.flags(&["-v", "--json"]));
                Ok(Receipt { argv, effect: Effect::Applies(image) })
            }
            words::Verb::List => {
                let value = |name| words.value(name).unwrap_or_default();
                let list = moved::list(cx, place, &value("--since").to_owned(), value("--for"))?;
                Ok(Receipt { argv: vec!["cat".into(), list.display().to_string()], effect: Effect::Looks })
            }
            words::Verb::Hash => {
                let mut argv = vec![dds, "--hash".into(), "--source".into(), place.into()];
                argv.extend(words.values(&["--block", "--from", "--length", "--bwlimit"]));
                Ok(Receipt { argv, effect: Effect::Looks })
            }
        }
    }

    fn make_way(&self, cx: &Cx, side: Side) -> Result<()> {
        moved::make_way(cx, self.place(side))
    }

    fn recover(&self, cx: &Cx, side: Side, image: &Image) -> Result<Recovered> {
        let dds = program(cx.host).map_err(Error::Text)?;
        let (spool, place) = (self.spool(cx), self.place(side));
        if !spool.is_dir() {
            return Ok(Recovered::Lost);
        }
        if device::look(place) == Place::Missing {
            return Err(Error::text(format!("{place} is not there: what was being written to it is finished when it is")));
        }
        cx.log.info(format!("finishing what was being written to {place}: the image {}", image.id.as_deref().unwrap_or("without a name")));
        let out = cx.run(&Cmd::change([&dds, "--recover", &spool.display().to_string(), "--dest", place, "--json"]).timeout(APPLY));
        if let Some(failed) = out.failure() {
            return Err(Error::text(format!("{place} is still partly old, partly new: {}", failed.why())));
        }
        let done: Done =
            serde_json::from_slice(&out.stdout).map_err(|e| Error::text(format!("dds does not tell what it has done: {e}")))?;
        // it removes the delta when all of it is on the disk: none there any more means that it is
        if matches!(done.state.as_str(), "applied" | "nothing") { Ok(Recovered::Whole) } else { Ok(Recovered::Lost) }
    }

    fn discard(&self, cx: &Cx, _fresh: bool) -> Result<()> {
        let spool = self.spool(cx);
        match std::fs::remove_dir_all(&spool) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                cx.log.warning(format!("{} takes room and is of no use any more, but cannot be removed: {e}", spool.display()));
            }
            _ => {}
        }
        Ok(())
    }

    fn witness(&self, cx: &Cx, side: Side) -> Option<String> {
        let dds = program(cx.host).ok()?;
        let place = self.place(side);
        let there = matches!(device::look(place), Place::Block { .. } | Place::File(_));
        let out = there.then(|| cx.probe(&Cmd::probe([&dds, "--witness", place]).timeout(LOOK))).filter(crate::cmd::Output::ok)?;
        out.text().split_whitespace().next().map(str::to_owned)
    }

    fn became(&self, cx: &Cx, image: &Image) -> Result<()> {
        let (Some(at), Some(id)) = (image.frozen_at, &image.id) else { return Ok(()) };
        let path = state_file(cx.host, cx.service, cx.rid);
        atomic::write(&path, format!("{};{id}\n", stamp::format(at)).as_bytes())
    }

    fn gained(&self, cx: &Cx, side: Side, image: &Image) {
        moved::gained(cx, self.place(side), self.snap_size, image);
    }
}

/// Who has the device, and how to get it back.
fn in_use(cx: &Cx, place: &str, number: &str) -> String {
    let users = device::users(&cx.host.facts, number);
    let remedy = match users.first().map(String::as_str) {
        Some(first) if first.starts_with("mounted on ") => format!("umount {}", first.trim_start_matches("mounted on ")),
        Some("in use as swap") => format!("swapoff {place}"),
        _ => format!("dmsetup ls --tree; lsof {place}   (what it is)"),
    };
    let users = if users.is_empty() { "by something that is not seen from here".into() } else { users.join(", ") };
    format!("{place} is in use there ({users}): what is in use is not overwritten. on {}: {remedy}", cx.host.node)
}

/// A delta fits what it begins at, and nothing else; one that begins nowhere has all that differs.
fn begins_here(cx: &Cx, base: Option<&str>, held: &Held) -> Result<()> {
    let (rid, node) = (cx.rid, &cx.host.node);
    match (base, held.image.id.as_deref()) {
        (None, _) => Ok(()),
        (Some(base), Some(id)) if base == id => Ok(()),
        (Some(base), Some(id)) => {
            Err(Error::text(format!("{rid} on {node} is the image {id}, and the delta begins at {base}: it does not fit")))
        }
        (Some(base), None) => {
            Err(Error::text(format!("it is not known which image {rid} on {node} is, and the delta begins at {base}: it does not fit")))
        }
    }
}

/// An instant in a header: RFC 3339, or as in state files.
fn instant(text: &str) -> Option<DateTime<Local>> {
    DateTime::parse_from_rfc3339(text).map(|at| at.with_timezone(&Local)).ok().or_else(|| stamp::parse(text))
}

#[cfg(test)]
#[path = "target_tests.rs"]
mod tests;
