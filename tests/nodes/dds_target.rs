//! The receiving side of sync.dds on real nodes, with a file in place of a volume and a played sender: a target that dies at
//! any step of its programs has the old image or the new one, and makes it whole by itself.

use crate::bed::{Nodes, Said};
use std::fs;

const SERVICE: &str = "[DEFAULT]
service_type = TST
nodes = deb1
drpnodes = deb2
autostart_node = deb1

[sync#1]
type = dds
src = /dev/none/data
dst = /disk/copy.img
target = drpnodes
";

/// In place of dds: /disk/die holds the verb that is meant, and at which step it dies.
const WRAPPER: &str = r#"#!/bin/sh
if [ -e /disk/die ] && read -r verb step </disk/die && [ "$verb" = "$1" ]; then rm /disk/die; export DDS_DIE_AT="$step"; fi
exec /opt/opensvc/bin/dds.real "$@"
"#;

const HOLDER: &str = r#""holder":{"epoch":0,"copy":"nodes","node":"deb1","since":"2014-06-06T12:00:00Z"}"#;

const PEER: &str = "ssh deb2 env OPENSVC_ROOT=/opt/opensvc /opt/opensvc/bin/svcmgr -s svc1";

/// The sender on deb1: its volume is /disk/v, and what it sent last /disk/sent.
struct Played {
    bed: Nodes,
    images: u32,
}

impl Played {
    fn new() -> Self {
        let bed = Nodes::with_svcmgr(&["deb1", "deb2"]);
        fs::copy(env!("CARGO_BIN_EXE_dds"), bed.shared().join(".dds")).unwrap();
        bed.service(&["deb1", "deb2"], "svc1", SERVICE);
        bed.sh("deb1", "cp /shared/.dds /opt/opensvc/bin/dds; head -c 4000000 /dev/urandom >/disk/v");
        bed.sh("deb2", "cp /shared/.dds /opt/opensvc/bin/dds.real; mkdir -p /disk/var; mount --bind /disk/var /opt/opensvc/var");
        bed.write("deb2", "/opt/opensvc/bin/dds", WRAPPER);
        bed.sh("deb2", "chmod 755 /opt/opensvc/bin/dds");
        Self { bed, images: 0 }
    }

    fn recv(&self, words: &str) -> String {
        format!("{PEER} recv --rid \"'sync#1'\" --epoch 0 -- dds {words}")
    }

    /// What the gate says of sync#1; with `done`, it is told that this image has arrived.
    fn gate(&self, done: Option<u32>) -> serde_json::Value {
        let done = done
            .map(|n| format!(r#","done":{{"sync#1":{{"id":"i{n}","frozen_at":"2014-06-06T18:00:{:02}Z","round":"r{n} deb1"}}}}"#, n % 60));
        let asked = if done.is_some() { "" } else { r#""sync#1":{"driver":"dds","dst":"/disk/copy.img","size":4000000}"# };
        let line =
            format!(r#"{{"version":1,"node":"deb1","copy":"nodes","epoch":0,{HOLDER},"rids":{{{asked}}}{}}}"#, done.unwrap_or_default());
        let said = self.bed.sh("deb1", &format!("echo '{line}' | {PEER} gate"));
        serde_json::from_str::<serde_json::Value>(&said).unwrap()["rids"]["sync#1"].clone()
    }

    fn first(&mut self) {
        self.images = 1;
        assert_eq!(self.gate(None)["held"]["state"], "none");
        let extract = "dds --extract --frame --all --source /disk/v --image i1 --frozen-at 2014-06-06T18:00:01Z --note 'r1 deb1'";
        self.bed.sh("deb1", &format!("{extract} | {}", self.recv("--merge --dest /disk/copy.img --json --create")));
        self.gate(Some(1));
        self.bed.sh("deb1", "cp /disk/v /disk/sent");
    }

    /// Some bytes of the volume change.
    fn write(&self) {
        let at = self.images * 777 % 900;
        self.bed.sh("deb1", &format!("head -c 200000 /dev/urandom | dd of=/disk/v bs=4000 seek={at} conv=notrunc status=none"));
    }

    /// Sends what has changed since `base` as a delta, and has it applied. An error tells which of the two failed.
    fn send(&mut self, base: &str) -> Result<(), (&'static str, Said)> {
        self.images += 1;
        let n = self.images;
        self.bed.sh(
            "deb1",
            "rm -f /disk/set; dds --hash --source /disk/sent --block 4096 | dds --diff --source /disk/v --hashes - --set /disk/set --json",
        );
        let extract = format!(
            "dds --extract --frame --behind /disk/set --source /disk/v --base {base} --image i{n} --frozen-at 2014-06-06T18:00:{:02}Z --note 'r{n} deb1'",
            n % 60
        );
        let merge = self.recv(&format!("--merge --dest /disk/copy.img --json --expect-base {base} --hold"));
        for (what, line) in [("merge", format!("{extract} | {merge}")), ("recover", self.recv("--recover"))] {
            let said = self.bed.run("deb1", &line);
            if said.code != 0 {
                return Err((what, said));
            }
        }
        Ok(())
    }

    /// The image that deb2 says it has.
    fn held(&self) -> String {
        self.gate(None)["held"]["id"].as_str().unwrap_or("none").to_owned()
    }

    /// A whole round; afterwards both have the same.
    fn round(&mut self) {
        let base = self.held();
        self.send(&base).map_err(|(what, said)| format!("{what}: {}", said.stderr)).unwrap();
        assert_eq!(self.gate(Some(self.images))["ok"].as_bool().unwrap_or(true), true);
        self.same("/disk/v");
        self.bed.sh("deb1", "cp /disk/v /disk/sent");
    }

    fn same(&self, of: &str) {
        let (a, b) = (self.bed.sh("deb1", &format!("sha256sum <{of}")), self.bed.sh("deb2", "sha256sum </disk/copy.img"));
        assert_eq!(a, b, "{of}");
    }

    /// deb2 dies in a round as `arm` says. What is there afterwards, made whole by deb2 alone, is the old image or the
    /// new, and the next round goes on from it. False: nobody died.
    fn dies(&mut self, arm: &str, died: impl Fn(&Nodes) -> bool) -> bool {
        self.write();
        let base = self.held();
        self.bed.sh("deb2", arm);
        let failed = self.send(&base).err();
        let fell = died(&self.bed);
        self.bed.sh("deb2", "rm -f /disk/die /opt/opensvc/var/.die /opt/opensvc/var/.died");
        if failed.is_none() && !fell {
            self.gate(Some(self.images));
            self.bed.sh("deb1", "cp /disk/v /disk/sent");
            return false;
        }
        self.bed.sh("deb2", "svc1 startstandby");
        let held = self.held();
        match held.as_str() {
            old if old == base => self.same("/disk/sent"),
            new if *new == format!("i{}", self.images) => {
                self.same("/disk/v");
                self.bed.sh("deb1", "cp /disk/v /disk/sent");
            }
            other => panic!("{arm}: neither {base} nor i{}, but {other}", self.images),
        }
        self.round();
        true
    }
}

#[test]
fn a_target_that_dies_has_the_old_image_or_the_new() {
    let mut played = Played::new();
    played.first();
    played.same("/disk/v");
    played.write();
    played.round();
    let mut rows = Vec::new();
    for verb in ["--merge", "--recover"] {
        let steps = (1..60).find(|n| !played.dies(&format!("echo '{verb} {n}' >/disk/die"), |_| false)).unwrap() - 1;
        rows.push((verb, steps));
    }
    // svcmgr: what it writes of it, and the programs it starts
    let died = |bed: &Nodes| bed.disk("deb2").join("var/.died").exists();
    let steps = (1..60).find(|n| !played.dies(&format!("echo 'recv {n}' >/opt/opensvc/var/.die"), died)).unwrap() - 1;
    rows.push(("recv", steps));
    println!("{rows:?}");
    assert!(rows.iter().all(|(_, steps)| *steps >= 3), "{rows:?}");
}

#[test]
fn what_is_no_delta_for_it_is_refused() {
    let mut played = Played::new();
    played.first();
    played.write();
    let (what, said) = played.send("other").unwrap_err();
    assert!(what == "merge" && said.stderr.contains("is the image i1, and the delta begins at other: it does not fit"), "{}", said.stderr);
    let over = "dds --extract --frame --all --source /disk/v --image i9";
    let said = played.bed.run("deb1", &format!("{over} | {}", played.recv("--merge --dest /disk/copy.img --json")));
    assert!(said.code != 0 && said.stderr.contains("it is not overwritten in place"), "{}", said.stderr);
    for (words, why) in [
        ("--hash --source /etc/shadow", "is on /disk/copy.img on deb2, not on /etc/shadow"),
        ("--merge --dest /disk/other --hold", "is on /disk/copy.img on deb2, not on /disk/other"),
        ("--merge --dest /disk/copy.img --spool /etc", "--spool: not a word that a sender of dds may say here"),
        ("--recover", "no delta of sync#1 waits"),
    ] {
        let said = played.bed.run("deb1", &played.recv(words));
        assert!(said.code != 0 && said.stderr.contains(why), "{words}: {}", said.stderr);
    }
    played.same("/disk/sent");
    // somebody writes to it
    played.bed.sh("deb2", "printf x | dd of=/disk/copy.img bs=1 seek=5000 conv=notrunc status=none");
    let verdict = played.gate(None);
    assert_eq!((verdict["ok"].as_bool(), verdict["held"]["state"].as_str()), (Some(false), Some("orphan")), "{verdict}");
    assert!(verdict["why"].as_str().unwrap().contains("deb2 has writes of its own"), "{verdict}");
    // and it goes away
    played.bed.sh("deb2", "rm /disk/copy.img /opt/opensvc/var/svc1/'sync#1.replica.json' /opt/opensvc/var/svc1/authority.json");
    assert_eq!(played.gate(None)["held"]["state"], "none");
}
