//! `--merge`: a stream, or a store, is written to a device.

use super::args::Args;
use super::buffer::{Piece, push};
use super::dest::Dest;
use super::error::{Error, Result};
use super::extract::{WORKERS, loads};
use super::flow::{self, Feed, Load};
use super::frame;
use super::pace::Pace;
use super::place::reason;
use super::report::Report;
use super::store::{Record, Store};
use super::stream::Reader;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Seek};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// What is to be merged.
#[derive(Debug)]
pub enum Input {
    /// A store, or a stream of 2010 in a file: its data are fetched from where its records say.
    Store(PathBuf),
    /// What is read once, from its begin to its end; its first bytes were read already, to see what it is.
    Stream(Vec<u8>, File),
}

impl Input {
    /// stdin, or what `--cow` names.
    pub fn open(args: &Args) -> Result<Self> {
        let path = args.cow.as_deref().unwrap_or(Path::new("/dev/stdin"));
        let kind = std::fs::metadata(path).map_err(|e| Error::new(format!("stream {}", path.display()), reason(&e)))?.file_type();
        if kind.is_block_device() && args.cow.is_some() {
            return Ok(Self::Store(path.to_owned())); // not a byte is read through the cache
        }
        let mut file = match &args.cow {
            Some(cow) => File::open(cow).map_err(|e| Error::new(format!("stream {}", cow.display()), reason(&e)))?,
            None => stdin()?,
        };
        let at_start = file.stream_position().is_ok_and(|at| at == 0);
        if kind.is_block_device() && at_start {
            return Ok(Self::Store(path.to_owned()));
        }
        super::output::widen(&file);
        let mut first = Vec::new();
        let read = file.by_ref().take(frame::MAGIC.len() as u64).read_to_end(&mut first);
        read.map_err(|e| Error::new("stream", format!("cannot read: {}", reason(&e))))?;
        if kind.is_file() && at_start && first != frame::MAGIC { Ok(Self::Store(path.to_owned())) } else { Ok(Self::Stream(first, file)) }
    }

    /// It is a framed stream.
    pub fn framed(&self) -> bool {
        matches!(self, Self::Stream(first, _) if *first == frame::MAGIC)
    }
}

/// Writes a store or a stream of 2010 to the destination. All of it is on the disk afterwards.
pub fn classic(args: &Args, input: &Input) -> Result<Report> {
    let Some(dest) = &args.dest else { return Err(Error::usage("--merge", "needs --dest")) };
    let pace = Pace::endless(args.progress);
    match input {
        Input::Store(path) => rolled(path, dest, pace),
        Input::Stream(first, file) => streamed(first.chain(file), dest, pace),
    }
}

fn stdin() -> Result<File> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return Err(Error::usage("stdin", "is a terminal").hint("The stream of dds --extract is read there; or name a file: --cow FILE"));
    }
    let file = stdin.as_fd().try_clone_to_owned().map_err(|e| Error::new("stdin", reason(&e)))?;
    Ok(file.into())
}

/// A stream that is read once, from its begin to its end.
fn streamed(input: impl Read, dest: &Path, pace: Pace) -> Result<Report> {
    let dest = Dest::open(dest, false)?;
    let read = |feed: &Feed| {
        let (header, exceptions) = Reader::new(input, feed, dest.size())?.read()?;
        Ok(Report { exceptions, ..Report::of(header) })
    };
    let writers = if dest.is_device() { WORKERS } else { 1 }; // the kernel lets one at a time write to a file
    applied(&dest, writers, pace, read, |_| Ok(()), || Ok(()))
}

/// A stream in a file, or a store: its data are where its records say. The whole table is checked before the first write.
fn rolled(cow: &Path, dest: &Path, pace: Pace) -> Result<Report> {
    let store = Store::open(cow)?;
    store.source().refuse_same(dest, "destination")?;
    let dest = Dest::open(dest, false)?;
    sound(&store, dest.size())?;
    let plan = |feed: &Feed| {
        let mut fetch = Fetch { store: &store, feed, volume: dest.size(), load: feed.take()? };
        let mut report = Report::of(store.header());
        let mut areas = store.areas(dest.size());
        while let Some(area) = areas.advance()? {
            report.exceptions += area.count();
            for record in area.records() {
                fetch.chunk(record)?;
            }
        }
        feed.send(fetch.load)?;
        Ok(report)
    };
    applied(&dest, WORKERS, pace, plan, |load| store.source().read_pieces(&mut load.buffer, &load.from), || store.still_valid())
}

/// The whole table is good, for a destination of so many bytes.
fn sound(store: &Store, volume: u64) -> Result<()> {
    let mut areas = store.areas(volume);
    while areas.advance()?.is_some() {}
    if areas.odd() > 0 {
        let why = format!("damaged: {} of its records point outside its data", areas.odd());
        return Err(Error::new(format!("store {}", store.source().path().display()), why));
    }
    Ok(())
}

/// Says of chunks of a store where they lie, and where they belong.
struct Fetch<'a> {
    store: &'a Store,
    feed: &'a Feed,
    volume: u64,
    load: Load,
}

impl Fetch<'_> {
    fn chunk(&mut self, record: Record) -> Result<()> {
        let chunk = self.store.chunk();
        if !self.store.holds(record.new) {
            return Err(Error::new(
                format!("store {}", self.store.source().path().display()),
                "a record that came while it was read is damaged",
            ));
        }
        let mut done = 0;
        while done < chunk {
            if self.load.room() == 0 {
                let full = std::mem::replace(&mut self.load, self.feed.take()?);
                self.feed.send(full)?;
            }
            let (at, offset) = (self.load.len, record.old * chunk + done);
            let len = usize::try_from(chunk - done).unwrap_or(usize::MAX).min(self.load.room());
            push(&mut self.load.from, Piece { offset: record.new * chunk + done, at, len });
            let wanted = usize::try_from(self.volume.saturating_sub(offset)).unwrap_or(usize::MAX).min(len);
            if wanted > 0 {
                push(&mut self.load.pieces, Piece { offset, at, len: wanted });
            }
            self.load.len += len;
            done += len as u64;
        }
        Ok(())
    }
}

/// Writes what `fill` hands on and `fetch` makes whole, and flushes it if it is `complete`. Several loads are written at a time: no chunk comes twice. A
/// failure says how much of the destination is new.
fn applied(
    dest: &Dest,
    workers: usize,
    mut pace: Pace,
    fill: impl FnOnce(&Feed) -> Result<Report>,
    fetch: impl Fn(&mut Load) -> Result<()> + Sync,
    complete: impl FnOnce() -> Result<()>,
) -> Result<Report> {
    let written = AtomicU64::new(0);
    let write = |load: &mut Load| {
        fetch(load)?;
        written.fetch_add(load.pieces.iter().map(|p| p.len as u64).sum(), Ordering::Relaxed); // before: a write may fail half way
        dest.write_pieces(load.filled(), &load.pieces)
    };
    let tell = |load: &Load| {
        pace.moved(load.pieces.iter().map(|p| p.len as u64).sum());
        Ok(())
    };
    let done = flow::spread(loads(), workers, fill, write, tell).and_then(|report| {
        complete()?;
        dest.sync()?;
        pace.end();
        Ok(report)
    });
    done.map_err(|e| match written.into_inner() {
        0 => e.hint(format!("Nothing was written to {}", dest.path().display())),
        bytes => torn(e, dest, bytes),
    })
}

/// Some of it is new, some old.
fn torn(e: Error, dest: &Dest, bytes: u64) -> Error {
    e.hint(format!(
        "{} is torn: up to {bytes} bytes of it are new, the rest is old. Merge the same stream again, whole, or copy the whole volume",
        dest.path().display()
    ))
}
