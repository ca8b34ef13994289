//! The users' three services of micro-containers, from their example files: on shared disks, on all nodes at once, and
//! with a recovery site.

use crate::bed::Nodes;
use crate::engine::{CLOCK, image, load};
use std::time::Duration;

const FAILOVER: &str = include_str!("../../etc-examples/failover-docker.runnable.env");
const FLEX: &str = include_str!("../../etc-examples/flex-docker.runnable.env");
const FLEX_FAILOVER: &str = include_str!("../../etc-examples/flex-failover-docker.runnable.env");

/// Three nodes that reach 10.0.3.0/24, and the two images in files.
fn three(env: &str) -> Nodes {
    let bed = Nodes::with_svcmgr(&["n1", "n2", "n3"]);
    for (n, node) in ["n1", "n2", "n3"].iter().enumerate() {
        bed.sh(node, &format!("ip addr add 10.0.3.{}/24 dev eth0", 11 + n));
    }
    image(&bed, "n1", "ubuntu:14.10", CLOCK, "ubuntu.tar");
    image(&bed, "n1", "opensvc/nginx:build5", "httpd -f -p 80 -h /www", "nginx.tar");
    // busybox has no bash
    bed.service(&["n1", "n2", "n3"], "svc1", &env.replace("/bin/bash", "/bin/sh"));
    bed
}

/// A btrfs with the subvolumes of the examples in `file`, as the disk `name` of a node.
fn disk(bed: &Nodes, node: &str, file: &str, name: &str) {
    bed.sh(
        node,
        &format!(
            "truncate -s 256M {file}; mkfs.btrfs -q -L svc1 {file}; mkdir -p /mnt/b; mount -o loop {file} /mnt/b
             btrfs subvolume create /mnt/b/docker >/dev/null; btrfs subvolume create /mnt/b/data >/dev/null; umount /mnt/b"
        ),
    );
    attach(bed, node, file, name);
}

fn attach(bed: &Nodes, node: &str, file: &str, name: &str) {
    bed.sh(node, &format!("ln -sf $(losetup -f --show {file}) /dev/mapper/{name}"));
}

fn images(bed: &Nodes, node: &str) {
    load(bed, node, "svc1", "ubuntu.tar");
    load(bed, node, "svc1", "nginx.tar");
}

/// The page of the second container, at the address of the first, seen from another node.
fn page(bed: &Nodes, from: &str, address: &str) {
    let get = format!("exec 3<>/dev/tcp/{address}/80; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; timeout 3 cat <&3 | grep -q hello");
    bed.until(from, Duration::from_secs(20), &format!("timeout 5 bash -c \"{}\"", get.replace('\\', "\\\\")));
}

fn id(bed: &Nodes, node: &str) -> String {
    bed.sh(node, "svc1 docker inspect -f '{{.Id}}' svc1.container.1")
}

#[test]
fn on_shared_disks_the_other_node_takes_the_containers_over() {
    // the folder of the engine is on the shared disk, as the text beside the example has it
    let bed = three(&FAILOVER.replace("/srv/svc1/docker_data_dir", "/srv/svc1/docker"));
    disk(&bed, "n1", "/shared/d0.img", "svc1.d0");
    disk(&bed, "n3", "/disk/drp.img", "svc1.drp");
    bed.sh("n1", "svc1 startfs");
    images(&bed, "n1");
    bed.sh("n1", "svc1 start; echo kept >/srv/svc1/data/f; sync");
    page(&bed, "n3", "10.0.3.3");
    let before = id(&bed, "n1");
    // images and data go to the recovery site
    bed.sh("n3", "svc1 startstandby");
    bed.sh("n1", "svc1 sync drp --force");
    assert_eq!(bed.sh("n3", "svc1 docker images -q | wc -l; svc1 stopcontainer; cat /srv/svc1/data/f"), "2\nkept");

    bed.sh("n1", "sync");
    bed.ctl("crash", &["n1"]);
    attach(&bed, "n2", "/shared/d0.img", "svc1.d0");
    let said = bed.run("n2", "svc1 start");
    assert_eq!(said.code, 0, "{}", said.stderr);
    page(&bed, "n3", "10.0.3.3");
    assert_eq!((id(&bed, "n2"), bed.sh("n2", "cat /srv/svc1/data/f")), (before, "kept".into()));

    // the recovery site takes over with the last writes, and gives back
    bed.sh("n2", "echo two >/srv/svc1/data/f");
    let said = bed.run("n3", "svc1 takeover");
    assert_eq!(said.code, 0, "{}", said.stderr);
    page(&bed, "n2", "10.0.3.3");
    assert_eq!(bed.sh("n3", "cat /srv/svc1/data/f; echo three >/srv/svc1/data/f"), "two");
    let said = bed.run("n3", "svc1 giveback");
    assert_eq!(said.code, 0, "{}", said.stderr);
    page(&bed, "n3", "10.0.3.3");
    assert_eq!(bed.sh("n2", "cat /srv/svc1/data/f"), "three");
}

#[test]
fn on_all_nodes_at_once_each_has_its_address() {
    let bed = three(FLEX);
    for node in ["n1", "n2", "n3"] {
        disk(&bed, node, "/disk/d0.img", "svc1.d0");
        images(&bed, node);
        bed.sh(node, "svc1 start");
    }
    for (from, address) in [("n2", "10.0.3.3"), ("n3", "10.0.3.4"), ("n1", "10.0.3.5")] {
        page(&bed, from, address);
    }
    // one is stopped: the others go on
    bed.sh("n2", "svc1 stop");
    page(&bed, "n3", "10.0.3.3");
    page(&bed, "n1", "10.0.3.5");
}

#[test]
fn a_recovery_site_takes_over_and_gives_back() {
    let bed = three(FLEX_FAILOVER);
    for node in ["n1", "n2"] {
        disk(&bed, node, "/disk/d0.img", "svc1.d0");
        images(&bed, node);
    }
    disk(&bed, "n3", "/disk/drp.img", "svc1.drp");
    bed.sh("n3", "svc1 startstandby");
    bed.sh("n2", "svc1 start; echo one >/srv/svc1/data/f");
    bed.sh("n1", "svc1 start");
    // images by sync#0, data by sync#1
    bed.sh("n2", "svc1 sync drp --force");
    let tree = bed.sh("n2", "svc1 print status");
    assert!(tree.contains("sync#0         .... up") && tree.contains("sync#1         .... up"), "{tree}");

    bed.sh("n1", "svc1 stop");
    bed.sh("n2", "echo two >/srv/svc1/data/f");
    let said = bed.run("n3", "svc1 takeover");
    assert_eq!(said.code, 0, "{}", said.stderr);
    page(&bed, "n1", "10.0.3.5");
    assert_eq!(bed.sh("n3", "cat /srv/svc1/data/f; echo three >/srv/svc1/data/f"), "two");
    let said = bed.run("n3", "svc1 giveback");
    assert_eq!(said.code, 0, "{}", said.stderr);
    let home = ["n1", "n2"].into_iter().find(|n| bed.run(n, "svc1 docker ps -q | grep -q .").code == 0).unwrap();
    assert_eq!(bed.sh(home, "cat /srv/svc1/data/f"), "three");
}
