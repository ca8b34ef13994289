//! `--hash`: a hash stream of a volume, or of a part of it; and `--witness`, one hash of both its ends.

use super::{Header, SHORT, STEP, end, loads, short};
use crate::dds::args::Args;
use crate::dds::buffer::Buffer;
use crate::dds::device::{Access, Source};
use crate::dds::error::{Error, Result};
use crate::dds::flow::{self, Feed, Load};
use crate::dds::frame::{CHUNK_MAX, CHUNK_MIN};
use crate::dds::output::Output;
use crate::dds::pace::Pace;
use std::path::Path;

/// Writes the hash stream on stdout.
///
/// # Errors
/// A range that is none; a volume that cannot be read. The stream has no end then.
pub fn hash(args: &Args) -> Result<()> {
    let Some(path) = &args.source else { return Err(Error::usage("--hash", "needs --source")) };
    let source = Source::open(path, "source", Access::Fresh)?;
    let header = header(args, source.size())?;
    let bytes = header.encode();
    let mut output = Output::open(None, &[&source])?;
    let mut all = blake3::Hasher::new();
    all.update(&bytes);
    output.write(&bytes)?;
    let mut pace = Pace::new(args.bwlimit, args.progress, header.length);
    flow::round(
        loads(),
        |feed| read(&source, header.from, header.end(), feed),
        |load| {
            let hashes: Vec<[u8; SHORT]> = load.filled().chunks(header.block as usize).map(short).collect();
            all.update(hashes.as_flattened());
            pace.moved(load.len as u64);
            output.write(hashes.as_flattened())
        },
    )?;
    pace.end();
    output.write(&end(header.blocks(), all))?;
    output.finish()
}

fn header(args: &Args, size: u64) -> Result<Header> {
    let block = u32::try_from(args.block).unwrap_or(0);
    if !block.is_power_of_two() || !(CHUNK_MIN..=CHUNK_MAX).contains(&block) {
        return Err(Error::usage(format!("--block {}", args.block), format!("not a power of two from {CHUNK_MIN} to {CHUNK_MAX}")));
    }
    if !args.from.is_multiple_of(args.block) || args.from > size {
        let why = format!("not a multiple of the block, {block} bytes, within the {size} bytes of the volume");
        return Err(Error::usage(format!("--from {}", args.from), why));
    }
    Ok(Header { block, size, from: args.from, length: args.length.unwrap_or(u64::MAX).min(size - args.from) })
}

/// Hands on what is between two bytes, as much at once as a load takes.
pub(super) fn read(source: &Source, mut from: u64, to: u64, feed: &Feed) -> Result<()> {
    while from < to {
        let mut load: Load = feed.take()?;
        load.len = usize::try_from(to - from).unwrap_or(STEP).min(STEP);
        let len = load.len;
        source.read_at(from, load.buffer.get_mut(..len).unwrap_or_default())?;
        from += len as u64;
        feed.send(load)?;
    }
    Ok(())
}

/// The BLAKE3 hash, in hexadecimal, of the first MiB and the last MiB, one after the other; both are all there is of a smaller volume.
/// Of a device what is on it, not what is in its cache.
///
/// # Errors
/// It cannot be read.
pub fn witness(path: &Path) -> Result<String> {
    let source = Source::open(path, "device", Access::Fresh)?;
    let len = usize::try_from(source.size()).unwrap_or(STEP).min(STEP);
    let mut buffer = Buffer::new(len);
    let mut hasher = blake3::Hasher::new();
    for offset in [0, source.size() - len as u64] {
        source.read_at(offset, &mut buffer)?;
        hasher.update(&buffer);
    }
    Ok(format!("{}\n", hasher.finalize().to_hex()))
}
