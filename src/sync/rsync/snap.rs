//! `snap = true`: the source is sent from a read-only mount of an LVM snapshot.

use super::{Rsync, sources};
use crate::cmd::Cmd;
use crate::error::{Error, Result};
use crate::host::Cx;
use crate::host::lock::Lock;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// How often the removal is tried: somebody (udev) may have the device open for a moment.
const ATTEMPTS: u32 = 29;

/// How long another sync may take to be done with a snapshot of the same volume.
const PATIENCE: Duration = Duration::from_secs(1);

/// The snapshots of this command: one of each volume, for all syncs that send from it.
static TAKEN: Mutex<Vec<Weak<Snapshot>>> = Mutex::new(Vec::new());

/// One snapshot, mounted.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// Of this service: another's may have been made before its own began.
    service: String,
    /// Held as long as it is needed. One that nobody holds is a leftover.
    _lock: Lock,
    lock_file: PathBuf,
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

    /// LVM has it; `None` when LVM does not say.
    fn exists(&self, cx: &Cx) -> Option<bool> {
        has_volume(cx, self.dev.trim_start_matches("/dev/"))
    }
}

/// LVM has `name`, `VG/LV`; `None` when LVM does not say.
pub(super) fn has_volume(cx: &Cx, name: &str) -> Option<bool> {
    match cx.probe(&Cmd::probe(["lvs", "--noheadings", "-o", "lv_name", name])).code() {
        Some(0) => Some(true),
        Some(5) => Some(false), // lvm(8): no such volume
        _ => None,
    }
}

/// The volume below a filesystem.
pub(super) struct Volume {
    pub(super) vg: String,
    pub(super) lv: String,
    mib: f64,
}

impl Volume {
    /// How large a snapshot of it is if nobody says: MiB.
    #[allow(clippy::cast_possible_truncation)] // 2014: whole MiB
    pub(super) fn tenth(&self) -> i64 {
        (self.mib / 10.0) as i64
    }
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

fn held(sync: &Rsync) -> MutexGuard<'_, Vec<Arc<Snapshot>>> {
    sync.frozen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn taken() -> MutexGuard<'static, Vec<Weak<Snapshot>>> {
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn take(sync: &Rsync, cx: &Cx, mnt: &str, snap_size: Option<i64>) -> Result<()> {
    let mount =
        cx.host.facts.mount_at(&cx.host.facts.real_path(mnt)).ok_or_else(|| Error::text(format!("can not snap {mnt}: not mounted")))?;
    let volume = volume(cx, &mount.source)?;
    let name = format!("osvc_sync_{}", volume.lv);
    let lock_file = cx.host.paths.var.join("lock").join(format!("snap.{}.{}", volume.vg, volume.lv));
    let mut taken = taken();
    taken.retain(|s| s.strong_count() > 0);
    let same = |s: &Arc<Snapshot>| s.lock_file == lock_file && s.service == cx.service && s.of == mnt;
    if let Some(shared) = taken.iter().filter_map(Weak::upgrade).find(same) {
        held(sync).push(shared);
        return Ok(());
    }
    let lock = Lock::try_for(&lock_file, PATIENCE)?
        .map_err(|by| Error::text(format!("can not snap {mnt}: a snapshot of {}/{} is in use by {by}", volume.vg, volume.lv)))?;
    let snapshot = Arc::new(Snapshot {
        service: cx.service.to_owned(),
        _lock: lock,
        lock_file,
        of: mnt.to_owned(),
        dev: format!("/dev/{}/{name}", volume.vg),
        root: cx.host.paths.tmp.join(format!("osvc_sync_{}_{}", volume.vg, volume.lv)).display().to_string(),
    });
    if snapshot.exists(cx) == Some(true) {
        cx.log.info(format!("snap of {} already exists: left by a sync that was killed", volume.lv));
        remove(cx, &snapshot)?;
    }
    let size = snap_size.unwrap_or_else(|| volume.tenth());
    let origin = format!("{}/{}", volume.vg, volume.lv);
    cx.must(&Cmd::change(["lvcreate", "-A", "n", "-s", &format!("-L{size}M"), "-n", &name, &origin]))?;
    held(sync).push(snapshot.clone());
    let at = snapshot.at();
    std::fs::create_dir_all(&at).map_err(Error::io("create", at.as_ref()))?;
    // xfs refuses a second filesystem with the same uuid
    let options = if mount.fstype == "xfs" { "ro,nouuid" } else { "ro" };
    cx.must(&Cmd::change(["mount", "-t", &mount.fstype, "-o", options, &snapshot.dev, &at]))?;
    taken.push(Arc::downgrade(&snapshot));
    Ok(())
}

/// The logical volume that `dev` is.
pub(super) fn volume(cx: &Cx, dev: &str) -> Result<Volume> {
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
    let _taken = taken(); // nobody takes a share meanwhile
    for snapshot in std::mem::take(&mut *held(sync)) {
        if Arc::strong_count(&snapshot) > 1 {
            continue; // another sync of this command sends from it
        }
        if let Err(e) = remove(cx, &snapshot) {
            cx.log.error(e.to_string());
        }
    }
}

fn remove(cx: &Cx, snapshot: &Snapshot) -> Result<()> {
    let (dev, at) = (&snapshot.dev, &snapshot.at());
    cx.host.facts.forget();
    let mut attempts = 1..=ATTEMPTS;
    // nothing but our rsync, which has ended, was there
    while cx.host.facts.mount_at(at).is_some() && !cx.run_quiet(&Cmd::change(["umount", at])).ok() {
        if attempts.next().is_none() {
            return Err(Error::text(format!(
                "failed to umount snapshot {dev} from {at} (attempts: {ATTEMPTS}). it fills up and slows the volume down: umount {at}; lvremove -f {dev}"
            )));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    for folder in Path::new(at).ancestors().take_while(|f| f.starts_with(&snapshot.root)) {
        _ = std::fs::remove_dir(folder);
    }
    for attempt in 1..=ATTEMPTS {
        if cx.run_quiet(&Cmd::change(["lvremove", "-A", "n", "-f", dev])).ok() {
            cx.log.info(format!("successfully removed snapshot {dev} (attempts: {attempt})"));
            return Ok(());
        }
        if snapshot.exists(cx) == Some(false) {
            return Ok(()); // somebody else was faster
        }
        // whatever holds it leaves no other sign of its leaving
        std::thread::sleep(Duration::from_millis(100));
    }
    Err(Error::text(format!(
        "failed to remove snapshot {dev} (attempts: {ATTEMPTS}). it fills up and slows the volume down: lvremove -f {dev}"
    )))
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
            Some(s) if cx.host.facts.mount_at(&s.at()).is_none() => {
                Err(Error::text(format!("{source} is not sent: its snapshot {} is not mounted on {} any more", s.dev, s.at())))
            }
            Some(s) => Ok(format!("{}/.{source}", s.root)),
        }
    };
    sources.iter().map(through).collect()
}
