//! btrfs(8) as drivers see it: subvolumes and what they come of, read in two calls; the top of a filesystem, mounted while
//! somebody works on it and no longer.

use super::blkid::{Labelled, labelled};
use super::facts::Mount;
use super::lock::Lock;
use super::{Cx, Host};
use crate::cmd::Cmd;
use crate::error::{Error, Result};
use crate::log::{Level, Logger};
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What a node lacks that has no btrfs(8).
pub const NOT_INSTALLED: &str = "btrfs is not installed: install btrfs-progs";

/// How long a change may take: a mount after a crash replays a log, a sync writes what there is.
const CHANGE: Duration = Duration::from_secs(900);
/// How long another process may take to mount or to unmount.
const OTHERS: Duration = Duration::from_secs(60);

/// A subvolume, as `btrfs subvolume list` tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subvolume {
    /// Its number in this filesystem: what mountinfo has as `subvolid`.
    pub id: u64,
    /// From the top of the filesystem.
    pub path: String,
    /// What it is, here alone.
    pub uuid: String,
    /// The subvolume it is a snapshot of.
    pub parent: Option<String>,
    /// What it was where it was sent from: set when all of it has been received.
    pub received: Option<String>,
    /// The transaction that changed it last.
    pub generation: u64,
    /// The transaction that made it.
    pub made: u64,
    /// Nobody can write to it.
    pub read_only: bool,
}

impl Subvolume {
    /// What it is on every filesystem it was sent to, as `btrfs receive` finds it.
    pub fn image(&self) -> &str {
        self.received.as_deref().unwrap_or(&self.uuid)
    }

    fn parse(line: &str) -> Option<Self> {
        let (fields, path) = line.split_once(" path ")?;
        let words: Vec<&str> = fields.split_whitespace().collect();
        let get = |key: &str| words.get(words.iter().position(|w| *w == key)? + 1).copied();
        let uuid = |key: &str| get(key).filter(|u| *u != "-").map(str::to_owned);
        Some(Self {
            id: get("ID")?.parse().ok()?,
            path: path.to_owned(),
            uuid: uuid("uuid")?,
            parent: uuid("parent_uuid"),
            received: uuid("received_uuid"),
            generation: get("gen")?.parse().ok()?,
            made: get("cgen")?.parse().ok()?,
            read_only: false,
        })
    }
}

/// All subvolumes of the filesystem that is mounted at `at`, the oldest first.
pub fn list(cx: &Cx, at: &str) -> Result<Vec<Subvolume>> {
    let ask = |more: &[&str]| {
        let words = [&["btrfs", "subvolume", "list"], more, &["-p", "-c", "-g", "-u", "-q", "-R", at]].concat();
        let out = cx.probe(&Cmd::probe(words));
        match out.failure() {
            None => Ok(out.text().lines().filter_map(Subvolume::parse).collect::<Vec<_>>()),
            Some(stage) => Err(Error::text(format!("the subvolumes below {at} are not known: {}", stage.why()))),
        }
    };
    let fixed = ask(&["-r"])?;
    let mut all = ask(&[])?;
    all.iter_mut().for_each(|s| s.read_only = fixed.iter().any(|f| f.id == s.id));
    all.sort_by_key(|s| (s.made, s.id));
    Ok(all)
}

/// The number of the subvolume that a mount without a name shows, of the filesystem that is mounted at `at`.
pub fn default(cx: &Cx, at: &str) -> Option<u64> {
    let out = cx.probe(&Cmd::probe(["btrfs", "subvolume", "get-default", at]));
    out.text().split_whitespace().nth(1)?.parse().ok()
}

/// btrfs(8) is here.
pub fn is_installed() -> bool {
    crate::cmd::find("btrfs").is_some()
}

/// The devices of the one btrfs filesystem with this label. Looked for once while [`keeping`]: it takes a look at every disk.
pub fn devices(cx: &Cx, label: &str) -> Result<Vec<String>> {
    let found = || FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    let keeping = KEEPING.load(Ordering::SeqCst);
    let known = found().get(label).cloned().filter(|_| keeping);
    if let Some(known) = known {
        return Ok(known);
    }
    let devices = look_for(cx, label)?;
    if keeping {
        found().insert(label.to_owned(), devices.clone());
    }
    Ok(devices)
}

fn look_for(cx: &Cx, label: &str) -> Result<Vec<String>> {
    if !is_installed() {
        return Err(Error::text(format!("{NOT_INSTALLED} on {}", cx.host.node)));
    }
    let found: Vec<Labelled> = labelled(cx, label).into_iter().filter(|f| f.fstype == "btrfs").collect();
    let node = &cx.host.node;
    match found.as_slice() {
        [one] => Ok(one.devices.clone()),
        [] => Err(Error::text(format!(
            "no btrfs filesystem on {node} has the label {label}: is its disk there? blkid -t LABEL={label}. to name one: btrfs filesystem label DEVICE {label}"
        ))),
        several => {
            let all: Vec<String> = several.iter().map(|f| format!("{} ({})", f.devices.join(" "), f.uuid)).collect();
            Err(Error::text(format!(
                "several btrfs filesystems on {node} have the label {label}: {}. give the others another one: btrfs filesystem label DEVICE NAME",
                all.join(", ")
            )))
        }
    }
}

/// A mount point of the filesystem with this label, whatever of it is mounted there; nothing is mounted for it.
pub fn mounted(cx: &Cx, label: &str) -> Option<Mount> {
    let devices = devices(cx, label).ok()?;
    cx.host.facts.mounts().iter().find(|m| m.fstype == "btrfs" && is_of(&m.source, &devices)).cloned()
}

/// One of `devices` is `source`, by whatever name: a kernel says `/dev/dm-3` or `/dev/mapper/x`, as it was mounted or scanned.
fn is_of(source: &str, devices: &[String]) -> bool {
    let real = |name: &str| std::fs::canonicalize(name).unwrap_or_else(|_| name.into());
    devices.iter().any(|device| device == source || real(device) == real(source))
}

/// The top of a filesystem, mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Top {
    /// Where: `var/btrfs/LABEL`, as in 2014.
    pub dir: String,
}

impl Top {
    /// The path of what is `below` the top.
    pub fn path(&self, below: &str) -> String {
        format!("{}/{below}", self.dir)
    }
}

/// The tops that this process holds: how often, and the file that tells other processes so.
static HELD: Mutex<BTreeMap<PathBuf, (usize, File)>> = Mutex::new(BTreeMap::new());

fn held() -> MutexGuard<'static, BTreeMap<PathBuf, (usize, File)>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

fn folder(host: &Host, label: &str) -> PathBuf {
    host.paths.var.join("btrfs").join(label)
}

/// One process at a time mounts or unmounts; each that works there has a shared lock on the second file.
fn locks(host: &Host, label: &str) -> (PathBuf, PathBuf) {
    let at = |what: &str| host.paths.var.join("lock").join(format!("btrfs.{label}.{what}"));
    (at("mount"), at("use"))
}

/// Mounts the top of the filesystem with this label, if nobody has. It stays until as many calls of [`let_go`]. `said`: the
/// level of that in the log.
pub fn hold(cx: &Cx, label: &str, said: Level) -> Result<Top> {
    let dir = folder(cx.host, label);
    let top = Top { dir: dir.to_string_lossy().into_owned() };
    let mut held = held();
    if let Some((count, _)) = held.get_mut(&dir) {
        *count += 1;
        return Ok(top);
    }
    let devices = devices(cx, label)?;
    let (mount, using) = locks(cx.host, label);
    let _one = Lock::wait(&mount, OTHERS)?;
    cx.host.facts.forget();
    match cx.host.facts.mount_at(&top.dir) {
        Some(m) if m.fstype == "btrfs" && m.root == "/" && is_of(&m.source, &devices) => {}
        Some(m) => return Err(Error::text(format!("{} holds {} ({}): umount it first", top.dir, m.source, m.fstype))),
        None => {
            std::fs::create_dir_all(&dir).map_err(Error::io("create", &dir))?;
            if devices.len() > 1 {
                cx.run_quiet(&Cmd::change(["btrfs", "device", "scan"]));
            }
            let device = devices.first().map_or("", String::as_str);
            let cmd = Cmd::change(["mount", "-t", "btrfs", "-o", "subvolid=5", device, &top.dir]).timeout(CHANGE);
            let out = cx.run_at(&cmd, said, Level::Debug);
            out.failure().map_or(Ok(()), |stage| Err(Error::text(format!("{} failed: {}", cmd.line(), stage.why()))))?;
        }
    }
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&using).map_err(Error::io("open", &using))?;
    file.lock_shared().map_err(Error::io("lock", &using))?;
    held.insert(dir, (1, file));
    Ok(top)
}

/// The devices that were found meanwhile, by label.
static FOUND: Mutex<BTreeMap<String, Vec<String>>> = Mutex::new(BTreeMap::new());
/// What is held stays mounted until [`keeping`] ends.
static KEEPING: AtomicBool = AtomicBool::new(false);

/// Does one thing that has many steps with the same filesystems: what one of them has let go of stays mounted for the
/// next, until all is done. Not for what starts or stops a service, whose disks must be free in between.
pub fn keeping<T>(host: &Host, log: &Logger, work: impl FnOnce() -> T) -> T {
    KEEPING.store(true, Ordering::SeqCst);
    let done = work();
    KEEPING.store(false, Ordering::SeqCst);
    FOUND.lock().unwrap_or_else(PoisonError::into_inner).clear();
    let idle: Vec<PathBuf> = held().iter().filter(|(_, (count, _))| *count == 0).map(|(dir, _)| dir.clone()).collect();
    for dir in idle {
        held().remove(&dir);
        leave(host, log, &dir);
    }
    done
}

/// Undoes one [`hold`]: who is the last on this node unmounts it.
pub fn let_go(cx: &Cx, label: &str) {
    let dir = folder(cx.host, label);
    let mut held = held();
    let Some((count, _)) = held.get_mut(&dir) else { return };
    *count = count.saturating_sub(1);
    if *count == 0 && !KEEPING.load(Ordering::SeqCst) {
        held.remove(&dir);
        leave(cx.host, cx.log, &dir);
    }
}

/// This process works there no more.
fn leave(host: &Host, log: &Logger, dir: &Path) {
    let label = dir.file_name().unwrap_or_default().to_string_lossy();
    let (mount, using) = locks(host, &label);
    let Ok(_one) = Lock::wait(&mount, OTHERS) else { return };
    let last = File::open(&using).is_ok_and(|file| file.try_lock().is_ok());
    if last {
        // in use by nobody of ours: whoever keeps it mounted otherwise is not in the way
        let cmd = Cmd::change(["umount", &dir.to_string_lossy()]);
        log.debug(cmd.line());
        host.runner.run(&cmd);
        host.facts.forget();
    }
}

/// Unmounts the top of the filesystem with this label, which a process that was killed has left. The error: somebody is
/// still at work there.
pub fn unmount(cx: &Cx, label: &str) -> Result<()> {
    let dir = folder(cx.host, label);
    cx.host.facts.forget();
    if held().contains_key(&dir) || cx.host.facts.mount_at(&dir.to_string_lossy()).is_none() {
        return Ok(());
    }
    let (mount, using) = locks(cx.host, label);
    let _one = Lock::wait(&mount, OTHERS)?;
    let in_use = File::open(&using).is_ok_and(|file| file.try_lock().is_err());
    let done = if in_use { Err(Error::text("a sync is at work there")) } else { change(cx, &["umount", &dir.to_string_lossy()]) };
    done.map_err(|e| {
        let (dir, node) = (dir.display(), &cx.host.node);
        Error::text(format!(
            "{dir} is still mounted on {node}, and another node has the same disks: two that mount them destroy the data: {e}. see: fuser -vm {dir}. then: umount {dir}, and stop again"
        ))
    })
}

/// Works with the tops of these filesystems, which are held meanwhile.
pub fn with<T>(cx: &Cx, labels: &[&str], work: impl FnOnce(&[Top]) -> Result<T>) -> Result<T> {
    let mut tops = Vec::new();
    let held = labels.iter().try_for_each(|label| hold(cx, label, Level::Debug).map(|top| tops.push(top)));
    let done = held.and_then(|()| work(&tops));
    labels.iter().take(tops.len()).for_each(|label| let_go(cx, label));
    done
}

/// Changes something; the line is logged. The error says why it is not done.
pub fn change(cx: &Cx, argv: &[&str]) -> Result<()> {
    let cmd = Cmd::change(argv.iter().copied()).timeout(CHANGE);
    cx.log.info(cmd.line());
    let out = cx.host.runner.run(&cmd);
    cx.host.facts.forget();
    out.failure().map_or(Ok(()), |stage| Err(Error::text(format!("{} failed: {}", cmd.line(), stage.why()))))
}

/// Two paths change places: at each instant each of them is there.
pub fn exchange(cx: &Cx, one: &str, other: &str) -> Result<()> {
    #[cfg(debug_assertions)]
    crate::steps::before("exchange");
    cx.log.info(format!("exchange {one} {other}"));
    renameat2(AT_FDCWD, Path::new(one), AT_FDCWD, Path::new(other), RenameFlags::RENAME_EXCHANGE)
        .map_err(|e| Error::text(format!("{one} and {other} cannot change places: {e}")))?;
    cx.host.facts.forget();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_has_several_names() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
        std::fs::write(at("dm-7"), "").unwrap();
        std::os::unix::fs::symlink("dm-7", at("x")).unwrap();
        assert!(is_of(&at("dm-7"), &[at("y"), at("x")]) && is_of(&at("gone"), &[at("gone")]));
        assert!(!is_of(&at("dm-7"), &[at("y")]) && !is_of(&at("x"), &[]));
    }

    #[test]
    fn a_line_as_btrfs_prints_it() {
        let line = "ID 259 gen 49 cgen 35 parent 5 top level 5 parent_uuid 657ccc70-ac10-da4b-a5a6-1c559c35ad00 received_uuid -                                    uuid 06485d34-51a2-284d-88b6-8e8efb0367d1 path in/a path of@sent";
        let one = Subvolume::parse(line).unwrap();
        assert_eq!((one.id, one.generation, one.made, one.path.as_str()), (259, 49, 35, "in/a path of@sent"));
        assert_eq!(one.parent.as_deref(), Some("657ccc70-ac10-da4b-a5a6-1c559c35ad00"));
        assert_eq!((one.received.as_deref(), one.image()), (None, "06485d34-51a2-284d-88b6-8e8efb0367d1"));
        let received = Subvolume { received: Some("b8".into()), ..one };
        assert_eq!(received.image(), "b8");
        assert_eq!(Subvolume::parse("nothing"), None);
    }
}
