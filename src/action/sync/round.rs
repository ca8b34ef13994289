//! What peers have: on record before the first byte, and again when they have confirmed that all of it arrived. All
//! that one command sends is one round.

use super::{Task, Work};
use crate::action::authority::Desk;
use crate::action::call;
use crate::error::Result;
use crate::state::gate::{Answer, Question};
use crate::state::replica::{self, Sent, Tried};
use std::time::Duration;

/// What the task carries goes from one copy of the data to another: both sides keep record of it.
pub(super) fn crosses(work: &Work, task: &Task) -> bool {
    let copies = &work.here.copies;
    copies.replicated() && copies.rids.contains(&task.res.rid) && copies.of_node(&task.peer) != work.here.copy()
}

/// On record before the first byte: from now on what the peer has is partly new, partly old. Of what is put beside that,
/// only that it has begun.
pub(super) fn begun(work: &Work, task: &Task) -> Result<()> {
    let (since, epoch) = (work.host.clock.now(), work.epoch);
    change(work, task, |sent| {
        sent.why = None;
        if task.driver.staged() { sent.tried = Some(Tried { since, epoch }) } else { sent.broken_since = Some(since) }
    })
}

/// What stands beside the peer's copy is about to take its place.
pub(super) fn applying(work: &Work, task: &Task) -> Result<()> {
    let now = work.host.clock.now();
    change(work, task, |sent| sent.broken_since = Some(sent.tried.as_ref().map_or(now, |tried| tried.since)))
}

/// Why it was not confirmed. It was on record before that it was not.
pub(super) fn broken(work: &Work, task: &Task, why: &str) {
    let begun = |sent: &Sent| sent.broken_since.is_some() || sent.tried.is_some();
    if let Err(e) = change(work, task, |sent| sent.why = short(&task.peer, why).filter(|_| begun(sent))) {
        work.logger(task.res).warning(e.to_string());
    }
}

/// One line of what was said: of a refusal what it refuses, of a program's talk its last word. That it failed is said
/// anyhow.
fn short(peer: &str, why: &str) -> Option<String> {
    let mut lines = why.lines().map(str::trim).filter(|l| !l.is_empty());
    let refusal = why.lines().any(|l| l.trim_start().starts_with("type: "));
    let line = if refusal { lines.next() } else { lines.next_back() }?;
    Some(line.strip_prefix(&format!("node {peer} synchronization failed: ")).unwrap_or(line).to_owned())
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
