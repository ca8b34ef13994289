//! What was received takes the place of the copy, at once; what it replaces goes, unless it has something of its own.

use super::remount::remount;
use super::spot::{Spot, make_folder};
use crate::error::Result;
use crate::host::Cx;
use crate::host::btrfs::{self, Subvolume};
use std::path::Path;

/// What was received becomes a snapshot beside the others, with all that it is. As it is read-only, it cannot be moved.
fn settle(cx: &Cx, spot: &Spot, image: &str) -> Result<()> {
    let all = spot.list(cx)?;
    let Some(arrived) = spot.arrived(&all, image).filter(|s| !spot.is_snapshot(s)) else { return Ok(()) };
    if let Some(left) = all.iter().find(|s| s.path == spot.tosend()) {
        spot.delete(cx, &left.path)?;
    }
    btrfs::change(cx, &["btrfs", "subvolume", "snapshot", "-r", &spot.at(&arrived.path), &spot.at(&spot.tosend())])
}

/// The data become what was received, at once; the old ones are beside them afterwards. May be repeated.
pub(super) fn put_in_place(cx: &Cx, spot: &Spot, image: &str) -> Result<()> {
    settle(cx, spot, image)?;
    let all = spot.list(cx)?;
    let Some(arrived) = spot.arrived(&all, image) else { return Ok(()) };
    let is_new = |s: &Subvolume| s.read_only && s.parent.as_deref() == Some(arrived.uuid.as_str());
    let there = spot.data(&all);
    if there.is_none_or(|data| !(is_new(data) && spot.untouched(cx, &all, data).is_ok())) {
        let next = spot.next();
        if let Some(left) = all.iter().find(|s| s.path == next) {
            retire(cx, spot, &all, left, image)?;
        }
        if let Some((parent, _)) = spot.subvol.rsplit_once('/') {
            make_folder(&spot.at(parent))?;
        }
        btrfs::change(cx, &["btrfs", "subvolume", "snapshot", &spot.at(&arrived.path), &spot.at(&next)])?;
        btrfs::change(cx, &["btrfs", "property", "set", "-ts", &spot.at(&next), "ro", "true"])?;
        if there.is_some() {
            btrfs::exchange(cx, &spot.at(&next), &spot.at(&spot.subvol))?;
        } else {
            spot.rename(cx, &next, &spot.subvol)?;
        }
    }
    if let Some(data) = spot.data(&spot.list(cx)?) {
        remount(cx, spot, data)?;
    }
    spot.flush(cx)
}

/// The old data go, and the snapshots before; what was received is called as the newest is.
pub(super) fn tidy(cx: &Cx, spot: &Spot, image: &str) -> Result<()> {
    let all = spot.list(cx)?;
    let Some(arrived) = spot.arrived(&all, image) else { return Ok(()) };
    if let Some(old) = all.iter().find(|s| s.path == spot.next()) {
        retire(cx, spot, &all, old, image)?;
    }
    let before = |s: &&Subvolume| spot.is_snapshot(s) || (spot.was_snapshot(s) && s.received.is_some());
    for old in all.iter().filter(before).filter(|s| s.uuid != arrived.uuid) {
        if let Err(e) = spot.delete(cx, &old.path) {
            cx.log.warning(format!("an older snapshot stays: {e}. the next sync tries again"));
            _ = (old.path == spot.sent()).then(|| spot.keep(cx, old)).transpose()?;
        }
    }
    if arrived.path != spot.sent() {
        spot.rename(cx, &arrived.path, &spot.sent())?;
    }
    spot.clear_incoming(cx, &all)?;
    spot.flush(cx)
}

/// Removes data that others have taken the place of; what is nowhere else of them is kept.
fn retire(cx: &Cx, spot: &Spot, all: &[Subvolume], old: &Subvolume, image: &str) -> Result<()> {
    let inside = all.iter().any(|s| s.path.starts_with(&format!("{}/", old.path)));
    // a copy that was made of a snapshot that came here, and that nobody has written to since
    let ours = spot.bases(all, Some(old)).any(|s| old.parent.as_deref() == Some(s.uuid.as_str()));
    let as_made = ours && old.read_only && old.generation == old.made;
    let why = if inside {
        "subvolumes are inside".to_owned()
    } else if let Err(why) = if as_made || spot.is_empty(old) { Ok(old) } else { spot.outdone(cx, all, old, image) } {
        why.to_string()
    } else if let Err(why) = spot.delete(cx, &old.path) {
        why.to_string()
    } else {
        return Ok(());
    };
    let kept = spot.kept(old);
    spot.rename(cx, &old.path, &kept)?;
    let others = match spot.all_kept(all) {
        others if others.is_empty() => String::new(),
        others => format!(". kept before, until somebody deletes them: {}", others.join(" ")),
    };
    let label = spot.label();
    cx.log.warning(format!(
        "what {} was on {} is kept: {why}. to look at it: mount -o subvol={kept} LABEL={label} /mnt. to have its room: mount -o subvolid=5 LABEL={label} /mnt; btrfs subvolume delete /mnt/{kept}{others}",
        spot.name, cx.host.node
    ));
    Ok(())
}

/// Subvolumes that were inside the data, which were kept for that when others took their place, are inside again, where
/// nothing else is: a snapshot has an empty folder of each, and what is sent has none.
pub(super) fn bring_back(cx: &Cx, spot: &Spot, data: &Subvolume) -> Result<()> {
    let all = spot.list(cx)?;
    let Some(kept) = spot.all_kept(&all).pop() else { return Ok(()) };
    if let Some(kept) = all.iter().find(|s| s.path == kept) {
        writable(cx, spot, kept)?;
    }
    for (one, rest) in all.iter().filter_map(|s| Some((s, s.path.strip_prefix(kept)?.strip_prefix('/')?))) {
        let to = format!("{}/{rest}", data.path);
        let (from, at) = (spot.at(&one.path), spot.at(&to));
        let free = std::fs::read_dir(&at).map_or(!Path::new(&at).exists(), |mut entries| entries.next().is_none());
        let parent = Path::new(&at).parent().is_some_and(Path::is_dir);
        // what is inside another one has gone with it
        if free && parent && Path::new(&from).exists() {
            spot.rename(cx, &one.path, &to)?;
        }
    }
    Ok(())
}

pub(super) fn writable(cx: &Cx, spot: &Spot, data: &Subvolume) -> Result<()> {
    if data.read_only { btrfs::change(cx, &["btrfs", "property", "set", "-ts", &spot.at(&data.path), "ro", "false"]) } else { Ok(()) }
}

pub(super) fn read_only(cx: &Cx, spot: &Spot, data: &Subvolume) -> Result<()> {
    if data.read_only { Ok(()) } else { btrfs::change(cx, &["btrfs", "property", "set", "-ts", &spot.at(&data.path), "ro", "true"]) }
}
