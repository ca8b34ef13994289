//! Makes a framed stream: header, groups, end record.

use super::super::error::{Error, Result};
use super::group::{END_LENGTH, GROUP_HEAD, Group, GroupHead, RECORD, Totals};
use super::{CHUNK_MAX, HASH};
use std::sync::Mutex;
use zstd::bulk::Compressor;

/// A group as bytes, ready to be written.
#[derive(Debug, Default)]
pub struct Packed {
    /// Head and records.
    head: Vec<u8>,
    /// The data, if they are compressed; the group's own else.
    squeezed: Vec<u8>,
    hash: [u8; HASH],
}

/// Makes bytes of groups, in any order and in several threads.
pub struct Packer {
    stream: [u8; HASH],
    /// One for each thread.
    zstd: Option<Mutex<Vec<Compressor<'static>>>>,
}

impl Packer {
    /// For the stream that begins with `header`'s bytes; `level` of zstd, if groups are to be compressed, by so many threads.
    ///
    /// # Errors
    /// A level that zstd does not have.
    pub fn new(header: &[u8], level: Option<i32>, threads: usize) -> Result<Self> {
        let mut stream = [0; HASH];
        stream.copy_from_slice(header.last_chunk::<HASH>().unwrap_or(&[0; HASH]));
        let pool = level.map(|level| (0..threads).map(|_| Compressor::new(level)).collect::<std::io::Result<Vec<_>>>());
        let zstd = pool.transpose().map_err(|e| Error::usage("--compress", e))?.map(Mutex::new);
        Ok(Self { stream, zstd })
    }

    /// Makes the bytes of the group with this number in `packed`. Compressed data are taken if they are fewer.
    ///
    /// # Errors
    /// More threads than were announced.
    pub fn pack(&self, number: u32, group: &Group, packed: &mut Packed) -> Result<()> {
        packed.squeezed.clear();
        let mut stored = group.data.len();
        if let Some(pool) = &self.zstd {
            let take = || pool.lock().ok().and_then(|mut pool| pool.pop());
            let mut zstd = take().ok_or_else(|| Error::new("zstd", "no thread is free for it"))?;
            packed.squeezed.reserve(zstd::zstd_safe::compress_bound(group.data.len()));
            match zstd.compress_to_buffer(&group.data, &mut packed.squeezed) {
                Ok(length) if length < stored => stored = length,
                _ => packed.squeezed.clear(),
            }
            pool.lock().map(|mut pool| pool.push(zstd)).map_err(|_| Error::new("zstd", "a thread was lost"))?;
        }
        let mut head =
            GroupHead { number, records: group.runs.len() as u32, data: group.data.len() as u32, stored: stored as u32, hash: [0; HASH] };
        packed.head.clear();
        packed.head.resize(GROUP_HEAD, 0);
        packed.head.extend(group.runs.iter().flat_map(|run| run.encode().to_le_bytes()));
        head.hash = head.expected(&self.stream, packed.head.get(GROUP_HEAD..).unwrap_or_default(), &group.data);
        packed.head.splice(..GROUP_HEAD, head.fixed().into_iter().chain(head.hash));
        packed.hash = head.hash;
        Ok(())
    }
}

/// What a stream has had until now; its caller writes the bytes: header, the parts of each group, the end.
pub struct Writer {
    all: blake3::Hasher,
    totals: Totals,
}

impl Writer {
    /// A stream that begins with `header`'s bytes.
    pub fn begin(header: &[u8]) -> Self {
        let mut all = blake3::Hasher::new();
        all.update(header.last_chunk::<HASH>().unwrap_or(&[0; HASH]));
        Self { all, totals: Totals { stream: header.len() as u64, ..Totals::default() } }
    }

    /// The bytes of the next group.
    pub fn group<'a>(&mut self, group: &'a Group, packed: &'a Packed) -> [&'a [u8]; 2] {
        let data = if packed.squeezed.is_empty() { &group.data } else { &packed.squeezed };
        self.all.update(&packed.hash);
        self.totals.add(&group.runs, group.data.len() as u32);
        self.totals.stream += (packed.head.len() + data.len()) as u64;
        [&packed.head, data]
    }

    /// The end record; the stream is whole with it.
    pub fn end(mut self) -> (Totals, [u8; END_LENGTH]) {
        self.totals.stream += END_LENGTH as u64;
        (self.totals, self.totals.end(self.all))
    }
}

/// As many chunks as fit in a group if none of them is zero.
pub fn chunks_of_group(chunk: u32) -> usize {
    (CHUNK_MAX / chunk) as usize
}

/// The most bytes that a stream of `chunks` chunks of `chunk` bytes can have after a header of `header` bytes.
pub fn bound(header: usize, chunk: u32, chunks: u64) -> u64 {
    let groups = chunks.div_ceil(chunks_of_group(chunk) as u64).saturating_mul(GROUP_HEAD as u64);
    let data = chunks.saturating_mul(u64::from(chunk) + RECORD as u64);
    (header as u64 + END_LENGTH as u64).saturating_add(groups).saturating_add(data)
}
