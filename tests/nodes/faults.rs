//! What goes wrong on real machines: cut cables, killed programs, full disks, hung peers, two at once. After
//! each: a clear message, an exit status, a true status, nothing left over, and the next run succeeds.

use crate::bed::{Nodes, Said, finish};
use crate::clean::nothing_left;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(20);

/// n1 sends /srv/d, a file system of its own, to n2's.
const SENDER: &str = "[DEFAULT]
service_type = TST
nodes = n1
drpnodes = n2
autostart_node = n1

[fs#1]
type = ext4
dev = /disk/d.img
mnt = /srv/d
mnt_opt = loop
always_on = drpnodes

[sync#1]
src = /srv/d/
dst = /srv/d
dstfs = /srv/d
target = drpnodes
options = --exclude=/lost+found
";

/// The sender's node n1, up, and n2 with its file system mounted; `size` of the one on n2.
pub fn pair(size: &str, more: &str) -> Nodes {
    let bed = Nodes::with_svcmgr(&["n1", "n2"]);
    bed.sh("n1", "truncate -s 400M /disk/d.img; mkfs.ext4 -q /disk/d.img");
    bed.sh("n2", &format!("truncate -s {size} /disk/d.img; mkfs.ext4 -q /disk/d.img"));
    bed.service(&["n1", "n2"], "svc1", &format!("{SENDER}{more}"));
    bed.sh("n1", "svc1 start");
    bed.sh("n2", "svc1 startstandby");
    bed
}

/// What holds on n1 after a transfer that failed: it says so, the copy is late, nothing is left.
fn failed_and_said(bed: &Nodes, said: &Said, why: &str) {
    assert_eq!(said.code, 1, "{}", said.stderr);
    assert!(said.stderr.contains(why), "no {why:?} in: {}", said.stderr);
    let tree = bed.sh("n1", "svc1 print status");
    assert!(tree.contains("# n2 need update"), "{tree}");
    nothing_left(bed, "n1", &["loop /disk/d.img", "mount /srv/d"]);
}

/// And the next run mends it all.
fn next_run_succeeds(bed: &Nodes) {
    bed.sh("n1", "svc1 sync update --force");
    bed.sh("n2", "cmp <(cd /srv/d; find . -path ./lost+found -prune -o -type f -exec md5sum {} + | sort) <(ssh n1 'cd /srv/d; find . -path ./lost+found -prune -o -type f -exec md5sum {} + | sort')");
    let tree = bed.sh("n1", "svc1 print status");
    assert!(tree.contains("sync#1         .... up"), "{tree}");
    for node in ["n1", "n2"] {
        nothing_left(bed, node, &["loop /disk/d.img", "mount /srv/d"]);
    }
}

/// A slow transfer, seen to be under way on n2.
fn slow_transfer(bed: &Nodes) -> std::process::Child {
    bed.sh("n1", "head -c 100M /dev/urandom >/srv/d/big");
    let sync = bed.spawn("n1", "svc1 sync update --force");
    bed.until("n2", SOON, "test $(stat -c %s /srv/d/.big.* 2>/dev/null || echo 0) -gt 1000000");
    sync
}

const SLOW: &str = "bwlimit = 3000\n";

#[test]
fn cable_cut_in_the_middle_of_an_rsync() {
    let bed = pair("400M", SLOW);
    let sync = slow_transfer(&bed);
    bed.ctl("cut", &["n2"]);
    let begun = Instant::now();
    let said = finish(sync);
    assert!(begun.elapsed() < Duration::from_secs(90), "hung for {:?}", begun.elapsed());
    failed_and_said(&bed, &said, "n2 synchronization failed");
    // still cut: said at once, and again with an exit status
    let said = bed.run("n1", "svc1 sync update --force");
    failed_and_said(&bed, &said, "n2");
    bed.ctl("heal", &["n2"]);
    bed.sh("n1", "rm /srv/d/big; head -c 1M /dev/urandom >/srv/d/small");
    bed.until("n2", Duration::from_secs(120), "! pgrep -x rsync >/dev/null");
    next_run_succeeds(&bed);
}

#[test]
fn peer_hangs_in_the_middle_of_an_rsync() {
    let bed = pair("400M", SLOW);
    let sync = slow_transfer(&bed);
    bed.ctl("freeze", &["n2"]);
    let begun = Instant::now();
    let said = finish(sync);
    assert!(begun.elapsed() < Duration::from_secs(90), "hung for {:?}", begun.elapsed());
    failed_and_said(&bed, &said, "n2 synchronization failed");
    // and one that hangs from the start
    let begun = Instant::now();
    let said = bed.run("n1", "svc1 sync update --force");
    assert!(begun.elapsed() < Duration::from_secs(30), "hung for {:?}", begun.elapsed());
    failed_and_said(&bed, &said, "n2");
    bed.ctl("thaw", &["n2"]);
    bed.sh("n1", "rm /srv/d/big; head -c 1M /dev/urandom >/srv/d/small");
    bed.until("n2", SOON, "! pgrep -x rsync >/dev/null");
    next_run_succeeds(&bed);
}

#[test]
fn svcmgr_killed_in_the_middle_of_an_rsync() {
    let bed = pair("400M", SLOW);
    let sync = slow_transfer(&bed);
    bed.sh("n1", "pkill -9 -x svc1");
    assert_ne!(finish(sync).code, 0);
    let tree = bed.sh("n1", "svc1 print status");
    assert!(tree.contains("# n2 need update"), "{tree}");
    for node in ["n1", "n2"] {
        nothing_left(&bed, node, &["loop /disk/d.img", "mount /srv/d"]);
    }
    bed.sh("n1", "rm /srv/d/big; head -c 1M /dev/urandom >/srv/d/small");
    next_run_succeeds(&bed);
}

#[test]
fn full_disk_on_the_target() {
    let bed = pair("16M", "");
    bed.sh("n1", "head -c 40M /dev/urandom >/srv/d/big");
    let said = bed.run("n1", "svc1 sync update --force");
    assert!(said.stderr.contains("No space left on device"), "{}", said.stderr);
    failed_and_said(&bed, &said, "n2 synchronization failed");
    bed.sh("n1", "rm /srv/d/big; head -c 1M /dev/urandom >/srv/d/small");
    next_run_succeeds(&bed);
}

/// A service whose script takes its time to start and stop.
const SLOW_APP: &str = "[DEFAULT]
service_type = TST
nodes = n1
autostart_node = n1

[fs#1]
type = ext4
dev = /disk/d.img
mnt = /srv/d
mnt_opt = loop

[app#1]
script = /disk/app
start = 10
stop = 10
check = 10
";

const APP: &str = "#!/bin/sh
# a script that is told to end takes its helpers with it
slowly() { [ -e /run/fast ] || { trap 'kill $!; exit 1' TERM; sleep 60 & wait $!; }; }
case $1 in
start) touch /run/starting; slowly; touch /run/up ;;
stop) touch /run/stopping; slowly; rm -f /run/up ;;
status) [ -e /run/up ] ;;
esac
";

fn slow_app() -> Nodes {
    let bed = Nodes::with_svcmgr(&["n1"]);
    bed.sh("n1", "truncate -s 16M /disk/d.img; mkfs.ext4 -q /disk/d.img");
    bed.write("n1", "/disk/app", APP);
    bed.sh("n1", "chmod 755 /disk/app");
    bed.service(&["n1"], "svc1", SLOW_APP);
    bed
}

#[test]
fn svcmgr_killed_during_start_and_during_stop() {
    let bed = slow_app();
    let start = bed.spawn("n1", "svc1 start");
    bed.until("n1", SOON, "test -e /run/starting");
    bed.sh("n1", "pkill -9 -x svc1");
    assert_ne!(finish(start).code, 0);
    // the file system is up, the script is not, and that is what the status says
    nothing_left(&bed, "n1", &["loop /disk/d.img", "mount /srv/d"]);
    let tree = bed.sh("n1", "svc1 print status");
    assert!(tree.contains("fs#1           .... up") && tree.contains("app#1          .... down"), "{tree}");
    bed.sh("n1", "touch /run/fast; svc1 start");
    assert!(bed.sh("n1", "svc1 print status").contains("avail                  up"));

    bed.sh("n1", "rm /run/fast");
    let stop = bed.spawn("n1", "svc1 stop");
    bed.until("n1", SOON, "test -e /run/stopping");
    bed.sh("n1", "pkill -9 -x svc1");
    assert_ne!(finish(stop).code, 0);
    nothing_left(&bed, "n1", &["loop /disk/d.img", "mount /srv/d"]);
    assert!(bed.sh("n1", "svc1 print status").contains("avail                  up"));
    bed.sh("n1", "touch /run/fast; svc1 stop");
    nothing_left(&bed, "n1", &[]);
}

#[test]
fn svcmgr_interrupted_during_start() {
    let bed = slow_app();
    let start = bed.spawn("n1", "svc1 start");
    bed.until("n1", SOON, "test -e /run/starting");
    bed.sh("n1", "pkill -TERM -x svc1");
    let said = finish(start);
    assert_ne!(said.code, 0, "{}", said.stderr);
    assert!(said.stderr.contains("interrupted by signal"), "{}", said.stderr);
    bed.sh("n1", "touch /run/fast; svc1 start; svc1 stop");
    nothing_left(&bed, "n1", &[]);
}

#[test]
fn two_at_once() {
    let bed = slow_app();
    let first = bed.spawn("n1", "svc1 start");
    bed.until("n1", SOON, "test -e /run/starting");
    // one that does not want to wait is told who holds the service
    let begun = Instant::now();
    let said = bed.run("n1", "svc1 start --waitlock 1");
    assert_eq!(said.code, 1, "{}", said.stderr);
    assert!(begun.elapsed() < Duration::from_secs(5));
    let pid = bed.sh("n1", "pgrep -o -x svc1");
    assert!(said.stderr.contains(&pid) && said.stderr.contains("start"), "{}", said.stderr);
    // looking needs no lock
    assert!(bed.sh("n1", "svc1 print status").contains("fs#1           .... up"));
    // one that waits gets its turn
    let second = bed.spawn("n1", "svc1 start");
    bed.sh("n1", "touch /run/fast; pkill -f '^sleep 60'");
    let said = finish(first);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let said = finish(second);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(said.stderr.contains("is already mounted"), "{}", said.stderr);
    bed.sh("n1", "svc1 stop");
    nothing_left(&bed, "n1", &[]);
}
