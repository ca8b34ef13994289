//! Files written so that a reader, or a crash, sees the old or the new content, never a part.

use crate::error::{Error, Result};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;

/// Writes `bytes` to `path`: temporary file beside it, fsync, rename, fsync of the folder. The folder
/// is made when missing. The mode and owner of an existing file are kept; a new one gets 0644.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    let old = fs::metadata(path).ok();
    let mode = old.as_ref().map_or(0o644, |m| m.permissions().mode() & 0o7777);
    let mut temp = tempfile::Builder::new().prefix(".").tempfile_in(folder).map_err(Error::io("write in", folder))?;
    temp.write_all(bytes).map_err(Error::io("write", path))?;
    temp.as_file().set_permissions(fs::Permissions::from_mode(mode)).map_err(Error::io("set the mode of", path))?;
    if let Some(old) = old {
        fchown(temp.as_file(), Some(old.uid()), Some(old.gid())).map_err(Error::io("set the owner of", path))?;
    }
    temp.as_file().sync_all().map_err(Error::io("write", path))?;
    #[cfg(debug_assertions)]
    crate::steps::writing(path);
    temp.persist(path).map_err(|e| Error::io("write", path)(e.error))?;
    fs::File::open(folder).and_then(|f| f.sync_all()).map_err(Error::io("sync", folder))?;
    #[cfg(debug_assertions)]
    crate::steps::written(path);
    Ok(())
}
