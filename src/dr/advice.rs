//! What to type: the last lines of `where`. Decided by the rules of start, for each node that answered.

use crate::authority::Here;
use crate::authority::start::{Answers, Decision, How, View, decide};
use crate::authority::words::{instant, list, span};
use crate::report::where_is::{Advice, Authority, Instance, Verdict};
use crate::state::authority::{Holder, Known};
use crate::state::gate::Answer;
use crate::state::replica::{Replica, State};
use chrono::Duration;

/// What all nodes have said: the others, and this one.
pub(super) struct Told<'a> {
    /// This node's knowledge, with what the answers add to it.
    pub here: &'a Here,
    /// By node, this one among them.
    pub answers: &'a Answers,
    /// Nodes of a site run side by side.
    pub flex: bool,
    /// A row for each.
    pub rows: &'a [Instance],
}

/// The lines.
pub(super) fn of(told: &Told, verdict: Verdict) -> Vec<Advice> {
    let here = told.here;
    if !here.copies.replicated() {
        return not_replicated(told);
    }
    match (verdict, here.holder()) {
        (Verdict::Split, Ok(holder)) => split(told, &holder),
        (_, Err(_)) => unknown(told),
        (_, Ok(holder)) => match running(told).first() {
            Some(runner) => running_at(told, &holder, runner),
            None => down(told, &holder),
        },
    }
}

fn type_(here: &Here, words: &str) -> String {
    format!("svcmgr -s {} {words}", here.service)
}

fn running<'a>(told: &Told<'a>) -> Vec<&'a Instance> {
    told.rows.iter().filter(|r| r.running == Some(true)).collect()
}

/// The nodes of the holder's copy.
fn holding<'a>(told: &Told<'a>) -> Vec<&'a Instance> {
    told.rows.iter().filter(|r| told.here.copies.of_node(&r.node) == told.here.holding()).collect()
}

fn not_replicated(told: &Told) -> Vec<Advice> {
    let (here, up) = (told.here, running(told));
    let service = &here.service;
    let names: Vec<&str> = up.iter().map(|r| r.node.as_str()).collect();
    match up.as_slice() {
        [] => {
            let home = here.copies.home().map(|c| c.nodes.clone()).unwrap_or_default();
            let there = told.rows.iter().filter(|r| r.answers && r.running.is_some());
            let at = there.clone().find(|r| home.contains(&r.node)).or_else(|| there.clone().next());
            let silent: Vec<&str> = told.rows.iter().filter(|r| !r.answers).map(|r| r.node.as_str()).collect();
            let what = if silent.is_empty() { "to start it".into() } else { format!("if it does not run on {}", list(&silent)) };
            at.map(|r| Advice::on(what, &r.node, type_(here, "start"))).into_iter().collect()
        }
        [_, _, ..] if !told.flex => {
            let stop = |r: &&Instance| Advice::on("to leave one", &r.node, type_(here, "stop"));
            up.iter().map(stop).collect()
        }
        _ => vec![Advice::nothing(format!("{service} runs on {}", list(&names)))],
    }
}

/// Two copies are held or written: for each, how to keep it, and what that gives up.
fn split(told: &Told, holder: &Holder) -> Vec<Advice> {
    let here = told.here;
    let mut sides: Vec<(&Instance, bool)> = Vec::new();
    for row in told.rows.iter().filter(|r| r.authority == Authority::Claims || r.running == Some(true) || r.node == holder.node) {
        // of a copy the node where it runs, as its name goes into the command
        match sides.iter_mut().find(|(r, _)| r.copy == row.copy) {
            Some(side) if row.running == Some(true) => *side = (row, true),
            Some(_) => {}
            None => sides.push((row, row.running == Some(true))),
        }
    }
    let keep = |(row, _): &(&Instance, bool)| {
        let others: Vec<&Instance> = sides.iter().map(|(r, _)| *r).filter(|r| r.copy != row.copy).collect();
        let lost: Vec<String> = others
            .iter()
            .map(|r| {
                let base = r.data.iter().filter(|d| d.state == Some(State::Orphan.name())).filter_map(|d| d.frozen_at).min();
                let since = base.or(r.since).or((holder.epoch > 0).then_some(holder.since));
                let since = since.map_or_else(String::new, |at| format!(" since {}", instant(at, here.now)));
                format!("what {} has written{since}", r.node)
            })
            .collect();
        let loser = others.first().map(|r| r.node.clone()).unwrap_or_default();
        Advice::on(format!("to keep the data of {}", row.node), &row.node, type_(here, &format!("takeover --abandon {loser}")))
            .note(format!("gives up {}", list(&lost)))
    };
    sides.iter().map(keep).collect()
}

fn unknown(told: &Told) -> Vec<Advice> {
    let here = told.here;
    if let Some(up) = running(told).first().filter(|r| r.node != here.node) {
        let ask = Advice::on(
            format!("{} runs on {}. for {} to learn again who holds the data", here.service, up.node, here.node),
            &here.node,
            type_(here, "startstandby"),
        );
        return vec![ask.note("when all other nodes answer")];
    }
    refused(told, &here.node).into_iter().collect()
}

/// The way out that a refused start names.
fn refused(told: &Told, node: &str) -> Option<Advice> {
    match decision(told, node)? {
        Decision::Refuse(refusal) => Some(Advice::just(refusal.remedy)),
        Decision::Go(_) => None,
    }
}

fn running_at(told: &Told, holder: &Holder, runner: &Instance) -> Vec<Advice> {
    let here = told.here;
    let home = here.copies.home();
    if home.is_some() && home != here.holding() {
        return vec![bring_home(told, holder, runner)];
    }
    let others = || told.rows.iter().filter(|r| here.copies.of_node(&r.node) != here.holding());
    let mends: Vec<Advice> = others()
        .flat_map(|row| choice(told, row, runner).or_else(|| mend(told, row, runner).map(|a| vec![a])).unwrap_or_default())
        .collect();
    if !mends.is_empty() {
        return mends;
    }
    let mut parts = vec![format!("{} runs on {}", here.service, runner.node)];
    let said = |row: &Instance| match (row.answers, of_when(told, row)) {
        (true, Some(of)) => format!("{} has its data {of}", row.node),
        (true, None) => format!("{} has a copy of it", row.node),
        (false, Some(of)) => format!("{} does not answer, it was sent data {of}", row.node),
        (false, None) => format!("{} does not answer", row.node),
    };
    parts.extend(others().map(said));
    vec![Advice::nothing(parts.join("; "))]
}

/// `of 18:00:00, 12 min old`: the oldest of what it has.
fn of_when(told: &Told, row: &Instance) -> Option<String> {
    let (at, now) = (row.data.iter().filter_map(|d| d.frozen_at).min()?, told.here.now);
    Some(format!("of {}, {} old", instant(at, now), span(now - at)))
}

fn has(row: &Instance, state: State) -> bool {
    row.data.iter().any(|d| d.state == Some(state.name()))
}

/// All that `row` has of its own was given up, and is not overwritten yet.
fn given_up(told: &Told, row: &Instance) -> bool {
    let mut own = row.data.iter().filter(|d| d.state == Some(State::Orphan.name()));
    row.copy.as_ref().is_some_and(|copy| own.all(|d| told.here.gives_up(copy, &d.rid)))
}

/// `row` has data of its own, and nobody remembers that it took over: someone has to choose whose are kept.
fn choice(told: &Told, row: &Instance, holder: &Instance) -> Option<Vec<Advice>> {
    let here = told.here;
    let until = row.data.iter().filter(|d| d.state == Some(State::Orphan.name())).filter_map(|d| d.written_until).max()?;
    if !row.answers || given_up(told, row) {
        return None;
    }
    let (node, other) = (&row.node, &holder.node);
    let words = if holder.running == Some(true) { format!("sync full --abandon {node}") } else { "start".to_owned() };
    let ours = Advice::on(format!("to keep the data of {other}"), other, type_(here, &words));
    let until = instant(until, here.now);
    Some(vec![
        ours.note(format!("gives up what {node} wrote itself, until {until}")),
        Advice::on(format!("to keep the data of {node}"), node, type_(here, &format!("takeover --abandon {other}")))
            .note(format!("gives up what {other} wrote after the copy on {node} was made")),
    ])
}

/// What makes a copy on `row` again that can be started from.
fn mend(told: &Told, row: &Instance, runner: &Instance) -> Option<Advice> {
    let (here, node) = (told.here, &row.node);
    let on = |what: String, words: &str| Some(Advice::on(what, &runner.node, type_(here, words)));
    if !row.answers {
        return None;
    }
    if has(row, State::Orphan) && given_up(told, row) {
        return on(format!("to make a copy on {node} again"), "sync full")
            .map(|a| a.note(format!("what {node} wrote itself was given up")));
    }
    if has(row, State::Orphan) {
        return on(format!("to make a copy on {node} again"), &format!("sync full --abandon {node}"))
            .map(|a| a.note(format!("gives up what {node} wrote itself")));
    }
    if row.why.is_none() && row.data.iter().any(|d| d.state.is_none()) {
        return on(format!("to make a copy on {node} again"), &format!("sync full --abandon {node}"))
            .map(|a| a.note(format!("what is on {node} now is not known")));
    }
    if row.data.is_empty() || has(row, State::None) || has(row, State::Torn) {
        return on(format!("to make a copy on {node}"), "sync full");
    }
    if has(row, State::InProgress) {
        return on(format!("to make the copy on {node} whole"), "sync update --force");
    }
    None
}

/// The service is not at home.
fn bring_home(told: &Told, holder: &Holder, runner: &Instance) -> Advice {
    let here = told.here;
    let home: Vec<&Instance> = told.rows.iter().filter(|r| here.copies.of_node(&r.node) == here.copies.home()).collect();
    if !home.iter().any(|r| r.answers) {
        let names: Vec<&str> = home.iter().map(|r| r.node.as_str()).collect();
        return Advice::on(format!("to bring it home when {} answers again", list(&names)), &runner.node, type_(here, "giveback"));
    }
    // written there after the takeover: two histories
    let later = home.iter().find_map(|r| {
        let until = r.data.iter().filter(|d| d.state == Some(State::Orphan.name())).filter_map(|d| d.written_until).max()?;
        // each by the clock of its node
        (until - clock(told, &r.node) > holder.away.unwrap_or(holder.since) - clock(told, &holder.node)).then_some((r, until))
    });
    match later {
        Some((row, until)) => {
            let since = instant(holder.since, here.now);
            let give = format!("giveback --abandon {}", row.node);
            Advice::on("to bring it home", &runner.node, type_(here, &give)).note(format!(
                "gives up what {0} wrote after the takeover, until {1}. to keep that and give up what {2} wrote since {since}: on {0}: {3}",
                row.node,
                instant(until, here.now),
                runner.node,
                type_(here, &format!("takeover --abandon {}", runner.node))
            ))
        }
        None => home_again(told, holder, runner, &home),
    }
}

/// Home has written nothing after the takeover. What it wrote before, and never sent, is lost by coming home; unless
/// what was taken over was not whole: then someone has to choose.
fn home_again(told: &Told, holder: &Holder, runner: &Instance, home: &[&Instance]) -> Advice {
    let here = told.here;
    let advice = Advice::on("to bring it home", &runner.node, type_(here, "giveback"));
    let Some(row) = home.iter().find(|r| has(r, State::Orphan)) else { return advice };
    if holder.partial {
        return advice.note(format!(
            "{0} was started from a copy that was not whole, and {1} has the data it had then: look at both first. to keep those of {1}: on {1}: {2}",
            runner.node,
            row.node,
            type_(here, &format!("takeover --abandon {}", runner.node))
        ));
    }
    let of = row.data.iter().filter_map(|d| d.frozen_at).min().map_or_else(String::new, |at| format!(" after {}", instant(at, here.now)));
    advice.note(format!(
        "gives up what {0} wrote{of} and had not sent when {1} took over: copy it first, if it matters",
        row.node, runner.node
    ))
}

/// How far the clock of `node` is ahead of ours.
fn clock(told: &Told, node: &str) -> Duration {
    Duration::seconds(told.rows.iter().find(|r| r.node == node).and_then(|r| r.clock_off).unwrap_or(0))
}

/// It runs nowhere that answers.
fn down(told: &Told, holder: &Holder) -> Vec<Advice> {
    let here = told.here;
    let holding = holding(told);
    let silent: Vec<&str> = holding.iter().filter(|r| r.running.is_none()).map(|r| r.node.as_str()).collect();
    let goes = |row: &&Instance| row.answers && matches!(decision(told, &row.node), Some(Decision::Go(_)));
    let dead = |text: &str| if silent.is_empty() { text.to_owned() } else { format!("if {} {} dead", list(&silent), are(&silent)) };
    if let Some(row) = holding.iter().find(|r| goes(r)) {
        let ran = holding.iter().filter_map(|r| Some(r.up_until? - clock(told, &r.node))).max();
        let later = |r: &&Instance| {
            let until = r.data.iter().filter(|d| d.state == Some(State::Orphan.name())).filter_map(|d| d.written_until).max();
            told.here.copies.of_node(&r.node) != told.here.holding() && until.is_some_and(|until| Some(until - clock(told, &r.node)) > ran)
        };
        if let Some(both) = told.rows.iter().find(later).and_then(|other| choice(told, other, row)) {
            return both;
        }
        let start = Advice::on(dead("to start it"), &row.node, type_(here, "start"));
        let away = here.copies.home() != here.holding();
        let back = away.then(|| bring_home(told, holder, row));
        return std::iter::once(start).chain(back).collect();
    }
    if holding.iter().all(|r| r.running.is_none()) {
        let mut others = told.rows.iter().filter(|r| here.copies.of_node(&r.node) != here.holding());
        if let Some(row) = others.find(|r| goes(r)) {
            let start = Advice::on(dead(""), &row.node, type_(here, "start"));
            let of = of_when(told, row).unwrap_or_else(|| "of an unknown time".into());
            return vec![start.note(format!("its copy is {of}: what {} wrote after that is not there", list(&silent)))];
        }
    }
    let best = holding.iter().find(|r| r.answers).map_or(here.node.as_str(), |r| r.node.as_str());
    let none = || Advice::just(format!("no node that answers can start {}", here.service));
    vec![refused(told, best).or_else(|| refused(told, &here.node)).unwrap_or_else(none)]
}

fn are(names: &[&str]) -> &'static str {
    if names.len() == 1 { "is" } else { "are" }
}

/// What a start on `node` would come to, if it reaches whom we reach.
fn decision(told: &Told, node: &str) -> Option<Decision> {
    let mut answers: Answers = told.answers.clone();
    let own = answers.remove(node)?.ok().filter(Answer::known)?;
    let mut there = told.here.clone();
    if node != there.node {
        there.node = node.to_owned();
        (there.stamps, there.sent, there.last_run) = Default::default();
        let rids = there.copies.rids.clone();
        there.replicas = rids.into_iter().map(|rid| (rid.clone(), replica(node, &rid, &own, told.here))).collect();
    }
    Some(decide(&View { here: &there, answers: &answers, flex: told.flex }, &How::default()))
}

fn replica(node: &str, rid: &str, answer: &Answer, here: &Here) -> Known<Replica> {
    let held = answer.rids.get(rid).and_then(|w| w.held.clone());
    let Some((held, state)) = held.and_then(|h| h.state.map(|s| (h, s))) else {
        return Known::Unknown(format!("{node} does not say what it has of {rid}"));
    };
    Known::Known(Replica {
        image: held.image,
        written_until: held.written_until,
        kept: held.kept,
        ..Replica::new(node, state, answer.epoch, here.now)
    })
}
