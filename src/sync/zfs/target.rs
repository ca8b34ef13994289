//! The receiving side: what arrives is put beside the copy, or into it as a snapshot that counts when all have arrived.
//! A copy that is received into is not mounted and not writable.

use super::back::unmount;
use super::guard::is_protected;
use super::{Zfs, incoming, place, source};
use crate::config::scope::Params;
use crate::error::{Error, Result};
use crate::host::Cx;
use crate::host::zfs::{self, Tree};
use crate::state::gate::{Detail, Held};
use crate::state::replica::Image;
use crate::sync::common;
use crate::sync::{Effect, Receipt, Recovered, Side, Target};
use chrono::{DateTime, Local};

/// What a sender may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Asked<'a> {
    List,
    Written,
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
            ("written", []) => Some(Self::Written),
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
        (!self.at_hand(cx, side)).then(|| no_pool(cx, &dataset).to_string())
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
            Asked::Written => {
                let words = ["zfs", "get", "-Hpr", "-t", "filesystem", "-o", "value", "written", &dataset];
                Ok(receipt(words.map(str::to_owned).to_vec(), Effect::Looks))
            }
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
        if !self.at_hand(cx, side) {
            return Err(no_pool(cx, &dataset));
        }
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
        // the new data are there, all of them: nothing else is worth a sync or a start
        let tidy = self.tidy(cx, &dataset, guid);
        if let Err(e) = tidy.and_then(|()| self.clear(cx, &stage)) {
            cx.log.warning(format!("{dataset} is not tidy: {e}"));
        }
        incoming::end(cx)?;
        Ok(Recovered::Whole)
    }

    fn discard(&self, cx: &Cx, fresh: bool) -> Result<()> {
        let side = if self.at_home { Side::Source } else { Side::Target };
        let dataset = self.standing(cx, side)?;
        // protected: a start before this one has come to nothing. properties that come to home for the first time take the
        // place of what protects it; a start that was killed when it had taken authority leaves what arrives on record
        if !zfs::is_installed() || !(fresh || incoming::base(cx)?.is_some() || is_protected(cx, &dataset)) {
            return Ok(());
        }
        let Some(tree) = zfs::tree(cx, &dataset, &self.mark(cx))? else { return Ok(()) };
        let base = tree.top().map_or(Ok(None), |top| self.taken_back_to(cx, top))?;
        if let Some((top, base)) = tree.top().zip(base) {
            self.take_back(cx, &tree, base, false)?;
            self.call_sent(cx, &top.name, base)?;
        } else if tree.datasets.iter().any(|d| d.named(&self.names.tosend()).is_some()) {
            return Err(Error::text(format!(
                "{dataset} is partly old, partly new on {}, and the snapshot to take it back to is gone. from the holder: svcmgr -s {} sync full --rid {}",
                cx.host.node, cx.service, cx.rid
            )));
        }
        if let Err(e) = self.clear(cx, &self.stage(cx, &dataset).0) {
            cx.log.warning(e.to_string());
        }
        self.unprotect(cx, &dataset).map_err(|e| match e.to_string() {
            why if why.contains("out of space") => Error::text(format!(
                "{why}. the pool {} is full on {}: destroy or remove something else in it, then start again",
                pool_of(&dataset),
                cx.host.node
            )),
            _ => e,
        })?;
        incoming::end(cx)
    }

    fn at_hand(&self, cx: &Cx, side: Side) -> bool {
        self.standing(cx, side).is_ok_and(|dataset| zfs::property(cx, pool_of(&dataset), "guid").is_some())
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
        self.told(cx, &self.standing(cx, side).ok()?).ok()?
    }

    fn became(&self, cx: &Cx, image: &Image) -> Result<()> {
        let side = if self.at_home { Side::Source } else { Side::Target };
        let dataset = self.standing(cx, side)?;
        let tree = zfs::tree(cx, &dataset, &self.mark(cx))?;
        let snapshot = tree.as_ref().and_then(|tree| tree.top()?.with(image.id.as_deref()?));
        self.write_state(cx, &dataset, &snapshot.map_or_else(|| self.names.sent(), |s| s.name.clone()), image)
    }

    fn gained(&self, cx: &Cx, side: Side, _image: &Image) {
        let done = self.standing(cx, side).and_then(|dataset| source::begin(self, cx, &dataset));
        if let Err(e) = done {
            cx.log.error(e.to_string());
        }
    }
}

fn pool_of(dataset: &str) -> &str {
    dataset.split('/').next().unwrap_or_default()
}

fn no_pool(cx: &Cx, dataset: &str) -> Error {
    let pool = pool_of(dataset);
    Error::text(format!("the pool {pool} is not there on {}: import it first: zpool import {pool}", cx.host.node))
}

fn unknown(cx: &Cx, words: &[String]) -> Error {
    Error::text(format!("{} does not take these words for {}: {}", cx.host.node, cx.rid, words.join(" ")))
}

/// `receive -u`: an old zfs mounts what it has received.
fn can_stay_unmounted(cx: &Cx) -> bool {
    let out = cx.probe(&crate::cmd::Cmd::probe(["zfs", "receive"]));
    let usage = out.stages.first().map(|s| s.stderr.clone()).unwrap_or_default();
    let line = usage.lines().map(str::trim).find(|l| l.starts_with("receive ")).unwrap_or_default().to_owned();
    line.split_once("[-").and_then(|(_, rest)| rest.split_once(']')).is_some_and(|(letters, _)| letters.contains('u'))
}

impl Zfs {
    /// The dataset on this node, which is `side`.
    fn standing(&self, cx: &Cx, side: Side) -> Result<String> {
        self.dataset(cx, self.written(side))
    }
}

/// What the receiving side is called on record: never taken for a file.
pub(super) fn places(p: &Params, home: &Params) -> (String, String) {
    (place(p.text("src").unwrap_or_default()), place(home.text("dst").or(home.text("src")).unwrap_or_default()))
}
