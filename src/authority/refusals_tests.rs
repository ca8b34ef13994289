//! Every refusal and warning of the rules, as a person reads it.

use super::start::{Answers, Boot, Decision, How, View, boot, decide};
use super::{Here, receive};
use crate::clock::FixedClock;
use crate::config::env::EnvFile;
use crate::config::scope::ServiceConfig;
use crate::state::alive::LastRun;
use crate::state::authority::{Holder, Known, Promise, Record};
use crate::state::gate::{Answer, Broken, Held, Question, VERSION, Verdict};
use crate::state::replica::{Image, Replica, State};
use chrono::{DateTime, Duration, Local};
use std::sync::Arc;

fn at(time: &str) -> DateTime<Local> {
    FixedClock::at(&format!("2014-06-06 {time}")).0
}

/// What a node knows at 19:10 that has nothing on its disk.
fn here(node: &str) -> Here {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("svc1.env");
    let text = "[DEFAULT]\nnodes = n1 n2\ndrpnodes = d1 d2\n[sync#1]\nsrc = /d\ndst = /d\ntarget = drpnodes\n";
    std::fs::write(&path, text).unwrap();
    Here::load(dir.path(), "svc1", &ServiceConfig::new(Arc::new(EnvFile::load(&path).unwrap()), node), at("19:10:00"))
}

fn holder(epoch: u64, copy: &str, node: &str, since: &str) -> Holder {
    Holder { epoch, copy: copy.into(), node: node.into(), since: at(since), from: None, handed: false, partial: false, away: None }
}

fn image(frozen: &str) -> Image {
    Image { id: None, frozen_at: Some(at(frozen)), ..Image::default() }
}

/// A node with a file of its data.
fn with(node: &str, held: &Holder, state: State, frozen: Option<&str>) -> Here {
    let mut here = here(node);
    let replica = Replica { image: frozen.map(image).unwrap_or_default(), ..Replica::new(node, state, held.epoch, at("19:00:00")) };
    here.record = Known::Known(Record::of(held.clone()));
    here.replicas.insert("sync#1".into(), Known::Known(replica));
    here
}

/// The others, all down and of the same word as `here`; then changed by `f`.
fn answers(here: &Here, f: impl FnOnce(&mut Answers)) -> Answers {
    let said = |node: &&str| Answer {
        version: VERSION,
        service: "known".into(),
        node: node.to_string(),
        avail: Some("down".into()),
        running: Some(false),
        holder: here.holder().ok(),
        epoch: here.holder().map_or(0, |h| h.epoch),
        clock: Some(here.now.to_rfc3339()),
        ..Answer::default()
    };
    let mut all: Answers = ["n1", "n2", "d1", "d2"].iter().filter(|n| **n != here.node).map(|n| (n.to_string(), Ok(said(n)))).collect();
    f(&mut all);
    all
}

fn change(answers: &mut Answers, node: &str, f: impl FnOnce(&mut Answer)) {
    f(answers.get_mut(node).unwrap().as_mut().unwrap());
}

fn silent(answers: &mut Answers, node: &str) {
    answers.insert(node.into(), Err("ssh: no route to host".into()));
}

fn held(frozen: &str) -> Verdict {
    Verdict { ok: true, why: None, held: Some(Held { state: Some(State::Replica), image: image(frozen), ..Held::default() }) }
}

/// Why a boot does not start it.
fn standby(boot: Boot) -> String {
    if let Boot::Standby(why) = boot { why } else { format!("{boot:?}") }
}

/// The situations, one after the other, with what is printed.
#[derive(Default)]
struct Book(String);

impl Book {
    fn page(&mut self, title: &str, text: &str) {
        self.0 += &format!("== {title}\n{text}\n\n");
    }

    fn start(&mut self, title: &str, here: &Here, how: &How, f: impl FnOnce(&mut Answers)) {
        let answers = answers(here, f);
        let text = match decide(&View { here, answers: &answers, flex: false }, how) {
            Decision::Refuse(refusal) => refusal.to_string(),
            Decision::Go(go) => {
                let what = match (&go.handover, go.claim) {
                    (Some(from), _) => format!("goes on: {from} hands over"),
                    (None, Some(epoch)) => format!("goes on: takes epoch {epoch}"),
                    (None, None) => "goes on".to_owned(),
                };
                go.warnings.iter().fold(what, |text, w| format!("{text}\n  warning: {w}"))
            }
        };
        self.page(title, &text);
    }

    fn receive(&mut self, title: &str, here: &Here, sender: &str, copy: &str, epoch: u64) {
        let question = Question { node: sender.into(), copy: Some(copy.into()), epoch, ..Question::default() };
        let text = receive::refusal(here, &question, "sync#1").map_or_else(|| "accepted".to_owned(), |r| r.to_string());
        self.page(title, &text);
    }
}

#[test]
fn said_so_that_a_tired_person_knows_what_to_do() {
    let (plain, force) = (How::default(), How { force: true, ..How::default() });
    let takeover = How { takeover: true, ..How::default() };
    let abandon = |node: &str, force: bool| How { takeover: true, force, abandon: Some(node.into()) };
    let home = holder(0, "nodes", "n1", "18:00:00");
    let away = holder(1, "d1", "d1", "19:00:00");
    let first = || with("d1", &home, State::Replica, Some("18:52:00"));
    let run = |until: &str, crashed: bool| {
        let until = at(until);
        move |a: &mut Answers| change(a, "n1", |n1| (n1.up_until, n1.crashed) = (Some(until), crashed))
    };
    let mut book = Book::default();

    book.start("start on d1, n1 is down and has all it wrote here", &first(), &plain, run("18:51:30", false));
    book.start("start on d1, n1 stopped later than this copy", &first(), &plain, run("18:52:36", false));
    book.start("start on d1, n1 crashed", &first(), &plain, run("18:59:00", true));
    book.start("start on d1, n1 is silent", &first(), &plain, |a| silent(a, "n1"));
    book.start("start on d1, d2 is silent", &first(), &plain, |a| silent(a, "d2"));
    book.start("start on d1, the clock of n1 is an hour ahead", &first(), &plain, |a| {
        change(a, "n1", |n1| n1.clock = Some((at("19:10:00") + Duration::hours(1)).to_rfc3339()));
    });
    book.start("start on d1, up on n1", &first(), &plain, |a| {
        change(a, "n1", |n1| (n1.running, n1.avail) = (Some(true), Some("up".into())));
    });
    book.start("start on n2, up on n1", &here("n2"), &plain, |a| {
        change(a, "n1", |n1| (n1.running, n1.avail) = (Some(true), Some("up".into())));
    });
    book.start("start on n2, n1 is starting it", &here("n2"), &plain, |a| change(a, "n1", |n1| n1.busy = Some("start".into())));
    let home_again = Holder { handed: true, ..holder(3, "nodes", "n1", "19:05:00") };
    let old_holder = |a: &mut Answers| {
        change(a, "d2", |d2| (d2.busy, d2.epoch, d2.holder) = (Some("boot".into()), 1, Some(holder(1, "d2", "d2", "18:55:00"))));
    };
    let given_back = with("n1", &home_again, State::Replica, Some("19:04:00"));
    book.start("start on n1, which was handed the data, d2 has not heard of it and is starting it", &given_back, &plain, old_holder);
    book.start("takeover typed there", &given_back, &takeover, old_holder);
    book.start("the same start, forced", &given_back, &force, old_holder);
    book.start("the same start, d2 is stopping it", &given_back, &plain, |a| {
        old_holder(a);
        change(a, "d2", |d2| d2.busy = Some("stopapp".into()));
    });
    book.start("start on d1, n1 is starting it", &first(), &plain, |a| change(a, "n1", |n1| n1.busy = Some("start".into())));
    book.start("start on d1, d2 has newer data", &first(), &plain, |a| {
        change(a, "d2", |d2| _ = d2.rids.insert("sync#1".into(), held("18:58:00")));
    });
    book.start("the same, forced", &first(), &force, |a| change(a, "d2", |d2| _ = d2.rids.insert("sync#1".into(), held("18:58:00"))));
    let claim = Promise { epoch: 1, node: "d2".into(), copy: "d2".into(), at: at("19:09:50") };
    book.start("start on d1, d2 is taking over", &first(), &plain, |a| {
        change(a, "n1", |n1| n1.promise = Some(claim.clone()));
        change(a, "d2", |d2| d2.busy = Some("takeover".into()));
    });
    book.start("start on d1, d2 began to take over and is silent", &first(), &plain, |a| {
        change(a, "n1", |n1| n1.promise = Some(claim.clone()));
        silent(a, "d2");
    });
    book.start("takeover on d1, d2 began to take over and is silent", &first(), &takeover, |a| {
        change(a, "n1", |n1| n1.promise = Some(claim.clone()));
        silent(a, "d2");
    });
    for (title, state) in [("in progress", State::InProgress), ("torn", State::Torn), ("none", State::None)] {
        let there = with("d1", &home, state, Some("18:52:00").filter(|_| state == State::InProgress));
        book.start(&format!("start on d1, its data are {title}, n1 is down"), &there, &plain, |_| {});
        book.start(&format!("start on d1, its data are {title}, n1 is silent"), &there, &force, |a| silent(a, "n1"));
    }
    let mut kept = with("d1", &home, State::InProgress, Some("18:52:00"));
    if let Some(Known::Known(replica)) = kept.replicas.get_mut("sync#1") {
        replica.kept = Some("/dev/vg/kept".into());
    }
    book.start("start on d1, in progress, and a snapshot is kept", &kept, &plain, |_| {});
    kept.replicas.clone_from(&with("d1", &home, State::InProgress, Some("18:52:00")).replicas);
    book.start("start on d1, in progress, n1 is silent, d2 has a whole copy", &kept, &plain, |a| {
        silent(a, "n1");
        change(a, "d2", |d2| _ = d2.rids.insert("sync#1".into(), held("18:58:00")));
    });
    let cut = with("n1", &away, State::InProgress, Some("19:02:00"));
    for (title, since) in [("later", "19:20:00"), ("before", "19:00:00")] {
        book.start(&format!("start on n1, in progress, n2, on the same disks, got a whole copy {title}"), &cut, &plain, |a| {
            let mut whole = held("19:05:00");
            whole.held.as_mut().unwrap().since = Some(at(since));
            change(a, "n2", |n2| _ = n2.rids.insert("sync#1".into(), whole));
        });
    }
    let mut strange = first();
    if let Some(Known::Known(replica)) = strange.replicas.get_mut("sync#1") {
        replica.node = "d2".into();
    }
    book.start("start on d1, its file is of d2", &strange, &plain, |_| {});
    let mut lost = with("n1", &away, State::Orphan, None);
    lost.replicas.clear();
    lost.last_run = Some(LastRun { since: Some(at("17:00:00")), until: Some(at("18:58:00")), crashed: false });
    book.start("start on n1, its file of the data is lost", &lost, &plain, |_| {});
    let mut orphan = with("n1", &away, State::Orphan, Some("18:52:00"));
    if let Some(Known::Known(replica)) = orphan.replicas.get_mut("sync#1") {
        replica.written_until = Some(at("18:58:00"));
    }
    book.start("start on n1, an old primary", &orphan, &plain, |_| {});
    book.start("the same, forced", &orphan, &force, |_| {});
    let beside = with("n2", &away, State::Replica, Some("19:02:00"));
    book.start("start on n2, a transfer to n1, on the same disks, was under way", &beside, &plain, |a| {
        let mut broken = held("19:02:00");
        broken.held.as_mut().unwrap().state = Some(State::InProgress);
        change(a, "n1", |n1| _ = n1.rids.insert("sync#1".into(), broken));
    });
    book.start("the same, and a whole copy has come by way of n2 since", &beside, &plain, |a| {
        let mut broken = held("18:52:00");
        broken.held.iter_mut().for_each(|h| (h.state, h.since) = (Some(State::InProgress), Some(at("18:59:59"))));
        change(a, "n1", |n1| _ = n1.rids.insert("sync#1".into(), broken));
    });
    let held_now = |state: State, since: &str| {
        let mut n1 = with("n1", &holder(2, "nodes", "n1", "19:05:00"), state, Some("18:52:00"));
        n1.replicas.get_mut("sync#1").into_iter().for_each(|file| {
            if let Known::Known(file) = file {
                file.since = at(since);
            }
        });
        n1
    };
    // n2 has learned that its copy holds: its data are the holder's, and its file says more
    let unfinished = |a: &mut Answers| {
        let of = Broken { since: at("19:04:00"), from: Some("d1".into()) };
        let broken = Held { state: Some(State::Live), broken: Some(of), ..Held::default() };
        change(a, "n2", |n2| _ = n2.rids.insert("sync#1".into(), Verdict { ok: true, why: None, held: Some(broken) }));
    };
    let title = "start on n1, which took over while a transfer to n2, on the same disks, was under way";
    book.start(title, &held_now(State::Live, "19:05:00"), &plain, unfinished);
    book.start("takeover --abandon d1 there", &held_now(State::Live, "19:05:00"), &abandon("d1", false), unfinished);
    book.start("the same start, forced", &held_now(State::Live, "19:05:00"), &force, unfinished);
    book.start("the same, and a whole copy has come by way of n1 since", &held_now(State::Replica, "19:04:30"), &plain, unfinished);
    book.start("the same, the clock of n2 is an hour ahead", &held_now(State::Replica, "19:04:30"), &plain, |a| {
        unfinished(a);
        let hour = Duration::hours(1);
        change(a, "n2", |n2| {
            n2.clock = Some((at("19:10:00") + hour).to_rfc3339());
            n2.rids.values_mut().filter_map(|v| v.held.as_mut()?.broken.as_mut()).for_each(|b| b.since += hour);
        });
    });
    let mut ran = held_now(State::Live, "19:05:00");
    ran.last_run = Some(LastRun { since: Some(at("19:05:01")), until: Some(at("19:06:00")), crashed: false });
    book.start("the same, and it has run on n1 since", &ran, &plain, unfinished);
    let lost = |handed: bool| with("n2", &Holder { handed, ..holder(2, "nodes", "n1", "19:05:00") }, State::InProgress, Some("18:52:00"));
    let title = "start on n2, a giveback to it broke off, the next one went to n1, on the same disks, which is lost";
    book.start(title, &lost(true), &plain, |a| silent(a, "n1"));
    book.start("the same, n1 took over, as far as n2 knows with what had broken off", &lost(false), &plain, |a| silent(a, "n1"));
    let given = Holder { handed: true, ..away.clone() };
    let mut broken = with("d1", &given, State::InProgress, Some("18:52:00"));
    if let Some(Known::Known(replica)) = broken.replicas.get_mut("sync#1") {
        replica.from = Some("n2".into());
    }
    book.start("start on d1, which did not hear that it holds, and was sent something by n2", &broken, &plain, |_| {});
    book.start("the same, forced", &broken, &force, |_| {});
    let second = with("d2", &away, State::Orphan, Some("18:52:00"));
    book.start("start on d2, which was written, d1 is up elsewhere and silent", &second, &plain, |a| silent(a, "d1"));
    book.start(
        "start on d2, its copy is older than the takeover of d1",
        &with("d2", &home, State::Replica, Some("18:52:00")),
        &plain,
        |a| change(a, "d1", |d1| d1.up_until = Some(at("19:05:00"))),
    );
    let mut stale = with("d2", &away, State::Replica, Some("18:52:00"));
    if let Some(Known::Known(replica)) = stale.replicas.get_mut("sync#1") {
        replica.epoch = 0;
    }
    book.start("the same, and d2 has learned of it", &stale, &plain, |a| change(a, "d1", |d1| d1.up_until = Some(at("19:05:00"))));

    book.start("takeover on d1, n1 is up", &first(), &takeover, |a| {
        change(a, "n1", |n1| (n1.running, n1.avail) = (Some(true), Some("up".into())));
    });
    book.start("takeover on d1, home is silent", &first(), &takeover, |a| ["n1", "n2"].iter().for_each(|n| silent(a, n)));
    book.start("takeover on d2, up on n1 and on d1", &with("d2", &away, State::Replica, Some("19:05:00")), &takeover, |a| {
        ["n1", "d1"].iter().for_each(|n| change(a, n, |peer| (peer.running, peer.avail) = (Some(true), Some("up".into()))));
    });

    let mut split = orphan.clone();
    if let Known::Known(record) = &mut split.record {
        record.rival = Some(holder(1, "nodes", "n1", "19:01:00"));
    }
    book.start("start on n1, both have taken over", &split, &plain, |_| {});
    book.start("takeover --abandon d1 on n1", &split, &abandon("d1", false), |a| change(a, "d1", |d1| d1.running = Some(true)));
    book.start("takeover --abandon d1 on n1, d1 is silent", &split, &abandon("d1", false), |a| silent(a, "d1"));
    book.start("the same, forced", &split, &abandon("d1", true), |a| silent(a, "d1"));
    book.start("takeover --abandon d1 on n1, up on d2", &split, &abandon("d1", false), |a| change(a, "d2", |d2| d2.running = Some(true)));
    book.start("takeover --abandon n2 on n1", &split, &abandon("n2", false), |_| {});
    book.start("takeover --abandon x9 on n1", &split, &abandon("x9", false), |_| {});
    book.start("takeover --abandon n1 on d2, which has no copy", &with("d2", &home, State::None, None), &abandon("n1", false), |_| {});

    let mut unknown = first();
    unknown.record = Known::Unknown("authority.json is damaged".into());
    book.start("start on d1, it does not know who holds, n1 is silent", &unknown, &plain, |a| silent(a, "n1"));
    book.start("takeover on d1, it does not know who holds, n1 is silent", &unknown, &takeover, |a| silent(a, "n1"));
    book.start("start on d1, nobody knows, n1 ran last", &unknown, &plain, run("18:59:00", false));
    book.start("start on d1, it does not know, n1 is taking over", &unknown, &plain, |a| {
        change(a, "n1", |n1| n1.busy = Some("takeover".into()));
    });
    book.start("the same, forced", &unknown, &force, |_| {});
    book.start("start on d1, d2 has forgotten a later epoch", &first(), &plain, |a| {
        change(a, "d2", |d2| (d2.unsure, d2.epoch, d2.holder) = (Some("authority.json is missing".into()), 3, None));
    });

    book.receive("n1 sends to d1, as it always did", &first(), "n1", "nodes", 0);
    book.receive("n1, an old primary, sends to d1", &with("d1", &away, State::Live, None), "n1", "nodes", 0);
    book.receive("d1 sends to n1, an old primary", &orphan, "d1", "d1", 1);
    book.receive("d1 sends to d2, which was written", &second, "d1", "d1", 1);
    book.receive("d1 sends to n1, both have taken over", &split, "d1", "d1", 1);
    book.receive("n1 sends to d1, which does not know", &unknown, "n1", "nodes", 0);
    book.receive("n1 sends to d1, whose file is of another node", &strange, "n1", "nodes", 0);
    book.receive("d2 sends to d1, of the epoch of n1", &first(), "d2", "d2", 0);
    let mut promised = first();
    if let Known::Known(record) = &mut promised.record {
        record.promise = Some(claim.clone());
    }
    book.receive("n1 sends to d1, which has promised d2", &promised, "n1", "nodes", 0);
    promised.now = at("19:12:00");
    book.receive("the same, some minutes later", &promised, "n1", "nodes", 0);

    let nobody = |here: &Here| answers(here, |a| here.copies.nodes().filter(|n| **n != here.node).for_each(|n| silent(a, n)));
    let mut primary = here("n1");
    for (title, here, down) in [
        ("n1, for an hour", &primary, 3600),
        ("n1, for a minute", &primary, 60),
        ("n1, an old primary", &orphan, 60),
        ("n1, in a split", &split, 60),
    ] {
        let answers = nobody(here);
        let view = View { here, answers: &answers, flex: false };
        let said = boot(&view, Some(Duration::seconds(down)), Some(Duration::minutes(15)), true);
        book.page(&format!("boot of {title}, nobody answers"), &standby(said));
    }
    let told = answers(&given_back, old_holder);
    let view = View { here: &given_back, answers: &told, flex: false };
    book.page("boot of n1, d2 has not heard that n1 holds and is starting it", &format!("{:?}", boot(&view, None, None, false)));
    primary.last_run = Some(LastRun { since: Some(at("17:00:00")), until: Some(at("18:40:00")), crashed: true });
    let told = answers(&primary, |a| {
        let mut written = held("18:35:00");
        written.held = written.held.map(|held| Held { state: Some(State::Orphan), written_until: Some(at("18:58:00")), ..held });
        change(a, "d1", |d1| _ = d1.rids.insert("sync#1".into(), written));
    });
    let view = View { here: &primary, answers: &told, flex: false };
    book.page("boot of n1, d1 has data that are newer, and nobody knows of a takeover", &standby(boot(&view, None, None, false)));
    let found = |a: &mut Answers| {
        let mut written = held("18:35:00");
        let now = Some(at("18:58:00"));
        written.held = written.held.map(|held| Held { state: Some(State::Orphan), written_until: now, since: now, ..held });
        change(a, "d1", |d1| _ = d1.rids.insert("sync#1".into(), written));
    };
    let told = answers(&primary, found);
    let view = View { here: &primary, answers: &told, flex: false };
    assert_eq!(boot(&view, None, None, false), Boot::Start, "somebody has had a look at it");
    book.start("start of n1, d1 has found its data written, and nobody knows when", &primary, &plain, found);
    let mut handed = given_back.clone();
    handed.last_run = primary.last_run.clone();
    let told = answers(&handed, |a| {
        let mut written = held("18:35:00");
        written.held = written.held.map(|held| Held { state: Some(State::Orphan), written_until: Some(at("18:58:00")), ..held });
        change(a, "d1", |d1| _ = d1.rids.insert("sync#1".into(), written));
    });
    let view = View { here: &handed, answers: &told, flex: false };
    assert_eq!(boot(&view, None, None, false), Boot::Start, "it was handed all of it since");
    primary.record = Known::Unknown("authority.json is missing".into());
    let answers = nobody(&primary);
    let view = View { here: &primary, answers: &answers, flex: false };
    assert!(matches!(boot(&view, None, None, false), Boot::Wait(_)), "somebody may come who knows");
    book.page("boot of n1, which does not know who holds", &format!("{:?}", boot(&view, None, None, true)));

    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/snapshots");
    insta::with_settings!({ snapshot_path => folder, prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("authority__refusals", book.0);
    });
}
