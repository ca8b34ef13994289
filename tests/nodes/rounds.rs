//! Data that go other ways than the service file says, and transfers that are not confirmed: on real peers.

use crate::bed::Nodes;

/// The data have other names on the recovery site: n1 sends to n2 and n3.
const SERVICE: &str = "[DEFAULT]
service_type = TST
nodes = n1
drpnodes = n2 n3
autostart_node = n1

[fs#1]
type = ext4
dev = /disk/d.img
mnt = /srv/d
mnt@drpnodes = /copy/d
mnt_opt = loop
always_on = drpnodes

[sync#1]
src = /srv/d/data/
dst = /copy/d/store
target = drpnodes

[sync#2]
src = /srv/d/conf
dst = /copy/d/etc
target = drpnodes
";

const NODES: [&str; 3] = ["n1", "n2", "n3"];

fn up() -> Nodes {
    let bed = Nodes::with_svcmgr(&NODES);
    for node in NODES {
        bed.sh(node, "truncate -s 40M /disk/d.img; mkfs.ext4 -q /disk/d.img");
    }
    bed.service(&NODES, "svc1", SERVICE);
    bed.sh("n1", "svc1 start; mkdir -p /srv/d/data /srv/d/conf; echo 1 >/srv/d/data/f; echo c >/srv/d/conf/c");
    for node in ["n2", "n3"] {
        bed.sh(node, "svc1 startstandby; mkdir -p /copy/d/store /copy/d/etc");
    }
    bed.sh("n1", "svc1 sync drp --force");
    bed
}

fn content(bed: &Nodes, node: &str, folder: &str) -> String {
    bed.sh(node, &format!("cd {folder}; find . -path ./lost+found -prune -o -type f -print | sort | xargs grep -H ''"))
}

#[test]
fn data_go_home_and_on_to_the_next_copy() {
    let bed = up();
    let away = "./etc/conf/c:c\n./store/f:1";
    assert_eq!((content(&bed, "n2", "/copy/d").as_str(), content(&bed, "n3", "/copy/d").as_str()), (away, away));
    bed.sh("n2", "svc1 takeover; echo 22 >/copy/d/store/f; echo g >/copy/d/store/g; rm /copy/d/etc/conf/c; echo dd >/copy/d/etc/conf/d");
    let newer = "./etc/conf/d:dd\n./store/f:22\n./store/g:g";
    bed.sh("n2", "svc1 sync update --force");
    assert_eq!(content(&bed, "n3", "/copy/d"), newer, "on to the next");
    bed.sh("n2", "echo 333 >/copy/d/store/g; svc1 giveback");
    assert_eq!(content(&bed, "n1", "/srv/d"), "./conf/d:dd\n./data/f:22\n./data/g:333", "home");
    bed.sh("n1", "echo 4444 >/srv/d/data/f; svc1 sync drp --force");
    assert_eq!(content(&bed, "n2", "/copy/d"), "./etc/conf/d:dd\n./store/f:4444\n./store/g:333", "and as ever");
}

#[test]
fn what_cannot_go_home_says_what_to_set() {
    let bed = up();
    for node in NODES {
        bed.sh(node, "sed -i 's,^src = /srv/d/data/,src = /srv/d/data/*,' /opt/opensvc/etc/svc1.env");
    }
    let said = bed.run("n2", "svc1 takeover; echo 22 >/copy/d/store/f; svc1 giveback");
    assert_ne!(said.code, 0);
    assert!(
        said.stderr.contains("its source is a pattern. set src@drpnodes (what n2 sends) and dst@drpnodes (where to on n1)"),
        "{}",
        said.stderr
    );
    for node in NODES {
        let keys = "src@drpnodes = /copy/d/store/\\ndst@drpnodes = /srv/d/data";
        bed.sh(node, &format!("sed -i '/^\\[sync#1/a {keys}' /opt/opensvc/etc/svc1.env"));
    }
    bed.sh("n2", "svc1 giveback");
    assert_eq!(content(&bed, "n1", "/srv/d"), "./conf/c:c\n./data/f:22");
}

#[test]
fn what_is_not_confirmed_does_not_count() {
    let bed = up();
    // n2's gate falls silent as soon as something is received
    bed.sh(
        "n2",
        "cd /opt/opensvc/bin; mv svcmgr svcmgr.real; cat >svcmgr <<'END'\n#!/bin/bash\ncase \" $* \" in *' recv '*) touch /run/silent ;; *' gate '*) [ -e /run/silent ] && exit 9 ;; esac\nexec -a \"$(basename $0)\" /opt/opensvc/bin/svcmgr.real \"$@\"\nEND\nchmod +x svcmgr",
    );
    let said = bed.run("n1", "echo 22 >/srv/d/data/f; svc1 sync update --rid sync#1 --force");
    assert_eq!(said.code, 1, "{}", said.stderr);
    assert!(said.stderr.contains("sync#1 was sent, but n2 did not confirm it: svcmgr does not answer on n2: "), "{}", said.stderr);
    let tree = |node: &str| -> String { bed.sh(node, "svc1 print status | tr -d ' \\n#|'") };
    assert!(tree("n1").contains("lastsyncton2,begun") && tree("n1").contains("didnotconfirmit"), "{}", tree("n1"));
    assert!(tree("n2").contains("atransferfromn1isinprogresssince"), "{}", tree("n2"));
    assert!(!tree("n3").contains("inprogress"), "n3 has all of it");
    bed.sh("n2", "cd /opt/opensvc/bin; mv svcmgr.real svcmgr; rm /run/silent");
    bed.sh("n1", "svc1 sync update --force");
    for node in NODES {
        assert!(!tree(node).contains("lastsync") && !tree(node).contains("inprogress"), "{}", tree(node));
    }
}
