//! What a status may ask: nothing is mounted for it, and no disk is read to find a label.

use super::Btrfs;
use crate::host::Cx;
use crate::host::btrfs;
use std::path::Path;

/// Where the kernel tells of the filesystems that are mounted: `UUID/label`, `UUID/devices/NAME`.
const MOUNTED: &str = "/sys/fs/btrfs";

/// What the subvolumes are, everywhere, on the filesystems of what is sent from here, if something of each is mounted.
pub(super) fn snapshots(sync: &Btrfs, cx: &Cx) -> Option<Vec<String>> {
    let mut labels: Vec<&str> = sync.way.src.iter().map(|place| place.label.as_str()).collect();
    labels.sort_unstable();
    labels.dedup();
    let mut all = Vec::new();
    for label in labels {
        let mounts = cx.host.facts.mounts();
        let mount = mounts.iter().find(|m| m.fstype == "btrfs" && has_label(&m.source, label))?;
        all.extend(btrfs::list(cx, &mount.target).ok()?.iter().map(|s| s.image().to_owned()));
    }
    Some(all)
}

/// A disk of a mounted filesystem, and its label.
fn has_label(disk: &str, label: &str) -> bool {
    let real = std::fs::canonicalize(disk).ok();
    let (Some(name), Ok(all)) = (real.as_deref().and_then(Path::file_name), std::fs::read_dir(MOUNTED)) else { return false };
    let named = |fs: &Path| std::fs::read_to_string(fs.join("label")).is_ok_and(|text| text.trim_end() == label);
    all.flatten().map(|fs| fs.path()).any(|fs| fs.join("devices").join(name).exists() && named(&fs))
}
