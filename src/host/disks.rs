//! The disks below a block device, from sysfs.

use std::fs;
use std::path::Path;

/// The whole disks `device` is made of, in `/dev` spelling: device-mapper taken apart, partitions replaced
/// by their disk, loop devices left out. Sorted, each once.
pub fn below(device: &str) -> Vec<String> {
    let mut disks = Vec::new();
    let real = fs::canonicalize(device).unwrap_or_else(|_| device.into());
    if let Some(name) = real.file_name().and_then(|n| n.to_str()) {
        collect(name, &mut disks, 0);
    }
    disks.sort();
    disks.dedup();
    disks
}

/// Stacks of devices are shallow; a loop in sysfs must not hang us.
const MAX_DEPTH: u32 = 16;

fn collect(name: &str, disks: &mut Vec<String>, depth: u32) {
    let dir = Path::new("/sys/class/block").join(name);
    if name.starts_with("loop") || !dir.exists() || depth > MAX_DEPTH {
        return;
    }
    let slaves: Vec<String> =
        fs::read_dir(dir.join("slaves")).into_iter().flatten().flatten().filter_map(|e| e.file_name().into_string().ok()).collect();
    if !slaves.is_empty() {
        slaves.iter().for_each(|s| collect(s, disks, depth + 1));
    } else if dir.join("partition").exists() {
        // /sys/class/block/sda1 -> …/block/sda/sda1
        let parent = fs::canonicalize(&dir).ok().and_then(|p| p.parent()?.file_name()?.to_str().map(str::to_owned));
        disks.extend(parent.map(|p| format!("/dev/{p}")));
    } else {
        disks.push(format!("/dev/{name}"));
    }
}
