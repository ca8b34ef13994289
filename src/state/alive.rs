//! When this node, and a service on it, were last seen at work: `var/alive` and `var/NAME/run.json`.

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

/// The last stamp of this node.
pub fn last(var: &Path) -> Option<DateTime<Local>> {
    stamp::read(&var.join("alive"))
}

/// Stamps this node as alive at `now`, unless it was a moment ago.
pub fn stamp(var: &Path, now: DateTime<Local>) -> Result<()> {
    let fresh = last(var).is_some_and(|last| (0..FRESH).contains(&(now - last).num_seconds()));
    if fresh { Ok(()) } else { atomic::write(&var.join("alive"), format!("{}\n", stamp::format(now)).as_bytes()) }
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
