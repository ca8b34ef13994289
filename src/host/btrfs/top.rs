//! The top of a filesystem, mounted while somebody works on it and no longer.

use super::device::{self, devices, is_of};
use super::{CHANGE, change};
use crate::cmd::Cmd;
use crate::error::{Error, Result};
use crate::host::lock::Lock;
use crate::host::{Cx, Host};
use crate::log::{Level, Logger};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long another process may take to mount or to unmount.
const OTHERS: Duration = Duration::from_secs(60);

/// The top of a filesystem, mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Top {
    /// Where: `var/btrfs/LABEL`, as in 2014.
    pub dir: String,
}

impl Top {
    /// The path of what is `below` the top.
    pub fn path(&self, below: &str) -> String {
        format!("{}/{below}", self.dir)
    }
}

/// The tops that this process holds: how often, and the file that tells other processes so.
static HELD: Mutex<BTreeMap<PathBuf, (usize, File)>> = Mutex::new(BTreeMap::new());

fn held() -> MutexGuard<'static, BTreeMap<PathBuf, (usize, File)>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

fn folder(host: &Host, label: &str) -> PathBuf {
    host.paths.var.join("btrfs").join(label)
}

/// One process at a time mounts or unmounts; each that works there has a shared lock on the second file.
fn locks(host: &Host, label: &str) -> (PathBuf, PathBuf) {
    let at = |what: &str| host.paths.var.join("lock").join(format!("btrfs.{label}.{what}"));
    (at("mount"), at("use"))
}

/// Mounts the top of the filesystem with this label, if nobody has. It stays until as many calls of [`let_go`]. `said`: the
/// level of that in the log.
pub fn hold(cx: &Cx, label: &str, said: Level) -> Result<Top> {
    let dir = folder(cx.host, label);
    let top = Top { dir: dir.to_string_lossy().into_owned() };
    let mut held = held();
    if let Some((count, _)) = held.get_mut(&dir) {
        *count += 1;
        return Ok(top);
    }
    let devices = devices(cx, label)?;
    let (mount, using) = locks(cx.host, label);
    let _one = Lock::wait(&mount, OTHERS)?;
    cx.host.facts.forget();
    match cx.host.facts.mount_at(&top.dir) {
        Some(m) if m.fstype == "btrfs" && m.root == "/" && is_of(&m.source, &devices) => {}
        Some(m) => return Err(Error::text(format!("{} holds {} ({}): umount it first", top.dir, m.source, m.fstype))),
        None => {
            std::fs::create_dir_all(&dir).map_err(Error::io("create", &dir))?;
            if devices.len() > 1 {
                cx.run_quiet(&Cmd::change(["btrfs", "device", "scan"]));
            }
            let device = devices.first().map_or("", String::as_str);
            let cmd = Cmd::change(["mount", "-t", "btrfs", "-o", "subvolid=5", device, &top.dir]).timeout(CHANGE);
            let out = cx.run_at(&cmd, said, Level::Debug);
            out.failure().map_or(Ok(()), |stage| Err(Error::text(format!("{} failed: {}", cmd.line(), stage.why()))))?;
        }
    }
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&using).map_err(Error::io("open", &using))?;
    file.lock_shared().map_err(Error::io("lock", &using))?;
    held.insert(dir, (1, file));
    Ok(top)
}

/// What is held stays mounted until [`keeping`] ends.
static KEEPING: AtomicBool = AtomicBool::new(false);

/// Does one thing that has many steps with the same filesystems: what one of them has let go of stays mounted for the
/// next, until all is done. Not for what starts or stops a service, whose disks must be free in between.
pub fn keeping<T>(host: &Host, log: &Logger, work: impl FnOnce() -> T) -> T {
    KEEPING.store(true, Ordering::SeqCst);
    device::remember();
    let done = work();
    KEEPING.store(false, Ordering::SeqCst);
    device::forget();
    let idle: Vec<PathBuf> = held().iter().filter(|(_, (count, _))| *count == 0).map(|(dir, _)| dir.clone()).collect();
    for dir in idle {
        held().remove(&dir);
        leave(host, log, &dir);
    }
    done
}

/// Undoes one [`hold`]: who is the last on this node unmounts it.
pub fn let_go(cx: &Cx, label: &str) {
    let dir = folder(cx.host, label);
    let mut held = held();
    let Some((count, _)) = held.get_mut(&dir) else { return };
    *count = count.saturating_sub(1);
    if *count == 0 && !KEEPING.load(Ordering::SeqCst) {
        held.remove(&dir);
        leave(cx.host, cx.log, &dir);
    }
}

/// This process works there no more.
fn leave(host: &Host, log: &Logger, dir: &Path) {
    let label = dir.file_name().unwrap_or_default().to_string_lossy();
    let (mount, using) = locks(host, &label);
    let Ok(_one) = Lock::wait(&mount, OTHERS) else { return };
    let last = File::open(&using).is_ok_and(|file| file.try_lock().is_ok());
    if last {
        // in use by nobody of ours: whoever keeps it mounted otherwise is not in the way
        let cmd = Cmd::change(["umount", &dir.to_string_lossy()]);
        log.debug(cmd.line());
        host.runner.run(&cmd);
        host.facts.forget();
    }
}

/// Unmounts the top of the filesystem with this label, which a process that was killed has left. The error: somebody is
/// still at work there.
pub fn unmount(cx: &Cx, label: &str) -> Result<()> {
    let dir = folder(cx.host, label);
    cx.host.facts.forget();
    if held().contains_key(&dir) || cx.host.facts.mount_at(&dir.to_string_lossy()).is_none() {
        return Ok(());
    }
    let (mount, using) = locks(cx.host, label);
    let _one = Lock::wait(&mount, OTHERS)?;
    let in_use = File::open(&using).is_ok_and(|file| file.try_lock().is_err());
    let done = if in_use { Err(Error::text("a sync is at work there")) } else { change(cx, &["umount", &dir.to_string_lossy()]) };
    done.map_err(|e| {
        let (dir, node) = (dir.display(), &cx.host.node);
        Error::text(format!(
            "{dir} is still mounted on {node}, and another node has the same disks: two that mount them destroy the data: {e}. see: fuser -vm {dir}. then: umount {dir}, and stop again"
        ))
    })
}

/// Works with the tops of these filesystems, which are held meanwhile.
pub fn with<T>(cx: &Cx, labels: &[&str], work: impl FnOnce(&[Top]) -> Result<T>) -> Result<T> {
    let mut tops = Vec::new();
    let held = labels.iter().try_for_each(|label| hold(cx, label, Level::Debug).map(|top| tops.push(top)));
    let done = held.and_then(|()| work(&tops));
    labels.iter().take(tops.len()).for_each(|label| let_go(cx, label));
    done
}
