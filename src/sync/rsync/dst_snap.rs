//! `dst_snap = true`: on the target a snapshot keeps the copy that is there while the next one is written over it.
//! It is made before the first byte and stays until a transfer begins that finds a whole copy.

use super::snap;
use super::sources::{Guard, expand};
use super::way::Forward;
use crate::cmd::Cmd;
use crate::config::scope::Params;
use crate::error::{Error, Result};
use crate::host::Cx;
use crate::host::patience::{wait_until, within};
use crate::sync::Side;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What our snapshots inside a filesystem are called; no rsync may touch them.
pub(super) const OPTIONS: [&str; 2] = ["--filter=P .svcmgr-*", "--exclude=.svcmgr-*"];

/// btrfs(5): the inode of a subvolume's top folder.
const TOP: u64 = 256;

/// How long a filesystem may take to tell where a subvolume begins.
const LOOK: Duration = Duration::from_secs(5);

/// How long a snapshot may be in use still when it is to be removed.
const BUSY: Duration = Duration::from_secs(3);

/// A snapshot to be, or one that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Snap {
    /// A subvolume inside the one it is a picture of.
    Btrfs { of: PathBuf, at: PathBuf },
    /// `DATASET@NAME`.
    Zfs(String),
    /// `VG/NAME`, of `VG/LV`, in MiB.
    Lvm { of: String, at: String, mib: i64 },
}

/// The section asks for it, on this node as on any other.
pub fn wanted(p: &Params) -> Result<bool, String> {
    Ok(p.plain_boolean("dst_snap")?.unwrap_or(false))
}

/// Makes a snapshot of what `dst` is on, in place of the one made before, and returns its name for people; `None`
/// when nothing is there yet. To be called when the copy there is whole: what it replaces is older. After an error
/// there may be no snapshot; nothing else has changed.
pub fn keep(cx: &Cx, p: &Params, dst: &str) -> Result<Option<String>> {
    cx.host.facts.forget();
    let mut snaps = Vec::new();
    for place in places(p, dst) {
        let snap = find(cx, p, &cx.host.facts.real_path(&place))?;
        if !snaps.contains(&snap) {
            snaps.push(snap);
        }
    }
    let snap = match snaps.as_slice() {
        [] => return Ok(None),
        [one] => one,
        _ => {
            let (rid, node) = (cx.rid, &cx.host.node);
            return Err(Error::text(format!(
                "{rid} has dst_snap, but on {node} its files are on several filesystems, of which no snapshot shows one instant. nothing is transferred. set dst_snap = false in section [{rid}]"
            )));
        }
    };
    let failed = |why: String| {
        let (rid, node) = (cx.rid, &cx.host.node);
        Error::text(format!(
            "{rid} has dst_snap, and on {node} no snapshot of {dst} can be made: {why}. nothing is transferred. make room there, or set dst_snap = false in section [{rid}]"
        ))
    };
    snap.remove(cx).and_then(|()| snap.make(cx)).map_err(failed)?;
    Ok(Some(snap.name()))
}

/// Removes the snapshot that [`keep`] has called `name`. One that is gone already is no error.
pub fn drop_kept(cx: &Cx, name: &str) -> Result<()> {
    let snap = Snap::named(name).ok_or_else(|| Error::text(format!("{name} is no snapshot of {}", cx.rid)))?;
    snap.remove(cx).map_err(|why| Error::text(format!("the snapshot {name} cannot be removed: {why}")))
}

/// Where the data are that lie on or below `dst`, as far as there are any: a folder that is put *into* dst may be on a
/// filesystem of its own.
fn places(p: &Params, dst: &str) -> Vec<String> {
    let there = |side: Side| {
        let forward = Forward::seen_by(p).ok()?;
        let mut places = forward.places(side);
        places.retain(|place| Path::new(place).starts_with(dst));
        expand(&places).filter(|found| !found.is_empty())
    };
    there(Side::Target).or_else(|| there(Side::Source)).or_else(|| expand(&[dst.to_owned()])).unwrap_or_default()
}

/// What can keep a picture of `dst`, which has no links in it.
fn find(cx: &Cx, p: &Params, dst: &str) -> Result<Snap> {
    let mount = cx.host.facts.mount_of(dst).ok_or_else(|| Error::text(format!("it is not known what {dst} is on")))?;
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-._".contains(c) { c } else { '_' };
    let tag: String = format!("svcmgr-{}-{}", cx.service, cx.rid).chars().map(plain).collect();
    if mount.fstype == "btrfs" {
        let of = subvolume(dst, &mount.target).ok_or_else(|| Error::text(format!("it is not known which subvolume {dst} is in")))?;
        return Ok(Snap::Btrfs { at: of.join(format!(".{tag}")), of });
    }
    if matches!(mount.fstype.as_str(), "zfs" | "fuse.zfs") {
        return Ok(Snap::Zfs(format!("{}@{tag}", mount.source.trim_start_matches('/'))));
    }
    let volume = snap::volume(cx, &mount.source).map_err(|_| {
        let (rid, node) = (cx.rid, &cx.host.node);
        Error::text(format!(
            "{rid} has dst_snap, but on {node} {dst} is on {} ({} of {}), of which no snapshot can be made: it takes btrfs, zfs or a logical volume. nothing is transferred. move it there, or set dst_snap = false in section [{rid}]",
            mount.target, mount.fstype, mount.source
        ))
    })?;
    let size = Guard::of(p.config).holding(dst).and_then(|fs| fs.snap_size);
    let mib = size.unwrap_or_else(|| volume.tenth());
    Ok(Snap::Lvm { of: format!("{}/{}", volume.vg, volume.lv), at: format!("{}/{tag}", volume.vg), mib })
}

/// The top folder of the subvolume that `dst` is in, which is mounted on `mount`.
fn subvolume(dst: &str, mount: &str) -> Option<PathBuf> {
    let (path, mount) = (PathBuf::from(dst), PathBuf::from(mount));
    let is_top = |folder: &&Path| std::fs::metadata(folder).is_ok_and(|m| m.ino() == TOP);
    within(LOOK, move || path.ancestors().take_while(|f| f.starts_with(&mount)).find(is_top).map(Path::to_path_buf))?
}

impl Snap {
    /// For people, and for [`Snap::named`].
    fn name(&self) -> String {
        match self {
            Self::Btrfs { at, .. } => format!("btrfs subvolume {}", at.display()),
            Self::Zfs(name) => format!("zfs snapshot {name}"),
            Self::Lvm { at, .. } => format!("logical volume {at}"),
        }
    }

    /// Only what is called as ours are.
    fn named(name: &str) -> Option<Self> {
        let ours = |name: &str, sign: char| name.rsplit_once(sign).is_some_and(|(_, last)| last.starts_with("svcmgr-"));
        if let Some(at) = name.strip_prefix("btrfs subvolume ") {
            let at = PathBuf::from(at);
            let ours = at.file_name().is_some_and(|n| n.to_string_lossy().starts_with(".svcmgr-"));
            return at.parent().filter(|_| ours).map(|of| Self::Btrfs { of: of.into(), at: at.clone() });
        }
        if let Some(name) = name.strip_prefix("zfs snapshot ").filter(|n| ours(n, '@')) {
            return Some(Self::Zfs(name.into()));
        }
        let at = name.strip_prefix("logical volume ").filter(|n| ours(n, '/'))?;
        Some(Self::Lvm { of: String::new(), at: at.into(), mib: 0 })
    }

    /// `None`: that is not known.
    fn exists(&self, cx: &Cx) -> Option<bool> {
        match self {
            Self::Btrfs { at, .. } => Some(std::fs::symlink_metadata(at).is_ok()),
            Self::Zfs(name) => {
                let out = cx.probe(&Cmd::probe(["zfs", "list", "-H", "-t", "snapshot", "-o", "name", name]));
                out.code().map(|code| code == 0)
            }
            Self::Lvm { at, .. } => snap::has_volume(cx, at),
        }
    }

    fn make(&self, cx: &Cx) -> Result<(), String> {
        let cmd = match self {
            Self::Btrfs { of, at } => {
                Cmd::change(["btrfs", "subvolume", "snapshot", "-r", &of.display().to_string(), &at.display().to_string()])
            }
            Self::Zfs(name) => Cmd::change(["zfs", "snapshot", name]),
            Self::Lvm { of, at, mib } => {
                let name = at.rsplit('/').next().unwrap_or_default();
                Cmd::change(["lvcreate", "-A", "n", "-s", &format!("-L{mib}M"), "-n", name, of])
            }
        };
        let out = cx.run_quiet(&cmd);
        out.failure().map_or(Ok(()), |failed| Err(failed.why()))
    }

    /// Nothing is called so any more.
    fn remove(&self, cx: &Cx) -> Result<(), String> {
        if self.exists(cx) == Some(false) {
            return Ok(());
        }
        let cmd = match self {
            Self::Btrfs { at, .. } => Cmd::change(["btrfs", "subvolume", "delete", &at.display().to_string()]),
            Self::Zfs(name) => Cmd::change(["zfs", "destroy", name]),
            Self::Lvm { at, .. } => Cmd::change(["lvremove", "-A", "n", "-f", at]),
        };
        let mut why = String::new();
        // udev, or a reader: for a moment only
        let done = wait_until(BUSY, || {
            let out = cx.run_quiet(&cmd);
            why = out.failure().map(crate::cmd::Stage::why).unwrap_or_default();
            out.ok() || self.exists(cx) == Some(false)
        });
        if done { Ok(()) } else { Err(why) }
    }
}

#[cfg(test)]
#[path = "dst_snap_tests.rs"]
mod tests;
