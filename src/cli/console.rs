//! Where words end up: stdout, the console lines on stderr, the log files.

use crate::host::paths::Paths;
use crate::log::{Event, Level, Sink};
use crate::render::color::Palette;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Size at which a log file is rotated, and how many old ones are kept.
const LOG_MAX: u64 = 5_242_880;
const LOG_KEPT: u32 = 5;

/// Writes to stdout. A reader that went away (`| head`) is no error.
pub fn out(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// Writes a line to stderr.
pub fn err(line: &str) {
    let mut stderr = io::stderr().lock();
    let _ = writeln!(stderr, "{line}");
}

/// Console lines on stderr, each event in one write.
pub struct Console {
    /// Below this, nothing is shown.
    pub min: Level,
    /// Colours of stderr.
    pub palette: Palette,
    /// To stdout instead, plainly: a peer reads it.
    pub tell: bool,
}

impl Sink for Console {
    fn emit(&self, event: &Event) {
        if event.level < self.min {
            return;
        }
        let line = event.console_line();
        if self.tell {
            return out(&format!("{line}\n"));
        }
        err(&match event.level {
            Level::Error => self.palette.error(&line),
            Level::Warning => self.palette.warning(&line),
            _ => line,
        });
    }
}

/// `log/NAME.log`. A log that cannot be written never stops an action: it is said once on stderr.
pub struct LogFile {
    path: PathBuf,
    min: Level,
    complained: Mutex<bool>,
}

impl LogFile {
    /// The log of a service, or of the node with `node`.
    pub fn new(paths: &Paths, name: &str, min: Level) -> Self {
        Self { path: paths.log.join(format!("{name}.log")), min, complained: Mutex::new(false) }
    }

    fn write(&self, line: &str) -> io::Result<()> {
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        if fs::metadata(&self.path).is_ok_and(|m| m.len() > LOG_MAX) {
            rotate(&self.path)?;
        }
        OpenOptions::new().append(true).create(true).open(&self.path)?.write_all(line.as_bytes())
    }
}

fn rotate(path: &Path) -> io::Result<()> {
    let numbered = |n: u32| PathBuf::from(format!("{}.{n}", path.display()));
    for n in (1..LOG_KEPT).rev() {
        if numbered(n).exists() {
            fs::rename(numbered(n), numbered(n + 1))?;
        }
    }
    fs::rename(path, numbered(1))
}

impl Sink for LogFile {
    fn emit(&self, event: &Event) {
        if event.level < self.min {
            return;
        }
        let result = self.write(&format!("{}\n", event.file_line()));
        if let (Err(e), Ok(mut complained)) = (result, self.complained.lock())
            && !*complained
        {
            *complained = true;
            err(&format!("cannot write {}: {e}. going on without it", self.path.display()));
        }
    }
}
