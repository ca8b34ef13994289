//! sync.dds when authority moves: taken over with writes that were never sent, brought home, taken over as planned.
//! Both volumes are the same afterwards, and no more is sent than both sides have written.

use crate::guest::{Guest, Node};
use crate::{Scenario, scenario};

pub const ALL: &[Scenario] = &[scenario!(away_and_home).on_demand()];

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

/// What the filesystem holds.
const FILES: &str = "cd /srv/mov; find . -type f | sort | xargs sha256sum";

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
    service([a, b], "mov", 32);
    let (home, away) = ("/dev/mov1/data", "/dev/mov2/data");
    let snap = |n: u8| format!("/dev/mov{n}/data_osvc_snap1");
    a.svcmgr("-s mov start");
    a.sh("head -c 3000000 /dev/urandom >/srv/mov/first; sync -f /srv/mov/first");
    a.svcmgr("-s mov sync full");
    assert_eq!(a.hash(&snap(1)), b.hash(away), "the first copy");
    a.sh("head -c 300000 /dev/urandom >/srv/mov/second; sync -f /srv/mov/second");
    a.svcmgr("-s mov sync update --force");
    assert_eq!(a.hash(&snap(1)), b.hash(away), "a delta");

    // home dies with writes that were never sent
    a.sh("head -c 200000 /dev/urandom >/srv/mov/unsent; rm /srv/mov/second; sync -f /srv/mov");
    a.kill();
    let said = b.svcmgr("-s mov start");
    assert!(said.contains("deb1 does not answer"), "{said}");
    b.sh("test ! -e /srv/mov/unsent; head -c 250000 /dev/urandom >/srv/mov/away; rm /srv/mov/first; sync -f /srv/mov");
    let away_files = b.sh(FILES);
    a.boot(&["mov1"]);
    a.sh("vgchange -q -a y mov1 >/dev/null");
    let refused = a.try_svcmgr("-s mov start");
    assert_ne!(refused.code, 0, "deb2 has newer data");

    // the way home: what either side has written, and nothing else
    let (union, before) = (noted(a, "mov1") + noted(b, "mov2"), lines(b, "mov"));
    let said = b.svcmgr("-s mov giveback");
    assert!(said.contains("was never sent: it is overwritten with the data of deb2"), "{said}");
    assert!(!said.contains("block by block"), "{said}");
    assert_eq!(a.sh(FILES), away_files);
    assert_eq!(a.hash(&snap(1)), b.hash(away), "home begins with what was away");
    let bytes = sent(b, "mov", before);
    // umount and the journal write some chunks more, after the union was measured
    assert!(bytes > 0 && bytes <= union * 105 / 100 + 256 * 1024, "{bytes} bytes of {union}");

    // planned: the last writes go along, and again no more than was written
    a.sh("head -c 100000 /dev/urandom >/srv/mov/third; sync -f /srv/mov");
    let before = lines(a, "mov");
    let said = b.svcmgr("-s mov takeover");
    assert!(!said.contains("block by block"), "{said}");
    assert_eq!(b.hash(&snap(2)), a.hash(home), "nothing is lost");
    assert!(sent(a, "mov", before) < 2 << 20, "{} bytes", sent(a, "mov", before));
    b.sh("echo x >/srv/mov/fourth; sync -f /srv/mov");
    let before = lines(b, "mov");
    let said = b.svcmgr("-s mov giveback");
    assert!(!said.contains("block by block"), "{said}");
    assert_eq!(a.sh("cat /srv/mov/fourth"), "x");
    assert_eq!(a.hash(&snap(1)), b.hash(away));
    assert!(sent(b, "mov", before) < 2 << 20, "{} bytes", sent(b, "mov", before));
    // and the day goes on: the next sync is a delta on what both had then
    a.sh("echo y >/srv/mov/fifth; sync -f /srv/mov");
    let said = a.svcmgr("-s mov sync update --force");
    assert!(!said.contains("block by block"), "{said}");
    assert_eq!(a.hash(&snap(1)), b.hash(away));
    a.svcmgr("-s mov stop");
    a.sh("e2fsck -fn /dev/mov1/data");
    b.sh("e2fsck -fn /dev/mov2/data || [ $? = 4 ]");
}
