//! zfs(8) as drivers see it: datasets with their snapshots, read in one call; commands that wait while a dataset is busy.

use super::Cx;
use super::patience::wait_until;
use crate::cmd::{Cmd, Output, Stage};
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::time::Duration;

/// What a node lacks that has no zfs(8).
pub const NOT_INSTALLED: &str = "zfs is not installed: install zfsutils-linux";

/// How long a dataset may be busy after its last use: it is unmounted asynchronously, above all by zfs-fuse.
const BUSY: Duration = Duration::from_secs(8);

/// How long a change may take: a destroy frees as it goes.
const CHANGE: Duration = Duration::from_secs(900);

/// A snapshot of one dataset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// After the `@`.
    pub name: String,
    /// What it is: the same on every pool it was sent to, whatever its name.
    pub guid: String,
    /// Seconds of the epoch.
    pub created: i64,
    /// Bytes that it alone has: of the newest one, more than 0 once the dataset was written to.
    pub used: u64,
    /// Bytes that it shows.
    pub refers: u64,
    /// How many hold it: it cannot be destroyed.
    pub holds: u64,
    /// The user property that was asked for.
    pub mark: Option<String>,
}

/// A file system and its snapshots.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dataset {
    /// Whole name.
    pub name: String,
    /// It is mounted.
    pub mounted: bool,
    /// Bytes that it shows.
    pub refers: u64,
    /// Oldest first.
    pub snapshots: Vec<Snapshot>,
}

/// A dataset, and what is below it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    /// The top first; parents before children. Never empty when it comes from [`tree`].
    pub datasets: Vec<Dataset>,
}

impl Dataset {
    /// The snapshot called `name`.
    pub fn named(&self, name: &str) -> Option<&Snapshot> {
        self.snapshots.iter().find(|s| s.name == name)
    }

    /// The snapshot that is `guid`.
    pub fn with(&self, guid: &str) -> Option<&Snapshot> {
        self.snapshots.iter().find(|s| s.guid == guid)
    }
}

impl Tree {
    /// Of what [`query`] prints. `None`: there is no dataset in it.
    pub fn parse(text: &str) -> Option<Self> {
        let mut datasets: Vec<Dataset> = Vec::new();
        for line in text.lines() {
            let mut fields = line.split('\t');
            let (Some(name), Some(property), Some(value)) = (fields.next(), fields.next(), fields.next()) else { continue };
            if name.contains('#') {
                continue; // a bookmark, which OpenZFS lists too
            }
            let (dataset, snapshot) = name.split_once('@').map_or((name, None), |(d, s)| (d, Some(s)));
            let at = datasets.iter().position(|d| d.name == dataset).unwrap_or_else(|| {
                datasets.push(Dataset { name: dataset.into(), ..Dataset::default() });
                datasets.len() - 1
            });
            let Some(one) = datasets.get_mut(at) else { continue };
            match snapshot {
                None if property == "mounted" => one.mounted = value == "yes",
                None if property == "referenced" => one.refers = value.parse().unwrap_or_default(),
                None => {}
                Some(snapshot) => one.take(snapshot, property, value),
            }
        }
        datasets.sort_by(|a, b| a.name.cmp(&b.name));
        (!datasets.is_empty()).then_some(Self { datasets })
    }

    /// The dataset that was asked for.
    pub fn top(&self) -> Option<&Dataset> {
        self.datasets.first()
    }

    /// The top one alone.
    #[must_use]
    pub fn alone(mut self) -> Self {
        self.datasets.truncate(1);
        self
    }
}

impl Dataset {
    fn take(&mut self, snapshot: &str, property: &str, value: &str) {
        if self.snapshots.last().is_none_or(|s| s.name != snapshot) {
            self.snapshots.push(Snapshot { name: snapshot.into(), ..Snapshot::default() });
        }
        let Some(last) = self.snapshots.last_mut() else { return };
        match property {
            "guid" => last.guid = value.into(),
            "creation" => last.created = value.parse().unwrap_or_default(),
            "userrefs" => last.holds = value.parse().unwrap_or_default(),
            "used" => last.used = value.parse().unwrap_or_default(),
            "referenced" => last.refers = value.parse().unwrap_or_default(),
            property if property.contains(':') => last.mark = (value != "-").then(|| value.to_owned()),
            _ => {}
        }
    }
}

/// The words that list `dataset` and all below it with all snapshots; `mark` is a user property.
pub fn query(dataset: &str, mark: &str) -> Vec<String> {
    let properties = format!("guid,creation,used,referenced,userrefs,mounted,{mark}");
    ["zfs", "get", "-Hpr", "-o", "name,property,value", &properties, dataset].map(str::to_owned).to_vec()
}

/// What stands at `dataset`. `Ok(None)`: nothing. The error: that cannot be told.
pub fn tree(cx: &Cx, dataset: &str, mark: &str) -> Result<Option<Tree>> {
    answer(&cx.probe(&Cmd::probe(query(dataset, mark))), dataset)
}

/// What the answer to [`query`] says.
pub fn answer(out: &Output, dataset: &str) -> Result<Option<Tree>> {
    match out.failure() {
        None => Ok(Tree::parse(&out.text())),
        Some(stage) if stage.stderr.contains("does not exist") => Ok(None),
        Some(stage) => Err(Error::text(format!("what {dataset} is cannot be told: {}", stage.why()))),
    }
}

/// One property of a dataset or snapshot: its value, and whether it was set on it (not inherited, not received).
pub fn property(cx: &Cx, of: &str, name: &str) -> Option<(String, bool)> {
    let out = cx.probe(&Cmd::probe(["zfs", "get", "-Hp", "-o", "value,source", name, of]));
    let text = out.text();
    let (value, source) = text.trim_end().split_once('\t').filter(|_| out.ok())?;
    Some((value.to_owned(), source.trim() == "local"))
}

/// Of these properties those that were set on the dataset itself, not inherited, not received.
pub fn local(cx: &Cx, of: &str, names: &[&str]) -> BTreeMap<String, String> {
    let out = cx.probe(&Cmd::probe(["zfs", "get", "-Hp", "-s", "local", "-o", "property,value", &names.join(","), of]));
    let text = out.text();
    text.lines().filter_map(|l| l.split_once('\t')).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// A value, and where it comes from, as zfs says it: `local`, `received`, `inherited from p/d`, `default`.
pub type Setting = (String, String);

/// These properties of `dataset` and of all below it, parents first.
pub fn settings(cx: &Cx, dataset: &str, names: &[&str]) -> BTreeMap<String, BTreeMap<String, Setting>> {
    let out = cx.probe(&Cmd::probe(["zfs", "get", "-Hpr", "-o", "name,property,value,source", &names.join(","), dataset]));
    let mut all: BTreeMap<String, BTreeMap<String, Setting>> = BTreeMap::new();
    for line in out.text().lines() {
        if let [of, name, value, source] = line.split('\t').collect::<Vec<_>>().as_slice()
            && !of.contains(['@', '#'])
        {
            all.entry((*of).to_owned()).or_default().insert((*name).to_owned(), ((*value).to_owned(), (*source).to_owned()));
        }
    }
    all
}

/// The dataset of which `name` is a path, or the name of one.
pub fn dataset(cx: &Cx, name: &str) -> Result<String> {
    if !name.starts_with('/') {
        return Ok(name.trim_end_matches('/').to_owned());
    }
    let out = cx.probe(&Cmd::probe(["zfs", "list", "-H", "-o", "name", name]));
    let text = out.text();
    match (out.failure(), text.lines().next()) {
        (None, Some(dataset)) => Ok(dataset.to_owned()),
        (failure, _) => {
            let why = failure.map_or_else(|| "zfs says nothing".into(), Stage::why);
            Err(Error::text(format!("the dataset of {name} is not known: {why}")))
        }
    }
}

/// Changes something; the line is logged. Tried again while the dataset is busy. The error says why it is not done.
pub fn change(cx: &Cx, argv: &[&str]) -> Result<()> {
    let cmd = Cmd::change(argv.iter().copied()).timeout(CHANGE);
    cx.log.info(cmd.line());
    quietly(cx, argv)
}

/// The same without a word in the log.
pub fn quietly(cx: &Cx, argv: &[&str]) -> Result<()> {
    let cmd = Cmd::change(argv.iter().copied()).timeout(CHANGE);
    let mut why = None;
    wait_until(BUSY, || {
        why = cx.host.runner.run(&cmd).failure().map(|stage| (cause(stage), stage.stderr.clone()));
        // zfs-fuse: so it answers while the last use of the mount is not wholly over
        !why.as_ref().is_some_and(|(_, stderr)| stderr.contains("busy") || stderr.contains("I/O error"))
    });
    cx.host.facts.forget();
    match why {
        None => Ok(()),
        Some((why, _)) => Err(Error::text(format!("{} failed: {why}", cmd.line()))),
    }
}

/// What went wrong: zfs says it first, and then what came of it.
fn cause(stage: &Stage) -> String {
    let first = stage.stderr.lines().find(|l| l.starts_with("cannot "));
    first.map_or_else(|| stage.why(), str::to_owned)
}

/// Of `dataset` and what is below it, what is to be mounted and is not: the name, and where.
pub fn unmounted(cx: &Cx, dataset: &str) -> Vec<(String, String)> {
    let out = cx.probe(&Cmd::probe(["zfs", "list", "-H", "-r", "-t", "filesystem", "-o", "name,mounted,canmount,mountpoint", dataset]));
    let text = out.text();
    let wanted = text.lines().filter_map(|line| match line.split('\t').collect::<Vec<_>>().as_slice() {
        [name, "no", "on", mnt] if mnt.starts_with('/') => Some(((*name).to_owned(), (*mnt).to_owned())),
        _ => None,
    });
    wanted.collect()
}

/// Mounts `dataset` and what is below it, as far as they are to be mounted and are not.
pub fn mount(cx: &Cx, dataset: &str) -> Result<()> {
    unmounted(cx, dataset).iter().try_for_each(|(name, _)| change(cx, &["zfs", "mount", name]))
}

/// Removes the empty folders at the mount point of `dataset`, which is not mounted, that datasets below it were mounted on
/// without it, as at boot: an older zfs mounts nothing where a folder is.
pub fn clear_folders(cx: &Cx, dataset: &str) {
    let Some((mnt, _)) = property(cx, dataset, "mountpoint").filter(|(mnt, _)| mnt.starts_with('/')) else { return };
    if std::fs::read_dir(&mnt).map_or(true, |mut entries| entries.next().is_none()) || cx.host.facts.mount_at(&mnt).is_some() {
        return;
    }
    let below = |folder: &String| folder.strip_prefix(&mnt).is_some_and(|rest| rest.starts_with('/'));
    let mut folders: Vec<String> = unmounted(cx, dataset).into_iter().map(|(_, folder)| folder).filter(below).collect();
    folders.sort_by(|a, b| b.cmp(a));
    for folder in folders {
        if std::fs::remove_dir(&folder).is_ok() {
            cx.log.info(format!("rmdir {folder}"));
        }
    }
}

/// Destroys the snapshot `name` of `dataset`, with those of the same name below it if `below`, once `tag` does not hold it
/// any more. False: others hold it, as a send that was killed does in an old zfs. It stays then.
pub fn destroy_snapshot(cx: &Cx, (dataset, name): (&str, &str), below: bool, tag: &str) -> Result<bool> {
    let full = format!("{dataset}@{name}");
    // not every one is held: that is no error
    _ = quietly(cx, &["zfs", "release", tag, &full]);
    let there = tree(cx, dataset, tag)?;
    let there = there.iter().flat_map(|t| &t.datasets).take(if below { usize::MAX } else { 1 });
    if there.filter_map(|d| d.named(name)).any(|s| s.holds > 0) {
        return Ok(false);
    }
    let argv: Vec<&str> = ["zfs", "destroy"].into_iter().chain(below.then_some("-r")).chain([full.as_str()]).collect();
    change(cx, &argv).map(|()| true)
}

/// A property or hold of ours: `svcmgr:SERVICE.RID`, in the characters zfs takes.
pub fn mark(service: &str, rid: &str) -> String {
    let plain = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() || "-._".contains(c) { c } else { '_' };
    let name = format!("{service}.{}", rid.replace('#', "."));
    format!("svcmgr:{}", name.to_lowercase().chars().map(plain).collect::<String>())
}

/// Where a sync puts what is not in its place yet: this dataset, below the parent of the copy.
pub fn stage(mark: &str) -> String {
    mark.replace(':', ".")
}

/// `dataset` is in such a place of a sync of `service`.
pub fn is_staged(service: &str, dataset: &str) -> bool {
    let prefix = stage(&mark(service, "sync#"));
    dataset.split('/').any(|part| part.starts_with(&prefix))
}

/// zfs(8) is here.
pub fn is_installed() -> bool {
    which::which("zfs").is_ok() || ["/usr/sbin/zfs", "/sbin/zfs", "/usr/local/sbin/zfs"].iter().any(|p| std::path::Path::new(p).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_as_zfs_prints_it() {
        let text = "p/d\tguid\t1\np/d\treferenced\t7\np/d\tmounted\tyes\np/d#mark\tguid\t9\np/d@sent\tguid\t10\np/d@sent\tcreation\t1795276016\np/d@sent\tused\t0\np/d@sent\tmounted\t-\np/d@sent\tsvcmgr:svc1.sync.1\tpeers: n2\n\
                    p/d@tosend\tguid\t11\np/d@tosend\tsvcmgr:svc1.sync.1\t-\np/d/sub\tguid\t2\np/d/sub\tmounted\tno\n";
        let tree = Tree::parse(text).unwrap();
        let top = tree.top().unwrap();
        assert!(
            top.mounted
                && top.name == "p/d"
                && top.refers == 7
                && tree.datasets.len() == 2
                && tree.datasets[1].name == "p/d/sub"
                && !tree.datasets[1].mounted
        );
        let sent = Snapshot {
            name: "sent".into(),
            guid: "10".into(),
            created: 1_795_276_016,
            mark: Some("peers: n2".into()),
            ..Snapshot::default()
        };
        assert_eq!((top.named("sent"), top.with("11").map(|s| s.name.as_str())), (Some(&sent), Some("tosend")));
        assert_eq!(top.with("11").unwrap().mark, None);
        assert_eq!(Tree::parse(""), None);
    }

    #[test]
    fn marks_are_names_that_zfs_takes() {
        assert_eq!(mark("Z3.opensvc.com", "sync#1"), "svcmgr:z3.opensvc.com.sync.1");
        assert!(
            is_staged("svc1", "p/svcmgr.svc1.sync.1/new/sub")
                && !is_staged("svc1", "p/svcmgr.svc2.sync.1/new")
                && !is_staged("svc1", "p/d")
        );
    }
}
