//! Folders in which files are replaced: one dds at a time, and what was renamed or removed stays so after a crash.

use super::device::reason;
use super::error::{Error, Result};
use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::{Duration, Instant};

/// The lock of a folder; ends with its owner.
#[derive(Debug)]
pub struct Lock {
    folder: File,
}

impl Lock {
    /// Locks `path`; waits for another dds for at most `patience`.
    ///
    /// # Errors
    /// No such folder; another dds is at work in it.
    pub fn take(path: &Path, patience: Duration) -> Result<Self> {
        let failed = |e: std::io::Error| Error::new(format!("folder {}", path.display()), reason(&e));
        let folder = File::open(path).map_err(failed)?;
        let started = Instant::now();
        loop {
            match folder.try_lock() {
                Ok(()) => return Ok(Self { folder }),
                Err(TryLockError::Error(e)) => return Err(failed(e)),
                Err(TryLockError::WouldBlock) if started.elapsed() >= patience => {
                    let what = format!("folder {}", path.display());
                    return Err(Error::new(what, "another dds is at work in it").hint("Wait for that one to end, then repeat this"));
                }
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Names made, changed and removed in the folder until now are on the disk.
    ///
    /// # Errors
    /// The disk's.
    pub fn sync(&self) -> Result<()> {
        self.folder.sync_all().map_err(|e| Error::new("folder", format!("cannot flush: {}", reason(&e))))
    }
}

/// The folder that `file` is in.
pub fn of(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => Path::new("/"),
    }
}
