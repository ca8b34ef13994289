//! Transfers that are under way when their target is started, or that break off: nothing arrives below a running
//! service, and a copy that is not whole is told.

use crate::bed::{Nodes, finish};
use crate::clean::nothing_left;
use crate::snapshot;
use crate::writer::{STANDBY, bed, ok, running, timeless, writes};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

/// Everything on deb2's filesystem with its inodes and the times of its last change; of the log, which grows as soon
/// as the launcher runs, only which file it is.
const STATE: &str = "#!/bin/bash
cd /srv/d || exit 1
find . -path ./lost+found -prune -o ! -name log -printf '%p %i %s %T@ %C@\\n' -o -printf '%p %i\\n' | sort
find . -type f ! -name log -exec md5sum {} + | sort
";

/// A slow transfer from deb1 to deb2 is in the middle of a file; `hinder` happens to its sender, deb2 is started, and
/// `mend` undoes what happened. From before the first resource starts nothing arrives any more.
fn in_flight(ssh: &str, hinder: fn(&Nodes), mend: fn(&Nodes)) {
    let bed = bed(
        "nodes = deb1\ndrpnodes = deb2\n",
        "always_on = drpnodes\nblocking_pre_start@deb2 = /disk/before\n",
        "target = drpnodes\nbwlimit = 3000\n",
    );
    bed.write("deb2", "/disk/state", STATE);
    bed.write("deb2", "/disk/before", "#!/bin/sh\n! mountpoint -q /srv/d || /disk/state >/run/before\n");
    bed.sh("deb2", "chmod 755 /disk/state /disk/before; svc1 startstandby");
    if !ssh.is_empty() {
        bed.sh("deb1", &format!("printf '[node]\\nssh = {ssh}\\n' >>/opt/opensvc/etc/node.conf"));
    }
    ok(&bed, "deb1", "svc1 start; svc1 sync full");
    bed.sh("deb1", "head -c 100M /dev/urandom >/srv/d/big; mkdir /srv/d/later; echo later >/srv/d/later/z");
    let sync = bed.spawn("deb1", "svc1 sync update --force");
    bed.until("deb2", SOON, "test $(stat -c %s /srv/d/.big.* 2>/dev/null || echo 0) -gt 1000000");
    let whole = bed.sh("deb2", "svc1 where || true");
    assert!(whole.contains("in progress"), "{whole}");
    hinder(&bed);
    let said = ok(&bed, "deb2", "svc1 start --force");
    assert!(said.contains("a peer is sending sync#1 to this node"), "{said}");
    assert!(said.contains("a transfer was under way and was not confirmed: files may be partly new, partly old"), "{said}");
    assert!(!bed.sh("deb2", "ps -e -o comm=").contains("rsync"));
    mend(&bed);
    let sent = finish(sync);
    assert_eq!(sent.code, 1, "{}", sent.stderr);
    // a sender that has not heard of it tries again
    bed.run("deb1", "svc1 sync update --force");
    std::thread::sleep(Duration::from_secs(10));
    assert_eq!(bed.sh("deb2", "/disk/state"), bed.sh("deb2", "cat /run/before"), "something arrived after the start");
    assert!(bed.sh("deb2", "cat /run/before").contains("/log "));
    writes(&bed, "deb2");
    if !ssh.is_empty() {
        assert_eq!(bed.sh("deb1", "ps -e -o comm= | grep -c '^ssh$' || true"), "0", "no connection outlives its command");
    }
    nothing_left(&bed, "deb2", &["loop /disk/d.img", "mount /srv/d", "process perl"]);
}

/// The service is gone from deb1 by other hands than svcmgr's, and the sender goes on: its files are still open.
fn pulled_away(bed: &Nodes) {
    bed.sh("deb1", "/disk/writer stop; umount -l /srv/d");
}

#[test]
fn a_transfer_in_flight_ends_before_a_takeover() {
    in_flight("", pulled_away, |_| {});
}

#[test]
fn a_transfer_in_flight_through_a_shared_connection_of_the_users_own_ends_before_a_takeover() {
    let shared = "/usr/bin/ssh -q -o ControlMaster=auto -o ControlPath=/run/shared-ssh -o ControlPersist=300";
    in_flight(shared, pulled_away, |_| {});
}

#[test]
fn a_transfer_in_flight_of_a_frozen_sender_ends_before_a_takeover() {
    in_flight("", |bed| bed.ctl("freeze", &["deb1"]), |bed| bed.ctl("thaw", &["deb1"]));
}

#[test]
fn a_transfer_in_flight_with_its_cable_cut_ends_before_a_takeover() {
    in_flight("", |bed| bed.ctl("cut", &["deb1"]), |bed| bed.ctl("heal", &["deb1"]));
}

#[test]
fn a_copy_in_progress_is_told_and_started_by_force_only() {
    let bed = running("", "bwlimit = 3000\n");
    let broken = || {
        bed.sh("deb1", "head -c 60M /dev/urandom >/srv/d/big");
        let sync = bed.spawn("deb1", "svc1 sync update --force");
        bed.until("deb2", SOON, "test $(stat -c %s /srv/d/.big.* 2>/dev/null || echo 0) -gt 1000000");
        bed.sh("deb1", "pkill -9 -x svc1");
        assert_ne!(finish(sync).code, 0);
        bed.until("deb2", SOON, "! pgrep -x rsync");
    };
    broken();
    for (node, told) in [("deb1", "# last sync to deb2, begun "), ("deb2", "# a transfer from deb1 is in progress since")] {
        let tree = bed.sh(node, "svc1 print status");
        assert!(tree.contains("sync#1         .... warn") && tree.contains(told), "{tree}");
        let text = bed.sh(node, "svc1 where");
        assert!(text.lines().any(|l| l.starts_with("deb2 ") && l.contains(" in progress ")), "{text}");
        assert!(text.contains("to make the copy on deb2 whole: on deb1: svcmgr -s svc1 sync update --force"), "{text}");
    }
    // the next sync makes it whole
    ok(&bed, "deb1", "rm /srv/d/big; svc1 sync update --force");
    let text = bed.sh("deb1", "svc1 where");
    assert!(text.contains(" replica ") && text.contains("nothing to do"), "{text}");

    broken();
    bed.ctl("crash", &["deb1"]);
    let said = bed.run("deb2", "svc1 start");
    assert_eq!(said.code, 1, "{}", said.stderr);
    snapshot("in_flight_refused", &timeless(&said.stderr));
    nothing_left(&bed, "deb2", &STANDBY);
    let said = ok(&bed, "deb2", "svc1 start --force");
    assert!(said.contains("a transfer was under way and was not confirmed: files may be partly new, partly old"), "{said}");
    writes(&bed, "deb2");
}
