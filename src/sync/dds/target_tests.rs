//! What a receiver of dds refuses, runs, and says, on a machine of the imagination.

use super::*;
use crate::cmd::replay::Replay;
use crate::config::scope::Scope;
use crate::host::Host;
use crate::log::{Logger, Memory};
use std::sync::Arc;

/// A node with the program dds beside svcmgr, and a folder for images.
struct Bench {
    dir: tempfile::TempDir,
    host: Host,
    scope: Scope,
    log: Logger,
}

impl Bench {
    fn new(transcript: impl Fn(&str) -> Replay) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().display().to_string();
        let mut host = Host::fake("deb2", dir.path());
        std::fs::create_dir_all(dir.path().join("bin")).unwrap();
        std::fs::write(dir.path().join("bin/dds"), "").unwrap();
        host.runner = Arc::new(transcript(&root));
        let log = Logger::service(Arc::new(Memory::default()), host.clock.clone(), "svc1");
        Self { dir, host, scope: Scope::default(), log }
    }

    fn plain() -> Self {
        Self::new(|_| Replay::default())
    }

    fn cx(&self) -> Cx<'_> {
        Cx { host: &self.host, log: &self.log, service: "svc1", scope: &self.scope, rid: "sync#1", force: false }
    }

    fn receiver(&self, dst: &str) -> Receiver {
        Receiver { src: "/dev/vg1/data".into(), dst: self.path(dst), store: None, snap_size: None }
    }

    fn path(&self, name: &str) -> String {
        if name.starts_with('/') { name.into() } else { self.dir.path().join(name).display().to_string() }
    }

    fn said(&self, text: &str) -> String {
        text.replace(&self.dir.path().display().to_string(), "ROOT")
    }

    fn receive(&self, dst: &str, line: &str, held: &Held) -> String {
        let words: Vec<String> = line.replace("DST", &self.path(dst)).split(' ').map(str::to_owned).collect();
        match self.receiver(dst).receive(&self.cx(), Side::Target, &words, held) {
            Ok(Receipt { argv, effect }) => self.said(&format!("{}   {effect:?}", argv.join(" "))),
            Err(e) => self.said(&format!("refused: {e}")),
        }
    }
}

fn snapshot(name: &str, lines: &[String]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("snapshots");
    insta::with_settings!({ snapshot_path => folder, prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(name, lines.join("\n"));
    });
}

fn held(state: State, id: Option<&str>) -> Held {
    Held { state: Some(state), image: Image { id: id.map(str::to_owned), ..Image::default() }, ..Held::default() }
}

#[test]
fn what_cannot_be_written_to() {
    let bench = Bench::plain();
    std::fs::write(bench.path("img"), [0; 4096]).unwrap();
    let unfit = |dst: &str, detail: Detail| {
        let why = bench.receiver(dst).unfit(&bench.cx(), Side::Target, &detail);
        why.map_or_else(|| "fit".into(), |why| bench.said(&why))
    };
    let sized = Detail { size: Some(1 << 20), ..Detail::default() };
    let cases = [
        unfit("img", Detail::default()),
        unfit("new.img", sized.clone()),
        unfit("none/new.img", Detail::default()),
        unfit("/dev/svcmgr-none/data", sized),
        unfit("/dev/null", Detail::default()),
        unfit(".", Detail::default()),
        unfit("img", Detail { dst: Some("/dev/vg2/other".into()), ..Detail::default() }),
        unfit("img", Detail { dst: Some(format!("{}/./img", bench.path("bin/.."))), ..Detail::default() }),
    ];
    snapshot("dds_target__unfit", &cases);
    std::fs::remove_file(bench.path("bin/dds")).unwrap();
    if which::which("dds").is_err() {
        let why = unfit("img", Detail::default());
        assert!(why.contains("the program dds is not there, neither beside ROOT/bin/svcmgr nor in PATH"), "{why}");
    }
}

#[test]
fn what_a_sender_gets() {
    let inspect = |root: &str| {
        let head = r#"{"kind":"spool","base":"old","image":"new","frozen_at":"2014-06-06T18:00:00+00:00","note":"r1 deb1","more":1}"#;
        Replay::default().always(&format!("{root}/bin/dds --inspect {root}/var/svc1/spool/sync#1 --json"), 0, head)
    };
    let bench = Bench::new(inspect);
    let (none, torn) = (held(State::None, None), held(State::Torn, None));
    let (old, lost) = (held(State::Replica, Some("old")), held(State::Replica, None));
    let mut lines = Vec::new();
    for (line, held) in [
        ("dds --merge --dest DST -v --create", &none),
        ("dds --merge --dest DST -v", &torn),
        ("dds --merge --dest DST -v", &old),
        ("dds --merge --dest DST -v --expect-base old --hold", &old),
        ("dds --merge --dest DST --json --expect-base other --hold", &old),
        ("dds --merge --dest DST -v --expect-base old --hold", &lost),
        ("dds --merge --dest DST -v --hold", &lost),
        ("dds --merge --dest /dev/vg2/other -v --hold", &old),
        ("dds --recover -v", &old),
        ("dds --recover -v", &held(State::Replica, Some("other"))),
        ("dds --hash --source DST --block 65536", &old),
        ("dds --hash --source /etc/shadow", &old),
        ("cat /etc/shadow", &old),
    ] {
        lines.push(format!("{line}\n    {}", bench.receive("img", line, held)));
    }
    lines.push(bench.receive("/dev/vg1/x", "dds --merge --dest DST --create", &none));
    snapshot("dds_target__received", &lines);
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(bench.path("var/svc1/spool/sync#1")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn no_delta_waits() {
    let bench = Bench::new(|root| {
        let line = format!("{root}/bin/dds --inspect {root}/var/svc1/spool/sync#1 --json");
        Replay::default().then(&line, 1, "").then(&line, 0, "{}").then(&line, 0, "rubbish")
    });
    for _ in 0..3 {
        let why = bench.receive("img", "dds --recover -v", &held(State::Replica, Some("old")));
        assert!(why.starts_with("refused: no delta of sync#1 waits in ROOT/var/svc1/spool/sync#1 on deb2: "), "{why}");
    }
}

#[test]
fn a_broken_apply_is_finished() {
    let image = Image { id: Some("new".into()), ..Image::default() };
    let with = |code: i32, out: &str| {
        let bench = Bench::new(|root| {
            let line = format!("{root}/bin/dds --recover {root}/var/svc1/spool/sync#1 --dest {root}/img --json");
            Replay::default().then(&line, code, out)
        });
        std::fs::write(bench.path("img"), "").unwrap();
        std::fs::create_dir_all(bench.path("var/svc1/spool/sync#1")).unwrap();
        bench.receiver("img").recover(&bench.cx(), Side::Target, &image).map_err(|e| bench.said(&e.to_string()))
    };
    assert_eq!(with(0, r#"{"state":"applied","image":"new","chunks":3}"#), Ok(Recovered::Whole));
    assert_eq!(with(0, r#"{"state":"nothing"}"#), Ok(Recovered::Whole), "it was removed when all of it was on the disk");
    assert_eq!(with(0, r#"{"state":"discarded"}"#), Ok(Recovered::Lost));
    assert!(with(1, "").unwrap_err().starts_with("ROOT/img is still partly old, partly new: "));
    assert!(with(0, "rubbish").is_err());
    let bench = Bench::plain();
    std::fs::write(bench.path("img"), "").unwrap();
    assert_eq!(bench.receiver("img").recover(&bench.cx(), Side::Target, &image).unwrap(), Recovered::Lost, "no spool at all");
    std::fs::create_dir_all(bench.path("var/svc1/spool/sync#1")).unwrap();
    std::fs::remove_file(bench.path("img")).unwrap();
    let later = bench.receiver("img").recover(&bench.cx(), Side::Target, &image).unwrap_err().to_string();
    assert!(later.contains("finished when it is"), "{later}");
}

#[test]
fn the_state_file_of_2014() {
    let bench = Bench::plain();
    let at = stamp::parse("2014-06-06 18:14:23.5");
    let image = |id: Option<&str>| Image { id: id.map(str::to_owned), frozen_at: at, ..Image::default() };
    let file = bench.path("var/svc1_sync#1_dds_state");
    bench.receiver("img").became(&bench.cx(), &image(None)).unwrap();
    assert!(!Path::new(&file).exists(), "an image without a name is none of LVM");
    bench.receiver("img").became(&bench.cx(), &image(Some("L4dP-x"))).unwrap();
    assert_eq!(std::fs::read_to_string(file).unwrap(), "2014-06-06 18:14:23.500000;L4dP-x\n");
}

#[test]
fn what_was_put_beside_is_dropped() {
    let bench = Bench::plain();
    let stored = Receiver { store: Some(bench.path("store").into()), ..bench.receiver("img") };
    assert_eq!(bench.said(&stored.spool(&bench.cx()).display().to_string()), "ROOT/store/svc1/sync#1");
    std::fs::create_dir_all(bench.path("store/svc1/sync#1")).unwrap();
    std::fs::write(bench.path("store/svc1/sync#1/delta"), "x").unwrap();
    stored.discard(&bench.cx(), true).unwrap();
    assert!(!Path::new(&bench.path("store/svc1/sync#1")).exists());
    stored.discard(&bench.cx(), true).unwrap();
}
