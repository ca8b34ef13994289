//! sync.dds: changed chunks of a logical volume. Seen by this version; sent by a later one.

use super::schedule::Schedule;
use super::{Class, Driver, Job, Sent, SyncDriver, View, common};
use crate::config::keyword::{
    Keyword,
    Type::{Int, Text, Words},
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
    types: &["dds"],
    rtype: "sync.dds",
    about: "changed chunks of a logical volume",
    keywords: &[
        Keyword::new("src", Text, "logical volume").required().example("/dev/mapper/vg1-data"),
        Keyword::new("dst", Text, "device on the target, as that node resolves it; default: src").example("/dev/mapper/vg1-data"),
        Keyword::new("target", Words, "nodes, drpnodes").required().example("drpnodes"),
        Keyword::new("snap_size", Int, "MB, size of the snapshots; default: a tenth of the volume"),
        Keyword::new("sender", Text, "accepted, unused"),
        Keyword::new("delta_store", Text, "folder on the target for deltas on their way"),
    ],
    build,
};

struct Dds {
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
    Ok(Box::new(Dds { src: src.into(), dst: dst.into(), targets: common::targets(p), schedule }))
}

impl SyncDriver for Dds {
    fn label(&self) -> String {
        format!("dds of {} to {}", self.src, common::target_list(&self.targets))
    }

    fn targets(&self) -> &[Class] {
        &self.targets
    }

    fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    fn last(&self, cx: &Cx, _peer: &str) -> Option<DateTime<Local>> {
        common::last(cx, "dds")
    }

    fn status(&self, cx: &Cx, _view: &View) -> Probe {
        common::state_file_status(cx, "dds", &self.schedule)
    }

    fn question(&self, _cx: &Cx, _peer: &str) -> gate::Detail {
        common::question("dds", &self.dst)
    }

    fn send(&self, _cx: &Cx, _job: &Job) -> Result<Sent> {
        Err(common::not_yet("dds"))
    }
}
