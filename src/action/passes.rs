//! One pass over a service's resources: all starts or all stops, with rollback; a whole stop.

use super::authority;
use super::execute::Run;
use super::plan::{Pass, Plan, Verb, plan};
use super::select::Selection;
use crate::error::{Error, Result};

/// The plan of a pass, for `run`.
pub fn made(run: &Run, name: &str, pass: &Pass, selection: &Selection) -> Plan {
    plan(run.service, run.host, name, pass, selection, None)
}

/// Does a pass. A start that fails is undone; a whole stop that is done is remembered.
pub fn one_pass(run: &Run, name: &str, pass: &Pass, selection: &Selection) -> Result<()> {
    let done = run.execute(&made(run, name, pass, selection)).map_err(|e| stopped(run, name, e));
    if done.is_err() && pass.verb == Verb::Start {
        rollback(run, name);
    }
    if done.is_ok() && pass.verb == Verb::Stop && pass.groups == Pass::START.groups && selection.is_all() && !run.options.dry_run {
        let_go(run).map_err(|e| stopped(run, name, e))?;
        authority::stopped(run.service, run.host, run.log)?;
    }
    done
}

/// What syncs have left behind on disks that others have too. The first error, after all were tried.
fn let_go(run: &Run) -> Result<()> {
    let syncs = run.service.resources.iter().filter(|r| !r.disable).filter_map(|res| Some((res, res.sync()?)));
    let done = syncs.map(|(res, driver)| {
        let log = run.log.child(&res.log_name());
        driver.stopped(&run.service.cx(run.host, &log, res, run.options.force))
    });
    done.collect::<Vec<_>>().into_iter().collect()
}

/// A whole stop: all is down but what is always on here, unless `--force`.
pub fn stop(run: &Run, selection: &Selection) -> Result<()> {
    one_pass(run, "stop", &Pass::stop(run.options.force), selection)
}

/// Says what stopped the action; the caller has nothing to add.
pub fn stopped(run: &Run, name: &str, error: Error) -> Error {
    if crate::cmd::system::interrupted() {
        run.log.error("interrupted by signal");
    }
    match error {
        Error::Reported => run.log.error(format!("'{name}' action stopped on execution error")),
        other => run.log.error(format!("'{name}' action stopped on execution error: {other}")),
    }
    Error::Reported
}

/// Stops what this run has activated, in stop order.
fn rollback(run: &Run, name: &str) {
    let activated = run.activated.lock().map(|a| a.clone()).unwrap_or_default();
    if run.options.disable_rollback {
        run.log.info(format!("skip rollback {name}: as instructed by --disable-rollback"));
    } else if activated.is_empty() {
        run.log.info(format!("skip rollback {name}: no resource activated"));
    } else {
        run.log.info(format!("trying to rollback {name} on {}", activated.join(", ")));
        let pass = Pass::stop(run.options.force);
        let undo = Run { undoing: true, ..Run::new(run.service, run.host, run.log, run.options) };
        if let Err(e) = undo.execute(&made(run, "rollback", &pass, &Selection::only(activated))) {
            run.log.error(format!("rollback {name} failed: {e}. see print status for what is still up"));
        }
    }
}
