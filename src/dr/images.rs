//! The receiving side of the image sync: the engine of the service runs here for as long as a sender has to do with it.

use crate::error::{Error, Result};
use crate::host::{Cx, Host};
use crate::log::{Level, Logger};
use crate::resource::common::dockerd::Daemon;
use crate::service::{Res, Service, build};

/// A sender at work with the engine.
pub struct Visit {
    service: Service,
    rid: String,
    daemon: Daemon,
    /// It was started for the visit.
    started: bool,
    /// What runs here.
    pub argv: Vec<String>,
}

fn is_images(res: &Res) -> bool {
    res.rtype == "sync.docker" && !res.disable
}

/// Why images could not be loaded here now. Changes nothing.
pub fn refusal(service: &Service, host: &Host, rid: &str) -> Option<String> {
    let (name, node) = (&service.name, &host.node);
    if !service.find(rid).is_some_and(is_images) {
        return Some(format!(
            "{rid} is no docker sync of {name} on {node}, or it is disabled there: the service files differ. first: svcmgr -s {name} sync all --rid sync#i0"
        ));
    }
    let why = Daemon::of(&service.config).obstacle(host)?;
    Some(format!("{rid} of {name} is not received on {node}: {why}"))
}

/// Admits the sender's words `docker images` or `docker load`, if `rid` is an image sync: the engine answers when this
/// returns. `None`: it is another kind of transfer.
pub fn admit(host: &Host, log: &Logger, name: &str, rid: &str, words: &[String]) -> Result<Option<Visit>> {
    let Ok(service) = build::load(host, name) else { return Ok(None) };
    if service.find(rid).is_none_or(|r| r.rtype != "sync.docker") {
        return Ok(None);
    }
    if let Some(why) = refusal(&service, host, rid) {
        return Err(Error::text(why));
    }
    let daemon = Daemon::of(&service.config);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let argv = match words.as_slice() {
        ["docker", "images"] => daemon.words(host, ["images", "--no-trunc", "--format", "{{.ID}} {{.Repository}}:{{.Tag}}"]),
        ["docker", "load"] => daemon.words(host, ["load", "-q"]),
        other => return Err(Error::text(format!("{rid} is an image sync; this is none of its words: {}", other.join(" ")))),
    };
    let mut visit = Visit { service, rid: rid.into(), daemon, started: false, argv };
    visit.started = visit.with(host, log, |visit, cx| visit.daemon.start(cx, Level::Debug))?;
    Ok(Some(visit))
}

impl Visit {
    fn with<T>(&self, host: &Host, log: &Logger, act: impl FnOnce(&Self, &Cx) -> Result<T>) -> Result<T> {
        let Some(res) = self.service.find(&self.rid) else { return Err(Error::text("internal error")) };
        let log = log.child(&res.log_name());
        act(self, &self.service.cx(host, &log, res, false))
    }

    /// The sender is gone: so is the engine, if it was started for it.
    pub fn end(&self, host: &Host, log: &Logger) {
        let ended = if self.started { self.with(host, log, |visit, cx| visit.daemon.stop_if_idle(cx, Level::Debug)) } else { Ok(()) };
        if let Err(e) = ended {
            log.warning(e.to_string());
        }
    }
}
