//! Which device a word of `dev` means, and whether what is mounted is on it.

use crate::host::Cx;
use crate::host::blkid::{self, labelled};
use crate::host::btrfs::mounted;
use crate::host::facts::Mount;
use crate::host::patience::wait_until;
use std::path::Path;
use std::time::Duration;

/// How long a device that is there may take to have its name.
const APPEAR: Duration = Duration::from_secs(10);

/// The device of `LABEL=` and `UUID=`; the word itself otherwise.
pub(super) fn of(cx: &Cx, word: &str) -> Option<String> {
    let (flag, folder, value) = match word.split_once('=') {
        Some(("LABEL", v)) => ("-L", "by-label", v),
        Some(("UUID", v)) => ("-U", "by-uuid", v),
        _ => return Some(word.to_owned()),
    };
    let value = value.trim_matches('"');
    if let Ok(path) = std::fs::canonicalize(format!("/dev/disk/{folder}/{value}")) {
        return Some(path.to_string_lossy().into_owned());
    }
    blkid::device(cx, flag, value)
}

/// Why `word` does not say which filesystem is meant: one of several would be mounted, and maybe the wrong one.
pub(super) fn ambiguous(cx: &Cx, word: &str) -> Option<String> {
    let label = word.strip_prefix("LABEL=")?.trim_matches('"');
    let found = labelled(cx, label);
    let all: Vec<String> = found.iter().map(|f| format!("{} ({} {})", f.devices.join(" "), f.fstype, f.uuid)).collect();
    (all.len() > 1).then(|| {
        format!(
            "several filesystems on {} have the label {label}: {}. nothing is mounted: it may be the wrong one. give the others another label, or set dev = UUID=… in [{}]",
            cx.host.node,
            all.join(", "),
            cx.rid
        )
    })
}

/// Of a volume that LVM calls active, udev makes the names, and may be behind. Says so of one that is not active.
pub(super) fn appears(cx: &Cx, dev: &str) -> bool {
    if !dev.starts_with("/dev/") {
        return false;
    }
    let lvm = cx.host.facts.lvm(cx.host.runner.as_ref());
    match lvm.volume(dev) {
        Some((_, volume)) if volume.is_active() => wait_until(APPEAR, || Path::new(dev).exists()),
        Some((vg, volume)) => {
            cx.log.error(format!("the logical volume {} is not active. to make it so: vgchange -a y {vg}", volume.name));
            false
        }
        None => false,
    }
}

/// One device, be it by two names.
pub(super) fn is_same(one: &str, other: &str) -> bool {
    let real = |path: &str| Some(path).filter(|p| p.starts_with("/dev/")).and_then(|p| std::fs::canonicalize(p).ok());
    one == other || real(one).is_some_and(|real_one| Some(real_one) == real(other))
}

/// Both are disks of one btrfs that is mounted, as [`mounted`] finds it below `folder`: of several, mountinfo names any.
pub(super) fn of_one_btrfs(folder: &str, one: &str, other: &str) -> bool {
    mounted::of_disk(folder, one).is_some_and(|fs| Some(fs) == mounted::of_disk(folder, other))
}

/// `mount` is a bind of folder `dev`: the same filesystem, and `dev`'s path inside it.
pub(super) fn is_bind_of(mounts: &[Mount], dev: &str, mount: &Mount) -> bool {
    let dev = dev.trim_end_matches('/');
    let holds = |m: &&Mount| m.target == "/" || dev == m.target || dev.strip_prefix(&m.target).is_some_and(|r| r.starts_with('/'));
    let Some(host) = mounts.iter().filter(|m| m.target != mount.target).filter(holds).max_by_key(|m| m.target.len()) else { return false };
    let inside = dev.strip_prefix(host.target.trim_end_matches('/')).unwrap_or(dev);
    let path = format!("{}{inside}", host.root.trim_end_matches('/'));
    let path = if path.is_empty() { "/" } else { &path };
    host.dev == mount.dev && mount.root == path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::facts::parse_mountinfo;

    #[test]
    fn binds_are_known_by_filesystem_and_path() {
        let mounts = parse_mountinfo(
            b"1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 8:2 / /srv rw - ext4 /dev/sdb1 rw\n\
              3 1 8:2 /app /mnt/a rw - ext4 /dev/sdb1 rw\n4 1 8:2 /other /mnt/b rw - ext4 /dev/sdb1 rw\n5 1 8:1 /app /mnt/c rw - ext4 /dev/sda1 rw\n",
        );
        assert!(is_bind_of(&mounts, "/srv/app", &mounts[2]));
        assert!(is_bind_of(&mounts, "/srv/app/", &mounts[2]));
        assert!(!is_bind_of(&mounts, "/srv/app", &mounts[3]));
        assert!(!is_bind_of(&mounts, "/srv/app", &mounts[4]));
        assert!(is_bind_of(&mounts, "/app", &mounts[4]));
    }

    #[test]
    fn disks_of_one_btrfs_are_one() {
        let dir = tempfile::tempdir().unwrap();
        for disk in ["uuid1/devices/null", "uuid1/devices/zero", "uuid2/devices/full", "features"] {
            std::fs::create_dir_all(dir.path().join(disk)).unwrap();
        }
        let one = |a: &str, b: &str| of_one_btrfs(&dir.path().to_string_lossy(), a, b);
        assert!(one("/dev/null", "/dev/zero"));
        assert!(!one("/dev/null", "/dev/full") && !one("/dev/null", "/dev/random") && !one("/dev/null", "/dev/none"));
    }
}
