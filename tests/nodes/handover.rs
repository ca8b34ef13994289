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

#[test]
fn a_primary_that_was_newly_installed_does_not_empty_the_copy() {
    let bed = bed("");
    bed.sh("n1", "echo kept >>/srv/data/log; svc1 sync update --force");
    bed.ctl("crash", &["n1"]);
    bed.ctl("boot", &["n1"]);
    bed.sh("n1", "rm -rf /opt/opensvc/var/* /srv/data/*; svc1 start");
    let said = bed.run("n1", "svc1 sync update --force");
    assert_eq!(said.code, 1, "{}", said.stderr);
    assert!(said.stderr.contains("n1 has forgotten that it ever was"), "{}", said.stderr);
    bed.sh("n2", "grep -q kept /srv/data/log");
    // the way out that is printed
    bed.sh("n1", "svc1 stop");
    bed.sh("n2", "svc1 start; grep -q kept /srv/data/log");
    bed.sh("n2", "svc1 giveback");
    bed.sh("n1", "grep -q kept /srv/data/log; svc1 sync update --force");
}

#[test]
fn a_copy_that_has_forgotten_whose_it_is_asks_again() {
    let bed = bed("");
    bed.sh("n2", "echo '{' >/opt/opensvc/var/svc1/authority.json");
    let said = bed.run("n1", "svc1 sync update --force");
    assert_eq!(said.code, 1, "{}", said.stderr);
    assert!(said.stderr.contains("on n2: svcmgr -s svc1 startstandby"), "{}", said.stderr);
    let said = bed.run("n2", "svc1 startstandby");
    assert!(said.stderr.contains("n1 holds the data of svc1, say the other nodes"), "{}", said.stderr);
    bed.sh("n1", "svc1 sync update --force");
}

#[test]
fn writes_of_home_that_no_file_tells_of_are_not_overwritten() {
    let bed = bed("");
    bed.ctl("cut", &["n1"]);
    bed.sh("n2", "svc1 start");
    bed.sh("n1", "sleep 1; echo own >>/srv/data/log");
    bed.ctl("heal", &["n1"]);
    let said = bed.run("n1", "svc1 sync update --force");
    assert_eq!(said.code, 1, "{}", said.stderr);
    bed.sh("n1", "svc1 stop; echo '{' >'/opt/opensvc/var/svc1/sync#1.replica.json'");
    let said = bed.run("n2", "svc1 giveback");
    assert_eq!(said.code, 1, "{}", said.stderr);
    assert!(said.stderr.contains("n1 has written data after n2 took over"), "{}", said.stderr);
    bed.sh("n1", "grep -q own /srv/data/log");
    bed.sh("n2", "svc1 giveback --abandon n1");
    bed.sh("n1", "! grep -q own /srv/data/log; grep -q 'start n2' /srv/data/log");
}

#[test]
fn a_file_written_twice_in_a_second_is_sent_twice() {
    let bed = bed("");
    let write = |text: &str, at: &str| bed.sh("n1", &format!("echo {text} >/srv/data/f; touch -d '2024-01-01 00:00:00.{at}' /srv/data/f"));
    write("one", "3");
    bed.sh("n1", "svc1 sync update --force");
    write("two", "6");
    bed.sh("n2", "svc1 takeover");
    assert_eq!(bed.sh("n2", "cat /srv/data/f"), "two");
}
