//! Devices and files that are read and written: how they are opened, what is refused, reads and writes in order and in one piece.

use super::buffer::{ALIGN, Buffer, Piece};
use super::error::{Error, Result};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::libc;
use nix::sys::uio::{preadv, pwritev};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, IoSlice, IoSliceMut, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The most slices the kernel takes in one call.
const IOV_MAX: usize = 1024;

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

/// What a path means, whatever its name: a device number or an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Identity {
    Device(u64),
    File(u64, u64),
}

fn identity(path: &Path, what: &str) -> Result<Identity> {
    let about = || format!("{what} {}", path.display());
    let meta = std::fs::metadata(path).map_err(|e| Error::new(about(), reason(&e)))?;
    if meta.file_type().is_block_device() {
        Ok(Identity::Device(meta.rdev()))
    } else if meta.is_file() {
        Ok(Identity::File(meta.dev(), meta.ino()))
    } else {
        Err(Error::new(about(), "neither a block device nor a regular file"))
    }
}

/// An error of the system in words without its number.
pub fn reason(e: &io::Error) -> String {
    match e.raw_os_error() {
        Some(number) => nix::Error::from_raw(number).desc().to_owned(),
        None => e.to_string(),
    }
}

fn end(file: &File) -> io::Result<u64> {
    let mut file = file;
    file.seek(SeekFrom::End(0)) // metadata says 0 for a device
}

fn cast(offset: u64) -> io::Result<i64> {
    i64::try_from(offset).map_err(|_| io::Error::from(nix::Error::EOVERFLOW))
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
            self.advise(offset, into.len(), PosixFadviseAdvice::POSIX_FADV_DONTNEED);
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

/// Something that is written at any place; nobody else writes there as long as this lives.
#[derive(Debug)]
pub struct Dest {
    file: File,
    path: PathBuf,
    size: u64,
    device: bool,
}

impl Dest {
    /// Opens `path` for writing; nothing is written. A device must be neither mounted nor held by another (O_EXCL); a file must be there,
    /// unless `create`: then a file is made, empty.
    pub fn open(path: &Path, create: bool) -> Result<Self> {
        let about = || format!("destination {}", path.display());
        if !path.exists() && !create {
            let hint = "A volume is made with lvcreate, a file with truncate -s SIZE; it must be as large as the source";
            return Err(Error::new(about(), "does not exist").hint(hint));
        }
        if !path.exists() && path.starts_with("/dev") {
            return Err(Error::new(about(), "no such device").hint("--create makes files, not devices: make the volume with lvcreate"));
        }
        let device = path.exists() && matches!(identity(path, "destination")?, Identity::Device(_));
        let flags = if device { libc::O_EXCL } else { 0 };
        let open = OpenOptions::new().write(true).create(create && !device).truncate(false).custom_flags(flags).open(path);
        let file = open.map_err(|e| refusal(&about(), &e))?;
        match if device { Ok(()) } else { file.try_lock() } {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::new(about(), "another dds writes to it").hint("Wait for that one to end")),
            Err(TryLockError::Error(e)) => return Err(Error::new(about(), format!("cannot lock: {}", reason(&e)))),
        }
        let size = end(&file).map_err(|e| Error::new(about(), reason(&e)))?;
        Ok(Self { file, path: path.to_owned(), size, device })
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
        self.device
    }

    /// A file is as long as `size` afterwards, or longer; a shorter device is refused.
    pub fn extend(&mut self, size: u64) -> Result<()> {
        if self.size >= size {
            return Ok(());
        }
        let about = format!("destination {}", self.path.display());
        if self.device {
            return Err(Error::new(about, format!("{} bytes, the source has {size}", self.size)));
        }
        self.file.set_len(size).map_err(|e| Error::new(about, format!("cannot extend to {size} bytes: {}", reason(&e))))?;
        self.size = size;
        Ok(())
    }

    /// Writes all of `from` at `offset`; beyond the end is an error, a device or file never becomes longer.
    pub fn write_at(&self, offset: u64, from: &[u8]) -> Result<()> {
        self.write_run(offset, &mut [IoSlice::new(from)])
    }

    /// Writes the pieces of `buffer`, in the order of the device, neighbours at once. Of two pieces for one place the later wins.
    pub fn write_pieces(&self, buffer: &[u8], pieces: &[Piece]) -> Result<()> {
        let mut sorted: Vec<&Piece> = pieces.iter().collect();
        sorted.sort_by_key(|p| p.offset); // stable
        let mut sorted = sorted.into_iter().peekable();
        let slice = |p: &Piece| {
            let bytes = buffer.get(p.at..p.at.saturating_add(p.len));
            bytes.map(IoSlice::new).ok_or_else(|| Error::new("write", "a piece lies outside its buffer"))
        };
        while let Some(first) = sorted.next() {
            let (mut next, mut run) = (first.offset + first.len as u64, vec![slice(first)?]);
            while let Some(piece) = sorted.next_if(|p| p.offset == next && run.len() < IOV_MAX) {
                next += piece.len as u64;
                run.push(slice(piece)?);
            }
            self.write_run(first.offset, &mut run)?;
        }
        Ok(())
    }

    fn write_run(&self, offset: u64, run: &mut [IoSlice]) -> Result<()> {
        let len: usize = run.iter().map(|s| s.len()).sum();
        let what = || format!("destination {}: {len} bytes at {offset}", self.path.display());
        if offset.checked_add(len as u64).is_none_or(|end| end > self.size) {
            return Err(Error::new(what(), format!("beyond its end, {}", self.size)));
        }
        self.gather(offset, run).map_err(|e| Error::new(what(), format!("cannot write: {}", reason(&e))))
    }

    fn gather(&self, mut offset: u64, mut run: &mut [IoSlice]) -> io::Result<()> {
        while !run.is_empty() {
            match pwritev(&self.file, run, cast(offset)?) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    offset += n as u64;
                    IoSlice::advance_slices(&mut run, n);
                }
                Err(nix::Error::EINTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    /// What was written is on the disk afterwards.
    pub fn sync(&self) -> Result<()> {
        self.file
            .sync_data()
            .map_err(|e| Error::new(format!("destination {}", self.path.display()), format!("cannot flush: {}", reason(&e))))
    }
}

fn refusal(about: &str, e: &io::Error) -> Error {
    match e.raw_os_error() {
        Some(libc::EBUSY) => {
            let why = "in use: mounted, or held by LVM, a mapping, a loop or another program";
            Error::new(about, why).hint("Nothing was written. lsblk and fuser -vm show who uses it; a replica must not be mounted")
        }
        _ => Error::new(about, reason(e)),
    }
}
