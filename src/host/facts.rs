//! Facts of the host, read once per command and forgotten after a change: mounts, addresses, loops, names, volumes.

use super::engine::{Engine, Silence};
use super::lvm::{Lvm, Measured};
use super::patience::within;
use crate::cmd::Runner;
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long a name may take to resolve.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// One line of `/proc/self/mountinfo` (proc(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// `major:minor` of the filesystem.
    pub dev: String,
    /// Path inside the filesystem that is mounted: `/` or a subtree (bind, subvolume).
    pub root: String,
    /// Mount point.
    pub target: String,
    /// Options of the mount and of the filesystem.
    pub options: Vec<String>,
    /// Filesystem type.
    pub fstype: String,
    /// Device, or what the type puts there.
    pub source: String,
}

impl Mount {
    /// Mounted read-only.
    pub fn is_ro(&self) -> bool {
        self.options.iter().any(|o| o == "ro")
    }
}

/// One address of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Label: `eth0` or `eth0:1`.
    pub label: String,
    /// The address; `None` for an interface row.
    pub addr: Option<IpAddr>,
    /// Prefix length.
    pub prefix: u8,
    /// The interface is administratively up (whatever its carrier).
    pub up: bool,
}

impl Address {
    /// The interface's own name, without the alias.
    pub fn device(&self) -> &str {
        self.label.split(':').next().unwrap_or("")
    }
}

/// A loop device in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loop {
    /// The file it shows as a disk, as the kernel names it.
    pub file: PathBuf,
    /// `/dev/loopN`.
    pub device: String,
    /// Made by a mount, and gone with it.
    pub autoclear: bool,
}

type Cached<T> = Mutex<Option<Arc<T>>>;

/// What a docker engine has said, or why it did not.
pub type Heard = Arc<Result<Engine, Silence>>;

/// The cache.
#[derive(Default)]
pub struct Facts {
    /// Where `mountinfo` and `fstab` are read instead: tests have mounts of their own.
    folder: Option<PathBuf>,
    mounts: Cached<Vec<Mount>>,
    targets: Cached<HashSet<String>>,
    addresses: Cached<Vec<Address>>,
    loops: Cached<Vec<Loop>>,
    lvm: Cached<Lvm>,
    measured: Cached<Result<Vec<Measured>, String>>,
    engines: Mutex<HashMap<PathBuf, Heard>>,
    names: Mutex<HashMap<String, Option<IpAddr>>>,
    real: Mutex<HashMap<String, String>>,
}

fn cached<T>(cell: &Cached<T>, read: impl FnOnce() -> T) -> Arc<T> {
    let Ok(mut cell) = cell.lock() else { return Arc::new(read()) };
    cell.get_or_insert_with(|| Arc::new(read())).clone()
}

impl Facts {
    /// Of a machine whose files `mountinfo` and `fstab` are in `folder`.
    #[cfg(test)]
    pub fn of_files(folder: &Path) -> Self {
        Self { folder: Some(folder.into()), ..Self::default() }
    }

    /// Drops what a change may have made stale; names stay.
    pub fn forget(&self) {
        fn clear<T>(cell: &Cached<T>) {
            if let Ok(mut cell) = cell.lock() {
                *cell = None;
            }
        }
        clear(&self.mounts);
        clear(&self.targets);
        clear(&self.addresses);
        clear(&self.loops);
        clear(&self.lvm);
        clear(&self.measured);
        if let Ok(mut real) = self.real.lock() {
            real.clear();
        }
        if let Ok(mut engines) = self.engines.lock() {
            engines.clear();
        }
    }

    /// What is mounted, in mount order: the last one of a target is the visible one.
    pub fn mounts(&self) -> Arc<Vec<Mount>> {
        cached(&self.mounts, || parse_mountinfo(&self.file("/proc/self/mountinfo")))
    }

    fn file(&self, path: &str) -> Vec<u8> {
        let other = self.folder.as_ref().zip(Path::new(path).file_name()).map(|(folder, name)| folder.join(name));
        std::fs::read(other.unwrap_or_else(|| path.into())).unwrap_or_default()
    }

    /// The mount that holds `path`, which has no links in it: the deepest one.
    pub fn mount_of(&self, path: &str) -> Option<Mount> {
        let mounts = self.mounts();
        let holding = mounts.iter().filter(|m| Path::new(path).starts_with(&m.target));
        holding.max_by_key(|m| Path::new(&m.target).components().count()).cloned() // of equals the last one: the visible
    }

    /// The mount points of `/etc/fstab` (fstab(5)).
    pub fn fstab(&self) -> Vec<String> {
        let bytes = self.file("/etc/fstab");
        let text = String::from_utf8_lossy(&bytes);
        let fields = text.lines().map(str::trim).filter(|l| !l.starts_with('#')).filter_map(|l| l.split_whitespace().nth(1));
        fields.filter(|f| f.starts_with('/')).map(unescape).collect()
    }

    /// The visible mount at exactly `target`.
    pub fn mount_at(&self, target: &str) -> Option<Mount> {
        // most questions are about what is not mounted
        if !self.targets().contains(target) {
            return None;
        }
        self.mounts().iter().rev().find(|m| m.target == target).cloned()
    }

    fn targets(&self) -> Arc<HashSet<String>> {
        cached(&self.targets, || self.mounts().iter().map(|m| m.target.clone()).collect())
    }

    /// Nothing on the way to `path` is a link or a mount point: it is its own real path, and to look at it cannot
    /// hang unless the root filesystem does.
    fn is_plain(&self, path: &str) -> bool {
        if !path.starts_with('/') || path.ends_with('/') || path.split('/').skip(1).any(|part| matches!(part, "" | "." | "..")) {
            return false;
        }
        let targets = self.targets();
        for end in path.match_indices('/').skip(1).map(|(at, _)| at).chain([path.len()]) {
            let part = path.get(..end).unwrap_or_default();
            if targets.contains(part) {
                return false;
            }
            match std::fs::symlink_metadata(part) {
                Ok(meta) if meta.is_symlink() => return false,
                Ok(_) => {}
                Err(_) => return true, // and nothing below it
            }
        }
        true
    }

    /// `path` without links, as the kernel names it in mountinfo and sysfs; the last part need not exist. The path
    /// itself when its filesystem does not answer.
    pub fn real_path(&self, path: &str) -> String {
        if self.is_plain(path) {
            return path.to_owned();
        }
        if let Some(known) = self.real.lock().ok().and_then(|real| real.get(path).cloned()) {
            return known;
        }
        let asked = PathBuf::from(path);
        let real = within(RESOLVE_TIMEOUT, move || {
            std::fs::canonicalize(&asked).or_else(|e| match (asked.parent(), asked.file_name()) {
                (Some(parent), Some(name)) => std::fs::canonicalize(parent).map(|p| p.join(name)),
                _ => Err(e),
            })
        });
        let real = real.and_then(Result::ok).map_or_else(|| path.to_owned(), |p| p.to_string_lossy().into_owned());
        if let Ok(mut all) = self.real.lock() {
            all.insert(path.into(), real.clone());
        }
        real
    }

    /// Interfaces and addresses.
    pub fn addresses(&self) -> Arc<Vec<Address>> {
        cached(&self.addresses, read_addresses)
    }

    /// Loop devices in use. From sysfs, so no device is opened.
    pub fn loops(&self) -> Arc<Vec<Loop>> {
        cached(&self.loops, read_loops)
    }

    /// The loop devices this node has on `file`.
    pub fn loops_of(&self, file: &str) -> Vec<Loop> {
        let loops = self.loops();
        if loops.is_empty() {
            return Vec::new();
        }
        let real = self.real_path(file);
        loops.iter().filter(|l| l.file.as_os_str() == file || l.file.as_os_str() == real.as_str()).cloned().collect()
    }

    /// Volume groups.
    pub fn lvm(&self, runner: &dyn Runner) -> Arc<Lvm> {
        cached(&self.lvm, || Lvm::read(runner))
    }

    /// Logical volumes and snapshots with their sizes; the error is LVM's silence.
    pub fn volumes(&self, runner: &dyn Runner) -> Arc<Result<Vec<Measured>, String>> {
        cached(&self.measured, || Measured::all(runner))
    }

    /// What the docker engine at `socket` has said since the last change, if it was asked.
    pub fn heard(&self, socket: &Path) -> Option<Heard> {
        self.engines.lock().ok()?.get(socket).cloned()
    }

    /// What the docker engine at `socket` says of `about`; asked once a command and change, always about the same.
    pub fn engine(&self, runner: &dyn Runner, socket: &Path, about: &[&str]) -> Heard {
        if let Some(heard) = self.heard(socket) {
            return heard;
        }
        let heard = Arc::new(Engine::ask(runner, socket, about));
        if let Ok(mut engines) = self.engines.lock() {
            engines.insert(socket.into(), heard.clone());
        }
        heard
    }

    /// The first address of `name`; asked of the resolver at most once per command, for at most 5 s.
    pub fn resolve(&self, name: &str) -> Option<IpAddr> {
        if let Ok(addr) = name.parse() {
            return Some(addr);
        }
        if let Some(known) = self.names.lock().ok().and_then(|names| names.get(name).copied()) {
            return known;
        }
        let asked = name.to_owned();
        let ask = move || (asked.as_str(), 0).to_socket_addrs().ok().and_then(|mut a| a.next()).map(|a| a.ip());
        let answer = within(RESOLVE_TIMEOUT, ask).flatten();
        if let Ok(mut names) = self.names.lock() {
            names.insert(name.into(), answer);
        }
        answer
    }
}

fn unescape(field: &str) -> String {
    // proc(5): blank, tab, newline and backslash are written as \040 \011 \012 \134
    if !field.contains('\\') {
        return field.to_owned();
    }
    let mut out = Vec::with_capacity(field.len());
    let mut bytes = field.as_bytes();
    while let Some((&b, rest)) = bytes.split_first() {
        let octal = rest.get(..3).and_then(|d| std::str::from_utf8(d).ok()).and_then(|d| u8::from_str_radix(d, 8).ok());
        match (b, octal) {
            (b'\\', Some(code)) => {
                out.push(code);
                bytes = rest.get(3..).unwrap_or_default();
            }
            _ => {
                out.push(b);
                bytes = rest;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Parses mountinfo; lines it cannot read are left out.
pub fn parse_mountinfo(bytes: &[u8]) -> Vec<Mount> {
    let text = String::from_utf8_lossy(bytes);
    text.lines().filter_map(parse_mount).collect()
}

fn parse_mount(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(2);
    let (dev, root, target, options) = (left.next()?, left.next()?, left.next()?, left.next()?);
    let mut right = right.split(' ');
    let (fstype, source, more) = (right.next()?, right.next()?, right.next().unwrap_or(""));
    Some(Mount {
        dev: dev.into(),
        root: unescape(root),
        target: unescape(target),
        options: options.split(',').chain(more.split(',')).map(str::to_owned).collect(),
        fstype: fstype.into(),
        source: unescape(source),
    })
}

fn read_addresses() -> Vec<Address> {
    use nix::net::if_::InterfaceFlags;
    let Ok(all) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    all.map(|i| {
        let ip = |s: &nix::sys::socket::SockaddrStorage| -> Option<IpAddr> {
            s.as_sockaddr_in().map(|v4| v4.ip().into()).or_else(|| s.as_sockaddr_in6().map(|v6| v6.ip().into()))
        };
        let prefix = i.netmask.as_ref().and_then(ip).map_or(0, |mask| match mask {
            IpAddr::V4(m) => m.to_bits().count_ones(),
            IpAddr::V6(m) => m.to_bits().count_ones(),
        });
        Address {
            label: i.interface_name,
            addr: i.address.as_ref().and_then(ip),
            prefix: u8::try_from(prefix).unwrap_or(0),
            up: i.flags.contains(InterfaceFlags::IFF_UP),
        }
    })
    .collect()
}

/// The kernel has let go of a loop device: nothing behind it, and it can be opened (it cannot while it is being
/// torn down, which goes on for a moment after umount or losetup -d have returned).
pub fn is_free_loop(device: &str) -> bool {
    let backing = format!("/sys/block/{}/loop/backing_file", device.trim_start_matches("/dev/"));
    let opened = || match std::fs::File::open(device) {
        Err(e) => e.kind() == std::io::ErrorKind::NotFound,
        Ok(_) => true,
    };
    !Path::new(&backing).exists() && opened()
}

fn read_loops() -> Vec<Loop> {
    let Ok(entries) = std::fs::read_dir("/sys/block") else { return Vec::new() };
    let mut loops = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with("loop") {
            continue;
        }
        let Ok(backing) = std::fs::read(entry.path().join("loop/backing_file")) else { continue };
        let backing = String::from_utf8_lossy(&backing).trim_end_matches('\n').to_owned();
        let device = format!("/dev/{name}");
        if Path::new(&device).exists() {
            let autoclear = std::fs::read(entry.path().join("loop/autoclear")).is_ok_and(|text| text.starts_with(b"1"));
            loops.push(Loop { file: backing.into(), device, autoclear });
        }
    }
    loops.sort_by(|a, b| a.device.cmp(&b.device));
    loops
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_with_blanks_and_optional_fields() {
        let text = b"29 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
            36 29 0:31 /sub /mnt/a\\040b ro,noatime shared:1 master:2 - btrfs /dev/loop0 rw,subvol=/sub\nrubbish\n";
        let mounts = parse_mountinfo(text);
        assert_eq!(mounts.len(), 2);
        assert_eq!((mounts[1].target.as_str(), mounts[1].root.as_str(), mounts[1].is_ro()), ("/mnt/a b", "/sub", true));
        assert_eq!((mounts[0].source.as_str(), mounts[0].is_ro()), ("/dev/vda", false));
    }

    #[test]
    fn real_paths_of_plain_paths_links_and_what_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
        std::fs::create_dir(at("real")).unwrap();
        std::os::unix::fs::symlink("real", at("link")).unwrap();
        let facts = Facts::default();
        assert_eq!(facts.real_path(&at("real")), at("real"));
        assert_eq!(facts.real_path(&at("link")), at("real"));
        assert_eq!(facts.real_path(&at("link/new")), at("real/new"));
        assert_eq!(facts.real_path(&at("real//./")), at("real"));
        assert_eq!(facts.real_path(&at("no/such")), at("no/such"));
        assert!(facts.is_plain(&at("real")) && !facts.is_plain(&at("link/new")) && !facts.is_plain("/proc/self"));
    }

    #[test]
    fn numeric_names_need_no_resolver() {
        let facts = Facts::default();
        assert_eq!(facts.resolve("10.0.0.1").map(|a| a.to_string()).as_deref(), Some("10.0.0.1"));
        assert_eq!(facts.resolve("fd99::1").map(|a| a.to_string()).as_deref(), Some("fd99::1"));
    }
}
