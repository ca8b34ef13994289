//! Devices and files that are written: what is refused before the first write, writes in the order of the device, neighbours in one piece.

use super::buffer::Piece;
use super::device::IOV_MAX;
use super::error::{Error, Result};
use super::place::{Identity, attached, cast, end, identity, reason};
use nix::fcntl::{FallocateFlags, fallocate};
use nix::libc;
use nix::sys::uio::pwritev;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, IoSlice};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

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
        if let Some(device) = attached(path) {
            return Err(
                Error::new(about(), format!("in use: /dev/{device} is this file")).hint(format!("Detach it: losetup -d /dev/{device}"))
            );
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

    /// Writes zeroes; of a file the room is given back.
    pub fn zero(&self, mut offset: u64, mut len: u64) -> Result<()> {
        static ZEROES: [u8; 65536] = [0; 65536];
        let hole = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        let range = cast(offset).and_then(|offset| Ok((offset, cast(len)?)));
        let inside = offset.checked_add(len).is_some_and(|end| end <= self.size);
        if let (false, true, Ok((at, length))) = (self.device, inside && len > 0, range)
            && fallocate(&self.file, hole, at, length).is_ok()
        {
            return Ok(());
        }
        while len > 0 {
            let now = len.min(ZEROES.len() as u64);
            self.write_at(offset, ZEROES.get(..now as usize).unwrap_or_default())?;
            (offset, len) = (offset + now, len - now);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_in_any_order_and_none_beyond_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let content: Vec<u8> = (0..3000 * 512_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        std::fs::write(&path, vec![0; content.len()]).unwrap();
        let dest = Dest::open(&path, false).unwrap();
        let last = content.len() as u64 - 512;
        let mut backwards: Vec<Piece> = (0..3000).map(|i| Piece { offset: last - i * 512, at: i as usize * 512, len: 512 }).collect();
        dest.write_pieces(&content, &backwards).unwrap();
        let written = std::fs::read(&path).unwrap();
        assert!(written.chunks(512).rev().eq(content.chunks(512)));

        backwards.push(Piece { offset: last + 1, at: 0, len: 512 });
        let beyond = dest.write_pieces(&content, &backwards[3000..]).unwrap_err().to_string();
        assert!(beyond.contains("beyond its end, 1536000"), "{beyond}");
        assert!(dest.write_at(u64::MAX, &[1]).is_err());
        assert!(std::fs::read(&path).unwrap() == written);
        // two pieces for one place: the later one
        let twice = [Piece { offset: 8, at: 0, len: 1 }, Piece { offset: 9, at: 5, len: 1 }, Piece { offset: 8, at: 1, len: 1 }];
        dest.write_pieces(&[1, 2, 3, 4, 5, 6], &twice).unwrap();
        assert_eq!(std::fs::read(&path).unwrap()[8..10], [2, 6]);
    }
}
