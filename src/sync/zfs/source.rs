//! The snapshots of the sending side: made before the first transfer, kept while a peer may have them as its newest.
//! Which peers that are is a property of the snapshot: it goes where the pool goes.

use super::{Zfs, names};
use crate::error::{Error, Result};
use crate::host::Cx;
use crate::host::zfs::{self, Dataset, Snapshot, Tree};
use crate::state::replica::Image;
use crate::sync::common::frozen;
use std::sync::{Mutex, PoisonError};

/// Held while marks are read and changed: peers are sent to side by side.
static MARKS: Mutex<()> = Mutex::new(());

/// Makes the snapshots.
pub(super) fn take(zfs: &Zfs, cx: &Cx) -> Result<Image> {
    let src = zfs.source(cx)?;
    let tree = zfs.here(cx, &src)?;
    leftover(zfs, cx, &tree)?;
    let name = format!("{src}@{}", zfs.names.tosend());
    let at = cx.host.clock.now();
    zfs::change(cx, &zfs.recursively("snapshot", &[&name]))?;
    let guid = zfs.here(cx, &src).ok().and_then(|tree| tree.top()?.named(&zfs.names.tosend()).map(|s| s.guid.clone()));
    match guid {
        Some(guid) => Ok(Image { id: Some(guid), frozen_at: Some(at), ..Image::default() }),
        None => {
            _ = zfs::change(cx, &zfs.recursively("destroy", &[&name]));
            Err(Error::text(format!("{name} was made and is not there")))
        }
    }
}

/// A snapshot that an earlier command has left is never sent as one of now. It is kept if a peer may have it.
fn leftover(zfs: &Zfs, cx: &Cx, tree: &Tree) -> Result<()> {
    let Some(top) = tree.top() else { return Ok(()) };
    let Some(left) = top.named(&zfs.names.tosend()) else {
        // the top one is destroyed, those below are not: nobody has them
        let mut left = tree.datasets.iter().filter_map(|d| Some((d, d.named(&zfs.names.tosend())?)));
        return left.try_for_each(|(dataset, left)| zfs::change(cx, &["zfs", "destroy", &format!("{}@{}", dataset.name, left.name)]));
    };
    // of 2014, or of a command that died before the first transfer: nobody has it
    let wanted = left.mark.is_some() && !names::peers(left.mark.as_deref(), &zfs.peers).is_empty();
    if wanted { keep(zfs, cx, top, left) } else { retire(zfs, cx, &top.name, left) }
}

/// Gives it the name of those that are kept for a peer.
fn keep(zfs: &Zfs, cx: &Cx, top: &Dataset, snapshot: &Snapshot) -> Result<()> {
    zfs.rename(cx, &top.name, &snapshot.name, &zfs.names.kept(&snapshot.guid))
}

/// Destroys it, with those of its name below. What others hold, or have made a clone of, is put out of the way.
pub(super) fn retire(zfs: &Zfs, cx: &Cx, top: &str, snapshot: &Snapshot) -> Result<()> {
    let kept = zfs.names.kept(&snapshot.guid);
    let destroyed = zfs::destroy_snapshot(cx, (top, &snapshot.name), zfs.recursive, &zfs.mark(cx));
    if destroyed.as_ref().is_ok_and(|done| *done) || snapshot.name == kept {
        return Ok(()); // of one that was put out of the way, somebody has heard
    }
    let why = destroyed.err().map_or_else(|| format!("it is held by others: zfs holds -r {top}@{kept}"), |e| e.to_string());
    cx.log.warning(format!("{top}@{} stays, as {top}@{kept}: {why}", snapshot.name));
    zfs.rename(cx, top, &snapshot.name, &kept)
}

/// On record before the first byte: `peer` may have the snapshot of this command as its newest. Of those that it does
/// not have, `there` says, it has none.
pub(super) fn mark(zfs: &Zfs, cx: &Cx, here: &Tree, there: Option<&Tree>, peer: &str) -> Result<()> {
    let _one = MARKS.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(top) = zfs.here(cx, &here.top().map(|t| t.name.clone()).unwrap_or_default())?.top().cloned() else { return Ok(()) };
    let copy = zfs.copies.name_of(peer);
    for snapshot in top.snapshots.iter().filter(|s| zfs.names.are(&s.name)) {
        let new = snapshot.name == zfs.names.tosend();
        let mut peers = if new && snapshot.mark.is_none() { Vec::new() } else { names::peers(snapshot.mark.as_deref(), &zfs.peers) };
        let has = new || there.and_then(Tree::top).is_some_and(|t| t.with(&snapshot.guid).is_some());
        if peers.iter().any(|p| p == copy) == has && snapshot.mark.is_some() {
            continue;
        }
        peers.retain(|p| p != copy);
        peers.extend(has.then(|| copy.to_owned()));
        set(zfs, cx, &top, snapshot, &peers)?;
        if new {
            // nobody destroys it by accident while a peer counts on it; datasets below may be destroyed as ever
            zfs::quietly(cx, &["zfs", "hold", &zfs.mark(cx), &format!("{}@{}", top.name, snapshot.name)])
                .or_else(|e| if e.to_string().contains("already exists") { Ok(()) } else { Err(e) })?;
        }
    }
    Ok(())
}

fn set(zfs: &Zfs, cx: &Cx, top: &Dataset, snapshot: &Snapshot, peers: &[String]) -> Result<()> {
    let value = format!("{}={}", zfs.mark(cx), names::marked(peers));
    zfs::quietly(cx, &["zfs", "set", &value, &format!("{}@{}", top.name, snapshot.name)])
}

/// `peer` has it: nothing older is its newest any more.
pub(super) fn confirmed(zfs: &Zfs, cx: &Cx, peer: &str) -> Result<()> {
    frozen::confirmed(cx);
    let _one = MARKS.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(top) = zfs.here(cx, &zfs.source(cx)?)?.top().cloned() else { return Ok(()) };
    let copy = zfs.copies.name_of(peer);
    for snapshot in top.snapshots.iter().filter(|s| zfs.names.are(&s.name) && s.name != zfs.names.tosend()) {
        let mut peers = names::peers(snapshot.mark.as_deref(), &zfs.peers);
        if peers.iter().any(|p| p == copy) {
            peers.retain(|p| p != copy);
            set(zfs, cx, &top, snapshot, &peers)?;
        }
    }
    Ok(())
}

/// After the last transfer: the new snapshot takes the place of the one before, which stays as long as a peer may have
/// it as its newest. One that nobody got goes.
pub(super) fn release(zfs: &Zfs, cx: &Cx) {
    let Some(arrived) = frozen::release(cx) else { return };
    if let Err(e) = rotate(zfs, cx, arrived) {
        cx.log.warning(format!("the snapshots here are not tidy: {e}. the next sync tidies them"));
    }
}

fn rotate(zfs: &Zfs, cx: &Cx, arrived: bool) -> Result<()> {
    let Some(top) = zfs.here(cx, &zfs.source(cx)?)?.top().cloned() else { return Ok(()) };
    let wanted = |s: &Snapshot| !names::peers(s.mark.as_deref(), &zfs.peers).is_empty();
    let Some(new) = top.named(&zfs.names.tosend()) else { return Ok(()) };
    if !arrived {
        // a peer that was being sent to when that broke off may have it all the same
        return if new.mark.is_some() && wanted(new) { keep(zfs, cx, &top, new) } else { retire(zfs, cx, &top.name, new) };
    }
    for old in top.snapshots.iter().filter(|s| zfs.names.are(&s.name) && s.guid != new.guid) {
        match (wanted(old), old.name == zfs.names.sent()) {
            (true, true) => keep(zfs, cx, &top, old)?,
            (true, false) => {}
            (false, _) => retire(zfs, cx, &top.name, old)?,
        }
    }
    zfs.call_sent(cx, &top.name, new).map(|_| ())
}

/// Authority has come to this node: every peer may have the snapshot that is the newest here.
pub(super) fn begin(zfs: &Zfs, cx: &Cx, dataset: &str) -> Result<()> {
    let tree = zfs::tree(cx, dataset, &zfs.mark(cx))?;
    let newest = tree.as_ref().and_then(Tree::top).and_then(|top| Some((top, zfs.on_record(cx, top)?)));
    newest.map_or(Ok(()), |(top, snapshot)| set(zfs, cx, top, snapshot, &zfs.peers))
}

impl Zfs {
    /// Renames the snapshot `from` of `top`, and those of its name below.
    pub(super) fn rename(&self, cx: &Cx, top: &str, from: &str, to: &str) -> Result<()> {
        zfs::change(cx, &self.recursively("rename", &[&format!("{top}@{from}"), &format!("{top}@{to}")]))
    }

    /// Calls the snapshot of `top` by the name of what was sent last; where a dataset below has one of that name that is not
    /// ours, by its own. How.
    pub(super) fn call_sent(&self, cx: &Cx, top: &str, snapshot: &Snapshot) -> Result<String> {
        let (sent, kept) = (self.names.sent(), self.names.kept(&snapshot.guid));
        if snapshot.name == sent || !self.names.are(&snapshot.name) {
            return Ok(snapshot.name.clone());
        }
        match self.rename(cx, top, &snapshot.name, &sent) {
            Ok(()) => Ok(sent),
            Err(_) if snapshot.name == kept => Ok(kept),
            Err(e) => {
                cx.log.warning(format!("{top}@{} is called {kept} instead: {e}", snapshot.name));
                self.rename(cx, top, &snapshot.name, &kept).map(|()| kept)
            }
        }
    }
}
