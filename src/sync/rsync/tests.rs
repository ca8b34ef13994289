//! The rsync driver on a machine of the imagination: labels, status, the guard, snapshots, the command.

use super::*;
use crate::clock::{Clock, FixedClock};
use crate::cmd::replay::Replay;
use crate::config::env::EnvFile;
use crate::config::scope::ServiceConfig;
use crate::host::Host;
use crate::host::facts::Facts;
use crate::log::{Logger, Memory};
use crate::state::stamp;
use crate::status::Status;
use crate::sync::Mode;
use std::path::Path;
use std::sync::Arc;

/// A node, a service file, what was said.
pub(super) struct Bench {
    pub(super) dir: tempfile::TempDir,
    pub(super) host: Host,
    pub(super) config: ServiceConfig,
    memory: Arc<Memory>,
    log: Logger,
}

const NODES: &str = "[DEFAULT]\nnodes = n1 n2\ndrpnodes = n3\n";

impl Bench {
    pub(super) fn new(node: &str, body: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let host = Host::fake(node, dir.path());
        let text = format!("{NODES}{}", body.replace("DIR", &dir.path().display().to_string()));
        let env = EnvFile::parse(&dir.path().join("etc/svc1.env"), text.as_bytes()).unwrap();
        let memory = Arc::new(Memory::default());
        let log = Logger::service(memory.clone(), host.clock.clone(), "svc1");
        Self { config: ServiceConfig::new(Arc::new(env), node), dir, host, memory, log }
    }

    pub(super) fn plays(mut self, replay: &Arc<Replay>) -> Self {
        self.host.runner = replay.clone();
        self
    }

    /// Of this machine these are mounted: target and type.
    pub(super) fn mounts(mut self, mounts: &[(&str, &str)]) -> Self {
        mount(self.dir.path(), mounts);
        self.host.facts = Facts::of_files(self.dir.path());
        self
    }

    pub(super) fn cx<'a>(&'a self, rid: &'a str) -> Cx<'a> {
        Cx { host: &self.host, log: &self.log, service: "svc1", scope: &self.config.scope, rid, force: false }
    }

    fn build(&self) -> std::result::Result<Box<dyn SyncDriver>, Dropped> {
        (DRIVER.build)(&self.config.section("sync#1"))
    }

    pub(super) fn sync(&self) -> Box<dyn SyncDriver> {
        self.build().map_err(|e| format!("{e:?}")).unwrap()
    }

    pub(super) fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }
}

fn mount(folder: &Path, mounts: &[(&str, &str)]) {
    let root = folder.display().to_string();
    let line = |(target, fstype): &(&str, &str)| format!("1 1 8:1 / {} rw - {fstype} /dev/x rw\n", target.replace("DIR", &root));
    std::fs::write(folder.join("mountinfo"), mounts.iter().map(line).collect::<String>()).unwrap();
}

/// A transfer that takes so long that other things are mounted at its end.
struct Meanwhile(std::path::PathBuf, Vec<(&'static str, &'static str)>);

impl crate::cmd::Runner for Meanwhile {
    fn run(&self, cmd: &crate::cmd::Cmd) -> crate::cmd::Output {
        mount(&self.0, &self.1);
        crate::cmd::Output::of(&cmd.argv, 0, "", "")
    }
}

fn view(avail: Status) -> View {
    View { avail_without_app: avail, avail, flex: false }
}

#[test]
fn labels_are_those_of_2014() {
    let bench = Bench::new("n1", "[sync#1]\nsrc = DIR/a* DIR/b/ DIR/none*\ntarget = nodes drpnodes other\ndst = /x\n");
    std::fs::create_dir(bench.path("b")).unwrap();
    for name in ["a2", "a1", ".a"] {
        std::fs::write(bench.path(name), "").unwrap();
    }
    let (a1, a2, b) = (bench.path("a1"), bench.path("a2"), bench.path("b/"));
    assert_eq!(bench.sync().label(), format!("rsync {a1}, {a2}, {b} to drpnodes, nodes"));
    assert_eq!(bench.sync().route(), format!("['{a1}', '{a2}', '{b}'] => /x"));
    assert_eq!(bench.sync().targets(), [Class::Nodes, Class::Drpnodes]);
}

#[test]
fn what_a_section_lacks_is_told() {
    let line = |body: &str| match Bench::new("n1", body).build() {
        Err(Dropped::Error(line)) => line,
        _ => String::new(),
    };
    assert_eq!(line("[sync#1]\ndst = /x\ntarget = nodes\n"), "config file section sync#1 must have src set");
    assert_eq!(line("[sync#1]\nsrc = /x\ndst = /x\n"), "config file section sync#1 must have target set");
    assert!(line("[sync#1]\nsrc = /x /y\ntarget = nodes\n").contains("must have dst set"));
    assert!(line("[sync#1]\nsrc = /x\ntarget = nodes\noptions = --exclude='a\n").contains("no closing '"));
}

#[test]
fn what_would_undo_the_wrap_is_refused() {
    let line =
        |src: &str, dst: &str, more: &str| match Bench::new("n1", &format!("[sync#1]\nsrc = {src}\ndst = {dst}\ntarget = nodes\n{more}"))
            .build()
        {
            Err(Dropped::Error(line)) => line,
            _ => String::new(),
        };
    for (src, dst, more, why) in [
        ("/s/", "/x", "options = -z --dry-run", "sync#1.options: option --dry-run of rsync is not allowed"),
        ("/s/", "/x", "exclude = -e ssh", "set ssh in section [node] of node.conf"),
        ("/s/", "x/y", "", "sync#1.dst: dst x/y must be an absolute path"),
        ("/s", "x/y", "", "must be an absolute path"),
        ("/s/", "/", "", "dst / is a folder of the system"),
        ("/s/*/", "/usr/../etc//", "", "is a folder of the system"),
        ("/a /s/.", "/var/", "", "is a folder of the system"),
        ("/s/", "DIR", "", "is where svcmgr itself is"),
        ("/s/", "DIR/var", "", "is where svcmgr itself is"),
    ] {
        assert!(line(src, dst, more).contains(why), "{src} {dst} {more}: {}", line(src, dst, more));
    }
    for (src, dst, more) in
        [("/etc/a.conf", "/etc/", ""), ("/s/", "/", "options = -R"), ("/s/", "DIR/etc/svc1.dir", ""), ("/s/", "/etc/app", "")]
    {
        assert_eq!(line(src, dst, more), "");
    }
}

#[test]
fn blanks_in_dst_take_an_rsync_that_protects_them() {
    for (version, ok) in [("rsync  version 3.1.3  protocol version 31", false), ("rsync  version 3.2.7  protocol version 31", true)] {
        let bench = Bench::new("n1", "[sync#1]\nsrc = /etc\ndst = /x y\ntarget = nodes\n");
        let bench = bench.plays(&Arc::new(Replay::default().always("rsync --version", 0, version)));
        assert_eq!(bench.sync().ready(&bench.cx("sync#1")).is_ok(), ok, "{version}");
    }
}

#[test]
fn status_rules() {
    let minutes = |n: i64| chrono::Duration::minutes(n);
    let now = FixedClock::at("2014-06-06 18:00:00").now();
    let both = "[sync#1]\nsrc = /etc\ndst = /x\nsync_max_delay = 60\ntarget = nodes drpnodes\n";
    let nodes = "[sync#1]\nsrc = /etc\ndst = /x\nsync_max_delay = 60\ntarget = nodes\n";
    let alone = "[DEFAULT]\nnodes = n1\ndrpnodes =\n[sync#1]\nsrc = /etc\ndst = /x\ntarget = nodes\n";
    // node, section, state, stamps (node, age in minutes), result
    type Case<'a> = (&'a str, &'a str, Status, &'a [(&'a str, i64)], Status, &'a str);
    let cases: &[Case] = &[
        ("n1", both, Status::Up, &[], Status::Down, "n2, n3 need update"),
        ("n1", both, Status::Up, &[("n2", 59), ("n3", 61)], Status::Down, "n3 need update"),
        ("n1", both, Status::Up, &[("n2", 59), ("n3", 60)], Status::Up, ""),
        ("n1", both, Status::Down, &[("n2", 1), ("n3", 1)], Status::Warn, "passive node needs update"),
        ("n2", both, Status::StdbyUp, &[("n2", 1)], Status::Up, ""),
        ("n3", both, Status::Up, &[("n3", 1)], Status::Na, "service up on drp node, sync disabled"),
        ("n3", nodes, Status::Down, &[], Status::Na, "passive node not in sync destination nodes"),
        ("n1", nodes, Status::Up, &[("n2", -4)], Status::Up, ""),
        (
            "n1",
            nodes,
            Status::Up,
            &[("n2", -6)],
            Status::Down,
            "n2 need update its stamp is of a time to come: the clock is wrong now or was then",
        ),
        (
            "n2",
            nodes,
            Status::Down,
            &[("n2", -6)],
            Status::Warn,
            "passive node needs update its stamp is of a time to come: the clock is wrong now or was then",
        ),
        ("n1", alone, Status::Up, &[], Status::Na, "no destination nodes"),
    ];
    for (node, section, state, stamps, status, message) in cases {
        let bench = Bench::new(node, section);
        for (peer, age) in *stamps {
            stamp::write(&stamp::of_node(&bench.host.paths.var, peer, "svc1", "sync#1"), now - minutes(*age)).unwrap();
        }
        let probe = bench.sync().status(&bench.cx("sync#1"), &view(*state));
        assert_eq!((probe.status, probe.messages.join(" ").as_str()), (*status, *message), "{node} {state:?} {stamps:?}");
    }
}

#[test]
fn a_flex_node_that_does_not_send_is_a_receiver() {
    let bench = Bench::new("n2", "flex_primary = n1\n[sync#1]\nsrc = /etc\ndst = /x\ntarget = nodes\n");
    let flex = View { flex: true, ..view(Status::Up) };
    assert_eq!(bench.sync().status(&bench.cx("sync#1"), &flex).messages, ["passive node needs update"]);
}

#[test]
fn an_unmounted_filesystem_is_not_sent() {
    let refused = |src: &str, disable: &str| {
        let bench =
            Bench::new("n1", &format!("[fs#1]\nmnt = DIR/m/\ndev = none\n{disable}[sync#1]\nsrc = {src}\ndst = /x\ntarget = nodes\n"));
        std::fs::create_dir_all(bench.path("m/data")).unwrap();
        std::fs::write(bench.path("other"), "").unwrap();
        std::os::unix::fs::symlink(bench.path("m/data"), bench.path("link")).unwrap();
        let done = bench.sync().ready(&bench.cx("sync#1"));
        done.err().map(|e| e.to_string())
    };
    for src in ["DIR/m", "DIR/m/", "DIR/m/data", "DIR/m/none*", "DIR", "DIR/*", "DIR/link", "DIR/link/"] {
        let why = refused(src, "").unwrap_or_default();
        assert!(why.contains("m (fs#1) is not mounted here"), "{src}: {why}");
    }
    assert_eq!(refused("DIR/other", ""), None);
    // disabled: what lies on it is refused still, what only contains it is not
    assert!(refused("DIR/m/data", "disable = true\n").is_some());
    assert_eq!(refused("DIR", "disable = true\n"), None);
}

#[test]
fn a_source_that_is_not_there_is_told_and_nothing_at_all_is_an_error() {
    let bench = Bench::new("n1", "[sync#1]\nsrc = DIR/a DIR/none*\ndst = /x\ntarget = nodes\n");
    let why = bench.sync().ready(&bench.cx("sync#1")).unwrap_err().to_string();
    assert!(why.starts_with("nothing to send: none of "), "{why}");
    std::fs::write(bench.path("a"), "").unwrap();
    bench.memory.take();
    bench.sync().ready(&bench.cx("sync#1")).unwrap();
    assert_eq!(bench.memory.lines(), [format!("WARNING SVC1 {} does not exist here: skipped", bench.path("none*"))]);
}

#[test]
fn one_source_of_several_that_is_missing_refuses_them_all() {
    let refused = |src: &str| {
        let bench = Bench::new("n1", &format!("[sync#1]\nsrc = {src}\ndst = /x\ntarget = nodes\n"));
        std::fs::create_dir_all(bench.path("a")).unwrap();
        bench.sync().send(&bench.cx("sync#1"), &job()).unwrap_err().to_string()
    };
    for src in ["DIR/a/ DIR/b/", "DIR/b DIR/a", "DIR/a/ DIR/b*/"] {
        assert!(refused(src).contains("b") && refused(src).contains(" does not exist here: nothing is sent"), "{src}: {}", refused(src));
    }
    assert!(refused("DIR/a DIR/none*").contains("synchronization failed"), "a pattern for files may match none");
}

const ON_FS: &str = "[fs#1]\nmnt = DIR/m\ndev = x\n[sync#1]\nsrc = DIR/m/data/\ndst = /x\ntarget = nodes\n";

fn mounted() -> Bench {
    let bench = Bench::new("n1", ON_FS).mounts(&[("/", "ext4"), ("DIR/m", "ext4")]);
    std::fs::create_dir_all(bench.path("m/data")).unwrap();
    bench
}

#[test]
fn what_was_unmounted_since_the_command_began_is_not_sent() {
    let bench = mounted();
    let (sync, cx) = (bench.sync(), bench.cx("sync#1"));
    sync.ready(&cx).unwrap();
    mount(bench.dir.path(), &[("/", "ext4")]);
    let why = sync.send(&cx, &job()).unwrap_err().to_string();
    assert!(why.contains("m (fs#1) is not mounted here"), "{why}");
}

#[test]
fn a_mount_that_changes_during_a_transfer_fails_it() {
    for after in [vec![("/", "ext4")], vec![("/", "ext4"), ("DIR/m", "ext4"), ("DIR/m/data", "tmpfs")]] {
        let mut bench = mounted();
        bench.host.runner = Arc::new(Meanwhile(bench.dir.path().into(), after));
        let why = bench.sync().send(&bench.cx("sync#1"), &job()).unwrap_err().to_string();
        assert!(why.contains("has changed while it was sent, from "), "{why}");
    }
    let mut bench = mounted();
    bench.host.runner = Arc::new(Meanwhile(bench.dir.path().into(), vec![("/", "ext4"), ("DIR/m", "ext4")]));
    bench.sync().send(&bench.cx("sync#1"), &job()).unwrap();
}

#[test]
fn a_source_whose_mount_is_gone_since_the_last_sync_is_not_sent() {
    let mounted: Vec<(&str, &str)> = vec![("/", "ext4"), ("DIR/nas", "nfs4")];
    for (src, later, why) in [
        ("DIR/nas/data/", vec![("/", "ext4")], Some("nas (nfs4) was mounted there, now it is on / (ext4), and the files")),
        ("DIR/nas/d*", vec![("/", "ext4")], Some("nas (nfs4) was mounted there, now it is on / (ext4), and the files")),
        ("DIR/nas/data/", vec![("/", "ext4"), ("DIR/nas", "autofs")], Some("nas (nfs4) was mounted there, now it is on ")),
        ("DIR/nas/data/", mounted.clone(), None),
    ] {
        let mut bench = Bench::new("n1", &format!("[sync#1]\nsrc = {src}\ndst = /x\ntarget = nodes\n")).mounts(&mounted);
        std::fs::create_dir_all(bench.path("nas/data")).unwrap();
        bench.host.runner = Arc::new(Meanwhile(bench.dir.path().into(), mounted.clone()));
        bench.sync().send(&bench.cx("sync#1"), &job()).unwrap();
        mount(bench.dir.path(), &later);
        let refused = |bench: &Bench| bench.sync().ready(&bench.cx("sync#1")).err().map(|e| e.to_string());
        match (refused(&bench), why) {
            (Some(said), Some(why)) => {
                let file = bench.path("var/svc1/sync#1.source.json");
                assert!(said.contains(why) && said.ends_with(&format!("rm '{file}'")), "{said}");
                std::fs::write(&file, "rubbish").unwrap();
                assert!(refused(&bench).unwrap().starts_with("cannot tell whether "));
                std::fs::remove_file(&file).unwrap();
                assert_eq!(refused(&bench), None, "as told");
            }
            (said, why) => assert_eq!(said.as_deref(), why),
        }
    }
}

#[test]
fn what_fstab_mounts_must_be_mounted() {
    let refused = |mounts: &[(&str, &str)]| {
        let bench = Bench::new("n1", "[sync#1]\nsrc = DIR/nas/data/\ndst = /x\ntarget = nodes\n").mounts(mounts);
        std::fs::create_dir_all(bench.path("nas/data")).unwrap();
        std::fs::write(
            bench.path("fstab"),
            format!("# x\nUUID=1 / ext4\n\nnas:/x {} nfs4 defaults 0 0\nnone swap swap\n/dev/z /other xfs\n", bench.path("nas")),
        )
        .unwrap();
        bench.sync().ready(&bench.cx("sync#1")).err().map(|e| e.to_string())
    };
    let why = refused(&[("/", "ext4")]).unwrap();
    assert!(why.contains("is not sent: /etc/fstab has ") && why.contains("/nas, which is not mounted"), "{why}");
    assert_eq!(refused(&[("/", "ext4"), ("DIR/nas", "nfs4")]), None);
}

fn job() -> Job {
    Job {
        peer: "n2".into(),
        class: Class::Nodes,
        mode: Mode::Update,
        epoch: 0,
        held: None,
        image: crate::state::replica::Image::default(),
        progress: None,
        content: None,
    }
}

fn command(bench: &Bench, words: &str) -> String {
    let root = bench.dir.path().display();
    let ssh = crate::host::peers::SSH.join(" ");
    format!(
        "rsync -HpogDtrlvx --stats --delete --force --timeout=3600 --modify-window=-1 {words} -e {ssh} --rsync-path=env OPENSVC_ROOT={root} {root}/bin/svcmgr -s svc1 recv --rid 'sync#1' --epoch 0 -- rsync"
    )
}

#[test]
fn the_command_is_that_of_2014_and_the_receiver_is_svcmgr() {
    let body = "bwlimit = 100\n[sync#1]\nsrc = DIR/a\ndst = /x\ntarget = nodes\noptions = --exclude='b c' -z\nexclude = --exclude=d\n";
    let bench = Bench::new("n1", body);
    std::fs::write(bench.path("a"), "").unwrap();
    let line = format!("{} --bwlimit=100 {} root@n2:/x", command(&bench, "--exclude=b c -z --exclude=d"), bench.path("a"));
    let stats = "Number of regular files transferred: 1\nTotal transferred file size: 5 bytes\nTotal bytes sent: 80\n";
    let replay = Arc::new(Replay::default().then(&line, 0, stats).then_with(&line, 23, "", "rsync: a: denied\nrsync error: some\n"));
    let bench = bench.plays(&replay);
    let sent = bench.sync().send(&bench.cx("sync#1"), &job()).unwrap();
    assert_eq!((sent.summary.as_str(), sent.bytes), ("1 file, 5 B", Some(80)));
    let why = bench.sync().send(&bench.cx("sync#1"), &job()).unwrap_err().to_string();
    assert_eq!(why, format!("node n2 synchronization failed (['{}'] => root@n2:/x)\nrsync: a: denied", bench.path("a")));
    assert_eq!(replay.faults(), Vec::<String>::new());
}

/// On a machine whose root is the filesystem of the service.
fn with_volume(replay: Replay) -> (Bench, Arc<Replay>) {
    let replay = Arc::new(replay);
    let bench = Bench::new("n1", "[fs#1]\nmnt = /\ndev = x\nsnap_size = 64\n[sync#1]\nsrc = /etc\ndst = /x\nsnap = true\ntarget = nodes\n");
    (bench.mounts(&[("/", "ext4")]).plays(&replay), replay)
}

fn root_source() -> (String, String) {
    ("/dev/x".into(), "ext4".into())
}

const LVS: &str = "lvs -o vg_name,lv_name,lv_size --noheadings --units m --nosuffix";

#[test]
fn a_snapshot_is_made_mounted_sent_and_removed() {
    let (dev, fstype) = root_source();
    let test = "lvs --noheadings -o lv_name vg1/osvc_sync_root";
    let (bench, _) = with_volume(Replay::default());
    let at = bench.path("tmp/osvc_sync_vg1_root");
    let replay = Arc::new(
        Replay::default()
            .then(&format!("{LVS} {dev}"), 0, "  vg1 root 1024.00\n")
            .then(test, 5, "")
            .then("lvcreate -A n -s -L64M -n osvc_sync_root vg1/root", 0, "")
            .then(&format!("mount -t {fstype} -o {} /dev/vg1/osvc_sync_root {at}", if fstype == "xfs" { "ro,nouuid" } else { "ro" }), 0, "")
            .then(&format!("{} {at}/./etc root@n2:/x", command(&bench, "").replace("  ", " ")), 0, "")
            .then(&format!("umount {at}"), 0, "")
            .then("lvremove -A n -f /dev/vg1/osvc_sync_root", 5, "")
            .then(test, 0, "")
            .then("lvremove -A n -f /dev/vg1/osvc_sync_root", 0, ""),
    );
    let bench = bench.plays(&replay);
    let (sync, cx) = (bench.sync(), bench.cx("sync#1"));
    assert!(sync.has_snapshot());
    sync.freeze(&cx).unwrap();
    let why = sync.send(&cx, &job()).unwrap_err().to_string();
    assert!(why.contains("/etc is not sent: its snapshot /dev/vg1/osvc_sync_root is not mounted"), "{why}");
    mount(bench.dir.path(), &[("/", "ext4"), ("DIR/tmp/osvc_sync_vg1_root", "ext4")]);
    sync.send(&cx, &job()).unwrap();
    sync.release(&cx);
    sync.release(&cx); // nothing is left to do
    assert_eq!(replay.faults(), Vec::<String>::new());
    assert!(!Path::new(&at).exists());
    assert!(bench.memory.lines().last().unwrap().ends_with("successfully removed snapshot /dev/vg1/osvc_sync_root (attempts: 2)"));
}

#[test]
fn a_failed_snapshot_leaves_nothing() {
    let (dev, fstype) = root_source();
    let (bench, _) = with_volume(Replay::default());
    let at = bench.path("tmp/osvc_sync_vg1_root");
    let options = if fstype == "xfs" { "ro,nouuid" } else { "ro" };
    let replay = Arc::new(
        Replay::default()
            .then(&format!("{LVS} {dev}"), 0, "  vg1 root 1024.00\n")
            // one that a killed sync has left: removed first
            .then("lvs --noheadings -o lv_name vg1/osvc_sync_root", 0, "osvc_sync_root")
            .then("lvremove -A n -f /dev/vg1/osvc_sync_root", 0, "")
            .then("lvcreate -A n -s -L64M -n osvc_sync_root vg1/root", 0, "")
            .then(&format!("mount -t {fstype} -o {options} /dev/vg1/osvc_sync_root {at}"), 32, "")
            .then("lvremove -A n -f /dev/vg1/osvc_sync_root", 0, ""),
    );
    let bench = bench.plays(&replay);
    assert!(bench.sync().freeze(&bench.cx("sync#1")).is_err());
    assert_eq!(replay.faults(), Vec::<String>::new());
}

#[test]
fn two_syncs_of_one_filesystem_share_its_snapshot() {
    let (bench, _) = with_volume(Replay::default());
    let at = bench.path("tmp/osvc_sync_vg1_root");
    let (lvs, test) = (format!("{LVS} /dev/x"), "lvs --noheadings -o lv_name vg1/osvc_sync_root");
    let replay = Arc::new(
        Replay::default()
            .always(&lvs, 0, "  vg1 root 1024.00\n")
            .then(test, 5, "")
            .then("lvcreate -A n -s -L64M -n osvc_sync_root vg1/root", 0, "")
            .then(&format!("mount -t ext4 -o ro /dev/vg1/osvc_sync_root {at}"), 0, "")
            // in use for a moment still; and then it is gone
            .then(&format!("umount {at}"), 32, "")
            .then(&format!("umount {at}"), 0, "")
            .then("lvremove -A n -f /dev/vg1/osvc_sync_root", 5, "")
            .then(test, 5, ""),
    );
    let bench = bench.plays(&replay);
    let (one, two, cx) = (bench.sync(), bench.sync(), bench.cx("sync#1"));
    one.freeze(&cx).unwrap();
    two.freeze(&cx).unwrap();
    mount(bench.dir.path(), &[("/", "ext4"), ("DIR/tmp/osvc_sync_vg1_root", "ext4")]);
    // the sync of another service leaves it alone
    let other = bench.sync();
    let why = other.freeze(&Cx { service: "svc2", ..cx }).unwrap_err().to_string();
    assert!(why.starts_with("can not snap /: a snapshot of vg1/root is in use by process "), "{why}");
    one.release(&cx);
    assert_eq!(replay.ran().iter().filter(|l| l.starts_with("umount")).count(), 0, "the other one sends from it");
    two.release(&cx);
    assert_eq!(replay.faults(), Vec::<String>::new());
}

#[test]
fn what_cannot_be_snapped_is_told() {
    let (dev, _) = root_source();
    let (bench, _) = with_volume(Replay::default().then(&format!("{LVS} {dev}"), 5, ""));
    let why = bench.sync().freeze(&bench.cx("sync#1")).unwrap_err().to_string();
    assert_eq!(why, format!("can not snap {dev}: not a logical volume"));
    let bench = Bench::new("n1", "[sync#1]\nsrc = /etc\ndst = /x\nsnap = true\ntarget = nodes\n");
    let why = bench.sync().freeze(&bench.cx("sync#1")).unwrap_err().to_string();
    assert_eq!(why, "can not find fs resources encapsulating /etc to snap");
}

#[test]
fn internal_syncs_are_numbered_by_what_there_is() {
    let bench =
        Bench::new("n1", "sync_max_delay = 7\n[sync]\nsync_max_delay = 1\n[sync#i0]\noptions = --exclude=/x\n[sync#i1]\noptions = 'x\n");
    let mut faults = Vec::new();
    let all = internal(&bench.config, &bench.host.paths, "n1", &["/etc/extra".into()], &mut faults);
    let labels: Vec<_> = all.iter().map(|(rid, s)| (rid.as_str(), s.label(), s.schedule().max_delay, s.in_any_state())).collect();
    assert_eq!(
        labels[..2],
        [
            ("sync#i0", "rsync svc config to drpnodes, nodes".into(), 1, false),
            ("sync#i1", "rsync system files to drpnodes".into(), 1, true),
        ]
    );
    assert!(all[0].1.internal());
    assert!(faults[0].contains("sync#i1.options: no closing '"), "{faults:?}");
    let single = Bench::new("n1", "[DEFAULT]\nnodes = n1\ndrpnodes =\n");
    assert!(internal(&single.config, &single.host.paths, "n1", &[], &mut faults).is_empty());
}
