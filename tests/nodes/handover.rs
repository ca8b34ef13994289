//! Authority is given away only with all data, and only by a holder that has wholly stopped.

use crate::bed::Nodes;

/// Data on the root filesystem, and a launcher that ends only when it may.
const ENV: &str = "[DEFAULT]
service_type = TST
nodes = n1
drpnodes = n2
autostart_node = n1

[app#1]
script = /srv/writer
start = 10
stop = 10
check = 10

[sync#1]
src = /srv/data/
dst = /srv/data
target = drpnodes
";

const WRITER: &str = r#"#!/bin/bash
case $1 in
start) touch /run/writer.up; echo "start $(hostname)" >>/srv/data/log ;;
stop) [[ ! -e /srv/stuck ]] || exit 1; rm -f /run/writer.up ;;
status) [[ -e /run/writer.up ]] ;;
esac
"#;

fn bed(more: &str) -> Nodes {
    let bed = Nodes::with_svcmgr(&["n1", "n2"]);
    for node in ["n1", "n2"] {
        bed.sh(node, "mkdir -p /srv/data /srv/more");
        bed.write(node, "/srv/writer", WRITER);
        bed.sh(node, "chmod +x /srv/writer");
    }
    bed.service(&["n1", "n2"], "svc1", &format!("{ENV}{more}"));
    bed.sh("n1", "svc1 start; svc1 sync update --force");
    bed
}

fn still_on_n1(bed: &Nodes, why: &str) {
    let said = bed.run("n2", "svc1 takeover");
    assert_eq!(said.code, 1, "{}", said.stderr);
    assert!(said.stderr.contains(why), "no {why:?} in: {}", said.stderr);
    bed.sh("n2", "[[ ! -e /run/writer.up ]]");
    bed.sh("n1", "[[ -e /run/writer.up ]]; svc1 where | grep -q 'runs on n1'");
}

#[test]
fn a_launcher_that_does_not_stop_keeps_authority_where_it_is() {
    let bed = bed("");
    bed.sh("n1", "touch /srv/stuck");
    still_on_n1(&bed, "svc1 is not wholly down on n1: a launcher failed to stop");
    bed.sh("n1", "rm /srv/stuck");
    bed.sh("n2", "svc1 takeover; [[ -e /run/writer.up ]]; grep -q 'start n1' /srv/data/log");
    bed.sh("n1", "[[ ! -e /run/writer.up ]]");
}

#[test]
fn data_that_would_not_go_along_keep_authority_where_it_is() {
    let bed = bed("");
    bed.sh("n1", "svc1 disable --rid sync#1; echo late >>/srv/data/log");
    still_on_n1(&bed, "sync#1 is disabled on n1");
    bed.sh("n1", "svc1 enable --rid sync#1");
    bed.sh("n2", "svc1 takeover; grep -q late /srv/data/log");
}
