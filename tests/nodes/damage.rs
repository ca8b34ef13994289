//! What is remembered of authority, damaged: lost, cut short, from an old backup, of another node, with a clock that is
//! off. Nothing is overwritten silently, each case says what it is, and what it says to type leads out.

use crate::bed::{Nodes, Said};
use crate::steps::{VAR, replicated};
use regex::Regex;
use std::fmt::Write as _;

const NODES: [&str; 2] = ["deb1", "deb2"];
const STATE: &str = "/opt/opensvc/var/svc1";

/// A bed with a state that each case begins with.
struct Damage {
    bed: Nodes,
    /// The node whose data are the newest.
    newest: &'static str,
    text: String,
}

/// Up to here the same for all: yesterday's backup of both sides is in /disk/yesterday.
fn with_yesterday(bed: Nodes) -> Nodes {
    bed.sh("deb1", "echo 1 >>/srv/d/marks; svc1 sync update --force");
    for node in NODES {
        bed.sh(node, &format!("cp -a {STATE} /disk/yesterday"));
    }
    // what comes now is later by more than any filesystem's clock goes in one step
    std::thread::sleep(std::time::Duration::from_millis(2100));
    bed
}

impl Damage {
    /// deb1 runs, deb2 has its copy.
    fn healthy() -> Self {
        let bed = with_yesterday(replicated());
        bed.sh("deb1", "echo 2 >>/srv/d/marks; svc1 sync update --force; echo 3 >>/srv/d/marks");
        Self::keep(bed, "deb1")
    }

    /// deb1 died, deb2 took over and runs, deb1 is back and down.
    fn taken_over() -> Self {
        Self::take_over(with_yesterday(replicated()))
    }

    fn take_over(bed: Nodes) -> Self {
        bed.ctl("crash", &["deb1"]);
        bed.sh("deb2", "svc1 start; echo 2 >>/srv/d/marks");
        bed.ctl("boot", &["deb1"]);
        bed.sh("deb1", &format!("{VAR}; rm -f /disk/up; svc1 boot"));
        Self::keep(bed, "deb2")
    }

    /// Remembers how all is now.
    fn keep(bed: Nodes, newest: &'static str) -> Self {
        for node in NODES {
            bed.sh(
                node,
                &format!(
                    "mkdir /disk/kept; cp -a {STATE} /disk/kept/state; cp -a /disk/up /disk/kept/ 2>/dev/null || true
                findmnt -rn -o TARGET | grep -x /srv/d >/disk/kept/mounted || true
                sync; umount /srv/d 2>/dev/null || true; cp /disk/d.img /disk/kept/"
                ),
            );
        }
        Self { bed, newest, text: String::new() }
    }

    /// As it was kept, without a word of svcmgr.
    fn restore(&self) {
        for node in NODES {
            self.bed.sh(
                node,
                &format!(
                    "umount /srv/d 2>/dev/null || true; rm -rf {STATE} /disk/up; cp -a /disk/kept/state {STATE}; cp /disk/kept/d.img /disk/
                cp -a /disk/kept/up /disk/ 2>/dev/null || true
                if test -s /disk/kept/mounted; then mount -o loop /disk/d.img /srv/d; fi"
                ),
            );
        }
    }

    /// What must not change. After a takeover the other side's is not overwritten either, unless told to.
    fn trees(&self) -> String {
        if self.newest == "deb2" { NODES.map(|n| self.hash(n)).join("\n") } else { self.hash("deb1") }
    }

    fn hash(&self, node: &str) -> String {
        self.bed.sh(node, "findmnt -n /srv/d >/dev/null || { mount -o loop,ro /disk/d.img /mnt; cd /mnt; }; findmnt -n /srv/d >/dev/null && cd /srv/d; find . -path ./lost+found -prune -o -type f ! -name log -exec md5sum {} + | sort; cd /; umount /mnt 2>/dev/null || true")
    }

    /// One case: the damage on a node; what is typed on each, and said; what leads out of it.
    fn case(&mut self, name: &str, node: &'static str, damage: &str) {
        self.damaged(name, node, damage);
        self.asked(node);
        self.asked(if node == "deb1" { "deb2" } else { "deb1" });
        self.way_out(node);
    }

    /// The same, deb1 being cut off at first.
    fn alone(&mut self, name: &str, damage: &str) {
        self.damaged(name, "deb1", damage);
        self.bed.ctl("cut", &["deb1"]);
        self.asked("deb1");
        self.bed.ctl("heal", &["deb1"]);
        _ = writeln!(self.text, "-- the cable is whole again");
        self.bed.until("deb1", std::time::Duration::from_secs(10), "ssh -o ConnectTimeout=1 deb2 true");
        self.asked("deb1");
        self.asked("deb2");
        self.way_out("deb1");
    }

    /// deb1 was written after the takeover, as when it was mounted by hand: it is not overwritten before someone chooses.
    fn written_at_home(&mut self, name: &str, damage: &str) {
        self.damaged(name, "deb1", damage);
        self.bed.sh("deb1", "mount -o loop /disk/d.img /srv/d; echo mine >>/srv/d/marks; umount /srv/d");
        let before = self.trees();
        for command in ["giveback", "giveback --abandon deb1"] {
            let said = self.bed.run("deb2", &format!("svc1 {command}"));
            _ = writeln!(self.text, "deb2: {command} -> {}\n{}", said.code, worth("start", &said));
            if command == "giveback" {
                assert_eq!((said.code, &self.trees()), (1, &before), "{}", self.text);
            }
        }
        assert_eq!(self.bed.sh("deb1", "test -e /disk/up; cat /srv/d/marks"), "1\n2", "{}", self.text);
    }

    fn damaged(&mut self, name: &str, node: &str, damage: &str) {
        self.restore();
        self.bed.sh(node, &format!("cd {STATE}; {damage}"));
        _ = writeln!(self.text, "\n===== on {node}: {name}");
    }

    /// All that might overwrite something is typed on `node`: the newest data stay what they are.
    fn asked(&mut self, node: &str) {
        let before = self.trees();
        for command in ["where", "print status", "start", "sync update --force"] {
            let said = self.bed.run(node, &format!("svc1 {command}"));
            _ = writeln!(self.text, "{node}: {command} -> {}\n{}", said.code, worth(command, &said));
            assert_eq!(self.trees(), before, "{command} on {node} has overwritten data:{}", self.text);
        }
    }

    /// What `where` on `node` says to type, until it has nothing more to say than the way home; then that.
    fn way_out(&mut self, node: &str) {
        let mut last = String::new();
        for _ in 0..4 {
            let said = self.bed.run(node, "svc1 where");
            let Some((on, words)) = typed(&said.stdout, self.newest) else { break };
            if words == last {
                break;
            }
            let done = self.bed.run(&on, &format!("svc1 {words}"));
            _ = writeln!(self.text, "way out: {on}: {words} -> {}\n{}", done.code, worth("start", &done));
            last = words;
        }
        self.bed.run("deb2", "svc1 giveback");
        let marks = self.bed.sh("deb1", "cat /srv/d/marks");
        let newest = if self.newest == "deb1" { "1\n2\n3" } else { "1\n2" };
        assert_eq!(marks, newest, "{}", self.text);
        for node in NODES {
            let said = self.bed.run(node, "svc1 where");
            assert_eq!(said.code, 0, "{}{}", self.text, said.stdout);
        }
        assert!(!self.bed.disk("deb2").join("up").exists() && self.bed.disk("deb1").join("up").exists(), "{}", self.text);
        let said = self.bed.run("deb1", "svc1 sync update --force");
        assert!(said.code == 0 && !said.stderr.contains("won't"), "{}{}", self.text, said.stderr);
    }

    fn end(self, name: &str) {
        crate::snapshot(&format!("damage_{name}"), &filtered(&self.text));
    }
}

/// Of `where` all, of a status how the service and its replication stand; of stderr warnings and errors.
fn worth(command: &str, said: &Said) -> String {
    let mut text = String::new();
    if command == "where" {
        return said.stdout.lines().map(|l| format!("  {l}\n")).collect();
    }
    let mut keep = false;
    if command == "print status" {
        for line in said.stdout.lines() {
            let row = line.contains("- ");
            keep = if row { line.contains("|- avail") || line.contains("- sync#1 ") } else { keep };
            if keep {
                // one line a row, however it was folded
                text.push_str(if row { "\n  " } else { " " });
                text.push_str(line.trim_matches(['|', ' ', '-']));
            }
        }
        return format!("{}\n", text.trim_start_matches('\n'));
    }
    for line in said.stderr.lines() {
        if !line.starts_with(' ') {
            let begins = line.contains(" WARNING ") || line.contains(" ERROR ") || line.contains("won't");
            // what a receiver says comes through, between words of rsync
            keep = begins || (line.contains("is not sent from") && !line.contains(" INFO "));
        }
        if keep {
            _ = writeln!(text, "  {line}");
        }
    }
    text
}

/// The command of the last line that has one; of two ways, the one that keeps the data of `newest`.
fn typed(text: &str, newest: &str) -> Option<(String, String)> {
    let keeps = text.lines().find(|l| l.starts_with(&format!("to keep the data of {newest}: ")));
    let line = keeps.or_else(|| text.lines().rev().find(|l| l.contains(": svcmgr -s svc1 ")))?;
    let (before, after) = line.split_once(": svcmgr -s svc1 ")?;
    let words = after.split(['(', ';', ',']).next()?.trim();
    Some((before.rsplit(' ').next()?.to_owned(), words.to_owned()))
}

fn filtered(text: &str) -> String {
    let mut text = text.to_owned();
    for (from, to) in [
        (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?(\+00:00|Z)?", "TIME"),
        (r"\d\d:\d\d:\d\d", "TIME"),
        (r"\b\d+ (s|min|h|days)( \d+ (min|h))?\b", "SPAN"),
        (r"process \d+", "process PID"),
        (r"\(/usr/bin/ssh[^)\n]*\)|ssh: connect[^\n);,]*", "SSH"),
        (r"[ \t]+\n", "\n"),
        (r"(\S)  +", "$1  "),
    ] {
        text = Regex::new(from).unwrap().replace_all(&text, to).into_owned();
    }
    text
}

const LOST: &str = "rm authority.json";
const CUT_SHORT: &str = "truncate -s 40 authority.json";
const OLD_RECORD: &str = "cp /disk/yesterday/authority.json .";
const LOST_REPLICA: &str = "rm -f *.replica.json";
const OF_DEB2: &str = "ssh deb2 cat /opt/opensvc/var/svc1/sync#1.replica.json >'sync#1.replica.json'";
const OLD_ALL: &str = "cd ..; rm -r svc1; cp -a /disk/yesterday svc1";

#[test]
fn of_the_old_primary() {
    let mut d = Damage::taken_over();
    d.case("authority.json is lost", "deb1", LOST);
    d.case("authority.json is cut short", "deb1", CUT_SHORT);
    d.case("authority.json of an old backup", "deb1", OLD_RECORD);
    d.case("replica.json of deb2", "deb1", OF_DEB2);
    d.case("replica.json is lost", "deb1", LOST_REPLICA);
    d.case("all of var/svc1 of yesterday", "deb1", OLD_ALL);
    d.end("old_primary");
}

#[test]
fn of_the_old_primary_alone() {
    let mut d = Damage::taken_over();
    d.alone("authority.json is lost", LOST);
    d.alone("authority.json is cut short", CUT_SHORT);
    d.alone("authority.json of an old backup", OLD_RECORD);
    d.alone("all of var/svc1 of yesterday", OLD_ALL);
    d.end("old_primary_alone");
}

#[test]
fn of_the_new_holder() {
    let mut d = Damage::taken_over();
    for (state, first) in [("", ""), (", svc1 is stopped", "svc1 stop; ")] {
        let mut case = |name: &str, damage: &str| d.case(&format!("{name}{state}"), "deb2", &format!("{first}{damage}"));
        case("authority.json is lost", LOST);
        case("authority.json is cut short", CUT_SHORT);
        case("authority.json of an old backup", OLD_RECORD);
        case("replica.json of deb1", "ssh deb1 cat /opt/opensvc/var/svc1/sync#1.replica.json >'sync#1.replica.json'");
        case("replica.json is lost", LOST_REPLICA);
        case("all of var/svc1 of yesterday", OLD_ALL);
    }
    d.end("new_holder");
}

#[test]
fn before_any_takeover() {
    let mut d = Damage::healthy();
    d.case("replica.json of deb2", "deb1", OF_DEB2);
    d.case("replica.json as if of deb1", "deb2", "sed -i s/deb2/deb1/ *.replica.json");
    for node in NODES {
        d.case("authority.json is lost", node, LOST);
        d.case("authority.json is cut short", node, CUT_SHORT);
        d.case("replica.json is lost", node, LOST_REPLICA);
        d.case("all of var/svc1 of yesterday", node, OLD_ALL);
    }
    d.end("before_any_takeover");
}

/// deb1 died, deb2 took over, ran and was stopped; its files came back from yesterday, and deb1 has never heard of it:
/// only the data tell.
fn forgotten() -> Damage {
    let bed = with_yesterday(replicated());
    bed.ctl("crash", &["deb1"]);
    bed.sh("deb2", &format!("svc1 start; echo 2 >>/srv/d/marks; sleep 3; touch /srv/d/marks; svc1 stop; cd {STATE}; {OLD_ALL}"));
    bed.ctl("boot", &["deb1"]);
    bed.sh("deb1", &format!("{VAR}; rm -f /disk/up; mount -o loop /disk/d.img /srv/d"));
    Damage::keep(bed, "deb2")
}

#[test]
fn of_a_takeover_that_nobody_remembers() {
    let mut d = forgotten();
    d.case("the takeover is forgotten, deb1 is down", "deb2", "true");
    d.case("the same, deb1 boots", "deb1", "svc1 boot 2>&1 | grep -m1 nobody >/disk/boot || true");
    d.text.push_str(&d.bed.sh("deb1", "cat /disk/boot"));
    d.case("the same, deb2 starts before it is asked for anything", "deb2", "svc1 start || true");
    d.end("forgotten");
}

/// Of the same, whoever chooses deb1 has its data everywhere.
#[test]
fn of_a_takeover_that_nobody_remembers_and_nobody_wants() {
    let d = forgotten();
    d.restore();
    let bed = &d.bed;
    bed.sh("deb1", "svc1 start");
    let refused = bed.run("deb1", "svc1 sync update --force");
    assert_eq!(refused.code, 1);
    let (line, _) = refused.stderr.split_once("(gives those writes up)").unwrap();
    let words = line.rsplit(": svcmgr -s svc1 ").next().unwrap();
    bed.sh("deb1", &format!("svc1 {words}"));
    assert_eq!(bed.sh("deb2", "cat /srv/d/marks"), "1");
    bed.sh("deb1", "svc1 sync update --force");
    crate::snapshot("damage_forgotten_refused", &filtered(&worth("start", &refused)));
}

/// Somebody mounts deb2's copy by hand and writes into it. What is below dst and is not the data does not count: a folder
/// that is excluded, lost+found, the folder itself.
#[test]
fn of_a_copy_that_is_written_by_hand() {
    let d = Damage::healthy();
    d.restore();
    let bed = &d.bed;
    bed.sh("deb2", "findmnt -n /srv/d || mount -o loop /disk/d.img /srv/d; sleep 2.1; touch /srv/d /srv/d/lost+found; umount /srv/d; svc1 startstandby");
    bed.sh("deb1", "findmnt -n /srv/d; svc1 sync update --force");
    bed.sh("deb2", "sleep 2.1; echo mine >>/srv/d/marks");
    let refused = bed.run("deb1", "svc1 sync update --force");
    assert_eq!((refused.code, bed.sh("deb2", "tail -n1 /srv/d/marks").as_str()), (1, "mine"));
    let mut text = worth("start", &refused);
    for (node, command) in [("deb2", "where"), ("deb1", "where"), ("deb2", "print status")] {
        text += &format!("{node}: {command}\n{}", worth(command, &bed.run(node, &format!("svc1 {command}"))));
    }
    crate::snapshot("damage_by_hand", &filtered(&text));
}

/// What home wrote after the takeover, in damaged files as in whole ones.
#[test]
fn of_what_home_wrote_after_the_takeover() {
    let mut d = Damage::taken_over();
    d.written_at_home("replica.json is lost", LOST_REPLICA);
    d.written_at_home("replica.json is cut short", "truncate -s 40 *.replica.json");
    d.written_at_home("replica.json is of deb2", OF_DEB2);
    d.written_at_home("nothing is damaged", "true");
    d.end("written_at_home");
}

/// The clock of deb2 is an hour off, from before it takes over until all is home again.
#[test]
fn of_clocks() {
    for (name, seconds) in [("an hour ahead", 3600), ("an hour behind", -3600)] {
        let bed = replicated();
        let clock = bed.shared().join("clock");
        std::fs::write(clock.with_extension("c"), CLOCK).unwrap();
        let mut cc = std::process::Command::new("cc");
        cc.args(["-shared", "-fPIC", "-o"]).args([clock.with_extension("so"), clock.with_extension("c")]);
        assert!(cc.status().unwrap().success());
        bed.write(
            "deb2",
            "/disk/svcmgr",
            &format!(
                "#!/bin/bash\nexport LD_PRELOAD=/shared/clock.so CLOCK_OFF={seconds}\nexec -a \"$0\" /opt/opensvc/bin/.svcmgr \"$@\"\n"
            ),
        );
        bed.sh("deb2", "cd /opt/opensvc/bin; mv svcmgr .svcmgr; cp /disk/svcmgr svcmgr; chmod 755 svcmgr");
        // what deb2 remembers and its files are of the old clock
        bed.sh("deb1", "svc1 sync full --abandon deb2");
        let mut d = Damage::take_over(with_yesterday(bed));
        d.case(&format!("its clock is {name}"), "deb2", "true");
        d.written_at_home(&format!("the clock of deb2 is {name}"), "true");
        d.end(&format!("clock_{}", name.replace(' ', "_")));
    }
}

/// A library that moves the time of day, and with it when files were changed; not the time that passes.
const CLOCK: &str = r#"
#define _GNU_SOURCE
#include <time.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
int statx(int at, const char *restrict path, int flags, unsigned mask, struct statx *restrict meta) {
    int done = syscall(SYS_statx, at, path, flags, mask, meta);
    if (done == 0) meta->stx_ctime.tv_sec += atol(getenv("CLOCK_OFF"));
    return done;
}
int clock_gettime(clockid_t id, struct timespec *at) {
    int done = syscall(SYS_clock_gettime, id, at);
    if (id == CLOCK_REALTIME) at->tv_sec += atol(getenv("CLOCK_OFF"));
    return done;
}
"#;
