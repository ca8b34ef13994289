//! The nodes, their disks and files; what happens to them between the rounds; what must always be true.

use super::super::{Chain, Frozen, Id, Seen};
use super::lvm::{CHUNKS, Data, Volume};
use super::{Event, What};
use crate::state::replica::State;
use std::collections::{BTreeMap, BTreeSet};

/// The copies of the data; home has two nodes.
pub const COPIES: [&str; 3] = ["home", "p", "q"];
pub const HOME: usize = 0;

/// What a node has of a round, beside its replica.
#[derive(Debug, Clone)]
pub struct Spool {
    pub base: Option<Id>,
    pub image: Id,
    pub chunks: BTreeMap<usize, u64>,
    pub applying: bool,
}

/// A copy of the data, and what its node says that it is.
#[derive(Debug)]
pub struct Copy {
    pub volume: Volume,
    pub state: State,
    pub image: Option<Id>,
    pub spool: Option<Spool>,
}

/// Files of a node: the record, as text, and the lists.
#[derive(Debug, Clone, Default)]
pub struct Files {
    pub chain: Option<String>,
    pub lists: BTreeMap<String, BTreeSet<usize>>,
}

pub struct World {
    pub copies: Vec<Copy>,
    /// By node: `home1`, `home2`, `p`, `q`.
    pub files: BTreeMap<String, Files>,
    backups: BTreeMap<String, Files>,
    /// The copy that is written to, and which node of home's is at work.
    pub holder: usize,
    pub second: bool,
    /// What every image was, and which came first.
    pub images: BTreeMap<Id, (usize, Data)>,
    /// The newest image that each copy has confirmed to the holder.
    pub acked: BTreeMap<usize, Id>,
    /// Steps until the sender dies.
    pub fuel: Option<u64>,
    pub dead: bool,
    writes: u64,
    dice: u64,
    /// Snapshots have room for everything.
    pub tame: bool,
    pub quiet: bool,
    pub story: Vec<String>,
    pub told: BTreeMap<&'static str, usize>,
}

impl World {
    pub fn new(tame: bool) -> Self {
        let copy = |state| Copy { volume: Volume::new(), state, image: None, spool: None };
        Self {
            copies: vec![copy(State::Live), copy(State::None), copy(State::None)],
            files: BTreeMap::new(),
            backups: BTreeMap::new(),
            holder: HOME,
            second: false,
            images: BTreeMap::new(),
            acked: BTreeMap::new(),
            fuel: None,
            dead: false,
            writes: 0,
            dice: 1,
            tame,
            quiet: false,
            story: Vec::new(),
            told: BTreeMap::new(),
        }
    }

    pub fn tell(&mut self, what: &'static str, line: &str) {
        *self.told.entry(what).or_default() += 1;
        self.story.push(format!("{what}: {line}"));
    }

    pub fn roll(&mut self, sides: u64) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice % sides
    }

    pub fn node_of(&self, copy: usize) -> String {
        match (copy, self.second) {
            (HOME, false) => "home1".into(),
            (HOME, true) => "home2".into(),
            _ => COPIES[copy].into(),
        }
    }

    pub fn files(&mut self, copy: usize) -> &mut Files {
        self.files.entry(self.node_of(copy)).or_default()
    }

    /// The record as it is on the disk.
    pub fn chain(&mut self, copy: usize) -> Chain {
        let node = self.node_of(copy);
        let text = self.files(copy).chain.clone();
        text.and_then(|t| serde_json::from_str::<Chain>(&t).ok()).filter(|c| c.node == node).unwrap_or_else(|| Chain::new(&node))
    }

    pub fn room(&mut self) -> usize {
        if self.tame || self.quiet || self.roll(3) > 0 { CHUNKS } else { 3 + self.roll(9) as usize }
    }

    pub fn write(&mut self, copy: usize) {
        let chunk = self.roll(CHUNKS as u64) as usize;
        self.writes += 1;
        self.copies[copy].volume.write(chunk, self.writes);
    }

    pub fn new_image(&mut self, data: Data) -> Id {
        let id = format!("i{}", self.images.len());
        self.images.insert(id.clone(), (self.images.len(), data));
        id
    }

    /// A step of the sender. Meanwhile the service writes. False: it is dead.
    pub fn tick(&mut self) -> bool {
        if self.dead {
            return false;
        }
        if !self.quiet && self.roll(4) == 0 {
            self.write(self.holder);
        }
        match &mut self.fuel {
            Some(0) => {
                self.dead = true;
                self.tell("crash", "the sender dies");
                false
            }
            Some(left) => {
                *left -= 1;
                true
            }
            None => true,
        }
    }

    pub fn play(&mut self, events: &[Event]) -> Result<(), String> {
        for event in events {
            self.story.push(format!("{event:?}, {} holds", COPIES[self.holder]));
            self.dice = event.c | 1;
            self.happens(event)?;
            self.check()?;
        }
        self.end()
    }

    fn happens(&mut self, event: &Event) -> Result<(), String> {
        let any = event.a as usize % 3;
        match event.what {
            What::Write => {
                // who has lost authority may go on writing for a while
                let there = &self.copies[any];
                let finished = there.spool.as_ref().is_none_or(|s| !s.applying); // a start sees to that first
                let wild = !self.tame && event.a.is_multiple_of(8) && there.state == State::Orphan && finished;
                let copy = if wild { any } else { self.holder };
                (0..1 + event.b % 6).for_each(|_| self.write(copy));
            }
            What::Round => self.round(event, false)?,
            What::Resync => self.round(event, true)?,
            What::Failover if self.holder == HOME => self.second = !self.second,
            What::Takeover => self.takeover(any),
            What::Giveback => self.giveback(event)?,
            What::Backup => {
                let files = self.files(any).clone();
                self.backups.insert(self.node_of(any), files);
            }
            What::Restore => {
                if let Some(files) = self.backups.get(&self.node_of(any)).cloned() {
                    *self.files(any) = files;
                    self.tell("stale", &format!("files of {} are restored", COPIES[any]));
                }
            }
            What::Forget => *self.files(any) = Files::default(),
            What::LoseList => {
                let lists = &mut self.files(any).lists;
                let lost = lists.keys().nth(event.b as usize % lists.len().max(1)).cloned();
                lost.map(|peer| lists.remove(&peer));
            }
            What::RemoveSnapshot => {
                let volume = &mut self.copies[any].volume;
                if event.b.is_multiple_of(2) { volume.old = None } else { volume.new = None }
            }
            What::Overflow => {
                let volume = &mut self.copies[self.holder].volume;
                if let Some(old) = &mut volume.old {
                    old.valid = false;
                    self.tell("full", "the base is full");
                }
            }
            What::Recover => {
                self.recover(any, None);
            }
            What::Failover => {}
        }
        Ok(())
    }

    /// The node finishes by itself what it was applying; killed after `chunks`, it is none the worse. False: killed.
    pub fn recover(&mut self, copy: usize, chunks: Option<usize>) -> bool {
        let Some(spool) = self.copies[copy].spool.clone().filter(|s| s.applying) else { return true };
        for (n, (chunk, version)) in spool.chunks.iter().enumerate() {
            if chunks == Some(n) {
                self.tell("peer crash", &format!("{} dies after {n} of {} chunks", COPIES[copy], spool.chunks.len()));
                return false;
            }
            self.copies[copy].volume.write(*chunk, *version);
        }
        let copy = &mut self.copies[copy];
        (copy.state, copy.image, copy.spool) = (State::Replica, Some(spool.image), None);
        true
    }

    /// What a sender writes over goes without snapshots of its own, and what it knew of changes is of no use.
    pub fn becomes_target(&mut self, copy: usize) {
        self.copies[copy].volume.drop_snapshots();
        *self.files(copy) = Files::default();
    }

    /// Authority comes to this copy, which is `image`; nothing has been written to it yet.
    fn gained(&mut self, copy: usize) {
        self.becomes_target(copy);
        let equals = self.copies[copy].image.clone();
        (self.holder, self.copies[copy].state, self.copies[copy].spool) = (copy, State::Live, None);
        self.acked.clear();
        if self.roll(4) == 0 {
            return; // no room for a snapshot
        }
        let (id, room) = (self.new_image(self.copies[copy].volume.data.clone()), self.room());
        self.copies[copy].volume.snap(id.clone(), room, false);
        let peers = COPIES.iter().filter(|c| **c != COPIES[copy]).map(|c| (*c).to_owned());
        let chain = Chain::taken(&self.node_of(copy), Frozen { id, frozen_at: None, size: CHUNKS as u64, equals }, peers);
        self.files(copy).chain = serde_json::to_string(&chain).ok();
    }

    fn takeover(&mut self, copy: usize) {
        self.recover(copy, None);
        if copy == self.holder || self.copies[copy].state != State::Replica {
            return;
        }
        let loser = self.holder;
        (self.copies[loser].state, self.copies[loser].image) = (State::Orphan, self.acked.get(&copy).cloned());
        self.gained(copy);
        self.tell("takeover", &format!("{} takes over", COPIES[copy]));
    }

    fn giveback(&mut self, event: &Event) -> Result<(), String> {
        if self.holder == HOME {
            return Ok(());
        }
        let from = self.holder;
        self.quiet = true; // it was stopped
        let round = self.round(&Event { a: 7, b: u64::MAX, ..*event }, false);
        self.quiet = false;
        round?;
        let image = self.copies[HOME].image.clone();
        if self.copies[HOME].state != State::Replica
            || self.copies[HOME].spool.is_some()
            || self.copies[HOME].volume.data != self.copies[from].volume.data
        {
            return Ok(());
        }
        (self.copies[from].state, self.copies[from].image) = (State::Replica, image);
        self.gained(HOME);
        self.tell("giveback", &format!("{} gives back", COPIES[from]));
        Ok(())
    }

    /// What must be true at any time.
    fn check(&self) -> Result<(), String> {
        for (n, copy) in self.copies.iter().enumerate().filter(|(_, c)| c.state == State::Replica) {
            let Some((order, data)) = copy.image.as_ref().and_then(|id| self.images.get(id)) else {
                return Err(format!("{} is a replica of nothing", COPIES[n]));
            };
            let applying = copy.spool.as_ref().is_some_and(|s| s.applying);
            if !applying && copy.volume.data != *data {
                return Err(format!("{} says that it is {:?}, and is not: {:?}, {data:?}", COPIES[n], copy.image, copy.volume.data));
            }
            let acked = self.acked.get(&n).and_then(|id| self.images.get(id));
            if acked.is_some_and(|(acked, _)| acked > order) {
                return Err(format!("{} has lost what it had confirmed", COPIES[n]));
            }
        }
        Ok(())
    }

    /// In the end nothing fails: all copies are the same again.
    fn end(&mut self) -> Result<(), String> {
        self.story.push("the end".into());
        self.quiet = true;
        for c in [2, 3] {
            self.write(self.holder);
            self.round(&Event { what: What::Round, a: 7, b: u64::MAX, c }, false)?;
            self.check()?;
        }
        let held = &self.copies[self.holder].volume;
        for (n, copy) in self.copies.iter().enumerate().filter(|(n, _)| *n != self.holder) {
            if copy.state != State::Replica || copy.volume.data != held.data {
                return Err(format!("{} is not the same in the end: {copy:?}, not {held:?}", COPIES[n]));
            }
        }
        match held.seen() {
            Seen { old: Some(old), new: None, .. } if old.valid => Ok(()),
            other => Err(format!("left behind: {other:?}")),
        }
    }
}
