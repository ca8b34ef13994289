//! Someone chooses between two histories: one is kept, the other given up.

use super::super::Refusal;
use super::super::words::instant;
use super::own::{beside, unsettled};
use super::{Go, How, View, answered, data_of, same_site, taken};
use crate::state::replica::State;

/// Someone chooses: what `node` has written is given up, the data here are kept.
pub(super) fn abandon(view: &View, how: &How, node: &str) -> Result<Go, Refusal> {
    let here = view.here;
    let (service, me) = (&here.service, &here.node);
    let refused = |why: String, remedy: String| Refusal {
        what: format!("the data of {node} are not given up"),
        why,
        stake: format!("the writes of {node}"),
        remedy,
    };
    let see = format!("on {me}: svcmgr -s {service} where");
    let Some(loser) = here.copies.of_node(node) else {
        return Err(refused(format!("{node} is not a node of {service}"), see));
    };
    if Some(loser) == here.copy() {
        return Err(refused(format!("{node} has the same data as {me}"), see));
    }
    let mut go = taken(view, Vec::new());
    for peer in &loser.nodes {
        match view.answers.get(peer) {
            Some(Ok(answer)) if answer.running == Some(true) || answer.busy.is_some() => go.stop.push(peer.clone()),
            Some(Ok(_)) => {}
            _ if how.force => go.warnings.push(format!("{peer} does not answer: {service} may be running there (--force)")),
            _ => {
                return Err(refused(
                    format!("{peer} does not answer: {service} may be running there"),
                    format!("on {me}: svcmgr -s {service} takeover --abandon {node} --force   (only if {peer} is dead)"),
                ));
            }
        }
    }
    let others = answered(view)
        .find(|(peer, a)| a.running == Some(true) && !loser.nodes.contains(peer) && Some(*peer) != Some(me) && !(same_site(view, peer)));
    if let Some((peer, _)) = others {
        return Err(refused(format!("{service} is up on {peer}, which is neither"), format!("on {peer}: svcmgr -s {service} stop")));
    }
    for rid in &here.rids() {
        let mut data = here.data(rid);
        let unsettled = unsettled(view, rid).map(|_| State::InProgress);
        data.state = beside(view, rid).or(unsettled).or(data.state);
        if matches!(data.state, Some(State::InProgress | State::Torn | State::None) | None) && !how.force {
            return Err(refused(
                format!("{rid} is not a whole copy on {me}"),
                format!(
                    "to keep the data of {node}, on {node}: svcmgr -s {service} takeover --abandon {me}; to keep what {me} has all the same, on {me}: svcmgr -s {service} takeover --abandon {node} --force"
                ),
            ));
        }
    }
    go.abandoned.push(loser.name.clone());
    let replica = here.rids().iter().all(|rid| here.data(rid).state == Some(State::Replica));
    let of = data_of(here).filter(|_| replica).map_or_else(String::new, |at| format!(", which are of {}", instant(at, here.now)));
    go.warnings.push(format!("what is on {node} and not on {me} is given up, as you say (--abandon): the data of {me} are kept{of}"));
    Ok(go)
}
