//! Keys of `[DEFAULT]` that are about resources: every section inherits them.

use super::{Check, key_span, sections};
use crate::config::env::{DEFAULT, Section};
use crate::service::drivers;

/// Meant to be set for all resources at once.
const FOR_ALL: [&str; 7] = ["disable", "disable_on", "optional", "optional_on", "monitor", "monitor_on", "restart"];
/// More sections than this are only counted.
const NAMED: usize = 4;

pub(super) fn check(check: &mut Check<'_>) {
    for entry in &check.env.defaults().entries {
        let base = entry.key.split('@').next().unwrap_or_default();
        if FOR_ALL.contains(&base) || drivers::SERVICE.iter().chain(drivers::INTERNAL_SCHEDULE).any(|k| k.name == base) {
            continue;
        }
        let reads =
            |s: &&Section| sections::keywords(check, s).is_some_and(|t| t.iter().any(|k| k.name == base)) && !sections::is_tuning(&s.name);
        let readers: Vec<&Section> = check.env.sections().filter(reads).collect();
        // only the same spelling overrides: a scoped key here beats a plain one in the section
        let inherit: Vec<&str> = readers.iter().filter(|s| s.get(&entry.key).is_none()).map(|s| s.name.as_str()).collect();
        if inherit.is_empty() {
            continue;
        }
        let beaten: Vec<&str> = readers
            .iter()
            .filter(|s| entry.key != base && s.get(&entry.key).is_none() && s.get(base).is_some())
            .map(|s| s.name.as_str())
            .collect();
        let mut message = format!("`{}` in [DEFAULT] is inherited by {}", entry.key, list(&inherit));
        if !beaten.is_empty() {
            message.push_str(&format!("; it beats the plain `{base}` of {}", list(&beaten)));
        }
        check.warning(Some(key_span(entry)), message).about(DEFAULT, Some(base));
    }
}

fn list(names: &[&str]) -> String {
    match names.split_at_checked(NAMED) {
        Some((first, more)) if !more.is_empty() => format!("{} and {} more sections", first.join(", "), more.len()),
        _ => names.join(", "),
    }
}
