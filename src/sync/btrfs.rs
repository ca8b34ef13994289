//! sync.btrfs: snapshots of a btrfs subvolume. Seen by this version; sent by a later one.

use super::{Driver, SyncDriver, common};
use crate::config::keyword::{
    Keyword,
    Type::{Bool, Text, Words},
};
use crate::config::scope::Params;
use crate::resource::Dropped;

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
    redirect: |way| Err(common::no_way_back(way, "btrfs")),
};

fn build(p: &Params) -> Result<Box<dyn SyncDriver>, Dropped> {
    let cold = common::Cold::of(p, "btrfs")?;
    if !cold.src.contains(':') {
        return Err(Dropped::Error(format!("malformed src value in section {}: {} (LABEL:SUBVOLUME)", p.section, cold.src)));
    }
    Ok(Box::new(cold))
}
