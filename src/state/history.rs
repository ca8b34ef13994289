//! `var/NAME/history.jsonl`: one line for each transfer and each time authority changed hands, never changed afterwards.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

/// One line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Entry {
    /// `syncnodes`, `syncdrp`, `syncupdate`, `syncfull`; `handover` and `takeover`, which are of no resource.
    pub action: String,
    /// The resource.
    pub rid: String,
    /// Who received, or should have.
    pub peer: String,
    /// When it began: local time, as in stamps.
    pub started: String,
    /// When it ended.
    pub ended: String,
    /// The instant of the data that were sent.
    pub frozen_at: String,
    /// Bytes over the wire, when the tool says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// `ok`, `failed` or `refused`.
    pub result: String,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// The file.
pub fn path(var: &Path, service: &str) -> PathBuf {
    var.join(service).join("history.jsonl")
}

/// Appends one line with a single write, so that the lines of two writers stay whole.
pub fn append(var: &Path, service: &str, entry: &Entry) -> Result<()> {
    let path = path(var, service);
    let mut line = serde_json::to_string(entry).map_err(|e| Error::text(e.to_string()))?;
    line.push('\n');
    std::fs::create_dir_all(path.parent().unwrap_or(var)).map_err(Error::io("create the folder of", &path))?;
    let mut file = OpenOptions::new().append(true).create(true).open(&path).map_err(Error::io("write", &path))?;
    #[cfg(debug_assertions)]
    crate::steps::writing(&path);
    file.write_all(line.as_bytes()).map_err(Error::io("write", &path))?;
    #[cfg(debug_assertions)]
    crate::steps::written(&path);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_each() {
        let dir = tempfile::tempdir().unwrap();
        let entry = Entry { rid: "sync#1".into(), result: "failed".into(), why: Some("a\nb".into()), ..Entry::default() };
        append(dir.path(), "svc1", &entry).unwrap();
        append(dir.path(), "svc1", &Entry::default()).unwrap();
        let text = std::fs::read_to_string(path(dir.path(), "svc1")).unwrap();
        let lines: Vec<Entry> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(lines, [entry, Entry::default()]);
    }
}
