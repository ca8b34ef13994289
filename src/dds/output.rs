//! Where a stream goes: stdout, or a file that appears only when it is complete.

use super::device::{Source, reason};
use super::error::{Error, Result};
use nix::fcntl::{FcntlArg, fcntl};
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// What a pipe is asked to hold, so that both sides work in large steps.
const PIPE: i32 = 1 << 20;

/// An open output.
#[derive(Debug)]
pub struct Output {
    file: File,
    name: String,
    /// The file it becomes, when complete, and the one that it is until then.
    becomes: Option<(PathBuf, PathBuf)>,
}

impl Output {
    /// stdout, or `dest`: a regular file or nothing there yet, or a pipe; never one of the `sources`.
    pub fn open(dest: Option<&Path>, sources: &[&Source]) -> Result<Self> {
        let Some(path) = dest else { return Self::stdout() };
        let real = std::fs::canonicalize(path); // of a link, the file it means is replaced
        let path = real.as_deref().unwrap_or(path);
        let about = format!("destination {}", path.display());
        let failed = |e: io::Error| Error::new(about.clone(), reason(&e));
        for source in sources {
            source.refuse_same(path, "destination")?;
        }
        match std::fs::metadata(path) {
            Ok(meta) if meta.file_type().is_block_device() => {
                let hint = format!(
                    "--extract writes a stream, not a volume: was --merge meant? To put the stream there: dds --extract … | dd bs=1M of={}",
                    path.display()
                );
                Err(Error::new(about, "a block device").hint(hint))
            }
            Ok(meta) if meta.is_dir() => Err(Error::new(about, "a folder").hint("Name a file in it")),
            Ok(meta) if !meta.is_file() => {
                let file = OpenOptions::new().write(true).open(path).map_err(failed)?;
                widen(&file);
                Ok(Self { file, name: about, becomes: None })
            }
            _ => {
                let mut part = path.as_os_str().to_owned();
                part.push(".part");
                let part = PathBuf::from(part);
                let file = File::create(&part).map_err(|e| Error::new(format!("destination {}", part.display()), reason(&e)))?;
                Ok(Self { file, name: about, becomes: Some((path.to_owned(), part)) })
            }
        }
    }

    fn stdout() -> Result<Self> {
        let stdout = io::stdout();
        if stdout.is_terminal() {
            return Err(Error::usage("stdout", "is a terminal")
                .hint("Send the stream to `dds --merge` through a pipe, or name a file: --dest FILE"));
        }
        let file = stdout.as_fd().try_clone_to_owned().map_err(|e| Error::new("stdout", reason(&e)))?;
        widen(&file);
        Ok(Self { file: file.into(), name: "stdout".into(), becomes: None })
    }

    /// Writes all of it.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|e| self.failed(&e))
    }

    /// A file is on the disk, under its name, afterwards.
    pub fn finish(mut self) -> Result<()> {
        let Some((path, part)) = &self.becomes else { return Ok(()) };
        self.file.sync_all().and_then(|()| std::fs::rename(part, path)).map_err(|e| self.failed(&e))?;
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let done = File::open(folder).and_then(|f| f.sync_all()).map_err(|e| self.failed(&e));
        self.becomes = None;
        done
    }

    fn failed(&self, e: &io::Error) -> Error {
        match e.kind() {
            io::ErrorKind::BrokenPipe => {
                Error::new(self.name.clone(), "the receiver ended before it had all").hint("Its own message says why")
            }
            _ => Error::new(self.name.clone(), format!("cannot write: {}", reason(e))),
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some((_, part)) = &self.becomes {
            _ = std::fs::remove_file(part); // what is not complete is not kept
        }
    }
}

/// Lets a pipe hold more; a file is left as it is.
pub fn widen(file: impl AsFd) {
    _ = fcntl(file, FcntlArg::F_SETPIPE_SZ(PIPE));
}
