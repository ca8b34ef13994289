//! Hashes of a volume's blocks: made on one machine, compared on another, so that only what differs goes from one to the other.

pub mod compare;
pub mod make;

use super::error::{Error, Result};
use super::flow::Load;
use super::frame::{CHUNK_MAX, CHUNK_MIN, Fields, HASH, SIZE_MAX, fill};
use std::io::Read;

/// The first eight bytes of a hash stream (docs/dds-format.md).
pub const MAGIC: [u8; 8] = *b"\x89DDSH\r\n\x1a";
const VERSION: u32 = 1;
const END: [u8; 4] = *b"DDSE";
/// Bytes of a header.
const HEADER: usize = 48 + HASH;
/// Bytes of the end record.
const END_LENGTH: usize = 16 + HASH;
/// Bytes of a block's hash: the beginning of its BLAKE3. Two blocks that differ have the same one once in 2^128.
pub const SHORT: usize = 16;
/// What is read at once; a multiple of every block.
const STEP: usize = CHUNK_MAX as usize;
/// How many of them are under way.
const LOADS: usize = 4;

fn loads() -> Vec<Load> {
    (0..LOADS).map(|_| Load::new(STEP)).collect()
}

/// What was hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Bytes of a block: a power of two.
    pub block: u32,
    /// Bytes of the volume.
    pub size: u64,
    /// First byte that was hashed, a multiple of the block.
    pub from: u64,
    /// How many; the last block may be shorter.
    pub length: u64,
}

impl Header {
    /// How many blocks were hashed.
    pub fn blocks(&self) -> u64 {
        self.length.div_ceil(u64::from(self.block))
    }

    /// The byte after the last one.
    pub fn end(&self) -> u64 {
        self.from + self.length
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = [MAGIC.as_slice(), &VERSION.to_le_bytes(), &self.block.to_le_bytes()].concat();
        out.extend([self.size, self.from, self.length].map(u64::to_le_bytes).as_flattened());
        out.extend([SHORT as u32, 0].map(u32::to_le_bytes).as_flattened());
        out.extend(blake3::hash(&out).as_bytes());
        out
    }

    fn parse(bytes: &[u8; HEADER]) -> Result<Self> {
        let (body, hash) = bytes.split_at(HEADER - HASH);
        let mut at = Fields(body);
        if at.take() != MAGIC {
            return Err(Error::new("the hashes", "they do not begin as a hash stream does"));
        }
        let version = at.u32();
        if version != VERSION {
            return Err(Error::new("the hashes", format!("they are of version {version}, this program reads version {VERSION}"))
                .hint("Install the same version of dds on both sides"));
        }
        let header = Self { block: at.u32(), size: at.u64(), from: at.u64(), length: at.u64() };
        let (short, reserved) = (at.u32(), at.u32());
        let inside = header.from.checked_add(header.length).is_some_and(|end| end <= header.size) && header.size <= SIZE_MAX;
        let sane = header.block.is_power_of_two() && (CHUNK_MIN..=CHUNK_MAX).contains(&header.block);
        if blake3::hash(body).as_bytes() != hash || !sane || !inside || short as usize != SHORT || reserved != 0 {
            return Err(damaged());
        }
        Ok(header)
    }
}

fn damaged() -> Error {
    Error::new("the hashes", "damaged on the way").hint("Make them again")
}

fn short(data: &[u8]) -> [u8; SHORT] {
    let mut out = [0; SHORT];
    out.copy_from_slice(blake3::hash(data).as_bytes().first_chunk::<SHORT>().unwrap_or(&[0; SHORT]));
    out
}

/// The end record after `blocks` hashes, all of which `all` has been given after the header.
fn end(blocks: u64, mut all: blake3::Hasher) -> [u8; END_LENGTH] {
    let mut out = [0; END_LENGTH];
    let (fixed, hash) = out.split_at_mut(END_LENGTH - HASH);
    for (place, byte) in fixed.iter_mut().zip(END.into_iter().chain([0; 4]).chain(blocks.to_le_bytes())) {
        *place = byte;
    }
    hash.copy_from_slice(all.update(fixed).finalize().as_bytes());
    out
}

/// A hash stream that is being read. What it gives is to be believed only when `finish` has agreed.
pub struct Reader<R> {
    input: R,
    header: Header,
    all: blake3::Hasher,
    left: u64,
}

impl<R: Read> Reader<R> {
    /// The header has been read, and is in order.
    ///
    /// # Errors
    /// No hash stream, one of another version, a damaged one; the input's own.
    pub fn begin(mut input: R) -> Result<Self> {
        let mut bytes = [0; HEADER];
        fill(&mut input, &mut bytes, "in the header of the hashes")?;
        let header = Header::parse(&bytes)?;
        let mut all = blake3::Hasher::new();
        all.update(&bytes);
        Ok(Self { input, header, all, left: header.blocks() })
    }

    /// The header.
    pub fn header(&self) -> Header {
        self.header
    }

    /// The hashes of the next blocks, at most `count`; fewer at the end.
    ///
    /// # Errors
    /// A cut stream; the input's own.
    pub fn next(&mut self, count: usize) -> Result<Vec<[u8; SHORT]>> {
        let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(count);
        let mut hashes = vec![[0; SHORT]; count];
        fill(&mut self.input, hashes.as_flattened_mut(), "between the hashes of two blocks")?;
        self.all.update(hashes.as_flattened());
        self.left -= count as u64;
        Ok(hashes)
    }

    /// The hashes were whole, and are what was sent.
    ///
    /// # Errors
    /// They were not; the input's own.
    pub fn finish(mut self) -> Result<()> {
        let mut bytes = [0; END_LENGTH];
        fill(&mut self.input, &mut bytes, "in the end record of the hashes")?;
        let mut more = Vec::new();
        self.input.take(1).read_to_end(&mut more).map_err(|e| Error::new("the hashes", e))?;
        if self.left == 0 && more.is_empty() && bytes == end(self.header.blocks(), self.all) { Ok(()) } else { Err(damaged()) }
    }
}
