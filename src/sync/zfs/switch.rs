//! Everything anew: received beside the copy, put in its place, and the old one destroyed; what cannot be is put aside.

use super::back::unmount;
use super::{Zfs, source};
use crate::error::{Error, Result};
use crate::host::Cx;
use crate::host::zfs::{self, Dataset};
use crate::state::gate::Held;

impl Zfs {
    /// Beside `dataset`: the folder of what is not in its place, the new one, the old one.
    pub(super) fn stage(&self, cx: &Cx, dataset: &str) -> (String, String, String) {
        let parent = dataset.rsplit_once('/').map_or(dataset, |(parent, _)| parent);
        let stage = format!("{parent}/{}", zfs::stage(&self.mark(cx)));
        (stage.clone(), format!("{stage}/new"), format!("{stage}/old"))
    }

    /// Makes room beside the copy for a whole new one. Where.
    pub(super) fn make_room(&self, cx: &Cx, dataset: &str, held: &Held) -> Result<String> {
        if !dataset.contains('/') {
            return Err(Error::text(format!(
                "{dataset} is the top of a pool on {}: all of it cannot be put in place of what is there. put the data in a dataset below it, and name that in [{}]",
                cx.host.node, cx.rid
            )));
        }
        let (stage, new, old) = self.stage(cx, dataset);
        let there = zfs::tree(cx, dataset, &self.mark(cx))?;
        if let Some(tree) = &there {
            self.no_stranger(cx, tree, held)?;
            self.no_stranger_below(cx, tree)?;
        }
        if there.is_none() && zfs::tree(cx, &old, &self.mark(cx))?.is_some() {
            zfs::change(cx, &["zfs", "rename", &old, dataset])?;
        }
        self.clear(cx, &stage)?;
        zfs::change(cx, &["zfs", "create", "-p", "-o", "canmount=off", "-o", "mountpoint=none", "-o", "readonly=on", &stage])?;
        Ok(new)
    }

    /// All that was sent has arrived: every dataset has the new snapshot.
    pub(super) fn all_there(&self, cx: &Cx, dataset: &str, guid: &str, count: usize) -> Result<()> {
        for place in [self.stage(cx, dataset).1, dataset.to_owned()] {
            let Some(tree) = zfs::tree(cx, &place, &self.mark(cx))? else { continue };
            let Some(name) = tree.top().and_then(|top| top.with(guid)).map(|s| s.name.clone()) else { continue };
            let there = super::base::count(&tree, &name);
            if there >= count {
                return Ok(());
            }
            return Err(Error::text(format!("{there} of {count} datasets have arrived below {place}: send again")));
        }
        Err(Error::text(format!("the snapshot {guid} has not arrived in {dataset}: send again")))
    }

    /// Puts the new one in the place of the old, which stays beside until this is over. May be repeated.
    pub(super) fn exchange(&self, cx: &Cx, dataset: &str) -> Result<()> {
        let (_, new, old) = self.stage(cx, dataset);
        let Some(tree) = zfs::tree(cx, &new, &self.mark(cx))? else { return Ok(()) };
        unmount(cx, &tree)?;
        self.protect(cx, &new)?;
        if let Some(there) = zfs::tree(cx, dataset, &self.mark(cx))? {
            unmount(cx, &there)?;
            self.clear(cx, &old)?;
            zfs::change(cx, &["zfs", "rename", dataset, &old])?;
        }
        zfs::change(cx, &["zfs", "rename", &new, dataset])
    }

    /// The snapshot `guid` is called as the newest is; the older ones of ours are gone, and what the source has
    /// destroyed.
    pub(super) fn tidy(&self, cx: &Cx, dataset: &str, guid: &str) -> Result<()> {
        let Some(tree) = zfs::tree(cx, dataset, &self.mark(cx))? else { return Ok(()) };
        let Some((top, image)) = tree.top().and_then(|top| Some((top, top.with(guid)?))) else { return Ok(()) };
        for old in top.snapshots.iter().filter(|s| self.names.are(&s.name) && s.guid != guid) {
            source::retire(self, cx, dataset, old)?;
        }
        let name = self.call_sent(cx, dataset, image)?;
        _ = zfs::quietly(cx, &["zfs", "hold", &self.mark(cx), &format!("{dataset}@{name}")]);
        let ours = |d: &Dataset| d.snapshots.iter().any(|s| self.names.are(&s.name));
        for gone in self.scope(&tree).iter().skip(1).filter(|d| d.named(&image.name).is_none() && ours(d)) {
            if zfs::tree(cx, &gone.name, &self.mark(cx))?.is_some() {
                cx.log.info(format!("{} does not exist on the source any more", gone.name));
                self.remove(cx, &gone.name)?;
            }
        }
        Ok(())
    }

    /// Unmounts and destroys `dataset` with all below it, if it is there.
    fn remove(&self, cx: &Cx, dataset: &str) -> Result<()> {
        let Some(tree) = zfs::tree(cx, dataset, &self.mark(cx))? else { return Ok(()) };
        unmount(cx, &tree)?;
        tree.datasets.iter().for_each(|d| self.let_go(cx, d, &d.snapshots));
        zfs::change(cx, &["zfs", "destroy", "-r", dataset])
    }

    /// The same; what others hold, or have made a clone of, is put aside.
    pub(super) fn clear(&self, cx: &Cx, dataset: &str) -> Result<()> {
        let Err(e) = self.remove(cx, dataset) else { return Ok(()) };
        let aside = format!("{dataset}.{}", cx.host.clock.now().timestamp());
        cx.log.warning(format!("{e}. it stays until somebody destroys it: zfs destroy -r {aside}"));
        zfs::change(cx, &["zfs", "rename", dataset, &aside])
    }
}
