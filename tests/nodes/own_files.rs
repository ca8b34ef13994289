//! The service file on its way to the other nodes: what was edited there is not overwritten, and what does not work
//! goes nowhere.

use crate::bed::Nodes;

const ENV: &str = "[DEFAULT]
service_type = TST
nodes = n1
drpnodes = n2
autostart_node = n1

[fs#1]
type = tmpfs
dev = none
mnt = /srv/svc1
";

const FILE: &str = "/opt/opensvc/etc/svc1.env";

/// n1 has sent its file to n2, which had none, and somebody has edited it there.
fn edited_on_n2() -> Nodes {
    let bed = Nodes::with_svcmgr(&["n1", "n2"]);
    bed.service(&["n1"], "svc1", ENV);
    bed.sh("n1", "svc1 start; svc1 sync drp --force");
    assert_eq!(bed.sh("n2", "cd /opt/opensvc; cmp etc/svc1.env var/svc1/env.received; stat -c %a var/svc1/env.received"), "600");
    // what was not edited there is replaced
    bed.sh("n1", "svc1 set --param DEFAULT.comment --value one; svc1 sync drp --force");
    bed.sh("n2", "grep 'comment = one' /opt/opensvc/etc/svc1.env");
    bed.sh("n2", "svc1 set --param fs#1.mnt_opt --value size=1m");
    bed.sh("n1", "svc1 set --param DEFAULT.comment --value two");
    bed
}

/// The command behind `after`, as printed, is typed on `node`.
fn typed(bed: &Nodes, node: &str, text: &str, after: &str) {
    let command = text.split(after).nth(1).unwrap_or_else(|| panic!("no {after:?} in: {text}"));
    bed.sh(node, command.split([';', '\n']).next().unwrap());
}

/// n2 refuses, with the lines; its file is what it was.
fn refused(bed: &Nodes) -> String {
    let before = bed.sh("n2", &format!("md5sum {FILE}"));
    let said = bed.run("n1", "svc1 sync drp --force");
    assert_eq!(said.code, 1, "{}", said.stderr);
    for line in ["/opt/opensvc/etc/svc1.env was edited on n2", "- mnt_opt = size=1m", "- comment = one", "+ comment = two"] {
        assert!(said.stderr.contains(line), "no {line:?} in: {}", said.stderr);
    }
    assert_eq!(bed.sh("n2", &format!("md5sum {FILE}")), before);
    said.stderr
}

#[test]
fn an_edit_on_the_peer_is_kept() {
    let bed = edited_on_n2();
    let said = refused(&bed);
    // stamps come under the same name: they make no edit a received file
    refused(&bed);
    typed(&bed, "n1", &said, "to keep it: on n1: ");
    bed.sh("n1", "grep size=1m /opt/opensvc/etc/svc1.env; svc1 sync drp --force");
    // and from now on n1 may change it again
    bed.sh("n1", "svc1 set --param DEFAULT.comment --value three; svc1 sync drp --force");
    bed.sh("n2", &format!("cmp {FILE} <(ssh n1 cat {FILE})"));
}

#[test]
fn an_edit_on_the_peer_is_dropped() {
    let bed = edited_on_n2();
    let said = refused(&bed);
    typed(&bed, "n2", &said, "to drop it: on n2: ");
    bed.sh("n1", "svc1 sync drp --force");
    bed.sh("n2", &format!("cmp {FILE} <(ssh n1 cat {FILE}); grep 'comment = two' {FILE}"));
}

#[test]
fn a_file_with_errors_goes_nowhere() {
    let bed = Nodes::with_svcmgr(&["n1", "n2"]);
    bed.service(&["n1"], "svc1", &format!("{ENV}mnt_opt = rw\noptional = perhaps\n"));
    // also at the first contact
    for _ in 0..2 {
        let said = bed.run("n1", "svc1 sync drp --force");
        assert_eq!(said.code, 1, "{}", said.stderr);
        assert!(said.stderr.contains("svc1.env:12: fs#1.optional: not a boolean"), "{}", said.stderr);
        assert!(said.stderr.contains("on n1: svcmgr -s svc1 validate"), "{}", said.stderr);
        bed.sh("n2", &format!("test ! -e {FILE}"));
    }
    bed.sh("n1", "svc1 set --param fs#1.optional --value true; svc1 sync drp --force");
    bed.sh("n2", &format!("test -e {FILE}"));
}
