//! Planned and unplanned takeovers on real nodes: a service whose writes are numbered goes from copy to copy, and no
//! write is lost but those that were announced. A takeover that comes to nothing is given back.

use crate::bed::Nodes;
use crate::clean::nothing_left;
use crate::writer::{self, STANDBY, bed, between, clock, log, none_lost, ok, running, writes};
use std::time::Duration;

#[test]
fn planned_both_ways_and_none_is_lost() {
    let bed = running("", "");
    for trip in 1..=5 {
        let said = ok(&bed, "deb2", "svc1 takeover");
        writes(&bed, "deb2");
        none_lost(&bed, "deb2");
        assert!(bed.sh("deb1", "svc1 print status").contains("app#1          .... down"), "trip {trip}: {said}");
        let said = ok(&bed, "deb2", "svc1 giveback");
        writes(&bed, "deb1");
        let n = none_lost(&bed, "deb1");
        assert!(said.contains("svc1 runs on deb1"), "trip {trip}: {said}");
        println!("round trip {trip}: {n} writes, none lost");
    }
    let nodes = log(&bed, "deb1").into_iter().map(|w| w.node).collect::<Vec<_>>();
    assert_eq!(nodes.windows(2).filter(|two| two[0] != two[1]).count(), 10, "each ran in turn, five times");

    // the holder is down, its last writes were never sent: they come along
    bed.sh("deb1", "svc1 stop");
    ok(&bed, "deb2", "svc1 takeover");
    writes(&bed, "deb2");
    none_lost(&bed, "deb2");
    nothing_left(&bed, "deb1", &[]);
    // the way home, started where it does not run: told where to type it
    let said = bed.run("deb1", "svc1 giveback");
    assert!(said.code == 1 && said.stderr.contains("on deb2: svcmgr -s svc1 giveback"), "{}", said.stderr);
    ok(&bed, "deb2", "svc1 giveback");
    writes(&bed, "deb1");
    none_lost(&bed, "deb1");
    ok(&bed, "deb1", "svc1 sync update --force");
}

#[test]
fn switched_between_the_copies_of_one_site() {
    let bed = bed("nodes = deb1 deb2\ncopies = node\n", "always_on = nodes\n", "target = nodes\n");
    bed.sh("deb2", "svc1 startstandby");
    ok(&bed, "deb1", "svc1 start");
    for _ in 0..2 {
        ok(&bed, "deb1", "svc1 switch --to deb2");
        writes(&bed, "deb2");
        none_lost(&bed, "deb2");
        nothing_left(&bed, "deb1", &STANDBY);
        ok(&bed, "deb2", "svc1 switch --to deb1");
        writes(&bed, "deb1");
        none_lost(&bed, "deb1");
        nothing_left(&bed, "deb2", &STANDBY);
    }
    // deb2 is dead: nothing is stopped for it
    bed.ctl("crash", &["deb2"]);
    let said = bed.run("deb1", "svc1 switch --to deb2");
    assert!(said.code == 1 && said.stderr.contains("deb2"), "{}", said.stderr);
    writes(&bed, "deb1");
    none_lost(&bed, "deb1");
}

/// Seconds of the epoch, on the node's clock.
fn now(bed: &Nodes) -> f64 {
    bed.sh("deb1", "date +%s.%N").parse().unwrap()
}

/// Writes made on deb1 that deb2 does not have, as counted: seconds from the last that deb2 has to the last of all.
/// The service is down on deb1, and mounted there afterwards.
fn counted(bed: &Nodes) -> f64 {
    bed.sh("deb1", "mkdir -p /srv/d; mount -o loop /disk/d.img /srv/d");
    let (all, kept) = (log(bed, "deb1"), log(bed, "deb2"));
    bed.sh("deb1", "umount /srv/d");
    assert!(kept.len() < all.len() && all[..kept.len()] == kept[..], "deb2 has the first part of it");
    all.last().unwrap().at - kept.last().unwrap().at
}

#[test]
fn what_an_unplanned_takeover_loses_is_what_it_says() {
    let bed = running("", "");
    let begun = now(&bed);
    ok(&bed, "deb1", "svc1 sync update --force");
    let synced = now(&bed);
    std::thread::sleep(Duration::from_secs(5)); // of writes
    let stopping = now(&bed);
    bed.sh("deb1", "svc1 stop");
    let stopped = now(&bed);
    let counted = counted(&bed);

    let said = ok(&bed, "deb2", "svc1 start");
    let until = clock(between(&said, "deb1 ran until ", ", this"), begun);
    let copy = between(&said, "this copy is of ", ": ");
    let of = clock(copy, begun);
    let announced: f64 = between(&said, &format!("{copy}: "), " s of writes are on deb1 only").parse().unwrap();
    println!(
        "announced {announced} s, counted {counted:.2} s; the sync took {:.2} s, the stop {:.2} s",
        synced - begun,
        stopped - stopping
    );
    // what it goes by: the copy is of the moment its sync began, and deb1 ran until its stop was over
    assert!((begun - 1.0..=synced).contains(&of) && (stopping - 1.0..=stopped).contains(&until), "{said}");
    // so it is all that was lost and, rounded up, at most what was sent or stopped meanwhile besides
    let besides = synced - begun + stopped - stopping;
    assert!((counted..=counted + besides + 1.0).contains(&announced), "{said}");
    // the way home says it again, and overwrites those writes
    let said = ok(&bed, "deb2", "svc1 giveback");
    let again: f64 = between(between(&said, "the writes made on deb1 between ", "\n"), " (", " s) were never sent: ").parse().unwrap();
    assert!((again - announced).abs() <= 1.0, "{announced} s, then: {said}");
    writer::in_order(&log(&bed, "deb1"));

    // deb1 crashes: nobody can tell how much it wrote after the last sync
    ok(&bed, "deb1", "svc1 sync update --force");
    std::thread::sleep(Duration::from_secs(3));
    bed.ctl("crash", &["deb1"]);
    let said = ok(&bed, "deb2", "svc1 start");
    assert!(said.contains("deb1 does not answer") && said.contains(" old: what deb1 wrote after that is not here"), "{said}");
    writes(&bed, "deb2");
}

#[test]
fn a_crashed_holder_that_answers_says_what_it_has_at_least() {
    let bed = running("", "");
    ok(&bed, "deb1", "svc1 sync update --force");
    std::thread::sleep(Duration::from_secs(6));
    bed.sh("deb1", "svc1 print status; svc1 sync update"); // something that stamps the node as alive
    std::thread::sleep(Duration::from_secs(1));
    bed.ctl("crash", &["deb1"]);
    bed.ctl("boot", &["deb1"]);
    let counted = counted(&bed);
    let said = ok(&bed, "deb2", "svc1 start");
    let least: f64 = between(&said, ": at least ", " s of writes are on deb1 only (it crashed: it may have run longer)").parse().unwrap();
    println!("announced: at least {least} s, counted {counted:.2} s");
    assert!((5.0..=counted + 1.0).contains(&least), "{said}");
}

#[test]
fn a_start_that_comes_to_nothing_after_a_takeover_gives_authority_back() {
    // deb2 has lost the disk of fs#2
    let lost = "[fs#2]\ntype = ext4\ndev = /disk/e.img\nmnt = /srv/e\nmnt_opt = rw,loop\n";
    let bed = bed("nodes = deb1\ndrpnodes = deb2\nboot_wait = 2s\n", "always_on = drpnodes\n", &format!("target = drpnodes\n{lost}"));
    bed.sh("deb1", "truncate -s 16M /disk/e.img; mkfs.ext4 -q /disk/e.img");
    bed.sh("deb2", "svc1 startstandby");
    ok(&bed, "deb1", "svc1 start; svc1 sync full");
    let comes_to_nothing = |action: &str| {
        let said = bed.run("deb2", &format!("svc1 {action}"));
        assert!(said.code == 1 && said.stderr.contains("/disk/e.img"), "{action}: {}", said.stderr);
        assert!(said.stderr.contains("nothing of svc1 has run here: its data are deb1's again"), "{action}: {}", said.stderr);
        nothing_left(&bed, "deb2", &STANDBY);
        let text = bed.sh("deb2", "svc1 where");
        assert!(text.contains("nodes  deb1  ") && text.contains(" holds since ") && !text.contains("orphan"), "{action}: {text}");
        assert!(text.lines().any(|l| l.starts_with("deb2 ") && l.contains(" replica ")), "{action}: {text}");
        assert!(!text.contains("crashed"), "{action}: {text}");
    };
    let at_home_again = || {
        writes(&bed, "deb1");
        none_lost(&bed, "deb1");
        ok(&bed, "deb1", "svc1 sync update --force");
        assert!(bed.sh("deb1", "svc1 where").contains("nothing to do"), "{}", bed.sh("deb1", "svc1 where"));
    };
    bed.sh("deb1", "svc1 stop");
    comes_to_nothing("start");
    ok(&bed, "deb1", "svc1 start");
    at_home_again();
    // planned: deb1 was stopped for it
    comes_to_nothing("takeover");
    ok(&bed, "deb1", "svc1 start");
    at_home_again();
    // deb1 does not hear of any of it
    bed.ctl("crash", &["deb1"]);
    comes_to_nothing("start");
    bed.ctl("boot", &["deb1"]);
    ok(&bed, "deb1", "svc1 boot");
    at_home_again();
}
