//! Who may send, to whom, and what a target may refuse: on real peers.

use crate::bed::{Nodes, Said};
use crate::faults::pair;

const FILES: &str = "cd /srv/d; find . -path ./lost+found -prune -o -type f -print | sort";

fn synced() -> Nodes {
    let bed = pair("400M", "");
    bed.sh("n1", "echo precious >/srv/d/f");
    bed.sh("n1", "svc1 sync update --force");
    assert_eq!(bed.sh("n2", FILES), "./f");
    bed
}

fn refused(said: &Said, why: &str) {
    assert_eq!(said.code, 1, "{}", said.stderr);
    assert!(said.stderr.contains(why), "no {why:?} in: {}", said.stderr);
}

#[test]
fn an_unmounted_source_is_not_mirrored() {
    let bed = synced();
    bed.sh("n1", "umount /srv/d");
    for action in ["update", "drp", "full", "all"] {
        bed.run("n1", &format!("svc1 sync {action} --force"));
        assert_eq!(bed.sh("n2", FILES), "./f", "sync {action} has emptied the copy");
    }
    // the same for a source that is merely below an unmounted file system
    bed.sh("n1", "svc1 start; sed -i 's,^src = .*,src = /srv/d/sub/,; s,^dst = .*,dst = /srv/d/sub,' /opt/opensvc/etc/svc1.env; mkdir /srv/d/sub; echo b >/srv/d/sub/b; svc1 sync update --force");
    bed.sh("n1", "umount /srv/d; mkdir -p /srv/d/sub");
    bed.run("n1", "svc1 sync update --force");
    assert_eq!(bed.sh("n2", FILES), "./f\n./sub/b");
}

#[test]
fn a_stopped_service_sends_nothing() {
    let bed = synced();
    bed.sh("n1", "echo later >/srv/d/g; svc1 stop --force");
    let said = bed.run("n1", "svc1 sync update --force");
    assert_eq!(said.code, 0, "not its turn is no failure: {}", said.stderr);
    assert!(said.stderr.contains("won't sync this resource"), "{}", said.stderr);
    assert_eq!(bed.sh("n2", FILES), "./f");
}

#[test]
fn an_unmounted_destination_is_refused() {
    let bed = synced();
    bed.sh("n2", "svc1 stop --force");
    let said = bed.run("n1", "svc1 sync update --force");
    refused(&said, "The destination fs /srv/d is not mounted on node n2. refuse to sync /srv/d to protect parent fs");
    assert_eq!(bed.sh("n2", "ls /srv/d"), "");
}

#[test]
fn a_peer_without_svcmgr_gets_nothing() {
    let bed = synced();
    bed.sh("n2", "mv /opt/opensvc/bin/svcmgr /disk/");
    bed.sh("n1", "echo later >/srv/d/g");
    refused(&bed.run("n1", "svc1 sync update --force"), "svcmgr does not answer on n2");
    assert_eq!(bed.sh("n2", FILES), "./f");
}

#[test]
fn a_peer_whose_host_key_has_changed_gets_nothing() {
    let bed = synced();
    bed.sh("n1", "echo later >/srv/d/g; ssh-keygen -q -t ed25519 -N '' -f /run/other; echo \"n2 $(cut -d' ' -f1,2 /run/other.pub)\" >/root/.ssh/known_hosts");
    refused(&bed.run("n1", "svc1 sync update --force"), "n2 cannot be reached");
    assert_eq!(bed.sh("n2", FILES), "./f");
}

#[test]
fn one_peer_away_does_not_keep_the_others_from_their_copy() {
    let bed = Nodes::with_svcmgr(&["n1", "n2", "n3"]);
    let env = "[DEFAULT]\nservice_type = TST\nnodes = n1 n2\ndrpnodes = n3\nautostart_node = n1\n\
               [fs#1]\ntype = tmpfs\ndev = none\nmnt = /srv/d\n[sync#1]\nsrc = /srv/d/\ndst = /disk/d\ntarget = nodes drpnodes\n";
    bed.service(&["n1", "n2", "n3"], "svc1", env);
    bed.sh("n1", "svc1 start; echo a >/srv/d/f");
    bed.ctl("cut", &["n2"]);
    let begun = std::time::Instant::now();
    refused(&bed.run("n1", "svc1 sync all --force"), "n2 cannot be reached");
    assert!(begun.elapsed().as_secs() < 30, "{:?}", begun.elapsed());
    assert_eq!(bed.sh("n3", "cat /disk/d/f"), "a");
    let tree = bed.sh("n1", "svc1 print status");
    assert!(tree.contains("# n2 need update") && !tree.contains("n3 need"), "{tree}");
    bed.ctl("heal", &["n2"]);
    bed.sh("n1", "svc1 sync all --force");
    assert_eq!(bed.sh("n2", "cat /disk/d/f"), "a");
    assert_eq!(bed.sh("n1", "svc1 print status | head -n 2 | tail -n 1 | tr -s ' '"), "overall up");
    // what the peers themselves know of their copies
    assert!(bed.sh("n2", "svc1 print status").contains("sync#1         .... up"));
}

#[test]
fn on_a_day_that_is_not_its_own_nothing_is_sent_unless_forced() {
    let bed = pair("400M", "sync_days = []\n");
    bed.sh("n1", "echo a >/srv/d/f");
    let said = bed.run("n1", "svc1 sync drp --rid sync#1");
    assert!(said.stderr.contains("skip sync: not in allowed days"), "{}", said.stderr);
    assert_eq!((said.code, bed.sh("n2", FILES).as_str()), (0, ""), "{}", said.stderr);
    bed.sh("n1", "svc1 sync drp --rid sync#1 --force");
    assert_eq!(bed.sh("n2", FILES), "./f");
}

#[test]
fn the_layout_of_the_system_works_as_the_classic_tree_does() {
    let bed = Nodes::with_svcmgr(&["n1", "n2"]);
    for node in ["n1", "n2"] {
        bed.sh(node, "mv /opt/opensvc/bin/svcmgr /usr/local/bin/; rm -r /opt/opensvc; mkdir -p /etc/opensvc /disk/d; ln -s svcmgr /usr/local/bin/allservices");
    }
    let env = "[DEFAULT]\nservice_type = TST\nnodes = n1\ndrpnodes = n2\nautostart_node = n1\n\
               [fs#1]\ntype = tmpfs\ndev = none\nmnt = /srv/d\n[sync#1]\nsrc = /srv/d/\ndst = /disk/d\ntarget = drpnodes\n";
    bed.write("n1", "/etc/opensvc/svc1.env", env);
    bed.sh("n1", "svcmgr -s svc1 validate; allservices start; echo a >/srv/d/f");
    bed.sh("n1", "svcmgr -s svc1 sync drp --force"); // n2 gets the service's file first
    assert_eq!(bed.sh("n2", "cat /disk/d/f; test -s /etc/opensvc/svc1.env; ls -d /opt/opensvc 2>/dev/null || true"), "a");
    assert_eq!(bed.sh("n1", "allservices print status | sed -n 's/^overall *//p'").trim(), "up");
    bed.sh("n1", "test -s /var/log/opensvc/svc1.log && test -e '/var/lib/opensvc/last_sync_svc1_sync#1'; allservices stop");
    bed.sh("n2", "svcmgr -s svc1 start; svcmgr -s svc1 stop");
}
