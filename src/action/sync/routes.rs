//! Which way data go from this node to a peer: as the service file says, back home, or on to the next copy.

use crate::authority::Here;
use crate::service::side::side_of;
use crate::service::{Res, Service, drivers};
use crate::sync::{Side, SyncDriver, Way};
use std::collections::BTreeMap;

/// The syncs that go another way than the service file says, by rid and peer.
#[derive(Default)]
pub(super) struct Routes(BTreeMap<(String, String), Result<Box<dyn SyncDriver>, String>>);

impl Routes {
    /// Of all replications of data, to every peer with another copy.
    pub(super) fn of(service: &Service, here: &Here) -> Self {
        let mut routes = Self::default();
        for rid in &here.copies.rids {
            let Some(res) = service.find(rid) else { continue };
            let Some(driver) = res.sync() else { continue };
            let from = side_of(here, driver, &here.node);
            for peer in here.copies.nodes().filter(|n| here.copies.of_node(n) != here.copy()) {
                let to = side_of(here, driver, peer);
                if (from, to) == (Side::Source, Side::Target) {
                    continue;
                }
                let theirs = service.config.impersonate(peer);
                let way = Way { here: service.config.section(rid), there: theirs.section(rid), from, to };
                let ty = service.config.text(rid, "type").unwrap_or_default();
                let made = drivers::sync(ty).map_or_else(|| Err(format!("{rid}: unknown sync type {ty}")), |d| (d.redirect)(&way));
                routes.0.insert((rid.clone(), peer.clone()), made);
            }
        }
        routes
    }

    /// What sends `res` to `peer`. The error says why nothing does, and what to set.
    pub(super) fn driver<'a>(&'a self, res: &'a Res, peer: &str) -> Result<&'a dyn SyncDriver, String> {
        match self.0.get(&(res.rid.clone(), peer.to_owned())) {
            Some(Ok(driver)) => Ok(driver.as_ref()),
            Some(Err(why)) => Err(why.clone()),
            None => res.sync().ok_or_else(|| format!("{} is not a sync", res.rid)),
        }
    }
}
