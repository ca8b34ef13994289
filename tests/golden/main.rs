//! Replays the recorded cases: each folder of cases/ is one thing that was really run on the agent of 2014.
//!
//! A case is `svc.env` + `svcname` (or several `NAME.env`), `nodename`, an optional `setup`, `cmd`, and what
//! came out. `stdout` must match byte for byte after the same normalisation of both; lines of JSON are
//! compared as values. A case with a file `stderr-lines` must print those lines too, in that order, among
//! others. `stderr` is there to read. README.md says what was changed on purpose.
//!
//! `cargo test --test golden -- 07 43` replays the cases whose names contain one of the words.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test may panic, print, and run commands of its own"
)]

#[path = "../bed/alone.rs"]
mod alone;
mod peer;

use alone::Alone;
use regex::Regex;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

fn main() -> ExitCode {
    if std::env::args().next().is_some_and(|name| name.ends_with("ssh")) {
        return peer::answer();
    }
    let asked = Asked::read();
    let cases: Vec<PathBuf> = cases().into_iter().filter(|c| asked.wants(&name(c))).collect();
    if asked.list {
        cases.iter().for_each(|c| println!("{}: test", name(c)));
        return ExitCode::SUCCESS;
    }
    replay_all(&cases)
}

/// What is asked on the command line, in the words of cargo's own test programs.
struct Asked {
    words: Vec<String>,
    exact: bool,
    list: bool,
    none: bool,
}

impl Asked {
    fn read() -> Self {
        let (flags, words): (Vec<_>, Vec<_>) = std::env::args().skip(1).partition(|a| a.starts_with('-'));
        let has = |flag: &str| flags.iter().any(|f| f == flag);
        let words = words.into_iter().filter(|w| w != "terse").collect();
        Self { words, exact: has("--exact"), list: has("--list"), none: has("--ignored") }
    }

    fn wants(&self, name: &str) -> bool {
        let hit = |word: &String| if self.exact { name == word } else { name.contains(word.as_str()) };
        !self.none && (self.words.is_empty() || self.words.iter().any(hit))
    }
}

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/cases");
    let mut all: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    all.sort();
    all
}

fn name(case: &Path) -> String {
    case.file_name().unwrap().to_string_lossy().into_owned()
}

/// Replays the cases, some at a time, and reports them in order of their ends.
fn replay_all(cases: &[PathBuf]) -> ExitCode {
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(0);
    let workers = std::thread::available_parallelism().map_or(2, |n| n.get() * 2);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let difference = replay(case);
                    let mut failed = failed.lock().unwrap();
                    match difference {
                        None => println!("PASS {}", name(case)),
                        Some(text) => {
                            *failed += 1;
                            println!("FAIL {}\n{text}", name(case));
                        }
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    println!("recorded cases: {} passed, {failed} failed", cases.len() - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs a case; `None` if it said what it had to, else the difference.
fn replay(case: &Path) -> Option<String> {
    let read = |file: &str| fs::read_to_string(case.join(file)).unwrap_or_else(|e| panic!("{}/{file}: {e}", case.display()));
    let mut machine = Alone::new(Path::new(env!("CARGO_BIN_EXE_svcmgr")), read("nodename").trim());
    if case.join("svcname").is_file() {
        machine.service(read("svcname").trim(), &case.join("svc.env"));
    } else {
        for entry in fs::read_dir(case).unwrap().map(|e| e.unwrap().path()) {
            if let Some(service) = name(&entry).strip_suffix(".env") {
                machine.service(service, &entry);
            }
        }
    }
    if read("notes").contains("Fake /usr/bin/ssh") {
        let this = std::env::current_exe().unwrap();
        machine.prepare.push(format!("mount --bind '{}' /usr/bin/ssh", this.display()));
    }
    let mut script = "allservices status >/dev/null 2>&1; for l in log/*.log; do : > $l; done\n".to_owned();
    if case.join("setup").is_file() {
        script += &format!("( set +e\n{}\n) >/dev/null 2>&1\n", read("setup"));
    }
    let said = machine.run(&(script + &read("cmd")));
    let (want, got) = (normal(&read("stdout")), normal(&said.stdout));
    let mut wrong = String::new();
    if want.iter().map(|l| value(l)).ne(got.iter().map(|l| value(l))) {
        wrong += &side_by_side(&want, &got);
    }
    if case.join("stderr-lines").is_file() {
        wrong += &missing(&read("stderr-lines"), &normal(&said.stderr));
    }
    (!wrong.is_empty()).then(|| format!("{wrong}    -- stderr was\n{}", indented(&said.stderr)))
}

/// Lines without what differs from run to run, and without the collector's files, which are gone.
fn normal(text: &str) -> Vec<String> {
    let rules = [
        (r"^[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)? (INFO|ERROR|WARNING|DEBUG|CRITICAL)", "HH:MM:SS $2"),
        (r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2},[0-9]{3}", "YYYY-MM-DD HH:MM:SS,mmm"),
        (r"\(pid=[0-9]+\)", "(pid=PID)"),
        (r"child process [0-9]+", "child process PID"),
    ]
    .map(|(from, to)| (Regex::new(from).unwrap(), to));
    let gone =
        Regex::new(r"^(send|update) /opt/opensvc/.*\.\.\. OK$|^(var/)?[^ /]*\.push$|^var/[^/]+/(history\.jsonl|authority\.json)$").unwrap();
    let mend = |line: &str| rules.iter().fold(line.to_owned(), |l, (from, to)| from.replace_all(&l, *to).into_owned());
    text.lines().filter(|l| !gone.is_match(l)).map(mend).collect()
}

/// A line, or the JSON value that it is: the order of keys does not count.
fn value(line: &str) -> String {
    let parsed = line.starts_with('{').then(|| serde_json::from_str::<serde_json::Value>(line).ok()).flatten();
    parsed.map_or_else(|| line.to_owned(), |v| sorted(&v))
}

fn sorted(value: &serde_json::Value) -> String {
    use serde_json::Value;
    match value {
        Value::Object(map) => {
            let mut pairs: Vec<_> = map.iter().map(|(k, v)| format!("{k:?}:{}", sorted(v))).collect();
            pairs.sort();
            format!("{{{}}}", pairs.join(","))
        }
        Value::Array(list) => format!("[{}]", list.iter().map(sorted).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}

fn side_by_side(want: &[String], got: &[String]) -> String {
    let mut text = String::new();
    for i in 0..want.len().max(got.len()) {
        match (want.get(i), got.get(i)) {
            (Some(w), Some(g)) if value(w) == value(g) => text += &format!("      {g}\n"),
            (w, g) => {
                text += &w.map(|w| format!("    - {w}\n")).unwrap_or_default();
                text += &g.map(|g| format!("    + {g}\n")).unwrap_or_default();
            }
        }
    }
    text
}

fn missing(lines: &str, stderr: &[String]) -> String {
    let mut said = stderr.iter().map(|l| l.trim());
    let absent = normal(lines).into_iter().find(|l| !said.any(|s| s == l.trim()));
    absent.map(|l| format!("    stderr: missing, in order: {l}\n")).unwrap_or_default()
}

fn indented(text: &str) -> String {
    text.lines().map(|l| format!("      {l}\n")).collect()
}
