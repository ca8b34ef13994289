//! vg: an LVM volume group. Seen by this version; activated by a later one.

use super::{Done, Driver, Dropped, Resource, not_yet};
use crate::cmd::Cmd;
use crate::config::keyword::{
    Keyword,
    Type::{Bool, Text, Words},
};
use crate::config::scope::Params;
use crate::error::Result;
use crate::host::{Cx, Host};
use crate::report::Probe;
use std::time::Duration;

/// Its row in the driver table.
pub const DRIVER: Driver = Driver {
    kind: "vg",
    types: &["linux", "lvm"],
    rtype: "disk.vg",
    about: "an LVM volume group",
    keywords: &[
        Keyword::new("vgname", Text, "name of the volume group").required().example("vg1"),
        Keyword::new("vgtype", Text, "another spelling of type"),
        Keyword::new("dsf", Bool, "accepted, unused on Linux"),
        Keyword::new("scsireserv", Bool, "SCSI-3 reservation of its disks").default("false"),
        Keyword::new("no_preempt_abort", Bool, "preempt without abort"),
        Keyword::new("pvs", Words, "physical volumes, when it is provisioned"),
        Keyword::new("options", Text, "vgcreate options, when it is provisioned"),
    ],
    build,
};

struct Vg {
    name: String,
}

fn build(p: &Params) -> std::result::Result<Box<dyn Resource>, Dropped> {
    Ok(Box::new(Vg { name: p.required("vgname")?.into() }))
}

impl Resource for Vg {
    fn label(&self, _host: &Host) -> String {
        self.name.clone()
    }

    fn status(&self, cx: &Cx) -> Probe {
        let group = cx.host.facts.volume_group(cx.host.runner.as_ref(), &self.name);
        Probe::up_if(group.is_some_and(|g| g.volumes == 0 || g.active > 0))
    }

    fn devices(&self, cx: &Cx) -> Vec<String> {
        let cmd = Cmd::probe(["vgs", "--noheadings", "-o", "pv_name", &self.name]).timeout(Duration::from_secs(20));
        cx.probe(&cmd).text().split_whitespace().map(str::to_owned).collect()
    }

    fn start(&self, _cx: &Cx) -> Result<Done> {
        Err(not_yet("the start of a vg"))
    }

    fn stop(&self, cx: &Cx) -> Result<Done> {
        if cx.host.facts.volume_group(cx.host.runner.as_ref(), &self.name).is_none_or(|g| g.active == 0) {
            cx.log.info(format!("{} is already down", self.name));
            return Ok(Done::Already);
        }
        Err(not_yet("the stop of a vg"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::FixedClock;
    use crate::cmd::replay::Replay;
    use crate::config::scope::Scope;
    use crate::log::{Logger, Memory};
    use crate::status::Status;
    use std::sync::Arc;

    const VGS: &str = "vgs --reportformat json -o vg_name";
    const LVS: &str = "lvs --reportformat json -o vg_name,lv_attr";

    fn status(vgs: &str, lvs: &str) -> Status {
        let transcript = Replay::default().always(VGS, 0, vgs).always(LVS, 0, lvs);
        let host = Host { runner: Arc::new(transcript), ..Host::fake("deb1", std::path::Path::new("/nowhere")) };
        let log = Logger::service(Arc::new(Memory::default()), Arc::new(FixedClock::at("2014-06-06 18:00:00")), "svc1");
        let cx = Cx { host: &host, log: &log, service: "svc1", scope: &Scope::default(), rid: "vg#1", force: false };
        Vg { name: "vg1".into() }.status(&cx).status
    }

    #[test]
    fn up_when_a_volume_is_active_or_there_is_none() {
        let vgs = r#"{"report":[{"vg":[{"vg_name":"vg1"}]}]}"#;
        let lvs = |attr: &str| {
            format!(r#"{{"report":[{{"lv":[{{"vg_name":"vg1","lv_attr":"-wi-------"}},{{"vg_name":"vg1","lv_attr":"{attr}"}}]}}]}}"#)
        };
        assert_eq!(status(vgs, &lvs("-wi-a-----")), Status::Up);
        assert_eq!(status(vgs, &lvs("-wi-------")), Status::Down);
        assert_eq!(status(vgs, r#"{"report":[{"lv":[]}]}"#), Status::Up);
        assert_eq!(status(r#"{"report":[{"vg":[]}]}"#, ""), Status::Down);
        assert_eq!(status("no json", ""), Status::Down);
    }
}
