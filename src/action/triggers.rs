//! The commands of the trigger keywords, run around actions.

use crate::cmd::Cmd;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::log::{Level, Logger};
use crate::service::{Res, Service};
use std::time::Duration;

/// How long a trigger may take.
pub const TIMEOUT: Duration = Duration::from_secs(3600);

/// Runs the command of `keyword`, if the resource has it. The failure of one whose name begins with `blocking_`
/// stops the action; another's is said and forgiven, as in 2014, naming `stopper`, which would not forgive it.
pub fn run(service: &Service, host: &Host, log: &Logger, res: &Res, keyword: &str, stopper: &str) -> Result<()> {
    let Some(argv) = res.triggers.get(keyword) else { return Ok(()) };
    let mut cmd = Cmd::change(argv.clone()).timeout(TIMEOUT);
    cmd.env = service.environment(host);
    let out = service.cx(host, log, res, false).run_at(&cmd, Level::Info, Level::Error);
    match out.failure() {
        Some(failed) if keyword.starts_with("blocking_") => Err(Error::text(format!("{keyword} of {} failed: {}", res.rid, failed.why()))),
        Some(failed) => {
            log.error(format!("{keyword} failed: {}. going on ({stopper} would stop here)", failed.why()));
            Ok(())
        }
        None => Ok(()),
    }
}
