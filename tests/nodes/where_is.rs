//! `where` on real nodes: what it says is so, what it tells to type does what it says, and it changes nothing.

use crate::bed::Nodes;
use crate::faults::pair;

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
    let last = text.lines().last().unwrap_or_default();
    let (before, command) = last.split_once(": svcmgr ").unwrap_or_else(|| panic!("nothing to type in: {text}"));
    let node = before.rsplit(' ').next().unwrap();
    let command = command.split("   (").next().unwrap();
    bed.sh(node, &format!("svcmgr {command}"));
}

#[test]
fn from_the_first_copy_to_a_takeover() {
    let bed = pair("400M", "");
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
