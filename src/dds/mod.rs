//! The program dds, an island: it imports nothing of the rest, and nothing but its binary imports it.
//!
//! `store` reads what the kernel wrote, `stream` is the same as a stream; `device`, `buffer` and `flow` move bytes.

pub mod args;
pub mod bits;
pub mod buffer;
pub mod dest;
pub mod device;
pub mod error;
pub mod extract;
pub mod flow;
pub mod folder;
pub mod frame;
pub mod hash;
pub mod inspect;
pub mod merge;
pub mod options;
pub mod output;
pub mod pace;
pub mod place;
pub mod report;
pub mod set;
pub mod spool;
pub mod steps;
pub mod store;
pub mod stream;

use args::{Args, Verb};
use error::{Error, Result};
use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;

/// What is printed after the work.
#[derive(Debug, Default)]
struct Said {
    text: String,
    /// Because stdout was the stream.
    to_stderr: bool,
}

impl From<String> for Said {
    fn from(text: String) -> Self {
        Self { text, to_stderr: false }
    }
}

/// Runs the program on its own command line.
pub fn main() -> ExitCode {
    let said = match args::parse(std::env::args_os().skip(1)) {
        Err(Ok(help)) => Ok(help.into()),
        Err(Err(e)) => Err(e),
        Ok((verb, args)) => run(&verb, &args),
    };
    let printed = said.and_then(|said| {
        let done = if said.to_stderr { print(std::io::stderr().lock(), &said.text) } else { print(std::io::stdout().lock(), &said.text) };
        done.map_err(|e| Error::new("report", device::reason(&e)))
    });
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            _ = writeln!(std::io::stderr().lock(), "dds: {e}");
            ExitCode::from(e.code())
        }
    }
}

fn print(mut to: impl Write, text: &str) -> std::io::Result<()> {
    to.write_all(text.as_bytes()).and_then(|()| to.flush())
}

fn run(verb: &Verb, args: &Args) -> Result<Said> {
    match verb {
        Verb::Extract => extracted(args),
        Verb::Merge => merged(args),
        Verb::Note(set) => set::note(set, args).map(|map| Said::from(report::asked(args.json, false, String::new, || map))),
        Verb::Recover(folder) => {
            let done = spool::recover::recover(args, folder)?;
            Ok(report::asked(args.json, true, || done.text(folder), || done.json()).into())
        }
        Verb::Hash => hash::make::hash(args).map(|()| Said::default()),
        Verb::Diff => hash::compare::diff(args).map(|d| report::asked(args.json, true, || d.text(), || d.json()).into()),
        Verb::Witness(path) => hash::make::witness(path).map(Said::from),
        Verb::Inspect(path) => inspect::look(path.as_deref(), false).map(|seen| inspect::told(&seen, args.json).into()),
        Verb::Check(path) => inspect::look(path.as_deref(), true).map(|seen| inspect::told(&seen, args.json).into()),
        Verb::Completion(shell) => completion(*shell).map(Said::from),
        Verb::Man => man().map(Said::from),
    }
}

fn extracted(args: &Args) -> Result<Said> {
    let wanted = args.verbose || (args.dry_run && !args.json);
    let text = if args.frame {
        let sent = frame::send::extract(args)?;
        report::asked(args.json, wanted, || sent.text(), || sent.json())
    } else {
        let report = extract::classic(args)?;
        warn(args, &report);
        report::asked(args.json, wanted, || report.text(), || report.json("classic"))
    };
    Ok(Said { text, to_stderr: args.dest.is_none() && !args.dry_run })
}

/// Of a table of which some records cannot be right.
fn warn(args: &Args, report: &report::Report) {
    if report.odd > 0 && !args.json {
        let (cow, odd) = (args.cow.as_deref().unwrap_or(Path::new("store")).display(), report.odd);
        let why = format!("warning: {odd} of its records point outside its data: its table may be damaged");
        let hint = "Compare the copy with the source when it is merged: dds --hash, dds --diff";
        _ = writeln!(std::io::stderr().lock(), "dds: {}", Error::new(format!("store {cow}"), why).hint(hint));
    }
}

fn merged(args: &Args) -> Result<Said> {
    let input = merge::Input::open(args)?;
    if let (Some(dest), merge::Input::Stream(first, file), true) = (&args.dest, &input, input.framed()) {
        let stream = first.chain(file);
        let done = match &args.spool {
            Some(spool) => spool::receive::receive(args, spool, dest, stream)?,
            None => frame::apply::direct(args, dest, stream)?,
        };
        return Ok(report::asked(args.json, args.verbose, || done.text(), || done.json()).into());
    }
    framed_only(args)?;
    let report = merge::classic(args, &input)?;
    Ok(report::asked(args.json, args.verbose, || report.text(), || report.json("classic")).into())
}

/// A stream of 2010 has no checksums, no ids and no size.
fn framed_only(args: &Args) -> Result<()> {
    let given = [("--spool", args.spool.is_some()), ("--create", args.create), ("--expect-base", args.expect_base.is_some())];
    match given.iter().find(|(_, given)| *given) {
        Some((option, _)) => Err(Error::new("the stream", format!("not a framed one, and {option} is for those"))
            .hint("Nothing was written. Look at what the sender said; it must be dds --extract --frame")),
        None => Ok(()),
    }
}

fn completion(shell: clap_complete::Shell) -> Result<String> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut options::command(), "dds", &mut text);
    String::from_utf8(text).map_err(|e| Error::new("completion", e))
}

fn man() -> Result<String> {
    let mut text = Vec::new();
    clap_mangen::Man::new(options::command()).render(&mut text).map_err(|e| Error::new("man page", e))?;
    String::from_utf8(text).map_err(|e| Error::new("man page", e))
}
