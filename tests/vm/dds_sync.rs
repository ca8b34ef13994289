//! sync.dds between real volumes: full and incremental, while they are written to; peers that are away; snapshots that
//! fill up; a sender that dies at any of its steps.

use crate::guest::{Guest, Node, finish};
use crate::{Scenario, scenario};
use std::time::Duration;

pub const ALL: &[Scenario] = &[
    scenario!(a_mounted_volume_is_replicated_while_it_is_written_to),
    scenario!(one_of_two_targets_is_away_for_three_rounds).on_demand(),
    scenario!(a_full_snapshot_is_told_and_costs_no_full_copy).on_demand(),
    scenario!(a_stale_page_of_the_table_loses_nothing).on_demand(),
    scenario!(resync_mends_what_differs).on_demand(),
    scenario!(a_regular_file_is_a_target).on_demand(),
    scenario!(the_other_node_of_the_site_goes_on).on_demand(),
    scenario!(a_sender_that_dies_at_three_steps),
    scenario!(a_sender_that_dies_at_any_step).on_demand(),
    scenario!(twenty_rounds).on_demand(),
];

const LIMIT: Duration = Duration::from_secs(120);

/// A service with one volume, mounted on the first node, and where it is sent.
struct Bed<'a> {
    name: &'static str,
    a: Node<'a>,
    peers: Vec<Node<'a>>,
}

impl<'a> Bed<'a> {
    fn new(guest: &'a Guest, name: &'static str, peers: &[Node<'a>], mib: usize) -> Self {
        let (a, _) = guest.pair();
        let bed = Self { name, a, peers: peers.to_vec() };
        for node in std::iter::once(&a).chain(peers) {
            let vg = format!("{name}_{}", node.name);
            node.vg(&vg);
            node.lv(&vg, "data", mib);
            node.service(name, &bed.file());
        }
        a.sh(&format!("mkfs.ext4 -q -J size=4 {}", bed.volume(a)));
        a.svcmgr(&format!("-s {name} start"));
        bed
    }

    fn file(&self) -> String {
        let name = self.name;
        let drp: Vec<&str> = self.peers.iter().map(|n| n.name).collect();
        let dst: String = drp.iter().map(|n| format!("dst@{n} = /dev/{name}_{n}/data\ndev@{n} = /dev/{name}_{n}/data\n")).collect();
        let dev: String = drp.iter().map(|n| format!("dev@{n} = /dev/{name}_{n}/data\n")).collect();
        let dst: String = dst.lines().filter(|l| l.starts_with("dst")).map(|l| format!("{l}\n")).collect();
        format!(
            "[DEFAULT]\nservice_type = TST\nnodes = deb1\ndrpnodes = {}\nautostart_node = deb1\n\n[fs#1]\ntype = ext4\ndev = /dev/{name}_deb1/data\n{dev}mnt = /srv/{name}\n\n\
             [sync#1]\ntype = dds\nsrc = /dev/{name}_deb1/data\n{dst}target = drpnodes\nsnap_size = 12\n",
            drp.join(" ")
        )
    }

    fn volume(&self, node: Node) -> String {
        format!("/dev/{}_{}/data", self.name, node.name)
    }

    fn sync(&self, action: &str) -> String {
        self.a.svcmgr(&format!("-s {} sync {action} --force", self.name))
    }

    /// The replica is the image that was sent, and a filesystem without a flaw, with all that was on the disk then.
    fn equal(&self, peer: Node) {
        let volume = self.volume(peer);
        assert_eq!(peer.hash(&volume), self.a.hash(&format!("{}_osvc_snap1", self.volume(self.a))));
        let vg = format!("{}_{}", self.name, peer.name);
        peer.sh(&format!(
            "lvcreate -q -s -L 12M -n look {vg}/data >/dev/null; trap 'cd /; umount /mnt 2>/dev/null; lvremove -q -f {vg}/look >/dev/null' EXIT
             fsck.ext4 -p /dev/{vg}/look >/dev/null || test $? = 1; fsck.ext4 -fn /dev/{vg}/look >/dev/null
             mount -o ro /dev/{vg}/look /mnt; if test -e /mnt/sums; then cd /mnt; sha256sum --quiet -c sums; cd /; fi"
        ));
    }

    /// Writes files one after the other, and the sum of each when it is on the disk.
    fn writer(&self) -> std::process::Child {
        self.a.spawn(&format!(
            "cd /srv/{0}; n=0; while ! test -e /tmp/stop.{0}; do n=$((n+1)); f=f$((n%20)).$n; sed -i \"/ f$((n%20))[.]/d\" sums 2>/dev/null || true; rm -f f$((n%20)).*
             head -c 40000 /dev/urandom >$f; sync $f; sha256sum $f >>sums; sync sums; done",
            self.name
        ))
    }

    fn stop(&self, writer: std::process::Child) {
        self.a.sh(&format!("touch /tmp/stop.{}", self.name));
        assert_eq!(finish(writer).code, 0);
    }

    fn table(&self) -> String {
        format!("/dev/mapper/{}_deb1-data_osvc_snap1-cow", self.name)
    }

    fn end(self) {
        self.a.svcmgr(&format!("-s {} stop", self.name));
        for node in std::iter::once(&self.a).chain(&self.peers) {
            node.sh(&format!("vgremove -q -f -y {}_{} >/dev/null", self.name, node.name));
        }
    }
}

fn rounds(guest: &Guest, name: &'static str, rounds: usize) {
    let (_, b) = guest.pair();
    let bed = Bed::new(guest, name, &[b], 16);
    let writer = bed.writer();
    bed.a.until(LIMIT, &format!("test -s /srv/{name}/sums"));
    let said = bed.sync("full");
    assert!(said.contains("lvcreate -s -n data_osvc_snap1 -L 12M"), "{said}");
    bed.equal(b);
    for _ in 0..rounds {
        let said = bed.sync("update");
        assert!(said.contains("--cow /dev/mapper/") && said.contains("Output size total"), "{said}");
        bed.equal(b);
    }
    bed.stop(writer);
    bed.end();
}

fn a_mounted_volume_is_replicated_while_it_is_written_to(guest: &Guest) {
    rounds(guest, "live", 5);
}

fn twenty_rounds(guest: &Guest) {
    rounds(guest, "twenty", 20);
}

fn one_of_two_targets_is_away_for_three_rounds(guest: &Guest) {
    let ((a, b), c) = (guest.pair(), guest.third());
    let bed = Bed::new(guest, "away", &[b, c], 16);
    a.sh("head -c 1000000 /dev/urandom >/srv/away/f0; sync -f /srv/away");
    bed.sync("full");
    [b, c].iter().for_each(|peer| bed.equal(*peer));
    c.kill();
    for round in 1..=3 {
        a.sh(&format!("head -c 200000 /dev/urandom >/srv/away/f{round}; sync -f /srv/away"));
        let said = a.try_svcmgr("-s away sync update --force");
        assert_eq!(said.code, 1, "one of them is not there");
        bed.equal(b);
    }
    assert!(a.sh("svcmgr -s away print status").contains("deb3 need"), "the row tells who is late");
    c.boot(&["away_deb3"]);
    c.sh("vgchange -q -a y away_deb3 >/dev/null");
    let said = bed.sync("update");
    assert!(said.contains("--behind") && !said.contains("comparing"), "{said}");
    [b, c].iter().for_each(|peer| bed.equal(*peer));
    bed.end();
}

fn a_full_snapshot_is_told_and_costs_no_full_copy(guest: &Guest) {
    let (a, b) = guest.pair();
    let bed = Bed::new(guest, "full", &[b], 32);
    bed.sync("full");
    a.sh("head -c 9500000 /dev/urandom >/srv/full/most; sync -f /srv/full");
    assert!(a.sh("svcmgr -s full print status || true").contains("% full"));
    a.sh("for n in 1 2; do head -c 7000000 /dev/urandom >/srv/full/f$n; sync -f /srv/full; done");
    assert!(a.sh("svcmgr -s full print status || true").contains("full sync needed"));
    let said = bed.sync("update");
    assert!(said.contains("full sync needed") && said.contains("block by block"), "{said}");
    bed.equal(b);
    a.sh("echo more >/srv/full/more; sync -f /srv/full");
    assert!(!bed.sync("update").contains("block by block"));
    bed.equal(b);
    bed.end();
}

/// The kernel writes the table below the page cache: who has read it once through the cache sees old pages for ever.
fn a_stale_page_of_the_table_loses_nothing(guest: &Guest) {
    let (a, b) = guest.pair();
    let bed = Bed::new(guest, "stale", &[b], 16);
    bed.sync("full");
    let read = |_: usize| a.sh(&format!("dd if={} bs=4k count=64 status=none | sha256sum", bed.table()));
    for round in 0..2 {
        let before = read(round);
        a.sh(&format!("head -c 500000 /dev/urandom >/srv/stale/f{round}; sync -f /srv/stale"));
        assert_eq!(read(round), before, "this kernel has no stale pages: the test proves nothing");
        bed.sync("update");
        bed.equal(b);
    }
    bed.end();
}

/// Ten blocks that nobody has replicated, as a bad disk makes them.
fn resync_mends_what_differs(guest: &Guest) {
    const MIB: usize = 64;
    let (a, b) = guest.pair();
    let bed = Bed::new(guest, "mend", &[b], MIB);
    a.sh("head -c 40000000 /dev/urandom >/srv/mend/f; sync -f /srv/mend");
    bed.sync("full");
    bed.equal(b);
    assert!(a.svcmgr("-s mend sync verify").contains("src/dst checksums verified"));
    b.sh("for n in 2 7 13 19 25 31 38 44 50 57; do dd if=/dev/urandom of=/dev/mend_deb2/data bs=4k seek=$((n*256+n)) count=1 oflag=direct conv=notrunc status=none; done");
    let said = a.try_svcmgr("-s mend sync verify");
    assert!(said.code == 1 && said.stderr.contains("10 of 2048 blocks of 32 KB are not the same on deb2"), "{}", said.stderr);
    let both = || received(a) + received(b);
    let before = both();
    let said = a.svcmgr("-s mend sync resync");
    assert!(said.contains("block by block"), "{said}");
    let moved = both() - before;
    println!("{moved} bytes went through the cables");
    bed.equal(b);
    // 10 blocks, and what ssh and the questions of both sides take
    let back = a.svcmgr("-s mend sync verify");
    assert!(back.contains("src/dst checksums verified"), "{back}");
    assert!(moved < MIB * 1024 * 1024 / 100, "{moved} bytes");
    bed.end();
}

/// Bytes that have come in by the cable.
fn received(node: Node) -> usize {
    node.sh("cat /sys/class/net/eth0/statistics/rx_bytes").parse().unwrap()
}

fn a_regular_file_is_a_target(guest: &Guest) {
    let (a, b) = guest.pair();
    let bed = Bed::new(guest, "image", &[b], 16);
    let file = bed.file().replace("dst@deb2 = /dev/image_deb2/data", "dst@deb2 = /disk/dds.img");
    [a, b].iter().for_each(|n| n.service("image", &file));
    let same = || assert_eq!(b.hash("/disk/dds.img"), a.hash("/dev/image_deb1/data_osvc_snap1"));
    bed.sync("full");
    same();
    a.sh("head -c 500000 /dev/urandom >/srv/image/f; sync -f /srv/image");
    bed.sync("update");
    same();
    bed.end();
}

/// Two nodes share the disks; after a failover the other one sends, from the snapshot that it finds.
fn the_other_node_of_the_site_goes_on(guest: &Guest) {
    let ((a, b), c) = (guest.pair(), guest.third());
    guest.shared_vg("shared");
    c.vg("shared_deb3");
    c.lv("shared_deb3", "data", 32);
    a.sh("vgchange -q -a y shared >/dev/null");
    a.lv("shared", "data", 32);
    a.sh("mkfs.ext4 -q -J size=4 /dev/shared/data");
    let file = "[DEFAULT]\nservice_type = TST\nnodes = deb1 deb2\ndrpnodes = deb3\nautostart_node = deb1\n\n[fs#1]\ntype = ext4\ndev = /dev/shared/data\n\
                dev@drpnodes = /dev/shared_deb3/data\nmnt = /srv/shared\n\n[sync#1]\ntype = dds\nsrc = /dev/shared/data\ndst = /dev/shared_deb3/data\ntarget = drpnodes\nsnap_size = 12\n";
    [a, b, c].iter().for_each(|n| n.service("shared", file));
    let same = |on: Node| assert_eq!(c.hash("/dev/shared_deb3/data"), on.hash("/dev/shared/data_osvc_snap1"));
    a.svcmgr("-s shared start");
    a.svcmgr("-s shared sync full --force");
    same(a);
    assert!(b.sh("svcmgr -s shared print status || true").contains("up       dds of /dev/shared/data"), "it was told");
    a.svcmgr("-s shared stop");
    a.sh("vgchange -q -a n shared >/dev/null");
    b.sh("vgchange -q -a y shared >/dev/null");
    b.svcmgr("-s shared start");
    b.sh("head -c 300000 /dev/urandom >/srv/shared/f; sync -f /srv/shared");
    let said = b.svcmgr("-s shared sync update --force");
    assert!(said.contains("--cow /dev/mapper/shared-data_osvc_snap1-cow") && !said.contains("block by block"), "{said}");
    same(b);
    b.svcmgr("-s shared stop");
}

/// Killed at its `step`-th change of anything. False: it ended before.
fn dies(bed: &Bed, step: usize) -> bool {
    let (a, b) = (bed.a, bed.peers[0]);
    a.sh(&format!("head -c 200000 /dev/urandom >/srv/{0}/f{step}; rm -f /srv/{0}/f$(({step}-3)); sync -f /srv/{0}", bed.name));
    a.sh(&format!("rm -f /opt/opensvc/var/.died; echo 'sync_update {step}' >/opt/opensvc/var/.die"));
    let said = a.try_svcmgr(&format!("-s {} sync update --force", bed.name));
    let died = a.sh("cat /opt/opensvc/var/.died 2>/dev/null || true; rm -f /opt/opensvc/var/.die");
    if said.code == 0 {
        assert_eq!(died, "");
        return false;
    }
    assert!(!died.is_empty(), "{}", said.stderr);
    let again = bed.sync("update");
    assert!(!again.contains("block by block"), "killed {died}: {again}");
    bed.equal(b);
    true
}

fn a_sender_that_dies_at_three_steps(guest: &Guest) {
    let (_, b) = guest.pair();
    let bed = Bed::new(guest, "dies3", &[b], 16);
    bed.sync("full");
    for step in [3, 8, 13] {
        assert!(dies(&bed, step), "there is no step {step}");
    }
    bed.end();
}

fn a_sender_that_dies_at_any_step(guest: &Guest) {
    let (_, b) = guest.pair();
    let bed = Bed::new(guest, "dies", &[b], 16);
    bed.sync("full");
    let steps = (1..100).take_while(|step| dies(&bed, *step)).count();
    assert!(steps > 10, "{steps}");
    bed.end();
}
