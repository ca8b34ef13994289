//! Authority on real nodes: a service whose writes are numbered goes from copy to copy, planned, after a crash, by
//! mistake. No write is lost but those that were announced, and none that a person wanted is overwritten.

use crate::bed::Nodes;
use crate::clean::nothing_left;
use crate::snapshot;
use crate::writer::{self, NODES, bed, clock, log, none_lost, running, writes};
use std::time::Duration;

const STANDBY: [&str; 2] = ["loop /disk/d.img", "mount /srv/d"];

/// A command that has to succeed; what it said.
fn ok(bed: &Nodes, node: &str, code: &str) -> String {
    let said = bed.run(node, code);
    assert_eq!(said.code, 0, "{node}: {code}\n{}{}", said.stdout, said.stderr);
    said.stderr
}

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

/// The text between two others.
fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let rest = text.split_once(before).unwrap_or_else(|| panic!("no {before:?} in: {text}")).1;
    rest.split_once(after).unwrap_or_else(|| panic!("no {after:?} after {before:?} in: {text}")).0
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

/// deb1 has crashed, deb2 has taken over and runs; a file tells whose data they are. deb1 is booted, its cable cut if
/// `alone`, and nothing is done on it yet.
fn old_primary(head: &str, alone: bool) -> Nodes {
    let bed = running(head, "");
    bed.sh("deb1", "echo deb1 >/srv/d/whose; svc1 sync update --force");
    bed.ctl("crash", &["deb1"]);
    ok(&bed, "deb2", "svc1 start");
    bed.sh("deb2", "echo deb2 >/srv/d/whose");
    bed.ctl("boot", &["deb1"]);
    if alone {
        bed.ctl("cut", &["deb1"]);
    }
    bed
}

/// Everything on a node's filesystem but the log that grows.
fn hash(bed: &Nodes, node: &str) -> String {
    bed.sh(node, "cd /srv/d; find . -path ./lost+found -prune -o ! -name log -printf '%p %s %T@ %C@\\n' | sort; find . -type f ! -name log -exec md5sum {} + | sort")
}

fn is_up(bed: &Nodes, node: &str) -> bool {
    bed.sh(node, "svc1 print status").contains("|- avail                  up")
}

#[test]
fn an_old_primary_that_sees_the_others_stays_down() {
    let bed = old_primary("boot_wait = 2s\n", false);
    let said = ok(&bed, "deb1", "svc1 boot");
    assert!(said.contains("svc1 is not started by boot: deb2 holds the data since "), "{said}");
    nothing_left(&bed, "deb1", &[]);
    let tree = bed.sh("deb1", "svc1 print status");
    assert!(tree.contains("# deb2 holds the data since "), "{tree}");
    let text = bed.sh("deb1", "svc1 where");
    assert!(text.contains("deb2   deb2  up    holds since ") && text.contains("deb1 crashed at "), "{text}");
    assert!(text.contains("to bring it home: on deb2: svcmgr -s svc1 giveback"), "{text}");
    // its nightly sync is not its turn: no failure, and nothing is sent
    let before = hash(&bed, "deb2");
    let said = ok(&bed, "deb1", "svc1 sync all --force");
    assert!(said.contains("won't sync from deb1: deb2 holds the data since "), "{said}");
    ok(&bed, "deb1", "svc1 sync full; svc1 sync update --force");
    // by hand it does not start either, nor do its parts
    for action in ["start", "startfs", "startapp", "start --force", "restart"] {
        let said = bed.run("deb1", &format!("svc1 {action}"));
        assert!(said.code == 1 && said.stderr.contains("it is up on deb2"), "{action}: {}", said.stderr);
        assert!(said.stderr.contains("on deb2: svcmgr -s svc1 giveback"), "{action}: {}", said.stderr);
    }
    nothing_left(&bed, "deb1", &[]);
    // what it has heard it knows: also when it boots alone, within boot_alone
    bed.ctl("crash", &["deb1"]);
    bed.ctl("boot", &["deb1"]);
    bed.ctl("cut", &["deb1"]);
    let said = ok(&bed, "deb1", "svc1 boot");
    assert!(said.contains("svc1 is not started by boot: deb2 holds the data since "), "{said}");
    let said = bed.run("deb1", "svc1 start");
    assert!(said.code == 1 && said.stderr.contains("its data are not the newest any more"), "{}", said.stderr);
    nothing_left(&bed, "deb1", &[]);
    assert_eq!(hash(&bed, "deb2"), before, "something was sent");
    writes(&bed, "deb2");
    writer::in_order(&log(&bed, "deb2"));
}

#[test]
fn an_old_primary_that_is_alone_starts_within_boot_alone() {
    let bed = old_primary("boot_wait = 2s\n", true);
    let boots = |alone: &str, up: bool| {
        bed.sh("deb1", &format!("svc1 set --param DEFAULT.boot_alone --value {alone}"));
        let said = ok(&bed, "deb1", "svc1 boot");
        assert_eq!(is_up(&bed, "deb1"), up, "{alone}: {said}");
        assert_eq!(said.contains("no node of another copy answers, and this node was down for "), !up, "{said}");
        assert_eq!(said.contains("to start here: svcmgr -s svc1 start"), !up, "{said}");
    };
    // it crashed some seconds ago
    boots("never", false);
    boots("3s", false);
    boots("15m", true);
    bed.sh("deb1", "svc1 stop");
    for (alone, up) in [("15m", false), ("always", true)] {
        bed.sh("deb1", "date -d '-16 minutes' '+%F %T.000000' >/opt/opensvc/var/alive");
        boots(alone, up);
    }
    // two are up now: neither is stopped, both say so when they see each other
    bed.ctl("heal", &["deb1"]);
    for node in NODES {
        let said = bed.run(node, "svc1 where");
        assert!(said.code == 1 && said.stdout.contains("split: svc1 runs on deb1, but deb2 holds the data since "), "{}", said.stdout);
        writes(&bed, node);
    }
}

/// Times and ages taken out, columns narrow: they depend on the clock.
fn timeless(text: &str) -> String {
    let with = |pattern: &str, by: &str, text: &str| regex::Regex::new(pattern).unwrap().replace_all(text, by).into_owned();
    let text = with(r"\d{4}-\d\d-\d\d ", "", text);
    let text = with(r"\d\d:\d\d:\d\d", "TIME", &text);
    with(" {2,}", "  ", &with(r"\b\d+ (s|min)\b", "AGE", &text))
}

/// The old primary was started by force while it was alone; then the cable is whole again. Whose data are kept is
/// decided by typing what its refused sync prints.
fn split(keep: &str) {
    let bed = old_primary("boot_wait = 2s\n", true);
    ok(&bed, "deb1", "svc1 start --force; echo deb1 >/srv/d/whose; touch /srv/d/only_on_deb1");
    bed.sh("deb2", "touch /srv/d/only_on_deb2");
    bed.ctl("heal", &["deb1"]);
    let before = hash(&bed, "deb2");
    let said = bed.run("deb1", "svc1 sync all --force");
    assert_eq!(said.code, 1, "{}", said.stderr);
    assert!(said.stderr.contains("sync#1 of svc1 is not sent from deb1 to deb2: deb1 does not hold the data any more"), "{}", said.stderr);
    let said = bed.run("deb1", "svc1 sync all --force");
    assert!(said.code == 1 && said.stderr.contains("and svc1 runs on deb1 too"), "{}", said.stderr);
    assert_eq!(hash(&bed, "deb2"), before, "something was sent");
    for node in NODES {
        snapshot(&format!("takeover_split_{node}"), &timeless(&bed.run(node, "svc1 where").stdout));
        writes(&bed, node);
    }
    // deb2 does not send over it either, without a word of a person
    let back = bed.run("deb2", "svc1 sync all --force; svc1 sync full");
    assert_eq!(bed.sh("deb1", "cat /srv/d/whose"), "deb1", "{}", back.stderr);
    let refused = bed.run("deb2", "svc1 giveback");
    assert_eq!(refused.code, 1, "{}", refused.stderr);

    let way = between(&said.stderr, &format!("to keep those of {keep}: on "), "\n").split("; ").next().unwrap();
    let (node, command) = way.split_once(": ").unwrap();
    ok(&bed, node, command);
    // one is up, it is known to hold on both, and it has the chosen data and none of the others
    writes(&bed, "deb1");
    assert!(is_up(&bed, "deb1"));
    assert_eq!(bed.sh("deb1", "cd /srv/d; cat whose; ls only*"), format!("{keep}\nonly_on_{keep}"));
    writer::in_order(&log(&bed, "deb1"));
    for node in NODES {
        let text = bed.sh(node, "svc1 where");
        assert_eq!(text.matches(" live ").count(), 1, "{text}");
        assert!(text.contains("nodes  deb1  up ") && text.contains("deb2   deb2  stdby up "), "{text}");
    }
    // syncs work again, to a whole copy
    let text = bed.sh("deb1", "svc1 where");
    let make = text.split_once("to make a copy on deb2 again: on deb1: ").map(|(_, rest)| rest.split("   (").next().unwrap());
    assert_eq!(make.is_some(), keep == "deb1", "{text}");
    ok(&bed, "deb1", make.unwrap_or("svc1 sync update --force"));
    assert_eq!(bed.sh("deb2", "cd /srv/d; cat whose; ls only*"), format!("{keep}\nonly_on_{keep}"));
    let text = bed.sh("deb1", "svc1 where");
    assert!(text.contains(" replica ") && text.contains("nothing to do"), "{text}");
}

#[test]
fn a_split_ends_with_the_data_of_the_one_that_took_over() {
    split("deb2");
}

#[test]
fn a_split_ends_with_the_data_of_the_old_primary() {
    split("deb1");
}
