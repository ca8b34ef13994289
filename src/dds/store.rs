//! The exception store of a snapshot, as the kernel writes it (dm-snapshot, persistent, version 1): header, areas, records.
//!
//! All numbers are little-endian. Chunk 0 is the header. Area `a` is the chunk `1 + a * (n + 1)`, `n` = chunk size / 16 records; its data chunks
//! follow it. The first record with a new chunk of 0 ends the table; what lies behind it is garbage.

use super::buffer::Buffer;
use super::device::{Access, Source};
use super::error::{Error, Result};
use std::path::Path;

/// The bytes "SnAp".
pub const MAGIC: u32 = 0x7041_6e53;
/// The largest chunk we handle, bytes; LVM makes 4 to 512 KiB.
pub const MAX_CHUNK: u64 = 16 << 20;
/// Bytes of a record.
pub const RECORD: usize = 16;
/// Numbers from here on are damage: in memory the kernel uses the upper byte for a count, which is never written.
const TOO_HIGH: u64 = 1 << 56;

/// What the first 16 bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Bytes of a chunk: a power of two from 512 to [`MAX_CHUNK`].
    pub chunk: u64,
    /// False for ever once the store had overflowed.
    pub valid: bool,
}

impl Header {
    /// Bytes of a header.
    pub const LEN: usize = 16;

    /// Reads it; what is wrong, in words, if it is none.
    pub fn parse(bytes: &[u8]) -> std::result::Result<Self, String> {
        let [magic, valid, version, sectors] = words(bytes).ok_or("shorter than a header")?;
        if magic != MAGIC {
            return Err(format!("not an exception store: it begins with {magic:#010x}, not {MAGIC:#010x}"));
        }
        if version != 1 {
            return Err(format!("version {version} of the exception store is unknown, only 1 is known"));
        }
        if valid > 1 {
            return Err(format!("damaged: the valid flag is {valid}"));
        }
        let chunk = u64::from(sectors) * 512;
        if !chunk.is_power_of_two() || chunk > MAX_CHUNK {
            return Err(format!("damaged: a chunk of {sectors} sectors"));
        }
        Ok(Self { chunk, valid: valid == 1 })
    }

    /// The header of a valid store.
    pub fn bytes(self) -> [u8; Self::LEN] {
        let sectors = u32::try_from(self.chunk / 512).unwrap_or(0);
        let mut bytes = [0; Self::LEN];
        for (to, word) in bytes.chunks_mut(4).zip([MAGIC, u32::from(self.valid), 1, sectors]) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// Records in an area.
    pub fn per_area(self) -> u64 {
        self.chunk / RECORD as u64
    }
}

fn words(bytes: &[u8]) -> Option<[u32; 4]> {
    let mut words = [0; 4];
    for (at, word) in words.iter_mut().enumerate() {
        *word = u32::from_le_bytes(bytes.get(at * 4..at * 4 + 4)?.try_into().ok()?);
    }
    Some(words)
}

/// Where a chunk of the origin lies in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Chunk of the origin.
    pub old: u64,
    /// Chunk of the store.
    pub new: u64,
}

impl Record {
    /// Reads 16 bytes.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let number = |at: usize| bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes);
        Some(Self { old: number(0)?, new: number(8)? })
    }

    /// Writes 16 bytes.
    pub fn bytes(self) -> [u8; RECORD] {
        let mut bytes = [0; RECORD];
        let halves = self.old.to_le_bytes().into_iter().chain(self.new.to_le_bytes());
        bytes.iter_mut().zip(halves).for_each(|(to, from)| *to = from);
        bytes
    }
}

/// The records of one area, checked: each `old` is a chunk of the volume.
#[derive(Debug, Clone, Copy)]
pub struct Area<'a> {
    /// From 0 on.
    pub number: u64,
    /// Whether another area follows.
    pub full: bool,
    bytes: &'a [u8],
}

impl<'a> Area<'a> {
    /// Reads an area's chunk: `volume` is the size of the source or destination in bytes. What is wrong, in words.
    pub fn parse(number: u64, bytes: &'a [u8], header: Header, volume: u64) -> std::result::Result<Self, String> {
        let records = bytes.chunks_exact(RECORD).map_while(Record::parse).take_while(|r| r.new != 0);
        let mut count = 0;
        for record in records {
            if record.new >= TOO_HIGH {
                return Err(format!("damaged: record {count} of area {number} has the chunk {:#x}", record.new));
            }
            if record.old >= volume.div_ceil(header.chunk) {
                return Err(format!(
                    "record {count} of area {number} is chunk {} of {} bytes, beyond a volume of {volume} bytes",
                    record.old, header.chunk
                ));
            }
            count += 1;
        }
        let bytes = bytes.get(..count * RECORD).unwrap_or_default();
        Ok(Self { number, full: count as u64 == header.per_area(), bytes })
    }

    /// In the order of the table.
    pub fn records(&self) -> impl Iterator<Item = Record> + use<'a> {
        self.bytes.chunks_exact(RECORD).map_while(Record::parse)
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        (self.bytes.len() / RECORD) as u64
    }
}

/// An open store whose header is valid.
#[derive(Debug)]
pub struct Store {
    source: Source,
    header: Header,
}

impl Store {
    /// Opens a store: magic, version, chunk size and validity are checked. Reads go past the page cache.
    pub fn open(path: &Path) -> Result<Self> {
        let source = Source::open(path, "store", Access::Fresh)?;
        let header = read_header(&source)?;
        Ok(Self { source, header })
    }

    /// What the header says.
    pub fn header(&self) -> Header {
        self.header
    }

    /// Bytes of a chunk.
    pub fn chunk(&self) -> u64 {
        self.header.chunk
    }

    /// The device or file itself, for data that lie in it.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The header is still what it was: to be asked after all has been read, before anybody is told that it is complete.
    pub fn still_valid(&self) -> Result<()> {
        let now = read_header(&self.source)?;
        if now == self.header { Ok(()) } else { Err(Error::new(about(&self.source), "its header changed while it was read")) }
    }

    /// The table, area by area, for a volume of so many bytes.
    pub fn areas(&self, volume: u64) -> Areas<'_> {
        let size = usize::try_from(self.header.chunk).unwrap_or(0);
        Areas { store: self, volume, next: Some(0), buffer: Buffer::new(size), odd: 0 }
    }

    /// Whether a data chunk can be at `new`: inside the store, and not where an area is.
    pub fn holds(&self, new: u64) -> bool {
        let inside = new.checked_add(1).and_then(|end| end.checked_mul(self.header.chunk)).is_some_and(|end| end <= self.source.size());
        inside && new > 1 && new % (self.header.per_area() + 1) != 1
    }
}

fn about(source: &Source) -> String {
    format!("store {}", source.path().display())
}

fn read_header(source: &Source) -> Result<Header> {
    let mut bytes = [0; Header::LEN];
    if source.size() < bytes.len() as u64 {
        return Err(Error::new(about(source), format!("{} bytes, shorter than a header", source.size())));
    }
    source.read_at(0, &mut bytes)?;
    let header = Header::parse(&bytes).map_err(|why| Error::new(about(source), why))?;
    if !header.valid {
        let why = "the snapshot is invalid: it was full, and no longer knows all changes";
        let hint = "A delta cannot be made of it: remove the snapshot, make a new one, and copy the whole volume";
        return Err(Error::new(about(source), why).hint(hint));
    }
    Ok(header)
}

/// Reads the areas of a store one after the other; memory for one.
#[derive(Debug)]
pub struct Areas<'a> {
    store: &'a Store,
    volume: u64,
    next: Option<u64>,
    buffer: Buffer,
    odd: u64,
}

impl Areas<'_> {
    /// The next area, with at least no record; `None` after the one that ends the table.
    pub fn advance(&mut self) -> Result<Option<Area<'_>>> {
        let Some(number) = self.next else { return Ok(None) };
        let (store, header) = (self.store, self.store.header);
        let offset = number.checked_mul(header.per_area() + 1).and_then(|c| c.checked_add(1)?.checked_mul(header.chunk));
        let offset = offset.filter(|o| o.checked_add(header.chunk).is_some_and(|end| end <= store.source.size()));
        let Some(offset) = offset else {
            let why = format!("damaged: its table has no end: area {number} would lie beyond the {} bytes there are", store.source.size());
            return Err(Error::new(about(&store.source), why));
        };
        store.source.read_at(offset, &mut self.buffer)?;
        let area = Area::parse(number, &self.buffer, header, self.volume).map_err(|why| Error::new(about(&store.source), why))?;
        self.odd += area.records().filter(|r| !store.holds(r.new)).count() as u64;
        self.next = area.full.then_some(number + 1);
        Ok(Some(area))
    }

    /// Records so far whose data cannot be where they say: of no matter unless data are read there.
    pub fn odd(&self) -> u64 {
        self.odd
    }
}
