//! rsync with `snap = true` (the source is sent from a snapshot) and `dst_snap = true` (a snapshot keeps the copy that
//! is being written over), on logical volumes.

use crate::guest::{Guest, Node, finish};
use crate::{Scenario, scenario};
use std::time::Duration;

pub const ALL: &[Scenario] = &[scenario!(the_source_is_sent_as_it_was_at_one_instant), scenario!(the_copy_before_is_kept_on_the_target)];

const LIMIT: Duration = Duration::from_secs(120);

/// A filesystem on a volume of a group of its own on each node, and a service that copies it.
fn prepare(nodes: [Node; 2], name: &str, more: &str) {
    for node in nodes {
        let vg = format!("{name}-{}", node.name);
        node.vg(&vg);
        let lv = node.lv(&vg, "data", 32);
        node.sh(&format!("mkfs.ext4 -q {lv}; mkdir -p /srv/{name}; mount {lv} /srv/{name}"));
        node.service(
            name,
            &format!(
                "[DEFAULT]
service_type = TST
nodes = deb1
drpnodes = deb2
autostart_node = deb1

[fs#1]
type = ext4
dev = /dev/{name}-deb1/data
dev@drpnodes = /dev/{name}-deb2/data
mnt = /srv/{name}
snap_size = 8
always_on = drpnodes

[sync#1]
src = /srv/{name}/
dst = /srv/{name}
dstfs = /srv/{name}
target = drpnodes
{more}
"
            ),
        );
    }
}

fn the_source_is_sent_as_it_was_at_one_instant(guest: &Guest) {
    let (a, b) = guest.pair();
    prepare([a, b], "snaps", "snap = true\nbwlimit = 200");
    a.sh("cd /srv/snaps; head -c 1000000 /dev/urandom >a-large; echo old >z-last; sync .");
    let sync = a.spawn("svcmgr -s snaps sync update --force");
    a.until(LIMIT, "grep -q osvc_sync_data /proc/mounts");
    a.until(LIMIT, "pgrep -x rsync >/dev/null");
    a.sh("echo newer >/srv/snaps/z-last");
    let said = finish(sync);
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
    assert_eq!(b.sh("cat /srv/snaps/z-last"), "old");
    assert_eq!(a.sh("sha256sum </srv/snaps/a-large"), b.sh("sha256sum </srv/snaps/a-large"));
    assert_eq!(a.sh("lvs --noheadings -o lv_name snaps-deb1; grep -c osvc_sync /proc/mounts || true").replace(' ', ""), "data\n0");
    // what a killed sync has left is removed by the next
    a.sh("echo newest >>/srv/snaps/z-last; head -c 1000000 /dev/urandom >/srv/snaps/a-large");
    let sync = a.spawn("exec svcmgr -s snaps sync update --force");
    a.until(LIMIT, "grep -q osvc_sync_data /proc/mounts && pgrep -x rsync >/dev/null");
    a.sh("pkill -9 -x svcmgr; pkill -9 -x rsync || true");
    assert_ne!(finish(sync).code, 0);
    assert!(a.sh("lvs --noheadings -o lv_name snaps-deb1").contains("osvc_sync_data"));
    a.svcmgr("-s snaps sync update --force");
    assert_eq!(b.sh("cat /srv/snaps/z-last"), "newer\nnewest");
    assert!(!a.sh("lvs --noheadings -o lv_name snaps-deb1").contains("osvc_sync_data"));
}

fn the_copy_before_is_kept_on_the_target(guest: &Guest) {
    let (a, b) = guest.pair();
    prepare([a, b], "kept", "dst_snap = true\nbwlimit = 200");
    let kept = "/dev/kept-deb2/svcmgr-kept-sync_1";
    // the snapshot, looked at as an operator would after the disaster
    let look = || b.sh(&format!("mkdir -p /mnt/k; mount -o ro {kept} /mnt/k; cat /mnt/k/z-last; umount /mnt/k"));
    a.sh("cd /srv/kept; head -c 300000 /dev/urandom >a-large; echo first >z-last");
    a.svcmgr("-s kept sync update --force");
    a.sh("echo second >>/srv/kept/z-last");
    a.svcmgr("-s kept sync update --force");
    // one that dies half-way: what was whole, and not what was whole before that, is there
    a.sh("cd /srv/kept; head -c 2000000 /dev/urandom >a-large; echo third >>z-last; sync .");
    let sync = a.spawn("exec svcmgr -s kept sync update --force");
    b.until(LIMIT, "ls -A /srv/kept | grep -q '^.a-large'");
    a.sh("pkill -9 -x svcmgr; pkill -9 -x rsync || true");
    assert_ne!(finish(sync).code, 0);
    assert_eq!(look(), "first\nsecond");
}
