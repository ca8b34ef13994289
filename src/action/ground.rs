//! What the data of a service lie on: the disks and filesystems that must be up to send and receive them.

use super::execute::Run;
use super::sync::{side_of, whole_device};
use crate::authority::Here;
use crate::host::device;
use crate::service::Res;
use crate::sync::SyncDriver;
use std::path::Path;

/// The replications that are sent as whole devices, and the device of each on `node`, which is this one.
pub fn devices(run: &Run, here: &Here, node: &str) -> Vec<(String, String)> {
    let whole =
        |(rid, driver): (&String, &dyn SyncDriver)| Some((rid.clone(), whole_device(driver, side_of(here, driver, node))?.to_owned()));
    drivers(run, here).filter_map(whole).collect()
}

fn drivers<'a>(run: &Run<'a>, here: &'a Here) -> impl Iterator<Item = (&'a String, &'a dyn SyncDriver)> {
    let service = run.service;
    here.copies.rids.iter().filter_map(|rid| Some((rid, service.find(rid).filter(|r| !r.disable)?.sync()?)))
}

/// The disks, and the filesystems on which files of the replications lie on `node`, which is this one. Nothing is
/// mounted of a device that is sent as a whole: it could be neither read nor written while it is.
pub fn ground(run: &Run, here: &Here, node: &str) -> Vec<String> {
    let places: Vec<String> = drivers(run, here).flat_map(|(_, driver)| driver.places(side_of(here, driver, node))).collect();
    let whole = devices(run, here, node);
    let staged = drivers(run, here).any(|(_, driver)| driver.target().is_some());
    let wanted = |res: &&Res| match res.group() {
        Some("disk") => !places.is_empty() || staged,
        Some("fs") => {
            let mount_point = res.run().and_then(|r| r.mount_point());
            mount_point.is_some_and(|mnt| places.iter().any(|p| Path::new(p).starts_with(mnt))) && !on(run, res, &whole)
        }
        _ => false,
    };
    run.service.resources.iter().filter(|r| !r.disable && r.run().is_some()).filter(wanted).map(|r| r.rid.clone()).collect()
}

/// The filesystem is on one of the devices.
fn on(run: &Run, res: &Res, whole: &[(String, String)]) -> bool {
    let log = run.log.child(&res.log_name());
    let below = res.run().map(|r| r.devices(&run.service.cx(run.host, &log, res, false))).unwrap_or_default();
    below.iter().any(|own| whole.iter().any(|(_, device)| device::same(&run.host.facts, own, device)))
}
