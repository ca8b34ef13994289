//! Things that start and stop: the contract of a driver, and one file for each.

pub mod app;
pub mod common;
pub mod docker;
pub mod fs;
pub mod hb;
pub mod ip;
pub mod loopdev;
pub mod pool;
pub mod unsupported;
pub mod vg;
pub mod zfs;

use crate::config::keyword::Keyword;
use crate::config::scope::Params;
use crate::error::{Error, Result};
use crate::host::{Cx, Host};
use crate::report::Probe;

/// What a start or stop did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// Something was activated or deactivated now.
    Changed,
    /// It was so already.
    Already,
}

/// A resource on this node, ready to be looked at and acted upon.
pub trait Resource: Send + Sync {
    /// What the row and the plan say it is.
    fn label(&self, host: &Host) -> String;

    /// Its state now. Changes nothing, never hangs.
    fn status(&self, cx: &Cx) -> Probe;

    /// Makes it up. When it returns Ok the resource is up.
    fn start(&self, cx: &Cx) -> Result<Done>;

    /// Makes it down. When it returns Ok the resource is down.
    fn stop(&self, cx: &Cx) -> Result<Done>;

    /// Something elsewhere forbids a start (an address that answers): asked of all resources before the first start.
    fn conflict(&self, _cx: &Cx) -> Result<()> {
        Ok(())
    }

    /// Starting it needs nothing else that starts later and its check may run though the service is not up.
    /// Apps are not looked at on a passive node of a cluster.
    fn only_when_up(&self) -> bool {
        false
    }

    /// Up and down become `stdby up` and `stdby down` where it is always on.
    fn has_standby(&self) -> bool {
        true
    }

    /// What orders it among its like: the mount point for fs, the rid for most.
    fn sort_key(&self, rid: &str) -> String {
        rid.to_owned()
    }

    /// For apps: the sequence number of an action.
    fn sequence(&self, _action: Sequence) -> Option<i64> {
        None
    }

    /// The rid of the container it is in: started right after that, and stopped right before.
    fn inside(&self) -> Option<&str> {
        None
    }

    /// Variables exported to launchers and triggers.
    fn environment(&self, _host: &Host, _rid: &str) -> Vec<(String, String)> {
        Vec::new()
    }

    /// Files that sync#i0 carries beside the service's own.
    fn files(&self) -> Vec<String> {
        Vec::new()
    }

    /// Block devices it uses.
    fn devices(&self, _cx: &Cx) -> Vec<String> {
        Vec::new()
    }

    /// The mount point, for an fs.
    fn mount_point(&self) -> Option<&str> {
        None
    }
}

/// The sequences an app has numbers for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sequence {
    /// Ascending at start.
    Start,
    /// Ascending at stop.
    Stop,
}

/// Why a section did not become a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dropped {
    /// An error line on each command.
    Error(String),
    /// Not for this node: hb on a DRP node.
    Silent,
}

impl From<String> for Dropped {
    fn from(why: String) -> Self {
        Self::Error(why)
    }
}

/// A row of the driver table.
pub struct Driver {
    /// Kind of section: `fs`, `container`.
    pub kind: &'static str,
    /// Values of `type` it serves, lower case; empty: all that no other driver of the kind serves.
    pub types: &'static [&'static str],
    /// Full type of its resources: `fs`, `disk.vg`.
    pub rtype: &'static str,
    /// One line for templates and docs.
    pub about: &'static str,
    /// Its keywords beside [`COMMON`] and [`TRIGGERS`].
    pub keywords: &'static [Keyword],
    /// Makes a resource of a section.
    pub build: fn(&Params) -> Result<Box<dyn Resource>, Dropped>,
}

/// The error of an action whose driver comes with a later version.
pub fn not_yet(what: &str) -> Error {
    Error::text(format!("{what} is not supported by this version"))
}

use crate::config::keyword::Type::{Bool, Command, Int, Words};

/// Keywords every resource has.
pub const COMMON: &[Keyword] = &[
    Keyword::new("type", crate::config::keyword::Type::Text, "the driver"),
    Keyword::new("tags", Words, "words for --tags; special: encap, noaction, noalias, nonrouted"),
    Keyword::new("subset", crate::config::keyword::Type::Text, "puts the resource in set TYPE:SUBSET"),
    Keyword::new("disable", Bool, "not looked at, not acted upon").default("false"),
    Keyword::new("disable_on", Words, "disabled on these nodes (names, nodes, drpnodes); only if disable is absent").unscoped(),
    Keyword::new("optional", Bool, "its failures do not stop an action").default("false").unscoped(),
    Keyword::new("optional_on", Words, "optional on these nodes; only if optional is absent").unscoped(),
    Keyword::new("monitor", Bool, "watched by resource monitor").default("false").unscoped(),
    Keyword::new("monitor_on", Words, "monitored on these nodes; only if monitor is absent").unscoped(),
    Keyword::new("restart", Int, "restarts tried by resource monitor before the monitor action").default("0"),
    Keyword::new("always_on", Words, "nodes (names, nodes, drpnodes) where it is up even when the service is not").unscoped(),
];

/// Commands run around actions. The result of the old ones is logged and ignored; a blocking one that fails stops the action.
pub const TRIGGERS: &[Keyword] = &[
    Keyword::new("pre_start", Command, "run before start; its result is ignored"),
    Keyword::new("post_start", Command, "run after start; its result is ignored"),
    Keyword::new("pre_stop", Command, "run before stop; its result is ignored"),
    Keyword::new("post_stop", Command, "run after stop; its result is ignored"),
    Keyword::new("pre_syncnodes", Command, "run before sync nodes; its result is ignored"),
    Keyword::new("post_syncnodes", Command, "run after sync nodes; its result is ignored"),
    Keyword::new("pre_syncdrp", Command, "run before sync drp; its result is ignored"),
    Keyword::new("post_syncdrp", Command, "run after sync drp; its result is ignored"),
    Keyword::new("pre_syncupdate", Command, "run before sync update; its result is ignored"),
    Keyword::new("post_syncupdate", Command, "run after sync update; its result is ignored"),
    Keyword::new("pre_syncresync", Command, "run before sync resync; its result is ignored"),
    Keyword::new("post_syncresync", Command, "run after sync resync; its result is ignored"),
    Keyword::new("blocking_pre_start", Command, "run before start; a failure stops the action"),
    Keyword::new("blocking_post_start", Command, "run after start; a failure stops the action"),
    Keyword::new("blocking_pre_stop", Command, "run before stop; a failure stops the action"),
    Keyword::new("blocking_post_stop", Command, "run after stop; a failure stops the action"),
    Keyword::new("blocking_pre_sync", Command, "run before any sync; a failure stops it"),
    Keyword::new("blocking_post_sync", Command, "run after any sync; a failure fails it"),
];
