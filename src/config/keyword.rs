//! What a keyword is: drivers hold tables of them, which feed parsing, validate, templates and help.

/// The type of a keyword's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// Any text.
    Text,
    /// `1/yes/true/on` or `0/no/false/off`, any case.
    Bool,
    /// A decimal integer.
    Int,
    /// Words separated by white space.
    Words,
    /// A JSON list: schedules.
    Json,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A command line, split on white space, run without a shell.
    Command,
    /// `90s`, `2m`, `1h`, `3d`, seconds; or one of these words.
    Duration(&'static [&'static str]),
}

impl Type {
    /// In words, for help and errors.
    pub fn name(self) -> String {
        match self {
            Self::Text => "text".into(),
            Self::Bool => "boolean".into(),
            Self::Int => "integer".into(),
            Self::Words => "words".into(),
            Self::Json => "JSON".into(),
            Self::Choice(words) => format!("one of {}", words.join(", ")),
            Self::Command => "command".into(),
            Self::Duration([]) => "duration".into(),
            Self::Duration(words) => format!("duration, or {}", words.join(", ")),
        }
    }
}

/// One row of a driver's table.
#[derive(Debug, Clone, Copy)]
pub struct Keyword {
    /// As spelled in the file, lower case.
    pub name: &'static str,
    /// Type of its value.
    pub ty: Type,
    /// Default, as one would write it; empty: none.
    pub default: &'static str,
    /// `name@scope` is looked up.
    pub scopable: bool,
    /// The section is useless without it.
    pub required: bool,
    /// Another spelling to use instead.
    pub deprecated: Option<&'static str>,
    /// An example value, for templates.
    pub example: &'static str,
    /// One line for help and templates: what it does, the unit.
    pub help: &'static str,
}

impl Keyword {
    /// An optional, scopable keyword without a default.
    pub const fn new(name: &'static str, ty: Type, help: &'static str) -> Self {
        Self { name, ty, default: "", scopable: true, required: false, deprecated: None, example: "", help }
    }

    /// Must be there.
    #[must_use]
    pub const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    /// Has a default.
    #[must_use]
    pub const fn default(self, default: &'static str) -> Self {
        Self { default, ..self }
    }

    /// Not looked up with scopes.
    #[must_use]
    pub const fn unscoped(self) -> Self {
        Self { scopable: false, ..self }
    }

    /// Accepted, with a warning naming the one to use.
    #[must_use]
    pub const fn deprecated(self, instead: &'static str) -> Self {
        Self { deprecated: Some(instead), ..self }
    }

    /// Shown in templates.
    #[must_use]
    pub const fn example(self, example: &'static str) -> Self {
        Self { example, ..self }
    }
}
