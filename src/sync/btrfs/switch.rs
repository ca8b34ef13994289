//! What was received takes the place of the copy, at once; what it replaces goes, unless it has something of its own.

use super::spot::{Spot, make_folder};
use crate::error::Result;
use crate::host::Cx;
use crate::host::btrfs::{self, Subvolume};
use crate::host::facts::Mount;

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
            retire(cx, spot, &all, left)?;
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
        retire(cx, spot, &all, old)?;
    }
    for old in spot.snapshots(&all).filter(|s| s.uuid != arrived.uuid) {
        spot.delete(cx, &old.path)?;
    }
    if arrived.path != spot.sent() {
        spot.rename(cx, &arrived.path, &spot.sent())?;
    }
    spot.clear_incoming(cx)?;
    spot.flush(cx)
}

/// Removes data that others have taken the place of; what is nowhere else of them is kept.
fn retire(cx: &Cx, spot: &Spot, all: &[Subvolume], old: &Subvolume) -> Result<()> {
    let inside = all.iter().any(|s| s.path.starts_with(&format!("{}/", old.path)));
    let why = match spot.untouched(cx, all, old) {
        _ if !inside && spot.is_empty(old) => return spot.delete(cx, &old.path),
        Ok(_) if inside => "subvolumes are inside".to_owned(),
        Ok(_) => return spot.delete(cx, &old.path),
        Err(why) => why.to_string(),
    };
    let kept = spot.kept();
    for before in all.iter().rev().filter(|s| s.path == kept || s.path.starts_with(&format!("{kept}/"))) {
        spot.delete(cx, &before.path)?;
    }
    spot.rename(cx, &old.path, &kept)?;
    let label = spot.name.split(':').next().unwrap_or_default();
    cx.log.warning(format!(
        "what {} was on {} is kept: {why}. to look at it: mount -o subvol={kept} LABEL={label} /mnt. to have its room: mount -o subvolid=5 LABEL={label} /mnt; btrfs subvolume delete /mnt/{kept}",
        spot.name, cx.host.node
    ));
    Ok(())
}

pub(super) fn writable(cx: &Cx, spot: &Spot, data: &Subvolume) -> Result<()> {
    if data.read_only { btrfs::change(cx, &["btrfs", "property", "set", "-ts", &spot.at(&data.path), "ro", "false"]) } else { Ok(()) }
}

/// Who has the old data mounted gets the new ones: an exchange does not change what is mounted.
pub(super) fn remount(cx: &Cx, spot: &Spot, data: &Subvolume) -> Result<()> {
    cx.host.facts.forget();
    let mounts = cx.host.facts.mounts();
    let top = cx.host.facts.mount_at(spot.at("").trim_end_matches('/'));
    let old = format!("/{}", spot.next());
    let stale = |m: &&Mount| top.as_ref().is_some_and(|t| t.dev == m.dev) && m.root.strip_suffix("//deleted").unwrap_or(&m.root) == old;
    for mount in mounts.iter().filter(stale) {
        const KEPT: [&str; 8] = ["ro", "noatime", "nodiratime", "relatime", "nosuid", "nodev", "noexec", "strictatime"];
        let kept = mount.options.iter().map(String::as_str).filter(|o| KEPT.contains(o));
        let options: Vec<String> = kept.map(str::to_owned).chain([format!("subvol=/{}", data.path)]).collect();
        // who reads there is not in the way
        let inside = format!("{}/", mount.target);
        let lazily = !mounts.iter().any(|m| m.target.starts_with(&inside));
        if let Err(e) = btrfs::change(cx, &["umount", &mount.target]) {
            if !lazily {
                cx.log
                    .warning(format!("{} goes on showing the data before: {e}. umount what is below it, and mount it again", mount.target));
                continue;
            }
            btrfs::change(cx, &["umount", "-l", &mount.target])?;
        }
        btrfs::change(cx, &["mount", "-t", "btrfs", "-o", &options.join(","), &mount.source, &mount.target])?;
    }
    Ok(())
}
