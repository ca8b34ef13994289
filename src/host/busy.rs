//! What keeps a block device in use: mounts, devices on top of it, swap, processes.

use super::facts::{Facts, parse_mountinfo};
use super::patience::within;
use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::time::Duration;

/// How long the processes may take to be looked at: a file on a filesystem that hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// In words, what uses the block device `major:minor`: `mounted on /srv/a`, `vg2-lv on top of it`, `used by qemu (pid 7)`.
/// Empty: nothing that can be seen. Mounts of other namespaces (containers) are told with a process that lives in them.
pub fn of(facts: &Facts, (major, minor): (u64, u64)) -> Vec<String> {
    let dev = format!("{major}:{minor}");
    let number = nix::sys::stat::makedev(major, minor);
    let mut words: Vec<String> = facts.mounts().iter().filter(|m| m.dev == dev).map(|m| format!("mounted on {}", m.target)).collect();
    let ours = !words.is_empty();
    words.extend(on_top(&dev).into_iter().map(|name| format!("{name} on top of it")));
    let is_it = |path: &Path| fs::metadata(path).is_ok_and(|m| m.file_type().is_block_device() && m.rdev() == number);
    words.extend(facts.loops().iter().filter(|l| is_it(&l.file)).map(|l| format!("{} on top of it", l.device)));
    let swaps = fs::read_to_string("/proc/swaps").unwrap_or_default();
    words.extend(swaps.lines().filter_map(|l| l.split(' ').next()).filter(|f| is_it(Path::new(f))).map(|_| "used as swap".to_owned()));
    words.extend(within(PATIENCE, move || users(&dev, number, ours)).unwrap_or_default());
    words
}

/// Names of the devices above, device-mapper's own names where there are such.
fn on_top(dev: &str) -> Vec<String> {
    let holders = fs::read_dir(format!("/sys/dev/block/{dev}/holders")).into_iter().flatten().flatten();
    holders
        .map(|entry| {
            let name = fs::read_to_string(entry.path().join("dm/name")).unwrap_or_default();
            if name.trim().is_empty() { entry.file_name().to_string_lossy().into_owned() } else { name.trim().to_owned() }
        })
        .collect()
}

/// Processes that have it open, and one of each mount namespace in which it is mounted.
fn users(dev: &str, number: u64, mounted_here: bool) -> Vec<String> {
    let mut words = Vec::new();
    let mut namespaces: HashSet<_> = fs::read_link("/proc/self/ns/mnt").into_iter().collect();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<i32>().ok()) else { continue };
        let name = || fs::read_to_string(entry.path().join("comm")).unwrap_or_default().trim_end().to_owned();
        let files = fs::read_dir(entry.path().join("fd")).into_iter().flatten().flatten();
        let opened = |link: &Path| {
            // only what is below /dev is looked at: another file may be on a filesystem that hangs
            let device = fs::read_link(link).is_ok_and(|to| to.starts_with("/dev"));
            device && fs::metadata(link).is_ok_and(|m| m.file_type().is_block_device() && m.rdev() == number)
        };
        if files.into_iter().any(|f| opened(&f.path())) {
            words.push(format!("used by {} (pid {pid})", name()));
        }
        // copies of this namespace have its mounts as well
        let new = !mounted_here && fs::read_link(entry.path().join("ns/mnt")).is_ok_and(|ns| namespaces.insert(ns));
        let there = if new { fs::read(entry.path().join("mountinfo")).unwrap_or_default() } else { Vec::new() };
        if let Some(mount) = parse_mountinfo(&there).into_iter().find(|m| m.dev == dev) {
            words.push(format!("mounted on {} for {} (pid {pid})", mount.target, name()));
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mounted_device_is_told() {
        let facts = Facts::default();
        let root = facts.mounts().iter().rev().find(|m| m.target == "/").cloned().unwrap();
        let (major, minor) = root.dev.split_once(':').unwrap();
        let words = of(&facts, (major.parse().unwrap(), minor.parse().unwrap()));
        assert!(words.contains(&"mounted on /".to_owned()), "{words:?}");
        assert_eq!(of(&facts, (4000, 4000)), Vec::<String>::new());
    }
}
