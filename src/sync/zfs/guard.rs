//! What keeps others from a copy, and a sync from what is not its copy: properties of the dataset.

use super::{Zfs, names};
use crate::error::{Error, Result};
use crate::host::Cx;
use crate::host::zfs::{self, Dataset, Tree};
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

/// What is kept of a property that was not set on the dataset itself.
const BY_ITSELF: &str = "inherit";

/// It was set on the dataset itself, here or where it came from.
fn is_own(source: &str) -> bool {
    matches!(source, "local" | "received")
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

    /// The error: something is below the copy that all of the new would not bring back.
    pub(super) fn no_stranger_below(&self, cx: &Cx, tree: &Tree) -> Result<()> {
        let Some(top) = tree.top() else { return Ok(()) };
        let marked = zfs::settings(cx, &top.name, &[OWNER]);
        let ours = |d: &Dataset| {
            let mark = marked.get(&d.name).and_then(|properties| properties.get(OWNER)).is_some_and(|(_, source)| is_own(source));
            self.recursive && (mark || d.snapshots.iter().any(|s| self.names.are(&s.name)))
        };
        let Some(stranger) = tree.datasets.iter().skip(1).find(|d| !ours(d)) else { return Ok(()) };
        let (name, rid) = (&stranger.name, cx.rid);
        let parent = top.name.rsplit_once('/').map_or("", |(parent, _)| parent);
        let short = name.rsplit_once('/').map_or(name.as_str(), |(_, short)| short);
        Err(Error::text(format!(
            "{name} on {} is below the copy and not part of {rid} of {}. nothing is received, as it would be destroyed with the copy that all of the new takes the place of. to keep it elsewhere, on {}: zfs rename {name} {parent}/{short}   (to give it up: zfs destroy -r {name})",
            cx.host.node, cx.service, cx.host.node
        )))
    }

    /// Sets what keeps others from the copy, and from what is below it and does not inherit that; keeps what was set before.
    pub(super) fn protect(&self, cx: &Cx, dataset: &str) -> Result<()> {
        let mark = self.mark(cx);
        let asked = [PROTECTED.map(|(name, _)| name).as_slice(), &[OWNER]].concat();
        let tree = zfs::tree(cx, dataset, &mark)?.unwrap_or_default();
        // what somebody made below it is left alone
        let ours = |d: &&Dataset| d.name == dataset || d.snapshots.iter().any(|s| names::of_a_sync(&s.name));
        let all = zfs::settings(cx, dataset, &asked);
        for of in self.scope(&tree).iter().filter(ours).map(|d| &d.name) {
            let (top, Some(now)) = (of == dataset, all.get(of)) else { continue };
            for (name, wanted) in PROTECTED {
                let Some((value, source)) = now.get(name) else { continue };
                // below it only what zfs would mount by itself, and where it could write
                let done =
                    if top { value == wanted && source == "local" } else { name == "canmount" || !is_own(source) || value == wanted };
                if done || value == "-" {
                    continue;
                }
                let before = if source == "local" { value } else { BY_ITSELF };
                zfs::quietly(cx, &["zfs", "set", &format!("{}={before}", kept(name)), of])?;
                zfs::quietly(cx, &["zfs", "set", &format!("{name}={wanted}"), of])?;
            }
            if now.get(OWNER).is_none_or(|(value, source)| *value != mark || source != "local") {
                zfs::quietly(cx, &["zfs", "set", &format!("{OWNER}={mark}"), of])?;
            }
        }
        Ok(())
    }

    /// Undoes that, and mounts what no fs section mounts.
    pub(super) fn unprotect(&self, cx: &Cx, dataset: &str) -> Result<()> {
        let names = PROTECTED.map(|(name, _)| kept(name));
        let mut changed = false;
        for (of, before) in zfs::settings(cx, dataset, &names.each_ref().map(String::as_str)) {
            for (name, kept) in PROTECTED.iter().map(|(name, _)| name).zip(&names).rev() {
                let value = before.get(kept).filter(|(_, source)| source == "local").map(|(value, _)| value.as_str());
                match value {
                    Some(BY_ITSELF) => zfs::change(cx, &["zfs", "inherit", "-S", name, &of])?,
                    Some(value) => zfs::change(cx, &["zfs", "set", &format!("{name}={value}"), &of])?,
                    None => continue,
                }
                // in a full pool not even that: what protects it the next time writes it anew
                _ = zfs::quietly(cx, &["zfs", "inherit", kept, &of]);
                changed = true;
            }
        }
        if changed && !self.has_fs { zfs::mount(cx, dataset) } else { Ok(()) }
    }
}
