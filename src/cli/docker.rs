//! `NAME docker ARGS…`: the docker client of the service's own daemon, on the caller's terminal.

use super::Session;
use crate::action::{Info, gates};
use crate::cmd::{Cmd, End, Sink};
use crate::error::{Error, Result};
use crate::host::Cx;
use crate::log::{Level, Logger};
use crate::resource::common::dockerd::Daemon;
use crate::service::{Service, build};

/// Runs the client for the service `name`; its exit status. The daemon is started for it if it can be. No lock: an
/// `attach` of hours holds nobody up.
pub fn run(session: &Session, info: &Info, names: &[String]) -> Result<u8> {
    let [name] = names else {
        return Err(Error::Usage(format!("docker is for one service: svcmgr -s NAME docker …, not {}", names.join(","))));
    };
    let log = session.logger(name, session.console.clone());
    let reported = |e: Error| {
        if let Error::Text(why) = &e {
            log.error(why);
            return Error::Reported;
        }
        e
    };
    let service = build::load(&session.host, name).map_err(|refusal| {
        refusal.lines.iter().for_each(|line| log.error(line));
        Error::Reported
    })?;
    gates::allowed(&service, &session.host, &log, info, &session.args.options)?;
    client(session, &service, &log).map_err(reported)
}

fn client(session: &Session, service: &Service, log: &Logger) -> Result<u8> {
    let host = &session.host;
    let daemon = Daemon::of(&service.config);
    let Some(res) = service.resources.iter().find(|r| r.rtype == "container.docker") else {
        return Err(Error::text("this service has no docker resource"));
    };
    let cx: Cx = service.cx(host, log, res, false);
    daemon.start(&cx, Level::Debug)?;
    let words = daemon.expanded(host, &session.args.rest);
    let cmd = Cmd::change(daemon.words(host, words.iter().map(String::as_str))).unbounded().sink(Sink::Inherit);
    let out = host.runner.run(&cmd);
    match out.stages.first().map(|s| &s.end) {
        Some(End::Exited(code)) => Ok(u8::try_from(*code).unwrap_or(1)),
        // as a shell tells it
        Some(End::Signaled(signal)) => Ok(u8::try_from(128 + signal).unwrap_or(1)),
        Some(End::NotRun(why)) => Err(Error::text(why.clone())),
        Some(End::TimedOut(_)) | None => Ok(1),
    }
}
