//! A subvolume of the service on this node, with what stands beside it at the top of its filesystem: its snapshots, and
//! the folder for what is not in its place yet, or not any more.

use super::names::{Names, Place};
use crate::cmd::Cmd;
use crate::error::{Error, Result};
use crate::host::Cx;
use crate::host::btrfs::{self, Subvolume, Top};
use std::path::Path;
use std::time::Duration;

/// How long the comparison of two subvolumes may take; what is the same in both is not read.
const COMPARE: Duration = Duration::from_secs(600);

/// One of the subvolumes of a sync.
#[derive(Debug, Clone)]
pub(super) struct Spot {
    top: Top,
    /// `LABEL:SUBVOL`, for people.
    pub(super) name: String,
    /// Its path from the top.
    pub(super) subvol: String,
    /// Which of the sync's it is.
    pub(super) index: usize,
    /// What its snapshots are called after: its place on this node, so that no two of one filesystem have the same name.
    pub(super) flat: String,
    names: Names,
    /// The folder of the sync, from the top.
    folder: String,
}

impl Spot {
    pub(super) fn of(cx: &Cx, top: &Top, place: &Place, index: usize, names: &Names) -> Self {
        Self {
            top: top.clone(),
            name: format!("{}:{}", place.label, place.subvol),
            subvol: place.subvol.clone(),
            index,
            flat: place.flat(),
            names: names.clone(),
            folder: folder(cx),
        }
    }

    /// The label of its filesystem.
    pub(super) fn label(&self) -> &str {
        self.name.split(':').next().unwrap_or_default()
    }

    /// The path of what is `below` the top of the filesystem.
    pub(super) fn at(&self, below: &str) -> String {
        self.top.path(below)
    }

    /// The sync's folder.
    pub(super) fn folder(&self) -> String {
        self.at(&self.folder)
    }

    /// Where it is received, from the top: a folder of its own.
    pub(super) fn incoming(&self) -> String {
        format!("{}/in/{}", self.folder, self.flat)
    }

    /// Where it is made, and where the old one goes, from the top: beside the data, as what is read-only cannot leave its
    /// folder.
    pub(super) fn next(&self) -> String {
        self.beside("next")
    }

    /// What was written here and is nowhere else, from the top: a name of its own for each, as none is ever deleted.
    pub(super) fn kept(&self, old: &Subvolume) -> String {
        self.beside(&format!("kept.{}", old.uuid))
    }

    /// All that was kept, the oldest first.
    pub(super) fn all_kept<'a>(&self, all: &'a [Subvolume]) -> Vec<&'a str> {
        let (before, after) = (self.beside("kept."), format!(".{}", self.subvol.rsplit('/').next().unwrap_or_default()));
        let before = before.strip_suffix(&after).unwrap_or(&before).to_owned();
        let uuid = |s: &&str| s.strip_prefix(&before).and_then(|s| s.strip_suffix(&after)).is_some_and(|uuid| !uuid.contains('/'));
        all.iter().map(|s| s.path.as_str()).filter(uuid).collect()
    }

    /// The error: another service sends or receives the subvolume.
    pub(super) fn no_other(&self, cx: &Cx) -> Result<()> {
        let (ours, top) = (format!("{FOLDER}{}.", cx.service), self.at(""));
        let entries = std::fs::read_dir(&top).map_err(Error::io("read", Path::new(&top)))?;
        let folders = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut others = folders.filter(|name| name.starts_with(FOLDER) && !name.starts_with(&ours));
        let theirs = |name: &String| {
            [format!("in/{}", self.flat), format!("peers.{}.json", self.flat)].iter().any(|of| Path::new(&self.at(name)).join(of).exists())
        };
        match others.find(theirs) {
            None => Ok(()),
            Some(folder) => Err(Error::text(format!(
                "{} on {node} is of another service's sync: {folder} is at the top of its filesystem. nothing is sent: each would take the other's snapshots away. name another subvolume in [{}]; or, if that sync is no more, on {node}: mount -o subvolid=5 LABEL={} /mnt; rm -r /mnt/{folder}",
                self.name,
                cx.rid,
                self.label(),
                node = cx.host.node
            ))),
        }
    }

    fn beside(&self, what: &str) -> String {
        let (parent, name) = self.subvol.rsplit_once('/').map_or(("", self.subvol.as_str()), |(parent, name)| (parent, name));
        format!("{parent}{}{}.{what}.{name}", if parent.is_empty() { "" } else { "/" }, self.folder)
    }

    pub(super) fn tosend(&self) -> String {
        self.names.tosend(&self.flat)
    }

    pub(super) fn sent(&self) -> String {
        self.names.sent(&self.flat)
    }

    /// All subvolumes of its filesystem, the oldest first.
    pub(super) fn list(&self, cx: &Cx) -> Result<Vec<Subvolume>> {
        btrfs::list(cx, &self.top.dir)
    }

    /// Its snapshots: read-only, called as ours are.
    pub(super) fn snapshots<'a>(&'a self, all: &'a [Subvolume]) -> impl DoubleEndedIterator<Item = &'a Subvolume> {
        all.iter().filter(|s| self.is_snapshot(s))
    }

    /// What changes may be received since: its snapshots, and what was received and `data` were made of, whatever it is
    /// called: 2014 named it after the place at home.
    pub(super) fn bases<'a>(&'a self, all: &'a [Subvolume], data: Option<&'a Subvolume>) -> impl Iterator<Item = &'a Subvolume> {
        let origin = move |s: &Subvolume| s.read_only && s.received.is_some() && data.is_some_and(|data| made_of(data, s));
        all.iter().filter(move |s| self.is_snapshot(s) || origin(s))
    }

    /// It had a name of ours before another sync of the subvolume was added or taken away.
    pub(super) fn was_snapshot(&self, s: &Subvolume) -> bool {
        s.read_only && self.names.were(&self.flat, &s.path)
    }

    pub(super) fn is_snapshot(&self, s: &Subvolume) -> bool {
        s.read_only && self.names.are(&self.flat, &s.path)
    }

    /// The subvolume that a mount without a name shows.
    pub(super) fn default(&self, cx: &Cx) -> Option<u64> {
        btrfs::default(cx, &self.top.dir)
    }

    /// The data themselves.
    pub(super) fn data<'a>(&self, all: &'a [Subvolume]) -> Option<&'a Subvolume> {
        all.iter().find(|s| s.path == self.subvol)
    }

    /// All of `image` was received here, and lies in its folder or is a snapshot already.
    pub(super) fn arrived<'a>(&'a self, all: &'a [Subvolume], image: &'a str) -> Option<&'a Subvolume> {
        let incoming = format!("{}/", self.incoming());
        let whole = move |s: &&Subvolume| s.read_only && s.received.as_deref() == Some(image) && s.path.starts_with(&incoming);
        self.snapshots(all).find(|s| s.image() == image).or_else(|| all.iter().find(whole))
    }

    /// There is nothing in it.
    pub(super) fn is_empty(&self, one: &Subvolume) -> bool {
        std::fs::read_dir(self.at(&one.path)).is_ok_and(|mut entries| entries.next().is_none())
    }

    /// Gives the name `to` to what is at `from`.
    pub(super) fn rename(&self, cx: &Cx, from: &str, to: &str) -> Result<()> {
        btrfs::change(cx, &["mv", "-T", &self.at(from), &self.at(to)])
    }

    pub(super) fn delete(&self, cx: &Cx, path: &str) -> Result<()> {
        btrfs::change(cx, &["btrfs", "subvolume", "delete", &self.at(path)])
    }

    /// Gives a snapshot the name of those that are kept for a peer.
    pub(super) fn keep(&self, cx: &Cx, snapshot: &Subvolume) -> Result<()> {
        self.rename(cx, &snapshot.path, &self.names.kept(&self.flat, snapshot.image()))
    }

    /// Removes what was received and is not wanted: also a part of it.
    pub(super) fn clear_incoming(&self, cx: &Cx, all: &[Subvolume]) -> Result<()> {
        let incoming = format!("{}/", self.incoming());
        all.iter().filter(|s| s.path.starts_with(&incoming)).try_for_each(|s| self.delete(cx, &s.path))
    }

    /// Whatever was changed is on the disk.
    pub(super) fn flush(&self, cx: &Cx) -> Result<()> {
        let cmd = Cmd::change(["btrfs", "filesystem", "sync", &self.top.dir]).timeout(COMPARE);
        let out = cx.run_quiet(&cmd);
        out.failure().map_or(Ok(()), |stage| Err(Error::text(format!("{} failed: {}", cmd.line(), stage.why()))))
    }

    /// The snapshot of this sync that `data` are of, or were when it was made, as far as nobody has written to them since.
    /// The error: somebody has; or there is none.
    pub(super) fn untouched<'a>(&'a self, cx: &Cx, all: &'a [Subvolume], data: &'a Subvolume) -> Result<&'a Subvolume> {
        self.unchanged(cx, base(self.bases(all, Some(data)), data, |_| true), data)
    }

    /// The same of data that `image`, which was received, has taken the place of. A snapshot that was made of them here
    /// counts only if `image` descends from it: of another one the sender knows nothing.
    pub(super) fn outdone<'a>(&'a self, cx: &Cx, all: &'a [Subvolume], old: &'a Subvolume, image: &str) -> Result<&'a Subvolume> {
        let incoming = format!("{}/", self.incoming());
        let received = all.iter().find(|s| s.received.as_deref() == Some(image) && s.path.starts_with(&incoming));
        let since = received.and_then(|r| r.parent.as_deref());
        self.unchanged(cx, base(self.bases(all, Some(old)), old, |s| since == Some(s.uuid.as_str())), old)
    }

    fn unchanged<'a>(&self, cx: &Cx, base: Option<&'a Subvolume>, data: &Subvolume) -> Result<&'a Subvolume> {
        let base = base.ok_or_else(|| Error::text("there is no snapshot to compare it with"))?;
        let since = if made_of(data, base) { data.made } else { base.made };
        if data.generation > since && self.differs(cx, base, data)? {
            return Err(Error::text("it was written to"));
        }
        Ok(base)
    }

    /// `data` have something other than `base`, which a balance does not make. Times are left out: who reads changes them.
    fn differs(&self, cx: &Cx, base: &Subvolume, data: &Subvolume) -> Result<bool> {
        if data.read_only {
            return compare(cx, &self.at(&base.path), &self.at(&data.path));
        }
        let look = format!("{}/look.{}", self.folder, self.flat);
        make_folder(&self.folder())?;
        if Path::new(&self.at(&look)).exists() {
            self.delete(cx, &look)?;
        }
        btrfs::change(cx, &["btrfs", "subvolume", "snapshot", "-r", &self.at(&data.path), &self.at(&look)])?;
        let said = compare(cx, &self.at(&base.path), &self.at(&look));
        self.delete(cx, &look)?;
        said
    }
}

/// What the names of such folders begin with.
const FOLDER: &str = ".svcmgr.";

/// The folder of a sync at the top of each of its filesystems.
fn folder(cx: &Cx) -> String {
    format!("{FOLDER}{}.{}", cx.service, cx.rid.replace('#', "."))
}

pub(super) fn make_folder(path: &str) -> Result<()> {
    std::fs::create_dir_all(path).map_err(Error::io("create", Path::new(path)))
}

fn made_of(data: &Subvolume, base: &Subvolume) -> bool {
    data.parent.as_deref() == Some(base.uuid.as_str())
}

/// The newest of `snapshots` that was made of `data` and that `counts`, or that they were made of.
fn base<'a>(
    snapshots: impl Iterator<Item = &'a Subvolume>,
    data: &Subvolume,
    counts: impl Fn(&Subvolume) -> bool,
) -> Option<&'a Subvolume> {
    let child = |s: &Subvolume| s.parent.as_deref() == Some(data.uuid.as_str()) && counts(s);
    let kin = |s: &&Subvolume| s.uuid != data.uuid && (made_of(data, s) || child(s));
    snapshots.filter(kin).max_by_key(|s| if made_of(data, s) { data.made } else { s.made })
}

fn compare(cx: &Cx, base: &str, data: &str) -> Result<bool> {
    let send = Cmd::probe(["btrfs", "-q", "send", "--no-data", "-p", base, data]);
    let out = cx.probe(&send.pipe(Cmd::probe(["btrfs", "receive", "--dump"])).timeout(COMPARE));
    if let Some(stage) = out.failure() {
        return Err(Error::text(format!("what was written to {data} is not known: {}", stage.why())));
    }
    Ok(out.text().lines().any(|l| !l.starts_with("snapshot ") && !l.starts_with("utimes ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sub(uuid: &str, parent: &str, made: u64) -> Subvolume {
        Subvolume { uuid: uuid.into(), parent: Some(parent.into()), made, read_only: true, ..Subvolume::default() }
    }

    #[test]
    fn data_are_told_from_the_newest_of_their_kin() {
        let data = Subvolume { read_only: false, ..sub("d", "r", 5) };
        let all = [sub("r", "-", 4), sub("x", "y", 9), data.clone()];
        let of = |all: &[Subvolume], counts: &str| base(all.iter(), &data, |s| counts.contains(&s.uuid)).map(|s| s.uuid.clone());
        assert_eq!(of(&all, "rx").as_deref(), Some("r"));
        let all = [sub("r", "-", 4), sub("s", "d", 7), sub("t", "d", 8), data.clone()];
        assert_eq!((of(&all, "st").as_deref(), of(&all, "s").as_deref(), of(&all, "").as_deref()), (Some("t"), Some("s"), Some("r")));
        assert_eq!(of(&all[..0], "rst"), None);
    }
}
