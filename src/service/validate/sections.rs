//! Sections: a resource of a known type that can be built on each node, or something else that is read.

use super::{Check, header_span, nearest, value_span};
use crate::config::env::{DEFAULT, Section};
use crate::config::keyword::Keyword;
use crate::config::scope::{Params, ServiceConfig};
use crate::resource::{self, Dropped, unsupported};
use crate::rid::{KINDS, kind_of};
use crate::service::drivers;
use crate::sync::schedule::Schedule;
use std::collections::BTreeMap;

/// What a resource section is on one node.
enum Found {
    /// A driver's.
    Driver(&'static [Keyword], fn(&Params<'_>) -> Result<(), Dropped>),
    /// Known to 2014, not to this version.
    Unsupported(&'static unsupported::Known),
    /// A storage array's.
    Array(String),
    /// Nobody's: the type as written.
    Unknown(String),
}

pub(super) fn check(check: &mut Check<'_>) {
    for section in check.all_sections().filter(|s| s.name == DEFAULT || s.name == "sync" || kind_of(&s.name) == Some("sync")) {
        schedule(check, section);
    }
    for section in check.env.sections() {
        match kind_of(&section.name) {
            Some(_) if is_tuning(&section.name) => {}
            Some(kind) => {
                resource(check, section, kind);
                same_but_for_case(check, section);
            }
            None if is_tuning(&section.name) => subset(check, section),
            None => nobody_reads(check, section),
        }
    }
}

/// `[sync]`, `[sync#i0]`, `[subset#fs:a]`: not resources, but read.
pub(super) fn is_tuning(section: &str) -> bool {
    section == "sync" || section.starts_with("subset#") || section.get(..6).is_some_and(|s| s.eq_ignore_ascii_case("sync#i"))
}

/// The keywords a section may have, whatever type each node sees; `None`: nobody knows, they are not looked at.
pub(super) fn keywords(check: &Check<'_>, section: &Section) -> Option<Vec<&'static Keyword>> {
    let mut table: Vec<&'static Keyword> = Vec::new();
    for view in check.views {
        table.extend(keywords_of(&section.name, type_of(view, &section.name))?);
    }
    Some(table)
}

/// Keywords that any section may have.
fn common() -> impl Iterator<Item = &'static Keyword> {
    resource::COMMON.iter().chain(resource::TRIGGERS)
}

/// The keywords a section of this name and type may have; `None`: the type is unknown, or of no driver of this version.
pub fn keywords_of(section: &str, ty: &str) -> Option<Vec<&'static Keyword>> {
    if section == DEFAULT {
        let of_drivers = drivers::RESOURCES.iter().flat_map(|d| d.keywords).chain(drivers::SYNCS.iter().flat_map(|d| d.keywords));
        return Some(drivers::SERVICE.iter().chain(drivers::INTERNAL_SCHEDULE).chain(common()).chain(of_drivers).collect());
    }
    if section.starts_with("subset#") {
        return Some(drivers::SUBSET.iter().collect());
    }
    let schedule = || drivers::INTERNAL_SCHEDULE.iter().chain(common());
    if section == "sync" {
        return Some(schedule().collect());
    }
    if is_tuning(section) {
        return drivers::sync("rsync").map(|d| d.keywords.iter().chain(schedule()).collect());
    }
    let kind = kind_of(section)?;
    if kind == "app" && !section.contains('#') {
        return None; // the legacy [app]: dir and what is common
    }
    let Found::Driver(keywords, _) = find(kind, ty) else { return None };
    let of_kind = drivers::SERVICE.iter().filter(|k| match kind {
        "container" => k.name.starts_with("docker_") || k.name.starts_with("container"),
        _ => false,
    });
    let of_sync = drivers::INTERNAL_SCHEDULE.iter().filter(|_| kind == "sync");
    Some(keywords.iter().chain(of_kind).chain(of_sync).chain(common()).collect())
}

/// The type a section has on a node; empty: none.
fn type_of<'a>(view: &'a ServiceConfig, section: &'a str) -> &'a str {
    let p = view.section(section);
    p.text("type").or_else(|| (kind_of(section) == Some("vg")).then(|| p.text("vgtype")).flatten()).unwrap_or_default()
}

fn find(kind: &str, ty: &str) -> Found {
    if kind == "sync" {
        return match drivers::sync(ty) {
            Some(_) => Found::Driver(drivers::sync(ty).map_or(&[], |d| d.keywords), build_sync),
            None if drivers::ARRAY_SYNCS.contains(&ty) => Found::Array(ty.into()),
            None => Found::Unknown(ty.into()),
        };
    }
    let named = |n: &str| unsupported::KNOWN.iter().find(|k| k.kind == kind && k.name.eq_ignore_ascii_case(n));
    if ty.is_empty() && matches!(kind, "hb" | "stonith" | "container" | "share") {
        return Found::Unknown(String::new());
    }
    match (named(ty), drivers::resource(kind, ty)) {
        (Some(known), _) => Found::Unsupported(known),
        (None, Some(driver)) => Found::Driver(driver.keywords, build_resource),
        (None, None) => named("").map_or(Found::Unknown(ty.into()), Found::Unsupported),
    }
}

fn build_sync(p: &Params<'_>) -> Result<(), Dropped> {
    drivers::sync(p.text("type").unwrap_or_default()).map_or(Ok(()), |d| (d.build)(p).map(|_| ()))
}

fn build_resource(p: &Params<'_>) -> Result<(), Dropped> {
    let kind = kind_of(p.section).unwrap_or_default();
    drivers::resource(kind, p.text("type").unwrap_or_default()).map_or(Ok(()), |d| (d.build)(p).map(|_| ()))
}

fn resource(check: &mut Check<'_>, section: &Section, kind: &str) {
    let name = section.name.as_str();
    let mut said: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for view in check.views {
        if view.section(name).words("tags").iter().any(|t| t == "encap") {
            continue; // the guest's own
        }
        match find(kind, type_of(view, name)) {
            Found::Driver(table, build) => {
                for line in missing(view, name, table, build) {
                    said.entry(line).or_default().push(&view.scope.node);
                }
            }
            Found::Unsupported(known) => {
                let what = if known.name.is_empty() { known.kind.to_owned() } else { format!("{} type {}", known.kind, known.name) };
                return not_here(check, section, view, &format!("{what} is not supported by this version"), None);
            }
            Found::Array(ty) => return not_here(check, section, view, &format!("sync type {ty} is not supported by this version"), None),
            Found::Unknown(ty) if ty.is_empty() => {
                return not_here(check, section, view, &format!("type must be set in section {name}"), None);
            }
            Found::Unknown(ty) => {
                return not_here(
                    check,
                    section,
                    view,
                    &format!("unknown {kind} type {ty} in section {name}"),
                    nearest(&ty, types_of(kind)),
                );
            }
        }
    }
    let views = check.views.len();
    for (line, nodes) in said {
        if nodes.contains(&check.viewer.node) || nodes.len() == views {
            not_built(check, section, &line, None);
        } else {
            not_built(check, section, &line, Some(&nodes.join(", ")));
        }
    }
}

/// Why the section makes no resource on the node of `view`: what the driver says, then what else its table misses.
fn missing(view: &ServiceConfig, section: &str, table: &[Keyword], build: fn(&Params<'_>) -> Result<(), Dropped>) -> Vec<String> {
    let p = view.section(section);
    let mut lines: Vec<String> = match build(&p) {
        Err(Dropped::Error(line)) => vec![line],
        Err(Dropped::Silent) => return Vec::new(),
        Ok(()) => return Vec::new(),
    };
    let unsaid = |key: &str| lines.iter().all(|l| !mentions(l, key));
    let more: Vec<String> = table
        .iter()
        .filter(|k| k.required && p.text(k.name).is_none() && unsaid(k.name))
        .map(|k| format!("{} must be set in section {section}", k.name))
        .collect();
    lines.extend(more);
    lines
}

fn mentions(line: &str, key: &str) -> bool {
    line.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|word| word == key)
}

/// The types a kind of section may have.
pub fn types_of(kind: &str) -> Vec<&'static str> {
    let known = unsupported::KNOWN.iter().filter(|k| k.kind == kind).map(|k| k.name);
    if kind == "sync" {
        return drivers::SYNCS.iter().flat_map(|d| d.types).copied().collect();
    }
    drivers::RESOURCES.iter().filter(|d| d.kind == kind).flat_map(|d| d.types).copied().chain(known).collect()
}

fn not_here(check: &mut Check<'_>, section: &Section, view: &ServiceConfig, message: &str, close: Option<&str>) {
    let ty = view.entry(&section.name, "type").filter(|e| !e.value.is_empty());
    let own = ty.filter(|e| section.get(&e.key).is_some_and(|own| own.line == e.line));
    let found = check.error(own.map(value_span).or_else(|| header_span(section)), message).about(&section.name, Some("type"));
    match (own, ty) {
        (None, Some(inherited)) => found.help(format!("the type comes from [DEFAULT], line {}", inherited.line)),
        _ => found.did_you_mean(close),
    };
}

/// The line of a section that is dropped. Skipped when an error of one of the keys it speaks of is already there.
fn not_built(check: &mut Check<'_>, section: &Section, line: &str, only_on: Option<&str>) {
    let of_section = |d: &&super::Diagnostic| d.severity == super::Severity::Error && d.section.as_deref() == Some(section.name.as_str());
    if check.found.iter().filter(of_section).any(|d| d.key.as_deref().is_some_and(|k| mentions(line, k))) {
        return;
    }
    let spoken_of = section.entries.iter().filter(|e| !e.value.is_empty()).find(|e| mentions(line, &e.key));
    let span = spoken_of.filter(|_| !line.contains("set")).map(value_span).or_else(|| header_span(section));
    match only_on {
        None => check.error(span, line).about(&section.name, None),
        Some(nodes) => check.warning(span, format!("{line} (on {nodes})")).about(&section.name, None),
    };
}

/// Days and periods that are JSON, but no days and periods.
fn schedule(check: &mut Check<'_>, section: &Section) {
    for line in Schedule::of(check.here, &section.name).faults {
        let keys = || section.entries.iter().filter(|e| e.key == "sync_period" || e.key == "sync_days");
        let named = keys().find(|e| mentions(&line, &e.key)).or_else(|| keys().find(|e| e.key == "sync_period"));
        let key = named.map(|e| e.key.as_str());
        let is_known = |d: &super::Diagnostic| {
            d.severity == super::Severity::Error
                && key.is_some()
                && d.key.as_deref() == key
                && d.section.as_deref() == Some(section.name.as_str())
        };
        // what is inherited is found in DEFAULT
        if let Some(entry) = named.filter(|_| !check.found.iter().any(is_known)) {
            check.error(Some(value_span(entry)), line).about(&section.name, key);
        }
    }
}

fn same_but_for_case(check: &mut Check<'_>, section: &Section) {
    let twin = check.env.sections().take_while(|s| s.name != section.name).find(|s| s.name.eq_ignore_ascii_case(&section.name));
    if let Some(twin) = twin {
        let line = twin.headers.first().copied().unwrap_or_default();
        check
            .error(header_span(section), format!("resource {} is [{}] of line {line} in another case", section.name, twin.name))
            .about(&section.name, None);
    }
}

/// A subset nobody is in.
fn subset(check: &mut Check<'_>, section: &Section) {
    let Some(set) = section.name.strip_prefix("subset#") else { return };
    let Some((kind, wanted)) = set.split_once(':') else {
        let found = check.warning(header_span(section), format!("nobody reads section [{}]: it is ignored", section.name));
        found.about(&section.name, None).help("the section of a set is named subset#TYPE:NAME, as in subset#fs:a");
        return;
    };
    // the type of a set is that of its rows: disk.vg for vg#1
    let is_of_kind = |k: &str| kind.split('.').any(|part| part == k) || ((k == "loop" || k == "vg") && kind == "disk");
    let is_member =
        |s: &Section| kind_of(&s.name).is_some_and(is_of_kind) && check.views.iter().any(|v| v.text(&s.name, "subset") == Some(wanted));
    if !check.env.sections().any(is_member) {
        check.warning(header_span(section), format!("no resource is in subset {set}")).about(&section.name, None);
    }
}

fn nobody_reads(check: &mut Check<'_>, section: &Section) {
    let name = section.name.trim();
    let (kind, index) = name.split_once('#').map_or((name, None), |(k, i)| (k, Some(i)));
    let squeezed: String = name.chars().filter(|c| !c.is_whitespace()).collect();
    let proposal = if kind_of(&squeezed).is_some() {
        Some(squeezed)
    } else if name.eq_ignore_ascii_case(DEFAULT) || (index.is_none() && nearest(name, [DEFAULT]).is_some()) {
        Some(DEFAULT.to_owned())
    } else {
        let digits: String = index.unwrap_or(kind).chars().filter(char::is_ascii_digit).collect();
        let letters = kind.trim_end_matches(|c: char| c.is_ascii_digit() || c.is_whitespace());
        nearest(letters, KINDS).map(|k| format!("{k}#{}", if digits.is_empty() { "0" } else { &digits }))
    };
    check
        .warning(header_span(section), format!("nobody reads section [{}]: it is ignored", section.name))
        .about(&section.name, None)
        .did_you_mean(proposal.as_deref());
}
