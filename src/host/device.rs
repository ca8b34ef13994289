//! A place that is written as a whole: a block device or a regular file. What it is, how big, who has it in use.

use super::facts::Facts;
use super::patience::within;
use nix::fcntl::OFlag;
use nix::sys::stat::{major, minor};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{ErrorKind, Seek, SeekFrom};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a device may take to be opened.
const LOOK: Duration = Duration::from_secs(10);

/// What is at a path, links followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A block device of so many bytes; `busy`: it is mounted, or something else has claimed it.
    Block {
        /// Bytes.
        size: u64,
        /// Nobody else may write to it.
        busy: bool,
        /// `major:minor`.
        number: String,
    },
    /// A regular file of so many bytes.
    File(u64),
    /// Nothing.
    Missing,
    /// Something that cannot be written as a whole: a folder, a terminal.
    Other,
    /// It could not be found out.
    Unknown(String),
}

/// Looks. Nothing is read or written; a device that does not answer in time is unknown.
pub fn look(path: &str) -> Place {
    let asked = PathBuf::from(path);
    within(LOOK, move || at(&asked)).unwrap_or_else(|| Place::Unknown(format!("{path} does not answer within {} s", LOOK.as_secs())))
}

fn at(path: &Path) -> Place {
    let meta = match fs::metadata(path) {
        Ok(meta) => meta,
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Place::Missing,
        Err(e) => return Place::Unknown(format!("{}: {e}", path.display())),
    };
    if meta.is_file() {
        return Place::File(meta.len());
    }
    if !meta.file_type().is_block_device() {
        return Place::Other;
    }
    let size = File::open(path).and_then(|mut device| device.seek(SeekFrom::End(0)));
    // open(2): of a block device O_EXCL fails with EBUSY while it is mounted, or device-mapper or swap has it
    let claimed = OpenOptions::new().read(true).custom_flags(OFlag::O_EXCL.bits()).open(path);
    let busy = claimed.is_err_and(|e| e.raw_os_error() == Some(nix::errno::Errno::EBUSY as i32));
    match size {
        Ok(size) => Place::Block { size, busy, number: numbers(&meta) },
        Err(e) => Place::Unknown(format!("{} cannot be opened: {e}", path.display())),
    }
}

fn numbers(meta: &Metadata) -> String {
    format!("{}:{}", major(meta.rdev()), minor(meta.rdev()))
}

/// Who has the block device `number` in use, for people: where it is mounted, the devices made of it, swap. Empty when
/// that is not seen from here (another namespace).
pub fn users(facts: &Facts, number: &str) -> Vec<String> {
    let mut users: Vec<String> = facts.mounts().iter().filter(|m| m.dev == number).map(|m| format!("mounted on {}", m.target)).collect();
    users.dedup();
    let sys = Path::new("/sys/dev/block").join(number);
    let holders = fs::read_dir(sys.join("holders")).into_iter().flatten().flatten();
    users.extend(holders.map(|holder| {
        let name = holder.file_name().to_string_lossy().into_owned();
        let mapped = fs::read_to_string(Path::new("/sys/class/block").join(&name).join("dm/name"));
        format!("held by {}", mapped.map_or(name, |mapped| mapped.trim().to_owned()))
    }));
    let swaps = fs::read_to_string("/proc/swaps").unwrap_or_default();
    let is_swap = |line: &str| {
        let device = line.split_whitespace().next().and_then(|device| fs::metadata(device).ok());
        device.is_some_and(|meta| meta.file_type().is_block_device() && numbers(&meta) == number)
    };
    users.extend(swaps.lines().skip(1).any(is_swap).then(|| "in use as swap".to_owned()));
    users
}

/// The two paths are of one device, also while it is not there: LVM's has two names.
pub fn same(facts: &Facts, a: &str, b: &str) -> bool {
    a == b || facts.real_path(a) == facts.real_path(b) || mapped(a).is_some_and(|name| mapped(b) == Some(name))
}

/// The name that device-mapper has for `/dev/VG/LV` and `/dev/mapper/NAME`: hyphens in both parts are doubled.
fn mapped(path: &str) -> Option<String> {
    let parts: Vec<&str> = path.strip_prefix("/dev/")?.split('/').collect();
    match parts.as_slice() {
        ["mapper", name] => Some((*name).to_owned()),
        [vg, lv] => Some(format!("{}-{}", vg.replace('-', "--"), lv.replace('-', "--"))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        fs::write(path("file"), [0; 300]).unwrap();
        std::os::unix::fs::symlink("file", path("link")).unwrap();
        for (name, want) in [
            ("file", Place::File(300)),
            ("link", Place::File(300)),
            ("none", Place::Missing),
            ("file/below", Place::Missing),
            (".", Place::Other),
        ] {
            assert_eq!(look(&path(name)), want, "{name}");
        }
        assert_eq!(look("/dev/null"), Place::Other);
    }

    #[test]
    fn a_volume_has_two_names() {
        let facts = Facts::default();
        assert!(same(&facts, "/dev/svc-vg/my-lv", "/dev/mapper/svc--vg-my--lv"));
        assert!(same(&facts, "/dev/null", "/dev/../dev/null"));
        for (a, b) in [("/dev/vg/a", "/dev/vg/b"), ("/dev/vg/a", "/dev/mapper/vg-a-b"), ("/dev/sda", "/dev/sdb"), ("/x/vg/a", "/dev/vg/a")]
        {
            assert!(!same(&facts, a, b), "{a} {b}");
        }
    }
}
