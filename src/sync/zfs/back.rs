//! A copy goes back to what it was: what a transfer that was broken off has left goes; what somebody wrote is found, and
//! stays.

use super::guard::is_protected;
use super::{Zfs, incoming, names};
use crate::error::{Error, Result};
use crate::host::Cx;
use crate::host::zfs::{self, Dataset, Snapshot, Tree};
use crate::state::gate::Held;
use crate::state::replica::{self, State};

/// The witness of a copy that is as it was received.
pub(super) const UNTOUCHED: &str = "untouched";

pub(super) fn unmount(cx: &Cx, tree: &Tree) -> Result<()> {
    tree.datasets.iter().rev().filter(|d| d.mounted).try_for_each(|d| zfs::change(cx, &["zfs", "unmount", &d.name]))
}

impl Zfs {
    /// What of `tree` this sync is about.
    pub(super) fn scope<'t>(&self, tree: &'t Tree) -> &'t [Dataset] {
        let all = tree.datasets.as_slice();
        if self.recursive { all } else { all.get(..1).unwrap_or_default() }
    }

    /// The snapshot of the top one that the copy is on record as, here; of one that is not known, the newest confirmed.
    pub(super) fn on_record<'t>(&self, cx: &Cx, top: &'t Dataset) -> Option<&'t Snapshot> {
        let file = replica::read(&cx.host.paths.var, cx.service, cx.rid);
        let file = file.known().filter(|f| f.node == cx.host.node);
        let ids = file.into_iter().flat_map(|f| [f.applying.as_ref(), Some(&f.image)]).flatten();
        let recorded = ids.filter_map(|image| top.with(image.id.as_deref()?)).next();
        recorded.or_else(|| self.newest(top))
    }

    /// The newest snapshot of ours that is not on its way.
    pub(super) fn newest<'t>(&self, top: &'t Dataset) -> Option<&'t Snapshot> {
        top.snapshots.iter().rev().find(|s| self.names.are(&s.name) && s.name != self.names.tosend())
    }

    /// Where among its snapshots `dataset` has the one that belongs to `base` of the top one. It has the same name, unless
    /// a receiver was killed while it gave all of them the names that the sender has.
    fn at(&self, dataset: &Dataset, base: &Snapshot) -> Option<usize> {
        let names = [base.name.clone(), self.names.kept(&base.guid), self.names.sent()];
        names.iter().find_map(|name| dataset.snapshots.iter().position(|s| s.name == *name))
    }

    /// Makes the copy such that the changes since `base` go into it, without a write of anybody being lost. Where.
    pub(super) fn make_ready(&self, cx: &Cx, dataset: &str, base: &str, held: &Held) -> Result<String> {
        let tree = zfs::tree(cx, dataset, &self.mark(cx))?;
        let tree = tree.ok_or_else(|| Error::text(format!("{dataset} does not exist on {}", cx.host.node)))?;
        let found = tree.top().and_then(|top| top.with(base));
        let found = found.ok_or_else(|| Error::text(format!("{dataset} has no snapshot {base} on {} any more", cx.host.node)))?;
        let given_up = held.state == Some(State::Orphan);
        if !given_up {
            self.no_snapshot_of_others(cx, &tree, found)?;
        }
        unmount(cx, &tree)?;
        zfs::clear_folders(cx, dataset);
        incoming::begin(cx, base)?;
        // what a holder did after its last snapshot when it gave its data away: it unmounted. had anybody written since,
        // its witness would be another one
        let handed =
            held.state == Some(State::Replica) && held.image.id.as_deref() == Some(base) && held.witness.as_deref() != Some(UNTOUCHED);
        let another_sync = self.scope(&tree).iter().any(|d| self.newer(d, found).iter().any(|s| names::of_a_sync(&s.name)));
        self.take_back(cx, &tree, found, given_up || handed || another_sync)?;
        if found.name == self.names.tosend() {
            // the next one is called so
            self.rename(cx, dataset, &found.name, &self.names.kept(base))?;
        }
        self.protect(cx, dataset)?;
        Ok(dataset.to_owned())
    }

    /// What came to `dataset` after `base`.
    fn newer<'d>(&self, dataset: &'d Dataset, base: &Snapshot) -> &'d [Snapshot] {
        self.at(dataset, base).and_then(|at| dataset.snapshots.get(at + 1..)).unwrap_or_default()
    }

    /// The error: somebody made a snapshot of the copy, and nothing can be received over it. It is not ours to destroy.
    fn no_snapshot_of_others(&self, cx: &Cx, tree: &Tree, base: &Snapshot) -> Result<()> {
        let strange = |d: &&Dataset| self.newer(d, base).iter().any(|s| !names::of_a_sync(&s.name));
        let Some(dataset) = self.scope(tree).iter().find(strange) else { return Ok(()) };
        let snapshot = self.newer(dataset, base).iter().find(|s| !names::of_a_sync(&s.name)).map_or("", |s| &s.name);
        let top = tree.top().map_or("", |top| &top.name);
        Err(Error::text(format!(
            "{}@{snapshot} was made on {} after the last transfer, and zfs receives nothing over it. it is not destroyed, as somebody may want it. keep what makes snapshots away from this copy; then, on {1}: zfs destroy -r {top}@{snapshot}",
            dataset.name, cx.host.node
        )))
    }

    /// Takes all datasets back to `base` where a transfer that was broken off has left something; with `all`, whatever came
    /// after it. What came with that transfer alone goes.
    pub(super) fn take_back(&self, cx: &Cx, tree: &Tree, base: &Snapshot, all: bool) -> Result<()> {
        let mut gone: Vec<String> = Vec::new();
        for dataset in self.scope(tree) {
            if gone.iter().any(|top| dataset.name.starts_with(top.as_str())) {
                continue;
            }
            let at = self.at(dataset, base);
            let newer = dataset.snapshots.get(at.map_or(0, |at| at + 1)..).unwrap_or_default();
            let left = newer.iter().any(|s| s.name == self.names.tosend());
            match at.and_then(|at| dataset.snapshots.get(at)) {
                Some(base) if left || all => {
                    self.let_go(cx, dataset, newer);
                    zfs::change(cx, &["zfs", "rollback", "-r", &format!("{}@{}", dataset.name, base.name)])?;
                }
                None if left => {
                    zfs::change(cx, &["zfs", "destroy", "-r", &dataset.name])?;
                    gone.push(format!("{}/", dataset.name));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// No sync of the service holds these any more.
    pub(super) fn let_go(&self, cx: &Cx, dataset: &Dataset, snapshots: &[Snapshot]) {
        for held in snapshots.iter().filter(|s| s.holds > 0) {
            for rid in &self.rids {
                _ = zfs::quietly(cx, &["zfs", "release", &zfs::mark(cx.service, rid), &format!("{}@{}", dataset.name, held.name)]);
            }
        }
    }

    /// What shows that somebody wrote to `dataset`: the data have left behind the newest snapshot that came from the sender.
    /// One that somebody made since is no write, nor is a dataset that somebody made below.
    pub(super) fn told(&self, cx: &Cx, dataset: &str) -> Result<Option<String>> {
        let Some(tree) = zfs::tree(cx, dataset, &self.mark(cx))? else { return Ok(None) };
        let Some(top) = tree.top() else { return Ok(None) };
        let Some(base) = self.on_record(cx, top) else {
            // a base that somebody has destroyed is no write, where nothing can be written
            return Ok(Some(if is_protected(cx, dataset) { UNTOUCHED.into() } else { top.name.clone() }));
        };
        let told: Vec<String> = self.scope(&tree).iter().filter_map(|d| self.written_to(d, base)).collect();
        Ok(Some(if told.is_empty() { UNTOUCHED.to_owned() } else { told.join(";") }))
    }

    /// The same of one dataset, whose base on record is `base`: what shows it.
    pub(super) fn written_to(&self, dataset: &Dataset, base: &Snapshot) -> Option<String> {
        let of_sender = |s: &Snapshot| self.names.are(&s.name) || s.name == base.name;
        let at = dataset.snapshots.iter().rposition(of_sender)?;
        let since = dataset.snapshots.get(at..).unwrap_or_default();
        let used: u64 = since.iter().map(|s| s.used).sum();
        // a block that two snapshots have is of neither alone
        let moved = since.len() > 1 && since.iter().any(|s| s.refers != dataset.refers);
        (used > 0 || moved).then(|| format!("{} {used} {}", dataset.name, dataset.refers))
    }
}
