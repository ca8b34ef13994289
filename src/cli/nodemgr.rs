//! nodemgr: node.conf settings, and the schedule of syncs.

use super::Session;
use super::console::{err, out};
use crate::config::edit;
use crate::config::env::EnvFile;
use crate::error::{Error, Result};
use crate::service::build;
use crate::state::{atomic, stamp};

/// `get`, `set`, `print schedule`; what else 2014 had is not carried over.
pub fn run(session: &Session) -> Result<u8> {
    match session.args.action.as_str() {
        "get" => get(session),
        "set" => set(session),
        "print_schedule" => schedule(session),
        "" => Err(Error::Usage("Missing action: get, set or print schedule".into())),
        other => Err(Error::Usage(format!("unsupported action: {}. nodemgr has: get, set, print schedule", other.replace('_', " ")))),
    }
}

fn param(session: &Session) -> Option<(&str, &str)> {
    let Some(param) = session.args.param.as_deref() else {
        err("no parameter. set --param");
        return None;
    };
    let split = param.split_once('.').filter(|(_, key)| !key.is_empty());
    if split.is_none() {
        err("malformed parameter. format as 'section.key'");
    }
    split
}

fn get(session: &Session) -> Result<u8> {
    let Some((section, key)) = param(session) else { return Ok(1) };
    let conf = &session.host.conf;
    if !conf.has_section(section) {
        err(&format!("section '{section}' not found"));
        return Ok(1);
    }
    let value = conf.get(section, key).map(str::to_owned).or_else(|| (key == "host_mode").then(|| conf.host_mode().to_owned()));
    match value {
        Some(value) => out(&format!("{value}\n")),
        None => {
            err(&format!("option '{key}' not found in section '{section}'"));
            return Ok(1);
        }
    }
    Ok(0)
}

fn set(session: &Session) -> Result<u8> {
    let Some((section, key)) = param(session) else { return Ok(1) };
    let Some(value) = session.args.value.as_deref() else {
        err("no value. set --value");
        return Ok(1);
    };
    let path = session.host.paths.etc.join("node.conf");
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(e) => return Err(Error::io("read", &path)(e)),
    };
    let file = EnvFile::parse(&path, bytes).map_err(|e| Error::text(e.to_string()))?;
    let file = edit::set(&file, section, key, value).map_err(Error::Text)?;
    atomic::write(&path, file.to_bytes())?;
    Ok(0)
}

fn schedule(session: &Session) -> Result<u8> {
    let mut table = tabled::builder::Builder::default();
    table.push_record(["action", "last", "days", "interval", "period"]);
    for name in session.host.paths.services() {
        let Ok(service) = build::load(&session.host, &name) else { continue };
        for res in &service.resources {
            let Some(sync) = res.sync() else { continue };
            let last = stamp::read(&stamp::last(&session.host.paths.var, &name, &res.rid));
            let last = last.map_or_else(|| "-".into(), |t| t.format("%Y-%m-%d %H:%M:%S").to_string());
            let [days, interval, period] = sync.schedule().columns();
            table.push_record([format!("{name}#{}", res.rid), last, days, interval, period]);
        }
    }
    let mut table = table.build();
    table.with(tabled::settings::Style::blank());
    for line in table.to_string().lines() {
        out(&format!("{}\n", line.trim_end()));
    }
    Ok(0)
}
