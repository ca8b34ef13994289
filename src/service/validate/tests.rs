//! Tests of validate.

use super::*;
use std::path::Path;

const GOOD: &str = "\
[DEFAULT]
service_type = TST
nodes = n1 n2
drpnodes = n3
autostart_node = n1

[ip#1]
ipname = 10.0.0.1
ipdev = eth0
";

/// Findings as `line:column-end severity message [help]`, as node n1 sees them.
fn findings(text: impl Into<Vec<u8>>) -> Vec<String> {
    let env = EnvFile::parse(Path::new("etc/svc1.env"), text).unwrap();
    let viewer = Viewer { node: "n1", host_mode: "TST" };
    validate(Arc::new(env), "svc1", viewer).iter().map(show).collect()
}

fn show(d: &Diagnostic) -> String {
    let place = d.span.map_or("-".into(), |s| format!("{}:{}-{}", s.line, s.column, s.end));
    let severity = if d.severity == Severity::Error { "error" } else { "warning" };
    let help = d.help.as_ref().map(|h| format!(" [{h}]")).unwrap_or_default();
    format!("{place} {severity}: {}{help}", d.message)
}

/// The findings of the good file with `more` behind it; its lines begin at 10.
fn with(more: &str) -> Vec<String> {
    findings(format!("{GOOD}{more}"))
}

#[test]
fn a_good_file_has_no_findings() {
    assert_eq!(findings(GOOD), [""; 0]);
}
