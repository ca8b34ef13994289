//! The vg driver against transcripts: states, whose tag it is, what cannot be done.

use super::*;
use crate::clock::FixedClock;
use crate::cmd::replay::Replay;
use crate::config::scope::Scope;
use crate::host::peers::Standing;
use crate::log::{Logger, Memory};
use std::path::Path;
use std::sync::Arc;

const VGS: &str = "vgs --reportformat json -o vg_name,vg_tags,vg_missing_pv_count";
const LVS: &str = "lvs --reportformat json -o vg_name,lv_name,lv_attr,lv_kernel_major,lv_kernel_minor";

/// vg1 as `vgs` tells it.
fn vgs(tags: &str, missing: u32) -> String {
    format!(r#"{{"report":[{{"vg":[{{"vg_name":"vg1","vg_tags":"{tags}","vg_missing_pv_count":"{missing}"}}]}}]}}"#)
}

/// Its volumes as `lvs` tells them, `name attr name attr`.
fn lvs(words: &str) -> String {
    let words: Vec<&str> = words.split(' ').filter(|w| !w.is_empty()).collect();
    let row = |w: &[&str]| {
        format!(r#"{{"vg_name":"vg1","lv_name":"{}","lv_attr":"{}","lv_kernel_major":"4000","lv_kernel_minor":"4000"}}"#, w[0], w[1])
    };
    let rows: Vec<String> = words.chunks(2).map(row).collect();
    format!(r#"{{"report":[{{"lv":[{}]}}]}}"#, rows.join(","))
}

struct Bench {
    host: Host,
    replay: Arc<Replay>,
    memory: Arc<Memory>,
    log: Logger,
    scope: Scope,
    force: bool,
}

impl Bench {
    fn new(replay: Replay) -> Self {
        let replay = Arc::new(replay);
        let memory = Arc::new(Memory::default());
        let log = Logger::service(memory.clone(), Arc::new(FixedClock::at("2014-06-06 18:00:00")), "svc1");
        let host = Host { runner: replay.clone(), ..Host::fake("deb1", Path::new("/nowhere")) };
        let scope = Scope { node: "deb1".into(), nodes: vec!["deb1".into(), "deb2".into()], ..Scope::default() };
        Self { host, replay, memory, log, scope, force: false }
    }

    fn heard(self, standing: Standing) -> Self {
        self.host.peers.heard("svc1", "deb2", standing);
        self
    }

    fn cx(&self) -> Cx<'_> {
        Cx { host: &self.host, log: &self.log, service: "svc1", scope: &self.scope, rid: "vg#1", force: self.force }
    }

    fn vg() -> Vg {
        Vg { name: "vg1".into() }
    }

    fn lines(&self) -> Vec<String> {
        self.memory.lines()
    }

    /// All that was to be run has been, and nothing else.
    fn done(self) {
        assert_eq!(self.replay.faults(), Vec::<String>::new());
    }
}

fn seen(tags: &str, missing: u32, volumes: &str) -> Replay {
    Replay::default().then(VGS, 0, &vgs(tags, missing)).then(LVS, 0, &lvs(volumes))
}

fn again(replay: Replay, tags: &str, volumes: &str) -> Replay {
    replay.then(VGS, 0, &vgs(tags, 0)).then(LVS, 0, &lvs(volumes))
}

fn status(replay: Replay) -> (Status, String) {
    let bench = Bench::new(replay);
    let probe = Bench::vg().status(&bench.cx());
    (probe.status, probe.messages.join("; "))
}

#[test]
fn up_when_a_volume_is_active_or_there_is_none() {
    let is = |tags: &str, missing: u32, volumes: &str| status(seen(tags, missing, volumes));
    let (on, off) = ("-wi-a-----", "-wi-------");
    assert_eq!(is("deb1", 0, &format!("a {on} b {on}")), (Status::Up, String::new()));
    assert_eq!(is("", 0, &format!("a {off}")), (Status::Down, String::new()));
    assert_eq!(is("deb2", 0, &format!("a {off}")), (Status::Down, String::new()));
    assert_eq!(is("", 0, ""), (Status::Up, String::new()));
    assert_eq!(is("", 0, &format!("a {on} b {off} c {off} a_osvc_snap1 swi---s---")), (Status::Up, "not active: b, c".into()));
    assert_eq!(is("DEB2,gold", 0, &format!("a {on}")), (Status::Warn, "active here, and has the tag of DEB2".into()));
    assert_eq!(is("", 1, &format!("a {on}")), (Status::Up, "disks not seen: 1".into()));
    assert_eq!(status(Replay::default().then(VGS, 0, r#"{"report":[{"vg":[]}]}"#)), (Status::Down, String::new()));
    assert_eq!(status(Replay::default().missing(VGS)), (Status::Down, String::new()));
    assert_eq!(status(Replay::default().then(VGS, 0, "no json")).0, Status::Warn);
}

#[test]
fn a_start_tags_then_activates_and_leaves_tags_that_are_no_nodes() {
    let replay = seen("gold", 0, "a -wi-------").then("vgchange --addtag @deb1 vg1", 0, "  Volume group \"vg1\" successfully changed\n");
    let replay = again(replay, "gold,deb1", "a -wi-------").then("vgchange -a y vg1", 0, "");
    let bench = Bench::new(again(replay, "gold,deb1", "a -wi-a-----"));
    assert_eq!(Bench::vg().start(&bench.cx()).unwrap(), Done::Changed);
    assert_eq!(bench.lines()[1], "INFO SVC1 output:\n  Volume group \"vg1\" successfully changed\n");
    bench.done();
}

#[test]
fn the_tag_of_another_node_is_taken_over_when_that_one_is_down_vouched_for_or_forced() {
    let cases = [
        (Some(Standing::Down), false, "INFO SVC1 vg1 has the tag of deb2, where svc1 is down: taken over"),
        (
            Some(Standing::Vouched),
            false,
            "WARNING SVC1 vg1 has the tag of deb2, which does not answer, and the cluster manager asks for this start (--cluster): taken over",
        ),
        (
            Some(Standing::Silent("no route".into())),
            true,
            "WARNING SVC1 vg1 has the tag of deb2, which was not heard (no route), with --force: taken over",
        ),
        (None, true, "WARNING SVC1 vg1 has the tag of deb2, which was not asked, with --force: taken over"),
    ];
    for (standing, force, said) in cases {
        let replay =
            seen("gold,deb2", 0, "a -wi-------").then("vgchange --deltag @deb2 vg1", 0, "").then("vgchange --addtag @deb1 vg1", 0, "");
        let replay = again(replay, "gold,deb1", "a -wi-------").then("vgchange -a y vg1", 0, "");
        let mut bench = Bench::new(again(replay, "gold,deb1", "a -wi-a-----"));
        bench.force = force;
        let bench = standing.into_iter().fold(bench, Bench::heard);
        Bench::vg().conflict(&bench.cx()).unwrap();
        assert_eq!(bench.lines(), Vec::<String>::new());
        assert_eq!(Bench::vg().start(&bench.cx()).unwrap(), Done::Changed);
        assert_eq!(bench.lines()[0], said);
        bench.done();
    }
}

#[test]
fn the_tag_of_a_node_that_may_be_using_it_is_left() {
    let active = || Some(Standing::Active("the service is up there".into()));
    let silent = || Some(Standing::Silent("no route".into()));
    let cases = [
        (active(), false, "deb2 answers, and the service is up there: it may be using vg1 at this moment", "on deb2: svcmgr -s svc1 stop "),
        (active(), true, "deb2 answers, and the service is up there: it may be using vg1 at this moment", "on deb2: svcmgr -s svc1 stop "),
        (silent(), false, "deb2 does not say that svc1 is down there (no route)", "on deb1: svcmgr -s svc1 start --force "),
        (None, false, "this action does not ask deb2", "on deb1: svcmgr -s svc1 start "),
    ];
    // active here already, by the system that activates what it finds: that makes it no safer
    for attr in ["-wi-------", "-wi-a-----"] {
        for (standing, force, why, remedy) in cases.clone() {
            let mut bench = Bench::new(seen("deb2", 0, &format!("a {attr}")));
            bench.force = force;
            let bench = standing.into_iter().fold(bench, Bench::heard);
            assert_eq!(Bench::vg().conflict(&bench.cx()).unwrap_err().to_string(), Error::Reported.to_string());
            let said = Bench::vg().start(&bench.cx()).unwrap_err().to_string();
            assert_eq!(bench.lines(), [format!("ERROR SVC1 {said}")]);
            assert!(said.starts_with("vg1 is not activated on deb1: it has the tag of deb2\n  why:      "), "{said}");
            assert!(said.contains(why) && said.contains(remedy), "{said}");
            bench.done();
        }
    }
}

#[test]
fn two_that_tag_at_the_same_time_both_stay_away() {
    let replay = seen("", 0, "a -wi-------").then("vgchange --addtag @deb1 vg1", 0, "");
    let replay = again(replay, "deb2,deb1", "a -wi-------").then("vgchange -a n vg1", 0, "").then("vgchange --deltag @deb1 vg1", 0, "");
    let bench = Bench::new(replay);
    let why = Bench::vg().start(&bench.cx()).unwrap_err().to_string();
    assert!(why.starts_with("vg1 is not activated on deb1: deb2 has tagged it at this moment"), "{why}");
    bench.done();
}

#[test]
fn what_is_up_is_tagged_and_completed_and_not_undone() {
    let bench = Bench::new(seen("deb1", 0, "a -wi-a-----"));
    assert_eq!(Bench::vg().start(&bench.cx()).unwrap(), Done::Already);
    assert_eq!(bench.lines(), ["INFO SVC1 vg1 is already up"]);
    bench.done();

    let bench = Bench::new(seen("", 0, "a -wi-a-----").then("vgchange --addtag @deb1 vg1", 0, "  changed\n"));
    assert_eq!(Bench::vg().start(&bench.cx()).unwrap(), Done::Already);
    assert_eq!(bench.lines().last().unwrap(), "INFO SVC1 vg1 is already up");
    bench.done();

    let replay = seen("deb1", 0, "a -wi-a----- b -wi-------").then_with("vgchange -a y vg1", 5, "", "  b: no\n");
    let bench = Bench::new(again(replay, "deb1", "a -wi-a----- b -wi-------"));
    assert_eq!(Bench::vg().start(&bench.cx()).unwrap(), Done::Already);
    assert_eq!(bench.lines().last().unwrap(), "WARNING SVC1 not active: b");
    bench.done();
}

#[test]
fn a_start_that_fails_leaves_no_tag() {
    let replay = seen("", 0, "a -wi-------").then("vgchange --addtag @deb1 vg1", 0, "");
    let replay = again(replay, "deb1", "a -wi-------").then_with("vgchange -a y vg1", 5, "", "  device-mapper: no\n");
    let replay = again(replay, "deb1", "a -wi-------").then("vgchange -a n vg1", 0, "").then("vgchange --deltag @deb1 vg1", 0, "");
    let bench = Bench::new(replay);
    Bench::vg().start(&bench.cx()).unwrap_err();
    bench.done();

    let why = |replay: Replay| {
        let bench = Bench::new(replay);
        let why = Bench::vg().start(&bench.cx()).unwrap_err().to_string();
        bench.done();
        why
    };
    assert!(why(seen("", 1, "a -wi-----p-")).contains("a disk of it is not seen"));
    assert!(why(Replay::default().then(VGS, 0, r#"{"report":[{"vg":[]}]}"#)).starts_with("there is no volume group vg1 on deb1"));
    assert!(why(Replay::default().then_with(VGS, 5, "", "  locked\n")).starts_with("LVM does not say"));
    let replay = again(seen("deb1", 0, "a -wi-------").then("vgchange -a y vg1", 0, ""), "deb1", "a -wi-------");
    let replay = replay.then("vgchange -a n vg1", 0, "").then("vgchange --deltag @deb1 vg1", 0, "");
    assert!(why(replay).contains("yet no volume of vg1 is active"));
}

#[test]
fn a_stop_takes_the_own_tag_alone_and_is_done_when_nothing_is_active() {
    let replay = seen("gold,deb1", 0, "").then("vgchange --deltag @deb1 vg1", 0, "");
    let bench = Bench::new(replay);
    assert_eq!(Bench::vg().stop(&bench.cx()).unwrap(), Done::Changed);
    bench.done();
    let bench = Bench::new(seen("gold,deb2", 0, "a -wi-------"));
    assert_eq!(Bench::vg().stop(&bench.cx()).unwrap(), Done::Already);
    assert_eq!(bench.lines(), ["INFO SVC1 vg1 is already down"]);
    bench.done();
    let bench = Bench::new(Replay::default().then_with(VGS, 5, "", "  locked\n"));
    assert!(Bench::vg().stop(&bench.cx()).unwrap_err().to_string().starts_with("LVM does not say"));
    bench.done();
}

#[test]
fn a_stop_tries_again_says_what_is_left_and_keeps_the_tag() {
    let vg = Bench::vg();
    let group = |bench: &Bench| vg.look(&bench.cx()).unwrap().unwrap();
    let busy = |replay: Replay| again(replay.then_with("vgchange -a n vg1", 5, "", "  in use\n"), "", "a -wi-ao----");
    // without kpartx, which this machine may have
    let bench = Bench::new(again(busy(seen("", 0, "a -wi-ao----")).then("vgchange -a n vg1", 0, ""), "", "a -wi-------"));
    _ = group(&bench);
    vg.deactivate(&bench.cx()).unwrap();
    bench.done();
    let bench = Bench::new(busy(busy(busy(busy(seen("", 0, "a -wi-ao----"))))));
    _ = group(&bench);
    let why = vg.deactivate(&bench.cx()).unwrap_err().to_string();
    assert!(why.starts_with("failed to stop vg1: still in use: a. vgchange: exit status 5"), "{why}");
    assert!(why.ends_with("svcmgr -s svc1 stop"), "{why}");
    bench.done();
}

#[test]
fn names_that_are_options_or_paths_are_refused() {
    use crate::config::{env::EnvFile, scope::ServiceConfig};
    for (name, good) in [("vg1", true), ("vg-a.b+c_d", true), ("-a", false), ("a b", false), ("/dev/vg1", false)] {
        let file = EnvFile::parse(Path::new("svc1.env"), format!("[vg#1]\nvgname = {name}\n")).unwrap();
        let config = ServiceConfig::new(Arc::new(file), "deb1");
        assert_eq!(build(&config.section("vg#1")).is_ok(), good, "{name}");
    }
}
