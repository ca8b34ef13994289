//! `dst_snap`: the copy of before is there while, and after, one that was not finished is written over it.

use crate::bed::{Nodes, finish};
use crate::faults::pair;
use std::time::Duration;

const SERVICE: &str = "[DEFAULT]
service_type = TST
nodes = n1
drpnodes = n2
autostart_node = n1

[fs#1]
type = btrfs
dev = /disk/d.img
mnt = /srv/d
mnt_opt = loop
always_on = drpnodes

[sync#1]
src = /srv/d/
dst = /srv/d
dstfs = /srv/d
target = drpnodes
bwlimit = 3000
dst_snap = true
";

const KEPT: &str = "/srv/d/.svcmgr-svc1-sync_1";

/// `text` is of another length each time: rsync looks at size and second.
fn sync(bed: &Nodes, text: &str) {
    bed.sh("n1", &format!("echo {text} >/srv/d/f; svc1 sync update --force"));
    assert_eq!(bed.sh("n2", "cat /srv/d/f"), text);
}

fn kept(bed: &Nodes) -> String {
    bed.sh("n2", &format!("cat {KEPT}/f 2>/dev/null || echo none"))
}

/// A transfer that is ended in its middle. Its first file has arrived.
fn broken_off(bed: &Nodes, text: &str) {
    bed.sh("n1", &format!("echo {text} >/srv/d/f; head -c 100M /dev/urandom >/srv/d/zbig"));
    let transfer = bed.spawn("n1", "svc1 sync update --force");
    bed.until("n2", Duration::from_secs(20), &format!("grep -q {text} /srv/d/f && ls /srv/d/.zbig.*"));
    bed.sh("n1", "kill -INT $(cat /opt/opensvc/var/lock/svc1)");
    assert_ne!(finish(transfer).code, 0);
    bed.until("n2", Duration::from_secs(20), "! pgrep -x rsync");
}

#[test]
fn the_copy_before_an_unfinished_one_is_kept() {
    let bed = Nodes::with_svcmgr(&["n1", "n2"]);
    for node in ["n1", "n2"] {
        bed.sh(node, "truncate -s 400M /disk/d.img; mkfs.btrfs -q /disk/d.img");
    }
    bed.service(&["n1", "n2"], "svc1", SERVICE);
    bed.sh("n1", "svc1 start");
    bed.sh("n2", "svc1 startstandby");
    sync(&bed, "1");
    assert_eq!(kept(&bed), "none", "there was nothing to keep");
    sync(&bed, "22");
    assert_eq!(kept(&bed), "1");
    for text in ["333", "4444"] {
        broken_off(&bed, text);
        assert_eq!(kept(&bed), "22", "the last that was whole");
        let tree = bed.sh("n2", "svc1 print status");
        let letters: String = tree.chars().filter(|c| !c.is_whitespace() && !"#|".contains(*c)).collect();
        assert!(letters.contains("atransferfromn1isinprogresssince") && letters.contains(KEPT), "{tree}");
        let said = bed.run("n2", "svc1 where").stdout;
        assert!(said.contains(&format!("what was on n2 before the unfinished transfer is kept in btrfs subvolume {KEPT}")), "{said}");
        bed.sh("n1", "rm /srv/d/zbig");
    }
    sync(&bed, "55555");
    assert_eq!(kept(&bed), "22", "until the next begins");
    bed.sh("n2", "test ! -e /srv/d/zbig");
    sync(&bed, "666666");
    assert_eq!(kept(&bed), "55555");
    bed.sh(
        "n1",
        &format!(
            "test ! -e {KEPT}; sed -i 's/^dst_snap.*//' /opt/opensvc/etc/svc1.env; scp -q /opt/opensvc/etc/svc1.env n2:/opt/opensvc/etc/"
        ),
    );
    sync(&bed, "7777777");
    assert_eq!(kept(&bed), "none", "nobody wants it any more");
}

#[test]
fn what_cannot_be_kept_is_not_overwritten() {
    let bed = pair("400M", "dst_snap = true\n");
    sync(&bed, "1");
    let said = bed.run("n1", "echo 22 >/srv/d/f; svc1 sync update --force");
    assert_eq!(said.code, 1, "{}", said.stderr);
    assert!(
        said.stderr.contains("of which no snapshot can be made: it takes btrfs, zfs or a logical volume. nothing is transferred"),
        "{}",
        said.stderr
    );
    assert_eq!(bed.sh("n2", "cat /srv/d/f"), "1");
    assert!(bed.sh("n2", "cat /opt/opensvc/var/svc1/sync#1.replica.json").contains("\"state\": \"replica\""));
}
