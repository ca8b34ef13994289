//! svcmgr killed -9 at every step of a takeover, a giveback and a start that takes over: after each state file it
//! writes and before each command that changes something, on either side (src/steps.rs). After each death at most one
//! copy is live; the same command again leads to one node that runs with all data.

use crate::bed::Nodes;
use std::fmt::Write as _;
use std::fs;

const SERVICE: &str = "[DEFAULT]
service_type = TST
nodes = deb1
drpnodes = deb2
autostart_node = deb1

[fs#1]
type = ext4
dev = /disk/d.img
mnt = /srv/d
mnt_opt = rw,loop
always_on = drpnodes

[app#1]
script = /opt/w
start = 10
stop = 10
check = 10

[sync#1]
src = /srv/d/
dst = /srv/d
dstfs = /srv/d
target = drpnodes
options = --exclude=/lost+found
";

/// /disk/up tells that it runs; it writes as it starts.
const APP: &str = "#!/bin/sh
case $1 in
start) echo started on $(hostname) >>/srv/d/log && touch /disk/up ;;
stop) rm -f /disk/up ;;
status) [ -e /disk/up ] ;;
esac
";

/// State is on /disk, with the data.
pub const VAR: &str = "mkdir -p /disk/var; mount --bind /disk/var /opt/opensvc/var";

const NODES: [&str; 2] = ["deb1", "deb2"];

/// Who dies: the processes of an action on a node.
type Victim = (&'static str, &'static str);

/// The bed of one test, and what came of its rows.
struct Stepping {
    bed: Nodes,
    marks: u32,
    rows: u32,
    report: String,
    faults: Vec<String>,
}

/// The service runs on deb1, deb2 has a copy.
pub fn replicated() -> Nodes {
    let bed = Nodes::with_svcmgr(&NODES);
    for node in NODES {
        // where this test reads it without entering the node
        bed.sh(node, VAR);
    }
    bed.service(&NODES, "svc1", SERVICE);
    for node in NODES {
        bed.write(node, "/opt/w", APP);
        bed.sh(node, "chmod 755 /opt/w; truncate -s 4M /disk/d.img; mkfs.ext4 -q /disk/d.img");
    }
    bed.sh("deb1", "svc1 start");
    bed.sh("deb2", "svc1 startstandby");
    bed.sh("deb1", "svc1 sync full");
    bed
}

/// How a node stands.
#[derive(Debug, Clone, PartialEq)]
struct Stand {
    runs: bool,
    epoch: u64,
    copy: String,
    rival: bool,
}

impl Stepping {
    fn new() -> Self {
        Self { bed: replicated(), marks: 0, rows: 0, report: String::new(), faults: Vec::new() }
    }

    /// A write that the application has acknowledged, on the node where it runs.
    fn mark(&mut self, node: &str) {
        self.marks += 1;
        self.bed.sh(node, &format!("test -e /disk/up; echo {} >>/srv/d/marks; sync /srv/d/marks", self.marks));
    }

    fn stand(&self, node: &str) -> Stand {
        let disk = self.bed.disk(node);
        let json = fs::read(disk.join("var/svc1/authority.json")).unwrap_or_else(|_| b"{}".to_vec());
        let value: serde_json::Value = serde_json::from_slice(&json).unwrap();
        Stand {
            runs: disk.join("up").exists(),
            epoch: value["epoch"].as_u64().unwrap_or(0),
            copy: value["copy"].as_str().unwrap_or("nodes").to_owned(),
            rival: value.get("rival").is_some(),
        }
    }

    /// At most one copy is live, and no other runs. The nodes that are up.
    fn invariant(&self) -> Result<(), String> {
        let stands = NODES.map(|n| (n, self.stand(n)));
        let wrong = |why: &str| Err(format!("{why}: {stands:?}"));
        let highest = stands.iter().map(|(_, s)| s.epoch).max().unwrap();
        let mut holding: Vec<&String> = stands.iter().filter(|(_, s)| s.epoch == highest).map(|(_, s)| &s.copy).collect();
        holding.dedup();
        if holding.len() > 1 || stands.iter().any(|(_, s)| s.rival) {
            return wrong("two copies are live");
        }
        let holder = if holding[0] == "nodes" { "deb1" } else { "deb2" };
        match stands.iter().filter(|(_, s)| s.runs).map(|(n, _)| *n).collect::<Vec<_>>().as_slice() {
            [] => Ok(()),
            [one] if *one == holder => Ok(()),
            [one] => wrong(&format!("it runs on {one}, and {holder} holds the data")),
            _ => wrong("it runs on both"),
        }
    }

    /// The service runs on `node` alone, with all that was ever acknowledged.
    fn whole(&self, node: &str) -> Result<(), String> {
        self.invariant()?;
        if !self.stand(node).runs {
            return Err(format!("it does not run on {node}\n{}", self.bed.run(node, "svc1 print status").stdout));
        }
        let marks = self.bed.run(node, "cat /srv/d/marks").stdout;
        let expected: String = (1..=self.marks).map(|n| format!("{n}\n")).collect();
        if marks != expected {
            return Err(format!("of {} writes {node} has: {}", self.marks, marks.split_whitespace().collect::<Vec<_>>().join(" ")));
        }
        Ok(())
    }

    /// One row: `command` on `node`, `victim` dies at step `n`, the same again. False: it has no such step.
    fn row(&mut self, node: &str, command: &str, target: &str, victim: Victim, n: u32) -> bool {
        let (on, action) = victim;
        let file = |name: &str| self.bed.disk(on).join("var").join(name);
        fs::write(file(".die"), format!("{action} {n}")).unwrap();
        let said = self.bed.run(node, &format!("svc1 {command}"));
        let died = fs::read_to_string(file(".died")).unwrap_or_default();
        for name in [".die", ".died"] {
            _ = fs::remove_file(file(name));
        }
        if died.is_empty() {
            if said.code != 0 {
                self.faults.push(format!("{command} on {node}, nobody died:\n{}", said.stderr));
            }
            return false;
        }
        self.rows += 1;
        let title = format!("{command} on {node}, `{action}` on {on} dies at step {n}, {}", short(&died));
        // who asked may have done without the one who died
        let again = || if said.code == 0 { Ok(()) } else { self.again(node, command) };
        let done = self.invariant().and_then(|()| again()).and_then(|()| self.whole(target));
        _ = writeln!(self.report, "{title}: exit {}", said.code);
        if let Err(why) = done {
            self.faults.push(format!("{title}: {why}\nfirst run:\n{}", said.stderr));
        }
        true
    }

    /// The same command again.
    fn again(&self, node: &str, command: &str) -> Result<(), String> {
        let said = self.bed.run(node, &format!("svc1 {command}"));
        if said.code == 0 { Ok(()) } else { Err(format!("again: exit {}\n{}", said.code, said.stderr)) }
    }

    /// To the other side by `command`, without a death.
    fn plain(&mut self, node: &str, command: &str, target: &str) {
        let said = self.bed.run(node, &format!("svc1 {command}"));
        let whole = if said.code == 0 { self.whole(target) } else { Err(said.stderr) };
        if let Err(why) = whole {
            self.faults.push(format!("{command} on {node}: {why}"));
        }
    }

    fn end(self, name: &str, least: u32) {
        println!("{name}: {} rows\n{}", self.rows, self.report);
        assert!(self.faults.is_empty(), "{} of {} rows:\n{}", self.faults.len(), self.rows, self.faults.join("\n\n"));
        assert!(self.rows >= least, "{} rows", self.rows);
    }
}

/// A step without the words of ssh.
fn short(step: &str) -> String {
    let words: Vec<&str> = step.split(' ').collect();
    let at = words.iter().rposition(|w| w.ends_with("bin/svcmgr")).unwrap_or(1);
    words[..words.len().min(2)].iter().chain(&words[(at + 1).min(words.len())..]).copied().collect::<Vec<_>>().join(" ")
}

/// Steps one after the other of several victims.
struct Steps {
    victims: Vec<Victim>,
    n: u32,
}

impl Steps {
    fn of(victims: &[Victim]) -> Self {
        Self { victims: victims.iter().rev().copied().collect(), n: 1 }
    }

    fn next(&self) -> Option<(Victim, u32)> {
        self.victims.last().map(|v| (*v, self.n))
    }

    /// `hit`: somebody died; else this victim has no more steps.
    fn went(&mut self, hit: bool) {
        if hit {
            self.n += 1;
        } else {
            self.victims.pop();
            self.n = 1;
        }
    }
}

/// There and back until both have no more steps.
fn there_and_back(name: &str, there: &[Victim], back: &[Victim], least: u32) {
    let mut s = Stepping::new();
    let (mut out, mut home) = (Steps::of(there), Steps::of(back));
    while out.next().is_some() || home.next().is_some() {
        for (from, node, command, target, steps) in
            [("deb1", "deb2", "takeover", "deb2", &mut out), ("deb2", "deb2", "giveback", "deb1", &mut home)]
        {
            s.mark(from);
            match steps.next() {
                Some((victim, n)) => {
                    let hit = s.row(node, command, target, victim, n);
                    steps.went(hit);
                }
                None => s.plain(node, command, target),
            }
            if !s.faults.is_empty() {
                return s.end(name, least);
            }
        }
    }
    s.end(name, least);
}

/// Unplanned: deb1 is down, as stopped or dead; a start on deb2 takes over. Home again by giveback.
fn a_start_that_takes_over(name: &str, victims: &[Victim], dead: bool, least: u32) {
    let mut s = Stepping::new();
    let mut steps = Steps::of(victims);
    while let Some((victim, n)) = steps.next().filter(|_| s.faults.is_empty()) {
        s.mark("deb1");
        s.bed.sh("deb1", "svc1 sync update --force");
        if dead {
            s.bed.ctl("crash", &["deb1"]);
            fs::remove_file(s.bed.disk("deb1").join("up")).unwrap();
        } else {
            s.bed.sh("deb1", "svc1 stop");
        }
        let hit = s.row("deb2", "start", "deb2", victim, n);
        steps.went(hit);
        if dead {
            s.bed.ctl("boot", &["deb1"]);
            s.bed.sh("deb1", VAR);
            let said = s.bed.run("deb1", "svc1 boot");
            if let Err(why) = s.whole("deb2") {
                s.faults.push(format!("deb1 is back: {why}\n{}", said.stderr));
            }
        }
        s.mark("deb2");
        s.plain("deb2", "giveback", "deb1");
    }
    s.end(name, least);
}

#[test]
fn the_one_who_asks_dies() {
    there_and_back("takeover, giveback", &[("deb2", "takeover")], &[("deb2", "giveback")], 38);
}

#[test]
fn the_one_who_is_asked_dies() {
    there_and_back(
        "handover, home",
        &[("deb1", "handover")],
        &[("deb1", "prepare"), ("deb1", "start"), ("deb1", "gate"), ("deb1", "recv")],
        45,
    );
}

#[test]
fn the_one_who_receives_dies() {
    there_and_back("gate, recv", &[("deb2", "gate"), ("deb2", "recv")], &[], 10);
}

#[test]
fn a_start_beside_a_stopped_holder_dies() {
    a_start_that_takes_over("start, deb1 down", &[("deb2", "start"), ("deb1", "gate")], false, 12);
}

#[test]
fn a_start_beside_a_dead_holder_dies() {
    a_start_that_takes_over("start, deb1 dead", &[("deb2", "start")], true, 6);
}
