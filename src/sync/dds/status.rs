//! The state of a dds section, from what is on this node alone: the state file of 2014, the stamps of each peer, and how
//! full the snapshots are.

use super::Sender;
use super::files::Files;
use super::volume::{Look, Volume, Which};
use crate::host::Cx;
use crate::report::Probe;
use crate::state::stamp;
use crate::status::Status;
use crate::sync::common::status::{sends, sent_to, unfinished};
use crate::sync::{View, common};
use chrono::{DateTime, Local};

/// How full a snapshot may be before that is said: percent.
const FULL: f64 = 70.0;

/// When what `peer` has was frozen: by the stamp of that, or what 2014 has left.
pub(super) fn last(cx: &Cx, peer: &str) -> Option<DateTime<Local>> {
    of_peer(cx, peer).or_else(|| common::state_file_date(cx, "dds").filter(|_| !Files(cx).has_chain()))
}

fn of_peer(cx: &Cx, peer: &str) -> Option<DateTime<Local>> {
    stamp::read(&stamp::of_node(&cx.host.paths.var, peer, cx.service, cx.rid))
}

pub(super) fn status(sender: &Sender, cx: &Cx, view: &View) -> Probe {
    let probe = common::state_file_status(cx, "dds", &sender.schedule);
    let mut lines: Vec<String> = late(sender, cx).into_iter().collect();
    if Files(cx).has_chain() {
        lines.extend(snapshots(sender, cx));
    }
    let status = if probe.status == Status::Up && !lines.is_empty() { Status::Warn } else { probe.status };
    lines.extend(probe.messages);
    lines.extend(failed(cx, view));
    Probe { status, messages: lines, ..probe }
}

/// The peers to which the last transfer has failed. Of one that has no copy yet, it had begun to be one.
fn failed(cx: &Cx, view: &View) -> Vec<String> {
    if !sends(cx, view) {
        return Vec::new();
    }
    sent_to(cx).iter().filter_map(|(peer, sent)| unfinished(cx, peer, sent)).collect()
}

/// Of several peers, those that have got less than the state file tells.
fn late(sender: &Sender, cx: &Cx) -> Option<String> {
    let peers: Vec<&String> = sender.places.keys().collect();
    let stamps: Vec<_> = peers.iter().map(|peer| of_peer(cx, peer)).collect();
    if stamps.iter().all(Option::is_none) {
        return None; // it has sent nothing
    }
    let late = peers.iter().zip(stamps).filter(|(_, at)| sender.schedule.late(cx.host.clock.now(), *at));
    let late: Vec<&str> = late.map(|(peer, _)| peer.as_str()).collect();
    (!late.is_empty()).then(|| format!("{} need update", late.join(", ")))
}

/// What is to be said of the snapshots. Those of a service that is stopped are no more active than its disk group.
fn snapshots(sender: &Sender, cx: &Cx) -> Vec<String> {
    let Some(volume) = sender.volume(cx).ok().filter(|v| v.active) else { return Vec::new() };
    match volume.look(cx) {
        Ok(look) => said(volume, &look),
        Err(e) => vec![e.to_string()],
    }
}

fn said(volume: &Volume, look: &Look) -> Vec<String> {
    if look.seen.old.as_ref().is_some_and(|old| !old.valid) {
        return vec![format!("full sync needed: snapshot {} is full", volume.snap(Which::Old))];
    }
    let full = look.full.iter().filter(|(_, percent)| *percent >= FULL);
    full.map(|(which, percent)| format!("snapshot {} {percent:.0} % full", volume.snap(*which))).collect()
}
