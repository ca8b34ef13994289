//! Sets of chunks in files: what a peer is behind. Docs/dds-format.md has the bytes. A set may only ever name too many chunks: a chunk
//! that is not in it is not sent, so all that is unclear is added, and what is damaged is refused.

use super::args::Args;
use super::bits::{Bits, PAGE, PAGE_BITS, blank};
use super::device::{Access, Source, reason};
use super::error::{Error, Result};
use super::folder::{self, Lock};
use super::frame::{CHUNK_MAX, CHUNK_MIN, Fields, HASH, SIZE_MAX};
use super::store::Store;
use serde_json::{Map, Value};
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The first eight bytes.
pub const MAGIC: [u8; 8] = *b"\x89DDSC\r\n\x1a";
const VERSION: u32 = 1;
/// Bytes of the header that have a meaning; the rest of its page is zero.
const HEADER: usize = 64 + HASH;
/// Chunks of a set that no store gave a size.
const CHUNK_DEFAULT: u32 = 4096;
/// Records that are sorted at once.
const BATCH: usize = 1 << 19;
/// How long another dds is waited for; it writes some MiB.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What a set is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Bytes of a chunk: a power of two.
    pub chunk: u32,
    /// Bytes of the volume.
    pub size: u64,
}

impl Shape {
    /// Chunks of the volume, the last one perhaps not whole.
    pub fn chunks(self) -> u64 {
        self.size.div_ceil(u64::from(self.chunk))
    }

    /// The chunks that have a byte of the bytes from `from` to `to`; nothing beyond the volume.
    fn covering(self, from: u64, to: u64) -> (u64, u64) {
        let (chunk, to) = (u64::from(self.chunk), to.min(self.size));
        let first = from / chunk;
        (first, if from < to { to.div_ceil(chunk) - first } else { 0 })
    }
}

/// A set that is whole.
#[derive(Debug)]
pub struct Set {
    /// What it is about.
    pub shape: Shape,
    /// How many chunks are in it.
    pub count: u64,
    bits: Bits,
}

impl Set {
    /// Opens a set and verifies all of it.
    ///
    /// # Errors
    /// It cannot be read, is of another version, or damaged.
    pub fn open(path: &Path) -> Result<Self> {
        let failed = |e: io::Error| Error::new(about(path), reason(&e));
        let file = File::open(path).map_err(failed)?;
        let mut page = [0; PAGE];
        file.read_exact_at(&mut page, 0).map_err(|e| if e.kind() == ErrorKind::UnexpectedEof { damaged(path) } else { failed(e) })?;
        let (shape, tally) = parse(path, &page)?;
        let length = file.metadata().map_err(failed)?.len();
        let mut bits = Bits::of(file, PAGE as u64);
        let (found, end) = take_stock(&mut bits)?;
        if length != file_length(shape) || found != tally || end > shape.chunks() {
            return Err(damaged(path));
        }
        Ok(Self { shape, count: tally.count, bits })
    }

    /// Its runs, (first, count), ascending.
    pub fn runs(&mut self) -> impl Iterator<Item = Result<(u64, u64)>> {
        self.bits.runs()
    }
}

/// How many chunks are in a set, and a hash over its pages.
#[derive(Debug, PartialEq, Eq)]
struct Tally {
    count: u64,
    hash: [u8; HASH],
}

/// The tally, and the number after the highest one in the set.
fn take_stock(bits: &mut Bits) -> Result<(Tally, u64)> {
    let (mut hasher, mut index, mut count, mut end) = (blake3::Hasher::new(), 0, 0, 0);
    while let Some((at, page)) = bits.page_from(index)? {
        hasher.update(&at.to_le_bytes()).update(page.as_slice());
        count += page.iter().map(|byte| u64::from(byte.count_ones())).sum::<u64>();
        let unused = page.iter().rev().take_while(|byte| **byte == 0).count() as u64;
        let top = page.iter().rev().find(|byte| **byte != 0).map_or(0, |byte| u64::from(byte.leading_zeros()));
        end = (at + 1) * PAGE_BITS - unused * 8 - top;
        index = at + 1;
    }
    Ok((Tally { count, hash: *hasher.finalize().as_bytes() }, end))
}

fn file_length(shape: Shape) -> u64 {
    (1 + shape.chunks().div_ceil(PAGE_BITS)) * PAGE as u64
}

fn header(shape: Shape, tally: &Tally) -> Vec<u8> {
    let mut out = [MAGIC.as_slice(), &VERSION.to_le_bytes(), &shape.chunk.to_le_bytes()].concat();
    out.extend([shape.size, tally.count].map(u64::to_le_bytes).as_flattened());
    out.extend(tally.hash);
    out.extend(blake3::hash(&out).as_bytes());
    out
}

fn parse(path: &Path, page: &[u8; PAGE]) -> Result<(Shape, Tally)> {
    let mut at = Fields(page);
    if at.take() != MAGIC {
        return Err(Error::new(about(path), "not a set of chunks"));
    }
    let version = at.u32();
    if version != VERSION {
        return Err(Error::new(about(path), format!("it is of version {version}, this program reads version {VERSION}")));
    }
    let shape = Shape { chunk: at.u32(), size: at.u64() };
    let tally = Tally { count: at.u64(), hash: at.take() };
    let (body, rest) = page.split_at_checked(HEADER - HASH).unwrap_or((page, &[]));
    let sane = shape.chunk.is_power_of_two() && (CHUNK_MIN..=CHUNK_MAX).contains(&shape.chunk) && shape.size <= SIZE_MAX;
    if !sane || !rest.starts_with(blake3::hash(body).as_bytes()) || !blank(rest.get(HASH..).unwrap_or_default()) {
        return Err(damaged(path));
    }
    Ok((shape, tally))
}

fn about(path: &Path) -> String {
    format!("set {}", path.display())
}

fn damaged(path: &Path) -> Error {
    Error::new(about(path), "damaged: which chunks were in it is not known any more").hint(REBUILD)
}

/// What to do without a set.
const REBUILD: &str = "Compare the volumes instead: dds --hash there, dds --diff --set here; then remove it";

/// A set that is being made.
#[derive(Debug)]
pub struct Draft {
    /// What it is about.
    pub shape: Shape,
    bits: Bits,
}

impl Draft {
    /// Empty, in memory as long as that suffices.
    pub fn new(shape: Shape) -> Self {
        Self { shape, bits: Bits::new() }
    }

    /// Adds the chunks that have a byte from `from` to `to`.
    ///
    /// # Errors
    /// A temporary file's.
    pub fn add_bytes(&mut self, from: u64, to: u64) -> Result<()> {
        let (first, count) = self.shape.covering(from, to);
        self.bits.add(first, count)
    }

    /// Adds the table of a store. The store's header is looked at again afterwards: what it lists is complete only if it is still valid.
    ///
    /// # Errors
    /// The store's; one of a volume of another size.
    pub fn add_store(&mut self, store: &Store) -> Result<()> {
        let mut areas = store.areas(self.shape.size);
        let mut batch = Vec::new();
        loop {
            let area = areas.advance()?;
            let over = area.is_none();
            batch.extend(area.into_iter().flat_map(|area| area.records().map(|r| r.old)));
            if over || batch.len() >= BATCH {
                batch.sort_unstable();
                for run in batch.chunk_by(|a, b| *b <= a + 1) {
                    if let (Some(first), Some(last)) = (run.first(), run.last()) {
                        self.add_bytes(first * store.chunk(), (last + 1).saturating_mul(store.chunk()))?;
                    }
                }
                batch.clear();
            }
            if over {
                return store.still_valid();
            }
        }
    }

    /// Adds another set. Where the volume has become larger since, all of it is added.
    ///
    /// # Errors
    /// The volume has become smaller: a set of it means nothing.
    pub fn add_set(&mut self, path: &Path, set: &mut Set) -> Result<()> {
        if set.shape.size > self.shape.size {
            let why = format!("it is of a volume of {} bytes, this one has {}", set.shape.size, self.shape.size);
            return Err(Error::new(about(path), why).hint(REBUILD));
        }
        let chunk = u64::from(set.shape.chunk);
        self.add_bytes(set.shape.size, self.shape.size)?;
        set.runs().try_for_each(|run| run.and_then(|(first, count)| self.add_bytes(first * chunk, (first + count) * chunk)))
    }

    /// How many chunks are in it.
    ///
    /// # Errors
    /// A temporary file's.
    pub fn count(&mut self) -> Result<u64> {
        self.runs().try_fold(0, |n, run| run.map(|(_, count)| n + count))
    }

    /// Its runs, (first, count), ascending.
    pub fn runs(&mut self) -> impl Iterator<Item = Result<(u64, u64)>> {
        self.bits.runs()
    }
}

/// Makes the file at `path` what `change` makes of an empty set: old or new, never half, and on the disk afterwards. How many chunks
/// it has then. `lock` is that of the folder: one dds at a time, so that none loses what another adds.
///
/// # Errors
/// `change`'s; the disk's.
pub fn write(path: &Path, lock: &Lock, shape: Shape, change: impl FnOnce(&mut Draft) -> Result<()>) -> Result<u64> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new"); // also that of a dds that was killed here
    let beside = PathBuf::from(beside);
    let written = fill(&beside, shape, change).and_then(|count| match fs::rename(&beside, path) {
        Ok(()) => Ok(count),
        Err(e) => Err(Error::new(about(path), reason(&e))),
    });
    if written.is_err() {
        _ = fs::remove_file(&beside);
    }
    let count = written?;
    lock.sync()?;
    Ok(count)
}

/// Writes the file, which is whole and on the disk then.
fn fill(beside: &Path, shape: Shape, change: impl FnOnce(&mut Draft) -> Result<()>) -> Result<u64> {
    let failed = |e: io::Error| Error::new(about(beside), reason(&e));
    let file = File::options().read(true).write(true).create(true).truncate(true).open(beside).map_err(failed)?;
    let pages = file.try_clone().map_err(failed)?;
    let mut draft = Draft { shape, bits: Bits::of(pages, PAGE as u64) };
    change(&mut draft)?;
    draft.bits.spill()?;
    let (tally, _) = take_stock(&mut draft.bits)?;
    file.write_all_at(&header(shape, &tally), 0).map_err(failed)?;
    file.set_len(file_length(shape)).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    Ok(tally.count)
}

/// `--note`: adds to the set at `path`, which is made if there is none, a store's table, or another set, or nothing. Of a volume that
/// has become larger since, the new part is added.
///
/// # Errors
/// The set's, the store's; the volume has become smaller.
pub fn note(path: &Path, args: &Args) -> Result<Map<String, Value>> {
    let Some(source) = &args.source else { return Err(Error::usage("--note", "needs --source")) };
    let size = Source::open(source, "source", Access::Cached)?.size();
    let store = args.cow.as_ref().map(|cow| Store::open(cow)).transpose()?;
    let lock = Lock::take(folder::of(path), PATIENCE)?;
    let other = args.from_set.as_ref().map(|set| Set::open(set).map(|s| (set.as_path(), s))).transpose()?;
    let old = if path.symlink_metadata().is_ok() { Some((path, Set::open(path)?)) } else { None };
    let before = old.as_ref().map_or(0, |(_, set)| set.count);
    let given = old.as_ref().or(other.as_ref()).map(|(_, set)| set.shape.chunk);
    let of_store = store.as_ref().map(|s| u32::try_from(s.chunk()).unwrap_or(CHUNK_MAX).min(CHUNK_MAX));
    let shape = Shape { chunk: given.or(of_store).unwrap_or(CHUNK_DEFAULT), size };
    let count = write(path, &lock, shape, |draft| {
        for (path, mut set) in old.into_iter().chain(other) {
            draft.add_set(path, &mut set)?;
        }
        store.map_or(Ok(()), |store| draft.add_store(&store))
    })?;
    let numbers = [("chunk_size", u64::from(shape.chunk)), ("chunks", count), ("added", count - before), ("source_size", size)];
    let path = ("set".to_owned(), Value::from(path.display().to_string()));
    Ok(std::iter::once(path).chain(numbers.map(|(key, n)| (key.to_owned(), n.into()))).collect())
}

#[cfg(test)]
mod tests;
