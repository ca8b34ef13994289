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

const TWO: &str = "[DEFAULT]\nservice_type = TST\nnodes = n1 n2\n";

#[test]
fn a_source_that_is_gone_does_not_take_its_copy_along() {
    let bed = Nodes::with_svcmgr(&["n1", "n2"]);
    let env = "autostart_node = n1\n[sync#1]\nsrc = /disk/a/ /disk/b/\ndst = /disk/to here\ntarget = nodes\n[sync#2]\nsrc = /mnt/nas/\ndst = /disk/nas\ntarget = nodes\n";
    bed.service(&["n1", "n2"], "svc1", &format!("{TWO}{env}"));
    bed.sh("n1", "mkdir -p /disk/a /disk/b /mnt/nas; mount -t tmpfs none /mnt/nas; touch /disk/a/a /disk/b/b /mnt/nas/c");
    bed.sh("n1", "svc1 sync update --force");
    let all = "cd /disk; find 'to here' nas -type f | sort";
    assert_eq!(bed.sh("n2", all), "nas/c\nto here/a\nto here/b");
    bed.sh("n1", "mv /disk/b /disk/c; umount /mnt/nas");
    let said = bed.run("n1", "svc1 sync update --force");
    refused(&said, "/disk/b/ does not exist here: nothing is sent");
    refused(&said, "/mnt/nas/ is not sent: at the last sync /mnt/nas (tmpfs) was mounted there");
    assert_eq!(bed.sh("n2", all), "nas/c\nto here/a\nto here/b");
    // the ways out that are told
    bed.sh("n1", "mv /disk/c /disk/b; mount -t tmpfs none /mnt/nas; touch /mnt/nas/d; svc1 sync update --force");
    assert_eq!(bed.sh("n2", all), "nas/d\nto here/a\nto here/b");
    bed.sh("n1", "umount /mnt/nas; rm /opt/opensvc/var/svc1/sync#2.source.json; svc1 sync update --force");
    assert_eq!(bed.sh("n2", all), "to here/a\nto here/b");
}

#[test]
fn a_service_of_apps_alone_is_not_overwritten_by_the_node_that_had_it() {
    let bed = Nodes::with_svcmgr(&["n1", "n2"]);
    let app = "[app#1]\nscript = /disk/app\nstart = 1\nstop = 1\ncheck = 1\n";
    bed.service(&["n1", "n2"], "svc1", &format!("{TWO}{app}[sync#1]\nsrc = /disk/d/\ndst = /disk/d\ntarget = nodes\n"));
    for node in ["n1", "n2"] {
        bed.write(node, "/disk/app", "#!/bin/sh\ncase $1 in start) touch /run/app;; stop) rm -f /run/app;; *) test -e /run/app;; esac\n");
        bed.sh(node, "chmod 755 /disk/app; mkdir /disk/d");
    }
    bed.sh("n1", "echo old >/disk/d/f; svc1 start; svc1 sync update --force; svc1 stop");
    bed.sh("n2", "svc1 start; echo new >/disk/d/f");
    // home and first of nodes, but it runs elsewhere
    refused(&bed.run("n1", "svc1 sync update --force"), "svc1 is up on n2 (app#1): refuse to overwrite its data");
    // and the other node does not send at all
    let said = bed.run("n2", "svc1 stop; svc1 sync update --force");
    assert!(said.code == 0 && said.stderr.contains("only n1 sends"), "{}", said.stderr);
    assert_eq!((bed.sh("n1", "cat /disk/d/f"), bed.sh("n2", "cat /disk/d/f")), ("old".into(), "new".into()));
}

#[test]
fn an_interrupt_keeps_the_stamps_of_what_was_sent() {
    let bed = pair("400M", "bwlimit = 2000\n[sync#2]\nsrc = /disk/small/\ndst = /disk/small\ntarget = drpnodes\n");
    bed.sh("n1", "mkdir /disk/small; head -c 60M /dev/urandom >/srv/d/big");
    let sync = bed.spawn("n1", "svc1 sync update --force");
    bed.until("n2", std::time::Duration::from_secs(20), "test $(stat -c %s /srv/d/.big.* 2>/dev/null || echo 0) -gt 1000000");
    bed.sh("n1", "pkill -TERM -x svc1");
    let said = crate::bed::finish(sync);
    assert!(said.code == 1 && said.stderr.contains("interrupted by signal"), "{}", said.stderr);
    let listed = bed.sh("n2", "ls /opt/opensvc/var/sync/n2 2>&1 || true");
    assert_eq!(listed, "svc1!sync#2", "{}", said.stderr);
}
