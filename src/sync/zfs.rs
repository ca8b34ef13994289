//! sync.zfs: snapshots of a zfs dataset. Seen by this version; sent by a later one.

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
    types: &["zfs"],
    rtype: "sync.zfs",
    about: "snapshots of a zfs dataset",
    keywords: &[
        Keyword::new("src", Text, "dataset").required().example("pool1/data"),
        Keyword::new("dst", Text, "dataset on the target; default: src").example("pool1/data"),
        Keyword::new("target", Words, "nodes, drpnodes").required().example("drpnodes"),
        Keyword::new("recursive", Bool, "with the datasets below").default("true").unscoped(),
    ],
    build,
};

struct Zfs {
    src: String,
    dst: String,
    targets: Vec<Class>,
    schedule: Schedule,
}

fn build(p: &Params) -> std::result::Result<Box<dyn SyncDriver>, Dropped> {
    let src = common::required(p, "src")?;
    common::required(p, "target")?;
    let dst = p.text("dst").unwrap_or(src);
    let schedule = Schedule::of(p.config, p.section);
    Ok(Box::new(Zfs { src: src.into(), dst: dst.into(), targets: common::targets(p), schedule }))
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

    fn last(&self, cx: &Cx, _peer: &str) -> Option<DateTime<Local>> {
        common::last(cx, "zfs")
    }

    fn status(&self, cx: &Cx, _view: &View) -> Probe {
        common::state_file_status(cx, "zfs", &self.schedule)
    }

    fn question(&self, _cx: &Cx, _peer: &str) -> gate::Detail {
        common::question("zfs", &self.dst)
    }

    fn send(&self, _cx: &Cx, _job: &Job) -> Result<Sent> {
        Err(common::not_yet("zfs"))
    }
}
