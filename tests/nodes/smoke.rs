//! The bed itself: what the other tests stand on.

use crate::bed::{Nodes, finish};
use std::time::Duration;

#[test]
fn nodes_have_names_ssh_disks_and_cables() {
    let bed = Nodes::up(&["n1", "n2"]);
    assert_eq!(bed.sh("n1", "hostname; ssh n2 hostname"), "n1\nn2");
    bed.sh("n1", "truncate -s 16M /shared/d; mkfs.ext4 -q /shared/d; mkdir -p /mnt/d; mount -o loop /shared/d /mnt/d; echo a >/mnt/d/f; umount /mnt/d");
    assert_eq!(bed.sh("n2", "mkdir -p /mnt/d; mount -o loop /shared/d /mnt/d; cat /mnt/d/f; umount /mnt/d"), "a");
    bed.ctl("cut", &["n2"]);
    assert_ne!(bed.run("n1", "ping -qc1 -W1 n2").code, 0);
    bed.ctl("heal", &["n2"]);
    bed.until("n1", Duration::from_secs(5), "ping -qc1 -W1 n2");
}

#[test]
fn a_node_that_crashes_keeps_its_disk() {
    let bed = Nodes::up(&["n1"]);
    bed.sh("n1", "echo kept >/disk/f; echo lost >/tmp/f");
    let sleeper = bed.spawn("n1", "sleep 60");
    bed.ctl("crash", &["n1"]);
    assert_ne!(finish(sleeper).code, 0);
    bed.ctl("boot", &["n1"]);
    assert_eq!(bed.sh("n1", "cat /disk/f; test ! -e /tmp/f"), "kept");
}
