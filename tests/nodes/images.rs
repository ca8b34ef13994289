//! Images of a docker service on its other nodes: sent when they are missing, by engines that run only for that.

use crate::bed::Nodes;
use crate::clean::nothing_left;
use crate::engine::{CLOCK, image, load};
use crate::snapshot;

const ENV: &str = "[DEFAULT]\nservice_type = TST\nnodes = n1\ndrpnodes = n2\ndocker_data_dir = /srv/svc1/docker\n\
    [fs#1]\ntype = ext4\ndev = /disk/svc1.img\nmnt = /srv/svc1\nmnt_opt = loop\nalways_on = drpnodes\n\
    [container#0]\ntype = docker\nrun_image = test/clock:1\nrun_args = --net=none\n\
    [container#1]\ntype = docker\nrun_image = test/other:2\nrun_args = --net=none\n\
    [sync#0]\ntype = docker\ntarget = drpnodes\n";

/// svc1 runs on n1 with two images; n2 has its file, and file systems that nobody has mounted yet.
fn two_sites() -> Nodes {
    let bed = Nodes::with_svcmgr(&["n1", "n2"]);
    for node in ["n1", "n2"] {
        bed.sh(node, "truncate -s 256M /disk/svc1.img; mkfs.ext4 -q /disk/svc1.img");
    }
    image(&bed, "n1", "test/clock:1", CLOCK, "clock.tar");
    image(&bed, "n1", "test/other:2", CLOCK, "other.tar");
    bed.service(&["n1", "n2"], "svc1", ENV);
    bed.sh("n1", "svc1 startfs");
    load(&bed, "n1", "svc1", "clock.tar");
    load(&bed, "n1", "svc1", "other.tar");
    bed.sh("n1", "svc1 start");
    bed
}

fn fails(bed: &Nodes, words: &str, why: &str) {
    let said = bed.run("n1", words);
    assert!(said.code == 1 && said.stderr.contains(why), "{words}: exit status {}, wanted {why}:\n{}", said.code, said.stderr);
}

/// The row of the sync and what is said of it, on one line.
fn row(bed: &Nodes, node: &str) -> String {
    let tree = bed.sh(node, "svc1 print status");
    let rows: Vec<&str> = tree.lines().skip_while(|l| !l.contains("sync#0 ")).take_while(|l| !l.contains("sync#i0")).collect();
    rows.iter().map(|l| l.trim_start_matches(['|', ' ', '-', '\''])).collect::<Vec<_>>().join(" ")
}

#[test]
fn what_a_target_misses_is_sent_and_what_it_has_is_not() {
    let bed = two_sites();
    let sync = "svc1 sync drp --force --rid sync#0";
    assert!(row(&bed, "n1").contains("warn     docker img sync to drpnodes # n2 need update"), "{}", row(&bed, "n1"));
    // the folder for images is not mounted over there: they would fill what is below
    fails(
        &bed,
        sync,
        "sync#0 of svc1 is not received on n2: the docker daemon data dir /srv/svc1/docker is on fs#1, and /srv/svc1 is not mounted",
    );
    bed.sh("n2", "svc1 startstandby");
    let said = bed.run("n1", sync);
    assert!(said.code == 0 && said.stderr.contains("target node n2 miss images test/clock:1,test/other:2"), "{}", said.stderr);
    assert!(said.stderr.contains("save test/clock:1 test/other:2 | gzip -1 | "), "{}", said.stderr);
    // the engine there ran for this alone
    nothing_left(&bed, "n2", &["loop /disk/svc1.img", "mount /srv/svc1"]);
    snapshot("images_1_sent", &bed.sh("n1", "svc1 print status | sed 's/[0-9a-f]*@test/ID@test/'"));
    snapshot("images_2_on_the_target", &bed.sh("n2", "svc1 print status"));
    let said = bed.run("n1", sync);
    assert!(said.code == 0 && said.stderr.contains("no image is missing") && !said.stderr.contains("gzip"), "{}", said.stderr);
    // a status asks nobody
    assert_eq!(
        bed.sh(
            "n1",
            "strace -f -qq -e trace=execve -o /tmp/trace svc1 print status >/dev/null; grep -c 'execve(.*ssh.* = 0' /tmp/trace || :"
        ),
        "0"
    );

    // one is gone there: it is sent again, and only that
    bed.sh("n2", "svc1 docker rmi test/other:2; svc1 stopcontainer");
    let said = bed.run("n1", sync);
    assert!(said.code == 0 && said.stderr.contains("save test/other:2 | gzip -1"), "{}", said.stderr);
    // another image has its name there
    bed.sh("n2", "svc1 docker tag test/clock:1 test/other:2; svc1 stopcontainer");
    // and this time half of it arrives
    bed.write("n1", "/opt/opensvc/bin/gzip", "#!/bin/sh\n/bin/gzip -1 | head -c 200000\n");
    bed.sh("n1", "chmod 755 /opt/opensvc/bin/gzip");
    fails(&bed, sync, "sync update failed: n2: ");
    assert!(
        row(&bed, "n1").contains("warn     docker img sync to drpnodes # target node n2 miss image test/other:2"),
        "{}",
        row(&bed, "n1")
    );
    nothing_left(&bed, "n2", &["loop /disk/svc1.img", "mount /srv/svc1"]);
    bed.sh("n1", "rm /opt/opensvc/bin/gzip");
    bed.sh("n1", sync);
    assert!(row(&bed, "n1").contains("up       docker img sync to drpnodes"), "{}", row(&bed, "n1"));

    // the disaster: n1 is gone, no registry answers, and the containers run
    bed.ctl("crash", &["n1"]);
    let said = bed.run("n2", "svc1 start");
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_eq!(bed.sh("n2", "svc1 docker ps -q | wc -l"), "2");
    bed.sh("n2", "svc1 stop --force");
    nothing_left(&bed, "n2", &[]);
}

#[test]
fn an_image_that_is_nowhere_is_not_called_sent() {
    let bed = two_sites();
    bed.sh("n2", "svc1 startstandby");
    bed.sh("n1", "svc1 set --param container#1.run_image --value test/none:1");
    fails(&bed, "svc1 sync drp --force --rid sync#0", "image test/none:1 is not on n1: it cannot be sent");
    // words that are no business of an image sync
    let said =
        bed.run("n1", "ssh n2 env OPENSVC_ROOT=/opt/opensvc /opt/opensvc/bin/svcmgr -s svc1 recv --rid sync#0 --epoch 0 -- docker rmi x");
    assert!(said.code == 1 && said.stderr.contains("this is none of its words: docker rmi x"), "{}", said.stderr);
}
