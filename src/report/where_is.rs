//! Who has which data of a service, as data: a row for each node, who holds authority, what to type.

use chrono::{DateTime, Local};
use serde::Serialize;
use std::fmt;

/// What `where` found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Where {
    /// The service.
    pub service: String,
    /// The node that asked the others.
    pub node: String,
    /// When, by its clock.
    pub at: DateTime<Local>,
    /// It has copies of its data. Without, nothing is said of copies and authority.
    pub replicated: bool,
    /// Whether it is clear whose data count.
    pub verdict: Verdict,
    /// Who holds authority.
    pub holder: Option<Holding>,
    /// The other one, of a split.
    pub rival: Option<Holding>,
    /// Why it is not clear.
    pub why: Option<String>,
    /// The nodes, by copy, primary site first.
    pub nodes: Vec<Instance>,
    /// What else the reader should know.
    pub remarks: Vec<String>,
    /// What to type.
    pub advice: Vec<Advice>,
}

/// Whether it is clear whose data count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// One copy holds authority, and no other is being written.
    Held,
    /// Two do: someone has to choose.
    Split,
    /// Nobody can tell.
    Unknown,
}

/// Who holds authority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Holding {
    /// The copy.
    pub copy: String,
    /// Its node that took it.
    pub node: String,
    /// Since when; from the beginning: none.
    pub since: Option<DateTime<Local>>,
    /// How often authority has changed hands.
    pub epoch: u64,
}

/// A node's word on authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Authority {
    /// Its copy holds it.
    Holds,
    /// It says that it holds it, and another does too, or holds it since later.
    Claims,
    /// It does not.
    None,
    /// It cannot tell, or does not answer.
    Unknown,
}

/// The service on one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Instance {
    /// The node.
    pub node: String,
    /// Its copy of the data.
    pub copy: Option<String>,
    /// It is the one that asks, or has answered.
    pub answers: bool,
    /// Why it has not; or why it cannot say more.
    pub why: Option<String>,
    /// The avail state of the service there.
    pub avail: Option<String>,
    /// The service runs there.
    pub running: Option<bool>,
    /// What is being done with it there at this moment.
    pub busy: Option<String>,
    /// When it last ran there.
    pub up_until: Option<DateTime<Local>>,
    /// It crashed then: it may have run longer.
    pub crashed: bool,
    /// Authority.
    pub authority: Authority,
    /// Since when it holds or claims it.
    pub since: Option<DateTime<Local>>,
    /// In which epoch.
    pub epoch: Option<u64>,
    /// Seconds that its clock is ahead of this node's, when that is too much to compare times.
    pub clock_off: Option<i64>,
    /// What it has of each replication.
    pub data: Vec<Data>,
}

/// What a node has of one replication.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Data {
    /// The replication.
    pub rid: String,
    /// live, replica, applying, in progress, orphan, torn, none; not known: nothing.
    pub state: Option<&'static str>,
    /// What the data are of: the last whole image.
    pub frozen_at: Option<DateTime<Local>>,
    /// The command that sent it.
    pub round: Option<String>,
    /// Of an orphan: when it was written last.
    pub written_until: Option<DateTime<Local>>,
    /// A snapshot of what was there before an unfinished transfer.
    pub kept: Option<String>,
    /// The node does not answer: this is what it was sent last.
    pub as_sent: bool,
}

/// What to do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Advice {
    /// What for, or how it is.
    pub text: String,
    /// Where to type it.
    pub node: Option<String>,
    /// What to type.
    pub command: Option<String>,
    /// What comes of it.
    pub note: Option<String>,
    /// All is well.
    #[serde(skip)]
    pub idle: bool,
}

impl Advice {
    /// Nothing to type.
    pub fn just(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// All is well: why.
    pub fn nothing(why: impl fmt::Display) -> Self {
        Self { text: format!("nothing to do: {why}"), idle: true, ..Self::default() }
    }

    /// To be typed on `node`.
    pub fn on(text: impl Into<String>, node: &str, command: String) -> Self {
        Self { text: text.into(), node: Some(node.to_owned()), command: Some(command), ..Self::default() }
    }

    /// And what comes of it.
    #[must_use]
    pub fn note(self, note: impl Into<String>) -> Self {
        Self { note: Some(note.into()), ..self }
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.text)?;
        if let (Some(node), Some(command)) = (&self.node, &self.command) {
            write!(f, ": on {node}: {command}")?;
        }
        self.note.as_ref().map_or(Ok(()), |note| write!(f, "   ({note})"))
    }
}
