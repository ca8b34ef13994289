//! Who has the old data mounted gets the new ones: an exchange does not change what is mounted.

use super::spot::Spot;
use crate::error::Result;
use crate::host::Cx;
use crate::host::btrfs::{self, Subvolume};
use crate::host::facts::Mount;

/// Each mount of the old data, or of a folder of them, becomes one of `data`; what is mounted inside goes before and comes
/// after. What cannot be is said: the data themselves are in their place.
pub(super) fn remount(cx: &Cx, spot: &Spot, data: &Subvolume) -> Result<()> {
    cx.host.facts.forget();
    let Some(top) = cx.host.facts.mount_at(spot.at("").trim_end_matches('/')) else { return Ok(()) };
    let (mounts, all, old) = (cx.host.facts.mounts(), spot.list(cx)?, format!("/{}", spot.next()));
    let stale: Vec<&Mount> = mounts.iter().filter(|m| m.dev == top.dev && below(root(m), &old).is_some()).collect();
    let foreign = |of: &Mount| mounts.iter().find(|m| is_inside(m, of) && m.dev != top.dev);
    let (stale, blocked): (Vec<_>, Vec<_>) = stale.into_iter().partition(|of| foreign(of).is_none());
    for mount in blocked {
        cx.log.warning(format!(
            "{} goes on showing the data before: {} is mounted in it. umount both, and mount them again",
            mount.target,
            foreign(mount).map_or("", |m| m.target.as_str())
        ));
    }
    let mut anew: Vec<&Mount> = mounts.iter().filter(|m| stale.iter().any(|s| s.target == m.target || is_inside(m, s))).collect();
    anew.sort_by_key(|m| &m.target);
    anew.dedup_by_key(|m| &m.target);
    for mount in anew.iter().rev() {
        // who reads there is not in the way
        let gone = btrfs::change(cx, &["umount", &mount.target]).or_else(|_| btrfs::change(cx, &["umount", "-l", &mount.target]));
        if let Err(e) = gone {
            cx.log.warning(format!("{}: {e}. what is mounted anew covers it", mount.target));
        }
    }
    for mount in anew {
        let path = below(root(mount), &old).map_or_else(|| root(mount).to_owned(), |rest| format!("/{}{rest}", data.path));
        if let Err(e) = again(cx, spot, mount, &path, all.iter().any(|s| path.trim_start_matches('/') == s.path)) {
            cx.log.warning(format!("{} is not mounted any more: {e}. mount it again: svcmgr -s {} startstandby", mount.target, cx.service));
        }
    }
    Ok(())
}

fn is_inside(mount: &Mount, of: &Mount) -> bool {
    mount.target != of.target && below(&mount.target, &of.target).is_some()
}

/// Its path in the filesystem.
fn root(mount: &Mount) -> &str {
    mount.root.strip_suffix("//deleted").unwrap_or(&mount.root)
}

/// What comes after `top` in the path of something that it is, or that is in it.
fn below<'a>(path: &'a str, top: &str) -> Option<&'a str> {
    path.strip_prefix(top).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Mounts `path` where `mount` was. A folder is bound, from the top, which is not to see what is mounted in it later.
fn again(cx: &Cx, spot: &Spot, mount: &Mount, path: &str, is_subvolume: bool) -> Result<()> {
    const KEPT: [&str; 8] = ["ro", "noatime", "nodiratime", "relatime", "nosuid", "nodev", "noexec", "strictatime"];
    let kept = mount.options.iter().map(String::as_str).filter(|o| KEPT.contains(o)).map(str::to_owned);
    if is_subvolume {
        let options: Vec<String> = kept.chain([format!("subvol={path}")]).collect();
        return btrfs::change(cx, &["mount", "-t", "btrfs", "-o", &options.join(","), &mount.source, &mount.target]);
    }
    let options: Vec<String> = ["bind".to_owned()].into_iter().chain(kept).collect();
    btrfs::change(cx, &["mount", "--make-private", "-o", &options.join(","), &spot.at(path.trim_start_matches('/')), &mount.target])
}
