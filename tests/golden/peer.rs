//! Stands for ssh in the recorded cases: a peer that is down, has the service, and accepts everything.
//!
//! It answers the `gate` question (host_mode from `$FAKE_HOST_MODE`, a dstfs refused unless equal to
//! `$FAKE_DF`), serves an rsync receiver below /opt/peers/HOST, and succeeds silently on anything else.

use serde_json::{Value, json};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

/// The whole of it: arguments as ssh gets them.
pub fn answer() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let mut host = String::new();
    while let Some(word) = args.next() {
        if ["-o", "-l", "-p", "-i", "-F", "-S", "-c", "-m"].contains(&word.as_str()) {
            args.next();
        } else if !word.starts_with('-') {
            host = word;
            break;
        }
    }
    let words = shlex::split(&args.collect::<Vec<_>>().join(" ")).unwrap_or_default();
    let has = |word: &str| words.iter().any(|w| w == word);
    if has("gate") {
        gate(&host);
    } else if let Some(at) = words.iter().position(|w| w == "--server").filter(|at| *at > 0 && has("rsync")) {
        return receive(&host, &words[at - 1..]);
    }
    ExitCode::SUCCESS
}

fn gate(host: &str) {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    let asked: Value = serde_json::from_str(&line).unwrap_or_default();
    let mut rids = serde_json::Map::new();
    for (rid, detail) in asked["rids"].as_object().into_iter().flatten() {
        let Some(fs) = detail["dstfs"].as_str() else { continue };
        if std::env::var("FAKE_DF").is_ok_and(|mounted| mounted != fs) {
            let dst = detail["dst"].as_str().unwrap_or_default();
            let why = format!("The destination fs {fs} is not mounted on node {host}. refuse to sync {dst} to protect parent fs");
            rids.insert(rid.clone(), json!({"ok": false, "why": why}));
        }
    }
    let host_mode = std::env::var("FAKE_HOST_MODE").unwrap_or_else(|_| "TST".into());
    let answer = json!({"version": 1, "service": "known", "node": host, "epoch": 0, "avail": "down",
                        "running": false, "host_mode": host_mode, "rids": rids});
    println!("{answer}");
}

/// An rsync receiver, bare or behind `svcmgr … recv … --`.
fn receive(host: &str, server: &[String]) -> ExitCode {
    let (dst, rest) = server.split_last().unwrap();
    let dst = format!("/opt/peers/{host}{dst}");
    std::fs::create_dir_all(&dst).unwrap();
    let error = Command::new("rsync").args(&rest[1..]).arg(dst).exec();
    eprintln!("rsync: {error}");
    ExitCode::FAILURE
}
