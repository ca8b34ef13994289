//! Authority given away with all data: the receiver made ready, rounds sent while the service runs, one stop, the
//! last writes, the record. What a planned takeover, a way home and a switch between copies are made of.

use super::authority::{self, Desk};
use super::execute::Run;
use super::plan::{Pass, Verb, plan};
use super::select::Selection;

use super::ground::{devices, ground};
use super::sync::{Load, deliver};
use super::{call, written};
use crate::authority::Here;
use crate::authority::start::ahead;
use crate::authority::words::list;
use crate::authority::written::given_up_for;
use crate::error::{Error, Result};
use crate::host::device::{self, Place};
use crate::service::Res;
use crate::service::instance::Instance;
use crate::state::authority::Holder;
use crate::state::gate::Answer;
use crate::state::replica::{Image, State};
use chrono::Duration as Span;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// A round that takes no longer is short enough to stop the service for the next.
const SHORT: Duration = Duration::from_secs(10);
/// More rounds make no difference: the service writes as fast as they send.
const ROUNDS: usize = 5;
/// How long a peer may take to make ready, and to stop.
const PREPARE: Duration = Duration::from_secs(600);
/// How long it may take to start there.
pub const START: Duration = Duration::from_secs(3600);

/// What is stopped before the last writes are sent: everything that writes, not what the data lie on.
const WRITERS: &[&str] = &["ip", "share", "container", "app", "hb"];
/// What the data lie on.
const GROUND: &[&str] = &["disk.loop", "disk", "fs"];

/// Makes this node ready to receive the data of the holder `from`: what they lie on is up, and what this node has
/// written of its own is known to be older than the takeover, or given up (`abandon`). `skew`: how far the clock of
/// `from` is ahead. The service must be down here.
pub fn prepare(run: &Run, from: &str, skew: Span, abandon: bool) -> Result<()> {
    let mut desk = Desk::load(run.service, run.host, run.log, run.options.dry_run, false);
    let (name, node) = (run.service.name.clone(), desk.here.node.clone());
    let holder = desk.here.holder().map_err(Error::Text)?;
    if desk.here.copies.named(&holder.copy, &holder.node) != desk.here.copies.of_node(from) || desk.here.holds() {
        return Err(Error::text(format!("{from} does not hold {name}, as {node} knows it: {} does (epoch {})", holder.node, holder.epoch)));
    }
    let seen = Instance::look(run.service, run.host, run.log);
    if let Some(up) = seen.up(desk.here.receiving()).first() {
        return Err(Error::text(format!("{name} is not down on {node}: {up} is up. on {node}: svcmgr -s {name} stop")));
    }
    desk.change(|here| here.receive(true, false))?;
    let ground = ground(run, &desk.here, &node);
    if let Err(e) = pass(run, "prepare", Verb::Start, GROUND, &Selection::only(ground)) {
        _ = unprepare(run);
        return Err(e);
    }
    if let Err(e) = desk.ask_data(None).and_then(|()| own_writes(run, &desk.here, &holder, skew, abandon)) {
        _ = unprepare(run);
        return Err(e);
    }
    desk.change(|here| here.receive(true, true))
}

/// Undoes [`prepare`], when nothing came.
pub fn unprepare(run: &Run) -> Result<()> {
    let mut desk = Desk::load(run.service, run.host, run.log, run.options.dry_run, false);
    if !desk.here.receiving() || desk.here.holds() {
        return Ok(());
    }
    let ground = ground(run, &desk.here, &desk.here.node);
    pass(run, "unprepare", Verb::Stop, GROUND, &Selection::only(ground))?;
    desk.change(|here| here.receive(false, false))
}

/// What this node has written of its own is lost when the holder's data come: said, if it is older than the
/// takeover; refused, if it is newer.
fn own_writes(run: &Run, here: &Here, holder: &Holder, skew: Span, abandon: bool) -> Result<()> {
    // what is not known to be a copy may be anything
    for rid in here.copies.rids.iter().filter(|rid| matches!(here.data(rid).state, Some(State::Orphan) | None)) {
        let Some(res) = run.service.find(rid) else { continue };
        let newest = written::newest(run.service, run.host, run.log, here, res, written::LONG);
        match given_up_for(here, holder, rid, newest, skew, abandon) {
            Ok(lost) => lost.into_iter().for_each(|words| run.log.child(&res.log_name()).warning(words)),
            Err(refusal) => {
                run.log.error(refusal.to_string());
                return Err(Error::Reported);
            }
        }
    }
    Ok(())
}

fn pass(run: &Run, name: &str, verb: Verb, groups: &'static [&'static str], selection: &Selection) -> Result<()> {
    let pass = if verb == Verb::Start { Pass::START } else { Pass::stop(false) };
    run.execute(&plan(run.service, run.host, name, &Pass { groups, ..pass }, selection, None))
}

/// Gives authority and all data to `to`, which is ready to receive. When this returns Ok, the service is down here,
/// `to` has every write, and the record says that it holds. After an error nothing has changed hands, and what ran
/// here runs again.
pub fn handover(run: &Run, to: &str) -> Result<()> {
    let begun = run.host.clock.now();
    let mut desk = Desk::load(run.service, run.host, run.log, run.options.dry_run, false);
    let (name, node) = (run.service.name.clone(), desk.here.node.clone());
    let Some(copy) = desk.here.copies.of_node(to).cloned() else {
        return Err(Error::text(format!("{to} is not a node of {name}")));
    };
    if !desk.here.holds() {
        let holder = desk.here.holder().map_or_else(|why| why, |h| format!("{} does (epoch {})", h.node, h.epoch));
        return Err(Error::text(format!("{node} does not hold {name}: {holder}")));
    }
    let answers = desk.look()?;
    if !answers.get(to).is_some_and(|a| a.as_ref().is_ok_and(Answer::known)) {
        let why = answers.get(to).and_then(|a| a.as_ref().err().cloned()).unwrap_or_else(|| "it does not know the service".into());
        return Err(Error::text(format!("{to} cannot take {name} over: {why}")));
    }
    let beside = |peer: &str| desk.here.copies.of_node(peer).is_some_and(|c| Some(c) == desk.here.copy());
    if let Some((peer, _)) = answers.iter().find(|(peer, a)| beside(peer) && a.as_ref().is_ok_and(|a| a.running == Some(true))) {
        return Err(Error::text(format!("{name} runs on {peer}, which has the same data. on {peer}: svcmgr -s {name} stop")));
    }
    desk.change(Here::settle)?;
    let up = !Instance::look(run.service, run.host, run.log).up(false).is_empty();
    let images = if up { live(run, &desk, to)? } else { cold(run, &desk, to)? };
    if run.options.dry_run {
        return Ok(());
    }
    authority::stopped(run.service, run.host, run.log)?;
    let witnesses = super::data::given(&desk);
    // somebody who did not reach us may have taken over meanwhile
    let answers = desk.look()?;
    // above what others were promised, too: two of one epoch would be a split
    let told = |a: &Answer| a.epoch.max(a.promise.as_ref().map_or(0, |p| p.epoch));
    let told = answers.values().filter_map(|a| a.as_ref().ok()).map(told);
    let epoch = told.fold(desk.here.highest(), u64::max) + 1;
    let ahead = answers.get(to).and_then(|a| a.as_ref().ok()).map_or_else(Span::zero, |a| ahead(a, desk.looked));
    let ours = desk.change(|here| {
        let from = here.copy().map(|c| c.name.clone());
        let ours = here.holds();
        if ours {
            here.hand_over(
                Holder {
                    epoch,
                    copy: copy.name.clone(),
                    node: to.to_owned(),
                    since: here.now,
                    from,
                    handed: true,
                    partial: false,
                    away: here.away(ahead),
                },
                &images,
            );
            witnesses.into_iter().for_each(|(rid, witness)| here.witnessed(&rid, Some(witness)));
        }
        ours
    })?;
    if !ours {
        let who = desk.here.holder().map_or_else(|why| why, |h| format!("{} holds {name} now (epoch {})", h.node, h.epoch));
        return Err(Error::text(format!("{who}: {node} has nothing to give to {to} any more")));
    }
    run.log.info(format!("{to} holds {name} from now on, with all data (epoch {epoch})"));
    authority::remember(run, "handover", to, begun, &Ok(()));
    desk.announce(&answers);
    Ok(())
}

/// Of a service that runs: rounds, the stop, the last writes. After an error it runs again.
fn live(run: &Run, desk: &Desk, to: &str) -> Result<BTreeMap<String, Image>> {
    let mut last = Duration::MAX;
    for round in 1..=ROUNDS {
        let begun = Instant::now();
        run.log.info(format!("round {round}: sending what has changed to {to}, while {} runs", run.service.name));
        delivered(run, to, Load::Data)?;
        let took = begun.elapsed();
        if took < SHORT || took > last.mul_f64(0.8) {
            break;
        }
        last = took;
    }
    let down = Instant::now();
    let ended = pass(run, "stop", Verb::Stop, WRITERS, &Selection::all())
        .and_then(|()| all_down(run, WRITERS))
        .and_then(|()| {
            run.log.info(format!("stopped for the last writes: sending them to {to}"));
            last_writes(run, desk, to)
        })
        .and_then(|images| pass(run, "stop", Verb::Stop, GROUND, &Selection::all()).map(|()| images))
        .and_then(|images| all_down(run, &["fs"]).map(|()| images));
    match ended {
        Ok(images) => {
            run.log.info(format!(
                "{} is down on {} since {:.1} s, and {to} has all its data",
                run.service.name,
                desk.here.node,
                down.elapsed().as_secs_f64()
            ));
            Ok(images)
        }
        Err(e) => {
            run.say(&e);
            let mut desk = Desk::load(run.service, run.host, run.log, false, false);
            if let (false, Ok(holder)) = (desk.here.holds(), desk.here.holder()) {
                run.log.error(format!("{} has taken {} over meanwhile: it is not started here again", holder.node, run.service.name));
                desk.change(|_| ())?;
                return Err(Error::Reported);
            }
            run.log.error(format!("nothing has changed hands: {} is started here again", run.service.name));
            let again = Run { undoing: true, ..Run::new(run.service, run.host, run.log, run.options) };
            again.execute(&plan(run.service, run.host, "start", &Pass::START, &Selection::all(), None))?;
            Err(Error::Reported)
        }
    }
}

/// Of a service that is down: what its data lie on is started for the last writes, and stopped again. Launchers that
/// cannot tell how they stand are stopped all the same.
fn cold(run: &Run, desk: &Desk, to: &str) -> Result<BTreeMap<String, Image>> {
    let ground = Selection::only(ground(run, &desk.here, &desk.here.node));
    run.log.info(format!("{} is down on {}: sending its last writes to {to}", run.service.name, desk.here.node));
    pass(run, "stop", Verb::Stop, WRITERS, &Selection::all())?;
    all_down(run, WRITERS)?;
    let opened = pass(run, "start", Verb::Start, GROUND, &ground);
    run.host.facts.forget();
    let sent = opened.and_then(|()| delivered(run, to, Load::Data));
    let closed = pass(run, "stop", Verb::Stop, GROUND, &ground);
    let images = sent?;
    closed.map(|()| images)
}

/// What could not be stopped would go on writing, or be there twice: a stop goes on though a launcher has failed, or
/// something optional.
fn all_down(run: &Run, groups: &[&str]) -> Result<()> {
    run.host.facts.forget();
    if run.options.dry_run {
        return Ok(());
    }
    let failed = run.app_errors.load(Ordering::SeqCst).then(|| "a launcher failed to stop".to_owned());
    let seen = Instance::look(run.service, run.host, run.log);
    let of_groups = |rid: &str| run.service.find(rid).and_then(Res::group).is_some_and(|g| groups.contains(&g));
    let left: Vec<&str> = seen.telling(false).filter(|(rid, s)| of_groups(rid) && !s.is_idle()).map(|(rid, _)| rid).collect();
    match failed.or_else(|| (!left.is_empty()).then(|| format!("{} is not down", list(&left)))) {
        Some(why) => Err(Error::text(format!("{} is not wholly down on {}: {why}", run.service.name, run.host.node))),
        None => Ok(()),
    }
}

fn delivered(run: &Run, to: &str, load: Load) -> Result<BTreeMap<String, Image>> {
    deliver(run.service, run.host, run.log, run.options, to, load)
}

/// The last writes of a service of which nothing writes any more: files from what is mounted, devices when nothing is,
/// as to umount a filesystem writes to its device.
fn last_writes(run: &Run, desk: &Desk, to: &str) -> Result<BTreeMap<String, Image>> {
    let whole = devices(run, &desk.here, &desk.here.node);
    if whole.is_empty() {
        return delivered(run, to, Load::Data);
    }
    let mut images = delivered(run, to, Load::Files)?;
    pass(run, "stop", Verb::Stop, &["fs"], &Selection::all())?;
    run.host.facts.forget();
    for (rid, device) in &whole {
        if let Place::Block { busy: true, number, .. } = device::look(device) {
            let users = device::users(&run.host.facts, &number);
            return Err(Error::text(format!("{rid}: {device} is still in use ({}): its last writes cannot be told", list(&users))));
        }
    }
    images.extend(delivered(run, to, Load::Devices)?);
    Ok(images)
}

/// Moves the service to `to`, another copy: made ready there, handed over here, started there. `abandon`: what `to`
/// has written of its own is given up.
pub fn move_to(run: &Run, desk: &Desk, to: &str, abandon: bool) -> Result<()> {
    let (name, node, dry) = (&run.service.name, &desk.here.node, run.options.dry_run);
    if dry {
        run.log.info(format!("make {to} ready, send it the data of {name}, stop {name} on {node}, send the last writes, start it on {to}"));
        return Ok(());
    }
    // who is to receive has to know from whom
    call::gate(run.host, run.log, name, to, &call::question(&desk.here), false, run.host.peers.patience()).map_err(Error::Text)?;
    if run.service.find("sync#i0").is_some_and(|r| !r.disable) {
        delivered(run, to, Load::Own)?;
    }
    let clock = run.host.clock.now().to_rfc3339();
    let mut words = vec!["prepare", "--from", node.as_str(), "--clock", clock.as_str()];
    words.extend(abandon.then_some(["--abandon", to]).into_iter().flatten());
    call::remote((run.host, run.log, run.options), name, to, &words, PREPARE)?;
    if let Err(e) = handover(run, to) {
        run.say(&e);
        if let Err(more) = call::remote((run.host, run.log, run.options), name, to, &["prepare", "--from", node, "--undo"], PREPARE) {
            run.log.warning(format!("{to} is still ready to receive: {more}. on {to}: svcmgr -s {name} stop"));
        }
        return Err(Error::Reported);
    }
    call::remote((run.host, run.log, run.options), name, to, &["start"], START).map_err(|e| {
        run.say(&e);
        Error::text(format!(
            "{name} is down on {node}, and {to} holds it with all data, but it did not start there. on {to}: svcmgr -s {name} start"
        ))
    })?;
    run.log.info(format!("{name} runs on {to}"));
    Ok(())
}
