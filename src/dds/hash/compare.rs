//! `--diff`: a volume compared with the hash stream of another.

use super::make::read;
use super::{Reader, STEP, loads, short};
use crate::dds::args::Args;
use crate::dds::device::{Access, Source};
use crate::dds::error::{Error, Result};
use crate::dds::flow::{self, Load};
use crate::dds::folder::{self, Lock};
use crate::dds::pace::Pace;
use crate::dds::place::reason;
use crate::dds::set::{self, Draft, Shape};
use serde_json::{Map, Value};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// What the comparison found.
#[derive(Debug, Default)]
pub struct Difference {
    /// Blocks that were compared, those that only one of both has among them.
    blocks: u64,
    differing: u64,
    /// Bytes of the differing blocks.
    bytes: u64,
    /// Where the first one begins.
    first: Option<u64>,
    /// Bytes of this volume.
    size: u64,
    /// Bytes of the one that was hashed.
    hashed_size: u64,
    /// The block after the last one counted.
    next: u64,
    /// The block after the last one counted as differing.
    next_differing: u64,
}

/// Compares the volume with the hashes, block by block as they come. With `--set` the differing blocks of this volume become a set.
///
/// # Errors
/// What cannot be read; hashes that are not whole. Nothing is said of the volume then, and no set is written.
pub fn diff(args: &Args) -> Result<Difference> {
    let (Some(path), Some(hashes)) = (&args.source, &args.hashes) else {
        return Err(Error::usage("--diff", "needs --source and --hashes"));
    };
    let source = Source::open(path, "source", Access::Fresh)?;
    let input: Box<dyn Read + Send> = if hashes.as_os_str() == "-" {
        Box::new(std::io::stdin())
    } else {
        Box::new(File::open(hashes).map_err(|e| Error::new(format!("hashes {}", hashes.display()), reason(&e)))?)
    };
    let mut reader = Reader::begin(input)?;
    let header = reader.header();
    let mut draft = Draft::new(Shape { chunk: header.block, size: source.size() });
    let mut found = Difference { size: source.size(), hashed_size: header.size, ..Difference::default() };
    let (block, end) = (u64::from(header.block), header.end().min(source.size()));
    let mut pace = Pace::new(None, args.progress, end.saturating_sub(header.from));
    let (from, mut at) = (header.from, header.from);
    flow::round(
        loads(),
        |feed| read(&source, from, end, feed),
        |load: &Load| {
            for (data, hash) in load.filled().chunks(header.block as usize).zip(reader.next(STEP / header.block as usize)?) {
                found.add(at, at + data.len() as u64, block, short(data) != hash, &mut draft)?;
                at += data.len() as u64;
            }
            pace.moved(load.len as u64);
            Ok(())
        },
    )?;
    pace.end();
    while !reader.next(STEP / header.block as usize)?.is_empty() {} // of blocks that are not here
    reader.finish()?;
    found.add(end.max(header.from), header.end(), block, true, &mut draft)?;
    if header.end() == header.size {
        found.add(header.size, source.size(), block, true, &mut draft)?;
    }
    if let Some(path) = &args.set {
        save(path, &mut draft)?;
    }
    Ok(found)
}

fn save(path: &Path, found: &mut Draft) -> Result<()> {
    let lock = Lock::take(folder::of(path), set::PATIENCE)?;
    let chunk = u64::from(found.shape.chunk);
    set::write(path, &lock, found.shape, |draft| {
        found.runs().try_for_each(|run| run.and_then(|(first, count)| draft.add_bytes(first * chunk, (first + count) * chunk)))
    })?;
    Ok(())
}

impl Difference {
    /// The bytes from `from` to `to` were compared.
    fn add(&mut self, from: u64, to: u64, block: u64, differ: bool, draft: &mut Draft) -> Result<()> {
        if from >= to {
            return Ok(());
        }
        let (first, end) = (from / block, to.div_ceil(block));
        self.blocks += end.saturating_sub(first.max(self.next)); // the two parts of a block are one
        if differ {
            self.differing += end.saturating_sub(first.max(self.next_differing));
            self.next_differing = end;
            self.bytes += to - from;
            self.first.get_or_insert(from / block * block);
            draft.add_bytes(from, to)?;
        }
        self.next = end;
        Ok(())
    }

    /// A sentence.
    pub fn text(&self) -> String {
        let sizes = match (self.size, self.hashed_size) {
            (here, there) if here == there => String::new(),
            (here, there) => format!(", what only one of both has among them: {here} bytes here, {there} there"),
        };
        let first = self.first.map(|at| format!(", the first at byte {at}")).unwrap_or_default();
        format!("{} of {} blocks differ ({} bytes){first}{sizes}\n", self.differing, self.blocks, self.bytes)
    }

    /// As JSON; `first` is there only if a block differs.
    pub fn json(&self) -> Map<String, Value> {
        let numbers = [("blocks", self.blocks), ("differing", self.differing), ("bytes", self.bytes)];
        let sizes = [("source_size", self.size), ("hashed_size", self.hashed_size)];
        let numbers = numbers.into_iter().chain(self.first.map(|at| ("first", at))).chain(sizes);
        numbers.map(|(key, n)| (key.to_owned(), n.into())).collect()
    }
}
