//! What keeps others from a copy, and a sync from what is not its copy: properties of the dataset.

use super::Zfs;
use crate::error::{Error, Result};
use crate::host::Cx;
use crate::host::zfs::{self, Tree};
use crate::state::gate::Held;
use crate::state::replica::State;

/// What a copy is while it is received into: nothing mounts it, nothing writes to it.
const PROTECTED: [(&str, &str); 3] = [("canmount", "noauto"), ("mountpoint", "none"), ("readonly", "on")];

pub(super) fn is_protected(cx: &Cx, dataset: &str) -> bool {
    let now = zfs::local(cx, dataset, &["mountpoint", "readonly"]);
    now.len() == 2 && PROTECTED.iter().all(|(name, wanted)| now.get(*name).is_none_or(|value| value == wanted))
}

/// The sync that a copy is of.
const OWNER: &str = "svcmgr:copy-of";

/// Where the value is kept that a property had.
fn kept(property: &str) -> String {
    format!("svcmgr:was-{property}")
}

impl Zfs {
    /// The error: what is there cannot be what this sync has put there.
    pub(super) fn no_stranger(&self, cx: &Cx, tree: &Tree, held: &Held) -> Result<()> {
        let (Some(top), node, rid) = (tree.top(), &cx.host.node, cx.rid) else { return Ok(()) };
        let name = &top.name;
        let owner = zfs::local(cx, name, &[OWNER]).remove(OWNER);
        if let Some(other) = owner.as_ref().filter(|owner| **owner != self.mark(cx)) {
            let kept = top.snapshots.iter().filter(|s| s.holds > 0);
            let release: String = kept.map(|s| format!("zfs release {other} {name}@{}; ", s.name)).collect();
            return Err(Error::text(format!(
                "{name} on {node} is the copy of another sync, {}. nothing is received, as it would be replaced. name another dst in [{rid}]; or, if that sync is no more, on {node}: {release}zfs inherit {OWNER} {name}",
                other.trim_start_matches("svcmgr:")
            )));
        }
        let empty = || {
            let mount = zfs::property(cx, name, "mountpoint").map(|(path, _)| path).filter(|_| top.mounted && tree.datasets.len() == 1);
            mount.and_then(|path| std::fs::read_dir(path).ok()).is_some_and(|mut entries| entries.next().is_none())
        };
        let known = owner.is_some() || held.state != Some(State::None) || top.snapshots.iter().any(|s| self.names.are(&s.name));
        if known || empty() {
            return Ok(());
        }
        Err(Error::text(format!(
            "what {name} is on {node} did not come from {rid} of {}. nothing is received, as it would be replaced. name another dst in [{rid}]; or, to keep it elsewhere, on {node}: zfs rename {name} {name}.old   (to give it up: zfs destroy -r {name})",
            cx.service
        )))
    }

    /// Sets what keeps others from the copy, and keeps what was set before.
    pub(super) fn protect(&self, cx: &Cx, dataset: &str) -> Result<()> {
        let now = zfs::local(cx, dataset, &[PROTECTED.map(|(name, _)| name).as_slice(), &[OWNER]].concat());
        for (name, wanted) in PROTECTED {
            match now.get(name) {
                Some(value) if value == wanted => continue,
                Some(value) => zfs::quietly(cx, &["zfs", "set", &format!("{}={value}", kept(name)), dataset])?,
                None => {}
            }
            zfs::quietly(cx, &["zfs", "set", &format!("{name}={wanted}"), dataset])?;
        }
        let mark = self.mark(cx);
        if now.get(OWNER) == Some(&mark) { Ok(()) } else { zfs::quietly(cx, &["zfs", "set", &format!("{OWNER}={mark}"), dataset]) }
    }

    /// Undoes that, and mounts what no fs section mounts.
    pub(super) fn unprotect(&self, cx: &Cx, dataset: &str) -> Result<()> {
        if !is_protected(cx, dataset) {
            return Ok(());
        }
        let before = zfs::local(cx, dataset, &PROTECTED.map(|(name, _)| kept(name)).each_ref().map(String::as_str));
        for (name, _) in PROTECTED.iter().rev() {
            match before.get(&kept(name)) {
                Some(value) => {
                    zfs::change(cx, &["zfs", "set", &format!("{name}={value}"), dataset])?;
                    zfs::quietly(cx, &["zfs", "inherit", &kept(name), dataset])?;
                }
                None => zfs::change(cx, &["zfs", "inherit", "-S", name, dataset])?,
            }
        }
        if self.has_fs { Ok(()) } else { zfs::mount(cx, dataset) }
    }
}
