//! The guest itself: LVM works in it, the nodes reach each other, its power can be cut.

use crate::guest::{Guest, finish};
use crate::{Scenario, scenario};

pub const ALL: &[Scenario] = &[
    scenario!(a_snapshot_keeps_what_was, then: [what_was_synced_is_there_after_a_power_cut]),
    scenario!(nodes_talk),
    scenario!(a_node_that_dies_comes_back),
];

fn a_snapshot_keeps_what_was(guest: &Guest) {
    let (a, _) = guest.pair();
    a.vg("smoke");
    let lv = a.lv("smoke", "data", 16);
    a.sh(&format!("echo old | dd of={lv} conv=fsync status=none"));
    a.run(["lvcreate", "-q", "-s", "-L", "4M", "-n", "snap", "smoke/data"]);
    a.sh(&format!("echo new | dd of={lv} conv=fsync status=none"));
    assert_eq!(a.sh(&format!("head -c4 {lv}; head -c4 /dev/smoke/snap")), "new\nold");
    a.sh("echo kept >/disk/kept; sync /disk/kept; echo lost >/tmp/lost");
}

fn what_was_synced_is_there_after_a_power_cut(guest: &Guest) {
    let (a, b) = guest.pair();
    assert_eq!(a.sh("cat /disk/kept; test ! -e /tmp/lost"), "kept");
    a.run(["vgchange", "-q", "-a", "y", "smoke"]);
    assert_eq!(a.sh("head -c4 /dev/smoke/data; head -c4 /dev/smoke/snap"), "new\nold");
    assert_eq!(b.sh("vgs --noheadings -o vg_name smoke 2>&1 || echo not here").lines().last(), Some("not here"));
    a.run(["vgremove", "-q", "-f", "-y", "smoke"]);
}

fn nodes_talk(guest: &Guest) {
    let (a, b) = guest.pair();
    assert_eq!(a.sh("hostname; ssh deb2 hostname"), "deb1\ndeb2");
    assert!(b.svcmgr("--version").starts_with("svcmgr version "));
}

fn a_node_that_dies_comes_back(guest: &Guest) {
    let (a, b) = guest.pair();
    a.vg("dies");
    let lv = a.lv("dies", "data", 8);
    a.sh(&format!("mkfs.ext4 -q {lv}; mount {lv} /mnt; echo kept >/mnt/f; sync /mnt/f; echo lost >/tmp/f"));
    let sleeper = a.spawn("exec sleep 1000");
    a.kill();
    assert_ne!(finish(sleeper).code, 0);
    assert_ne!(b.try_sh("ssh -o ConnectTimeout=5 deb1 true").code, 0);
    a.boot(&["dies"]);
    assert_eq!(
        a.sh("test ! -e /tmp/f; test ! -e /dev/dies/data; vgchange -q -a y dies >/dev/null; mount /dev/dies/data /mnt; cat /mnt/f"),
        "kept"
    );
    assert_eq!(b.sh("ssh deb1 hostname"), "deb1");
}
