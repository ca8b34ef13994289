//! Calls to the peers' gates: one question, one answer; all peers at the same time.

use super::Options;
use crate::authority::Here;
use crate::authority::start::Answers;
use crate::authority::words::list;
use crate::cmd::Cmd;
use crate::error::Error;
use crate::host::Host;
use crate::log::{Level, Logger};
use crate::service::Service;
use crate::state::gate::{Answer, Detail, Question, VERSION, to_line};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long a stop on a peer may take.
const STOP: Duration = Duration::from_secs(3600);
/// How long it is waited without a word.
const SILENCE: Duration = Duration::from_secs(1);

/// What this node asks when it asks nothing in particular: it says who it is and what it knows.
pub fn question(here: &Here) -> Question {
    let holder = here.holder().ok();
    Question {
        version: VERSION,
        node: here.node.clone(),
        copy: here.copy().map(|c| c.name.clone()),
        epoch: holder.as_ref().map_or(0, |h| h.epoch),
        holder,
        abandoned: here.abandoned(),
        ..Question::default()
    }
}

/// Asks the gate of `peer`; with `look`, it writes nothing there. The error says who does not answer, and why.
pub fn gate(
    host: &Host,
    log: &Logger,
    service: &str,
    peer: &str,
    question: &Question,
    look: bool,
    limit: Duration,
) -> Result<Answer, String> {
    let remote = host.peers.connect(peer).map_err(|why| format!("{peer} cannot be reached: {why}"))?;
    let mut argv = host.peers.svcmgr(&host.paths, peer);
    argv.extend(["-s".to_owned(), service.to_owned(), "gate".to_owned()]);
    argv.extend(look.then(|| "--ask".to_owned()));
    // what only looks is done in a dry run too; what the peer remembers is not
    let cmd = if look { Cmd::probe(argv) } else { Cmd::change(argv) };
    let cmd = cmd.on(&remote).input(format!("{}\n", to_line(question))).timeout(limit);
    log.debug(cmd.line());
    let out = host.runner.run(&cmd);
    if let Some(failed) = out.failure() {
        return Err(format!("svcmgr does not answer on {peer}: {}", failed.why()));
    }
    Answer::parse(&out.stdout).map_err(|why| format!("svcmgr does not answer on {peer}: {why}"))
}

/// Asks every other node of the service how it stands. Nothing is written anywhere; it takes 10 seconds at most.
/// A peer that was silent once is not waited for again by the same command: the first of its services asks the peers
/// of all of them.
pub fn look(service: &Service, host: &Host, log: &Logger, here: &Here) -> Answers {
    let begun = Instant::now();
    let all = host.peers.patience() * 9 / 10; // connecting included
    let rids = here.copies.rids.iter().map(|rid| (rid.clone(), Detail::default()));
    let question = Question { rids: rids.collect(), ..question(here) };
    let own: Vec<String> = service.config.scope.peers().cloned().collect();
    let mut peers = own.clone();
    peers.extend(host.peers.expected().into_iter().filter(|peer| !own.contains(peer)));
    let mut answers: Answers = std::thread::scope(|scope| {
        let asked: Vec<_> = peers
            .into_iter()
            .map(|peer| {
                let (question, of) = (&question, peer.clone());
                let ask = move || {
                    host.peers.connect(&of)?;
                    let left = all.saturating_sub(begun.elapsed()).max(Duration::from_secs(1));
                    let answer = gate(host, log, &service.name, &of, question, true, left);
                    if answer.is_err() && begun.elapsed() >= all {
                        host.peers.give_up(&of, "svcmgr there does not answer in time");
                    }
                    answer
                };
                (peer, scope.spawn(ask))
            })
            .collect();
        // a dead peer takes its time: who waits is told for whom
        while begun.elapsed() < SILENCE && !asked.iter().all(|(_, t)| t.is_finished()) {
            std::thread::sleep(Duration::from_millis(2));
        }
        let silent: Vec<&str> = asked.iter().filter(|(_, t)| !t.is_finished()).map(|(peer, _)| peer.as_str()).collect();
        if !silent.is_empty() {
            log.info(format!("waiting for {} to answer, {} s at most", list(&silent), all.as_secs()));
        }
        asked.into_iter().map(|(peer, t)| (peer, t.join().unwrap_or_else(|_| Err("internal error".into())))).collect()
    });
    answers.retain(|peer, _| own.contains(peer));
    answers
}

/// Runs svcmgr on `peer` for the service, its lines shown as they come. The error says what failed; the lines say why.
pub fn remote(
    (host, log, options): (&Host, &Logger, &Options),
    service: &str,
    peer: &str,
    words: &[&str],
    limit: Duration,
) -> Result<(), Error> {
    let remote = host.peers.connect(peer).map_err(|why| Error::text(format!("{peer} cannot be reached: {why}")))?;
    let mut argv = host.peers.svcmgr(&host.paths, peer);
    argv.extend(["-s".to_owned(), service.to_owned(), "--tell".to_owned()]);
    argv.extend(options.cluster.then(|| "--cluster".to_owned())); // who may act here may there
    argv.extend(words.iter().map(|w| (*w).to_owned()));
    log.info(format!("exec 'svcmgr -s {service} {}' on node {peer}", words.join(" ")));
    let (told, from) = (log.clone(), peer.to_owned());
    let rest = Mutex::new((Vec::new(), Level::Info));
    let tell = Arc::new(move |bytes: &[u8]| {
        let Ok(mut rest) = rest.lock() else { return };
        let (rest, level) = &mut *rest;
        rest.extend_from_slice(bytes);
        let Some(end) = rest.iter().rposition(|b| *b == b'\n') else { return };
        let whole: Vec<u8> = rest.drain(..=end).collect();
        for line in String::from_utf8_lossy(&whole).lines().filter(|l| !l.trim().is_empty()) {
            *level = relay(&told, &from, line, *level);
        }
    });
    let out = host.runner.run(&Cmd::change(argv).on(&remote).timeout(limit).on_output(tell));
    match out.failure() {
        None => Ok(()),
        Some(stage) => {
            let said = stage.stderr.trim();
            let why = if said.is_empty() { String::new() } else { format!(": {said}") };
            Err(Error::text(format!("{} failed on {peer} ({}){why}", words.join(" "), stage.why())))
        }
    }
}

/// Stops the service on `peer`.
pub fn stop(with: (&Host, &Logger, &Options), service: &str, peer: &str) -> Result<(), Error> {
    remote(with, service, peer, &["stop"], STOP)
}

/// A console line of a peer, at its level: `19:10:02 INFO   SVC1.FS#1 mount …`. One that goes on with what was said is
/// at the level of that. Returns the level.
fn relay(log: &Logger, peer: &str, line: &str, before: Level) -> Level {
    let mut words = line.splitn(3, ' ');
    let (_, level, text) = (words.next(), words.next(), words.next());
    let level = match level {
        Some("ERROR") => Level::Error,
        Some("WARNING") => Level::Warning,
        Some("INFO") => Level::Info,
        _ => {
            log.log(before, format!("{peer}: {line}"));
            return before;
        }
    };
    log.log(level, format!("{peer}: {}", text.unwrap_or_default().trim_start()));
    level
}
