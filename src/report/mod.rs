//! How things stand: the status of a service as data. Renderers make trees, tables and JSON of it.

pub mod where_is;

use crate::status::Status;
use indexmap::IndexMap;
use serde::Serialize;

/// What a driver found out about its resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The state, before the standby mapping.
    pub status: Status,
    /// Messages to show below the row, without the leading `# `.
    pub messages: Vec<String>,
    /// Messages that only JSON shows (2014 left them out of the tree).
    pub quiet: Vec<String>,
}

impl Probe {
    /// A state with nothing to say.
    pub fn new(status: Status) -> Self {
        Self { status, messages: Vec::new(), quiet: Vec::new() }
    }

    /// A state and why.
    pub fn because(status: Status, message: impl Into<String>) -> Self {
        Self { status, messages: vec![message.into()], quiet: Vec::new() }
    }

    /// Up or down.
    pub fn up_if(up: bool) -> Self {
        Self::new(if up { Status::Up } else { Status::Down })
    }
}

/// One row.
#[derive(Debug, Clone, Serialize)]
pub struct ResourceReport {
    /// Section name.
    pub rid: String,
    /// Full type: `fs`, `disk.vg`, `container.docker`, `sync.rsync`.
    #[serde(rename = "type")]
    pub rtype: String,
    /// Subset, if any.
    pub subset: Option<String>,
    /// State, standby mapping done.
    pub status: Status,
    /// What the row is about.
    pub label: String,
    /// Messages shown below the row.
    pub messages: Vec<String>,
    /// Messages only JSON shows.
    #[serde(skip)]
    pub quiet: Vec<String>,
    /// Watched by `resource monitor`.
    pub monitor: bool,
    /// Disabled: n/a, not counted, not acted upon.
    pub disable: bool,
    /// Failures are forgiven.
    pub optional: bool,
    /// Belongs to the guest.
    pub encap: bool,
    /// Always on here.
    pub standby: bool,
}

impl ResourceReport {
    /// The first word of the type: `disk` of `disk.vg`.
    pub fn group(&self) -> &str {
        self.rtype.split('.').next().unwrap_or_default()
    }
}

/// The groups of `json status` and svcmon, in the order of svcmon.
pub const GROUPS: [&str; 8] = ["container", "ip", "disk", "fs", "share", "app", "hb", "sync"];

/// How one service stands on this node.
#[derive(Debug, Clone, Serialize)]
pub struct ServiceReport {
    /// Name.
    pub service: String,
    /// The node that looked.
    pub node: String,
    /// `service_type`.
    pub service_type: String,
    /// `mode`.
    pub mode: String,
    /// Frozen, or on a frozen node.
    pub frozen: bool,
    /// Merge of all but sync and hb.
    pub avail: Status,
    /// All, with late syncs as a warning.
    pub overall: Status,
    /// State of each of [`GROUPS`].
    pub groups: IndexMap<&'static str, Status>,
    /// Rows in the order of the tree.
    pub resources: Vec<ResourceReport>,
    /// Who holds the data, once this node has heard of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authority: Option<AuthorityReport>,
}

/// What a node knows, without asking another, of who holds a service's data, and what it has itself.
#[derive(Debug, Clone, Serialize)]
pub struct AuthorityReport {
    /// This node's copy holds authority, and no other claims to.
    pub holds: bool,
    /// Who does.
    pub holder: Option<where_is::Holding>,
    /// Another one of the same epoch.
    pub rival: Option<where_is::Holding>,
    /// Why it is not known.
    pub fault: Option<String>,
    /// What is here of each replication.
    pub data: Vec<where_is::Data>,
}

impl ServiceReport {
    /// The rows under `avail`, `sync` or `hb`: by the rid's case-sensitive prefix, as in 2014.
    pub fn rows(&self, branch: Branch) -> Vec<&ResourceReport> {
        self.resources.iter().filter(|r| Branch::of(&r.rid) == branch).collect()
    }
}

/// The three branches of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Branch {
    /// Everything that makes the service available.
    Avail,
    /// Replication.
    Sync,
    /// Heartbeat.
    Hb,
}

impl Branch {
    /// Where a row goes.
    pub fn of(rid: &str) -> Self {
        match crate::rid::split(rid).0 {
            "sync" => Self::Sync,
            "hb" => Self::Hb,
            _ => Self::Avail,
        }
    }
}
