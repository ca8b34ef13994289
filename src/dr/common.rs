//! Why this node would refuse a transfer: asked by the gate before it, and again by the receiver under its lock.

use crate::action::written;
use crate::host::Host;
use crate::log::Logger;
use crate::report::ServiceReport;
use crate::service::{Service, instance};
use crate::state::authority;

/// The instance of a service on this node, looked at for a sender.
pub struct Instance<'a> {
    host: &'a Host,
    service: &'a Service,
    seen: instance::Instance,
    /// Filesystems are up here only to receive: they do not tell that the service runs.
    receiving: bool,
}

impl<'a> Instance<'a> {
    /// Looks at every resource but the syncs.
    pub fn look(host: &'a Host, log: &Logger, service: &'a Service) -> Self {
        let seen = instance::Instance::look(service, host, log);
        let receiving = authority::read(&host.paths.var, &service.name).known().is_some_and(|r| r.receiving);
        Self { host, service, seen, receiving }
    }

    /// How it stands, without syncs.
    pub fn report(&self) -> &ServiceReport {
        &self.seen.report
    }

    /// What is up here.
    pub fn up(&self) -> Vec<&str> {
        self.seen.up(self.receiving)
    }

    /// The service runs here, or may, and what arrives for `rid` would be written below it.
    pub fn in_the_way(&self, sender: Option<&str>, rid: &str) -> Option<String> {
        let up = self.up();
        let beside = self.service.is_flex() && sender.is_none_or(|s| self.same_site(s));
        let busy: Vec<String> = self
            .seen
            .telling(self.receiving)
            .filter(|(_, s)| !s.is_idle())
            .map(|(rid, s)| if s.is_up() { rid.to_owned() } else { format!("{rid} {}", s.name()) })
            .collect();
        if busy.is_empty() || beside || is_internal(rid) {
            return None;
        }
        let (name, node) = (&self.service.name, &self.host.node);
        Some(format!(
            "{name} is {} on {node} ({}): refuse to overwrite its data with those of {}. stop it there first: svcmgr -s {name} stop",
            if up.is_empty() { "not down" } else { "up" },
            busy.join(", "),
            sender.unwrap_or("another node")
        ))
    }

    /// `dst` lies on a filesystem of the service that is not mounted here: what arrives would fill the parent
    /// filesystem, and vanish below the mount at the next start.
    pub fn below_unmounted(&self, dst: &str) -> Option<String> {
        let (res, mnt) = written::unmounted(self.service, self.host, dst)?;
        let (name, node, rid) = (&self.service.name, &self.host.node, &res.rid);
        let remedy = if res.standby { String::new() } else { format!("set always_on = drpnodes in [{rid}], then ") };
        Some(format!(
            "{dst} is on {mnt} ({rid}), which is not mounted on {node}: refuse to write below it. {remedy}on {node}: svcmgr -s {name} startstandby"
        ))
    }

    fn same_site(&self, sender: &str) -> bool {
        let scope = &self.service.config.scope;
        [&scope.nodes, &scope.drpnodes].iter().any(|site| site.contains(&scope.node) && site.iter().any(|n| n == sender))
    }

    /// `dstfs` has to be mounted here, and is not.
    pub fn not_mounted(&self, dstfs: Option<&str>, dst: &str) -> Option<String> {
        not_mounted(self.host, dstfs, dst)
    }
}

/// The same without a service: its words are those of 2014.
pub fn not_mounted(host: &Host, dstfs: Option<&str>, dst: &str) -> Option<String> {
    let dstfs = dstfs?;
    if host.facts.mount_at(&host.facts.real_path(dstfs)).is_some() {
        return None;
    }
    Some(format!("The destination fs {dstfs} is not mounted on node {}. refuse to sync {dst} to protect parent fs", host.node))
}

/// The syncs that carry files of the service and the system, not its data.
pub fn is_internal(rid: &str) -> bool {
    rid.starts_with("sync#i")
}
