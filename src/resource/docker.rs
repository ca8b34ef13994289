//! container.docker: a container of the service's private docker daemon. Seen by this version; run by a later one.

use super::{Done, Driver, Dropped, Resource, not_yet};
use crate::config::keyword::{
    Keyword,
    Type::{Text, Words},
};
use crate::config::scope::Params;
use crate::error::Result;
use crate::host::{Cx, Host};
use crate::report::Probe;
use crate::status::Status;
use std::os::unix::net::UnixStream;

/// Its row in the driver table.
pub const DRIVER: Driver = Driver {
    kind: "container",
    types: &["docker"],
    rtype: "container.docker",
    about: "a container of the service's own docker daemon",
    keywords: &[
        Keyword::new("run_image", Text, "image: name[:tag] or id").required().example("opensvc/busybox:date"),
        Keyword::new("run_command", Text, "command, instead of the image's own"),
        Keyword::new("run_args", Words, "arguments of docker run").example("-v /etc/localtime:/etc/localtime:ro"),
    ],
    build,
};

struct Docker {
    image: String,
    data_dir: Option<String>,
}

fn build(p: &Params) -> std::result::Result<Box<dyn Resource>, Dropped> {
    let image = p.text("run_image").ok_or_else(|| format!("'run_image' parameter is mandatory in section {}", p.section))?;
    Ok(Box::new(Docker { image: image.into(), data_dir: p.text("docker_data_dir").map(str::to_owned) }))
}

impl Docker {
    fn daemon_listens(cx: &Cx) -> bool {
        UnixStream::connect(cx.host.paths.service_var(cx.service).join("docker.sock")).is_ok()
    }
}

impl Resource for Docker {
    fn label(&self, _host: &Host) -> String {
        self.image.clone()
    }

    fn status(&self, cx: &Cx) -> Probe {
        let mut probe = if Self::daemon_listens(cx) {
            Probe::because(Status::Na, "running docker containers are not supported by this version")
        } else {
            Probe::because(Status::Down, "docker daemon is not running")
        };
        if self.data_dir.is_none() {
            probe.messages.push("DEFAULT.docker_data_dir must be defined".into());
        }
        probe
    }

    fn start(&self, _cx: &Cx) -> Result<Done> {
        Err(not_yet("the start of a docker container"))
    }

    fn stop(&self, cx: &Cx) -> Result<Done> {
        if Self::daemon_listens(cx) {
            return Err(not_yet("the stop of a docker container"));
        }
        cx.log.info(format!("container {} already stopped", self.image));
        Ok(Done::Already)
    }

    fn has_standby(&self) -> bool {
        false
    }
}
