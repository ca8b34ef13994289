//! The env file, losslessly: its bytes, and the sections and keys that 2014's parser saw in them.
//!
//! The grammar is that of Python 2's `RawConfigParser`, quirks included: services written for it
//! must mean the same here. Nothing is interpreted: keys are still `key@scope`.

use indexmap::IndexMap;
use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

/// The section whose keys every other section inherits.
pub const DEFAULT: &str = "DEFAULT";

/// Characters of a wrong line that a message shows.
const SHOWN: usize = 80;

/// One `key = value`, with its continuation lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key, lower case.
    pub key: String,
    /// The key as the file spells it.
    pub spelled: String,
    /// The value: stripped, inline comment cut, continuation lines joined with newlines.
    pub value: String,
    /// Line of the key, from 1.
    pub line: usize,
    /// Column of the value in that line, in characters from 1. The key is always at column 1.
    pub column: usize,
    /// Lines that continue the value, from 1; they need not be adjacent.
    pub continued: Vec<usize>,
}

/// One section; blocks of the same name are merged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Section {
    /// As written between the brackets; DEFAULT for `[default]`.
    pub name: String,
    /// Lines of its headers, from 1: more than one when the file repeats the section.
    pub headers: Vec<usize>,
    /// Keys that count, in the order in which each was first written.
    pub entries: Vec<Entry>,
    /// Earlier spellings of keys written again: the last one wins.
    pub shadowed: Vec<Entry>,
}

impl Section {
    /// The entry of `key` (lower case), without DEFAULT.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|e| e.key == key)
    }

    fn add(&mut self, entry: Entry) -> usize {
        match self.entries.iter().position(|e| e.key == entry.key) {
            Some(at) => {
                if let Some(old) = self.entries.get_mut(at) {
                    self.shadowed.push(std::mem::replace(old, entry));
                }
                at
            }
            None => {
                self.entries.push(entry);
                self.entries.len() - 1
            }
        }
    }
}

/// A parsed env file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EnvFile {
    path: PathBuf,
    raw: Vec<u8>,
    defaults: Section,
    sections: IndexMap<String, Section>,
}

/// One line that is not of the grammar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// The line, from 1; 0: the file as a whole.
    pub line: usize,
    /// The column, in characters from 1.
    pub column: usize,
    /// The line as written.
    pub text: String,
    /// What is wrong with it.
    pub why: String,
}

/// Everything that makes a file unreadable: the file is refused as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseErrors {
    /// The file.
    pub path: PathBuf,
    /// In line order, at least one.
    pub errors: Vec<ParseError>,
    /// The file could not be read at all.
    pub io: Option<std::io::ErrorKind>,
}

impl fmt::Display for ParseErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, e) in self.errors.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{}:", self.path.display())?;
            if e.line > 0 {
                let shown: String = e.text.chars().take(SHOWN).collect();
                let more = if shown.len() < e.text.len() { "…" } else { "" };
                write!(f, "{}:{}: {}: {shown:?}{more}", e.line, e.column, e.why)?;
            } else {
                write!(f, " {}", e.why)?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for ParseErrors {}

/// White space of a byte string in the C locale, as 2014's parser knew it.
pub(super) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

/// Strips it on both sides.
pub(super) fn strip(s: &str) -> &str {
    s.trim_matches(is_space)
}

/// The text of a line. 2014 files may hold Latin-1: a line that is not UTF-8 is read as that.
pub fn decode(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(bytes.iter().map(|b| char::from(*b)).collect()),
    }
}

/// What a line is by itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// Blank, or a comment.
    Nothing,
    /// Begins with white space: continues a value, if there is one.
    Indented(&'a str),
    /// `[name]`, whatever follows.
    Header(&'a str),
    /// `key = value`.
    Option(Split<'a>),
    /// None of these.
    Garbage,
}

/// The parts of a `key = value` line: together they are the line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Split<'a> {
    /// As spelled, without the blanks that follow.
    pub key: &'a str,
    /// The value as read.
    pub value: &'a str,
    /// Byte offset of the value as written.
    pub start: usize,
    /// Byte offset behind the value as written: an inline comment or the line's end follows.
    pub end: usize,
}

/// Reads one line, its end included or not.
pub(super) fn classify(line: &str) -> Line<'_> {
    match line.chars().next() {
        None | Some('#' | ';') => return Line::Nothing,
        Some('r' | 'R') if is_rem(line) => return Line::Nothing,
        Some('[') => {
            // the name may not be empty; it may hold anything but `]`
            if let Some((name, _)) = line.get(1..).and_then(|rest| rest.split_once(']')).filter(|(name, _)| !name.is_empty()) {
                return Line::Header(name);
            }
        }
        Some(first) if is_space(first) => {
            let more = strip(line);
            return if more.is_empty() { Line::Nothing } else { Line::Indented(more) };
        }
        Some(_) => {}
    }
    split(line).map_or(Line::Garbage, Line::Option)
}

fn is_rem(line: &str) -> bool {
    line.split(is_space).next().is_some_and(|word| word.eq_ignore_ascii_case("rem"))
}

fn split(line: &str) -> Option<Split<'_>> {
    let (key, rest) = line.split_once([':', '='])?;
    if key.is_empty() {
        return None;
    }
    let start = key.len() + 1 + (rest.len() - rest.trim_start_matches(is_space).len());
    let written = line.get(start..)?;
    let end = start + cut_comment(written).len();
    Some(Split { key: key.trim_end_matches(is_space), value: value_of(written), start, end })
}

/// The value of what is written behind the `=`: an inline comment cut, blanks stripped, `""` empty.
pub(super) fn value_of(written: &str) -> &str {
    let value = cut_comment(written);
    if value == "\"\"" { "" } else { value }
}

/// Cuts an inline comment and the blanks before it: only the first `;` counts, and only behind white space.
fn cut_comment(written: &str) -> &str {
    let value = written.strip_suffix('\n').unwrap_or(written);
    let Some(at) = value.find(';') else { return value.trim_end_matches(is_space) };
    let (before, _) = value.split_at(at);
    // 2014 looked at `value[at - 1]`: for a value that begins with `;`, that is its last character
    let neighbour = if at == 0 { value } else { before }.chars().next_back();
    if neighbour.is_some_and(is_space) { before } else { value }.trim_end_matches(is_space)
}

/// A file being read.
struct Reader<'a> {
    file: EnvFile,
    errors: Vec<ParseError>,
    section: Option<usize>,
    entry: Option<usize>,
    headless: bool,
    path: &'a Path,
}

/// `Reader::section` for DEFAULT.
const DEFAULTS: usize = usize::MAX;

impl Reader<'_> {
    fn section(&mut self) -> Option<&mut Section> {
        match self.section? {
            DEFAULTS => Some(&mut self.file.defaults),
            at => self.file.sections.get_index_mut(at).map(|(_, s)| s),
        }
    }

    fn line(&mut self, number: usize, line: &str) {
        match classify(line) {
            Line::Nothing => {}
            Line::Header(name) => self.header(number, name),
            Line::Indented(more) if self.entry.is_some() => self.more(number, more),
            _ if self.section.is_none() => self.before_any_section(number, line),
            Line::Indented(_) => self.error(number, line, "indented, but there is no key above that it could continue"),
            Line::Option(parts) => self.option(number, line, &parts),
            Line::Garbage => self.error(number, line, "neither a [section], a key = value, nor a comment"),
        }
    }

    fn header(&mut self, number: usize, name: &str) {
        self.entry = None;
        if name == DEFAULT || name == "default" {
            self.section = Some(DEFAULTS);
        } else {
            let entry = self.file.sections.entry(name.to_owned());
            self.section = Some(entry.index());
            entry.or_insert_with(|| Section { name: name.to_owned(), ..Section::default() });
        }
        if let Some(section) = self.section() {
            section.headers.push(number);
        }
    }

    fn more(&mut self, number: usize, more: &str) {
        let Some(at) = self.entry else { return };
        if let Some(entry) = self.section().and_then(|s| s.entries.get_mut(at)) {
            entry.value.push('\n');
            entry.value.push_str(more);
            entry.continued.push(number);
        }
    }

    fn option(&mut self, number: usize, line: &str, parts: &Split<'_>) {
        let before = line.get(..parts.start).unwrap_or(line);
        let column = 1 + if before.is_ascii() { before.len() } else { before.chars().count() };
        let entry = Entry {
            key: parts.key.to_ascii_lowercase(),
            spelled: parts.key.to_owned(),
            value: parts.value.to_owned(),
            line: number,
            column,
            continued: Vec::new(),
        };
        self.entry = self.section().map(|s| s.add(entry));
    }

    fn before_any_section(&mut self, number: usize, line: &str) {
        if !std::mem::replace(&mut self.headless, true) {
            let bom = number == 1 && line.starts_with('\u{feff}');
            self.error(number, line, if bom { "a byte order mark: remove it" } else { "before any [section]" });
        }
    }

    fn error(&mut self, number: usize, line: &str, why: &str) {
        let text = line.trim_end_matches(is_space);
        let column = 1 + text.chars().take_while(|c| is_space(*c)).count();
        self.errors.push(ParseError { line: number, column, text: text.trim_start_matches(is_space).into(), why: why.into() });
    }

    fn end(self) -> Result<EnvFile, ParseErrors> {
        if self.errors.is_empty() { Ok(self.file) } else { Err(ParseErrors { path: self.path.into(), errors: self.errors, io: None }) }
    }
}

impl EnvFile {
    /// Reads `path`.
    pub fn load(path: &Path) -> Result<Self, ParseErrors> {
        let raw = std::fs::read(path).map_err(|e| ParseErrors {
            path: path.into(),
            errors: vec![ParseError { line: 0, column: 0, text: String::new(), why: format!("cannot read: {e}") }],
            io: Some(e.kind()),
        })?;
        Self::parse(path, raw)
    }

    /// Parses `raw`; `path` is only a name. All the lines that are wrong are reported at once.
    pub fn parse(path: &Path, raw: impl Into<Vec<u8>>) -> Result<Self, ParseErrors> {
        let raw = raw.into();
        let mut reader = Reader {
            file: Self { path: path.into(), defaults: Section { name: DEFAULT.into(), ..Section::default() }, ..Self::default() },
            errors: Vec::new(),
            section: None,
            entry: None,
            headless: false,
            path,
        };
        match std::str::from_utf8(&raw) {
            Ok(text) => text.split_inclusive('\n').enumerate().for_each(|(i, line)| reader.line(i + 1, line)),
            Err(_) => raw.split_inclusive(|b| *b == b'\n').enumerate().for_each(|(i, line)| reader.line(i + 1, &decode(line))),
        }
        reader.file.raw = raw;
        reader.end()
    }

    /// The file as it was read, byte for byte.
    pub fn to_bytes(&self) -> &[u8] {
        &self.raw
    }

    /// Its lines with their ends, undecoded.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.raw.split_inclusive(|b| *b == b'\n')
    }

    /// The name it was read under.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The sections in file order, without DEFAULT.
    pub fn sections(&self) -> impl Iterator<Item = &Section> {
        self.sections.values()
    }

    /// A section by its exact name; DEFAULT too.
    pub fn section(&self, name: &str) -> Option<&Section> {
        if name == DEFAULT {
            return (!self.defaults.headers.is_empty()).then_some(&self.defaults);
        }
        self.sections.get(name)
    }

    /// The DEFAULT section; empty when the file has none.
    pub fn defaults(&self) -> &Section {
        &self.defaults
    }

    /// The entry of `key` (lower case) in `section` (exact case), else in DEFAULT. A section that
    /// is not in the file sees DEFAULT.
    pub fn lookup(&self, section: &str, key: &str) -> Option<&Entry> {
        self.sections.get(section).and_then(|s| s.get(key)).or_else(|| self.defaults.get(key))
    }

    /// Where the value of `key` in `section` is written: `file:line:column`; the section's header
    /// when there is no such key, the file when there is no such section.
    pub fn place(&self, section: &str, key: &str) -> String {
        let file = self.path.display();
        match (self.lookup(section, key), self.section(section).and_then(|s| s.headers.first())) {
            (Some(e), _) => format!("{file}:{}:{}", e.line, e.column),
            (None, Some(header)) => format!("{file}:{header}:1"),
            (None, None) => file.to_string(),
        }
    }
}

#[cfg(test)]
#[path = "env_tests.rs"]
mod tests;
