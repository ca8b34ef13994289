//! A zfs copy among what else happens on a pool: a start has all of one state whatever broke off before; what others have made on the
//! copy is neither destroyed nor in the way.

use crate::bed::{Nodes, Said, finish};
use crate::zfs::{nodes, pair, sent, service, sh};
use crate::zfs_table::words;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);

/// What both datasets show.
const FILES: &str = "cat /srv/z3/f /srv/z3/sub/g | tr -d '\\n'";

fn put(bed: &Nodes, node: &str, n: u32, megabytes: u32) {
    bed.sh(node, &format!("echo {n} >/srv/z3/f; echo {n} >/srv/z3/sub/g; head -c {megabytes}M /dev/urandom >/srv/z3/sub/big"));
}

/// Runs a command that must succeed.
fn done(bed: &Nodes, node: &str, code: &str) -> Said {
    let said = bed.run(node, code);
    assert_eq!(said.code, 0, "{node}: {code}: {}", said.stderr);
    said
}

/// Runs one that must fail, with these words.
fn refused(bed: &Nodes, node: &str, code: &str, why: &str) {
    let said = bed.run(node, code);
    assert!(said.code == 1 && words(&said).contains(why), "{node}: {code}: {}", said.stderr);
}

/// On again after a crash; with its pool.
fn boot(bed: &Nodes, node: &str, import: bool) {
    bed.ctl("boot", &[node]);
    bed.zfs(node, "");
    if import {
        bed.sh(node, &format!("zpool import -f -d /disk {node}_z3_root 2>&1"));
    }
}

fn slowly(bed: &Nodes) {
    for node in ["osol1", "osol2"] {
        bed.sh(node, "echo 'bwlimit = 1000' >>/opt/opensvc/etc/svc1.env");
    }
}

/// The name of `@sent` is another one on the target when the next transfer has begun.
#[test]
fn a_start_after_a_broken_transfer_whose_base_was_renamed() {
    let bed = pair("");
    put(&bed, "osol1", 1, 1);
    done(&bed, "osol1", "svc1 sync full");
    put(&bed, "osol1", 2, 1);
    bed.sh("osol2", "echo 'recv before zfs destroy' >/opt/opensvc/var/.die");
    assert_eq!(bed.run("osol1", "svc1 sync update --force").code, 1);
    // its pool is not there yet: that is no reason to write the copy down as torn
    bed.ctl("crash", &["osol2"]);
    boot(&bed, "osol2", false);
    assert_eq!(bed.run("osol2", "svc1 start").code, 1);
    let record = bed.sh("osol2", "cat '/opt/opensvc/var/svc1/sync#1.replica.json'");
    assert!(record.contains("applying"), "{record}");
    bed.sh("osol2", "zpool import -f -d /disk osol2_z3_root 2>&1");
    bed.until("osol1", SOON, "ssh osol2 true");

    slowly(&bed);
    put(&bed, "osol1", 3, 4);
    let sync = bed.spawn("osol1", "svc1 sync update --force");
    bed.until(
        "osol2",
        SOON,
        "zfs list -H -t snapshot -o name | grep -q 'data@sent[.]' && zfs list -H -t snapshot -o name | grep -q data@tosend",
    );
    bed.ctl("crash", &["osol1"]);
    done(&bed, "osol2", "svc1 start");
    assert_eq!(bed.sh("osol2", FILES), "22");
    let names = bed.sh("osol2", "zfs list -H -t snapshot -o name");
    assert_eq!(names, "osol2_z3_root/data@sent\nosol2_z3_root/data/sub@sent");
    _ = finish(sync);
}

/// What protects home is gone once the first stream has come there.
#[test]
fn home_that_died_during_the_first_sync_back() {
    let bed = nodes(&["osol1", "osol2"], &service("").replace("src@osol1 = osol1_z3_root/data", "src@osol1 = /srv/z3"), "512M");
    sh(&bed, "osol1", &format!("p=osol1_z3_root/data; zfs create $p; zfs create $p/sub; {OWN}; svc1 start 2>&1"));
    put(&bed, "osol1", 1, 1);
    done(&bed, "osol1", "svc1 sync full");
    // a source that is a path is known while nothing is mounted there
    done(&bed, "osol1", "svc1 stop && svc1 start");
    // what goes with the top one is unmounted and protected wherever it is mounted
    assert_eq!(bed.run("osol2", "zfs mount -a; grep /var/lib/own /proc/mounts").stdout, "");
    done(&bed, "osol2", "svc1 takeover");
    assert_eq!(bed.run("osol1", "grep z3_root/data /proc/mounts").stdout, "");
    bed.sh("osol2", "echo 2 >/var/lib/own/x");

    home_dies_in_the_first_sync_back(&bed, "svc1 sync update --force");
    done(&bed, "osol1", "svc1 start");
    assert_eq!(bed.sh("osol1", FILES), "11");
    assert_eq!(bed.sh("osol1", "touch /var/lib/own/y; ls /var/lib/own"), "y");

    // whoever mounted the top one died before those below it
    sh(&bed, "osol1", "patient zfs unmount osol1_z3_root/data/sub");
    let status = bed.run("osol1", "svc1 print status").stdout;
    let row: String = status.split_whitespace().filter(|w| !["|", "'-", "|-", "#"].contains(w)).collect::<Vec<_>>().join(" ");
    assert!(row.contains("osol1_z3_root/data/sub is not mounted on /srv/z3/sub: start mounts it"), "{status}");
    done(&bed, "osol1", "svc1 start");
    assert_eq!(bed.sh("osol1", FILES), "11");
}

/// A dataset that is mounted elsewhere and goes with the top one.
const OWN: &str = "zfs create -o mountpoint=/var/lib/own -o readonly=off osol1_z3_root/data/own";

/// Both nodes are off in the middle of the first transfer back after a takeover: what protected home is gone, one dataset
/// is new, one is old. Home is on again.
fn home_dies_in_the_first_sync_back(bed: &Nodes, command: &str) {
    slowly(bed);
    put(bed, "osol2", 2, 4);
    let sync = bed.spawn("osol2", command);
    bed.until("osol1", SOON, "zfs list -H -t snapshot -o name | grep -q osol1_z3_root/data@tosend");
    bed.ctl("crash", &["osol1"]);
    bed.ctl("crash", &["osol2"]);
    boot(bed, "osol1", true);
    _ = finish(sync);
}

/// A start of home is killed after it has taken authority, before it has taken the broken transfer back.
#[test]
fn home_that_died_once_more_when_it_had_taken_authority() {
    let bed = nodes(&["osol1", "osol2"], &service(""), "512M");
    sh(
        &bed,
        "osol1",
        &format!(
            "zfs create -o mountpoint=/srv/z3 -o readonly=off osol1_z3_root/data; zfs create osol1_z3_root/data/sub; {OWN}; svc1 start 2>&1"
        ),
    );
    put(&bed, "osol1", 1, 1);
    done(&bed, "osol1", "svc1 sync full");
    done(&bed, "osol2", "svc1 takeover");
    home_dies_in_the_first_sync_back(&bed, "svc1 sync update --force");
    bed.sh("osol1", "echo 'start after writing /opt/opensvc/var/svc1/sync#1.replica.json' >/opt/opensvc/var/.die");
    assert_eq!(bed.run("osol1", "svc1 start").code, 137);
    let record = bed.sh("osol1", "cat '/opt/opensvc/var/svc1/sync#1.replica.json'");
    assert!(record.contains("\"live\""), "{record}");
    // nobody else gets that: also of a service of which nothing tells whether it is up
    refused(&bed, "osol1", "svc1 disable --rid fs#1 && svc1 sync update --force", "a start takes it back");
    bed.sh("osol1", "svc1 enable --rid fs#1");
    done(&bed, "osol1", "svc1 start");
    assert_eq!(bed.sh("osol1", FILES), "11");
    assert_eq!(bed.run("osol1", "zfs list -H -t snapshot -o name | grep tosend").stdout, "");
    // it is at work from now on: what a later start finds on its way is its own
    put(&bed, "osol1", 3, 1);
    bed.sh("osol1", "zfs snapshot -r osol1_z3_root/data@tosend; echo 4 >/srv/z3/f; svc1 stop 2>&1");
    done(&bed, "osol1", "svc1 start");
    assert_eq!(bed.sh("osol1", FILES), "43");
}

/// The same of a home that had writes of its own, which a giveback has given up: somebody keeps what is there all the same.
#[test]
fn home_whose_own_writes_were_given_up_and_that_died() {
    let bed = nodes(&["osol1", "osol2"], &service(""), "512M");
    sh(&bed, "osol1", "p=osol1_z3_root/data; zfs create -o mountpoint=/srv/z3 -o readonly=off $p; zfs create $p/sub; svc1 start 2>&1");
    put(&bed, "osol1", 1, 1);
    done(&bed, "osol1", "svc1 sync full");
    put(&bed, "osol1", 5, 1);
    bed.ctl("crash", &["osol1"]);
    done(&bed, "osol2", "svc1 start");
    boot(&bed, "osol1", true);
    bed.until("osol2", SOON, "ssh osol1 true");
    // its import has mounted it, which looks as if somebody had written there since
    done(&bed, "osol1", "svc1 stop");
    home_dies_in_the_first_sync_back(&bed, "svc1 giveback --abandon osol1");
    refused(&bed, "osol1", "svc1 start", "takeover --abandon osol2");
    done(&bed, "osol1", "svc1 takeover --abandon osol2 --force");
    assert_eq!(bed.sh("osol1", FILES), "11");
}

/// What others have made on the copy.
#[test]
fn clones_snapshots_and_datasets_of_others() {
    let bed = pair("");
    let update = || bed.run("osol1", "svc1 sync update --force");
    put(&bed, "osol1", 1, 1);
    done(&bed, "osol1", "svc1 sync full");
    // a clone on either side: the data come all the same, and it is not called a difference
    for node in ["osol1", "osol2"] {
        bed.sh(node, &format!("zfs clone -o mountpoint=/run/look {node}_z3_root/data@sent {node}_z3_root/look"));
    }
    put(&bed, "osol1", 2, 1);
    let said = update();
    assert!(said.code == 0 && words(&said).contains("snapshot is cloned"), "{}", said.stderr);
    put(&bed, "osol1", 3, 1);
    assert_eq!(update().code, 0);
    done(&bed, "osol1", "svc1 sync verify");
    assert_eq!(sent(&bed, "osol1"), sent(&bed, "osol2"));
    for node in ["osol1", "osol2"] {
        let names = bed.sh(node, &format!("zfs list -H -t snapshot -o name | grep {node}_z3_root/data@ | sed 's/[0-9]*$//'"));
        assert_eq!(names, format!("{node}_z3_root/data@sent.\n{node}_z3_root/data@sent"));
        sh(&bed, node, &format!("patient zfs unmount {node}_z3_root/look; patient zfs destroy {node}_z3_root/look"));
    }

    // a hold of somebody, a dataset of somebody: all of the new takes the place of the copy, and loses neither
    bed.sh("osol2", "zfs hold mine osol2_z3_root/data/sub@sent; zfs create -o readonly=off -o mountpoint=/srv/theirs osol2_z3_root/data/theirs; echo x >/srv/theirs/x");
    refused(&bed, "osol1", "svc1 sync full", "zfs rename osol2_z3_root/data/theirs osol2_z3_root/theirs");
    sh(
        &bed,
        "osol2",
        "patient zfs unmount osol2_z3_root/data/theirs; patient zfs rename osol2_z3_root/data/theirs osol2_z3_root/theirs; zfs mount osol2_z3_root/theirs; cat /srv/theirs/x",
    );
    let said = done(&bed, "osol1", "svc1 sync full");
    assert!(
        words(&said).contains("it stays until somebody destroys it: zfs destroy -r osol2_z3_root/svcmgr.svc1.sync.1"),
        "{}",
        said.stderr
    );
    done(&bed, "osol1", "svc1 sync full");
    assert_eq!(sent(&bed, "osol1"), sent(&bed, "osol2"));

    // a dataset made again, a snapshot that was left below
    sh(
        &bed,
        "osol1",
        "p=osol1_z3_root/data; zfs snapshot -r $p@tosend; zfs destroy $p@tosend; patient zfs unmount $p/sub; patient zfs destroy -r $p/sub; zfs create $p/sub",
    );
    put(&bed, "osol1", 4, 1);
    let said = update();
    assert!(said.code == 0 && words(&said).contains("osol1_z3_root/data/sub has no snapshot on osol2 that osol1 has"), "{}", said.stderr);
    assert_eq!(sent(&bed, "osol1"), sent(&bed, "osol2"));

    // a snapshot of the copy: nothing is received over it, and a start has the data; a second sync has names of its own
    bed.sh("osol2", "zfs snapshot -r osol2_z3_root/data@nightly; zfs create osol2_z3_root/data/local");
    refused(&bed, "osol1", "svc1 sync update --force", "zfs destroy -r osol2_z3_root/data@nightly");
    for node in ["osol1", "osol2"] {
        let other = format!(
            "printf '\n[sync#2]\ntype = zfs\nsrc = {node}_z3_root/data\ndst = osol2_z3_root/other\ntarget = nodes\n' >>/opt/opensvc/etc/svc1.env"
        );
        bed.sh(node, &format!("cp /opt/opensvc/etc/svc1.env /disk/keep; {other}"));
    }
    bed.ctl("crash", &["osol1"]);
    refused(&bed, "osol2", "svc1 start", "sync#2 is not a whole, current copy");
    bed.sh("osol2", "cp /disk/keep /opt/opensvc/etc/svc1.env");
    done(&bed, "osol2", "svc1 start");
    assert_eq!(bed.sh("osol2", FILES), "44");
}

/// What is not replicated is below the copy; a dataset was rolled back on the source; a transfer of several new ones was broken off; another
/// sync holds a snapshot.
#[test]
fn what_is_not_replicated_stays_and_what_is_held_by_another_sync_is_given_up() {
    let bed = pair("recursive = false\n");
    put(&bed, "osol1", 1, 1);
    done(&bed, "osol1", "svc1 sync full");
    done(&bed, "osol2", "svc1 takeover");
    bed.sh("osol2", "echo 2 >/srv/z3/f");
    refused(&bed, "osol2", "svc1 sync full", "osol1_z3_root/data/sub on osol1 is below the copy and not part of sync#1");
    done(&bed, "osol2", "svc1 giveback");
    assert_eq!(bed.sh("osol1", FILES), "21");
    for node in ["osol1", "osol2"] {
        bed.sh(node, "sed -i '/^recursive/d' /opt/opensvc/etc/svc1.env");
    }

    // from now on with those below; one of them is rolled back past what was sent
    sh(&bed, "osol1", "zfs snapshot osol1_z3_root/data/sub@monday");
    done(&bed, "osol1", "svc1 sync full");
    sh(
        &bed,
        "osol1",
        "patient zfs unmount osol1_z3_root/data/sub; patient zfs rollback -r osol1_z3_root/data/sub@monday; zfs mount osol1_z3_root/data/sub",
    );
    let said = done(&bed, "osol1", "svc1 sync update --force");
    assert!(words(&said).contains("osol1_z3_root/data/sub has no snapshot on osol2 that osol1 has"), "{}", said.stderr);
    assert_eq!(sent(&bed, "osol1"), sent(&bed, "osol2"));

    // two new datasets, one below the other, have arrived and the rest has not
    slowly(&bed);
    sh(
        &bed,
        "osol1",
        "p=osol1_z3_root/data; zfs create $p/a; zfs create $p/a/deep; zfs create $p/zz; head -c 6M /dev/urandom >/srv/z3/zz/big",
    );
    put(&bed, "osol1", 3, 3);
    let sync = bed.spawn("osol1", "svc1 sync update --force");
    bed.until("osol2", SOON, "zfs list -H -t snapshot -o name | grep -q a/deep@tosend");
    bed.ctl("crash", &["osol1"]);
    done(&bed, "osol2", "svc1 start");
    assert_eq!(bed.sh("osol2", FILES), "21");
    _ = finish(sync);

    // home, whose own snapshots two syncs hold
    boot(&bed, "osol1", true);
    bed.until("osol2", SOON, "ssh osol1 true");
    sh(&bed, "osol1", "zfs snapshot -r osol1_z3_root/data@sync.2.sent; zfs hold svcmgr:svc1.sync.2 osol1_z3_root/data@sync.2.sent");
    for node in ["osol1", "osol2"] {
        bed.sh(node, &format!("printf '\n[sync#2]\ntype = zfs\nsrc = {node}_z3_root/data\ndst = {node}_z3_root/other\ntarget = nodes\n' >>/opt/opensvc/etc/svc1.env"));
    }
    done(&bed, "osol2", "svc1 sync update --rid sync#1 --force --abandon osol1");
    let guid =
        |node: &str| bed.sh(node, &format!("zfs get -H -o value guid {node}_z3_root/data@sync.1.sent {node}_z3_root/data/sub@sync.1.sent"));
    assert_eq!(guid("osol1"), guid("osol2"));
}

#[test]
fn a_start_in_a_full_pool_says_so() {
    let bed = nodes(&["osol1", "osol2"], &service(""), "128M");
    bed.sh("osol1", "zfs create osol1_z3_root/data; zfs create osol1_z3_root/data/sub; svc1 start 2>&1");
    put(&bed, "osol1", 1, 1);
    done(&bed, "osol1", "svc1 sync full");
    bed.sh("osol2", "zfs create osol2_z3_root/other; head -c 200M /dev/urandom >/osol2_z3_root/other/big || :; sync; dd if=/dev/urandom of=/osol2_z3_root/other/b2 bs=4k count=10000 2>/dev/null || :");
    put(&bed, "osol1", 2, 20);
    refused(&bed, "osol1", "svc1 sync update --force", "out of space");
    bed.ctl("crash", &["osol1"]);
    refused(&bed, "osol2", "svc1 start", "the pool osol2_z3_root is full on osol2");
    let record = bed.sh("osol2", "cat '/opt/opensvc/var/svc1/sync#1.replica.json'");
    assert!(record.contains("\"state\": \"replica\""), "{record}");
}
