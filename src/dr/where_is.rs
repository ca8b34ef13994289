//! `where`: asks every node of a service what it has, and tells who holds authority, who has which data, and what to
//! type. Writes nothing anywhere; what it learns it forgets.

use super::advice::{self, Told};
use super::common::Instance as Look;
use crate::action::authority::Desk;
use crate::action::{call, gates};
use crate::authority::Here;
use crate::authority::start::{Answers, skew};
use crate::authority::words::{instant, list, span};
use crate::host::Host;
use crate::log::Logger;
use crate::report::where_is::{Authority, Data, Holding, Instance, Verdict, Where};
use crate::service::Service;
use crate::state::authority::Holder;
use crate::state::gate::{Answer, VERSION, Verdict as Word};
use crate::state::replica::State;
use chrono::{DateTime, Duration, Local};

/// Clocks that differ by less are the same: asking takes some seconds.
const CLOCKS: i64 = 60;

/// The state of a copy that is a new image as soon as a broken apply is finished.
const APPLYING: &str = "applying";

/// Asks, and tells.
pub fn look(service: &Service, host: &Host, log: &Logger) -> Where {
    let own = Look::look(host, log, service);
    let own = Own { avail: own.report().avail.name(), running: !own.up().is_empty(), busy: gates::busy(host, &service.name) };
    let mut desk = Desk::load(service, host, log, true, own.running);
    desk.glance();
    let here = desk.here;
    let answers = call::look(service, host, log, &here);
    tell(&here, &own, answers, service.is_flex())
}

/// The service on this node.
#[derive(Debug, Clone, Default)]
pub struct Own<'a> {
    /// Its avail state.
    pub avail: &'a str,
    /// It runs.
    pub running: bool,
    /// What is being done with it at this moment.
    pub busy: Option<String>,
}

/// The same, from what was read and answered.
pub fn tell(here: &Here, instance: &Own, mut answers: Answers, flex: bool) -> Where {
    let mut learned = here.clone();
    learned.resolve(answers.values().map(|a| a.as_ref().ok().filter(|a| a.known())));
    for answer in answers.values().filter_map(|a| a.as_ref().ok()).filter(|a| a.unsure.is_none()) {
        for holder in answer.holder.iter().chain(&answer.rival) {
            learned.learn(holder);
        }
    }
    answers.insert(here.node.clone(), Ok(own(here, &learned, instance)));
    let rows: Vec<Instance> = learned.copies.nodes().filter_map(|node| Some(row(&learned, &here.node, node, answers.get(node)?))).collect();
    let told = Told { here: &learned, answers: &answers, flex, rows: &rows };
    let (verdict, why) = verdict(&told);
    let held = learned.copies.replicated();
    let mut found = Where {
        service: here.service.clone(),
        node: here.node.clone(),
        at: here.now,
        replicated: held,
        verdict,
        holder: learned.holder().ok().filter(|_| held).map(|h| holding(&h)),
        rival: learned.rival().filter(|_| held).map(holding),
        why,
        nodes: Vec::new(),
        remarks: remarks(&told),
        advice: advice::of(&told, verdict),
    };
    found.nodes = rows;
    found
}

fn holding(holder: &Holder) -> Holding {
    let since = (holder.epoch > 0).then_some(holder.since);
    Holding { copy: holder.copy.clone(), node: holder.node.clone(), since, epoch: holder.epoch }
}

/// What this node would answer itself.
fn own(here: &Here, learned: &Here, instance: &Own) -> Answer {
    let run = here.last_run.clone().unwrap_or_default();
    let held = |rid: &String| (rid.clone(), Word { ok: true, why: None, held: Some(learned.held(rid)) });
    Answer {
        version: VERSION,
        service: "known".into(),
        node: here.node.clone(),
        copy: here.copy().map(|c| c.name.clone()),
        epoch: here.highest(),
        avail: Some(instance.avail.to_owned()),
        running: Some(instance.running),
        up_until: run.until.filter(|_| !instance.running),
        crashed: run.crashed && !instance.running,
        busy: instance.busy.clone(),
        receiving: here.receiving(),
        holder: here.holder().ok(),
        rival: here.rival().cloned(),
        promise: here.promise().cloned(),
        abandoned: here.abandoned(),
        unsure: here.record.fault().map(str::to_owned),
        rids: here.copies.rids.iter().map(held).collect(),
        ..Answer::default()
    }
}

fn row(here: &Here, me: &str, node: &str, answer: &Result<Answer, String>) -> Instance {
    let copy = here.copies.of_node(node).filter(|_| here.copies.replicated()).map(|c| c.name.clone());
    let (authority, since, epoch) = authority(here, node, answer.as_ref().ok());
    let mut row = Instance {
        node: node.to_owned(),
        copy,
        answers: answer.is_ok(),
        why: None,
        avail: None,
        running: None,
        busy: None,
        up_until: None,
        crashed: false,
        authority,
        since,
        epoch,
        clock_off: None,
        data: Vec::new(),
    };
    match answer {
        Err(why) => {
            row.why = Some(why.clone());
            row.data = here.copies.rids.iter().filter_map(|rid| sent(here, node, rid)).collect();
        }
        Ok(answer) if !answer.known() => row.why = Some(format!("{node} has no file of {} yet", here.service)),
        Ok(answer) => {
            row.avail = answer.avail.clone();
            row.running = answer.running;
            row.busy = answer.busy.clone();
            row.up_until = answer.up_until;
            row.crashed = answer.crashed;
            // a node that cannot read the file says so with each transfer
            row.why = answer.rids.values().find(|w| answer.avail.is_none() && !w.ok).and_then(|w| w.why.clone());
            row.clock_off = (node != me).then(|| skew(answer, here.now).num_seconds()).filter(|s| s.abs() > CLOCKS);
            row.data = here.copies.rids.iter().map(|rid| data(here, node, rid, answer)).collect();
        }
    }
    row
}

/// What `node` is to the data: since when and in which epoch it holds or claims them.
fn authority(here: &Here, node: &str, answer: Option<&Answer>) -> (Authority, Option<DateTime<Local>>, Option<u64>) {
    let copies = &here.copies;
    let same = |h: &Holder| copies.named(&h.copy, &h.node) == copies.of_node(node);
    let of = |authority, h: &Holder| (authority, Some(h.since).filter(|_| h.epoch > 0), Some(h.epoch));
    if !copies.replicated() {
        return (Authority::None, None, None);
    }
    let holder = here.holder().ok();
    if let Some(rival) = here.rival() {
        return match holder.iter().chain([rival]).find(|h| same(h)) {
            Some(h) => of(Authority::Claims, h),
            None => (Authority::None, None, None),
        };
    }
    if let Some(holder) = holder.as_ref().filter(|h| same(h)) {
        return of(Authority::Holds, holder);
    }
    match answer {
        None => (Authority::Unknown, None, None),
        Some(answer) if answer.known() && (answer.unsure.is_some() || answer.holder.is_none()) => (Authority::Unknown, None, None),
        Some(answer) => match answer.holder.as_ref().filter(|h| same(h)) {
            Some(own) => of(Authority::Claims, own),
            None => (Authority::None, None, None),
        },
    }
}

/// What an answer says of a replication there.
fn data(here: &Here, node: &str, rid: &str, answer: &Answer) -> Data {
    let held = answer.rids.get(rid).and_then(|w| w.held.clone());
    let mut state = held.as_ref().and_then(|h| h.state);
    let holds = here.holding().is_none_or(|h| Some(h) == here.copies.of_node(node));
    if state == Some(State::Live) && !holds && here.rival().is_none() {
        state = Some(State::Orphan); // it has not heard yet that another took over
    }
    if state == Some(State::Orphan) && authority(here, node, Some(answer)).0 == Authority::Claims && here.rival().is_some() {
        state = Some(State::Live); // which of the two gives way is not said yet
    }
    let image = held.as_ref().map(|h| h.image.clone()).unwrap_or_default();
    Data {
        rid: rid.to_owned(),
        state: if held.as_ref().is_some_and(|h| h.applying && state == Some(State::Replica)) {
            Some(APPLYING)
        } else {
            state.map(State::name)
        },
        frozen_at: image.frozen_at,
        round: image.round,
        written_until: held.as_ref().and_then(|h| h.written_until).or_else(|| answer.up_until.filter(|_| state == Some(State::Orphan))),
        kept: held.and_then(|h| h.kept),
        as_sent: false,
    }
}

/// What this node remembers to have sent to one that does not answer.
fn sent(here: &Here, node: &str, rid: &str) -> Option<Data> {
    let sent = here.sent.get(rid)?.get(node)?;
    Some(Data {
        rid: rid.to_owned(),
        state: sent.broken_since.map(|_| State::InProgress.name()),
        frozen_at: sent.image.frozen_at,
        round: sent.image.round.clone(),
        written_until: None,
        kept: None,
        as_sent: true,
    })
}

fn verdict(told: &Told) -> (Verdict, Option<String>) {
    let here = told.here;
    let running: Vec<&str> = told.rows.iter().filter(|r| r.running == Some(true)).map(|r| r.node.as_str()).collect();
    if !here.copies.replicated() {
        return match running.as_slice() {
            [_, _, ..] if !told.flex => (Verdict::Split, Some(format!("{} runs on {}", here.service, list(&running)))),
            _ => (Verdict::Held, None),
        };
    }
    let holder = match here.holder() {
        Ok(holder) => holder,
        Err(why) => return (Verdict::Unknown, Some(why)),
    };
    if let Some(rival) = here.rival() {
        let since = |h: &Holder| format!("{} since {}", h.node, instant(h.since, here.now));
        return (Verdict::Split, Some(format!("{} and {} both hold the data (epoch {})", since(&holder), since(rival), holder.epoch)));
    }
    let astray: Vec<&str> = running.into_iter().filter(|n| here.copies.of_node(n) != here.holding()).collect();
    if astray.is_empty() {
        return (Verdict::Held, None);
    }
    let since = if holder.epoch > 0 { format!(" since {}", instant(holder.since, here.now)) } else { String::new() };
    let why = format!("{} runs on {}, but {} holds the data{since} (epoch {})", here.service, list(&astray), holder.node, holder.epoch);
    (Verdict::Split, Some(why))
}

/// A node that was made ready for data that nobody is giving to it any more: how to go on, and how to undo it.
fn left_ready(told: &Told, row: &Instance) -> Option<String> {
    let here = told.here;
    let ready = told.answers.get(&row.node)?.as_ref().is_ok_and(|answer| answer.receiving);
    let waits = ready && here.copies.of_node(&row.node) != here.holding() && told.rows.iter().all(|r| r.busy.is_none());
    waits.then(|| format!("{} was made ready to be given the data, and that was broken off: {}", row.node, here.go_on(&row.node)))
}

/// Clocks, rounds, takeovers under way.
fn remarks(told: &Told) -> Vec<String> {
    let (here, now) = (told.here, told.here.now);
    let mut said = Vec::new();
    for row in told.rows {
        if let Some(off) = row.clock_off {
            let ahead = if off > 0 { "ahead of" } else { "behind" };
            said.push(format!(
                "the clock of {} is {} {ahead} that of {}: compare times with care",
                row.node,
                span(Duration::seconds(off.abs())),
                here.node
            ));
        }
        let replicas: Vec<&Data> = row.data.iter().filter(|d| d.state == Some(State::Replica.name())).collect();
        if replicas.windows(2).any(|pair| pair.iter().any(|d| Some(&d.round) != pair.first().map(|first| &first.round))) {
            let of =
                |d: &&Data| format!("{} of {}", d.rid, d.frozen_at.map_or_else(|| "an unknown time".to_owned(), |at| instant(at, now)));
            let each: Vec<String> = replicas.iter().map(of).collect();
            said.push(format!("the copies on {} are of different times: {}", row.node, list(&each)));
        }
        if row.crashed
            && let Some(until) = row.up_until
        {
            said.push(format!("{} crashed at {} or later, with {} running", row.node, instant(until, now), here.service));
        }
        said.extend(row.data.iter().filter_map(|d| {
            let kept = d.kept.as_ref()?;
            let what = if d.state == Some(State::InProgress.name()) { "what was on" } else { "an older copy on" };
            let when = if d.state == Some(State::InProgress.name()) { " before the unfinished transfer" } else { "" };
            Some(format!("{}: {what} {}{when} is kept in {kept}", d.rid, row.node))
        }));
    }
    said.extend(told.rows.iter().filter_map(|row| left_ready(told, row)));
    let told_of = told.answers.values().filter_map(|a| a.as_ref().ok()?.promise.clone());
    let known = here.holder().map_or(0, |h| h.epoch);
    let mut promises: Vec<_> = told_of.filter(|p| p.epoch > known).map(|p| (p.node, p.epoch)).collect();
    promises.sort();
    promises.dedup_by(|a, b| a.0 == b.0);
    for (node, epoch) in promises {
        said.push(format!("{node} has begun to take {} over (epoch {epoch})", here.service));
    }
    said
}
