//! What the other nodes say of the data: somebody takes them over, nobody knows who holds, they have newer ones.

use super::super::Refusal;
use super::super::words::{instant, list, lost, span};
use super::{Go, How, View, answered, came, data_of, giver, nodes_of, same_site, silent, since, skew};
use crate::state::authority::Holder;
use crate::state::gate::Answer;
use crate::state::replica::State;
use chrono::{DateTime, Duration, Local};

pub(super) fn unsure(view: &View, how: &How, why: &str) -> Refusal {
    let (service, node, words) = (&view.here.service, &view.here.node, how.words());
    let silent: Vec<String> = silent(view, |_| true).into_iter().map(|(n, _)| n.to_owned()).collect();
    let busy = answered(view).find(|(_, a)| a.busy.is_some());
    if let Some((peer, answer)) = busy {
        return Refusal {
            what: format!("{service} is not started on {node}: it is not known which copy of the data is the newest"),
            why: format!("{why}. {peer} is doing `{}` at this moment", answer.busy.as_deref().unwrap_or_default()),
            stake: "newer writes on another node".into(),
            remedy: format!("on {node}: svcmgr -s {service} {words}   (again, when {peer} is done)"),
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
                "on {node}: svcmgr -s {service} {words}   (again, when {} is reached); if that is for ever, on {node}: svcmgr -s {service} takeover --force   (takes the data of {node} for the newest)",
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
pub(super) fn traces(view: &View, how: &How, holder: &Holder) -> Result<(), Refusal> {
    match answered(view).find(|(_, a)| a.unsure.is_some() && a.epoch > holder.epoch) {
        Some((peer, answer)) if !how.force => {
            let why = format!("{peer} has data of epoch {}, and {} knows of epoch {}", answer.epoch, view.here.node, holder.epoch);
            Err(unsure(view, how, &why))
        }
        _ => Ok(()),
    }
}

/// A takeover that somebody else has begun and nobody has ended.
pub(super) fn claims_elsewhere(view: &View, how: &How) -> Result<(), Refusal> {
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
                    format!("on {node}: svcmgr -s {service} {} --force   (only if {} is dead)", how.words(), claim.node),
                ));
            }
        }
    }
    Ok(())
}

pub(super) fn planned(view: &View, how: &How, holder: &Holder, mut go: Go) -> Result<Go, Refusal> {
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
pub(super) fn unable(view: &View, node: &str) -> String {
    match view.answers.get(node) {
        Some(Err(why)) => format!("{node} does not answer: {why}"),
        Some(Ok(Answer { unsure: Some(why), .. })) => format!("{node} cannot tell who holds the data: {why}"),
        _ => format!("{node} does not know {}", view.here.service),
    }
}

/// Somebody who is not the holder has newer data than we.
pub(super) fn fresher(view: &View, how: &How, go: &mut Go) -> Result<(), Refusal> {
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

/// Data of another copy that were written after the holder, which is this node's copy, ran last: by a takeover that
/// nobody remembers. Nothing of them is overwritten by a start here, nor by a sync that nobody chooses.
pub(super) struct Later {
    /// Who has them, until when, and what of it.
    pub said: String,
    /// How to compare, and to keep them.
    pub remedy: String,
    /// It is known when they were written, and that it was later. Else only when that was found out.
    pub dated: bool,
}

/// All such data.
pub(super) fn later_elsewhere(view: &View) -> Vec<Later> {
    let here = view.here;
    let (service, node) = (&here.service, &here.node);
    let own = here.last_run.as_ref().and_then(|run| run.until);
    let ran = answered(view).filter(|(peer, _)| same_site(view, peer)).filter_map(|(_, a)| Some(a.up_until? - skew(a, here.now)));
    let ran = ran.chain(own).max();
    // what was written before they were given all of it is known
    let holder = here.holder().ok().filter(|h| h.epoch > 0).map(|h| (came(view, &h), since(here, &h)));
    let last = match (ran, holder) {
        (Some(ran), Some((came, _))) if ran >= came => Some((ran, None)),
        (_, Some((came, said))) => Some((came, Some(said))),
        (ran, None) => ran.map(|ran| (ran, None)),
    };
    let other = |peer: &str| here.copies.of_node(peer).filter(|c| Some(*c) != here.copy());
    let written = |peer: &str, answer: &Answer| {
        let (last, came) = last.as_ref()?;
        let copy = other(peer)?;
        let held = answer.rids.iter().filter(|(rid, _)| !here.gives_up(&copy.name, rid)).filter_map(|(_, v)| v.held.as_ref());
        let held = held.filter(|held| held.state == Some(State::Orphan));
        let written = held.filter_map(|held| Some((held.written_until? - skew(answer, here.now), !held.found())));
        let (dated, until) = written.filter(|(until, _)| until > last).map(|(until, dated)| (dated, until)).max()?;
        let (until, last) = (instant(until, here.now), instant(*last, here.now));
        let until = if dated { format!("until {until}") } else { format!("at a time that nobody knows (found at {until})") };
        let ran = came.clone().unwrap_or_else(|| format!("{service} ran on {node} until {last}"));
        let taken = if dated { "took over" } else { "took over, or who mounted it there" };
        Some(Later {
            dated,
            said: format!("{peer} has data of its own, written {until}, and {ran}: nobody remembers that {peer} {taken}"),
            remedy: format!(
                "compare: svcmgr -s {service} where; to keep those of {peer}, on {peer}: svcmgr -s {service} takeover --abandon {node}"
            ),
        })
    };
    answered(view).filter_map(|(peer, answer)| written(peer, answer)).collect()
}

/// Warnings about what the holder has and we do not.
pub(super) fn last_writes(view: &View, holder: &Holder, go: &mut Go) {
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
pub(super) fn unsent(view: &View, node: &str, until: DateTime<Local>, of: DateTime<Local>, crashed: bool) -> Option<String> {
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
