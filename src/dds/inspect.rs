//! `--inspect` and `--check`: what a file, a device, a folder or stdin is; with `--check` whether all of it is in order.

use super::device::{Access, Source};
use super::error::{Error, Result};
use super::frame::group::Group;
use super::frame::read::Reader;
use super::frame::{self, SIZE_MAX, fill};
use super::place::reason;
use super::report::Report;
use super::set::{self, Set};
use super::spool::{self, place};
use super::store::{self, Area, Header, Store};
use super::{hash, report};
use serde_json::{Map, Value};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// What it is, as text and as JSON.
#[derive(Debug)]
pub struct Seen {
    /// Lines.
    pub text: String,
    /// `format` says what it is: framed, store, stream, set, hashes, spool.
    pub json: Map<String, Value>,
}

impl Seen {
    fn of(format: &str, numbers: &[(&str, Value)]) -> Self {
        let all: Vec<_> = std::iter::once(("format", Value::from(format))).chain(numbers.iter().cloned()).collect();
        let word = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let text = all.iter().map(|(key, value)| format!("{key:<14}{}\n", word(value))).collect();
        Self { text, json: all.into_iter().map(|(key, value)| (key.to_owned(), value)).collect() }
    }

    fn framed(mut reader: Reader<impl Read>, check: bool) -> Result<Self> {
        let mut group = Group::default();
        while check && reader.next(&mut group)? {}
        let totals = check.then(|| reader.totals());
        Ok(Self { text: frame::report::text(reader.header(), totals), json: frame::report::json(reader.header(), totals) })
    }

    fn with(mut self, numbers: &[(&str, Value)]) -> Self {
        for (key, value) in numbers {
            self.json.insert((*key).to_owned(), value.clone());
        }
        self
    }
}

/// Looks at what `path` names, stdin if it names nothing; with `check` at all of it. Nothing is written.
///
/// # Errors
/// It is nothing of dds; it cannot be read; `check` found damage.
pub fn look(path: Option<&Path>, check: bool) -> Result<Seen> {
    let Some(path) = path else { return stream(std::io::stdin().lock(), check) };
    if path.is_dir() {
        return folder(path, check);
    }
    let source = Source::open(path, "file", Access::Fresh)?;
    let mut magic = [0; 8];
    let there = usize::try_from(source.size()).unwrap_or(8).min(8);
    source.read_at(0, magic.get_mut(..there).unwrap_or_default())?;
    let open = || File::open(path).map_err(|e| Error::new(format!("file {}", path.display()), reason(&e)));
    match magic {
        set::MAGIC => {
            let set = Set::open(path)?;
            let numbers = [("chunk_size", set.shape.chunk.into()), ("source_size", set.shape.size.into()), ("chunks", set.count.into())];
            Ok(Seen::of("set", &numbers))
        }
        place::MAGIC => {
            let (place, reader) = spool::delta_in(open()?)?;
            Ok(Seen::framed(reader, check)?.with(&[("dest", place.path.display().to_string().into())]))
        }
        frame::MAGIC | hash::MAGIC => stream(open()?, check),
        _ if magic.starts_with(&store::MAGIC.to_le_bytes()) => table(path, &source, check),
        _ => Err(unknown()),
    }
}

fn unknown() -> Error {
    Error::new("file", "not a stream, store, set, hash stream or spool folder of dds")
}

/// What is read once, from its begin to its end.
fn stream(mut input: impl Read, check: bool) -> Result<Seen> {
    let mut magic = [0; 8];
    fill(&mut input, &mut magic, "before anything was seen of it")?;
    let input = magic.chain(input);
    match magic {
        frame::MAGIC => Seen::framed(Reader::begin(input)?, check),
        hash::MAGIC => hashes(hash::Reader::begin(input)?, check),
        set::MAGIC => Err(Error::new("stdin", "a set of chunks, which cannot be read from a pipe").hint("Name its file")),
        _ if magic.starts_with(&store::MAGIC.to_le_bytes()) => classic(input),
        _ => Err(unknown()),
    }
}

fn hashes(mut reader: hash::Reader<impl Read>, check: bool) -> Result<Seen> {
    let header = reader.header();
    if check {
        while !reader.next(4096)?.is_empty() {}
        reader.finish()?;
    }
    let numbers = [header.size, header.from, header.length, header.blocks()].map(Value::from);
    let [size, from, length, blocks] = numbers;
    Ok(Seen::of("hashes", &[("block", header.block.into()), ("source_size", size), ("from", from), ("length", length), ("blocks", blocks)]))
}

/// A stream of 2010 that is read once: its tables, and that their data are there.
fn classic(mut input: impl Read) -> Result<Seen> {
    let mut first = [0; Header::LEN];
    fill(&mut input, &mut first, "in the header")?;
    let header = Header::parse(&first).map_err(|why| Error::new("stream", why))?;
    let mut count = 0;
    skip(&mut input, header.chunk - Header::LEN as u64)?;
    let mut bytes = vec![0; usize::try_from(header.chunk).unwrap_or(0)];
    for number in 0.. {
        fill(&mut input, &mut bytes, "in a table")?;
        let area = Area::parse(number, &bytes, header, SIZE_MAX).map_err(|why| Error::new("stream", why))?;
        skip(&mut input, area.count() * header.chunk)?;
        count += area.count();
        if !area.full {
            break;
        }
    }
    Ok(counted("stream", header, count))
}

fn skip(input: &mut impl Read, bytes: u64) -> Result<()> {
    match std::io::copy(&mut input.take(bytes), &mut std::io::sink()) {
        Ok(n) if n == bytes => Ok(()),
        Ok(_) => Err(Error::new("stream", "cut short: its last chunks are missing")),
        Err(e) => Err(Error::new("stream", reason(&e))),
    }
}

fn counted(format: &str, header: Header, exceptions: u64) -> Seen {
    let mut report = Report::of(header);
    report.exceptions = exceptions;
    Seen { text: report.text(), json: report.json(format) }.with(&[("valid", header.valid.into())])
}

/// A store, or a stream of 2010 in a file. What is invalid is told, and an error only to `--check`.
fn table(path: &Path, source: &Source, check: bool) -> Result<Seen> {
    let mut first = [0; Header::LEN];
    source.read_at(0, &mut first)?;
    let header = Header::parse(&first).map_err(|why| Error::new(format!("store {}", path.display()), why))?;
    if !header.valid && !check {
        let chunk = header.chunk.into();
        return Ok(Seen::of("store", &[("valid", false.into()), ("chunk_size", chunk)]));
    }
    let store = Store::open(path)?;
    let mut areas = store.areas(SIZE_MAX);
    let mut count = 0;
    while let Some(area) = areas.advance()? {
        count += area.count();
    }
    if check && areas.odd() > 0 {
        let why = format!("damaged: {} of its records point outside its data", areas.odd());
        return Err(Error::new(format!("store {}", path.display()), why));
    }
    store.still_valid()?;
    Ok(counted("store", header, count))
}

/// A spool folder: what waits in it.
fn folder(path: &Path, check: bool) -> Result<Seen> {
    let state = match spool::look(path)? {
        (true, false) => "held",
        (true, true) => "begun",
        (false, _) => return Ok(Seen::of("spool", &[("state", "nothing".into())])),
    };
    let (place, reader) = spool::delta(path)?;
    let dest = place.path.display().to_string();
    let mut seen = Seen::framed(reader, check)?.with(&[("format", "spool".into()), ("state", state.into()), ("dest", dest.clone().into())]);
    seen.text.push_str(&format!("  {:<18}{state}\n  {:<18}{dest}\n", "State", "Destination"));
    Ok(seen)
}

/// The lines, or the JSON.
pub fn told(seen: &Seen, json: bool) -> String {
    report::asked(json, true, || seen.text.clone(), || seen.json.clone())
}
