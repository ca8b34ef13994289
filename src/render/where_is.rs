//! The tables of `where`: a line for each node, what to know, what to type.

use super::color::Palette;
use crate::authority::words::{instant, span};
use crate::report::where_is::{Authority, Data, Instance, Verdict, Where};
use chrono::{DateTime, Local};
use tabled::builder::Builder;
use tabled::settings::{Padding, Style};

const NODE: [&str; 2] = ["node", "is"];
const COPY: [&str; 6] = ["authority", "data", "of", "age", "written", "answers"];

/// States of data, the worst first.
const WORST: [Option<&str>; 8] =
    [None, Some("none"), Some("torn"), Some("in progress"), Some("orphan"), Some("applying"), Some("replica"), Some("live")];

/// One service: its table, then the lines.
pub fn one(found: &Where, palette: Palette) -> String {
    let mut table = Builder::default();
    if found.replicated {
        table.push_record(["copy"].into_iter().chain(NODE).chain(COPY));
        found.nodes.iter().for_each(|row| table.push_record(cells(found, row)));
    } else {
        table.push_record(NODE.into_iter().chain(["answers"]));
        found.nodes.iter().for_each(|row| table.push_record([row.node.clone(), is(row), answers(found, row)]));
    }
    let mut out = drawn(table);
    lines(found, palette).iter().for_each(|line| out.push_str(&format!("{line}\n")));
    out
}

/// Several services: one table, then the lines of each that needs something done.
pub fn many(found: &[Where], palette: Palette) -> String {
    let mut table = Builder::default();
    table.push_record(["service", "copy"].into_iter().chain(NODE).chain(COPY));
    for service in found {
        for row in &service.nodes {
            table.push_record(std::iter::once(service.service.clone()).chain(cells(service, row)));
        }
    }
    let mut out = drawn(table);
    let (well, other): (Vec<&Where>, Vec<&Where>) =
        found.iter().partition(|f| f.verdict == Verdict::Held && f.advice.iter().all(|a| a.idle));
    for service in &other {
        let name = palette.bold(&service.service);
        lines(service, palette).iter().for_each(|line| out.push_str(&format!("{name}: {line}\n")));
    }
    out.push_str(&format!("{} services, nothing to do for {}\n", found.len(), well.len()));
    out
}

fn drawn(table: Builder) -> String {
    let mut table = table.build();
    table.with(Style::empty()).with(Padding::new(0, 2, 0, 0));
    table.to_string().lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn lines(found: &Where, palette: Palette) -> Vec<String> {
    let why = found.why.as_deref().unwrap_or_default();
    let verdict = match found.verdict {
        Verdict::Held => None,
        Verdict::Split => Some(format!("split: {why}")),
        Verdict::Unknown => Some(format!("it is not known who holds the data: {why}")),
    };
    let verdict = verdict.map(|v| palette.error(&v));
    let remarks = found.remarks.iter().map(|r| palette.warning(r));
    verdict.into_iter().chain(remarks).chain(found.advice.iter().map(ToString::to_string)).collect()
}

fn cells(found: &Where, row: &Instance) -> Vec<String> {
    let copy = row.copy.clone().unwrap_or_else(|| "-".into());
    if !found.replicated {
        let none = ["-", "-", "-", "-", "-"].map(str::to_owned);
        return [copy, row.node.clone(), is(row)].into_iter().chain(none).chain([answers(found, row)]).collect();
    }
    let data = Worst::of(found, row);
    vec![copy, row.node.clone(), is(row), authority(row), data.state, data.of, data.age, data.written, answers(found, row)]
}

fn is(row: &Instance) -> String {
    let state = match (&row.avail, row.running) {
        _ if !row.answers => "no answer".to_owned(),
        (Some(avail), Some(true)) if avail != "up" => format!("{avail}, runs"),
        (Some(avail), _) => avail.clone(),
        (None, _) => "not there".to_owned(),
    };
    row.busy.as_ref().map_or(state.clone(), |busy| format!("{state} ({busy})"))
}

fn authority(row: &Instance) -> String {
    let with = |verb: &str| match (row.since, row.epoch) {
        (Some(at), Some(epoch)) => format!("{verb} since {} (epoch {epoch})", at.format("%Y-%m-%d %H:%M:%S")),
        (_, epoch) => format!("{verb} (epoch {})", epoch.unwrap_or(0)),
    };
    match row.authority {
        Authority::Holds => with("holds"),
        Authority::Claims => with("claims to hold"),
        Authority::None => "-".into(),
        Authority::Unknown => "not known".into(),
    }
}

fn answers(found: &Where, row: &Instance) -> String {
    let word = match row.answers {
        true if row.node == found.node => "here",
        true => "yes",
        false => "no",
    };
    row.why.as_ref().map_or(word.to_owned(), |why| format!("{word}: {why}"))
}

/// What a node has, of all replications the worst.
struct Worst {
    state: String,
    of: String,
    age: String,
    written: String,
}

impl Worst {
    fn of(found: &Where, row: &Instance) -> Self {
        let rank = |d: &Data| WORST.iter().position(|w| *w == d.state).unwrap_or(0);
        let Some(worst) = row.data.iter().min_by_key(|d| rank(d)) else {
            let state = if row.answers && row.avail.is_none() { "none" } else { "not known" };
            return Self { state: state.into(), of: "-".into(), age: "-".into(), written: "-".into() };
        };
        let same: Vec<&str> = row.data.iter().filter(|d| d.state == worst.state).map(|d| d.rid.as_str()).collect();
        let state = worst.state.unwrap_or("not known");
        let state = if same.len() == row.data.len() { state.to_owned() } else { format!("{state} ({})", same.join(", ")) };
        let at = |at: Option<DateTime<Local>>| at.map_or_else(|| "-".to_owned(), |at| instant(at, found.at));
        let age = |at: Option<DateTime<Local>>| at.map_or_else(|| "-".to_owned(), |at| span(found.at - at));
        let until =
            |at: Option<DateTime<Local>>| at.map_or_else(|| "not known".to_owned(), |at| format!("until {}", instant(at, found.at)));
        let frozen = row.data.iter().filter_map(|d| d.frozen_at).min();
        // who shares the data writes them too
        let same = || found.nodes.iter().filter(|r| r.copy == row.copy);
        let last = same().filter_map(|r| r.up_until).max();
        match worst.state {
            Some("live") if same().any(|r| r.running == Some(true)) => {
                Self { state, of: "now".into(), age: "-".into(), written: "now".into() }
            }
            Some("live") => Self { state, of: at(last), age: age(last), written: until(last) },
            _ if worst.as_sent => Self {
                state,
                of: frozen.map_or_else(|| "-".to_owned(), |f| format!("last sent {}", instant(f, found.at))),
                age: age(frozen),
                written: "-".into(),
            },
            Some("orphan") => {
                let written = if row.running == Some(true) { "now".into() } else { until(worst.written_until) };
                Self { state, of: at(frozen), age: age(frozen), written }
            }
            Some("replica" | "applying") => Self { state, of: at(frozen), age: age(frozen), written: "no".into() },
            _ => Self { state, of: at(frozen), age: age(frozen), written: "-".into() },
        }
    }
}
