//! pool: a zfs pool, imported where the service runs and exported where it does not.

use super::{Done, Driver, Dropped, Resource};
use crate::cmd::{Cmd, Stage};
use crate::config::keyword::{
    Keyword,
    Type::{Text, Words},
};
use crate::config::scope::Params;
use crate::error::{Error, Result};
use crate::host::{Cx, Host, zfs};
use crate::report::Probe;
use crate::status::Status;
use std::time::Duration;

/// Its row in the driver table.
pub const DRIVER: Driver = Driver {
    kind: "pool",
    types: &[],
    rtype: "disk.zpool",
    about: "a zfs pool",
    keywords: &[
        Keyword::new("poolname", Text, "name of the pool").required().example("pool1"),
        Keyword::new("devices", Words, "folders in which its disks are looked for; default: what zpool import looks into"),
        Keyword::new("zone", Text, "accepted, unused on Linux"),
    ],
    build,
};

/// How long zpool may take to say how a pool is.
const LOOK: Duration = Duration::from_secs(20);
/// How long an import may take that looks at all disks, and an export that writes all that is not on them yet.
const CHANGE: Duration = Duration::from_secs(600);

struct Pool {
    name: String,
    folders: Vec<String>,
}

fn build(p: &Params) -> std::result::Result<Box<dyn Resource>, Dropped> {
    Ok(Box::new(Pool { name: p.required("poolname")?.into(), folders: p.words("devices") }))
}

impl Pool {
    /// ONLINE, DEGRADED…; `None`: not imported.
    fn health(&self, cx: &Cx) -> Result<Option<String>, String> {
        let out = cx.probe(&Cmd::probe(["zpool", "list", "-H", "-o", "health", &self.name]).timeout(LOOK));
        match out.failure() {
            None => Ok(Some(out.text().trim().to_owned())),
            Some(stage) if stage.stderr.contains("no such pool") => Ok(None),
            Some(stage) => Err(stage.why()),
        }
    }

    /// What is to be done after an import that failed, as zpool words it.
    fn not_imported(&self, cx: &Cx, said: &str) -> Error {
        let (name, node, service) = (&self.name, &cx.host.node, cx.service);
        if said.contains("in use from other system") || said.contains("last accessed by") {
            // zpool sees that nobody has exported it, and two nodes that write to one pool destroy it
            let last = said.split("last accessed by ").nth(1).and_then(|rest| rest.split([' ', '\n']).next());
            let (who, at) = (last.unwrap_or("the node that had it"), last.unwrap_or("each other node"));
            return Error::text(format!(
                "{name} was not exported by {who}: it may be imported there. see that it is not, on {at}: zpool list {name}; then, on {node}: svcmgr -s {service} start --force"
            ));
        }
        if said.contains("no such pool") || said.contains("no pools available") {
            let folders: String = self.folders.iter().map(|f| format!(" -d {f}")).collect();
            return Error::text(format!("no disk of the pool {name} is found on {node}. what is found: zpool import{folders}"));
        }
        Error::Reported
    }
}

impl Resource for Pool {
    fn label(&self, _host: &Host) -> String {
        format!("pool {}", self.name)
    }

    fn status(&self, cx: &Cx) -> Probe {
        if !zfs::is_installed() {
            return Probe::because(Status::Na, zfs::NOT_INSTALLED);
        }
        match self.health(cx) {
            Ok(Some(health)) if health == "ONLINE" => Probe::new(Status::Up),
            Ok(Some(health)) => Probe::because(Status::Warn, format!("the pool is {health}: zpool status {}", self.name)),
            Ok(None) => Probe::new(Status::Down),
            Err(why) => Probe::because(Status::Warn, why),
        }
    }

    fn start(&self, cx: &Cx) -> Result<Done> {
        if !zfs::is_installed() {
            return Err(Error::text(zfs::NOT_INSTALLED));
        }
        if self.health(cx).map_err(Error::Text)?.is_some() {
            cx.log.info(format!("{} is already up", self.name));
            return Ok(Done::Already);
        }
        // on no list of pools that a boot imports: only svcmgr does
        let mut argv = vec!["zpool", "import", "-o", "cachefile=none"];
        self.folders.iter().for_each(|folder| argv.extend(["-d", folder]));
        argv.extend(cx.force.then_some("-f"));
        argv.push(&self.name);
        let cmd = Cmd::change(argv).timeout(CHANGE);
        let out = cx.run(&cmd);
        if out.ok() {
            return Ok(Done::Changed);
        }
        Err(self.not_imported(cx, &out.stages.iter().map(|s: &Stage| s.stderr.as_str()).collect::<String>()))
    }

    fn stop(&self, cx: &Cx) -> Result<Done> {
        if !zfs::is_installed() || self.health(cx).map_err(Error::Text)?.is_none() {
            cx.log.info(format!("{} is already down", self.name));
            return Ok(Done::Already);
        }
        zfs::change(cx, &["zpool", "export", &self.name]).map_err(|e| {
            let service = cx.service;
            Error::text(format!(
                "{e}. something uses it: zfs mount shows where it is mounted, fuser -vm MOUNTPOINT who is there; then: svcmgr -s {service} stop"
            ))
        })?;
        Ok(Done::Changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::FixedClock;
    use crate::cmd::replay::Replay;
    use crate::config::scope::Scope;
    use crate::log::{Logger, Memory};
    use std::sync::Arc;

    #[test]
    fn a_pool_that_another_node_may_have_is_not_imported() {
        let list = "zpool list -H -o health p1";
        let import = "zpool import -o cachefile=none p1";
        let transcript = Replay::default()
            .then_with(list, 1, "", "cannot open 'p1': no such pool")
            .then_with(import, 1, "", "cannot import 'p1': pool may be in use from other system\nuse '-f' to import anyway")
            .then(list, 0, "DEGRADED\n");
        let host = Host { runner: Arc::new(transcript), ..Host::fake("n1", std::path::Path::new("/nowhere")) };
        let log = Logger::service(Arc::new(Memory::default()), Arc::new(FixedClock::at("2014-06-06 18:00:00")), "svc1");
        let cx = Cx { host: &host, log: &log, service: "svc1", scope: &Scope::default(), rid: "pool#1", force: false };
        let pool = Pool { name: "p1".into(), folders: Vec::new() };
        if !zfs::is_installed() {
            return; // says so, and runs nothing
        }
        let why = pool.start(&cx).unwrap_err().to_string();
        assert!(why.contains("svcmgr -s svc1 start --force"), "{why}");
        assert_eq!(pool.status(&cx).status, Status::Warn);
    }
}
