//! Stamps: when a transfer last succeeded. `var/sync/NODE/NAME!RID` and `var/last_sync_NAME_RID`, in
//! the format of 2014: local time, `YYYY-MM-DD HH:MM:SS.ffffff` and a newline.

use super::atomic;
use crate::error::Result;
use chrono::{DateTime, Local, NaiveDateTime, TimeZone};
use std::path::{Path, PathBuf};

/// The stamp of `rid` as node `node` has it: received there, or sent to it.
pub fn of_node(var: &Path, node: &str, service: &str, rid: &str) -> PathBuf {
    var.join("sync").join(node).join(format!("{service}!{rid}"))
}

/// The stamp of the last success of `rid`, whoever received it.
pub fn last(var: &Path, service: &str, rid: &str) -> PathBuf {
    var.join(format!("last_sync_{service}_{rid}"))
}

/// As written, with microseconds even when they are 0: 2014's readers want them.
pub fn format(at: DateTime<Local>) -> String {
    at.format("%Y-%m-%d %H:%M:%S.%6f").to_string()
}

/// Reads what [`format`] wrote, also without a fraction (2014 left out a fraction of 0).
pub fn parse(text: &str) -> Option<DateTime<Local>> {
    let time = NaiveDateTime::parse_from_str(text.trim(), "%Y-%m-%d %H:%M:%S%.f").ok()?;
    // an hour that is there twice or not at all, when clocks change: the earlier, as the older data is assumed
    Local.from_local_datetime(&time).earliest().or_else(|| Local.from_local_datetime(&(time - chrono::Duration::hours(1))).earliest())
}

/// The stamp in a file; `None` when it is missing or unreadable.
pub fn read(path: &Path) -> Option<DateTime<Local>> {
    parse(&std::fs::read_to_string(path).ok()?)
}

/// What a state file of 2014 tells, `DATE;ID` on one line: when an image was frozen, and its id.
pub fn read_image(path: &Path) -> Option<(DateTime<Local>, String)> {
    let text = std::fs::read_to_string(path).ok()?;
    let (at, id) = text.strip_suffix('\n').unwrap_or(&text).split_once(';')?;
    let plain = !id.is_empty() && !id.contains([';', '\n']);
    Some((parse(at)?, id.to_owned())).filter(|_| plain)
}

/// Writes a stamp, atomically; folders are made.
pub fn write(path: &Path, at: DateTime<Local>) -> Result<()> {
    atomic::write(path, format!("{}\n", format(at)).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, FixedClock};

    #[test]
    fn written_as_2014_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let at = FixedClock::at("2014-06-06 18:14:23").now();
        let path = of_node(dir.path(), "deb2", "svc1", "sync#i0");
        write(&path, at).unwrap();
        assert!(path.ends_with("sync/deb2/svc1!sync#i0"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "2014-06-06 18:14:23.000000\n");
        assert_eq!(read(&path), Some(at));
        assert!(last(dir.path(), "svc1", "sync#i0").ends_with("last_sync_svc1_sync#i0"));
    }

    #[test]
    fn read_with_and_without_fraction() {
        let whole = parse("2014-06-06 18:14:23\n").unwrap();
        assert_eq!(parse("2014-06-06 18:14:23.5").unwrap() - whole, chrono::Duration::milliseconds(500));
        assert_eq!(parse("2014-06-06 18:14"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn an_image_of_2014() {
        let dir = tempfile::tempdir().unwrap();
        let read = |text: &str| {
            std::fs::write(dir.path().join("f"), text).unwrap();
            read_image(&dir.path().join("f")).map(|(at, id)| format!("{} {id}", format(at)))
        };
        assert_eq!(read("2014-06-06 18:14:23;L4dP-x\n").as_deref(), Some("2014-06-06 18:14:23.000000 L4dP-x"));
        for bad in ["", "2014-06-06 18:14:23", "2014-06-06 18:14:23;", "soon;x", "2014-06-06 18:14:23;x;y", "2014-06-06 18:14:23;x\n\n"] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }
}
