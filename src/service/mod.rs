//! A service on this node: its env file, assembled with the drivers.

mod authority;
#[cfg(test)]
mod authority_tests;
pub mod build;
pub mod drivers;
pub mod instance;
pub mod side;
pub mod status;
pub mod validate;

use crate::config::scope::ServiceConfig;
use crate::config::value;
use crate::host::{Cx, Host};
use crate::log::Logger;
use crate::resource::Resource;
use crate::sync::SyncDriver;
use std::collections::BTreeMap;
use std::time::Duration;

/// The environments a service may be of.
pub const SERVICE_TYPES: [&str; 10] = ["PRD", "PPRD", "REC", "INT", "DEV", "TST", "TMP", "DRP", "FOR", "PRA"];

/// What `boot_wait` and `boot_alone` are when the file says nothing.
const BOOT_WAIT: Duration = Duration::from_secs(120);
const BOOT_ALONE: Duration = Duration::from_secs(900);

/// How many nodes may run it at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClusterType {
    /// One.
    Failover,
    /// Several.
    Flex,
    /// Several, by load; as flex here.
    AutoFlex,
}

/// A service, ready to be looked at and acted upon.
pub struct Service {
    /// Name.
    pub name: String,
    /// The file as this node sees it.
    pub config: ServiceConfig,
    /// One of [`SERVICE_TYPES`].
    pub service_type: String,
    /// hosted, sg, rhcs, vcs.
    pub mode: String,
    /// Failover or flex.
    pub cluster_type: ClusterType,
    /// Nodes that start it at boot; case kept.
    pub autostart_node: Vec<String>,
    /// Services that must be down here when this one starts.
    pub anti_affinity: Vec<String>,
    /// Resources in build order.
    pub resources: Vec<Res>,
    /// Error lines of dropped sections, said on each command.
    pub faults: Vec<String>,
    /// Warning lines, said on each command.
    pub warnings: Vec<String>,
    /// Sets that run their members concurrently: `fs:a`.
    pub parallel_sets: Vec<String>,
}

/// A section with its driver.
pub struct Res {
    /// Section name.
    pub rid: String,
    /// Full type: `fs`, `disk.vg`.
    pub rtype: String,
    /// Subset.
    pub subset: Option<String>,
    /// Words for `--tags`.
    pub tags: Vec<String>,
    /// n/a, not acted upon.
    pub disable: bool,
    /// Failures are forgiven.
    pub optional: bool,
    /// Watched by `resource monitor`.
    pub monitor: bool,
    /// Always on here.
    pub standby: bool,
    /// Restarts before the monitor action.
    pub restart: u32,
    /// Commands around actions: `pre_start`, `blocking_post_stop`…
    pub triggers: BTreeMap<&'static str, Vec<String>>,
    /// The driver.
    pub body: Body,
}

/// What a resource is.
pub enum Body {
    /// Starts and stops.
    Run(Box<dyn Resource>),
    /// Copies.
    Sync(Box<dyn SyncDriver>),
}

impl Res {
    /// The set it is in: `fs` or `fs:a`.
    pub fn set(&self) -> String {
        match &self.subset {
            Some(subset) => format!("{}:{subset}", self.rtype),
            None => self.rtype.clone(),
        }
    }

    /// The name it logs under: `fs#1`, or `fs:a#1` in a subset.
    pub fn log_name(&self) -> String {
        match (&self.subset, crate::rid::split(&self.rid)) {
            (Some(subset), (kind, Some(index))) => format!("{kind}:{subset}#{index}"),
            _ => self.rid.clone(),
        }
    }

    /// Tagged so that no action touches it.
    pub fn no_action(&self) -> bool {
        self.tags.iter().any(|t| t == "noaction")
    }

    /// It starts and stops.
    pub fn run(&self) -> Option<&dyn Resource> {
        match &self.body {
            Body::Run(r) => Some(r.as_ref()),
            Body::Sync(_) => None,
        }
    }

    /// It copies.
    pub fn sync(&self) -> Option<&dyn SyncDriver> {
        match &self.body {
            Body::Sync(s) => Some(s.as_ref()),
            Body::Run(_) => None,
        }
    }

    /// What the row and the plan say it is.
    pub fn label(&self, host: &Host) -> String {
        match &self.body {
            Body::Run(r) => r.label(host),
            Body::Sync(s) => s.label(),
        }
    }

    /// The group it counts in: `disk` for `disk.vg`; `None` for types that are never counted.
    pub fn group(&self) -> Option<&'static str> {
        const COUNTED_DISKS: [&str; 7] = ["disk.drbd", "disk.loop", "disk.gandi", "disk.scsireserv", "disk.vg", "disk.lv", "disk.zpool"];
        match self.rtype.split('.').next().unwrap_or("") {
            "disk" => COUNTED_DISKS.contains(&self.rtype.as_str()).then_some("disk"),
            first => crate::report::GROUPS.into_iter().find(|g| *g == first),
        }
    }
}

impl Service {
    /// What a driver is given.
    pub fn cx<'a>(&'a self, host: &'a Host, log: &'a Logger, res: &'a Res, force: bool) -> Cx<'a> {
        Cx { host, log, service: &self.name, scope: &self.config.scope, rid: &res.rid, force }
    }

    /// Started at boot on this node; also what "primary" means to `all*services`.
    pub fn is_autostart(&self) -> bool {
        self.autostart_node.contains(&self.config.scope.node)
    }

    /// flex or autoflex.
    pub fn is_flex(&self) -> bool {
        self.cluster_type != ClusterType::Failover
    }

    /// Driven by a cluster manager: it has an hb resource.
    pub fn hbs(&self) -> impl Iterator<Item = &Res> {
        self.resources.iter().filter(|r| r.group() == Some("hb"))
    }

    /// `boot_wait`: how long a boot waits for an answer of a node with another copy of the data. A value that nobody
    /// understands is as none: `validate` says so.
    pub fn boot_wait(&self) -> Duration {
        self.duration("boot_wait").unwrap_or(BOOT_WAIT)
    }

    /// `boot_alone`: how long this node may have been down and still start at boot though nobody answers; `None`: for
    /// any time.
    pub fn boot_alone(&self) -> Option<Duration> {
        match self.config.plain("DEFAULT", "boot_alone").unwrap_or_default() {
            "always" => None,
            "never" => Some(Duration::ZERO),
            _ => Some(self.duration("boot_alone").unwrap_or(BOOT_ALONE)),
        }
    }

    fn duration(&self, key: &str) -> Option<Duration> {
        value::duration(self.config.plain("DEFAULT", key)?).ok()
    }

    /// The resource with this rid.
    pub fn find(&self, rid: &str) -> Option<&Res> {
        self.resources.iter().find(|r| r.rid == rid)
    }

    /// Variables for launchers and triggers: the addresses of the service.
    pub fn environment(&self, host: &Host) -> Vec<(String, String)> {
        let ips = self.resources.iter().filter_map(|r| r.run().map(|run| run.environment(host, &r.rid)));
        ips.flatten().chain([("OPENSVC_SVCNAME".to_owned(), self.name.clone())]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::env::EnvFile;
    use crate::host::Host;

    #[test]
    fn how_long_a_boot_waits_and_may_be_alone() {
        let host = Host::fake("n1", std::path::Path::new("/no/such/root"));
        let of = |more: &str| {
            let text = format!("[DEFAULT]\nservice_type = TST\nnodes = n1 n2\n{more}\n");
            let env = EnvFile::parse(std::path::Path::new("svc1.env"), text).unwrap();
            let service = build::build(&host, "svc1", std::sync::Arc::new(env)).unwrap();
            (service.boot_wait().as_secs(), service.boot_alone().map(|d| d.as_secs()))
        };
        assert_eq!(of(""), (120, Some(900)));
        assert_eq!(of("boot_wait = 1h\nboot_alone = 3d"), (3600, Some(259_200)));
        assert_eq!(of("boot_wait = 5\nboot_alone = always"), (5, None));
        assert_eq!(of("boot_wait = soon\nboot_alone = never"), (120, Some(0)));
    }
}
