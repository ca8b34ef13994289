//! What a status may ask: one question, of one dataset, for a short time.

use super::Zfs;
use crate::cmd::Cmd;
use crate::host::Cx;
use std::time::Duration;

/// How long a pool may take to answer: one whose disks have gone does not.
const PATIENCE: Duration = Duration::from_secs(10);

/// The guids of the snapshots of what is sent from here.
pub(super) fn snapshots(zfs: &Zfs, cx: &Cx) -> Option<Vec<String>> {
    let dataset = zfs.source(cx).ok()?;
    let out = cx.probe(&Cmd::probe(["zfs", "get", "-Hp", "-d", "1", "-o", "value", "guid", &dataset]).timeout(PATIENCE));
    out.ok().then(|| out.text().split_whitespace().map(str::to_owned).collect())
}
