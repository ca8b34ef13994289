//! Rounds: what is on record of a peer at each step, what it is told at the end, what counts.

use super::*;
use crate::cmd::{Cmd, Output, Runner};
use crate::state::gate::Question;
use crate::state::replica::{self, Image, Sent};

const ONE: &str = "[sync#1]\nsrc = /etc/passwd\ndst = /x/\ntarget = drpnodes\n";
const TWO: &str = "[sync#1]\nsrc = /etc/passwd\ndst = /x/\ntarget = drpnodes\n[sync#2]\nsrc = /etc/group\ndst = /x/\ntarget = drpnodes\n";

/// Plays a transcript, and looks at the record of what peers have whenever a command is run.
struct Witness {
    replay: Arc<Replay>,
    var: PathBuf,
    seen: Mutex<Vec<String>>,
}

impl Witness {
    fn record(&self) -> String {
        ["sync#1", "sync#2"].map(|rid| format!("{rid}: {}", spoken(&replica::read_sent(&self.var, "svc1", rid)))).join("; ")
    }
}

fn spoken(sent: &BTreeMap<String, Sent>) -> String {
    let one = |(node, s): (&String, &Sent)| {
        let has = s.image.frozen_at.map_or_else(|| "nothing".into(), |at| at.format("%H:%M").to_string());
        let broken = s.broken_since.map_or_else(String::new, |at| format!(" broken {}", at.format("%H:%M")));
        format!("{node} has {has}{broken}{}", s.why.as_ref().map_or_else(String::new, |why| format!(" ({why})")))
    };
    sent.iter().map(one).collect::<Vec<_>>().join(", ")
}

impl Runner for Witness {
    fn run(&self, cmd: &Cmd) -> Output {
        let line = cmd.line();
        let what = match cmd.input.as_ref().and_then(|q| Question::parse(q).ok()) {
            Some(q) if q.done.is_empty() => "asked".to_owned(),
            Some(q) => format!("told that {} arrived", q.done.keys().cloned().collect::<Vec<_>>().join(", ")),
            None if line.contains("'sync#i0'") => "stamps".to_owned(),
            None => line.split_whitespace().find(|w| w.starts_with("/etc/")).unwrap_or_default().to_owned(),
        };
        self.seen.lock().unwrap().push(format!("{what} | {}", self.record()));
        self.replay.run(cmd)
    }
}

/// Of a service with two syncs to n3, whose answers are `replay`: the steps, the lines, whether all went well.
fn play(sections: &str, replay: impl FnOnce(&Words) -> Replay) -> (Bench, Vec<String>, Vec<String>, bool) {
    let mut bench = Bench::new("nodes = n1 n2\ndrpnodes = n3\n", "", &format!("{UP}{sections}"), replay);
    let witness = Arc::new(Witness { replay: bench.replay.clone(), var: bench.host.paths.var.clone(), seen: Mutex::default() });
    bench.host.runner = witness.clone();
    let old = Sent { image: Image { frozen_at: Some(FixedClock::at("2014-06-06 17:00:00").0), ..Image::default() }, ..Sent::default() };
    record(&bench);
    replica::write_sent(&bench.host.paths.var, "svc1", "sync#1", &[("n3".to_owned(), old)].into()).unwrap();
    let (lines, ok) = bench.run("sync_update", &forced());
    let mut seen = std::mem::take(&mut *witness.seen.lock().unwrap());
    seen.push(format!("end | {}", witness.record()));
    (bench, seen, lines, ok)
}

/// The record of authority that is there before any other.
fn record(bench: &Bench) {
    use crate::state::authority::{Holder, Record, write};
    let holder = Holder {
        epoch: 0,
        copy: "nodes".into(),
        node: "n1".into(),
        since: FixedClock::at("2014-06-06 12:00:00").0,
        from: None,
        handed: false,
        partial: false,
        away: None,
    };
    write(&bench.host.paths.var, "svc1", &Record::of(holder)).unwrap();
}

fn passwd(w: &Words) -> String {
    w.data("n3")
}

fn group(w: &Words) -> String {
    w.rsync("sync#2", "--modify-window=-1", "/etc/group root@n3:/x/")
}

fn stamps(w: &Words, rids: &[&str]) -> String {
    let var = format!("{}/var/sync", w.0);
    let files: Vec<String> = rids.iter().map(|rid| format!("{var}/n3/svc1!{rid} {var}/n1/svc1!{rid}")).collect();
    w.rsync("sync#i0", "--modify-window=-1 -R --no-implied-dirs", &format!("{} root@n3:/", files.join(" ")))
}

fn answer(rest: &str) -> String {
    format!("{{\"version\":1,\"service\":\"known\",\"node\":\"n3\",\"host_mode\":\"TST\"{rest}}}\n")
}

#[test]
fn a_peer_is_told_once_what_has_arrived() {
    let (bench, seen, lines, ok) = play(TWO, |w| {
        Replay::default()
            .then(&w.gate("n3"), 0, &answer(""))
            .then(&group(w), 0, "")
            .then(&passwd(w), 0, "")
            .then(&w.gate("n3"), 0, &answer(""))
            .then(&stamps(w, &["sync#2", "sync#1"]), 0, "")
    });
    assert!(ok, "{lines:?}");
    assert_eq!(bench.replay.faults(), Vec::<String>::new());
    let want = [
        "asked | sync#1: n3 has 17:00; sync#2: ",
        "/etc/group | sync#1: n3 has 17:00; sync#2: n3 has nothing broken 18:00",
        "/etc/passwd | sync#1: n3 has 17:00 broken 18:00; sync#2: n3 has nothing broken 18:00",
        "told that sync#2, sync#1 arrived | sync#1: n3 has 17:00 broken 18:00; sync#2: n3 has nothing broken 18:00",
        "stamps | sync#1: n3 has 18:00; sync#2: n3 has 18:00",
        "end | sync#1: n3 has 18:00; sync#2: n3 has 18:00",
    ];
    assert_eq!(seen, want);
    let rounds = ["sync#1", "sync#2"].map(|rid| replica::read_sent(&bench.host.paths.var, "svc1", rid)["n3"].image.round.clone().unwrap());
    assert_eq!(rounds, ["2014-06-06 18:00:00.000000 n1"; 2]);
}

#[test]
fn what_failed_is_not_confirmed_and_the_rest_is() {
    let (bench, seen, lines, ok) = play(TWO, |w| {
        Replay::default()
            .then(&w.gate("n3"), 0, &answer(""))
            .then(&group(w), 0, "")
            .then_with(&passwd(w), 12, "", "rsync: full\nrsync error: x\n")
            .then(&w.gate("n3"), 0, &answer(""))
            .then(&stamps(w, &["sync#2"]), 0, "")
    });
    assert!(!ok, "{lines:?}");
    assert_eq!(bench.replay.faults(), Vec::<String>::new());
    assert!(seen[3].starts_with("told that sync#2 arrived"), "{seen:?}");
    assert_eq!(seen.last().unwrap(), "end | sync#1: n3 has 17:00 broken 18:00 (rsync: full); sync#2: n3 has 18:00");
    assert_eq!(bench.history(), ["syncupdate sync#1 n3 failed", "syncupdate sync#2 n3 ok"]);
}

#[test]
fn what_is_not_confirmed_has_failed() {
    let refused = ",\"rids\":{\"sync#1\":{\"ok\":false,\"why\":\"n3 does not take sync#1 for whole\"}}";
    for (code, said, why) in [
        (255, String::new(), "svcmgr does not answer on n3: "),
        (0, answer(",\"unsure\":\"no room\""), "no room. sync again"),
        (0, answer(refused), "n3 does not take sync#1 for whole. sync again"),
        (0, answer("").replace("known", "unknown"), "n3 has no service svc1. sync again"),
    ] {
        let (bench, seen, lines, ok) =
            play(ONE, |w| Replay::default().then(&w.gate("n3"), 0, &answer("")).then(&passwd(w), 0, "").then(&w.gate("n3"), code, &said));
        assert!(!ok);
        let line = lines.last().unwrap();
        assert!(line.starts_with("ERROR SVC1.SYNC#1 sync#1 was sent, but n3 did not confirm it: ") && line.contains(why), "{line}");
        assert!(seen.last().unwrap().starts_with("end | sync#1: n3 has 17:00 broken 18:00 (sync#1 was sent, but n3 "), "{seen:?}");
        assert!(!bench.stamps("sync#1", "n3") && !bench.stamps("sync#1", "n1"));
        assert_eq!(bench.history(), ["syncupdate sync#1 n3 failed"]);
        assert_eq!(bench.replay.faults(), Vec::<String>::new(), "and no stamp is pushed");
    }
}

#[test]
fn nodes_of_the_same_copy_confirm_nothing() {
    let bench = Bench::new("nodes = n1 n2\ndrpnodes = n3\n", "", &format!("{UP}{SYNC}"), |w| {
        Replay::default().then(&w.gate("n2"), 0, KNOWN).then(&w.data("n2"), 0, "").then(&w.stamps("n2", "sync#1"), 0, "").then(
            &format!("{} n2 {} --waitlock 3600 postsync", Words::ssh(), w.svcmgr()),
            0,
            "",
        )
    });
    let options = Options { rids: vec!["sync#1".into()], ..forced() };
    let (lines, ok) = bench.run("sync_nodes", &options);
    assert!(ok, "{lines:?}");
    assert_eq!(bench.replay.faults(), Vec::<String>::new());
    assert_eq!(replica::read_sent(&bench.host.paths.var, "svc1", "sync#1"), BTreeMap::new());
}

#[test]
fn a_peer_that_has_forgotten_what_it_has_is_not_overwritten_when_that_is_something_else() {
    let run = |witness: &str, action: &str| {
        let bench = Bench::new("nodes = n1 n2\ndrpnodes = n3\n", "", &format!("{UP}{ONE}"), |w| {
            let held = |witness: &str| format!(",\"rids\":{{\"sync#1\":{{\"held\":{{\"state\":\"none\",\"witness\":\"{witness}\"}}}}}}");
            let done = answer(&held("w2"));
            let asked = Replay::default().then(&w.gate("n3"), 0, &answer(&held(witness)));
            asked.then(&passwd(w), 0, "").then(&w.gate("n3"), 0, &done).then(&stamps(w, &["sync#1"]), 0, "")
        });
        record(&bench);
        let image = Image { frozen_at: Some(FixedClock::at("2014-06-06 17:00:00").0), ..Image::default() };
        let old = Sent { image, witness: Some("w1".into()), ..Sent::default() };
        replica::write_sent(&bench.host.paths.var, "svc1", "sync#1", &[("n3".to_owned(), old)].into()).unwrap();
        let (lines, ok) = bench.run(action, &forced());
        let sent = replica::read_sent(&bench.host.paths.var, "svc1", "sync#1")["n3"].witness.clone();
        (lines, ok, sent)
    };
    let (lines, ok, sent) = run("other", "sync_update");
    assert!(!ok && lines[0].contains("n3 has forgotten what it has, and it is not what was sent"), "{lines:?}");
    assert_eq!(sent.as_deref(), Some("w1"));
    for (witness, action) in [("w1", "sync_update"), ("other", "sync_full")] {
        let (lines, ok, sent) = run(witness, action);
        assert!(ok, "{lines:?}");
        assert_eq!(sent.as_deref(), Some("w2"), "what the peer has digested anew");
    }
}
