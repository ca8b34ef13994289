//! It runs on another node, or is being started there.

use super::super::Refusal;
use super::{How, View, answered, same_site, since};
use crate::state::authority::Holder;
use crate::state::gate::Answer;
use crate::state::replica::State;

/// It is up on another node, or about to be.
pub(super) fn running_elsewhere(view: &View, how: &How) -> Result<(), Refusal> {
    let (service, node) = (&view.here.service, &view.here.node);
    let holds = |peer: &str| view.here.holder().is_ok_and(|h| own(view, peer, &h));
    // what a planned takeover is for
    let sure = |peer: &str| view.answers.get(peer).is_some_and(|a| a.as_ref().is_ok_and(|a| a.unsure.is_none()));
    let hands_over = |peer: &str| how.takeover && holds(peer) && sure(peer) && !same_site(view, peer) && !view.here.holds();
    let up = answered(view).find(|(peer, a)| a.running == Some(true) && !(view.flex && same_site(view, peer)) && !hands_over(peer));
    if let Some((peer, answer)) = up {
        let written = view.here.rids().iter().any(|rid| matches!(view.here.data(rid).state, Some(State::Orphan) | None));
        let remedy = if same_site(view, peer) || !view.here.copies.replicated() {
            format!("on {peer}: svcmgr -s {service} switch --to {node}   (stops it there, starts it here)")
        } else if holds(peer) && written && view.here.copies.home() != view.here.copy() {
            format!(
                "on {peer}: svcmgr -s {service} sync full --abandon {node}   (makes a fresh copy here; see first: svcmgr -s {service} where); to keep the data of {node} instead, on {node}: svcmgr -s {service} takeover --abandon {peer}"
            )
        } else if holds(peer) && written {
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
    starting_elsewhere(view, how).map_or(Ok(()), Err)
}

/// A node that may start it at this moment: it was not up when it answered, and may have asked before we were at work.
fn starting_elsewhere(view: &View, how: &How) -> Option<Refusal> {
    let here = view.here;
    let (service, node) = (&here.service, &here.node);
    let words = how.words();
    let refused = |peer: &str, whose: &str, why: String, stake: &str| Refusal {
        what: format!("{service} is not started on {node}: {peer}, which {whose}, is at work with it"),
        why,
        stake: stake.into(),
        remedy: format!("on {node}: svcmgr -s {service} {words}   (again, when {peer} is done)"),
    };
    let two = "two running instances make two different copies of the data: the writes of one would be lost";
    answered(view).filter_map(|(peer, answer)| Some((peer, answer, answer.busy.as_ref()?))).find_map(|(peer, answer, doing)| {
        let why = format!("{peer} is doing `{doing}` at this moment");
        if same_site(view, peer) {
            return Some(refused(peer, "shares its data", why, "two instances on the same disks destroy them")).filter(|_| !view.flex);
        }
        if here.holder().is_ok_and(|h| own(view, peer, &h)) {
            // a planned takeover waits for the holder to be done
            return Some(refused(peer, "holds its data", why, two)).filter(|_| !how.takeover);
        }
        let holder = left_behind(view, peer, answer).filter(|_| !how.force && brings_up(doing))?;
        let why = format!("{why}, and has not heard that {}", since(here, &holder));
        let refusal = refused(peer, "takes its own data for the newest", why, two);
        let hangs =
            format!("if it hangs, end that svcmgr on {peer}; if it cannot be ended, on {node}: svcmgr -s {service} {words} --force");
        Some(Refusal { remedy: format!("{}; {hangs}", refusal.remedy), ..refusal })
    })
}

/// Nothing is up after what only stops.
fn brings_up(doing: &str) -> bool {
    !(doing.starts_with("stop") || ["shutdown", "umount"].contains(&doing))
}

/// Who holds, if `peer` has not heard of it and goes on as the holder that it was.
fn left_behind(view: &View, peer: &str, answer: &Answer) -> Option<Holder> {
    let holder = view.here.holder().ok()?;
    let old = answer.holder.as_ref().filter(|old| answer.unsure.is_none() && own(view, peer, old) && old.epoch < holder.epoch);
    old.map(|_| holder)
}

/// `holder` is of the copy that `peer` has.
fn own(view: &View, peer: &str, holder: &Holder) -> bool {
    let copies = &view.here.copies;
    copies.named(&holder.copy, &holder.node) == copies.of_node(peer)
}

/// A node that is at work as the holder that it was: it hears who holds now when it asks, and is done then.
pub(super) fn hears_soon(view: &View) -> Option<String> {
    let at_work = |(peer, answer): (&String, &Answer)| {
        let doing = answer.busy.as_ref().filter(|doing| brings_up(doing) && left_behind(view, peer, answer).is_some())?;
        Some(format!("{peer} takes its own data for the newest, and is doing `{doing}`"))
    };
    answered(view).find_map(at_work)
}
