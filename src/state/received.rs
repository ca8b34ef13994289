//! `var/NAME/env.received`: the service file as it came from another node, or as this node has sent it since. What
//! differs from it in `etc` was edited here, and nobody else has it.

use super::atomic;
use crate::error::{Error, Result};
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The file.
pub fn path(var: &Path, service: &str) -> PathBuf {
    var.join(service).join("env.received")
}

/// What was received. `None`: nothing ever was, as far as is known.
pub fn read(var: &Path, service: &str) -> Option<Vec<u8>> {
    std::fs::read(path(var, service)).ok().filter(|text| !text.is_empty())
}

/// Remembers it. A service file may hold passwords: only its owner reads the copy.
pub fn write(var: &Path, service: &str, text: &[u8]) -> Result<()> {
    let path = path(var, service);
    if let Some(folder) = path.parent().filter(|_| !path.exists()) {
        std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        OpenOptions::new().create(true).append(true).mode(0o600).open(&path).map_err(Error::io("write", &path))?;
    }
    atomic::write(&path, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn kept_and_private() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path(), "svc1"), None);
        for text in ["[DEFAULT]\n", "[DEFAULT]\nnodes = n1\n"] {
            write(dir.path(), "svc1", text.as_bytes()).unwrap();
            assert_eq!(read(dir.path(), "svc1").as_deref(), Some(text.as_bytes()));
        }
        assert_eq!(std::fs::metadata(path(dir.path(), "svc1")).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
