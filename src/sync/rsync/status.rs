//! The state of an rsync, from the stamps on this node, by the rules of 2014; and what was not confirmed.

use super::{Kind, Rsync};
use crate::authority::words::instant;
use crate::host::Cx;
use crate::report::Probe;
use crate::state::authority::{self, Known};
use crate::state::replica::{self, Replica, State};
use crate::state::stamp;
use crate::status::Status;
use crate::sync::View;
use crate::sync::common::status::{not_confirmed, sent_to, there};
use crate::sync::schedule::from_future;

pub(super) fn status(sync: &Rsync, cx: &Cx, view: &View) -> Probe {
    let probe = by_stamps(sync, cx, view);
    let mut lines = unconfirmed(sync, cx, view);
    if lines.is_empty() {
        return probe;
    }
    if matches!(probe.status, Status::Warn | Status::Down) {
        lines.extend(probe.messages);
    }
    Probe { status: Status::Warn, messages: lines, ..probe }
}

/// Authority has moved to this node.
fn has_taken_over(cx: &Cx) -> bool {
    let holder = authority::read(&cx.host.paths.var, cx.service).known().map(|record| record.holder.clone());
    holder.is_some_and(|h| h.epoch > 0 && [&h.copy, &h.node].contains(&&cx.scope.node))
}

/// Transfers that began and were not confirmed: as the sender remembers them, and as the receiver does.
fn unconfirmed(sync: &Rsync, cx: &Cx, view: &View) -> Vec<String> {
    let var = &cx.host.paths.var;
    if sync.kind != Kind::User || !cx.host.paths.service_var(cx.service).exists() {
        return Vec::new();
    }
    let own = match replica::read(var, cx.service, cx.rid) {
        Known::Known(replica) if replica.node == cx.scope.node => Some(replica),
        _ => None,
    };
    if let Some(receiving) = own.as_ref().filter(|r| r.state == State::InProgress) {
        return vec![partly(cx, receiving)];
    }
    // what it sent when it was the one to send is another's business now
    if own.is_some_and(|r| r.state != State::Live) || !matches!(view.avail_without_app, Status::Up | Status::Na | Status::StdbyUp) {
        return Vec::new();
    }
    sent_to(cx)
        .into_iter()
        .filter_map(|(peer, sent)| {
            let line = not_confirmed(cx, &peer, sent.broken_since?, sent.why.as_deref())?;
            Some(format!("{line}. {}", there(cx, &sent.image, sent.image.frozen_at)))
        })
        .collect()
}

fn partly(cx: &Cx, receiving: &Replica) -> String {
    let now = cx.host.clock.now();
    let from = receiving.from.as_deref().unwrap_or("another node");
    let line = format!(
        "a transfer from {from} is in progress since {}, or was broken off: files may be partly new, partly old",
        instant(receiving.since, now)
    );
    match (&receiving.kept, receiving.image.frozen_at) {
        (Some(kept), Some(at)) => format!("{line}. the copy of {} is kept: {kept}", instant(at, now)),
        (Some(kept), None) => format!("{line}. the copy before is kept: {kept}"),
        (None, _) => line,
    }
}

fn by_stamps(sync: &Rsync, cx: &Cx, view: &View) -> Probe {
    let mut peers: Vec<String> = Vec::new();
    for peer in sync.targets.iter().flat_map(|c| c.peers(cx.scope)) {
        if !peers.contains(&peer) {
            peers.push(peer);
        }
    }
    if peers.is_empty() {
        return Probe::because(Status::Na, "no destination nodes");
    }
    let node = &cx.scope.node;
    let is_target = sync.targets.iter().any(|c| match c {
        crate::sync::Class::Nodes => cx.scope.nodes.contains(node),
        crate::sync::Class::Drpnodes => cx.scope.drpnodes.contains(node),
    });
    let last = |peer: &str| stamp::read(&stamp::of_node(&cx.host.paths.var, peer, cx.service, cx.rid));
    let late = |peer: &str| sync.schedule.late(cx.host.clock.now(), last(peer));
    let wrong_clock = |peer: &str| last(peer).is_some_and(|last| from_future(cx.host.clock.now(), last));
    let told = |mut probe: Probe, peers: &[String]| {
        if peers.iter().any(|p| wrong_clock(p)) {
            probe.messages.push("its stamp is of a time to come: the clock is wrong now or was then".into());
        }
        probe
    };
    let receives = view.flex && cx.scope.flex_primary != *node;
    if view.avail_without_app != Status::Up || receives {
        return match (is_target, late(node)) {
            (false, _) => Probe::because(Status::Na, "passive node not in sync destination nodes"),
            (true, true) => told(Probe::because(Status::Warn, "passive node needs update"), std::slice::from_ref(node)),
            (true, false) => Probe::new(Status::Up),
        };
    }
    if is_target && cx.scope.drpnodes.contains(node) {
        // who has taken over sends to the rest of its site; home gets its data by a giveback
        let sends = sync.kind != Kind::System && has_taken_over(cx);
        peers.retain(|peer| sends && cx.scope.drpnodes.contains(peer));
        if peers.is_empty() {
            return Probe::because(Status::Na, "service up on drp node, sync disabled");
        }
    }
    peers.retain(|peer| late(peer));
    if peers.is_empty() {
        return Probe::new(Status::Up);
    }
    told(Probe::because(Status::Down, format!("{} need update", peers.join(", "))), &peers)
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
