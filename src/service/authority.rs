//! What a status says of authority: who holds the data, when that is not as at the beginning, and what is here. Reads
//! files of this node only, and none of a service that has never heard of authority.

use super::{Res, Service};
use crate::authority::Here;
use crate::authority::here::Data;
use crate::authority::words::instant;
use crate::host::Host;
use crate::report::{AuthorityReport, Probe, where_is};
use crate::state::authority::Holder;
use crate::state::replica::State;
use crate::state::{authority, replica};
use crate::status::Status;

/// Adds to the rows of data what has to be known, and returns what is.
pub(super) fn look(service: &Service, host: &Host, rows: &[&Res], found: &mut [Option<Probe>]) -> Option<AuthorityReport> {
    let var = &host.paths.var;
    let marked = authority::path(var, &service.name).exists()
        || rows.iter().any(|r| r.sync().is_some() && replica::path(var, &service.name, &r.rid).exists());
    if !marked {
        return None;
    }
    let here = Here::load(var, &service.name, &service.config, host.clock.now());
    if !here.copies.replicated() {
        return None;
    }
    let up = runs(&here, rows, found);
    for (res, probe) in rows.iter().zip(found.iter_mut()).filter(|(res, _)| !res.disable && here.copies.rids.contains(&res.rid)) {
        if let (Some((warn, message)), Some(probe)) = (said(&here, up, &res.rid), probe.as_mut()) {
            probe.messages.push(message);
            if warn {
                probe.status = Status::Warn;
            }
        }
    }
    Some(report(&here))
}

/// Something of the service is up here that is not always on, nor only to receive.
fn runs(here: &Here, rows: &[&Res], found: &[Option<Probe>]) -> bool {
    let tells = |res: &Res| match res.rtype.split('.').next() {
        _ if res.run().is_none() || res.standby || res.disable => false,
        Some("hb" | "disk") => false,
        kind => kind != Some("fs") || !here.receiving(),
    };
    rows.iter().zip(found).any(|(res, probe)| tells(res) && probe.as_ref().is_some_and(|p| p.status.is_up()))
}

/// The line of a row, and whether it makes it `warn`.
fn said(here: &Here, up: bool, rid: &str) -> Option<(bool, String)> {
    let see = format!("svcmgr -s {} where", here.service);
    let holder = match here.holder() {
        Ok(holder) => holder,
        Err(why) => return Some((true, format!("it is not known who holds the data: {why}: {see}"))),
    };
    if let Some(rival) = here.rival() {
        let since = instant(holder.since.max(rival.since), here.now);
        return Some((true, format!("split: {} and {} both hold the data since {since}: {see}", holder.node, rival.node)));
    }
    if here.holds() {
        return None;
    }
    let held = match holder.epoch {
        0 => format!("{} holds the data", holder.node),
        epoch => format!("{} holds the data since {} (epoch {epoch})", holder.node, instant(holder.since, here.now)),
    };
    if up {
        return Some((true, format!("{held}, and {} runs here too: {see}", here.service)));
    }
    let data = here.data(rid);
    let wrong = match data.state {
        _ if data.applying => Some(
            "a delta is being applied here, or was when that was broken off: the next sync, start or startstandby finishes it".to_owned(),
        ),
        // of a transfer under way the driver knows more
        Some(State::Replica | State::Live | State::InProgress) => None,
        Some(State::Orphan) => Some("what was written here after the last sync is on no other node".to_owned()),
        Some(State::Torn) => Some("the first copy here is not complete".to_owned()),
        Some(State::None) => Some("no copy was ever received here".to_owned()),
        None => Some(data.fault.unwrap_or_else(|| "it is not known what is here".into())),
    };
    let home = here.copies.home().is_some_and(|home| Some(home) == here.copy());
    let node = &here.node;
    let ready = || format!("{node} was made ready to be given them, which is under way or was broken off: {}", here.go_on(node));
    match wrong {
        Some(wrong) if here.receiving() => Some((true, format!("{held}; {wrong}; {}", ready()))),
        Some(wrong) => Some((true, format!("{held}; {wrong}: {see}"))),
        None if here.receiving() => Some((false, format!("{held}; {}", ready()))),
        None => (holder.epoch > 0 && home).then_some((false, held)),
    }
}

fn report(here: &Here) -> AuthorityReport {
    AuthorityReport {
        holds: here.record.fault().is_none() && here.holds(),
        holder: here.holder().ok().map(|h| holding(&h)),
        rival: here.rival().map(holding),
        fault: here.record.fault().map(str::to_owned),
        data: here.copies.rids.iter().map(|rid| data(rid, here.data(rid))).collect(),
    }
}

fn holding(holder: &Holder) -> where_is::Holding {
    let since = (holder.epoch > 0).then_some(holder.since);
    where_is::Holding { copy: holder.copy.clone(), node: holder.node.clone(), since, epoch: holder.epoch }
}

fn data(rid: &str, data: Data) -> where_is::Data {
    where_is::Data {
        rid: rid.to_owned(),
        state: data.state.map(State::name),
        frozen_at: data.image.frozen_at,
        round: data.image.round,
        written_until: data.written_until,
        kept: data.kept,
        as_sent: false,
    }
}
