//! sync.dds when authority moves: taken over with writes that were never sent and brought home; taken over as planned.
//! Both volumes are the same afterwards, and no more is sent than both sides have written.

use crate::guest::{Guest, Node};
use crate::{Scenario, scenario};

pub const ALL: &[Scenario] =
    &[scenario!(home_dies_with_unsent_writes_and_comes_back).on_demand(), scenario!(there_and_back_again).on_demand()];

/// A filesystem on a volume that dds replicates.
pub fn service(nodes: [Node; 2], name: &str, mib: usize) {
    for (node, number) in nodes.iter().zip([1, 2]) {
        let vg = format!("{name}{number}");
        node.vg(&vg);
        node.lv(&vg, "data", mib);
        node.sh(&format!("mkdir -p /srv/{name}"));
        node.service(
            name,
            &format!(
                "[DEFAULT]
service_type = TST
nodes = deb1
drpnodes = deb2
autostart_node = deb1

[fs#1]
type = ext4
dev = /dev/{name}1/data
dev@drpnodes = /dev/{name}2/data
mnt = /srv/{name}

[sync#1]
type = dds
src = /dev/{name}1/data
dst = /dev/{name}2/data
target = drpnodes
snap_size = 16
"
            ),
        );
    }
    nodes[0].sh(&format!("mkfs.ext4 -q /dev/{name}1/data"));
}

/// The bytes that the transfers of `name` took, by the history of `node`, from line `from` on.
fn sent(node: Node, name: &str, from: usize) -> u64 {
    let lines = node.sh(&format!("cat /opt/opensvc/var/{name}/history.jsonl"));
    let entries = lines.lines().skip(from).map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap());
    entries.filter(|e| e["rid"] == "sync#1" && e["result"] == "ok").filter_map(|e| e["bytes"].as_u64()).sum()
}

fn lines(node: Node, name: &str) -> usize {
    node.sh(&format!("wc -l </opt/opensvc/var/{name}/history.jsonl || echo 0")).trim().parse().unwrap()
}

/// The chunks that a snapshot has noted, in bytes: dmsetup counts sectors, metadata included.
fn noted(node: Node, vg: &str) -> u64 {
    let status = node.sh(&format!("dmsetup status {vg}-data_osvc_snap1"));
    let used = status.split_whitespace().nth(3).unwrap();
    let (used, meta) = (used.split('/').next().unwrap().parse::<u64>().unwrap(), status.split_whitespace().nth(4).unwrap());
    (used - meta.parse::<u64>().unwrap()) * 512
}

/// The service `name`, up on the first node, with a first copy and a delta on the second.
fn begin(a: Node, b: Node, name: &str) {
    service([a, b], name, 16);
    a.svcmgr(&format!("-s {name} start"));
    a.sh(&format!("head -c 3000000 /dev/urandom >/srv/{name}/first; sync -f /srv/{name}/first"));
    a.svcmgr(&format!("-s {name} sync full"));
    a.sh(&format!("head -c 300000 /dev/urandom >/srv/{name}/second; sync -f /srv/{name}/second"));
    a.svcmgr(&format!("-s {name} sync update --force"));
}

/// The image that `node` sent last.
fn base(node: Node, name: &str, number: u8) -> String {
    node.hash(&format!("/dev/{name}{number}/data_osvc_snap1"))
}

/// The volume of a node.
fn volume(node: Node, name: &str, number: u8) -> String {
    node.hash(&format!("/dev/{name}{number}/data"))
}

fn home_dies_with_unsent_writes_and_comes_back(guest: &Guest) {
    let (a, b) = guest.pair();
    begin(a, b, "mov");
    a.sh("head -c 200000 /dev/urandom >/srv/mov/unsent; rm /srv/mov/second; sync -f /srv/mov");
    a.kill();
    let said = b.svcmgr("-s mov start");
    assert!(said.contains("deb1 does not answer"), "{said}");
    b.sh("test ! -e /srv/mov/unsent; head -c 250000 /dev/urandom >/srv/mov/away; rm /srv/mov/first; sync -f /srv/mov");
    let away_files = b.sh("cd /srv/mov; find . -type f | sort | xargs sha256sum");
    a.boot(&["mov1"]);
    a.sh("vgchange -q -a y mov1 >/dev/null");
    let refused = a.try_svcmgr("-s mov start");
    assert_ne!(refused.code, 0, "deb2 has newer data");

    // the way home: what either side has written, and nothing else
    let (union, before) = (noted(a, "mov1") + noted(b, "mov2"), lines(b, "mov"));
    let said = b.svcmgr("-s mov giveback");
    assert!(said.contains("overwritten with the data of deb2"), "{said}");
    assert!(!said.contains("block by block"), "{said}");
    assert_eq!(a.sh("cd /srv/mov; find . -type f | sort | xargs sha256sum"), away_files);
    assert_eq!(base(a, "mov", 1), volume(b, "mov", 2), "home begins with what was away");
    let bytes = sent(b, "mov", before);
    // umount and the journal write some chunks more, after the union was measured
    assert!(bytes > 0 && bytes <= union * 105 / 100 + 256 * 1024, "{bytes} bytes of {union}");
    println!("the way home took {bytes} bytes; the union was {union}");
}

fn there_and_back_again(guest: &Guest) {
    let (a, b) = guest.pair();
    begin(a, b, "pln");
    a.sh("head -c 100000 /dev/urandom >/srv/pln/third; sync -f /srv/pln");
    let before = lines(a, "pln");
    let said = b.svcmgr("-s pln takeover");
    assert!(!said.contains("block by block"), "{said}");
    assert_eq!(base(b, "pln", 2), volume(a, "pln", 1), "nothing is lost");
    assert!(sent(a, "pln", before) < 2 << 20, "{} bytes", sent(a, "pln", before));
    b.sh("test -e /srv/pln/third; echo x >/srv/pln/fourth; sync -f /srv/pln");
    let before = lines(b, "pln");
    let said = b.svcmgr("-s pln giveback");
    assert!(!said.contains("block by block"), "{said}");
    assert_eq!(a.sh("cat /srv/pln/fourth"), "x");
    assert_eq!(base(a, "pln", 1), volume(b, "pln", 2));
    assert!(sent(b, "pln", before) < 2 << 20, "{} bytes", sent(b, "pln", before));
    // and the day goes on: the next sync is a delta on what both had then
    a.sh("echo y >/srv/pln/fifth; sync -f /srv/pln");
    let said = a.svcmgr("-s pln sync update --force");
    assert!(!said.contains("block by block"), "{said}");
    assert_eq!(base(a, "pln", 1), volume(b, "pln", 2));
    a.svcmgr("-s pln stop");
    a.sh("e2fsck -fn /dev/pln1/data");
    b.sh("e2fsck -fn /dev/pln2/data || [ $? = 4 ]");
}
