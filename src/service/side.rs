//! What a node is to a replication: the side that has what `src` names, or the one that has what `dst` names.

use crate::authority::Here;
use crate::sync::{Class, Side, SyncDriver};

/// What `node` is to a replication: home has what `src` names; a target has what `dst` names.
pub fn side_of(here: &Here, driver: &dyn SyncDriver, node: &str) -> Side {
    let at_home = here.copies.home().is_some_and(|home| home.nodes.iter().any(|n| n == node));
    let site = if here.home_site.iter().any(|n| n == node) { Class::Nodes } else { Class::Drpnodes };
    if !at_home && driver.targets().contains(&site) { Side::Target } else { Side::Source }
}
