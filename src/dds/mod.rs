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
pub mod merge;
pub mod options;
pub mod output;
pub mod pace;
pub mod place;
pub mod report;
pub mod set;
pub mod store;
pub mod stream;

use args::{Args, Verb};
use error::{Error, Result};
use std::io::Write;
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
        Verb::Merge => {
            let report = merge::classic(args)?;
            Ok(report::asked(args.json, args.verbose, || report.text(), || report.json("classic")).into())
        }
        Verb::Completion(shell) => completion(*shell).map(Said::from),
        Verb::Man => man().map(Said::from),
        _ => Err(Error::usage("dds", "not in this build")),
    }
}

fn extracted(args: &Args) -> Result<Said> {
    let report = extract::classic(args)?;
    if report.odd > 0 && !args.json {
        let (cow, odd) = (args.cow.as_deref().unwrap_or(Path::new("store")).display(), report.odd);
        let why = format!("warning: {odd} of its records point outside its data: its table may be damaged");
        let hint = "Compare the copy with the source when it is merged: dds --hash, dds --diff";
        _ = writeln!(std::io::stderr().lock(), "dds: {}", Error::new(format!("store {cow}"), why).hint(hint));
    }
    let wanted = args.verbose || (args.dry_run && !args.json);
    let text = report::asked(args.json, wanted, || report.text(), || report.json("classic"));
    Ok(Said { text, to_stderr: args.dest.is_none() && !args.dry_run })
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
