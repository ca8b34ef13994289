//! The commands about the service file, as typed: what they print, and that nothing else of the file changes.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_macros,
    missing_docs,
    reason = "a test may panic, and run commands of its own"
)]

#[path = "bed/alone.rs"]
mod alone;

use alone::{Alone, Said};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

const FILE: &str = "\
# made by hand
[DEFAULT]
Nodes = n1 n2 ; both here
drpnodes: n3
service_type = TST
disable@n2 = true

; data
[fs#1]
type = tmpfs
dev = none
dev@drpnodes = other
mnt = /srv/a
optional@n3 = true
tags = one
\ttwo

#[fs#2] later
[ip#1]
ipname = 10.9.0.9
ipdev = eth0
";

fn machine() -> Alone {
    let machine = Alone::new(Path::new(env!("CARGO_BIN_EXE_svcmgr")), "n1");
    fs::write(machine.path("svc1"), FILE).unwrap();
    machine.service("svc1", &machine.path("svc1"));
    machine
}

fn file(machine: &Alone) -> String {
    fs::read_to_string(machine.path("etc/svc1.env")).unwrap()
}

/// Runs one line; it must end with `code`.
fn run(machine: &Alone, line: &str, code: i32) -> Said {
    let said = machine.run(line);
    assert_eq!(said.code, Some(code), "{line}\n{}{}", said.stdout, said.stderr);
    said
}

#[test]
fn an_edit_changes_one_line() {
    for (line, old, new) in [
        ("set --param DEFAULT.nodes --value 'n1 n4'", "Nodes = n1 n2 ;", "Nodes = n1 n4 ;"),
        ("set --param fs#1.mnt --value /srv/b", "/srv/a", "/srv/b"),
        ("set --param fs#1.mnt_opt --value rw", "\ttwo\n", "\ttwo\nmnt_opt = rw\n"),
        ("set --param fs#1.tags --value three", "tags = one\n\ttwo\n", "tags = three\n"),
        ("set --param fs#1.dev@n1.example.com --value x", "\ttwo\n", "\ttwo\ndev@n1.example.com = x\n"),
        ("set --param fs#2.mnt --value /x", "eth0\n", "eth0\n\n[fs#2]\nmnt = /x\n"),
        ("unset --param fs#1.TAGS", "tags = one\n\ttwo\n", ""),
        ("disable --rid fs#1", "\ttwo\n", "\ttwo\ndisable = True\n"),
        ("disable", "disable@n2 = true\n", "disable@n2 = true\ndisable = True\n"),
        ("enable --rid ip", "eth0\n", "eth0\ndisable = False\n"),
        ("delete --rid ip#1", "[ip#1]\nipname = 10.9.0.9\nipdev = eth0\n", ""),
        (
            "update --resource '{\"rtype\":\"fs\",\"type\":\"tmpfs\",\"dev\":\"none\",\"mnt\":\"/b\"}' --resource '{\"rid\":\"ip#1\",\"ipdev\":\"eth1\"}'",
            "ipdev = eth0\n",
            "ipdev = eth1\n\n[fs#2]\ntype = tmpfs\ndev = none\nmnt = /b\n",
        ),
        ("set --param fs#1.mnt --value /srv/a", "", ""),
        ("set --dry-run --param fs#1.mnt --value /srv/b", "", ""),
    ] {
        let machine = machine();
        run(&machine, &format!("svc1 {line}"), 0);
        assert_eq!(file(&machine), FILE.replacen(old, new, 1), "{line}");
    }
}

#[test]
fn links_modes_and_times_survive() {
    let machine = machine();
    let kept = machine.path("elsewhere.env");
    fs::rename(machine.path("etc/svc1.env"), &kept).unwrap();
    fs::set_permissions(&kept, fs::Permissions::from_mode(0o640)).unwrap();
    symlink("../elsewhere.env", machine.path("etc/svc1.env")).unwrap();
    run(&machine, "svc1 set --param fs#1.mnt --value /srv/b", 0);
    assert!(machine.path("etc/svc1.env").is_symlink());
    assert_eq!(fs::read_to_string(&kept).unwrap(), FILE.replace("/srv/a", "/srv/b"));
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o640);
    let said = run(&machine, "svc1 print env mtime; stat -L -c %Y etc/svc1.env", 0);
    let lines: Vec<&str> = said.stdout.lines().collect();
    let (float, seconds): (f64, f64) = (lines[0].parse().unwrap(), lines[1].parse().unwrap());
    assert!((float - seconds).abs() <= 1.0 && lines[0].contains('.'), "{lines:?}");
}

#[test]
fn edits_side_by_side_lose_nothing() {
    let machine = machine();
    run(&machine, "for i in $(seq 20); do svc1 set --param fs#1.k$i --value $i & done; wait", 0);
    let text = file(&machine);
    for i in 1..=20 {
        assert!(text.contains(&format!("\nk{i} = {i}\n")), "k{i} is lost:\n{text}");
    }
}

#[test]
fn a_file_that_cannot_be_written_stays() {
    let machine = machine();
    let said = run(&machine, "mount --bind etc etc; mount -o remount,ro,bind etc; svc1 set --param fs#1.mnt --value /b", 1);
    assert!(said.stderr.contains("/opt/opensvc/etc"), "{}", said.stderr);
    assert_eq!(file(&machine), FILE);
}

#[test]
fn edits_say_what_they_spoil() {
    let machine = machine();
    let said = run(&machine, "svc1 set --param fs#1.mnt_opts --value rw", 0);
    assert!(
        said.stderr.contains("svc1.env:17:1: unknown keyword `mnt_opts` in section fs#1: it has no effect (did you mean `mnt_opt`?)"),
        "{}",
        said.stderr
    );
    let said = run(&machine, "svc1 disable; svc1 enable --rid fs#1", 0);
    assert!(said.stderr.contains("set DEFAULT.disable = True") && said.stderr.contains("set fs#1.disable = False"), "{}", said.stderr);
    assert!(said.stderr.contains("fs#1 stays disabled: DEFAULT.disable disables the whole service"), "{}", said.stderr);
}

#[test]
fn views_of_the_file() {
    let machine = machine();
    let said = run(&machine, "svc1 get --param fs#1.service_type; svc1 get --param fs#1.tags; svc1 get --param fs#1.dev@DRPNODES", 0);
    assert_eq!(said.stdout, "TST\none\ntwo\nother\n");
    let here = "[DEFAULT]\nnodes = n1 n2\ndrpnodes = n3\nservice_type = TST\n\n[fs#1]\ntype = tmpfs\ndev = none\nmnt = /srv/a\ntags = one\n\ttwo\n\n\
                [ip#1]\nipname = 10.9.0.9\nipdev = eth0\n\n";
    assert_eq!(run(&machine, "svc1 print config", 0).stdout, here);
    let there = run(&machine, "svc1 print config --impersonate N3", 0).stdout;
    assert_eq!(there, here.replace("dev = none", "dev = other"), "optional is not scoped");
    let second = run(&machine, "svc1 print config --impersonate n2 --format json", 0).stdout;
    let second: serde_json::Value = serde_json::from_str(&second).unwrap();
    assert_eq!((&second["DEFAULT"]["disable"], &second["fs#1"]["dev"]), (&"true".into(), &"none".into()));
    let stranger = run(&machine, "svc1 print config --impersonate n9", 0);
    assert!(stranger.stderr.contains("n9 is not a node of service svc1"), "{}", stranger.stderr);
    let json = run(&machine, "svc1 json env", 0).stdout;
    assert!(
        json.starts_with("{\"DEFAULT\": {\"nodes\": \"n1 n2\", ") && json.contains("\"tags\": \"one\\ntwo\"") && json.ends_with("}\n"),
        "{json}"
    );
    let findings = run(&machine, "svcmgr -s svc1 validate --format json", 0).stdout;
    let findings: serde_json::Value = serde_json::from_str(&findings).unwrap();
    assert_eq!((&findings["errors"], &findings["warnings"]), (&0.into(), &1.into()), "{findings}");
    assert_eq!((&findings["findings"][0]["line"], &findings["findings"][0]["key"]), (&14.into(), &"optional".into()));
}

#[test]
fn create_makes_a_service() {
    let machine = machine();
    let resource = r#"--resource '{"rtype":"fs","type":"tmpfs","dev":"none","mnt":"/srv/x","bogus":"1"}' --resource '{"app":"A"}'"#;
    let said = run(&machine, &format!("svcmgr -s new create {resource}; new print status"), 0);
    let lines: Vec<&str> = said.stdout.lines().take(6).collect();
    assert_eq!(
        lines,
        [
            "Implicitely add [DEFAULT] mode = hosted",
            "Implicitely add [DEFAULT] service_type = TST",
            "Implicitely add [DEFAULT] nodes = n1",
            "Implicitely add [DEFAULT] autostart_node = n1",
            "Remove unknown keyword 'bogus' from section 'fs'",
            "new",
        ]
    );
    let text = "[DEFAULT]\napp = A\nmode = hosted\nservice_type = TST\nnodes = n1\nautostart_node = n1\n\n\
                [fs#0]\ntype = tmpfs\ndev = none\nmnt = /srv/x\n";
    assert_eq!(fs::read_to_string(machine.path("etc/new.env")).unwrap(), text);
    assert_eq!(fs::read_link(machine.path("etc/new")).unwrap(), Path::new("../bin/svcmgr"));
    assert_eq!(fs::read_link(machine.path("etc/new.d")).unwrap(), Path::new("new.dir"));
    assert!(machine.path("etc/new.dir").is_dir());
    let said = run(&machine, "svcmgr -s new create", 1);
    assert_eq!(said.stderr, "service new already exists\n");
    // a launcher folder from before is used, and a failed creation does not take it away
    fs::create_dir(machine.path("etc/old.dir")).unwrap();
    run(&machine, "svcmgr -s old create --resource '{\"rtype\":\"fs\"}'", 1);
    let left: Vec<_> = fs::read_dir(machine.path("etc"))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .filter(|n| n.to_string_lossy().starts_with("old"))
        .collect();
    assert_eq!(left, ["old.dir"]);
}

#[test]
fn install_copies_the_file_as_it_is() {
    let machine = machine();
    fs::write(machine.path("given.env"), [FILE.as_bytes(), b"# caf\xe9\r\n"].concat()).unwrap();
    run(&machine, "svcmgr -s new install --envfile given.env", 0);
    assert_eq!(fs::read(machine.path("etc/new.env")).unwrap(), fs::read(machine.path("given.env")).unwrap());
    assert!(machine.path("etc/new").is_symlink() && machine.path("etc/new.dir").is_dir());
}

#[test]
fn the_editor_works_on_a_copy() {
    let edit = |machine: &Alone, editor: &str, code: i32| {
        run(machine, &format!("EDITOR={} svc1 edit config", shlex::try_quote(editor).unwrap()), code)
    };
    let kept = |machine: &Alone| -> Vec<String> {
        let names = fs::read_dir(machine.path("tmp")).unwrap().map(|e| e.unwrap().path());
        names.filter(|p| p.extension().is_some_and(|e| e == "env")).map(|p| fs::read_to_string(p).unwrap()).collect()
    };
    let machine = machine();
    assert_eq!(edit(&machine, "true", 0).stdout, "/opt/opensvc/etc/svc1.env: unchanged\n");
    assert_eq!(edit(&machine, "sed -i s,/srv/a,/srv/b,", 0).stdout, "/opt/opensvc/etc/svc1.env: replaced\n");
    let now = FILE.replace("/srv/a", "/srv/b");
    assert_eq!(file(&machine), now);
    edit(&machine, "false", 1);
    assert!(kept(&machine).is_empty());
    // unparsable: the caret, the copy, the old file
    let said = edit(&machine, "sed -i '$ a garbage'", 1).stderr;
    assert!(said.contains("22 | garbage") && said.contains("your copy is kept: /opt/opensvc/tmp/svc1."), "{said}");
    assert_eq!((file(&machine), kept(&machine)), (now.clone(), vec![format!("{now}garbage\n")]));
    // no worse than it was: an old error does not stand in the way
    fs::write(machine.path("etc/svc1.env"), format!("{now}[drbd#1]\nres = r\n")).unwrap();
    edit(&machine, "sed -i s,/srv/b,/srv/c,", 0);
    assert!(file(&machine).contains("/srv/c"));
    // changed under the editor's hands
    let said = edit(&machine, "sh -c 'sed -i s,/srv/c,/srv/d, $0; echo \"# theirs\" >> etc/svc1.env'", 1).stderr;
    assert!(said.contains("changed by somebody else meanwhile") && said.contains("your copy is kept"), "{said}");
    assert!(file(&machine).ends_with("# theirs\n") && file(&machine).contains("/srv/c"));
}

#[test]
fn an_unreadable_file_can_be_mended_in_the_editor() {
    let machine = machine();
    fs::write(machine.path("etc/svc1.env"), format!("{FILE}garbage\n")).unwrap();
    run(&machine, "EDITOR='sed -i /^garbage/d' svc1 edit config", 0);
    assert_eq!(file(&machine), FILE);
}
