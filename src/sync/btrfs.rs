//! sync.btrfs: snapshots of a btrfs subvolume. Seen by this version; sent by a later one.

use super::schedule::Schedule;
use super::{Class, Driver, Job, Sent, SyncDriver, View, common};
use crate::config::keyword::{
    Keyword,
    Type::{Bool, Text, Words},
};
use crate::config::scope::Params;
use crate::error::Result;
use crate::host::Cx;
use crate::report::Probe;
use crate::resource::Dropped;
use crate::state::gate;
use chrono::{DateTime, Local};

/// Its row in the driver table.
pub const DRIVER: Driver = Driver {
    types: &["btrfs"],
    rtype: "sync.btrfs",
    about: "snapshots of a btrfs subvolume",
    keywords: &[
        Keyword::new("src", Text, "LABEL:SUBVOLUME").required().example("svc1:data"),
        Keyword::new("dst", Text, "LABEL:SUBVOLUME on the target; default: src").example("svc1:data"),
        Keyword::new("target", Words, "nodes, drpnodes").required().example("drpnodes"),
        Keyword::new("recursive", Bool, "accepted, unused").default("false"),
    ],
    build,
};

struct Btrfs {
    src: String,
    dst: String,
    targets: Vec<Class>,
    schedule: Schedule,
}

fn build(p: &Params) -> std::result::Result<Box<dyn SyncDriver>, Dropped> {
    let src = common::required(p, "src")?;
    if !src.contains(':') {
        return Err(Dropped::Error(format!("malformed src value in section {}: {src} (LABEL:SUBVOLUME)", p.section)));
    }
    common::required(p, "target")?;
    let dst = p.text("dst").unwrap_or(src);
    let schedule = Schedule::of(p.config, p.section);
    Ok(Box::new(Btrfs { src: src.into(), dst: dst.into(), targets: common::targets(p), schedule }))
}

impl SyncDriver for Btrfs {
    fn label(&self) -> String {
        format!("btrfs of {} to {}", self.src, common::target_list(&self.targets))
    }

    fn targets(&self) -> &[Class] {
        &self.targets
    }

    fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    fn last(&self, cx: &Cx, _peer: &str) -> Option<DateTime<Local>> {
        common::last(cx, "btrfs")
    }

    fn status(&self, cx: &Cx, _view: &View) -> Probe {
        common::state_file_status(cx, "btrfs", &self.schedule)
    }

    fn question(&self, _cx: &Cx, _peer: &str) -> gate::Detail {
        common::question("btrfs", &self.dst)
    }

    fn send(&self, _cx: &Cx, _job: &Job) -> Result<Sent> {
        Err(common::not_yet("btrfs"))
    }
}
