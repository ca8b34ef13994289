//! `var/NAME/authority.json`: which copy of a service's data may be written and sent, as far as this node knows.
//! One JSON object, written atomically; its epoch never decreases. `authority` decides with it.

use super::atomic;
use crate::error::Result;
use chrono::{DateTime, Local};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What a file says, if it can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known<T> {
    /// This.
    Known(T),
    /// There is no file.
    Absent,
    /// There is one that cannot be understood, or one is missing that must have been there: why.
    Unknown(String),
}

impl<T> Known<T> {
    /// What is known.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(t) => Some(t),
            _ => None,
        }
    }

    /// Why it cannot be understood.
    pub fn fault(&self) -> Option<&str> {
        match self {
            Self::Unknown(why) => Some(why),
            _ => None,
        }
    }
}

/// The copy that holds authority: its data are the newest, it alone sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// How often authority has changed hands. The higher one counts.
    pub epoch: u64,
    /// The copy's name.
    pub copy: String,
    /// Its node that took it.
    pub node: String,
    /// Since when, by that node's clock; of a handover, by the clock of who gave it.
    pub since: DateTime<Local>,
    /// The copy that had it before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// It was handed over with all data by who had it. Else it was taken, and writes may be lost.
    #[serde(default)]
    pub handed: bool,
    /// It was taken with a copy that was not whole (`--force`): the data of who had it before may be the better ones.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// Since when home does not hold, by the clock of who took over then: what home has written later is not older.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub away: Option<DateTime<Local>>,
}

/// A node that may take authority over: it was promised the epoch, nobody else gets the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promise {
    /// The epoch to come.
    pub epoch: u64,
    /// Who asked.
    pub node: String,
    /// Its copy.
    pub copy: String,
    /// When it was promised, by our clock.
    pub at: DateTime<Local>,
}

/// Someone has said (`--abandon`) that what a copy has and the holder's has not may be overwritten. It is good for what was
/// there then: used up, replication by replication, when a transfer begins to overwrite that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consent {
    /// The copy's name.
    pub copy: String,
    /// The node on which it was said.
    pub by: String,
    /// When, by that node's clock: with `by` it tells one from another.
    pub at: DateTime<Local>,
    /// Replications that it is not about, or not any more. They are only ever added to: who has an older word of the
    /// same consent does not bring it back.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub over: BTreeSet<String>,
}

impl Consent {
    /// It is the same one, as far as it is over or not.
    pub fn is(&self, other: &Self) -> bool {
        (&self.copy, &self.by, self.at) == (&other.copy, &other.by, other.at)
    }
}

/// What the file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Who holds authority.
    #[serde(flatten)]
    pub holder: Holder,
    /// Of the same epoch, another one: a split. Nobody sends until someone chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rival: Option<Holder>,
    /// The last promise, while it is of a higher epoch than the holder's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promise: Option<Promise>,
    /// What someone has given up (`--abandon`) in this epoch, also what was overwritten since.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub abandoned: Vec<Consent>,
    /// Filesystems of the service are up here for nothing but to receive the data of the holder.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub receiving: bool,
}

impl Record {
    /// Of a holder, and nothing else.
    pub fn of(holder: Holder) -> Self {
        Self { holder, rival: None, promise: None, abandoned: Vec::new(), receiving: false }
    }
}

/// The file.
pub fn path(var: &Path, service: &str) -> PathBuf {
    var.join(service).join("authority.json")
}

/// Reads it.
pub fn read(var: &Path, service: &str) -> Known<Record> {
    read_json(&path(var, service))
}

/// Replaces it. When this returns, it is on the disk.
pub fn write(var: &Path, service: &str, record: &Record) -> Result<()> {
    write_json(&path(var, service), record)
}

/// One JSON object in a file.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Known<T> {
    match std::fs::read(path) {
        Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => Known::Absent,
        Err(e) => Known::Unknown(format!("{} cannot be read: {e}", path.display())),
        Ok(bytes) => match serde_json::from_slice(&bytes) {
            Ok(value) => Known::Known(value),
            Err(e) => Known::Unknown(format!("{} is damaged: {e}", path.display())),
        },
    }
}

/// The same, written: indented, for who looks at it.
pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value).map_err(|e| crate::error::Error::text(e.to_string()))?;
    text.push('\n');
    atomic::write(path, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, FixedClock};

    #[test]
    fn lost_damaged_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path(), "svc1"), Known::Absent);
        let holder = Holder {
            epoch: 3,
            copy: "deb2".into(),
            node: "deb2".into(),
            since: FixedClock::at("2014-06-06 18:00:00").now(),
            from: Some("nodes".into()),
            handed: false,
            partial: false,
            away: None,
        };
        let record = Record::of(holder);
        write(dir.path(), "svc1", &record).unwrap();
        assert_eq!(read(dir.path(), "svc1"), Known::Known(record));
        let text = std::fs::read_to_string(path(dir.path(), "svc1")).unwrap();
        for end in 0..text.trim_end().len() {
            std::fs::write(path(dir.path(), "svc1"), &text[..end]).unwrap();
            assert!(matches!(read(dir.path(), "svc1"), Known::Unknown(_)), "cut at {end}");
        }
    }
}
