//! JSON: the line of `json status` as 2014 wrote it, and the stable documents of `--format json`.

use crate::report::{GROUPS, ResourceReport, ServiceReport};
use serde_json::{Map, Value, json};

/// One line with `", "` and `": "` between its parts, as Python wrote JSON.
pub fn python_line(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let items: Vec<String> = map.iter().map(|(k, v)| format!("{}: {}", Value::from(k.as_str()), python_line(v))).collect();
            format!("{{{}}}", items.join(", "))
        }
        Value::Array(list) => format!("[{}]", list.iter().map(python_line).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

/// The 2014 shape: one key per group, avail, overall, and the resources by rid.
pub fn status_2014(report: &ServiceReport) -> Value {
    let mut out = Map::new();
    for group in GROUPS {
        out.insert(group.into(), json!(report.groups.get(group)));
    }
    out.insert("avail".into(), json!(report.avail));
    out.insert("overall".into(), json!(report.overall));
    let mut resources = Map::new();
    let mut has_container = false;
    let mut guests = Map::new();
    for row in &report.resources {
        resources.insert(row.rid.clone(), resource_2014(row));
        if row.rtype.starts_with("container") {
            has_container = true;
            // a docker container's guest was known by the address of the loopback
            let name = if row.rtype == "container.docker" { "127.0.0.1".to_owned() } else { row.label.clone() };
            guests.insert(name, guest_down());
        }
    }
    out.insert("resources".into(), Value::Object(resources));
    if has_container {
        out.insert("encap".into(), Value::Object(guests));
    }
    Value::Object(out)
}

fn resource_2014(row: &ResourceReport) -> Value {
    let log: String = row.messages.iter().chain(&row.quiet).map(|m| format!("# {m}\n")).collect();
    json!({
        "status": row.status, "label": row.label, "log": log,
        "monitor": row.monitor, "disable": row.disable, "optional": row.optional, "encap": row.encap,
    })
}

fn guest_down() -> Value {
    json!({
        "container": "down", "ip": "down", "disk": "down", "fs": "down", "share": "down", "hb": "down",
        "avail": "down", "overall": "down", "app": "n/a", "sync": "n/a", "resources": {},
    })
}
