//! What `--abandon NODE` gives up is what was there when it was said: it is used up by the transfer that overwrites
//! that. What somebody writes there later is not lost by it.

use crate::bed::{Nodes, finish};
use crate::steps::replicated;
use crate::writer::{ok, timeless};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

/// Somebody writes to the copy of deb2 by hand, later by more than any filesystem's clock goes in one step.
fn by_hand(bed: &Nodes, what: &str) {
    bed.sh("deb2", &format!("findmnt -n /srv/d; sleep 2.1; echo {what} >>/srv/d/marks"));
}

/// The refusal, without times. Nothing was overwritten: the last line there is still `mine`.
fn refused(bed: &Nodes, command: &str, mine: &str) -> String {
    let said = bed.run("deb1", &format!("svc1 {command}"));
    assert_eq!((said.code, bed.sh("deb2", "tail -n1 /srv/d/marks").as_str()), (1, mine), "{command}: {}", said.stderr);
    let refusal = |line: &&str| line.starts_with("svcmgr: ") || line.starts_with("  ");
    timeless(&said.stderr.lines().filter(refusal).map(|line| format!("{line}\n")).collect::<String>())
}

/// deb1 runs, and what deb2 has of its own was given up and overwritten.
fn given_up_once() -> (Nodes, String) {
    let bed = replicated();
    bed.sh("deb1", "echo 1 >>/srv/d/marks; svc1 sync update --force");
    by_hand(&bed, "first");
    let first = refused(&bed, "sync update --force", "first");
    assert!(first.contains("deb2 has writes of its own"), "{first}");
    ok(&bed, "deb1", "svc1 sync full --abandon deb2");
    assert_eq!(bed.sh("deb2", "tail -n1 /srv/d/marks"), "1");
    (bed, first)
}

#[test]
fn writes_by_hand_after_the_copy_was_made_again_are_refused_again() {
    let (bed, first) = given_up_once();
    bed.sh("deb1", "svc1 sync update --force");
    by_hand(&bed, "second");
    // the same words as the first time
    assert_eq!(refused(&bed, "sync update --force", "second"), first);
    let text = ok(&bed, "deb1", "svc1 where >&2");
    assert!(text.contains("sync full --abandon deb2"), "{text}");
    ok(&bed, "deb1", "svc1 sync full --abandon deb2");
    assert_eq!(bed.sh("deb2", "tail -n1 /srv/d/marks"), "1");
}

#[test]
fn a_takeover_that_gives_up_the_other_copy_does_so_once() {
    let bed = replicated();
    bed.sh("deb1", "echo 1 >>/srv/d/marks; svc1 sync update --force");
    bed.ctl("crash", &["deb1"]);
    ok(&bed, "deb2", "svc1 start; echo 2 >>/srv/d/marks");
    bed.ctl("boot", &["deb1"]);
    bed.sh("deb1", "mkdir -p /disk/var; mount --bind /disk/var /opt/opensvc/var; rm -f /disk/up; svc1 boot");
    ok(&bed, "deb1", "svc1 takeover --abandon deb2");
    bed.sh("deb2", "svc1 startstandby");
    // the next sync needs no word of anybody
    ok(&bed, "deb1", "svc1 sync update --force; svc1 sync update --force");
    assert_eq!(bed.sh("deb2", "tail -n1 /srv/d/marks"), "1");
    by_hand(&bed, "later");
    let text = refused(&bed, "sync update --force", "later");
    assert!(text.contains("deb2 has writes of its own"), "{text}");
}

/// The cable is cut while what was given up is being overwritten. A plain sync goes on; what comes after that is refused.
#[test]
fn a_transfer_that_broke_off_goes_on_without_asking_again() {
    let bed = crate::faults::pair("400M", "bwlimit = 3000\n");
    bed.sh("n1", "echo 1 >/srv/d/marks; svc1 sync full");
    bed.sh("n2", "sleep 2.1; echo first >>/srv/d/marks");
    bed.sh("n1", "head -c 30M /dev/urandom >/srv/d/big");
    assert_eq!(bed.run("n1", "svc1 sync update --force").code, 1);
    let sync = bed.spawn("n1", "svc1 sync full --abandon n2");
    bed.until("n2", SOON, "test $(stat -c %s /srv/d/.big.* 2>/dev/null || echo 0) -gt 1000000");
    bed.ctl("cut", &["n2"]);
    assert_eq!(finish(sync).code, 1);
    bed.ctl("heal", &["n2"]);
    // the receiver there ends by itself
    bed.until("n2", Duration::from_secs(90), "! pgrep -x rsync >/dev/null");
    ok(&bed, "n1", "rm /srv/d/big; svc1 sync update --force");
    assert_eq!(bed.sh("n2", "cat /srv/d/marks"), "1");
    bed.sh("n2", "sleep 2.1; echo second >>/srv/d/marks");
    let said = bed.run("n1", "svc1 sync update --force");
    assert!(said.code == 1 && said.stderr.contains("n2 has writes of its own"), "{}", said.stderr);
    assert_eq!(bed.sh("n2", "tail -n1 /srv/d/marks"), "second");
}

#[test]
fn zfs_is_rolled_back_once() {
    let bed = crate::zfs::pair("");
    ok(&bed, "osol1", "svc1 sync full");
    let there = "d=osol2_z3_root/data; . /disk/tools";
    for what in ["first", "second"] {
        bed.sh(
            "osol2",
            &format!("{there}; zfs set readonly=off $d; zfs set mountpoint=/run/mine $d; zfs mount $d; echo {what} >/run/mine/mine; patient zfs unmount $d"),
        );
        let said = bed.run("osol1", "svc1 sync update --force");
        assert!(said.code == 1 && said.stderr.contains("osol2 has writes of its own"), "{}", said.stderr);
        assert_eq!(bed.sh("osol2", &format!("{there}; zfs mount $d; cat /run/mine/mine; patient zfs unmount $d")), what);
        ok(&bed, "osol1", "svc1 sync update --force --abandon osol2; svc1 sync update --force");
        assert_eq!(crate::zfs::sent(&bed, "osol1"), crate::zfs::sent(&bed, "osol2"));
    }
}
