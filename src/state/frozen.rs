//! The frozen flags: `var/FROZEN` for the node, `var/FROZEN.NAME` for a service.

use super::atomic;
use crate::error::{Error, Result};
use std::path::{Path, PathBuf};

fn flag(var: &Path, service: Option<&str>) -> PathBuf {
    match service {
        Some(name) => var.join(format!("FROZEN.{name}")),
        None => var.join("FROZEN"),
    }
}

/// The service or the whole node is frozen.
pub fn is_frozen(var: &Path, service: &str) -> bool {
    flag(var, Some(service)).exists() || flag(var, None).exists()
}

/// The flag of this service alone (or, with `None`, of the node) is set.
pub fn is_set(var: &Path, service: Option<&str>) -> bool {
    flag(var, service).exists()
}

/// Sets the flag of a service, or of the node.
pub fn freeze(var: &Path, service: Option<&str>) -> Result<()> {
    atomic::write(&flag(var, service), b"")
}

/// Removes the flag of a service; without one, removes every flag.
pub fn thaw(var: &Path, service: Option<&str>) -> Result<()> {
    let remove = |path: &Path| match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path)(e)),
        _ => Ok(()),
    };
    if service.is_some() {
        return remove(&flag(var, service));
    }
    let Ok(entries) = std::fs::read_dir(var) else { return Ok(()) };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with("FROZEN") {
            remove(&entry.path())?;
        }
    }
    Ok(())
}
