//! The users' tutorial from start to end, with the service of the demo: replicate by rsync, stop here, start there.

use crate::bed::Nodes;
use crate::clean::nothing_left;
use crate::snapshot;

const NAME: &str = "clock.opensvc.com";

/// Two nodes with the demo's service and an empty file system for it on each.
pub fn clock() -> Nodes {
    let bed = Nodes::with_svcmgr(&["deb1", "deb2"]);
    for node in ["deb1", "deb2"] {
        bed.sh(node, "printf '10.99.0.25 clock.opensvc.com\\n10.99.0.24 clock-drp.opensvc.com\\n' >>/etc/hosts; truncate -s 64M /disk/clock.img; mkfs.ext4 -q /disk/clock.img");
    }
    bed.service(&["deb1"], NAME, include_str!("../../demo/clock.opensvc.com.env"));
    bed.sh("deb1", "mount -o loop /disk/clock.img /mnt; mkdir /mnt/bin");
    bed.write("deb1", "/mnt/bin/clock", include_str!("../../demo/clock"));
    bed.sh("deb1", "chmod 755 /mnt/bin/clock; umount /mnt");
    bed
}

fn tree(bed: &Nodes, node: &str) -> String {
    bed.sh(node, &format!("{NAME} print status"))
}

#[test]
fn the_tutorial_with_rsync() {
    let bed = clock();
    bed.sh("deb1", &format!("{NAME} start"));
    snapshot("story_1_never_synced", &tree(&bed, "deb1"));

    // first contact: deb2 does not know the service yet; it gets the file, and refuses the data, as its
    // file system is not mounted
    let said = bed.run("deb1", &format!("{NAME} sync full"));
    assert_eq!(said.code, 1, "{}", said.stderr);
    assert!(said.stderr.contains("The destination fs /srv/clock is not mounted on node deb2"), "{}", said.stderr);
    bed.sh("deb2", &format!("cmp <(cat /opt/opensvc/etc/{NAME}.env) <(ssh deb1 cat /opt/opensvc/etc/{NAME}.env)"));
    bed.sh("deb2", &format!("{NAME} startstandby"));
    bed.sh("deb1", &format!("{NAME} sync full"));
    bed.sh("deb1", &format!("{NAME} sync drp --force"));
    snapshot("story_2_synced", &tree(&bed, "deb1"));

    bed.sh("deb1", "echo 'order 4711' >/srv/clock/data/orders");
    bed.sh("deb1", &format!("{NAME} sync update --force"));
    bed.sh("deb1", &format!("{NAME} stop"));
    snapshot("story_3_stopped_on_deb1", &tree(&bed, "deb1"));
    nothing_left(&bed, "deb1", &[]);
    snapshot("story_4_standby_on_deb2", &tree(&bed, "deb2"));

    bed.sh("deb2", &format!("{NAME} start"));
    snapshot("story_5_started_on_deb2", &tree(&bed, "deb2"));
    assert_eq!(bed.sh("deb2", "cat /srv/clock/data/orders"), "order 4711");
    bed.sh("deb1", "ping -qc1 -W2 clock-drp.opensvc.com");

    // home again would be overwritten by nobody: a recovery node does not send
    let said = bed.run("deb2", &format!("{NAME} sync drp --force"));
    assert_eq!(said.code, 0, "{}", said.stderr);
    bed.sh("deb2", &format!("{NAME} stop"));
    snapshot("story_6_stopped_on_deb2", &tree(&bed, "deb2"));
    bed.sh("deb2", &format!("{NAME} stop --force"));
    nothing_left(&bed, "deb2", &[]);
}

#[test]
fn a_running_service_is_not_overwritten() {
    let bed = clock();
    bed.service(&["deb2"], NAME, include_str!("../../demo/clock.opensvc.com.env"));
    bed.sh("deb2", &format!("{NAME} startstandby"));
    bed.sh("deb1", &format!("{NAME} start"));
    bed.sh("deb1", &format!("{NAME} sync full"));
    bed.sh("deb1", &format!("{NAME} stop"));
    bed.sh("deb2", &format!("{NAME} start"));
    bed.sh("deb2", "echo new >/srv/clock/data/orders");
    // the old primary comes back: nothing of it starts beside the other
    for action in ["startfs", "startapp", "startip", "start --force"] {
        let said = bed.run("deb1", &format!("{NAME} {action}"));
        assert!(said.code == 1 && said.stderr.contains("it is up on deb2"), "{action}: {}", said.stderr);
    }
    // it is mounted by hand, and its nightly sync runs
    bed.sh("deb1", "mount -o loop /disk/clock.img /srv/clock");
    let said = bed.run("deb1", &format!("{NAME} sync update --force"));
    assert_eq!(said.code, 1, "{}", said.stderr);
    assert!(said.stderr.contains("deb2"), "{}", said.stderr);
    assert_eq!(bed.sh("deb2", "cat /srv/clock/data/orders"), "new");
}
