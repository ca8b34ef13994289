//! `snap = true`: the source is sent from a read-only mount of an LVM snapshot.

use super::{Rsync, sources};
use crate::cmd::Cmd;
use crate::error::{Error, Result};
use crate::host::Cx;
use std::path::Path;
use std::sync::PoisonError;
use std::time::Duration;

/// How often the removal is tried: somebody (udev) may have the device open for a moment.
const ATTEMPTS: u32 = 29;

/// One snapshot, mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Snapshot {
    /// Mount point of the filesystem it is a picture of.
    of: String,
    /// `/dev/VG/osvc_sync_LV`.
    dev: String,
    /// The folder that stands for `/`: the snapshot is mounted below it, where its filesystem is below `/`.
    root: String,
}

impl Snapshot {
    /// Where it is mounted.
    fn at(&self) -> String {
        format!("{}{}", self.root, self.of).trim_end_matches('/').to_owned()
    }
}

/// The volume below a filesystem.
struct Volume {
    vg: String,
    lv: String,
    mib: f64,
}

/// Makes and mounts a snapshot for each filesystem the sources are on. After an error none is left.
pub(super) fn freeze(sync: &Rsync, cx: &Cx) -> Result<()> {
    if !sync.snap {
        return Ok(());
    }
    let made = sources::ready(sync, cx)?.iter().try_for_each(|source| {
        let fs = sync.guard.holding(source);
        let fs = fs.ok_or_else(|| Error::text(format!("can not find fs resources encapsulating {source} to snap")))?;
        if held(sync).iter().any(|s| s.of == fs.mnt) {
            return Ok(());
        }
        take(sync, cx, &fs.mnt, fs.snap_size)
    });
    if made.is_err() {
        release(sync, cx);
    }
    made
}

fn held(sync: &Rsync) -> std::sync::MutexGuard<'_, Vec<Snapshot>> {
    sync.frozen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn take(sync: &Rsync, cx: &Cx, mnt: &str, snap_size: Option<i64>) -> Result<()> {
    let mount = cx.host.facts.mount_at(&cx.host.facts.real_path(mnt)).ok_or_else(|| Error::text(format!("can not snap {mnt}: not mounted")))?;
    let volume = volume(cx, &mount.source)?;
    let name = format!("osvc_sync_{}", volume.lv);
    let snapshot = Snapshot {
        of: mnt.to_owned(),
        dev: format!("/dev/{}/{name}", volume.vg),
        root: cx.host.paths.tmp.join(format!("osvc_sync_{}_{}", volume.vg, volume.lv)).display().to_string(),
    };
    if cx.probe(&Cmd::probe(["lvs", "--noheadings", "-o", "lv_name", &format!("{}/{name}", volume.vg)])).ok() {
        // the service is locked, so its maker is dead
        cx.log.info(format!("snap of {} already exists: left by a sync that was killed", volume.lv));
        remove(cx, &snapshot)?;
    }
    #[allow(clippy::cast_possible_truncation)] // 2014: whole MiB
    let size = snap_size.unwrap_or((volume.mib / 10.0) as i64);
    let origin = format!("{}/{}", volume.vg, volume.lv);
    cx.must(&Cmd::change(["lvcreate", "-A", "n", "-s", &format!("-L{size}M"), "-n", &name, &origin]))?;
    held(sync).push(snapshot.clone());
    let at = snapshot.at();
    std::fs::create_dir_all(&at).map_err(Error::io("create", at.as_ref()))?;
    // xfs refuses a second filesystem with the same uuid
    let options = if mount.fstype == "xfs" { "ro,nouuid" } else { "ro" };
    cx.must(&Cmd::change(["mount", "-t", &mount.fstype, "-o", options, &snapshot.dev, &at])).map(|_| ())
}

fn volume(cx: &Cx, dev: &str) -> Result<Volume> {
    let out = cx.probe(&Cmd::probe(["lvs", "-o", "vg_name,lv_name,lv_size", "--noheadings", "--units", "m", "--nosuffix", dev]));
    let text = out.text();
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.as_slice() {
        [vg, lv, size] if out.ok() => {
            let mib = size.parse().map_err(|_| Error::text(format!("lvs gives no size for {dev}: {size}")))?;
            Ok(Volume { vg: (*vg).into(), lv: (*lv).into(), mib })
        }
        _ => Err(Error::text(format!("can not snap {dev}: not a logical volume"))),
    }
}

/// Removes what `freeze` has made. What cannot be removed is said, with what to do.
pub(super) fn release(sync: &Rsync, cx: &Cx) {
    let snapshots = std::mem::take(&mut *held(sync));
    for snapshot in snapshots {
        if let Err(e) = remove(cx, &snapshot) {
            cx.log.error(e.to_string());
        }
    }
}

fn remove(cx: &Cx, snapshot: &Snapshot) -> Result<()> {
    let (dev, at) = (&snapshot.dev, &snapshot.at());
    cx.host.facts.forget();
    if cx.host.facts.mount_at(at).is_some() && !cx.run_quiet(&Cmd::change(["umount", at])).ok() {
        cx.run_quiet(&Cmd::change(["fuser", "-kmv", at]));
        cx.must(&Cmd::change(["umount", at]))?;
    }
    for folder in Path::new(at).ancestors().take_while(|f| f.starts_with(&snapshot.root)) {
        _ = std::fs::remove_dir(folder);
    }
    for attempt in 1..=ATTEMPTS {
        if cx.run_quiet(&Cmd::change(["lvremove", "-A", "n", "-f", dev])).ok() {
            cx.log.info(format!("successfully removed snapshot {dev} (attempts: {attempt})"));
            return Ok(());
        }
        // whatever holds it leaves no other sign of its leaving
        std::thread::sleep(Duration::from_millis(100));
    }
    Err(Error::text(format!("failed to remove snapshot {dev} (attempts: {ATTEMPTS}). it fills up and slows the volume down: lvremove -f {dev}")))
}

/// The sources, as seen through the snapshots, which are still mounted. `/./` is where rsync begins to count the
/// path with `--relative`.
pub(super) fn rerooted(sync: &Rsync, cx: &Cx, sources: &[String]) -> Result<Vec<String>> {
    let held = held(sync);
    let through = |source: &String| {
        let snapshot = sync.guard.holding(source).and_then(|fs| held.iter().find(|s| s.of == fs.mnt));
        match snapshot {
            None if sync.snap => Err(Error::text(format!("there is no snapshot of {source}"))),
            None => Ok(source.clone()),
            Some(s) if cx.host.facts.mount_at(&s.at()).is_none() => Err(Error::text(format!("{source} is not sent: its snapshot {} is not mounted on {} any more", s.dev, s.at()))),
            Some(s) => Ok(format!("{}/.{source}", s.root)),
        }
    };
    sources.iter().map(through).collect()
}
