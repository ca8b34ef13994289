//! The old primary on real nodes, after the other site has taken over: it boots, alone or not, and stays down or
//! starts as boot_alone says; of two that both run, the one that a person chooses is kept.

use crate::bed::Nodes;
use crate::clean::nothing_left;
use crate::snapshot;
use crate::writer::{self, NODES, between, is_up, log, ok, running, timeless, writes};

/// deb1 has crashed, deb2 has taken over and runs; a file tells whose data they are. deb1 is booted, its cable cut if
/// `alone`, and nothing is done on it yet.
fn old_primary(head: &str, alone: bool) -> Nodes {
    let bed = running(head, "");
    bed.sh("deb1", "echo deb1 >/srv/d/whose; svc1 sync update --force");
    bed.ctl("crash", &["deb1"]);
    ok(&bed, "deb2", "svc1 start");
    bed.sh("deb2", "echo deb2 >/srv/d/whose");
    bed.ctl("boot", &["deb1"]);
    if alone {
        bed.ctl("cut", &["deb1"]);
    }
    bed
}

/// Everything on a node's filesystem but the log that grows.
fn hash(bed: &Nodes, node: &str) -> String {
    bed.sh(node, "cd /srv/d; find . -path ./lost+found -prune -o ! -name log -printf '%p %s %T@ %C@\\n' | sort; find . -type f ! -name log -exec md5sum {} + | sort")
}

#[test]
fn an_old_primary_that_sees_the_others_stays_down() {
    let bed = old_primary("boot_wait = 2s\n", false);
    let said = ok(&bed, "deb1", "svc1 boot");
    assert!(said.contains("svc1 is not started by boot: deb2 holds the data since "), "{said}");
    nothing_left(&bed, "deb1", &[]);
    let tree = bed.sh("deb1", "svc1 print status");
    assert!(tree.contains("# deb2 holds the data since "), "{tree}");
    let text = bed.sh("deb1", "svc1 where");
    assert!(text.contains("deb2   deb2  up    holds since ") && text.contains("deb1 crashed at "), "{text}");
    assert!(text.contains("to bring it home: on deb2: svcmgr -s svc1 giveback"), "{text}");
    // its nightly sync is not its turn: no failure, and nothing is sent
    let before = hash(&bed, "deb2");
    let said = ok(&bed, "deb1", "svc1 sync all --force");
    assert!(said.contains("won't sync from deb1: deb2 holds the data since "), "{said}");
    ok(&bed, "deb1", "svc1 sync full; svc1 sync update --force");
    // by hand it does not start either, nor do its parts
    for action in ["start", "startfs", "startapp", "start --force", "restart"] {
        let said = bed.run("deb1", &format!("svc1 {action}"));
        assert!(said.code == 1 && said.stderr.contains("it is up on deb2"), "{action}: {}", said.stderr);
        assert!(said.stderr.contains("on deb2: svcmgr -s svc1 giveback"), "{action}: {}", said.stderr);
    }
    nothing_left(&bed, "deb1", &[]);
    // what it has heard it knows: also when it boots alone, within boot_alone
    bed.ctl("crash", &["deb1"]);
    bed.ctl("boot", &["deb1"]);
    bed.ctl("cut", &["deb1"]);
    let said = ok(&bed, "deb1", "svc1 boot");
    assert!(said.contains("svc1 is not started by boot: deb2 holds the data since "), "{said}");
    let said = bed.run("deb1", "svc1 start");
    assert!(said.code == 1 && said.stderr.contains("its data are not the newest any more"), "{}", said.stderr);
    nothing_left(&bed, "deb1", &[]);
    assert_eq!(hash(&bed, "deb2"), before, "something was sent");
    writes(&bed, "deb2");
    writer::in_order(&log(&bed, "deb2"));
}

#[test]
fn an_old_primary_that_is_alone_starts_within_boot_alone() {
    let bed = old_primary("boot_wait = 2s\n", true);
    let boots = |alone: &str, up: bool| {
        bed.sh("deb1", &format!("svc1 set --param DEFAULT.boot_alone --value {alone}"));
        let said = ok(&bed, "deb1", "svc1 boot");
        assert_eq!(is_up(&bed, "deb1"), up, "{alone}: {said}");
        assert_eq!(said.contains("no node of another copy answers, and this node was down for "), !up, "{said}");
        assert_eq!(said.contains("to start here: svcmgr -s svc1 start"), !up, "{said}");
    };
    // it crashed some seconds ago
    boots("never", false);
    boots("3s", false);
    boots("15m", true);
    bed.sh("deb1", "svc1 stop");
    for (alone, up) in [("15m", false), ("always", true)] {
        bed.sh("deb1", "date -d '-16 minutes' '+%F %T.000000' >/opt/opensvc/var/alive");
        boots(alone, up);
    }
    // two are up now: neither is stopped, both say so when they see each other
    bed.ctl("heal", &["deb1"]);
    for node in NODES {
        let said = bed.run(node, "svc1 where");
        assert!(said.code == 1 && said.stdout.contains("split: svc1 runs on deb1, but deb2 holds the data since "), "{}", said.stdout);
        writes(&bed, node);
    }
}

/// The old primary was started by force while it was alone; then the cable is whole again. Whose data are kept is
/// decided by typing what its refused sync prints.
fn split(keep: &str) {
    let bed = old_primary("boot_wait = 2s\n", true);
    ok(&bed, "deb1", "svc1 start --force; echo deb1 >/srv/d/whose; touch /srv/d/only_on_deb1");
    bed.sh("deb2", "touch /srv/d/only_on_deb2");
    bed.ctl("heal", &["deb1"]);
    let before = hash(&bed, "deb2");
    let said = bed.run("deb1", "svc1 sync all --force");
    assert_eq!(said.code, 1, "{}", said.stderr);
    assert!(said.stderr.contains("sync#1 of svc1 is not sent from deb1 to deb2: deb1 does not hold the data any more"), "{}", said.stderr);
    let said = bed.run("deb1", "svc1 sync all --force");
    assert!(said.code == 1 && said.stderr.contains("and svc1 runs on deb1 too"), "{}", said.stderr);
    assert_eq!(hash(&bed, "deb2"), before, "something was sent");
    for node in NODES {
        snapshot(&format!("old_primary_split_{node}"), &timeless(&bed.run(node, "svc1 where").stdout));
        writes(&bed, node);
    }
    // deb2 does not send over it either, without a word of a person
    let back = bed.run("deb2", "svc1 sync all --force; svc1 sync full");
    assert_eq!(bed.sh("deb1", "cat /srv/d/whose"), "deb1", "{}", back.stderr);
    let refused = bed.run("deb2", "svc1 giveback");
    assert_eq!(refused.code, 1, "{}", refused.stderr);

    let way = between(&said.stderr, &format!("to keep those of {keep}: on "), "\n").split("; ").next().unwrap();
    let (node, command) = way.split_once(": ").unwrap();
    ok(&bed, node, command);
    // one is up, it is known to hold on both, and it has the chosen data and none of the others
    writes(&bed, "deb1");
    assert!(is_up(&bed, "deb1"));
    assert_eq!(bed.sh("deb1", "cd /srv/d; cat whose; ls only*"), format!("{keep}\nonly_on_{keep}"));
    writer::in_order(&log(&bed, "deb1"));
    for node in NODES {
        let text = bed.sh(node, "svc1 where");
        assert_eq!(text.matches(" live ").count(), 1, "{text}");
        assert!(text.contains("nodes  deb1  up ") && text.contains("deb2   deb2  stdby up "), "{text}");
    }
    // syncs work again, to a whole copy
    let text = bed.sh("deb1", "svc1 where");
    let make = text.split_once("to make a copy on deb2 again: on deb1: ").map(|(_, rest)| rest.split("   (").next().unwrap());
    assert_eq!(make.is_some(), keep == "deb1", "{text}");
    ok(&bed, "deb1", make.unwrap_or("svc1 sync update --force"));
    assert_eq!(bed.sh("deb2", "cd /srv/d; cat whose; ls only*"), format!("{keep}\nonly_on_{keep}"));
    let text = bed.sh("deb1", "svc1 where");
    assert!(text.contains(" replica ") && text.contains("nothing to do"), "{text}");
}

#[test]
fn a_split_ends_with_the_data_of_the_one_that_took_over() {
    split("deb2");
}

#[test]
fn a_split_ends_with_the_data_of_the_old_primary() {
    split("deb1");
}
