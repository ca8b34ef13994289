//! The one error type: what a command could not do, said once.

use std::path::{Path, PathBuf};

/// Why something was not done. `Display` is the whole message for the person at the terminal.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line is wrong: exit status 2.
    #[error("{0}")]
    Usage(String),
    /// Anything else, in words: exit status 1.
    #[error("{0}")]
    Text(String),
    /// The details are already in the log; nothing more to say.
    #[error("see the lines above")]
    Reported,
    /// A file or folder operation failed.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was being done: "read", "write", "rename"…
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system answered.
        source: std::io::Error,
    },
}

/// Result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error in words.
    pub fn text(s: impl Into<String>) -> Self {
        Self::Text(s.into())
    }

    /// For `map_err`: wraps an io error with what was being done to which file.
    pub fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { doing, path, source }
    }

    /// The exit status this error stands for.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            _ => 1,
        }
    }
}
