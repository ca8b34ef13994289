//! hb: the heartbeat of a third-party cluster manager that drives the service.

use super::{Done, Driver, Dropped, Resource};
use crate::config::keyword::{Keyword, Type::Text};
use crate::config::scope::Params;
use crate::error::Result;
use crate::host::{Cx, Host};
use crate::report::Probe;
use crate::status::Status;
use std::path::Path;

const KEYWORDS: &[Keyword] =
    &[Keyword::new("name", Text, "name of the service in the cluster manager; default: the service's own").unscoped()];

/// OpenHA.
pub const OPENHA: Driver = Driver {
    kind: "hb",
    types: &["openha"],
    rtype: "hb.openha",
    about: "OpenHA drives the service",
    keywords: KEYWORDS,
    build: |p| build(p, false),
};

/// Linux-HA heartbeat.
pub const LINUXHA: Driver = Driver {
    kind: "hb",
    types: &["linuxha"],
    rtype: "hb.linuxha",
    about: "Linux-HA heartbeat drives the service",
    keywords: KEYWORDS,
    build: |p| build(p, true),
};

struct Hb {
    linuxha: bool,
}

fn build(p: &Params, linuxha: bool) -> std::result::Result<Box<dyn Resource>, Dropped> {
    if p.config.scope.is_drp() {
        return Err(Dropped::Silent);
    }
    Ok(Box::new(Hb { linuxha }))
}

impl Resource for Hb {
    fn label(&self, _host: &Host) -> String {
        if self.linuxha { "hb.linuxha" } else { "hb.openha" }.into()
    }

    fn status(&self, _cx: &Cx) -> Probe {
        if self.linuxha {
            return match which::which("cl_status") {
                Err(_) => Probe::because(Status::Warn, "heartbeat is not installed"),
                Ok(_) => Probe::because(Status::Na, "the state of linux-ha is not read by this version"),
            };
        }
        if !Path::new("/usr/local/cluster/bin/service").exists() {
            return Probe::because(Status::Warn, "open-ha is not installed");
        }
        Probe::because(Status::Na, "the state of open-ha is not read by this version")
    }

    fn start(&self, _cx: &Cx) -> Result<Done> {
        Ok(Done::Already)
    }

    fn stop(&self, _cx: &Cx) -> Result<Done> {
        Ok(Done::Already)
    }

    fn has_standby(&self) -> bool {
        false
    }
}
