//! What is to be sent, before anybody is asked: selection, site, schedule, state of the service.

use super::{Task, Work};
use crate::action::Id;
use crate::action::select::Selection;
use crate::config::scope::Scope;
use crate::error::Error;
use crate::log::Level;
use crate::service::{Res, status};
use crate::status::Status;
use crate::sync::schedule::{Decision, from_future};
use crate::sync::{Class, SyncDriver};

/// The enabled syncs of the action, last rid first, as 2014. rsync compares both sides each time: of it nobody expects
/// a resync or a verify.
pub(super) fn candidates<'a>(work: &Work<'a>, selection: &Selection) -> impl Iterator<Item = &'a Res> {
    let with_internal = matches!(work.id, Id::SyncNodes | Id::SyncDrp | Id::SyncAll);
    let wanted = |r: &&Res| !r.disable && !r.no_action() && selection.has(&r.rid);
    let mut all: Vec<&Res> = work.service.resources.iter().filter(wanted).collect();
    all.retain(|r| r.sync().is_some_and(|s| with_internal || !s.internal()));
    all.retain(|r| !(matches!(work.id, Id::SyncResync | Id::SyncVerify) && r.rtype == "sync.rsync"));
    all.sort_by(|a, b| b.rid.cmp(&a.rid));
    all.into_iter()
}

/// What this node may and should send now.
pub(super) fn tasks<'a>(work: &Work<'a>, selection: &Selection) -> Vec<Task<'a>> {
    let scope = &work.service.config.scope;
    let all: Vec<&Res> = candidates(work, selection).collect();
    // who holds authority sends, whatever its site; nothing replicated, the primary site does
    if scope.is_drp() && !work.here.copies.replicated() {
        if let Some(first) = all.first() {
            work.chat(first, "won't sync from a node of the recovery site");
        }
        return Vec::new();
    }
    let mut tasks = Vec::new();
    for res in &all {
        let Some(driver) = res.sync() else { continue };
        if work.service.is_flex() && !sends_for_site(scope) {
            work.chat(res, "won't sync this resource from a flex non-primary node");
            continue;
        }
        tasks.extend(due(work, res, driver));
    }
    if tasks.is_empty() {
        let data = all.iter().find(|r| work.here.copies.rids.contains(&r.rid));
        if let Some(res) = data.filter(|_| scope.is_drp() && scope.drpnodes.len() == 1) {
            work.chat(res, "nothing is sent: this site has no other copy, and giveback is the way home");
        }
        return tasks;
    }
    not_applicable(work, &all);
    state_allows(work, &mut tasks);
    guard_prd(work, &mut tasks);
    ready(work, &mut tasks);
    tasks
}

/// Of flex nodes that all run the service, one sends.
fn sends_for_site(scope: &Scope) -> bool {
    if !scope.is_drp() {
        return scope.flex_primary == scope.node;
    }
    let named = scope.drpnodes.iter().find(|n| **n == scope.drp_flex_primary);
    named.or(scope.drpnodes.first()) == Some(&scope.node)
}

/// The targets of one sync that its schedule lets be sent to.
fn due<'a>(work: &Work<'a>, res: &'a Res, driver: &'a dyn SyncDriver) -> Vec<Task<'a>> {
    let mut tasks: Vec<Task> = Vec::new();
    let cx_log = work.logger(res);
    let cx = work.service.cx(work.host, &cx_log, res, work.options.force);
    let scheduled = !work.options.force && !matches!(work.id, Id::SyncFull | Id::SyncResync | Id::SyncVerify);
    for class in work.classes().iter().filter(|c| driver.targets().contains(c)) {
        if cx.scope.is_drp() && (*class == Class::Nodes || driver.in_any_state()) {
            if !driver.internal() {
                work.chat(res, "won't sync to nodes from the recovery site: giveback brings the service home");
            }
            continue;
        }
        for peer in class.peers(cx.scope) {
            if tasks.iter().any(|t| t.peer == peer) {
                continue; // in both classes
            }
            let last = driver.last(&cx, &peer);
            if let Some(last) = last.filter(|last| from_future(work.started, *last)) {
                let last = last.format("%Y-%m-%d %H:%M:%S");
                work.say(res, Level::Warning, format!("the stamp of the last sync to {peer} is of {last}, which is to come: the clock is wrong now or was then. taken as no stamp"));
            }
            if scheduled {
                match driver.schedule().decide(work.started, last) {
                    Decision::Skip(why) => {
                        work.say(res, Level::Info, why);
                        continue;
                    }
                    Decision::Run(Some(note)) => work.say(res, Level::Info, note),
                    Decision::Run(None) => {}
                }
            }
            match work.routes.driver(res, &peer) {
                Ok(driver) => tasks.push(Task { res, driver, peer, class: *class, held: None }),
                Err(why) => work.fail_with(res, &Error::Text(why)),
            }
        }
    }
    tasks
}

fn not_applicable(work: &Work, all: &[&Res]) {
    if !matches!(work.id, Id::SyncNodes | Id::SyncDrp | Id::SyncAll) {
        return;
    }
    for (res, driver) in all.iter().filter_map(|r| Some((r, r.sync()?))) {
        for class in work.classes().iter().filter(|c| !driver.targets().contains(c)) {
            work.chat(res, format!("{} sync not applicable to {}", driver.route(), class.word()));
        }
    }
}

/// Only a service that is up has data worth sending; a standby one is a copy itself.
fn state_allows(work: &Work, tasks: &mut Vec<Task>) {
    if tasks.iter().all(|t| t.driver.in_any_state()) {
        return;
    }
    let report = status::evaluate(work.service, work.host, &work.log, status::Depth::NoSync);
    // without app, as 2014: an application that is down for a backup must not stop the replication
    let groups = ["container", "ip", "disk", "fs", "share"].into_iter().filter_map(|g| report.groups.get(g));
    let state = groups.fold(Status::Na, |all, s| all.merge(*s)).fold();
    if state == Status::Up {
        return;
    }
    // of the holder, data that are always on here are the service's own
    if state == Status::StdbyUp && work.here.copies.replicated() && work.service.config.scope.is_drp() {
        return;
    }
    if state == Status::Na {
        return only_home_sends(work, tasks);
    }
    tasks.retain(|task| {
        if task.driver.in_any_state() {
            return true;
        }
        if state == Status::Warn {
            work.chat(task.res, "won't sync this resource service in warn status");
        }
        work.chat(task.res, "won't sync this resource for a service not up");
        false
    });
}

/// Nothing tells where the service runs: it has no address, no filesystem. One of its nodes alone sends, so that
/// a node with old data does not overwrite one with new data.
fn only_home_sends(work: &Work, tasks: &mut Vec<Task>) {
    let scope = &work.service.config.scope;
    let home = work.service.autostart_node.first().map(|n| n.to_lowercase()).or_else(|| scope.nodes.first().cloned()).unwrap_or_default();
    // of flex nodes the primary sends
    let alone = work.here.copy().is_some_and(|copy| copy.nodes.len() < 2);
    if alone || home == scope.node || work.service.is_flex() {
        return;
    }
    tasks.retain(|task| {
        if task.driver.in_any_state() {
            return true;
        }
        work.chat(task.res, format!("won't sync this resource: no ip, fs or container tells where the service runs, so only {home} sends (autostart_node, else the first of nodes)"));
        false
    });
}

/// A production service that runs on a node that is not for production (a recovery, a test) sends nothing.
fn guard_prd(work: &Work, tasks: &mut Vec<Task>) {
    if work.service.service_type != "PRD" || work.host.conf.host_mode() == "PRD" {
        return;
    }
    for task in tasks.drain(..) {
        work.say(task.res, Level::Info, "won't sync a PRD service running on a !PRD node");
        work.fail(task.res);
    }
}

/// Drops the syncs whose source is not there.
pub(super) fn ready(work: &Work, tasks: &mut Vec<Task>) {
    let mut refused: Vec<String> = Vec::new();
    for task in tasks.iter() {
        if refused.contains(&task.res.rid) {
            continue;
        }
        let log = work.logger(task.res);
        if let Err(e) = task.driver.ready(&work.service.cx(work.host, &log, task.res, false)) {
            work.fail_with(task.res, &e);
            refused.push(task.res.rid.clone());
        }
    }
    tasks.retain(|t| !refused.contains(&t.res.rid));
}

/// The class a peer belongs to.
pub(super) fn class_of(work: &Work, peer: &str) -> Class {
    if work.service.config.scope.nodes.iter().any(|n| n == peer) { Class::Nodes } else { Class::Drpnodes }
}
