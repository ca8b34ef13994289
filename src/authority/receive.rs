//! May a sender write here? The part of the gate that is about authority; what is mounted and running is another's.

use super::words::{instant, span};
use super::{Here, Refusal};
use crate::state::gate::Question;
use crate::state::replica::State;
use chrono::TimeDelta;

/// How long after its first promise a takeover may be under way.
pub const PROMISED: TimeDelta = TimeDelta::minutes(2);

/// How old the first promise may be when a claimant takes authority: it has to tell the others before [`PROMISED`] is
/// over, as they let the holder in again then. A claimant that was held up for longer begins anew.
pub const GOOD: TimeDelta = TimeDelta::seconds(90);

/// Why what `question` wants to send for `rid` is refused here, if it is. `here` has learned from the question before.
/// Replications that stay inside a copy are checked for the epoch alone.
pub fn refusal(here: &Here, question: &Question, rid: &str) -> Option<Refusal> {
    let (service, node, sender) = (&here.service, &here.node, &question.node);
    let what = format!("{rid} of {service} is not sent from {sender} to {node}");
    let holder = match here.holder() {
        Ok(holder) => holder,
        Err(why) => {
            return Some(Refusal {
                what,
                why: format!("{node} cannot tell who holds the data: {why}"),
                stake: format!("what may have been written on {node}"),
                remedy: format!(
                    "on {node}: svcmgr -s {service} startstandby   (asks the other nodes and remembers); if it still cannot tell, on {sender}: svcmgr -s {service} takeover --abandon {node}   (keeps the data of {sender}), then the first again"
                ),
            });
        }
    };
    let copy = question.copy.as_deref().unwrap_or_default();
    if holder.epoch > question.epoch && here.copies.named(copy, sender) == here.holding() {
        return Some(Refusal {
            what: format!("{what}: {sender} has forgotten what it knew"),
            why: format!(
                "{node} knows {sender} to hold the data in epoch {}, and {sender} says {}: its state is lost, or was restored",
                holder.epoch, question.epoch
            ),
            stake: format!("nothing, if {sender} has the newest data: see first"),
            remedy: format!("on {sender}: svcmgr -s {service} where; then, again, what you typed: {sender} has learned it now"),
        });
    }
    if holder.epoch > question.epoch {
        let how = if holder.handed { "was handed the data" } else { "took over" };
        return Some(Refusal {
            what: format!("{what}: {sender} does not hold the data any more"),
            why: format!(
                "{} {how} at {} (epoch {}, {sender} is of epoch {})",
                holder.node,
                instant(holder.since, here.now),
                holder.epoch,
                question.epoch
            ),
            stake: format!("what was written on {} since then: {}", holder.node, span(here.now - holder.since)),
            remedy: format!("on {sender}: svcmgr -s {service} where"),
        });
    }
    if here.copies.named(copy, sender) == here.copy() {
        return None;
    }
    if let Some(rival) = here.rival() {
        return Some(Refusal::split(here, &what, &rival.node));
    }
    if here.copies.named(copy, sender) != here.holding() {
        return Some(Refusal::split(here, &what, sender));
    }
    // one that came to nothing does not keep the holder out for ever: its data are the newest until another one takes over
    if let Some(promise) = here.promise().filter(|p| (here.now - p.at).abs() < PROMISED) {
        return Some(Refusal {
            what: format!("{what}: a takeover has begun"),
            why: format!("{} was promised the data by {node} at {}", promise.node, instant(promise.at, here.now)),
            stake: format!("what {} may have written since", promise.node),
            remedy: format!(
                "on {}: svcmgr -s {service} where   (if it came to nothing, send again after {})",
                promise.node,
                instant(promise.at + PROMISED, here.now)
            ),
        });
    }
    let data = here.data(rid);
    if let Some(fault) = data.fault {
        return Some(Refusal {
            what: format!("{what}: {node} cannot tell what it has"),
            why: fault,
            stake: format!("what may have been written on {node}"),
            remedy: format!("on {sender}: svcmgr -s {service} sync full --rid {rid} --abandon {node}   (overwrites it)"),
        })
        .filter(|_| !here.given_up(rid));
    }
    if data.state == Some(State::Orphan) && !here.given_up(rid) {
        let until = data.written_until.map_or_else(|| "it is not known until when".into(), |at| format!("until {}", instant(at, here.now)));
        return Some(Refusal {
            what: format!("{what}: {node} has writes of its own"),
            why: match data.written_until.filter(|at| !here.ran_until(*at)) {
                Some(_) => format!(
                    "the data on {node} were changed {until}, and not by a transfer: {service} ran there, which {node} has forgotten, or they were mounted and written by hand; {sender} never had those writes"
                ),
                None => format!("{node} ran {service} ({until}), and {sender} never had those writes"),
            },
            stake: format!(
                "the writes made on {node} after {}",
                data.image.frozen_at.map_or_else(|| "its last sync".into(), |at| instant(at, here.now))
            ),
            remedy: if Some(&data_copy(here)) == here.copies.home().map(|c| &c.name) {
                format!("on {sender}: svcmgr -s {service} giveback   (to return to {node})")
            } else {
                format!("on {sender}: svcmgr -s {service} sync full --abandon {node}   (gives those writes up)")
            },
        });
    }
    None
}

fn data_copy(here: &Here) -> String {
    here.copy().map(|c| c.name.clone()).unwrap_or_default()
}
