//! create and install: a new service file, its launcher folder and its links; all of it or nothing.

use super::links::Made;
use super::refuse;
use super::resources::{Given, complete, parse, write};
use super::store::Store;
use crate::config::env::{DEFAULT, EnvFile};
use crate::error::{Error, Result};
use std::path::Path;

/// Names that are programs.
const PROGRAMS: [&str; 11] = [
    "svcmgr",
    "svcmon",
    "nodemgr",
    "allservices",
    "allupservices",
    "alldownservices",
    "allprimaryservices",
    "allsecondaryservices",
    "svcfreeze",
    "svcthaw",
    "svcfrozen",
];

pub(super) fn create(store: &Store<'_>, resources: &[String]) -> Result<(u8, String)> {
    may_be_made(store)?;
    let mut given = parse(resources, |_| false, 0)?;
    if given.iter().all(|g| g.section != DEFAULT) {
        given.insert(0, Given { section: DEFAULT.into(), keys: Vec::new() });
    }
    given.sort_by_key(|g| g.section != DEFAULT);
    let node = &store.host.node;
    let defaults =
        [("mode", "hosted".to_owned()), ("service_type", "TST".into()), ("nodes", node.clone()), ("autostart_node", node.clone())];
    let mut said = String::new();
    for one in &mut given {
        let defaults = if one.section == DEFAULT { defaults.as_slice() } else { &[] };
        if let Err(why) = complete(one, defaults, &mut said) {
            return if matches!(why, Error::Reported) { Ok((1, said)) } else { Err(why) };
        }
    }
    let empty = EnvFile::parse(&store.path(), Vec::new()).map_err(|e| Error::text(e.to_string()))?;
    make(store, &write(&empty, &given)?)?;
    Ok((0, said))
}

pub(super) fn install(store: &Store<'_>, envfile: Option<&str>) -> Result<String> {
    let Some(envfile) = envfile else { return refuse("no file. set --envfile") };
    may_be_made(store)?;
    let file = EnvFile::load(Path::new(envfile)).map_err(|e| Error::text(e.to_string()))?;
    make(store, &file)?;
    Ok(String::new())
}

/// The name is one, and there is no such service.
fn may_be_made(store: &Store<'_>) -> Result<()> {
    let name = store.name;
    let is_plain =
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) && !name.starts_with(['.', '-']);
    let is_reserved =
        PROGRAMS.contains(&name) || [".env", ".dir", ".d", ".cluster", ".stonith", ".conf"].iter().any(|end| name.ends_with(end));
    if !is_plain || is_reserved {
        // not through the log: its file would get that name
        return refuse(&format!(
            "'{name}' cannot be the name of a service: letters, digits, dots, dashes; no name of a program or file of the agent"
        ));
    }
    if store.path().symlink_metadata().is_ok() {
        return refuse(&format!("service {name} already exists"));
    }
    let link = store.host.paths.etc.join(name);
    if link.symlink_metadata().is_ok_and(|m| !m.is_symlink()) {
        return refuse(&format!("{} already exists", link.display()));
    }
    Ok(())
}

fn make(store: &Store<'_>, file: &EnvFile) -> Result<()> {
    if store.dry_run {
        store.log.info(format!("would make {}", store.path().display()));
        return Ok(());
    }
    let _lock = store.lock()?;
    let mut made = Made::default();
    let all = made.file(&store.path(), file.to_bytes()).and_then(|()| made.links(&store.host.paths, store.name));
    if all.is_err() {
        made.undo();
        return all;
    }
    store.say_new(&[], file.clone());
    Ok(())
}
