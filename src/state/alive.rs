//! When this node, and a service on it, were last seen at work: `var/alive` and `var/NAME/run.json`. A program that
//! is called now and then can only tell when it was called last.

use super::authority::{Known, read_json, write_json};
use super::{atomic, stamp};
use crate::error::Result;
use chrono::{DateTime, Local};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// How old the stamp may grow before it is renewed, seconds.
const FRESH: i64 = 5;

/// A service's last run on this node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LastRun {
    /// When it was started.
    pub since: Option<DateTime<Local>>,
    /// When it was stopped. Without: it runs, or the node crashed with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Local>>,
    /// `until` is the last time this node was seen alive, not that of a stop: it may have run longer.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub crashed: bool,
}

/// The stamps in `var/alive`: the last one, and the last one before this node was booted.
fn stamps(var: &Path) -> (Option<DateTime<Local>>, Option<DateTime<Local>>) {
    let text = std::fs::read_to_string(var.join("alive")).unwrap_or_default();
    let mut lines = text.lines().map(stamp::parse);
    (lines.next().flatten(), lines.next().flatten())
}

/// The last stamp of this node.
pub fn last(var: &Path) -> Option<DateTime<Local>> {
    stamps(var).0
}

/// The last stamp of this node before it was `booted`: when it was still alive.
pub fn before(var: &Path, booted: Option<DateTime<Local>>) -> Option<DateTime<Local>> {
    let (last, previous) = stamps(var);
    if last.zip(booted).is_some_and(|(last, booted)| last < booted) { last } else { previous }
}

/// Stamps this node, which was `booted` then, as alive at `now`, unless it was a moment ago.
pub fn stamp(var: &Path, now: DateTime<Local>, booted: Option<DateTime<Local>>) -> Result<()> {
    if last(var).is_some_and(|last| (0..FRESH).contains(&(now - last).num_seconds()) && booted.is_none_or(|b| b <= last)) {
        return Ok(());
    }
    let previous = before(var, booted).map(|at| format!("{}\n", stamp::format(at))).unwrap_or_default();
    atomic::write(&var.join("alive"), format!("{}\n{previous}", stamp::format(now)).as_bytes())
}

/// The last run of `service`; nothing when it never ran, or that is not known.
pub fn run(var: &Path, service: &str) -> Option<LastRun> {
    match read_json(&var.join(service).join("run.json")) {
        Known::Known(run) => Some(run),
        _ => None,
    }
}

/// Remembers a run.
pub fn write_run(var: &Path, service: &str, run: &LastRun) -> Result<()> {
    write_json(&var.join(service).join("run.json"), run)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::FixedClock;

    #[test]
    fn the_last_stamp_before_a_boot_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let at = |time: &str| FixedClock::at(&format!("2014-06-06 {time}")).0;
        let (first, second) = (Some(at("10:00:00")), Some(at("12:00:00")));
        assert_eq!((last(dir.path()), before(dir.path(), first)), (None, None));
        for time in ["10:01:00", "10:02:00", "10:02:03"] {
            stamp(dir.path(), at(time), first).unwrap();
        }
        assert_eq!((last(dir.path()), before(dir.path(), first)), (Some(at("10:02:00")), None), "a moment ago is enough");
        assert_eq!(before(dir.path(), second), Some(at("10:02:00")));
        for time in ["12:00:01", "12:30:00"] {
            stamp(dir.path(), at(time), second).unwrap();
            assert_eq!((last(dir.path()), before(dir.path(), second)), (Some(at(time)), Some(at("10:02:00"))));
        }
    }
}
