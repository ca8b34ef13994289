//! Takes a framed stream, group by group; hands out nothing whose checksum does not hold.

use super::super::error::{Error, Result};
use super::group::{DATA_MAX, END, END_LENGTH, GROUP, GROUP_HEAD, Group, GroupHead, RECORD, Run, Totals};
use super::{HASH, Header, damaged, fill};
use std::io::Read;

/// A stream that is being read.
pub struct Reader<R> {
    input: R,
    header: Header,
    stream: [u8; HASH],
    all: blake3::Hasher,
    totals: Totals,
    /// The first chunk that may come next.
    next: u64,
    records: Vec<u8>,
    squeezed: Vec<u8>,
    zstd: Option<zstd::bulk::Decompressor<'static>>,
}

impl<R: Read> Reader<R> {
    /// The stream's header has been read, and is in order.
    ///
    /// # Errors
    /// As those of `Header::read`.
    pub fn begin(mut input: R) -> Result<Self> {
        let (header, stream) = Header::read(&mut input)?;
        let zstd = header.compressed.then(zstd::bulk::Decompressor::new).transpose();
        let zstd = zstd.map_err(|e| Error::new("zstd", e))?;
        let mut all = blake3::Hasher::new();
        all.update(&stream);
        let length = header.encode()?.len() as u64;
        let totals = Totals { stream: length, ..Totals::default() };
        Ok(Self { input, header, stream, all, totals, next: 0, records: Vec::new(), squeezed: Vec::new(), zstd })
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// What is read from.
    pub fn input(&mut self) -> &mut R {
        &mut self.input
    }

    /// What has been read until now.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// The next group, in `group`; `false`: the stream is over, and was whole. Chunks ascend over all groups.
    ///
    /// # Errors
    /// A cut stream, a damaged one, one that goes on after its end; the input's own.
    pub fn next(&mut self, group: &mut Group) -> Result<bool> {
        group.clear();
        let mut magic = [0; 4];
        fill(&mut self.input, &mut magic, "between two groups")?;
        match magic {
            GROUP => self.group(group).map(|()| true),
            END => self.end().map(|()| false),
            _ => Err(damaged("neither a group nor the end where one must be")),
        }
    }

    fn group(&mut self, group: &mut Group) -> Result<()> {
        let mut head = [0; GROUP_HEAD - 4];
        fill(&mut self.input, &mut head, "in a group")?;
        let head = GroupHead::parse(&head)?;
        if head.number != self.totals.groups {
            return Err(damaged("a group is missing"));
        }
        self.records.resize(head.records as usize * RECORD, 0);
        fill(&mut self.input, &mut self.records, "in a group")?;
        group.runs.extend(self.records.as_chunks().0.iter().map(|r| Run::decode(u64::from_le_bytes(*r))));
        self.data(&head, group)?;
        if head.expected(&self.stream, &self.records, &group.data) != head.hash {
            return Err(damaged("a group does not match its checksum"));
        }
        self.order(group)?;
        self.all.update(&head.hash);
        self.totals.add(group);
        self.totals.stream += GROUP_HEAD as u64 + self.records.len() as u64 + u64::from(head.stored);
        Ok(())
    }

    fn data(&mut self, head: &GroupHead, group: &mut Group) -> Result<()> {
        if head.stored == head.data {
            group.data.resize(head.data as usize, 0);
            return fill(&mut self.input, &mut group.data, "in a group");
        }
        let Some(zstd) = &mut self.zstd else {
            return Err(damaged("a group is compressed, and the header says that none is"));
        };
        self.squeezed.resize(head.stored as usize, 0);
        fill(&mut self.input, &mut self.squeezed, "in a group")?;
        group.data.reserve_exact(DATA_MAX);
        match zstd.decompress_to_buffer(&self.squeezed, &mut group.data) {
            Ok(length) if length == head.data as usize => Ok(()),
            _ => Err(damaged("a group cannot be decompressed")),
        }
    }

    /// Chunks ascend, are within the source, are no more than announced, and their data are there.
    fn order(&mut self, group: &Group) -> Result<()> {
        let (mut data, mut chunks) = (0, self.totals.chunks);
        for run in &group.runs {
            if run.first < self.next || run.end() > self.header.all_chunks() {
                return Err(damaged("its chunks are out of order or beyond the source"));
            }
            self.next = run.end();
            chunks += run.count;
            data += if run.zero { 0 } else { run.count };
        }
        if chunks > self.header.chunks || data * u64::from(self.header.chunk) != group.data.len() as u64 {
            return Err(damaged("a group has more or less than it says"));
        }
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        let mut bytes = [0; END_LENGTH];
        let (magic, rest) = bytes.split_at_mut(END.len());
        magic.copy_from_slice(&END);
        fill(&mut self.input, rest, "in the end record")?;
        if bytes != self.totals.end(self.all.clone()) || self.totals.chunks != self.header.chunks {
            return Err(damaged("its end record does not match what came before"));
        }
        self.totals.stream += END_LENGTH as u64;
        let mut more = Vec::new();
        match self.input.by_ref().take(1).read_to_end(&mut more) {
            Ok(0) => Ok(()),
            Ok(_) => Err(damaged("it goes on after its end")),
            Err(e) => Err(Error::new("the stream", e)),
        }
    }
}
