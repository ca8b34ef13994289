//! `--merge --spool`: a stream goes into the folder; when it is whole, it is written.

use super::place::Place;
use super::{Found, Spool};
use crate::dds::args::Args;
use crate::dds::dest::Dest;
use crate::dds::error::{Error, Result};
use crate::dds::frame::apply::{Received, expect_base, expect_room};
use crate::dds::frame::group::Group;
use crate::dds::frame::read::Reader;
use crate::dds::pace::Pace;
use crate::dds::place::reason;
use crate::dds::steps::step;
use nix::sys::statvfs::statvfs;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Room is looked at again after so many bytes: others write there too.
const LOOK: u64 = 16 << 20;

/// Receives the stream into `folder`, checks it, and writes it unless it is to be held.
///
/// # Errors
/// Whatever happens before the stream is whole leaves the destination as it was, and nothing in the folder.
pub fn receive(args: &Args, folder: &Path, dest: &Path, input: impl Read) -> Result<Received> {
    let spool = Spool::open(folder)?;
    let (found, _) = spool.tidy()?;
    if found == Found::Begun {
        let why = "it has a delta of which some may have been written";
        return Err(
            Error::new(format!("spool {}", folder.display()), why).hint(format!("Finish that first: dds --recover {}", folder.display()))
        );
    }
    let unchanged = |e: Error| e.hint(format!("{} is as it was. Look at what the sender said, and send the stream again", dest.display()));
    let mut reader = Reader::begin(Tee { input, file: None, error: None }).map_err(unchanged)?;
    let header = reader.header().clone();
    expect_base(&header, args.expect_base.as_deref())?;
    let place = Dest::open(dest, false)?;
    expect_room(&header, &place)?;
    let prefix = Place::of(dest, place.size())?.encode();
    if found == Found::Held {
        spool.remove("delta")?; // the destination is what it was before that one; so says the sender, who made this one
        spool.lock.sync()?;
    }
    room(folder, if header.compressed { 0 } else { header.bound.saturating_add(prefix.len() as u64) })?;
    let taken = take(&spool, &mut reader, &prefix, args.progress);
    if let Err(e) = taken {
        spool.remove("incoming")?;
        return Err(reader.input().error.take().unwrap_or_else(|| unchanged(e)));
    }
    fs::rename(spool.name("incoming"), spool.name("delta")).map_err(|e| spool.failed("delta", &e))?;
    step();
    spool.lock.sync()?;
    step();
    let received = Received { header, totals: reader.totals(), state: "held", dest: dest.to_owned() };
    if args.hold {
        return Ok(received);
    }
    spool.apply(&place, args.progress)?;
    Ok(Received { state: "applied", ..received })
}

/// `incoming` is whole, checked, and on the disk.
fn take<R: Read>(spool: &Spool, reader: &mut Reader<Tee<R>>, prefix: &[u8], progress: bool) -> Result<()> {
    let header = reader.header().clone();
    let path = spool.name("incoming");
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(|e| spool.failed("incoming", &e))?;
    step();
    reader.input().file = Some(Copy { file, since: 0, name: path.display().to_string(), folder: spool.folder.clone() });
    for part in [prefix, &header.encode()?] {
        reader.input().keep(part).map_err(|e| Error::new("the stream", e))?;
    }
    step();
    let mut pace = Pace::new(None, progress, header.bound);
    let mut group = Group::default();
    let mut before = reader.totals().stream;
    while reader.next(&mut group)? {
        pace.moved(reader.totals().stream - before);
        before = reader.totals().stream;
        step();
    }
    pace.end();
    let file = reader.input().file.take();
    file.map_or(Ok(()), |copy| copy.file.sync_all()).map_err(|e| spool.failed("incoming", &e))?;
    step();
    Ok(())
}

/// A tenth of the file system stays free after `wanted` more bytes.
fn room(folder: &Path, wanted: u64) -> Result<()> {
    let about = || format!("spool {}", folder.display());
    let fs = statvfs(folder).map_err(|e| Error::new(about(), e.desc()))?;
    let unit = fs.fragment_size();
    let (free, reserve) = (fs.blocks_available().saturating_mul(unit), fs.blocks().saturating_mul(unit) / 10);
    if free >= wanted.saturating_add(reserve) {
        return Ok(());
    }
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let why = format!(
        "no room: {} MiB are free, a tenth ({} MiB) stays free, and up to {} MiB more are needed",
        mib(free),
        mib(reserve),
        mib(wanted)
    );
    Err(Error::new(about(), why).hint("The destination is as it was. Make room there, or name another folder"))
}

/// Hands on what it reads, and keeps it in a file.
struct Tee<R> {
    input: R,
    file: Option<Copy>,
    /// Why it could not be kept.
    error: Option<Error>,
}

/// The file, and how much went there since room was looked at.
struct Copy {
    file: File,
    since: u64,
    name: String,
    folder: PathBuf,
}

impl<R> Tee<R> {
    fn keep(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(copy) = &mut self.file else { return Ok(()) };
        let mut kept = copy.file.write_all(bytes).map_err(|e| {
            Error::new(format!("spool {}", copy.name), reason(&e))
                .hint("The destination is as it was. Make room there, or name another folder")
        });
        copy.since += bytes.len() as u64;
        if kept.is_ok() && copy.since >= LOOK {
            copy.since = 0;
            kept = room(&copy.folder, 0);
        }
        kept.map_err(|e| {
            self.error = Some(e);
            io::Error::other("not kept")
        })
    }
}

impl<R: Read> Read for Tee<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.input.read(into)?;
        self.keep(into.get(..n).unwrap_or_default())?;
        Ok(n)
    }
}
