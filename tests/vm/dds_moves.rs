//! sync.dds when authority moves: taken over with writes that were never sent, brought home, taken over as planned.
//! Both volumes are the same afterwards, and no more is sent than both sides have written.

use crate::guest::{Guest, Node};
use crate::{Scenario, scenario};

pub const ALL: &[Scenario] = &[scenario!(away_and_home)];

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

fn away_and_home(guest: &Guest) {
    let (a, b) = guest.pair();
    service([a, b], "mv", 32);
    let (home, away) = ("/dev/mv1/data", "/dev/mv2/data");
    let snap = |n: u8| format!("/dev/mv{n}/data_osvc_snap1");
    a.svcmgr("-s mv start");
    a.sh("head -c 3000000 /dev/urandom >/srv/mv/first; sync -f /srv/mv/first");
    a.svcmgr("-s mv sync full");
    assert_eq!(a.hash(&snap(1)), b.hash(away), "the first copy");
    a.sh("head -c 300000 /dev/urandom >/srv/mv/second; sync -f /srv/mv/second");
    a.svcmgr("-s mv sync update --force");
    assert_eq!(a.hash(&snap(1)), b.hash(away), "a delta");

    // home dies with writes that were never sent
    a.sh("head -c 200000 /dev/urandom >/srv/mv/unsent; rm /srv/mv/second; sync -f /srv/mv");
    a.kill();
    let said = b.svcmgr("-s mv start");
    assert!(said.contains("deb1 does not answer"), "{said}");
    b.sh("test ! -e /srv/mv/unsent; head -c 250000 /dev/urandom >/srv/mv/away; rm /srv/mv/first; sync -f /srv/mv");
    let away_files = b.sh("cd /srv/mv; sha256sum *");
    a.boot(&["mv1"]);
    a.sh("vgchange -q -a y mv1 >/dev/null");
    let refused = a.try_svcmgr("-s mv start");
    assert_ne!(refused.code, 0, "deb2 has newer data");

    // the way home: what either side has written, and nothing else
    let (union, before) = (noted(a, "mv1") + noted(b, "mv2"), lines(b, "mv"));
    let said = b.svcmgr("-s mv giveback");
    assert!(said.contains("were never sent: they are overwritten") || said.contains("overwritten with the data of deb2"), "{said}");
    assert!(!said.contains("block by block"), "{said}");
    assert_eq!(a.sh("cd /srv/mv; sha256sum *"), away_files);
    assert_eq!(a.hash(&snap(1)), b.hash(away), "home begins with what was away");
    let bytes = sent(b, "mv", before);
    // umount and the journal write some chunks more, after the union was measured
    assert!(bytes > 0 && bytes <= union * 105 / 100 + 256 * 1024, "{bytes} bytes of {union}");

    // planned: the last writes go along, and again no more than was written
    a.sh("head -c 100000 /dev/urandom >/srv/mv/third; sync -f /srv/mv");
    let before = lines(a, "mv");
    let said = b.svcmgr("-s mv takeover");
    assert!(!said.contains("block by block"), "{said}");
    assert_eq!(b.hash(&snap(2)), a.hash(home), "nothing is lost");
    assert!(sent(a, "mv", before) < 2 << 20, "{} bytes", sent(a, "mv", before));
    b.sh("echo x >/srv/mv/fourth; sync -f /srv/mv");
    let before = lines(b, "mv");
    let said = b.svcmgr("-s mv giveback");
    assert!(!said.contains("block by block"), "{said}");
    assert_eq!(a.sh("cat /srv/mv/fourth"), "x");
    assert_eq!(a.hash(&snap(1)), b.hash(away));
    assert!(sent(b, "mv", before) < 2 << 20, "{} bytes", sent(b, "mv", before));
    // and the day goes on: the next sync is a delta on what both had then
    a.sh("echo y >/srv/mv/fifth; sync -f /srv/mv");
    let said = a.svcmgr("-s mv sync update --force");
    assert!(!said.contains("block by block"), "{said}");
    assert_eq!(a.hash(&snap(1)), b.hash(away));
    a.svcmgr("-s mv stop");
    a.sh("e2fsck -fn /dev/mv1/data");
    b.sh("e2fsck -fn /dev/mv2/data || [ $? = 4 ]");
}
