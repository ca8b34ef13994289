//! The disks of a filesystem, found by its label.

use super::{NOT_INSTALLED, is_installed};
use crate::error::{Error, Result};
use crate::host::Cx;
use crate::host::blkid::{Labelled, labelled};
use crate::host::facts::Mount;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The devices that were found, by label, while they are remembered.
static FOUND: Mutex<Option<BTreeMap<String, Vec<String>>>> = Mutex::new(None);

fn found() -> MutexGuard<'static, Option<BTreeMap<String, Vec<String>>>> {
    FOUND.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on each is looked for once.
pub(super) fn remember() {
    found().get_or_insert_default();
}

/// From now on they are looked for each time.
pub(super) fn forget() {
    *found() = None;
}

/// The devices of the one btrfs filesystem with this label. Takes a look at every disk, unless they are remembered.
pub fn devices(cx: &Cx, label: &str) -> Result<Vec<String>> {
    let known = found().as_ref().and_then(|all| all.get(label).cloned());
    if let Some(known) = known {
        return Ok(known);
    }
    let devices = look_for(cx, label)?;
    if let Some(all) = found().as_mut() {
        all.insert(label.to_owned(), devices.clone());
    }
    Ok(devices)
}

fn look_for(cx: &Cx, label: &str) -> Result<Vec<String>> {
    if !is_installed() {
        return Err(Error::text(format!("{NOT_INSTALLED} on {}", cx.host.node)));
    }
    let found: Vec<Labelled> = labelled(cx, label).into_iter().filter(|f| f.fstype == "btrfs").collect();
    let node = &cx.host.node;
    match found.as_slice() {
        [one] => Ok(one.devices.clone()),
        [] => Err(Error::text(format!(
            "no btrfs filesystem on {node} has the label {label}: is its disk there? blkid -t LABEL={label}. to name one: btrfs filesystem label DEVICE {label}"
        ))),
        several => {
            let all: Vec<String> = several.iter().map(|f| format!("{} ({})", f.devices.join(" "), f.uuid)).collect();
            Err(Error::text(format!(
                "several btrfs filesystems on {node} have the label {label}: {}. give the others another one: btrfs filesystem label DEVICE NAME",
                all.join(", ")
            )))
        }
    }
}

/// A mount point of the filesystem with this label, whatever of it is mounted there; nothing is mounted for it.
pub fn mount(cx: &Cx, label: &str) -> Option<Mount> {
    let devices = devices(cx, label).ok()?;
    cx.host.facts.mounts().iter().find(|m| m.fstype == "btrfs" && is_of(&m.source, &devices)).cloned()
}

/// One of `devices` is `source`, by whatever name: a kernel says `/dev/dm-3` or `/dev/mapper/x`, as it was mounted or scanned.
pub(super) fn is_of(source: &str, devices: &[String]) -> bool {
    let real = |name: &str| std::fs::canonicalize(name).unwrap_or_else(|_| name.into());
    devices.iter().any(|device| device == source || real(device) == real(source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_has_several_names() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
        std::fs::write(at("dm-7"), "").unwrap();
        std::os::unix::fs::symlink("dm-7", at("x")).unwrap();
        assert!(is_of(&at("dm-7"), &[at("y"), at("x")]) && is_of(&at("gone"), &[at("gone")]));
        assert!(!is_of(&at("dm-7"), &[at("y")]) && !is_of(&at("x"), &[]));
    }
}
