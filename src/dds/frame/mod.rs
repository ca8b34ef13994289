//! The framed stream: what is at which byte (docs/dds-format.md says it in words). Its header is here; `group` has
//! what follows, `write` and `read` make and take streams.

pub mod apply;
pub mod group;
pub mod read;
pub mod report;
pub mod send;
pub mod write;

#[cfg(test)]
mod tests;

use super::error::{Error, Result};
use std::io::Read;

/// The first eight bytes. As in PNG files, a transfer that changes line ends or drops the eighth bit breaks it.
pub const MAGIC: [u8; 8] = *b"\x89DDSF\r\n\x1a";
/// What this program writes, and all that it reads.
const VERSION: u16 = 1;
/// Bytes of a header before its texts.
const FIXED: usize = 52;
/// Bytes of a BLAKE3 hash.
pub const HASH: usize = 32;
/// A base id, an image id, a date or a note is at most so long.
pub const TEXT_MAX: usize = 255;
/// The smallest chunk, one sector; chunks of a stream are powers of two.
pub const CHUNK_MIN: u32 = 512;
/// The largest chunk of a stream, and the most data in a group. Larger chunks of a store go as several.
pub const CHUNK_MAX: u32 = 1 << 20;
/// No volume is larger: offsets in files are signed.
pub const SIZE_MAX: u64 = i64::MAX as u64;

/// Flag: every chunk of the source is in the stream.
const WHOLE: u32 = 1;
/// Flag: groups may be compressed.
const COMPRESSED: u32 = 2;

/// What a stream says of itself before its data.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Header {
    /// Every chunk of the source is in the stream: the destination need not have held anything.
    pub whole: bool,
    /// Groups may be compressed.
    pub compressed: bool,
    /// Bytes of the source.
    pub source_size: u64,
    /// Bytes of a chunk.
    pub chunk: u32,
    /// How many chunks follow, zero chunks among them.
    pub chunks: u64,
    /// The stream has at most so many bytes, header and end included.
    pub bound: u64,
    /// The image that the destination must hold; may be empty.
    pub base: String,
    /// The image that it holds afterwards; may be empty.
    pub image: String,
    /// When the data were frozen; may be empty.
    pub frozen_at: String,
    /// Any text; may be empty.
    pub note: String,
}

impl Header {
    /// The bytes of this header.
    ///
    /// # Errors
    /// A text that is too long.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let texts = [&self.base, &self.image, &self.frozen_at, &self.note];
        let length = FIXED + texts.iter().map(|t| t.len()).sum::<usize>() + HASH;
        let mut out = Vec::with_capacity(length);
        out.extend(MAGIC);
        out.extend(VERSION.to_le_bytes());
        out.extend((length as u16).to_le_bytes());
        let flags = if self.whole { WHOLE } else { 0 } | if self.compressed { COMPRESSED } else { 0 };
        out.extend(flags.to_le_bytes());
        out.extend(self.source_size.to_le_bytes());
        out.extend(self.chunk.to_le_bytes());
        out.extend([0; 4]);
        out.extend(self.chunks.to_le_bytes());
        out.extend(self.bound.to_le_bytes());
        for text in texts {
            let length = u8::try_from(text.len());
            let long = |_| Error::usage(format!("{:.40}…", *text), format!("longer than {TEXT_MAX} bytes"));
            out.push(length.map_err(long)?);
        }
        for text in texts {
            out.extend(text.as_bytes());
        }
        out.extend(blake3::hash(&out).as_bytes());
        Ok(out)
    }

    /// Reads the header at the beginning of `input`; also gives its hash, with which all that follows is bound to it.
    ///
    /// # Errors
    /// No framed stream, one of another version, a damaged one, a cut one; `input`'s own.
    pub fn read(input: &mut impl Read) -> Result<(Self, [u8; HASH])> {
        let mut start = [0; 12];
        fill(input, &mut start, "in the header")?;
        let mut at = Fields(&start);
        if at.take::<8>() != MAGIC {
            return Err(Error::new("the stream", "it does not begin as a framed stream does"));
        }
        let version = at.u16();
        if version != VERSION {
            return Err(Error::new("the stream", format!("it is of version {version}, this program reads version {VERSION}"))
                .hint("Install the same version of dds on both sides"));
        }
        let length = usize::from(at.u16());
        let Some(rest) = length.checked_sub(start.len()).filter(|_| (FIXED + HASH..=FIXED + HASH + 4 * TEXT_MAX).contains(&length)) else {
            return Err(damaged("its header has an impossible length"));
        };
        let mut bytes = start.to_vec();
        bytes.resize(length, 0);
        fill(input, bytes.get_mut(start.len()..).unwrap_or_default(), "in the header")?;
        debug_assert_eq!(bytes.len(), rest + start.len());
        let (body, hash) = bytes.split_at(length - HASH);
        if blake3::hash(body).as_bytes() != hash {
            return Err(damaged("its header does not match its checksum"));
        }
        let header = Self::parse(Fields(body.get(start.len()..).unwrap_or_default()))?;
        Ok((header, Fields(hash).take()))
    }

    /// The fields after version and length, of which the checksum held.
    fn parse(mut at: Fields<'_>) -> Result<Self> {
        let flags = at.u32();
        let mut header = Self {
            whole: flags & WHOLE != 0,
            compressed: flags & COMPRESSED != 0,
            source_size: at.u64(),
            chunk: at.u32(),
            ..Self::default()
        };
        if flags & !(WHOLE | COMPRESSED) != 0 || at.u32() != 0 {
            return Err(Error::new("the stream", "it uses something that this program does not know")
                .hint("Install the same version of dds on both sides"));
        }
        header.chunks = at.u64();
        header.bound = at.u64();
        let lengths: [u8; 4] = at.take();
        for (text, length) in [&mut header.base, &mut header.image, &mut header.frozen_at, &mut header.note].into_iter().zip(lengths) {
            let bytes = at.bytes(usize::from(length)).ok_or_else(|| damaged("its header is too short for its texts"))?;
            *text = String::from_utf8(bytes.to_vec()).map_err(|_| damaged("a text of its header is not UTF-8"))?;
        }
        header.check(at.0.is_empty())
    }

    fn check(self, ended: bool) -> Result<Self> {
        if !self.chunk.is_power_of_two() || !(CHUNK_MIN..=CHUNK_MAX).contains(&self.chunk) {
            return Err(damaged("its chunk size is impossible"));
        }
        if self.source_size > SIZE_MAX || self.chunks > self.all_chunks() || (self.whole && self.chunks < self.all_chunks()) || !ended {
            return Err(damaged("the numbers of its header contradict each other"));
        }
        Ok(self)
    }

    /// How many chunks the source has, the last one perhaps not whole.
    pub fn all_chunks(&self) -> u64 {
        self.source_size.div_ceil(u64::from(self.chunk))
    }
}

/// The stream is not what was sent.
pub(super) fn damaged(why: &str) -> Error {
    Error::new("the stream", format!("damaged: {why}")).hint("Send it again")
}

/// Fills `buffer`, or says that the stream ended `place`.
///
/// # Errors
/// The end of the input; the input's own.
pub fn fill(input: &mut impl Read, buffer: &mut [u8], place: &str) -> Result<()> {
    input.read_exact(buffer).map_err(|e| match e.kind() {
        std::io::ErrorKind::UnexpectedEof => {
            Error::new("the stream", format!("cut: it ends {place}")).hint("Look at what the sender said, and send it again")
        }
        _ => Error::new("the stream", e),
    })
}

/// Little-endian fields, one after the other. Zeroes after the last byte: lengths are checked before.
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    /// The next `N` bytes.
    pub fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        if let Some((field, rest)) = self.0.split_first_chunk::<N>() {
            out = *field;
            self.0 = rest;
        } else {
            self.0 = &[];
        }
        out
    }

    /// The next `n` bytes, if there are so many.
    pub fn bytes(&mut self, n: usize) -> Option<&'a [u8]> {
        let (field, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(field)
    }

    /// The next two bytes.
    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.take())
    }

    /// The next four.
    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    /// The next eight.
    pub fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }
}
