//! Asks the data of this node what was written into them after they had arrived whole, and puts it on record.

use super::authority::Desk;
use super::{call, sync};
use crate::authority::Here;
use crate::authority::start::Answers;
use crate::authority::written::Newest;
use crate::error::Result;
use crate::host::Host;
use crate::log::Logger;
use crate::service::{Res, Service};
use crate::state::gate::{Answer, Held};
use std::path::Path;
use std::time::Duration;

/// How long a look may take by which it is decided whether data are lost.
pub const LONG: Duration = Duration::from_secs(60);
/// How long it may take when a peer waits for the answer.
const SHORT: Duration = Duration::from_secs(2);

/// Looks below every copy here that is untouched as far as this node remembers. What was written since is an orphan
/// from now on, on record. `answers`: what the peers said; without, who has the same disks is asked if that matters.
pub fn look(desk: &mut Desk, answers: Option<&Answers>, limit: Duration) -> Result<()> {
    let rids: Vec<String> = desk.here.rids();
    look_at(desk, &rids, answers, limit)
}

/// The same for who only looks: nothing is written, and nobody else is asked; of shared disks nothing is found out then.
pub fn glance(desk: &mut Desk) -> Result<()> {
    let alone = desk.here.copy().is_some_and(|c| c.nodes.len() == 1);
    if alone && desk.dry { look(desk, None, SHORT) } else { Ok(()) }
}

/// The same, of the replications `rids` alone.
pub fn look_at(desk: &mut Desk, rids: &[String], answers: Option<&Answers>, limit: Duration) -> Result<()> {
    if !desk.here.copies.replicated() {
        return Ok(());
    }
    let untouched = rids.iter().filter(|rid| desk.here.untouched(rid)).filter_map(|rid| desk.service.find(rid));
    let found: Vec<(String, Newest, Vec<String>)> = untouched
        .map(|res| {
            let newest = newest(desk.service, desk.host, desk.log, &desk.here, res, limit);
            (res.rid.clone(), newest, together(desk.service, &desk.here, res))
        })
        .filter(|(rid, newest, together)| desk.here.written_after(rid, *newest, together, [].iter()))
        .collect();
    if found.is_empty() {
        return Ok(());
    }
    let asked = if answers.is_none() { beside(desk) } else { Answers::new() };
    let answers = answers.unwrap_or(&asked);
    desk.change(|here| {
        for (rid, newest, together) in &found {
            let own = |peer: &String| here.copies.of_node(peer) == here.copy();
            let said = answers.iter().filter(|(peer, _)| own(peer)).filter_map(|(_, a)| a.as_ref().ok().filter(|a| a.known()));
            let held: Vec<Held> = said.filter_map(|a: &Answer| a.rids.get(rid)?.held.clone()).collect();
            // again: a transfer may have begun since
            if here.written_after(rid, *newest, together, held.iter()) {
                here.written(rid, *newest);
            }
        }
    })
}

/// What the other nodes with the same disks say.
fn beside(desk: &Desk) -> Answers {
    let question = call::question(&desk.here);
    let ask = |peer: &String| call::gate(desk.host, desk.log, &desk.service.name, peer, &question, true, call::PATIENCE);
    let others = desk.here.copy().map(|c| c.nodes.as_slice()).unwrap_or_default().iter().filter(|n| **n != desk.here.node);
    others.map(|peer| (peer.clone(), ask(peer))).collect()
}

/// When the data of `res` were written last on this node. Unknown while what they lie on is not mounted.
pub fn newest(service: &Service, host: &Host, log: &Logger, here: &Here, res: &Res, limit: Duration) -> Newest {
    let Some(driver) = res.sync().filter(|_| !res.disable) else { return Newest::Unknown };
    let side = sync::side_of(here, driver, &here.node);
    let dstfs = service.config.section(&res.rid).text("dstfs").filter(|_| side == crate::sync::Side::Target);
    let missing = |fs: &str| host.facts.mount_at(&host.facts.real_path(fs.trim_end_matches('/'))).is_none();
    if dstfs.is_some_and(missing) || driver.places(side).iter().any(|place| unmounted(service, host, place).is_some()) {
        return Newest::Unknown;
    }
    driver.newest(&service.cx(host, &log.child(&res.log_name()), res, false), side, limit)
}

/// The filesystem of the service that `path` lies on, when it is not mounted here, and where it belongs.
pub fn unmounted<'a>(service: &'a Service, host: &Host, path: &str) -> Option<(&'a Res, &'a str)> {
    let facts = &host.facts;
    let covers = |mnt: &str| {
        let (real, real_path) = (facts.real_path(mnt), facts.real_path(path));
        (Path::new(path).starts_with(mnt) || Path::new(&real_path).starts_with(&real)) && facts.mount_at(&real).is_none()
    };
    let mounts = service.resources.iter().filter(|r| !r.disable).filter_map(|r| Some((r, r.run()?.mount_point()?)));
    mounts.filter(|(_, mnt)| covers(mnt)).max_by_key(|(_, mnt)| mnt.len())
}

/// The replications that have files of `res` in common on this node.
fn together(service: &Service, here: &Here, res: &Res) -> Vec<String> {
    let places = |res: &Res| res.sync().map(|d| d.places(sync::side_of(here, d, &here.node))).unwrap_or_default();
    let own = places(res);
    let over = |a: &str, b: &str| Path::new(a).starts_with(b) || Path::new(b).starts_with(a);
    let shares = |other: &Res| places(other).iter().any(|theirs| own.iter().any(|ours| over(ours, theirs)));
    let others = here.copies.rids.iter().filter(|rid| **rid != res.rid).filter_map(|rid| service.find(rid));
    others.filter(|other| shares(other)).map(|other| other.rid.clone()).collect()
}
