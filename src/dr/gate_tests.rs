//! The gate's answers on a machine of the imagination.

use super::*;
use crate::log::Memory;
use crate::state::authority::{self, Holder, Record};
use crate::state::replica::{self, Replica, State};
use std::io::Write;
use std::sync::Arc;

/// Mounted wherever the test runs.
const UP: &str = "[fs#1]\ntype = proc\ndev = proc\nmnt = /proc\n";
/// Mounted nowhere.
const DOWN: &str = "[fs#1]\ntype = tmpfs\ndev = none\nmnt = /no/such/mount\n";

fn ask(env: Option<&str>, rid: &str, detail: Detail) -> Answer {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::fake("n2", dir.path());
    std::fs::create_dir_all(&host.paths.etc).unwrap();
    if let Some(env) = env {
        std::fs::write(host.paths.env_file("svc1"), env).unwrap();
    }
    let log = Logger::service(Arc::new(Memory::default()), host.clock.clone(), "svc1");
    let question = Question { version: VERSION, node: "n1".into(), rids: [(rid.to_owned(), detail)].into(), ..Question::default() };
    answer(&host, &log, "svc1", false, &question)
}

fn to(dst: &str, dstfs: Option<&str>) -> Detail {
    Detail { driver: "rsync".into(), dst: Some(dst.into()), dstfs: dstfs.map(str::to_owned), ..Detail::default() }
}

fn env(default: &str, sections: &str) -> String {
    format!("[DEFAULT]\nservice_type = TST\nnodes = n1 n2\ndrpnodes = n3\n{default}{sections}")
}

#[test]
fn a_service_nobody_has_told_of_is_unknown() {
    let answer = ask(None, "sync#1", to("/x", None));
    assert_eq!((answer.service.as_str(), answer.host_mode.as_deref(), answer.rids.len()), ("unknown", Some("TST"), 0));
}

#[test]
fn data_are_not_written_below_a_running_service() {
    let answer = ask(Some(&env("", UP)), "sync#1", to("/x", None));
    assert_eq!((answer.running, answer.avail.as_deref()), (Some(true), Some("up")));
    let why = answer.refusal("sync#1").unwrap();
    assert!(why.starts_with("svc1 is up on n2 (fs#1): refuse to overwrite its data with those of n1."), "{why}");
    // the service's own files may come, and standby resources are there to be written to
    assert_eq!(ask(Some(&env("", UP)), "sync#i0", to("/", None)).refusal("sync#i0"), None);
    let standby = ask(Some(&env("", &format!("{UP}always_on = nodes\n"))), "sync#1", to("/x", None));
    assert_eq!((standby.running, standby.refusal("sync#1")), (Some(false), None));
}

#[test]
fn what_is_not_known_to_be_down_is_in_the_way() {
    // something else on the mount point: warn
    let odd = "[fs#1]\ntype = tmpfs\ndev = other\nmnt = /proc\n";
    let why = ask(Some(&env("", odd)), "sync#1", to("/x", None)).refusal("sync#1").unwrap();
    assert!(why.starts_with("svc1 is not down on n2 (fs#1 warn): refuse to overwrite"), "{why}");
    let standby = ask(Some(&env("", &format!("{odd}always_on = nodes\n"))), "sync#1", to("/x", None));
    assert_eq!(standby.refusal("sync#1"), None);
}

#[test]
fn an_app_is_asked_where_nothing_else_tells() {
    let app = "[app#1]\nscript = /bin/sh\nstart = 1\ncheck = 1\n";
    let with = |code: i32, more: &str| {
        let dir = tempfile::tempdir().unwrap();
        let mut host = Host::fake("n2", dir.path());
        host.runner = Arc::new(crate::cmd::replay::Replay::default().always("/bin/sh status", code, ""));
        std::fs::create_dir_all(&host.paths.etc).unwrap();
        std::fs::write(host.paths.env_file("svc1"), env("", &format!("{app}{more}"))).unwrap();
        let log = Logger::service(Arc::new(Memory::default()), host.clock.clone(), "svc1");
        let question =
            Question { version: VERSION, node: "n1".into(), rids: [("sync#1".to_owned(), to("/x", None))].into(), ..Question::default() };
        let answer = answer(&host, &log, "svc1", false, &question);
        (answer.running, answer.refusal("sync#1").map(|why| why.split(':').next().unwrap_or_default().to_owned()))
    };
    let standby = format!("{UP}always_on = nodes\n");
    for more in ["", &standby] {
        assert_eq!(with(0, more), (Some(true), Some("svc1 is up on n2 (app#1)".into())));
        assert_eq!(with(2, more), (Some(false), Some("svc1 is not down on n2 (app#1 warn)".into())));
        assert_eq!(with(1, more), (Some(false), None));
    }
    assert_eq!(with(0, DOWN), (Some(false), None), "what it needs is not there");
}

#[test]
fn flex_nodes_of_one_site_run_side_by_side() {
    let flex = "cluster_type = flex\nflex_primary = n1\n";
    assert_eq!(ask(Some(&env(flex, UP)), "sync#1", to("/x", None)).refusal("sync#1"), None);
    // the sender is of the other site: n2 is of nodes, n1 is not
    let other = format!("[DEFAULT]\nservice_type = TST\nnodes = n2\ndrpnodes = n1\n{flex}{UP}");
    assert!(ask(Some(&other), "sync#1", to("/x", None)).refusal("sync#1").is_some());
}

#[test]
fn the_parent_of_an_unmounted_filesystem_is_protected() {
    let why = ask(Some(&env("", DOWN)), "sync#1", to("/x", Some("/no/such"))).refusal("sync#1");
    assert_eq!(why.as_deref(), Some("The destination fs /no/such is not mounted on node n2. refuse to sync /x to protect parent fs"));
    assert_eq!(ask(Some(&env("", DOWN)), "sync#1", to("/x", Some("/proc"))).refusal("sync#1"), None);
    let why = ask(Some(&env("", DOWN)), "sync#1", to("/no/such/mount/data", None)).refusal("sync#1").unwrap();
    assert!(why.contains("/no/such/mount (fs#1), which is not mounted on n2"), "{why}");
}

#[test]
fn who_cannot_tell_refuses() {
    let answer = ask(Some("rubbish\n"), "sync#1", to("/x", None));
    assert!(answer.known());
    assert!(answer.refusal("sync#1").unwrap().starts_with("svc1 cannot be read on n2: "));
    assert_eq!(ask(Some("rubbish\n"), "sync#i0", to("/", None)).refusal("sync#i0"), None, "a new file mends it");
}

#[test]
fn one_line_is_read_though_the_sender_keeps_talking() {
    let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    theirs.write_all(b"{\"version\":1,\n{\"more\"").unwrap();
    let mut ours = ours;
    assert_eq!(read_line(&mut ours).unwrap(), b"{\"version\":1,");
    // and a closed one ends it
    let (mut ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    theirs.write_all(b"half").unwrap();
    drop(theirs);
    assert_eq!(read_line(&mut ours).unwrap(), b"half");
}

#[test]
fn what_is_no_question_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::fake("n2", dir.path());
    let log = Logger::service(Arc::new(Memory::default()), host.clock.clone(), "svc1");
    let (mut ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    theirs.write_all(b"{\"version\":9}\n").unwrap();
    let why = serve(&host, &log, "svc1", false, &mut ours).unwrap_err().to_string();
    assert_eq!(why, "speaks version 9 of the gate, this is version 1");
}

/// What n2 answers to n1 about sync#1, a dds to `image` in a folder of its own; svcmgr has its dds beside it.
fn ask_dds(look: bool, detail: &Detail, before: impl FnOnce(&Host, &str)) -> Answer {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::fake("n2", dir.path());
    let image = dir.path().join("image").display().to_string();
    std::fs::create_dir_all(&host.paths.etc).unwrap();
    std::fs::create_dir_all(dir.path().join("bin")).unwrap();
    std::fs::write(dir.path().join("bin/dds"), "").unwrap();
    let section = format!("[sync#1]\ntype = dds\nsrc = /dev/vg1/data\ndst = {image}\ntarget = nodes\n");
    std::fs::write(host.paths.env_file("svc1"), env("", &section)).unwrap();
    before(&host, &image);
    let log = Logger::service(Arc::new(Memory::default()), host.clock.clone(), "svc1");
    let detail = Detail { dst: detail.dst.clone().map(|dst| dst.replace("IMAGE", &image)), ..detail.clone() };
    let question = Question {
        version: VERSION,
        node: "n1".into(),
        copy: Some("n1".into()),
        rids: [("sync#1".to_owned(), detail)].into(),
        ..Question::default()
    };
    answer(&host, &log, "svc1", look, &question)
}

#[test]
fn a_driver_with_a_receiving_side_is_asked_what_it_could_not_take() {
    let dds = |dst: &str| Detail { driver: "dds".into(), dst: Some(dst.into()), ..Detail::default() };
    let first = ask_dds(false, &dds("IMAGE"), |_, _| {});
    assert_eq!((first.refusal("sync#1"), first.rids["sync#1"].held.as_ref().unwrap().state), (None, Some(State::None)));
    let why = ask_dds(false, &dds("/dev/vg2/x"), |_, _| {}).refusal("sync#1").unwrap();
    assert!(why.contains("it would be written to /dev/vg2/x, and by the service file of n2 its place is "), "{why}");
    let why = ask_dds(false, &Detail { driver: "zfs".into(), ..dds("IMAGE") }, |_, _| {}).refusal("sync#1").unwrap();
    assert!(why.starts_with("sync#1 is no zfs sync of svc1 on n2"), "{why}");
    let why = ask_dds(false, &dds("IMAGE"), |_, image| std::fs::create_dir(image).unwrap()).refusal("sync#1").unwrap();
    assert!(why.contains("neither a block device nor a file"), "{why}");
}

#[test]
fn a_copy_whose_file_is_gone_is_none() {
    let dds = Detail { driver: "dds".into(), dst: Some("IMAGE".into()), ..Detail::default() };
    let copy = |host: &Host, image: &str, there: bool| {
        let file = Replica { dst: Some(image.into()), ..Replica::new("n2", State::Replica, 0, host.clock.now()) };
        replica::write(&host.paths.var, "svc1", "sync#1", &file).unwrap();
        let holder = Holder {
            epoch: 0,
            copy: "n1".into(),
            node: "n1".into(),
            since: host.clock.now(),
            from: None,
            handed: false,
            partial: false,
            away: None,
        };
        authority::write(&host.paths.var, "svc1", &Record::of(holder)).unwrap();
        if there {
            std::fs::write(image, "data").unwrap();
        }
    };
    let state = |look: bool, there: bool| {
        let answer = ask_dds(look, &dds, |host, image| copy(host, image, there));
        assert_eq!(answer.refusal("sync#1"), None);
        answer.rids["sync#1"].held.as_ref().unwrap().state
    };
    assert_eq!(state(false, true), Some(State::Replica));
    assert_eq!(state(true, false), Some(State::Replica), "who looks changes nothing");
    assert_eq!(state(false, false), Some(State::None));
}
