//! How what a node knows changes: it learns, takes, gives away.

use super::{Here, Learned};
use crate::state::authority::{Holder, Known, Record};
use crate::state::gate::{Answer, Question};
use crate::state::replica::{Image, Replica, State};
use chrono::{DateTime, Local, TimeDelta};
use std::collections::{BTreeMap, BTreeSet};

impl Here {
    /// Takes in what a peer says of the holder. What is not known here is not settled by one peer's word alone:
    /// [`Here::resolve`].
    pub fn learn(&mut self, told: &Holder) -> Learned {
        let Ok(mine) = self.holder() else { return Learned::Nothing };
        let same = |a: &Holder, b: &Holder| self.copies.named(&a.copy, &a.node) == self.copies.named(&b.copy, &b.node);
        let absent = self.record == Known::Absent;
        if told.epoch < mine.epoch || (told.epoch == mine.epoch && same(told, &mine) && !absent) {
            return Learned::Nothing;
        }
        if told.epoch == mine.epoch && !same(told, &mine) {
            let known = self.rival().is_some();
            let mut record = self.record.known().cloned().unwrap_or_else(|| Record::of(mine));
            record.rival = Some(told.clone());
            self.record = Known::Known(record);
            return if known { Learned::Nothing } else { Learned::Split };
        }
        // also when our files, of an older backup, do not know that it was ours
        let ours = told.from.is_some() && told.from == self.copy().map(|c| c.name.clone()) && !told.handed;
        // of a split, who was one of the two
        let party = self
            .holding()
            .into_iter()
            .chain(self.rival().and_then(|r| self.copies.named(&r.copy, &r.node)))
            .any(|c| Some(c) == self.copy());
        let held = party || ours;
        let promise = self.record.known().and_then(|r| r.promise.clone()).filter(|p| p.epoch > told.epoch);
        self.record = Known::Known(Record { promise, ..Record::of(told.clone()) });
        if held && told.epoch > mine.epoch && !self.holds() {
            self.lose(told);
        }
        if told.epoch == mine.epoch { Learned::Nothing } else { Learned::Newer }
    }

    /// Authority has gone to `told` without our doing: what is here was ours, and is an orphan. What was sent after the
    /// last stop may be all of it; but that would be told by two times of a clock that may have been set between.
    fn lose(&mut self, told: &Holder) {
        for rid in self.copies.rids.clone() {
            let replica = Replica {
                dst: self.replicas.get(&rid).and_then(|r| r.known()).and_then(|r| r.dst.clone()),
                from: Some(told.node.clone()),
                image: self.in_common(&rid, told),
                written_until: self.last_run.as_ref().and_then(|r| r.until),
                ..Replica::new(&self.node, State::Orphan, told.epoch, self.now)
            };
            self.replicas.insert(rid, Known::Known(replica));
        }
    }

    /// The last image of ours that the data of `told` have in them. Who had them in between is not known: it began with
    /// what any of the others was sent, or with nothing.
    fn in_common(&self, rid: &str, told: &Holder) -> Image {
        let sent = |node: &String| self.sent.get(rid).and_then(|s| s.get(node)).map(|s| s.image.clone());
        if told.from.is_some() && told.from == self.copy().map(|c| c.name.clone()) {
            return sent(&told.node).unwrap_or_default();
        }
        let others = self.copies.nodes().filter(|n| self.copies.of_node(n) != self.copy() && self.copies.reaches(rid, n));
        let all: Option<Vec<Image>> = others.map(sent).collect();
        all.unwrap_or_default().into_iter().min_by_key(|image| image.frozen_at).unwrap_or_default()
    }

    /// A record that is not known here is settled when every other node has answered, some of them know, and no data
    /// anywhere are of a later epoch than they know of. True: it is known now.
    pub fn resolve<'a>(&mut self, answers: impl Iterator<Item = Option<&'a Answer>>) -> bool {
        if self.record.fault().is_none() {
            return true;
        }
        let mut best: Option<Holder> = None;
        let mut rival = None;
        let mut traces = self.highest();
        for answer in answers {
            // who is at work with it may be taking over, with a promise of ours that could not be written down
            let Some(answer) = answer.filter(|a| a.busy.is_none()) else { return false };
            traces = traces.max(answer.epoch);
            let Some(holder) = answer.holder.clone().filter(|_| answer.unsure.is_none()) else { continue };
            match &best {
                Some(known) if known.epoch > holder.epoch => {}
                Some(known) if known.epoch == holder.epoch && known.copy != holder.copy => rival = Some(holder),
                _ => best = Some(holder),
            }
        }
        let Some(best) = best.filter(|b| b.epoch >= traces) else { return false };
        let rival = rival.filter(|r| r.epoch == best.epoch);
        self.record = Known::Known(Record { rival, ..Record::of(best.clone()) });
        if !self.holds() {
            // who held has taken it from this copy: what came here before that is what it held
            let ours = best.from.is_some() && best.from == self.copy().map(|c| c.name.clone()) && !best.handed;
            let own = |r: &Replica| r.state == State::Live || (ours && r.state == State::Replica && r.epoch < best.epoch);
            if self.replicas.values().filter_map(Known::known).any(|r| r.node == self.node && own(r)) {
                self.lose(&best);
            }
        }
        true
    }

    /// The asker's copy holds authority in the epoch that is known here.
    pub(super) fn record_is(&self, question: &Question) -> bool {
        self.is_held_by(question.copy.as_deref(), &question.node, question.epoch)
    }

    /// `copy`, which `node` has, holds authority in `epoch`, and that is what is known here.
    pub(super) fn is_held_by(&self, copy: Option<&str>, node: &str, epoch: u64) -> bool {
        self.holder().is_ok_and(|h| h.epoch == epoch)
            && self.rival().is_none()
            && self.copies.named(copy.unwrap_or_default(), node) == self.holding()
    }

    /// There is a record from now on, also when nothing has ever changed hands; the holder's data are live in writing.
    pub fn settle(&mut self) {
        if let (Known::Absent, Ok(holder)) = (&self.record, self.holder()) {
            self.record = Known::Known(Record::of(holder));
        }
        if self.holds() {
            self.set_live();
        }
    }

    /// Undoes [`Here::take`]: who held before holds again, in an epoch of its own, as epochs never decrease. The data
    /// here are what they were; a base that a block driver had is forgotten, as the disks were in use.
    pub fn give_back(&mut self, before: &Self) {
        let (Ok(old), Ok(mine)) = (before.holder(), self.holder()) else { return };
        let holder = Holder { epoch: mine.epoch + 1, since: self.now, from: Some(mine.copy), handed: true, partial: false, ..old };
        let epoch = holder.epoch;
        self.record = Known::Known(Record::of(holder));
        for rid in self.copies.rids.clone() {
            let was = before.data(&rid);
            let Some(state) = was.state else { continue };
            let known = before.replicas.get(&rid).and_then(|r| r.known());
            // could not be finished by the start that comes to nothing
            let applying = self.pending(&rid).cloned();
            let state = if applying.is_some() { State::Torn } else { state };
            let replica = Replica {
                applying,
                dst: known.and_then(|r| r.dst.clone()),
                from: known.and_then(|r| r.from.clone()),
                image: Image { id: None, ..was.image },
                written_until: was.written_until,
                kept: was.kept,
                ..Replica::new(&self.node, state, epoch, self.now)
            };
            self.replicas.insert(rid, Known::Known(replica));
        }
    }

    /// Since when home does not hold, if the data leave this holder for another copy that is not home: by the clock of
    /// who gets them, which is `ahead` of the one that the record goes by.
    pub fn away(&self, ahead: TimeDelta) -> Option<DateTime<Local>> {
        let holder = self.holder().ok()?;
        Some(if self.holding() == self.copies.home() { self.now } else { holder.away.unwrap_or(holder.since) } + ahead)
    }

    /// This node's copy holds authority from now on, in `epoch`; writes of the copies `abandoned` are given up. All
    /// data here become live, their base forgotten. `behind`: how far the clock of who held before is behind this one.
    pub fn take(&mut self, epoch: u64, behind: TimeDelta, abandoned: &[String]) {
        let from = self.holder().ok().map(|h| h.copy);
        let copy = self.copy().map(|c| c.name.clone()).unwrap_or_default();
        let whole = |rid: &String| matches!(self.data(rid).state, Some(State::Replica | State::Live | State::Orphan));
        // what home has written until now is given up with it
        let given_up = self.copies.home().is_some_and(|home| abandoned.contains(&home.name));
        let home = self.holding() == self.copies.home(); // since now, which is by this clock
        let away = self.away(if home { TimeDelta::zero() } else { behind }).filter(|_| !given_up);
        let partial = !self.rids().iter().all(whole);
        let holder = Holder { epoch, copy, node: self.node.clone(), since: self.now, from, handed: false, partial, away };
        self.record = Known::Known(Record::of(holder));
        abandoned.iter().for_each(|copy| self.consent(copy, BTreeSet::new()));
        self.set_live();
    }

    /// All data here are the holder's own; where they came from is kept, as a takeover may be undone.
    pub fn set_live(&mut self) {
        let Ok(holder) = self.holder() else { return };
        for rid in self.copies.rids.clone() {
            let old = self.replicas.get(&rid).and_then(|r| r.known()).filter(|r| r.node == self.node);
            if old.is_some_and(|r| r.state == State::Live && r.epoch == holder.epoch) {
                continue;
            }
            let live = Replica {
                dst: old.and_then(|r| r.dst.clone()),
                from: old.and_then(|r| r.from.clone()),
                image: old.map(|r| r.image.clone()).unwrap_or_default(),
                kept: old.and_then(|r| r.kept.clone()),
                applying: old.and_then(|r| r.applying.clone()),
                ..Replica::new(&self.node, State::Live, holder.epoch, self.now)
            };
            self.replicas.insert(rid, Known::Known(live));
        }
    }

    /// Authority goes to `holder`'s copy by our own doing, with all data: what is here is a replica of `images`.
    pub fn hand_over(&mut self, holder: Holder, images: &BTreeMap<String, Image>) {
        let epoch = holder.epoch;
        let from = holder.node.clone();
        self.record = Known::Known(Record::of(holder));
        for rid in self.copies.rids.clone() {
            let (dst, kept) = self.replicas.get(&rid).and_then(|r| r.known()).map(|r| (r.dst.clone(), r.kept.clone())).unwrap_or_default();
            let image = images.get(&rid).cloned();
            // what could not be sent is not the same as what the new holder has
            let state = if image.is_some() { State::Replica } else { State::Orphan };
            let replica = Replica {
                dst,
                from: Some(from.clone()),
                image: image.unwrap_or_default(),
                kept,
                ..Replica::new(&self.node, state, epoch, self.now)
            };
            self.replicas.insert(rid, Known::Known(replica));
        }
    }
}
