//! What is left where authority went away from, or could not be used: nobody's writes there are lost, and a start that came
//! to nothing does not keep the next one from working. A peer that got nothing is not called up to date.

use crate::bed::{Nodes, Said};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);

/// Runs a command that must succeed.
fn done(bed: &Nodes, node: &str, code: &str) -> Said {
    let said = bed.run(node, code);
    assert_eq!(said.code, 0, "{node}: {code}: {}", said.stderr);
    said
}

#[test]
fn zfs_that_was_handed_over() {
    let bed = crate::zfs::pair("");
    done(&bed, "osol1", "svc1 sync full");
    done(&bed, "osol2", "svc1 takeover");
    let left = "zfs get -H -o value mounted,readonly osol1_z3_root/data";
    assert_eq!(bed.sh("osol1", left), "no\non");
    // nobody wrote: the changes go there
    let said = done(&bed, "osol2", "echo 2 >/srv/z3/f; svc1 sync update --force");
    assert!(said.stderr.contains("osol1: incremental,"), "{}", said.stderr);
    done(&bed, "osol1", "svc1 takeover");
    assert_eq!(bed.sh("osol1", "cat /srv/z3/f; touch /srv/z3/x"), "2");
    // somebody writes where they came from, before anything is sent there
    bed.sh("osol2", "zfs set readonly=off osol2_z3_root/data; zfs set mountpoint=/run/mine osol2_z3_root/data; zfs mount osol2_z3_root/data; echo mine >/run/mine/mine; . /disk/tools; patient zfs unmount osol2_z3_root/data");
    let said = bed.run("osol1", "echo 3 >/srv/z3/f; svc1 sync update --force");
    assert!(said.code == 1 && said.stderr.contains("osol2 has writes of its own"), "{}", said.stderr);
    assert_eq!(
        bed.sh("osol2", "zfs mount osol2_z3_root/data; cat /run/mine/mine; . /disk/tools; patient zfs unmount osol2_z3_root/data"),
        "mine"
    );
    done(&bed, "osol1", "svc1 sync update --force --abandon osol2");
    assert_eq!(crate::zfs::sent(&bed, "osol1"), crate::zfs::sent(&bed, "osol2"));

    // a start that fails before the data, and the next one
    bed.ctl("crash", &["osol1"]);
    bed.sh("osol2", "cp /opt/opensvc/etc/svc1.env /disk/keep; printf '\\n[pool#1]\\npoolname = nope\\n' >>/opt/opensvc/etc/svc1.env");
    let said = bed.run("osol2", "svc1 start");
    assert!(said.code == 1 && said.stderr.contains("nope"), "{}", said.stderr);
    bed.sh("osol2", "cp /disk/keep /opt/opensvc/etc/svc1.env");
    done(&bed, "osol2", "svc1 start");
    assert_eq!(bed.sh("osol2", "cat /srv/z3/f; touch /srv/z3/x"), "3");
}

#[test]
fn btrfs_that_was_handed_over_and_a_peer_that_got_nothing() {
    let file = crate::btrfs::service("").replace("drpnodes = n3", "drpnodes = n3 n4").replace("always_on = drpnodes\n", "");
    let often = "sync_min_delay = 30\nsync_max_delay = 60\nsync_period = [[\"00:00\", \"23:59\"]]\n";
    let bed = crate::btrfs::nodes(&["n1", "n3", "n4"], &format!("{file}{often}"), "300M");
    bed.sh("n1", "svc1 start 2>&1; echo 1 >/srv/svc1/data/f");
    bed.ctl("cut", &["n4"]);
    assert_eq!(bed.run("n1", "svc1 sync full").code, 1);
    bed.ctl("heal", &["n4"]);
    bed.until("n1", SOON, "ssh n4 true");
    let said = done(&bed, "n1", "svc1 sync update");
    assert!(said.stderr.contains("n4: full,") && !said.stderr.contains("n3: "), "{}", said.stderr);

    done(&bed, "n3", "svc1 takeover && echo 3 >/srv/svc1/data/f");
    crate::btrfs::sh(&bed, "n1", "top 'btrfs property get data ro | grep -x ro=true'");
    done(&bed, "n3", "svc1 giveback");
    assert_eq!(bed.sh("n1", "cat /srv/svc1/data/f; touch /srv/svc1/data/x"), "3");
    crate::btrfs::sh(&bed, "n3", "top 'btrfs property set -ts data ro false; echo mine >data/mine; btrfs property set -ts data ro true'");
    let said = bed.run("n1", "svc1 sync update --force");
    assert!(said.code == 1 && said.stderr.contains("n3 has writes of its own"), "{}", said.stderr);
    assert_eq!(crate::btrfs::sh(&bed, "n3", "top cat data/mine"), "mine");
}

/// Home is on again after it has died with its data mounted: it mounts at boot what is below them, without them.
fn boot(bed: &Nodes) {
    bed.ctl("crash", &["osol1"]);
    bed.ctl("boot", &["osol1"]);
    bed.zfs("osol1", "");
    bed.sh("osol1", "zpool import -f -d /disk osol1_z3_root 2>&1; zfs mount -a");
    bed.until("osol2", SOON, "ssh osol1 true");
    let early = bed.sh("osol1", "zfs list -H -o name,mounted -r osol1_z3_root/data");
    assert_eq!(early, "osol1_z3_root/data\tno\nosol1_z3_root/data/own\tyes\nosol1_z3_root/data/sub\tyes");
}

#[test]
fn what_is_mounted_at_boot_is_in_the_way_of_no_start_and_no_way_home() {
    const FILES: &str = "cat /srv/z3/f /srv/z3/sub/g /var/lib/own/f | tr -d '\\n'";
    let bed = crate::zfs::pair("");
    bed.sh("osol1", "zfs create -o mountpoint=/var/lib/own osol1_z3_root/data/own; echo 1 | tee /srv/z3/f /srv/z3/sub/g >/var/lib/own/f");
    // all that was written is on the disk
    bed.sh("osol1", "zfs snapshot osol1_z3_root@now");
    boot(&bed);
    let row = bed.sh("osol1", "svc1 print status | sed 's/^|[- ]*//' | tr -s ' \\n' ' '");
    assert!(row.contains("# osol1_z3_root/data/sub is mounted without it on /srv/z3/sub: start mounts both anew"), "{row}");
    bed.sh("osol1", "svc1 start 2>&1");
    assert_eq!(bed.sh("osol1", FILES), "111");

    bed.sh("osol1", "svc1 sync full 2>&1; echo 2 >/srv/z3/sub/g");
    bed.ctl("cut", &["osol1"]);
    bed.sh("osol2", &format!("svc1 start 2>&1; echo 3 >/srv/z3/f; [ $({FILES}) = 311 ]"));
    bed.ctl("heal", &["osol1"]);
    boot(&bed);
    bed.sh("osol2", "svc1 giveback 2>&1");
    assert_eq!(bed.sh("osol1", FILES), "311");
    assert_eq!(bed.sh("osol1", "ls /srv/z3 /srv/z3/sub | tr '\\n' ' '"), "/srv/z3: f sub  /srv/z3/sub: g");
}
