//! sync.docker: images of the service's docker containers. Seen by this version; sent by a later one.

use super::schedule::Schedule;
use super::{Class, Driver, Job, Sent, SyncDriver, View, common};
use crate::config::keyword::{Keyword, Type::Words};
use crate::config::scope::Params;
use crate::error::Result;
use crate::host::Cx;
use crate::report::Probe;
use crate::resource::Dropped;
use crate::state::gate;
use crate::status::Status;

/// Its row in the driver table.
pub const DRIVER: Driver = Driver {
    types: &["docker"],
    rtype: "sync.docker",
    about: "images of the service's docker containers",
    keywords: &[Keyword::new("target", Words, "nodes, drpnodes").required().example("nodes drpnodes")],
    build,
    redirect: |way| Err(common::no_way_back(way, "docker")),
};

struct Docker {
    targets: Vec<Class>,
    schedule: Schedule,
}

fn build(p: &Params) -> std::result::Result<Box<dyn SyncDriver>, Dropped> {
    common::required(p, "target")?;
    Ok(Box::new(Docker { targets: common::targets(p), schedule: Schedule::of(p.config, p.section) }))
}

impl SyncDriver for Docker {
    fn label(&self) -> String {
        let words: Vec<&str> = self.targets.iter().map(|c| c.word()).collect();
        format!("docker img sync to {}", words.join(", "))
    }

    fn targets(&self) -> &[Class] {
        &self.targets
    }

    fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// What the targets have is not known without asking them, and a status asks nobody.
    fn status(&self, cx: &Cx, _view: &View) -> Probe {
        if self.targets.iter().all(|c| c.peers(cx.scope).is_empty()) {
            return Probe::because(Status::Na, "no target nodes");
        }
        Probe::because(Status::Na, "docker image sync is not supported by this version")
    }

    fn question(&self, _cx: &Cx, _peer: &str) -> gate::Detail {
        gate::Detail { driver: "docker".into(), ..gate::Detail::default() }
    }

    fn send(&self, _cx: &Cx, _job: &Job) -> Result<Sent> {
        Err(common::not_yet("docker image"))
    }
}
