//! Broken service files, node.conf files and command lines: the program says what is wrong and where, does not
//! panic, and leaves everything as it was. `tests/bad` holds the inputs, `snapshots/bad_input__*` what is said.
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

use alone::Alone;
use std::fs;
use std::path::{Path, PathBuf};

const GOOD: &str = "\
[DEFAULT]
nodes = n1
service_type = TST
app = x

[fs#1]
type = tmpfs
dev = none
mnt = /srv/good
";

/// Shell functions: `state` is everything that a refused command must leave alone; `try` runs a command and shows
/// what it said, `hush` runs one and shows only its exit status.
const FUNCTIONS: &str = r#"
state() { find etc var -not -path 'var/lock*' -printf '%p %y %l\n' | sort; find etc var -type f -not -path 'var/lock*' | sort | xargs -r sha1sum
          cut -d' ' -f 4- /proc/self/mountinfo; ip -4 -o addr show eth0; ls /srv; }
quiet() { tr -d '\000' | sed -E 's/^[0-9:]{8} //; s,tmp/([a-z0-9-]+)\.[A-Za-z0-9]{6}\.env,tmp/\1.XXXXXX.env,'; }
shown() { ("$@") > tmp/out 2> tmp/err < /dev/null; rc=$?; quiet < tmp/out; quiet < tmp/err | sed 's/^/! /'; echo "rc=$rc"; }
unchanged() { state > tmp/after; cmp -s tmp/before tmp/after || { echo "CHANGED: $*"; diff tmp/before tmp/after; }; }
"#;

#[test]
fn an_unreadable_service_file_is_refused_by_every_command() {
    let commands = [
        "start",
        "stop",
        "restart",
        "boot",
        "startstandby",
        "sync all",
        "print status",
        "json status",
        "print config",
        "json env",
        "get --param DEFAULT.nodes",
        "set --param DEFAULT.app --value x",
        "unset --param DEFAULT.nodes",
        "enable",
        "disable --rid fs#1",
        "delete --rid fs#1",
        "update --resource '{\"rtype\":\"fs\",\"dev\":\"none\",\"mnt\":\"/x\"}'",
    ];
    let mut loops = String::new();
    for command in commands {
        loops.push_str(&format!("svcmgr -s $s {command} > tmp/out 2>&1; rc=$?; cat tmp/out >> tmp/all\n"));
        loops.push_str(&format!(
            "[ $rc = 1 ] && grep -aq \"etc/$s.env:[0-9]\" tmp/out || echo \"NOT REFUSED rc=$rc: {}\"\n",
            command.replace('"', "")
        ));
    }
    let said =
        on_each("unreadable", "env", &format!("shown svcmgr -s $s validate\nsvcmgr -s $s start 2>&1 | quiet\n{loops}unchanged $s\n"));
    check(&said, 25);
    snapshot("unreadable", &said);
}

#[test]
fn a_wrong_service_file_is_explained() {
    let said = on_each(
        "wrong",
        "env",
        "shown svcmgr -s $s validate\nshown svcmgr -s $s print status\nshown svcmgr -s $s start --dry-run\nunchanged $s\n",
    );
    check(&said, 40);
    snapshot("wrong", &said);
}

#[test]
fn a_broken_node_conf_is_refused_by_every_command() {
    let mut loops = String::new();
    for command in
        ["svcmgr -s good print status", "svcmgr -s good start", "svcmgr -s good sync all", "svcmon", "nodemgr get --param node.host_mode"]
    {
        loops.push_str(&format!("{command} > tmp/out 2>&1; rc=$?; cat tmp/out >> tmp/all\n"));
        loops.push_str(&format!("[ $rc = 1 ] && grep -aq 'etc/node.conf:[0-9]' tmp/out || echo 'NOT REFUSED: {command}'\n"));
    }
    let said = on_each("node.conf", "conf", &format!("shown svcmgr -s good print status\n{loops}unchanged node.conf\n"));
    check(&said, 10);
    snapshot("node_conf", &said);
}

#[test]
fn a_wrong_command_line_does_nothing() {
    let machine = machine();
    fs::write(machine.path("bad.env"), "[DEFAULT]\ngarbage\n").unwrap();
    let mut script = format!("{FUNCTIONS}state > tmp/before\n");
    let lines = fs::read_to_string(inputs().join("commands.txt")).unwrap();
    for line in lines.lines() {
        script.push_str(&format!("echo {}\n", shlex::try_quote(&format!("$ {line}")).unwrap()));
        let (env, command) = line.split_at(if line.starts_with("EDITOR") { line.find("svcmgr").unwrap() } else { 0 });
        script.push_str(&format!("shown env {env} {command}\nunchanged command\n"));
    }
    let said = machine.run(&script);
    assert!(said.stderr.is_empty(), "{}", said.stderr);
    check(&said.stdout, 0);
    for block in said.stdout.split("\n$ ") {
        assert!(!block.contains("\nrc=0"), "this succeeded: {block}");
    }
    assert!(lines.lines().count() >= 100);
    snapshot("commands", &said.stdout);
}

/// Runs `script` in a fresh state for each input of a folder; `$s` is its name. What is said, under a headline each.
fn on_each(folder: &str, end: &str, script: &str) -> String {
    let machine = machine();
    // a few at a time: each run has its own bound on time
    files(folder, end).chunks(8).map(|some| on_some(&machine, some, end, script)).collect()
}

fn on_some(machine: &Alone, files: &[PathBuf], end: &str, script: &str) -> String {
    let mut lines = format!("{FUNCTIONS}: > tmp/all\n");
    for file in files {
        let name = file.file_stem().unwrap().to_str().unwrap();
        let target = if end == "conf" { "etc/node.conf".to_owned() } else { format!("etc/{name}.env") };
        fs::copy(file, machine.path(&format!("tmp/{name}"))).unwrap();
        lines.push_str(&format!("echo '=== {name}'\ns={name}\ncp tmp/{name} {target}\nstate > tmp/before\n{script}rm {target}\n"));
    }
    lines.push_str("grep -a panicked tmp/all\n");
    let said = machine.run(&lines);
    assert!(said.stderr.is_empty(), "{}", said.stderr);
    assert_ne!(said.code, Some(124), "no end after a minute");
    said.stdout
}

fn machine() -> Alone {
    let mut machine = Alone::new(Path::new(env!("CARGO_BIN_EXE_svcmgr")), "n1");
    machine.prepare.push("mount -t tmpfs tmpfs /srv".into());
    fs::write(machine.path("good.env"), GOOD).unwrap();
    machine.service("good", &machine.path("good.env"));
    machine
}

fn inputs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad")
}

fn files(folder: &str, end: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(inputs().join(folder)).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == end));
    files.sort();
    files
}

fn check(said: &str, inputs: usize) {
    let wrong: Vec<&str> =
        said.split("\n=== ").filter(|block| ["panicked", "CHANGED", "NOT REFUSED"].iter().any(|word| block.contains(word))).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n=== "));
    assert!(said.matches("=== ").count() >= inputs, "inputs are missing");
}

fn snapshot(name: &str, said: &str) {
    // the resolver words it as the machine has it
    let filters = vec![(r"(Could not resolve hostname [^:]+): [^)]*", "$1: …")];
    insta::with_settings!({ filters => filters, snapshot_path => concat!(env!("CARGO_MANIFEST_DIR"), "/snapshots"), prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(format!("bad_input__{name}"), said);
    });
}
