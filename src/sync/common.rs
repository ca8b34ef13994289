//! What the block, subvolume and image drivers share: `target`, the state file, the question.

use super::Class;
use super::schedule::Schedule;
use crate::config::scope::Params;
use crate::error::Error;
use crate::host::{Cx, Host};
use crate::report::Probe;
use crate::state::{gate, stamp};
use crate::status::Status;

/// The classes `target` names, each once, in file order. Other words are ignored.
pub fn targets(p: &Params) -> Vec<Class> {
    let mut targets = Vec::new();
    for word in p.words("target") {
        let class = match word.as_str() {
            "nodes" => Class::Nodes,
            "drpnodes" => Class::Drpnodes,
            _ => continue,
        };
        if !targets.contains(&class) {
            targets.push(class);
        }
    }
    targets
}

/// A Python list of the words of `target`, as 2014's labels have it.
pub fn target_list(targets: &[Class]) -> String {
    let words: Vec<String> = targets.iter().map(|c| format!("'{}'", c.word())).collect();
    format!("[{}]", words.join(", "))
}

/// The 2014 line for a sync section without `key`.
pub fn required<'a>(p: &Params<'a>, key: &str) -> Result<&'a str, String> {
    p.text(key).ok_or_else(|| format!("config file section {} must have {key} set", p.section))
}

/// The state that `var/NAME_RID_DRIVER_state` tells: `DATE;ID`, one line. The same on sender and receivers.
pub fn state_file_status(cx: &Cx, driver: &str, schedule: &Schedule) -> Probe {
    let path = cx.host.paths.var.join(format!("{}_{}_{driver}_state", cx.service, cx.rid));
    let Ok(text) = std::fs::read_to_string(&path) else {
        return Probe::because(Status::Warn, format!("{driver} state file not found"));
    };
    let mut fields = text.trim_end_matches('\n').split(';');
    let (date, id, more) = (fields.next().unwrap_or_default(), fields.next(), fields.next());
    let Some(last) = stamp::parse(date).filter(|_| id.is_some() && more.is_none() && !text.trim_end().contains('\n')) else {
        return Probe::because(Status::Warn, "failed to get status");
    };
    if schedule.late(cx.host.clock.now(), Some(last)) {
        return Probe::because(Status::Warn, format!("Last sync on {date} older than {} minutes", schedule.max_delay));
    }
    Probe::new(Status::Up)
}

/// When the state file says the data were frozen.
pub fn last(cx: &Cx, driver: &str) -> Option<chrono::DateTime<chrono::Local>> {
    let path = cx.host.paths.var.join(format!("{}_{}_{driver}_state", cx.service, cx.rid));
    stamp::parse(std::fs::read_to_string(path).ok()?.split(';').next()?)
}

/// What the peer is asked.
pub fn question(driver: &str, dst: &str) -> gate::Detail {
    gate::Detail { driver: driver.into(), dst: Some(dst.into()), ..gate::Detail::default() }
}

/// The words that start a writer on `peer`: every one runs below `svcmgr recv`, which lets it in and ends
/// it with the connection. The writer's own words come after these.
pub fn receiver(host: &Host, peer: &str, service: &str, rid: &str) -> Vec<String> {
    let svcmgr = host.peers.svcmgr(&host.paths, peer);
    let words = ["-s", service, "recv", "--rid", rid, "--epoch", "0", "--"];
    svcmgr.into_iter().chain(words.map(str::to_owned)).collect()
}

/// The error of a transfer whose driver comes with a later version.
pub fn not_yet(driver: &str) -> Error {
    Error::text(format!("{driver} transfers are not supported by this version"))
}
