//! `--recover`: the target alone finishes, or drops, what a merge left.

use super::{Found, Spool};
use crate::dds::args::Args;
use crate::dds::dest::Dest;
use crate::dds::error::{Error, Result};
use crate::dds::frame::apply::Received;
use serde_json::{Map, Value};
use std::path::Path;

/// What became of what was there.
#[derive(Debug)]
pub enum Recovered {
    /// Nothing was there.
    Nothing,
    /// A stream was dropped; `torn`: some of it had been written, and it was damaged.
    Discarded {
        /// The destination is neither old nor new.
        torn: bool,
    },
    /// A delta has been written.
    Applied(Box<Received>),
}

/// Finishes what a merge left in `folder`, or drops it with `--discard`.
///
/// # Errors
/// A delta that is damaged, or belongs elsewhere; a destination that cannot be written. The delta is kept.
pub fn recover(args: &Args, folder: &Path) -> Result<Recovered> {
    let spool = Spool::open(folder).map_err(|e| e.hint("The folder is the one that --spool named"))?;
    let (found, dropped) = spool.tidy()?;
    match found {
        Found::Nothing => Ok(if dropped { Recovered::Discarded { torn: false } } else { Recovered::Nothing }),
        _ if args.discard => discard(&spool, found),
        _ => finish(args, &spool, found),
    }
}

fn discard(spool: &Spool, found: Found) -> Result<Recovered> {
    let torn = found == Found::Begun;
    if torn && spool.verify().is_ok() {
        let what = format!("spool {}", spool.folder.display());
        let hint = format!("Only writing all of it makes the destination whole: dds --recover {}", spool.folder.display());
        return Err(Error::new(what, "some of the delta may have been written: it is not dropped").hint(hint));
    }
    for name in ["delta", "applying"] {
        spool.remove(name)?;
        spool.lock.sync()?;
    }
    Ok(Recovered::Discarded { torn })
}

fn finish(args: &Args, spool: &Spool, found: Found) -> Result<Recovered> {
    let (place, ..) = spool.verify().map_err(|e| {
        let drop = format!("dds --recover {} --discard", spool.folder.display());
        e.hint(if found == Found::Begun {
            format!("The destination is neither old nor new: drop this with {drop}, and mend the destination by block hashes: dds --hash, dds --diff")
        } else {
            format!("The destination is as it was: drop this with {drop}, and send the stream again")
        })
    })?;
    let here = place.path.display();
    if let Some(other) = args.dest.as_ref().filter(|dest| !place.is(dest)) {
        let why = format!("the delta in {} belongs to {here}", spool.folder.display());
        return Err(Error::new(format!("destination {}", other.display()), why).hint("Nothing was written. Name that one, or none"));
    }
    let dest = Dest::open(&place.path, false)?;
    if dest.size() != place.size {
        let why = format!("it had {} bytes when the delta came, and has {} now: it is another one", place.size, dest.size());
        return Err(Error::new(format!("destination {here}"), why)
            .hint("Nothing was written. Give it back its size, or drop the delta and mend the destination by block hashes"));
    }
    let (header, totals) = spool.apply(&dest, args.progress)?;
    Ok(Recovered::Applied(Box::new(Received { header, totals, state: "applied", dest: place.path })))
}

impl Recovered {
    /// A sentence.
    pub fn text(&self, folder: &Path) -> String {
        let folder = folder.display();
        match self {
            Self::Nothing => format!("{folder}: nothing to do\n"),
            Self::Discarded { torn: false } => format!("{folder}: what was received is dropped, the destination is as it was\n"),
            Self::Discarded { torn: true } => {
                format!("{folder}: a damaged delta is dropped; its destination is neither old nor new: mend it by block hashes\n")
            }
            Self::Applied(done) => {
                let image = if done.header.image.is_empty() { String::new() } else { format!(" the image {}:", done.header.image) };
                format!("{} is{image} new, {} chunks were written\n", done.dest.display(), done.totals.chunks)
            }
        }
    }

    /// As JSON; `image`, `base`, `dest`, `chunks` and `bytes` are always there.
    pub fn json(&self) -> Map<String, Value> {
        let (state, torn) = match self {
            Self::Applied(done) => return done.json(),
            Self::Nothing => ("nothing", false),
            Self::Discarded { torn } => ("discarded", *torn),
        };
        let mut out = Map::new();
        out.insert("state".into(), state.into());
        out.extend(["image", "base", "dest"].map(|key| (key.to_owned(), Value::Null)));
        out.extend(["chunks", "bytes"].map(|key| (key.to_owned(), Value::from(0))));
        out.insert("torn".into(), torn.into());
        out
    }
}
