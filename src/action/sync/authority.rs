//! Whether this node may send at all: only who holds authority does.

use crate::action::authority::Desk;
use crate::action::select::Selection;
use crate::action::{Info, Options};
use crate::authority::receive::PROMISED;
use crate::authority::words::{instant, list};
use crate::authority::{Here, Refusal};
use crate::error::{Error, Result};
use crate::service::instance::Instance;
use crate::state::authority::Promise;

/// True: this node's copy holds authority, or nothing is replicated. False: it is another's turn, as was said. The
/// error is for what someone has to decide.
pub(super) fn may_send(desk: &mut Desk, info: &Info, options: &Options, selection: &Selection) -> Result<bool> {
    if !desk.here.copies.replicated() {
        return Ok(true);
    }
    if desk.here.record.fault().is_some() {
        desk.look()?;
    }
    if let Some(refusal) = refusal(&desk.here, info) {
        return refuse(desk, &refusal);
    }
    if !desk.here.holds() {
        return not_ours(desk, info, options);
    }
    let loser = options.abandon.clone();
    let rids: Vec<String> = desk.here.copies.rids.iter().filter(|rid| selection.has(rid)).cloned().collect();
    if let Some(node) = &loser {
        may_lose(desk, node, &rids)?;
    }
    desk.change(|here| {
        here.settle();
        if let Some(node) = &loser {
            here.abandon(node, &rids);
        }
    })?;
    Ok(true)
}

fn refuse(desk: &Desk, refusal: &Refusal) -> Result<bool> {
    desk.log.error(refusal.to_string());
    Err(Error::Reported)
}

/// What keeps everybody from sending.
fn refusal(here: &Here, info: &Info) -> Option<Refusal> {
    let (service, node) = (&here.service, &here.node);
    let what = format!("{} of {service} is not done on {node}", info.name.replace('_', " "));
    if let Some(why) = here.record.fault() {
        return Some(Refusal {
            what: format!("{what}: it is not known which copy of the data is the newest"),
            why: why.to_owned(),
            stake: "newer data on another node".into(),
            remedy: format!("on {node}: svcmgr -s {service} where; if {node} has the newest data: svcmgr -s {service} takeover --force"),
        });
    }
    if let Some(rival) = here.rival() {
        return Some(Refusal::split(here, &what, &rival.node));
    }
    let lapsed = |p: &&Promise| (here.now - p.at).abs() >= PROMISED;
    let promise = here.promise().filter(|p| here.copies.of_node(&p.node) != here.copy() && here.holds() && !lapsed(p))?;
    Some(Refusal {
        what: format!("{what}: {} has begun to take the data over", promise.node),
        why: format!("{node} promised it at {}", instant(promise.at, here.now)),
        stake: format!("what {} may have written since", promise.node),
        remedy: format!(
            "on {}: svcmgr -s {service} where   (if it came to nothing, send again after {})",
            promise.node,
            instant(promise.at + PROMISED, here.now)
        ),
    })
}

/// Another copy holds authority. That is nobody's failure, unless the service runs here all the same.
fn not_ours(desk: &Desk, info: &Info, options: &Options) -> Result<bool> {
    let here = &desk.here;
    let (service, node) = (&here.service, &here.node);
    let holder = here.holder().map_err(Error::Text)?;
    let seen = Instance::look(desk.service, desk.host, desk.log);
    if let Some(up) = seen.up(here.receiving()).first() {
        return refuse(
            desk,
            &Refusal {
                what: format!("{} of {service} is not done on {node}: {} holds the data", info.name.replace('_', " "), holder.node),
                why: format!(
                    "{} has them since {} (epoch {}), and {service} runs on {node} too ({up})",
                    holder.node,
                    instant(holder.since, here.now),
                    holder.epoch,
                ),
                stake: format!("the writes of {node} or those of {}: someone has to choose", holder.node),
                remedy: format!(
                    "to keep those of {0}: on {0}: svcmgr -s {service} giveback --abandon {node}; to keep those of {node}: on {node}: svcmgr -s {service} takeover --abandon {0}",
                    holder.node
                ),
            },
        );
    }
    if !options.cron {
        desk.log.info(if holder.epoch == 0 && desk.service.config.scope.is_drp() {
            "won't sync from a node of the recovery site".to_owned()
        } else {
            format!(
                "won't sync from {node}: {} holds the data since {} (epoch {})",
                holder.node,
                instant(holder.since, here.now),
                holder.epoch
            )
        });
    }
    Ok(false)
}

/// `--abandon NODE` of a sync: its own writes of `rids` may be overwritten.
fn may_lose(desk: &Desk, node: &str, rids: &[String]) -> Result<()> {
    let here = &desk.here;
    let of = if rids.len() == here.copies.rids.len() { String::new() } else { format!(" of {}", list(rids)) };
    match here.copies.of_node(node) {
        None => Err(Error::text(format!("--abandon {node}: it is not a node of {}", here.service))),
        Some(copy) if Some(copy) == here.copy() => Err(Error::text(format!("--abandon {node}: it has the same data as {}", here.node))),
        Some(_) => {
            desk.log.warning(format!(
                "what {node} has written of its own{of} is given up, as you say (--abandon): it is overwritten with the data of {}",
                here.node
            ));
            Ok(())
        }
    }
}
