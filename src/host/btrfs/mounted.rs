//! What the kernel tells of the btrfs filesystems that are mounted, without a look at any disk.

use std::path::{Path, PathBuf};

/// Where: `UUID/label`, `UUID/devices/NAME` (Linux, Documentation/ABI/testing/sysfs-fs-btrfs).
pub const FOLDER: &str = "/sys/fs/btrfs";

/// The folder, below `folder`, of the mounted filesystem that has this disk, by whatever name; of several disks, any.
pub fn of_disk(folder: &str, disk: &str) -> Option<PathBuf> {
    let real = std::fs::canonicalize(disk).ok()?;
    let name = real.file_name()?;
    std::fs::read_dir(folder).ok()?.flatten().map(|fs| fs.path()).find(|fs| fs.join("devices").join(name).exists())
}

/// Its label.
pub fn label(fs: &Path) -> Option<String> {
    Some(std::fs::read_to_string(fs.join("label")).ok()?.trim_end().to_owned())
}
