//! sync.dds: changed chunks of a logical volume, found by the tables of its LVM snapshots.

pub mod chain;
mod files;
mod moved;
mod round;
mod send;
mod status;
mod target;
mod verify;
mod volume;
mod words;

use super::schedule::Schedule;
use super::{Class, Driver, Job, Sent, Share, Side, SyncDriver, Target, View, Way, common};
use crate::config::keyword::{
    Keyword,
    Type::{Int, Text, Words},
};
use crate::config::scope::Params;
use crate::error::{Error, Result};
use crate::host::Cx;
use crate::report::Probe;
use crate::resource::Dropped;
use crate::state::replica::Image;
use crate::state::{gate, stamp};
use chrono::{DateTime, Local};
use round::Round;
use send::Beside;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use volume::Volume;

/// Its row in the driver table.
pub const DRIVER: Driver = Driver {
    types: &["dds"],
    rtype: "sync.dds",
    about: "changed chunks of a logical volume",
    keywords: &[
        Keyword::new("src", Text, "logical volume").required().example("/dev/mapper/vg1-data"),
        Keyword::new("dst", Text, "device on the target, as that node resolves it; default: src").example("/dev/mapper/vg1-data"),
        Keyword::new("target", Words, "nodes, drpnodes").required().example("drpnodes"),
        Keyword::new("bwlimit", Int, "KB/s"),
        Keyword::new("snap_size", Int, "MB, size of the snapshots; default: a tenth of the volume"),
        Keyword::new("scrub", Text, "share of the volume that is compared with each target after a sync").example("5%"),
        Keyword::new("sender", Text, "accepted, unused"),
        Keyword::new("delta_store", Text, "folder on the target for deltas on their way"),
    ],
    build,
    redirect,
};

struct Dds {
    sender: Sender,
    receiver: target::Receiver,
}

/// The sending side.
struct Sender {
    /// The volume here.
    src: String,
    /// Where it goes, by node.
    places: BTreeMap<String, String>,
    targets: Vec<Class>,
    schedule: Schedule,
    snap_size: Option<i64>,
    bwlimit: Option<i64>,
    /// What is compared after a sync.
    scrub: Option<Share>,
    /// Another section that makes snapshots of the same volume.
    rival: Option<String>,
    /// The volume, looked at once a command.
    volume: OnceLock<Volume>,
    /// What is frozen.
    round: Mutex<Option<Arc<Round>>>,
    /// What stands beside the replicas of peers.
    staged: Mutex<BTreeMap<String, Beside>>,
    /// The state file is of the round that has ended.
    news: AtomicBool,
}

fn build(p: &Params) -> std::result::Result<Box<dyn SyncDriver>, Dropped> {
    let src = common::required(p, "src")?;
    common::required(p, "target")?;
    let targets = common::targets(p);
    let peers = targets.iter().flat_map(|class| class.peers(&p.config.scope));
    let places = peers.map(|peer| {
        let theirs = p.config.impersonate(&peer);
        let place = place(&theirs.section(p.section), Side::Target).unwrap_or(src).to_owned();
        (peer, place)
    });
    Ok(Box::new(make(p, src, places.collect(), targets)?))
}

/// The same volumes in another direction.
fn redirect(way: &Way) -> std::result::Result<Box<dyn SyncDriver>, String> {
    let peer = way.there.config.scope.node.clone();
    let missing = |p: &Params| format!("{}: src is not set for {}", p.section, p.config.scope.node);
    let src = place(&way.here, way.from).ok_or_else(|| missing(&way.here))?;
    let dst = place(&way.there, way.to).ok_or_else(|| missing(&way.there))?;
    let class = if way.here.config.scope.nodes.contains(&peer) { Class::Nodes } else { Class::Drpnodes };
    Ok(Box::new(make(&way.here, src, BTreeMap::from([(peer, dst.to_owned())]), vec![class])?))
}

/// The device that holds the data on the node that resolves the section so.
fn place<'a>(p: &Params<'a>, side: Side) -> Option<&'a str> {
    if side == Side::Source { p.text("src") } else { p.text("dst").or(p.text("src")) }
}

fn make(p: &Params, src: &str, places: BTreeMap<String, String>, targets: Vec<Class>) -> std::result::Result<Dds, String> {
    let own = common::required(p, "src")?;
    let sender = Sender {
        src: src.into(),
        places,
        targets,
        schedule: Schedule::of(p.config, p.section),
        snap_size: p.integer("snap_size")?.filter(|mb| *mb > 0),
        bwlimit: p.integer("bwlimit")?.filter(|kb| *kb > 0),
        scrub: verify::scrub_of(p)?,
        rival: rival(p),
        volume: OnceLock::new(),
        round: Mutex::default(),
        staged: Mutex::default(),
        news: AtomicBool::default(),
    };
    Ok(Dds { sender, receiver: target::Receiver::of(p, own, p.text("dst").unwrap_or(own)) })
}

/// The snapshots of a volume have fixed names: two sections cannot both have them.
fn rival(p: &Params) -> Option<String> {
    let (config, src) = (p.config, p.text("src"));
    let others = config.env.sections().map(|s| s.name.as_str()).filter(|s| *s != p.section && s.starts_with("sync#"));
    others.filter(|s| config.text(s, "type") == Some("dds")).find(|s| config.text(s, "src") == src).map(str::to_owned)
}

impl Sender {
    fn round(&self) -> Result<Arc<Round>> {
        let round = self.round.lock().unwrap_or_else(PoisonError::into_inner).clone();
        round.ok_or_else(|| Error::text(format!("{} was not frozen", self.src)))
    }

    fn volume(&self, cx: &Cx) -> Result<&Volume> {
        if let Some(volume) = self.volume.get() {
            return Ok(volume);
        }
        let volume = Volume::of(cx, &self.src)?;
        Ok(self.volume.get_or_init(|| volume))
    }

    /// Where the data are on `peer`.
    fn place_on(&self, peer: &str) -> String {
        self.places.get(peer).unwrap_or(&self.src).clone()
    }

    fn staged(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Beside>> {
        self.staged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SyncDriver for Dds {
    fn label(&self) -> String {
        format!("dds of {} to {}", self.sender.src, common::target_list(&self.sender.targets))
    }

    fn targets(&self) -> &[Class] {
        &self.sender.targets
    }

    fn schedule(&self) -> &Schedule {
        &self.sender.schedule
    }

    fn last(&self, cx: &Cx, peer: &str) -> Option<DateTime<Local>> {
        status::last(cx, peer)
    }

    fn status(&self, cx: &Cx, view: &View) -> Probe {
        status::status(&self.sender, cx, view)
    }

    fn question(&self, cx: &Cx, peer: &str) -> gate::Detail {
        let size = self.sender.volume(cx).ok().map(|volume| volume.size);
        let image = files::Files(cx).chain().base.map(|base| base.id);
        gate::Detail { driver: "dds".into(), dst: Some(self.sender.place_on(peer)), size, image, ..gate::Detail::default() }
    }

    fn ready(&self, cx: &Cx) -> Result<()> {
        if let Some(other) = &self.sender.rival {
            return Err(Error::text(format!(
                "{} and {other} both send {}: one snapshot cannot serve two. make one section of them, with target = nodes drpnodes",
                cx.rid, self.sender.src
            )));
        }
        files::program(cx.host).map_err(Error::Text)?;
        self.sender.volume(cx).map(|_| ())
    }

    fn has_snapshot(&self) -> bool {
        true
    }

    fn freeze(&self, cx: &Cx) -> Result<()> {
        let volume = self.sender.volume(cx)?.clone();
        let peers = self.sender.places.keys().cloned().collect();
        let round = Round::begin(cx, volume, self.sender.snap_size, peers)?;
        *self.sender.round.lock().unwrap_or_else(PoisonError::into_inner) = Some(round);
        Ok(())
    }

    fn release(&self, cx: &Cx) {
        let round = self.sender.round.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.sender.news.store(round.is_some_and(|round| round.end(cx)), Ordering::SeqCst);
    }

    fn news(&self, cx: &Cx) -> Vec<PathBuf> {
        let file = self.sender.news.load(Ordering::SeqCst).then(|| files::state_file(cx.host, cx.service, cx.rid));
        file.into_iter().collect()
    }

    fn frozen(&self, _cx: &Cx) -> Option<Image> {
        self.sender.round().ok()?.image()
    }

    fn staged(&self) -> bool {
        true
    }

    fn send(&self, cx: &Cx, job: &Job) -> Result<Sent> {
        let (sent, beside) = send::send(&self.sender, cx, job, &*self.sender.round()?)?;
        self.sender.staged().extend(beside.map(|counts| (job.peer.clone(), counts)));
        Ok(sent)
    }

    fn apply(&self, cx: &Cx, job: &Job) -> Result<()> {
        let beside = self.sender.staged().remove(&job.peer);
        let Some(beside) = beside else { return Ok(()) };
        send::apply(&self.sender, cx, job, &*self.sender.round()?, &beside)
    }

    fn confirmed(&self, cx: &Cx, peer: &str) -> Result<()> {
        self.sender.round()?.confirmed(cx, peer)
    }

    fn verify(&self, cx: &Cx, job: &Job) -> Result<()> {
        verify::verify(&self.sender, cx, job)
    }

    fn scrub(&self, cx: &Cx, job: &Job) -> Result<()> {
        self.sender.scrub.map_or(Ok(()), |share| verify::scrub(&self.sender, share, cx, job))
    }

    fn target(&self) -> Option<&dyn Target> {
        Some(&self.receiver)
    }

    /// Of the data themselves the peer keeps the state file.
    fn stamp(&self, cx: &Cx, peer: &str, started: DateTime<Local>) -> Result<Vec<PathBuf>> {
        let frozen = self.frozen(cx).and_then(|image| image.frozen_at);
        stamp::write(&stamp::of_node(&cx.host.paths.var, peer, cx.service, cx.rid), frozen.unwrap_or(started))?;
        Ok(Vec::new())
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
