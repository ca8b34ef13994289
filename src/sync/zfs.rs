//! sync.zfs: snapshots of a zfs dataset. Seen by this version; sent by a later one.

use super::{Driver, SyncDriver, common};
use crate::config::keyword::{
    Keyword,
    Type::{Bool, Text, Words},
};
use crate::config::scope::Params;
use crate::resource::Dropped;

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
    redirect: |way| Err(common::no_way_back(way, "zfs")),
};

fn build(p: &Params) -> Result<Box<dyn SyncDriver>, Dropped> {
    let cold = common::Cold::of(p, "zfs")?;
    Ok(Box::new(cold))
}
