//! Things that copy: the contract of a replication driver, and one file for each.

pub mod btrfs;
mod common;
pub mod dds;
pub mod docker;
mod receive;
pub mod rsync;
pub mod schedule;
pub mod zfs;

use crate::authority::written::Newest;
use crate::config::keyword::Keyword;
use crate::config::scope::{Params, Scope};
use crate::error::{Error, Result};
use crate::host::Cx;
use crate::report::Probe;
use crate::resource::Dropped;
use crate::state::replica::Image;
use crate::state::{gate, stamp};
use crate::status::Status;
use chrono::{DateTime, Local};
pub use common::share::Share;
pub use receive::{Effect, Receipt, Recovered, Target};
use schedule::Schedule;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The two classes of targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The other nodes of the primary site.
    Nodes,
    /// The nodes of the recovery site.
    Drpnodes,
}

impl Class {
    /// The other nodes of this class.
    pub fn peers(self, scope: &Scope) -> Vec<String> {
        let nodes = match self {
            Self::Nodes => &scope.nodes,
            Self::Drpnodes => &scope.drpnodes,
        };
        nodes.iter().filter(|n| **n != scope.node).cloned().collect()
    }

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
    /// What differs, found by comparing both sides: whatever was there before, the peer has an image afterwards.
    Resync,
}

/// How far a transfer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The node that receives.
    pub peer: String,
    /// What is sent: the resource.
    pub rid: String,
    /// `12.3MB 45% 10.2MB/s 0:00:12`, as the tool words it.
    pub words: String,
}

/// Told of progress, from any thread.
pub type OnProgress = Arc<dyn Fn(Progress) + Send + Sync>;

/// One transfer to do.
#[derive(Clone)]
pub struct Job {
    /// A peer that has said yes.
    pub peer: String,
    /// As what it receives.
    pub class: Class,
    /// What has changed, or everything.
    pub mode: Mode,
    /// In which epoch this node holds authority: the receiver lets nobody else in.
    pub epoch: u64,
    /// What the peer says it has, when it was asked. `None`: it did not say.
    pub held: Option<gate::Held>,
    /// What is sent: what the peer is going to have.
    pub image: Image,
    /// Somebody watches.
    pub progress: Option<OnProgress>,
    /// Of a comparison: how much of what is in the files is read, beyond what tells snapshots from each other.
    pub content: Option<Share>,
}

/// A side of a replication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Where `src` is: home.
    Source,
    /// Where `dst` is.
    Target,
}

/// From which node to which a replication goes, when authority has moved.
#[derive(Clone, Copy)]
pub struct Way<'a> {
    /// The section as this node, which sends, resolves it.
    pub here: Params<'a>,
    /// The section as the node that receives resolves it.
    pub there: Params<'a>,
    /// What this node is.
    pub from: Side,
    /// What the node that receives is.
    pub to: Side,
}

/// A replication of this service, seen from this node.
pub trait SyncDriver: Send + Sync {
    /// What the row says.
    fn label(&self) -> String;

    /// From what to where, for `… sync not applicable to nodes`.
    fn route(&self) -> String {
        self.label()
    }

    /// Its target classes, in file order.
    fn targets(&self) -> &[Class];

    /// When it may run by itself.
    fn schedule(&self) -> &Schedule;

    /// When it last succeeded towards `peer`.
    fn last(&self, cx: &Cx, peer: &str) -> Option<DateTime<Local>> {
        stamp::read(&stamp::of_node(&cx.host.paths.var, peer, cx.service, cx.rid))
    }

    /// Its state, from what is on this node alone.
    fn status(&self, cx: &Cx, view: &View) -> Probe;

    /// Carries files of the service or the system, not its data: goes with sync nodes, drp and all only.
    fn internal(&self) -> bool {
        false
    }

    /// Is sent whatever the state of the service.
    fn in_any_state(&self) -> bool {
        false
    }

    /// What the peer is asked before a transfer.
    fn question(&self, cx: &Cx, peer: &str) -> gate::Detail;

    /// What it would send is there. Asked once, before any peer is.
    fn ready(&self, _cx: &Cx) -> Result<()> {
        Ok(())
    }

    /// Sends a picture of one instant, which [`SyncDriver::freeze`] makes.
    fn has_snapshot(&self) -> bool {
        false
    }

    /// Freezes what is to be sent, before the first transfer of the command. After an error nothing is left behind.
    fn freeze(&self, _cx: &Cx) -> Result<()> {
        Ok(())
    }

    /// Undoes [`SyncDriver::freeze`]; called on every path, also when nothing was frozen.
    fn release(&self, _cx: &Cx) {}

    /// What [`SyncDriver::release`] has written for the other nodes of this copy of the data, as their rows are made of it.
    fn news(&self, _cx: &Cx) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Where the data are on a node that is `side`: files and folders that must be mounted to send and receive. None
    /// for what is sent as a whole device.
    fn places(&self, _side: Side) -> Vec<String> {
        Vec::new()
    }

    /// When the data that this node has as `side` were written last: the newest change of anything there that a
    /// transfer would overwrite. The look ends after `limit`.
    fn newest(&self, _cx: &Cx, _side: Side, _limit: Duration) -> Newest {
        Newest::Unknown
    }

    /// The image that [`SyncDriver::freeze`] has made: its id and instant. `None`: what is sent is of the start of the
    /// action, and has no name.
    fn frozen(&self, _cx: &Cx) -> Option<Image> {
        None
    }

    /// [`SyncDriver::send`] leaves the peer's replica as it is, and puts what it sends beside it; only
    /// [`SyncDriver::apply`] makes it the replica.
    fn staged(&self) -> bool {
        false
    }

    /// Copies to one peer. When it returns Ok the peer has the data of the start of the action, or of `freeze`; of a
    /// staged driver, beside its replica.
    fn send(&self, cx: &Cx, job: &Job) -> Result<Sent>;

    /// Has the peer make its replica of what was sent. Called when all staged members of the round have arrived there.
    fn apply(&self, _cx: &Cx, _job: &Job) -> Result<()> {
        Ok(())
    }

    /// The peer has confirmed that it has what `freeze` has made.
    fn confirmed(&self, _cx: &Cx, _peer: &str) -> Result<()> {
        Ok(())
    }

    /// The service was stopped here: nothing of this driver's is left mounted on disks that another node has too.
    fn stopped(&self, _cx: &Cx) -> Result<()> {
        Ok(())
    }

    /// What this driver does on the node that receives, if that is more than to run what the sender asks for.
    fn target(&self) -> Option<&dyn Target> {
        None
    }

    /// Compares what the peer has with what was sent to it last; no data are moved or changed. `Err(Reported)`: they
    /// differ, and the log says so.
    fn verify(&self, cx: &Cx, _job: &Job) -> Result<()> {
        Err(Error::text(format!("{} cannot be verified: its driver has no way to compare the copies", cx.rid)))
    }

    /// The same for the part of the data whose turn it is, after a transfer that was confirmed and everything that
    /// belongs to it. Nothing by default.
    fn scrub(&self, _cx: &Cx, _job: &Job) -> Result<()> {
        Ok(())
    }

    /// Remembers a success towards `peer`, begun at `started`. The files whose copies tell the peer of it.
    fn stamp(&self, cx: &Cx, peer: &str, started: DateTime<Local>) -> Result<Vec<PathBuf>> {
        let (var, name, rid) = (&cx.host.paths.var, cx.service, cx.rid);
        let both = [stamp::of_node(var, peer, name, rid), stamp::of_node(var, &cx.host.node, name, rid)];
        for path in both.iter().chain([&stamp::last(var, name, rid)]) {
            stamp::write(path, started)?;
        }
        Ok(both.into())
    }
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
    /// Makes the sync of the same data that goes another way, with all checks of the sender. The error says why it
    /// cannot be, and what to set.
    pub redirect: fn(&Way) -> Result<Box<dyn SyncDriver>, String>,
}
