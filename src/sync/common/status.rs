//! The state of a replication by snapshots, from what is on this node alone: the state file of 2014, and what its records
//! and stamps say of each peer.

use super::{last, state_file_status};
use crate::authority::copies::Copies;
use crate::authority::words::instant;
use crate::host::Cx;
use crate::host::lock::Lock;
use crate::report::Probe;
use crate::state::authority::{self, Known};
use crate::state::replica::{self, Image, Sent, State};
use crate::state::stamp;
use crate::status::Status;
use crate::sync::schedule::Schedule;
use crate::sync::{Class, Job, View};
use chrono::{DateTime, Local};
use std::collections::BTreeMap;

/// Whom a section sends to.
pub struct Peers<'a> {
    /// As the section says.
    pub targets: &'a [Class],
    /// Who has the same data as whom: of these one is sent to.
    pub copies: &'a Copies,
    /// What snapshots there are here, as [`replica::Image`] names them. `None`: that cannot be told now.
    pub snapshots: &'a dyn Fn() -> Option<Vec<String>>,
}

/// The row of a section of `driver`.
pub fn status(cx: &Cx, view: &View, driver: &str, schedule: &Schedule, peers: &Peers) -> Probe {
    let mut probe = state_file_status(cx, driver, schedule);
    if !sends(cx, view) {
        return probe;
    }
    if probe.status == Status::Up {
        // else the state file tells that nobody has got anything
        probe.messages.extend(peers.of(cx).iter().filter_map(|nodes| late(cx, driver, schedule, nodes)));
    }
    let sent = sent_to(cx);
    let lost = lost(cx, driver, sent.iter(), peers.snapshots);
    let whole = sent.iter().filter_map(|(peer, sent)| sent.full.as_ref().or_else(|| lost.get(peer)));
    probe.messages.extend(whole.map(|why| format!("full sync needed: {why}")));
    if !probe.messages.is_empty() && probe.status == Status::Up {
        probe.status = Status::Warn;
    }
    probe.messages.extend(sent.iter().filter_map(|(peer, sent)| {
        let whole = sent.image.frozen_at.or_else(|| last(cx, driver, peer));
        let there = if sent.broken_since.is_some() { String::new() } else { format!(". {}", there(cx, &sent.image, whole)) };
        Some(unfinished(cx, peer, sent)? + &there)
    }));
    probe
}

/// What this node remembers of what it sent, of those that are still its peers.
pub fn sent_to(cx: &Cx) -> BTreeMap<String, Sent> {
    let mut sent = replica::read_sent(&cx.host.paths.var, cx.service, cx.rid);
    sent.retain(|peer, _| cx.scope.peers().any(|p| p == peer));
    sent
}

/// Of what was put beside the copy of `peer` since authority came here, and was not confirmed: when that began, and why it
/// failed. It is told until a transfer there succeeds, and is no change of the state: what `peer` has is whole.
pub fn unfinished(cx: &Cx, peer: &str, sent: &Sent) -> Option<String> {
    let tried = sent.tried.as_ref().filter(|tried| tried.epoch == epoch(cx))?;
    not_confirmed(cx, peer, tried.since, sent.why.as_deref())
}

/// Of a transfer to `peer`, begun at `begun`, that was not confirmed. `None`: it may be under way at this moment.
pub fn not_confirmed(cx: &Cx, peer: &str, begun: DateTime<Local>, why: Option<&str>) -> Option<String> {
    let line = format!("last sync to {peer}, begun {}, ", instant(begun, cx.host.clock.now()));
    match why {
        Some(why) => Some(format!("{line}failed: {why}")),
        None if Lock::holder(&cx.host.paths.var.join("lock").join(cx.service)).is_some() => None,
        None => Some(format!("{line}was broken off")),
    }
}

/// What a peer has that was sent `image` last, of `whole`.
pub fn there(cx: &Cx, image: &Image, whole: Option<DateTime<Local>>) -> String {
    let epoch = epoch(cx);
    match whole.filter(|_| image.epoch == epoch) {
        Some(at) => format!("the copy there is of {}", instant(at, cx.host.clock.now())),
        None if epoch == 0 => "there is no whole copy there".into(),
        // it may have held the data itself meanwhile
        None => format!("no transfer there has succeeded since {} holds the data", cx.host.node),
    }
}

fn epoch(cx: &Cx) -> u64 {
    authority::read(&cx.host.paths.var, cx.service).known().map_or(0, |record| record.holder.epoch)
}

/// This node is the one that sends: it has the service, and no copy of another's data.
pub fn sends(cx: &Cx, view: &View) -> bool {
    let own = match replica::read(&cx.host.paths.var, cx.service, cx.rid) {
        Known::Known(own) => own.node != cx.scope.node || own.state == State::Live,
        _ => true,
    };
    own && matches!(view.avail_without_app, Status::Up | Status::Na | Status::StdbyUp)
}

impl Peers<'_> {
    /// The nodes of each copy that is sent to.
    fn of(&self, cx: &Cx) -> Vec<Vec<String>> {
        let own = self.copies.of_node(&cx.scope.node);
        let peers: Vec<String> = self.targets.iter().flat_map(|class| class.peers(cx.scope)).collect();
        let others = self.copies.list.iter().filter(|copy| Some(*copy) != own);
        let sent_to = others.map(|copy| copy.nodes.iter().filter(|node| peers.contains(node)).cloned().collect::<Vec<_>>());
        sent_to.filter(|nodes| !nodes.is_empty()).collect()
    }
}

/// What is to be said of a copy that has got less than the state file tells.
fn late(cx: &Cx, driver: &str, schedule: &Schedule, nodes: &[String]) -> Option<String> {
    let newest = nodes.iter().filter_map(|node| last(cx, driver, node)).max();
    schedule.late(cx.host.clock.now(), newest).then(|| needs(&nodes.join(" or "), newest))
}

fn needs(peer: &str, newest: Option<DateTime<Local>>) -> String {
    match newest {
        Some(at) => format!("{peer} needs update: last sync on {}", stamp::format(at)),
        None => format!("{peer} needs update: nothing was sent there yet"),
    }
}

/// The peers whose snapshot is gone here. Of what another node has sent them since, or under another authority, this one
/// knows nothing.
fn lost<'a>(
    cx: &Cx,
    driver: &str,
    sent: impl Iterator<Item = (&'a String, &'a Sent)>,
    snapshots: &dyn Fn() -> Option<Vec<String>>,
) -> BTreeMap<String, String> {
    let epoch = epoch(cx);
    let own =
        |peer: &str, image: &Image| image.epoch == epoch && image.frozen_at.map(stamp::format) == last(cx, driver, peer).map(stamp::format);
    let asked: Vec<(&String, &str)> =
        sent.filter(|(peer, sent)| own(peer, &sent.image)).filter_map(|(peer, sent)| Some((peer, sent.image.id.as_deref()?))).collect();
    let Some(here) = (!asked.is_empty()).then(snapshots).flatten() else { return BTreeMap::new() };
    let gone = asked.into_iter().filter(|(_, ids)| ids.split(',').any(|id| here.iter().all(|h| h != id)));
    gone.map(|(peer, _)| (peer.clone(), format!("the snapshot that {peer} has is gone on {}", cx.host.node))).collect()
}

/// What is to be sent to the peer of `job` is everything, for a reason that nobody expects: said, and on record until a
/// transfer there has succeeded.
pub fn needs_full(cx: &Cx, job: &Job, why: &str) {
    cx.log.warning(format!("full sync needed: {why}. what {} has stays until all of the new is there", job.peer));
    let noted = replica::change_sent(&cx.host.paths.var, cx.service, cx.rid, &job.peer, |sent| sent.full = Some(why.to_owned()));
    if let Err(e) = noted {
        cx.log.warning(e.to_string());
    }
}
