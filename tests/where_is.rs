//! `where`, with nodes that say what the test says: the tables, and what to type.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_macros,
    missing_docs,
    reason = "a test may panic"
)]

use chrono::{DateTime, Local};
use std::collections::BTreeMap;
use std::sync::Arc;
use svcmgr::authority::start::Answers;
use svcmgr::authority::{Copies, Here};
use svcmgr::clock::{Clock, FixedClock};
use svcmgr::config::env::EnvFile;
use svcmgr::config::scope::ServiceConfig;
use svcmgr::dr::where_is::{self as asked, Own};
use svcmgr::render::color::Palette;
use svcmgr::render::where_is;
use svcmgr::report::where_is::{Verdict, Where};
use svcmgr::state::alive::LastRun;
use svcmgr::state::authority::{Holder, Known, Promise, Record};
use svcmgr::state::gate::{Answer, Held, VERSION, Verdict as Word};
use svcmgr::state::replica::{Image, Replica, Sent, State};

const TWO: &str = "nodes = deb1\ndrpnodes = deb2\n[sync#1]\nsrc = /srv/\ndst = /srv\ntarget = drpnodes\n";
const FOUR: &str = "nodes = n1 n2\ndrpnodes = d1 d2\n[sync#1]\nsrc = /srv/\ndst = /srv\ntarget = drpnodes\n";

fn at(time: &str) -> DateTime<Local> {
    FixedClock::at(&format!("2014-06-06 {time}")).now()
}

/// What `node` knows of svc1 at 19:30:00, when it has no files.
fn here(node: &str, text: &str) -> Here {
    let env = EnvFile::parse(std::path::Path::new("svc1.env"), format!("[DEFAULT]\nservice_type = TST\n{text}")).unwrap();
    let copies = Copies::of(&ServiceConfig::new(Arc::new(env), node));
    Here {
        service: "svc1".into(),
        node: node.into(),
        home_site: copies.home().map(|c| c.nodes.clone()).unwrap_or_default(),
        copies,
        record: Known::Absent,
        replicas: BTreeMap::new(),
        stamps: BTreeMap::new(),
        sent: BTreeMap::new(),
        last_run: None,
        now: at("19:30:00"),
    }
}

fn holder(node: &str, copy: &str, epoch: u64) -> Holder {
    Holder { epoch, copy: copy.into(), node: node.into(), since: at("19:10:02"), from: None, handed: false, partial: false, away: None }
}

fn image(time: &str) -> Image {
    Image { frozen_at: Some(at(time)), round: Some(time.to_owned()), ..Image::default() }
}

/// An answer of `node`: what runs, who holds, what it has of sync#1.
fn says(node: &str, avail: &str, holder: Holder, held: Held) -> Answer {
    Answer {
        version: VERSION,
        service: "known".into(),
        node: node.into(),
        epoch: holder.epoch,
        avail: Some(avail.into()),
        running: Some(avail == "up"),
        holder: Some(holder),
        clock: Some(at("19:30:01").to_rfc3339()),
        rids: [("sync#1".to_owned(), Word { ok: true, why: None, held: Some(held) })].into(),
        ..Answer::default()
    }
}

fn held(state: State, time: &str) -> Held {
    Held { state: Some(state), image: image(time), ..Held::default() }
}

fn answers(of: Vec<Result<Answer, (&str, &str)>>) -> Answers {
    let one = |a: Result<Answer, (&str, &str)>| match a {
        Ok(answer) => (answer.node.clone(), Ok(answer)),
        Err((node, why)) => (node.to_owned(), Err(why.to_owned())),
    };
    of.into_iter().map(one).collect()
}

const SILENT: &str = "ssh: connect to host deb1 port 22: No route to host";

fn own(state: State, time: &str, epoch: u64) -> Replica {
    Replica { from: Some("deb1".into()), image: image(time), ..Replica::new("deb2", state, epoch, at("18:00:00")) }
}

/// deb2, which has received sync#1 at 18:00:00.
fn deb2() -> Here {
    let mut here = here("deb2", TWO);
    here.record = Known::Known(Record::of(holder("deb1", "nodes", 0)));
    here.replicas.insert("sync#1".into(), Known::Known(own(State::Replica, "18:00:00", 0)));
    here
}

/// The same after its takeover at 19:10:02.
fn took_over() -> Here {
    let mut here = deb2();
    here.record = Known::Known(Record::of(holder("deb2", "deb2", 1)));
    here.replicas.insert("sync#1".into(), Known::Known(own(State::Live, "18:00:00", 1)));
    here
}

fn tell(here: &Here, avail: &str, running: bool, answers: Answers, flex: bool) -> Where {
    asked::tell(here, &Own { avail, running, busy: None }, answers, flex)
}

fn shown(name: &str, found: &Where) -> Verdict {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/snapshots");
    insta::with_settings!({ snapshot_path => folder, prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(format!("where__{name}"), where_is::one(found, Palette::default()));
    });
    found.verdict
}

#[test]
fn all_is_well() {
    let there = says("deb2", "down", holder("deb1", "nodes", 0), held(State::Replica, "18:00:00"));
    let found = tell(&here("deb1", TWO), "up", true, answers(vec![Ok(there)]), false);
    assert_eq!(shown("well", &found), Verdict::Held);
    assert!(found.advice.iter().all(|a| a.idle));
}

#[test]
fn the_holder_is_down() {
    let mut deb1 = says("deb1", "down", holder("deb1", "nodes", 0), held(State::Live, "18:00:00"));
    deb1.up_until = Some(at("19:08:52"));
    let found = tell(&deb2(), "stdby up", false, answers(vec![Ok(deb1)]), false);
    assert_eq!(shown("holder_down", &found), Verdict::Held);
    assert_eq!(found.advice[0].node.as_deref(), Some("deb1"));
}

#[test]
fn the_holder_is_silent() {
    let found = tell(&deb2(), "stdby up", false, answers(vec![Err(("deb1", SILENT))]), false);
    assert_eq!(shown("holder_silent", &found), Verdict::Held);
    assert_eq!(found.advice[0].command.as_deref(), Some("svcmgr -s svc1 start"));
    assert_eq!(found.advice[0].node.as_deref(), Some("deb2"));
}

#[test]
fn a_silent_replica_is_what_it_was_sent() {
    let mut deb1 = here("deb1", TWO);
    let sent = Sent { image: image("18:00:00"), broken_since: Some(at("19:01:00")), ..Sent::default() };
    deb1.sent.insert("sync#1".into(), [("deb2".to_owned(), sent)].into());
    let found = tell(&deb1, "up", true, answers(vec![Err(("deb2", "no answer within 8 s"))]), false);
    assert_eq!(shown("replica_silent", &found), Verdict::Held);
}

#[test]
fn taken_over_and_the_old_primary_is_back() {
    // deb1 has heard of the takeover
    let mut orphan = held(State::Orphan, "18:00:00");
    orphan.written_until = Some(at("19:09:28"));
    let deb1 = says("deb1", "down", holder("deb2", "deb2", 1), orphan.clone());
    let found = tell(&took_over(), "up", true, answers(vec![Ok(deb1)]), false);
    assert_eq!(shown("taken_over", &found), Verdict::Held);
    // it has not: its own word on its data is not taken
    let deb1 = says("deb1", "down", holder("deb1", "nodes", 0), held(State::Live, "18:00:00"));
    let found = tell(&took_over(), "up", true, answers(vec![Ok(deb1)]), false);
    assert_eq!(found.nodes[0].data[0].state, Some("orphan"));
    assert_eq!(found.advice[0].command.as_deref(), Some("svcmgr -s svc1 giveback"));
    // it was written after the takeover: someone has to say which writes go
    orphan.written_until = Some(at("19:20:00"));
    let deb1 = says("deb1", "down", holder("deb2", "deb2", 1), orphan);
    let found = tell(&took_over(), "up", true, answers(vec![Ok(deb1)]), false);
    assert_eq!(shown("written_after_the_takeover", &found), Verdict::Held);
}

#[test]
fn the_old_primary_asks_and_learns() {
    let mut deb1 = here("deb1", TWO);
    deb1.last_run = Some(LastRun { since: Some(at("10:00:00")), until: Some(at("19:09:28")), crashed: true });
    deb1.record = Known::Known(Record::of(holder("deb1", "nodes", 0)));
    let before = deb1.clone();
    let deb2 = says("deb2", "up", holder("deb2", "deb2", 1), held(State::Live, "18:00:00"));
    let found = tell(&deb1, "down", false, answers(vec![Ok(deb2)]), false);
    assert_eq!(deb1, before, "only looked");
    assert_eq!(shown("old_primary", &found), Verdict::Held);
}

#[test]
fn both_run_without_knowing_of_each_other() {
    let deb1 = says("deb1", "up", holder("deb1", "nodes", 0), held(State::Live, "18:00:00"));
    let found = tell(&took_over(), "up", true, answers(vec![Ok(deb1)]), false);
    assert_eq!(shown("both_run", &found), Verdict::Split);
}

#[test]
fn a_split_of_one_epoch() {
    let mut other = holder("deb1", "nodes", 1);
    other.since = at("19:20:00");
    let deb1 = says("deb1", "up", other, held(State::Live, "17:00:00"));
    let found = tell(&took_over(), "down", false, answers(vec![Ok(deb1)]), false);
    assert_eq!(shown("split", &found), Verdict::Split);
    let typed: Vec<String> =
        found.advice.iter().map(|a| format!("{} {}", a.node.as_deref().unwrap(), a.command.as_deref().unwrap())).collect();
    assert_eq!(typed, ["deb1 svcmgr -s svc1 takeover --abandon deb2", "deb2 svcmgr -s svc1 takeover --abandon deb1"]);
}

#[test]
fn a_transfer_was_not_confirmed() {
    let mut here = deb2();
    let kept = Some("/dev/vg/svc1_kept".to_owned());
    here.replicas.insert("sync#1".into(), Known::Known(Replica { kept, ..own(State::InProgress, "18:00:00", 0) }));
    let deb1 = says("deb1", "up", holder("deb1", "nodes", 0), held(State::Live, "18:00:00"));
    let found = tell(&here, "stdby up", false, answers(vec![Ok(deb1)]), false);
    assert_eq!(shown("in_progress", &found), Verdict::Held);
    assert_eq!(found.advice[0].node.as_deref(), Some("deb1"));
    // and nobody is there to mend it: a plain start is refused
    let found = tell(&here, "stdby up", false, answers(vec![Err(("deb1", SILENT))]), false);
    assert_eq!(shown("in_progress_and_holder_silent", &found), Verdict::Held);
}

#[test]
fn nobody_can_tell() {
    let mut here = deb2();
    here.record = Known::Unknown("/opt/opensvc/var/svc1/authority.json is damaged: EOF while parsing a value at line 1 column 0".into());
    let found = tell(&here, "stdby up", false, answers(vec![Err(("deb1", SILENT))]), false);
    assert_eq!(shown("unknown", &found), Verdict::Unknown);
    // the other node knows, and it is settled
    let deb1 = says("deb1", "up", holder("deb1", "nodes", 0), held(State::Live, "18:00:00"));
    let found = tell(&here, "stdby up", false, answers(vec![Ok(deb1)]), false);
    assert_eq!(found.verdict, Verdict::Held);
    assert!(found.advice.iter().all(|a| a.idle), "{:?}", found.advice);
}

#[test]
fn a_clock_is_off() {
    let mut deb1 = says("deb1", "up", holder("deb1", "nodes", 0), held(State::Live, "18:00:00"));
    deb1.clock = Some(at("20:31:00").to_rfc3339());
    let found = tell(&deb2(), "stdby up", false, answers(vec![Ok(deb1)]), false);
    assert_eq!(shown("clock", &found), Verdict::Held);
}

fn site(node: &str, avail: &str, state: State, time: &str) -> Result<Answer, (&'static str, &'static str)> {
    Ok(says(node, avail, holder("n1", "nodes", 0), held(state, time)))
}

#[test]
fn three_copies() {
    let up = vec![
        site("n2", "down", State::Live, "18:00:00"),
        site("d1", "down", State::Replica, "18:00:00"),
        site("d2", "down", State::Replica, "17:00:00"),
    ];
    let found = tell(&here("n1", FOUR), "up", true, answers(up), false);
    assert_eq!(shown("three_copies", &found), Verdict::Held);
    // the site is lost: the fresher of the others
    let mut d2 = here("d2", FOUR);
    d2.record = Known::Known(Record::of(holder("n1", "nodes", 0)));
    d2.replicas.insert("sync#1".into(), Known::Known(Replica { node: "d2".into(), ..own(State::Replica, "17:00:00", 0) }));
    let lost = vec![Err(("n1", "No route to host")), Err(("n2", "No route to host")), site("d1", "down", State::Replica, "18:00:00")];
    let found = tell(&d2, "down", false, answers(lost), false);
    assert_eq!(shown("three_copies_site_lost", &found), Verdict::Held);
    assert_eq!(found.advice[0].node.as_deref(), Some("d1"));
    // one of the site is lost, the other could start
    let half =
        vec![Err(("n1", "No route to host")), site("n2", "down", State::Live, "18:00:00"), site("d1", "down", State::Replica, "18:00:00")];
    let found = tell(&d2, "down", false, answers(half), false);
    assert_eq!(found.advice[0].to_string(), "if n1 is dead: on n2: svcmgr -s svc1 start");
}

#[test]
fn a_takeover_is_under_way() {
    let mut deb1 = says("deb1", "down", holder("deb1", "nodes", 0), held(State::Live, "18:00:00"));
    deb1.promise = Some(Promise { epoch: 1, node: "deb2".into(), copy: "deb2".into(), at: at("19:29:59") });
    let mut here = deb2();
    here.record = Known::Known(Record { promise: deb1.promise.clone(), ..Record::of(holder("deb1", "nodes", 0)) });
    let found = tell(&here, "stdby up", false, answers(vec![Ok(deb1)]), false);
    assert!(found.remarks.contains(&"deb2 has begun to take svc1 over (epoch 1)".to_owned()), "{:?}", found.remarks);
}

#[test]
fn several_services_and_one_without_copies() {
    let plain = |avail: &str, answer: Result<Answer, (&str, &str)>| {
        let mut here = here("deb1", "nodes = deb1 deb2\n");
        here.service = "web".into();
        tell(&here, avail, avail == "up", answers(vec![answer]), false)
    };
    let not = |avail: &str| {
        Ok(Answer { holder: None, rids: [].into(), ..says("deb2", avail, holder("deb1", "nodes", 0), held(State::None, "18:00:00")) })
    };
    assert_eq!(shown("without_copies", &plain("up", not("down"))), Verdict::Held);
    assert_eq!(plain("up", not("up")).verdict, Verdict::Split);
    assert_eq!(
        plain("down", Err(("deb2", "No route to host"))).advice[0].to_string(),
        "if it does not run on deb2: on deb1: svcmgr -s web start"
    );
    let there = says("deb2", "down", holder("deb1", "nodes", 0), held(State::Replica, "18:00:00"));
    let well = tell(&here("deb1", TWO), "up", true, answers(vec![Ok(there)]), false);
    let deb2 = says("deb2", "up", holder("deb2", "deb2", 1), held(State::Live, "18:00:00"));
    let mut split = tell(&here("deb1", TWO), "up", true, answers(vec![Ok(deb2)]), false);
    split.service = "svc2".into();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/snapshots");
    // JSON has the offset of the local time
    let filters = [(r"(T\d\d:\d\d:\d\d)(Z|[+-]\d\d:\d\d)", "$1+ZONE")];
    insta::with_settings!({ snapshot_path => folder, prepend_module_to_snapshot => false, omit_expression => true, filters => filters }, {
        insta::assert_snapshot!("where__many", where_is::many(&[well, split.clone(), plain("up", not("down"))], Palette::default()));
        insta::assert_snapshot!("where__json", serde_json::to_string_pretty(&split).unwrap());
    });
}
