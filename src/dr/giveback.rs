//! `giveback`: brings a service home from the copy that has taken it over, with all data.

use crate::action::authority::Desk;
use crate::action::execute::Run;
use crate::action::passes::stopped;
use crate::action::select::Selection;
use crate::action::{Options, call, handover};
use crate::authority::Refusal;
use crate::authority::start::Answers;
use crate::authority::words::{instant, list};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::log::Logger;
use crate::service::Service;
use crate::state::gate::Answer;

/// Does it.
pub fn act(service: &Service, host: &Host, log: &Logger, options: &Options) -> Result<()> {
    let run = Run::new(service, host, log, options);
    give(&run).map_err(|e| stopped(&run, "giveback", e))
}

fn give(run: &Run) -> Result<()> {
    if !Selection::of(run.service, run.options)?.is_all() {
        return Err(Error::text("giveback is of the whole service: --rid and --tags have no place here"));
    }
    let mut desk = Desk::load(run.service, run.host, run.log, run.options.dry_run, true);
    let (name, node) = (&run.service.name, &run.host.node);
    if !desk.here.copies.replicated() {
        return Err(Error::text(format!("no data of {name} are replicated: there is nothing to bring home. stop it here, start it there")));
    }
    let answers = desk.look()?;
    let home = desk.here.copies.home().cloned().ok_or_else(|| Error::text("the service has no nodes"))?;
    if !desk.here.holds() {
        if let Some(node) = left_down(&desk, &answers) {
            run.log.info(format!("{name} was brought home to {node} and is not up there: starting it"));
            return call::remote((run.host, run.log, run.options), name, &node, &["start"], handover::START);
        }
        if let Some(node) = home.nodes.iter().find(|n| desk.here.holding() == Some(&home) && up(n, &answers)) {
            run.log.info(format!("{name} is at home: it runs on {node}"));
            return Ok(());
        }
        return refuse(run, &not_here(&desk));
    }
    if desk.here.copy() == Some(&home) {
        run.log.info(format!("{name} is at home: {node} holds its data"));
        return Ok(());
    }
    let to = destination(run, &home.nodes, &answers)?;
    let abandon = run.options.abandon.as_ref().is_some_and(|n| home.nodes.contains(n));
    if let Some(other) = run.options.abandon.as_ref().filter(|_| !abandon) {
        return Err(Error::text(format!("--abandon {other}: giveback gives up writes of home only ({})", list(&home.nodes))));
    }
    for peer in running(&home.nodes, &answers) {
        if !abandon {
            return refuse(run, &both_up(&desk, &peer));
        }
        run.log.warning(format!("what {peer} has written is given up, as you say (--abandon): the data of {node} are kept"));
        call::stop((run.host, run.log, run.options), name, &peer)?;
    }
    handover::move_to(run, &desk, &to, abandon)
}

/// A way home that ended between the last writes and the start there: the node that has to be started.
fn left_down(desk: &Desk, answers: &Answers) -> Option<String> {
    let here = &desk.here;
    let holder = here.holder().ok().filter(|h| h.handed && here.rival().is_none())?;
    let ours = here.copy().is_some_and(|c| holder.from.as_ref() == Some(&c.name));
    let home = here.copies.home().filter(|home| ours && here.holding() == Some(home))?;
    let asked = |n: &String| answers.get(n).is_some_and(|a| a.as_ref().is_ok_and(Answer::known)) && !up(n, answers);
    home.nodes.contains(&holder.node).then_some(holder.node).filter(|_| home.nodes.iter().all(asked))
}

/// All of the service is up there.
fn up(node: &str, answers: &Answers) -> bool {
    answers.get(node).is_some_and(|a| a.as_ref().is_ok_and(|a| a.avail.as_deref() == Some("up")))
}

fn refuse(run: &Run, refusal: &Refusal) -> Result<()> {
    run.log.error(refusal.to_string());
    Err(Error::Reported)
}

/// The node of home that takes it: `--to`, else the first that answers.
fn destination(run: &Run, home: &[String], answers: &Answers) -> Result<String> {
    let there = |node: &&String| answers.get(*node).is_some_and(|a| a.as_ref().is_ok_and(Answer::known));
    let name = &run.service.name;
    let wanted: Vec<&String> = match run.options.to.as_ref().map(|n| n.to_lowercase()) {
        Some(to) => match home.iter().find(|n| **n == to) {
            Some(node) => vec![node],
            None => return Err(Error::text(format!("--to {to}: home of {name} is {}", list(home)))),
        },
        None => {
            let autostart: Vec<String> = run.service.autostart_node.iter().map(|n| n.to_lowercase()).collect();
            let mut nodes: Vec<&String> = home.iter().collect();
            nodes.sort_by_key(|n| !autostart.contains(n));
            nodes
        }
    };
    wanted.iter().find(|n| there(n)).map(|n| (*n).clone()).ok_or_else(|| {
        let why = wanted.iter().map(|n| match answers.get(*n) {
            Some(Err(why)) => format!("{n}: {why}"),
            _ => format!("{n} does not know {name}"),
        });
        Error::text(format!(
            "{name} cannot be brought home, no node of home answers ({}). nothing was stopped",
            why.collect::<Vec<_>>().join("; ")
        ))
    })
}

fn running(home: &[String], answers: &Answers) -> Vec<String> {
    let up = |node: &&String| answers.get(*node).is_some_and(|a| a.as_ref().is_ok_and(|a| a.running == Some(true)));
    home.iter().filter(up).cloned().collect()
}

fn not_here(desk: &Desk) -> Refusal {
    let (name, node) = (&desk.here.service, &desk.here.node);
    match (desk.here.holder(), desk.here.rival()) {
        (Ok(holder), None) => Refusal {
            what: format!("{name} is not given back by {node}: {node} does not hold its data"),
            why: format!("{} holds them since {} (epoch {})", holder.node, instant(holder.since, desk.here.now), holder.epoch),
            stake: format!("the writes of {}", holder.node),
            remedy: if desk.here.copies.home() == desk.here.holding() {
                format!("{name} is at home, and not up. on {}: svcmgr -s {name} start", holder.node)
            } else {
                format!("on {}: svcmgr -s {name} giveback", holder.node)
            },
        },
        (Ok(_), Some(rival)) => Refusal::split(&desk.here, &format!("{name} is not given back by {node}"), &rival.node),
        (Err(why), _) => Refusal {
            what: format!("{name} is not given back by {node}: it is not known who holds the data"),
            why,
            stake: "newer data on another node".into(),
            remedy: format!("on {node}: svcmgr -s {name} where"),
        },
    }
}

fn both_up(desk: &Desk, peer: &str) -> Refusal {
    let (name, node) = (&desk.here.service, &desk.here.node);
    let since = desk.here.holder().map_or_else(|_| String::new(), |h| format!(" since {}", instant(h.since, desk.here.now)));
    Refusal {
        what: format!("{name} is not brought home: it runs on {peer} too"),
        why: format!("{node} holds the data{since}, and {peer} was started all the same: both have been written"),
        stake: format!("the writes of {peer} or those of {node}: someone has to choose"),
        remedy: format!(
            "to keep those of {node}: on {node}: svcmgr -s {name} giveback --abandon {peer}; to keep those of {peer}: on {peer}: svcmgr -s {name} takeover --abandon {node}"
        ),
    }
}
