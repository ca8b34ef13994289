//! What is wrong with a service file, all of it at once, each with its place. Reads nothing but the file.

mod keys;
mod leaks;
mod lines;
mod sections;
mod service;
mod subvolumes;

pub use sections::{keywords_of, types_of};

use crate::config::env::{DEFAULT, Entry, EnvFile, ParseErrors, Section};
use crate::config::scope::ServiceConfig;
use serde::{Serialize, Serializer};
use std::sync::Arc;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The service, or one of its sections, does not work: exit status 1.
    Error,
    /// Works, but hardly as it was meant.
    Warning,
}

/// Where in the file: one line, columns in characters from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Span {
    /// Line, from 1.
    pub line: usize,
    /// First column.
    pub column: usize,
    /// The column behind the last one.
    pub end: usize,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// Where; `None`: the file as a whole.
    #[serde(flatten, serialize_with = "span_or_nulls")]
    pub span: Option<Span>,
    /// The section it is about.
    pub section: Option<String>,
    /// The keyword it is about, without scope.
    pub key: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

fn span_or_nulls<S: Serializer>(span: &Option<Span>, s: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Place {
        line: Option<usize>,
        column: Option<usize>,
        end: Option<usize>,
    }
    Place { line: span.map(|s| s.line), column: span.map(|s| s.column), end: span.map(|s| s.end) }.serialize(s)
}

/// Who looks at the file: which node it is for, and what that node is for.
#[derive(Debug, Clone, Copy)]
pub struct Viewer<'a> {
    /// Host name, lower case.
    pub node: &'a str,
    /// `host_mode` of node.conf.
    pub host_mode: &'a str,
}

/// All errors and warnings of a readable file, in line order; those of the whole file first.
pub fn validate(env: &Arc<EnvFile>, service: &str, viewer: Viewer<'_>) -> Vec<Diagnostic> {
    let here = ServiceConfig::new(env.clone(), viewer.node);
    let everyone: Vec<ServiceConfig> = here.scope.everyone().map(|node| here.impersonate(node)).collect();
    let views = if everyone.is_empty() { vec![here.clone()] } else { everyone };
    let mut check = Check { env, here: &here, views: &views, service, viewer, found: Vec::new() };
    lines::check(&mut check);
    service::check(&mut check);
    keys::check(&mut check);
    leaks::check(&mut check);
    sections::check(&mut check);
    subvolumes::check(&mut check);
    let mut found = check.found;
    found.sort_by_key(|d| (d.span, d.severity));
    found
}

/// The errors of an unreadable file.
pub fn of_parse_errors(errors: &ParseErrors) -> Vec<Diagnostic> {
    let one = |e: &crate::config::env::ParseError| {
        let span = Span { line: e.line, column: e.column, end: e.column + e.text.chars().count() };
        let span = (e.line > 0).then_some(span);
        Diagnostic { severity: Severity::Error, span, section: None, key: None, message: e.why.clone(), help: None }
    };
    errors.errors.iter().map(one).collect()
}

/// A file being checked.
struct Check<'a> {
    env: &'a EnvFile,
    here: &'a ServiceConfig,
    views: &'a [ServiceConfig],
    service: &'a str,
    viewer: Viewer<'a>,
    found: Vec<Diagnostic>,
}

impl<'a> Check<'a> {
    /// All sections, DEFAULT first.
    fn all_sections(&self) -> impl Iterator<Item = &'a Section> + use<'a> {
        self.env.section(DEFAULT).into_iter().chain(self.env.sections())
    }

    /// A new finding; the caller may say more about it.
    #[allow(clippy::indexing_slicing, reason = "it has just been pushed")]
    fn add(&mut self, severity: Severity, span: Option<Span>, message: impl Into<String>) -> &mut Diagnostic {
        self.found.push(Diagnostic { severity, span, section: None, key: None, message: message.into(), help: None });
        let last = self.found.len() - 1;
        &mut self.found[last]
    }

    fn error(&mut self, span: Option<Span>, message: impl Into<String>) -> &mut Diagnostic {
        self.add(Severity::Error, span, message)
    }

    fn warning(&mut self, span: Option<Span>, message: impl Into<String>) -> &mut Diagnostic {
        self.add(Severity::Warning, span, message)
    }

    /// The value of a DEFAULT key as this node sees it, and where it is written.
    fn default(&self, key: &str) -> (&'a str, Option<Span>) {
        match self.here.entry(DEFAULT, key) {
            Some(e) => (e.value.as_str(), Some(value_span(e))),
            None => ("", self.env.section(DEFAULT).and_then(header_span)),
        }
    }
}

impl Diagnostic {
    fn about(&mut self, section: &str, key: Option<&str>) -> &mut Self {
        self.section = Some(section.to_owned());
        self.key = key.map(str::to_owned);
        self
    }

    fn help(&mut self, help: impl Into<String>) -> &mut Self {
        self.help = Some(help.into());
        self
    }

    fn did_you_mean(&mut self, nearest: Option<&str>) -> &mut Self {
        if let Some(word) = nearest {
            self.help = Some(format!("did you mean `{word}`?"));
        }
        self
    }
}

fn header_span(section: &Section) -> Option<Span> {
    section.headers.first().map(|line| Span { line: *line, column: 1, end: section.name.chars().count() + 3 })
}

fn key_span(entry: &Entry) -> Span {
    Span { line: entry.line, column: 1, end: 1 + entry.spelled.chars().count() }
}

/// The first line of the value; the key when the value is empty.
fn value_span(entry: &Entry) -> Span {
    let len = entry.value.lines().next().map_or(0, |l| l.chars().count());
    if len == 0 { key_span(entry) } else { Span { line: entry.line, column: entry.column, end: entry.column + len } }
}

/// The word `word` inside the value; the value when it is on a continuation line.
fn word_span(entry: &Entry, word: &str) -> Span {
    let first = entry.value.lines().next().unwrap_or_default();
    let whole = |at: usize| {
        let (before, after) = (first.get(..at).unwrap_or_default(), first.get(at + word.len()..).unwrap_or_default());
        (before.is_empty() || before.ends_with(char::is_whitespace)) && (after.is_empty() || after.starts_with(char::is_whitespace))
    };
    match first.match_indices(word).map(|(at, _)| at).find(|at| whole(*at)) {
        Some(at) => {
            let column = entry.column + first.get(..at).map_or(0, |b| b.chars().count());
            Span { line: entry.line, column, end: column + word.chars().count() }
        }
        None => value_span(entry),
    }
}

/// The candidate most like `word`, if one is like enough.
fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let allowed = (word.chars().count().div_ceil(3)).saturating_sub(1).clamp(usize::from(word.len() > 2), 3);
    let distance = |c: &&str| strsim::damerau_levenshtein(&word.to_lowercase(), &c.to_lowercase());
    candidates.into_iter().filter(|c| !c.is_empty()).min_by_key(distance).filter(|c| distance(c) <= allowed)
}

#[cfg(test)]
mod tests;
