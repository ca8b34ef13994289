//! What a path is: which device or file, how long, in whose use; and errors of the system in words.

use super::error::{Error, Result};
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// What a path means, whatever its name: a device number or an inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// Its number.
    Device(u64),
    /// Its file system and inode.
    File(u64, u64),
}

/// Of `path`, which messages call `what`. Neither device nor regular file is an error.
pub fn identity(path: &Path, what: &str) -> Result<Identity> {
    let about = || format!("{what} {}", path.display());
    let meta = std::fs::metadata(path).map_err(|e| Error::new(about(), reason(&e)))?;
    if meta.file_type().is_block_device() {
        Ok(Identity::Device(meta.rdev()))
    } else if meta.is_file() {
        Ok(Identity::File(meta.dev(), meta.ino()))
    } else {
        Err(Error::new(about(), "neither a block device nor a regular file"))
    }
}

/// An error of the system in words without its number.
pub fn reason(e: &io::Error) -> String {
    match e.raw_os_error() {
        Some(number) => nix::Error::from_raw(number).desc().to_owned(),
        None => e.to_string(),
    }
}

/// The size of a file or device, bytes.
pub fn end(file: &File) -> io::Result<u64> {
    let mut file = file;
    file.seek(SeekFrom::End(0)) // metadata says 0 for a device
}

/// An offset as the system takes it.
pub fn cast(offset: u64) -> io::Result<i64> {
    i64::try_from(offset).map_err(|_| io::Error::from(nix::Error::EOVERFLOW))
}

/// The loop device that a file is attached to, if any: its content is in use there.
pub fn attached(path: &Path) -> Option<String> {
    let path = std::fs::canonicalize(path).ok()?;
    let blocks = std::fs::read_dir("/sys/block").ok()?;
    let names = blocks.filter_map(|b| b.ok()?.file_name().into_string().ok()).filter(|name| name.starts_with("loop"));
    let backing = |name: &String| std::fs::read_to_string(format!("/sys/block/{name}/loop/backing_file")).ok();
    names.into_iter().find(|name| backing(name).is_some_and(|file| Path::new(file.trim_end_matches('\n')) == path))
}
