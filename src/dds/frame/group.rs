//! A group of the framed stream: records of chunks, their data, a checksum; and the end record after the last group.

use super::super::error::Result;
use super::{CHUNK_MAX, Fields, HASH, damaged};

/// First bytes of a group.
pub(super) const GROUP: [u8; 4] = *b"DDSG";
/// First bytes of the end record.
pub(super) const END: [u8; 4] = *b"DDSE";
/// Bytes of a group before its records.
pub(super) const GROUP_HEAD: usize = 20 + HASH;
/// Bytes of the end record.
pub(super) const END_LENGTH: usize = 32 + HASH;
/// Bytes of a record.
pub(super) const RECORD: usize = 8;
/// A group has at most so many records.
pub(super) const RECORDS_MAX: usize = 16384;
/// A group has at most so many bytes of data.
pub const DATA_MAX: usize = CHUNK_MAX as usize;
/// A record is of at most so many chunks.
pub const RUN_MAX: u64 = 128;

const ZERO: u64 = 1 << 63;
const COUNT_SHIFT: u32 = 56;
const CHUNK_MASK: u64 = (1 << COUNT_SHIFT) - 1;

/// Chunks that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The first one's number.
    pub first: u64,
    /// How many, 1 or more.
    pub count: u64,
    /// They are all zeroes, and have no data in the stream.
    pub zero: bool,
}

impl Run {
    /// The chunk after the last one.
    pub fn end(&self) -> u64 {
        self.first + self.count
    }

    /// The record of a run of at most `RUN_MAX` chunks.
    pub(super) fn encode(&self) -> u64 {
        debug_assert!((1..=RUN_MAX).contains(&self.count) && self.first <= CHUNK_MASK);
        (if self.zero { ZERO } else { 0 }) | ((self.count - 1) << COUNT_SHIFT) | self.first
    }

    pub(super) fn decode(record: u64) -> Self {
        Self { first: record & CHUNK_MASK, count: ((record & !ZERO) >> COUNT_SHIFT) + 1, zero: record & ZERO != 0 }
    }
}

/// One group: runs in ascending order, and the data of those that are not zero.
#[derive(Debug, Default)]
pub struct Group {
    /// Ascending, none twice; each at most `RUN_MAX` chunks.
    pub runs: Vec<Run>,
    /// The chunks of the runs that are not zero, one after the other, each whole.
    pub data: Vec<u8>,
}

impl Group {
    /// Adds a chunk's place, joined to the last run if it follows it. The data are the caller's affair.
    pub fn push(&mut self, number: u64, zero: bool) {
        match self.runs.last_mut() {
            Some(last) if last.end() == number && last.zero == zero && last.count < RUN_MAX => last.count += 1,
            _ => self.runs.push(Run { first: number, count: 1, zero }),
        }
    }
}

/// What a group says before its records.
#[derive(Default)]
pub(super) struct GroupHead {
    /// 0, 1, 2, …
    pub(super) number: u32,
    pub(super) records: u32,
    /// Bytes of data, as they are on the volume.
    pub(super) data: u32,
    /// Bytes of data in the stream; fewer than `data`: a zstd frame.
    pub(super) stored: u32,
    pub(super) hash: [u8; HASH],
}

impl GroupHead {
    /// The bytes before the hash.
    pub(super) fn fixed(&self) -> [u8; GROUP_HEAD - HASH] {
        let mut out = [0; GROUP_HEAD - HASH];
        let fields = [u32::from_le_bytes(GROUP), self.number, self.records, self.data, self.stored];
        for (place, field) in out.chunks_exact_mut(4).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        out
    }

    /// From what follows the magic.
    ///
    /// # Errors
    /// Lengths that no group has.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        let mut at = Fields(bytes);
        let head = Self { number: at.u32(), records: at.u32(), data: at.u32(), stored: at.u32(), hash: at.take() };
        let lengths = (1..=RECORDS_MAX as u32).contains(&head.records) && head.data <= CHUNK_MAX && head.stored <= head.data;
        if lengths && (head.stored > 0 || head.data == 0) { Ok(head) } else { Err(damaged("a group has impossible lengths")) }
    }

    /// The hash that the group must have in the stream whose header has the hash `stream`.
    pub(super) fn expected(&self, stream: &[u8; HASH], records: &[u8], data: &[u8]) -> [u8; HASH] {
        *blake3::Hasher::new().update(stream).update(&self.fixed()).update(records).update(data).finalize().as_bytes()
    }
}

/// What a stream carried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Groups.
    pub groups: u32,
    /// Chunks, zero ones among them.
    pub chunks: u64,
    /// Chunks of zeroes only.
    pub zero: u64,
    /// Bytes of data, before compression, the tail of a last chunk beyond the source's end among them.
    pub data: u64,
    /// Bytes of the stream, from the first to the last.
    pub stream: u64,
}

impl Totals {
    pub(super) fn add(&mut self, runs: &[Run], data: u32) {
        self.groups += 1;
        for run in runs {
            self.chunks += run.count;
            self.zero += if run.zero { run.count } else { 0 };
        }
        self.data += u64::from(data);
    }

    /// The end record's bytes; `all` has been given the hash of each group.
    pub(super) fn end(&self, mut all: blake3::Hasher) -> [u8; END_LENGTH] {
        let mut out = [0; END_LENGTH];
        let (fixed, hash) = out.split_at_mut(END_LENGTH - HASH);
        let counts = [self.chunks, self.zero, self.data].map(u64::to_le_bytes);
        let fields = [END, self.groups.to_le_bytes()].concat();
        for (place, byte) in fixed.iter_mut().zip(fields.iter().chain(counts.as_flattened())) {
            *place = *byte;
        }
        hash.copy_from_slice(all.update(fixed).finalize().as_bytes());
        out
    }
}
