//! The processes that keep a mount point busy, and how they are asked to leave.

use super::patience::within;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// A process with something open below a mount point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Process id.
    pub pid: i32,
    /// Its command name.
    pub name: String,
    /// What it holds: cwd, root, exe, fd, map.
    pub what: &'static str,
    /// We are it or one of its children: killing it would kill us.
    pub is_ours: bool,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{} (pid {}, {})", self.name, self.pid, self.what)
    }
}

/// A mount point and the filesystem on it.
struct Place<'a> {
    path: &'a str,
    /// Device number; `None` where files of one filesystem have several (btrfs).
    dev: Option<u64>,
}

fn below(link: &Path, place: &Place) -> bool {
    // a link into a removed file ends in " (deleted)"; its path still starts with the mount point
    let named = fs::read_link(link).is_ok_and(|to| to.starts_with(place.path));
    // a container may have the same path on another filesystem
    named && place.dev.is_none_or(|dev| fs::metadata(link).is_ok_and(|m| m.dev() == dev))
}

fn held_by(proc_dir: &Path, place: &Place) -> Option<&'static str> {
    for what in ["cwd", "root", "exe"] {
        if below(&proc_dir.join(what), place) {
            return Some(what);
        }
    }
    for (folder, what) in [("fd", "fd"), ("map_files", "map")] {
        let entries = fs::read_dir(proc_dir.join(folder)).into_iter().flatten().flatten();
        if entries.into_iter().any(|e| below(&e.path(), place)) {
            return Some(what);
        }
    }
    None
}

fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn ourselves() -> Vec<i32> {
    let mut line = vec![std::process::id().cast_signed()];
    while let Some(up) = line.last().and_then(|pid| parent(*pid)).filter(|pid| *pid > 0) {
        line.push(up);
    }
    line
}

/// How long the processes may take to be looked at: a file on a filesystem that hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// Every process that holds something below `mount_point` (without links). Path and filesystem are compared:
/// unlike with `fuser -m`, a process on the same device but outside of the mount point is left alone, and so is
/// one that has another filesystem under the same path in a namespace of its own.
pub fn find(mount_point: &str) -> Vec<Holder> {
    let mount_point = mount_point.to_owned();
    within(PATIENCE, move || look(&mount_point)).unwrap_or_default()
}

fn look(mount_point: &str) -> Vec<Holder> {
    const BTRFS: i64 = 0x9123_683e;
    let several = nix::sys::statfs::statfs(mount_point).is_ok_and(|s| s.filesystem_type().0 == BTRFS);
    let dev = fs::metadata(mount_point).ok().map(|m| m.dev()).filter(|_| !several);
    let place = Place { path: mount_point, dev };
    let ours = ourselves();
    let mut holders = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<i32>().ok()) else { continue };
        if let Some(what) = held_by(&entry.path(), &place) {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default().trim_end().to_owned();
            holders.push(Holder { pid, name, what, is_ours: ours.contains(&pid) });
        }
    }
    holders
}

/// Ends `holders` (never ourselves nor an ancestor): TERM, `grace` to leave, then KILL.
pub fn end(holders: &[Holder], mount_point: &str, grace: Duration) {
    let signal = |holder: &Holder, signal| {
        if !holder.is_ours {
            let _ = kill(Pid::from_raw(holder.pid), signal);
        }
    };
    holders.iter().for_each(|h| signal(h, Signal::SIGTERM));
    let until = Instant::now() + grace;
    // the pid may be reused meanwhile: only one that still holds the mount point is killed
    let still = || find(mount_point).into_iter().filter(|h| !h.is_ours && holders.iter().any(|o| o.pid == h.pid)).collect::<Vec<_>>();
    while !still().is_empty() {
        if Instant::now() >= until {
            still().iter().for_each(|h| signal(h, Signal::SIGKILL));
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
