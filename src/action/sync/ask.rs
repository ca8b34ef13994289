//! The gate, from the sender's side: each peer is asked once, all at the same time, what it lets in.

use super::{Task, Work, by_peer, carry, decide};
use crate::cmd::Cmd;
use crate::log::Level;
use crate::state::gate::{Answer, Question, VERSION, to_line};
use crate::state::history::Entry;
use crate::sync::Class;
use std::time::Duration;

/// How long a peer may think.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a recovery node may be for: anything but production. In the order 2014 printed it.
const NOT_PRD: [&str; 9] = ["TMP", "PRA", "FOR", "INT", "DRP", "DEV", "PPRD", "REC", "TST"];

/// The tasks that their peers agree to.
pub(super) fn granted<'a>(work: &Work<'a>, tasks: Vec<Task<'a>>) -> Vec<Task<'a>> {
    std::thread::scope(|scope| {
        let asked: Vec<_> = by_peer(tasks).into_iter().map(|(peer, tasks)| scope.spawn(move || of_peer(work, &peer, tasks))).collect();
        asked.into_iter().flat_map(|t| t.join().unwrap_or_default()).collect()
    })
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
                None => !(contacted && task.res.rid == "sync#i0"), // sent already
            });
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
    let remote = work.host.peers.connect(peer).map_err(|why| format!("{peer} cannot be reached: {why}"))?;
    let rids = tasks.iter().map(|task| {
        let log = work.logger(task.res);
        let cx = work.service.cx(work.host, &log, task.res, work.options.force);
        (task.res.rid.clone(), task.driver.question(&cx, peer))
    });
    let question =
        Question { version: VERSION, node: work.host.node.clone(), copy: None, epoch: 0, rids: rids.collect(), ..Question::default() };
    let mut argv = work.host.peers.svcmgr(&work.host.paths, peer);
    argv.extend(["-s".to_owned(), work.service.name.clone(), "gate".to_owned()]);
    let cmd = Cmd::probe(argv).on(&remote).input(format!("{}\n", to_line(&question))).timeout(PATIENCE);
    work.log.debug(cmd.line());
    let out = work.host.runner.run(&cmd);
    if let Some(failed) = out.failure() {
        return Err(format!("svcmgr does not answer on {peer}: {}", failed.why()));
    }
    Answer::parse(&out.stdout).map_err(|why| format!("svcmgr does not answer on {peer}: {why}"))
}

/// A peer that has never heard of the service gets its files first.
fn first_contact(work: &Work, peer: &str, answer: &Answer) -> Result<(), String> {
    let name = &work.service.name;
    let own = work.service.find("sync#i0").filter(|r| !r.disable).and_then(|r| Some((r, r.sync()?)));
    let Some((res, driver)) = own else {
        return Err(format!("{peer} has no service {name}, and sync#i0, which would send it there, is disabled"));
    };
    let task = Task { res, driver, peer: peer.to_owned(), class: decide::class_of(work, peer) };
    if let Some(why) = mode_refusal(work, &task, answer) {
        return Err(why);
    }
    work.log.info(format!("{peer} has no service {name} yet: sending its files"));
    match carry::one(work, &task) {
        true => Ok(()),
        false => Err(format!("the files of {name} could not be sent to {peer}")),
    }
}

fn refusal(work: &Work, task: &Task, answer: &Answer) -> Option<String> {
    mode_refusal(work, task, answer).or_else(|| answer.refusal(&task.res.rid))
}

/// The peer is for something else: production data on a test node, or the other way round.
fn mode_refusal(work: &Work, task: &Task, answer: &Answer) -> Option<String> {
    let mode = answer.host_mode.as_deref().unwrap_or("TST");
    let own = [work.service.service_type.as_str()];
    let expected: &[&str] = if task.class == Class::Nodes { &own } else { &NOT_PRD };
    if expected.contains(&mode) {
        return None;
    }
    let list: Vec<String> = expected.iter().map(|m| format!("'{m}'")).collect();
    Some(format!("incompatible remote node '{}' host mode: '{mode}' (expected in [{}])", task.peer, list.join(", ")))
}
