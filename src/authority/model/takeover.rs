//! Start, boot and takeover, step by step.

use super::kinds::{Data, Job, Mode, NAMES, SERVICE, Todo, World, copy_of, number_of, refuse};
use crate::authority::start::{Answers, Boot, Decision, View, behind, boot, decide};
use crate::authority::{Here, Refusal};
use crate::state::alive::LastRun;
use crate::state::authority::Promise;
use chrono::Duration;

/// Takes in all answers, as the program does.
pub fn learn(here: &mut Here, answers: &Answers) {
    here.resolve(answers.values().map(|a| a.as_ref().ok()));
    for holder in answers.values().filter_map(|a| a.as_ref().ok()).flat_map(|a| a.holder.iter().chain(&a.rival)) {
        here.learn(holder);
    }
    answers.values().filter_map(|a| a.as_ref().ok()).for_each(|a| here.hear(a));
}

impl World {
    /// What all others say to `n`.
    pub fn answers(&self, n: usize) -> Answers {
        let said = |p: usize| if self.reach(n, p) { Ok(self.answer(p)) } else { Err("cannot be reached".to_owned()) };
        (0..NAMES.len()).filter(|p| *p != n).map(|p| (NAMES[p].to_owned(), said(p))).collect()
    }

    /// Who does not know who holds asks everybody, and learns.
    pub fn look_around(&mut self, n: usize) {
        if self.nodes[n].here.record.fault().is_some() && self.nodes[n].up && self.busy(n).is_none() {
            let answers = self.answers(n);
            self.change(n, |here| learn(here, &answers));
        }
    }

    fn look(&mut self, n: usize, job: &mut Job) {
        job.answers = self.answers(n);
        job.missed.extend(job.answers.iter().filter(|(_, a)| a.is_err()).map(|(p, _)| number_of(p)));
        job.asked_at = self.events;
        let answers = job.answers.clone();
        self.change(n, |here| learn(here, &answers));
    }

    pub fn boot(&mut self, n: usize, job: &mut Job, over: bool) -> Result<(), Refusal> {
        self.look(n, job);
        let here = &self.nodes[n].here;
        let down = here.last_run.as_ref().filter(|r| r.crashed).and_then(|r| r.until).map(|until| here.now - until);
        let view = View { here, answers: &job.answers, flex: false };
        match boot(&view, down, Some(Duration::minutes(15)), over) {
            Boot::Start => job.todo.push_back(Todo::Ask),
            Boot::Busy(_) if over => job.todo.push_back(Todo::Ask),
            Boot::Standby(why) => self.tell(format!("   stays down: {why}")),
            Boot::Wait(why) | Boot::Busy(why) => self.tell(format!("   waits no longer: {why}")),
        }
        Ok(())
    }

    pub fn ask(&mut self, n: usize, job: &mut Job) -> Result<Result<(), Refusal>, String> {
        if self.nodes[n].receiving.take().is_some() {
            self.tell(format!("   {} ends what it receives", NAMES[n]));
        }
        self.look(n, job);
        if !self.nodes[n].up {
            return Ok(Ok(()));
        }
        self.ask_data(n);
        let here = &self.nodes[n].here;
        job.before = Some(here.clone());
        job.go = match decide(&View { here, answers: &job.answers, flex: false }, &job.how) {
            Decision::Refuse(refusal) => return Ok(Err(refusal)),
            Decision::Go(go) => go,
        };
        job.go.warnings.iter().for_each(|w| self.story.push(format!("   warning: {w}")));
        self.warnings = job.go.warnings.clone();
        let go = &job.go;
        if go.handover.is_none() && go.claim.is_some() && !here.holds() {
            self.no_loss_in_silence(n, job)?;
        }
        let others = (0..NAMES.len()).filter(|p| *p != n);
        if let Some(giver) = go.handover.as_deref().map(number_of) {
            job.todo.push_back(Todo::GiveStop(giver));
            job.todo.extend(self.transfer(giver, n, Mode::Handover));
            job.todo.extend([Todo::Hand(giver, n), Todo::Learn(giver, n)]);
            job.todo.extend(others.map(Todo::Tell));
        } else if let Some(epoch) = go.claim {
            job.todo.extend(go.stop.iter().map(|p| Todo::StopThere(number_of(p))));
            let copy = here.copy().unwrap().name.clone();
            job.claim = Some(Promise { epoch, node: NAMES[n].into(), copy, at: here.now });
            let order = here.copies.nodes().map(|p| number_of(p));
            job.todo.extend(order.filter(|p| !job.missed.contains(p)).map(Todo::Claim));
            job.todo.push_back(Todo::Take);
            job.todo.extend(others.map(Todo::Tell));
        }
        job.todo.push_back(Todo::Start);
        Ok(Ok(()))
    }

    /// A takeover that leaves writes of the holder behind says so.
    fn no_loss_in_silence(&self, n: usize, job: &Job) -> Result<(), String> {
        let here = &self.nodes[n].here;
        let left = |d: &Data, mine: &Data| {
            d.writes.iter().any(|w| !mine.writes.contains(w) && !self.given_up.contains(w) && !self.left_behind.contains(w))
        };
        let mine = &self.data[copy_of(n)];
        let holder = here.holder().map_or(0, |h| copy_of(number_of(&h.node)));
        let loses = self.data[holder].iter().zip(mine).any(|(d, mine)| left(d, mine));
        // out of reach: a clock was set between the image and the last write; the holder's var is of before that write
        let restored = (0..NAMES.len()).any(|p| copy_of(p) == holder && self.nodes[p].restored_at > 0);
        if loses && !self.clock_set && !restored && job.go.warnings.is_empty() {
            return Err(format!("{} takes over without a word about the writes it does not have", NAMES[n]));
        }
        Ok(())
    }

    pub fn stop_there(&mut self, n: usize, p: usize, force: bool) -> Result<(), Refusal> {
        if !self.reach(n, p) || self.busy(p).is_some() {
            let again = format!("on {}: svcmgr -s {SERVICE} takeover --abandon {} --force", NAMES[n], NAMES[p]);
            return if force { Ok(()) } else { Err(refuse(format!("{} cannot be stopped", NAMES[p]), again)) };
        }
        self.stop(p);
        Ok(())
    }

    pub fn claim(&mut self, n: usize, job: &mut Job, p: usize) -> Result<(), Refusal> {
        let claim = job.claim.clone().unwrap();
        if !self.reach(n, p) {
            job.missed.insert(p);
            return Ok(());
        }
        let up = self.nodes[p].running.then(|| format!("{SERVICE} is up on {}", NAMES[p]));
        let holds = self.nodes[p].here.holds(); // as the gate does: who does not hold has to claim as well
        let busy = up.or_else(|| self.busy(p).filter(|_| holds).map(|what| format!("{} is doing `{what}`", NAMES[p])));
        let told = self.nodes[n].here.holder().ok();
        let seen = if p == n {
            job.before.as_ref().and_then(|b| b.promise())
        } else {
            job.answers[NAMES[p]].as_ref().ok().and_then(|a| a.promise.as_ref())
        };
        let stale = seen.filter(|s| s.node != NAMES[n]).cloned();
        let promised = self.change(p, |here| {
            stale.iter().for_each(|s| here.forget(s));
            if p == n {
                return here.promise_self(&claim);
            }
            told.iter().for_each(|h| _ = here.learn(h));
            here.promise_to(&claim, busy.as_deref())
        });
        job.promised.push(p);
        promised.map_err(|why| {
            job.promised.pop();
            refuse(format!("{SERVICE} is not taken over by {}: {why}", NAMES[n]), format!("on {}: svcmgr -s {SERVICE} where", NAMES[n]))
        })
    }

    pub fn release(&mut self, n: usize, job: &Job, p: usize) {
        let claim = job.claim.clone().unwrap();
        if self.reach(n, p) {
            self.change(p, |here| here.release(&claim));
        }
    }

    pub fn take(&mut self, n: usize, job: &mut Job) -> Result<(), Refusal> {
        let claim = job.claim.clone().unwrap();
        if let Err(why) = self.nodes[n].here.claims(&claim) {
            return Err(refuse(why, format!("on {}: svcmgr -s {SERVICE} where", NAMES[n])));
        }
        if let Some(loser) = job.how.abandon.as_deref().map(number_of) {
            self.give_up(claim.epoch, n, loser);
        }
        let mine = self.data[copy_of(n)].clone();
        for (theirs, mine) in self.data.iter().flat_map(|c| c.iter().zip(&mine)) {
            self.left_behind.extend(theirs.writes.difference(&mine.writes));
        }
        let abandoned = job.go.abandoned.clone();
        let asked_at = job.before.as_ref().map_or(self.now(n), |before| before.now);
        let behind = behind(&Here { now: asked_at, ..self.nodes[n].here.clone() }, &job.answers);
        self.change(n, |here| here.take(claim.epoch, behind, &abandoned));
        for p in job.missed.iter().filter(|_| job.how.force) {
            if let Some(other) = &mut self.nodes[*p].job {
                other.overruled = true;
            }
        }
        if job.how.force {
            self.data[copy_of(n)].iter_mut().for_each(|d| d.torn = false); // chosen
        }
        self.taken.push((claim.epoch, copy_of(n), self.events));
        job.taken = true;
        job.promised.clear();
        Ok(())
    }

    /// Someone chooses to lose what a machine has written.
    pub fn give_up(&mut self, epoch: u64, keeper: usize, loser: usize) {
        self.chosen.insert((epoch, copy_of(keeper), copy_of(loser)));
        self.unused.insert((epoch, copy_of(keeper), copy_of(loser)));
        for (lost, kept) in self.data[copy_of(loser)].iter().zip(&self.data[copy_of(keeper)]) {
            self.given_up.extend(lost.writes.difference(&kept.writes));
        }
    }

    pub fn announce(&mut self, n: usize, p: usize) {
        let Ok(holder) = self.nodes[n].here.holder() else { return };
        if self.reach(n, p) {
            let question = self.question(n);
            self.change(p, |here| {
                here.learn(&holder);
                here.accept(&question);
            });
        }
    }

    pub fn start(&mut self, n: usize, job: &mut Job) -> Result<Result<(), Refusal>, String> {
        if let Some(other) = self.disks_taken(n) {
            let remedy = format!("on {}: svcmgr -s {SERVICE} stop", NAMES[other]);
            return Ok(Err(refuse(format!("the disks are in use on {}", NAMES[other]), remedy)));
        }
        if !self.nodes[n].here.holds() {
            return Ok(Err(refuse("somebody else was quicker", format!("on {}: svcmgr -s {SERVICE} where", NAMES[n]))));
        }
        // out of reach: the other machine on the same disks was receiving, and does not answer now; or files of one of the
        // two were lost, and a holder that did not know it was one has received, or who received has forgotten it; or a clock
        // was set, and when the other one was cut off cannot be compared with when this one had all
        let same_disks = self.nodes.iter().enumerate().filter(|(p, _)| copy_of(*p) == copy_of(n));
        let whole = same_disks.map(|(_, node)| node).all(|node| node.restored_at == 0 && node.damaged_at == 0);
        let asked = (0..NAMES.len()).all(|p| p == n || copy_of(p) != copy_of(n) || !job.missed.contains(&p));
        let clocks = copy_of(n) == 0 && self.clock_set;
        if !job.how.force && asked && whole && !clocks && self.data[copy_of(n)].iter().any(|d| d.torn) {
            return Err(format!("{} starts on torn data, not forced to", NAMES[n]));
        }
        for p in self.live_elsewhere(n) {
            let other = &self.nodes[p];
            // it had no say in our question, or we had none in its; or who held then, and has handed over since, had none
            let held =
                job.before.as_ref().and_then(|b| b.holding()).is_some_and(|c| c.nodes.iter().any(|m| job.missed.contains(&number_of(m))));
            if job.overruled || (held && job.claim.is_some()) {
                continue;
            }
            let missed_us = other.missed.contains(&n) && job.asked_at < other.took_at;
            if !job.missed.contains(&p) && !missed_us {
                return Err(format!("two live copies: {} was asked by {}, which starts while it runs", NAMES[p], NAMES[n]));
            }
        }
        self.data[copy_of(n)].iter_mut().for_each(|d| d.torn = false);
        job.taken = false;
        let now = self.now(n);
        self.change(n, Here::settle);
        let events = self.events;
        let node = &mut self.nodes[n];
        let was_up = node.running;
        node.here.last_run = Some(LastRun { since: Some(now), ..LastRun::default() });
        node.running = node.up;
        if !was_up {
            // a run that goes on with what was taken alone is as alone
            if job.claim.is_some() {
                node.missed.clear();
            }
            node.missed.extend(&job.missed);
            node.took_at = events;
        }
        self.tell(format!("   {} is up", NAMES[n]));
        Ok(Ok(()))
    }
}
