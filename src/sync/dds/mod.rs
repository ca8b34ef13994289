//! sync.dds: changed chunks of a logical volume. Seen by this version; sent by a later one.

pub mod chain;

use super::{Driver, SyncDriver, common};
use crate::config::keyword::{
    Keyword,
    Type::{Int, Text, Words},
};
use crate::config::scope::Params;
use crate::resource::Dropped;

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

fn build(p: &Params) -> Result<Box<dyn SyncDriver>, Dropped> {
    let cold = common::Cold::of(p, "dds")?;
    Ok(Box::new(cold))
}
