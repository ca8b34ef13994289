//! What a zfs transfer costs: bytes on the wire, and time beside the same pipe without svcmgr.

use crate::bed::Nodes;
use crate::zfs::{sh, zfs_nodes};

/// n1 sends z/d to n2.
fn service(more: &str) -> String {
    format!(
        "[DEFAULT]\nservice_type = TST\nnodes = n1\ndrpnodes = n2\nautostart_node = n1\n\n[sync#1]\ntype = zfs\nsrc = z/d\ntarget = drpnodes\n{more}"
    )
}

/// Bytes that have come in at n2's card.
fn arrived(bed: &Nodes) -> u64 {
    bed.sh("n2", "cat /sys/class/net/eth0/statistics/rx_bytes").parse().unwrap()
}

#[test]
fn what_is_compressed_is_less_on_the_wire_and_the_same_at_the_end() {
    let bed = zfs_nodes(&["n1", "n2"], "256M");
    bed.sh("n1", "zfs create z/d");
    let mut cost = Vec::new();
    for (how, more) in [("plain", ""), ("zstd", "compress = zstd\n")] {
        bed.service(&["n1", "n2"], "svc1", &service(more));
        for verb in ["full", "update"] {
            bed.sh("n1", &format!("seq -f '{how} {verb} %.0f is a line that looks like the others' 200000 >/z/d/{verb}; sync"));
            let before = arrived(&bed);
            let said = bed.run("n1", &format!("svc1 sync {verb} --force"));
            assert_eq!(said.code, 0, "{}", said.stderr);
            assert_eq!(said.stderr.contains("zstd"), how == "zstd", "{}", said.stderr);
            cost.push(arrived(&bed) - before);
            assert_eq!(sh(&bed, "n1", "content z/d sent"), sh(&bed, "n2", "content z/d sent"), "{how} {verb}");
        }
    }
    eprintln!("bytes of a full and an incremental: {cost:?}");
    assert!(cost[2] * 3 < cost[0] && cost[3] * 3 < cost[1], "{cost:?}");
    // what comes out of it at the other end is not all: that does not count
    let before = sh(&bed, "n2", "content z/d sent");
    bed.sh("n2", "mv /usr/bin/zstd /usr/bin/zstd.all");
    bed.write("n2", "/usr/bin/zstd", "#!/bin/sh\nzstd.all -q -d -c | head -c 100000\n");
    bed.sh("n2", "chmod 755 /usr/bin/zstd");
    let said = bed.run("n1", "seq 1000000 >/z/d/full; svc1 sync update --force");
    assert!(said.code == 1 && said.stderr.contains("cannot receive incremental stream"), "{}", said.stderr);
    assert_eq!(sh(&bed, "n2", "content z/d sent"), before);
    // and there is none
    for node in ["n2", "n1"] {
        bed.sh(node, "rm /usr/bin/zstd");
        let said = bed.run("n1", "svc1 sync update --force");
        let why = format!("zstd is not installed: install zstd on {node}, or take compress out of the section");
        assert!(said.code == 1 && said.stderr.contains(&why), "{}", said.stderr);
    }
}
