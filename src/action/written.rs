//! What the data of this node tell: what was written into them after they had arrived whole.

use super::call;
use crate::authority::Here;
use crate::authority::start::Answers;
use crate::authority::written::Newest;
use crate::host::Host;
use crate::log::Logger;
use crate::service::side::side_of;
use crate::service::{Res, Service};
use crate::state::gate::{Answer, Held};
use crate::sync::Side;
use std::path::Path;
use std::time::Duration;

/// How long a look may take by which it is decided whether data are lost.
pub const LONG: Duration = Duration::from_secs(60);
/// How long it may take when a peer waits for the answer.
pub const SHORT: Duration = Duration::from_secs(2);

/// A copy that seems to have been written.
pub struct Found {
    rid: String,
    newest: Newest,
    /// Replications that have files in common with it.
    together: Vec<String>,
}

/// Looks below those copies of `rids` here that are untouched as far as this node remembers.
pub fn look(service: &Service, host: &Host, log: &Logger, here: &Here, rids: &[String], limit: Duration) -> Vec<Found> {
    let untouched = rids.iter().filter(|rid| here.untouched(rid)).filter_map(|rid| service.find(rid));
    let look = |res: &Res| {
        let newest = newest(service, host, log, here, res, limit);
        Found { rid: res.rid.clone(), newest, together: together(service, here, res) }
    };
    untouched.map(look).filter(|f| here.written_after(&f.rid, f.newest, &f.together, [].iter())).collect()
}

/// What was found is an orphan from now on, unless a transfer has begun since, or who has the same disks explains it
/// in `answers`.
pub fn record(here: &mut Here, found: &[Found], answers: &Answers) {
    for Found { rid, newest, together } in found {
        let own = |peer: &String| here.copies.of_node(peer) == here.copy();
        let said = answers.iter().filter(|(peer, _)| own(peer)).filter_map(|(_, a)| a.as_ref().ok().filter(|a| a.known()));
        let held: Vec<Held> = said.filter_map(|a: &Answer| a.rids.get(rid)?.held.clone()).collect();
        if here.written_after(rid, *newest, together, held.iter()) {
            here.written(rid, *newest);
        }
    }
}

/// What the other nodes with the same disks say.
pub fn beside(service: &Service, host: &Host, log: &Logger, here: &Here) -> Answers {
    let question = call::question(here);
    let ask = |peer: &String| call::gate(host, log, &service.name, peer, &question, true, host.peers.patience());
    let others = here.copy().map(|c| c.nodes.as_slice()).unwrap_or_default().iter().filter(|n| **n != here.node);
    others.map(|peer| (peer.clone(), ask(peer))).collect()
}

/// When the data of `res` were written last on this node. Unknown while what they lie on is not mounted.
pub fn newest(service: &Service, host: &Host, log: &Logger, here: &Here, res: &Res, limit: Duration) -> Newest {
    let Some(driver) = res.sync().filter(|_| !res.disable) else { return Newest::Unknown };
    let side = side_of(here, driver, &here.node);
    let dstfs = service.config.section(&res.rid).text("dstfs").filter(|_| side == Side::Target);
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
    let places = |res: &Res| res.sync().map(|d| d.places(side_of(here, d, &here.node))).unwrap_or_default();
    let own = places(res);
    let over = |a: &str, b: &str| Path::new(a).starts_with(b) || Path::new(b).starts_with(a);
    let shares = |other: &Res| places(other).iter().any(|theirs| own.iter().any(|ours| over(ours, theirs)));
    let others = here.copies.rids.iter().filter(|rid| **rid != res.rid).filter_map(|rid| service.find(rid));
    others.filter(|other| shares(other)).map(|other| other.rid.clone()).collect()
}
