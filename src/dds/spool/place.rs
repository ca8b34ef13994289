//! Where a delta belongs: the beginning of the file, before the stream (docs/dds-format.md).

use crate::dds::error::{Error, Result};
use crate::dds::frame::{Fields, HASH, fill};
use crate::dds::place::reason;
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The first eight bytes.
pub const MAGIC: [u8; 8] = *b"\x89DDSD\r\n\x1a";
const VERSION: u32 = 1;
const FIXED: usize = 24;
/// The longest path.
const PATH_MAX: usize = 4096;

/// A destination, by its name and size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// From the root on. A symbolic link is kept as it is: the number behind `/dev/VG/LV` changes.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
}

impl Place {
    /// Of `path`, which has `size` bytes.
    ///
    /// # Errors
    /// There is no current folder.
    pub fn of(path: &Path, size: u64) -> Result<Self> {
        let path = std::path::absolute(path).map_err(|e| Error::new(format!("destination {}", path.display()), reason(&e)))?;
        Ok(Self { path, size })
    }

    /// `path` is another name of it, or the same.
    pub fn is(&self, path: &Path) -> bool {
        let real = |path: &Path| std::fs::canonicalize(path).ok();
        std::path::absolute(path).is_ok_and(|path| path == self.path) || real(path).is_some_and(|path| real(&self.path) == Some(path))
    }

    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let path = self.path.as_os_str().as_bytes();
        let mut out =
            [MAGIC.as_slice(), &VERSION.to_le_bytes(), &(path.len() as u32).to_le_bytes(), &self.size.to_le_bytes(), path].concat();
        out.extend(blake3::hash(&out).as_bytes());
        out
    }

    /// Reads it.
    ///
    /// # Errors
    /// It is none, of another version, or damaged; `input`'s.
    pub fn read(input: &mut impl Read) -> Result<Self> {
        let mut bytes = vec![0; FIXED];
        fill(input, &mut bytes, "before its header")?;
        let mut at = Fields(&bytes);
        let (magic, version, length, size): ([u8; 8], _, _, _) = (at.take(), at.u32(), at.u32() as usize, at.u64());
        if magic == MAGIC && version != VERSION {
            let why = format!("it is of version {version}, this program reads version {VERSION}");
            return Err(Error::new("the delta", why).hint("Install the version of dds that received it"));
        }
        let damaged = || Error::new("the delta", "damaged: where it belongs is not known");
        if magic != MAGIC || length > PATH_MAX {
            return Err(damaged());
        }
        bytes.resize(FIXED + length + HASH, 0);
        fill(input, bytes.get_mut(FIXED..).unwrap_or_default(), "before its header")?;
        let (body, hash) = bytes.split_at(FIXED + length);
        if blake3::hash(body).as_bytes() != hash {
            return Err(damaged());
        }
        Ok(Self { path: OsString::from_vec(body.get(FIXED..).unwrap_or_default().to_vec()).into(), size })
    }
}
