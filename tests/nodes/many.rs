//! Many services and authority: one consent for all that is taken over from silent holders, one wait at boot.

use crate::bed::{Nodes, Said};
use std::time::{Duration, Instant};

const ALL: [&str; 3] = ["n1", "n2", "d1"];

/// Of `home`, with a copy on d1.
fn service(name: &str, home: &str, more: &str) -> String {
    format!(
        "[DEFAULT]\nservice_type = TST\nnodes = {home}\ndrpnodes = d1\nautostart_node = {home}\n{more}\
         [fs#1]\ntype = tmpfs\ndev = none\nmnt = /srv/{name}\n\
         [sync#1]\nsrc = /disk/{name}/\ndst = /disk/{name}\ntarget = drpnodes\n"
    )
}

/// a and b of n1, c of n2, and d of d1 alone. d1 has the data of all; n1 and n2 do not let anybody in.
fn lost() -> Nodes {
    let bed = Nodes::with_svcmgr(&ALL);
    for (name, home) in [("a", "n1"), ("b", "n1"), ("c", "n2")] {
        bed.service(&[home, "d1"], name, &service(name, home, ""));
        bed.sh(home, &format!("mkdir /disk/{name}; {name} start; {name} sync drp --force"));
    }
    bed.service(&["d1"], "d", "[DEFAULT]\nservice_type = TST\nnodes = d1\n[fs#1]\ntype = tmpfs\ndev = none\nmnt = /srv/d\n");
    bed.sh("d1", "cp -a /opt/opensvc/var /disk/saved");
    for node in ["n1", "n2"] {
        bed.sh(node, "pkill -x sshd");
    }
    bed
}

/// `command` on d1; what ran afterwards. All is as it was then.
fn tried(bed: &Nodes, command: &str) -> (Said, String) {
    let said = bed.run("d1", command);
    let up = bed.sh("d1", "sed -n 's,^none /srv/\\([a-d]\\) .*,\\1,p' /proc/mounts | sort | tr -d '\\n'");
    bed.sh("d1", "allservices stop >/dev/null 2>&1; rm -rf /opt/opensvc/var; cp -a /disk/saved /opt/opensvc/var");
    (said, up)
}

/// The line of `service` in the closing table.
fn row<'a>(said: &'a Said, service: &str) -> &'a str {
    let is = |l: &&str| matches!(l.split_whitespace().collect::<Vec<_>>().as_slice(), [name, "ok" | "failed", ..] if *name == service);
    let row = said.stderr.lines().chain(said.stdout.lines()).find(is).unwrap_or_default();
    row.trim()
}

#[test]
fn many_are_taken_over_from_the_silent_only_with_consent() {
    let bed = lost();
    let on_terminal = |answer: &str, more: &str| format!("echo {answer} | script -qec 'allservices start{more}' /dev/null");
    let question = "does not answer. Start here";

    // nobody can be asked
    let (said, up) = tried(&bed, "allservices start");
    assert_eq!((said.code, up.as_str()), (1, "d"), "{}", said.stderr);
    assert!(!said.stderr.contains(question));
    for (service, holder) in [("a", "n1"), ("b", "n1"), ("c", "n2")] {
        let why = format!("{holder} holds its data and does not answer");
        let row = row(&said, service);
        assert!(row.contains("failed") && row.ends_with(&why), "{row:?} in {}", said.stderr);
    }
    assert!(row(&said, "d").contains(" ok "), "{}", said.stderr);

    // asked once, whatever is answered
    for (answer, more, code, ups) in [("n", "", 1, "d"), ("", "", 1, "d"), ("y", "", 0, "abcd"), ("yes", " --parallel", 0, "abcd")] {
        let (said, up) = tried(&bed, &on_terminal(answer, more));
        assert_eq!((said.code, up.as_str()), (code, ups), "{answer}: {}", said.stdout);
        assert_eq!(said.stdout.matches(question).count(), 1, "{}", said.stdout);
    }

    // said beforehand
    for (flag, code, ups) in [("--yes", 0, "abcd"), ("--from n1", 1, "abd"), ("--from nodes", 0, "abcd"), ("--from nowhere", 1, "d")] {
        let (said, up) = tried(&bed, &format!("allservices start {flag}"));
        assert_eq!((said.code, up.as_str()), (code, ups), "{flag}: {}", said.stderr);
        assert!(!said.stderr.contains(question));
    }
    // who has said from whom is not asked about others
    let (said, up) = tried(&bed, &on_terminal("y", " --from n2"));
    assert_eq!((said.code, up.as_str()), (1, "cd"), "{}", said.stdout);
    assert!(!said.stdout.contains(question) && row(&said, "a").ends_with("--from n2 does not name it"), "{}", said.stdout);
    assert!(said.stdout.contains("on d1: allservices start --from n1"), "{}", said.stdout);

    // one service is taken over by who names it
    let (said, up) = tried(&bed, "a start");
    assert_eq!((said.code, up.as_str()), (0, "a"), "{}", said.stderr);
    // and from a holder that answers, and is down, all are: nothing has to be asked
    for node in ["n1", "n2"] {
        bed.sh(node, "/usr/sbin/sshd; allservices stop");
    }
    let (said, up) = tried(&bed, "allservices start");
    assert_eq!((said.code, up.as_str()), (0, "abcd"), "{}", said.stderr);
}

#[test]
fn a_boot_of_many_waits_once() {
    let wait = Duration::from_secs(6);
    let bed = Nodes::with_svcmgr(&["n1", "d1"]);
    for name in ["a", "b", "c", "d", "e"] {
        bed.service(&["n1", "d1"], name, &service(name, "n1", "boot_wait = 6s\nboot_alone = always\n"));
        bed.sh("n1", &format!("mkdir /disk/{name}"));
    }
    let boot = |command: &str| {
        let begun = Instant::now();
        let said = bed.run("n1", command);
        let took = begun.elapsed();
        assert_eq!(said.code, 0, "{}", said.stderr);
        assert_eq!(bed.sh("n1", "grep -c ' /srv/[a-e] ' /proc/mounts"), "5");
        bed.sh("n1", "allservices stop -p");
        println!("{command}: {:.1} s", took.as_secs_f64());
        took
    };
    assert!(boot("allservices boot") < wait, "d1 answers");
    bed.ctl("cut", &["d1"]);
    for command in ["allservices boot", "allservices boot --parallel"] {
        let took = boot(command);
        assert!(took > wait && took < wait * 4, "{command}: {took:?}");
    }
    // who lets us in and does not answer is waited for no longer
    bed.ctl("heal", &["d1"]);
    bed.sh("d1", "mv /opt/opensvc/bin/svcmgr /disk; printf '#!/bin/sh\\nexec sleep 1000\\n' >/opt/opensvc/bin/svcmgr; chmod 755 /opt/opensvc/bin/svcmgr");
    let took = boot("allservices boot");
    assert!(took > wait && took < wait * 5, "{took:?}");
}
