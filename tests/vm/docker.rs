//! The DRP tutorial whole: a container whose filesystems are on volumes that dds replicates, taken to the other site. The texts are in
//! docs/lvm-drp.md and docs/docker-drp.md; here the two meet.

use crate::guest::{Guest, Node};
use crate::tutorial::{FILE, NAME, Named, equal, volumes};
use crate::{Scenario, scenario};
use std::time::Duration;

pub const ALL: &[Scenario] = &[scenario!(a_container_moves_with_its_volumes).on_demand()];

const LIMIT: Duration = Duration::from_secs(120);

const CLOCK: &str = "trap 'exit 0' TERM; while :; do date; sleep 1 & wait $!; done";

/// An image without a registry, in /disk/date.tar: busybox, its names, a clock. Its id, 12 digits.
fn image(node: Node) -> String {
    let maker = "[DEFAULT]\nservice_type = TST\nnodes = deb1.opensvc.com\ndocker_data_dir = /disk/maker\n[container#0]\ntype = docker\nrun_image = none\n";
    node.service("maker", maker);
    node.write("/disk/cmd", &format!("CMD [\"/bin/sh\", \"-c\", \"{CLOCK}\"]"));
    node.sh("r=/disk/rootfs; mkdir -p $r/{bin,etc,proc,sys,dev,tmp}; cp $(command -v busybox) $r/bin/busybox
         for a in sh date sleep; do ln -sf busybox $r/bin/$a; done; echo root:x:0:0:root:/:/bin/sh >$r/etc/passwd
         id=$(tar -C $r -c . | maker docker import -c \"$(cat /disk/cmd)\" - opensvc/busybox:date); echo ${id:7:12}
         maker docker save -o /disk/date.tar opensvc/busybox:date; maker stop >/dev/null 2>&1; rm /opt/opensvc/etc/maker*")
}

fn file(id: &str) -> String {
    let daemon = "docker_data_dir = /opt/busybox.opensvc.com/appdata\n";
    let container = format!("\n[container#1]\ntype = docker\nrun_image = {id}\n");
    FILE.replacen("\n\n[ip#1]", &format!("\n{daemon}{container}\n[ip#1]"), 1)
}

fn a_container_moves_with_its_volumes(guest: &Guest) {
    let (a, b) = guest.pair();
    let _names = Named::new([a, b]);
    volumes(a, b, 48);
    for node in [a, b] {
        node.sh("mountpoint -q /sys/fs/cgroup || mount -t cgroup2 none /sys/fs/cgroup; mount --make-rshared /");
    }
    let id = image(a);
    a.service(NAME, &file(&id));
    a.svcmgr(&format!("-s {NAME} startip"));
    a.svcmgr(&format!("-s {NAME} startfs"));
    a.sh(&format!("{NAME} docker load -i /disk/date.tar"));
    a.svcmgr(&format!("-s {NAME} startcontainer"));
    let dates = format!("[ $({NAME} docker logs {NAME}.container.1 | grep -c UTC) -ge 2 ]");
    a.until(LIMIT, &dates);
    a.sh(&format!("{NAME} syncdrp --rid sync#i0 --force"));
    b.sh(&format!("ln -sf ../bin/svcmgr /opt/opensvc/etc/{NAME}; {NAME} startstandby"));
    a.svcmgr(&format!("-s {NAME} syncfullsync"));
    equal(a, b);
    let here = a.sh(&format!("{NAME} print status"));
    assert!(here.contains("container#1    .... up       ") && here.contains("@opensvc/busybox:date"), "{here}");

    a.svcmgr(&format!("-s {NAME} syncupdate --force"));
    equal(a, b);
    let lines = format!("{NAME} docker logs {NAME}.container.1 | grep -c UTC");
    a.svcmgr(&format!("-s {NAME} stop"));
    b.svcmgr(&format!("-s {NAME} start"));
    let brought = b.sh(&lines).parse::<u32>().unwrap();
    b.until(LIMIT, &format!("[ $({lines}) -gt {brought} ]"));
    assert!(brought >= 2, "its log came along");
    let there = b.sh(&format!("{NAME} print status"));
    assert!(there.contains("@opensvc/busybox:date") && there.contains("vg#1           .... stdby up vglocaldeb2"), "{there}");
    assert!(b.sh(&format!("{NAME} docker ps")).contains(&format!("{NAME}.container.1")));
    b.svcmgr(&format!("-s {NAME} stop --force"));
}
