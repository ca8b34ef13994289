//! May the service start here, and must authority be taken over first? Decided with what this node knows and what
//! the peers answered.

use super::copies::Copy;
use super::here::Data;
use super::words::{instant, list, lost, span};
use super::{Here, Refusal};
use crate::state::authority::Holder;
use crate::state::gate::Answer;
use crate::state::replica::State;
use chrono::{DateTime, Duration, Local};
use std::collections::BTreeMap;

/// What each other node of the service answered, or why it did not.
pub type Answers = BTreeMap<String, Result<Answer, String>>;

/// What is decided with. `here` has learned from the answers before.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// This node.
    pub here: &'a Here,
    /// The others.
    pub answers: &'a Answers,
    /// Nodes of a site run side by side.
    pub flex: bool,
}

/// What was typed.
#[derive(Debug, Clone, Default)]
pub struct How {
    /// `takeover`: the holder is asked to hand over; not `start`.
    pub takeover: bool,
    /// `--force`.
    pub force: bool,
    /// `--abandon`: the node whose writes are given up.
    pub abandon: Option<String>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It starts, after this.
    Go(Go),
    /// It does not.
    Refuse(Refusal),
}

/// What has to be done before the first resource starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Go {
    /// Authority has to be claimed in this epoch.
    pub claim: Option<u64>,
    /// The node that has to hand the data over first: it stops, sends the last writes, gives authority away.
    pub handover: Option<String>,
    /// Nodes where the service runs and has to be stopped, as their writes are given up.
    pub stop: Vec<String>,
    /// Copies whose writes are given up.
    pub abandoned: Vec<String>,
    /// Nodes of the holder that did not answer: a bulk start asks before it takes over from them.
    pub silent: Vec<String>,
    /// What the person at the terminal should know.
    pub warnings: Vec<String>,
}

/// Decides.
pub fn decide(view: &View, how: &How) -> Decision {
    steps(view, how).map_or_else(Decision::Refuse, Decision::Go)
}

fn steps(view: &View, how: &How) -> Result<Go, Refusal> {
    let here = view.here;
    if how.abandon.is_none() {
        running_elsewhere(view, how)?;
    }
    if !here.copies.replicated() {
        return Ok(Go { warnings: not_asked(view), ..Go::default() });
    }
    claims_elsewhere(view, how)?;
    let holder = match here.holder() {
        Ok(holder) => holder,
        Err(_) if how.force => {
            return Ok(taken(
                view,
                vec![format!("nobody could tell who holds {}: the data of {} are taken for the newest (--force)", here.service, here.node)],
            ));
        }
        Err(why) => return Err(unsure(view, &why)),
    };
    if let Some(node) = &how.abandon {
        return abandon(view, how, node);
    }
    traces(view, how, &holder)?;
    if let Some(rival) = here.rival() {
        return Err(split(view, &holder, rival));
    }
    if here.holds() {
        if !how.force {
            handed_and_broken(view, &holder)?;
        }
        // a takeover that came to nothing: only a higher epoch ends the promises that were made to it
        let open = here.promise().is_some_and(|p| here.copies.of_node(&p.node) != here.copy());
        return Ok(Go { claim: open.then(|| highest(view) + 1), warnings: not_asked(view), ..Go::default() });
    }
    let mut go = taken(view, Vec::new());
    own_data(view, how, &holder, &mut go)?;
    if how.takeover {
        return planned(view, how, &holder, go);
    }
    fresher(view, how, &mut go)?;
    last_writes(view, &holder, &mut go);
    Ok(go)
}

/// A takeover by an epoch above everything that was heard of.
fn taken(view: &View, warnings: Vec<String>) -> Go {
    Go { claim: Some(highest(view) + 1), warnings, ..Go::default() }
}

fn highest(view: &View) -> u64 {
    let told = answered(view)
        .map(|(_, a)| a.holder.as_ref().map_or(a.epoch, |h| h.epoch.max(a.epoch)).max(a.promise.as_ref().map_or(0, |p| p.epoch)));
    told.fold(view.here.highest(), u64::max)
}

fn answered<'a>(view: &View<'a>) -> impl Iterator<Item = (&'a String, &'a Answer)> + use<'a> {
    view.answers.iter().filter_map(|(node, answer)| Some((node, answer.as_ref().ok().filter(|a| a.known())?)))
}

fn same_site(view: &View, node: &str) -> bool {
    view.here.copies.of_node(node).is_some() && view.here.copies.of_node(node) == view.here.copy()
}

fn running_elsewhere(view: &View, how: &How) -> Result<(), Refusal> {
    let (service, node) = (&view.here.service, &view.here.node);
    let holds = |peer: &str| view.here.holder().is_ok_and(|h| view.here.copies.named(&h.copy, &h.node) == view.here.copies.of_node(peer));
    // what a planned takeover is for
    let sure = |peer: &str| view.answers.get(peer).is_some_and(|a| a.as_ref().is_ok_and(|a| a.unsure.is_none()));
    let hands_over = |peer: &str| how.takeover && holds(peer) && sure(peer) && !same_site(view, peer) && !view.here.holds();
    let up = answered(view).find(|(peer, a)| a.running == Some(true) && !(view.flex && same_site(view, peer)) && !hands_over(peer));
    if let Some((peer, answer)) = up {
        let own = view.here.rids().iter().any(|rid| matches!(view.here.data(rid).state, Some(State::Orphan) | None));
        let remedy = if same_site(view, peer) || !view.here.copies.replicated() {
            format!("on {peer}: svcmgr -s {service} switch --to {node}   (stops it there, starts it here)")
        } else if holds(peer) && own && view.here.copies.home() != view.here.copy() {
            format!(
                "on {peer}: svcmgr -s {service} sync full --abandon {node}   (makes a fresh copy here; see first: svcmgr -s {service} where)"
            )
        } else if holds(peer) && own {
            format!(
                "on {peer}: svcmgr -s {service} giveback   (brings its data here and starts it here; see first: svcmgr -s {service} where)"
            )
        } else if !sure(peer) {
            format!("on {peer}: svcmgr -s {service} takeover --force   ({peer} cannot tell who holds the data: this says that it does)")
        } else if holds(peer) {
            format!(
                "on {node}: svcmgr -s {service} takeover   (stops it on {peer}, sends its last writes, starts it here: nothing is lost)"
            )
        } else {
            format!("on {peer}: svcmgr -s {service} stop   (or see who has what: svcmgr -s {service} where)")
        };
        return Err(Refusal {
            what: format!("{service} is not started on {node}: it is up on {peer}"),
            why: format!("{peer} says so now (avail {})", answer.avail.as_deref().unwrap_or("not known")),
            stake: "two running instances make two different copies of the data: the writes of one would be lost".into(),
            remedy,
        });
    }
    // a planned takeover waits for the holder to be done
    let in_the_way = |peer: &str| if same_site(view, peer) { !view.flex } else { holds(peer) && !how.takeover };
    if let Some((peer, answer)) = answered(view).find(|(peer, a)| a.busy.is_some() && in_the_way(peer)) {
        let (whose, stake) = match same_site(view, peer) {
            true => ("shares its data", "two instances on the same disks destroy them"),
            false => ("holds its data", "two running instances make two different copies of the data: the writes of one would be lost"),
        };
        return Err(Refusal {
            what: format!("{service} is not started on {node}: {peer}, which {whose}, is at work with it"),
            why: format!("{peer} is doing `{}` at this moment", answer.busy.as_deref().unwrap_or_default()),
            stake: stake.into(),
            remedy: format!("on {node}: svcmgr -s {service} start   (again, when {peer} is done)"),
        });
    }
    Ok(())
}

/// Peers that were not reached, each with its reason.
fn not_asked(view: &View) -> Vec<String> {
    silent(view, |_| true)
        .into_iter()
        .map(|(node, why)| format!("{node} does not answer ({why}): not asked whether {} runs there", view.here.service))
        .collect()
}

fn silent<'a>(view: &View<'a>, of: impl Fn(&str) -> bool) -> Vec<(&'a str, &'a str)> {
    view.answers.iter().filter(|(node, _)| of(node)).filter_map(|(node, a)| Some((node.as_str(), a.as_ref().err()?.as_str()))).collect()
}

fn unsure(view: &View, why: &str) -> Refusal {
    let (service, node) = (&view.here.service, &view.here.node);
    let silent: Vec<String> = silent(view, |_| true).into_iter().map(|(n, _)| n.to_owned()).collect();
    let busy = answered(view).find(|(_, a)| a.busy.is_some());
    if let Some((peer, answer)) = busy {
        return Refusal {
            what: format!("{service} is not started on {node}: it is not known which copy of the data is the newest"),
            why: format!("{why}. {peer} is doing `{}` at this moment", answer.busy.as_deref().unwrap_or_default()),
            stake: "newer writes on another node".into(),
            remedy: format!("on {node}: svcmgr -s {service} start   (again, when {peer} is done)"),
        };
    }
    let (who, remedy) = if silent.is_empty() {
        let own = view.here.last_run.as_ref();
        let last = answered(view).filter(|(_, a)| a.up_until > own.and_then(|r| r.until)).max_by_key(|(_, a)| a.up_until);
        let (best, ran) = match last {
            _ if own.is_some_and(|r| r.until.is_none()) => (node, ": it runs here"),
            Some((peer, _)) => (peer, ": it ran last"),
            None => (node, ""),
        };
        (
            "the other nodes know less than the data tell".to_owned(),
            format!(
                "on {best}: svcmgr -s {service} takeover --force   (takes the data of {best} for the newest{ran}; compare first: svcmgr -s {service} where)"
            ),
        )
    } else {
        (
            format!("{} cannot be asked", list(&silent)),
            format!(
                "on {node}: svcmgr -s {service} start   (again, when {} is reached); if that is for ever, on {node}: svcmgr -s {service} takeover --force   (takes the data of {node} for the newest)",
                list(&silent)
            ),
        )
    };
    Refusal {
        what: format!("{service} is not started on {node}: it is not known which copy of the data is the newest"),
        why: format!("{why}. {who}"),
        stake: "newer writes on another node".into(),
        remedy,
    }
}

/// A peer has data of a later epoch than anybody knows of, and has forgotten whose.
fn traces(view: &View, how: &How, holder: &Holder) -> Result<(), Refusal> {
    match answered(view).find(|(_, a)| a.unsure.is_some() && a.epoch > holder.epoch) {
        Some((peer, answer)) if !how.force => {
            let why = format!("{peer} has data of epoch {}, and {} knows of epoch {}", answer.epoch, view.here.node, holder.epoch);
            Err(unsure(view, &why))
        }
        _ => Ok(()),
    }
}

fn split(view: &View, holder: &Holder, rival: &Holder) -> Refusal {
    let (service, node) = (&view.here.service, &view.here.node);
    let said = |h: &Holder| format!("{} since {}", h.node, instant(h.since, view.here.now));
    Refusal {
        what: format!("{service} is not started on {node}: two copies both hold the data"),
        why: format!("{} and {} took over without seeing each other (epoch {})", said(holder), said(rival), holder.epoch),
        stake: "the writes of one of them: someone has to choose".into(),
        remedy: format!(
            "to keep the data of {0}, on {0}: svcmgr -s {service} takeover --abandon {1}; to keep those of {1}, on {1}: svcmgr -s {service} takeover --abandon {0}   (compare first: svcmgr -s {service} where)",
            holder.node, rival.node
        ),
    }
}

/// A takeover that somebody else has begun and nobody has ended.
fn claims_elsewhere(view: &View, how: &How) -> Result<(), Refusal> {
    let here = view.here;
    let told = answered(view).filter_map(|(_, a)| a.promise.clone().filter(|p| a.holder.as_ref().is_none_or(|h| p.epoch > h.epoch)));
    let known = here.holder().map_or(0, |h| h.epoch);
    for claim in
        told.chain(here.promise().cloned()).filter(|p| p.node != here.node && p.epoch > known && here.copies.of_node(&p.node).is_some())
    {
        let (service, node) = (&here.service, &here.node);
        let refused = |why: String, remedy: String| Refusal {
            what: format!("{service} is not started on {node}: {} has begun to take it over", claim.node),
            why,
            stake: "two copies that are both written: the writes of one would be lost".into(),
            remedy,
        };
        match view.answers.get(&claim.node) {
            Some(Ok(answer)) if answer.busy.is_none() => {} // it has given up, and says so
            Some(Ok(answer)) => {
                let doing = answer.busy.as_deref().unwrap_or_default();
                return Err(refused(
                    format!("{} is doing `{doing}` at this moment", claim.node),
                    format!("on {node}: svcmgr -s {service} where   (and see what came of it)"),
                ));
            }
            _ if how.force => {}
            _ => {
                return Err(refused(
                    format!("it was promised the data at {}, and does not answer now", instant(claim.at, here.now)),
                    format!("on {node}: svcmgr -s {service} start --force   (only if {} is dead)", claim.node),
                ));
            }
        }
    }
    Ok(())
}

/// What is here can be started from.
fn own_data(view: &View, how: &How, holder: &Holder, go: &mut Go) -> Result<(), Refusal> {
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

/// `deb2 took the data over at 18:00:00 (epoch 1)`.
fn since(here: &Here, holder: &Holder) -> String {
    let (who, at) = (&holder.node, instant(holder.since, here.now));
    match holder {
        Holder { epoch: 0, .. } => format!("{who} holds the data"),
        Holder { handed: true, epoch, .. } => format!("{who} was handed the data at {at} (epoch {epoch})"),
        Holder { epoch, .. } => format!("{who} took the data over at {at} (epoch {epoch})"),
    }
}

/// The holder was sent something else after it was given authority, before it heard of it.
fn handed_and_broken(view: &View, holder: &Holder) -> Result<(), Refusal> {
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

/// The node of the holder's copy to type at: where it runs, else the one that took authority.
fn at<'a>(view: &'a View, holder: &'a Holder) -> (&'a str, bool) {
    let nodes = nodes_of(view, holder).map(|c| c.nodes.as_slice()).unwrap_or_default();
    let up = |peer: &&String| view.answers.get(*peer).is_some_and(|a| a.as_ref().is_ok_and(|a| a.running == Some(true)));
    nodes.iter().find(up).map_or((holder.node.as_str(), false), |n| (n.as_str(), true))
}

/// The command that brings the holder's data here: a holder that is down sends nothing.
fn send(view: &View, holder: &Holder, words: &str) -> String {
    let (service, (who, up)) = (&view.here.service, at(view, holder));
    if up {
        format!("on {who}: svcmgr -s {service} {words}")
    } else {
        format!("on {who}: svcmgr -s {service} start   (it has the newest data; for a copy on {} then: {words})", view.here.node)
    }
}

/// The command that brings them here over data of our own.
fn over(view: &View, holder: &Holder) -> String {
    let here = view.here;
    if here.copies.home().is_some_and(|h| Some(h) == here.copy()) {
        return format!("on {}: svcmgr -s {} giveback   (brings its data home and starts here)", at(view, holder).0, here.service);
    }
    let made = if at(view, holder).1 { "   (makes a fresh copy here)" } else { "" };
    format!("{}{made}", send(view, holder, &format!("sync full --abandon {}", here.node)))
}

fn orphan(view: &View, holder: &Holder, data: &Data) -> Refusal {
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

fn kept(data: &Data) -> String {
    data.kept.as_ref().map(|k| format!("; what was here before is kept in {k}")).unwrap_or_default()
}

/// The warning of who starts all the same.
fn not_whole(view: &View, rid: &str, data: &Data) -> String {
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

fn broken_off(view: &View, holder: &Holder, rid: &str, data: &Data) -> Refusal {
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
fn beside(view: &View, rid: &str) -> Option<State> {
    let mut held = answered(view).filter(|(peer, _)| same_site(view, peer)).filter_map(|(_, a)| a.rids.get(rid)?.held.as_ref()?.state);
    held.find(|state| matches!(state, State::InProgress | State::Torn))
}

fn rounds(view: &View, go: &mut Go) {
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

/// The oldest of the data here.
fn data_of(here: &Here) -> Option<DateTime<Local>> {
    here.rids().iter().filter_map(|rid| here.data(rid).image.frozen_at).min()
}

fn nodes_of<'a>(view: &View<'a>, holder: &Holder) -> Option<&'a Copy> {
    view.here.copies.named(&holder.copy, &holder.node)
}

/// The node of the holder that hands over: the one where it runs, else where it ran last.
fn giver<'a>(view: &View<'a>, holder: &Holder) -> Option<&'a String> {
    let nodes = &nodes_of(view, holder)?.nodes;
    let there = |peer: &&String| view.answers.get(*peer).is_some_and(|a| a.as_ref().is_ok_and(|a| a.known() && a.unsure.is_none()));
    let up = |peer: &&String| view.answers.get(*peer).is_some_and(|a| a.as_ref().is_ok_and(|a| a.running == Some(true)));
    let ran = |peer: &&String| view.answers.get(*peer).and_then(|a| a.as_ref().ok()?.up_until);
    nodes.iter().find(up).or_else(|| nodes.iter().filter(there).max_by_key(ran))
}

fn planned(view: &View, how: &How, holder: &Holder, mut go: Go) -> Result<Go, Refusal> {
    let (service, node) = (&view.here.service, &view.here.node);
    let nodes = nodes_of(view, holder).map(|c| c.nodes.clone()).unwrap_or_default();
    if let Some(from) = giver(view, holder) {
        go.handover = Some(from.clone());
        return Ok(go);
    }
    if how.force {
        last_writes(view, holder, &mut go);
        return Ok(go);
    }
    let age = data_of(view.here).map_or_else(
        || "is of an unknown time".into(),
        |at| format!("is of {}, {} old", instant(at, view.here.now), span(view.here.now - at)),
    );
    Err(Refusal {
        what: format!("{service} is not taken over by {node}: {} cannot hand it over", list(&nodes)),
        why: nodes.iter().map(|n| unable(view, n)).collect::<Vec<_>>().join("; "),
        stake: format!("what {} wrote after the copy here, which {age}", list(&nodes)),
        remedy: format!(
            "on {node}: svcmgr -s {service} start   (takes over without {}, if {} dead)",
            list(&nodes),
            if nodes.len() == 1 { "it is" } else { "they are" }
        ),
    })
}

/// Why a node of the holder cannot hand over.
fn unable(view: &View, node: &str) -> String {
    match view.answers.get(node) {
        Some(Err(why)) => format!("{node} does not answer: {why}"),
        Some(Ok(Answer { unsure: Some(why), .. })) => format!("{node} cannot tell who holds the data: {why}"),
        _ => format!("{node} does not know {}", view.here.service),
    }
}

/// Somebody who is not the holder has newer data than we.
fn fresher(view: &View, how: &How, go: &mut Go) -> Result<(), Refusal> {
    let here = view.here;
    /// Who has it, of when, and of when ours is.
    type Newer<'a> = (&'a String, DateTime<Local>, Option<DateTime<Local>>);
    let mut best: Option<Newer> = None;
    for rid in &here.rids() {
        let own = here.data(rid).image;
        let mine = own.frozen_at;
        for (peer, answer) in answered(view).filter(|(peer, _)| here.copies.of_node(peer) != here.copy()) {
            let held = answer.rids.get(rid).and_then(|v| v.held.as_ref()).filter(|h| h.state == Some(State::Replica));
            let Some((image, theirs)) = held.and_then(|h| Some((&h.image, h.image.frozen_at?))) else { continue };
            // who was not told of a takeover has gone on sending: later, and of no use
            let newer = mine.is_none_or(|mine| (image.epoch, theirs) > (own.epoch, mine));
            if newer && best.is_none_or(|(_, at, _)| theirs > at) {
                best = Some((peer, theirs, mine));
            }
        }
    }
    let Some((peer, theirs, mine)) = best else { return Ok(()) };
    let own = mine.map_or_else(|| "one of an unknown time".to_owned(), |at| format!("one of {}", instant(at, here.now)));
    let said = format!("{peer} has a copy of {}, {} has {own}", instant(theirs, here.now), here.node);
    if how.force {
        go.warnings.push(format!("an older copy is chosen (--force): {said}"));
        return Ok(());
    }
    Err(Refusal {
        what: format!("{} is not started on {}: {peer} has newer data", here.service, here.node),
        why: said,
        stake: match mine {
            Some(mine) => format!("{} of writes that {peer} has and {} has not", span(theirs - mine), here.node),
            None => format!("the writes that {peer} has and {} has not", here.node),
        },
        remedy: format!(
            "on {peer}: svcmgr -s {0} start; or, with the older copy, on {1}: svcmgr -s {0} start --force",
            here.service, here.node
        ),
    })
}

/// Warnings about what the holder has and we do not.
fn last_writes(view: &View, holder: &Holder, go: &mut Go) {
    let here = view.here;
    let nodes = nodes_of(view, holder).map(|c| c.nodes.clone()).unwrap_or_default();
    let of = data_of(here);
    let copy = match of {
        Some(at) => format!("this copy is of {}", instant(at, here.now)),
        None => "this copy is of an unknown time".into(),
    };
    if here.rids().iter().filter_map(|rid| here.replicas.get(rid)?.known()).any(|r| r.epoch < holder.epoch) {
        let (who, how) = (&holder.node, if holder.handed { "was handed the data" } else { "took over" });
        let since = instant(holder.since, here.now);
        go.warnings.push(format!("{copy}, from before {who} {how} (at {since}): nothing that {who} wrote since then is here"));
    }
    for (node, why) in silent(view, |n| nodes.iter().any(|x| x == n)) {
        let age = of.map_or_else(String::new, |at| format!(", {} old", span(here.now - at)));
        go.warnings.push(format!("{node} does not answer ({why}): not asked. {copy}{age}: what {node} wrote after that is not here"));
        go.silent.push(node.to_owned());
    }
    let said: Vec<_> = nodes.iter().filter_map(|n| Some((n, view.answers.get(n)?.as_ref().ok()?))).collect();
    match said.iter().filter_map(|(node, a)| Some((node, a.up_until?, a.crashed))).max_by_key(|(_, until, _)| *until) {
        Some((node, until, crashed)) => go.warnings.extend(of.and_then(|of| unsent(view, node, until, of, crashed))),
        None if said.len() == nodes.len() && !said.iter().any(|(_, a)| a.running == Some(true)) => {
            go.warnings.push(format!("{} cannot tell until when {} ran there; {copy}", list(&nodes), here.service));
        }
        None => {}
    }
    for (node, skew) in said.iter().map(|(node, a)| (node, skew(a, here.now))).filter(|(_, s)| s.abs() > Duration::seconds(60)) {
        let way = if skew > Duration::zero() { "ahead of" } else { "behind" };
        go.warnings.push(format!("the clock of {node} is {} {way} that of {}: compare times with care", span(skew.abs()), here.node));
    }
    for (peer, why) in silent(view, |n| !nodes.iter().any(|x| x == n)) {
        go.warnings.push(format!("{peer} does not answer ({why}): not asked whether it has newer data"));
    }
}

/// What `node` wrote, until `until`, after the copy here was made.
fn unsent(view: &View, node: &str, until: DateTime<Local>, of: DateTime<Local>, crashed: bool) -> Option<String> {
    let (now, service) = (view.here.now, &view.here.service);
    let (least, note) = if crashed { ("at least ", " (it crashed: it may have run longer)") } else { ("", "") };
    let writes = if crashed { span(until - of) } else { lost(until - of) };
    let ran = format!("{node} ran until {least}{}, this copy is of {}", instant(until, now), instant(of, now));
    let back = format!(
        "to have them after all, without what {} writes from now on: on {node}: svcmgr -s {service} takeover --abandon {0}",
        view.here.node
    );
    (until > of).then(|| format!("{ran}: {least}{writes} of writes are on {node} only{note}. {back}"))
}

/// How far a peer's clock is ahead of ours.
pub fn skew(answer: &Answer, now: DateTime<Local>) -> Duration {
    let clock = answer.clock.as_deref().and_then(|c| DateTime::parse_from_rfc3339(c).ok());
    clock.map_or_else(Duration::zero, |c| c.with_timezone(&Local) - now)
}

/// Someone chooses: what `node` has written is given up, the data here are kept.
fn abandon(view: &View, how: &How, node: &str) -> Result<Go, Refusal> {
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
        data.state = beside(view, rid).or(here.broken(rid).map(|r| r.state)).or(data.state);
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

/// What `boot` does on a node whose copy holds authority, when other copies are configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Boot {
    /// The service starts.
    Start,
    /// Only what is always on: why.
    Standby(String),
    /// Nobody has answered yet.
    Wait,
}

/// Decides for a boot. `down`: for how long this node was down, if that is known; `alone`: for how long it may have
/// been to start without having asked anybody, `None` for any time; `over`: it has waited long enough.
pub fn boot(view: &View, down: Option<Duration>, alone: Option<Duration>, over: bool) -> Boot {
    let here = view.here;
    if !here.copies.replicated() {
        return Boot::Start;
    }
    match here.holder() {
        Err(why) => return if over { Boot::Standby(format!("it is not known who holds the data: {why}")) } else { Boot::Wait },
        Ok(_) if here.rival().is_some() => return Boot::Standby("two copies both hold the data: see `where`".into()),
        Ok(holder) if !here.holds() => {
            return Boot::Standby(format!(
                "{} holds the data since {} (epoch {})",
                holder.node,
                instant(holder.since, here.now),
                holder.epoch
            ));
        }
        Ok(_) => {}
    }
    if answered(view).any(|(node, _)| here.copies.of_node(node) != here.copy()) {
        return Boot::Start; // start itself looks at what they said
    }
    if !over {
        return Boot::Wait;
    }
    match (down, alone) {
        (_, None) => Boot::Start,
        (None, Some(alone)) if !alone.is_zero() => Boot::Start,
        (None, Some(_)) => Boot::Standby("no node of another copy answers, and boot_alone is never".into()),
        (Some(down), Some(alone)) if down.abs() < alone => Boot::Start,
        // a clock that was set back, or lost its battery, tells nothing
        (Some(down), _) if down < Duration::zero() => Boot::Standby(format!(
            "no node of another copy answers, and it is not known for how long this node was down: its clock is {} behind that of its last run. another site may have taken over. to start here: svcmgr -s {} start",
            span(-down),
            here.service
        )),
        (Some(down), Some(alone)) => Boot::Standby(format!(
            "no node of another copy answers, and this node was down for {}: longer than boot_alone ({}). another site may have taken over. to start here: svcmgr -s {} start",
            span(down),
            span(alone),
            here.service
        )),
    }
}
