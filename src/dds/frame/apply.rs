//! A framed stream is written to a destination, each group after its checksum held.

use super::group::Totals;
use super::read::{Raw, Reader};
use super::{Header, report};
use crate::dds::args::Args;
use crate::dds::buffer::{Piece, push};
use crate::dds::dest::Dest;
use crate::dds::error::{Error, Result};
use crate::dds::flow::{self, Feed, Reuse};
use crate::dds::pace::Pace;
use serde_json::{Map, Value};
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many groups are decompressed and hashed at a time.
const WORKERS: usize = 2;

impl Reuse for Raw {
    fn reuse(&mut self) {} // a group is read over the last one
}

/// What was received.
#[derive(Debug)]
pub struct Received {
    /// What the stream said of itself.
    pub header: Header,
    /// What it had.
    pub totals: Totals,
    /// What has become of it: `applied`, `held`.
    pub state: &'static str,
    /// Where it belongs.
    pub dest: std::path::PathBuf,
}

impl Received {
    /// The report as text.
    pub fn text(&self) -> String {
        format!("{}  {:<18}{}\n", report::text(&self.header, Some(self.totals)), "State", self.state)
    }

    /// The report as JSON.
    pub fn json(&self) -> Map<String, Value> {
        let mut out = Map::new();
        out.insert("state".into(), self.state.into());
        out.insert("dest".into(), self.dest.display().to_string().into());
        out.extend(report::json(&self.header, Some(self.totals)));
        out
    }
}

/// A stream changes the image that is expected.
///
/// # Errors
/// It changes another one.
pub fn expect_base(header: &Header, expected: Option<&str>) -> Result<()> {
    match expected {
        Some(expected) if expected != header.base => {
            let why = format!("it changes the image {:?}, and here is {expected:?}", header.base);
            Err(Error::new("the stream", why)
                .hint("Nothing was written. Send what changes this image, or compare by block hashes: dds --hash, dds --diff"))
        }
        _ => Ok(()),
    }
}

/// The destination has room for the source; checked before the first write.
///
/// # Errors
/// It is too small.
pub fn expect_room(header: &Header, dest: &Dest) -> Result<()> {
    if dest.size() >= header.source_size {
        return Ok(());
    }
    let why = format!("{} bytes, the source has {}", dest.size(), header.source_size);
    let hint =
        if dest.is_device() { "Nothing was written. Enlarge it with lvextend" } else { "Nothing was written. --create extends a file" };
    Err(Error::new(format!("destination {}", dest.path().display()), why).hint(hint))
}

/// `--merge` of a framed stream, written as it comes.
///
/// # Errors
/// A stream that is not whole; the message says that the destination is torn, if it was written to.
pub fn direct(args: &Args, dest: &Path, input: impl Read) -> Result<Received> {
    let mut reader = Reader::begin(input)?;
    let header = reader.header().clone();
    expect_base(&header, args.expect_base.as_deref())?;
    let mut place = Dest::open(dest, args.create)?;
    if args.create && !place.is_device() {
        place.extend(header.source_size)?;
    }
    expect_room(&header, &place)?;
    let pace = Pace::new(None, args.progress, header.chunks * u64::from(header.chunk));
    let written = AtomicU64::new(0);
    let done = write(&mut reader, &place, pace, &written, || ()).and_then(|()| place.sync());
    done.map_err(|e| match written.into_inner() {
        0 => e.hint(format!("Nothing was written to {}", dest.display())),
        bytes => e.hint(format!(
            "{} is torn: up to {bytes} bytes of it are new, the rest is old. Send the same stream again, whole, or compare by block hashes",
            dest.display()
        )),
    })?;
    Ok(Received { header, totals: reader.totals(), state: "applied", dest: dest.to_owned() })
}

/// Writes all groups, in ascending order; `step` is called before each. The stream is whole then; flushing is left to the caller.
///
/// # Errors
/// The stream's; the destination's.
pub fn write<R: Read>(reader: &mut Reader<R>, dest: &Dest, mut pace: Pace, written: &AtomicU64, step: impl Fn() + Sync) -> Result<()> {
    let (chunk, size) = (u64::from(reader.header().chunk), reader.header().source_size);
    let loads = (0..WORKERS + 3).map(|_| Raw::default()).collect();
    let fetch = |feed: &Feed<Raw>| {
        let mut raw = feed.take()?;
        while reader.fetch(&mut raw)? {
            feed.send(std::mem::replace(&mut raw, feed.take()?))?;
        }
        Ok(())
    };
    flow::spread(loads, WORKERS, fetch, Raw::unpack, |Raw { group, .. }: &Raw| {
        step();
        let (mut at, mut bytes, mut pieces) = (0, 0, Vec::new());
        for run in &group.runs {
            let offset = run.first * chunk;
            let length = (run.count * chunk).min(size - offset);
            bytes += run.count * chunk;
            if run.zero {
                written.fetch_add(length, Ordering::Relaxed);
                dest.zero(offset, length)?;
                continue;
            }
            let len = usize::try_from(length).unwrap_or(0);
            push(&mut pieces, Piece { offset, at, len });
            at += usize::try_from(run.count * chunk).unwrap_or(0);
        }
        written.fetch_add(pieces.iter().map(|p: &Piece| p.len as u64).sum(), Ordering::Relaxed);
        dest.write_pieces(&group.data, &pieces)?;
        pace.moved(bytes);
        Ok(())
    })
}
