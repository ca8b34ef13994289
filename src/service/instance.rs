//! Whether the service runs on this node: what of it is up that only a running service has up.

use super::{Service, status};
use crate::host::Host;
use crate::log::Logger;
use crate::report::ServiceReport;
use crate::resource::Resource;
use crate::status::Status;

/// The instance of a service on this node, for those who must not believe it down while something writes.
pub struct Instance {
    /// Without syncs.
    pub report: ServiceReport,
    /// Apps that a status leaves alone here, and how they stand.
    apps: Vec<(String, Status)>,
}

impl Instance {
    /// Looks at every resource but the syncs.
    pub fn look(service: &Service, host: &Host, log: &Logger) -> Self {
        let report = status::evaluate(service, host, log, status::Depth::NoSync);
        let groups = ["container", "ip", "disk", "fs", "share"].into_iter().filter_map(|g| report.groups.get(g));
        let without_app = groups.fold(Status::Na, |all, s| all.merge(*s)).fold();
        // nothing else tells whether the service runs here
        let ask = matches!(without_app, Status::Na | Status::StdbyUp);
        let apps = service.resources.iter().filter(|r| ask && !r.disable && r.run().is_some_and(Resource::only_when_up));
        let apps = apps.filter_map(|res| {
            Some((res.rid.clone(), res.run()?.status(&service.cx(host, &log.child(&res.log_name()), res, false)).status))
        });
        let apps = apps.collect();
        Self { report, apps }
    }

    /// How all stands that shows whether the service runs here. Not standby resources, and not disks: a volume
    /// group that the system activates runs nothing, and what is mounted from it shows as its filesystem. While
    /// `receiving`, filesystems do not show it either.
    pub fn telling(&self, receiving: bool) -> impl Iterator<Item = (&str, Status)> {
        let rows = self.report.resources.iter().filter(|r| !r.standby && !r.disable);
        let rows = rows
            .filter(|r| !matches!(r.rtype.split('.').next(), Some("sync" | "hb" | "disk")))
            .filter(move |r| !(receiving && r.rtype == "fs"))
            .map(|r| (r.rid.as_str(), r.status));
        let asked = self.apps.iter().map(|(rid, status)| (rid.as_str(), *status));
        rows.filter(|(rid, _)| !self.apps.iter().any(|(app, _)| app == rid)).chain(asked)
    }

    /// What is up here.
    pub fn up(&self, receiving: bool) -> Vec<&str> {
        self.telling(receiving).filter(|(_, status)| status.is_up()).map(|(rid, _)| rid).collect()
    }
}
