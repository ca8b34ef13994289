//! svcmon: a line for each service.

use super::Session;
use super::args::Program;
use super::console::out;
use crate::action;
use crate::error::{Error, Result};
use crate::render::{svcmon, tree};
use crate::service::{build, status};

/// Prints the table, or with `--verbose` each tree.
pub fn run(session: &Session) -> Result<u8> {
    if !session.args.action.is_empty() {
        return Err(Error::Usage(format!("svcmon takes no action: {}", session.args.words.join(" "))));
    }
    let Some(info) = action::find("print_status") else { return Ok(1) };
    let names = if session.args.services.is_empty() {
        super::targets::select(session, &Program::All(super::args::Which::All), info)?
    } else {
        super::targets::select(session, &Program::Svcmgr, info)?
    };
    let mut failed = false;
    let mut reports = Vec::new();
    for name in names {
        let log = session.logger(&name, session.console.clone());
        match build::load(&session.host, &name) {
            Ok(service) => {
                service.faults.iter().for_each(|line| log.error(line));
                reports.push(status::evaluate(&service, &session.host, &log, status::Depth::All));
            }
            Err(refusal) => {
                failed = true;
                refusal.lines.iter().for_each(|line| log.error(line));
            }
        }
    }
    if session.args.format == super::args::Format::Json {
        out(&format!("{}\n", serde_json::to_string(&reports).unwrap_or_default()));
    } else if session.args.verbose {
        reports.iter().for_each(|r| out(&tree::render(r, session.palette)));
    } else {
        out(&svcmon::render(&reports, session.palette));
    }
    Ok(u8::from(failed))
}
