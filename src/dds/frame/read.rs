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
    raw: Raw,
}

/// A group as it came.
#[derive(Default)]
pub struct Raw {
    /// Its runs; its data after `unpack`.
    pub group: Group,
    stream: [u8; HASH],
    head: GroupHead,
    records: Vec<u8>,
    squeezed: Vec<u8>,
    zstd: Option<zstd::bulk::Decompressor<'static>>,
}

impl Raw {
    /// Its data are there, and its checksum holds.
    ///
    /// # Errors
    /// It is damaged.
    pub fn unpack(&mut self) -> Result<()> {
        let (head, data) = (&self.head, &mut self.group.data);
        if head.stored != head.data {
            let zstd = match &mut self.zstd {
                Some(zstd) => zstd,
                none => none.insert(zstd::bulk::Decompressor::new().map_err(|e| Error::new("zstd", e))?),
            };
            data.clear();
            data.reserve_exact(DATA_MAX);
            if zstd.decompress_to_buffer(&self.squeezed, data).ok() != Some(head.data as usize) {
                return Err(damaged("a group cannot be decompressed"));
            }
        }
        if head.expected(&self.stream, &self.records, data) == head.hash {
            Ok(())
        } else {
            Err(damaged("a group does not match its checksum"))
        }
    }
}

impl<R: Read> Reader<R> {
    /// The stream's header has been read, and is in order.
    ///
    /// # Errors
    /// As those of `Header::read`.
    pub fn begin(mut input: R) -> Result<Self> {
        let (header, stream) = Header::read(&mut input)?;
        let mut all = blake3::Hasher::new();
        all.update(&stream);
        let length = header.encode()?.len() as u64;
        let totals = Totals { stream: length, ..Totals::default() };
        Ok(Self { input, header, stream, all, totals, next: 0, raw: Raw::default() })
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
        let mut raw = std::mem::take(&mut self.raw);
        std::mem::swap(&mut raw.group, group);
        let more = self.fetch(&mut raw).and_then(|more| if more { raw.unpack().map(|()| true) } else { Ok(false) });
        std::mem::swap(&mut raw.group, group);
        self.raw = raw;
        more
    }

    /// The next group as it comes, to be unpacked before it is believed; `false`: the stream is over, and whole if all groups can be.
    ///
    /// # Errors
    /// A cut stream, a damaged one, one that goes on after its end; the input's own.
    pub fn fetch(&mut self, raw: &mut Raw) -> Result<bool> {
        let mut magic = [0; 4];
        fill(&mut self.input, &mut magic, "between two groups")?;
        match magic {
            GROUP => self.group(raw).map(|()| true),
            END => self.end().map(|()| false),
            _ => Err(damaged("neither a group nor the end where one must be")),
        }
    }

    fn group(&mut self, raw: &mut Raw) -> Result<()> {
        let mut head = [0; GROUP_HEAD - 4];
        fill(&mut self.input, &mut head, "in a group")?;
        let head = GroupHead::parse(&head)?;
        if head.number != self.totals.groups {
            return Err(damaged("a group is missing"));
        }
        if head.stored != head.data && !self.header.compressed {
            return Err(damaged("a group is compressed, and the header says that none is"));
        }
        raw.stream = self.stream;
        raw.records.resize(head.records as usize * RECORD, 0);
        fill(&mut self.input, &mut raw.records, "in a group")?;
        raw.group.runs.clear();
        raw.group.runs.extend(raw.records.as_chunks().0.iter().map(|r| Run::decode(u64::from_le_bytes(*r))));
        self.order(&raw.group.runs, head.data)?;
        let stored = if head.stored == head.data { &mut raw.group.data } else { &mut raw.squeezed };
        stored.resize(head.stored as usize, 0);
        fill(&mut self.input, stored, "in a group")?;
        self.all.update(&head.hash);
        self.totals.add(&raw.group.runs, head.data);
        self.totals.stream += GROUP_HEAD as u64 + raw.records.len() as u64 + u64::from(head.stored);
        raw.head = head;
        Ok(())
    }

    /// Chunks ascend, are within the source, are no more than announced, and their data are there.
    fn order(&mut self, runs: &[Run], data: u32) -> Result<()> {
        let (mut with_data, mut chunks) = (0, self.totals.chunks);
        for run in runs {
            if run.first < self.next || run.end() > self.header.all_chunks() {
                return Err(damaged("its chunks are out of order or beyond the source"));
            }
            self.next = run.end();
            chunks += run.count;
            with_data += if run.zero { 0 } else { run.count };
        }
        if chunks > self.header.chunks || with_data * u64::from(self.header.chunk) != u64::from(data) {
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
