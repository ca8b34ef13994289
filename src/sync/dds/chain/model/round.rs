//! A round: every peer that is there gets the image, the way the chain says.

use super::super::settle::{Hands, freeze, settle};
use super::super::{Chain, Id, Way};
use super::Event;
use super::lvm::{CHUNKS, Data};
use super::sender::Sender;
use super::world::{COPIES, Spool, World};
use crate::state::gate::Held;
use crate::state::replica::{Image, State};
use crate::sync::Mode;
use chrono::DateTime;
use std::collections::{BTreeMap, BTreeSet};

/// What goes to a peer.
struct Transfer {
    chunks: BTreeSet<usize>,
    staged: bool,
}

impl World {
    /// `a`: who is there. `b`: when the sender dies, if it does.
    pub fn round(&mut self, event: &Event, resync: bool) -> Result<(), String> {
        let from = self.holder;
        self.fuel = (event.b % 3 == 1).then_some(event.b / 3 % 60);
        self.dead = false;
        let peers: Vec<usize> = (0..COPIES.len()).filter(|c| *c != from && event.a >> c & 1 == 1).collect();
        let told = self.one_round(from, &peers, resync);
        (self.fuel, self.dead) = (None, false);
        told
    }

    fn one_round(&mut self, from: usize, peers: &[usize], resync: bool) -> Result<(), String> {
        let mut held = BTreeMap::new();
        for peer in peers {
            let dies = (!self.quiet && self.roll(6) == 0).then(|| self.roll(4) as usize);
            if self.recover(*peer, dies) {
                let copy = &self.copies[*peer];
                let image = Image { id: copy.image.clone(), ..Image::default() };
                held.insert(*peer, Held { state: Some(copy.state), image, ..Held::default() });
            }
        }
        if held.is_empty() {
            return Ok(());
        }
        let mut chain = self.chain(from);
        chain.know(COPIES.iter().filter(|c| **c != COPIES[from]).map(|c| (*c).to_owned()));
        let mut sender = Sender { world: self, copy: from };
        let Ok(seen) = settle(&mut chain, &mut sender) else { return Ok(()) };
        if freeze(&mut chain, &mut sender, &seen, DateTime::default()).is_err() {
            return Ok(());
        }
        for (peer, held) in held {
            if !self.sent(&mut chain, from, peer, &held, resync)? {
                return Ok(());
            }
        }
        Sender { world: self, copy: from }.settle(&mut chain);
        Ok(())
    }

    /// False: the sender is dead.
    fn sent(&mut self, chain: &mut Chain, from: usize, peer: usize, held: &Held, resync: bool) -> Result<bool, String> {
        let mode = if resync { Mode::Resync } else { Mode::Update };
        if chain.heard(COPIES[peer], Some(held)) && (Sender { world: self, copy: from }).save(chain).is_err() {
            return Ok(false);
        }
        let way = chain.way(COPIES[peer], Some(held), mode);
        let image = chain.image().map(|i| i.id.clone()).ok_or("nothing was frozen")?;
        if !self.tick() {
            return Ok(false);
        }
        let volume = &self.copies[from].volume;
        let source = volume.new.as_ref().or(volume.old.as_ref()).filter(|s| s.valid && s.id == image).map(|s| s.data.clone());
        let Some(data) = source else { return Ok(true) }; // it filled up meanwhile
        let Some(transfer) = self.transfer(chain, from, peer, &way, &data) else { return Ok(true) };
        self.story.push(format!("{image} to {}: {way:?} {:?}", COPIES[peer], transfer.chunks));
        if transfer.staged {
            if !self.staged(peer, held, &image, &transfer, &data) {
                return Ok(!self.dead);
            }
        } else if !self.in_place(peer, &image, &transfer, &data) {
            return Ok(!self.dead);
        }
        if self.told.contains_key("needless") {
            return Err(format!("{} is compared with, though {image} could have gone as a delta", COPIES[peer]));
        }
        if self.copies[peer].volume.data != data {
            let there = &self.copies[peer].volume.data;
            let wrong: Vec<usize> = (0..CHUNKS).filter(|c| there[*c] != data[*c]).collect();
            return Err(format!("{} was to become {image} by {way:?}, and is not: {wrong:?}", COPIES[peer]));
        }
        if !self.quiet && self.roll(8) == 0 {
            self.tell("cut", "its word is lost");
            return Ok(true);
        }
        self.acked.insert(peer, image);
        chain.confirmed(COPIES[peer]);
        Ok(Sender { world: self, copy: from }.save(chain).is_ok())
    }

    /// The chunks that go. None: the base has filled up meanwhile, and the transfer fails.
    fn transfer(&mut self, chain: &Chain, from: usize, peer: usize, way: &Way, data: &Data) -> Option<Transfer> {
        let lists = match way {
            Way::Whole => {
                self.tell("whole", COPIES[peer]);
                return Some(Transfer { chunks: (0..CHUNKS).collect(), staged: false });
            }
            Way::Delta { behind } => {
                let what = if *behind { "behind" } else { "delta" };
                self.own_list(from, peer, *behind).inspect(|_| self.tell(what, COPIES[peer]))
            }
            Way::Union => self.union(chain, from, peer).inspect(|_| self.tell("union", COPIES[peer])),
            Way::Hashes { .. } => None,
        };
        if let Some(chunks) = lists {
            let base = self.copies[from].volume.old.as_ref()?;
            return base.valid.then_some(Transfer { chunks, staged: true });
        }
        let in_place = matches!(way, Way::Hashes { in_place: true, .. });
        if self.tame && !in_place {
            self.tell("needless", "");
        }
        self.tell("hashes", &format!("{way:?}"));
        let there = &self.copies[peer].volume.data;
        let chunks = (0..CHUNKS).filter(|c| there[*c] != data[*c]).collect();
        Some(Transfer { chunks, staged: !in_place })
    }

    /// What has changed here, by the base's table, and by the peer's list.
    fn own_list(&mut self, from: usize, peer: usize, behind: bool) -> Option<BTreeSet<usize>> {
        let mut chunks = self.copies[from].volume.old.as_ref()?.table.clone();
        if behind {
            chunks.extend(self.files(from).lists.get(COPIES[peer])?);
        }
        Some(chunks)
    }

    /// What has changed there since one of the images that we have a list from, and here.
    fn union(&mut self, chain: &Chain, from: usize, peer: usize) -> Option<BTreeSet<usize>> {
        let seen = self.copies[peer].volume.seen();
        let (id, listed) = self.chain(peer).since(&seen, COPIES[from], &chain.starts(COPIES[peer]))?;
        let theirs = self.own_list(peer, from, listed)?;
        let own = self.own_list(from, peer, chain.covers(COPIES[peer], &id)?)?;
        Some(own.union(&theirs).copied().collect())
    }

    /// Over what is there; torn until its end. False: it has no end.
    fn in_place(&mut self, peer: usize, image: &Id, transfer: &Transfer, data: &Data) -> bool {
        self.becomes_target(peer);
        let copy = &mut self.copies[peer];
        (copy.state, copy.spool) = (State::Torn, None);
        let cut = (!self.quiet && self.roll(4) == 0).then(|| self.roll(CHUNKS as u64) as usize);
        for (n, chunk) in transfer.chunks.iter().enumerate() {
            if cut == Some(n) || !self.tick() {
                self.tell("cut", &format!("in place, {n} chunks of {}", transfer.chunks.len()));
                return false;
            }
            self.copies[peer].volume.write(*chunk, data[*chunk]);
        }
        (self.copies[peer].state, self.copies[peer].image) = (State::Replica, Some(image.clone()));
        self.tick()
    }

    /// Beside the replica, checked, and then applied. False: the image is not there.
    fn staged(&mut self, peer: usize, held: &Held, image: &Id, transfer: &Transfer, data: &Data) -> bool {
        if !self.quiet && self.roll(6) == 0 {
            self.tell("cut", "of what it got, nothing is left");
            return false;
        }
        let chunks = transfer.chunks.iter().map(|c| (*c, data[*c])).collect();
        self.copies[peer].spool = Some(Spool { base: held.image.id.clone(), image: image.clone(), chunks, applying: false });
        if !self.tick() {
            return false; // it stays there, and is applied by nobody
        }
        self.becomes_target(peer);
        let copy = &mut self.copies[peer];
        let Some(spool) = copy.spool.as_mut().filter(|s| s.base == copy.image) else { return false };
        spool.applying = true;
        let dies = (!self.quiet && self.roll(5) == 0).then(|| self.roll(1 + transfer.chunks.len() as u64) as usize);
        self.recover(peer, dies) && self.tick()
    }
}
