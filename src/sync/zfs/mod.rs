//! sync.zfs: snapshots of a zfs dataset, with those below it, by zfs send and receive.

mod back;
mod base;
mod glance;
mod guard;
mod incoming;
mod names;
mod send;
mod source;
mod switch;
mod target;

use super::schedule::Schedule;
use super::{Class, Driver, Job, Sent, Side, SyncDriver, Target, View, Way, common};
use crate::authority::copies::Copies;
use crate::config::keyword::{
    Keyword,
    Type::{Bool, Choice, Int, Text, Words},
};
use crate::config::scope::Params;
use crate::error::{Error, Result};
use crate::host::Cx;
use crate::host::zfs::{self, Tree};
use crate::report::Probe;
use crate::resource::Dropped;
use crate::state::replica::Image;
use crate::state::{atomic, gate, stamp};
use crate::status::Status;
use crate::sync::common::frozen;
use crate::sync::common::status::Peers;
use chrono::{DateTime, Local};
use names::Names;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

/// Its row in the driver table.
pub const DRIVER: Driver = Driver {
    types: &["zfs"],
    rtype: "sync.zfs",
    about: "snapshots of a zfs dataset",
    keywords: &[
        Keyword::new("src", Text, "dataset, or a path in it").required().example("pool1/data"),
        Keyword::new("dst", Text, "dataset on the target, as the sender resolves it; default: src").example("pool1/data"),
        Keyword::new("target", Words, "nodes, drpnodes").required().example("drpnodes"),
        Keyword::new("recursive", Bool, "with the datasets below").default("true").unscoped(),
        Keyword::new("bwlimit", Int, "KB/s"),
        Keyword::new("compress", Choice(&["none", "zstd"]), "on the wire").default("none").unscoped(),
    ],
    build,
    redirect,
};

struct Zfs {
    /// What this node sends, as written.
    src: String,
    /// Where to on the peer, as written.
    dst: String,
    /// As written: what the data are called on a node that is home, and on a target.
    written: (String, String),
    /// The same, never taken for a file.
    places: (String, String),
    /// This node has the source when nothing has moved.
    at_home: bool,
    targets: Vec<Class>,
    schedule: Schedule,
    recursive: bool,
    compress: bool,
    /// Bytes a second.
    bwlimit: Option<u64>,
    names: Names,
    /// The zfs syncs of the service, this one too: each holds snapshots.
    rids: Vec<String>,
    /// Where the fs sections here mount which dataset.
    mounts: Vec<(String, String)>,
    /// Which nodes share which data.
    copies: Copies,
    /// The names of the other copies.
    peers: Vec<String>,
    /// A filesystem section mounts it.
    has_fs: bool,
    /// This driver takes part in the round.
    frozen: AtomicBool,
    /// The state file was written and said.
    told: AtomicBool,
}

fn build(p: &Params) -> Result<Box<dyn SyncDriver>, Dropped> {
    let (src, dst) = ends(p)?;
    common::required(p, "target")?;
    Ok(Box::new(make(p, (src, dst), common::targets(p))?))
}

/// Source and destination, as the node of `p` resolves them.
fn ends(p: &Params) -> Result<(String, String), String> {
    let src = common::required(p, "src")?;
    Ok((src.to_owned(), p.text("dst").unwrap_or(src).to_owned()))
}

/// On the way home what home reads is exchanged; from one target to the next both have what home calls dst.
fn redirect(way: &Way) -> Result<Box<dyn SyncDriver>, String> {
    let config = way.here.config;
    let as_home = config.impersonate(&config.home());
    let home = match (way.from, way.to) {
        (Side::Source, _) => way.here,
        (Side::Target, Side::Source) => way.there,
        (Side::Target, Side::Target) => as_home.section(way.here.section),
    };
    let (src, dst) = ends(&home)?;
    let route = match (way.from, way.to) {
        (Side::Source, Side::Source) => return Err(format!("{} is not sent: both nodes have the same copy", home.section)),
        (Side::Source, Side::Target) => (src, dst),
        (Side::Target, Side::Source) => (dst, src),
        (Side::Target, Side::Target) => (dst.clone(), dst),
    };
    let receiver = &way.there.config.scope.node;
    let class = if config.scope.nodes.contains(receiver) { Class::Nodes } else { Class::Drpnodes };
    Ok(Box::new(make(&way.here, route, vec![class])?))
}

fn make(p: &Params, (src, dst): (String, String), targets: Vec<Class>) -> Result<Zfs, String> {
    let as_home = p.config.impersonate(&p.config.home());
    let home = as_home.section(p.section);
    let copies = Copies::of(p.config);
    let at_home = copies.home().is_some_and(|home| home.nodes.contains(&p.config.scope.node));
    let written = (ends(p)?.0, ends(&home)?.1);
    let own = if at_home { &written.0 } else { &written.1 };
    let mounts = names::mounts(p.config);
    let has_fs = mounts.iter().any(|(mnt, dev)| dev == own || mnt == own.trim_end_matches('/'));
    Ok(Zfs {
        src,
        dst,
        places: target::places(p, &home),
        at_home,
        targets,
        schedule: Schedule::of(p.config, p.section),
        recursive: p.plain_boolean("recursive")?.unwrap_or(true),
        compress: p.plain("compress") == Some("zstd"),
        bwlimit: p.integer("bwlimit")?.filter(|n| *n > 0).and_then(|n| u64::try_from(n).ok()).map(|n| n * 1024),
        names: Names::of(&home),
        rids: names::syncs(p.config),
        mounts,
        peers: copies.others(p.section, &p.config.scope.node),
        copies,
        has_fs,
        written,
        frozen: AtomicBool::new(false),
        told: AtomicBool::new(false),
    })
}

/// A path in a dataset stands for it; on record it is not taken for a file.
fn place(written: &str) -> String {
    if written.starts_with('/') { format!("the dataset of {written}") } else { written.to_owned() }
}

impl Zfs {
    fn mark(&self, cx: &Cx) -> String {
        zfs::mark(cx.service, cx.rid)
    }

    /// As written, on a node that is `side`.
    fn written(&self, side: Side) -> &str {
        match side {
            Side::Source => &self.written.0,
            Side::Target => &self.written.1,
        }
    }

    /// The dataset this node sends.
    fn source(&self, cx: &Cx) -> Result<String> {
        self.dataset(cx, &self.src)
    }

    /// Of a path the dataset: what an fs section mounts there, whether it is mounted or not.
    fn dataset(&self, cx: &Cx, written: &str) -> Result<String> {
        let path = written.trim_end_matches('/');
        match self.mounts.iter().find(|(mnt, _)| mnt == path) {
            Some((_, dev)) => Ok(dev.clone()),
            None => zfs::dataset(cx, written),
        }
    }

    /// What this node lacks to do its part.
    fn lacks(&self, node: &str) -> Option<String> {
        if !zfs::is_installed() {
            return Some(format!("{} on {node}", zfs::NOT_INSTALLED));
        }
        let zstd = self.compress && crate::cmd::find("zstd").is_none();
        zstd.then(|| format!("zstd is not installed: install zstd on {node}, or take compress out of the section"))
    }

    /// What stands there.
    fn here(&self, cx: &Cx, dataset: &str) -> Result<Tree> {
        let tree = zfs::tree(cx, dataset, &self.mark(cx))?;
        let tree = tree.ok_or_else(|| {
            let pool = dataset.split('/').next().unwrap_or_default();
            Error::text(format!("the dataset {dataset} is not there on {}. is its pool imported? zpool import {pool}", cx.host.node))
        })?;
        Ok(if self.recursive { tree } else { tree.alone() })
    }

    /// `zfs VERB [-r] WORDS`.
    fn recursively<'a>(&self, verb: &'a str, words: &[&'a str]) -> Vec<&'a str> {
        ["zfs", verb].into_iter().chain(self.recursive.then_some("-r")).chain(words.iter().copied()).collect()
    }

    /// The state file of 2014: when the data were frozen; the creation of the snapshot, as zfs words it.
    fn write_state(&self, cx: &Cx, dataset: &str, snapshot: &str, image: &Image) -> Result<()> {
        let Some(at) = image.frozen_at else { return Ok(()) };
        let out = cx.probe(&crate::cmd::Cmd::probe(["zfs", "get", "-H", "-o", "value", "creation", &format!("{dataset}@{snapshot}")]));
        let created = out.text().trim().to_owned();
        atomic::write(&common::state_file(cx, "zfs"), format!("{};{created}\n", stamp::format(at)).as_bytes())?;
        if !self.told.swap(true, Ordering::SeqCst) {
            cx.log.info(format!("update state file with snap uuid {created}"));
        }
        Ok(())
    }
}

impl SyncDriver for Zfs {
    fn label(&self) -> String {
        format!("zfs of {} to {}", self.src, common::target_list(&self.targets))
    }

    fn targets(&self) -> &[Class] {
        &self.targets
    }

    fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// To this peer; of an upgrade from 2014, to all.
    fn last(&self, cx: &Cx, peer: &str) -> Option<DateTime<Local>> {
        common::last(cx, "zfs", peer)
    }

    fn status(&self, cx: &Cx, view: &View) -> Probe {
        if !zfs::is_installed() {
            return Probe::because(Status::Na, zfs::NOT_INSTALLED);
        }
        common::status::status(
            cx,
            view,
            "zfs",
            &self.schedule,
            &Peers { targets: &self.targets, copies: &self.copies, snapshots: &|| glance::snapshots(self, cx) },
        )
    }

    fn question(&self, _cx: &Cx, _peer: &str) -> gate::Detail {
        gate::Detail { driver: "zfs".into(), dst: Some(self.dst.clone()), ..gate::Detail::default() }
    }

    fn ready(&self, cx: &Cx) -> Result<()> {
        match self.lacks(&cx.host.node) {
            Some(why) => Err(Error::text(why)),
            None => self.here(cx, &self.source(cx)?).and_then(|_| incoming::none_left(cx)),
        }
    }

    fn has_snapshot(&self) -> bool {
        true
    }

    fn freeze(&self, cx: &Cx) -> Result<()> {
        frozen::freeze(cx, || source::take(self, cx))?;
        self.frozen.store(true, Ordering::SeqCst);
        Ok(())
    }

    fn release(&self, cx: &Cx) {
        if self.frozen.swap(false, Ordering::SeqCst) {
            source::release(self, cx);
        }
        self.told.store(false, Ordering::SeqCst);
    }

    fn frozen(&self, cx: &Cx) -> Option<Image> {
        frozen::image(cx)
    }

    fn staged(&self) -> bool {
        true
    }

    fn send(&self, cx: &Cx, job: &Job) -> Result<Sent> {
        send::send(self, cx, job)
    }

    fn apply(&self, cx: &Cx, job: &Job) -> Result<()> {
        send::apply(self, cx, job)
    }

    fn confirmed(&self, cx: &Cx, peer: &str) -> Result<()> {
        source::confirmed(self, cx, peer)
    }

    fn target(&self) -> Option<&dyn Target> {
        Some(self)
    }

    fn verify(&self, cx: &Cx, job: &Job) -> Result<()> {
        send::verify(self, cx, job)
    }

    fn stamp(&self, cx: &Cx, peer: &str, started: DateTime<Local>) -> Result<Vec<PathBuf>> {
        let image = frozen::image(cx).unwrap_or_default();
        self.write_state(cx, &self.source(cx)?, &self.names.tosend(), &image)?;
        common::stamped(cx, "zfs", peer, image.frozen_at.unwrap_or(started))
    }
}
