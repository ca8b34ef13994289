//! Rare turns: who was no party to a split, promises nobody keeps, clocks that were set back.

use super::start::{Answers, Boot, Decision, How, View, behind, boot, decide};
use super::{Copies, Here};
use crate::clock::FixedClock;
use crate::config::env::EnvFile;
use crate::config::scope::ServiceConfig;
use crate::state::authority::{Holder, Known, Promise, Record};
use crate::state::gate::Answer;
use crate::state::replica::{Image, Replica, State};
use chrono::{DateTime, Duration, Local};
use std::sync::Arc;

const ENV: &str = "[DEFAULT]\nnodes = n1\ndrpnodes = d1 d2\n[sync#1]\ntype = rsync\nsrc = /d/\ndst = /d\ntarget = drpnodes\n";

fn at(time: &str) -> DateTime<Local> {
    FixedClock::at(&format!("2014-06-06 {time}")).0
}

fn holder(epoch: u64, copy: &str, node: &str) -> Holder {
    Holder { epoch, copy: copy.into(), node: node.into(), since: at("18:00:00"), from: None, handed: false, partial: false, away: None }
}

fn here(node: &str, record: Record, state: State) -> Here {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("svc1.env");
    std::fs::write(&path, ENV).unwrap();
    let config = ServiceConfig::new(Arc::new(EnvFile::load(&path).unwrap()), node);
    let mut here = Here::load(dir.path(), "svc1", &config, at("19:00:00"));
    assert_eq!(here.copies, Copies::of(&config));
    let image = Image { frozen_at: Some(at("17:00:00")), ..Image::default() };
    let replica = Replica { image, ..Replica::new(node, state, record.holder.epoch, at("17:00:00")) };
    here.replicas.insert("sync#1".into(), Known::Known(replica));
    here.record = Known::Known(record);
    here
}

#[test]
fn a_split_that_others_settle_makes_no_orphan_of_a_third_copy() {
    let split = |node, state| {
        let mut record = Record::of(holder(1, "nodes", "n1"));
        record.rival = Some(holder(1, "d1", "d1"));
        here(node, record, state)
    };
    for (node, state, want) in
        [("d2", State::Replica, State::Replica), ("n1", State::Live, State::Orphan), ("d1", State::Live, State::Live)]
    {
        let mut here = split(node, state);
        here.learn(&holder(2, "d1", "d1"));
        assert_eq!(here.data("sync#1").state, Some(want), "{node}");
    }
}

#[test]
fn a_start_of_the_holder_ends_a_promise_that_came_to_nothing() {
    let mut record = Record::of(holder(0, "nodes", "n1"));
    record.promise = Some(Promise { epoch: 1, node: "d1".into(), copy: "d1".into(), at: at("18:30:00") });
    let here = here("n1", record, State::Live);
    let answers: Answers = ["d1", "d2"]
        .map(|node| (node.to_owned(), Ok(Answer { version: 1, service: "known".into(), node: node.into(), ..Answer::default() })))
        .into();
    let view = View { here: &here, answers: &answers, flex: false };
    let Decision::Go(go) = decide(&view, &How::default()) else { panic!("refused") };
    assert_eq!(go.claim, Some(2));
    let mut after = here.clone();
    after.forget(here.promise().unwrap());
    after.promise_self(&Promise { epoch: 2, node: "n1".into(), copy: "nodes".into(), at: here.now }).unwrap();
    after.take(2, Duration::zero(), &[]);
    assert_eq!((after.holds(), after.promise()), (true, None));
    let view = View { here: &after, answers: &answers, flex: false };
    let Decision::Go(go) = decide(&view, &How::default()) else { panic!("refused") };
    assert_eq!(go.claim, None, "once");
}

#[test]
fn a_clock_that_was_set_back_is_no_short_absence() {
    let here = here("n1", Record::of(holder(0, "nodes", "n1")), State::Live);
    let view = View { here: &here, answers: &Answers::new(), flex: false };
    let said = |down, alone| boot(&view, Some(down), Some(alone), true);
    let quarter = Duration::minutes(15);
    assert_eq!(said(Duration::minutes(14), quarter), Boot::Start);
    assert_eq!(said(Duration::seconds(-20), quarter), Boot::Start, "a clock may be a little off");
    assert!(matches!(said(Duration::days(-300), quarter), Boot::Standby(why) if why.contains("300 days behind")));
    assert!(matches!(said(Duration::seconds(-1), Duration::zero()), Boot::Standby(_)), "boot_alone = never");
}

/// Who asks does so at 19:00:00 by its clock.
#[test]
fn an_instant_of_who_holds_is_moved_by_what_is_known_of_its_clock_only() {
    let away = |who: &str, by: &Holder, clocks: &[(&str, i64)]| {
        let mut here = here(who, Record::of(by.clone()), State::Replica);
        here.copies = shared(who);
        let said = |(node, off): &(&str, i64)| {
            let clock = Some((here.now + Duration::seconds(*off)).to_rfc3339());
            ((*node).to_owned(), Ok(Answer { service: "known".into(), node: (*node).into(), clock, ..Answer::default() }))
        };
        behind(&here, &clocks.iter().map(said).collect()).num_seconds()
    };
    let home = holder(1, "nodes", "n1");
    assert_eq!(away("d1", &home, &[("n1", -1800), ("n2", 7)]), 1800);
    assert_eq!(away("d1", &home, &[("n1", -45)]), 0, "an answer takes its time: nothing becomes older by that");
    assert_eq!(away("d1", &home, &[("n1", 45)]), -45, "newer it may become");
    assert_eq!(away("d1", &home, &[("n2", -1800)]), 0, "a clock beside it is not its clock");
    assert_eq!(away("d1", &home, &[("n2", 1800)]), -1800);
    assert_eq!(away("n1", &home, &[("n2", -1800)]), 0, "the record goes by this clock");
}

/// The copies of a service whose two nodes at home share disks.
fn shared(node: &str) -> Copies {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("svc1.env");
    std::fs::write(&path, ENV.replace("nodes = n1\n", "nodes = n1 n2\n")).unwrap();
    Copies::of(&ServiceConfig::new(Arc::new(EnvFile::load(&path).unwrap()), node))
}
