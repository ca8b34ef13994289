//! The users' example files, on each node that they name: host name and /etc/hosts are faked, nothing is up.
//! The verbatim files are validated; each runnable one gives a tree, a plan of a start, and a validation.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test may panic, and runs commands of its own"
)]

#[path = "bed/alone.rs"]
mod alone;

use alone::Alone;
use std::path::{Path, PathBuf};

/// File, name of the service, nodes it names.
const FILES: [(&str, &str, &[&str]); 6] = [
    ("z3.opensvc.com", "z3.opensvc.com", &["osol1.opensvc.com", "osol2.opensvc.com"]),
    ("failover-docker", "svc1", &["n1", "n2", "n3"]),
    ("flex-docker", "svc1", &["n1", "n2", "n3"]),
    ("flex-failover-docker", "svc1", &["n1", "n2", "n3"]),
    ("busybox-first", "busybox.opensvc.com", &["deb1.opensvc.com"]),
    ("busybox-drp", "busybox.opensvc.com", &["deb1.opensvc.com", "deb2.opensvc.com"]),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("etc-examples")
}

/// The form that can be loaded: an excerpt has one beside it, a whole file is its own.
fn runnable(file: &str) -> PathBuf {
    let beside = folder().join(format!("{file}.runnable.env"));
    if beside.is_file() { beside } else { folder().join(format!("{file}.env")) }
}

fn machine(node: &str, service: &str, env: &Path) -> Alone {
    let mut machine = Alone::new(Path::new(env!("CARGO_BIN_EXE_svcmgr")), node);
    machine.hosts =
        ["127.0.0.1 localhost", "10.9.0.25 busybox.opensvc.com", "10.9.0.24 busybox-drp.opensvc.com"].map(str::to_owned).to_vec();
    machine.service(service, env);
    machine
}

fn snapshot(name: &str, text: &str) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/snapshots");
    let settings = {
        let mut s = insta::Settings::clone_current();
        s.set_snapshot_path(folder);
        s.set_prepend_module_to_snapshot(false);
        s.set_omit_expression(true);
        s.add_filter(r"(?m)^\d\d:\d\d:\d\d ", "HH:MM:SS ");
        s
    };
    settings.bind(|| insta::assert_snapshot!(format!("examples__{name}"), text));
}

/// Runs the words on the machine; both outputs and the exit status.
fn shows(machine: &Alone, service: &str, words: &str) -> String {
    let said = machine.run(&format!("svcmgr -s {service} {words} 2>&1; echo exit status $?"));
    format!("{service} {words}\n{}{}", said.stdout, said.stderr)
}

#[test]
fn the_files_as_given_are_validated() {
    for (file, service, nodes) in FILES {
        let machine = machine(nodes[0], service, &folder().join(format!("{file}.env")));
        snapshot(&format!("{file}_as_given"), &shows(&machine, service, "validate"));
    }
}

#[test]
fn the_runnable_ones_on_each_of_their_nodes() {
    for (file, service, nodes) in FILES {
        for node in nodes {
            let machine = machine(node, service, &runnable(file));
            let text = ["validate", "print status", "start --plan"].map(|words| shows(&machine, service, words)).join("\n");
            assert!(text.contains("exit status 0\n"), "{file} on {node}:\n{text}");
            snapshot(&format!("{file}_on_{node}"), &text);
        }
    }
}

#[test]
fn a_runnable_file_is_the_excerpt_with_marked_additions() {
    let mut runnables = 0;
    for entry in std::fs::read_dir(folder()).unwrap().map(|e| e.unwrap().path()) {
        let name = entry.file_name().unwrap().to_str().unwrap().to_owned();
        let Some(stem) = name.strip_suffix(".runnable.env") else { continue };
        runnables += 1;
        let text = std::fs::read_to_string(&entry).unwrap();
        let mut kept = Vec::new();
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            if line.starts_with("# added: ") {
                let added = lines.next().unwrap_or_default();
                assert!(!added.trim().is_empty() && !added.starts_with('#'), "{name}: nothing added below {line:?}");
            } else {
                kept.push(line);
            }
        }
        let given = std::fs::read_to_string(folder().join(format!("{stem}.env"))).unwrap();
        let without_blank = |lines: Vec<&str>| lines.iter().filter(|l| !l.is_empty()).map(|l| (*l).to_owned()).collect::<Vec<_>>();
        assert_eq!(without_blank(kept), without_blank(given.lines().collect()), "{name}: a line is neither given nor marked");
    }
    assert_eq!(runnables, 4);
}

/// The blocks of docs/json.md: the command in the comment before each, and the document below it.
fn blocks(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for part in text.split("<!-- ").skip(1) {
        let (command, rest) = part.split_once(" -->\n```json\n").expect("a comment with a command stands before a block of json");
        found.push((command.to_owned(), rest.split_once("```").expect("end of a block").0.to_owned()));
    }
    found
}

#[test]
fn the_json_of_the_docs_is_what_is_printed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/json.md");
    let mut text = std::fs::read_to_string(&path).unwrap();
    let env = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/clock.opensvc.com.env")).unwrap();
    let wrong = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(wrong.path(), env.replace("mnt_opt", "mnt_opts")).unwrap();
    let mut machine = Alone::new(Path::new(env!("CARGO_BIN_EXE_svcmgr")), "deb1");
    machine.hosts = ["127.0.0.1 localhost", "10.9.0.25 clock.opensvc.com"].map(str::to_owned).to_vec();
    machine.service("clock.opensvc.com", wrong.path());
    let blocks = blocks(&text);
    assert_eq!(blocks.len(), 3);
    for (command, documented) in blocks {
        let said = machine.run(&format!("svcmgr -s clock.opensvc.com {command} --format json"));
        let printed: serde_json::Value = serde_json::from_str(&said.stdout).unwrap_or_else(|e| panic!("{command}: {e}: {}", said.stdout));
        if std::env::var_os("UPDATE_DOCS").is_some() {
            let from = format!("<!-- {command} -->\n```json\n{documented}```");
            let pretty = serde_json::to_string_pretty(&printed).unwrap();
            text = text.replace(&from, &format!("<!-- {command} -->\n```json\n{pretty}\n```"));
            std::fs::write(&path, &text).unwrap();
            continue;
        }
        let documented: serde_json::Value = serde_json::from_str(&documented).unwrap();
        assert_eq!(printed, documented, "docs/json.md, {command}: UPDATE_DOCS=1 cargo test --test examples");
    }
}
