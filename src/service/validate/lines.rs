//! Lines: bytes that are not UTF-8, keys and sections written twice, comments that are none.

use super::{Check, Span, key_span, value_span};
use crate::config::env::{Entry, decode};
use std::borrow::Cow;

pub(super) fn check(check: &mut Check<'_>) {
    encoding(check);
    behind_headers(check);
    for section in check.all_sections() {
        for line in section.headers.iter().skip(1) {
            let first = section.headers.first().copied().unwrap_or_default();
            let span = Span { line: *line, column: 1, end: section.name.chars().count() + 3 };
            check
                .warning(Some(span), format!("section [{}] again: it is merged with that of line {first}", section.name))
                .about(&section.name, None);
        }
        for old in &section.shadowed {
            let again =
                section.entries.iter().chain(&section.shadowed).filter(|e| e.key == old.key && e.line > old.line).map(|e| e.line).min();
            let message = format!("`{}` is written again on line {}: the last one counts", old.key, again.unwrap_or_default());
            check.warning(Some(key_span(old)), message).about(&section.name, Some(&old.key));
        }
        for entry in &section.entries {
            looks_like_a_comment(check, &section.name, entry);
        }
    }
}

/// 2014 looked at a header up to its `]` and took no notice of the rest, be it a key.
fn behind_headers(check: &mut Check<'_>) {
    for section in check.all_sections() {
        for number in &section.headers {
            let Some(line) = check.env.lines().nth(number - 1) else { continue };
            let text = decode(line);
            let Some((header, rest)) = text.split_once(']') else { continue };
            let said = rest.trim();
            if !said.is_empty() && !said.starts_with(['#', ';']) {
                let column = header.chars().count() + 2 + rest.chars().take_while(|c| c.is_whitespace()).count();
                let span = Span { line: *number, column, end: column + said.chars().count() };
                check.warning(Some(span), "what stands behind a section's name is not read").about(&section.name, None);
            }
        }
    }
}

fn encoding(check: &mut Check<'_>) {
    for (at, line) in check.env.lines().enumerate() {
        let Cow::Owned(text) = decode(line) else { continue };
        let valid = std::str::from_utf8(line).err().map_or(0, |e| e.valid_up_to());
        let before = line.get(..valid).and_then(|b| std::str::from_utf8(b).ok()).map_or(0, |b| b.chars().count());
        // each byte of such a line is read as one character
        let column = 1 + if before == valid { before } else { valid };
        let bad = text.chars().skip(column - 1).take_while(|c| !c.is_ascii()).count();
        check
            .warning(Some(Span { line: at + 1, column, end: column + bad.max(1) }), "not UTF-8: the line is read as Latin-1")
            .help("save the file as UTF-8");
    }
}

/// ` # …` ends no value, nor does a `;` that begins it; a value in quotes keeps them.
fn looks_like_a_comment(check: &mut Check<'_>, section: &str, entry: &Entry) {
    let first = entry.value.lines().next().unwrap_or_default();
    let comment = if first.starts_with(';') { Some(0) } else { first.find(" # ").or_else(|| first.find("\t# ")).map(|at| at + 1) };
    if let Some(at) = comment {
        let column = entry.column + first.get(..at).map_or(0, |b| b.chars().count());
        let span = Span { line: entry.line, column, end: value_span(entry).end };
        check
            .warning(Some(span), "this is no comment: it belongs to the value")
            .about(section, Some(&entry.key))
            .help("a comment stands on a line of its own, or behind a value, a blank and `;`");
    }
    let quoted = |q: char| first.len() > 1 && first.starts_with(q) && first.ends_with(q);
    if quoted('"') || quoted('\'') {
        check.warning(Some(value_span(entry)), "the quotes belong to the value").about(section, Some(&entry.key));
    }
}
