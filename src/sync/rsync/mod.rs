//! sync.rsync: files, by rsync over ssh. Also what carries the service's own files: `sync#i0`, `#i1`, `#i2`.

pub mod dst_snap;
mod excluded;
mod internal;
mod newest;
mod origin;
mod send;
mod snap;
mod sources;
mod status;
mod way;
mod wrap;

pub use internal::internal;
pub use send::push;

use super::schedule::Schedule;
use super::{Class, Driver, Job, Sent, Side, SyncDriver, View, Way, common};
use crate::authority::written::Newest;
use crate::cmd::quote;
use crate::config::keyword::{
    Keyword,
    Type::{Bool, Int, Text, Words},
};
use crate::config::scope::Params;
use crate::error::Result;
use crate::host::Cx;
use crate::report::Probe;
use crate::resource::Dropped;
use crate::state::gate;
use excluded::Excluded;
use snap::Snapshot;
use sources::{Guard, ServiceFs, expand, python_list};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use way::{Forward, Route};

/// Its row in the driver table.
pub const DRIVER: Driver = Driver {
    types: &["", "rsync"],
    rtype: "sync.rsync",
    about: "files and folders, by rsync",
    keywords: &[
        Keyword::new("src", Words, "files and folders; patterns are expanded on the sender").required().example("/srv/app1/data/"),
        Keyword::new("dst", Text, "folder on the target; default: the place the source has here").example("/srv/app1/data"),
        Keyword::new("target", Words, "nodes, drpnodes").required().example("nodes drpnodes"),
        Keyword::new("options", Text, "more options of rsync, split as a shell does").example("--exclude=*.tmp"),
        Keyword::new("exclude", Text, "more options of rsync").deprecated("options"),
        Keyword::new("dstfs", Text, "filesystem that must be mounted on the target").example("/srv/app1"),
        Keyword::new("bwlimit", Int, "KB/s"),
        Keyword::new("snap", Bool, "send from a snapshot of the logical volume below the source").default("false"),
        Keyword::new("dst_snap", Bool, "a snapshot on the target keeps the copy there until the next one is whole: btrfs, zfs, LVM")
            .default("false")
            .unscoped(),
    ],
    build,
    redirect,
};

/// Who it is for: decides the label, and how much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A section of the service file.
    User,
    /// `sync#i0`: the service's own files.
    Config,
    /// `sync#i1`, `sync#i2`: files of the system.
    System,
}

struct Rsync {
    kind: Kind,
    /// As written: patterns.
    src: Vec<String>,
    dst: String,
    targets: Vec<Class>,
    options: Vec<String>,
    dstfs: Option<String>,
    bwlimit: Option<i64>,
    snap: bool,
    schedule: Schedule,
    guard: Guard,
    /// What home sends. None for what is not data.
    forward: Option<Forward>,
    label: OnceLock<String>,
    /// What `freeze` has made.
    frozen: Mutex<Vec<Arc<Snapshot>>>,
}

fn build(p: &Params) -> std::result::Result<Box<dyn SyncDriver>, Dropped> {
    let Forward { src, dst, .. } = Forward::of(p)?;
    common::required(p, "target")?;
    let forward = Forward::seen_by(p).unwrap_or_else(|_| Forward { src: src.clone(), dst: dst.clone(), ..Forward::default() });
    let route = Route { src, dst, forward };
    Ok(Box::new(make(p, p, route, common::targets(p))?))
}

/// Of what home sends the way decides the paths; options and excludes are home's, limits and snapshots the sender's.
fn redirect(way: &Way) -> std::result::Result<Box<dyn SyncDriver>, String> {
    let config = way.here.config;
    let as_home = config.impersonate(&config.home());
    let home = match (way.from, way.to) {
        (Side::Source, _) => way.here,
        (Side::Target, Side::Source) => way.there,
        (Side::Target, Side::Target) => as_home.section(way.here.section),
    };
    let route = way::route(way, &home)?;
    let receiver = &way.there.config.scope.node;
    let class = if config.scope.nodes.contains(receiver) { Class::Nodes } else { Class::Drpnodes };
    let mut sync = make(&home, &way.here, route, vec![class])?;
    if way.from == Side::Target {
        // what had to be mounted to be written to has to be mounted to be read
        let mounted = sync.dstfs.as_ref().map(|mnt| ServiceFs { rid: "dstfs".into(), mnt: mnt.clone(), disabled: true, snap_size: None });
        sync.guard.0.extend(mounted.filter(|fs| sync.guard.0.iter().all(|known| known.mnt != fs.mnt)));
    }
    if way.to == Side::Source {
        sync.dstfs = way::own(&way.here, &home, "dstfs").map(|d| without_slash(&d)); // of a target; home's filesystems are known by their sections
    }
    Ok(Box::new(sync))
}

/// A sync along `route`: `home` is the section as home resolves it, `p` as the sender does.
fn make(home: &Params, p: &Params, route: Route, targets: Vec<Class>) -> std::result::Result<Rsync, String> {
    let Route { src, dst, forward } = route;
    let mut options = plain_options(home)?;
    let wrong =
        wrap::forbidden(&options).map(|why| ("options", why)).or_else(|| wrap::unsafe_dst(p, &src, &options, &dst).map(|why| ("dst", why)));
    if let Some((key, why)) = wrong {
        return Err(format!("{}: {}.{key}: {why}", p.config.env.place(p.section, key), p.section));
    }
    if dst_snap::wanted(home)? {
        options.splice(..0, dst_snap::OPTIONS.map(str::to_owned));
    }
    Ok(Rsync {
        kind: Kind::User,
        src,
        dst,
        targets,
        options,
        dstfs: home.text("dstfs").map(without_slash),
        bwlimit: p.integer("bwlimit")?.filter(|n| *n > 0),
        snap: p.boolean("snap")?.unwrap_or(false),
        schedule: Schedule::of(p.config, p.section),
        guard: Guard::of(p.config),
        forward: Some(forward),
        label: OnceLock::new(),
        frozen: Mutex::default(),
    })
}

fn without_slash(folder: &str) -> String {
    folder.strip_suffix('/').filter(|f| !f.is_empty()).unwrap_or(folder).to_owned()
}

fn plain_options(p: &Params) -> std::result::Result<Vec<String>, String> {
    let split = |key: &str| {
        let text = p.text(key).unwrap_or_default();
        quote::split(text).map_err(|why| format!("{}: {}.{key}: {why}: {text}", p.config.env.place(p.section, key), p.section))
    };
    Ok(split("options")?.into_iter().chain(split("exclude")?).collect())
}

impl SyncDriver for Rsync {
    fn label(&self) -> String {
        self.label.get_or_init(|| self.make_label()).clone()
    }

    fn route(&self) -> String {
        format!("{} => {}", python_list(&expand(&self.src).unwrap_or_else(|| self.src.clone())), self.dst)
    }

    fn targets(&self) -> &[Class] {
        &self.targets
    }

    fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    fn status(&self, cx: &Cx, view: &View) -> Probe {
        status::status(self, cx, view)
    }

    fn internal(&self) -> bool {
        self.kind != Kind::User
    }

    fn in_any_state(&self) -> bool {
        self.kind == Kind::System
    }

    fn question(&self, cx: &Cx, _peer: &str) -> gate::Detail {
        let env = (self.kind == Kind::Config).then(|| std::fs::read_to_string(cx.host.paths.env_file(cx.service)).ok()).flatten();
        gate::Detail { env, driver: "rsync".into(), dst: Some(self.dst.clone()), dstfs: self.dstfs.clone(), ..gate::Detail::default() }
    }

    fn ready(&self, cx: &Cx) -> Result<()> {
        sources::ready(self, cx)?;
        sources::tell_missing(self, cx);
        Ok(())
    }

    fn has_snapshot(&self) -> bool {
        self.snap
    }

    fn freeze(&self, cx: &Cx) -> Result<()> {
        snap::freeze(self, cx)
    }

    fn release(&self, cx: &Cx) {
        snap::release(self, cx);
    }

    fn places(&self, side: Side) -> Vec<String> {
        self.forward.iter().flat_map(|f| f.places(side)).map(|p| fixed(&p).to_owned()).collect()
    }

    fn newest(&self, _cx: &Cx, side: Side, limit: Duration) -> Newest {
        self.forward.as_ref().map_or(Newest::Unknown, |f| newest::of(&f.places(side), Excluded::of(&self.options), limit))
    }

    fn send(&self, cx: &Cx, job: &Job) -> Result<Sent> {
        send::send(self, cx, job)
    }
}

impl Rsync {
    fn make_label(&self) -> String {
        let what = match self.kind {
            Kind::Config => return "rsync svc config to drpnodes, nodes".into(),
            Kind::System => return "rsync system files to drpnodes".into(),
            Kind::User => expand(&self.src).unwrap_or_else(|| self.src.clone()).join(", "),
        };
        let what: String = what.chars().take(300).collect();
        let mut to: Vec<&str> = self.targets.iter().map(|c| c.word()).collect();
        to.sort_unstable(); // drpnodes before nodes, as in 2014
        format!("rsync {what} to {}", to.join(", "))
    }
}

/// A pattern up to what it leaves open.
fn fixed(source: &str) -> &str {
    source.split(['*', '?', '[']).next().unwrap_or_default()
}

/// It is for the glob to find out what it names.
fn is_pattern(source: &str) -> bool {
    source.contains(['*', '?', '['])
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
