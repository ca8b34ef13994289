//! The source side on a machine whose LVM is played: what is run, what is said, what is remembered.

use super::*;
use crate::cmd::{Cmd, End, Output, Runner, Stage};
use crate::config::env::EnvFile;
use crate::config::scope::ServiceConfig;
use crate::host::Host;
use crate::log::{Logger, Memory};
use crate::state::gate::Held;
use crate::state::replica::{self, State};
use crate::status::Status;
use crate::sync::Mode;
use std::path::Path;

/// LVM with one volume, `/dev/VG/LV`, and the programs that are piped.
pub(super) struct Lvm {
    vg: &'static str,
    lv: &'static str,
    mib: Mutex<u64>,
    /// Of the volume: lvs(8).
    attr: Mutex<&'static str>,
    /// Name, uuid, attributes, percent.
    pub(super) snaps: Mutex<Vec<(String, String, String, u32)>>,
    pub(super) ran: Mutex<Vec<String>>,
    /// What a comparison says.
    pub(super) diff: Mutex<String>,
    /// A command that has these words fails, with these on its standard error.
    fails: Mutex<Option<(&'static str, &'static str)>>,
}

impl Lvm {
    fn rows(&self) -> String {
        let row = |name: &str, uuid: &str, attr: &str, origin: &str, percent: &str| {
            let (vg, size) = (self.vg, *self.mib.lock().unwrap() << 20);
            format!(
                r#"{{"vg_name":"{vg}","lv_name":"{name}","lv_uuid":"{uuid}","lv_attr":"{attr}","lv_size":"{size}","origin":"{origin}","data_percent":"{percent}"}}"#
            )
        };
        let mut rows = vec![row(self.lv, "uuid-lv", *self.attr.lock().unwrap(), "", "")];
        let snaps = self.snaps.lock().unwrap();
        rows.extend(snaps.iter().map(|(name, uuid, attr, percent)| row(name, uuid, attr, self.lv, &percent.to_string())));
        format!(r#"{{"report":[{{"lv":[{}]}}]}}"#, rows.join(","))
    }

    fn stdout(&self, argv: &[&str], line: &str) -> String {
        let mut snaps = self.snaps.lock().unwrap();
        let made = self.ran.lock().unwrap().iter().filter(|l| l.starts_with("lvcreate")).count();
        let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        match argv {
            ["lvs", ..] => {
                drop(snaps);
                self.rows()
            }
            ["lvcreate", "-s", "-n", snap, ..] => {
                snaps.push(((*snap).to_owned(), format!("uuid-{made}"), "swi-a-s---".into(), 0));
                format!("  Logical volume \"{snap}\" created\n")
            }
            ["lvremove", "-f", device] => {
                snaps.retain(|s| s.0 != name(device));
                format!("  Logical volume \"{}\" successfully removed\n", name(device))
            }
            ["lvrename", vg, from, to] => {
                snaps.iter_mut().filter(|s| s.0 == *from).for_each(|s| s.0 = (*to).to_owned());
                format!("  Renamed \"{from}\" to \"{to}\" in volume group \"{vg}\"\n")
            }
            [_, "--note", set, ..] => {
                std::fs::write(set, "set").unwrap();
                String::new()
            }
            _ if line.contains("--diff") => self.diff.lock().unwrap().clone(),
            _ if line.contains("--merge") => r#"{"chunk_size":4096,"chunks":107,"bytes":438272,"bytes_total":440000}"#.into(),
            _ => String::new(),
        }
    }
}

impl Runner for Lvm {
    fn run(&self, cmd: &Cmd) -> Output {
        let line = cmd.line();
        self.ran.lock().unwrap().push(line.clone());
        let fails = self.fails.lock().unwrap().filter(|(words, _)| line.contains(words));
        let (end, stderr) = fails.map_or((End::Exited(0), ""), |(_, why)| (End::Exited(1), why));
        let stages = vec![Stage { argv: cmd.argv.clone(), end: end.clone(), stderr: stderr.into() }];
        if end != End::Exited(0) {
            return Output { stages, stdout: Vec::new() };
        }
        let argv: Vec<&str> = cmd.argv.iter().map(String::as_str).collect();
        Output { stages, stdout: self.stdout(&argv, &line).into_bytes() }
    }
}

/// A node that sends.
pub(super) struct Bench {
    dir: tempfile::TempDir,
    pub(super) host: Host,
    pub(super) lvm: Arc<Lvm>,
    config: ServiceConfig,
    memory: Arc<Memory>,
    log: Logger,
}

const TUTORIAL: &str = "[DEFAULT]\nnodes = deb1\ndrpnodes = deb2\n[sync#2]\ntype = dds\nsrc = /dev/mapper/vglocaldeb1-lvbusyboxdata\n\
                        dst = /dev/mapper/vglocaldeb2-lvbusyboxdata\ntarget = drpnodes\n";
pub(super) const TWO: &str = "[DEFAULT]\nnodes = deb1\ndrpnodes = deb2 deb3\n[sync#2]\ntype = dds\nsrc = /dev/vg/data\ndst = /dev/vg2/data\n\
                   dst@deb3 = /srv/data.img\ntarget = drpnodes\n";

impl Bench {
    pub(super) fn new(text: &str, vg: &'static str, lv: &'static str, mib: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut host = Host::fake("deb1", dir.path());
        std::fs::create_dir_all(dir.path().join("bin")).unwrap();
        std::fs::write(dir.path().join("bin/dds"), "").unwrap();
        let (snaps, ran, diff, fails) = (Mutex::default(), Mutex::default(), Mutex::default(), Mutex::default());
        let lvm = Arc::new(Lvm { vg, lv, mib: Mutex::new(mib), attr: Mutex::new("owi-aos---"), snaps, ran, diff, fails });
        host.runner = lvm.clone();
        host.peers = crate::host::peers::Peers::plain(vec!["ssh".into()]);
        let env = EnvFile::parse(&dir.path().join("etc/svc1.env"), text.as_bytes()).unwrap();
        let memory = Arc::new(Memory::default());
        let log = Logger::service(memory.clone(), host.clock.clone(), "svc1").child("sync#2");
        Self { config: ServiceConfig::new(Arc::new(env), "deb1"), dir, host, lvm, memory, log }
    }

    pub(super) fn config(&self) -> &ServiceConfig {
        &self.config
    }

    pub(super) fn cx(&self) -> Cx<'_> {
        Cx { host: &self.host, log: &self.log, service: "svc1", scope: &self.config.scope, rid: "sync#2", force: false }
    }

    pub(super) fn sync(&self) -> Box<dyn SyncDriver> {
        self.host.facts.forget(); // another command
        (DRIVER.build)(&self.config.section("sync#2")).map_err(|e| format!("{e:?}")).unwrap()
    }

    /// A round to `peers` with what they have; those that it fails for.
    pub(super) fn round(&self, mode: Mode, peers: &[(&str, Held)]) -> Vec<String> {
        let (sync, cx) = (self.sync(), self.cx());
        sync.ready(&cx).unwrap();
        sync.freeze(&cx).unwrap();
        let image = Image { round: Some("r deb1".into()), ..sync.frozen(&cx).unwrap() };
        let failed = peers.iter().filter_map(|(peer, held)| {
            let job = Job {
                peer: (*peer).into(),
                class: Class::Drpnodes,
                mode,
                epoch: 3,
                held: Some(held.clone()),
                image: image.clone(),
                progress: None,
                content: None,
            };
            let done = sync.send(&cx, &job).and_then(|_| sync.apply(&cx, &job)).and_then(|()| sync.confirmed(&cx, peer));
            done.and_then(|()| sync.stamp(&cx, peer, self.host.clock.now())).err().map(|e| format!("{peer}: {e}"))
        });
        let failed = failed.collect();
        sync.release(&cx);
        failed
    }

    /// What was said since it was asked last.
    pub(super) fn said(&self) -> Vec<String> {
        let events = self.memory.take();
        let lines = events.iter().map(|e| format!("{} {}", e.level.name(), e.message)).filter(|l| !l.starts_with("DEBUG"));
        let root = self.dir.path().display().to_string();
        let mut ssh = crate::host::peers::Peers::plain(vec!["ssh".into()]).connect("deb2").unwrap().ssh;
        ssh.push(String::new());
        lines.map(|l| l.replace(&root, "ROOT").replace(&ssh.join(" "), "ssh ")).collect()
    }

    fn snaps(&self) -> Vec<String> {
        self.lvm.snaps.lock().unwrap().iter().map(|s| format!("{} {}", s.0, s.1)).collect()
    }

    pub(super) fn var(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.host.paths.var.join(name)).ok()
    }
}

pub(super) fn held(state: State, id: Option<&str>) -> Held {
    Held { state: Some(state), image: Image { id: id.map(str::to_owned), ..Image::default() }, ..Held::default() }
}

fn snapshot(name: &str, lines: &[String]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("snapshots");
    insta::with_settings!({ snapshot_path => folder, prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(format!("dds_source__{name}"), lines.join("\n"));
    });
}

#[test]
fn the_tutorial() {
    let bench = Bench::new(TUTORIAL, "vglocaldeb1", "lvbusyboxdata", 1024);
    let none: Vec<String> = Vec::new();
    assert_eq!(bench.round(Mode::Full, &[("deb2", held(State::None, None))]), none);
    assert_eq!(bench.snaps(), ["lvbusyboxdata_osvc_snap1 uuid-1"]);
    assert_eq!(bench.var("svc1_sync#2_dds_state").unwrap(), "2014-06-06 18:00:00.000000;uuid-1\n");
    let mut said = bench.said();
    assert_eq!(bench.round(Mode::Update, &[("deb2", held(State::Replica, Some("uuid-1")))]), none);
    assert_eq!(bench.snaps(), ["lvbusyboxdata_osvc_snap1 uuid-2"]);
    said.push("---".into());
    said.extend(bench.said());
    snapshot("tutorial", &said);
    let sync = bench.sync();
    assert_eq!(sync.label(), "dds of /dev/mapper/vglocaldeb1-lvbusyboxdata to ['drpnodes']");
    let view = View { avail_without_app: Status::Up, avail: Status::Up, flex: false };
    assert_eq!(sync.status(&bench.cx(), &view).status, Status::Up);
    // the service is stopped: its disk group is not active
    let dark = |volume: &'static str, snapshot: &str| {
        *bench.lvm.attr.lock().unwrap() = volume;
        bench.lvm.snaps.lock().unwrap().iter_mut().for_each(|s| s.2 = snapshot.into());
        bench.host.facts.forget();
        bench.sync().status(&bench.cx(), &view).status
    };
    assert_eq!(dark("owi---s---", "swi---s---"), Status::Up);
    assert_eq!(dark("owi-aos---", "swi---s---"), Status::Warn, "only the snapshot");
    assert_eq!(dark("owi-aos---", "swi-a-s---"), Status::Up);
    let question = sync.question(&bench.cx(), "deb2");
    assert_eq!((question.dst.as_deref(), question.size), (Some("/dev/mapper/vglocaldeb2-lvbusyboxdata"), Some(1 << 30)));
    assert_eq!(question.image.as_deref(), Some("uuid-2"));
}

#[test]
fn who_is_away_has_a_list_kept() {
    let bench = Bench::new(TWO, "vg", "data", 64);
    let whole = held(State::None, None);
    assert!(bench.round(Mode::Update, &[("deb2", whole.clone()), ("deb3", whole)]).is_empty());
    for base in ["uuid-1", "uuid-2"] {
        assert!(bench.round(Mode::Update, &[("deb2", held(State::Replica, Some(base)))]).is_empty());
    }
    assert_eq!((bench.var("svc1/sync#2.behind.deb3").as_deref(), bench.var("svc1/sync#2.behind.deb2")), (Some("set"), None));
    bench.said();
    assert!(
        bench
            .round(Mode::Update, &[("deb2", held(State::Replica, Some("uuid-3"))), ("deb3", held(State::Replica, Some("uuid-1")))])
            .is_empty()
    );
    assert_eq!(bench.var("svc1/sync#2.behind.deb3"), None);
    snapshot("away", &bench.said());
}

#[test]
fn what_failed_is_sent_again_and_nothing_else() {
    let bench = Bench::new(TWO, "vg", "data", 64);
    bench.round(Mode::Update, &[("deb2", held(State::None, None))]);
    let before = bench.var("svc1_sync#2_dds_state");
    *bench.lvm.fails.lock().unwrap() = Some(("--expect-base", "sync#2 of svc1 is not received on deb2: it is mounted\nmore"));
    bench.said();
    let failed = bench.round(Mode::Update, &[("deb2", held(State::Replica, Some("uuid-1")))]);
    assert_eq!(
        failed,
        ["deb2: node deb2 synchronization failed (/dev/vg/data => /dev/vg2/data)\nsync#2 of svc1 is not received on deb2: it is mounted"]
    );
    assert_eq!(bench.var("svc1_sync#2_dds_state"), before, "nobody has it");
    *bench.lvm.fails.lock().unwrap() = None;
    assert!(bench.round(Mode::Update, &[("deb2", held(State::Replica, Some("uuid-1")))]).is_empty());
    snapshot("failed", &bench.said());
}

#[test]
fn what_cannot_go_as_changes_is_compared() {
    let bench = Bench::new(TWO, "vg", "data", 64);
    bench.round(Mode::Update, &[("deb2", held(State::None, None)), ("deb3", held(State::None, None))]);
    bench.said();
    let mut lines = Vec::new();
    let mut round = |what: &str, mode, deb2| {
        lines.push(format!("--- {what}"));
        assert_eq!(bench.round(mode, &[("deb2", deb2)]), Vec::<String>::new());
        lines.extend(bench.said());
    };
    round("another image", Mode::Update, held(State::Replica, Some("other")));
    round("torn", Mode::Update, held(State::Torn, None));
    round("resync", Mode::Resync, held(State::Replica, Some("uuid-3")));
    round("orphan", Mode::Update, held(State::Orphan, Some("uuid-2")));
    for snap in bench.lvm.snaps.lock().unwrap().iter_mut() {
        snap.2 = "swi-I-s---".into();
    }
    round("full", Mode::Update, held(State::Replica, Some("uuid-5")));
    snapshot("compared", &lines);
}

#[test]
fn leftovers_and_strangers() {
    let bench = Bench::new(TWO, "vg", "data", 64);
    bench.round(Mode::Update, &[("deb2", held(State::None, None))]);
    // a sender that was killed after its snapshot: it is the next base, as somebody may have it
    bench.lvm.snaps.lock().unwrap().push(("data_osvc_snap2".into(), "left".into(), "swi-a-s---".into(), 1));
    assert!(bench.round(Mode::Update, &[("deb2", held(State::Replica, Some("left")))]).is_empty());
    assert_eq!(bench.snaps(), ["data_osvc_snap1 uuid-2"]);
    let delta = bench.lvm.ran.lock().unwrap().iter().rfind(|l| l.contains("--extract")).cloned().unwrap();
    assert!(delta.contains("--base left --image uuid-2"), "{delta}");
    // a record that is not of this node, or of another base, is not believed
    let chain = bench.var("svc1/sync#2.chain.json").unwrap();
    std::fs::write(bench.host.paths.var.join("svc1/sync#2.chain.json"), chain.replace("uuid-2", "stale")).unwrap();
    assert!(bench.round(Mode::Update, &[("deb2", held(State::Replica, Some("uuid-2")))]).is_empty());
    let delta = bench.lvm.ran.lock().unwrap().iter().rfind(|l| l.contains("--extract")).cloned().unwrap();
    assert!(delta.contains("--cow") && delta.contains("--base uuid-2"), "LVM says that it is the base: {delta}");
    // somebody's own volume with that name
    bench.lvm.snaps.lock().unwrap()[0].2 = "-wi-------".into();
    let e = bench.sync().freeze(&bench.cx()).unwrap_err().to_string();
    assert_eq!(e, "/dev/vg/data_osvc_snap1 is not active. activate it with its volume: lvchange -ay /dev/vg/data");
}

#[test]
fn a_volume_that_was_resized_is_compared() {
    let bench = Bench::new(TWO, "vg", "data", 64);
    bench.round(Mode::Update, &[("deb2", held(State::None, None))]);
    *bench.lvm.mib.lock().unwrap() = 80;
    let update = |base: &str| {
        bench.said();
        assert!(bench.round(Mode::Update, &[("deb2", held(State::Replica, Some(base)))]).is_empty());
        bench.said().iter().any(|l| l.contains("block by block: the volume was resized"))
    };
    // the tables of the snapshots do not have the new part, nor have the lists
    assert_eq!([update("uuid-1"), update("uuid-2")], [true, false]);
}

#[test]
fn names_and_sizes_are_those_of_2014() {
    let volume = |mib: u64| Volume { vg: "vg-a".into(), lv: "lv-b-c".into(), size: mib << 20, active: true };
    assert_eq!([1024, 32, 5].map(|mib| volume(mib).snap_size(None)), ["102.0M", "3.0M", "0.0M"]);
    assert_eq!(volume(1).snap_size(Some(300)), "300M");
    assert_eq!(volume(1).table(), "/dev/mapper/vg--a-lv_b_c_osvc_snap1-cow");
    assert_eq!(volume(1).snap_device(volume::Which::New), "/dev/vg-a/lv_b_c_osvc_snap2");
}

#[test]
fn the_row_tells_who_is_late_and_what_fills_up() {
    let bench = Bench::new(TWO, "vg", "data", 64);
    let row = || {
        let probe = bench.sync().status(&bench.cx(), &View { avail_without_app: Status::Up, avail: Status::Up, flex: false });
        (probe.status, probe.messages)
    };
    assert_eq!(row(), (Status::Warn, vec!["dds state file not found".into()]));
    bench.round(Mode::Update, &[("deb2", held(State::None, None))]);
    assert_eq!(row(), (Status::Warn, vec!["deb3 need update".into()]));
    bench.round(Mode::Update, &[("deb2", held(State::Replica, Some("uuid-1"))), ("deb3", held(State::None, None))]);
    assert_eq!(row(), (Status::Up, Vec::new()));
    let failed = |epoch| {
        let tried = Some(replica::Tried { since: bench.host.clock.now(), epoch });
        let change = |sent: &mut replica::Sent| (sent.tried, sent.why) = (tried, Some("disk full".to_owned()));
        replica::change_sent(&bench.host.paths.var, "svc1", "sync#2", "deb3", change).unwrap();
        row()
    };
    assert_eq!(failed(0), (Status::Up, vec!["last sync to deb3, begun 18:00:00, failed: disk full".into()]));
    assert_eq!(failed(1), (Status::Up, Vec::new()), "authority has changed hands since");
    bench.lvm.snaps.lock().unwrap()[0].3 = 83;
    assert_eq!(row(), (Status::Warn, vec!["snapshot data_osvc_snap1 83 % full".into()]));
    bench.lvm.snaps.lock().unwrap()[0].2 = "swi-I-s---".into();
    assert_eq!(row(), (Status::Warn, vec!["full sync needed: snapshot data_osvc_snap1 is full".into()]));
}

#[test]
fn one_volume_has_one_sender() {
    let text = format!("{TWO}[sync#3]\ntype = dds\nsrc = /dev/vg/data\ntarget = drpnodes\n");
    let bench = Bench::new(&text, "vg", "data", 64);
    let e = bench.sync().ready(&bench.cx()).unwrap_err().to_string();
    assert!(e.starts_with("sync#2 and sync#3 both send /dev/vg/data"), "{e}");
}

#[test]
fn whoever_takes_over_notes_what_is_written() {
    let bench = Bench::new(TWO, "vg", "data", 64);
    let image = Image { id: Some("from-deb9".into()), ..Image::default() };
    moved::gained(&bench.cx(), "/dev/vg/data", None, &image);
    assert_eq!(bench.snaps(), ["data_osvc_snap1 uuid-1"]);
    assert!(bench.round(Mode::Update, &[("deb2", held(State::Replica, Some("from-deb9")))]).is_empty());
    let delta = bench.lvm.ran.lock().unwrap().iter().rfind(|l| l.contains("--extract")).cloned().unwrap();
    assert!(delta.contains("--cow") && delta.contains("--base from-deb9 --image uuid-2"), "{delta}");
    // who is written to again has neither snapshots nor lists
    assert!(bench.var("svc1/sync#2.behind.deb3").is_some());
    moved::make_way(&bench.cx(), "/dev/vg/data").unwrap();
    assert_eq!((bench.snaps(), bench.var("svc1/sync#2.chain.json"), bench.var("svc1/sync#2.behind.deb3")), (Vec::new(), None, None));
}
