//! The gate: what a sender asks a peer before any transfer, and what the peer answers. One JSON line
//! each way, on the standard streams of `svcmgr -s NAME gate`. Keys nobody knows are ignored; a version nobody knows is refused.

use super::authority::{Consent, Holder, Promise};
use super::replica::{Image, State};
use chrono::{DateTime, Local};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// The version this program speaks.
pub const VERSION: u32 = 1;

/// What is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// [`VERSION`].
    pub version: u32,
    /// Who asks.
    pub node: String,
    /// The copy of the data that the sender has authority for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<String>,
    /// How often authority has changed hands.
    #[serde(default)]
    pub epoch: u64,
    /// The transfers to come.
    #[serde(default)]
    pub rids: IndexMap<String, Detail>,
    /// Who holds authority, as the asker knows it: the peer remembers a higher epoch than its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Holder>,
    /// The asker wants to take authority over: the peer promises, or says why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<Promise>,
    /// The asker gives this claim up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unclaim: Option<Promise>,
    /// Transfers that arrived whole: what the peer now has.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub done: IndexMap<String, Image>,
    /// What someone has given up in this epoch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub abandoned: Vec<Consent>,
}

/// One transfer to come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Detail {
    /// `rsync`, `dds`…
    #[serde(skip_serializing_if = "String::is_empty")]
    pub driver: String,
    /// What will be written on the peer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dst: Option<String>,
    /// How much room it needs, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The image a delta is based on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The filesystem that must be mounted on the peer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dstfs: Option<String>,
    /// Of `sync#i0`: the service file that is to be sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
}

/// What is answered. What an answer leaves out is not known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// [`VERSION`].
    pub version: u32,
    /// `known`, or `unknown` when the peer has no such service.
    #[serde(default)]
    pub service: String,
    /// Who answers.
    #[serde(default)]
    pub node: String,
    /// Its copy of the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<String>,
    /// The highest epoch it knows.
    #[serde(default)]
    pub epoch: u64,
    /// State of its instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avail: Option<String>,
    /// A resource of its instance, other than a standby one, is up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<bool>,
    /// When it last ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up_until: Option<DateTime<Local>>,
    /// `up_until` is when the node was last seen alive before a crash: it may have run longer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub crashed: bool,
    /// What is being done with it at this moment: `start`, `takeover`…
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busy: Option<String>,
    /// It was made ready to be given the data, and has not got them yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub receiving: bool,
    /// Who holds authority, as this node knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Holder>,
    /// Another one of the same epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rival: Option<Holder>,
    /// What it has promised, and to whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promise: Option<Promise>,
    /// What someone has given up, as it knows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub abandoned: Vec<Consent>,
    /// It cannot tell who holds authority: why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsure: Option<String>,
    /// Why the claim of the question is not promised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim_refused: Option<String>,
    /// `host_mode` of its node.conf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_mode: Option<String>,
    /// Its time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<String>,
    /// Its word on each transfer; one left out is agreed to.
    #[serde(default)]
    pub rids: IndexMap<String, Verdict>,
}

/// The word on one transfer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// It may come.
    #[serde(default = "yes")]
    pub ok: bool,
    /// Why not: printed by the sender as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What it has there now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
}

/// What a node has of one replication.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// What it is to the holder's data. Absent, or a word of a later version: not known.
    #[serde(default, deserialize_with = "known_state")]
    pub state: Option<State>,
    /// The last image that was whole.
    #[serde(default, flatten)]
    pub image: Image,
    /// Since when it is that, by its clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Local>>,
    /// Of an orphan: when it was written last, at the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written_until: Option<DateTime<Local>>,
    /// A snapshot that keeps the state before an unfinished transfer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<String>,
    /// A transfer to this node was under way and its end is not on record, whatever has come to its copy since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken: Option<Broken>,
    /// A few bytes of a whole copy, digested; of data of which nothing is remembered there, of what is there now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witness: Option<String>,
    /// It is being made this image from a store beside it, or will be before anything else is done with it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub applying: bool,
}

impl Held {
    /// When it was written is not known: only that it was found to be.
    pub fn found(&self) -> bool {
        self.written_until.is_some() && self.written_until == self.since
    }
}

/// A transfer of which nobody has said that it arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broken {
    /// When it began, by the receiver's clock.
    pub since: DateTime<Local>,
    /// Who sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

fn known_state<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<State>, D::Error> {
    let value = Option::<serde_json::Value>::deserialize(from)?;
    Ok(value.and_then(|v| serde_json::from_value(v).ok()))
}

fn yes() -> bool {
    true
}

impl Answer {
    /// The peer has the service.
    pub fn known(&self) -> bool {
        self.service == "known"
    }

    /// The peer's refusal of `rid`, if it refuses.
    pub fn refusal(&self, rid: &str) -> Option<String> {
        let verdict = self.rids.get(rid).filter(|v| !v.ok)?;
        Some(verdict.why.clone().unwrap_or_else(|| format!("{} refuses {rid} without a reason", self.node)))
    }
}

/// One line, without its end.
pub fn to_line<T: Serialize>(message: &T) -> String {
    serde_json::to_string(message).unwrap_or_default()
}

/// Reads a question or an answer: the last line that is not empty, as a login script may have spoken before.
fn from_bytes<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> Result<T, String> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "not a gate message: not text")?;
    let line = text.lines().rev().find(|l| !l.trim().is_empty()).ok_or("not a gate message: empty")?;
    let versioned: Versioned = serde_json::from_str(line).map_err(|e| format!("not a gate message: {e}"))?;
    if versioned.version != VERSION {
        return Err(format!("speaks version {} of the gate, this is version {VERSION}", versioned.version));
    }
    serde_json::from_str(line).map_err(|e| format!("not a gate message: {e}"))
}

impl Question {
    /// Reads a question.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        from_bytes(bytes)
    }
}

impl Answer {
    /// Reads an answer.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        from_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn asks_and_answers_on_a_line() {
        let detail = Detail { driver: "rsync".into(), dst: Some("/d".into()), dstfs: Some("/d".into()), ..Detail::default() };
        let question =
            Question { version: VERSION, node: "deb1".into(), rids: [("sync#1".to_owned(), detail)].into(), ..Question::default() };
        let line = to_line(&question);
        assert_eq!(line, r#"{"version":1,"node":"deb1","epoch":0,"rids":{"sync#1":{"driver":"rsync","dst":"/d","dstfs":"/d"}}}"#);
        assert_eq!(Question::parse(line.as_bytes()), Ok(question));
    }

    #[test]
    fn an_answer_with_keys_of_later_versions() {
        let text = "Welcome!\n{\"version\":1,\"service\":\"known\",\"node\":\"deb2\",\"epoch\":0,\"running\":false,\"new\":[1],\"up_until\":null,\
                    \"host_mode\":\"TST\",\"rids\":{\"sync#1\":{\"ok\":false,\"why\":\"mounted\",\"held\":{\"image\":\"x\"}},\"sync#2\":{},\"sync#3\":{\"ok\":false}}}\n\n";
        let answer = Answer::parse(text.as_bytes()).unwrap();
        assert!(answer.known());
        assert_eq!(answer.running, Some(false));
        assert_eq!(answer.refusal("sync#1"), Some("mounted".into()));
        assert_eq!(answer.refusal("sync#2"), None);
        assert_eq!(answer.refusal("sync#3"), Some("deb2 refuses sync#3 without a reason".into()));
        assert_eq!(answer.refusal("sync#9"), None);
    }

    #[test]
    fn what_is_no_answer_is_told() {
        assert_eq!(Answer::parse(b""), Err("not a gate message: empty".into()));
        assert_eq!(Answer::parse(b"{\"version\":2}"), Err("speaks version 2 of the gate, this is version 1".into()));
        assert!(Answer::parse(b"bash: svcmgr: command not found").is_err());
        assert!(Answer::parse(b"{\"version\":1,\"running\":\"maybe\"}").is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200), tail in ".{0,80}") {
            let _ = (Question::parse(&bytes), Answer::parse(&bytes));
            let _ = Answer::parse(format!("{{\"version\":1,{tail}").as_bytes());
        }
    }
}
