//! The program dds, an island: it imports nothing of the rest, and nothing but its binary imports it.
//!
//! `store` reads what the kernel wrote, `stream` is the same as a stream; `device`, `buffer` and `flow` move bytes.

pub mod args;
pub mod bits;
pub mod buffer;
pub mod device;
pub mod error;
pub mod flow;
pub mod frame;
pub mod store;

use args::{Args, Verb};
use error::{Error, Result};
use std::io::Write;
use std::process::ExitCode;

/// Runs the program on its own command line.
pub fn main() -> ExitCode {
    let (text, code) = match args::parse(std::env::args_os().skip(1)) {
        Err(Ok(help)) => (help, 0),
        Err(Err(e)) => return failed(&e),
        Ok((verb, args)) => match run(verb, args) {
            Ok(text) => (text, 0),
            Err(e) => return failed(&e),
        },
    };
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::from(code),
        Err(e) => failed(&Error::new("stdout", e)),
    }
}

fn failed(e: &Error) -> ExitCode {
    _ = writeln!(std::io::stderr().lock(), "dds: {e}");
    ExitCode::from(e.code())
}

/// Does it; what is to be printed on stdout.
fn run(verb: Verb, args: Args) -> Result<String> {
    let _ = (&verb, &args);
    Err(Error::usage("dds", "not yet"))
}
