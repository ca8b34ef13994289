//! What the data on this node are: a whole copy, an orphan, a broken transfer.

use super::super::Refusal;
use super::super::here::Data;
use super::super::words::{instant, span};
use super::{Go, How, View, answered, giver, over, same_site, send, since};
use crate::state::authority::Holder;
use crate::state::replica::State;

/// What is here can be started from.
pub(super) fn own_data(view: &View, how: &How, holder: &Holder, go: &mut Go) -> Result<(), Refusal> {
    for rid in &view.here.rids() {
        let mut data = view.here.data(rid);
        let broken = beside(view, rid).filter(|_| data.state == Some(State::Replica));
        data.state = broken.or(data.state);
        match data.state {
            Some(State::Replica | State::Live) => {}
            Some(State::Orphan) => return Err(orphan(view, holder, &data)),
            // what is here is brought up to date before anything starts
            Some(_) if how.takeover && giver(view, holder).is_some() => {}
            _ if how.force => go.warnings.push(not_whole(view, rid, &data)),
            _ => return Err(broken_off(view, holder, rid, &data)),
        }
    }
    rounds(view, go);
    Ok(())
}

/// The holder was sent something else after it was given authority, before it heard of it.
pub(super) fn handed_and_broken(view: &View, holder: &Holder) -> Result<(), Refusal> {
    let here = view.here;
    let (service, node) = (&here.service, &here.node);
    let Some((rid, broken)) = here.rids().iter().find_map(|rid| Some((rid.clone(), here.broken(rid)?.clone()))) else { return Ok(()) };
    let from = broken.from.unwrap_or_else(|| "another node".into());
    Err(Refusal {
        what: format!("{service} is not started on {node}: {rid} is not a whole copy"),
        why: format!(
            "{}; a transfer from {from} was under way at {} and was not confirmed: files may be partly new, partly old",
            since(here, holder),
            instant(broken.since, here.now)
        ),
        stake: format!("consistent data on {node}, or what {from} has"),
        remedy: format!(
            "to keep the data of {from}, on {from}: svcmgr -s {service} takeover --abandon {node}; to start with what is here, on {node}: svcmgr -s {service} start --force"
        ),
    })
}

pub(super) fn orphan(view: &View, holder: &Holder, data: &Data) -> Refusal {
    let (here, who) = (view.here, &holder.node);
    let (service, node) = (&here.service, &here.node);
    let of = data.image.frozen_at.map_or_else(String::new, |at| format!(" of {}", instant(at, here.now)));
    // after a crash nobody knows the last write
    let later = if here.last_run.as_ref().is_some_and(|r| r.crashed) { " or later" } else { "" };
    let until = data.written_until.map_or_else(String::new, |at| format!(", until {}{later}", instant(at, here.now)));
    Refusal {
        what: format!("{service} is not started on {node}: its data are not the newest any more"),
        why: since(here, holder),
        stake: format!(
            "{} of writes on {who}; and what {node} wrote after its last sync{of}{until}, which only {node} has",
            span(here.now - holder.since)
        ),
        remedy: format!(
            "{}; to keep the data of {node} instead: on {node}: svcmgr -s {service} takeover --abandon {who}",
            over(view, holder)
        ),
    }
}

pub(super) fn kept(data: &Data) -> String {
    data.kept.as_ref().map(|k| format!("; what was here before is kept in {k}")).unwrap_or_default()
}

/// The warning of who starts all the same.
pub(super) fn not_whole(view: &View, rid: &str, data: &Data) -> String {
    let kept = kept(data);
    match (data.state, &data.fault) {
        (Some(State::InProgress), _) => {
            format!("{rid}: a transfer was under way and was not confirmed: files may be partly new, partly old{kept}")
        }
        (Some(State::Torn), _) => format!("{rid}: the first copy is not complete, data are missing"),
        (_, Some(fault)) => format!("{rid}: it is not known what {} has: {fault}", view.here.node),
        _ => format!("{rid}: no copy was ever received on {}: it starts with what is there", view.here.node),
    }
}

pub(super) fn broken_off(view: &View, holder: &Holder, rid: &str, data: &Data) -> Refusal {
    let (here, who) = (view.here, &holder.node);
    let (service, node) = (&here.service, &here.node);
    let (why, stake, remedy) = match (data.state, &data.fault) {
        (Some(State::InProgress), _) => (
            format!("a transfer from {who} was under way and was not confirmed: files may be partly new, partly old{}", kept(data)),
            match data.image.frozen_at {
                Some(at) => format!("consistent data: the last whole copy here was of {}", instant(at, here.now)),
                None => "consistent data: there was never a whole copy here".into(),
            },
            send(view, holder, "sync update --force"),
        ),
        (Some(State::Torn), _) => {
            ("its first copy is not complete".into(), "all data that are missing".into(), send(view, holder, "sync full"))
        }
        (_, Some(fault)) => {
            (format!("{fault}; {}", since(here, holder)), format!("the data of {service}, which are on {who}"), over(view, holder))
        }
        _ => (
            format!("no copy was ever received on {node}; {}", since(here, holder)),
            format!("the data of {service}, which are on {who}"),
            send(view, holder, "sync full"),
        ),
    };
    Refusal {
        what: format!("{service} is not started on {node}: {rid} is not a whole, current copy"),
        why,
        stake,
        remedy: format!("{remedy}; if {who} is lost, on {node}: svcmgr -s {service} start --force"),
    }
}

/// What a node with the same disks says of them, if a transfer to it was under way: its files know, ours do not.
pub(super) fn beside(view: &View, rid: &str) -> Option<State> {
    let mut held = answered(view).filter(|(peer, _)| same_site(view, peer)).filter_map(|(_, a)| a.rids.get(rid)?.held.as_ref()?.state);
    held.find(|state| matches!(state, State::InProgress | State::Torn))
}

pub(super) fn rounds(view: &View, go: &mut Go) {
    let here = view.here;
    let images: Vec<_> = here.rids().into_iter().map(|rid| (here.data(&rid).image, rid)).map(|(image, rid)| (rid, image)).collect();
    let first = images.first().and_then(|(_, i)| i.round.clone());
    if images.iter().any(|(_, i)| i.round != first) {
        let said: Vec<String> = images
            .iter()
            .map(|(rid, i)| format!("{rid} of {}", i.frozen_at.map_or_else(|| "an unknown time".into(), |at| instant(at, here.now))))
            .collect();
        go.warnings.push(format!("the copies here are of different times: {}", said.join(", ")));
    }
}
