//! Locks on files: exclusive, waited for, gone with the process.

use crate::error::{Error, Result};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// A held lock; dropping it, or the end of the process, releases it. The file stays.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// The lock is someone else's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Process id written in the file, if readable.
    pub pid: Option<u32>,
    /// Its command line, if it still runs.
    pub command: Option<String>,
}

impl Held {
    /// The holder is one of us, at one of these actions.
    pub fn is_doing(&self, actions: &[&str]) -> bool {
        self.command.as_deref().is_some_and(|c| c.split(' ').skip(1).any(|word| actions.contains(&word)))
    }

    /// The word among `actions` that the holder is at.
    pub fn doing(&self, actions: &[&str]) -> Option<String> {
        let words = self.command.as_deref()?.split(' ').skip(1);
        words.into_iter().find(|word| actions.contains(word)).map(str::to_owned)
    }

    /// Signals the holder. The lock is held, so the pid it wrote is still its own.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        if let Some(pid) = self.pid.and_then(|pid| i32::try_from(pid).ok()) {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal);
        }
    }
}

impl std::fmt::Display for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match (&self.pid, &self.command) {
            (Some(pid), Some(command)) => write!(f, "process {pid}: {command}"),
            (Some(pid), None) => write!(f, "process {pid}"),
            (None, _) => write!(f, "another process"),
        }
    }
}

impl Lock {
    /// Tries once, then until `limit` has passed. `Ok(Err(held))`: somebody else has it.
    pub fn try_for(path: &Path, limit: Duration) -> Result<std::result::Result<Self, Held>> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        }
        // std opens with close-on-exec: children never inherit a lock
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(Error::io("open the lock", path))?;
        let until = Instant::now() + limit;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(100).min(limit));
                }
                Err(TryLockError::WouldBlock) => return Ok(Err(held(&mut file))),
                Err(TryLockError::Error(e)) => return Err(Error::io("lock", path)(e)),
            }
        }
        // 2014: the pid in decimal, no newline. A courtesy: on a full disk the lock counts all the same
        let write = |file: &mut File| -> std::io::Result<()> {
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0))?;
            write!(file, "{}", std::process::id())
        };
        let _ = write(&mut file);
        Ok(Ok(Self { _file: file }))
    }

    /// Who has the lock, if somebody has. Nothing is written, nobody is held up.
    pub fn holder(path: &Path) -> Option<Held> {
        let mut file = File::open(path).ok()?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Some(held(&mut file)),
            _ => None,
        }
    }

    /// Waits for the lock, or an error naming who has it.
    pub fn wait(path: &Path, limit: Duration) -> Result<Self> {
        Self::try_for(path, limit)?.map_err(|held| Error::text(format!("timed out waiting for lock {}, held by {held}", path.display())))
    }
}

fn held(file: &mut File) -> Held {
    let mut text = String::new();
    let _ = file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_string(&mut text));
    let pid: Option<u32> = text.trim().parse().ok();
    let command = pid.and_then(|pid| std::fs::read(format!("/proc/{pid}/cmdline")).ok()).filter(|c| !c.is_empty());
    // one that has ended is not who holds it: somebody locked without writing
    let pid = pid.filter(|pid| Path::new(&format!("/proc/{pid}")).exists());
    Held { pid, command: command.map(|c| String::from_utf8_lossy(&c).replace('\0', " ").trim_end().to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_taker_is_told_who_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock/svc1");
        let first = Lock::wait(&path, Duration::ZERO).unwrap();
        let held = Lock::try_for(&path, Duration::ZERO).unwrap().unwrap_err();
        assert_eq!(held.pid, Some(std::process::id()));
        assert_eq!(Lock::holder(&path), Some(held));
        drop(first);
        assert_eq!(Lock::holder(&path), None);
        assert!(Lock::try_for(&path, Duration::ZERO).unwrap().is_ok());
    }
}
