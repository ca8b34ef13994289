//! Authority at work: peers asked, claims made, records written, before anything of a service starts here.
//! What is decided is decided by `authority`; here it is done.

mod begin;

pub use begin::{Agreed, Cleared, agree, clear, foresee, hand_back, remember};

use super::execute::Run;
use super::{call, written};
use crate::authority::start::{Answers, Decision, How, View, decide};
use crate::authority::{Here, Learned, Refusal};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::host::boot::booted_at;
use crate::host::lock::Lock;
use crate::host::peers::Standing;
use crate::log::Logger;
use crate::service::Service;
use crate::state::alive::{self, LastRun};
use crate::state::authority::{self, Promise};
use crate::state::gate::{Answer, Question};
use crate::status::Status;
use chrono::{DateTime, Local};
use std::time::Duration;

/// How long the record may be in somebody else's hands.
const RECORD: Duration = Duration::from_secs(10);

/// A service and what this node knows of its data.
pub struct Desk<'a> {
    /// The service.
    pub service: &'a Service,
    /// This machine.
    pub host: &'a Host,
    /// The service's logger.
    pub log: &'a Logger,
    /// Nothing is written, neither here nor on peers.
    pub dry: bool,
    /// What is known.
    pub here: Here,
    /// When the peers were asked last, by this node's clock: what theirs say is compared with that.
    pub looked: DateTime<Local>,
}

impl<'a> Desk<'a> {
    /// Reads what is known. `up`: something of the service runs here.
    pub fn load(service: &'a Service, host: &'a Host, log: &'a Logger, dry: bool, up: bool) -> Self {
        let mut here = Here::load(&host.paths.var, &service.name, &service.config, host.clock.now());
        here.last_run = last_run(host, &service.name, up);
        if !dry && here.copies.replicated() {
            // a courtesy to the next boot: nothing fails for it
            _ = alive::stamp(&host.paths.var, host.clock.now(), booted_at());
        }
        let looked = here.now;
        Self { service, host, log, dry, here, looked }
    }

    /// Changes what is known, and writes it: no other process reads or writes between.
    pub fn change<T>(&mut self, f: impl FnOnce(&mut Here) -> T) -> Result<T> {
        if self.dry {
            return Ok(f(&mut self.here));
        }
        let _lock = Lock::wait(&self.host.paths.var.join("lock").join(format!("{}.authority", self.service.name)), RECORD)?;
        let last_run = self.here.last_run.clone();
        self.here = Here::load(&self.host.paths.var, &self.service.name, &self.service.config, self.host.clock.now());
        self.here.last_run = last_run;
        let before = self.here.clone();
        let done = f(&mut self.here);
        self.here.save(&self.host.paths.var, &before)?;
        Ok(done)
    }

    /// Takes in what the peers said of the holder.
    pub fn learn(&mut self, answers: &Answers) -> Result<()> {
        let told: Vec<Answer> = answers.values().filter_map(|a| a.clone().ok()).collect();
        let everybody: Vec<Option<Answer>> = answers.values().map(|a| a.clone().ok().filter(Answer::known)).collect();
        let news = |here: &mut Here| {
            here.resolve(everybody.iter().map(Option::as_ref));
            let holders = told.iter().flat_map(|a| a.holder.iter().chain(&a.rival));
            let news = holders.map(|h| here.learn(h)).filter(|l| *l != Learned::Nothing).count();
            told.iter().for_each(|a| here.hear(a));
            news
        };
        // in memory first: mostly there is no news, and nothing to write
        let mut copy = self.here.clone();
        if news(&mut copy) > 0 || copy != self.here {
            self.change(news)?;
        }
        Ok(())
    }

    /// Asks the peers, and learns from them.
    pub fn look(&mut self) -> Result<Answers> {
        let answers = call::look(self.service, self.host, self.log, &self.here);
        self.here.now = self.host.clock.now(); // the silent ones have taken their time
        self.looked = self.here.now;
        for (peer, answer) in &answers {
            self.host.peers.heard(&self.service.name, peer, standing(answer));
        }
        if self.here.copies.replicated() {
            self.learn(&answers)?;
        }
        Ok(answers)
    }

    /// What was written into the copies here after they had arrived is an orphan from now on, on record. `answers`: what
    /// the peers said; without, who has the same disks is asked if that matters.
    pub fn ask_data(&mut self, answers: Option<&Answers>) -> Result<()> {
        self.ask_data_of(&self.here.rids(), answers)
    }

    /// The same, of the replications `rids` alone.
    pub fn ask_data_of(&mut self, rids: &[String], answers: Option<&Answers>) -> Result<()> {
        if !self.here.copies.replicated() {
            return Ok(());
        }
        let found = written::look(self.service, self.host, self.log, &self.here, rids, written::LONG);
        if found.is_empty() {
            return Ok(());
        }
        let asked = if answers.is_none() { written::beside(self.service, self.host, self.log, &self.here) } else { Answers::new() };
        self.change(|here| written::record(here, &found, answers.unwrap_or(&asked)))
    }

    /// The same for who only looks: nothing is written, and nobody else is asked; of shared disks nothing is found out
    /// then.
    pub fn glance(&mut self) {
        if self.here.copies.replicated() && self.here.copy().is_some_and(|c| c.nodes.len() == 1) {
            let found = written::look(self.service, self.host, self.log, &self.here, &self.here.rids(), written::SHORT);
            written::record(&mut self.here, &found, &Answers::new());
        }
    }

    /// What is decided on `answers`.
    pub fn decide(&self, answers: &Answers, how: &How) -> Decision {
        decide(&View { here: &self.asking(), answers, flex: self.service.is_flex() }, how)
    }

    /// What is known, at the time of the answers. A look at the data, a person and a stop elsewhere take their time.
    pub fn asking(&self) -> Here {
        Here { now: self.looked, ..self.here.clone() }
    }

    /// Tells everybody who answered who holds authority now. Whoever is not told learns it when he asks.
    pub fn announce(&self, answers: &Answers) {
        if self.dry {
            return;
        }
        let question = call::question(&self.here);
        std::thread::scope(|scope| {
            for peer in answers.iter().filter(|(_, a)| a.as_ref().is_ok_and(Answer::known)).map(|(peer, _)| peer) {
                let question = &question;
                scope.spawn(move || {
                    if let Err(why) = call::gate(self.host, self.log, &self.service.name, peer, question, false, self.host.peers.patience())
                    {
                        self.log.warning(format!("{peer} was not told who holds {} now: {why}", self.service.name));
                    }
                });
            }
        });
    }

    /// Gets the promise of every node that answered, in an order that is the same everywhere: of two who claim at
    /// the same time one is first everywhere. After an error all promises are given back.
    pub fn claim(&mut self, epoch: u64, answers: &Answers) -> Result<Claim> {
        let (service, node) = (self.service.name.clone(), self.here.node.clone());
        let copy = self.here.copy().map(|c| c.name.clone()).unwrap_or_default();
        let claim = Promise { epoch, node: node.clone(), copy, at: self.host.clock.now() };
        let order: Vec<String> = self.here.copies.nodes().cloned().collect();
        let mut promised: Vec<String> = Vec::new();
        // whose claimant was asked and is not taking over any more, or is left aside by --force
        let stale = |p: Option<&Promise>| p.filter(|p| p.node != node).cloned();
        let own = stale(self.here.promise());
        for peer in order {
            let refused = if peer == node {
                self.change(|here| {
                    own.iter().for_each(|p| here.forget(p));
                    here.promise_self(&claim)
                })?
                .err()
            } else if answers.get(&peer).is_some_and(|a| a.as_ref().is_ok_and(Answer::known)) && !self.dry {
                let unclaim = stale(answers.get(&peer).and_then(|a| a.as_ref().ok()?.promise.as_ref()));
                let question = Question { claim: Some(claim.clone()), unclaim, ..call::question(&self.here) };
                match call::gate(self.host, self.log, &service, &peer, &question, false, self.host.peers.patience()) {
                    Ok(answer) => answer.claim_refused,
                    Err(why) => {
                        self.log.warning(format!("{peer} answered, and does not now: {why}. going on without its promise"));
                        continue;
                    }
                }
            } else {
                continue;
            };
            if let Some(why) = refused {
                self.unclaim(&Claim { promise: claim, promised });
                self.log.error(format!("{service} is not taken over by {node}: {why}. see: svcmgr -s {service} where"));
                return Err(Error::Reported);
            }
            promised.push(peer);
        }
        Ok(Claim { promise: claim, promised })
    }

    fn unclaim(&mut self, Claim { promise: claim, promised }: &Claim) {
        for peer in promised {
            if *peer == self.here.node {
                _ = self.change(|here| here.release(claim));
            } else {
                let question = Question { unclaim: Some(claim.clone()), ..call::question(&self.here) };
                _ = call::gate(self.host, self.log, &self.service.name, peer, &question, false, self.host.peers.patience());
            }
        }
    }

    /// A run begins. `words`: what was typed.
    pub fn started(&mut self, words: &str) -> Result<()> {
        if self.dry || !self.here.copies.replicated() {
            return Ok(());
        }
        // data that the record does not speak of yet: the record comes first
        self.change(Here::settle)?;
        if !self.here.holds() {
            return Err(not_taken(&self.here, words, self.here.held_by()));
        }
        let run = LastRun { since: Some(self.host.clock.now()), ..LastRun::default() };
        alive::write_run(&self.host.paths.var, &self.service.name, &run)
    }
}

/// An epoch that others have promised to this node.
pub struct Claim {
    promise: Promise,
    /// Who did.
    promised: Vec<String>,
}

/// What an answer says of the disks there: a part of the service that is left up may be using them.
fn standing(answer: &Result<Answer, String>) -> Standing {
    match answer {
        Err(why) => Standing::Silent(why.clone()),
        Ok(answer) if !answer.known() => Standing::Silent(format!("{} does not know the service", answer.node)),
        Ok(Answer { busy: Some(busy), .. }) => Standing::Active(format!("{busy} is going on there")),
        Ok(answer) => match answer.avail.as_deref() {
            Some(avail) if Status::from_word(avail).is_some_and(Status::is_idle) => Standing::Down,
            avail => Standing::Active(format!("the service is {} there", avail.unwrap_or("in an unknown state"))),
        },
    }
}

/// The last run of a service here. One that was not ended by a stop and is not going on was ended by a crash: it went
/// on at least as long as this node was seen alive.
pub fn last_run(host: &Host, service: &str, up: bool) -> Option<LastRun> {
    let var = &host.paths.var;
    let run = alive::run(var, service)?;
    if run.until.is_some() || up {
        return Some(run);
    }
    let booted = booted_at();
    let seen =
        if run.since.zip(booted).is_some_and(|(since, booted)| since < booted) { alive::before(var, booted) } else { alive::last(var) };
    Some(LastRun { until: seen.max(run.since), crashed: true, ..run })
}

/// A node that has forgotten who holds the data asks the others. That it cannot is no failure of what is done next.
pub fn recall(run: &Run) {
    let mut desk = Desk::load(run.service, run.host, run.log, run.options.dry_run, false);
    let Some(why) = desk.here.record.fault().filter(|_| desk.here.copies.replicated()).map(str::to_owned) else { return };
    let looked = desk.look();
    match (looked, desk.here.holder()) {
        (Ok(_), Ok(holder)) => run.log.info(format!("{} holds the data of {}, say the other nodes ({why})", holder.node, run.service.name)),
        (Err(e), _) => run.log.warning(e.to_string()),
        (Ok(_), Err(why)) => run.log.warning(format!("it is still not known who holds the data of {}: {why}", run.service.name)),
    }
}

/// The run is over: nothing of the service's data is written here any more.
pub fn stopped(service: &Service, host: &Host, log: &Logger) -> Result<()> {
    let var = &host.paths.var;
    if authority::read(var, &service.name).known().is_some_and(|r| r.receiving) {
        Desk::load(service, host, log, false, false).change(|here| here.receive(false, false))?;
    }
    match alive::run(var, &service.name) {
        Some(run) if run.until.is_none() => {
            alive::write_run(var, &service.name, &LastRun { until: Some(host.clock.now()), crashed: false, ..run })
        }
        _ => Ok(()),
    }
}

/// Between question and deed somebody else has come, or too much time has gone by.
fn not_taken(here: &Here, words: &str, why: String) -> Error {
    let (service, node) = (&here.service, &here.node);
    let what = format!("{service} is not started on {node}");
    let refusal = match here.rival() {
        Some(rival) => Refusal::split(here, &what, &rival.node),
        None => Refusal {
            what,
            why,
            stake: "two copies that are both written: the writes of one would be lost".into(),
            remedy: format!("on {node}: svcmgr -s {service} where; then again: svcmgr -s {service} {words}"),
        },
    };
    Error::text(refusal.to_string())
}
