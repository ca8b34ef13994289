//! Things that copy: the contract of a replication driver, and one file for each.

pub mod btrfs;
pub mod dds;
pub mod docker;
pub mod rsync;
pub mod schedule;
pub mod zfs;

use crate::config::keyword::Keyword;
use crate::config::scope::Params;
use crate::error::Result;
use crate::host::Cx;
use crate::report::Probe;
use crate::resource::Dropped;
use crate::state::gate;
use crate::status::Status;
use schedule::Schedule;

/// The two classes of targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The other nodes of the primary site.
    Nodes,
    /// The nodes of the recovery site.
    Drpnodes,
}

impl Class {
    /// As in `target` and in messages.
    pub fn word(self) -> &'static str {
        match self {
            Self::Nodes => "nodes",
            Self::Drpnodes => "drpnodes",
        }
    }
}

/// How the service stands, as far as a sync wants to know.
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// Merge of everything but sync, hb and app, folded.
    pub avail_without_app: Status,
    /// Merge of everything but sync and hb, folded.
    pub avail: Status,
    /// flex or autoflex.
    pub flex: bool,
}

/// What a transfer moved.
#[derive(Debug, Clone, Default)]
pub struct Sent {
    /// Bytes over the wire, if the tool says.
    pub bytes: Option<u64>,
    /// For the summary line: `12 files, 1.2 MB`.
    pub summary: String,
}

/// One kind of transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// What has changed.
    Update,
    /// Everything.
    Full,
}

/// A replication of this service, seen from this node.
pub trait SyncDriver: Send + Sync {
    /// What the row says.
    fn label(&self) -> String;

    /// Its target classes, in file order.
    fn targets(&self) -> &[Class];

    /// When it may run by itself.
    fn schedule(&self) -> &Schedule;

    /// Its state, from what is on this node alone.
    fn status(&self, cx: &Cx, view: &View) -> Probe;

    /// Carries the service's own files (`sync#i0`, `#i1`): not asked of update and full, sent though…
    fn internal(&self) -> bool {
        false
    }

    /// What the peer is asked before a transfer.
    fn question(&self, cx: &Cx, peer: &str) -> gate::Detail;

    /// Copies to one peer that has said yes. When it returns Ok the peer has the data of `frozen_at`.
    fn send(&self, cx: &Cx, peer: &str, class: Class, mode: Mode) -> Result<Sent>;
}

/// A row of the driver table.
pub struct Driver {
    /// Values of `type` it serves.
    pub types: &'static [&'static str],
    /// Full type of its resources.
    pub rtype: &'static str,
    /// One line for templates and docs.
    pub about: &'static str,
    /// Its keywords beside the common ones.
    pub keywords: &'static [Keyword],
    /// Makes a sync of a section.
    pub build: fn(&Params) -> Result<Box<dyn SyncDriver>, Dropped>,
}
