//! A service whose launcher numbers its writes: what was lost, was written twice or was written by two is seen.

use crate::bed::Nodes;
use std::collections::BTreeSet;

/// The two nodes, the one of the primary site first.
pub const NODES: [&str; 2] = ["deb1", "deb2"];

/// What is left on a node that is only ready to receive.
pub const STANDBY: [&str; 2] = ["loop /disk/d.img", "mount /srv/d"];

const ENV: &str = "
service_type = TST
autostart_node = deb1

[fs#1]
type = ext4
dev = /disk/d.img
mnt = /srv/d
mnt_opt = loop

[app#1]
script = /disk/writer
start = 10
stop = 10
check = 10

[sync#1]
src = /srv/d/
dst = /srv/d
dstfs = /srv/d
options = --exclude=/lost+found
";

/// Writes `N TIME NODE` to the service's log each 20 ms and goes on where the log ends. A write that was made is
/// noted in /shared too, where no node can lose it.
const WRITER: &str = r#"#!/bin/bash
pid=/run/writer.pid
alive() { [ -e $pid ] && kill -0 "$(cat $pid)" 2>/dev/null; }
case $1 in
start)
    alive || { setsid /usr/bin/perl /disk/writer.pl </dev/null >/dev/null 2>&1 & echo $! >$pid; } ;;
stop)
    ! alive || kill "$(cat $pid)"
    while alive; do sleep .02; done
    rm -f $pid ;;
status)
    alive ;;
esac
"#;

const WRITER_PL: &str = r#"use strict;
use Time::HiRes qw(time sleep);
use Sys::Hostname;
my ($log, $node, $n) = ("/srv/d/log", hostname(), 0);
if (open(my $old, "<", $log)) { while (<$old>) { $n = $1 if /^(\d+) / } }
open(my $new, ">>", $log) or die;
open(my $made, ">>", "/shared/made") or die;
while (1) {
    my $line = sprintf("%d %.3f %s\n", ++$n, time, $node);
    syswrite($new, $line) == length($line) or die;
    syswrite($made, $line);
    sleep .02;
}
"#;

/// One write.
#[derive(Debug, Clone, PartialEq, PartialOrd)]
pub struct Write {
    pub number: u64,
    /// Seconds of the epoch.
    pub at: f64,
    pub node: String,
}

/// Two nodes with the service svc1, down. `head` goes to DEFAULT, `fs` and `sync` to their sections.
pub fn bed(head: &str, fs: &str, sync: &str) -> Nodes {
    let bed = Nodes::with_svcmgr(&NODES);
    for node in NODES {
        bed.sh(node, "truncate -s 300M /disk/d.img; mkfs.ext4 -q /disk/d.img");
        bed.write(node, "/disk/writer", WRITER);
        bed.write(node, "/disk/writer.pl", WRITER_PL);
        bed.sh(node, "chmod 755 /disk/writer");
    }
    let env = format!("[DEFAULT]\n{head}{ENV}{sync}").replace("mnt_opt = loop\n", &format!("mnt_opt = loop\n{fs}"));
    bed.service(&NODES, "svc1", &env);
    bed
}

/// The usual one: deb2 is the recovery site, the service runs on deb1, deb2 has a first copy.
pub fn running(head: &str, sync: &str) -> Nodes {
    let bed = bed(&format!("nodes = deb1\ndrpnodes = deb2\n{head}"), "always_on = drpnodes\n", &format!("target = drpnodes\n{sync}"));
    bed.sh("deb2", "svc1 startstandby");
    bed.sh("deb1", "svc1 start; svc1 sync full");
    bed
}

/// The service's log on a node, whose filesystem must be mounted.
pub fn log(bed: &Nodes, node: &str) -> Vec<Write> {
    parse(&bed.sh(node, "cat /srv/d/log"))
}

fn parse(text: &str) -> Vec<Write> {
    let line = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let [number, at, node] = words.as_slice() else { panic!("not a line of the writer: {line:?}") };
        Write { number: number.parse().unwrap(), at: at.parse().unwrap(), node: (*node).to_owned() }
    };
    text.lines().map(line).collect()
}

/// The log on `node` has every number once, in order, and every write that was ever made. How many there are.
pub fn none_lost(bed: &Nodes, node: &str) -> usize {
    // first what was made, as the writer goes on
    let made = std::fs::read_to_string(bed.shared().join("made")).unwrap();
    let text = bed.sh(node, "cat /srv/d/log");
    let kept: BTreeSet<&str> = text.lines().collect();
    let lost: Vec<&str> = made.lines().filter(|line| !kept.contains(line)).collect();
    assert!(lost.is_empty(), "{} writes are not on {node}: {:?}", lost.len(), lost.iter().take(5).collect::<Vec<_>>());
    in_order(&parse(&text));
    kept.len()
}

/// Every number once, from 1.
pub fn in_order(log: &[Write]) {
    for (write, number) in log.iter().zip(1..) {
        assert_eq!(write.number, number, "{write:?}");
    }
}

/// Writes are being made on `node`.
pub fn writes(bed: &Nodes, node: &str) {
    bed.sh(node, "n=$(wc -l </srv/d/log); for i in {1..200}; do [ $(wc -l </srv/d/log) = $n ] || exit 0; sleep .02; done; exit 1");
}

/// Seconds between `begin` of the epoch and a time as svcmgr prints it, `19:09:28`. The nodes' zone is UTC.
pub fn clock(text: &str, near: f64) -> f64 {
    let parts: Vec<f64> = text.split(':').map(|p| p.parse().unwrap_or_else(|_| panic!("no time: {text:?}"))).collect();
    let [h, m, s] = parts.as_slice() else { panic!("no time: {text:?}") };
    (near / 86400.0).floor() * 86400.0 + h * 3600.0 + m * 60.0 + s
}

/// A command that has to succeed; what it said.
pub fn ok(bed: &Nodes, node: &str, code: &str) -> String {
    let said = bed.run(node, code);
    assert_eq!(said.code, 0, "{node}: {code}\n{}{}", said.stdout, said.stderr);
    said.stderr
}

/// The text between two others.
pub fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let rest = text.split_once(before).unwrap_or_else(|| panic!("no {before:?} in: {text}")).1;
    rest.split_once(after).unwrap_or_else(|| panic!("no {after:?} after {before:?} in: {text}")).0
}

/// Times and ages taken out, columns narrow: they depend on the clock.
pub fn timeless(text: &str) -> String {
    let with = |pattern: &str, by: &str, text: &str| regex::Regex::new(pattern).unwrap().replace_all(text, by).into_owned();
    let text = with(r"\d{4}-\d\d-\d\d ", "", text);
    let text = with(r"\d\d:\d\d:\d\d", "TIME", &text);
    with(" {2,}", "  ", &with(r"\b\d+ (s|min)\b", "AGE", &text))
}

/// The service is up there.
pub fn is_up(bed: &Nodes, node: &str) -> bool {
    bed.sh(node, "svc1 print status").contains("|- avail                  up")
}
