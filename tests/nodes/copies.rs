//! More than two copies, more than one node of a copy: three copies of which one is on a shared disk, two takeovers
//! at the same instant, flex services.

use crate::bed::{Nodes, Said, finish};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

/// n1 and n2 share a disk; d1 and d2 each have a copy.
const THREE: &str = "[DEFAULT]
service_type = TST
nodes = n1 n2
drpnodes = d1 d2
autostart_node = n1

[fs#1]
type = ext4
dev@nodes = /shared/d.img
dev@drpnodes = /disk/d.img
mnt = /srv/d
mnt_opt = loop
always_on = drpnodes

[fs#2]
type = tmpfs
dev = none
mnt = /srv/run

[sync#1]
src = /srv/d/
dst = /srv/d
dstfs = /srv/d
target = drpnodes
options = --exclude=/lost+found
";

const ALL: [&str; 4] = ["n1", "n2", "d1", "d2"];

/// n1 runs the service; d1 and d2 have its data.
fn three() -> Nodes {
    let bed = Nodes::with_svcmgr(&ALL);
    bed.sh("n1", "truncate -s 64M /shared/d.img; mkfs.ext4 -q /shared/d.img");
    for node in ["d1", "d2"] {
        bed.sh(node, "truncate -s 64M /disk/d.img; mkfs.ext4 -q /disk/d.img");
    }
    bed.service(&ALL, "svc1", THREE);
    for node in ["d1", "d2"] {
        bed.sh(node, "svc1 startstandby");
    }
    bed.sh("n1", "svc1 start; echo first >/srv/d/f; svc1 sync drp --force");
    bed
}

fn refused(said: &Said, whys: &[&str]) {
    assert_eq!(said.code, 1, "{}", said.stderr);
    told(said, whys);
}

fn told(said: &Said, whys: &[&str]) {
    for why in whys {
        assert!(said.stderr.contains(why), "no {why:?} in: {}", said.stderr);
    }
}

/// The epoch that `node` knows, and who holds.
fn record(bed: &Nodes, node: &str) -> String {
    bed.sh(node, "cd /opt/opensvc/var/svc1; sed -n 's/^  \"\\(epoch\\|node\\)\": \"\\?\\([^\",]*\\)\"\\?,/\\2/p' authority.json 2>/dev/null | tr '\\n' ' ' || echo none")
}

fn has(bed: &Nodes, node: &str, data: &str) {
    assert_eq!(bed.sh(node, "cat /srv/d/f"), data, "on {node}");
}

/// Who has half of a transfer names who has all of it.
#[test]
fn a_broken_transfer_beside_a_whole_copy() {
    let bed = three();
    bed.sh("d1", "echo 'recv after writing /opt/opensvc/var/svc1/sync#1.replica.json' >/opt/opensvc/var/.die");
    refused(&bed.run("n1", "echo second >/srv/d/f; svc1 sync drp --force"), &["SYNC#1"]);
    bed.ctl("crash", &["n1"]);
    bed.ctl("crash", &["n2"]);
    let whys = ["sync#1 is not a whole, current copy", "if n1 is lost, on d2: svcmgr -s svc1 start   (it has a whole copy, of "];
    refused(&bed.run("d1", "svc1 start"), &whys);
    let said = bed.run("d2", "svc1 start");
    assert_eq!(said.code, 0, "{}", said.stderr);
    has(&bed, "d2", "second");
}

#[test]
fn three_copies() {
    let bed = three();
    has(&bed, "d1", "first");
    has(&bed, "d2", "first");

    // d2 misses one sync: it does not start from older data without being told to
    bed.ctl("cut", &["d2"]);
    refused(&bed.run("n1", "echo second >/srv/d/f; svc1 sync drp --force"), &["d2 cannot be reached"]);
    bed.ctl("heal", &["d2"]);
    bed.sh("n1", "echo third >/srv/d/f");
    bed.ctl("crash", &["n1"]);
    bed.ctl("crash", &["n2"]);
    refused(
        &bed.run("d2", "svc1 start"),
        &["svc1 is not started on d2: d1 has newer data", "on d1: svcmgr -s svc1 start", "svc1 start --force"],
    );
    let said = bed.run("d2", "svc1 start --force");
    assert_eq!(said.code, 0, "{}", said.stderr);
    told(&said, &["an older copy is chosen (--force): d1 has a copy of "]);
    has(&bed, "d2", "first");
    assert_eq!((record(&bed, "d1"), record(&bed, "d2")), ("1 d2".into(), "1 d2".into()));
    refused(&bed.run("d1", "svc1 start"), &["svc1 is not started on d1: it is up on d2"]);

    // home again; d1 still has what d2 did without, and gets the data of home like everybody
    bed.ctl("boot", &["n1"]);
    bed.ctl("boot", &["n2"]);
    bed.sh("d2", "echo fourth >/srv/d/f");
    let said = bed.run("d2", "svc1 giveback");
    assert_eq!(said.code, 0, "{}", said.stderr);
    has(&bed, "n1", "fourth");
    assert!(!up(&bed, "d2") && !up(&bed, "n2"), "it runs at home alone");
    has(&bed, "d1", "second");
    bed.sh("n1", "echo fifth >/srv/d/f; svc1 sync drp --force");
    has(&bed, "d1", "fifth");
    let epoch = record(&bed, "n1");

    // from one node of home to the other nothing changes hands, planned or not
    bed.sh("n1", "svc1 switch --to n2");
    has(&bed, "n2", "fifth");
    bed.sh("n2", "echo sixth >/srv/d/f; svc1 sync drp --force");
    has(&bed, "d1", "sixth");
    has(&bed, "d2", "sixth");
    bed.ctl("crash", &["n2"]);
    let said = bed.run("n1", "svc1 start");
    assert_eq!(said.code, 0, "{}", said.stderr);
    told(&said, &["n2 does not answer"]);
    has(&bed, "n1", "sixth");
    bed.sh("n1", "echo seventh >/srv/d/f; svc1 sync drp --force");
    for node in ["n1", "d1", "d2"] {
        has(&bed, node, "seventh");
        assert_eq!(record(&bed, node), epoch, "{node}: a failover inside a copy is no takeover");
    }

    // the site is lost, d1 takes over, d2 follows d1
    bed.ctl("crash", &["n1"]);
    let said = bed.run("d1", "svc1 start");
    assert_eq!(said.code, 0, "{}", said.stderr);
    let home = || bed.sh("d1", "md5sum </shared/d.img");
    let before = home();
    bed.sh("d1", "echo eighth >/srv/d/f; svc1 sync all --force");
    has(&bed, "d2", "eighth");
    // home is back, and down: it gets nothing by a sync, and has something of its own
    bed.ctl("boot", &["n1"]);
    bed.ctl("boot", &["n2"]);
    bed.sh("d1", "echo ninth >/srv/d/f; svc1 sync all --force");
    has(&bed, "d2", "ninth");
    assert_eq!(home(), before, "home is not written by a sync");
    for node in ["n1", "n2"] {
        refused(&bed.run(node, "svc1 start"), &[&format!("svc1 is not started on {node}: it is up on d1")]);
        assert!(!up(&bed, node));
    }
    // what d2 has got sideways is as good as what came from home
    bed.sh("d1", "svc1 stop");
    let said = bed.run("d2", "svc1 takeover");
    assert_eq!(said.code, 0, "{}", said.stderr);
    has(&bed, "d2", "ninth");
    bed.sh("d2", "echo tenth >/srv/d/f; svc1 giveback --to n1");
    has(&bed, "n1", "tenth");
    assert!(!up(&bed, "n2") && !up(&bed, "d2") && !up(&bed, "d1"));
    bed.sh("n1", "svc1 sync drp --force");
    has(&bed, "d1", "tenth");
    has(&bed, "d2", "tenth");
}

/// The service runs on `node`.
fn up(bed: &Nodes, node: &str) -> bool {
    bed.run(node, "grep -q ' /srv/run ' /proc/mounts").code == 0
}

/// The same with nothing but what a race needs.
const QUICK: &str = "[DEFAULT]
service_type = TST
nodes = n1 n2
drpnodes = d1 d2
autostart_node = n1

[fs#1]
type = tmpfs
dev = none
mnt = /srv/run

[sync#1]
src = /disk/d/
dst = /disk/d
target = drpnodes
";

/// Both type `action` at the same instant, one of them `late` ms later. The one that won, and how the other failed.
fn race(bed: &Nodes, action: &str, late: i64) -> (&'static str, Said) {
    let both = ["d1", "d2"];
    let gate = std::fs::File::create(bed.shared().join("gate")).unwrap();
    gate.lock().unwrap();
    let code = |node: &str| {
        let late = if node == "d1" { late.max(0) } else { (-late).max(0) };
        format!("flock -s /shared/gate sleep 0.{late:03}; svc1 {action}")
    };
    let running: Vec<_> = both.iter().map(|node| bed.spawn(node, &code(node))).collect();
    for node in both {
        bed.until(node, SOON, "pgrep -x flock");
    }
    gate.unlock().unwrap();
    let mut said: Vec<Said> = running.into_iter().map(finish).collect();
    let codes: Vec<i32> = said.iter().map(|s| s.code).collect();
    let texts = || said.iter().map(|s| s.stderr.clone()).collect::<Vec<_>>().join("\n---- d2\n");
    assert!(codes == [0, 1] || codes == [1, 0], "{action}: {codes:?}\n---- d1\n{}", texts());
    let ups: Vec<bool> = both.iter().map(|node| up(bed, node)).collect();
    assert_eq!(ups, codes.iter().map(|c| *c == 0).collect::<Vec<_>>(), "{action}\n---- d1\n{}", texts());
    let won = usize::from(codes[1] == 0);
    (both[won], said.remove(1 - won))
}

#[test]
fn two_takeovers_at_once() {
    let rounds: usize = std::env::var("RACES").ok().and_then(|n| n.parse().ok()).unwrap_or(25);
    let bed = Nodes::with_svcmgr(&ALL);
    bed.service(&ALL, "svc1", QUICK);
    bed.sh("n1", "mkdir /disk/d; echo a >/disk/d/f; svc1 start; svc1 sync drp --force; svc1 stop");
    for node in ALL {
        bed.sh(node, "cp -a /opt/opensvc/var/svc1 /disk/saved 2>/dev/null || mkdir /disk/saved");
    }
    let back = |nodes: &[&str]| {
        for node in nodes {
            bed.sh(node, "! grep -q ' /srv/run ' /proc/mounts || svc1 stop >/dev/null 2>&1; rm -rf /opt/opensvc/var/svc1; cp -a /disk/saved /opt/opensvc/var/svc1");
        }
    };
    let mut won = std::collections::BTreeMap::<_, usize>::new();
    let mut lines = std::collections::BTreeMap::<String, usize>::new();
    let begun = std::time::Instant::now();
    let mut round = |what: &str, action: &str, i: usize| {
        let late = [0, 0, 40, -40, 15, -15, 90, -90, 5, -5][i % 10];
        let (winner, loser) = race(&bed, action, late);
        *won.entry(format!("{what} {winner}")).or_default() += 1;
        let why = loser.stderr.lines().find(|l| l.contains(" ERROR ")).unwrap_or_default();
        assert!(why.len() > 40, "no word why: {}", loser.stderr);
        *lines.entry(why.split_once("SVC1").map_or(why, |w| w.1).trim().to_owned()).or_default() += 1;
    };
    // home answers and is down: it hands over to one, or promises one
    for i in 0..rounds * 2 / 5 {
        round("home down,", if i % 4 == 3 { "takeover" } else { "start" }, i);
        back(&ALL);
    }
    for node in ["n1", "n2"] {
        bed.sh(node, "pkill -x sshd");
    }
    for i in 0..rounds / 2 {
        round("home refuses,", "start", i);
        back(&["d1", "d2"]);
    }
    for node in ["n1", "n2"] {
        bed.ctl("crash", &[node]);
    }
    for i in 0..rounds - rounds * 2 / 5 - rounds / 2 {
        round("home dead,", "start", i);
        back(&["d1", "d2"]);
    }
    println!("{rounds} races in {:.0} s, one winner each: {won:?}", begun.elapsed().as_secs_f64());
    lines.iter().for_each(|(line, n)| println!("{n} x {line}"));
}

/// Both nodes of the site run it, each with data of its own; n1 sends.
const FLEX: &str = "[DEFAULT]
service_type = TST
cluster_type = flex
nodes = n1 n2
drpnodes = d1
flex_primary = n1
autostart_node = n1 n2

[fs#1]
type = tmpfs
dev = none
mnt = /srv/run

[sync#1]
src = /disk/d/
dst = /disk/d
target = nodes drpnodes
";

#[test]
fn flex_nodes_of_a_site_run_side_by_side() {
    let all = ["n1", "n2", "d1"];
    let bed = Nodes::with_svcmgr(&all);
    bed.service(&all, "svc1", FLEX);
    let data = |node: &str| bed.sh(node, "cat /disk/d/f");
    bed.sh("n1", "mkdir /disk/d; echo a >/disk/d/f; svc1 start");
    bed.sh("n2", "svc1 start"); // n1 runs
    assert!(up(&bed, "n1") && up(&bed, "n2"));
    bed.sh("n1", "svc1 sync all --force");
    assert_eq!((data("n2"), data("d1")), ("a".into(), "a".into()));
    let said = bed.run("n2", "echo b >/disk/d/f; svc1 sync all --force");
    assert_eq!(said.code, 0, "{}", said.stderr);
    told(&said, &["won't sync this resource from a flex non-primary node"]);
    assert_eq!((data("n1"), data("d1")), ("a".into(), "a".into()));
    refused(&bed.run("d1", "svc1 start"), &["svc1 is not started on d1: it is up on n1"]);

    // the site is lost
    bed.ctl("crash", &["n1"]);
    bed.ctl("crash", &["n2"]);
    let said = bed.run("d1", "svc1 start");
    assert_eq!(said.code, 0, "{}", said.stderr);
    bed.sh("d1", "echo c >/disk/d/f; svc1 sync all --force");
    for node in ["n1", "n2"] {
        bed.ctl("boot", &[node]);
        refused(&bed.run(node, "svc1 start"), &[&format!("svc1 is not started on {node}: it is up on d1")]);
        told(&bed.run(node, "svc1 sync all --force"), &["d1 holds the data since "]);
    }
    assert_eq!((data("n1"), data("n2"), data("d1")), ("a".into(), "b".into(), "c".into()));
    // home again, on one node and then on both
    let said = bed.run("d1", "svc1 giveback");
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(up(&bed, "n1") && !up(&bed, "n2") && !up(&bed, "d1"));
    assert_eq!(data("n1"), "c");
    bed.sh("n2", "svc1 start");
    bed.sh("n1", "echo d >/disk/d/f; svc1 sync all --force");
    assert_eq!((data("n2"), data("d1")), ("d".into(), "d".into()));
}
