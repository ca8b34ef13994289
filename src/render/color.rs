//! Colours: on a terminal only, never in what a script reads.

use crate::status::Status;
use owo_colors::{OwoColorize, Style};

/// Colours or plain text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Palette {
    /// Escape sequences are written.
    pub on: bool,
}

/// The value of `--color`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum When {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Palette {
    /// Decides for one output stream.
    pub fn new(when: When, is_terminal: bool, no_color: bool) -> Self {
        Self {
            on: match when {
                When::Always => true,
                When::Never => false,
                When::Auto => is_terminal && !no_color,
            },
        }
    }

    fn paint(self, text: &str, style: Style) -> String {
        if self.on { text.style(style).to_string() } else { text.to_owned() }
    }

    /// `text` (a padded state) in the colour of `status`.
    pub fn state(self, status: Status, text: &str) -> String {
        let style = match status {
            Status::Up | Status::StdbyUp | Status::StdbyUpWithUp | Status::StdbyUpWithDown => Style::new().green(),
            Status::Down | Status::StdbyDown => Style::new().red(),
            Status::Warn => Style::new().yellow(),
            Status::Na | Status::Todo | Status::Undef => Style::new().dimmed(),
        };
        self.paint(text, style)
    }

    /// A title.
    pub fn bold(self, text: &str) -> String {
        self.paint(text, Style::new().bold())
    }

    /// An error.
    pub fn error(self, text: &str) -> String {
        self.paint(text, Style::new().red().bold())
    }

    /// A warning.
    pub fn warning(self, text: &str) -> String {
        self.paint(text, Style::new().yellow())
    }
}
