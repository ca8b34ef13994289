//! `where` on real nodes: what it says is so, what it tells to type does what it says, and it changes nothing.

use crate::bed::Nodes;
use crate::faults::pair;

/// Beside the filesystem that is always on: what shows where the service runs.
const RUNS: &str = "[fs#2]\ntype = tmpfs\ndev = none\nmnt = /srv/run\n";

/// What `where` prints on `node`; it has changed nothing there, nor on `other`.
fn asked(bed: &Nodes, node: &str, other: &[&str], code: i32) -> String {
    let state = || {
        let of = |n: &&str| bed.sh(n, "cd /opt/opensvc/var; find . -path ./lock -prune -o -type f -printf '%p %s %T@\\n' | sort");
        [node].iter().chain(other).map(of).collect::<Vec<_>>()
    };
    let before = state();
    let said = bed.run(node, "svc1 where");
    assert_eq!(said.code, code, "{}{}", said.stdout, said.stderr);
    assert_eq!(state(), before, "where writes");
    said.stdout
}

/// The command of the last line is typed where it says.
fn typed(bed: &Nodes, text: &str) {
    typed_line(bed, text.lines().last().unwrap_or_default());
}

fn typed_line(bed: &Nodes, line: &str) {
    let (before, command) = line.split_once(": svcmgr ").unwrap_or_else(|| panic!("nothing to type in: {line}"));
    let node = before.rsplit(' ').next().unwrap();
    let command = command.split("   (").next().unwrap();
    bed.sh(node, &format!("svcmgr {command}"));
}

#[test]
fn from_the_first_copy_to_a_takeover() {
    let bed = pair("400M", RUNS);
    let text = asked(&bed, "n1", &["n2"], 0);
    assert!(text.ends_with("to make a copy on n2: on n1: svcmgr -s svc1 sync full\n"), "{text}");
    typed(&bed, &text);
    for (node, other) in [("n1", "n2"), ("n2", "n1")] {
        let text = asked(&bed, node, &[other], 0);
        assert!(text.contains("nothing to do: svc1 runs on n1; n2 has its data of "), "{text}");
        let many = bed.sh(node, "allservices where");
        assert!(many.ends_with("1 services, nothing to do for 1"), "{many}");
    }
    bed.ctl("crash", &["n1"]);
    let text = asked(&bed, "n2", &[], 0);
    assert!(text.contains("if n1 is dead: on n2: svcmgr -s svc1 start   (its copy is of "), "{text}");
    typed(&bed, &text);
    let text = asked(&bed, "n2", &[], 0);
    assert!(text.contains("to bring it home when n1 answers again: on n2: svcmgr -s svc1 giveback"), "{text}");
    bed.ctl("boot", &["n1"]);
    bed.sh("n2", "svc1 where --format json | grep -q '\"verdict\":\"held\"'");
    for node in ["n1", "n2"] {
        let text = asked(&bed, node, &[], 0);
        assert!(text.contains("orphan") && text.contains("to bring it home: on n2: svcmgr -s svc1 giveback"), "{text}");
    }
}

/// n2 has taken over while n1 went on behind a cut cable; then the cable is whole again. The data of `winner` are
/// chosen by what `where` prints on `reader`.
fn split(reader: &str, winner: &str) {
    let bed = pair("400M", RUNS);
    bed.sh("n1", "svc1 sync full");
    bed.ctl("cut", &["n2"]);
    bed.sh("n2", "svc1 start; echo n2 >/srv/d/after");
    bed.sh("n1", "echo n1 >/srv/d/after");
    bed.ctl("heal", &["n2"]);
    let before = bed.sh("n2", "cat /srv/d/after");
    let sent = bed.run("n1", "svc1 sync all --force");
    assert_eq!(sent.code, 1, "{}", sent.stderr);
    assert_eq!(bed.sh("n2", "cat /srv/d/after"), before);
    for node in ["n1", "n2"] {
        let text = asked(&bed, node, &[], 1);
        assert!(text.contains("split: svc1 runs on n1, but n2 holds the data since "), "{text}");
        assert!(text.contains("takeover --abandon n1") && text.contains("takeover --abandon n2"), "{text}");
        let tree = bed.sh(node, "svc1 print status");
        assert_eq!(tree.contains("svc1 runs here too"), node == "n1", "{tree}");
    }
    let text = asked(&bed, reader, &[], 1);
    let way = format!("to keep the data of {winner}: ");
    typed_line(&bed, text.lines().find(|l| l.starts_with(&way)).unwrap());
    for node in ["n1", "n2"] {
        let text = asked(&bed, node, &[], 0);
        assert_eq!(text.matches("live").count(), 1, "{text}");
        assert!(text.lines().any(|l| l.contains(&format!(" {winner}    up ")) && l.contains("live")), "{text}");
    }
    assert_eq!(bed.sh(winner, "cat /srv/d/after"), winner);
}

#[test]
fn a_split_ends_with_the_data_of_the_new_holder() {
    split("n1", "n2");
}

#[test]
fn a_split_ends_with_the_data_of_the_old_one() {
    split("n2", "n1");
}
