//! What dds says when it fails: what, why, and what to do.

use std::fmt;

/// A result of this island.
pub type Result<T> = std::result::Result<T, Error>;

/// `WHAT: WHY. WHAT TO DO`, and the exit status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    what: String,
    why: String,
    hint: Option<String>,
    usage: bool,
}

impl Error {
    /// Work failed: exit 1.
    pub fn new(what: impl Into<String>, why: impl fmt::Display) -> Self {
        Self { what: what.into(), why: why.to_string(), hint: None, usage: false }
    }

    /// The command line is wrong: exit 2.
    pub fn usage(what: impl Into<String>, why: impl fmt::Display) -> Self {
        Self { usage: true, ..Self::new(what, why) }
    }

    /// With a sentence (no full stop at its end) that says what to do, after those there are.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        let hint = hint.into();
        self.hint = Some(match self.hint {
            Some(before) => format!("{before}. {hint}"),
            None => hint,
        });
        self
    }

    /// The exit status: 1 failed, 2 usage.
    pub fn code(&self) -> u8 {
        if self.usage { 2 } else { 1 }
    }

    /// The whole message starts with what a caller was doing: `PREFIX: WHAT: WHY`.
    #[must_use]
    pub fn during(mut self, prefix: &str) -> Self {
        self.what = format!("{prefix}: {}", self.what);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)?;
        match &self.hint {
            Some(hint) => write!(f, ". {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}
