//! `--extract --frame`: chunks of a source as a framed stream.

use super::group::{Group, Totals};
use super::write::{Packed, Packer, Writer, bound, chunks_of_group};
use super::{CHUNK_MAX, Header};
use crate::dds::args::Args;
use crate::dds::bits::blank;
use crate::dds::buffer::{Piece, push};
use crate::dds::device::{Access, Source};
use crate::dds::error::{Error, Result};
use crate::dds::flow::{self, Feed, Reuse};
use crate::dds::output::Output;
use crate::dds::pace::Pace;
use crate::dds::set::{Draft, Set, Shape};
use crate::dds::store::Store;
use serde_json::{Map, Value};

/// Chunks of a first copy, for which no table says a size.
const WHOLE_CHUNK: u32 = 65536;
/// How many groups are read, hashed and compressed at a time.
const WORKERS: usize = 2;
/// Levels above this one take so much memory that one thread does it.
const LEVEL_SMALL: i32 = 9;

/// What was sent, or would be.
#[derive(Debug)]
pub struct Sent {
    header: Header,
    /// What the stream had; nothing in a dry run.
    totals: Option<Totals>,
}

/// Sends what `--cow`, `--behind` and `--all` ask for, with the data of the source.
///
/// # Errors
/// A store that is not valid; a set that is damaged or of a larger volume; what cannot be read or written. The stream has no end then.
pub fn extract(args: &Args) -> Result<Sent> {
    let Some(path) = &args.source else { return Err(Error::usage("--extract", "needs --source")) };
    let source = Source::open(path, "source", Access::Cached)?;
    let store = args.cow.as_ref().filter(|_| !args.all).map(|cow| Store::open(cow)).transpose()?;
    if let Some(store) = &store {
        store.source().refuse_same(source.path(), "source")?;
    }
    let mut wanted = if args.all { Wanted::Whole } else { Wanted::Some(union(args, store.as_ref(), source.size())?) };
    let header = header(args, &mut wanted, source.size())?;
    if args.dry_run {
        return Ok(Sent { header, totals: None });
    }
    let sources: Vec<&Source> = store.iter().map(Store::source).chain([&source]).collect();
    let mut output = Output::open(args.dest.as_deref(), &sources)?;
    let totals = stream(args, &header, &source, &mut wanted, &mut output)?;
    output.finish()?;
    Ok(Sent { header, totals: Some(totals) })
}

/// Which chunks.
enum Wanted {
    /// All.
    Whole,
    /// These.
    Some(Draft),
}

/// The store's table and the sets in one, in the smallest of their chunks: a larger one becomes several.
fn union(args: &Args, store: Option<&Store>, size: u64) -> Result<Draft> {
    let mut sets = Vec::new();
    for path in &args.behind {
        sets.push((path, Set::open(path)?));
    }
    let of_store = store.and_then(|s| u32::try_from(s.chunk()).ok());
    let chunk = sets.iter().map(|(_, set)| set.shape.chunk).chain(of_store).min().unwrap_or(CHUNK_MAX).min(CHUNK_MAX);
    let mut draft = Draft::new(Shape { chunk, size });
    for (path, set) in &mut sets {
        draft.add_set(path, set)?;
    }
    if let Some(store) = store {
        draft.add_store(store)?;
    }
    Ok(draft)
}

fn header(args: &Args, wanted: &mut Wanted, size: u64) -> Result<Header> {
    let text = |given: &Option<String>| given.clone().unwrap_or_default();
    let (chunk, chunks) = match wanted {
        Wanted::Whole => (WHOLE_CHUNK, size.div_ceil(u64::from(WHOLE_CHUNK))),
        Wanted::Some(draft) => (draft.shape.chunk, draft.count()?),
    };
    let mut header = Header {
        whole: chunks == size.div_ceil(u64::from(chunk)),
        compressed: args.compress.is_some(),
        source_size: size,
        chunk,
        chunks,
        bound: 0,
        base: text(&args.base),
        image: text(&args.image),
        frozen_at: text(&args.frozen_at),
        note: text(&args.note),
    };
    header.bound = bound(header.encode()?.len(), chunk, chunks);
    Ok(header)
}

/// A group on its way: planned, then read and packed, then written.
#[derive(Default)]
struct Load {
    number: u32,
    chunks: Vec<u64>,
    pieces: Vec<Piece>,
    group: Group,
    packed: Packed,
}

impl Reuse for Load {
    fn reuse(&mut self) {
        self.chunks.clear();
        self.pieces.clear();
        self.group.runs.clear(); // data are written over
    }
}

fn stream(args: &Args, header: &Header, source: &Source, wanted: &mut Wanted, output: &mut Output) -> Result<Totals> {
    let bytes = header.encode()?;
    let workers = if args.compress.is_some_and(|level| level > LEVEL_SMALL) { 1 } else { WORKERS };
    let packer = Packer::new(&bytes, args.compress, workers)?;
    let mut writer = Writer::begin(&bytes);
    let mut pace = Pace::new(args.bwlimit, args.progress, header.chunks * u64::from(header.chunk));
    output.write(&bytes)?;
    let loads = (0..workers + 3).map(|_| Load::default()).collect();
    let plan = |feed: &Feed<Load>| match wanted {
        Wanted::Whole => plan(feed, header.chunk, [Ok((0, header.chunks))].into_iter()),
        Wanted::Some(draft) => plan(feed, header.chunk, draft.runs()),
    };
    let read = |load: &mut Load| {
        load.read(header.chunk as usize, source)?;
        packer.pack(load.number, &load.group, &mut load.packed)
    };
    flow::spread(loads, workers, plan, read, |load: &Load| {
        for part in writer.group(&load.group, &load.packed) {
            output.write(part)?;
            pace.moved(part.len() as u64);
        }
        Ok(())
    })?;
    pace.end();
    let (totals, end) = writer.end();
    output.write(&end)?;
    Ok(totals)
}

/// Hands on which chunks are in which group: as many as fit if none is zero.
fn plan(feed: &Feed<Load>, chunk: u32, runs: impl Iterator<Item = Result<(u64, u64)>>) -> Result<()> {
    let most = chunks_of_group(chunk);
    let (mut load, mut number) = (feed.take()?, 0);
    for run in runs {
        let (mut first, mut count) = run?;
        while count > 0 {
            if load.chunks.len() == most {
                feed.send(std::mem::replace(&mut load, feed.take()?))?;
                number += 1;
            }
            load.number = number;
            let now = count.min((most - load.chunks.len()) as u64);
            load.chunks.extend(first..first + now);
            (first, count) = (first + now, count - now);
        }
    }
    if load.chunks.is_empty() { Ok(()) } else { feed.send(load) }
}

impl Load {
    /// Reads the chunks and makes the group of them: zeroes without their data, the end of the last one filled up.
    fn read(&mut self, chunk: usize, source: &Source) -> Result<()> {
        let data = &mut self.group.data;
        data.resize(self.chunks.len() * chunk, 0);
        for (number, at) in self.chunks.iter().zip((0..).step_by(chunk)) {
            let offset = number * chunk as u64;
            let len = usize::try_from(source.size() - offset).unwrap_or(chunk).min(chunk);
            push(&mut self.pieces, Piece { offset, at, len });
        }
        source.read_pieces(data, &self.pieces)?;
        if let Some(tail) = self.pieces.last().and_then(|last| data.get_mut(last.at + last.len..)) {
            tail.fill(0); // of memory that was used before
        }
        let mut kept = 0;
        for (number, at) in self.chunks.iter().zip((0..).step_by(chunk)) {
            let zero = self.group.data.get(at..at + chunk).is_some_and(blank);
            self.group.push(*number, zero);
            if !zero {
                if kept != at {
                    self.group.data.copy_within(at..at + chunk, kept);
                }
                kept += chunk;
            }
        }
        self.group.data.truncate(kept);
        Ok(())
    }
}

impl Sent {
    /// The report as text.
    pub fn text(&self) -> String {
        super::report::text(&self.header, self.totals)
    }

    /// The report as JSON.
    pub fn json(&self) -> Map<String, Value> {
        super::report::json(&self.header, self.totals)
    }
}
