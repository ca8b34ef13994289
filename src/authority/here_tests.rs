//! What a node takes in, promises and forgets.

use super::*;
use crate::authority::written::Newest;
use crate::clock::FixedClock;
use crate::config::env::EnvFile;
use crate::state::gate::{Answer, Question};
use std::sync::Arc;

fn here(node: &str) -> Here {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("svc1.env");
    std::fs::write(&path, "[DEFAULT]\nnodes = n1 n2\ndrpnodes = d1 d2\n[sync#1]\nsrc = /d\ndst = /d\ntarget = drpnodes\n").unwrap();
    let config = ServiceConfig::new(Arc::new(EnvFile::load(&path).unwrap()), node);
    Here::load(dir.path(), "svc1", &config, FixedClock::at("2014-06-06 19:00:00").0)
}

fn holder(here: &Here, epoch: u64, node: &str) -> Holder {
    let copy = here.copies.of_node(node).unwrap().name.clone();
    Holder { epoch, copy, node: node.into(), since: here.now, from: None, handed: false, partial: false, away: None }
}

fn claim(here: &Here, epoch: u64, node: &str) -> Promise {
    Promise { epoch, node: node.into(), copy: node.into(), at: here.now }
}

fn says(here: &Here, holder: Option<Holder>, traces: u64, busy: bool) -> Answer {
    Answer {
        service: "known".into(),
        epoch: holder.as_ref().map_or(traces, |h| h.epoch),
        unsure: holder.is_none().then(|| "damaged".into()),
        clock: Some(here.now.to_rfc3339()),
        busy: busy.then(|| "start".into()),
        holder,
        ..Answer::default()
    }
}

#[test]
fn a_promise_stands_until_its_claimant_or_who_asked_it_says_so() {
    let mut n1 = here("n1");
    let (first, second) = (claim(&n1, 1, "d1"), claim(&n1, 2, "d2"));
    n1.promise_to(&first, None).unwrap();
    assert!(n1.promise_to(&second, None).is_err(), "not overridden by a higher epoch");
    n1.now += chrono::Duration::seconds(1);
    n1.promise_to(&first, None).unwrap();
    n1.forget(&first);
    assert!(n1.promise().is_some(), "an older promise was seen to be stale, not this one");
    let given = n1.promise().cloned().unwrap();
    n1.forget(&given);
    n1.promise_to(&second, None).unwrap();
    n1.release(&second);
    assert_eq!(n1.promise(), None);
    assert!(n1.promise_to(&second, Some("it is up")).is_err());
    n1.learn(&holder(&n1.clone(), 3, "d1"));
    assert!(n1.promise_to(&second, None).is_err(), "of an old epoch");
}

#[test]
fn a_promise_to_oneself_is_void_when_another_one_has_taken() {
    let mut d1 = here("d1");
    let own = claim(&d1, 1, "d1");
    d1.promise_self(&own).unwrap();
    assert!(d1.claims(&own).is_ok() && d1.claims(&claim(&d1, 2, "d1")).is_err());
    d1.learn(&holder(&d1.clone(), 1, "d2"));
    assert_eq!(d1.claims(&own).unwrap_err(), "d2 holds svc1 now (epoch 1)");
}

#[test]
fn promises_are_taken_up_before_those_who_gave_them_let_the_holder_in_again() {
    let mut d1 = here("d1");
    let own = claim(&d1, 1, "d1");
    d1.promise_self(&own).unwrap();
    d1.now = own.at + chrono::Duration::seconds(89);
    assert!(d1.claims(&own).is_ok());
    for seconds in [90, -90] {
        d1.now = own.at + chrono::Duration::seconds(seconds);
        assert_eq!(
            d1.claims(&own).unwrap_err(),
            "the others promised svc1 to d1 at 19:00:00, 90 s ago by this clock, and their promises are good for 90 s"
        );
    }
    // what is not known here is no excuse
    d1.record = Known::Unknown("damaged".into());
    assert!(d1.claims(&own).is_err());
}

#[test]
fn two_holders_of_an_epoch_are_a_split() {
    let mut n1 = here("n1");
    assert_eq!(n1.learn(&holder(&n1.clone(), 1, "d1")), Learned::Newer);
    assert_eq!(n1.learn(&holder(&n1.clone(), 1, "d2")), Learned::Split);
    assert_eq!(n1.rival().map(|r| r.node.clone()), Some("d2".into()));
    let mut d1 = here("d1");
    d1.take(1, chrono::Duration::zero(), &[]);
    assert!(d1.holds());
    d1.learn(&holder(&d1.clone(), 1, "d2"));
    assert!(!d1.holds(), "nobody does");
}

#[test]
fn what_is_forgotten_is_settled_by_all_others_together() {
    let mut n1 = here("n1");
    n1.record = Known::Unknown("damaged".into());
    let (one, two) = (Some(holder(&n1, 1, "d1")), Some(holder(&n1, 2, "d2")));
    let settled = |answers: [Option<Answer>; 3]| {
        let mut here = n1.clone();
        here.resolve(answers.iter().map(Option::as_ref)).then(|| here.holder().unwrap().node)
    };
    let known = |holder: &Option<Holder>| Some(says(&n1, holder.clone(), 0, false));
    let unsure = |traces| Some(says(&n1, None, traces, false));
    assert_eq!(settled([known(&one), known(&two), known(&one)]), Some("d2".into()), "the highest epoch");
    assert_eq!(settled([known(&two), known(&two), None]), None, "one is silent");
    assert_eq!(settled([known(&one), known(&two), unsure(2)]), Some("d2".into()), "another one has forgotten it too");
    assert_eq!(settled([known(&one), known(&two), unsure(3)]), None, "there are traces of a later epoch");
    assert_eq!(settled([unsure(0), unsure(0), unsure(0)]), None, "nobody knows");
    assert_eq!(settled([known(&one), known(&two), Some(says(&n1, one.clone(), 0, true))]), None, "one is at work");
}

#[test]
fn what_was_handed_here_and_taken_away_again_is_an_orphan_also_of_who_has_forgotten_both() {
    let asked = |epoch, from: &str, handed| {
        let mut n1 = here("n1");
        n1.record = Known::Unknown("damaged".into());
        n1.replicas.insert("sync#1".into(), Known::Known(Replica::new("n1", State::Replica, epoch, n1.now)));
        let taken = Holder { from: Some(from.into()), handed, ..holder(&n1, 3, "d2") };
        let answer = says(&n1, Some(taken), 0, false);
        assert!(n1.resolve([Some(&answer)].into_iter()));
        n1.data("sync#1").state
    };
    assert_eq!(asked(1, "nodes", false), Some(State::Orphan), "it held in epoch 2");
    assert_eq!(asked(3, "nodes", false), Some(State::Replica), "d2 has sent it since");
    assert_eq!(asked(1, "nodes", true), Some(State::Replica), "it has given it to d2, with all data");
    assert_eq!(asked(1, "d1", false), Some(State::Replica), "it was not concerned");
}

#[test]
fn own_writes_are_known_by_any_trace() {
    let state = |here: &Here| here.data("sync#1").state;
    // the old primary learns of a takeover
    let mut n1 = here("n1");
    n1.settle();
    assert_eq!(state(&n1), Some(State::Live));
    n1.learn(&holder(&n1.clone(), 1, "d1"));
    assert_eq!(state(&n1), Some(State::Orphan));
    // its file is lost, then all but the others' word
    n1.replicas.clear();
    assert_eq!((state(&n1), n1.data("sync#1").fault), (None, Some("sync#1.replica.json is missing".into())));
    // a recovery node from a backup of before it took over
    let mut d1 = here("d1");
    d1.learn(&holder(&d1.clone(), 0, "n1"));
    let before = d1.clone();
    assert_eq!(state(&d1), Some(State::None));
    let from = |name: &str, epoch, handed| Holder { from: Some(name.into()), handed, ..holder(&before, epoch, "n1") };
    d1.learn(&from("d1", 2, false));
    assert_eq!(state(&d1), Some(State::Orphan), "n1 took over from it");
    let mut d1 = before.clone();
    d1.learn(&from("d1", 2, true));
    assert_eq!(state(&d1), Some(State::None), "n1 was handed all it had");
}

#[test]
fn home_may_be_overwritten_only_while_it_is_made_ready() {
    let mut n1 = here("n1");
    n1.learn(&holder(&n1.clone(), 1, "d1"));
    n1.receive(true, true);
    assert!(n1.receiving() && n1.given_up("sync#1"));
    n1.receive(false, false);
    assert!(!n1.receiving() && !n1.given_up("sync#1"));
}

#[test]
fn a_crash_between_two_files_takes_data_for_too_little() {
    let mut d1 = here("d1");
    d1.take(1, chrono::Duration::zero(), &[]);
    let before = d1.clone();
    let image = Image { frozen_at: Some(d1.now), ..Image::default() };
    d1.hand_over(holder(&before, 2, "n1"), &BTreeMap::from([("sync#1".to_owned(), image)]));
    assert_eq!(d1.data("sync#1").state, Some(State::Replica));
    assert!(!d1.record_first());
    d1.record = before.record;
    assert_eq!(d1.data("sync#1").state, Some(State::Live), "what was given is written first, and it still holds");
}

#[test]
fn a_crash_between_two_files_makes_no_replica_of_what_was_handed_to_a_node_and_lost_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut n1 = here("n1");
    let image = Image { frozen_at: Some(n1.now), ..Image::default() };
    let whole = Replica { image, ..Replica::new("n1", State::Replica, 1, n1.now) };
    // d1 has given it back, and n1 has not started yet
    n1.record = Known::Known(Record::of(holder(&n1, 2, "n1")));
    n1.replicas.insert("sync#1".into(), Known::Known(whole));
    let before = n1.clone();
    n1.learn(&holder(&before, 3, "d2"));
    // the record cannot be written: a folder is in its place
    std::fs::create_dir_all(authority::path(dir.path(), "svc1")).unwrap();
    n1.save(dir.path(), &before).unwrap_err();
    let written = replica::read(dir.path(), "svc1", "sync#1");
    assert_eq!(written.known().map(|r| r.state), Some(State::Orphan), "this comes before the record");
    // dead between the two, it hears of it again
    let mut again = Here { replicas: BTreeMap::from([("sync#1".to_owned(), written)]), ..before };
    assert_eq!(again.data("sync#1").state, Some(State::Live), "it still holds, as far as it knows");
    again.learn(&holder(&n1, 3, "d2"));
    assert_eq!(again.data("sync#1").state, Some(State::Orphan));
}

fn image(id: &str) -> Image {
    Image { id: Some(id.into()), ..Image::default() }
}

/// d1, which has a copy of sync#1 called `old` that n1 sent.
fn with_copy() -> Here {
    let mut here = here("d1");
    here.record = Known::Known(Record::of(holder(&here, 0, "n1")));
    let replica = Replica { image: image("old"), witness: Some("w1".into()), ..Replica::new("d1", State::Replica, 0, here.now) };
    here.replicas.insert("sync#1".into(), Known::Known(replica));
    here
}

/// n1 says that `id` has arrived whole; whether that is believed.
fn done(here: &mut Here, id: Option<&str>) -> bool {
    let image = Image { id: id.map(str::to_owned), round: Some("r2".into()), ..Image::default() };
    let question =
        Question { node: "n1".into(), copy: Some("nodes".into()), done: [("sync#1".to_owned(), image)].into(), ..Question::default() };
    here.arrived(&question).is_empty()
}

fn told(here: &Here) -> (Option<State>, Option<String>) {
    let data = here.data("sync#1");
    (data.state, data.image.id)
}

#[test]
fn an_image_being_applied_is_all_that_can_come_of_the_data() {
    let mut d1 = with_copy();
    d1.applying("sync#1", "/dev/x", &image("new"));
    let file = d1.replicas["sync#1"].known().cloned().unwrap();
    assert_eq!((file.state, file.image.id.as_deref()), (State::Torn, Some("old")), "who does not know of applies sees torn data");
    assert_eq!(told(&d1), (Some(State::Replica), Some("new".into())));
    assert!(d1.data("sync#1").applying && d1.held("sync#1").applying);
    assert!(!done(&mut d1, Some("new")) && !done(&mut d1, None), "not before it is applied");
    d1.applied("sync#1", Some("w2".into()));
    assert_eq!((d1.pending("sync#1"), told(&d1)), (None, (Some(State::Replica), Some("new".into()))));
    assert!(d1.betrayed("sync#1", "w1") && !d1.betrayed("sync#1", "w2"));
    assert!(!done(&mut d1, Some("other")), "not what is here");
    assert!(done(&mut d1, Some("new")));
    assert_eq!(d1.data("sync#1").image.round.as_deref(), Some("r2"));
}

#[test]
fn a_takeover_does_not_forget_what_is_being_applied() {
    let mut d1 = with_copy();
    d1.applying("sync#1", "/dev/x", &image("new"));
    let before = d1.clone();
    d1.take(1, chrono::Duration::zero(), &[]);
    assert_eq!(d1.pending("sync#1"), Some(&image("new")));
    let mut undone = d1.clone();
    undone.give_back(&before);
    assert_eq!(undone.pending("sync#1"), Some(&image("new")), "not finished, and still to be");
    d1.applied("sync#1", None);
    assert_eq!((d1.pending("sync#1"), told(&d1).0), (None, Some(State::Live)));
    d1.give_back(&before);
    assert_eq!((d1.pending("sync#1"), told(&d1)), (None, (Some(State::Replica), None)), "its disks were in use");
}

#[test]
fn what_is_lost_of_an_apply_leaves_torn_data() {
    let mut d1 = with_copy();
    d1.applying("sync#1", "/dev/x", &image("new"));
    d1.torn("sync#1");
    assert_eq!((d1.pending("sync#1"), told(&d1)), (None, (Some(State::Torn), None)));
    d1.overwriting("sync#1", "/dev/x");
    assert_eq!(told(&d1), (Some(State::Torn), None));
    assert!(done(&mut d1, Some("new")), "a first copy has its name of its sender");
    assert_eq!(told(&d1), (Some(State::Replica), Some("new".into())));
}

#[test]
fn what_somebody_else_wrote_is_an_orphan() {
    let mut d1 = with_copy();
    assert!(!d1.betrayed("sync#1", "w1") && d1.betrayed("sync#1", "other"));
    d1.foreign("sync#1");
    assert_eq!((told(&d1).0, d1.data("sync#1").written_until), (Some(State::Orphan), Some(d1.now)));
    assert!(!d1.betrayed("sync#1", "again"), "that is known");
    d1.vanished("sync#1");
    assert_eq!(told(&d1), (Some(State::None), None));
}

#[test]
fn what_a_crash_has_left_is_announced_before_it_goes() {
    let mut d1 = with_copy();
    d1.foreign("sync#1");
    let base = d1.now - chrono::Duration::minutes(10);
    let Some(Known::Known(file)) = d1.replicas.get_mut("sync#1") else { panic!() };
    file.image.frozen_at = Some(base);
    let holder = Holder { since: d1.now, ..holder(&d1, 1, "n1") };
    let said = |d1: &Here, newest| {
        crate::authority::written::given_up_for(d1, &holder, "sync#1", newest, chrono::Duration::zero(), false).unwrap()
    };
    d1.last_run = Some(LastRun { until: Some(base), crashed: false, ..LastRun::default() });
    assert_eq!(said(&d1, Newest::Unknown), None, "it was stopped, and sent after that");
    d1.last_run = Some(LastRun { until: Some(base - chrono::Duration::minutes(1)), crashed: true, ..LastRun::default() });
    let words = said(&d1, Newest::Unknown).unwrap();
    assert!(words.starts_with("what d1 wrote after 18:50:00, until it crashed (it was seen last at 18:49:00), was never sent"), "{words}");
    assert_eq!(said(&d1, Newest::At(base)), None, "the data tell");
    d1.last_run = Some(LastRun { until: Some(base - chrono::Duration::minutes(29)), crashed: false, ..LastRun::default() });
    let words = said(&d1, Newest::At(base - chrono::Duration::minutes(30))).unwrap();
    assert_eq!(
        words,
        "what d1 wrote after its last sync was never sent: it is overwritten with the data of n1. how much that is cannot be told, as the clock of d1 was set back: the sync is of 18:50:00, and svc1 ran until 18:21:00"
    );
}

/// d1, whose clock is right, took over from home; d2, which is half an hour behind, has the data from it.
#[test]
fn since_when_home_is_without_them_is_told_by_the_clock_of_who_holds() {
    let half = chrono::Duration::minutes(30);
    let n1 = here("n1");
    assert_eq!(n1.away(half), Some(n1.now + half), "it gives them away now");
    let mut d1 = here("d1");
    d1.take(1, -half, &[]);
    let taken = d1.now;
    assert_eq!(d1.holder().unwrap().away, Some(taken), "it takes them now: the clock of home does not matter");
    assert_eq!(d1.away(-half), Some(taken - half));
    let mut d2 = here("d2");
    d2.learn(&d1.holder().unwrap());
    d2.take(2, -half, &[]);
    assert_eq!(d2.holder().unwrap().away, Some(taken - half));
}
