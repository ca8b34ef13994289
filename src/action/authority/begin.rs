//! What has to be done before the first resource of a service starts, and is undone when the start comes to nothing.

use super::{Desk, not_taken};
use crate::action::execute::Run;
use crate::action::gates;
use crate::authority::start::{Answers, Decision, Go, How, behind};
use crate::authority::words::list;
use crate::authority::{Here, Refusal};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::host::lock::Lock;
use crate::host::peers::Standing;
use crate::log::Logger;
use crate::service::Service;
use crate::state::authority::{Known, Record};
use crate::state::history::{self, Entry};
use crate::state::stamp;
use chrono::{DateTime, Local};

/// What a start holds until it is over.
pub struct Cleared<'a> {
    /// The service's desk; of a service without other nodes, too.
    pub desk: Desk<'a>,
    /// Late senders are kept out by these.
    _closed: Vec<Lock>,
    /// Who answered.
    pub answers: Answers,
    /// Authority was taken by this run.
    pub taken: bool,
}

/// What was decided, and on what.
pub struct Agreed<'a> {
    /// The service's desk.
    pub desk: Desk<'a>,
    /// What the peers said.
    pub answers: Answers,
    /// What has to be done.
    pub go: Go,
    /// Who held before, if the data were handed over to this node for this start.
    pub handed: Option<Known<Record>>,
}

impl Agreed<'_> {
    /// What this node knew before authority came to it: what it goes back to when the start comes to nothing.
    pub fn before(&self) -> Here {
        let here = self.desk.here.clone();
        Here { record: self.handed.clone().unwrap_or_else(|| here.record.clone()), ..here }
    }
}

/// Asks the peers whether the service may start here. Nothing is changed but what this node knows; a refusal is said.
pub fn agree<'a>(run: &Run<'a>, how: &How) -> Result<Agreed<'a>> {
    let mut desk = Desk::load(run.service, run.host, run.log, run.options.dry_run, false);
    let answers = desk.look()?;
    desk.ask_data(Some(&answers))?;
    if run.options.cluster {
        for (peer, _) in answers.iter().filter(|(_, a)| a.is_err()) {
            run.host.peers.heard(&run.service.name, peer, Standing::Vouched);
        }
    }
    let go = decided(&desk, &answers, how)?;
    Ok(Agreed { desk, answers, go, handed: None })
}

fn decided(desk: &Desk, answers: &Answers, how: &How) -> Result<Go> {
    match desk.decide(answers, how) {
        Decision::Go(go) => Ok(go),
        Decision::Refuse(refusal) => {
            desk.log.error(refusal.to_string());
            Err(Error::Reported)
        }
    }
}

/// Of a command on several services: nobody has said that they may be taken over from who does not answer.
fn not_agreed(here: &Here, silent: &[String], from: Option<&str>) -> Refusal {
    let (name, node) = (&here.service, &here.node);
    let first = silent.first().map_or("", String::as_str);
    let named = from.map(|from| format!(", and --from {from} does not name it")).unwrap_or_default();
    Refusal {
        what: format!("{name} is not started on {node}: {} holds its data and does not answer{named}", list(silent)),
        why: "a command on several services takes over only from who is known to be dead".into(),
        stake: format!("what {} wrote after the copy here; and if it is alive, two copies that are both written", list(silent)),
        remedy: format!(
            "if {first} is dead, on {node}: allservices start --from {first}   (for all services that it holds; --yes for all nodes)"
        ),
    }
}

/// All that has to be done before the first resource may start: authority taken over if need be, what is being
/// received ended. After an error nothing has started, and the log says why.
pub fn clear<'a>(run: &Run<'a>, agreed: Agreed<'a>, how: &How) -> Result<Cleared<'a>> {
    let Agreed { mut desk, answers, go, .. } = agreed;
    go.warnings.iter().for_each(|w| run.log.warning(w.clone()));
    if !go.silent.is_empty() && run.options.consent.as_ref().is_some_and(|ask| !ask.given(&desk.here, &go.silent)) {
        run.log.error(not_agreed(&desk.here, &go.silent, run.options.from.as_deref()).to_string());
        return Err(Error::Reported);
    }
    let promised = desk.here.promise().cloned();
    let closed = gates::end_receivers(run.service, run.host, run.log, run.options, &desk.here.copies)?;
    if desk.here.copies.replicated() {
        // what was being received when it was ended is not whole
        desk.change(|_| ())?;
        decided(&desk, &answers, how)?;
        if let Some(other) = desk.here.promise().filter(|p| promised.as_ref() != Some(p)) {
            run.log
                .error(format!("not started: {} is taking {} over at this moment. see: svcmgr -s {1} where", other.node, run.service.name));
            return Err(Error::Reported);
        }
    }
    let mut taken = false;
    if let Some(epoch) = go.claim {
        let claim = desk.claim(epoch, &answers)?;
        let behind = behind(&desk.asking(), &answers);
        let ours = desk.change(|here| here.claims(&claim.promise).inspect(|()| here.take(epoch, behind, &go.abandoned)))?;
        if let Err(why) = ours {
            desk.unclaim(&claim);
            return Err(not_taken(&desk.here, &how.words(), why));
        }
        let would = if run.options.dry_run { "would hold" } else { "holds" };
        run.log.info(format!("{} {would} {} from now on (epoch {epoch})", desk.here.node, run.service.name));
        desk.announce(&answers);
        taken = true;
    }
    desk.started(&how.words())?;
    Ok(Cleared { desk, _closed: closed, answers, taken })
}

/// A start that took authority was undone before anything could write data: authority goes back.
pub fn hand_back(desk: &mut Desk, answers: &Answers, before: &Here) {
    let service = desk.service.name.clone();
    match desk.change(|here| here.give_back(before)) {
        Ok(()) => {
            let to = desk.here.holder().map_or_else(|_| "nobody".into(), |h| h.node);
            desk.log.warning(format!(
                "nothing of {service} has run here: its data are {to}'s again. to start it there: svcmgr -s {service} start"
            ));
            desk.announce(answers);
        }
        Err(e) => desk.log.error(format!("authority over {service} could not be given back: {e}")),
    }
}

/// What a start would do before its first resource, in words, or why it would be refused; nothing is written anywhere.
pub fn foresee(service: &Service, host: &Host, log: &Logger, how: &How) -> Result<(Vec<String>, Option<Refusal>)> {
    let mut desk = Desk::load(service, host, log, true, false);
    let answers = desk.look()?;
    desk.ask_data(Some(&answers))?;
    let go = match desk.decide(&answers, how) {
        Decision::Go(go) => go,
        Decision::Refuse(refusal) => return Ok((Vec::new(), Some(refusal))),
    };
    let from = desk.here.holder().map_or_else(|_| "whoever had them".into(), |h| h.node);
    let mut lines = Vec::new();
    lines.extend(
        go.handover
            .iter()
            .map(|node| format!("{node} hands over: sends what has changed while it runs, stops, sends its last writes. nothing is lost")),
    );
    lines.extend(go.stop.iter().map(|node| format!("stop on {node}, whose writes are given up")));
    lines.extend(go.claim.filter(|_| go.handover.is_none()).map(|epoch| format!("take the data over from {from} (epoch {epoch})")));
    // of a start that changes nothing about the data, who did not answer is told when it is done
    if go.claim.is_some() {
        lines.extend(go.warnings.iter().map(|w| format!("warning: {w}")));
    }
    Ok((lines, None))
}

/// Writes a line of history: authority was taken or given, with whom, and how long the service took to run again.
pub fn remember(run: &Run, action: &str, peer: &str, started: DateTime<Local>, done: &Result<()>) {
    if run.options.dry_run {
        return;
    }
    let entry = Entry {
        action: action.into(),
        peer: peer.into(),
        started: stamp::format(started),
        ended: stamp::format(run.host.clock.now()),
        result: if done.is_ok() { "ok" } else { "failed" }.into(),
        why: done.as_ref().err().map(ToString::to_string),
        ..Entry::default()
    };
    if let Err(e) = history::append(&run.host.paths.var, &run.service.name, &entry) {
        run.log.warning(e.to_string());
    }
}
