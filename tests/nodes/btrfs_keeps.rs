//! What btrfs replication never takes for its own: other services' snapshots beside its own, writes that nobody else has,
//! data that it cannot tell apart.

use crate::bed::{Nodes, finish};
use crate::btrfs::{nodes, pair, sent, service, sh, subvolumes};
use crate::btrfs_faults::under_way;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);

/// Slow enough to be seen under way.
const SLOW: &str = "bwlimit = 1000\n";

/// What was kept on `node`: the files of that name in all of it.
fn kept(bed: &Nodes, node: &str, file: &str) -> String {
    sh(bed, node, &format!("top 'cat .svcmgr.svc1.sync.1.kept.*.data/{file} | sort'"))
}

/// n1 dies with what it has, n3 takes over and writes, n1 comes back and gets it; what was said.
fn there_and_back(bed: &Nodes) -> String {
    bed.sh("n1", "sync");
    bed.ctl("crash", &["n1"]);
    bed.sh("n3", "svc1 start 2>&1; date +%N >/srv/svc1/data/g");
    bed.ctl("boot", &["n1"]);
    bed.sh("n1", "losetup -j /disk/b.img | grep -q . || losetup -f /disk/b.img");
    bed.until("n3", SOON, "ssh n1 true");
    let said = bed.run("n3", "svc1 giveback");
    assert_eq!(said.code, 0, "{}", said.stderr);
    said.stderr
}

/// A snapshot that nobody has received proves nothing; what was kept once stays.
#[test]
fn writes_that_a_broken_transfer_did_not_carry_are_kept() {
    let bed = pair(SLOW);
    bed.sh("n1", "svc1 sync full 2>&1; echo one >/srv/svc1/data/unsent");
    let sync = under_way(&bed);
    bed.sh("n3", "pkill -9 -f 'svcmgr.* recv '");
    assert_eq!(finish(sync).code, 1);
    assert_eq!(subvolumes(&bed, "n1"), "data\ndata@sent\ndata@sent.UUID");
    bed.sh("n1", "sed -i /bwlimit/d /opt/opensvc/etc/svc1.env");
    bed.sh("n3", "sed -i /bwlimit/d /opt/opensvc/etc/svc1.env");
    let said = there_and_back(&bed);
    assert!(said.contains("what svc1:data was on n1 is kept"), "{said}");
    assert_eq!(kept(&bed, "n1", "unsent"), "one");
    // once more: each has a name of its own
    bed.sh("n1", "echo two >/srv/svc1/data/unsent");
    let said = there_and_back(&bed);
    assert!(said.contains("kept before, until somebody deletes them: .svcmgr.svc1.sync.1.kept."), "{said}");
    assert_eq!(kept(&bed, "n1", "unsent"), "one\ntwo");
    let said = bed.run("n1", "svc1 sync update --force");
    assert!(said.code == 0 && said.stderr.contains("n3: incremental"), "{}", said.stderr);
}

/// Two services whose data have one name at home, and one of several filesystems, all to one filesystem.
#[test]
fn one_filesystem_takes_the_copies_of_many() {
    let bed = nodes(&["n1", "n3"], &service(""), "256M");
    bed.sh("n1", "rm /opt/opensvc/etc/svc1.env");
    let write = |n: u32| {
        let label = |l: &str| format!("mount -t btrfs -o subvolid=5 LABEL={l} /mnt; echo {l}{n} >/mnt/data/f; umount /mnt; ");
        bed.sh("n1", &["a", "b", "c"].map(label).concat());
    };
    for l in ["a", "b", "c"] {
        bed.sh("n1", &format!("truncate -s 120M /disk/o{l}.img; mkfs.btrfs -q -L {l} /disk/o{l}.img 2>&1; losetup -f /disk/o{l}.img; mount -t btrfs LABEL={l} /mnt; btrfs subvolume create /mnt/data; umount /mnt"));
    }
    let env = |src: &str, dst: &str| {
        format!(
            "[DEFAULT]\nservice_type = TST\nnodes = n1\ndrpnodes = n3\nautostart_node = n1\n\n[sync#1]\ntype = btrfs\nsrc = {src}\ndst = {dst}\ntarget = drpnodes\n"
        )
    };
    bed.service(&["n1", "n3"], "two", &env("a:data b:data", "svc1:x svc1:y/z"));
    bed.service(&["n1", "n3"], "one", &env("c:data", "svc1:w"));
    for round in 1..4 {
        write(round);
        let said = bed.run("n1", "two sync all --force && one sync all --force");
        assert_eq!(said.code, 0, "{}", said.stderr);
        assert_eq!(said.stderr.matches("n3: incremental").count(), if round == 1 { 0 } else { 2 }, "{}", said.stderr);
        assert_eq!(sh(&bed, "n3", "top cat x/f y/z/f w/f"), format!("a{round}\nb{round}\nc{round}"));
        assert_eq!(bed.run("n1", "two sync verify; one sync verify").code, 0);
    }
    assert_eq!(subvolumes(&bed, "n3"), "w\nw@sent\nx\nx@sent\ny/z\ny_z@sent");
}

/// As btrfs receive does at its end; what makes the subvolume writable afterwards, in btrfs-progs before 5.14, leaves it.
const RECEIVED: &str =
    "open(my $dir, '<', $ARGV[0]) or die; my $words = pack('a16 x184', 'somewhere else'); ioctl($dir, 0xC0C89425, $words) or die $!";

#[test]
fn what_cannot_be_told_apart_or_put_in_place_is_refused() {
    let bed = pair(SLOW);
    bed.sh("n1", "svc1 sync full 2>&1");
    let update = || bed.run("n1", "svc1 sync update --force");
    let error = |said: &crate::bed::Said| {
        let line = said.stderr.lines().find(|l| l.contains(" ERROR ")).unwrap_or_default();
        line.split_whitespace().skip(3).collect::<Vec<_>>().join(" ")
    };
    // somebody makes the copy the default subvolume, while data are on their way to take its place
    let sync = under_way(&bed);
    sh(&bed, "n3", "top btrfs subvolume set-default data");
    let said = finish(sync);
    assert!(said.code == 0 && said.stderr.contains("what svc1:data was on n3 is kept"), "{}", said.stderr);
    assert_eq!(sent(&bed, "n1"), sent(&bed, "n3"));
    // and before
    sh(&bed, "n3", "top btrfs subvolume set-default data");
    let mut all = vec![error(&update())];
    sh(&bed, "n3", "top btrfs subvolume set-default 5 .");
    bed.sh("n1", "echo again >/srv/svc1/data/f");
    assert_eq!(update().code, 0);
    assert_eq!(sent(&bed, "n1"), sent(&bed, "n3"));

    // received, and made writable
    bed.write("n1", "/disk/received.pl", RECEIVED);
    bed.sh("n1", "perl /disk/received.pl /srv/svc1/data; echo mine >/srv/svc1/data/f");
    all.push(error(&update()));
    assert_ne!(sh(&bed, "n3", "top cat data/f"), "mine");
    bed.sh("n1", "svc1 stop 2>&1");
    sh(&bed, "n1", "top 'btrfs subvolume snapshot data data.new; mv data data.old; mv data.new data'");
    bed.sh("n1", "svc1 start 2>&1");
    let said = update();
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_eq!(sh(&bed, "n3", "top cat data/f"), "mine");
    crate::snapshot("btrfs_keeps_refusals", &(all.join("\n") + "\n"));
}
