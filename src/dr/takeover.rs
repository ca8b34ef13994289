//! `takeover`: starts here what another copy holds. Planned: the holder stops and sends its last writes, nothing is
//! lost. With `--abandon NODE`: the data here are kept, what NODE has written is given up.

use crate::action::authority::Agreed;
use crate::action::execute::Run;
use crate::action::passes::stopped;
use crate::action::select::Selection;
use crate::action::{Options, call, gates, handover, start};
use crate::authority::start::{How, skew};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::log::Logger;
use crate::service::Service;
use std::time::Duration;

/// How long the holder may take to send and stop: as long as its data take; the connection's end ends the wait.
const HANDOVER: Duration = Duration::from_secs(7 * 24 * 3600);

/// Does it.
pub fn act(service: &Service, host: &Host, log: &Logger, options: &Options) -> Result<()> {
    let run = Run::new(service, host, log, options);
    take(&run).map_err(|e| if matches!(e, Error::Reported) { e } else { stopped(&run, "takeover", e) })
}

fn take(run: &Run) -> Result<()> {
    if !Selection::of(run.service, run.options)?.is_all() {
        return Err(Error::text("takeover is of the whole service: --rid and --tags have no place here"));
    }
    gates::affinity(run.service, run.host, run.log, run.options)?;
    let how = How { takeover: true, force: run.options.force, abandon: run.options.abandon.clone() };
    let agreed = start::agree(run, &how)?;
    let agreed = match agreed.go.handover.clone() {
        Some(from) => planned(run, agreed, &from)?,
        None => agreed,
    };
    stop_losers(run, &agreed.go.stop)?;
    start::begin(run, "takeover", agreed, &how, &Selection::all())
}

/// The holder gives authority with all data.
fn planned<'a>(run: &Run<'a>, agreed: Agreed<'a>, from: &str) -> Result<Agreed<'a>> {
    let node = run.host.node.clone();
    if run.options.dry_run {
        run.log.info(format!("exec 'svcmgr -s {} handover --to {node}' on node {from}", run.service.name));
        return Ok(agreed);
    }
    let ahead = agreed.answers.get(from).and_then(|a| a.as_ref().ok()).map(|a| skew(a, agreed.desk.looked));
    handover::prepare(run, from, ahead.unwrap_or_default(), false)?;
    if let Err(e) = call::remote((run.host, run.log, run.options), &run.service.name, from, &["handover", "--to", &node], HANDOVER) {
        run.say(&e);
        if let Err(more) = handover::unprepare(run) {
            run.log.warning(format!("{node} is still ready to receive: {more}"));
        }
        run.log.error(format!("{} is not taken over. see who has what: svcmgr -s {} where", run.service.name, run.service.name));
        return Err(Error::Reported);
    }
    // from now on this node holds: it starts as any holder does
    let handed = Some(agreed.desk.here.record);
    Ok(Agreed { handed, ..start::agree(run, &How::default())? })
}

/// Nodes whose writes are given up must not go on writing.
fn stop_losers(run: &Run, nodes: &[String]) -> Result<()> {
    for node in nodes {
        call::stop((run.host, run.log, run.options), &run.service.name, node)?;
    }
    Ok(())
}
