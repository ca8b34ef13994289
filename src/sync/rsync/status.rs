//! The state of an rsync, from the stamps on this node, by the rules of 2014.

use super::Rsync;
use crate::host::Cx;
use crate::report::Probe;
use crate::state::stamp;
use crate::status::Status;
use crate::sync::View;
use crate::sync::schedule::from_future;

pub(super) fn status(sync: &Rsync, cx: &Cx, view: &View) -> Probe {
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
        return Probe::because(Status::Na, "service up on drp node, sync disabled");
    }
    peers.retain(|peer| late(peer));
    if peers.is_empty() {
        return Probe::new(Status::Up);
    }
    told(Probe::because(Status::Down, format!("{} need update", peers.join(", "))), &peers)
}
