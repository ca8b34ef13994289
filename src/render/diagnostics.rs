//! What `validate` found, for people: the line, a caret below what is meant, what to do.

use crate::config::env::decode;
use crate::service::validate::{Diagnostic, Severity, Span};
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde_json::{Value, json};
use std::ops::Range;
use std::path::Path;

/// All findings on the file `raw`, named `path`, one block each.
pub fn text(found: &[Diagnostic], path: &Path, raw: &[u8], color: bool) -> String {
    let source: String = raw.split_inclusive(|b| *b == b'\n').map(decode).collect();
    let path = path.display().to_string();
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    found.iter().map(|d| one(&renderer, d, &path, &source)).collect()
}

fn one(renderer: &Renderer, diagnostic: &Diagnostic, path: &str, source: &str) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(&diagnostic.message);
    let mut group = match diagnostic.span {
        Some(span) => title.element(Snippet::source(source).path(path).annotation(AnnotationKind::Primary.span(bytes(source, span)))),
        None => title.element(annotate_snippets::Origin::path(path)),
    };
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(help));
    }
    format!("{}\n\n", renderer.render(&[group]))
}

/// Columns count characters, the renderer counts bytes.
fn bytes(source: &str, span: Span) -> Range<usize> {
    let start: usize = source.split_inclusive('\n').take(span.line - 1).map(str::len).sum();
    let line = source.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
    let at = |column: usize| start + line.char_indices().nth(column - 1).map_or(line.len(), |(at, _)| at);
    at(span.column)..at(span.end).max(at(span.column))
}

/// The closing line: `svc1: 2 errors, 1 warning`.
pub fn summary(service: &str, found: &[Diagnostic]) -> String {
    let count = |severity: Severity, word: &str| match found.iter().filter(|d| d.severity == severity).count() {
        0 => format!("no {word}"),
        1 => format!("1 {word}"),
        n => format!("{n} {word}s"),
    };
    format!("{service}: {}, {}\n", count(Severity::Error, "error"), count(Severity::Warning, "warning"))
}

/// For programs: one object a service.
pub fn json(service: &str, path: &Path, found: &[Diagnostic]) -> Value {
    let errors = found.iter().filter(|d| d.severity == Severity::Error).count();
    json!({ "service": service, "file": path.display().to_string(), "errors": errors, "warnings": found.len() - errors, "findings": found })
}
