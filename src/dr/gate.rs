//! `svcmgr -s NAME gate`: answers a peer's question, and remembers what it tells. Reads one JSON line, returns one.

use super::common::{self, Instance};
use super::images;
use super::own_files;
use crate::action::authority::Desk;
use crate::action::{data, gates, sync};
use crate::authority::receive;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::log::Logger;
use crate::service::build;
use crate::state::alive::{self, LastRun};
use crate::state::gate::{Answer, Detail, Held, Question, VERSION, Verdict, to_line};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::Read;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// How long a sender may take to ask.
const PATIENCE: Duration = Duration::from_secs(30);
/// No question is longer.
const LONGEST: usize = 4 << 20;

/// Answers the question on `stdin`; the answer ends in a newline. With `look`, nothing is written on this node.
pub fn serve<R: Read + AsFd>(host: &Host, log: &Logger, name: &str, look: bool, stdin: &mut R) -> Result<String> {
    let question = Question::parse(&read_line(stdin)?).map_err(Error::Text)?;
    Ok(format!("{}\n", to_line(&answer(host, log, name, look, &question))))
}

/// One line, or what there is when the sender closes.
fn read_line<R: Read + AsFd>(stdin: &mut R) -> Result<Vec<u8>> {
    let begun = Instant::now();
    let mut line = Vec::new();
    let mut buffer = [0u8; 8192];
    while line.len() < LONGEST {
        let left = PATIENCE.saturating_sub(begun.elapsed());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
        let ready = poll(&mut [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)], timeout).unwrap_or(0);
        if left.is_zero() || (ready == 0 && begun.elapsed() >= PATIENCE) {
            return Err(Error::text(format!("no question within {} s", PATIENCE.as_secs())));
        }
        if ready == 0 {
            continue; // a signal
        }
        let n = stdin.read(&mut buffer).map_err(|e| Error::text(format!("cannot read the question: {e}")))?;
        let piece = buffer.get(..n).unwrap_or_default();
        match piece.iter().position(|b| *b == b'\n') {
            Some(end) => {
                line.extend_from_slice(piece.get(..end).unwrap_or_default());
                return Ok(line);
            }
            None if n == 0 => return Ok(line),
            None => line.extend_from_slice(piece),
        }
    }
    Err(Error::text("the question is too long"))
}

/// What this node says to `question` about service `name`.
pub fn answer(host: &Host, log: &Logger, name: &str, look: bool, question: &Question) -> Answer {
    let mut answer = Answer {
        version: VERSION,
        service: "unknown".into(),
        node: host.node.clone(),
        host_mode: Some(host.conf.host_mode().to_owned()),
        clock: Some(host.clock.now().to_rfc3339()),
        ..Answer::default()
    };
    if !host.paths.env_file(name).exists() {
        return answer;
    }
    answer.service = "known".into();
    let service = match build::load(host, name) {
        Ok(service) => service,
        Err(refusal) => {
            // who cannot tell whether it runs cannot let others write; its file may come anew
            let why = format!("{name} cannot be read on {}: {}", host.node, refusal.lines.join("; "));
            let data = question.rids.keys().filter(|rid| !common::is_internal(rid));
            answer.rids = data.map(|rid| (rid.clone(), verdict(Some(why.clone()), None))).collect();
            if let Some(why) = own_files::refusal(host, log, name, question, look) {
                answer.rids.insert("sync#i0".into(), verdict(Some(why), None));
            }
            answer.unsure = Some(why);
            return answer;
        }
    };
    // before and after: a start that ends while we look was at work before, and is up after
    let (busy, last) = (gates::busy_for(host, name, &question.node), alive::run(&host.paths.var, name));
    let here = Instance::look(host, log, &service);
    let up = !here.up().is_empty();
    answer.avail = Some(here.report().avail.name().into());
    answer.running = Some(up);
    answer.busy = busy.or_else(|| gates::busy_for(host, name, &question.node));
    let mut desk = Desk::load(&service, host, log, look, up);
    let known = told(&mut desk, question, last.as_ref(), &mut answer).and_then(|()| {
        // who looks wants to know as well whether somebody has written here
        let rids: Vec<&String> = question.rids.keys().filter(|rid| desk.here.copies.rids.contains(rid)).collect();
        rids.into_iter().try_for_each(|rid| data::witness(&mut desk, rid))
    });
    if let Err(e) = known {
        answer.unsure = Some(e.to_string());
    }
    if look {
        desk.glance();
    }
    let beside = desk.here.copies.of_node(&question.node).is_some_and(|c| Some(c) == desk.here.copy());
    if beside && desk.here.receiving() {
        // on shared disks: what is mounted here to receive must not be mounted there
        answer.busy.get_or_insert_with(|| "prepare".into());
    }
    stand(&desk, &mut answer);
    for (rid, detail) in &question.rids {
        let own = || own_files::refusal(host, log, name, question, look).filter(|_| rid == "sync#i0");
        let why = refusal(&here, &desk, question, rid, detail).or_else(own);
        if why.is_none() && !look {
            _ = data::vanished(&mut desk, rid);
        }
        let held = desk.here.copies.rids.contains(rid).then(|| {
            let held = desk.here.held(rid);
            // who is refused needs no digest
            let witness = held.witness.clone().or_else(|| if why.is_none() { data::digest(&desk, rid) } else { None });
            Held { witness, ..held }
        });
        answer.rids.insert(rid.clone(), verdict(why, held));
    }
    answer
}

fn verdict(why: Option<String>, held: Option<Held>) -> Verdict {
    Verdict { ok: why.is_none(), why, held }
}

/// Takes in what the question tells: who holds authority, a claim, what has arrived. Written at once, unless the
/// asker only looks. `last`: the last run here, as it was before the answer says whether it runs.
fn told(desk: &mut Desk, question: &Question, last: Option<&LastRun>, answer: &mut Answer) -> Result<()> {
    if !desk.here.copies.replicated() {
        return Ok(());
    }
    let (host, name, dry) = (desk.host, desk.service.name.clone(), desk.dry);
    let running = answer.running == Some(true);
    let mut refused = Vec::new();
    answer.claim_refused = desk.change(|here| {
        if let Some(holder) = &question.holder {
            here.learn(holder);
        }
        here.accept(question);
        if let Some(claim) = &question.unclaim {
            // a claimant gives its own up; of another's, only what that one was seen to have given up
            if claim.node == question.node { here.release(claim) } else { here.forget(claim) }
        }
        if !dry {
            refused = here.arrived(question);
        }
        // seen under the record's lock: a start that begins after this sees the promise
        let starting = here.holds().then(|| answer.busy.clone().or_else(|| gates::busy(host, &name))).flatten();
        let begun = alive::run(&host.paths.var, &name).filter(|run| run.until.is_none() && Some(run) != last);
        let busy = match (running || begun.is_some(), starting) {
            (true, _) => Some(format!("{name} is up on {}", here.node)),
            (_, Some(doing)) => Some(format!("{} is doing `{doing}` at this moment", here.node)),
            _ => None,
        };
        question.claim.as_ref().and_then(|claim| here.promise_to(claim, busy.as_deref()).err())
    })?;
    for (rid, image) in &question.done {
        match refused.iter().find(|(of, _)| of == rid) {
            Some((_, why)) => _ = answer.rids.insert(rid.clone(), verdict(Some(why.clone()), None)),
            None if dry => {}
            None => {
                data::became(desk, rid, image)?;
                let held = desk.here.held(rid);
                if held.witness.is_some() {
                    answer.rids.insert(rid.clone(), verdict(None, Some(held)));
                }
            }
        }
    }
    Ok(())
}

/// How this node stands.
fn stand(desk: &Desk, answer: &mut Answer) {
    let here = &desk.here;
    answer.copy = here.copy().map(|c| c.name.clone());
    if !here.copies.replicated() {
        return;
    }
    match here.holder() {
        Ok(holder) => {
            answer.epoch = holder.epoch;
            answer.holder = Some(holder);
        }
        Err(why) => {
            answer.epoch = here.highest();
            answer.unsure = Some(why);
        }
    }
    answer.receiving = here.receiving();
    answer.rival = here.rival().cloned();
    answer.promise = here.promise().cloned();
    answer.abandoned = here.abandoned();
    if answer.running != Some(true)
        && let Some(run) = &here.last_run
    {
        (answer.up_until, answer.crashed) = (run.until, run.crashed);
    }
}

fn refusal(instance: &Instance, desk: &Desk, question: &Question, rid: &str, detail: &Detail) -> Option<String> {
    let here = &desk.here;
    let data = here.copies.rids.iter().any(|r| r == rid);
    if here.copies.replicated()
        && let Some(refusal) =
            receive::refusal(here, question, rid).filter(|_| data || here.holder().is_ok_and(|h| h.epoch > question.epoch))
    {
        return Some(refusal.to_string());
    }
    if detail.driver == "docker" {
        return images::refusal(desk.service, desk.host, rid); // beside what runs: images take nothing away
    }
    if !matches!(detail.driver.as_str(), "" | "rsync") {
        return instance.in_the_way(Some(&question.node), rid).or_else(|| whole(instance, desk, question, rid, detail));
    }
    let dst = detail.dst.as_deref().unwrap_or_default();
    let not_mounted = || instance.not_mounted(detail.dstfs.as_deref(), dst);
    let below = || instance.below_unmounted(dst).filter(|_| !common::is_internal(rid));
    instance.in_the_way(Some(&question.node), rid).or_else(not_mounted).or_else(below)
}

/// Of a driver with a receiving side: the section here is of the same driver, and what it names can be written to.
fn whole(instance: &Instance, desk: &Desk, question: &Question, rid: &str, detail: &Detail) -> Option<String> {
    let (name, node, sender, driver) = (&desk.service.name, &desk.host.node, &question.node, &detail.driver);
    let res = desk.service.find(rid);
    let Some(res) = res.filter(|r| !r.disable && r.rtype.strip_prefix("sync.") == Some(driver)) else {
        return Some(format!(
            "{rid} is no {driver} sync of {name} on {node}, or it is disabled there: the service files differ. on {sender}: svcmgr -s {name} sync all --rid sync#i0"
        ));
    };
    let Some((sync, target)) = res.sync().and_then(|s| Some((s, s.target()?))) else {
        return Some(format!("{driver} transfers are not supported by this version"));
    };
    let log = desk.log.child(&res.log_name());
    let side = sync::side_of(&desk.here, sync, node);
    let below = || instance.below_unmounted(target.place(side)).filter(|_| !target.place(side).starts_with("/dev/"));
    target.unfit(&desk.service.cx(desk.host, &log, res, false), side, detail).or_else(below)
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
