//! What would lose data or kill the wrong process if svcmgr believed too much: links, edited files, other
//! namespaces, a switch from a node that is not wholly down, a start below a transfer.

use crate::bed::{Nodes, finish};
use crate::clean::nothing_left;
use std::time::Duration;

const HEAD: &str = "[DEFAULT]\nservice_type = TST\nnodes = n1 n2\nautostart_node = n1\n";
const SOON: Duration = Duration::from_secs(20);

fn shared(more: &str) -> Nodes {
    let bed = Nodes::with_svcmgr(&["n1", "n2"]);
    bed.sh("n1", "truncate -s 16M /shared/s.img; mkfs.ext4 -q /shared/s.img");
    let fs = "[fs#1]\ntype = ext4\ndev = /shared/s.img\nmnt = /srv/s\nmnt_opt = loop\n";
    bed.service(&["n1", "n2"], "svc1", &format!("{HEAD}{fs}{more}"));
    bed
}

#[test]
fn mount_points_and_images_behind_links_are_known() {
    let bed = Nodes::with_svcmgr(&["n1"]);
    bed.sh("n1", "mkdir -p /disk/real; ln -s real /disk/link; truncate -s 16M /disk/real/a.img; mkfs.ext4 -q /disk/real/a.img");
    let env = "[loop#1]\nfile = /disk/link/a.img\n[fs#1]\ntype = ext4\ndev = /disk/link/a.img\nmnt = /disk/link//m/\n";
    bed.service(&["n1"], "svc1", &format!("{HEAD}{env}").replace("n1 n2", "n1"));
    bed.sh("n1", "svc1 start");
    assert!(bed.sh("n1", "svc1 print status").contains("avail                  up"));
    let said = bed.run("n1", "svc1 start");
    assert!(said.code == 0 && said.stderr.contains("is already mounted"), "{}", said.stderr);
    assert_eq!(bed.sh("n1", "findmnt -rn -o TARGET | grep -c /disk/real/m"), "1");
    bed.sh("n1", "svc1 stop");
    assert_eq!(bed.sh("n1", "findmnt -rn -o TARGET | grep -c /disk/real/m || true"), "0");
    nothing_left(&bed, "n1", &[]);
}

#[test]
fn another_filesystem_on_the_mount_point_is_neither_ours_nor_nothing() {
    let bed = shared("");
    bed.sh("n1", "svc1 start; svc1 set --param fs#1.dev --value /shared/other.img");
    let tree = bed.sh("n1", "svc1 print status");
    assert!(tree.contains("fs#1           .... warn") && tree.contains("is mounted there"), "{tree}");
    let said = bed.run("n1", "svc1 stop");
    assert_eq!(said.code, 1, "{}", said.stderr);
    assert!(said.stderr.contains("/srv/s holds /dev/loop") && said.stderr.contains("not umounted"), "{}", said.stderr);
    bed.sh("n1", "svc1 set --param fs#1.dev --value /shared/s.img; svc1 stop");
    nothing_left(&bed, "n1", &[]);
}

#[test]
fn a_process_with_the_same_path_in_another_namespace_is_left_alone() {
    let bed = Nodes::with_svcmgr(&["n1"]);
    bed.service(&["n1"], "svc1", "[DEFAULT]\nservice_type = TST\nnodes = n1\n[fs#1]\ntype = tmpfs\ndev = none\nmnt = /srv/s\n");
    bed.sh("n1", "svc1 start");
    // its own /srv/s: a filesystem of its own under the same name, as a container has
    let other = bed.spawn("n1", "exec unshare -m bash -c 'mount --make-rprivate /; umount /srv/s; mount -t tmpfs none /srv/s; cd /srv/s; touch /run/other; exec sleep 300'");
    let holder = bed.spawn("n1", "cd /srv/s; touch /run/holder; exec sleep 301");
    bed.until("n1", SOON, "test -e /run/other -a -e /run/holder && pgrep -x sleep -a | grep -q 300 && pgrep -x sleep -a | grep -q 301");
    bed.sh("n1", "svc1 stop");
    finish(holder); // it was in the way, and was ended
    assert_eq!(bed.sh("n1", "pgrep -fc '^sleep 300'"), "1");
    bed.sh("n1", "pkill -f '^sleep 300'");
    finish(other);
}

#[test]
fn switch_does_not_start_there_what_is_not_down_here() {
    let bed = shared("optional = true\n");
    bed.sh("n1", "svc1 start; mkdir -p /srv/s/x; mount -t tmpfs none /srv/s/x"); // cannot be umounted; optional, so the stop goes on
    let said = bed.run("n1", "svc1 switch --to n2");
    assert_eq!(said.code, 1, "{}", said.stderr);
    assert!(said.stderr.contains("not started on n2: fs#1 is not down here"), "{}", said.stderr);
    nothing_left(&bed, "n2", &[]);
    let said = bed.run("n1", "svc1 switch --rid fs#1 --to n2");
    assert!(said.code == 1 && said.stderr.contains("switch moves the whole service"), "{}", said.stderr);
    bed.sh("n1", "umount /srv/s/x; svc1 switch --to n2");
    nothing_left(&bed, "n1", &[]);
    bed.sh("n2", "findmnt /srv/s");
}

#[test]
fn switch_does_not_start_there_what_failed_to_stop_here() {
    let bed = shared("[app#1]\nscript = /shared/app\nstart = 1\nstop = 1\n");
    bed.write("n1", "/shared/app", "#!/bin/sh\n[ $1 != stop ]\n");
    bed.sh("n1", "chmod 755 /shared/app; svc1 start");
    let said = bed.run("n1", "svc1 switch --to n2");
    assert_eq!(said.code, 1, "{}", said.stderr);
    assert!(said.stderr.contains("not started on n2: a launcher failed to stop here"), "{}", said.stderr);
    nothing_left(&bed, "n2", &[]);
}

#[test]
fn a_refused_start_leaves_a_transfer_alone() {
    let bed = crate::faults::pair("400M", "bwlimit = 2000\n");
    bed.sh("n1", "head -c 12M /dev/urandom >/srv/d/big");
    let sync = bed.spawn("n1", "svc1 sync update --force");
    bed.until("n2", SOON, "test $(stat -c %s /srv/d/.big.* 2>/dev/null || echo 0) -gt 1000000");
    // what a start that is not refused does to it: in_flight.rs
    for action in ["start", "start --force", "startfs"] {
        let said = bed.run("n2", &format!("svc1 {action}"));
        assert!(said.code == 1 && said.stderr.contains("svc1 is not started on n2: it is up on n1"), "{action}: {}", said.stderr);
    }
    let sent = finish(sync);
    assert_eq!(sent.code, 0, "{}", sent.stderr);
    bed.sh("n2", "cmp /srv/d/big <(ssh n1 cat /srv/d/big)");
    nothing_left(&bed, "n2", &["loop /disk/d.img", "mount /srv/d"]);
}

#[test]
fn a_full_var_does_not_forbid_a_stop() {
    let bed = shared("");
    bed.sh("n1", "svc1 start; mount -t tmpfs -o size=64k none /opt/opensvc/var; mkdir /opt/opensvc/var/lock; touch /opt/opensvc/var/lock/svc1; dd if=/dev/zero of=/opt/opensvc/var/fill bs=4k 2>/dev/null || true");
    let said = bed.run("n1", "svc1 stop");
    assert_eq!(said.code, 0, "{}", said.stderr);
    bed.sh("n1", "umount /opt/opensvc/var");
    nothing_left(&bed, "n1", &[]);
}
