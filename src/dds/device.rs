//! Devices and files that are read: past the page cache where it lies, in the order of the device, neighbours in one piece.

use super::buffer::{ALIGN, Buffer, Piece};
use super::error::{Error, Result};
use super::place::{Identity, cast, end, identity};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::libc;
use nix::sys::uio::preadv;
use std::fs::{File, OpenOptions};
use std::io::{self, IoSliceMut};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

pub use super::place::reason;

/// The most slices the kernel takes in one call.
pub const IOV_MAX: usize = 1024;
/// No page of the page cache is larger, whatever the machine: bytes.
const LARGEST_PAGE: u64 = 64 << 10;

/// How a block device is read. A regular file is always read as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Through the page cache.
    Cached,
    /// Past the page cache. The kernel writes an exception store below the cache of its device, which then shows old tables for ever.
    Fresh,
}

/// Something that is read at any place.
#[derive(Debug)]
pub struct Source {
    file: File,
    path: PathBuf,
    size: u64,
    identity: Identity,
    direct: bool,
    forget: bool,
}

impl Source {
    /// Opens `path`, which messages call `what` ("store", "source").
    pub fn open(path: &Path, what: &str, access: Access) -> Result<Self> {
        let failed = |e: io::Error| Error::new(format!("{what} {}", path.display()), reason(&e));
        let identity = identity(path, what)?;
        let fresh = access == Access::Fresh && matches!(identity, Identity::Device(_));
        let direct = if fresh { OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(path).ok() } else { None };
        let is_direct = direct.is_some();
        let file = direct.map_or_else(|| File::open(path), Ok).map_err(failed)?;
        let size = end(&file).map_err(failed)?;
        Ok(Self { file, path: path.to_owned(), size, identity, direct: is_direct, forget: fresh && !is_direct })
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// As it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is a block device.
    pub fn is_device(&self) -> bool {
        matches!(self.identity, Identity::Device(_))
    }

    /// Refuses a `path` that is this device or file under any name. A path that does not exist is another.
    pub fn refuse_same(&self, path: &Path, what: &str) -> Result<()> {
        match identity(path, what) {
            Ok(other) if other == self.identity => {
                Err(Error::new(format!("{what} {}", path.display()), format!("the same as {}", self.path.display())))
            }
            _ => Ok(()),
        }
    }

    /// Fills `into` from `offset` on; reading beyond the end is an error.
    pub fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<()> {
        self.exactly(offset, into).map_err(|e| self.failed(offset, into.len(), &e))
    }

    /// Fills the pieces (in the order of `at`, not overlapping) of `buffer`: reads in the order of the device, neighbours at once.
    pub fn read_pieces(&self, buffer: &mut [u8], pieces: &[Piece]) -> Result<()> {
        let mut slots: Vec<(u64, &mut [u8])> = Vec::with_capacity(pieces.len());
        let (mut rest, mut at) = (buffer, 0);
        for piece in pieces {
            let outside = || Error::new("read", "a piece lies outside its buffer");
            let gap = piece.at.checked_sub(at).ok_or_else(outside)?;
            let (_, after) = rest.split_at_mut_checked(gap).ok_or_else(outside)?;
            let (slot, after) = after.split_at_mut_checked(piece.len).ok_or_else(outside)?;
            slots.push((piece.offset, slot));
            (rest, at) = (after, piece.at + piece.len);
        }
        slots.sort_by_key(|(offset, _)| *offset);
        self.announce(&slots);
        let mut slots = slots.into_iter().peekable();
        while let Some((offset, first)) = slots.next() {
            let (mut next, mut run) = (offset + first.len() as u64, vec![IoSliceMut::new(first)]);
            while let Some((at, slot)) = slots.next_if(|(at, _)| *at == next && run.len() < IOV_MAX) {
                next = at + slot.len() as u64;
                run.push(IoSliceMut::new(slot));
            }
            self.read_run(offset, &mut run)?;
        }
        Ok(())
    }

    /// A disk works on several requests at a time, if it hears of them.
    fn announce(&self, slots: &[(u64, &mut [u8])]) {
        if self.is_device() && !self.direct && !self.forget && slots.len() > 1 {
            for (offset, slot) in slots {
                self.advise(*offset, slot.len(), PosixFadviseAdvice::POSIX_FADV_WILLNEED);
            }
        }
    }

    fn advise(&self, offset: u64, len: usize, advice: PosixFadviseAdvice) {
        if let (Ok(offset), Ok(len)) = (i64::try_from(offset), i64::try_from(len)) {
            _ = posix_fadvise(&self.file, offset, len, advice); // advice only
        }
    }

    fn read_run(&self, offset: u64, run: &mut [IoSliceMut]) -> Result<()> {
        match run {
            [one] => self.read_at(offset, one),
            many if self.direct || self.forget => {
                let mut at = offset;
                for slot in many {
                    self.read_at(at, slot)?;
                    at += slot.len() as u64;
                }
                Ok(())
            }
            many => {
                let len = many.iter().map(|s| s.len()).sum();
                self.scatter(offset, many).map_err(|e| self.failed(offset, len, &e))
            }
        }
    }

    fn scatter(&self, mut offset: u64, mut run: &mut [IoSliceMut]) -> io::Result<()> {
        while !run.is_empty() {
            match preadv(&self.file, run, cast(offset)?) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => {
                    offset += n as u64;
                    IoSliceMut::advance_slices(&mut run, n);
                }
                Err(nix::Error::EINTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    fn exactly(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(into.len() as u64).filter(|end| *end <= self.size);
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        if self.forget {
            // of a page that the range does not cover wholly the kernel keeps what it has
            let start = offset - offset % LARGEST_PAGE;
            let len = usize::try_from(end.next_multiple_of(LARGEST_PAGE) - start).unwrap_or(usize::MAX);
            self.advise(start, len, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
        }
        let aligned = |n: u64| n.is_multiple_of(ALIGN as u64);
        let fits = aligned(offset) && (aligned(end) || end == self.size) && aligned(into.as_ptr().addr() as u64);
        if !self.direct || fits {
            return self.file.read_exact_at(into, offset);
        }
        self.bounce(offset, into)
    }

    /// Direct I/O of what is not aligned: the aligned range around it, in steps.
    fn bounce(&self, mut offset: u64, mut into: &mut [u8]) -> io::Result<()> {
        let mut around = Buffer::new(16 * ALIGN);
        while !into.is_empty() {
            let start = offset - offset % ALIGN as u64;
            let skip = usize::try_from(offset - start).unwrap_or(0);
            let room = usize::try_from(self.size - start).unwrap_or(usize::MAX).min(around.len());
            let len = room.min((skip + into.len()).next_multiple_of(ALIGN));
            let window = around.get_mut(..len).unwrap_or_default();
            self.file.read_exact_at(window, start)?;
            let got = window.get(skip..).unwrap_or_default();
            let n = got.len().min(into.len());
            let (now, later) = into.split_at_mut(n);
            now.copy_from_slice(got.get(..n).unwrap_or_default());
            (into, offset) = (later, offset + n as u64);
        }
        Ok(())
    }

    fn failed(&self, offset: u64, len: usize, e: &io::Error) -> Error {
        let what = format!("{}: {len} bytes at {offset}", self.path.display());
        if e.kind() == io::ErrorKind::UnexpectedEof {
            return Error::new(what, format!("beyond its end, {}", self.size));
        }
        Error::new(what, format!("cannot read: {}", reason(e)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As if direct I/O had been refused, and as it is.
    fn sources(path: &Path) -> [Source; 2] {
        [false, true].map(|forget| Source { forget, ..Source::open(path, "source", Access::Fresh).unwrap() })
    }

    #[test]
    fn pieces_in_any_order_and_more_neighbours_than_one_call_takes() {
        let folder = tempfile::tempdir().unwrap();
        let from = folder.path().join("from");
        let content: Vec<u8> = (0..3000 * 512_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        std::fs::write(&from, &content).unwrap();
        let last = content.len() as u64 - 512;
        let backwards: Vec<Piece> = (0..3000).map(|i| Piece { offset: last - i * 512, at: i as usize * 512, len: 512 }).collect();
        for source in sources(&from) {
            let mut buffer = Buffer::new(content.len());
            source.read_pieces(&mut buffer, &backwards).unwrap();
            assert!(buffer.chunks(512).rev().eq(content.chunks(512)));
        }
    }

    #[test]
    fn beyond_the_end_nothing_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, [7; 1000]).unwrap();
        let beyond = [Piece { offset: 0, at: 0, len: 10 }, Piece { offset: 995, at: 10, len: 6 }];
        for source in sources(&path) {
            let mut buffer = Buffer::new(16);
            assert!(source.read_pieces(&mut buffer, &beyond).unwrap_err().to_string().contains("beyond its end, 1000"));
            assert!(source.read_at(u64::MAX, &mut buffer).is_err());
        }
    }
}
