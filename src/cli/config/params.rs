//! get, set, unset: one keyword as the file has it; no scopes are looked up.

use super::refuse;
use super::store::Store;
use crate::config::edit;
use crate::config::env::{DEFAULT, EnvFile};
use crate::error::{Error, Result};

/// The section and the key of `--param`. A section of the file may hold dots (`subset#container.docker:a`);
/// else the first dot splits, so that a scope may hold dots (`dev@deb1.opensvc.com`).
fn split<'p>(file: &EnvFile, param: Option<&'p str>) -> Result<(&'p str, &'p str)> {
    let Some(param) = param else { return refuse("no parameter. set --param") };
    let known = |at: &usize| param.get(..*at).is_some_and(|s| file.section(s).is_some());
    let at = param.match_indices('.').map(|(at, _)| at).rfind(known);
    let at = at.or_else(|| if param.starts_with("subset#") { param.rfind('.') } else { param.find('.') });
    match at.map(|at| (param.get(..at).unwrap_or_default(), param.get(at + 1..).unwrap_or_default())) {
        Some((section, key)) if !section.is_empty() && !key.is_empty() => Ok((section, key)),
        _ => refuse("malformed parameter. format as 'section.key'"),
    }
}

pub(super) fn get(store: &Store<'_>, param: Option<&str>) -> Result<String> {
    let file = store.load()?;
    let (section, key) = split(&file, param)?;
    if section != DEFAULT && file.section(section).is_none() {
        return refuse(&format!("section '{section}' not found"));
    }
    match file.lookup(section, &key.to_ascii_lowercase()) {
        Some(entry) => Ok(format!("{}\n", entry.value)),
        None => refuse(&format!("option '{key}' not found in section '{section}'")),
    }
}

pub(super) fn set(store: &Store<'_>, param: Option<&str>, value: Option<&str>) -> Result<String> {
    if param.is_none() {
        return refuse("no parameter. set --param");
    }
    let Some(value) = value else { return refuse("no value. set --value") };
    store.change(|file| {
        let (section, key) = split(file, param)?;
        edit::set(file, section, key, value).map_err(Error::Text)
    })?;
    Ok(String::new())
}

pub(super) fn unset(store: &Store<'_>, param: Option<&str>) -> Result<String> {
    store.change(|file| {
        let (section, key) = split(file, param)?;
        if file.section(section).is_none() {
            return refuse(&format!("section '{section}' not found"));
        }
        if file.section(section).and_then(|s| s.get(&key.to_ascii_lowercase())).is_none() {
            return refuse(&format!("option '{key}' not found in section '{section}'"));
        }
        edit::unset(file, section, key).map_err(Error::Text)
    })?;
    Ok(String::new())
}
