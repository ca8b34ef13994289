//! vg: an LVM volume group, tagged with the name of the node that has it active.

use super::{Done, Driver, Dropped, Resource};
use crate::cmd::Cmd;
use crate::config::keyword::{
    Keyword,
    Type::{Bool, Text, Words},
};
use crate::config::scope::Params;
use crate::error::{Error, Result};
use crate::host::lvm::{LogicalVolume, VolumeGroup};
use crate::host::{Cx, Host, busy};
use crate::log::Level;
use crate::report::Probe;
use crate::status::Status;
use std::time::Duration;

mod tag;

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

/// How often a deactivation is tried: udev, or a process that is ending, may have a volume open for a moment.
const ATTEMPTS: u32 = 4;
const PAUSE: Duration = if cfg!(test) { Duration::ZERO } else { Duration::from_secs(1) };

/// Disks that spin up, and a hundred volumes.
const PATIENCE: Duration = Duration::from_secs(600);

struct Vg {
    name: String,
}

fn build(p: &Params) -> std::result::Result<Box<dyn Resource>, Dropped> {
    let name = p.required("vgname")?;
    // lvm(8); a name that begins with - would be an option
    let valid = !name.starts_with('-') && name.chars().all(|c| c.is_ascii_alphanumeric() || "+_.-".contains(c));
    if !valid {
        return Err(format!("vgname = {name} in section {} is no name of a volume group: letters, digits and + _ . -", p.section).into());
    }
    Ok(Box::new(Vg { name: name.into() }))
}

impl Vg {
    /// As LVM sees it now; an error when LVM does not say.
    fn look(&self, cx: &Cx) -> Result<Option<VolumeGroup>> {
        cx.host.facts.lvm(cx.host.runner.as_ref()).group(&self.name).map(Option::<&VolumeGroup>::cloned).map_err(Error::Text)
    }

    fn change<const N: usize>(&self, words: [&str; N]) -> Cmd {
        Cmd::change(["vgchange"].into_iter().chain(words).chain([self.name.as_str()])).timeout(PATIENCE)
    }

    /// The volume group, if this node may have it.
    fn ours(&self, cx: &Cx) -> Result<(VolumeGroup, Vec<tag::Claim>)> {
        let (vg, here) = (&self.name, &cx.host.node);
        let group = self.look(cx)?.ok_or_else(|| {
            Error::text(format!("there is no volume group {vg} on {here}, or its disks are not seen. see what there is: vgs; pvs; lsblk"))
        })?;
        let claims = tag::claims(cx, vg, &group).map_err(|refusal| Error::text(refusal.to_string()))?;
        if group.missing > 0 && !group.is_up() {
            let disks = if group.missing == 1 { "a disk of it is".to_owned() } else { format!("{} disks of it are", group.missing) };
            return Err(Error::text(format!(
                "{vg} is not activated on {here}: {disks} not seen. connect what is missing (pvs shows it), or, if it is lost for good: vgreduce --removemissing {vg}"
            )));
        }
        Ok((group, claims))
    }

    /// This node's tag instead of another's. An active group has it as well, as systems activate what they find.
    fn tag(&self, cx: &Cx, group: &VolumeGroup, claims: &[tag::Claim]) -> Result<()> {
        for claim in claims {
            cx.log.log(claim.level, claim.said.clone());
            cx.must(&self.change(["--deltag", &format!("@{}", claim.tag)]))?;
        }
        let add = self.change(["--addtag", &format!("@{}", cx.host.node)]);
        match (tag::is_ours(cx, group), group.is_up()) {
            (true, _) => Ok(()),
            (false, false) => cx.must(&add).map(drop),
            (false, true) => {
                if let Some(failed) = cx.run_quiet(&add).failure() {
                    cx.log.warning(format!("{} could not be tagged: {}", self.name, failed.why()));
                }
                Ok(())
            }
        }
    }

    /// Two nodes that tag at the same time see each other's tag afterwards: then neither activates.
    fn nobody_came(&self, cx: &Cx) -> Result<()> {
        let group = self.look(cx)?.unwrap_or_default();
        let foreign = tag::foreign(cx, &group).join(", ");
        if foreign.is_empty() {
            return Ok(());
        }
        let (vg, here, service) = (&self.name, &cx.host.node, cx.service);
        Err(Error::text(format!(
            "{vg} is not activated on {here}: {foreign} has tagged it at this moment. see who runs it: svcmgr -s {service} where"
        )))
    }

    /// All volumes but those that are to be left out.
    fn activate(&self, cx: &Cx) -> Result<()> {
        let out = cx.run(&self.change(["-a", "y"]));
        let group = self.look(cx)?.unwrap_or_default();
        if out.ok() && !group.is_up() {
            return Err(Error::text(format!(
                "vgchange succeeded, yet no volume of {0} is active. see volume_list in /etc/lvm/lvm.conf, and: lvs {0}",
                self.name
            )));
        }
        if !group.left().is_empty() {
            cx.log.warning(not_active(&group));
        }
        if out.ok() { Ok(()) } else { Err(Error::Reported) }
    }

    /// kpartx removes partitions that were mapped inside of volumes: they keep these in use.
    fn unmap_partitions(&self, cx: &Cx, group: &VolumeGroup) {
        if which::which("kpartx").is_err() {
            return;
        }
        for volume in group.volumes.iter().filter(|v| v.is_active()) {
            cx.run_at(&Cmd::change(["kpartx", "-d", &format!("/dev/{}/{}", self.name, volume.name)]), Level::Info, Level::Info);
        }
    }

    /// Until nothing of it is active, for some seconds.
    fn deactivate(&self, cx: &Cx) -> Result<()> {
        for attempt in 1..=ATTEMPTS {
            let out = cx.run_at(&self.change(["-a", "n"]), Level::Info, Level::Info);
            let group = self.look(cx)?.unwrap_or_default();
            if !group.is_active() {
                return Ok(());
            }
            if attempt < ATTEMPTS {
                std::thread::sleep(PAUSE);
                continue;
            }
            let why = out.failure().map_or_else(|| "vgchange says that it is done".into(), crate::cmd::Stage::why);
            return Err(Error::text(self.still(cx, &group, &why)));
        }
        Ok(())
    }

    /// What is left active, and what it is used for. LVM leaves all volumes active for one that is in use.
    fn still(&self, cx: &Cx, group: &VolumeGroup, why: &str) -> String {
        let active = group.volumes.iter().filter(|v| v.is_active());
        let users = |volume: &LogicalVolume| volume.device.map(|device| busy::of(&cx.host.facts, device)).unwrap_or_default();
        let (held, free): (Vec<_>, Vec<_>) = active.map(|v| (&v.name, users(v))).partition(|(_, users)| !users.is_empty());
        let mut left: Vec<String> = held.iter().map(|(name, users)| format!("{name} ({})", users.join(", "))).collect();
        if left.is_empty() {
            left.extend(free.iter().map(|(name, _)| (*name).clone()));
        }
        let why: Vec<&str> = why.split_whitespace().collect();
        format!(
            "failed to stop {}: still in use: {}. {}. end what uses it, then stop again: svcmgr -s {} stop",
            self.name,
            left.join(", "),
            why.join(" "),
            cx.service
        )
    }
}

fn not_active(group: &VolumeGroup) -> String {
    format!("not active: {}", group.left().join(", "))
}

impl Resource for Vg {
    fn label(&self, _host: &Host) -> String {
        self.name.clone()
    }

    fn status(&self, cx: &Cx) -> Probe {
        let group = match self.look(cx) {
            Ok(Some(group)) => group,
            Ok(None) => return Probe::new(Status::Down),
            Err(why) => return Probe::because(Status::Warn, why.to_string()),
        };
        let mut probe = Probe::up_if(group.is_up());
        if group.is_active() {
            if !group.left().is_empty() {
                probe.messages.push(not_active(&group));
            }
            let foreign = tag::foreign(cx, &group);
            if !foreign.is_empty() {
                probe.status = Status::Warn;
                probe.messages.push(format!("active here, and has the tag of {}", foreign.join(", ")));
            }
        }
        if group.missing > 0 {
            probe.messages.push(format!("disks not seen: {}", group.missing));
        }
        probe
    }

    fn conflict(&self, cx: &Cx) -> Result<()> {
        // one that is not there is an error of the start itself, which may make it appear (a loop below it)
        let Some(group) = self.look(cx)? else { return Ok(()) };
        tag::claims(cx, &self.name, &group).map(drop).map_err(|refusal| {
            cx.log.error(refusal.to_string());
            Error::Reported
        })
    }

    fn start(&self, cx: &Cx) -> Result<Done> {
        let (group, claims) = self.ours(cx)?;
        self.tag(cx, &group, &claims)?;
        if group.is_up() && group.left().is_empty() {
            cx.log.info(format!("{} is already up", self.name));
            return Ok(Done::Already);
        }
        if group.is_up() {
            // some of it was active before: that is not this start's to undo, and it may be all that is needed
            _ = self.activate(cx);
            return Ok(Done::Already);
        }
        let done = self.nobody_came(cx).and_then(|()| self.activate(cx));
        done.map(|()| Done::Changed).inspect_err(|_| {
            cx.run_quiet(&self.change(["-a", "n"]));
            cx.run_quiet(&self.change(["--deltag", &format!("@{}", cx.host.node)]));
        })
    }

    fn stop(&self, cx: &Cx) -> Result<Done> {
        let group = self.look(cx)?.unwrap_or_default();
        let tagged = tag::is_ours(cx, &group);
        if !group.is_active() && !tagged {
            cx.log.info(format!("{} is already down", self.name));
            return Ok(Done::Already);
        }
        let word = format!("@{}", cx.host.node);
        if tagged && !cx.run_at(&self.change(["--deltag", &word]), Level::Info, Level::Warning).ok() {
            cx.log.warning(format!("{} keeps the tag of this node. it goes with: vgchange --deltag {word} {0}", self.name));
        }
        if !group.is_active() {
            return Ok(Done::Changed);
        }
        self.unmap_partitions(cx, &group);
        self.deactivate(cx).inspect_err(|_| {
            if tagged {
                cx.run_quiet(&self.change(["--addtag", &word])); // nobody takes over what is in use here
            }
        })?;
        Ok(Done::Changed)
    }

    fn devices(&self, cx: &Cx) -> Vec<String> {
        let cmd = Cmd::probe(["vgs", "--noheadings", "-o", "pv_name", &self.name]).timeout(Duration::from_secs(20));
        // a disk that is not seen is called [unknown]
        cx.probe(&cmd).text().split_whitespace().filter(|name| name.starts_with('/')).map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests;
