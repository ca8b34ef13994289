//! Makes a framed stream: header, groups, end record.

use super::super::error::{Error, Result};
use super::group::{END_LENGTH, GROUP_HEAD, Group, GroupHead, RECORD, RECORDS_MAX, Totals};
use super::{CHUNK_MAX, HASH};

/// A group as bytes, ready to be written.
#[derive(Debug, Default)]
pub struct Packed {
    /// Head and records.
    head: Vec<u8>,
    /// The data, if they are compressed; the group's own else.
    squeezed: Vec<u8>,
    hash: [u8; HASH],
}

/// Makes bytes of groups; apart from `Writer` so that it can be done in another thread.
pub struct Packer {
    stream: [u8; HASH],
    number: u32,
    zstd: Option<zstd::bulk::Compressor<'static>>,
}

impl Packer {
    /// For the stream that begins with `header`'s bytes; `level` of zstd, if groups are to be compressed.
    ///
    /// # Errors
    /// A level that zstd does not have.
    pub fn new(header: &[u8], level: Option<i32>) -> Result<Self> {
        let mut stream = [0; HASH];
        stream.copy_from_slice(header.last_chunk::<HASH>().unwrap_or(&[0; HASH]));
        let zstd = level.map(zstd::bulk::Compressor::new).transpose();
        Ok(Self { stream, number: 0, zstd: zstd.map_err(|e| Error::usage("--compress", e))? })
    }

    /// Makes the next group's bytes in `packed`. Compressed data are taken if they are fewer.
    pub fn pack(&mut self, group: &Group, packed: &mut Packed) {
        packed.squeezed.clear();
        let mut stored = group.data.len();
        if let Some(zstd) = &mut self.zstd {
            packed.squeezed.reserve(zstd::zstd_safe::compress_bound(CHUNK_MAX as usize));
            match zstd.compress_to_buffer(&group.data, &mut packed.squeezed) {
                Ok(length) if length < stored => stored = length,
                _ => packed.squeezed.clear(),
            }
        }
        let mut head = GroupHead {
            number: self.number,
            records: group.runs.len() as u32,
            data: group.data.len() as u32,
            stored: stored as u32,
            hash: [0; HASH],
        };
        packed.head.clear();
        packed.head.resize(GROUP_HEAD, 0);
        packed.head.extend(group.runs.iter().flat_map(|run| run.encode().to_le_bytes()));
        head.hash = head.expected(&self.stream, packed.head.get(GROUP_HEAD..).unwrap_or_default(), &group.data);
        packed.head.splice(..GROUP_HEAD, head.fixed().into_iter().chain(head.hash));
        packed.hash = head.hash;
        self.number += 1;
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
        self.totals.add(group);
        self.totals.stream += (packed.head.len() + data.len()) as u64;
        [&packed.head, data]
    }

    /// The end record; the stream is whole with it.
    pub fn end(mut self) -> (Totals, [u8; END_LENGTH]) {
        self.totals.stream += END_LENGTH as u64;
        (self.totals, self.totals.end(self.all))
    }
}

/// The most bytes that a stream of `chunks` chunks of `chunk` bytes can have after a header of `header` bytes. A group that is
/// not the last one has either all the data or all the records that go into one.
pub fn bound(header: usize, chunk: u32, chunks: u64) -> u64 {
    let per_group = u64::from(CHUNK_MAX / chunk).min(RECORDS_MAX as u64);
    let groups = chunks.div_ceil(per_group) + chunks.div_ceil(RECORDS_MAX as u64);
    let each = u64::from(chunk) + RECORD as u64;
    let groups = groups.saturating_mul(GROUP_HEAD as u64);
    (header as u64 + END_LENGTH as u64).saturating_add(groups).saturating_add(chunks.saturating_mul(each))
}
