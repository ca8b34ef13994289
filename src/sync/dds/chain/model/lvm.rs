//! Volumes and their snapshots, as the kernel keeps them.

use super::super::{Id, Seen, Snapshot};
use std::collections::BTreeSet;

/// Chunks of a volume. Each holds the number of the write that it had last.
pub const CHUNKS: usize = 24;

pub type Data = Vec<u64>;

/// A snapshot with its table.
#[derive(Debug, Clone)]
pub struct Snap {
    pub id: Id,
    pub valid: bool,
    pub table: BTreeSet<usize>,
    pub room: usize,
    /// What the volume was.
    pub data: Data,
}

/// A volume.
#[derive(Debug, Clone)]
pub struct Volume {
    pub data: Data,
    pub old: Option<Snap>,
    pub new: Option<Snap>,
}

impl Volume {
    pub fn new() -> Self {
        Self { data: vec![0; CHUNKS], old: None, new: None }
    }

    /// One chunk is written: each snapshot that does not have it yet lists it first; a full one is worth nothing any more.
    pub fn write(&mut self, chunk: usize, version: u64) {
        for snap in [&mut self.old, &mut self.new].into_iter().flatten().filter(|s| s.valid) {
            if !snap.table.contains(&chunk) {
                snap.valid = snap.table.len() < snap.room;
                snap.table.insert(chunk);
            }
        }
        self.data[chunk] = version;
    }

    pub fn snap(&mut self, id: Id, room: usize, beside: bool) {
        let snap = Snap { id, valid: true, table: BTreeSet::new(), room, data: self.data.clone() };
        *(if beside { &mut self.new } else { &mut self.old }) = Some(snap);
    }

    pub fn seen(&self) -> Seen {
        let of = |s: &Option<Snap>| s.as_ref().map(|s| Snapshot { id: s.id.clone(), valid: s.valid });
        Seen { old: of(&self.old), new: of(&self.new), size: CHUNKS as u64 }
    }

    pub fn drop_snapshots(&mut self) {
        (self.old, self.new) = (None, None);
    }
}
