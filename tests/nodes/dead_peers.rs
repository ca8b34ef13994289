//! A start whose peers are dead in one way or another takes not much longer than one whose peers answer. Nothing is
//! asserted of seconds but that nothing hangs; `make bench-peers` prints the figures of docs/performance.md.

use crate::bed::Nodes;
use std::time::{Duration, Instant};

const PEERS: [&str; 2] = ["d1", "d2"];

/// Ways to be dead: what is done to each peer, and what undoes it.
const DEATHS: [(&str, Act, Act); 6] = [
    ("powered off", Act::Ctl("crash"), Act::Ctl("boot")),
    ("cable cut", Act::Ctl("cut"), Act::Ctl("heal")),
    ("answers are lost", Act::Ctl("mute"), Act::Ctl("heal")),
    ("frozen: TCP connects, nothing answers", Act::Ctl("freeze"), Act::Ctl("thaw")),
    (
        "svcmgr hangs there",
        Act::Sh(
            "mv /opt/opensvc/bin/svcmgr /disk; printf '#!/bin/sh\\nexec sleep 1000\\n' >/opt/opensvc/bin/svcmgr; chmod 755 /opt/opensvc/bin/svcmgr",
        ),
        Act::Sh("mv /disk/svcmgr /opt/opensvc/bin/svcmgr; pkill -x sleep -f 'sleep 1000' || true"),
    ),
    ("connection refused", Act::Sh("pkill -o -x sshd"), Act::Sh("/usr/sbin/sshd")),
];

#[derive(Clone, Copy)]
enum Act {
    Ctl(&'static str),
    Sh(&'static str),
}

fn done(bed: &Nodes, act: Act) {
    for peer in PEERS {
        match act {
            Act::Ctl(verb) => bed.ctl(verb, &[peer]),
            Act::Sh(code) => drop(bed.sh(peer, code)),
        }
    }
}

/// Not all have the same peers: they are waited for at the same time all the same.
fn service(i: usize) -> String {
    let peers = ["d1 d2", "d1", "d2"][i % 3];
    format!(
        "[DEFAULT]\nservice_type = TST\nnodes = n1\ndrpnodes = {peers}\nautostart_node = n1\n\
         [fs#1]\ntype = tmpfs\ndev = none\nmnt = /srv/s{i:02}\n\
         [sync#1]\nsrc = /srv/s{i:02}/\ndst = /disk/s{i:02}\ntarget = drpnodes\n"
    )
}

/// Seconds of one command on n1, which has to succeed; all is stopped afterwards.
fn seconds(bed: &Nodes, command: &str) -> f64 {
    let begun = Instant::now();
    bed.sh("n1", command);
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(60), "{command}: {took:?}");
    bed.sh("n1", "allservices stop -p");
    took.as_secs_f64()
}

#[test]
fn a_start_does_not_wait_long_for_the_dead() {
    let bench: Option<usize> = std::env::var("DEAD_PEERS").ok().and_then(|n| n.parse().ok());
    let bed = Nodes::with_svcmgr(&["n1", "d1", "d2"]);
    for i in 1..=bench.unwrap_or(4) {
        bed.service(&["n1", "d1", "d2"], &format!("s{i:02}"), &service(i));
    }
    let commands: &[&str] = match bench {
        Some(_) => &["s01 start", "allservices start", "allservices start --parallel"],
        None => &["allservices start"],
    };
    let measure = |what: &str| {
        let all: Vec<f64> = commands.iter().map(|c| seconds(&bed, c)).collect();
        let said: Vec<String> = commands.iter().zip(&all).map(|(c, s)| format!("{c} {s:.1} s")).collect();
        println!("{what}: {}", said.join(", "));
        all
    };
    let alive = measure("alive");
    for (what, die, live) in DEATHS {
        done(&bed, die);
        let dead = measure(what);
        let more = dead.iter().zip(&alive).map(|(dead, alive)| dead - alive).fold(0.0, f64::max);
        println!("    at most {more:.1} s more");
        assert!(more < 30.0, "{what}: {more} s more");
        done(&bed, live);
        for peer in PEERS {
            bed.until("n1", Duration::from_secs(30), &format!("ssh -o ConnectTimeout=2 {peer} true"));
        }
    }
}
