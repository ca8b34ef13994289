//! What peers have: on record before the first byte, and again when they have confirmed that all of it arrived. All
//! that one command sends is one round.

use super::{Task, Work};
use crate::action::authority::Desk;
use crate::action::call;
use crate::error::Result;
use crate::state::gate::{Answer, Question};
use crate::state::replica::{self, Sent};
use std::time::Duration;

/// What the task carries goes from one copy of the data to another: both sides keep record of it.
pub(super) fn crosses(work: &Work, task: &Task) -> bool {
    let copies = &work.here.copies;
    copies.replicated() && copies.rids.contains(&task.res.rid) && copies.of_node(&task.peer) != work.here.copy()
}

/// On record before the first byte: from now on what the peer has is partly new, partly old.
pub(super) fn begun(work: &Work, task: &Task) -> Result<()> {
    let now = work.host.clock.now();
    change(work, task, |sent| (sent.broken_since, sent.why) = (Some(now), None))
}

/// Why it was not confirmed. It was on record before that it was not.
pub(super) fn broken(work: &Work, task: &Task, why: &str) {
    let short = why.lines().rev().find(|l| !l.trim().is_empty()).map(|l| l.trim().to_owned());
    if let Err(e) = change(work, task, |sent| sent.why = short.filter(|_| sent.broken_since.is_some())) {
        work.logger(task.res).warning(e.to_string());
    }
}

/// The peer has all of it: its answer says so.
pub(super) fn whole(work: &Work, task: &Task, answer: &Answer) -> Result<()> {
    let image = work.image(&task.res.rid);
    let witness = answer.rids.get(&task.res.rid).and_then(|v| v.held.as_ref()?.witness.clone());
    change(work, task, |sent| *sent = Sent { image, witness, ..Sent::default() })
}

fn change(work: &Work, task: &Task, f: impl FnOnce(&mut Sent)) -> Result<()> {
    replica::change_sent(&work.host.paths.var, &work.service.name, &task.res.rid, &task.peer, f)
}

/// Remembers what of the writes that someone has given up is overwritten there.
pub(super) fn hear(work: &Work, answer: &Answer) {
    let mut copy = work.here.clone();
    copy.hear(answer);
    if copy == work.here {
        return;
    }
    let mut desk = Desk::load(work.service, work.host, &work.log, work.options.dry_run, false);
    if let Err(e) = desk.change(|here| here.hear(answer)) {
        work.log.error(e.to_string());
    }
}

/// How long a peer may take to look at what it has just made its data: it mounts a large filesystem for that.
const CONFIRM: Duration = Duration::from_secs(180);

/// Tells `peer` which transfers arrived whole, in one call. Its answer; the error says why there is none that counts.
pub(super) fn confirm<'t>(work: &Work, peer: &str, rids: impl Iterator<Item = &'t str>) -> Result<Answer, String> {
    let done = rids.map(|rid| (rid.to_owned(), work.image(rid))).collect();
    let question = Question { done, ..call::question(&work.here) };
    let limit = work.host.peers.patience().max(CONFIRM);
    let answer = call::gate(work.host, &work.log, &work.service.name, peer, &question, false, limit)?;
    hear(work, &answer);
    match &answer.unsure {
        _ if !answer.known() => Err(format!("{peer} has no service {}", work.service.name)),
        Some(why) => Err(why.clone()),
        None => Ok(answer),
    }
}
