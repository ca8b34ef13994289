//! When data were written last, as the filesystem tells: the newest change of anything below a place.

use super::sources::expand;
use crate::host::patience::within;
use chrono::{DateTime, Local, TimeZone};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long the look may take; who asks is about to decide whether data are lost.
const LIMIT: Duration = Duration::from_secs(60);

/// The newest change below what `patterns` name, links not followed, other filesystems left out. `None`: there is
/// nothing, or it is too much to be looked at.
pub(super) fn of(patterns: &[String]) -> Option<DateTime<Local>> {
    let places = expand(patterns)?;
    let until = Instant::now() + LIMIT;
    let (seconds, nanos) = within(LIMIT, move || newest(&places, until))??;
    Local.timestamp_opt(seconds, u32::try_from(nanos).ok()?).single()
}

/// `None` also when any of it could not be looked at: half an answer would be a wrong one.
fn newest(places: &[String], until: Instant) -> Option<(i64, i64)> {
    let mut newest = None;
    for place in places {
        let top = std::fs::symlink_metadata(place).ok()?; // a slash at its end leads through a link
        let dev = top.dev();
        let mut folders = Vec::new();
        let mut see = |meta: &Metadata, path: PathBuf, folders: &mut Vec<PathBuf>| {
            newest = newest.max(Some((meta.ctime(), meta.ctime_nsec())));
            if meta.is_dir() {
                folders.push(path);
            }
        };
        see(&top, place.into(), &mut folders);
        while let Some(folder) = folders.pop() {
            if Instant::now() >= until {
                return None;
            }
            let entries = match std::fs::read_dir(folder) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue, // gone meanwhile
                entries => entries.ok()?,
            };
            for entry in entries {
                let entry = entry.ok()?;
                let Ok(meta) = entry.metadata() else { continue };
                if meta.dev() == dev && entry.file_name() != "lost+found" {
                    see(&meta, entry.path(), &mut folders);
                }
            }
        }
    }
    newest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A filesystem's clock moves every few milliseconds only.
    fn tick(dir: &std::path::Path) {
        let now = || {
            std::fs::write(dir.join("clock"), "").unwrap();
            std::fs::metadata(dir.join("clock")).map(|m| (m.ctime(), m.ctime_nsec())).unwrap()
        };
        let begun = now();
        while now() == begun {}
    }

    #[test]
    fn the_newest_of_all_that_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(path("a/b")).unwrap();
        std::fs::create_dir_all(path("a/lost+found")).unwrap();
        std::os::unix::fs::symlink("/", path("a/link")).unwrap();
        tick(dir.path());
        std::fs::write(path("a/b/new"), "").unwrap();
        let want = std::fs::metadata(path("a/b/new")).unwrap();
        let of_path = |name: &str| of(&[path(name).display().to_string()]).map(|at| (at.timestamp(), at.timestamp_subsec_nanos()));
        let nanos = u32::try_from(want.ctime_nsec()).unwrap();
        for place in ["a", "a/", "a/b", "a/*"] {
            assert_eq!(of_path(place), Some((want.ctime(), nanos)), "{place}");
        }
        tick(dir.path());
        std::fs::write(path("a/lost+found/x"), "").unwrap();
        assert_eq!(of_path("a"), Some((want.ctime(), nanos)), "what fsck puts there is not the service's");
        assert_eq!(of_path("none"), None);
        assert_eq!(newest(&[path("a").display().to_string()], Instant::now()), None, "the time is over");
        tick(dir.path());
        std::fs::remove_file(path("a/b/new")).unwrap();
        assert!(of_path("a") > Some((want.ctime(), nanos)), "a removal is a change too");
    }
}
