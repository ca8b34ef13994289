//! enable and disable: the `disable` keyword of sections, or of the whole service.

use super::store::Store;
use crate::config::edit;
use crate::config::env::{DEFAULT, EnvFile};
use crate::config::scope::ServiceConfig;
use crate::error::{Error, Result};
use crate::rid;
use std::sync::Arc;

pub(super) fn disable(store: &Store<'_>, rids: &[String], disable: bool) -> Result<String> {
    let word = if disable { "True" } else { "False" };
    store.change(|file| {
        let mut file = file.clone();
        let sections = select(&file, rids, store.name)?;
        for section in &sections {
            file = edit::set(&file, section, "disable", word).map_err(Error::Text)?;
            store.log.info(format!("set {section}.disable = {word}"));
        }
        still_otherwise(store, &file, &sections, disable);
        Ok(file)
    })?;
    Ok(String::new())
}

/// The sections of the words: a rid as written, or a kind and all its resources. None: the whole service.
fn select(file: &EnvFile, rids: &[String], service: &str) -> Result<Vec<String>> {
    let mut sections: Vec<String> = Vec::new();
    for word in rids {
        let is_meant = |name: &str| name == word || (!word.contains('#') && rid::kind_of(name) == Some(word.to_ascii_lowercase().as_str()));
        let mut found: Vec<String> = file.sections().map(|s| s.name.clone()).filter(|n| is_meant(n)).collect();
        // an internal sync is a resource without a section until one is needed
        if found.is_empty() && ["sync#i0", "sync#i1", "sync#i2"].contains(&word.as_str()) {
            found.push(word.clone());
        }
        if found.is_empty() {
            let all: Vec<&str> = file.sections().map(|s| s.name.as_str()).filter(|n| rid::kind_of(n).is_some()).collect();
            return Err(Error::text(format!("no resource {word} in the file of service {service}. it has: {}", all.join(", "))));
        }
        sections.extend(found.into_iter().filter(|f| !sections.contains(f)).collect::<Vec<_>>());
    }
    if rids.is_empty() {
        sections.push(DEFAULT.into());
    }
    Ok(sections)
}

/// A scoped key, or that of the service, may still say otherwise here.
fn still_otherwise(store: &Store<'_>, file: &EnvFile, sections: &[String], disable: bool) {
    let here = ServiceConfig::new(Arc::new(file.clone()), &store.host.node);
    let all_disabled = here.section(DEFAULT).plain_boolean("disable") == Ok(Some(true));
    for section in sections {
        if all_disabled && !disable && section != DEFAULT {
            let place = file.place(DEFAULT, "disable");
            store.log.warning(format!("{section} stays disabled: DEFAULT.disable disables the whole service ({place})"));
        } else if here.section(section).boolean("disable") == Ok(Some(!disable))
            && let Some(entry) = here.entry(section, "disable")
        {
            let state = if disable { "enabled" } else { "disabled" };
            store.log.warning(format!("{section} stays {state} on this node: {} = {} (line {})", entry.spelled, entry.value, entry.line));
        }
    }
}
