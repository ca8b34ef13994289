//! loop: a file attached to a loop device.

use super::{Done, Driver, Dropped, Resource};
use crate::cmd::Cmd;
use crate::config::keyword::{
    Keyword,
    Type::{Int, Text},
};
use crate::config::scope::Params;
use crate::error::{Error, Result};
use crate::host::facts::is_free_loop;
use crate::host::patience::wait_until;
use crate::host::{Cx, Host};
use crate::report::Probe;
use std::time::Duration;

/// Its row in the driver table.
pub const DRIVER: Driver = Driver {
    kind: "loop",
    types: &[],
    rtype: "disk.loop",
    about: "a file used as a disk",
    keywords: &[
        Keyword::new("file", Text, "the file").required().example("/srv/app1/disk.img"),
        Keyword::new("size", Int, "MB, when it is provisioned").default("10"),
    ],
    build,
};

/// How long the kernel may take to let go of a device.
const RELEASE: Duration = Duration::from_secs(5);

struct Loop {
    file: String,
}

fn build(p: &Params) -> std::result::Result<Box<dyn Resource>, Dropped> {
    Ok(Box::new(Loop { file: p.required("file")?.into() }))
}

impl Loop {
    fn devices(&self, cx: &Cx) -> Vec<String> {
        cx.host.facts.loops_of(&self.file).into_iter().map(|l| l.device).collect()
    }
}

impl Resource for Loop {
    fn label(&self, _host: &Host) -> String {
        self.file.clone()
    }

    fn status(&self, cx: &Cx) -> Probe {
        Probe::up_if(!self.devices(cx).is_empty())
    }

    fn start(&self, cx: &Cx) -> Result<Done> {
        if !self.devices(cx).is_empty() {
            cx.log.info(format!("{} is already up", self.file));
            return Ok(Done::Already);
        }
        if !std::path::Path::new(&self.file).is_file() {
            cx.log.error(format!("{} does not exist, or is not a file", self.file));
            return Err(Error::Reported);
        }
        cx.must(&Cmd::change(["losetup", "-f", &self.file]))?;
        cx.host.facts.forget();
        match self.devices(cx).first() {
            Some(device) => cx.log.info(format!("{device} now loops to {}", self.file)),
            None => return Err(Error::text(format!("losetup succeeded, yet no device loops to {}", self.file))),
        }
        Ok(Done::Changed)
    }

    fn stop(&self, cx: &Cx) -> Result<Done> {
        let devices = self.devices(cx);
        if devices.is_empty() {
            cx.log.info(format!("{} is already down", self.file));
            return Ok(Done::Already);
        }
        for device in &devices {
            cx.must(&Cmd::change(["losetup", "-d", device]))?;
            // losetup -d of a device in use succeeds, and the device goes with its last user: then it is not down
            if !wait_until(RELEASE, || is_free_loop(device)) {
                cx.log.error(format!("{device} is still in use on {}", self.file));
                return Err(Error::Reported);
            }
        }
        cx.host.facts.forget();
        Ok(Done::Changed)
    }

    fn devices(&self, cx: &Cx) -> Vec<String> {
        Self::devices(self, cx)
    }

    fn has_standby(&self) -> bool {
        false
    }
}
