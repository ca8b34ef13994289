//! Each key: known to its driver, of the right type, its scope a name of the service.

use super::{Check, Span, key_span, nearest, sections, value_span, word_span};
use crate::config::env::{DEFAULT, Entry, Section};
use crate::config::keyword::{Keyword, Type};
use crate::config::value;
use crate::service::drivers;

/// The words that stand for nodes behind an `@`.
const SCOPES: [&str; 5] = ["nodes", "drpnodes", "encapnodes", "flex_primary", "drp_flex_primary"];

const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

pub(super) fn check(check: &mut Check<'_>) {
    for section in check.all_sections() {
        let Some(table) = sections::keywords(check, section) else { continue };
        for entry in &section.entries {
            one(check, section, entry, &table);
        }
    }
}

fn one(check: &mut Check<'_>, section: &Section, entry: &Entry, table: &[&'static Keyword]) {
    let (base, scope) = match entry.key.split_once('@') {
        Some((base, scope)) => (base, Some(scope)),
        None => (entry.key.as_str(), None),
    };
    let Some(keyword) = table.iter().find(|k| k.name == base) else {
        return unknown(check, section, entry, base, table);
    };
    if let Some(scope) = scope {
        if !keyword.scopable {
            check
                .warning(Some(key_span(entry)), format!("`{base}` is not looked up with scopes: this has no effect"))
                .about(&section.name, Some(base));
            return;
        }
        known_scope(check, section, entry, base, scope);
    }
    if let Some(instead) = keyword.deprecated {
        check.warning(Some(key_span(entry)), format!("{base} is deprecated. replace with {instead}.")).about(&section.name, Some(base));
    }
    if !entry.value.is_empty() {
        typed(check, section, entry, base, keyword);
        words(check, section, entry, base);
    }
}

fn unknown(check: &mut Check<'_>, section: &Section, entry: &Entry, base: &str, table: &[&'static Keyword]) {
    let base = if base.is_empty() { entry.key.as_str() } else { base };
    let span = Span { end: 1 + base.chars().count(), ..key_span(entry) };
    let of_service = drivers::SERVICE.iter().any(|k| k.name == base);
    let found = check.warning(Some(span), format!("unknown keyword `{base}` in section {}: it has no effect", section.name));
    found.about(&section.name, Some(base));
    match nearest(base, table.iter().map(|k| k.name)) {
        None if of_service => found.help("it belongs in [DEFAULT]"),
        close => found.did_you_mean(close),
    };
}

fn known_scope(check: &mut Check<'_>, section: &Section, entry: &Entry, base: &str, scope: &str) {
    let of = &check.here.scope;
    let names: Vec<&str> = SCOPES.into_iter().chain(of.everyone().chain(&of.encapnodes).map(String::as_str)).collect();
    if names.iter().any(|n| n.eq_ignore_ascii_case(scope)) {
        return;
    }
    let close = nearest(scope, names.iter().copied());
    if of.everyone().next().is_none() && close.is_none() {
        return; // nobody is a node of the service: said once
    }
    let column = 2 + base.chars().count();
    let span = Span { line: entry.line, column, end: column + scope.chars().count() };
    check
        .warning(Some(span), format!("unknown scope `{scope}`: no node of the service looks it up"))
        .about(&section.name, Some(base))
        .did_you_mean(close);
}

fn typed(check: &mut Check<'_>, section: &Section, entry: &Entry, base: &str, keyword: &Keyword) {
    let text = entry.value.as_str();
    let wrong = match keyword.ty {
        Type::Bool => value::boolean(text).err(),
        Type::Int => match value::integer(text) {
            Ok(n) if n < 0 && !drivers::SERVICE.iter().any(|k| k.name == base) => Some(format!("must not be negative: {n}")),
            other => other.err(),
        },
        Type::Json => value::json_list(text).err(),
        Type::Choice(words) if !words.contains(&text) => Some(format!("{text:?} is not one of {}", words.join(", "))),
        Type::Duration(words) if !words.contains(&text) => value::duration(text).err().map(|why| or(&why, words)),
        Type::Text | Type::Words | Type::Command | Type::Choice(_) | Type::Duration(_) => None,
    };
    if let Some(why) = wrong {
        let close = match keyword.ty {
            Type::Choice(words) | Type::Duration(words) => nearest(text, words.iter().copied()),
            _ => None,
        };
        check
            .error(Some(value_span(entry)), format!("{}.{base}: {why}", section.name))
            .about(&section.name, Some(base))
            .did_you_mean(close);
        return;
    }
    if base == "sync_days" {
        days(check, section, entry);
    }
    if let (Type::Text, Some(line)) = (keyword.ty, entry.continued.first()) {
        check
            .warning(Some(value_span(entry)), format!("the value goes on on line {line}: the line break belongs to it"))
            .about(&section.name, Some(base))
            .help("a line that begins with a blank continues the value above");
    }
}

fn or(why: &str, words: &[&str]) -> String {
    if words.is_empty() { why.to_owned() } else { format!("{why}, nor one of {}", words.join(", ")) }
}

/// A day nobody knows is a day without syncs.
fn days(check: &mut Check<'_>, section: &Section, entry: &Entry) {
    for day in value::json_list(&entry.value).unwrap_or_default() {
        let word = day.as_str().map_or_else(|| day.to_string(), str::to_owned);
        if !DAYS.contains(&word.to_lowercase().as_str()) {
            let close = nearest(&word, DAYS);
            check
                .warning(Some(value_span(entry)), format!("`{word}` is no day of the week: it has no effect"))
                .about(&section.name, Some("sync_days"))
                .did_you_mean(close);
        }
    }
}

/// Lists of nodes in sections: names of the service, `nodes`, `drpnodes`; compared as written.
fn words(check: &mut Check<'_>, section: &Section, entry: &Entry, base: &str) {
    let mut known = vec!["nodes", "drpnodes"];
    match base {
        "always_on" | "disable_on" | "optional_on" | "monitor_on" => known.extend(check.here.scope.everyone().map(String::as_str)),
        "target" if section.name != DEFAULT => {}
        _ => return,
    }
    for word in entry.value.split_whitespace().filter(|w| !known.contains(w)) {
        let close = nearest(word, known.iter().copied());
        let what = if base == "target" {
            "neither `nodes` nor `drpnodes`"
        } else {
            "neither `nodes`, `drpnodes` nor a node of the service, as written"
        };
        check
            .warning(Some(word_span(entry, word)), format!("`{word}` is {what}: it has no effect"))
            .about(&section.name, Some(base))
            .did_you_mean(close);
    }
}
