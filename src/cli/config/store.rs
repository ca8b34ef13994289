//! The service file on disk: read, and replaced as a whole by its edited self.

use crate::config::env::EnvFile;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::host::lock::Lock;
use crate::log::Logger;
use crate::service::validate::{Diagnostic, Severity, Viewer, validate};
use crate::state::atomic;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How long another edit of the same file is waited for.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// One service file.
pub(super) struct Store<'a> {
    pub host: &'a Host,
    pub log: &'a Logger,
    pub name: &'a str,
    /// Says what it would do, writes nothing.
    pub dry_run: bool,
}

impl Store<'_> {
    pub fn path(&self) -> PathBuf {
        self.host.paths.env_file(self.name)
    }

    pub fn load(&self) -> Result<EnvFile> {
        EnvFile::load(&self.path()).map_err(|e| Error::text(e.to_string()))
    }

    pub fn viewer(&self) -> Viewer<'_> {
        Viewer { node: &self.host.node, host_mode: self.host.conf.host_mode() }
    }

    /// Held while the file is read, edited and replaced, so that of two edits none is lost.
    pub fn lock(&self) -> Result<Option<Lock>> {
        if self.dry_run {
            return Ok(None);
        }
        Lock::wait(&self.host.paths.var.join("lock").join(format!("{}.conf", self.name)), LOCK_WAIT).map(Some)
    }

    /// Replaces the file by what `edit` makes of it, atomically; an unchanged one is not touched.
    pub fn change(&self, edit: impl FnOnce(&EnvFile) -> Result<EnvFile>) -> Result<()> {
        let _lock = self.lock()?;
        let old = self.load()?;
        let new = edit(&old)?;
        self.replace(old, new)
    }

    /// Replaces `old` by `new`, unless somebody has changed the file since `old` was read. The lock is held.
    pub fn replace(&self, old: EnvFile, new: EnvFile) -> Result<()> {
        if new.to_bytes() == old.to_bytes() {
            return Ok(());
        }
        // a link to a file kept elsewhere stays a link
        let path = fs::canonicalize(self.path()).map_err(Error::io("read", &self.path()))?;
        if fs::read(&path).map_err(Error::io("read", &path))? != old.to_bytes() {
            return Err(Error::text(format!("{}: changed by somebody else meanwhile; nothing written", path.display())));
        }
        if self.dry_run {
            self.log.info(format!("would write {}", self.path().display()));
        } else {
            atomic::write(&path, new.to_bytes())?;
        }
        self.say_new(&validate(&Arc::new(old), self.name, self.viewer()), new);
        Ok(())
    }

    /// What is wrong with the new file and was not before: said, not refused, as 2014 took any value.
    pub fn say_new(&self, before: &[Diagnostic], new: EnvFile) {
        let file = self.path().display().to_string();
        for finding in validate(&Arc::new(new), self.name, self.viewer()) {
            if before.iter().any(|b| b.message == finding.message) {
                continue;
            }
            let place = finding.span.map_or_else(String::new, |s| format!(":{}:{}", s.line, s.column));
            let help = finding.help.map_or_else(String::new, |h| format!(" ({h})"));
            let line = format!("{file}{place}: {}{help}", finding.message);
            match finding.severity {
                Severity::Error => self.log.error(line),
                Severity::Warning => self.log.warning(line),
            }
        }
    }
}
