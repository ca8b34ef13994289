//! `svcmgr -s NAME gate`: answers a sender's question. Reads one JSON line, returns one; writes nothing on this node.

use super::common::{self, Instance};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::log::Logger;
use crate::service::build;
use crate::state::gate::{Answer, Detail, Question, VERSION, Verdict, to_line};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::Read;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// How long a sender may take to ask.
const PATIENCE: Duration = Duration::from_secs(30);
/// No question is longer.
const LONGEST: usize = 4 << 20;

/// Answers the question on `stdin`; the answer ends in a newline.
pub fn serve<R: Read + AsFd>(host: &Host, log: &Logger, name: &str, stdin: &mut R) -> Result<String> {
    let question = Question::parse(&read_line(stdin)?).map_err(Error::Text)?;
    Ok(format!("{}\n", to_line(&answer(host, log, name, &question))))
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
pub fn answer(host: &Host, log: &Logger, name: &str, question: &Question) -> Answer {
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
            answer.rids = data.map(|rid| (rid.clone(), Verdict { ok: false, why: Some(why.clone()), held: None })).collect();
            return answer;
        }
    };
    let here = Instance::look(host, log, &service);
    answer.avail = Some(here.report.avail.name().into());
    answer.running = Some(!here.up().is_empty());
    for (rid, detail) in &question.rids {
        let why = refusal(&here, &question.node, rid, detail);
        answer.rids.insert(rid.clone(), Verdict { ok: why.is_none(), why, held: None });
    }
    answer
}

fn refusal(here: &Instance, sender: &str, rid: &str, detail: &Detail) -> Option<String> {
    if !matches!(detail.driver.as_str(), "" | "rsync") {
        return Some(format!("{} transfers are not supported by this version", detail.driver));
    }
    let dst = detail.dst.as_deref().unwrap_or_default();
    let not_mounted = || here.not_mounted(detail.dstfs.as_deref(), dst);
    here.in_the_way(Some(sender), rid).or_else(not_mounted).or_else(|| here.below_unmounted(dst).filter(|_| !common::is_internal(rid)))
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
