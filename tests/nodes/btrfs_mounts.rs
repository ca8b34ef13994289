//! What a service of btrfs mounts: a filesystem of several disks, never the wrong one of two, never data that stay read-only.
//! What the sender's status says of each of its peers.

use crate::bed::{Nodes, finish};
use crate::btrfs::{TOOLS, nodes, service, sh};
use crate::btrfs_faults::under_way;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

/// The errors of a start on n3, without time and ids.
fn refused(bed: &Nodes) -> String {
    let said = bed.run("n3", "svc1 start");
    let errors = said.stderr.lines().filter(|l| l.contains(" ERROR ")).map(|l| l.split_whitespace().skip(2).collect::<Vec<_>>().join(" "));
    assert_eq!(said.code, 1, "{}", said.stderr);
    assert_eq!(bed.run("n3", "grep ' btrfs ' /proc/self/mountinfo").stdout, "");
    let ids = regex::Regex::new(r"[0-9a-f]{8}-[0-9a-f-]{27}|/dev/loop\d+").unwrap();
    ids.replace_all(&errors.collect::<Vec<_>>().join("\n"), "X").into_owned() + "\n\n"
}

#[test]
fn several_disks_and_several_filesystems() {
    let service = service("").replace("always_on = drpnodes\n", "");
    let bed = Nodes::with_svcmgr(&["n1", "n3"]);
    let disks = "for d in a b; do truncate -s 300M /disk/$d.img; losetup -f /disk/$d.img; done; disks=$(losetup -nO NAME -j /disk/a.img; losetup -nO NAME -j /disk/b.img)";
    bed.sh(
        "n1",
        &format!("mknod /dev/btrfs-control c 10 234; {disks}; mkfs.btrfs -q -L svc1 -d raid1 -m raid1 $disks; btrfs device scan $disks"),
    );
    bed.sh("n3", "truncate -s 256M /disk/b.img; mkfs.btrfs -q -L svc1 /disk/b.img; losetup -f /disk/b.img");
    for node in bed.names() {
        bed.write(node, "/disk/tools", TOOLS);
    }
    sh(&bed, "n1", "top btrfs subvolume create data");

    // whichever of its disks is named
    let disk = |d: &str| bed.sh("n1", &format!("losetup -nO NAME -j /disk/{d}.img"));
    for dev in [disk("a"), disk("b"), "LABEL=svc1".into()] {
        bed.service(&["n1"], "svc1", &service.replace("LABEL=svc1", &dev));
        let said = bed.run("n1", "svc1 start; svc1 print status | grep fs#1; svc1 stop && svc1 start && echo 1 >/srv/svc1/data/f");
        assert!(said.code == 0 && said.stdout.contains(".... up "), "{dev}: {}{}", said.stdout, said.stderr);
        bed.sh("n1", "[ $? = 0 ]; svc1 stop; ! grep ' btrfs ' /proc/self/mountinfo");
    }

    // an older clone of the target's disk comes back, with an identity of its own
    bed.service(&["n1", "n3"], "svc1", &service);
    bed.sh("n1", "svc1 start; svc1 sync full");
    bed.sh("n3", "cp --sparse=always /disk/b.img /disk/old.img; btrfstune -u -f /disk/old.img");
    bed.sh("n1", "echo 2 >/srv/svc1/data/f; svc1 sync update --force");
    bed.sh("n3", "losetup -d $(losetup -nO NAME -j /disk/b.img); losetup -f /disk/old.img; losetup -f /disk/b.img");
    bed.ctl("crash", &["n1"]);
    let mut all = refused(&bed);
    // without a sync the same
    bed.service(&["n3"], "alone", &format!("[DEFAULT]\nnodes = n3\n\n{}", section(&service, "fs#1")));
    let said = bed.run("n3", "alone start");
    assert!(said.code == 1 && said.stderr.contains("several filesystems on n3 have the label svc1"), "{}", said.stderr);
    bed.sh("n3", "losetup -d $(losetup -nO NAME -j /disk/old.img)");
    bed.until("n3", SOON, "[ $(blkid -o device -t LABEL=svc1 | wc -l) = 1 ]");

    // dst was edited, and the sync that would have moved the data there never came
    bed.service(&["n3"], "svc1", &service.replace("dst = svc1:data", "dst = svc1:new"));
    all += &refused(&bed);
    bed.service(&["n3"], "svc1", &service);
    // the sync was taken out
    let said = bed.run("n3", "alone start");
    assert_eq!(said.code, 1, "{}", said.stderr);
    assert_eq!(bed.run("n3", "grep ' btrfs ' /proc/self/mountinfo").stdout, "");
    all += said.stderr.lines().find_map(|l| l.find("the data that ").map(|at| &l[at..])).unwrap_or(&said.stderr);
    // and now as it should be
    let said = bed.run("n3", "svc1 start && cat /srv/svc1/data/f && echo 3 >/srv/svc1/data/f");
    assert!(said.code == 0 && said.stdout == "2\n", "{}{}", said.stdout, said.stderr);
    crate::snapshot("btrfs_mounts_refusals", &(all + "\n"));
}

/// A section of a service file.
fn section<'a>(service: &'a str, name: &str) -> &'a str {
    service.split("\n\n").find(|s| s.starts_with(&format!("[{name}]"))).unwrap()
}

/// The row of the sync on `node`, with what is said below it, in one line.
fn row(bed: &Nodes, node: &str) -> String {
    let tree = bed.sh(node, "svc1 print status");
    let lines = tree.lines().skip_while(|l| !l.contains(" sync#1 ")).skip(1).take_while(|l| !l.contains("- "));
    let row = tree.lines().find(|l| l.contains(" sync#1 ")).into_iter().chain(lines);
    let words = row.flat_map(str::split_whitespace).filter(|w| !matches!(*w, "|" | "|-" | "'-"));
    words.collect::<Vec<_>>().join(" ") + "\n"
}

#[test]
fn the_sender_tells_what_each_peer_lacks() {
    let service = service("bwlimit = 1500\n").replace("drpnodes = n3", "drpnodes = n2 n3").replace("always_on = drpnodes\n", "");
    let bed = nodes(&["n1", "n2", "n3"], &service, "256M");
    bed.ctl("cut", &["n3"]);
    let said = bed.run("n1", "svc1 start; mkdir /srv/svc1/data/d; svc1 sync full");
    assert_eq!(said.code, 1, "{}", said.stderr);
    let mut all = row(&bed, "n1");
    bed.ctl("heal", &["n3"]);
    bed.until("n1", SOON, "ssh n3 true");
    bed.sh("n1", "svc1 sync update --force");
    all += &row(&bed, "n1");
    // n3 gets nothing for days, n2 does
    let stamp = "'/opt/opensvc/var/sync/n3/svc1!sync#1'";
    bed.sh("n1", &format!("cp {stamp} /run/stamp; echo '2026-01-02 03:04:05.000000' >{stamp}"));
    all += &row(&bed, "n1");
    bed.sh("n1", &format!("cp /run/stamp {stamp}"));
    // what both have is gone here, and the way to n3 breaks
    sh(&bed, "n1", "top btrfs subvolume delete data@sent");
    all += &row(&bed, "n1");
    let sync = under_way(&bed);
    bed.sh("n3", "pkill -9 -f 'svcmgr.* recv '");
    let said = finish(sync);
    assert!(said.code == 1 && said.stderr.contains("n2: full"), "{}", said.stderr);
    all += &row(&bed, "n1");
    let said = bed.run("n1", "svc1 sync update --force");
    assert!(said.code == 0 && said.stderr.contains("n3: full"), "{}", said.stderr);
    all += &row(&bed, "n1");
    // what was sent under another authority tells nothing of now
    bed.sh("n3", "svc1 takeover; echo 3 >/srv/svc1/data/f");
    all += &row(&bed, "n3");
    bed.sh("n3", "svc1 giveback");
    all += &row(&bed, "n1");
    crate::snapshot("btrfs_status_of_peers", &crate::zfs_table::plain(&all));
}

#[test]
fn the_sender_of_a_dataset_tells_the_same() {
    let bed = crate::zfs::zfs_nodes(&["n1", "n3"], "256M");
    bed.sh("n1", "zfs create z/one; echo 1 >/z/one/f");
    let service = "[DEFAULT]\nservice_type = TST\nnodes = n1\ndrpnodes = n3\nautostart_node = n1\n\n[sync#1]\ntype = zfs\nsrc = z/one\ntarget = drpnodes\nbwlimit = 1500\n";
    bed.service(&["n1", "n3"], "svc1", service);
    bed.sh("n1", "svc1 sync full");
    let mut all = row(&bed, "n1");
    bed.sh("n1", "head -c 4M /dev/urandom >/z/one/big; zfs release svcmgr:svc1.sync.1 z/one@sent; zfs destroy z/one@sent");
    all += &row(&bed, "n1");
    let sync = bed.spawn("n1", "svc1 sync update --force");
    bed.until("n3", SOON, "pgrep -fx 'zfs receive .*'");
    bed.sh("n3", "pkill -9 -f 'svcmgr.* recv '");
    assert_eq!(finish(sync).code, 1);
    all += &row(&bed, "n1");
    let said = bed.run("n1", "svc1 sync update --force");
    assert!(said.code == 0 && said.stderr.contains("n3: full"), "{}", said.stderr);
    all += &row(&bed, "n1");
    crate::snapshot("zfs_status_of_peers", &crate::zfs_table::plain(&all));
}
