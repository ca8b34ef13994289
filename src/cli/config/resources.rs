//! Resources given as JSON: what create and update write, and delete.

use super::refuse;
use super::store::Store;
use crate::config::edit;
use crate::config::env::{DEFAULT, EnvFile};
use crate::config::keyword::{Keyword, Type};
use crate::config::value;
use crate::error::{Error, Result};
use crate::rid::kind_of;
use crate::service::validate::{keywords_of, types_of};
use serde_json::{Map, Value};

/// A section and its keys, in the order given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Given {
    pub section: String,
    pub keys: Vec<(String, String)>,
}

impl Given {
    /// The value of a key, or of one of its scoped spellings.
    fn any(&self, key: &str) -> Option<&str> {
        self.keys.iter().find(|(k, _)| k.split('@').next() == Some(key)).map(|(_, v)| v.as_str())
    }
}

/// Reads the JSON objects: `rid` names the section, `rtype` takes the next free `rtype#N` from `first` on,
/// neither means DEFAULT. Several for one section are one.
pub(super) fn parse(resources: &[String], taken: impl Fn(&str) -> bool, first: usize) -> Result<Vec<Given>> {
    let mut all: Vec<Given> = Vec::new();
    for text in resources {
        let Ok(Value::Object(mut object)) = serde_json::from_str::<Value>(text) else {
            return refuse(&format!("can not parse resource: {text}"));
        };
        let rid = word(&mut object, "rid", text)?;
        let rtype = word(&mut object, "rtype", text)?;
        let section = match (rid, rtype) {
            (Some(rid), _) => rid,
            (None, Some(rtype)) => {
                let is_free = |rid: &String| !taken(rid) && all.iter().all(|g| g.section != *rid);
                (first..).map(|n| format!("{rtype}#{n}")).find(is_free).unwrap_or_default()
            }
            (None, None) => DEFAULT.into(),
        };
        if section != DEFAULT && keywords_of(&section, "").is_none() && kind_of(&section).is_none() {
            return refuse(&format!("'{section}' is no name of a resource: kind#number (fs#1), of {}", crate::rid::KINDS.join(", ")));
        }
        let keys = keys(object, text)?;
        match all.iter_mut().find(|g| g.section == section) {
            Some(given) => given.keys.extend(keys),
            None => all.push(Given { section, keys }),
        }
    }
    Ok(all)
}

fn word(object: &mut Map<String, Value>, key: &str, text: &str) -> Result<Option<String>> {
    // keeps the order of the others
    match object.shift_remove(key) {
        None => Ok(None),
        Some(Value::String(word)) => Ok(Some(word)),
        Some(_) => refuse(&format!("can not parse resource: {text}: {key} is not a string")),
    }
}

fn keys(object: Map<String, Value>, text: &str) -> Result<Vec<(String, String)>> {
    let plain = |value: Value| match value {
        Value::String(s) => Some(s),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) => Some(value.to_string()),
        Value::Null | Value::Object(_) => None,
    };
    object
        .into_iter()
        .map(|(key, value)| match plain(value) {
            Some(value) => Ok((key.to_ascii_lowercase(), value)),
            None => refuse(&format!("can not parse resource: {text}: {key} is neither text, number, boolean nor list")),
        })
        .collect()
}

/// Drops unknown keywords, refuses wrong values, adds the defaults of what must be there. The lines are for stdout.
pub(super) fn complete(given: &mut Given, defaults: &[(&str, String)], said: &mut String) -> Result<()> {
    let section = given.section.clone();
    let ty = given.any("type").unwrap_or_default().to_owned();
    let kind = kind_of(&section).unwrap_or(section.as_str()).to_owned();
    if let (true, Some(types)) = (ty.is_empty(), Some(types_of(&kind)).filter(|_| matches!(kind.as_str(), "container" | "hb"))) {
        return refuse(&format!("No default value for required key 'type' in section '{section}' (one of {})", types.join(", ")));
    }
    let Some(table) = keywords_of(&section, &ty) else {
        return refuse(&format!("'type' keyword has invalid value '{ty}' in section '{section}'"));
    };
    let known = |key: &str| table.iter().find(|k| k.name == key.split('@').next().unwrap_or_default());
    given.keys.retain(|(key, _)| {
        let keep = known(key).is_some();
        if !keep {
            said.push_str(&format!("Remove unknown keyword '{key}' from section '{kind}'\n"));
        }
        keep
    });
    for (key, value) in &given.keys {
        if known(key).is_some_and(|k| !fits(k, value)) {
            return refuse(&format!("'{key}' keyword has invalid value '{value}' in section '{section}'"));
        }
    }
    for keyword in table.iter().filter(|k| k.required && section != DEFAULT) {
        if given.any(keyword.name).is_some_and(|v| !v.is_empty()) {
            continue;
        }
        if keyword.default.is_empty() {
            return refuse(&format!("No default value for required key '{}' in section '{section}'", keyword.name));
        }
        add(given, keyword.name, keyword.default, said);
    }
    for (key, default) in defaults {
        if given.any(key).is_none() {
            add(given, key, default, said);
        }
    }
    Ok(())
}

fn add(given: &mut Given, key: &str, default: &str, said: &mut String) {
    said.push_str(&format!("Implicitely add [{}] {key} = {default}\n", given.section));
    given.keys.push((key.to_owned(), default.to_owned()));
}

fn fits(keyword: &Keyword, text: &str) -> bool {
    match keyword.ty {
        Type::Bool => value::boolean(text).is_ok(),
        Type::Int => value::integer(text).is_ok(),
        Type::Json => value::json_list(text).is_ok(),
        Type::Choice(words) => words.contains(&text),
        Type::Duration(words) => words.contains(&text) || value::duration(text).is_ok(),
        Type::Text | Type::Words | Type::Command => true,
    }
}

/// Writes the keys into the file.
pub(super) fn write(file: &EnvFile, all: &[Given]) -> Result<EnvFile> {
    let mut file = file.clone();
    for given in all {
        for (key, value) in &given.keys {
            file = edit::set(&file, &given.section, key, value).map_err(Error::Text)?;
        }
    }
    Ok(file)
}

/// Adds resources, or keys to resources; values are taken as they are, with a warning for what does not fit.
pub(super) fn update(store: &Store<'_>, resources: &[String]) -> Result<String> {
    if resources.is_empty() {
        return refuse("no resource. set --resource");
    }
    store.change(|file| write(file, &parse(resources, |rid| file.section(rid).is_some(), 1)?))?;
    Ok(String::new())
}

/// Removes sections. One that is not there: nothing is done.
pub(super) fn delete(store: &Store<'_>, rids: &[String]) -> Result<String> {
    if rids.is_empty() {
        return Ok("no resource flagged for deletion\n".into());
    }
    store.change(|file| {
        let unknown: Vec<&String> = rids.iter().filter(|r| *r == DEFAULT || file.section(r).is_none()).collect();
        if !unknown.is_empty() {
            unknown.iter().for_each(|rid| super::super::console::err(&format!("service {} has not resource {rid}", store.name)));
            return Err(Error::Reported);
        }
        let mut file = file.clone();
        for rid in rids.iter().collect::<std::collections::BTreeSet<_>>() {
            file = edit::remove_section(&file, rid).map_err(Error::Text)?;
        }
        Ok(file)
    })?;
    Ok(String::new())
}
