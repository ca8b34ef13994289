//! The syncs nobody writes down: `sync#i0` carries the service's own files, `#i1` and `#i2` files of the system.

use super::sources::Guard;
use super::{Kind, Rsync, wrap};
use crate::cmd::quote;
use crate::config::scope::ServiceConfig;
use crate::host::paths::Paths;
use crate::sync::schedule::Schedule;
use crate::sync::{Class, SyncDriver};
use std::path::Path;
use std::sync::{Mutex, OnceLock};

/// Files of the system that a recovery node may need to look up: kept aside there, in `var/cache/NODE`.
const SYSTEM: [&str; 46] = [
    "/etc/xinetd.d",
    "/etc/xinetd.conf",
    "/etc/sysconfig",
    "/etc/cups",
    "/etc/auto.master",
    "/etc/auto.misc",
    "/etc/listener.ora",
    "/etc/oratab",
    "/etc/sqlnet.ora",
    "/etc/tnsnames.ora",
    "/etc/yp.conf",
    "/etc/pam.d",
    "/etc/cron.allow",
    "/etc/cron.deny",
    "/etc/shadow",
    "/etc/passwd",
    "/etc/group",
    "/etc/syslog.conf",
    "/etc/services",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/sudoers",
    "/etc/project",
    "/etc/user_attr",
    "/etc/ssh",
    "/etc/centrifydc",
    "/etc/inet",
    "/etc/inetd.conf",
    "/etc/defaultdomain",
    "/etc/lp",
    "/etc/printers.conf",
    "/etc/system",
    "/etc/auto_master",
    "/etc/auto_home",
    "/etc/hosts.equiv",
    "/etc/pam.conf",
    "/etc/cron.d",
    "/var/centrifydc",
    "/var/opt/oracle",
    "/var/spool/cron",
    "/var/spool/cron/crontabs",
    "/var/yp/binding",
    "/usr/local/oraenv",
    "/usr/local/coraenv",
    "/usr/local/dbhome",
    "/usr/local/etc/sudoers",
];

/// Homes of databases: a list of its own, with what is large and useless there left out.
const HOMES: [&str; 4] = ["/home/oracle", "/home/sybase", "/opt/oracle", "/opt/sybase"];
const HOMES_EXCLUDE: [&str; 7] = ["*.dmp", "*.dmp.gz", "*.log", "*.trc", "*.arc", "*.dbf", "core*"];

/// The internal syncs of a service, as this node sees it. `exported` are files that resources need on the other nodes.
pub fn internal(
    config: &ServiceConfig,
    paths: &Paths,
    node: &str,
    exported: &[String],
    faults: &mut Vec<String>,
) -> Vec<(String, Box<dyn SyncDriver>)> {
    let schedule = Schedule::of(config, "sync");
    let mut all: Vec<(String, Box<dyn SyncDriver>)> = Vec::new();
    let mut add = |rid: String, kind: Kind, src: Vec<String>, dst: String, fixed: Vec<String>, targets: Vec<Class>| {
        let own = config.plain(&rid, "options").map_or(Ok(Vec::new()), quote::split);
        let own = own.and_then(|own| wrap::forbidden(&own).map_or(Ok(own), Err));
        let own = own.unwrap_or_else(|why| {
            faults.push(format!("{}: {rid}.options: {why}", config.env.place(&rid, "options")));
            Vec::new()
        });
        let sync = Rsync {
            kind,
            src,
            dst,
            targets,
            options: fixed.into_iter().chain(own).collect(),
            dstfs: None,
            bwlimit: config.section(&rid).integer("bwlimit").ok().flatten().filter(|n| *n > 0),
            snap: false,
            schedule: schedule.clone(),
            guard: Guard::default(),
            forward: None,
            label: OnceLock::new(),
            frozen: Mutex::default(),
        };
        all.push((rid, Box::new(sync)));
    };
    // no implied folders: the owner of our /etc is not the peer's business
    let relative = || vec!["-R".to_owned(), "--no-implied-dirs".to_owned()];
    if config.scope.everyone().count() > 1 {
        let options = relative().into_iter().chain(["--exclude=*.core".to_owned()]).collect();
        add("sync#i0".into(), Kind::Config, own_files(config, paths, exported), "/".into(), options, vec![Class::Nodes, Class::Drpnodes]);
    }
    if !config.scope.drpnodes.is_empty() {
        let cache = paths.var.join("cache").join(node).display().to_string();
        let excludes = || HOMES_EXCLUDE.iter().map(|e| format!("--exclude={e}"));
        let lists = system_files().into_iter().zip([vec!["-R".to_owned()], std::iter::once("-R".to_owned()).chain(excludes()).collect()]);
        for (n, (files, options)) in lists.filter(|(files, _)| !files.is_empty()).enumerate() {
            add(format!("sync#i{}", n + 1), Kind::System, files, cache.clone(), options, vec![Class::Drpnodes]);
        }
    }
    all
}

/// The service's own files. They are looked for when they are sent.
fn own_files(config: &ServiceConfig, paths: &Paths, exported: &[String]) -> Vec<String> {
    let name = config.env.path().file_stem().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let own = ["", ".env", ".d", ".cluster", ".dir"].map(|end| paths.etc.join(format!("{name}{end}")).display().to_string());
    own.into_iter().chain(exported.iter().cloned()).collect()
}

/// What there is of the two lists on this node; looked at once per run of the program.
fn system_files() -> [Vec<String>; 2] {
    static FOUND: OnceLock<[Vec<String>; 2]> = OnceLock::new();
    let there = |list: &[&str]| list.iter().filter(|f| Path::new(f).exists()).map(|f| (*f).to_owned()).collect();
    FOUND.get_or_init(|| [there(&SYSTEM), there(&HOMES)]).clone()
}
