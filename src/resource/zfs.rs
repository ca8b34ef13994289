//! fs of type zfs: a dataset on its mount point, with the datasets below it that are to be mounted.

use super::common::umount::{squeezed, umount};
use super::{Done, Driver, Dropped, Resource};
use crate::cmd::Cmd;
use crate::config::keyword::{Keyword, Type::Text};
use crate::config::scope::Params;
use crate::error::{Error, Result};
use crate::host::facts::Mount;
use crate::host::{Cx, Host, zfs};
use crate::report::Probe;
use crate::status::Status;
use std::path::Path;
use std::time::Duration;

/// Its row in the driver table.
pub const DRIVER: Driver = Driver {
    kind: "fs",
    types: &["zfs"],
    rtype: "fs",
    about: "a zfs dataset on a mount point",
    keywords: &[
        Keyword::new("dev", Text, "dataset").required().example("pool1/data"),
        Keyword::new("mnt", Text, "mount point; made when missing, set as the dataset's mountpoint").required().example("/srv/app1"),
        Keyword::new("mnt_opt", Text, "options, as for zfs mount -o").example("noatime"),
        Keyword::new("zone", Text, "accepted, unused on Linux"),
    ],
    build,
};

const MOUNT_TIMEOUT: Duration = Duration::from_secs(300);

struct Zfs {
    dev: String,
    mnt: String,
    options: String,
}

fn build(p: &Params) -> std::result::Result<Box<dyn Resource>, Dropped> {
    let mnt = p.text("mnt");
    let dev = p.required("dev")?.trim_end_matches('/').to_owned();
    let mnt = squeezed(mnt.ok_or_else(|| format!("mnt must be set in section {}", p.section))?);
    Ok(Box::new(Zfs { dev, mnt, options: p.text("mnt_opt").unwrap_or_default().into() }))
}

/// What is mounted, as zfs names it: some print a slash before a dataset.
fn dataset_of(mount: &Mount) -> Option<&str> {
    matches!(mount.fstype.as_str(), "zfs" | "fuse.zfs").then(|| mount.source.trim_start_matches('/'))
}

impl Zfs {
    fn there(&self, cx: &Cx) -> Option<Mount> {
        let facts = &cx.host.facts;
        facts.mount_at(&self.mnt).or_else(|| facts.mount_at(&facts.real_path(&self.mnt)).filter(|m| m.target != "/"))
    }

    fn mounted(&self, cx: &Cx) -> Option<Mount> {
        self.there(cx).filter(|m| dataset_of(m) == Some(&self.dev))
    }

    /// Something else is mounted there. Not what a receiver that was killed has left: an old zfs mounts what it receives,
    /// and the next receiver or start unmounts that.
    fn foreign(&self, cx: &Cx) -> Option<Mount> {
        let other = |m: &Mount| dataset_of(m).is_none_or(|d| d != self.dev && !zfs::is_staged(cx.service, d));
        self.there(cx).filter(|m| m.fstype != "autofs" && other(m))
    }

    /// A dataset below ours, wherever it is mounted.
    fn is_below(&self, mount: &Mount) -> bool {
        dataset_of(mount).and_then(|d| d.strip_prefix(&self.dev)).is_some_and(|rest| rest.starts_with('/'))
    }

    /// What goes with ours, deepest first: what is mounted below the mount point, and datasets below it that are mounted
    /// elsewhere; and whether it is such a dataset.
    fn nested(&self, cx: &Cx) -> Vec<(Mount, bool)> {
        let prefix = format!("{}/", cx.host.facts.real_path(&self.mnt));
        let mounts = cx.host.facts.mounts();
        let with_it = mounts.iter().map(|m| (m, self.is_below(m))).filter(|(m, below)| *below || m.target.starts_with(&prefix));
        let mut nested: Vec<_> = with_it.map(|(m, below)| (m.clone(), below)).collect();
        nested.sort_by(|(a, _), (b, _)| b.target.cmp(&a.target));
        nested
    }

    fn property(&self, cx: &Cx, name: &str) -> Result<(String, bool)> {
        zfs::property(cx, &self.dev, name).ok_or_else(|| {
            let pool = self.dev.split('/').next().unwrap_or_default();
            Error::text(format!("the dataset {} is not there on {}. is its pool imported? zpool import {pool}", self.dev, cx.host.node))
        })
    }

    /// The dataset goes to our mount point, and to no other; only we mount it.
    fn adjust(&self, cx: &Cx) -> Result<()> {
        if self.property(cx, "canmount")?.0 != "noauto" {
            zfs::change(cx, &["zfs", "set", "canmount=noauto", &self.dev])?;
        }
        if self.property(cx, "mountpoint")?.0 != self.mnt {
            zfs::change(cx, &["zfs", "set", &format!("mountpoint={}", self.mnt), &self.dev])?;
        }
        Ok(())
    }

    /// What zfs has mounted by itself, at boot: ours, where it was before; datasets below, which ours would cover.
    fn unmount_early(&self, cx: &Cx) -> Result<()> {
        let (all, below) = (cx.host.facts.mounts(), self.nested(cx));
        let below = below.iter().filter(|(_, ours)| *ours).filter_map(|(m, _)| dataset_of(m));
        let own = all.iter().filter_map(dataset_of).filter(|d| *d == self.dev).take(1);
        below.chain(own).try_for_each(|dataset| zfs::change(cx, &["zfs", "unmount", dataset]))?;
        zfs::clear_folders(cx, &self.dev);
        Ok(())
    }

    fn mount(&self, cx: &Cx, legacy: bool) -> Result<()> {
        let mut argv = if legacy { vec!["mount", "-t", "zfs"] } else { vec!["zfs", "mount"] };
        if !self.options.is_empty() {
            argv.extend(["-o", &self.options]);
        }
        argv.push(&self.dev);
        argv.extend(legacy.then_some(self.mnt.as_str()));
        cx.must(&Cmd::change(argv).timeout(MOUNT_TIMEOUT)).map(|_| ())
    }
}

impl Resource for Zfs {
    fn label(&self, _host: &Host) -> String {
        format!("{}@{}", self.dev, self.mnt)
    }

    fn status(&self, cx: &Cx) -> Probe {
        match (self.mounted(cx), self.foreign(cx)) {
            (Some(mount), _) if mount.is_ro() && !self.options.split(',').any(|o| o == "ro") => {
                Probe::because(Status::Warn, "fs is not writable")
            }
            (Some(_), _) => match zfs::unmounted(cx, &self.dev).iter().find(|(name, _)| *name != self.dev) {
                Some((name, mnt)) => Probe::because(Status::Warn, format!("{name} is not mounted on {mnt}: start mounts it")),
                None => Probe::new(Status::Up),
            },
            (None, Some(other)) => Probe::because(Status::Warn, format!("{} is mounted there instead", other.source)),
            (None, None) if !zfs::is_installed() => Probe::because(Status::Na, zfs::NOT_INSTALLED),
            (None, None) => match self.nested(cx).iter().rfind(|(_, ours)| *ours) {
                Some((below, _)) => {
                    let name = dataset_of(below).unwrap_or_default();
                    Probe::because(Status::Down, format!("{name} is mounted without it on {}: start mounts both anew", below.target))
                }
                None => Probe::new(Status::Down),
            },
        }
    }

    fn start(&self, cx: &Cx) -> Result<Done> {
        if self.mounted(cx).is_some() {
            cx.log.info(format!("fs({} {}) is already mounted", self.dev, self.mnt));
            // who mounted it may have died before those below it
            zfs::mount(cx, &self.dev)?;
            return Ok(Done::Already);
        }
        if !zfs::is_installed() {
            return Err(Error::text(zfs::NOT_INSTALLED));
        }
        if let Some(other) = self.foreign(cx) {
            return Err(Error::text(format!(
                "{} already holds another filesystem: {} ({}). umount it first",
                self.mnt, other.source, other.fstype
            )));
        }
        let (mountpoint, own) = self.property(cx, "mountpoint")?;
        if mountpoint == "none" && own && self.property(cx, "readonly")? == ("on".into(), true) {
            return Err(Error::text(format!(
                "{} is a copy that is received into: a takeover mounts it, startstandby does not. if it is always_on in [{}], take that out",
                self.dev, cx.rid
            )));
        }
        self.unmount_early(cx)?;
        if !Path::new(&self.mnt).exists() {
            cx.log.info(format!("create missing mountpoint {}", self.mnt));
            std::fs::create_dir_all(&self.mnt).map_err(Error::io("create", Path::new(&self.mnt)))?;
        }
        let legacy = mountpoint == "legacy";
        if !legacy {
            self.adjust(cx)?;
        }
        if self.mounted(cx).is_none() {
            self.mount(cx, legacy)?;
            cx.host.facts.forget();
        }
        if self.mounted(cx).is_none() {
            return Err(Error::text(format!("zfs mount succeeded, yet {} is not on {}", self.dev, self.mnt)));
        }
        zfs::mount(cx, &self.dev)?;
        Ok(Done::Changed)
    }

    fn stop(&self, cx: &Cx) -> Result<Done> {
        if let Some(other) = self.foreign(cx) {
            return Err(Error::text(format!(
                "{} holds {} ({}), not {}: not umounted. umount it by hand, or correct dev in section {}",
                self.mnt, other.source, other.fstype, self.dev, cx.rid
            )));
        }
        let (mounted, nested) = (self.mounted(cx).is_some(), self.nested(cx));
        if !mounted && !nested.iter().any(|(_, ours)| *ours) {
            cx.log.info(format!("fs({} {}) is already umounted", self.dev, self.mnt));
            return Ok(Done::Already);
        }
        let others: Vec<&str> = nested.iter().filter(|(_, ours)| !ours).map(|(m, _)| m.target.as_str()).collect();
        if mounted && !others.is_empty() {
            return Err(Error::text(format!("failed to umount {}: still mounted below it: {}", self.mnt, others.join(", "))));
        }
        for (mount, _) in nested.iter().filter(|(_, ours)| *ours) {
            // by its name: of a path zfs-fuse says now and then that it is no zfs
            let dataset = dataset_of(mount).unwrap_or(&mount.target);
            umount(cx, &mount.target, &["zfs", "unmount", dataset], || cx.host.facts.mount_at(&mount.target).is_some())?;
        }
        if mounted {
            // zfs(8) leaves a legacy mount to umount(8)
            let legacy = self.property(cx, "mountpoint").is_ok_and(|(mountpoint, _)| mountpoint == "legacy");
            let argv = if legacy { vec!["umount", self.mnt.as_str()] } else { vec!["zfs", "unmount", self.dev.as_str()] };
            umount(cx, &self.mnt, &argv, || self.mounted(cx).is_some())?;
        }
        Ok(Done::Changed)
    }

    fn sort_key(&self, _rid: &str) -> String {
        self.mnt.clone()
    }

    fn mount_point(&self) -> Option<&str> {
        Some(&self.mnt)
    }
}
