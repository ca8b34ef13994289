//! sync.dds: changed chunks of a logical volume. Seen by this version; sent by a later one.

pub mod chain;
mod target;
mod words;

use super::schedule::Schedule;
use super::{Class, Driver, Job, Sent, SyncDriver, Target, View, common};
use crate::config::keyword::{
    Keyword,
    Type::{Int, Text, Words},
};
use crate::config::scope::Params;
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
    redirect: |way| Err(common::no_way_back(way, "dds")),
};

struct Dds {
    cold: common::Cold,
    receiver: target::Receiver,
}

fn build(p: &Params) -> Result<Box<dyn SyncDriver>, Dropped> {
    let cold = common::Cold::of(p, "dds")?;
    let receiver = target::Receiver::of(p, &cold.src, &cold.dst);
    Ok(Box::new(Dds { cold, receiver }))
}

impl SyncDriver for Dds {
    fn label(&self) -> String {
        self.cold.label()
    }

    fn targets(&self) -> &[Class] {
        self.cold.targets()
    }

    fn schedule(&self) -> &Schedule {
        self.cold.schedule()
    }

    fn last(&self, cx: &Cx, peer: &str) -> Option<DateTime<Local>> {
        self.cold.last(cx, peer)
    }

    fn status(&self, cx: &Cx, view: &View) -> Probe {
        self.cold.status(cx, view)
    }

    fn question(&self, cx: &Cx, peer: &str) -> gate::Detail {
        self.cold.question(cx, peer)
    }

    fn send(&self, cx: &Cx, job: &Job) -> crate::error::Result<Sent> {
        self.cold.send(cx, job)
    }

    fn target(&self) -> Option<&dyn Target> {
        Some(&self.receiver)
    }
}
