//! The chain of images of one volume: which snapshot the next delta is based on, and what brings which peer up to it.
//! Decides only; what is done is done by [`settle`].
//!
//! A list of chunks that covers all changes from image A to image N, with data of N, makes N of any state between the
//! two. The table of a snapshot lists what has changed since it was made, so a snapshot may go only when its table has
//! joined the list of each peer that is not known to have the newer one.

pub mod settle;

#[cfg(test)]
mod model;

use crate::state::gate::Held;
use crate::state::replica::State;
use crate::sync::Mode;
use chrono::{DateTime, Local};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The name of an image: the LVM uuid of the snapshot that froze it. A rename keeps it.
pub type Id = String;

/// A snapshot as LVM shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its uuid.
    pub id: Id,
    /// It was never full: its table lists every change since it was made.
    pub valid: bool,
}

/// The two snapshots of a volume that are ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// `_osvc_snap1`: the base.
    pub old: Option<Snapshot>,
    /// `_osvc_snap2`: there while a round is under way, or was left by one.
    pub new: Option<Snapshot>,
    /// Of the volume: bytes.
    pub size: u64,
}

impl Seen {
    /// What it shows when `step` is done.
    pub fn changed(&mut self, step: &Step) {
        match step {
            Step::DropOld => self.old = None,
            Step::DropNew => self.new = None,
            Step::Rename => self.old = self.new.take(),
            Step::Rest | Step::Note(_) | Step::Adopt => {}
        }
    }
}

/// What is remembered of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frozen {
    /// Its uuid.
    pub id: Id,
    /// When the data were so. Not known of a snapshot that another node has made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen_at: Option<DateTime<Local>>,
    /// Of the volume then: bytes.
    pub size: u64,
    /// The image of another node that the data were the same as: what the replica here was when this node took over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equals: Option<Id>,
}

/// Which images a peer may have that its list starts from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// The oldest first; all lie on the way to `upto`.
    pub from: Vec<Id>,
    /// The list covers the changes up to this image. It counts while that is the base.
    pub upto: Id,
    /// There is a file; without one, nothing has changed from `from` to `upto`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub listed: bool,
}

/// A peer has what it said last, or what it was sent right after: of the images of later rounds it has none.
const FOLLOWED: usize = 8;

/// `var/NAME/RID.chain.json`. Believed as far as LVM shows the same snapshots.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// The node it was written on: a file copied from elsewhere says nothing about this one.
    pub node: String,
    /// What `_osvc_snap1` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Frozen>,
    /// What `_osvc_snap2` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Frozen>,
    /// All lists that reach the base cover the changes up to this image as well: the base may go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotating: Option<Id>,
    /// The peers, and what they need.
    #[serde(default)]
    pub peers: BTreeMap<String, Reach>,
}

/// What is to be done next so that nothing but one valid base is there. Each may be done again after a crash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Rest,
    /// The table of the base joins these lists; true: which are begun anew.
    Note(Vec<(String, bool)>),
    /// `_osvc_snap1` goes.
    DropOld,
    /// `_osvc_snap2` goes.
    DropNew,
    /// `_osvc_snap2` is called `_osvc_snap1` from now on.
    Rename,
    /// The record becomes what LVM shows.
    Adopt,
}

/// How a peer gets the image of this round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// What has changed since the image that it has: the base's table, and with `behind` its list.
    Delta {
        /// Its list joins in.
        behind: bool,
    },
    /// It has changes of its own, and may have a list of them: both lists.
    Union,
    /// There is nothing: all of it.
    Whole,
    /// Both sides are compared, block by block.
    Hashes {
        /// Why there is no list.
        why: String,
        /// There is no whole replica to be kept meanwhile.
        in_place: bool,
    },
}

impl Chain {
    /// Of a node that knows nothing yet.
    pub fn new(node: &str) -> Self {
        Self { node: node.into(), ..Self::default() }
    }

    /// Of a node that takes over: `base` was made of a replica before it was written to.
    pub fn taken(node: &str, base: Frozen, peers: impl IntoIterator<Item = String>) -> Self {
        let mut chain = Self { base: Some(base), ..Self::new(node) };
        chain.know(peers);
        chain
    }

    /// These peers are kept lists for, whether they are seen or not.
    pub fn know(&mut self, peers: impl IntoIterator<Item = String>) {
        for peer in peers {
            self.peers.entry(peer).or_default();
        }
    }

    /// What is to be done, from what LVM shows.
    pub fn next_step(&self, seen: &Seen) -> Step {
        match (&seen.old, &seen.new) {
            (_, Some(new)) if !new.valid => Step::DropNew,
            (Some(old), _) if !old.valid => Step::DropOld,
            (Some(old), Some(_)) if !self.is_base(&old.id) => Step::Adopt,
            (Some(_), Some(new)) if self.rotating.as_ref() != Some(&new.id) => Step::Note(self.behind(&new.id)),
            (Some(_), Some(_)) => Step::DropOld,
            (None, Some(_)) => Step::Rename,
            (old, None) => {
                let known = self.base.as_ref().map(|b| &b.id) == old.as_ref().map(|o| &o.id);
                if known && self.next.is_none() && self.rotating.is_none() { Step::Rest } else { Step::Adopt }
            }
        }
    }

    /// What the record says when `step`, which was made of `seen`, is done.
    pub fn done(&mut self, step: &Step, seen: &Seen) {
        match step {
            Step::Note(_) => self.rotating = seen.new.as_ref().map(|new| new.id.clone()),
            Step::DropNew => (self.next, self.rotating) = (None, None),
            Step::Adopt => self.adopt(seen),
            Step::Rest | Step::DropOld | Step::Rename => {}
        }
    }

    /// The list of a peer cannot be had: it is compared with, when its turn comes.
    pub fn lost(&mut self, peer: &str) {
        self.peers.insert(peer.to_owned(), Reach::default());
    }

    /// A snapshot was made: the base where there is none, what is sent now where there is one.
    pub fn froze(&mut self, frozen: Frozen) {
        if self.base.is_none() { self.base = Some(frozen) } else { self.next = Some(frozen) }
    }

    /// What a round sends.
    pub fn image(&self) -> Option<&Frozen> {
        self.next.as_ref().or(self.base.as_ref())
    }

    /// The peer has confirmed that it has what this round sends.
    pub fn confirmed(&mut self, peer: &str) {
        if let Some(id) = self.image().map(|image| image.id.clone()) {
            self.peers.insert(peer.to_owned(), Reach { from: vec![id.clone()], upto: id, listed: false });
        }
    }

    /// `peer` has said what it has, and nothing was sent to it since. True: that is news, to be on the disk before
    /// something is.
    pub fn heard(&mut self, peer: &str, held: Option<&Held>) -> bool {
        let Some((state, id)) = held.and_then(|held| Some((held.state?, held.image.id.as_ref()))) else { return false };
        let Some(reach) = self.peers.get_mut(peer).filter(|_| state != State::Orphan) else { return false };
        let before = reach.from.len();
        reach.from.retain(|from| Some(from) == id && state == State::Replica);
        reach.from.len() < before
    }

    /// How the image of this round gets to `peer`, which says that it has `held`.
    pub fn way(&self, peer: &str, held: Option<&Held>, mode: Mode) -> Way {
        let hashes = |why: &str, in_place| Way::Hashes { why: why.into(), in_place };
        let Some((state, id)) = held.and_then(|held| Some((held.state?, held.image.id.as_ref()))) else {
            return hashes("it does not say what it has", false);
        };
        match state {
            State::None => return Way::Whole,
            State::Torn | State::InProgress => return hashes("what it has is not whole", true),
            State::Live | State::Replica | State::Orphan => {}
        }
        let (Some(base), Some(next)) = (&self.base, &self.next) else {
            return hashes("nothing here is known to be the same as there", false);
        };
        if mode != Mode::Update {
            return hashes("as was asked for", false);
        }
        if base.size != next.size {
            return hashes("the volume was resized", false);
        }
        if state != State::Replica {
            return Way::Union;
        }
        match id.map(|id| self.covers(peer, id)) {
            Some(Some(behind)) => Way::Delta { behind },
            Some(None) => hashes("what it has is of another time than the lists of changes begin at", false),
            None => hashes("its replica has no name", false),
        }
    }

    /// There is a list of all changes from the image `id` to now for `peer`; true: its own file is part of it.
    pub fn covers(&self, peer: &str, id: &Id) -> Option<bool> {
        let base = self.base.as_ref()?;
        if base.id == *id || base.equals.as_ref() == Some(id) {
            return Some(false);
        }
        let reach = self.peers.get(peer).filter(|r| r.upto == base.id && r.from.contains(id))?;
        Some(reach.listed)
    }

    /// The images that there is a list from for `peer`, which has written of its own and may know one of them.
    pub fn starts(&self, peer: &str) -> Vec<Id> {
        let reach = self.peers.get(peer).filter(|r| self.is_base(&r.upto)).into_iter().flat_map(|r| r.from.clone());
        self.base_ids().into_iter().chain(reach).collect()
    }

    /// What was written here after one of the `wanted` images, which the asking `peer` has: that image, and whether
    /// the peer's own file is part of the list. The rest of it is the base's table.
    pub fn since(&self, seen: &Seen, peer: &str, wanted: &[Id]) -> Option<(Id, bool)> {
        let old = seen.old.as_ref().filter(|old| old.valid)?;
        let newer = seen.new.as_ref().map(|new| new.id.clone());
        if let Some(id) = [Some(old.id.clone()), newer].into_iter().flatten().find(|id| wanted.contains(id)) {
            return Some((id, false));
        }
        wanted.iter().filter(|_| self.is_base(&old.id)).find_map(|id| Some((id.clone(), self.covers(peer, id)?)))
    }

    fn is_base(&self, id: &Id) -> bool {
        self.base.as_ref().is_some_and(|base| base.id == *id)
    }

    /// The base, and what it is the same as.
    fn base_ids(&self) -> Vec<Id> {
        self.base.iter().flat_map(|base| base.equals.iter().chain([&base.id])).cloned().collect()
    }

    /// Who is not known to have `next`; true: whose list does not reach the base, or has no file yet.
    fn behind(&self, next: &Id) -> Vec<(String, bool)> {
        let behind = self.peers.iter().filter(|(_, r)| r.upto != *next);
        behind.map(|(peer, r)| (peer.clone(), !(r.listed && self.is_base(&r.upto)))).collect()
    }

    /// The base's table has joined the list of `peer`. Which peer has which image is not known for sure: it may have any
    /// that was sent.
    pub fn noted(&mut self, peer: &str, anew: bool) {
        let (base, ids) = (self.base.as_ref().map(|b| b.id.clone()).unwrap_or_default(), self.base_ids());
        let Some(reach) = self.peers.get_mut(peer) else { return };
        let reaches = reach.upto == base;
        if anew && !reaches {
            reach.from.clear();
        }
        for id in ids {
            if reach.from.len() < FOLLOWED && !reach.from.contains(&id) {
                reach.from.push(id);
            }
        }
        (reach.upto, reach.listed) = (base, true);
    }

    /// Takes what LVM shows for true.
    fn adopt(&mut self, seen: &Seen) {
        let of = |s: &Option<Snapshot>| s.as_ref().map(|s| s.id.clone());
        let (base, next) = (of(&seen.old), of(&seen.new));
        let before = self.base.as_ref().map(|b| b.id.clone()).unwrap_or_default();
        let was = self.base.as_ref().map(|b| b.size);
        if self.base.as_ref().map(|b| &b.id) != base.as_ref() {
            let unknown = |id: &Id| Frozen { id: id.clone(), frozen_at: None, size: seen.size, equals: None };
            self.base = self.next.take().filter(|n| Some(&n.id) == base.as_ref()).or_else(|| base.as_ref().map(unknown));
        }
        // of a volume that has grown, no list has the new part
        let carried = base.is_some() && self.rotating == base && was == self.base.as_ref().map(|b| b.size);
        for reach in self.peers.values_mut() {
            if carried && reach.listed && reach.upto == before {
                reach.upto = base.clone().unwrap_or_default();
            } else if ![&base, &next].into_iter().flatten().any(|id| *id == reach.upto) {
                *reach = Reach::default();
            }
        }
        self.next = self.next.take().filter(|n| Some(&n.id) == next.as_ref());
        self.rotating = None;
    }
}
