//! A giveback or takeover that is killed in the middle: what is said of the node that was made ready, which command goes on,
//! which one undoes it.

use crate::bed::Nodes;
use crate::snapshot;
use crate::steps::replicated;
use crate::zfs_table::{plain, row, words};

/// A giveback that is killed when it has made home ready and is about to send.
fn giveback(bed: &Nodes) {
    bed.sh("deb2", "echo 'giveback after writing /opt/opensvc/var/svc1/sync#1.sent.json' >/opt/opensvc/var/.die");
    assert_eq!(bed.run("deb2", "svc1 giveback").code, 137);
}

/// What both nodes say.
fn said(bed: &Nodes, what: &str) -> String {
    let status = ["deb1", "deb2"].map(|node| format!("{node}: {}\n", row(bed, node, "svc1"))).concat();
    let lines = bed.run("deb2", "svc1 where").stdout;
    let lines: String = lines.lines().skip(3).map(|l| format!("where: {}\n", plain(l))).collect();
    format!("== {what}\n{status}{lines}")
}

#[test]
fn a_giveback_that_was_killed() {
    let bed = replicated();
    bed.sh("deb2", "svc1 takeover 2>&1; echo 1 >/srv/d/f");
    giveback(&bed);
    let mut text = said(&bed, "giveback, killed");
    let start = bed.run("deb1", "svc1 start");
    text += &format!("start on deb1: exit status {}\n{}", start.code, words(&start));
    // undone
    bed.sh("deb1", "svc1 stop 2>&1; ! mountpoint -q /srv/d");
    text += &said(&bed, "undone");
    // gone on with
    giveback(&bed);
    bed.sh("deb2", "svc1 giveback 2>&1");
    assert_eq!(bed.sh("deb1", "cat /srv/d/f"), "1");
    text += &said(&bed, "gone on with");
    // home is on again after that, and takes what it is told to
    bed.sh("deb2", "svc1 takeover 2>&1; echo 2 >/srv/d/f");
    giveback(&bed);
    bed.sh("deb1", "svc1 takeover 2>&1");
    assert_eq!(bed.sh("deb1", "cat /srv/d/f"), "2");
    text += &said(&bed, "taken over by home");
    snapshot("prepared_giveback", &text);
}

#[test]
fn a_takeover_that_was_killed() {
    let bed = replicated();
    bed.sh("deb1", "echo 1 >/srv/d/f");
    bed.sh("deb2", "echo 'takeover after writing /opt/opensvc/var/svc1/authority.json' >/opt/opensvc/var/.die");
    assert_eq!(bed.run("deb2", "svc1 takeover").code, 137);
    let mut text = said(&bed, "takeover, killed");
    bed.sh("deb2", "svc1 stop 2>&1");
    text += &said(&bed, "undone");
    bed.sh("deb2", "svc1 takeover 2>&1");
    assert_eq!(bed.sh("deb2", "cat /srv/d/f"), "1");
    snapshot("prepared_takeover", &text);
}
