//! Whole sync actions against a transcript: who sends, who is asked, what is said, what is kept.

use super::*;
use crate::action;
use crate::clock::FixedClock;
use crate::cmd::replay::Replay;
use crate::config::env::EnvFile;
use crate::config::nodeconf::NodeConf;
use crate::log::Memory;
use crate::service::build;
use crate::state::stamp;
use std::sync::Arc;

/// One whose filesystem is up wherever the test runs, and one whose is not.
const UP: &str = "[fs#1]\ntype = proc\ndev = proc\nmnt = /proc\n";
const DOWN: &str = "[fs#1]\ntype = tmpfs\ndev = none\nmnt = /no/such/mount\n";
const SYNC: &str = "[sync#1]\nsrc = /etc/passwd\ndst = /x/\ntarget = nodes drpnodes\n";
#[path = "round_tests.rs"]
mod rounds;

const KNOWN: &str = "{\"version\":1,\"service\":\"known\",\"node\":\"n2\",\"host_mode\":\"TST\"}\n";

struct Bench {
    dir: tempfile::TempDir,
    host: Host,
    service: Service,
    memory: Arc<Memory>,
    replay: Arc<Replay>,
}

impl Bench {
    /// Node n1 of `nodes`, TST, in the middle of the day; `[DEFAULT]` gets `default`.
    fn new(nodes: &str, default: &str, sections: &str, replay: impl FnOnce(&Words) -> Replay) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut host = Host::fake("n1", dir.path());
        host.clock = Arc::new(FixedClock::at("2014-06-06 18:00:00"));
        let replay = Arc::new(replay(&Words(dir.path().display().to_string())));
        host.runner = replay.clone();
        let text = format!("[DEFAULT]\nservice_type = TST\n{nodes}{default}{sections}");
        std::fs::create_dir_all(&host.paths.etc).unwrap();
        std::fs::write(host.paths.env_file("svc1"), &text).unwrap();
        let env = EnvFile::parse(&host.paths.env_file("svc1"), text.as_bytes()).unwrap();
        let service = build::build(&host, "svc1", Arc::new(env)).unwrap();
        Self { dir, host, service, memory: Arc::new(Memory::default()), replay }
    }

    /// Does the action: its lines at INFO and above, and whether it is exit status 0.
    fn run(&self, name: &str, options: &Options) -> (Vec<String>, bool) {
        let log = Logger::service(self.memory.clone(), self.host.clock.clone(), "svc1");
        let done = act(&self.service, &self.host, &log, action::find(name).unwrap(), options);
        let lines = self.memory.take().into_iter().filter(|e| e.level > Level::Debug);
        (lines.map(|e| format!("{} {} {}", e.level.name(), e.logger, e.message)).collect(), done.is_ok())
    }

    fn stamps(&self, rid: &str, node: &str) -> bool {
        stamp::of_node(&self.host.paths.var, node, "svc1", rid).exists()
    }

    fn history(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.dir.path().join("var/svc1/history.jsonl")).unwrap_or_default();
        let entries = text.lines().map(|l| serde_json::from_str::<crate::state::history::Entry>(l).unwrap());
        entries.map(|e| format!("{} {} {} {}", e.action, e.rid, e.peer, e.result)).collect()
    }
}

fn forced() -> Options {
    Options { force: true, ..Options::default() }
}

/// The commands as they are logged.
struct Words(String);

impl Words {
    fn ssh() -> String {
        crate::host::peers::SSH.join(" ")
    }

    fn svcmgr(&self) -> String {
        format!("env OPENSVC_ROOT={0} {0}/bin/svcmgr -s svc1", self.0)
    }

    fn gate(&self, peer: &str) -> String {
        format!("{} {peer} {} gate", Self::ssh(), self.svcmgr())
    }

    fn rsync(&self, rid: &str, options: &str, what: &str) -> String {
        let (ssh, svcmgr) = (Self::ssh(), self.svcmgr());
        let options = if options.is_empty() { String::new() } else { format!("{options} ") };
        format!(
            "rsync -HpogDtrlvx --stats --delete --force --timeout=3600 {options}-e {ssh} --rsync-path={svcmgr} recv --rid '{rid}' --epoch 0 -- rsync {what}"
        )
    }

    fn data(&self, peer: &str) -> String {
        self.rsync("sync#1", "--modify-window=-1", &format!("/etc/passwd root@{peer}:/x/"))
    }

    fn stamps(&self, peer: &str, rid: &str) -> String {
        let var = format!("{}/var/sync", self.0);
        self.rsync(
            "sync#i0",
            "--modify-window=-1 -R --no-implied-dirs",
            &format!("{var}/{peer}/svc1!{rid} {var}/n1/svc1!{rid} root@{peer}:/"),
        )
    }

    fn own_files(&self, peer: &str) -> String {
        self.rsync("sync#i0", "--modify-window=-1 -R --no-implied-dirs --exclude=*.core", &format!("{}/etc/svc1.env root@{peer}:/", self.0))
    }
}

#[test]
fn update_asks_sends_and_remembers() {
    let bench = Bench::new("nodes = n1 n2\n", "", &format!("{UP}{SYNC}"), |w| {
        Replay::default().then(&w.gate("n2"), 0, KNOWN).then(&w.data("n2"), 0, "Number of regular files transferred: 2\n").then(
            &w.stamps("n2", "sync#1"),
            0,
            "",
        )
    });
    let (lines, ok) = bench.run("sync_update", &forced());
    assert!(ok, "{lines:?}");
    assert!(lines[0].starts_with("INFO SVC1.SYNC#1 rsync -HpogDtrlvx"));
    assert!(lines[1].starts_with("INFO SVC1.SYNC#1 n2: 2 files, 0 B in 0."), "{}", lines[1]);
    assert_eq!(lines.len(), 2);
    assert_eq!(bench.replay.faults(), Vec::<String>::new());
    assert!(bench.stamps("sync#1", "n1") && bench.stamps("sync#1", "n2"));
    assert!(stamp::last(&bench.host.paths.var, "svc1", "sync#1").exists());
    assert_eq!(bench.history(), ["syncupdate sync#1 n2 ok"]);
}

#[test]
fn not_my_turn_is_said_and_no_failure() {
    let site = "nodes = n1 n2\n";
    let skip = "INFO SVC1.SYNC#1 skip sync: not in allowed period (['03:59', '05:59'])";
    let not_up = "INFO SVC1.SYNC#1 won't sync this resource for a service not up";
    let flex = "INFO SVC1.SYNC#1 won't sync this resource from a flex non-primary node";
    let drp = "INFO SVC1 won't sync from a node of the recovery site";
    let home = "INFO SVC1.SYNC#1 won't sync this resource: no ip, fs or container tells where the service runs, so only n2 sends (autostart_node, else the first of nodes)";
    let cases: [(&str, &str, &str, bool, Option<&str>); 8] = [
        (site, "", UP, false, Some(skip)),
        (site, "", DOWN, true, Some(not_up)),
        (site, "cluster_type = flex\nflex_primary = n2\n", UP, true, Some(flex)),
        ("nodes = n2\ndrpnodes = n1\n", "", DOWN, true, Some(drp)),
        ("nodes = n1\n", "", UP, true, None),
        (site, "autostart_node = N2\n", "", true, Some(home)),
        ("nodes = n2 n1\n", "", "", true, Some(home)),
        (
            site,
            "",
            "[fs#1]\ntype = proc\ndev = proc\nmnt = /proc\n[fs#2]\ntype = tmpfs\ndev = none\nmnt = /no/such/mount\n",
            true,
            Some("INFO SVC1.SYNC#1 won't sync this resource service in warn status"),
        ),
    ];
    for (nodes, default, fs, force, line) in cases {
        let bench = Bench::new(nodes, default, &format!("{fs}{SYNC}"), |_| Replay::default());
        let (lines, ok) = bench.run("sync_update", &Options { force, ..Options::default() });
        assert!(ok, "{lines:?}");
        assert_eq!(lines.first().map(String::as_str), line);
        assert_eq!(bench.replay.ran(), Vec::<String>::new(), "nobody is asked");
    }
}

#[test]
fn files_that_vanish_are_a_warning() {
    let bench = Bench::new("nodes = n1 n2\n", "", &format!("{UP}{SYNC}"), |w| {
        Replay::default().then(&w.gate("n2"), 0, KNOWN).then(&w.data("n2"), 24, "").then(&w.stamps("n2", "sync#1"), 0, "")
    });
    let (lines, ok) = bench.run("sync_update", &forced());
    assert!(ok && lines[1].starts_with("WARNING SVC1.SYNC#1 files vanished while they were sent to n2"), "{lines:?}");
    assert!(bench.stamps("sync#1", "n2"));
}

#[test]
fn a_stamp_of_a_time_to_come_is_none() {
    let schedule = "sync_period = []\n";
    let bench = Bench::new("nodes = n1 n2\n", "", &format!("{UP}{SYNC}{schedule}"), |w| {
        Replay::default().always(&format!("{} --ask", w.gate("n2")), 0, KNOWN)
    });
    stamp::write(&stamp::of_node(&bench.host.paths.var, "n2", "svc1", "sync#1"), FixedClock::at("2014-06-07 00:00:00").0).unwrap();
    let (lines, _) = bench.run("sync_update", &Options { dry_run: true, ..Options::default() });
    assert_eq!(
        lines[0],
        "WARNING SVC1.SYNC#1 the stamp of the last sync to n2 is of 2014-06-07 00:00:00, which is to come: the clock is wrong now or was then. taken as no stamp"
    );
    assert!(lines.last().unwrap().ends_with("to n2"), "it goes: {lines:?}");
}

#[test]
fn a_selection_without_a_sync_is_an_error() {
    let bench = Bench::new("nodes = n1 n2\n", "", &format!("{UP}{SYNC}"), |_| Replay::default());
    let log = Logger::service(bench.memory.clone(), bench.host.clock.clone(), "svc1");
    let options = Options { rids: vec!["fs#1".into()], ..Options::default() };
    let done = act(&bench.service, &bench.host, &log, action::find("sync_update").unwrap(), &options);
    assert_eq!(done.unwrap_err().to_string(), "nothing to do: none of the selected resources of svc1 is a sync");
}

#[test]
fn peers_are_told_of_the_end_in_the_words_that_are_logged() {
    let bench = Bench::new("nodes = n1 n2\n", "", &format!("{UP}{SYNC}[sync#i0]\ndisable = true\n"), |w| {
        let postsync = format!("{} n2 {} --waitlock 3600 postsync", Words::ssh(), w.svcmgr());
        Replay::default()
            .then(&w.gate("n2"), 0, KNOWN)
            .then(&w.data("n2"), 0, "")
            .then(&w.stamps("n2", "sync#1"), 0, "")
            .then(&postsync, 0, "")
    });
    let (lines, ok) = bench.run("sync_nodes", &forced());
    assert!(ok && lines.last().unwrap().ends_with("/etc/svc1 --waitlock 3600 postsync' on node n2"), "{lines:?}");
    assert_eq!(bench.replay.faults(), Vec::<String>::new());
}

#[test]
fn the_home_of_a_service_of_apps_alone_sends() {
    for default in ["autostart_node = n1\n", ""] {
        let bench = Bench::new("nodes = n1 n2\n", default, SYNC, |w| {
            Replay::default().then(&w.gate("n2"), 0, KNOWN).then(&w.data("n2"), 0, "").then(&w.stamps("n2", "sync#1"), 0, "")
        });
        assert!(bench.run("sync_update", &forced()).1);
        assert_eq!(bench.replay.faults(), Vec::<String>::new());
    }
}

#[test]
fn full_needs_no_schedule_and_knows_no_state_but_up() {
    let bench = Bench::new("nodes = n1 n2\n", "", &format!("{UP}{SYNC}"), |w| {
        Replay::default().then(&w.gate("n2"), 0, KNOWN).then(&w.data("n2"), 0, "").then(&w.stamps("n2", "sync#1"), 0, "")
    });
    assert!(bench.run("sync_full", &Options::default()).1);
    assert_eq!(bench.replay.faults(), Vec::<String>::new());
    let bench = Bench::new("nodes = n1 n2\n", "", &format!("{DOWN}{SYNC}"), |_| Replay::default());
    assert!(bench.run("sync_full", &forced()).1);
    assert_eq!(bench.replay.ran(), Vec::<String>::new());
}

#[test]
fn a_refusal_is_printed_once_and_fails() {
    let why = "svc1 is up on n2 (fs#1): refuse to overwrite its data with those of n1.";
    let answer = KNOWN.replace('}', &format!(",\"rids\":{{\"sync#1\":{{\"ok\":false,\"why\":\"{why}\"}}}}}}"));
    let bench = Bench::new("nodes = n1 n2\n", "", &format!("{UP}{SYNC}"), |w| Replay::default().then(&w.gate("n2"), 0, &answer));
    assert_eq!(bench.run("sync_update", &forced()), (vec![format!("ERROR SVC1.SYNC#1 {why}")], false));
    assert!(!bench.stamps("sync#1", "n2"));
    assert_eq!(bench.history(), ["syncupdate sync#1 n2 refused"]);
    // an optional one is forgiven
    let bench =
        Bench::new("nodes = n1 n2\n", "", &format!("{UP}{SYNC}optional = true\n"), |w| Replay::default().then(&w.gate("n2"), 0, &answer));
    assert!(bench.run("sync_update", &forced()).1);
}

#[test]
fn nodes_for_something_else_get_nothing() {
    let mode = |mode: &str| KNOWN.replace("TST", mode);
    let bench = Bench::new("nodes = n1 n2\n", "", &format!("{UP}{SYNC}"), |w| Replay::default().then(&w.gate("n2"), 0, &mode("DEV")));
    let line = "ERROR SVC1.SYNC#1 incompatible remote node 'n2' host mode: 'DEV' (expected in ['TST'])";
    assert_eq!(bench.run("sync_update", &forced()), (vec![line.to_owned()], false));
    let bench =
        Bench::new("nodes = n1\ndrpnodes = n2\n", "", &format!("{UP}{SYNC}"), |w| Replay::default().then(&w.gate("n2"), 0, &mode("PRD")));
    let line = "ERROR SVC1.SYNC#1 incompatible remote node 'n2' host mode: 'PRD' (expected in ['TMP', 'PRA', 'FOR', 'INT', 'DRP', 'DEV', 'PPRD', 'REC', 'TST'])";
    assert_eq!(bench.run("sync_update", &forced()), (vec![line.to_owned()], false));
}

#[test]
fn whoever_does_not_answer_is_refused() {
    for (code, stdout, stderr, why) in [
        (127, "", "bash: svcmgr: command not found\n", "exit status 127: bash: svcmgr: command not found"),
        (0, "", "", "not a gate message: empty"),
        (0, "{\"version\":2}\n", "", "speaks version 2 of the gate, this is version 1"),
        (0, "hello\n", "", "not a gate message: expected value"),
    ] {
        let bench =
            Bench::new("nodes = n1 n2\n", "", &format!("{UP}{SYNC}"), |w| Replay::default().then_with(&w.gate("n2"), code, stdout, stderr));
        let (lines, ok) = bench.run("sync_update", &forced());
        assert!(!ok && lines.len() == 1, "{lines:?}");
        assert!(lines[0].starts_with("ERROR SVC1 svcmgr does not answer on n2: ") && lines[0].contains(why), "{lines:?}");
    }
}

#[test]
fn a_peer_that_does_not_know_the_service_gets_its_files_first() {
    let unknown = KNOWN.replace("known", "unknown");
    let bench = Bench::new("nodes = n1\ndrpnodes = n2\n", "", &format!("{UP}{SYNC}"), |w| {
        let stamps = w.stamps("n2", "sync#i0");
        let both = stamps.replace("root@n2:/", &format!("{0}/var/sync/n2/svc1!sync#1 {0}/var/sync/n1/svc1!sync#1 root@n2:/", w.0));
        Replay::default()
            .then(&w.gate("n2"), 0, &unknown)
            .then(&w.own_files("n2"), 0, "")
            .then(&w.gate("n2"), 0, KNOWN)
            .then(&w.data("n2"), 0, "")
            .then(&w.gate("n2"), 0, KNOWN) // it confirms
            .then(&both, 0, "")
    });
    let (lines, ok) = bench.run("sync_full", &Options::default());
    assert_eq!(bench.replay.faults(), Vec::<String>::new());
    assert!(ok && lines[0] == "INFO SVC1 n2 has no service svc1 yet: sending its files", "{lines:?}");
    assert_eq!(bench.history(), ["syncfull sync#i0 n2 ok", "syncfull sync#1 n2 ok"]);
    // unless that is forbidden
    let bench = Bench::new("nodes = n1\ndrpnodes = n2\n", "", &format!("{UP}{SYNC}[sync#i0]\ndisable = true\n"), |w| {
        Replay::default().then(&w.gate("n2"), 0, &unknown)
    });
    let (lines, ok) = bench.run("sync_full", &Options::default());
    assert!(!ok && lines[0].contains("sync#i0, which would send it there, is disabled"), "{lines:?}");
    // a node for production does not get a test service
    let bench = Bench::new("nodes = n1\ndrpnodes = n2\n", "", &format!("{UP}{SYNC}"), |w| {
        Replay::default().then(&w.gate("n2"), 0, &unknown.replace("TST", "PRD"))
    });
    assert!(!bench.run("sync_full", &Options::default()).1);
}

#[test]
fn one_peer_that_fails_does_not_take_the_other_along() {
    let bench = Bench::new("nodes = n1 n2 n3\n", "", &format!("{UP}{SYNC}"), |w| {
        Replay::default().always(&w.gate("n2"), 255, "").always(&w.gate("n3"), 0, KNOWN).always(&w.data("n3"), 0, "").always(
            &w.stamps("n3", "sync#1"),
            0,
            "",
        )
    });
    assert!(!bench.run("sync_update", &forced()).1);
    assert!(bench.stamps("sync#1", "n3") && !bench.stamps("sync#1", "n2"));
}

#[test]
fn a_failed_transfer_is_not_stamped() {
    let bench = Bench::new("nodes = n1 n2\n", "", &format!("{UP}{SYNC}"), |w| {
        Replay::default().then(&w.gate("n2"), 0, KNOWN).then_with(&w.data("n2"), 12, "", "rsync: full\n")
    });
    let (lines, ok) = bench.run("sync_update", &forced());
    assert!(!ok);
    assert_eq!(
        lines[1..],
        [
            "ERROR SVC1.SYNC#1 stderr:\nrsync: full\n".to_owned(),
            "ERROR SVC1.SYNC#1 node n2 synchronization failed (['/etc/passwd'] => root@n2:/x/)\nrsync: full".to_owned()
        ]
    );
    assert!(!bench.stamps("sync#1", "n2") && !bench.stamps("sync#1", "n1"));
    assert_eq!(bench.replay.faults(), Vec::<String>::new(), "and nothing is pushed");
}

#[test]
fn triggers_stand_around_and_a_blocking_one_forbids() {
    let triggers = "pre_syncupdate = /bin/pre x\npost_syncupdate = /bin/post\nblocking_pre_sync = /bin/may\n";
    let bench = Bench::new("nodes = n1 n2\n", "", &format!("{UP}{SYNC}{triggers}"), |w| {
        Replay::default()
            .then(&w.gate("n2"), 0, KNOWN)
            .then("/bin/pre x", 1, "")
            .then("/bin/may", 0, "")
            .then(&w.data("n2"), 0, "")
            .then(&w.stamps("n2", "sync#1"), 0, "")
            .then("/bin/post", 0, "")
    });
    assert!(bench.run("sync_update", &forced()).1);
    assert_eq!(bench.replay.faults(), Vec::<String>::new());
    let bench = Bench::new("nodes = n1 n2\n", "", &format!("{UP}{SYNC}blocking_pre_sync = /bin/may\n"), |w| {
        Replay::default().then(&w.gate("n2"), 0, KNOWN).then("/bin/may", 1, "")
    });
    let (lines, ok) = bench.run("sync_update", &forced());
    assert!(!ok && lines.last().unwrap().contains("blocking_pre_sync of sync#1 failed"), "{lines:?}");
    assert_eq!(bench.replay.faults(), Vec::<String>::new());
}

#[test]
fn a_dry_run_asks_and_sends_nothing() {
    let bench =
        Bench::new("nodes = n1 n2\n", "", &format!("{UP}{SYNC}"), |w| Replay::default().then(&format!("{} --ask", w.gate("n2")), 0, KNOWN));
    let (lines, ok) = bench.run("sync_update", &Options { dry_run: true, ..forced() });
    assert_eq!((lines, ok), (vec!["INFO SVC1.SYNC#1 syncupdate rsync /etc/passwd to drpnodes, nodes to n2".to_owned()], true));
    assert_eq!(bench.history(), Vec::<String>::new());
}

#[test]
fn a_production_service_elsewhere_sends_nothing() {
    let bench = Bench::new("nodes = n1 n2\n", "", &format!("{UP}{SYNC}").replace("TST", "PRD"), |_| Replay::default());
    let mut service = bench.service;
    service.service_type = "PRD".into();
    let bench = Bench { service, ..bench };
    let line = "INFO SVC1.SYNC#1 won't sync a PRD service running on a !PRD node";
    assert_eq!(bench.run("sync_update", &forced()), (vec![line.to_owned()], false));
    assert_eq!(bench.replay.ran(), Vec::<String>::new());
}

#[test]
fn another_user_on_the_peer_works_through_sudo() {
    let conf = NodeConf::parse("node.conf".as_ref(), b"[node]\nruser = opc\n").unwrap();
    let peers = crate::host::peers::Peers::new(&conf);
    assert_eq!(peers.login("n2"), "opc@n2");
    let paths = crate::host::paths::Paths::find(None, "/usr/bin/svcmgr".into());
    assert_eq!(peers.svcmgr(&paths, "n2"), ["sudo", "svcmgr"]);
}
