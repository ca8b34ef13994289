//! What is compared, what is said of it, and how far a scrub was.

use super::super::tests::{Bench, TWO, held};
use super::*;
use crate::state::replica::{Image, State};
use crate::sync::{Class, Mode};

const SAME: &str = r#"{"blocks":1024,"differing":0,"bytes":0}"#;
const OTHER: &str = r#"{"blocks":1024,"differing":3,"bytes":196608,"first":65536}"#;

fn job(peer: &str, has: Option<&str>, sent: &str) -> Job {
    Job {
        peer: peer.into(),
        class: Class::Drpnodes,
        mode: Mode::Update,
        epoch: 3,
        held: Some(held(State::Replica, has)),
        image: Image { id: Some(sent.into()), ..Image::default() },
        progress: None,
        content: None,
    }
}

/// A node whose volume of 64 MiB both peers have as uuid-1.
fn bench(scrub: &str) -> Bench {
    let bench = Bench::new(&TWO.replace("target =", &format!("{scrub}target =")), "vg", "data", 64);
    assert!(bench.round(Mode::Update, &[("deb2", held(State::None, None)), ("deb3", held(State::None, None))]).is_empty());
    bench.said();
    bench
}

fn verify(bench: &Bench, has: Option<&str>, diff: &str) -> (Vec<String>, String) {
    *bench.lvm.diff.lock().unwrap() = diff.into();
    let done = bench.sync().verify(&bench.cx(), &job("deb2", has, "uuid-1")).map_or_else(|e| e.to_string(), |()| "ok".into());
    (bench.said(), done)
}

#[test]
fn what_was_sent_last_is_compared() {
    let bench = bench("");
    let (said, done) = verify(&bench, Some("uuid-1"), SAME);
    assert_eq!(
        (said[0].as_str(), said[2].as_str(), done.as_str()),
        ("INFO start checksum threads. please be patient.", "INFO src/dst checksums verified", "ok")
    );
    assert!(said[1].contains("recv --rid 'sync#2' --epoch 3 -- dds --hash --source /dev/vg2/data --block 32768"), "{}", said[1]);
    assert!(said[1].ends_with(" | ROOT/bin/dds --diff --source /dev/vg/data_osvc_snap1 --hashes - --json"), "{}", said[1]);
    let (said, done) = verify(&bench, Some("uuid-1"), OTHER);
    assert_eq!(said[2], "ERROR src/dst checksums differ for deb1/deb2");
    assert!(said[3].starts_with("ERROR 3 of 1024 blocks of 32 KB are not the same on deb2, the first at byte 65536: "), "{}", said[3]);
    assert!(said[3].ends_with("to mend them, on deb1: svcmgr -s svc1 sync resync --rid sync#2"), "{}", said[3]);
    assert_eq!((said.len(), done), (4, Error::Reported.to_string()));
}

#[test]
fn what_cannot_be_compared_is_no_success() {
    let bench = bench("");
    for has in [Some("uuid-0"), None] {
        let (said, done) = verify(&bench, has, SAME);
        assert!(said.is_empty() && done.starts_with("deb2 does not have the image that was sent last"), "{done}");
    }
    for diff in ["", "{}", r#"{"blocks":0}"#] {
        assert_ne!(verify(&bench, Some("uuid-1"), diff).1, "ok", "{diff:?}");
    }
    bench.lvm.snaps.lock().unwrap()[0].2 = "swi-I-s---".into();
    assert!(verify(&bench, Some("uuid-1"), SAME).1.contains("the snapshot of the last sync was full"));
    bench.lvm.snaps.lock().unwrap().clear();
    assert!(verify(&bench, Some("uuid-1"), SAME).1.contains("the snapshot of the last sync is not there"));
}

#[test]
fn whoever_has_taken_over_is_compared_with_what_it_has_taken() {
    let bench = bench("");
    let image = Image { id: Some("from-deb9".into()), ..Image::default() };
    super::super::moved::gained(&bench.cx(), "/dev/vg/data", None, &image);
    bench.said();
    assert_eq!(verify(&bench, Some("from-deb9"), SAME).1, "ok");
}

fn scrub(bench: &Bench, peer: &str, sent: &str, diff: &str) -> (Vec<String>, bool) {
    *bench.lvm.diff.lock().unwrap() = diff.into();
    let done = bench.sync().scrub(&bench.cx(), &job(peer, None, sent)).is_ok();
    (bench.said(), done)
}

#[test]
fn a_scrub_goes_on_where_it_was() {
    let bench = bench("scrub = 40 %\n");
    let part = |said: &[String]| {
        let words: Vec<&str> = said[0].split_whitespace().collect();
        let at = words.iter().position(|w| *w == "--from").unwrap();
        (words[at + 1].parse::<u64>().unwrap(), words[at + 3].parse::<u64>().unwrap())
    };
    let size = 64 << 20;
    let share = (size * 2 / 5_u64).next_multiple_of(BLOCK);
    for (from, length, told) in [
        (0, share, "INFO deb2: 26.9 MB compared, the same on both sides (40 % of pass 1)"),
        (share, share, "INFO deb2: 26.9 MB compared, the same on both sides (80 % of pass 1)"),
        (2 * share, size - 2 * share, "INFO deb2: 13.4 MB compared, the same on both sides (100 % of pass 1)"),
        (0, share, "INFO deb2: 26.9 MB compared, the same on both sides (40 % of pass 2)"),
    ] {
        let (said, done) = scrub(&bench, "deb2", "uuid-1", SAME);
        assert_eq!((part(&said), said[1].as_str(), done), ((from, length), told, true));
    }
    let (said, done) = scrub(&bench, "deb3", "uuid-1", OTHER);
    assert_eq!((part(&said), said[1].as_str(), done), ((0, share), "ERROR src/dst checksums differ for deb1/deb3", false));
    let record: Record = serde_json::from_str(&bench.var("svc1/sync#2.scrub.json").unwrap()).unwrap();
    let deb2 = &record.peers["deb2"];
    assert_eq!((deb2.passes, deb2.next, deb2.history.len()), (1, share, 4));
    assert_eq!(record.peers["deb3"].history[0].differing, 3);
    assert_eq!(scrub(&bench, "deb2", "uuid-7", SAME), (Vec::new(), true), "the snapshots were not rotated");
}

#[test]
fn a_share_of_the_volume() {
    let share = |text: &str| {
        let bench = Bench::new(&TWO.replace("target =", &format!("scrub = {text}\ntarget =")), "vg", "data", 64);
        let share = scrub_of(&bench.config().section("sync#2"));
        share.map(|s| s.map(|s| Progress::default().turn(1 << 30, s).1))
    };
    assert_eq!(share("5%"), Ok(Some((1_u64 << 30).div_ceil(20).next_multiple_of(BLOCK))));
    assert_eq!((share("100"), share("0"), share("0.000001")), (Ok(Some(1 << 30)), Ok(None), Ok(None)));
    assert_eq!(share("0.001%"), Ok(Some(BLOCK)));
    for bad in ["all", "101%", "-1", "nan"] {
        assert!(share(bad).is_err(), "{bad}");
    }
    let mut progress = Progress { next: 5 << 30, ..Progress::default() };
    assert_eq!(progress.turn(1 << 30, Share::ALL).0, 0, "the volume has become smaller");
    let part = || Part { at: DateTime::UNIX_EPOCH.into(), image: String::new(), from: 0, length: 1, differing: 0 };
    (0..REMEMBERED + 5).for_each(|_| progress.done(100, part()));
    assert_eq!(progress.history.len(), REMEMBERED);
}
