//! fs: a filesystem on a mount point: ext2/3/4, xfs, btrfs subvolumes, tmpfs, bind, nfs and whatever mount(8) knows.

mod device;

use super::common::umount::{squeezed, umount};
use super::{Done, Driver, Dropped, Resource};
use crate::cmd::Cmd;
use crate::config::keyword::{
    Keyword,
    Type::{Int, Text},
};
use crate::config::scope::Params;
use crate::error::{Error, Result};
use crate::host::facts::{Mount, is_free_loop};
use crate::host::lvm::mapper_name;
use crate::host::patience::wait_until;
use crate::host::{Cx, Host};
use crate::log::Level;
use crate::report::Probe;
use crate::status::Status;
use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};
use std::path::Path;
use std::time::Duration;

/// Its row in the driver table.
pub const DRIVER: Driver = Driver {
    kind: "fs",
    types: &[],
    rtype: "fs",
    about: "a filesystem on a mount point",
    keywords: &[
        Keyword::new("type", Text, "as for mount -t: ext4, xfs, btrfs, tmpfs, nfs, none (bind)…").example("ext4"),
        Keyword::new("dev", Text, "device, LABEL=, UUID=, image file, folder (bind) or host:/path")
            .required()
            .example("/dev/mapper/vg1-data"),
        Keyword::new("mnt", Text, "mount point; made when missing").required().example("/srv/app1"),
        Keyword::new("mnt_opt", Text, "options, as for mount -o").example("rw,noatime"),
        Keyword::new("snap_size", Int, "MB, size of the LVM snapshot a sync with snap = true takes; default: a tenth of the volume"),
        Keyword::new("vg", Text, "volume group, when it is provisioned"),
        Keyword::new("size", Text, "MB, when it is provisioned"),
        Keyword::new("zone", Text, "accepted, unused on Linux"),
    ],
    build,
};

const NETWORK: [&str; 8] = ["nfs", "nfs4", "cifs", "smbfs", "9pfs", "gpfs", "afs", "ncpfs"];
/// e2fsck -p of a large volume takes its time.
const FSCK_TIMEOUT: Duration = Duration::from_secs(4 * 3600);
const MOUNT_TIMEOUT: Duration = Duration::from_secs(300);
/// How long the kernel may take to let go of a loop device.
const RELEASE: Duration = Duration::from_secs(5);

struct Fs {
    dev: String,
    mnt: String,
    fstype: String,
    options: String,
    /// Always on here, also where its data are a copy that nobody may write to.
    standby: bool,
}

fn build(p: &Params) -> std::result::Result<Box<dyn Resource>, Dropped> {
    let mnt = p.text("mnt");
    let dev = p.required("dev")?;
    let mnt = mnt.ok_or_else(|| format!("mnt must be set in section {}", p.section))?;
    Ok(Box::new(Fs {
        dev: dev.into(),
        mnt: squeezed(mnt),
        fstype: p.text("type").unwrap_or_default().into(),
        options: p.text("mnt_opt").unwrap_or_default().into(),
        standby: p.plain("always_on").is_some_and(|words| p.config.scope.is_in(words)),
    }))
}

impl Fs {
    fn is_network(&self) -> bool {
        NETWORK.contains(&self.fstype.as_str())
    }

    /// Nothing on this host to look for before the mount.
    fn has_device(&self) -> bool {
        !self.is_network() && !matches!(self.fstype.as_str(), "tmpfs" | "advfs" | "proc" | "sysfs" | "overlay") && self.dev != "none"
    }

    fn wants_ro(&self) -> bool {
        self.options.split(',').any(|o| o == "ro")
    }

    fn device(&self, cx: &Cx) -> Option<String> {
        device::of(cx, &self.dev)
    }

    /// `mount` shows what this resource wants there. Reads mountinfo, sysfs and /dev only, never a
    /// filesystem of the service, which may hang.
    fn matches(&self, cx: &Cx, mount: &Mount) -> bool {
        if mount.source == self.dev {
            return true;
        }
        let Some(dev) = self.device(cx) else { return false };
        if mount.source == dev || mapper_name(&dev).is_some_and(|m| m == mount.source) {
            return true;
        }
        if dev.starts_with("/dev/") {
            let disks = || mount.fstype == "btrfs" && device::of_one_btrfs(crate::host::btrfs::mounted::FOLDER, &dev, &mount.source);
            return device::is_same(&dev, &mount.source) || disks();
        }
        if cx.host.facts.loops_of(&dev).iter().any(|l| l.device == mount.source) {
            return true;
        }
        dev.starts_with('/') && device::is_bind_of(&cx.host.facts.mounts(), &dev, mount)
    }

    /// What is mounted on the mount point, also when a link leads there.
    fn there(&self, cx: &Cx) -> Option<Mount> {
        let facts = &cx.host.facts;
        facts.mount_at(&self.mnt).or_else(|| facts.mount_at(&facts.real_path(&self.mnt)).filter(|m| m.target != "/"))
    }

    fn mounted(&self, cx: &Cx) -> Option<Mount> {
        self.there(cx).filter(|m| self.matches(cx, m))
    }

    /// Another subvolume has taken the place of the one that is mounted, which goes on showing what it had.
    fn is_stale(&self, mount: &Mount) -> bool {
        let wanted = self.options.split(',').find_map(|o| o.strip_prefix("subvol="));
        let root = mount.root.trim_matches('/');
        mount.fstype == "btrfs" && (root.ends_with("//deleted") || wanted.is_some_and(|wanted| wanted.trim_matches('/') != root))
    }

    fn foreign(&self, cx: &Cx) -> Option<Mount> {
        self.there(cx).filter(|m| m.fstype != "autofs" && !self.matches(cx, m))
    }

    fn prepare(&self, cx: &Cx) -> Result<String> {
        let fail = |why: String| {
            cx.log.error(why);
            Err(Error::Reported)
        };
        if let Some(why) = device::ambiguous(cx, &self.dev) {
            return fail(why);
        }
        let Some(dev) = self.device(cx) else { return fail(format!("no device has {}", self.dev)) };
        if self.has_device() && !Path::new(&dev).exists() && !device::appears(cx, &dev) {
            return fail(format!("device does not exist {dev}"));
        }
        if let Some(other) = self.foreign(cx) {
            return fail(format!("{} already holds another filesystem: {} ({}). umount it first", self.mnt, other.source, other.fstype));
        }
        if !Path::new(&self.mnt).exists() {
            cx.log.info(format!("create missing mountpoint {}", self.mnt));
            if let Err(e) = std::fs::create_dir_all(&self.mnt) {
                return fail(format!("failed to create missing mountpoint {}: {e}", self.mnt));
            }
        }
        Ok(dev)
    }

    fn check(&self, cx: &Cx, dev: &str) -> Result<()> {
        match self.fstype.as_str() {
            "" | "none" => Ok(()),
            "ext2" | "ext3" | "ext4" => {
                if let Some(mount) = cx.host.facts.mounts().iter().find(|m| device::is_same(&m.source, dev)) {
                    // a check of a mounted filesystem destroys it
                    cx.log.error(format!("{dev} is mounted already, on {}", mount.target));
                    return Err(Error::Reported);
                }
                if which::which("e2fsck").is_err() {
                    cx.log.warning(format!("e2fsck not found: {dev} is mounted unchecked. install 'e2fsprogs'"));
                    return Ok(());
                }
                let out = cx.run_at(&Cmd::change(["e2fsck", "-p", dev]).timeout(FSCK_TIMEOUT), Level::Info, Level::Warning);
                match out.code() {
                    // e2fsck(8): 1 errors corrected; 32 cancelled, which 2014 took as good
                    Some(0 | 1 | 32 | 33) => Ok(()),
                    _ => {
                        cx.log.error(format!("e2fsck could not repair {dev} by itself. run: e2fsck -f {dev}"));
                        Err(Error::Reported)
                    }
                }
            }
            other => {
                cx.log.info(format!("fsck not implemented for {other}"));
                Ok(())
            }
        }
    }

    /// The error: nobody can write to the data, as to a copy that no sync has given up. A mount does not tell.
    fn writable(&self, cx: &Cx) -> Result<()> {
        let asked = self.fstype == "btrfs" && !self.standby && !self.wants_ro();
        if !asked || access(self.mnt.as_str(), AccessFlags::W_OK) != Err(Errno::EROFS) {
            return Ok(());
        }
        self.stop(cx)?;
        Err(Error::text(format!(
            "the data that {} shows on {} are read-only: a copy that is received into, or a snapshot. a sync of {} that has it as dst makes it writable; without one, mount it and: btrfs property set -ts {} ro false",
            self.dev, cx.host.node, cx.service, self.mnt
        )))
    }

    fn mount_argv(&self, dev: &str) -> Vec<String> {
        let is_device = dev.starts_with("/dev/");
        let options: Vec<&str> = self.options.split(',').filter(|o| !(o.is_empty() || is_device && *o == "loop")).collect();
        let mut argv = vec!["mount".to_owned()];
        if !self.fstype.is_empty() {
            argv.extend(["-t".to_owned(), self.fstype.clone()]);
        }
        if !options.is_empty() {
            argv.extend(["-o".to_owned(), options.join(",")]);
        }
        argv.extend([dev.to_owned(), self.mnt.clone()]);
        argv
    }

    /// What else is mounted below the mount point.
    fn nested(&self, cx: &Cx) -> Vec<String> {
        let prefix = format!("{}/", cx.host.facts.real_path(&self.mnt));
        cx.host.facts.mounts().iter().filter(|m| m.target.starts_with(&prefix)).map(|m| m.target.clone()).collect()
    }
}

impl Resource for Fs {
    fn label(&self, _host: &Host) -> String {
        format!("{}@{}", self.dev, self.mnt)
    }

    fn status(&self, cx: &Cx) -> Probe {
        match self.mounted(cx) {
            Some(mount) if self.is_stale(&mount) => {
                Probe::because(Status::Warn, format!("what is mounted is {}, which another subvolume has replaced", mount.root))
            }
            Some(mount) if mount.is_ro() && !self.wants_ro() && !self.is_network() => Probe::because(Status::Warn, "fs is not writable"),
            Some(_) => Probe::new(Status::Up),
            None => match self.foreign(cx) {
                Some(other) => Probe::because(Status::Warn, format!("{} is mounted there instead", other.source)),
                None => Probe::new(Status::Down),
            },
        }
    }

    fn start(&self, cx: &Cx) -> Result<Done> {
        match self.mounted(cx) {
            Some(mount) if self.is_stale(&mount) => {
                cx.log.info(format!("{} shows {}, which another subvolume has replaced", self.mnt, mount.root));
                self.stop(cx)?;
            }
            Some(_) => {
                cx.log.info(format!("fs({} {}) is already mounted", self.dev, self.mnt));
                return Ok(Done::Already);
            }
            None => {}
        }
        let dev = self.prepare(cx)?;
        // an image file that already has a loop device is checked and mounted through that one
        let attached = if dev.starts_with("/dev/") { Vec::new() } else { cx.host.facts.loops_of(&dev) };
        // not through the one of a mount that is going away
        let dev = attached.into_iter().find(|l| !l.autoclear).map_or(dev, |l| l.device);
        if self.fstype == "btrfs" {
            cx.run_quiet(&Cmd::change(["btrfs", "device", "scan"]));
        }
        self.check(cx, &dev)?;
        cx.must(&Cmd::change(self.mount_argv(&dev)).timeout(MOUNT_TIMEOUT))?;
        if self.mounted(cx).is_none() {
            let there = self.there(cx).map_or_else(|| "nothing".into(), |m| m.source);
            cx.log.error(format!(
                "mount succeeded, yet {there} is on {}, not {}. svcmgr would not know it as mounted: umount it",
                self.mnt, self.dev
            ));
            return Err(Error::Reported);
        }
        self.writable(cx)?;
        Ok(Done::Changed)
    }

    fn stop(&self, cx: &Cx) -> Result<Done> {
        if let Some(other) = self.foreign(cx) {
            cx.log.error(format!(
                "{} holds {} ({}), not {}: not umounted. umount it by hand, or correct dev in section {}",
                self.mnt, other.source, other.fstype, self.dev, cx.rid
            ));
            return Err(Error::Reported);
        }
        if self.mounted(cx).is_none() {
            cx.log.info(format!("fs({} {}) is already umounted", self.dev, self.mnt));
            return Ok(Done::Already);
        }
        let nested = self.nested(cx);
        if !nested.is_empty() {
            // no process is ended for an umount that cannot succeed
            cx.log.error(format!("failed to umount {}: still mounted below it: {}", self.mnt, nested.join(", ")));
            return Err(Error::Reported);
        }
        let device = self.there(cx).map(|m| m.source).filter(|s| s.starts_with("/dev/loop"));
        let device = device.filter(|d| cx.host.facts.loops().iter().any(|l| l.device == *d && l.autoclear));
        umount(cx, &self.mnt, &["umount", &self.mnt], || self.mounted(cx).is_some())?;
        // umount returns before the kernel has let go of the loop device it made for the image
        if let Some(device) = device
            && !wait_until(RELEASE, || is_free_loop(&device))
        {
            cx.log.warning(format!("{device} is still in use on {}", self.dev));
        }
        Ok(Done::Changed)
    }

    fn sort_key(&self, _rid: &str) -> String {
        self.mnt.clone()
    }

    fn devices(&self, cx: &Cx) -> Vec<String> {
        self.device(cx).filter(|d| d.starts_with("/dev/")).into_iter().collect()
    }

    fn mount_point(&self) -> Option<&str> {
        Some(&self.mnt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::facts::parse_mountinfo;

    #[test]
    fn a_replaced_subvolume_is_known_by_its_name() {
        let fs = |options: &str| Fs {
            dev: "LABEL=s".into(),
            mnt: "/srv".into(),
            fstype: "btrfs".into(),
            options: options.into(),
            standby: false,
        };
        let mounts = parse_mountinfo(
            b"1 0 0:41 /data /a rw - btrfs /dev/x rw\n2 0 0:41 /.svcmgr.s.sync.1.next.data /b rw - btrfs /dev/x rw\n\
              3 0 0:41 /data//deleted /c rw - btrfs /dev/x rw\n",
        );
        let stale = |options: &str| mounts.iter().map(|m| fs(options).is_stale(m)).collect::<Vec<_>>();
        assert_eq!(stale("defaults,subvol=data"), [false, true, true]);
        assert_eq!(stale("subvol=/data"), [false, true, true]);
        assert_eq!(stale("noatime"), [false, false, true]);
    }
}
