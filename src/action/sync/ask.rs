//! The gate, from the sender's side: each peer is asked once, all at the same time, what it lets in.

use super::{Task, Work, by_peer, carry, decide, own_files, round};
use crate::action::authority::Desk;
use crate::action::{Id, call};
use crate::authority::words::instant;
use crate::authority::{Learned, Refusal};
use crate::log::Level;
use crate::state::gate::{Answer, Question};
use crate::state::history::Entry;
use crate::state::replica::differ;
use crate::sync::Class;
use std::time::Instant;

/// What a recovery node may be for: anything but production. In the order 2014 printed it.
const NOT_PRD: [&str; 9] = ["TMP", "PRA", "FOR", "INT", "DRP", "DEV", "PPRD", "REC", "TST"];

/// What carries the service's own files.
const OWN: &str = "sync#i0";

/// The tasks that their peers agree to.
pub(super) fn granted<'a>(work: &Work<'a>, mut tasks: Vec<Task<'a>>) -> Vec<Task<'a>> {
    if tasks.iter().any(|t| t.res.rid == OWN)
        && let Some(why) = own_files::refusal(work)
    {
        tasks.retain(|task| {
            let own = task.res.rid == OWN;
            if own {
                work.say(task.res, Level::Error, why.clone());
                refuse(work, task, &why);
            }
            !own
        });
    }
    let tasks: Vec<Task> = std::thread::scope(|scope| {
        let asked: Vec<_> = by_peer(tasks).into_iter().map(|(peer, tasks)| scope.spawn(move || of_peer(work, &peer, tasks))).collect();
        asked.into_iter().flat_map(|t| t.join().unwrap_or_default()).collect()
    });
    let Some(holder) = work.news.lock().ok().and_then(|news| news.clone()) else { return tasks };
    // one peer knows that we do not hold authority any more: nobody gets anything, also who has not heard of it
    let why = format!(
        "nothing is sent to anybody: {} holds the data of {} since {}",
        holder.node,
        work.service.name,
        instant(holder.since, work.started)
    );
    for task in tasks {
        work.say(task.res, Level::Error, why.clone());
        refuse(work, &task, &why);
    }
    Vec::new()
}

/// Remembers a holder that is not the one we know.
fn learn(work: &Work, answer: &Answer) {
    let Some(told) = answer.holder.as_ref().filter(|_| work.here.copies.replicated()) else { return };
    let mut copy = work.here.clone();
    if copy.learn(told) == Learned::Nothing {
        return;
    }
    if let Ok(mut news) = work.news.lock() {
        *news = Some(told.clone());
    }
    let mut desk = Desk::load(work.service, work.host, &work.log, work.options.dry_run, false);
    if let Err(e) = desk.change(|here| here.learn(told)) {
        work.log.error(e.to_string());
    }
}

fn of_peer<'a>(work: &Work<'a>, peer: &str, tasks: Vec<Task<'a>>) -> Vec<Task<'a>> {
    let answer = ask(work, peer, &tasks).and_then(|answer| match answer.known() || work.options.dry_run {
        true => Ok((answer, false)),
        false => first_contact(work, peer, &answer).and_then(|()| ask(work, peer, &tasks)).and_then(|again| match again.known() {
            true => Ok((again, true)),
            false => Err(format!("{peer} has no service {} even after it was sent there", work.service.name)),
        }),
    });
    match answer {
        Err(why) => {
            work.log.error(why.clone());
            tasks.iter().for_each(|t| refuse(work, t, &why));
            Vec::new()
        }
        Ok((answer, contacted)) => {
            let mut tasks = tasks;
            tasks.retain(|task| match refusal(work, task, &answer) {
                Some(why) => {
                    work.say(task.res, Level::Error, why.clone());
                    refuse(work, task, &why);
                    false
                }
                None => !(contacted && task.res.rid == OWN), // sent already
            });
            for task in &mut tasks {
                task.held = answer.rids.get(&task.res.rid).and_then(|verdict| verdict.held.clone());
            }
            tasks
        }
    }
}

fn refuse(work: &Work, task: &Task, why: &str) {
    work.fail(task.res);
    carry::remember(work, task, Entry { result: "refused".into(), why: Some(why.to_owned()), ..Entry::default() });
}

/// One call. The error says who does not answer and why.
fn ask(work: &Work, peer: &str, tasks: &[Task]) -> Result<Answer, String> {
    let rids = tasks.iter().map(|task| {
        let log = work.logger(task.res);
        let cx = work.service.cx(work.host, &log, task.res, work.options.force);
        (task.res.rid.clone(), task.driver.question(&cx, peer))
    });
    let question = Question { rids: rids.collect(), ..call::question(&work.here) };
    let begun = Instant::now();
    let answer = call::gate(work.host, &work.log, &work.service.name, peer, &question, work.options.dry_run, work.host.peers.patience());
    if answer.is_err() && begun.elapsed() >= work.host.peers.patience() {
        // not waited for again by the other services of the command
        work.host.peers.give_up(peer, "svcmgr there does not answer in time");
    }
    let answer = answer?;
    round::hear(work, &answer);
    learn(work, &answer);
    Ok(answer)
}

/// A peer that has never heard of the service gets its files first.
fn first_contact(work: &Work, peer: &str, answer: &Answer) -> Result<(), String> {
    let name = &work.service.name;
    let own = work.service.find(OWN).filter(|r| !r.disable).and_then(|r| Some((r, r.sync()?)));
    let Some((res, driver)) = own else {
        return Err(format!("{peer} has no service {name}, and sync#i0, which would send it there, is disabled"));
    };
    let task = Task { res, driver, peer: peer.to_owned(), class: decide::class_of(work, peer), held: None };
    if let Some(why) = mode_refusal(work, &task, answer) {
        return Err(why);
    }
    if let Some(why) = own_files::refusal(work) {
        return Err(why);
    }
    work.log.info(format!("{peer} has no service {name} yet: sending its files"));
    match carry::one(work, &task) {
        true => Ok(()),
        false => Err(format!("the files of {name} could not be sent to {peer}")),
    }
}

fn refusal(work: &Work, task: &Task, answer: &Answer) -> Option<String> {
    let own = || forgotten(work, task, answer).or_else(|| grown(work, task, answer));
    mode_refusal(work, task, answer).or_else(|| answer.refusal(&task.res.rid)).or_else(own)
}

/// The peer has a copy that this node has sent, and this node knows nothing of it: it may be newly installed, and empty.
fn forgotten(work: &Work, task: &Task, answer: &Answer) -> Option<String> {
    let (name, node, peer, rid) = (&work.service.name, &work.host.node, &task.peer, &task.res.rid);
    if work.handover || work.id == Id::SyncFull || !round::crosses(work, task) {
        return None;
    }
    let image = &answer.rids.get(rid)?.held.as_ref()?.image;
    let ours = image.round.as_ref()?.rsplit(' ').next() == Some(node);
    let known = work.here.sent.get(rid).is_some_and(|sent| sent.contains_key(peer));
    if !ours || known {
        return None;
    }
    let of = image.frozen_at.map_or_else(|| "an unknown time".into(), |at| instant(at, work.started));
    let refusal = Refusal {
        what: format!("{rid} of {name} is not sent from {node} to {peer}: {node} has forgotten that it ever was"),
        why: format!("{peer} has a copy that {node} sent, of {of}; what {node} remembers of {name} was lost, and data may have been too"),
        stake: format!("the copy on {peer}, if {node} was newly installed or restored"),
        remedy: format!(
            "if all data are on {node}, on {node}: svcmgr -s {name} sync full; if not, on {node}: svcmgr -s {name} stop, then on {peer}: svcmgr -s {name} start"
        ),
    };
    Some(refusal.to_string())
}

/// The peer remembers nothing of the data that this node has sent there, and what is there is not that: it may have been
/// newly installed; or it has taken over and written, and has lost its records.
fn grown(work: &Work, task: &Task, answer: &Answer) -> Option<String> {
    let (name, node, peer, rid) = (&work.service.name, &work.host.node, &task.peer, &task.res.rid);
    let held = answer.rids.get(rid)?.held.as_ref().filter(|held| held.image.round.is_none())?;
    let sent = work.here.sent.get(rid)?.get(peer).filter(|sent| sent.broken_since.is_none())?;
    let differs = held.witness.as_deref().zip(sent.witness.as_deref()).is_some_and(|(held, sent)| differ(held, sent));
    if !differs || work.id == Id::SyncFull || !round::crosses(work, task) {
        return None;
    }
    let of = sent.image.frozen_at.map_or_else(|| "an unknown time".into(), |at| instant(at, work.started));
    let refusal = Refusal {
        what: format!("{rid} of {name} is not sent from {node} to {peer}: {peer} has forgotten what it has, and it is not what was sent"),
        why: format!(
            "{node} sent it the image of {of}; {peer} knows nothing of that, and its data are others: it was newly installed, or {name} ran there"
        ),
        stake: format!("what may have been written on {peer} since {of}"),
        remedy: format!(
            "if nothing on {peer} is needed, on {node}: svcmgr -s {name} sync full --rid {rid}; to keep what {peer} has, on {peer}: svcmgr -s {name} takeover --abandon {node}"
        ),
    };
    Some(refusal.to_string())
}

/// The peer is for something else: production data on a test node, or the other way round.
fn mode_refusal(work: &Work, task: &Task, answer: &Answer) -> Option<String> {
    if work.handover {
        return None; // it is to run there, and has run there
    }
    let mode = answer.host_mode.as_deref().unwrap_or("TST");
    let own = [work.service.service_type.as_str()];
    let expected: &[&str] = if task.class == Class::Nodes { &own } else { &NOT_PRD };
    if expected.contains(&mode) {
        return None;
    }
    let list: Vec<String> = expected.iter().map(|m| format!("'{m}'")).collect();
    Some(format!("incompatible remote node '{}' host mode: '{mode}' (expected in [{}])", task.peer, list.join(", ")))
}
