//! When data were written last, as the filesystem tells: the newest change of anything below a place.

use super::excluded::Excluded;
use super::sources::expand;
use crate::authority::written::Newest;
use crate::host::patience::within;
use chrono::{Local, TimeZone};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A ctime: seconds and nanoseconds.
type At = (i64, i64);

/// The newest change below what `patterns` name, links not followed, other filesystems and what is excluded left out. A
/// folder that is named is not counted itself: a new filesystem's is as new, and a mount point's is not of the data.
/// Unknown when it takes longer than `limit`.
pub(super) fn of(patterns: &[String], excluded: Excluded, limit: Duration) -> Newest {
    let Some(places) = expand(patterns) else { return Newest::Unknown };
    let until = Instant::now() + limit;
    let at = |(seconds, nanos)| Local.timestamp_opt(seconds, u32::try_from(nanos).ok()?).single();
    match within(limit, move || newest(&places, &excluded, until)).flatten() {
        Some(Some(found)) => at(found).map_or(Newest::Unknown, Newest::At),
        Some(None) => Newest::Nothing,
        None => Newest::Unknown,
    }
}

/// `None` also when any of it could not be looked at: half an answer would be a wrong one.
fn newest(places: &[String], excluded: &Excluded, until: Instant) -> Option<Option<At>> {
    let mut newest = None;
    for place in places {
        let top = std::fs::symlink_metadata(place).ok()?; // a slash at its end leads through a link
        let dev = top.dev();
        // where rsync begins to count: the folder whose content is sent, else the one that an item is in
        let root = if place.ends_with('/') { Path::new(place) } else { Path::new(place).parent().unwrap_or(Path::new("/")) };
        let mut folders: Vec<PathBuf> = Vec::new();
        let mut see = |meta: &Metadata| newest = newest.max(Some((meta.ctime(), meta.ctime_nsec())));
        if top.is_dir() {
            folders.push(place.into());
        } else {
            see(&top);
        }
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
                let path = entry.path();
                let Ok(meta) = entry.metadata() else { continue };
                if meta.dev() != dev || excluded.has(root, &path) {
                    continue;
                }
                see(&meta);
                if meta.is_dir() {
                    folders.push(path);
                }
            }
        }
    }
    Some(newest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A filesystem's clock moves every few milliseconds only.
    fn tick(dir: &Path) {
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
        let change = |name: &str| {
            let meta = std::fs::metadata(path(name)).unwrap();
            Newest::At(Local.timestamp_opt(meta.ctime(), u32::try_from(meta.ctime_nsec()).unwrap()).unwrap())
        };
        let seen = |name: &str, options: &str, limit: u64| {
            of(&[path(name).display().to_string()], Excluded::of(&[options.to_owned()]), Duration::from_secs(limit))
        };
        let of_path = |name: &str| seen(name, "", 60);
        let want = change("a/b/new");
        for place in ["a", "a/", "a/b", "a/*", "a/b/new"] {
            assert_eq!(of_path(place), want, "{place}");
        }
        tick(dir.path());
        std::fs::write(path("a/lost+found/x"), "").unwrap();
        assert_eq!(of_path("a"), want, "what fsck puts there is not the service's");
        assert_eq!(of_path("none"), Newest::Nothing);
        assert_eq!(seen("a", "", 0), Newest::Unknown, "the time is over");
        tick(dir.path());
        std::fs::write(path("a/log"), "").unwrap();
        assert_eq!((seen("a/", "--exclude=/log", 60), seen("a", "--exclude=/log", 60)), (want, change("a/log")));
        tick(dir.path());
        std::fs::remove_file(path("a/b/new")).unwrap();
        assert_eq!(of_path("a"), change("a/b"), "a removal is a change too");
        std::fs::create_dir_all(path("empty/lost+found")).unwrap();
        assert_eq!(of_path("empty"), Newest::Nothing, "a new filesystem");
    }
}
