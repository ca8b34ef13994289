//! sync.btrfs: snapshots of btrfs subvolumes, by btrfs send and receive.

mod base;
mod copy;
mod glance;
mod names;
mod peers;
mod remount;
mod send;
mod shared;
mod source;
mod spot;
mod switch;
mod target;
mod verify;

use super::schedule::Schedule;
use super::{Class, Driver, Job, Sent, Side, SyncDriver, Target, View, Way, common};
use crate::authority::copies::Copies;
use crate::config::keyword::{
    Keyword,
    Type::{Bool, Choice, Int, Text, Words},
};
use crate::config::scope::Params;
use crate::error::{Error, Result};
use crate::host::{Cx, btrfs};
use crate::report::Probe;
use crate::resource::Dropped;
use crate::state::replica::Image;
use crate::state::{atomic, gate, stamp};
use crate::status::Status;
use crate::sync::common::frozen;
use crate::sync::common::status::Peers;
use chrono::{DateTime, Local};
use names::{Names, Place};
use spot::Spot;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

/// Its row in the driver table.
pub const DRIVER: Driver = Driver {
    types: &["btrfs"],
    rtype: "sync.btrfs",
    about: "snapshots of btrfs subvolumes",
    keywords: &[
        Keyword::new("src", Text, "LABEL:SUBVOLUME, several separated by blanks").required().example("svc1:data"),
        Keyword::new("dst", Text, "LABEL:SUBVOLUME on the target, as many as in src; default: src").example("svc1:data"),
        Keyword::new("target", Words, "nodes, drpnodes").required().example("drpnodes"),
        Keyword::new("recursive", Bool, "false: subvolumes inside are left out; without a word of it they are an error").unscoped(),
        Keyword::new("bwlimit", Int, "KB/s"),
        Keyword::new("compress", Choice(&["none", "zstd"]), "on the wire").default("none").unscoped(),
    ],
    build,
    redirect,
};

/// What a section names.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ends {
    src: Vec<Place>,
    dst: Vec<Place>,
    /// As written, one blank between words.
    words: (String, String),
}

impl Ends {
    /// As the node of `p` resolves them.
    fn of(p: &Params) -> Result<Self, String> {
        let src = common::required(p, "src")?;
        let dst = p.text("dst").unwrap_or(src);
        let (from, to) = (names::places(p, "src", src)?, names::places(p, "dst", dst)?);
        if from.len() != to.len() {
            return Err(format!("src of section {} names {} subvolumes, dst {}", p.section, from.len(), to.len()));
        }
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        Ok(Self { src: from, dst: to, words: (squeezed(src), squeezed(dst)) })
    }
}

struct Btrfs {
    /// What this node sends, and where to.
    way: Ends,
    /// What the data are on a node that is home (as this node resolves it), and on a target (as home does).
    own: Ends,
    /// This node has the source when nothing has moved.
    at_home: bool,
    targets: Vec<Class>,
    schedule: Schedule,
    /// Subvolumes inside are left out, and somebody said so.
    outermost: bool,
    compress: bool,
    /// Bytes a second.
    bwlimit: Option<u64>,
    names: Names,
    /// Which nodes share which data.
    copies: Copies,
    /// The names of the other copies.
    peers: Vec<String>,
    /// Of nodes that have the same disks: the one that receives for all of them.
    receiver: Option<String>,
    /// This driver takes part in the round.
    frozen: AtomicBool,
    /// The state file was written and said.
    told: AtomicBool,
    /// Before this command nothing was ever sent of one of the subvolumes here.
    never_sent: AtomicBool,
}

fn build(p: &Params) -> Result<Box<dyn SyncDriver>, Dropped> {
    let ends = Ends::of(p)?;
    common::required(p, "target")?;
    names::no_rival(&p.config.impersonate(&p.config.home()).section(p.section))?;
    Ok(Box::new(make(p, ends, common::targets(p))?))
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
    let ends = Ends::of(&home)?;
    let (src, dst, (from, to)) = (ends.src, ends.dst, ends.words);
    let route = match (way.from, way.to) {
        (Side::Source, Side::Source) => return Err(format!("{} is not sent: both nodes have the same copy", home.section)),
        (Side::Source, Side::Target) => Ends { src, dst, words: (from, to) },
        (Side::Target, Side::Source) => Ends { src: dst, dst: src, words: (to, from) },
        (Side::Target, Side::Target) => Ends { src: dst.clone(), dst, words: (to.clone(), to) },
    };
    let receiver = &way.there.config.scope.node;
    let class = if config.scope.nodes.contains(receiver) { Class::Nodes } else { Class::Drpnodes };
    Ok(Box::new(make(&way.here, route, vec![class])?))
}

fn make(p: &Params, way: Ends, targets: Vec<Class>) -> Result<Btrfs, String> {
    let as_home = p.config.impersonate(&p.config.home());
    let home = as_home.section(p.section);
    let (here, of_home) = (Ends::of(p)?, Ends::of(&home)?);
    let copies = Copies::of(p.config);
    let recursive = p.plain_boolean("recursive")?;
    if recursive == Some(true) {
        return Err(format!(
            "recursive = true in section {}: subvolumes inside are not sent with it. name each in src, beside the others; or set recursive = false to leave them out",
            p.section
        ));
    }
    Ok(Btrfs {
        own: Ends { src: here.src, dst: of_home.dst, words: (here.words.0, of_home.words.1) },
        way,
        at_home: copies.home().is_some_and(|home| home.nodes.contains(&p.config.scope.node)),
        targets,
        schedule: Schedule::of(p.config, p.section),
        outermost: recursive == Some(false),
        compress: p.plain("compress") == Some("zstd"),
        bwlimit: p.integer("bwlimit")?.filter(|n| *n > 0).and_then(|n| u64::try_from(n).ok()).map(|n| n * 1024),
        names: Names::of(&home),
        peers: copies.others(p.section, &p.config.scope.node),
        receiver: shared::receiver(p, &copies),
        copies,
        frozen: AtomicBool::new(false),
        told: AtomicBool::new(false),
        never_sent: AtomicBool::new(false),
    })
}

impl Btrfs {
    /// As written, on a node that is `side`.
    fn written(&self, side: Side) -> &str {
        match side {
            Side::Source => &self.own.words.0,
            Side::Target => &self.own.words.1,
        }
    }

    /// What the data are on a node that is `side`.
    fn places(&self, side: Side) -> &[Place] {
        match side {
            Side::Source => &self.own.src,
            Side::Target => &self.own.dst,
        }
    }

    /// What this node is when nothing has moved.
    fn side(&self) -> Side {
        if self.at_home { Side::Source } else { Side::Target }
    }

    /// Works with the subvolumes at `places`, the tops of whose filesystems are mounted meanwhile.
    fn with<T>(&self, cx: &Cx, places: &[Place], work: impl FnOnce(&[Spot]) -> Result<T>) -> Result<T> {
        let labels: Vec<&str> = places.iter().map(|p| p.label.as_str()).collect();
        btrfs::with(cx, &labels, |tops| {
            let spots: Vec<Spot> =
                tops.iter().zip(places).enumerate().map(|(index, (top, place))| Spot::of(cx, top, place, index, &self.names)).collect();
            work(&spots)
        })
    }

    /// The state file of 2014: when the data were frozen; the generation of the first snapshot.
    fn write_state(&self, cx: &Cx, generation: u64, image: &Image) -> Result<()> {
        let Some(at) = image.frozen_at else { return Ok(()) };
        atomic::write(&common::state_file(cx, "btrfs"), format!("{};{generation}\n", stamp::format(at)).as_bytes())?;
        if !self.told.swap(true, Ordering::SeqCst) {
            cx.log.info(format!("update state file with snap uuid {generation}"));
        }
        Ok(())
    }
}

/// The id of what one command sends: one word for each subvolume.
fn joined<'a>(images: impl Iterator<Item = &'a str>) -> String {
    images.collect::<Vec<_>>().join(",")
}

impl SyncDriver for Btrfs {
    fn label(&self) -> String {
        format!("btrfs of {} to {}", self.way.words.0, common::target_list(&self.targets))
    }

    fn targets(&self) -> &[Class] {
        &self.targets
    }

    fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// To this peer; of an upgrade from 2014, to all.
    fn last(&self, cx: &Cx, peer: &str) -> Option<DateTime<Local>> {
        common::last(cx, "btrfs", peer)
    }

    fn status(&self, cx: &Cx, view: &View) -> Probe {
        if !btrfs::is_installed() {
            return Probe::because(Status::Na, btrfs::NOT_INSTALLED);
        }
        common::status::status(
            cx,
            view,
            "btrfs",
            &self.schedule,
            &Peers { targets: &self.targets, copies: &self.copies, snapshots: &|| glance::snapshots(self, cx) },
        )
    }

    fn question(&self, _cx: &Cx, _peer: &str) -> gate::Detail {
        gate::Detail { driver: "btrfs".into(), dst: Some(self.way.words.1.clone()), ..gate::Detail::default() }
    }

    fn ready(&self, cx: &Cx) -> Result<()> {
        self.way.src.iter().try_for_each(|place| btrfs::devices(cx, &place.label).map(|_| ()))
    }

    fn has_snapshot(&self) -> bool {
        true
    }

    fn freeze(&self, cx: &Cx) -> Result<()> {
        source::freeze(self, cx)?;
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

    /// A sync that was killed leaves the top mounted: of what this node sends, or has.
    fn stopped(&self, cx: &Cx) -> Result<()> {
        let places = self.way.src.iter().chain(self.places(self.side())).filter(|_| self.receiver.is_some());
        places.map(|place| btrfs::unmount(cx, &place.label)).collect::<Vec<_>>().into_iter().collect()
    }

    fn target(&self) -> Option<&dyn Target> {
        Some(self)
    }

    fn verify(&self, cx: &Cx, job: &Job) -> Result<()> {
        verify::verify(self, cx, job)
    }

    fn stamp(&self, cx: &Cx, peer: &str, started: DateTime<Local>) -> Result<Vec<PathBuf>> {
        let image = frozen::image(cx).unwrap_or_default();
        self.with(cx, &self.way.src, |spots| {
            let Some(spot) = spots.first() else { return Ok(()) };
            let all = spot.list(cx)?;
            let sent = all.iter().find(|s| s.path == spot.tosend()).ok_or_else(|| Error::text(format!("{} is gone", spot.tosend())))?;
            self.write_state(cx, sent.generation, &image)
        })?;
        common::stamped(cx, "btrfs", peer, image.frozen_at.unwrap_or(started))
    }
}
