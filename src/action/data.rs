//! The data on this node before anything is done with them: a broken apply is finished, what others wrote is found.

use super::authority::Desk;
use super::execute::Run;
use super::sync::side_of;
use crate::error::{Error, Result};
use crate::host::Cx;
use crate::host::device::{self, Place};
use crate::host::lock::Lock;
use crate::log::Logger;
use crate::state::authority::Known;
use crate::state::replica::{Image, State};
use crate::sync::{Recovered, Side, Target};
use std::collections::BTreeMap;
use std::time::Duration;

/// A replication with a receiving side of its own, on this node.
struct Spot<'a> {
    desk: &'a Desk<'a>,
    log: Logger,
    rid: &'a str,
    target: &'a dyn Target,
    side: Side,
}

impl<'a> Spot<'a> {
    fn of(desk: &'a Desk, rid: &'a str) -> Option<Self> {
        let res = desk.service.find(rid).filter(|r| !r.disable)?;
        let driver = res.sync()?;
        let side = side_of(&desk.here, driver, &desk.here.node);
        Some(Self { desk, log: desk.log.child(&res.log_name()), rid, target: driver.target()?, side })
    }

    fn cx(&self) -> Cx<'_> {
        let (service, host) = (self.desk.service, self.desk.host);
        Cx { host, log: &self.log, service: &service.name, scope: &service.config.scope, rid: self.rid, force: false }
    }
}

/// Finishes the apply of `rid` that was broken off here, if one was. To be called under the lock of its receiver. An
/// error: it could not be, and may be tried again.
pub fn finish(desk: &mut Desk, rid: &str) -> Result<()> {
    let Some(image) = desk.here.pending(rid).cloned() else { return Ok(()) };
    let Some(spot) = Spot::of(desk, rid) else { return Ok(()) };
    let place = spot.target.place(spot.side).to_owned();
    let ended = spot.target.recover(&spot.cx(), spot.side, &image)?;
    let log = spot.log.clone();
    match ended {
        Recovered::Whole => {
            spot.target.became(&spot.cx(), &image)?;
            let witness = if desk.here.holds() { None } else { spot.target.witness(&spot.cx(), spot.side) };
            desk.change(|here| here.applied(rid, witness))?;
            log.info(format!("{place} is whole"));
            Ok(())
        }
        Recovered::Lost => {
            desk.change(|here| here.torn(rid))?;
            Err(Error::text(format!(
                "{place} is partly old, partly new, and what is missing is not on {} any more. from the holder: svcmgr -s {} sync resync --rid {rid}",
                desk.here.node, desk.service.name
            )))
        }
    }
}

/// The same for all data here, while no receiver is at work. What cannot be finished now is said, and is no failure.
pub fn finish_all(desk: &mut Desk) {
    if desk.dry {
        return;
    }
    for rid in desk.here.copies.rids.clone() {
        if desk.here.pending(&rid).is_none() {
            continue;
        }
        if Spot::of(desk, &rid).is_some_and(|spot| !spot.target.at_hand(&spot.cx(), spot.side)) {
            continue; // who starts here finishes it, and who receives
        }
        let path = desk.host.paths.var.join("lock").join(format!("{}.recv.{rid}", desk.service.name));
        let done = Lock::try_for(&path, Duration::ZERO).and_then(|lock| match lock {
            // it may have been finished meanwhile
            Ok(_lock) => desk.change(|_| ()).and_then(|()| finish(desk, &rid)),
            Err(held) => Err(Error::text(format!("a receiver is at work ({held})"))),
        });
        if let Err(e) = done {
            desk.log.warning(format!("{rid}: what was being applied is not finished yet: {e}"));
        }
    }
}

/// Looks whether somebody has written to the untouched copy of `rid`: mounted it, most likely. It is an orphan then, on
/// record. What cannot be looked at now is taken for untouched.
pub fn witness(desk: &mut Desk, rid: &str) -> Result<()> {
    let asked = desk.here.betrayed(rid, "") && desk.here.data(rid).state == Some(State::Replica);
    let Some(spot) = Spot::of(desk, rid).filter(|_| asked) else { return Ok(()) };
    match spot.target.witness(&spot.cx(), spot.side) {
        Some(now) if desk.here.betrayed(rid, &now) => desk.change(|here| {
            if here.betrayed(rid, &now) {
                here.foreign(rid);
            }
        }),
        _ => Ok(()),
    }
}

/// The same of data of which this node remembers nothing: who sent them last may know them again.
pub fn digest(desk: &Desk, rid: &str) -> Option<String> {
    let forgotten = matches!(desk.here.replicas.get(rid), Some(Known::Absent) | None);
    let spot = Spot::of(desk, rid).filter(|_| forgotten && !desk.here.holds())?;
    spot.target.witness(&spot.cx(), spot.side)
}

/// The file that held the data of `rid` is gone: there is no copy any more. To be called when what it lies on is known to
/// be there; a device that is not there comes again.
pub fn vanished(desk: &mut Desk, rid: &str) -> Result<()> {
    let Some(spot) = Spot::of(desk, rid).filter(|_| !desk.here.holds()) else { return Ok(()) };
    let place = spot.target.place(spot.side);
    if !place.starts_with('/')
        || place.starts_with("/dev/")
        || device::look(place) != Place::Missing
        || desk.here.data(rid).state == Some(State::None)
    {
        return Ok(());
    }
    spot.log.warning(format!("{place} is gone: there is no copy of {rid} on {} any more", desk.host.node));
    desk.change(|here| here.vanished(rid))
}

/// What this node knows of its data before it decides on a start: applies finished, if the disks are there, and what
/// others wrote.
pub fn settle(run: &Run) -> Result<()> {
    let mut desk = Desk::load(run.service, run.host, run.log, run.options.dry_run, false);
    if !desk.here.copies.replicated() {
        return Ok(());
    }
    finish_all(&mut desk);
    desk.here.rids().iter().try_for_each(|rid| witness(&mut desk, rid))
}

/// For a start of what is always on, when the disks are there: applies are finished. What cannot be is said.
pub fn standby(run: &Run) -> Result<()> {
    let mut desk = Desk::load(run.service, run.host, run.log, false, false);
    if desk.here.copies.replicated() {
        finish_all(&mut desk);
    }
    Ok(())
}

/// For a start that was cleared, receivers kept out, when the disks are there and nothing is mounted: applies are
/// finished, or nothing starts. Of the `images` that authority has come to this node with, the drivers may note what is
/// written from now on.
pub fn begin(run: &Run, images: &[(String, Image)]) -> Result<()> {
    let mut desk = Desk::load(run.service, run.host, run.log, false, true);
    if !desk.here.copies.replicated() {
        return Ok(());
    }
    for rid in desk.here.copies.rids.clone() {
        finish(&mut desk, &rid)?;
        let Some(spot) = Spot::of(&desk, &rid).filter(|_| desk.here.holds()) else { continue };
        let image = images.iter().find(|(of, _)| *of == rid);
        spot.target.discard(&spot.cx(), image.is_some())?;
        if let Some((_, image)) = image {
            spot.target.gained(&spot.cx(), spot.side, image);
        }
    }
    Ok(())
}

/// Before authority goes from here by our own doing, when all is stopped: what tells later of each replication that
/// somebody has written to what is left here.
pub fn given(desk: &Desk) -> BTreeMap<String, String> {
    let told = |rid: &String| Spot::of(desk, rid).and_then(|spot| Some((rid.clone(), spot.target.given(&spot.cx(), spot.side)?)));
    desk.here.copies.rids.iter().filter_map(told).collect()
}

/// What `rid` becomes now that its sender has confirmed all of it: the driver's own record, and what tells later that
/// somebody else has written.
pub fn became(desk: &mut Desk, rid: &str, image: &Image) -> Result<()> {
    let Some(spot) = Spot::of(desk, rid) else { return Ok(()) };
    spot.target.became(&spot.cx(), image)?;
    let witness = spot.target.witness(&spot.cx(), spot.side);
    desk.change(|here| here.witnessed(rid, witness))
}
