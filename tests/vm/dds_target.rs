//! The receiving side of sync.dds on logical volumes: what is refused.

use crate::guest::{Guest, Node};
use crate::{Scenario, scenario};

pub const ALL: &[Scenario] = &[scenario!(what_is_in_use_is_not_written_to)];

/// The service `name`, whose volume data of group `name`2 on deb2 receives what deb1 has on `name`1.
pub fn env(name: &str, more: &str) -> String {
    format!(
        "[DEFAULT]
service_type = TST
nodes = deb1
drpnodes = deb2
autostart_node = deb1

[sync#1]
type = dds
src = /dev/{name}1/data
dst = /dev/{name}2/data
target = drpnodes
{more}"
    )
}

/// Why the gate of `node` refuses sync#1 of `size` bytes to `dst`; empty if it does not.
fn refusal(node: Node, name: &str, dst: &str, size: usize) -> String {
    let question = format!(
        r#"{{"version":1,"node":"deb1","copy":"nodes","epoch":0,"rids":{{"sync#1":{{"driver":"dds","dst":"{dst}","size":{size}}}}}}}"#
    );
    let answer: serde_json::Value = serde_json::from_str(&node.sh(&format!("echo '{question}' | svcmgr -s {name} gate"))).unwrap();
    let verdict = &answer["rids"]["sync#1"];
    verdict["why"].as_str().unwrap_or_default().to_owned()
}

fn what_is_in_use_is_not_written_to(guest: &Guest) {
    const MIB: usize = 1 << 20;
    let (_, b) = guest.pair();
    b.vg("held2");
    let lv = b.lv("held2", "data", 16);
    b.service("held", &env("held", ""));
    let asked = || refusal(b, "held", &lv, 16 * MIB);
    let refused = |words: &[&str]| {
        let why = asked();
        assert!(why.starts_with("sync#1 of held is not received on deb2: "), "{why:?}");
        words.iter().for_each(|w| assert!(why.contains(w), "{w} is not in {why:?}"));
    };
    assert_eq!(asked(), "");
    assert_eq!(refusal(b, "held", "/dev/mapper/held2-data", 16 * MIB), "", "its other name");
    let why = refusal(b, "held", &lv, 16 * MIB + 1);
    assert!(why.contains("/dev/held2/data has 16777216 bytes there, and the volume has 16777217. on deb2: lvextend"), "{why}");

    b.sh(&format!("mkfs.ext4 -q {lv}; mkdir -p /mnt/held; mount -o ro {lv} /mnt/held"));
    refused(&["/dev/held2/data is in use there (mounted on /mnt/held)"]);
    b.sh("umount /mnt/held");
    b.sh(&format!("echo \"0 $(blockdev --getsz {lv}) linear {lv} 0\" | dmsetup create other"));
    refused(&["held by other"]);
    b.sh("dmsetup remove other; mkswap -q /dev/held2/data >/dev/null; swapon /dev/held2/data");
    refused(&["in use as swap"]);
    b.sh("swapoff /dev/held2/data");
    // a snapshot of it is no hindrance, and is none to be written to
    b.run(["lvcreate", "-q", "-s", "-L", "4M", "-n", "data_osvc_snap1", "held2/data"]);
    assert_eq!(asked(), "");
    b.run(["lvremove", "-q", "-f", "held2/data_osvc_snap1"]);

    b.run(["vgchange", "-q", "-a", "n", "held2"]);
    refused(&["/dev/held2/data is not there", "svcmgr -s held startstandby", "lvcreate -L 16777216b"]);
    b.sh("mkdir -p /dev/held2; echo mistake >/dev/held2/data");
    refused(&["a file there, not a block device"]);
    b.sh("rm /dev/held2/data; mkdir /dev/held2/data");
    refused(&["neither a block device nor a file"]);
    b.sh("rmdir /dev/held2/data");
    b.run(["vgremove", "-q", "-f", "-y", "held2"]);
}
