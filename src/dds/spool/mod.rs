//! A merge that is whole or not at all: a stream is received into a folder, checked, and only then written, so that after a crash the
//! folder alone is enough to finish it.
//!
//! The folder has `incoming` while a stream is received; `delta`, the whole stream, until it is written; `applying` while it is being
//! written. Each name is on the disk before the next step begins:
//!
//! 1. `incoming` is whole, checked and flushed; 2. it is renamed `delta`; 3. `applying` is made; 4. the delta is written, the destination
//!    flushed; 5. `delta` is removed; 6. `applying` is removed.
//!
//! So `delta` without `applying`: the destination is as it was. Both: it is between, and writing the delta again makes it new. `applying`
//! alone: it is new.

pub mod place;
pub mod receive;
pub mod recover;

use super::dest::Dest;
use super::error::{Error, Result};
use super::folder::Lock;
use super::frame::Header;
use super::frame::apply::write;
use super::frame::group::{Group, Totals};
use super::frame::read::Reader;
use super::pace::Pace;
use super::place::reason;
use super::steps::step;
use place::Place;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// How far the last merge came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// There is no delta.
    Nothing,
    /// A delta, of which nothing has been written.
    Held,
    /// A delta of which some may have been written.
    Begun,
}

/// A folder that no other dds works in.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    lock: Lock,
}

impl Spool {
    /// Takes the folder, which must be there.
    ///
    /// # Errors
    /// There is none; another dds works in it.
    pub fn open(folder: &Path) -> Result<Self> {
        Ok(Self { folder: folder.to_owned(), lock: Lock::take(folder, Duration::ZERO)? })
    }

    fn name(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn failed(&self, name: &str, e: &std::io::Error) -> Error {
        Error::new(format!("spool {}", self.name(name).display()), reason(e))
    }

    /// Tidies up: a stream that was not received whole is dropped, and a merge that came to its end is ended. What is left, and whether a
    /// stream was dropped.
    ///
    /// # Errors
    /// The disk's.
    pub fn tidy(&self) -> Result<(Found, bool)> {
        let dropped = self.remove("incoming")?;
        let found = match look(&self.folder)? {
            (true, true) => Found::Begun,
            (true, false) => Found::Held,
            (false, true) => {
                self.remove("applying")?;
                Found::Nothing
            }
            (false, false) => Found::Nothing,
        };
        self.lock.sync()?;
        Ok((found, dropped))
    }

    /// Removes a file, if there is one; not yet on the disk.
    fn remove(&self, name: &str) -> Result<bool> {
        match fs::remove_file(self.name(name)) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
            Err(e) => Err(self.failed(name, &e)),
        }
    }

    /// Opens the delta: where it belongs, and its stream.
    fn delta(&self) -> Result<(Place, Reader<File>)> {
        delta(&self.folder)
    }

    /// Reads all of the delta.
    ///
    /// # Errors
    /// It is damaged.
    fn verify(&self) -> Result<(Place, Header, Totals)> {
        let (place, mut reader) = self.delta()?;
        let mut group = Group::default();
        while reader.next(&mut group)? {}
        Ok((place, reader.header().clone(), reader.totals()))
    }

    /// Writes the delta to its destination. Both are on the disk then, and the folder is empty. Whatever happens in between, this can be
    /// done again.
    ///
    /// # Errors
    /// A delta that is damaged: nothing is written then. A destination that cannot be written: the delta is kept.
    fn apply(&self, dest: &Dest, progress: bool) -> Result<(Header, Totals)> {
        self.verify()?;
        let mark = File::create(self.name("applying"));
        mark.and_then(|mut f| writeln!(f, "{}", dest.path().display()).and_then(|()| f.sync_all()))
            .map_err(|e| self.failed("applying", &e))?;
        step();
        self.lock.sync()?;
        step();
        let (_, mut reader) = self.delta()?;
        let header = reader.header().clone();
        let pace = Pace::new(None, progress, header.chunks.saturating_mul(u64::from(header.chunk)));
        let done = write(&mut reader, dest, pace, &AtomicU64::new(0), step).and_then(|()| dest.sync());
        done.map_err(|e| {
            let (dest, folder) = (dest.path().display(), self.folder.display());
            e.hint(format!("{dest} is neither old nor new until this is finished: dds --recover {folder}"))
        })?;
        step();
        for name in ["delta", "applying"] {
            self.remove(name)?;
            step();
            self.lock.sync()?;
            step();
        }
        Ok((header, reader.totals()))
    }
}

/// Whether the folder has a delta, and a mark that it is being written.
///
/// # Errors
/// The folder cannot be looked at.
pub fn look(folder: &Path) -> Result<(bool, bool)> {
    let has = |name: &str| match fs::symlink_metadata(folder.join(name)) {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
        Err(e) => Err(Error::new(format!("spool {}", folder.join(name).display()), reason(&e))),
    };
    Ok((has("delta")?, has("applying")?))
}

/// Opens the delta of a folder: where it belongs, and its stream.
///
/// # Errors
/// There is none; it is damaged.
pub fn delta(folder: &Path) -> Result<(Place, Reader<File>)> {
    let path = folder.join("delta");
    delta_in(File::open(&path).map_err(|e| Error::new(format!("spool {}", path.display()), reason(&e)))?)
}

/// Where a delta belongs, and its stream.
///
/// # Errors
/// It is damaged.
pub fn delta_in(mut file: File) -> Result<(Place, Reader<File>)> {
    let place = Place::read(&mut file)?;
    Ok((place, Reader::begin(file)?))
}
