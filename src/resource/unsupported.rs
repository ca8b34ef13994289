//! Types the 2014 agent had and this version has not: their rows stay, n/a, and their starts refuse.

use super::{Done, Dropped, Resource, not_yet};
use crate::config::scope::Params;
use crate::error::Result;
use crate::host::{Cx, Host};
use crate::report::Probe;
use crate::status::Status;

/// A type known by name only.
pub struct Known {
    /// Kind of section.
    pub kind: &'static str,
    /// `type`, lower case; empty: the kind alone decides.
    pub name: &'static str,
    /// Full type of the row.
    pub rtype: &'static str,
    /// Keys that must be there for 2014 to have made a resource of it.
    pub mandatory: &'static [&'static str],
    /// What the row shows: `{key}` of the label, or the rid.
    pub label: &'static str,
}

const fn known(
    kind: &'static str,
    name: &'static str,
    rtype: &'static str,
    mandatory: &'static [&'static str],
    label: &'static str,
) -> Known {
    Known { kind, name, rtype, mandatory, label }
}

/// All of them.
pub const KNOWN: &[Known] = &[
    known("container", "ldom", "container.ldom", &[], "name"),
    known("container", "hpvm", "container.hpvm", &[], "name"),
    known("container", "kvm", "container.kvm", &["name"], "name"),
    known("container", "xen", "container.xen", &[], "name"),
    known("container", "vbox", "container.vbox", &[], "name"),
    known("container", "ovm", "container.ovm", &["name"], "name"),
    known("container", "esx", "container.esx", &[], "name"),
    known("container", "vcloud", "container.vcloud", &[], "name"),
    known("container", "openstack", "container.openstack", &[], "name"),
    known("container", "zone", "container.zone", &[], "name"),
    known("container", "lxc", "container.lxc", &[], "name"),
    known("container", "jail", "container.jail", &["name"], "name"),
    known("container", "vz", "container.vz", &[], "name"),
    known("container", "srp", "container.srp", &[], "name"),
    known("hb", "rhcs", "hb.rhcs", &[], "name"),
    known("hb", "sg", "hb.sg", &[], "name"),
    known("hb", "vcs", "hb.vcs", &[], "name"),
    known("hb", "ovm", "hb.ovm", &[], "name"),
    known("stonith", "ilo", "stonith.ilo", &["type"], "name"),
    known("stonith", "callout", "stonith.callout", &["type"], "cmd"),
    known("drbd", "", "disk.drbd", &["res"], "res"),
    known("vdisk", "", "disk.vdisk", &["path@node"], "path"),
    known("vg", "veritas", "disk.vg", &["vgname"], "vgname"),
    known("vg", "raw", "disk.vg", &[], "vgname"),
    known("vg", "gandi", "disk.gandi", &[], "name"),
    known("vmdg", "", "disk.vg", &[], "container_rid"),
    known("share", "nfs", "share.nfs", &["type", "path", "opts"], "path"),
    known("share", "", "share.nfs", &["type", "path", "opts"], "path"),
];

struct Unsupported {
    what: String,
    label: String,
    /// hb and stonith: nothing of theirs is started or stopped with the service.
    passive: bool,
}

/// Makes the row, or says what 2014 would have missed.
pub fn build(p: &Params, known: &Known) -> std::result::Result<Box<dyn Resource>, Dropped> {
    if matches!(known.kind, "hb" | "stonith") && p.config.scope.is_drp() {
        return Err(Dropped::Silent);
    }
    for key in known.mandatory {
        let there = match key.strip_suffix("@node") {
            Some(bare) => p.config.scope.everyone().any(|n| p.config.plain(p.section, &format!("{bare}@{n}")).is_some()),
            None => p.text(key).is_some(),
        };
        if !there {
            return Err(Dropped::Error(format!("{key} must be set in section {}", p.section)));
        }
    }
    let what = if known.name.is_empty() { known.kind.to_owned() } else { format!("{} {}", known.kind, known.name) };
    let passive = matches!(known.kind, "hb" | "stonith");
    Ok(Box::new(Unsupported { what, label: p.text(known.label).unwrap_or(p.section).to_owned(), passive }))
}

impl Resource for Unsupported {
    fn label(&self, _host: &Host) -> String {
        self.label.clone()
    }

    fn status(&self, _cx: &Cx) -> Probe {
        Probe::because(Status::Na, format!("{} is not supported by this version", self.what))
    }

    fn start(&self, _cx: &Cx) -> Result<Done> {
        if self.passive { Ok(Done::Already) } else { Err(not_yet(&self.what)) }
    }

    fn stop(&self, _cx: &Cx) -> Result<Done> {
        if self.passive { Ok(Done::Already) } else { Err(not_yet(&self.what)) }
    }

    fn has_standby(&self) -> bool {
        false
    }
}
