//! What the data on this node are: a whole copy, an orphan, a broken transfer.

use super::super::Refusal;
use super::super::here::Data;
use super::super::words::{instant, span};
use super::{Go, How, View, answered, at, came, giver, nodes_of, over, same_site, send, since, skew};
use crate::state::authority::{Holder, Known};
use crate::state::gate::{Answer, Broken, Held};
use crate::state::replica::{Replica, State};
use chrono::{DateTime, Local};

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
    let found = |rid: &String| Some((rid.clone(), unsettled(view, rid)?));
    let Some((rid, broken)) = here.rids().iter().find_map(found) else { return Ok(()) };
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
    if let Some(until) = data.written_until.filter(|at| !here.ran_until(*at)) {
        return touched(view, holder, data, until);
    }
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

/// The data say what no record does: they were written here after the last copy had arrived.
fn touched(view: &View, holder: &Holder, data: &Data, until: DateTime<Local>) -> Refusal {
    let (here, who) = (view.here, &holder.node);
    let (service, node) = (&here.service, &here.node);
    let (until, of) = (instant(until, here.now), data.image.frozen_at.map(|at| instant(at, here.now)));
    let silent = nodes_of(view, holder).is_some_and(|c| c.nodes.iter().any(|n| view.answers.get(n).is_some_and(Result::is_err)));
    let force = if silent { format!(" --force   (only if {who} is dead)") } else { String::new() };
    let theirs = match at(view, holder) {
        _ if here.copies.home() == here.copy() => over(view, holder),
        (up, true) => format!("on {up}: svcmgr -s {service} sync full --abandon {node}   (makes a fresh copy here)"),
        (down, false) => format!("on {down}: svcmgr -s {service} start   (for a copy on {node} then: sync full --abandon {node})"),
    };
    Refusal {
        what: format!("{service} is not started on {node}: its data were written here after they had arrived"),
        why: format!(
            "the copy{} was changed until {until}, and not by a transfer: {service} ran here, which {node} has forgotten, or it was mounted and written by hand. {}",
            of.as_ref().map_or_else(String::new, |of| format!(" of {of}")),
            since(here, holder)
        ),
        stake: format!(
            "what {node} has of its own, until {until}, or what {who} wrote{}: someone has to choose",
            of.map_or_else(String::new, |of| format!(" after {of}"))
        ),
        remedy: format!(
            "to keep the data of {node}, on {node}: svcmgr -s {service} takeover --abandon {who}{force}; to keep those of {who}, {theirs}"
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
    let lost = match whole_elsewhere(view, holder) {
        Some((peer, copy)) => {
            format!("on {peer}: svcmgr -s {service} start   ({copy}); or, with what is here, on {node}: svcmgr -s {service} start --force")
        }
        None => format!("on {node}: svcmgr -s {service} start --force"),
    };
    Refusal {
        what: format!("{service} is not started on {node}: {rid} is not a whole, current copy"),
        why,
        stake,
        remedy: format!("{remedy}; if {who} is lost, {lost}"),
    }
}

/// A node other than the holder's that answers and has all data whole, the newest; and what it has. What has come to our
/// disks by way of another node counts when it came after what broke off here.
fn whole_elsewhere<'a>(view: &View<'a>, holder: &Holder) -> Option<(&'a String, String)> {
    let (here, holding) = (view.here, nodes_of(view, holder));
    let others = answered(view).filter(|(peer, a)| here.copies.of_node(peer) != holding && a.unsure.is_none());
    let whole = others.filter_map(|(peer, answer)| {
        let rids = here.copies.rids.iter().filter(|rid| here.copies.reaches(rid, peer));
        let images: Option<Vec<_>> = rids.map(|rid| whole_at(view, peer, answer, rid)).collect();
        Some((images?.into_iter().min()?, peer))
    });
    let ((_, at), peer) = whole.max()?;
    let of = format!("of {}, {} old", instant(at, here.now), span(here.now - at));
    let came = format!("a whole copy, {of}, has come to these disks by way of {peer} since");
    Some((peer, if same_site(view, peer) { came } else { format!("it has a whole copy, {of}") }))
}

/// The epoch and instant of what `peer` has of `rid`, if that is whole.
fn whole_at(view: &View, peer: &str, answer: &Answer, rid: &str) -> Option<(u64, DateTime<Local>)> {
    let held = answer.rids.get(rid)?.held.as_ref().filter(|held| held.state == Some(State::Replica))?;
    let broken = view.here.replicas.get(rid).and_then(Known::known).filter(|_| same_site(view, peer)).map(|file| file.since);
    let later = broken.is_none_or(|broken| held.since.is_some_and(|since| since - skew(answer, view.here.now) > broken));
    held.image.frozen_at.filter(|_| later).map(|at| (held.image.epoch, at))
}

/// What the nodes with the same disks have of `rid`, with their answers.
fn held_beside<'a>(view: &View<'a>, rid: &str) -> impl Iterator<Item = (&'a Answer, &'a Held)> {
    let beside = answered(view).filter(|(peer, _)| same_site(view, peer));
    beside.filter_map(|(_, a)| Some((a, a.rids.get(rid)?.held.as_ref()?)))
}

/// Since when the data of this copy are whole, as far as its nodes say: they arrived so, were handed over with all that
/// was written, or have run. By this node's clock.
fn whole(view: &View, rid: &str) -> Option<DateTime<Local>> {
    let here = view.here;
    let file = here.replicas.get(rid).and_then(Known::known).filter(|r| r.node == here.node);
    let ran = |live: &Replica| here.last_run.as_ref().is_some_and(|run| run.since.is_none_or(|since| since >= live.since));
    let own = file.filter(|r| r.state == State::Replica || (r.state == State::Live && ran(r))).map(|r| r.since);
    let theirs = held_beside(view, rid).filter(|(a, held)| match held.state {
        Some(State::Replica) => true,
        Some(State::Live) => held.since.zip(a.up_until).is_some_and(|(since, until)| until >= since),
        _ => false,
    });
    let theirs = theirs.filter_map(|(a, held)| Some(held.since? - skew(a, here.now)));
    // who was given them may be lost since; who took them may have taken them as they were, and never run
    let given = here.holder().ok().filter(|h| h.epoch > 0 && h.handed && h.node != here.node && here.holds());
    theirs.chain(own).chain(given.map(|holder| came(view, &holder))).max()
}

/// What a node with the same disks says of them, if a transfer to it was under way: its files know, ours do not. What
/// has arrived whole since is whole.
pub(super) fn beside(view: &View, rid: &str) -> Option<State> {
    let whole = whole(view, rid);
    let broken = |a: &Answer, held: &Held| whole.zip(held.since).is_none_or(|(whole, since)| whole < since - skew(a, view.here.now));
    let unfinished = |(a, held): (&Answer, &Held)| {
        held.state.filter(|state| matches!(state, State::InProgress | State::Torn)).filter(|_| broken(a, held))
    };
    held_beside(view, rid).find_map(unfinished)
}

/// The same when this copy holds: a transfer to this node, or one with the same disks, that was under way when authority
/// came. What arrived whole since, or has run since, is none any more.
pub(super) fn unsettled(view: &View, rid: &str) -> Option<Broken> {
    let here = view.here;
    let file = here.broken(rid);
    let own = file.map(|r| Broken { since: r.since, from: r.from.clone() });
    if file.is_some_and(|r| r.applying.is_some()) {
        return own; // it would be finished, over whatever came later
    }
    let theirs = held_beside(view, rid).filter_map(|(a, held)| Some((held.broken.as_ref()?, skew(a, here.now))));
    let theirs = theirs.map(|(broken, ahead)| Broken { since: broken.since - ahead, ..broken.clone() });
    let broken = theirs.chain(own).max_by_key(|b| b.since).filter(|_| here.holds())?;
    Some(broken).filter(|b| whole(view, rid).is_none_or(|whole| whole < b.since))
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
