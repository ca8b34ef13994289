//! What may happen next.

use super::kinds::{Mode, NAMES, SERVICE, Todo, World, copy_of, refuse};
use crate::authority::start::How;
use proptest::prelude::*;

/// Something happens to, or is typed on, machine `a`; `b` says with what. `slow`: it is begun and not ended.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    pub what: What,
    pub a: usize,
    pub b: usize,
    pub slow: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Write,
    ByHand,
    Advance,
    Start,
    Stop,
    Takeover,
    Giveback,
    Sync,
    Boot,
    Crash,
    Cut,
    Heal,
    HealAll,
    Time,
    Force,
    Abandon,
    SyncAbandon,
    GivebackAbandon,
    Tear,
    Clock,
    Damage,
    Backup,
    Restore,
}

use What::*;

const WEIGHTS: [(u32, What); 23] = [
    (16, Write),
    (3, ByHand),
    (16, Advance),
    (12, Start),
    (6, Stop),
    (8, Takeover),
    (8, Giveback),
    (16, Sync),
    (8, Boot),
    (5, Crash),
    (6, Cut),
    (7, Heal),
    (3, HealAll),
    (3, Time),
    (3, Force),
    (3, Abandon),
    (2, SyncAbandon),
    (2, GivebackAbandon),
    (2, Tear),
    (1, Clock),
    (1, Damage),
    (2, Backup),
    (1, Restore),
];

/// A history, and how many replications there are.
pub fn history() -> impl Strategy<Value = (Vec<Step>, usize)> {
    let what = proptest::sample::select(WEIGHTS.iter().flat_map(|(n, w)| std::iter::repeat_n(*w, *n as usize)).collect::<Vec<_>>());
    let step = (what, 0..4usize, 0..4usize, proptest::bool::weighted(0.15)).prop_map(|(what, a, b, slow)| Step { what, a, b, slow });
    (proptest::collection::vec(step, 0..90), 1..3usize)
}

impl World {
    /// It happens. The error is an invariant that does not hold.
    pub fn step(&mut self, step: &Step) -> Result<(), String> {
        self.tick(7);
        let Step { b, slow, .. } = *step;
        let a = self.fitting(step);
        let how = |abandon: bool, force: bool| How {
            abandon: (abandon && copy_of(a) != copy_of(b)).then(|| NAMES[b].to_owned()),
            force,
            ..How::default()
        };
        match step.what {
            Write => (0..=b).for_each(|_| self.write(a)),
            ByHand => self.write_by_hand(a, b),
            Advance => {
                for _ in 0..=b {
                    self.advance(a)?;
                }
            }
            Start => return self.run(a, "start", how(false, false), vec![Todo::Ask], slow),
            Force => return self.run(a, "start", how(false, true), vec![Todo::Ask], slow),
            Takeover => return self.run(a, "takeover", How { takeover: true, ..how(false, false) }, vec![Todo::Ask], slow),
            Abandon if copy_of(a) != copy_of(b) => {
                return self.run(a, "takeover", How { takeover: true, ..how(true, slow) }, vec![Todo::Ask], false);
            }
            Stop if self.busy(a).is_none() => self.stop(a),
            Giveback | GivebackAbandon => return self.giveback(a, b, step.what == GivebackAbandon, slow),
            Sync => return self.sync(a, b, slow),
            SyncAbandon if copy_of(a) != copy_of(b) => return self.sync_abandon(a, b),
            Boot if !self.nodes[a].up => {
                self.tell(format!("BOOT {}", NAMES[a]));
                self.wake(a);
                return self.run(a, "boot", how(false, false), vec![Todo::Boot(b > 0)], slow);
            }
            Crash if self.nodes[a].up => {
                self.tell(format!("CRASH {}", NAMES[a]));
                self.crash(a);
            }
            Cut if a != b => self.cut(a, b),
            Heal => {
                let healed = self.cut.iter().nth((4 * a + b) % self.cut.len().max(1)).copied();
                self.cut.retain(|c| Some(*c) != healed);
            }
            HealAll => self.cut.clear(),
            Time => self.tick(1200),
            Tear => self.nodes[a].tear = true,
            Clock => {
                self.nodes[a].skew = (b as i64 - 1) * 1800;
                self.clock_at = self.events;
                self.clock_set |= self.events > 20;
                self.tell(format!("CLOCK {}", NAMES[a]));
            }
            Damage => self.damage(a, b as u8),
            Backup => self.backup(a),
            Restore => self.restore(a),
            _ => {}
        }
        Ok(())
    }

    /// The machine it happens to: one where it makes sense, if there is one.
    fn fitting(&self, step: &Step) -> usize {
        let fits = |n: &usize| match step.what {
            Write | Stop | Sync | Giveback | GivebackAbandon | SyncAbandon => self.nodes[*n].running,
            Boot => !self.nodes[*n].up,
            Advance => self.nodes[*n].job.is_some(),
            _ => false,
        };
        let all: Vec<usize> = (0..NAMES.len()).filter(fits).collect();
        all.get(step.a % all.len().max(1)).copied().unwrap_or(step.a)
    }

    fn cut(&mut self, a: usize, b: usize) {
        self.tell(format!("CUT {} {}", NAMES[a], NAMES[b]));
        self.cut.insert((a.min(b), a.max(b)));
        for (n, from) in [(a, b), (b, a)] {
            self.abandoned_by(n, from);
            let ended = self.nodes[n].receiving.as_ref().is_some_and(|r| r.from == from);
            if ended {
                self.nodes[n].receiving = None;
            }
        }
    }

    pub fn run(&mut self, n: usize, name: &str, how: How, todo: Vec<Todo>, slow: bool) -> Result<(), String> {
        if self.begin(n, name, how, todo) && !slow {
            self.finish(n)?;
        }
        Ok(())
    }

    /// Sends to one machine of each other copy: `pick` says to which of two.
    pub fn sync(&mut self, n: usize, pick: usize, slow: bool) -> Result<(), String> {
        self.look_around(n);
        let site = pick % 2;
        let targets: Vec<usize> = [site, 2, 3].into_iter().filter(|t| copy_of(*t) != copy_of(n)).collect();
        let mut todo = Vec::new();
        for to in targets.into_iter().filter(|t| pick < 2 || slow || *t == pick || copy_of(*t) == 0) {
            todo.extend(self.transfer(n, to, Mode::Sync));
        }
        if !self.nodes[n].running {
            return Ok(());
        }
        self.run(n, "sync", How::default(), todo, slow)
    }

    pub fn sync_abandon(&mut self, n: usize, loser: usize) -> Result<(), String> {
        self.look_around(n);
        if !self.nodes[n].running || !self.nodes[n].here.holds() || self.busy(n).is_some() {
            return Ok(());
        }
        let epoch = self.nodes[n].here.holder().map_or(0, |h| h.epoch);
        self.give_up(epoch, n, loser);
        self.change(n, |here| {
            here.settle();
            let rids = here.copies.rids.clone();
            here.abandon(NAMES[loser], &rids);
        });
        let todo = self.transfer(n, loser, Mode::Sync);
        self.run(n, "sync", How::default(), todo, false)
    }

    /// Home again: data in rounds, one stop, the last data, authority, start.
    pub fn giveback(&mut self, n: usize, pick: usize, abandon: bool, slow: bool) -> Result<(), String> {
        if copy_of(n) == 0 || !self.nodes[n].up || self.busy(n).is_some() {
            return Ok(());
        }
        self.look_around(n);
        let home = pick % 2;
        let mut todo = vec![Todo::Prepare(home)];
        todo.extend(self.transfer(n, home, Mode::Giveback));
        todo.push(Todo::GiveStop(n));
        todo.extend(self.transfer(n, home, Mode::Handover));
        todo.extend([Todo::Hand(n, home), Todo::Learn(n, home)]);
        todo.extend((0..NAMES.len()).filter(|p| *p != n && *p != home).map(Todo::Tell));
        if !self.nodes[n].here.holds() {
            self.refused = Some(refuse(format!("{} does not hold", NAMES[n]), format!("on {}: svcmgr -s {SERVICE} where", NAMES[n])));
            return Ok(());
        }
        if self.begin(n, "giveback", How::default(), todo) {
            let job = self.nodes[n].job.as_mut().unwrap();
            job.give_up = abandon;
            if !slow {
                self.finish(n)?;
                if self.refused.is_none() {
                    return self.run(home, "start", How::default(), vec![Todo::Ask], false);
                }
            }
        }
        Ok(())
    }
}
