//! A target of sync.dds dies while something arrives: its program, all its processes, the power. The target alone has the
//! old image or the new one afterwards, and the next sync needs no comparing.

use super::dds_moves::service;
use crate::guest::{Guest, Node, finish};
use crate::{Scenario, scenario};
use std::time::Duration;

pub const ALL: &[Scenario] = &[
    scenario!(a_target_that_dies_has_the_old_or_the_new).on_demand(),
    scenario!(the_power_goes, then: [it_goes_at_the_first_chunk, it_goes_in_the_middle, it_goes_at_the_last_chunk, it_goes_before_it_is_recorded, all_was_finished]).on_demand(),
    scenario!(all_processes_of_the_target_die).on_demand(),
    scenario!(every_step_of_a_spool).on_demand(),
    scenario!(every_step_of_an_apply).on_demand(),
    scenario!(every_step_of_a_receiver).on_demand(),
];

const LIMIT: Duration = Duration::from_secs(200);

/// In place of dds on a target: /disk/die holds the verb that is meant, and at which step it dies; /disk/wait the verb
/// that waits until the file is gone.
const WRAPPER: &str = r#"#!/bin/sh
if [ -e /disk/die ] && read -r verb step </disk/die && [ "$verb" = "$1" ]; then rm /disk/die; export DDS_DIE_AT="$step"; fi
if [ "$(cat /disk/wait 2>/dev/null)" = "$1" ]; then touch /disk/waits; while [ -e /disk/wait ]; do sleep 0.1; done; fi
exec /opt/opensvc/bin/dds.real "$@"
"#;

/// The service `name`, up on the first node, with a first copy on the second.
fn begin(a: Node, b: Node, name: &str) {
    service([a, b], name, 16);
    b.sh("cd /opt/opensvc/bin; [ -e dds.real ] || mv dds dds.real");
    b.write("/opt/opensvc/bin/dds", WRAPPER);
    b.sh("chmod 755 /opt/opensvc/bin/dds; rm -f /disk/die /disk/wait /disk/waits");
    a.svcmgr(&format!("-s {name} start"));
    a.svcmgr(&format!("-s {name} sync full"));
}

fn write(a: Node, name: &str) {
    a.sh(&format!("head -c 300000 /dev/urandom >/srv/{name}/f; sync -f /srv/{name}"));
}

fn base(a: Node, name: &str) -> String {
    a.hash(&format!("/dev/{name}1/data_osvc_snap1"))
}

fn replica(b: Node, name: &str) -> String {
    b.hash(&format!("/dev/{name}2/data"))
}

fn synced(a: Node, b: Node, name: &str) {
    let said = a.svcmgr(&format!("-s {name} sync update --force"));
    assert!(!said.contains("block by block"), "{said}");
    assert_eq!(base(a, name), replica(b, name));
}

/// dds dies on the target at step `step` of `verb`, in a sync of something new. True: it has so many steps.
fn dies(a: Node, b: Node, name: &str, verb: &str, step: u32) -> bool {
    let old = replica(b, name);
    write(a, name);
    b.write("/disk/die", &format!("{verb} {step}\n"));
    let said = a.try_svcmgr(&format!("-s {name} sync update --force"));
    assert!(!(said.stdout + &said.stderr).contains("block by block"));
    if said.code == 0 {
        return false;
    }
    b.svcmgr(&format!("-s {name} startstandby"));
    let (now, new) = (replica(b, name), base(a, name));
    assert_ne!(old, new);
    // what was begun to be applied has all arrived: the new one. What was not is not touched
    assert_eq!(now, if verb == "--recover" { new } else { old }, "{verb} {step}");
    true
}

fn a_target_that_dies_has_the_old_or_the_new(guest: &Guest) {
    let (a, b) = guest.pair();
    begin(a, b, "cr");
    for (verb, step) in [("--merge", 2), ("--recover", 1), ("--recover", 4)] {
        assert!(dies(a, b, "cr", verb, step), "{verb} has fewer steps than {step}");
    }
    // all its processes, when not a byte was applied yet and all was on record
    write(a, "cr");
    b.write("/disk/wait", "--recover");
    let sync = a.spawn("exec svcmgr -s cr sync update --force");
    b.until(LIMIT, "test -e /disk/waits && grep -q applying '/opt/opensvc/var/cr/sync#1.replica.json'");
    assert!(b.svcmgr("-s cr where").contains("applying"));
    b.kill();
    a.sh("pkill -9 -x svcmgr; pkill -9 -x ssh || true"); // it would wait for the connection to be given up
    assert_ne!(finish(sync).code, 0);
    b.boot(&["cr2"]);
    b.sh("rm -f /disk/wait /disk/waits; vgchange -q -a y cr2 >/dev/null");
    b.svcmgr("-s cr startstandby");
    assert_eq!(replica(b, "cr"), a.hash("/dev/cr1/data_osvc_snap2"), "what the dead sender had frozen");
    synced(a, b, "cr");
    // somebody mounts the replica and writes
    b.sh("mkdir -p /mnt/cr; mount /dev/cr2/data /mnt/cr; echo x >/mnt/cr/by-hand; umount /mnt/cr");
    let said = a.try_svcmgr("-s cr sync update --force");
    assert!(said.code != 0 && said.stderr.contains("deb2 has writes of its own"), "{}", said.stderr);
    let said = a.svcmgr("-s cr sync update --force --abandon deb2");
    assert!(said.contains("block by block"), "{said}");
    assert_eq!(base(a, "cr"), replica(b, "cr"));
    assert!(a.svcmgr("-s cr sync verify").contains("src/dst checksums verified"));
    b.sh("mv /opt/opensvc/bin/dds.real /opt/opensvc/bin/dds");
}

/// At which step of dds the power goes, with three groups of a MiB on their way: half is in the spool; the first, the middle,
/// the last chunks are about to be written; all are written, and nobody knows yet.
const POINTS: [(&str, u32); 5] = [("--merge", 3), ("--recover", 3), ("--recover", 4), ("--recover", 5), ("--recover", 10)];

/// What the cut before has left is made whole, and then the power goes at the next point.
fn cut(guest: &Guest, round: usize) {
    let (a, b) = guest.pair();
    match round.checked_sub(1) {
        None => begin(a, b, "pc"),
        Some(last) => made_whole(a, b, POINTS[last].0),
    }
    if let Some(point) = POINTS.get(round) {
        broken_off(a, b, "pc", *point);
    }
}

fn made_whole(a: Node, b: Node, verb: &str) {
    a.sh("vgchange -q -a y pc1 >/dev/null");
    finished_alone(a, b, "pc", verb);
    a.svcmgr("-s pc start");
    synced(a, b, "pc");
}

/// The target has just booted. It needs nobody to have the old image or the new one.
fn finished_alone(a: Node, b: Node, name: &str, verb: &str) {
    b.sh(&format!("vgchange -q -a y {name}2 >/dev/null; rm -f /disk/die"));
    b.svcmgr(&format!("-s {name} startstandby"));
    // the sender lives on to see it fail: what it had frozen is its base now
    let (old, new) = (b.sh("cat /disk/before"), base(a, name));
    assert_ne!(old, new);
    assert_eq!(replica(b, name), if verb == "--merge" { old } else { new });
}

/// Sends three groups of a MiB, of which dds on the target sees no more than `step` lets it.
fn broken_off(a: Node, b: Node, name: &str, (verb, step): (&str, u32)) {
    b.write("/disk/before", &replica(b, name));
    a.sh(&format!("head -c 3000000 /dev/urandom >/srv/{name}/f; sync -f /srv/{name}"));
    b.write("/disk/die", &format!("{verb} {step}\n"));
    b.sh("sync");
    let said = a.try_svcmgr(&format!("-s {name} sync update --force"));
    assert_ne!(said.code, 0, "{verb} has no step {step}");
}

fn all_processes_of_the_target_die(guest: &Guest) {
    let (a, b) = guest.pair();
    begin(a, b, "apd");
    for point in POINTS {
        broken_off(a, b, "apd", point);
        b.kill();
        b.boot(&["apd2"]);
        finished_alone(a, b, "apd", point.0);
        synced(a, b, "apd");
    }
    b.sh("mv /opt/opensvc/bin/dds.real /opt/opensvc/bin/dds");
}

fn the_power_goes(guest: &Guest) {
    cut(guest, 0);
}

fn it_goes_at_the_first_chunk(guest: &Guest) {
    cut(guest, 1);
}

fn it_goes_in_the_middle(guest: &Guest) {
    cut(guest, 2);
}

fn it_goes_at_the_last_chunk(guest: &Guest) {
    cut(guest, 3);
}

fn it_goes_before_it_is_recorded(guest: &Guest) {
    cut(guest, 4);
}

fn all_was_finished(guest: &Guest) {
    cut(guest, 5);
    guest.pair().1.sh("mv /opt/opensvc/bin/dds.real /opt/opensvc/bin/dds");
}

fn every_step_of_a_spool(guest: &Guest) {
    every_step(guest, "spl", "--merge");
}

fn every_step_of_an_apply(guest: &Guest) {
    every_step(guest, "apl", "--recover");
}

fn every_step(guest: &Guest, name: &str, verb: &str) {
    let (a, b) = guest.pair();
    begin(a, b, name);
    let steps = (1..100).find(|step| !dies(a, b, name, verb, *step)).unwrap() - 1;
    println!("{verb} has {steps} steps");
    b.sh("rm -f /disk/die; mv /opt/opensvc/bin/dds.real /opt/opensvc/bin/dds");
}

/// Of svcmgr itself: between the apply and the record of it, and around.
fn every_step_of_a_receiver(guest: &Guest) {
    let (a, b) = guest.pair();
    begin(a, b, "rcv");
    for step in 1.. {
        write(a, "rcv");
        b.write("/opt/opensvc/var/.die", &format!("recv {step}"));
        b.sh("rm -f /opt/opensvc/var/.died");
        let failed = a.try_svcmgr("-s rcv sync update --force").code != 0;
        b.sh("rm -f /opt/opensvc/var/.die");
        if !failed && b.try_sh("test -e /opt/opensvc/var/.died").code != 0 {
            println!("recv has {} steps", step - 1);
            break;
        }
        b.svcmgr("-s rcv startstandby");
        synced(a, b, "rcv");
    }
    b.sh("mv /opt/opensvc/bin/dds.real /opt/opensvc/bin/dds");
}
