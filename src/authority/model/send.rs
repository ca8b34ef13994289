//! Sync, planned handover and giveback, step by step; and the truth about what a transfer overwrites.

use super::kinds::{Data, Job, Mode, NAMES, Receiving, SERVICE, Todo, World, copy_of, refuse};
use super::takeover::learn;
use crate::authority::written::given_up_for;
use crate::authority::{Refusal, receive};
use crate::state::authority::Holder;
use crate::state::gate::{Question, VERSION};
use crate::state::replica::{Image, Replica, Sent, State};

impl World {
    /// All that one transfer of all data takes.
    pub fn transfer(&self, from: usize, to: usize, mode: Mode) -> Vec<Todo> {
        let copies = (0..self.data[0].len()).map(|rid| Todo::Copy(from, to, rid));
        let begin = [Todo::Freeze(from), Todo::Gate(from, to, mode), Todo::Open(from, to, mode)];
        begin.into_iter().chain(copies).chain([Todo::Done(from, to, mode)]).collect()
    }

    pub fn freeze(&mut self, from: usize, job: &mut Job) {
        self.rounds.push(self.data[copy_of(from)].iter().map(|d| d.writes.clone()).collect());
        job.round = self.rounds.len() - 1;
        let image = Image {
            id: None,
            frozen_at: Some(self.now(from)),
            epoch: self.nodes[from].here.holder().map_or(0, |h| h.epoch),
            round: Some(format!("r{}", job.round)),
        };
        job.images = (0..self.data[0].len()).map(|rid| (self.rid(rid), image.clone())).collect();
    }

    pub fn question(&self, from: usize) -> Question {
        let here = &self.nodes[from].here;
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

    /// The gate: both learn, the peer says yes or no.
    pub fn gate(&mut self, driver: usize, from: usize, to: usize, mode: Mode) -> Result<(), Refusal> {
        let (sender, peer) = (NAMES[from], NAMES[to]);
        if !self.reach(driver, from) || !self.reach(from, to) {
            return Err(refuse(format!("{peer} cannot be reached"), ""));
        }
        let here = &self.nodes[from].here;
        if !here.holds() || (mode == Mode::Sync && !self.nodes[from].running) {
            return Err(refuse(
                format!("{sender} does not hold the data, or is not up"),
                format!("on {sender}: svcmgr -s {SERVICE} where"),
            ));
        }
        let question = self.question(from);
        self.change(to, |here| {
            question.holder.iter().for_each(|h| _ = here.learn(h));
            here.accept(&question);
        });
        let answer = self.answer(to);
        self.change(from, |here| {
            here.hear(&answer);
            answer.holder.iter().chain(&answer.rival).for_each(|h| _ = here.learn(h));
        });
        if self.nodes[to].running {
            return Err(refuse(format!("{SERVICE} is up on {peer}"), format!("on {peer}: svcmgr -s {SERVICE} stop")));
        }
        let ours = to == driver || self.nodes[driver].job.as_ref().is_some_and(|j| j.helpers.contains(&to));
        let other = self.busy(to).filter(|_| !ours);
        if let Some(what) = other.or_else(|| self.disks_taken(to).map(|p| format!("the disks are in use on {}", NAMES[p]))) {
            return Err(refuse(format!("{peer} is busy: {what}"), ""));
        }
        let here = &self.nodes[to].here;
        match here.copies.rids.iter().find_map(|rid| receive::refusal(here, &question, rid)) {
            Some(refusal) => Err(refusal),
            None => Ok(()),
        }
    }

    pub fn open(&mut self, driver: usize, job: &mut Job, from: usize, to: usize, mode: Mode) -> Result<(), Refusal> {
        self.gate(driver, from, to, mode)?;
        self.ask_data(to);
        self.gate(driver, from, to, mode)?;
        let here = &self.nodes[to].here;
        let replica = |r: &Replica| matches!(r.state, State::Replica | State::InProgress);
        self.unaware = here.receiving() || here.replicas.values().all(|r| r.known().is_some_and(replica));
        self.used_up(job, from, to);
        self.change(to, |here| here.copies.rids.clone().iter().for_each(|rid| here.arriving(rid, None, None)));
        if self.nodes[to].up {
            self.nodes[to].receiving = Some(Receiving { from, round: job.round });
        }
        Ok(())
    }

    /// A transfer begins: all is given up that is there and someone has chosen to lose; what is written later is not.
    fn used_up(&mut self, job: &Job, from: usize, to: usize) {
        let epoch = self.nodes[from].here.holder().map_or(0, |h| h.epoch);
        if self.unused.remove(&(epoch, copy_of(from), copy_of(to))) {
            for (old, new) in self.data[copy_of(to)].iter().zip(&self.rounds[job.round]) {
                self.given_up.extend(old.writes.difference(new));
            }
        }
    }

    fn open_still(&self, job: &Job, from: usize, to: usize) -> Result<(), Refusal> {
        let open = self.reach(from, to) && self.nodes[to].receiving == Some(Receiving { from, round: job.round });
        if open { Ok(()) } else { Err(refuse(format!("the transfer to {} has broken off", NAMES[to]), "")) }
    }

    /// Overwrites. Here the truth is told.
    pub fn copy(&mut self, job: &Job, from: usize, to: usize, rid: usize) -> Result<Result<(), Refusal>, String> {
        if let Err(refusal) = self.open_still(job, from, to) {
            return Ok(Err(refusal));
        }
        let new = self.rounds[job.round][rid].clone();
        let old = self.data[copy_of(to)][rid].writes.clone();
        for id in old.difference(&new) {
            self.may_go(*id, from, to, rid)?;
        }
        let newest = Some(self.now(to));
        let data = &mut self.data[copy_of(to)][rid];
        data.writes = new;
        data.newest = newest;
        data.torn = true;
        Ok(Ok(()))
    }

    /// An acknowledged write is about to be overwritten: has someone chosen that?
    fn may_go(&mut self, id: usize, from: usize, to: usize, rid: usize) -> Result<(), String> {
        if self.given_up.contains(&id) {
            return Ok(());
        }
        let write = &self.writes[id];
        // out of reach: two machines share the data, and one of them wrote alone, on a record of an older epoch than the
        // one in which the other one, which does not know of it, received a replica or was made ready for it
        let sibling = write.node != to && copy_of(write.node) == copy_of(to);
        if sibling && self.unaware {
            self.given_up.insert(id);
            return Ok(());
        }
        let elsewhere = (0..3).any(|c| c != copy_of(to) && !self.data[c][rid].torn && self.data[c][rid].writes.contains(&id));
        if elsewhere {
            return Ok(());
        }
        let epoch = self.nodes[from].here.holder().map_or(0, |h| h.epoch);
        let (at, origin) = (write.epoch, write.copy);
        let chosen = self.chosen.iter().any(|c| c.0 > at && c.2 == origin);
        if chosen {
            self.given_up.insert(id);
            return Ok(());
        }
        // out of reach: a replica of writes that a takeover has left behind, with a warning. Nobody can tell that it is newer
        // than what that one began with; who wrote them keeps them as long as nobody chooses
        if self.left_behind.contains(&id) && origin != copy_of(to) {
            return Ok(());
        }
        let machine = &self.nodes[to];
        if write.by_hand && copy_of(write.node) == copy_of(to) && self.cannot_tell(to, write.at) {
            self.given_up.insert(id);
            return Ok(());
        }
        // out of reach: the var of this machine is of a time before it wrote, and a file of it was lost besides; or two
        // others have held since it did: the last one took over from the other, and does not know whose writes that one
        // left behind. (It may have gone on writing when it had heard of the first of them: that is no epoch of its own)
        let restored = write.node == to && machine.restored_at > write.at;
        let held = self.taken.iter().filter(|(_, copy, at)| *copy == write.copy && *at <= write.at).map(|(epoch, ..)| *epoch).max();
        if restored && (epoch > held.unwrap_or(0) + 1 || machine.damaged_at > machine.restored_at) {
            self.given_up.insert(id);
            return Ok(());
        }
        Err(format!(
            "w{id} (written in copy {}, epoch {}) is lost: {} overwrites it on {}",
            write.copy, write.epoch, NAMES[from], NAMES[to]
        ))
    }

    /// Out of reach: what a machine remembered of its copy was lost after somebody had written into it at `at`; or two
    /// machines with the same disks may have different clocks.
    fn cannot_tell(&self, to: usize, at: usize) -> bool {
        let machine = &self.nodes[to];
        machine.damaged_at.max(machine.restored_at) > at || (copy_of(to) == 0 && self.clock_at > 0)
    }

    /// It was written before another copy took over, and so it was lost by that.
    fn before_takeover(&self, id: usize) -> bool {
        let write = &self.writes[id];
        let takeovers = self.taken.iter().filter(|(epoch, copy, _)| *epoch >= write.epoch && *copy != write.copy);
        takeovers.map(|(_, _, at)| *at).min().is_some_and(|first| write.at <= first)
    }

    pub fn done(&mut self, driver: usize, job: &mut Job, from: usize, to: usize, mode: Mode) -> Result<(), Refusal> {
        self.open_still(job, from, to)?;
        self.gate(driver, from, to, mode)?;
        self.open_still(job, from, to)?;
        let images = job.images.clone();
        let question = Question { done: images.clone().into_iter().collect(), ..self.question(from) };
        if let Some((_, why)) = self.change(to, |here| here.arrived(&question)).pop() {
            return Err(refuse(why, ""));
        }
        let answer = self.answer(to);
        self.change(from, |here| here.hear(&answer));
        self.nodes[to].receiving = None;
        self.data[copy_of(to)].iter_mut().for_each(|d| d.torn = false);
        for (rid, image) in images {
            let sent = self.nodes[from].here.sent.entry(rid).or_default();
            sent.insert(NAMES[to].into(), Sent { image, ..Sent::default() });
        }
        Ok(())
    }

    pub fn give_stop(&mut self, driver: usize, job: &mut Job, giver: usize) -> Result<(), Refusal> {
        if !self.reach(driver, giver) || (giver != driver && self.busy(giver).is_some()) {
            return Err(refuse(format!("{} cannot hand over now", NAMES[giver]), ""));
        }
        let here = &self.nodes[giver].here;
        if !here.holds() || here.promise().is_some_and(|p| p.node != NAMES[driver]) || self.disks_taken(giver).is_some() {
            return Err(refuse(
                format!("{} has nothing to hand over", NAMES[giver]),
                format!("on {}: svcmgr -s {SERVICE} where", NAMES[driver]),
            ));
        }
        job.helpers.insert(giver);
        self.stop(giver);
        Ok(())
    }

    /// Home gets ready: nothing may have been written there after it was taken over, unless someone chose.
    pub fn prepare(&mut self, driver: usize, job: &mut Job, home: usize) -> Result<(), Refusal> {
        if !self.reach(driver, home) || self.busy(home).is_some() || self.nodes[home].running {
            let remedy = format!("on {}: svcmgr -s {SERVICE} stop", NAMES[home]);
            return Err(refuse(format!("{} cannot receive", NAMES[home]), remedy));
        }
        let holder = self.nodes[driver].here.holder().ok();
        self.change(home, |here| holder.iter().for_each(|h| _ = here.learn(h)));
        self.ask_data(home);
        if let Some(holder) = &holder {
            self.announce_loss(driver, home, holder, job.give_up)?;
        }
        if job.give_up {
            let epoch = self.nodes[driver].here.holder().map_or(0, |h| h.epoch);
            self.give_up(epoch, driver, home);
        }
        job.helpers.insert(home);
        self.change(home, |here| here.receive(true, true));
        Ok(())
    }

    /// What home has written before it was taken over, and nobody has sent, is given up when that is said.
    fn announce_loss(&mut self, driver: usize, home: usize, holder: &Holder, abandon: bool) -> Result<(), Refusal> {
        let skew = self.now(driver) - self.now(home);
        let here = self.nodes[home].here.clone();
        let own = |rid: &&String| matches!(here.data(rid).state, Some(State::Orphan) | None);
        for (index, rid) in here.copies.rids.iter().enumerate().filter(|(_, rid)| own(rid)) {
            let words = given_up_for(&here, holder, rid, self.newest(home, rid), skew, abandon)?;
            words.iter().for_each(|w| self.tell(format!("   warning: {w}")));
            let lost: Vec<usize> =
                self.data[copy_of(home)][index].writes.difference(&self.data[copy_of(driver)][index].writes).copied().collect();
            // out of reach: a clock was set since the write, or since the takeover; or two machines with the same disks have different clocks
            let apart = self.nodes[0].skew != self.nodes[1].skew;
            let taken =
                |w: &usize| self.taken.iter().filter(|t| t.0 >= self.writes[*w].epoch && t.1 != self.writes[*w].copy).map(|t| t.2).min();
            let unclear = |w: &usize| apart || self.writes[*w].at < self.clock_at || taken(w).is_some_and(|at| at < self.clock_at);
            let older = |w: &usize| self.before_takeover(*w) || self.left_behind.contains(w);
            let gone = |w: &usize| if words.is_some() { older(w) || unclear(w) } else { older(w) && unclear(w) };
            let lost: Vec<usize> = lost.into_iter().filter(gone).collect();
            self.given_up.extend(lost);
        }
        Ok(())
    }

    /// Authority goes from one to the other, with all data.
    pub fn hand(&mut self, driver: usize, job: &mut Job, giver: usize, taker: usize) -> Result<Result<(), Refusal>, String> {
        if !self.reach(driver, giver) || !self.nodes[giver].here.holds() {
            return Ok(Err(refuse(
                format!("{} cannot hand over", NAMES[giver]),
                format!("on {}: svcmgr -s {SERVICE} where", NAMES[giver]),
            )));
        }
        let left = |(rid, d): (usize, &Data)| d.writes.iter().find(|w| !self.data[copy_of(taker)][rid].writes.contains(w)).copied();
        if let Some(lost) = self.data[copy_of(giver)].iter().enumerate().find_map(left) {
            return Err(format!("w{lost} is not handed over from {} to {}", NAMES[giver], NAMES[taker]));
        }
        // the last moment to hear that somebody else holds
        let answers = self.answers(giver);
        self.change(giver, |here| learn(here, &answers));
        if !self.nodes[giver].here.holds() || !self.nodes[giver].up {
            return Ok(Err(refuse("somebody else was quicker", format!("on {}: svcmgr -s {SERVICE} where", NAMES[giver]))));
        }
        let reached = (0..NAMES.len()).filter(|p| self.reach(giver, *p)).map(|p| {
            let answer = self.answer(p);
            answer.epoch.max(answer.promise.map_or(0, |p| p.epoch))
        });
        let epoch = reached.fold(self.nodes[giver].here.highest(), u64::max) + 1;
        let ahead = self.now(taker) - self.now(giver);
        let here = &self.nodes[giver].here;
        let copy = here.copies.of_node(NAMES[taker]).unwrap().name.clone();
        let from = here.copy().map(|c| c.name.clone());
        let holder =
            Holder { epoch, copy, node: NAMES[taker].into(), since: here.now, from, handed: true, partial: false, away: here.away(ahead) };
        let images = job.images.clone();
        self.change(giver, |here| here.hand_over(holder, &images));
        self.taken.push((epoch, copy_of(taker), self.events));
        (0..NAMES.len()).filter(|p| *p != giver && *p != taker).for_each(|p| self.announce(giver, p));
        Ok(Ok(()))
    }

    /// Who has got authority hears of it.
    pub fn hear(&mut self, giver: usize, taker: usize) -> Result<(), Refusal> {
        if !self.reach(giver, taker) {
            return Err(refuse(format!("{} was handed the data and does not know", NAMES[taker]), ""));
        }
        let Ok(holder) = self.nodes[giver].here.holder() else { return Ok(()) };
        self.change(taker, |here| here.learn(&holder));
        Ok(())
    }
}
