//! start, stop and the actions made of them: restart, boot, shutdown, switch, group actions, rollback.

use super::authority::{self, Desk};
use super::execute::Run;
use super::passes::{made, one_pass, stop, stopped};
use super::plan::{Pass, Plan, plan};
use super::select::Selection;
use super::{Id, Info, Options, data, gates, handover};
use crate::authority::start::{self as rules, Boot, How, View};
use crate::authority::words::span;
use crate::cmd::Cmd;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::host::boot::booted_at;
use crate::log::{Event, Logger, Memory};
use crate::report::ServiceReport;
use crate::resource::Resource;
use crate::service::instance::Instance;
use crate::service::{Res, Service, status};
use crate::state::alive;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long a remote start may take in a switch.
const REMOTE_START_TIMEOUT: Duration = Duration::from_secs(3600);

/// Does one of the actions of class Run.
pub fn act(service: &Service, host: &Host, log: &Logger, info: &Info, options: &Options) -> Result<()> {
    let selection = Selection::of(service, options)?;
    let run = Run::new(service, host, log, options);
    match info.id {
        Id::Start => start(&run, "start", &selection),
        Id::Restart => {
            // before the stop: the start after it will not be refused
            let how = How { force: run.options.force, ..How::default() };
            agree(&run, &how).map_err(|e| stopped(&run, "restart", e))?;
            stop(&run, &selection).and_then(|()| start(&run, "start", &selection))
        }
        Id::Boot => boot(&run, &selection),
        Id::Switch => switch(&run, &selection),
        Id::ResourceMonitor => monitor(&run, &selection),
        Id::Handover | Id::Prepare => give_or_receive(&run, info).map_err(|e| stopped(&run, info.name, e)),
        id => match Pass::of(id, options.force) {
            Some(pass) if id == Id::StartStandby => {
                authority::recall(&run);
                _ = run.ground.set(Box::new(data::standby));
                one_pass(&run, info.name, &pass, &selection)
            }
            Some(pass) if matches!(id, Id::StartGroup(_)) => start_group(&run, info, &pass, &selection),
            Some(pass) => one_pass(&run, info.name, &pass, &selection),
            None => Err(Error::text(format!("{} is not supported by this version", info.name))),
        },
    }
}

/// What a peer asks for that takes over, or that comes home.
fn give_or_receive(run: &Run, info: &Info) -> Result<()> {
    let options = run.options;
    // at once: what is done here takes its time
    let skew = options.clock.map_or_else(chrono::Duration::zero, |theirs| theirs - run.host.clock.now());
    let peer = |named: &Option<String>, flag: &str| {
        named.clone().ok_or_else(|| Error::text(format!("{} takes {flag} NODE; it is called by svcmgr itself", info.name)))
    };
    if info.id == Id::Handover {
        return handover::handover(run, &peer(&options.to, "--to")?.to_lowercase());
    }
    let from = peer(&options.from, "--from")?;
    if options.undo {
        return handover::unprepare(run);
    }
    let own = options.abandon.as_ref().is_some_and(|n| *n == run.host.node);
    handover::prepare(run, &from, skew, own)
}

/// What `--plan` shows: the passes of an action, with the state each resource is in.
pub fn plans(service: &Service, host: &Host, log: &Logger, info: &Info, options: &Options) -> Result<Vec<Plan>> {
    let selection = Selection::of(service, options)?;
    let report = status::evaluate(service, host, log, status::Depth::NoSync);
    let of = |name: &str, pass: &Pass, report: Option<&ServiceReport>| plan(service, host, name, pass, &selection, report);
    let boot = if service.is_autostart() && service.hbs().next().is_none() { Id::Start } else { Id::StartStandby };
    let (mut first, mut refused) = (Vec::new(), None);
    if matches!(info.id, Id::Start | Id::Restart | Id::Takeover | Id::StartGroup(_)) {
        let how = How { takeover: info.id == Id::Takeover, force: options.force, abandon: options.abandon.clone() };
        (first, refused) = authority::foresee(service, host, log, &how)?;
    }
    let mut plans = match info.id {
        Id::Takeover => vec![of("start", &Pass::START, Some(&report))],
        Id::Giveback => {
            first.push("bring home what has changed, in rounds, while the service runs here".into());
            first.push("stop, send the last writes, give authority to home, start there".into());
            vec![of("stop", &Pass::stop(false), Some(&report))]
        }
        Id::Restart => vec![of("stop", &Pass::stop(options.force), Some(&report)), of("start", &Pass::START, None)],
        Id::Switch => vec![of("stop", &Pass::stop(options.force), Some(&report))],
        id => {
            let id = if id == Id::Boot { boot } else { id };
            Pass::of(id, options.force).map(|pass| of(info.name, &pass, Some(&report))).into_iter().collect()
        }
    };
    if let Some(plan) = plans.first_mut() {
        plan.first = first;
        plan.refused = refused.map(|r| r.to_string());
    }
    Ok(plans)
}

fn start(run: &Run, name: &str, selection: &Selection) -> Result<()> {
    gates::affinity(run.service, run.host, run.log, run.options)?;
    let how = How { force: run.options.force, ..How::default() };
    let agreed = agree(run, &how).map_err(|e| stopped(run, name, e))?;
    begin(run, name, agreed, &how, selection)
}

/// Asks the peers whether the service may start here, when this node itself knows what its data are.
pub fn agree<'a>(run: &Run<'a>, how: &How) -> Result<authority::Agreed<'a>> {
    data::settle(run)?;
    authority::agree(run, how)
}

/// A start that is agreed on. Authority that was taken for a start that comes to nothing goes back.
pub fn begin(run: &Run, name: &str, mut agreed: authority::Agreed, how: &How, selection: &Selection) -> Result<()> {
    if let Err(e) = conflicts(run, selection) {
        if agreed.handed.is_some() {
            let before = agreed.before();
            authority::hand_back(&mut agreed.desk, &agreed.answers, &before);
        }
        return Err(stopped(run, name, e));
    }
    cleared_pass(run, name, agreed, how, &Pass::START, selection)
}

fn cleared_pass(run: &Run, name: &str, agreed: authority::Agreed, how: &How, pass: &Pass, selection: &Selection) -> Result<()> {
    let (before, handed, started) = (agreed.before(), agreed.handed.is_some(), run.host.clock.now());
    let images = agreed.desk.here.images();
    let mut cleared = authority::clear(run, agreed, how).map_err(|e| stopped(run, name, e))?;
    _ = run.ground.set(Box::new(move |run| data::begin(run, &images)));
    let done = one_pass(run, name, pass, selection);
    if done.is_err() {
        undone(run);
    }
    let gained = cleared.taken || handed;
    if done.is_err() && gained && !run.ran.load(Ordering::SeqCst) && !run.options.disable_rollback {
        authority::hand_back(&mut cleared.desk, &cleared.answers, &before);
    }
    if cleared.taken {
        let from = before.holder().map_or_else(|_| String::new(), |h| h.node);
        authority::remember(run, "takeover", &from, started, &done);
    }
    done
}

/// A run that has come to nothing is over; else it would look like one that a crash has ended.
fn undone(run: &Run) {
    run.host.facts.forget();
    if run.options.dry_run || !Instance::look(run.service, run.host, run.log).up(false).is_empty() {
        return;
    }
    if let Err(e) = authority::stopped(run.service, run.host, run.log) {
        run.log.warning(e.to_string());
    }
}

/// The parts of a start. Who may not start all of the service may not start a part of it.
fn start_group(run: &Run, info: &Info, pass: &Pass, selection: &Selection) -> Result<()> {
    let how = How { force: run.options.force, ..How::default() };
    let agreed = agree(run, &how).map_err(|e| stopped(run, info.name, e))?;
    cleared_pass(run, info.name, agreed, &how, pass, selection)
}

/// Asks all addresses at the same time whether they are taken elsewhere; nothing has been changed yet.
fn conflicts(run: &Run, selection: &Selection) -> Result<()> {
    let asked: Vec<(&Res, &dyn Resource)> = run
        .service
        .resources
        .iter()
        .filter(|r| !r.disable && !r.no_action() && selection.has(&r.rid))
        .filter_map(|r| r.run().map(|driver| (r, driver)))
        .collect();
    let answers: Vec<Result<()>> = std::thread::scope(|scope| {
        let threads: Vec<_> = asked
            .iter()
            .map(|(res, driver)| {
                scope.spawn(move || {
                    let said = Arc::new(Memory::default());
                    let log = run.log.child(&res.log_name()).with_sink(said.clone());
                    (driver.conflict(&run.service.cx(run.host, &log, res, run.options.force)), said.take())
                })
            })
            .collect();
        // what they said is shown in the order of the resources
        let show = |(answer, said): (Result<()>, Vec<Event>)| {
            said.iter().for_each(|event| run.log.emit(event));
            answer
        };
        threads.into_iter().map(|t| t.join().map_or_else(|_| Err(Error::text("internal error")), show)).collect()
    });
    answers.into_iter().collect()
}

/// A copy that holds authority away from home is not started by boot: that has to be said, as nobody else starts it.
fn tell_holder(run: &Run) {
    let here = Desk::load(run.service, run.host, run.log, true, false).here;
    if here.copies.replicated() && here.holds() && here.holder().is_ok_and(|h| h.epoch > 0) && here.copies.home() != here.copy() {
        let (name, node) = (&run.service.name, &run.host.node);
        run.log.warning(format!("{node} holds the data of {name}, and boot does not start it: {node} is no autostart_node. to start it, on {node}: svcmgr -s {name} start"));
    }
}

fn boot(run: &Run, selection: &Selection) -> Result<()> {
    let standby = Pass { standby_only: true, by_sequence: false, ..Pass::START };
    if run.service.is_autostart() && run.service.hbs().next().is_none() {
        match boot_decision(run)? {
            None => match start(run, "start", selection) {
                Ok(()) => return Ok(()),
                Err(_) => run.log.info("start failed. try to start standby"),
            },
            Some(why) => run.log.warning(format!("{} is not started by boot: {why}", run.service.name)),
        }
    }
    authority::recall(run);
    let run = &Run::new(run.service, run.host, run.log, run.options);
    _ = run.ground.set(Box::new(data::standby));
    one_pass(run, "startstandby", &standby, selection)?;
    tell_holder(run);
    Ok(())
}

/// Whether a boot starts the service: why not. Waits for another copy to answer, `boot_wait` at most and once for all
/// services of the command.
fn boot_decision(run: &Run) -> Result<Option<String>> {
    let wait = run.service.boot_wait();
    let alone = run.service.boot_alone().map(|alone| chrono::Duration::from_std(alone).unwrap_or(chrono::Duration::MAX));
    let (var, now) = (&run.host.paths.var, run.host.clock.now());
    // a stamp that is to come: the clock was set back, and what it says of the boot is as wrong
    let seen = alive::last(var).filter(|last| *last > now).or_else(|| alive::before(var, booted_at()));
    let down = seen.map(|seen| now - seen);
    let begun = Instant::now();
    let mut said = false;
    let mut desk = Desk::load(run.service, run.host, run.log, run.options.dry_run, false);
    loop {
        let answers = desk.look()?;
        let ended = run.options.dry_run || begun.elapsed() >= wait;
        let over = ended || run.host.peers.waited();
        let view = View { here: &desk.asking(), answers: &answers, flex: run.service.is_flex() };
        let decided = rules::boot(&view, down, alone, over);
        // who is at work with this service is waited for again with the next
        if over && !matches!(decided, Boot::Busy(_)) {
            run.host.peers.wait_no_more();
        }
        let why = match decided {
            Boot::Start => return Ok(None),
            Boot::Busy(_) if ended => return Ok(None),
            Boot::Standby(why) => return Ok(Some(why)),
            Boot::Wait(why) | Boot::Busy(why) => why,
        };
        if !std::mem::replace(&mut said, true) {
            run.log.info(format!("{why}: asking again for {} (boot_wait)", span(chrono::Duration::from_std(wait).unwrap_or_default())));
        }
        let round = Instant::now();
        while round.elapsed() < BOOT_PAUSE.min(wait.saturating_sub(begun.elapsed())) {
            if crate::cmd::system::interrupted() {
                return Err(stopped(run, "boot", Error::Reported));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        run.host.peers.forget_silent();
    }
}

/// From one question to the next while a boot waits for the other copies.
const BOOT_PAUSE: Duration = Duration::from_secs(3);

fn switch(run: &Run, selection: &Selection) -> Result<()> {
    let to = run.options.to.clone().map(|n| n.to_lowercase());
    let nodes = &run.service.config.scope.nodes;
    let fail = |why: String| {
        run.log.error(why);
        Err(stopped(run, "switch", Error::Reported))
    };
    if !selection.is_all() {
        return fail("switch moves the whole service: --rid and --tags have no place here".into());
    }
    let scope = &run.service.config.scope;
    if scope.is_drp() {
        return fail(
            "switch moves a service inside its primary site, and this node is of the recovery site: its data would stay here".into(),
        );
    }
    let Some(to) = to.filter(|n| nodes.contains(n)) else {
        let named = run.options.to.as_deref().unwrap_or("None");
        let there = run.options.to.as_ref().is_some_and(|n| scope.drpnodes.contains(&n.to_lowercase()));
        let how = if there { "it is of the recovery site: stop here, sync, then start there" } else { "set it with --to" };
        return fail(format!("destination node {named} is not in service node list ({}). {how}", nodes.join(", ")));
    };
    if to == run.host.node {
        return fail(format!("destination node {to} is this node"));
    }
    if let Some(done) = switch_copy(run, &to) {
        return done.map_err(|e| stopped(run, "switch", e));
    }
    // reached before the stop: a service is not stopped for a node that cannot take it
    let peer = match run.host.peers.connect(&to) {
        Ok(peer) => peer,
        Err(why) => return fail(format!("{to} cannot be reached: {why}. nothing was stopped")),
    };
    stop(run, selection)?;
    if let Err(why) = wholly_down(run) {
        return fail(format!("not started on {to}: {why}. two nodes must not have it at the same time. mend it here and switch again"));
    }
    let mut argv = run.host.peers.svcmgr(&run.host.paths, &to);
    argv.extend(["-s".into(), run.service.name.clone()]);
    if run.options.cluster {
        argv.push("--cluster".into());
    }
    argv.extend(["--waitlock".to_owned(), run.options.waitlock.as_secs().to_string(), "start".into()]);
    run.log.info(format!("exec '{}' on node {to}", argv.join(" ")));
    if run.options.dry_run {
        return Ok(());
    }
    let out = run.host.runner.run(&Cmd::change(argv).on(&peer).timeout(REMOTE_START_TIMEOUT));
    match out.failure() {
        None => {
            run.log.info(format!("started on {to}"));
            Ok(())
        }
        Some(stage) => {
            run.log.error(format!("start on {to} failed:\n{}", stage.stderr));
            fail(format!(
                "service {} is down here and not started on {to}: {}. start it here again, or there by hand",
                run.service.name,
                stage.why()
            ))
        }
    }
}

/// A switch to a node that has a copy of its own takes the data along.
fn switch_copy(run: &Run, to: &str) -> Option<Result<()>> {
    let mut desk = Desk::load(run.service, run.host, run.log, run.options.dry_run, true);
    let copies = &desk.here.copies;
    if !copies.replicated() || copies.of_node(to) == desk.here.copy() {
        return None;
    }
    Some(desk.look().and_then(|_| handover::move_to(run, &desk, to, run.options.abandon.as_deref() == Some(to))))
}

/// Nothing of the service is left here that another node must not have too, optional resources included.
fn wholly_down(run: &Run) -> std::result::Result<(), String> {
    if run.options.dry_run {
        return Ok(());
    }
    if run.app_errors.load(Ordering::SeqCst) {
        return Err("a launcher failed to stop here".into());
    }
    run.host.facts.forget();
    let report = status::evaluate(run.service, run.host, run.log, status::Depth::NoSync);
    let left: Vec<&str> = report
        .resources
        .iter()
        .filter(|r| !r.disable && !r.standby && !r.rtype.starts_with("hb") && !r.status.is_idle())
        .map(|r| r.rid.as_str())
        .collect();
    if left.is_empty() { Ok(()) } else { Err(format!("{} is not down here", left.join(", "))) }
}

/// Restarts monitored resources that are not up, as often as their `restart` says.
fn monitor(run: &Run, selection: &Selection) -> Result<()> {
    let desk = Desk::load(run.service, run.host, run.log, run.options.dry_run, true);
    if desk.here.copies.replicated() && !desk.here.holds() {
        return Ok(()); // another copy has the newest data: nothing is started here
    }
    let report = status::evaluate(run.service, run.host, run.log, status::Depth::NoSync);
    if !run.service.hbs().any(|hb| !hb.disable && report.resources.iter().any(|r| r.rid == hb.rid && r.status.is_up())) {
        return Ok(());
    }
    let down = report.resources.iter().find(|r| r.monitor && !r.disable && selection.has(&r.rid) && !r.status.is_up());
    let Some((row, res)) = down.and_then(|row| run.service.find(&row.rid).map(|res| (row, res))) else { return Ok(()) };
    for attempt in 1..=res.restart {
        run.log.info(format!("restart resource {}. try number {attempt}/{}", res.rid, res.restart));
        if run.execute(&made(run, "start", &Pass::START, &Selection::only(vec![res.rid.clone()]))).is_ok() {
            run.log.info(format!("monitored resource {} restarted. abording TOC.", res.rid));
            return Ok(());
        }
    }
    run.log.info(format!("monitored resource {} is in state {} ({})", row.rid, row.status.name(), row.messages.join(", ")));
    let action = run.service.config.plain("DEFAULT", "monitor_action").unwrap_or_default();
    if action.is_empty() {
        run.log.info("Would TOC but no (or unknown) resource monitor action set.");
        return Ok(());
    }
    Err(Error::text(format!("monitor_action {action} is not supported by this version")))
}
