//! A status of services whose data are held elsewhere, or by two, or by nobody who is known.

use super::{build, status};
use crate::clock::{Clock, FixedClock};
use crate::config::env::EnvFile;
use crate::host::Host;
use crate::log::{Logger, Memory};
use crate::report::ServiceReport;
use crate::state::authority::Holder;
use crate::state::authority::Record;
use crate::state::replica::Replica;
use crate::state::replica::State;
use crate::state::{authority, replica};
use std::sync::Arc;

/// Mounted wherever the test runs, and mounted nowhere.
const UP: &str = "[fs#1]\ntype = proc\ndev = proc\nmnt = /proc\n";
const DOWN: &str = "[fs#1]\ntype = tmpfs\ndev = none\nmnt = /no/such/mount\n";

fn holder(node: &str, epoch: u64) -> Holder {
    let since = FixedClock::at("2014-06-06 17:10:02").now();
    let copy = if node == "n1" { "nodes" } else { node };
    Holder { epoch, copy: copy.into(), node: node.into(), since, from: None, handed: false, partial: false, away: None }
}

/// The status on `node`, whose record and state of sync#1 are these.
fn on(node: &str, fs: &str, record: Option<Record>, state: Option<State>) -> (ServiceReport, String) {
    let dir = tempfile::tempdir().unwrap();
    let host = Host::fake(node, dir.path());
    let var = &host.paths.var;
    std::fs::create_dir_all(var.join("svc1")).unwrap();
    match record {
        Some(record) => authority::write(var, "svc1", &record).unwrap(),
        None => std::fs::write(authority::path(var, "svc1"), "{\"epoch\":1,").unwrap(),
    }
    if let Some(state) = state {
        let replica = Replica::new(node, state, 0, host.clock.now());
        replica::write(var, "svc1", "sync#1", &replica).unwrap();
    }
    let text = format!(
        "[DEFAULT]\nservice_type = TST\nnodes = n1\ndrpnodes = n2\n{fs}[sync#1]\nsrc = /no/such/\ndst = /no/such\ntarget = drpnodes\n"
    );
    let env = EnvFile::parse(std::path::Path::new("svc1.env"), text).unwrap();
    let service = build::build(&host, "svc1", Arc::new(env)).unwrap();
    let log = Logger::service(Arc::new(Memory::default()), host.clock.clone(), "svc1");
    let report = status::evaluate(&service, &host, &log, status::Depth::All);
    let row = report.resources.iter().find(|r| r.rid == "sync#1").unwrap();
    let said = row.messages.iter().find(|m| m.contains("data") || m.contains("split")).cloned().unwrap_or_default();
    let said = said.replace(dir.path().to_str().unwrap(), "");
    let text = format!("{} {said}", row.status.name());
    (report, text)
}

#[test]
fn what_is_not_as_at_the_beginning_is_said() {
    let of = |node: &str, fs: &str, epoch: u64, state: State| on(node, fs, Some(Record::of(holder("n2", epoch))), Some(state)).1;
    let held = "n2 holds the data since 17:10:02 (epoch 1)";
    assert_eq!(of("n1", UP, 1, State::Live), format!("warn {held}, and svc1 runs here too: svcmgr -s svc1 where"));
    assert_eq!(
        of("n1", DOWN, 1, State::Orphan),
        format!("warn {held}; what was written here after the last sync is on no other node: svcmgr -s svc1 where")
    );
    assert!(of("n1", DOWN, 1, State::Replica).ends_with(held), "not a reason to warn by itself");
    assert!(!of("n2", UP, 1, State::Live).contains("data"), "the holder");
    let split = Record { rival: Some(holder("n1", 1)), ..Record::of(holder("n2", 1)) };
    assert_eq!(
        on("n2", UP, Some(split), Some(State::Live)).1,
        "warn split: n2 and n1 both hold the data since 17:10:02: svcmgr -s svc1 where"
    );
    assert_eq!(
        on("n2", DOWN, None, Some(State::Replica)).1,
        "warn it is not known who holds the data: /var/svc1/authority.json is damaged: EOF while parsing a value at line 1 column 11: svcmgr -s svc1 where"
    );
}

#[test]
fn a_copy_that_cannot_be_used_is_said() {
    let of = |state| on("n2", DOWN, Some(Record::of(holder("n1", 0))), state).1;
    assert_eq!(of(None), "warn n1 holds the data; no copy was ever received here: svcmgr -s svc1 where");
    assert_eq!(of(Some(State::Torn)), "warn n1 holds the data; the first copy here is not complete: svcmgr -s svc1 where");
    assert!(!of(Some(State::Replica)).contains("data"), "all is as it was");
}

#[test]
fn json_has_it() {
    let report = on("n1", DOWN, Some(Record::of(holder("n2", 1))), Some(State::Orphan)).0;
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["authority"]["holder"]["node"], "n2");
    assert_eq!((json["authority"]["holds"].as_bool(), json["authority"]["data"][0]["state"].as_str()), (Some(false), Some("orphan")));
}
