//! One-line edits of an env file: comments, order, blanks and spellings of all other lines survive.
//!
//! Each edit is read back and compared with what was there: an edit that would not give exactly
//! what was asked, or would touch anything else, is refused and nothing is returned.

use super::env::{DEFAULT, Entry, EnvFile, Line, Section, classify, decode, is_space, strip};
use std::collections::{BTreeMap, BTreeSet};

/// The meaning of a file, without places: section, key, value. A section without keys counts too.
type Meaning = BTreeMap<String, BTreeMap<String, String>>;

/// `section.key = value`. The section is made at the end of the file when it is not there; a key
/// that is there keeps its place, its spelling and its inline comment. A value of several lines is
/// written as indented continuation lines.
pub fn set(file: &EnvFile, section: &str, key: &str, value: &str) -> Result<EnvFile, String> {
    let section = canonical(section);
    let spelled = strip(key);
    let key = spelled.to_ascii_lowercase();
    let value: Vec<&str> = strip(value).split('\n').map(strip).collect();
    let old = file.section(section).and_then(|s| s.get(&key));
    if old.is_some_and(|e| e.value == value.join("\n")) {
        return Ok(file.clone());
    }
    let mut text = Text::of(file);
    match file.section(section) {
        None => text.append_section(section, spelled, &value),
        Some(found) => match found.get(&key) {
            Some(entry) => text.replace(entry, &value),
            None => text.insert_after(last_line(found.headers.last(), &found.entries, &found.shadowed), spelled, &value),
        },
    }
    let mut wanted = meaning(file);
    wanted.entry(section.into()).or_default().insert(key, value.join("\n"));
    text.finish(file, &wanted, &format!("{section}.{spelled} = {:?}", value.join("\n")))
}

/// Removes `section.key`, every spelling of it in the section, with its continuation lines.
pub fn unset(file: &EnvFile, section: &str, key: &str) -> Result<EnvFile, String> {
    let section = canonical(section);
    let key = strip(key).to_ascii_lowercase();
    let Some(found) = file.section(section) else { return Err(format!("section '{section}' not found")) };
    if found.get(&key).is_none() {
        return Err(format!("option '{key}' not found in section '{section}'"));
    }
    let mut text = Text::of(file);
    for entry in found.entries.iter().chain(&found.shadowed).filter(|e| e.key == key) {
        text.blank_out(std::iter::once(entry.line).chain(entry.continued.iter().copied()));
    }
    let mut wanted = meaning(file);
    wanted.entry(section.into()).or_default().remove(&key);
    text.finish(file, &wanted, &format!("unset {section}.{key}"))
}

/// Removes a section, all its blocks. Comments that stand directly above the next header stay:
/// they speak of what follows.
pub fn remove_section(file: &EnvFile, section: &str) -> Result<EnvFile, String> {
    let section = canonical(section);
    let Some(found) = file.section(section) else { return Err(format!("section '{section}' not found")) };
    let mut text = Text::of(file);
    for header in &found.headers {
        text.blank_out(*header..text.block_end(*header));
    }
    let mut wanted = meaning(file);
    wanted.remove(section);
    text.finish(file, &wanted, &format!("remove [{section}]"))
}

/// `[default]` is read as `[DEFAULT]`.
fn canonical(section: &str) -> &str {
    if section == "default" { DEFAULT } else { section }
}

fn meaning(file: &EnvFile) -> Meaning {
    let keys = |s: &Section| s.entries.iter().map(|e| (e.key.clone(), e.value.clone())).collect();
    file.sections().chain(file.section(DEFAULT)).map(|s| (s.name.clone(), keys(s))).collect()
}

/// The last line of a section's last block that says something.
fn last_line(header: Option<&usize>, entries: &[Entry], shadowed: &[Entry]) -> usize {
    let lines = entries.iter().chain(shadowed).flat_map(|e| e.continued.last().into_iter().chain([&e.line]));
    header.into_iter().chain(lines).copied().max().unwrap_or(0)
}

/// The lines of a file while they are edited; line numbers go on meaning what they meant.
struct Text {
    lines: Vec<Vec<u8>>,
    end: &'static str,
}

impl Text {
    fn of(file: &EnvFile) -> Self {
        let lines: Vec<Vec<u8>> = file.lines().map(<[u8]>::to_vec).collect();
        let crlf = lines.first().is_some_and(|l| l.ends_with(b"\r\n"));
        Self { lines, end: if crlf { "\r\n" } else { "\n" } }
    }

    /// A key and its value, as lines with their ends.
    fn render(&self, before: &str, value: &[&str], comment: &str) -> Vec<u8> {
        let (first, more) = value.split_first().map_or(("", value), |(first, more)| (*first, more));
        let mut out = format!("{before}{first}{comment}{}", self.end);
        for piece in more {
            out.push('\t');
            out.push_str(piece);
            out.push_str(self.end);
        }
        out.into_bytes()
    }

    fn replace(&mut self, entry: &Entry, value: &[&str]) {
        let Some(old) = entry.line.checked_sub(1).and_then(|at| self.lines.get(at)) else { return };
        let text = decode(old).into_owned();
        let Line::Option(parts) = classify(&text) else { return };
        let written = text.get(..parts.start).unwrap_or(&text).trim_end_matches(['\r', '\n']);
        // an empty value leaves nothing between the `=` and the line's end: keep the style `key = value`
        let blank = if written.trim_end_matches(['=', ':']).ends_with(is_space) && !written.ends_with(is_space) { " " } else { "" };
        let comment = text.get(parts.end..).unwrap_or_default().trim_end_matches(is_space);
        // the bytes of an untouched part stay as they are, also where they are not UTF-8
        let new = if matches!(decode(old), std::borrow::Cow::Borrowed(_)) {
            self.render(&format!("{written}{blank}"), value, comment)
        } else {
            self.render(&format!("{} = ", parts.key), value, "")
        };
        self.blank_out(entry.continued.iter().copied());
        if let Some(line) = self.lines.get_mut(entry.line - 1) {
            *line = new;
        }
    }

    fn insert_after(&mut self, line: usize, key: &str, value: &[&str]) {
        let new = self.render(&format!("{key} = "), value, "");
        let end = self.end;
        if let Some(at) = line.checked_sub(1).and_then(|at| self.lines.get_mut(at)) {
            if !at.ends_with(b"\n") {
                at.extend_from_slice(end.as_bytes());
            }
            at.extend_from_slice(&new);
        }
    }

    fn append_section(&mut self, section: &str, key: &str, value: &[&str]) {
        let blank = self.lines.last().is_none_or(|l| strip(&decode(l)).is_empty() && l.ends_with(b"\n"));
        let ended = self.lines.last().is_none_or(|l| l.ends_with(b"\n"));
        let mut new = if ended { String::new() } else { self.end.to_owned() };
        if !blank {
            new.push_str(self.end);
        }
        new.push_str(&format!("[{section}]{}", self.end));
        let mut new = new.into_bytes();
        new.extend(self.render(&format!("{key} = "), value, ""));
        self.lines.push(new);
    }

    fn blank_out(&mut self, lines: impl Iterator<Item = usize>) {
        for number in lines {
            if let Some(line) = number.checked_sub(1).and_then(|at| self.lines.get_mut(at)) {
                line.clear();
            }
        }
    }

    fn is(&self, number: usize, what: fn(&Line<'_>, &str) -> bool) -> bool {
        self.lines.get(number - 1).is_some_and(|l| {
            let text = decode(l);
            what(&classify(&text), strip(&text))
        })
    }

    /// The line behind the block that begins at `header`, without comments that belong to the next one.
    fn block_end(&self, header: usize) -> usize {
        let mut end = header + 1;
        while end <= self.lines.len() && !self.is(end, |line, _| matches!(line, Line::Header(_))) {
            end += 1;
        }
        if end <= self.lines.len() {
            while end > header + 1 && self.is(end - 1, |line, text| *line == Line::Nothing && !text.is_empty()) {
                end -= 1;
            }
        }
        end
    }

    /// Reads the result back and compares.
    fn finish(self, old: &EnvFile, wanted: &Meaning, what: &str) -> Result<EnvFile, String> {
        let file = old.path().display();
        let new = EnvFile::parse(old.path(), self.lines.concat()).map_err(|e| format!("{what}: would make the file unreadable: {e}"))?;
        let got = meaning(&new);
        if &got == wanted {
            return Ok(new);
        }
        let names: BTreeSet<&String> = wanted.keys().chain(got.keys()).collect();
        let differs = names.into_iter().find(|n| wanted.get(*n) != got.get(*n)).cloned().unwrap_or_default();
        Err(format!("{what}: cannot be written: {file} would read differently in section [{differs}]; nothing is changed"))
    }
}

#[cfg(test)]
#[path = "edit_tests.rs"]
mod tests;
