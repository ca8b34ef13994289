//! sync.rsync: files, by rsync over ssh. Also what carries the service's own files: `sync#i0`, `#i1`, `#i2`.

mod internal;
mod origin;
mod send;
mod snap;
mod sources;
mod status;
mod wrap;

pub use internal::internal;
pub use send::push;

use super::schedule::Schedule;
use super::{Class, Driver, Job, Sent, SyncDriver, View, common};
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
use snap::Snapshot;
use sources::{Guard, expand, python_list};
use std::sync::{Arc, Mutex, OnceLock};

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
    ],
    build,
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
    label: OnceLock<String>,
    /// What `freeze` has made.
    frozen: Mutex<Vec<Arc<Snapshot>>>,
}

fn build(p: &Params) -> std::result::Result<Box<dyn SyncDriver>, Dropped> {
    let src: Vec<String> = common::required(p, "src")?.split_whitespace().map(str::to_owned).collect();
    common::required(p, "target")?;
    let dst = match (p.text("dst"), src.as_slice()) {
        (Some(dst), _) => dst.to_owned(),
        (None, [one]) => same_place(one),
        (None, _) => return Err(Dropped::Error(format!("config file section {} must have dst set: it has several sources", p.section))),
    };
    let split = |key: &str| {
        let text = p.text(key).unwrap_or_default();
        quote::split(text).map_err(|why| format!("{}: {}.{key}: {why}: {text}", p.config.env.place(p.section, key), p.section))
    };
    let options: Vec<String> = split("options")?.into_iter().chain(split("exclude")?).collect();
    let wrong =
        wrap::forbidden(&options).map(|why| ("options", why)).or_else(|| wrap::unsafe_dst(p, &src, &options, &dst).map(|why| ("dst", why)));
    if let Some((key, why)) = wrong {
        return Err(Dropped::Error(format!("{}: {}.{key}: {why}", p.config.env.place(p.section, key), p.section)));
    }
    Ok(Box::new(Rsync {
        kind: Kind::User,
        src,
        dst,
        targets: common::targets(p),
        options,
        dstfs: p.text("dstfs").map(|d| d.strip_suffix('/').filter(|d| !d.is_empty()).unwrap_or(d).to_owned()),
        bwlimit: p.integer("bwlimit")?.filter(|n| *n > 0),
        snap: p.boolean("snap")?.unwrap_or(false),
        schedule: Schedule::of(p.config, p.section),
        guard: Guard::of(p.config),
        label: OnceLock::new(),
        frozen: Mutex::default(),
    }))
}

/// The dst that puts `src` where it is here. rsync puts a folder named without a slash at the end *into* dst.
fn same_place(src: &str) -> String {
    match src.rsplit_once('/') {
        Some((parent, last)) if !last.is_empty() => format!("{parent}/"),
        _ => src.to_owned(),
    }
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

    fn question(&self, _cx: &Cx, _peer: &str) -> gate::Detail {
        gate::Detail { driver: "rsync".into(), dst: Some(self.dst.clone()), dstfs: self.dstfs.clone(), ..gate::Detail::default() }
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
