//! Which services a command is about: `-s` names and patterns, the `all*services`, the service's own name.

use super::Session;
use super::args::{Program, Which};
use crate::action::{Id, Info};
use crate::config::env::EnvFile;
use crate::config::scope::ServiceConfig;
use crate::error::{Error, Result};
use crate::log::{Logger, Memory};
use crate::service::{build, status};
use crate::status::Status;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What 2014 answered to `svcmgr ACTION` alone.
const NONE: &str = "No service specified. Try:
 allservices
 allupservices
 alldownservices
 allprimaryservices
 allsecondaryservices
 svcmgr -s svcname,...
 svcname";

/// The names, in the order in which they are worked on. An unknown name is an error and nothing is done.
pub fn select(session: &Session, program: &Program, info: &Info) -> Result<Vec<String>> {
    let known = session.host.paths.services();
    let names = match program {
        Program::Service(name) => vec![name.clone()],
        Program::All(which) => return filter(session, known, *which),
        _ if session.args.services.is_empty() => {
            let filtered = !session.args.statuses.is_empty() || session.args.only_primary || session.args.only_secondary;
            if !filtered {
                super::console::err(NONE);
                return Err(Error::Reported);
            }
            known.clone()
        }
        _ => expand(&session.args.services, &known, makes_service(info))?,
    };
    if !makes_service(info)
        && let Some(name) = names.iter().find(|n| !known.contains(n))
    {
        return Err(unknown(name, &known, session));
    }
    filter(session, names, Which::All)
}

fn makes_service(info: &Info) -> bool {
    matches!(info.id, Id::Create | Id::Install)
}

fn unknown(name: &str, known: &[String], session: &Session) -> Error {
    let near = known
        .iter()
        .filter(|k| strsim::damerau_levenshtein(k, name) <= 1 + name.len() / 5 || k.starts_with(name))
        .take(8)
        .cloned()
        .collect::<Vec<_>>();
    let hint = if near.is_empty() { String::new() } else { format!(". did you mean {}?", near.join(", ")) };
    Error::text(format!("no service {name}: there is no {}{hint}", session.host.paths.env_file(name).display()))
}

fn expand(words: &[String], known: &[String], may_be_new: bool) -> Result<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    for word in words {
        let is_pattern = word.contains(['*', '?', '[']);
        if !is_pattern {
            names.push(word.clone());
            continue;
        }
        let pattern = glob::Pattern::new(word).map_err(|e| Error::Usage(format!("-s {word}: not a pattern: {e}")))?;
        let found: Vec<&String> = known.iter().filter(|k| pattern.matches(k)).collect();
        if found.is_empty() || may_be_new {
            return Err(Error::text(format!("no service matches {word}")));
        }
        names.extend(found.into_iter().cloned());
    }
    let mut seen = std::collections::HashSet::new();
    names.retain(|n| seen.insert(n.clone()));
    Ok(names)
}

/// The other nodes of all these services.
pub fn peers(session: &Session, names: &[String]) -> Vec<String> {
    let files = names.iter().filter_map(|name| EnvFile::load(&session.host.paths.env_file(name)).ok());
    let scopes = files.map(|env| ServiceConfig::new(Arc::new(env), &session.host.node).scope);
    let ours = scopes.filter(|scope| scope.everyone().any(|n| *n == session.host.node));
    let all: BTreeSet<String> = ours.flat_map(|scope| scope.peers().cloned().collect::<Vec<_>>()).collect();
    all.into_iter().collect()
}

fn filter(session: &Session, mut names: Vec<String>, which: Which) -> Result<Vec<String>> {
    let args = &session.args;
    let mut wanted = Vec::new();
    for word in &args.statuses {
        let all: Vec<&str> = Status::ALL.iter().take(8).map(|s| s.name()).collect();
        wanted.push(Status::from_word(word).ok_or_else(|| Error::Usage(format!("--status {word}: not one of {}", all.join(", "))))?);
    }
    let primary = |name: &String| {
        EnvFile::load(&session.host.paths.env_file(name)).is_ok_and(|env| {
            let config = ServiceConfig::new(Arc::new(env), &session.host.node);
            let nodes = config.text("DEFAULT", "autostart_node").unwrap_or_default();
            nodes.split_whitespace().any(|n| n == session.host.node)
        })
    };
    if args.only_primary || which == Which::Primary {
        names.retain(primary);
    }
    if args.only_secondary || which == Which::Secondary {
        names.retain(|n| !primary(n));
    }
    if wanted.is_empty() && !matches!(which, Which::Up | Which::Down) {
        return Ok(names);
    }
    // the lines of this look are shown when the action itself looks
    let log = Logger::init(Arc::new(Memory::default()), session.host.clock.clone());
    let depth = status::Depth::All;
    names.retain(|name| {
        let Ok(service) = build::load(&session.host, name) else { return which == Which::All && wanted.is_empty() };
        let report = status::evaluate(&service, &session.host, &log, depth);
        let by_state = wanted.is_empty() || wanted.contains(&report.overall);
        let by_name = match which {
            Which::Up => matches!(report.overall, Status::Up | Status::Warn) && report.avail == Status::Up,
            Which::Down => report.overall == Status::Down,
            _ => true,
        };
        by_state && by_name
    });
    Ok(names)
}
