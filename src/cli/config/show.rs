//! Views of the file: validate, print config, json env, print env mtime.

use super::super::args::Format;
use super::store::Store;
use crate::config::env::{DEFAULT, Entry, EnvFile, Section};
use crate::config::scope::ServiceConfig;
use crate::error::{Error, Result};
use crate::render::{diagnostics, json};
use crate::service::validate::{Severity, keywords_of, of_parse_errors, validate as check};
use indexmap::IndexMap;
use serde_json::{Value, json};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

/// Every finding; exit status 1 if one is an error.
pub(super) fn validate(store: &Store<'_>, format: Format, color: bool) -> Result<(u8, String)> {
    let path = store.path();
    let raw = std::fs::read(&path).map_err(Error::io("read", &path))?;
    let (found, readable) = match EnvFile::parse(&path, raw.clone()) {
        Ok(file) => (check(&Arc::new(file), store.name, store.viewer()), true),
        Err(errors) => (of_parse_errors(&errors), false),
    };
    let code = u8::from(found.iter().any(|d| d.severity == Severity::Error));
    let text = match format {
        Format::Json => format!("{}\n", diagnostics::json(store.name, &path, &found)),
        Format::Text => {
            let more = if readable { "" } else { "mend these lines first: nothing else of the file could be checked\n" };
            diagnostics::text(&found, &path, &raw, color) + &diagnostics::summary(store.name, &found) + more
        }
    };
    Ok((code, text))
}

/// The file as `node` sees it: scopes resolved, each key under its plain name. What is inherited from DEFAULT is
/// shown there alone.
pub(super) fn config(store: &Store<'_>, node: Option<&str>, format: Format) -> Result<String> {
    let file = Arc::new(store.load()?);
    let node = node.map_or_else(|| store.host.node.clone(), str::to_lowercase);
    let view = ServiceConfig::new(file.clone(), &node);
    if !view.scope.everyone().any(|n| *n == node) {
        store.log.warning(format!("{node} is not a node of service {}", store.name));
    }
    let sections = file.section(DEFAULT).into_iter().chain(file.sections());
    let seen: IndexMap<&str, IndexMap<&str, &str>> = sections.map(|s| (s.name.as_str(), resolved(&view, s))).collect();
    if format == Format::Json {
        return Ok(format!("{}\n", json!(seen)));
    }
    let mut text = String::new();
    for (section, keys) in seen {
        text.push_str(&format!("[{section}]\n"));
        for (key, value) in keys {
            text.push_str(format!("{key} = {}", value.replace('\n', "\n\t")).trim_end());
            text.push('\n');
        }
        text.push('\n');
    }
    Ok(text)
}

fn resolved<'a>(view: &'a ServiceConfig, section: &'a Section) -> IndexMap<&'a str, &'a str> {
    let ty = view.text(&section.name, "type").unwrap_or_default();
    let table = keywords_of(&section.name, ty).unwrap_or_default();
    let mut keys = IndexMap::new();
    for entry in &section.entries {
        let base = entry.key.split('@').next().unwrap_or_default();
        let scopable = table.iter().find(|k| k.name == base).is_none_or(|k| k.scopable);
        let counts = if scopable { view.entry(&section.name, base) } else { view.env.lookup(&section.name, base) };
        if let Some(Entry { value, .. }) = counts {
            keys.entry(base).or_insert(value.as_str());
        }
    }
    keys
}

/// `{"DEFAULT": {…}, section: {its own keys}}`, as parsed.
pub(super) fn json_env(store: &Store<'_>) -> Result<String> {
    let file = store.load()?;
    let keys = |s: &Section| Value::Object(s.entries.iter().map(|e| (e.key.clone(), json!(e.value))).collect());
    let all = std::iter::once(file.defaults()).chain(file.sections()).map(|s| (s.name.clone(), keys(s)));
    Ok(format!("{}\n", json::python_line(&Value::Object(all.collect()))))
}

/// The time of the last change, as Python printed a float: 12 significant digits, at least one decimal.
pub(super) fn mtime(store: &Store<'_>) -> Result<String> {
    let path = store.path();
    let meta = std::fs::metadata(&path).map_err(Error::io("read", &path))?;
    Ok(format!("{}\n", python_float(meta.mtime(), meta.mtime_nsec())))
}

fn python_float(seconds: i64, nanos: i64) -> String {
    let decimals = 12usize.saturating_sub(seconds.to_string().len()).min(9);
    // rounded at the last digit shown; a carry goes into the seconds
    let unit = 10i64.pow(u32::try_from(9 - decimals).unwrap_or(0));
    let rounded = (nanos + unit / 2) / unit * unit;
    let (seconds, nanos) = (seconds + rounded / 1_000_000_000, rounded % 1_000_000_000);
    let text = format!("{seconds}.{nanos:09}");
    let trimmed = text.trim_end_matches('0');
    if trimmed.ends_with('.') { format!("{trimmed}0") } else { trimmed.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::python_float;

    #[test]
    fn times_as_python_prints_them() {
        for (seconds, nanos, text) in [
            (1_795_219_582, 260_000_000, "1795219582.26"),
            (1_795_219_582, 0, "1795219582.0"),
            (1_795_219_582, 999_000_000, "1795219583.0"),
            (1_795_219_582, 4_999_999, "1795219582.0"),
            (1_795_219_582, 5_000_000, "1795219582.01"),
        ] {
            assert_eq!(python_float(seconds, nanos), text);
        }
    }
}
