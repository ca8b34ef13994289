//! From an env file to a service: which sections become which resources, and what is refused.

use super::{Body, ClusterType, Res, SERVICE_TYPES, Service, drivers};
use crate::config::env::EnvFile;
use crate::config::scope::{Params, ServiceConfig};
use crate::config::value;
use crate::host::Host;
use crate::resource::{self, Dropped, unsupported};
use crate::rid::{KINDS, kind_of};
use crate::sync;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Why a service cannot be used at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// One line each, for the log.
    pub lines: Vec<String>,
    /// Said before the service exists: logger INIT.
    pub init: bool,
}

impl Refusal {
    fn of(line: impl Into<String>) -> Self {
        Self { lines: vec![line.into()], init: false }
    }
}

/// Reads `etc/NAME.env` and builds the service.
pub fn load(host: &Host, name: &str) -> Result<Service, Refusal> {
    let env = EnvFile::load(&host.paths.env_file(name)).map_err(|e| Refusal::of(e.to_string()))?;
    build(host, name, Arc::new(env))
}

/// Builds the service of `env` as this node sees it.
pub fn build(host: &Host, name: &str, env: Arc<EnvFile>) -> Result<Service, Refusal> {
    let config = ServiceConfig::new(env, &host.node);
    let default = |key: &str| config.text("DEFAULT", key).unwrap_or_default().to_owned();
    let words = |key: &str| default(key).split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let mode = Some(default("mode")).filter(|m| !m.is_empty()).unwrap_or_else(|| "hosted".into());
    let mut service = Service {
        name: name.into(),
        service_type: config.plain("DEFAULT", "service_type").unwrap_or_default().into(),
        mode,
        cluster_type: ClusterType::Failover,
        autostart_node: words("autostart_node"),
        anti_affinity: words("anti_affinity"),
        resources: Vec::new(),
        faults: Vec::new(),
        warnings: Vec::new(),
        parallel_sets: Vec::new(),
        config,
    };
    check_service(host, &mut service)?;
    add_sections(&mut service)?;
    add_launchers(host, &mut service);
    let internal = sync::rsync::internal(&service.config, &host.paths, &host.node, &service.exported_files(), &mut service.faults);
    for (rid, driver) in internal {
        add(&mut service, &rid, "sync.rsync", Ok(Body::Sync(driver)));
    }
    Ok(service)
}

impl Service {
    fn exported_files(&self) -> Vec<String> {
        self.resources.iter().filter_map(Res::run).flat_map(resource::Resource::files).collect()
    }
}

/// What 2014 refused as a whole, in its order.
fn check_service(host: &Host, service: &mut Service) -> Result<(), Refusal> {
    let name = service.name.clone();
    let config = &service.config;
    let default = |key: &str| config.text("DEFAULT", key).unwrap_or_default();
    if name == "startip" {
        return Err(Refusal::of("startip is not a service name: var/lock/startip is the lock of address changes"));
    }
    if !["hosted", "sg", "rhcs", "vcs"].contains(&service.mode.as_str()) {
        return Err(Refusal { lines: vec![format!("unknown service mode: {}", service.mode)], init: true });
    }
    if service.mode == "hosted" && config.plain("DEFAULT", "pkg_name").is_some() {
        return Err(Refusal::of(format!("pkg_name needs a mode other than hosted (sg, rhcs, vcs) in service {name}")));
    }
    if !config.scope.everyone().any(|n| *n == host.node) {
        return Err(Refusal::of(format!("service {name} not managed here")));
    }
    service.cluster_type = match default("cluster_type") {
        // a flex_primary alone means flex: so the users write it
        "" if !config.scope.flex_primary.is_empty() => ClusterType::Flex,
        "" | "failover" => ClusterType::Failover,
        "flex" => ClusterType::Flex,
        "autoflex" => ClusterType::AutoFlex,
        other => return Err(Refusal::of(format!("unknown cluster type: {other} (failover, flex, autoflex)"))),
    };
    check_flex(config, service.autostart_node.len())?;
    if service.service_type.is_empty() {
        service.warnings.push(format!("service_type is not set in section DEFAULT of service {name}: taken as TST"));
        service.service_type = "TST".into();
    }
    let ty = &service.service_type;
    if !SERVICE_TYPES.contains(&ty.as_str()) {
        return Err(Refusal::of(format!("service {name} type {ty} is not a known service type ({})", SERVICE_TYPES.join(", "))));
    }
    if host.conf.host_mode() == "PRD" && ty != "PRD" {
        return Err(Refusal::of(format!("service {name} type {ty} is not allowed to run on this node (host mode PRD)")));
    }
    if let Some(disable) = config.plain("DEFAULT", "disable")
        && let Err(why) = value::boolean(disable)
    {
        return Err(Refusal::of(format!("{}: DEFAULT.disable: {why}", config.env.place("DEFAULT", "disable"))));
    }
    Ok(())
}

fn check_flex(config: &ServiceConfig, autostart: usize) -> Result<(), Refusal> {
    let number = |key: &str, default: i64| match config.text("DEFAULT", key) {
        None | Some("") => Ok(default),
        Some(text) => {
            value::integer(text).map_err(|why| Refusal::of(format!("{}: DEFAULT.{key}: {why}", config.env.place("DEFAULT", key))))
        }
    };
    let most = i64::try_from(autostart.max(1)).unwrap_or(i64::MAX);
    let min = number("flex_min_nodes", 1)?;
    if min < 0 {
        return Err(Refusal::of(format!("invalid flex_min_nodes '{min}' (<0).")));
    }
    if min > most {
        return Err(Refusal::of(format!("invalid flex_min_nodes '{min}' (>{most} nb of nodes).")));
    }
    let max = number("flex_max_nodes", most)?;
    if max < 0 {
        return Err(Refusal::of(format!("invalid flex_max_nodes '{max}' (<0).")));
    }
    if max < min {
        return Err(Refusal::of(format!("invalid flex_max_nodes '{max}' (<flex_min_nodes).")));
    }
    for (key, default) in [("flex_cpu_low_threshold", 10), ("flex_cpu_high_threshold", 90)] {
        let percent = number(key, default)?;
        if percent < 0 {
            return Err(Refusal::of(format!("invalid {key} '{percent}' (<0).")));
        }
        if percent > 100 {
            return Err(Refusal::of(format!("invalid {key} '{percent}' (>100).")));
        }
    }
    Ok(())
}

/// The order in which 2014 went through the types of a kind: the order of error lines.
fn type_order(kind: &str, ty: &str) -> usize {
    let position = |found: Option<usize>| found.unwrap_or(usize::MAX);
    match kind {
        "container" => position(unsupported::KNOWN.iter().filter(|k| k.kind == kind).position(|k| k.name == ty)),
        "sync" => position(["", "rsync", "dds", "zfs", "btrfs", "docker"].iter().position(|t| *t == ty)),
        _ => 0,
    }
}

fn add_sections(service: &mut Service) -> Result<(), Refusal> {
    let env = service.config.env.clone();
    let mut sections: Vec<(usize, usize, &str, &str)> = Vec::new();
    for section in env.sections() {
        let name = section.name.as_str();
        if let Some(subset) = name.strip_prefix("subset#") {
            if service.config.section(name).boolean("parallel") == Ok(Some(true)) {
                service.parallel_sets.push(subset.to_owned());
            }
        } else if let Some(kind) = kind_of(name).filter(|k| *k != "sync" || !is_internal(name)) {
            let ty = service.config.text(name, "type").unwrap_or_default();
            let place = KINDS.iter().position(|k| *k == kind).unwrap_or_default();
            sections.push((place, type_order(kind, ty), kind, name));
        }
    }
    sections.sort_by_key(|(place, order, ..)| (*place, *order));
    let config = service.config.clone();
    for (_, _, kind, name) in sections {
        let params = config.section(name);
        if params.words("tags").iter().any(|t| t == "encap") {
            continue; // the guest's own
        }
        let (rtype, body) = section_driver(kind, &params);
        add(service, name, rtype, body);
    }
    Ok(())
}

/// `sync#i0`: not a section of its own, it tunes an internal sync.
fn is_internal(section: &str) -> bool {
    section.get(5..).is_some_and(|index| index.starts_with(['i', 'I']))
}

fn section_driver(kind: &str, params: &Params) -> (&'static str, Result<Body, Dropped>) {
    let ty = params.text("type").or_else(|| (kind == "vg").then(|| params.text("vgtype")).flatten()).unwrap_or_default();
    let unknown = |what: String| ("", Err(Dropped::Error(what)));
    if kind == "sync" {
        return match drivers::sync(ty) {
            Some(driver) => (driver.rtype, (driver.build)(params).map(Body::Sync)),
            None if drivers::ARRAY_SYNCS.contains(&ty) => {
                unknown(format!("sync type {ty} in section {} is not supported by this version", params.section))
            }
            None => unknown(format!("unknown sync type {ty} in section {}", params.section)),
        };
    }
    if matches!(kind, "hb" | "stonith") && ty.is_empty() {
        return unknown(format!("type must be set in section {}", params.section));
    }
    if let Some(known) = unsupported::KNOWN.iter().find(|k| k.kind == kind && k.name.eq_ignore_ascii_case(ty)) {
        return (known.rtype, unsupported::build(params, known).map(Body::Run));
    }
    if let Some(driver) = drivers::resource(kind, ty) {
        return (driver.rtype, (driver.build)(params).map(Body::Run));
    }
    match kind {
        "container" if ty.is_empty() => unknown(format!("type must be set in section {}", params.section)),
        "hb" => unknown(format!("resHb{ty} is not implemented")),
        "vg" => unknown(format!("vg type {ty} is not implemented")),
        _ => match unsupported::KNOWN.iter().find(|k| k.kind == kind && k.name.is_empty()) {
            Some(known) => (known.rtype, unsupported::build(params, known).map(Body::Run)),
            None => unknown(format!("unknown {kind} type {ty} in section {}", params.section)),
        },
    }
}

fn add(service: &mut Service, rid: &str, rtype: &str, body: Result<Body, Dropped>) {
    let made = body.and_then(|body| common(service, rid, rtype, body).map_err(Dropped::Error));
    match made {
        Ok(res) => {
            if let Some(schedule) = res.sync().map(sync::SyncDriver::schedule) {
                tell_once(&mut service.faults, &schedule.faults);
                tell_once(&mut service.warnings, &schedule.warnings);
            }
            service.resources.push(res);
        }
        Err(Dropped::Error(line)) => service.faults.push(line),
        Err(Dropped::Silent) => {}
    }
}

/// Adds lines that are not there yet: several syncs inherit one value of DEFAULT.
fn tell_once(lines: &mut Vec<String>, more: &[String]) {
    for line in more {
        if !lines.contains(line) {
            lines.push(line.clone());
        }
    }
}

fn common(service: &Service, rid: &str, rtype: &str, body: Body) -> Result<Res, String> {
    let config = &service.config;
    let p = config.section(rid);
    let on = |key: &str| p.plain(key).is_some_and(|words| config.scope.is_in(words));
    let flag = |key: &str| Ok::<_, String>(p.plain_boolean(key)?.unwrap_or_else(|| on(&format!("{key}_on"))));
    let all_disabled = config.plain("DEFAULT", "disable").is_some_and(|v| value::boolean(v) == Ok(true));
    let disable = all_disabled || p.boolean("disable")?.unwrap_or_else(|| on("disable_on"));
    let is_sync = matches!(body, Body::Sync(_));
    let mut triggers = BTreeMap::new();
    for keyword in resource::TRIGGERS {
        let words = p.words(keyword.name);
        if !words.is_empty() {
            triggers.insert(keyword.name, words);
        }
    }
    Ok(Res {
        rid: rid.into(),
        rtype: rtype.into(),
        subset: p.text("subset").map(str::to_owned),
        tags: p.words("tags"),
        disable,
        optional: flag("optional")?,
        monitor: !is_sync && flag("monitor")?,
        standby: !is_sync && on("always_on"),
        restart: p.integer("restart")?.and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
        triggers,
        body,
    })
}

/// Launchers in `etc/NAME.d` that no app section names: `app#N` from the first free N, optional.
fn add_launchers(host: &Host, service: &mut Service) {
    let p = service.config.section("app");
    let folder = p.text("dir").map_or_else(|| host.paths.etc.join(format!("{}.d", service.name)), Into::into);
    let config = service.config.clone();
    let declared: Vec<String> = config
        .env
        .sections()
        .filter(|s| kind_of(&s.name) == Some("app"))
        .filter_map(|s| config.text(&s.name, "script"))
        .map(str::to_owned)
        .collect();
    for app in resource::app::launchers(&folder, &declared) {
        let rid = (0..)
            .map(|n| format!("app#{n}"))
            .find(|rid| service.find(rid).is_none() && config.env.section(rid).is_none())
            .unwrap_or_default();
        match common(service, &rid, "app", Body::Run(Box::new(app))) {
            Ok(res) => service.resources.push(Res { optional: true, ..res }),
            Err(line) => service.faults.push(line),
        }
    }
}
