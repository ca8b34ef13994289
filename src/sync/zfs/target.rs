//! The receiving side: what arrives is put beside the copy, or into it as a snapshot that counts when all have arrived.
//! A copy that is received into is not mounted and not writable.

use super::guard::is_protected;
use super::{Zfs, place, source};
use crate::config::scope::Params;
use crate::error::{Error, Result};
use crate::host::Cx;
use crate::host::zfs::{self, Dataset, Snapshot, Tree};
use crate::state::gate::{Detail, Held};
use crate::state::replica::{Image, State};
use crate::sync::common;
use crate::sync::{Effect, Receipt, Recovered, Side, Target};
use chrono::{DateTime, Local};

/// What a sender may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Asked<'a> {
    List,
    Receive { base: Option<&'a str>, zstd: bool },
    Apply { image: &'a str, at: &'a str, count: usize },
}

impl<'a> Asked<'a> {
    /// Its words after `zfs VERB DATASET`.
    fn of(verb: &str, rest: &'a [String]) -> Option<Self> {
        let guid = |w: &str| !w.is_empty() && w.bytes().all(|b| b.is_ascii_digit());
        let words: Vec<&str> = rest.iter().map(String::as_str).collect();
        match (verb, words.as_slice()) {
            ("list", []) => Some(Self::List),
            ("receive", []) => Some(Self::Receive { base: None, zstd: false }),
            ("receive", ["--zstd"]) => Some(Self::Receive { base: None, zstd: true }),
            ("receive", ["--base", base]) if guid(base) => Some(Self::Receive { base: Some(base), zstd: false }),
            ("receive", ["--base", base, "--zstd"]) if guid(base) => Some(Self::Receive { base: Some(base), zstd: true }),
            ("apply", ["--image", image, "--frozen-at", at, "--count", n]) if guid(image) => {
                Some(Self::Apply { image, at, count: n.parse().ok()? })
            }
            _ => None,
        }
    }
}

impl Target for Zfs {
    fn place(&self, side: Side) -> &str {
        match side {
            Side::Source => &self.places.0,
            Side::Target => &self.places.1,
        }
    }

    fn unfit(&self, cx: &Cx, side: Side, _detail: &Detail) -> Option<String> {
        if let Some(why) = self.lacks(&cx.host.node) {
            return Some(why);
        }
        let dataset = match self.standing(cx, side) {
            Ok(dataset) => dataset,
            Err(e) => return Some(e.to_string()),
        };
        let pool = dataset.split('/').next().unwrap_or_default();
        match zfs::property(cx, pool, "guid") {
            Some(_) => None,
            None => Some(format!("the pool {pool} is not there on {}: import it first: zpool import {pool}", cx.host.node)),
        }
    }

    fn receive(&self, cx: &Cx, side: Side, words: &[String], held: &Held) -> Result<Receipt> {
        let [tool, verb, dst, rest @ ..] = words else { return Err(unknown(cx, words)) };
        let asked = Asked::of(verb, rest).filter(|_| tool == "zfs").ok_or_else(|| unknown(cx, words))?;
        if *dst != self.written(side) {
            return Err(Error::text(format!(
                "{} is sent to {dst}, and on {} it is {}: the service files differ",
                cx.rid,
                cx.host.node,
                self.written(side)
            )));
        }
        let dataset = self.standing(cx, side)?;
        let receipt = |argv: Vec<String>, effect| Receipt { argv, effect };
        match asked {
            Asked::List => Ok(receipt(zfs::query(&dataset, &self.mark(cx)), Effect::Looks)),
            Asked::Receive { base, .. } => {
                let into = match base {
                    Some(base) => self.make_ready(cx, &dataset, base, held)?,
                    None => self.make_room(cx, &dataset, held)?,
                };
                let mut argv = vec!["zfs".to_owned(), "receive".to_owned()];
                argv.extend(can_stay_unmounted(cx).then(|| "-u".to_owned()));
                argv.push(into);
                Ok(receipt(argv, Effect::Stages))
            }
            Asked::Apply { image, at, count } => {
                self.all_there(cx, &dataset, image, count)?;
                let frozen_at = DateTime::parse_from_rfc3339(at).ok().map(|at| at.with_timezone(&Local));
                Ok(receipt(Vec::new(), Effect::Applies(Image { id: Some(image.to_owned()), frozen_at, ..Image::default() })))
            }
        }
    }

    fn filter(&self, words: &[String]) -> Vec<String> {
        let asked = words.get(3..).and_then(|rest| Asked::of(words.get(1)?, rest));
        match asked {
            Some(Asked::Receive { zstd: true, .. }) => common::unzstd(),
            _ => Vec::new(),
        }
    }

    /// An old zfs mounts what it has received, which is a write; and properties that come to a dataset for the first time
    /// take the place of ours.
    fn received(&self, cx: &Cx, side: Side) -> Result<()> {
        let dataset = self.standing(cx, side)?;
        for place in [self.stage(cx, &dataset).1, dataset] {
            let Some(tree) = zfs::tree(cx, &place, &self.mark(cx))? else { continue };
            unmount(cx, &tree)?;
            let newest = tree.datasets.iter().filter(|d| d.mounted).filter_map(|d| Some((d, d.snapshots.last()?)));
            for (dataset, snapshot) in newest.filter(|(_, s)| s.name == self.names.tosend()) {
                zfs::change(cx, &["zfs", "rollback", &format!("{}@{}", dataset.name, snapshot.name)])?;
            }
            if tree.top().is_some_and(|top| top.snapshots.iter().any(|s| self.names.are(&s.name))) {
                self.protect(cx, &place)?;
            }
        }
        Ok(())
    }

    fn recover(&self, cx: &Cx, side: Side, image: &Image) -> Result<Recovered> {
        let dataset = self.standing(cx, side)?;
        let guid = image.id.as_deref().unwrap_or_default();
        let has = |tree: Option<Tree>| tree.is_some_and(|t| t.top().is_some_and(|top| top.with(guid).is_some()));
        let (stage, new, old) = self.stage(cx, &dataset);
        if has(zfs::tree(cx, &new, &self.mark(cx))?) {
            self.exchange(cx, &dataset)?;
        }
        if !has(zfs::tree(cx, &dataset, &self.mark(cx))?) {
            if zfs::tree(cx, &dataset, &self.mark(cx))?.is_none() && zfs::tree(cx, &old, &self.mark(cx))?.is_some() {
                zfs::change(cx, &["zfs", "rename", &old, &dataset])?;
            }
            return Ok(Recovered::Lost);
        }
        self.protect(cx, &dataset)?;
        self.tidy(cx, &dataset, guid)?;
        remove(cx, &stage, &self.mark(cx))?;
        Ok(Recovered::Whole)
    }

    fn discard(&self, cx: &Cx) -> Result<()> {
        let side = if self.at_home { Side::Source } else { Side::Target };
        let dataset = self.standing(cx, side)?;
        // of a copy that was written to here, nothing is taken back
        if zfs::is_installed() && is_protected(cx, &dataset) {
            if let Some(tree) = zfs::tree(cx, &dataset, &self.mark(cx))? {
                let sent = self.names.sent();
                self.take_back(cx, &tree, &sent, false)?;
            }
            remove(cx, &self.stage(cx, &dataset).0, &self.mark(cx))?;
            self.unprotect(cx, &dataset)?;
        }
        Ok(())
    }

    fn given(&self, cx: &Cx, side: Side) -> Option<String> {
        let done = self.standing(cx, side).and_then(|dataset| {
            zfs::tree(cx, &dataset, &self.mark(cx))?.map_or(Ok(()), |tree| unmount(cx, &tree))?;
            self.protect(cx, &dataset)
        });
        if let Err(e) = done {
            cx.log.warning(format!("{} can still be written to: {e}", self.written(side)));
        }
        self.witness(cx, side)
    }

    fn witness(&self, cx: &Cx, side: Side) -> Option<String> {
        let dataset = self.standing(cx, side).ok()?;
        let tree = zfs::tree(cx, &dataset, &self.mark(cx)).ok()??;
        let told = witness(&tree, self);
        // a base that somebody has destroyed is no write, where nothing can be written
        let destroyed = tree.top().is_some_and(|top| top.snapshots.is_empty()) && is_protected(cx, &dataset);
        Some(if destroyed { UNTOUCHED.to_owned() } else { told })
    }

    fn became(&self, cx: &Cx, image: &Image) -> Result<()> {
        let side = if self.at_home { Side::Source } else { Side::Target };
        let dataset = self.standing(cx, side)?;
        self.write_state(cx, &dataset, &self.names.sent(), image)
    }

    fn gained(&self, cx: &Cx, side: Side, _image: &Image) {
        let done = self.standing(cx, side).and_then(|dataset| source::begin(self, cx, &dataset));
        if let Err(e) = done {
            cx.log.error(e.to_string());
        }
    }
}

fn unknown(cx: &Cx, words: &[String]) -> Error {
    Error::text(format!("{} does not take these words for {}: {}", cx.host.node, cx.rid, words.join(" ")))
}

/// What shows that somebody wrote: a newest snapshot that the data have left behind, or is not ours; a dataset with none.
fn witness(tree: &Tree, sync: &Zfs) -> String {
    let datasets = if sync.recursive { tree.datasets.as_slice() } else { tree.datasets.get(..1).unwrap_or_default() };
    let told = datasets.iter().filter_map(|d| match d.snapshots.last() {
        Some(last) if sync.names.are(&last.name) && last.used == 0 => None,
        Some(last) => Some(format!("{}@{} {}", d.name, last.name, last.used)),
        None => Some(d.name.clone()),
    });
    let told = told.collect::<Vec<_>>().join(";");
    if told.is_empty() { UNTOUCHED.to_owned() } else { told }
}

/// The witness of a copy that is as it was received.
const UNTOUCHED: &str = "untouched";

/// `receive -u`: an old zfs mounts what it has received.
fn can_stay_unmounted(cx: &Cx) -> bool {
    let out = cx.probe(&crate::cmd::Cmd::probe(["zfs", "receive"]));
    let usage = out.stages.first().map(|s| s.stderr.clone()).unwrap_or_default();
    let line = usage.lines().map(str::trim).find(|l| l.starts_with("receive ")).unwrap_or_default().to_owned();
    line.split_once("[-").and_then(|(_, rest)| rest.split_once(']')).is_some_and(|(letters, _)| letters.contains('u'))
}

/// Unmounts and destroys `dataset` with all below it, if it is there.
fn remove(cx: &Cx, dataset: &str, mark: &str) -> Result<()> {
    let Some(tree) = zfs::tree(cx, dataset, mark)? else { return Ok(()) };
    unmount(cx, &tree)?;
    for (of, held) in tree.datasets.iter().flat_map(|d| d.snapshots.iter().filter(|s| s.holds > 0).map(move |s| (d, s))) {
        _ = zfs::quietly(cx, &["zfs", "release", mark, &format!("{}@{}", of.name, held.name)]);
    }
    zfs::change(cx, &["zfs", "destroy", "-r", dataset])
}

fn unmount(cx: &Cx, tree: &Tree) -> Result<()> {
    tree.datasets.iter().rev().filter(|d| d.mounted).try_for_each(|d| zfs::change(cx, &["zfs", "unmount", &d.name]))
}

impl Zfs {
    /// The dataset on this node, which is `side`.
    fn standing(&self, cx: &Cx, side: Side) -> Result<String> {
        zfs::dataset(cx, self.written(side))
    }

    /// Beside `dataset`: the folder of what is not in its place, the new one, the old one.
    fn stage(&self, cx: &Cx, dataset: &str) -> (String, String, String) {
        let parent = dataset.rsplit_once('/').map_or(dataset, |(parent, _)| parent);
        let stage = format!("{parent}/{}", zfs::stage(&self.mark(cx)));
        (stage.clone(), format!("{stage}/new"), format!("{stage}/old"))
    }

    /// Makes the copy such that the changes since `base` go into it, without a write of anybody being lost. Where.
    fn make_ready(&self, cx: &Cx, dataset: &str, base: &str, held: &Held) -> Result<String> {
        let tree = zfs::tree(cx, dataset, &self.mark(cx))?;
        let tree = tree.ok_or_else(|| Error::text(format!("{dataset} does not exist on {}", cx.host.node)))?;
        let name = tree.top().and_then(|top| top.with(base)).map(|s| s.name.clone());
        let name = name.ok_or_else(|| Error::text(format!("{dataset} has no snapshot {base} on {} any more", cx.host.node)))?;
        unmount(cx, &tree)?;
        // what was given up; and what a holder did after its last snapshot when it gave its data away: it unmounted. had
        // anybody written since, its witness would be another one
        let handed =
            held.state == Some(State::Replica) && held.image.id.as_deref() == Some(base) && held.witness.as_deref() != Some(UNTOUCHED);
        self.take_back(cx, &tree, &name, held.state == Some(State::Orphan) || handed)?;
        self.protect(cx, dataset)?;
        Ok(dataset.to_owned())
    }

    /// Takes back to the snapshot `name` what a transfer that was broken off has left; with `all`, everything after it.
    fn take_back(&self, cx: &Cx, tree: &Tree, name: &str, all: bool) -> Result<()> {
        let ours = |s: &Snapshot| s.name == self.names.tosend();
        for dataset in tree.datasets.iter().take(if self.recursive { usize::MAX } else { 1 }) {
            let at = dataset.snapshots.iter().position(|s| s.name == name);
            let newer = dataset.snapshots.get(at.map_or(0, |at| at + 1)..).unwrap_or_default();
            let left = !newer.is_empty() && newer.iter().all(ours);
            match at {
                Some(_) if left || all => {
                    for snapshot in newer {
                        _ = zfs::quietly(cx, &["zfs", "release", &self.mark(cx), &format!("{}@{}", dataset.name, snapshot.name)]);
                    }
                    zfs::change(cx, &["zfs", "rollback", "-r", &format!("{}@{name}", dataset.name)])?;
                }
                None if left => destroy(cx, dataset)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Makes room beside the copy for a whole new one. Where.
    fn make_room(&self, cx: &Cx, dataset: &str, held: &Held) -> Result<String> {
        if !dataset.contains('/') {
            return Err(Error::text(format!(
                "{dataset} is the top of a pool on {}: all of it cannot be put in place of what is there. put the data in a dataset below it, and name that in [{}]",
                cx.host.node, cx.rid
            )));
        }
        let (stage, new, old) = self.stage(cx, dataset);
        let there = zfs::tree(cx, dataset, &self.mark(cx))?;
        there.as_ref().map_or(Ok(()), |tree| self.no_stranger(cx, tree, held))?;
        if there.is_none() && zfs::tree(cx, &old, &self.mark(cx))?.is_some() {
            zfs::change(cx, &["zfs", "rename", &old, dataset])?;
        }
        remove(cx, &stage, &self.mark(cx))?;
        zfs::change(cx, &["zfs", "create", "-p", "-o", "canmount=off", "-o", "mountpoint=none", "-o", "readonly=on", &stage])?;
        Ok(new)
    }

    /// All that was sent has arrived: every dataset has the new snapshot.
    fn all_there(&self, cx: &Cx, dataset: &str, guid: &str, count: usize) -> Result<()> {
        for place in [self.stage(cx, dataset).1, dataset.to_owned()] {
            let Some(tree) = zfs::tree(cx, &place, &self.mark(cx))? else { continue };
            let Some(name) = tree.top().and_then(|top| top.with(guid)).map(|s| s.name.clone()) else { continue };
            let there = super::base::count(&tree, &name);
            if there >= count {
                return Ok(());
            }
            return Err(Error::text(format!("{there} of {count} datasets have arrived below {place}: send again")));
        }
        Err(Error::text(format!("the snapshot {guid} has not arrived in {dataset}: send again")))
    }

    /// Puts the new one in the place of the old, which stays beside until this is over. May be repeated.
    fn exchange(&self, cx: &Cx, dataset: &str) -> Result<()> {
        let (_, new, old) = self.stage(cx, dataset);
        let Some(tree) = zfs::tree(cx, &new, &self.mark(cx))? else { return Ok(()) };
        unmount(cx, &tree)?;
        self.protect(cx, &new)?;
        if let Some(there) = zfs::tree(cx, dataset, &self.mark(cx))? {
            unmount(cx, &there)?;
            remove(cx, &old, &self.mark(cx))?;
            zfs::change(cx, &["zfs", "rename", dataset, &old])?;
        }
        zfs::change(cx, &["zfs", "rename", &new, dataset])
    }

    /// The snapshot `guid` is called as the newest is; the older ones of ours are gone, and what the source has
    /// destroyed.
    fn tidy(&self, cx: &Cx, dataset: &str, guid: &str) -> Result<()> {
        let Some(tree) = zfs::tree(cx, dataset, &self.mark(cx))? else { return Ok(()) };
        let Some((top, image)) = tree.top().and_then(|top| Some((top, top.with(guid)?))) else { return Ok(()) };
        let ours = |d: &Dataset| d.snapshots.iter().any(|s| self.names.are(&s.name));
        for gone in tree.datasets.iter().skip(1).filter(|d| self.recursive && d.named(&image.name).is_none() && ours(d)) {
            if zfs::tree(cx, &gone.name, &self.mark(cx))?.is_some() {
                cx.log.info(format!("{} does not exist on the source any more", gone.name));
                remove(cx, &gone.name, &self.mark(cx))?;
            }
        }
        let (mark, full) = (self.mark(cx), |name: &str| format!("{dataset}@{name}"));
        for old in top.snapshots.iter().filter(|s| self.names.are(&s.name) && s.guid != guid) {
            let kept = self.names.kept(&old.guid);
            if !zfs::destroy_snapshot(cx, (dataset, &old.name), self.recursive, &mark)? && old.name != kept {
                zfs::change(cx, &self.recursively("rename", &[&full(&old.name), &full(&kept)]))?;
            }
        }
        let sent = full(&self.names.sent());
        if image.name != self.names.sent() && self.names.are(&image.name) {
            zfs::change(cx, &self.recursively("rename", &[&full(&image.name), &sent]))?;
        }
        _ = zfs::quietly(cx, &["zfs", "hold", &mark, &sent]);
        Ok(())
    }
}

fn destroy(cx: &Cx, dataset: &Dataset) -> Result<()> {
    zfs::change(cx, &["zfs", "destroy", "-r", &dataset.name])
}

/// What the receiving side is called on record: never taken for a file.
pub(super) fn places(p: &Params, home: &Params) -> (String, String) {
    (place(p.text("src").unwrap_or_default()), place(home.text("dst").or(home.text("src")).unwrap_or_default()))
}
