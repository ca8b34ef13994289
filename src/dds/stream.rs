//! The stream of 2010: header, then each area followed by its data, up to the first area that is not full. A store of its own, if kept in a file.

use super::buffer::{Piece, push};
use super::error::{Error, Result};
use super::flow::{Feed, Load};
use super::store::{Area, Header, RECORD, Record};
use std::io::Read;

/// Makes the stream: loads whose bytes are there, but for the pieces, which are to be read from the source. The last one is marked: whoever reads
/// the stream knows by it that it is complete, so it must not go before that is known.
#[derive(Debug)]
pub struct Writer<'a> {
    feed: &'a Feed,
    /// Size of the source, bytes.
    volume: u64,
    header: Header,
    load: Load,
}

impl<'a> Writer<'a> {
    /// Begins with the header; the source has `volume` bytes.
    pub fn new(feed: &'a Feed, volume: u64, header: Header) -> Result<Self> {
        let mut writer = Self { feed, volume, header, load: feed.take()? };
        writer.bytes(&header.bytes())?;
        writer.zeroes(header.chunk - Header::LEN as u64)?;
        Ok(writer)
    }

    /// An area and its data. Numbers in the store are those of the stream's own order, whatever the source's were.
    pub fn area(&mut self, area: Area) -> Result<()> {
        let first = area.number * (self.header.per_area() + 1) + 2;
        for (record, new) in area.records().zip(first..) {
            self.bytes(&Record { old: record.old, new }.bytes())?;
        }
        self.zeroes(self.header.chunk - area.count() * RECORD as u64)?;
        for record in area.records() {
            let offset = record.old * self.header.chunk;
            let there = self.volume.saturating_sub(offset).min(self.header.chunk);
            self.data(offset, there)?;
            self.zeroes(self.header.chunk - there)?;
        }
        Ok(())
    }

    /// Sends the last load.
    pub fn finish(mut self) -> Result<()> {
        self.load.last = true;
        self.feed.send(self.load)
    }

    /// Reserves up to `len` bytes; where, and how many. Sends a full load only when more is to come.
    fn reserve(&mut self, len: u64) -> Result<(usize, usize)> {
        if self.load.room() == 0 {
            let full = std::mem::replace(&mut self.load, self.feed.take()?);
            self.feed.send(full)?;
        }
        let at = self.load.len;
        let len = usize::try_from(len).unwrap_or(usize::MAX).min(self.load.room());
        self.load.len += len;
        Ok((at, len))
    }

    fn bytes(&mut self, mut from: &[u8]) -> Result<()> {
        while !from.is_empty() {
            let (at, len) = self.reserve(from.len() as u64)?;
            let (now, later) = from.split_at(len);
            if let Some(to) = self.load.buffer.get_mut(at..at + len) {
                to.copy_from_slice(now);
            }
            from = later;
        }
        Ok(())
    }

    fn zeroes(&mut self, mut count: u64) -> Result<()> {
        while count > 0 {
            let (at, len) = self.reserve(count)?;
            self.load.buffer.get_mut(at..at + len).unwrap_or_default().fill(0);
            count -= len as u64;
        }
        Ok(())
    }

    fn data(&mut self, mut offset: u64, mut count: u64) -> Result<()> {
        while count > 0 {
            let (at, len) = self.reserve(count)?;
            push(&mut self.load.pieces, Piece { offset, at, len });
            (offset, count) = (offset + len as u64, count - len as u64);
        }
        Ok(())
    }
}

/// Reads a stream and hands its data on, with the places they belong to.
#[derive(Debug)]
pub struct Reader<'a, R> {
    input: R,
    feed: &'a Feed,
    volume: u64,
    position: u64,
    load: Load,
    /// How much of the load was read; the rest, up to its `len`, is known to come.
    filled: usize,
}

impl<'a, R: Read> Reader<'a, R> {
    /// Of a destination of `volume` bytes: what belongs beyond it is an error, but for the rest of a last chunk.
    pub fn new(input: R, feed: &'a Feed, volume: u64) -> Result<Self> {
        Ok(Self { input, feed, volume, position: 0, load: feed.take()?, filled: 0 })
    }

    /// Reads it to its end, and whatever follows, so that the sender is not cut off; the header, and how many records there were. Data of an
    /// area are handed on only when the area was found good; a stream that is cut is an error.
    pub fn read(mut self) -> Result<(Header, u64)> {
        let header = self.header()?;
        let mut area = vec![0; usize::try_from(header.chunk).unwrap_or(0)];
        let mut count = 0;
        for number in 0.. {
            self.fill(&mut area, "an area of the table")?;
            let parsed = Area::parse(number, &area, header, self.volume).map_err(|why| Error::new("stream", why))?;
            for record in parsed.records() {
                self.expect(record.old * header.chunk, header.chunk)?;
            }
            self.catch_up()?;
            count += parsed.count();
            if !parsed.full {
                break;
            }
        }
        self.feed.send(std::mem::take(&mut self.load))?;
        std::io::copy(&mut self.input, &mut std::io::sink()).map_err(|e| self.broken(&e))?;
        Ok((header, count))
    }

    fn header(&mut self) -> Result<Header> {
        let mut first = [0; 512]; // the smallest chunk there is
        self.fill(&mut first, "the header")?;
        let header = Header::parse(&first).map_err(|why| Error::new("stream", why))?;
        if !header.valid {
            return Err(Error::new("stream", "its header says that the snapshot was invalid"));
        }
        let mut rest = vec![0; usize::try_from(header.chunk).unwrap_or(0).saturating_sub(first.len())];
        self.fill(&mut rest, "the header")?;
        Ok(header)
    }

    /// A chunk comes next, in as many parts as loads have room. Not read yet: one read takes many.
    fn expect(&mut self, mut offset: u64, mut count: u64) -> Result<()> {
        while count > 0 {
            if self.load.room() == 0 {
                self.catch_up()?;
                let full = std::mem::replace(&mut self.load, self.feed.take()?);
                self.feed.send(full)?;
                self.filled = 0;
            }
            let at = self.load.len;
            let len = usize::try_from(count).unwrap_or(usize::MAX).min(self.load.room());
            let wanted = usize::try_from(self.volume.saturating_sub(offset)).unwrap_or(usize::MAX).min(len);
            if wanted > 0 {
                push(&mut self.load.pieces, Piece { offset, at, len: wanted });
            }
            self.load.len += len;
            (offset, count) = (offset + len as u64, count - len as u64);
        }
        Ok(())
    }

    /// Reads what is known to come.
    fn catch_up(&mut self) -> Result<()> {
        let mut load = std::mem::take(&mut self.load);
        let done = self.fill(load.buffer.get_mut(self.filled..load.len).unwrap_or_default(), "the data");
        self.filled = load.len;
        self.load = load;
        done
    }

    fn fill(&mut self, mut into: &mut [u8], what: &str) -> Result<()> {
        while !into.is_empty() {
            match self.input.read(into) {
                Ok(0) => return Err(self.cut(what)),
                Ok(n) => {
                    self.position += n as u64;
                    into = into.get_mut(n..).unwrap_or_default();
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.broken(&e)),
            }
        }
        Ok(())
    }

    fn cut(&self, what: &str) -> Error {
        Error::new("stream", format!("cut short after {} bytes, in {what}: its sender failed or was ended", self.position))
    }

    fn broken(&self, e: &std::io::Error) -> Error {
        Error::new("stream", format!("cannot read after {} bytes: {}", self.position, super::device::reason(e)))
    }
}
