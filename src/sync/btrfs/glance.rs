//! What a status may ask: nothing is mounted for it, and no disk is read to find a label.

use super::Btrfs;
use crate::host::Cx;
use crate::host::btrfs::{self, mounted};

/// What the subvolumes are, everywhere, on the filesystems of what is sent from here, if something of each is mounted.
pub(super) fn snapshots(sync: &Btrfs, cx: &Cx) -> Option<Vec<String>> {
    let mut labels: Vec<&str> = sync.way.src.iter().map(|place| place.label.as_str()).collect();
    labels.sort_unstable();
    labels.dedup();
    let mut all = Vec::new();
    for label in labels {
        let mounts = cx.host.facts.mounts();
        let named = |disk: &str| mounted::of_disk(mounted::FOLDER, disk).and_then(|fs| mounted::label(&fs)).is_some_and(|l| l == label);
        let mount = mounts.iter().find(|m| m.fstype == "btrfs" && named(&m.source))?;
        all.extend(btrfs::list(cx, &mount.target).ok()?.iter().map(|s| s.image().to_owned()));
    }
    Some(all)
}
