//! One action on one service: gates, lock, the deed, and what is printed of it.

use super::Session;
use super::args::Format;
use crate::action::{Class, Id, Info, gates, plan::Verb, start, sync};
use crate::dr;
use crate::error::{Error, Result};
use crate::host::disks;
use crate::log::{Logger, Sink};
use crate::render::{json, tree};
use crate::service::{Service, build, status};
use crate::state::frozen;
use std::sync::Arc;

/// Exit status of `status` when there is no state to tell: no state has this number.
pub const CANNOT_TELL: u8 = 64;

/// Does the action; returns the exit status and what goes to stdout.
pub fn one(session: &Session, info: &Info, name: &str, console: Arc<dyn Sink>, many: bool) -> (u8, String) {
    let log = session.logger(name, console);
    let done = if matches!(info.class, Class::Config) || is_about_the_file(info.id) {
        super::config::run(session, &log, name, info)
    } else {
        on_service(session, info, name, &log, many)
    };
    done.unwrap_or_else(|e| {
        if !matches!(e, Error::Reported) {
            log.error(e.to_string());
        }
        let cannot_tell = many && info.id == Id::Status;
        (if cannot_tell { CANNOT_TELL } else { e.exit_code() }, String::new())
    })
}

/// Views of the env file: they work though the service cannot be built.
fn is_about_the_file(id: Id) -> bool {
    matches!(id, Id::Validate | Id::PrintConfig | Id::PrintEnvMtime | Id::Get)
}

fn on_service(session: &Session, info: &Info, name: &str, log: &Logger, many: bool) -> Result<(u8, String)> {
    let host = &session.host;
    if matches!(info.class, Class::Freeze) || info.id == Id::Frozen {
        return freeze(session, info, name, log).map(|code| (code, String::new()));
    }
    let service = match build::load(host, name) {
        Ok(service) => service,
        Err(refusal) => {
            let log = if refusal.init { Logger::init(session.console.clone(), host.clock.clone()) } else { log.clone() };
            // a file of a service of other nodes is nobody's failure when all services are asked
            let elsewhere = many && refusal.lines.iter().any(|l| l.ends_with("not managed here"));
            refusal.lines.iter().for_each(|line| if elsewhere { log.info(line) } else { log.error(line) });
            return if elsewhere { Ok((0, String::new())) } else { Err(Error::Reported) };
        }
    };
    service.faults.iter().for_each(|line| log.error(line));
    service.warnings.iter().for_each(|line| log.warning(line));
    gates::allowed(&service, host, log, info, &session.args.options)?;
    if session.args.plan && matches!(info.class, Class::Run) {
        return plan(session, info, &service, log);
    }
    let Some(_lock) = gates::lock(name, host, log, info, &session.args.options)? else { return Ok((0, String::new())) };
    match info.class {
        Class::Run => {
            super::config::mend_links(session, &service);
            let options = &session.args.options;
            match info.id {
                Id::Takeover => dr::takeover::act(&service, host, log, options)?,
                Id::Giveback => dr::giveback::act(&service, host, log, options)?,
                _ => start::act(&service, host, log, info, options)?,
            }
            Ok((0, String::new()))
        }
        Class::Sync => {
            super::config::mend_links(session, &service);
            sync::act(&service, host, log, info, &session.args.options)?;
            Ok((0, String::new()))
        }
        _ => view(session, info, &service, log, many),
    }
}

fn freeze(session: &Session, info: &Info, name: &str, log: &Logger) -> Result<u8> {
    let var = &session.host.paths.var;
    if session.args.options.dry_run && info.id != Id::Frozen {
        log.info(format!("{} {name}", info.name));
        return Ok(0);
    }
    match info.id {
        Id::Freeze => frozen::freeze(var, Some(name)).map(|()| 0),
        Id::Thaw => frozen::thaw(var, Some(name)).map(|()| 0),
        _ => Ok(u8::from(frozen::is_frozen(var, name))),
    }
}

fn view(session: &Session, info: &Info, service: &Service, log: &Logger, many: bool) -> Result<(u8, String)> {
    let host = &session.host;
    if matches!(info.id, Id::JsonEnv) {
        return super::config::run(session, log, &service.name, info);
    }
    if matches!(info.id, Id::PrintDevlist | Id::PrintDisklist | Id::JsonDevlist | Id::JsonDisklist) {
        return Ok((0, devices(session, info.id, service, log)));
    }
    if info.id == Id::Where {
        let found = dr::where_is::look(service, host, log);
        return Ok(super::where_is::shown(session, found, many));
    }
    let report = status::evaluate(service, host, log, status::Depth::All);
    let text = match (info.id, session.args.format) {
        (Id::Status, _) => {
            let code = if many { 0 } else { report.overall.code() };
            return Ok((code, String::new()));
        }
        (_, Format::Json) => format!("{}\n", serde_json::to_string(&report).unwrap_or_default()),
        (Id::JsonStatus, Format::Text) => format!("{}\n", json::python_line(&json::status_2014(&report))),
        (_, Format::Text) => tree::render(&report, session.palette),
    };
    Ok((0, text))
}

/// One a line (a blank line when there is none, as 2014), or a JSON array.
fn devices(session: &Session, id: Id, service: &Service, log: &Logger) -> String {
    let all = service.resources.iter().filter_map(|r| Some(r.run()?.devices(&service.cx(&session.host, log, r, false))));
    let mut found: Vec<String> = all.flatten().collect();
    if matches!(id, Id::PrintDisklist | Id::JsonDisklist) {
        found = found.iter().flat_map(|d| disks::below(d)).collect();
    }
    found.sort();
    found.dedup();
    match id {
        Id::PrintDevlist | Id::PrintDisklist => format!("{}\n", found.join("\n")),
        _ => format!("{}\n", json::python_line(&found.into())),
    }
}

/// `--plan`: what would be done, in order, each with its reason.
fn plan(session: &Session, info: &Info, service: &Service, log: &Logger) -> Result<(u8, String)> {
    let plans = start::plans(service, &session.host, log, info, &session.args.options)?;
    let refused: Vec<&String> = plans.iter().filter_map(|p| p.refused.as_ref()).collect();
    refused.iter().for_each(|why| log.error(format!("it would be refused now: {why}")));
    let code = u8::from(!refused.is_empty());
    if session.args.format == Format::Json {
        return Ok((code, format!("{}\n", serde_json::to_string(&plans).unwrap_or_default())));
    }
    let mut text = String::new();
    for plan in plans {
        text.push_str(&format!("{} {}\n", plan.action, plan.service));
        for line in &plan.first {
            text.push_str(&format!("  {line}\n"));
        }
        if plan.stages.is_empty() {
            text.push_str("  nothing to do\n");
        }
        for stage in plan.stages {
            for step in stage.steps {
                let verb = match step.verb {
                    Verb::Start => "start",
                    Verb::Stop => "stop",
                    Verb::Skip => "skip",
                };
                let parallel = if stage.parallel { ", in parallel" } else { "" };
                let optional = if step.optional { ", optional" } else { "" };
                text.push_str(&format!("  {verb:<5} {:<14} {}  ({}{optional}{parallel})\n", step.rid, step.label, step.why));
            }
        }
    }
    Ok((code, text))
}
