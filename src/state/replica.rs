//! `var/NAME/RID.replica.json`: what the data of one replication are on this node. `var/NAME/RID.sent.json`: what
//! this node knows its peers to have. One JSON object each, written atomically.

use super::authority::{Known, read_json, write_json};
use crate::error::Result;
use chrono::{DateTime, Local};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// What data are to the holder's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// The holder's own.
    #[serde(rename = "live")]
    Live,
    /// As they were on the holder at one instant, untouched since.
    #[serde(rename = "replica")]
    Replica,
    /// A transfer that is not atomic has begun and was not confirmed: partly new, partly old.
    #[serde(rename = "in progress")]
    InProgress,
    /// Written here after the last image that the holder has in common: old primary, forced start.
    #[serde(rename = "orphan")]
    Orphan,
    /// A first copy that is not whole.
    #[serde(rename = "torn")]
    Torn,
    /// Nothing was ever received.
    #[serde(rename = "none")]
    None,
}

impl State {
    /// As printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Replica => "replica",
            Self::InProgress => "in progress",
            Self::Orphan => "orphan",
            Self::Torn => "torn",
            Self::None => "none",
        }
    }
}

/// One instant of the data, as it was sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Image {
    /// What the driver knows it by: LVM uuid, guid. rsync has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// When the data were so, by the sender's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frozen_at: Option<DateTime<Local>>,
    /// In which epoch its sender held authority: of two images the one of the higher epoch is the newer, whatever
    /// their clocks say.
    #[serde(skip_serializing_if = "is_zero")]
    pub epoch: u64,
    /// The command that sent it: all replicas of one round belong together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round: Option<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// What the file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    /// The node it was written on: a file copied from elsewhere says nothing about this node.
    pub node: String,
    /// Where the data are here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dst: Option<String>,
    /// What they are.
    pub state: State,
    /// The epoch in which that was so.
    pub epoch: u64,
    /// Who sent them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The last image that was whole here: of a replica, what it is; else what it was based on.
    #[serde(default)]
    pub image: Image,
    /// Since when it is in this state, by this node's clock.
    pub since: DateTime<Local>,
    /// Of an orphan: when it was written last, as far as this node can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written_until: Option<DateTime<Local>>,
    /// A snapshot that keeps what was here before the transfer that is in progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<String>,
    /// This image is being written over what is here, from a store beside it. Whoever finds this finishes it: until
    /// then the data are torn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applying: Option<Image>,
    /// A few bytes of the data, digested when they became this replica: other bytes were written by somebody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witness: Option<String>,
}

impl Replica {
    /// Data of `node` of which nothing more is known.
    pub fn new(node: &str, state: State, epoch: u64, since: DateTime<Local>) -> Self {
        let node = node.to_owned();
        let image = Image::default();
        Self { node, dst: None, state, epoch, from: None, image, since, written_until: None, kept: None, applying: None, witness: None }
    }
}

/// What this node knows a peer to have of one replication.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sent {
    /// The last image that arrived whole.
    pub image: Image,
    /// A few bytes of it, as the peer has digested them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub witness: Option<String>,
    /// Why the next transfer is of everything, although the peer had something: until one has arrived.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full: Option<String>,
    /// A later transfer has begun and was not confirmed: when it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broken_since: Option<DateTime<Local>>,
    /// A later transfer was begun beside what the peer has, and was not confirmed. It has not touched that before
    /// `broken_since`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tried: Option<Tried>,
    /// Why the one or the other failed, if that was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// The begin of a transfer that is put beside the peer's copy before it becomes that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// When, by the sender's clock.
    pub since: DateTime<Local>,
    /// In which epoch the sender held authority: of one before, the peer's copy tells more than this.
    pub epoch: u64,
}

/// Two witnesses tell of different data. One with a line `PLACE=WHAT` for each part of the data is compared by place: a
/// part that only one of them knows was added to the service file, or taken away.
pub fn differ(one: &str, other: &str) -> bool {
    fn places(text: &str) -> Option<BTreeMap<&str, &str>> {
        text.lines().map(|line| line.rsplit_once('=')).collect::<Option<_>>().filter(|places: &BTreeMap<_, _>| !places.is_empty())
    }
    match (places(one), places(other)) {
        (Some(one), Some(other)) => one.iter().any(|(place, what)| other.get(place).is_some_and(|theirs| theirs != what)),
        _ => one != other,
    }
}

/// The file of a replication on this node.
pub fn path(var: &Path, service: &str, rid: &str) -> PathBuf {
    var.join(service).join(format!("{rid}.replica.json"))
}

/// Reads it.
pub fn read(var: &Path, service: &str, rid: &str) -> Known<Replica> {
    read_json(&path(var, service, rid))
}

/// Replaces it. When this returns, it is on the disk.
pub fn write(var: &Path, service: &str, rid: &str, replica: &Replica) -> Result<()> {
    write_json(&path(var, service, rid), replica)
}

/// The file of what peers have.
pub fn sent_path(var: &Path, service: &str, rid: &str) -> PathBuf {
    var.join(service).join(format!("{rid}.sent.json"))
}

/// What peers have, by node. Nothing when it cannot be read: the peers know better.
pub fn read_sent(var: &Path, service: &str, rid: &str) -> BTreeMap<String, Sent> {
    read_json(&sent_path(var, service, rid)).known().cloned().unwrap_or_default()
}

/// Held while the file is read and changed: peers are sent to side by side.
static SENT: Mutex<()> = Mutex::new(());

/// Changes what `peer` has.
pub fn change_sent(var: &Path, service: &str, rid: &str, peer: &str, f: impl FnOnce(&mut Sent)) -> Result<()> {
    let _one = SENT.lock().unwrap_or_else(PoisonError::into_inner);
    let mut peers = read_sent(var, service, rid);
    f(peers.entry(peer.to_owned()).or_default());
    write_sent(var, service, rid, &peers)
}

/// Replaces it.
pub fn write_sent(var: &Path, service: &str, rid: &str, sent: &BTreeMap<String, Sent>) -> Result<()> {
    write_json(&sent_path(var, service, rid), sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn witnesses_are_compared_by_place() {
        let two = "s:a=1\ns:b=2 7";
        assert!(!differ(two, "s:b=2 7\ns:a=1") && !differ(two, "s:a=1") && !differ(two, "s:c=3\ns:b=2 7\ns:a=1"));
        assert!(differ(two, "s:b=2 8\ns:a=1") && differ(two, "s:a=2") && differ(two, "") && differ("", two));
        assert!(differ("untouched", "pool/a@x 5") && differ("0a", "0b") && !differ("0a", "0a"));
    }
}
