//! Twenty services at once: stopped on one node, started on the other.

use crate::bed::Nodes;
use crate::clean::{listing, nothing_left};

const NODES: [&str; 2] = ["n1", "n2"];

fn env(i: usize) -> String {
    let mut env = format!(
        "[DEFAULT]\nservice_type = TST\nnodes = n1 n2\nautostart_node = n1\n\
         [ip#1]\nipdev = eth0\nipname = 10.99.0.{}\n\
         [fs#1]\ntype = tmpfs\ndev = none\nmnt = /srv/svc{i:02}\n",
        100 + i
    );
    if i == 7 {
        // n2 has lost the disk of this one
        env += "[fs#2]\ntype = ext4\ndev@n1 = /disk/svc07.img\ndev@n2 = /dev/vg0/nosuch\nmnt = /srv/svc07/data\nmnt_opt = loop\n";
    }
    env
}

#[test]
fn nineteen_of_twenty_come_up_and_one_is_explained() {
    let bed = Nodes::with_svcmgr(&NODES);
    bed.sh("n1", "truncate -s 8M /disk/svc07.img; mkfs.ext4 -q /disk/svc07.img");
    for i in 1..=20 {
        bed.service(&NODES, &format!("svc{i:02}"), &env(i));
    }
    // a service of other nodes, whose file is here too, is nobody's failure
    bed.service(&["n1"], "elsewhere", "[DEFAULT]\nservice_type = TST\nnodes = other\n");
    let up = |node| bed.run(node, "allservices print status").stdout.matches("\n|- avail                  up").count();
    bed.sh("n1", "allservices start --parallel");
    assert_eq!(up("n1"), 20);

    bed.sh("n1", "allservices stop");
    assert_eq!(up("n1"), 0);
    nothing_left(&bed, "n1", &[]);

    let said = bed.run("n2", "allservices start -p");
    assert_eq!(said.code, 1, "{}", said.stderr);
    assert_eq!(up("n2"), 19);
    assert!(said.stderr.contains("device does not exist /dev/vg0/nosuch"), "{}", said.stderr);
    // the closing summary names the one that failed
    let summary: Vec<&str> = said.stderr.lines().rev().take_while(|l| !l.contains(" INFO ") && !l.contains(" ERROR ")).collect();
    assert!(summary.iter().any(|l| l.contains("svc07") && l.contains("fail")), "{}", said.stderr);
    // and what it had started was stopped again
    assert!(!listing(&bed, "n2").iter().any(|l| l.contains("svc07")));

    let said = bed.run("n2", "allservices status");
    assert_eq!(said.code, 0, "every service could be evaluated: {}", said.stderr);
    bed.sh("n2", "allservices stop -p");
    nothing_left(&bed, "n2", &[]);
}
