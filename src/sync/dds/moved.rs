//! When authority moves: what a node begins with that data have come to, what it tells whoever took them over, and what
//! it gives up before it is written to.

use super::chain::{Chain, Frozen, Id};
use super::files::{Files, remove};
use super::round::Source;
use super::volume::{Volume, Which};
use crate::error::{Error, Result};
use crate::host::Cx;
use crate::state::replica::Image;
use std::path::PathBuf;

/// From now on what is written to `place`, which is `image`, is noted by a snapshot: the way back sends that alone.
/// Without one nothing fails; both sides are compared then.
pub(super) fn gained(cx: &Cx, place: &str, snap_size: Option<i64>, image: &Image) {
    let Ok(volume) = Volume::of(cx, place) else { return };
    if let Err(e) = begin(cx, &volume, snap_size, image) {
        cx.log.warning(format!(
            "what is written to {place} from now on is not noted: sending it back compares both sides block by block ({e})"
        ));
    }
}

fn begin(cx: &Cx, volume: &Volume, snap_size: Option<i64>, image: &Image) -> Result<()> {
    give_up(cx, volume)?;
    volume.create(cx, Which::Old, snap_size)?;
    let seen = volume.look_again(cx)?.seen;
    let base = seen.old.ok_or_else(|| Error::text("the snapshot that was just made is not there"))?;
    let base = Frozen { id: base.id, frozen_at: image.frozen_at, size: volume.size, equals: image.id.clone() };
    Files(cx).save(&Chain::taken(&cx.host.node, base, cx.scope.peers().cloned()))
}

/// Before `place` is written to: its snapshots would be filled by that, and what they tell is of no use any more.
pub(super) fn make_way(cx: &Cx, place: &str) -> Result<()> {
    match Volume::of(cx, place) {
        Ok(volume) => give_up(cx, &volume),
        Err(_) => Files(cx).forget(),
    }
}

fn give_up(cx: &Cx, volume: &Volume) -> Result<()> {
    let seen = volume.look_again(cx)?.seen;
    for (there, which) in [(seen.new, Which::New), (seen.old, Which::Old)] {
        if there.is_some() {
            volume.remove(cx, which)?;
        }
    }
    Files(cx).forget()
}

/// The list of all chunks of `place` that were written here after the image `since`, which `peer` has, in a file.
pub(super) fn list(cx: &Cx, place: &str, since: &Id, peer: &str) -> Result<PathBuf> {
    let volume = Volume::of(cx, place)?;
    let (files, seen) = (Files(cx), volume.look_again(cx)?.seen);
    let none = || Error::text(format!("{} has no list of what was written to {place} after {since}", cx.host.node));
    let (_, listed) = files.chain().since(&seen, peer, std::slice::from_ref(since)).ok_or_else(none)?;
    let list = files.passing("since", peer);
    remove(&list)?;
    let source = Source { cx, volume: &volume, snap_size: None };
    source.note(&list)?;
    if listed {
        source.join(&list, &files.behind(peer))?;
    }
    Ok(list)
}
