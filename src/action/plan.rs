//! Decides, without doing: which resources an action starts or stops, in which order, and why.

use super::select::Selection;
use super::{Group, Id};
use crate::host::Host;
use crate::report::ServiceReport;
use crate::resource::{Resource, Sequence};
use crate::service::{Res, Service};
use serde::Serialize;

/// What is done to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// Made up.
    Start,
    /// Made down.
    Stop,
    /// Left as it is: standby, and no `--force`.
    Skip,
}

/// One resource's part in an action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Which.
    pub rid: String,
    /// What is done.
    pub verb: Verb,
    /// What it is.
    pub label: String,
    /// Why it is done, or skipped.
    pub why: String,
    /// A failure does not stop the action.
    pub optional: bool,
}

/// The members of one set, done one after the other or at the same time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stage {
    /// `fs`, `fs:a`.
    pub set: String,
    /// At the same time.
    pub parallel: bool,
    /// In order.
    pub steps: Vec<Step>,
}

/// Everything an action will do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub struct Plan {
    /// The service.
    pub service: String,
    /// The action.
    pub action: String,
    /// What comes before all steps: authority taken over, and what the person at the terminal should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub first: Vec<String>,
    /// Nothing of it would be done now: why, and what to type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// In order.
    pub stages: Vec<Stage>,
}

/// One pass over the resources: all starts or all stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pass {
    /// Start or stop.
    pub verb: Verb,
    /// The parts, in start order.
    pub groups: &'static [&'static str],
    /// Only what is always on here.
    pub standby_only: bool,
    /// Standby resources are stopped too.
    pub force: bool,
    /// Apps go by their sequence numbers (not so in startstandby and shutdown).
    pub by_sequence: bool,
}

/// Start order. Disks: loops before volume groups. hb is stopped first.
const ALL: &[&str] = &["ip", "disk.loop", "disk", "fs", "share", "container", "app", "hb"];

impl Pass {
    /// A whole start.
    pub const START: Self = Self { verb: Verb::Start, groups: ALL, standby_only: false, force: false, by_sequence: true };

    /// A whole stop.
    pub fn stop(force: bool) -> Self {
        Self { verb: Verb::Stop, force, ..Self::START }
    }

    /// The pass of an action that is one pass. `None` for those that are not.
    pub fn of(id: Id, force: bool) -> Option<Self> {
        let start = |groups| Some(Self { groups, ..Self::START });
        let stop = |groups| Some(Self { groups, ..Self::stop(force) });
        match id {
            Id::Start => Some(Self::START),
            Id::Stop => Some(Self::stop(force)),
            Id::Shutdown => Some(Self { by_sequence: false, ..Self::stop(true) }),
            Id::StartStandby => Some(Self { standby_only: true, by_sequence: false, ..Self::START }),
            Id::StartGroup(group) => start(parts(group)),
            Id::StopGroup(group) => stop(parts(group)),
            _ => None,
        }
    }
}

fn parts(group: Group) -> &'static [&'static str] {
    match group {
        Group::Ip => &["ip"],
        Group::Disk => &["disk.loop", "disk"],
        Group::Vg => &["disk.vg"],
        Group::Loop => &["disk.loop"],
        Group::Pool => &["disk.zpool"],
        Group::Fs => &["disk.loop", "disk", "fs"],
        Group::Share => &["share"],
        Group::Container => &["container"],
        Group::App => &["app"],
    }
}

fn is_part(res: &Res, part: &str, all: &[&str]) -> bool {
    if part.contains('.') {
        return res.rtype == part;
    }
    // "disk" is what the disks named one by one leave
    res.rtype.split('.').next() == Some(part) && !all.iter().any(|p| p.contains('.') && *p == res.rtype)
}

/// The plan of one pass. With a report, resources that are already as wanted say so.
pub fn plan(service: &Service, host: &Host, name: &str, pass: &Pass, selection: &Selection, report: Option<&ServiceReport>) -> Plan {
    let mut parts = pass.groups.to_vec();
    if pass.verb == Verb::Stop {
        parts.reverse();
    }
    let mut stages = Vec::new();
    for part in parts {
        let mut members: Vec<&Res> = service
            .resources
            .iter()
            .filter(|r| r.run().is_some_and(|run| run.inside().is_none()) && is_part(r, part, pass.groups))
            .collect();
        sort(&mut members, pass);
        for set in members.chunk_by(|a, b| a.set() == b.set()) {
            for res in in_order(service, set, pass, selection) {
                add(&mut stages, service, res, step(res, host, pass, report));
            }
        }
    }
    Plan { service: service.name.clone(), action: name.into(), first: Vec::new(), refused: None, stages }
}

/// The action is about it.
fn wanted(res: &Res, pass: &Pass, selection: &Selection) -> bool {
    !res.disable && !res.no_action() && selection.has(&res.rid) && (!pass.standby_only || res.standby)
}

/// The members of a set that the action is about, with the addresses in them: an address is in its container's network,
/// so it comes after that and goes before. Those of members that act at the same time come after, or go before, them all.
fn in_order<'a>(service: &'a Service, set: &[&'a Res], pass: &Pass, selection: &Selection) -> Vec<&'a Res> {
    let parallel = set.first().is_some_and(|r| service.parallel_sets.contains(&set_name(r)));
    let groups: Vec<&[&Res]> = if parallel { vec![set] } else { set.chunks(1).collect() };
    let mut order = Vec::new();
    for group in groups {
        let own = group.iter().copied().filter(|r| wanted(r, pass, selection));
        let inner = group.iter().flat_map(|r| tenants(service, r, pass, selection));
        match pass.verb {
            Verb::Stop => order.extend(inner.chain(own)),
            _ => order.extend(own.chain(inner)),
        }
    }
    order
}

/// The addresses in the container `res` that go with it: those selected, and all when the container is.
fn tenants<'a>(service: &'a Service, res: &Res, pass: &Pass, selection: &Selection) -> Vec<&'a Res> {
    let follows = wanted(res, pass, selection);
    let inside = service.resources.iter().filter(|r| r.run().and_then(Resource::inside) == Some(&res.rid));
    let mut inside: Vec<&Res> = inside.filter(|r| !r.disable && !r.no_action() && (follows || wanted(r, pass, selection))).collect();
    inside.sort_by(|a, b| if pass.verb == Verb::Stop { b.rid.cmp(&a.rid) } else { a.rid.cmp(&b.rid) });
    inside
}

fn add(stages: &mut Vec<Stage>, service: &Service, res: &Res, step: Step) {
    let set = res.set();
    match stages.last_mut() {
        Some(Stage { set: last, steps, .. }) if *last == set => steps.push(step),
        _ => {
            let parallel = service.parallel_sets.contains(&set_name(res));
            stages.push(Stage { set, parallel, steps: vec![step] });
        }
    }
}

/// `fs:a`, as `[subset#fs:a]` names it: by the kind of section, not the full type.
fn set_name(res: &Res) -> String {
    format!("{}:{}", crate::rid::split(&res.rid).0.to_lowercase(), res.subset.as_deref().unwrap_or(""))
}

fn sort(members: &mut [&Res], pass: &Pass) {
    let stop = pass.verb == Verb::Stop;
    let sequence = |r: &Res| {
        let number = if stop { Sequence::Stop } else { Sequence::Start };
        r.run().filter(|_| pass.by_sequence).and_then(|run| run.sequence(number))
    };
    let key = |r: &Res| r.run().map_or_else(|| r.rid.clone(), |run| run.sort_key(&r.rid));
    members.sort_by(|a, b| {
        let sets = a.set().cmp(&b.set());
        let keys = (key(a), &a.rid).cmp(&(key(b), &b.rid));
        // sets and members go backwards at stop; the numbers of apps ascend in both
        let (sets, keys) = if stop { (sets.reverse(), keys.reverse()) } else { (sets, keys) };
        sets.then(sequence(a).cmp(&sequence(b))).then(keys)
    });
}

fn step(res: &Res, host: &Host, pass: &Pass, report: Option<&ServiceReport>) -> Step {
    let now = report.and_then(|r| r.resources.iter().find(|row| row.rid == res.rid)).map(|row| row.status);
    let skip = pass.verb == Verb::Stop && res.standby && !pass.force;
    let as_wanted = now.is_some_and(|s| if pass.verb == Verb::Start { s.is_up() } else { matches!(s.name(), "down" | "stdby down") });
    let why = match now {
        _ if skip => "always on here (--force to override)".into(),
        Some(status) if as_wanted => format!("already {}", status.name()),
        Some(status) => format!("is {}", status.name()),
        None if pass.standby_only => "always on here".into(),
        None => "part of the action".into(),
    };
    let verb = if skip { Verb::Skip } else { pass.verb };
    Step { rid: res.rid.clone(), verb, label: res.label(host), why, optional: res.optional }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
