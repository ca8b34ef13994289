//! `--extract`: what a store says has changed becomes a stream.

use super::args::Args;
use super::device::{Access, Source};
use super::error::{Error, Result};
use super::flow::{self, Feed, Load};
use super::output::Output;
use super::report::Report;
use super::store::Store;
use super::stream::Writer;
use std::path::Path;

/// So many threads read or write at a time: one waits less than half of the time when it has a processor of its own.
pub const WORKERS: usize = 2;

/// The buffers that go round: one is filled, one emptied, and two wait, beside those that are worked on.
pub fn loads() -> Vec<Load> {
    (0..WORKERS + 4).map(|_| Load::new(2 << 20)).collect()
}

/// Opens the store and the volume whose data are sent, which must be two.
pub fn open(cow: &Path, source: &Path) -> Result<(Store, Source)> {
    let store = Store::open(cow)?;
    let source = Source::open(source, "source", Access::Cached)?;
    store.source().refuse_same(source.path(), "source")?;
    Ok((store, source))
}

/// The stream of 2010.
pub fn classic(args: &Args) -> Result<Report> {
    let (Some(cow), Some(path)) = (&args.cow, &args.source) else { return Err(Error::usage("--extract", "needs --cow and --source")) };
    let (store, source) = open(cow, path)?;
    if args.dry_run {
        return count(&store, &source);
    }
    let mut output = Output::open(args.dest.as_deref(), &[store.source(), &source])?;
    let plan = |feed: &Feed| {
        let mut writer = Writer::new(feed, source.size(), store.header())?;
        let mut areas = store.areas(source.size());
        let mut report = Report::of(store.header());
        while let Some(area) = areas.advance()? {
            report.exceptions += area.count();
            writer.area(area)?;
        }
        report.odd = areas.odd();
        writer.finish()?;
        Ok(report)
    };
    let read = |load: &mut Load| source.read_pieces(&mut load.buffer, &load.pieces);
    let report = flow::spread(loads(), WORKERS, plan, read, |load| {
        if load.last {
            store.still_valid()?; // all has been read
        }
        output.write(load.filled())
    })?;
    output.finish()?;
    Ok(report)
}

/// What would be sent.
fn count(store: &Store, source: &Source) -> Result<Report> {
    let mut areas = store.areas(source.size());
    let mut report = Report::of(store.header());
    while let Some(area) = areas.advance()? {
        report.exceptions += area.count();
    }
    report.odd = areas.odd();
    store.still_valid()?;
    Ok(report)
}
