//! May the service start here, and must authority be taken over first? Decided with what this node knows and what
//! the peers answered.

mod abandon;
mod elsewhere;
mod own;
mod running;

use super::copies::Copy;
use super::words::{instant, span};
use super::{Here, Refusal};
use crate::state::authority::Holder;
use crate::state::gate::Answer;
use abandon::abandon;
use chrono::{DateTime, Duration, Local};
use elsewhere::{Later, claims_elsewhere, fresher, last_writes, later_elsewhere, planned, traces, unsure};
use own::{handed_and_broken, own_data};
use running::{hears_soon, running_elsewhere};
use std::collections::BTreeMap;

/// What each other node of the service answered, or why it did not.
pub type Answers = BTreeMap<String, Result<Answer, String>>;

/// What is decided with. `here` has learned from the answers before.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// This node.
    pub here: &'a Here,
    /// The others.
    pub answers: &'a Answers,
    /// Nodes of a site run side by side.
    pub flex: bool,
}

/// What was typed.
#[derive(Debug, Clone, Default)]
pub struct How {
    /// `takeover`: the holder is asked to hand over; not `start`.
    pub takeover: bool,
    /// `--force`.
    pub force: bool,
    /// `--abandon`: the node whose writes are given up.
    pub abandon: Option<String>,
}

impl How {
    /// The words, for who has to type them again.
    pub fn words(&self) -> String {
        let word = if self.takeover { "takeover" } else { "start" };
        let abandon = self.abandon.as_ref().map(|node| format!(" --abandon {node}")).unwrap_or_default();
        format!("{word}{abandon}{}", if self.force { " --force" } else { "" })
    }
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It starts, after this.
    Go(Go),
    /// It does not.
    Refuse(Refusal),
}

/// What has to be done before the first resource starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Go {
    /// Authority has to be claimed in this epoch.
    pub claim: Option<u64>,
    /// The node that has to hand the data over first: it stops, sends the last writes, gives authority away.
    pub handover: Option<String>,
    /// Nodes where the service runs and has to be stopped, as their writes are given up.
    pub stop: Vec<String>,
    /// Copies whose writes are given up.
    pub abandoned: Vec<String>,
    /// Nodes of the holder that did not answer: a bulk start asks before it takes over from them.
    pub silent: Vec<String>,
    /// What the person at the terminal should know.
    pub warnings: Vec<String>,
}

/// Decides.
pub fn decide(view: &View, how: &How) -> Decision {
    let mut done = steps(view, how);
    if let (Ok(go), true, Some(said)) = (&mut done, how.force && how.abandon.is_none(), hears_soon(view)) {
        go.warnings.push(format!("{said} (--force)"));
    }
    done.map_or_else(Decision::Refuse, Decision::Go)
}

fn steps(view: &View, how: &How) -> Result<Go, Refusal> {
    let here = view.here;
    if how.abandon.is_none() {
        running_elsewhere(view, how)?;
    }
    if !here.copies.replicated() {
        return Ok(Go { warnings: not_asked(view), ..Go::default() });
    }
    claims_elsewhere(view, how)?;
    let holder = match here.holder() {
        Ok(holder) => holder,
        Err(_) if how.force => {
            return Ok(taken(
                view,
                vec![format!("nobody could tell who holds {}: the data of {} are taken for the newest (--force)", here.service, here.node)],
            ));
        }
        Err(why) => return Err(unsure(view, how, &why)),
    };
    if let Some(node) = &how.abandon {
        return abandon(view, how, node);
    }
    traces(view, how, &holder)?;
    if let Some(rival) = here.rival() {
        let what = format!("{} is not started on {}", here.service, here.node);
        return Err(Refusal::split(here, &what, &rival.node));
    }
    if here.holds() {
        if !how.force {
            handed_and_broken(view, &holder)?;
        }
        // a takeover that came to nothing: only a higher epoch ends the promises that were made to it
        let open = here.promise().is_some_and(|p| here.copies.of_node(&p.node) != here.copy());
        // who holds has nothing to ask: whoever typed it is told
        let goes_on = |later: Later| format!("{}, so {} goes on with its own. {}", later.said, here.node, later.remedy);
        let warnings = later_elsewhere(view).into_iter().map(goes_on).chain(not_asked(view)).collect();
        return Ok(Go { claim: open.then(|| highest(view) + 1), warnings, ..Go::default() });
    }
    let mut go = taken(view, Vec::new());
    own_data(view, how, &holder, &mut go)?;
    if how.takeover {
        return planned(view, how, &holder, go);
    }
    fresher(view, how, &mut go)?;
    last_writes(view, &holder, &mut go);
    Ok(go)
}

/// A takeover by an epoch above everything that was heard of.
fn taken(view: &View, warnings: Vec<String>) -> Go {
    Go { claim: Some(highest(view) + 1), warnings, ..Go::default() }
}

fn highest(view: &View) -> u64 {
    let told = answered(view)
        .map(|(_, a)| a.holder.as_ref().map_or(a.epoch, |h| h.epoch.max(a.epoch)).max(a.promise.as_ref().map_or(0, |p| p.epoch)));
    told.fold(view.here.highest(), u64::max)
}

fn answered<'a>(view: &View<'a>) -> impl Iterator<Item = (&'a String, &'a Answer)> + use<'a> {
    view.answers.iter().filter_map(|(node, answer)| Some((node, answer.as_ref().ok().filter(|a| a.known())?)))
}

fn same_site(view: &View, node: &str) -> bool {
    view.here.copies.of_node(node).is_some() && view.here.copies.of_node(node) == view.here.copy()
}

/// Peers that were not reached, each with its reason.
fn not_asked(view: &View) -> Vec<String> {
    silent(view, |_| true)
        .into_iter()
        .map(|(node, why)| format!("{node} does not answer ({why}): not asked whether {} runs there", view.here.service))
        .collect()
}

fn silent<'a>(view: &View<'a>, of: impl Fn(&str) -> bool) -> Vec<(&'a str, &'a str)> {
    view.answers.iter().filter(|(node, _)| of(node)).filter_map(|(node, a)| Some((node.as_str(), a.as_ref().err()?.as_str()))).collect()
}

/// `deb2 took the data over at 18:00:00 (epoch 1)`.
fn since(here: &Here, holder: &Holder) -> String {
    let (who, at) = (&holder.node, instant(holder.since, here.now));
    match holder {
        Holder { epoch: 0, .. } => format!("{who} holds the data"),
        Holder { handed: true, epoch, .. } => format!("{who} was handed the data at {at} (epoch {epoch})"),
        Holder { epoch, .. } => format!("{who} took the data over at {at} (epoch {epoch})"),
    }
}

/// The node of the holder's copy to type at: where it runs, else the one that took authority.
fn at<'a>(view: &'a View, holder: &'a Holder) -> (&'a str, bool) {
    let nodes = nodes_of(view, holder).map(|c| c.nodes.as_slice()).unwrap_or_default();
    let up = |peer: &&String| view.answers.get(*peer).is_some_and(|a| a.as_ref().is_ok_and(|a| a.running == Some(true)));
    nodes.iter().find(up).map_or((holder.node.as_str(), false), |n| (n.as_str(), true))
}

/// The command that brings the holder's data here: a holder that is down sends nothing.
fn send(view: &View, holder: &Holder, words: &str) -> String {
    let (service, (who, up)) = (&view.here.service, at(view, holder));
    if up {
        format!("on {who}: svcmgr -s {service} {words}")
    } else {
        format!("on {who}: svcmgr -s {service} start   (it has the newest data; for a copy on {} then: {words})", view.here.node)
    }
}

/// The command that brings them here over data of our own.
fn over(view: &View, holder: &Holder) -> String {
    let here = view.here;
    if here.copies.home().is_some_and(|h| Some(h) == here.copy()) {
        return format!("on {}: svcmgr -s {} giveback   (brings its data home and starts here)", at(view, holder).0, here.service);
    }
    let made = if at(view, holder).1 { "   (makes a fresh copy here)" } else { "" };
    format!("{}{made}", send(view, holder, &format!("sync full --abandon {}", here.node)))
}

/// The oldest of the data here.
fn data_of(here: &Here) -> Option<DateTime<Local>> {
    here.rids().iter().filter_map(|rid| here.data(rid).image.frozen_at).min()
}

fn nodes_of<'a>(view: &View<'a>, holder: &Holder) -> Option<&'a Copy> {
    view.here.copies.named(&holder.copy, &holder.node)
}

/// The node of the holder that hands over: the one where it runs, else where it ran last.
fn giver<'a>(view: &View<'a>, holder: &Holder) -> Option<&'a String> {
    let nodes = &nodes_of(view, holder)?.nodes;
    let there = |peer: &&String| view.answers.get(*peer).is_some_and(|a| a.as_ref().is_ok_and(|a| a.known() && a.unsure.is_none()));
    let up = |peer: &&String| view.answers.get(*peer).is_some_and(|a| a.as_ref().is_ok_and(|a| a.running == Some(true)));
    let ran = |peer: &&String| view.answers.get(*peer).and_then(|a| a.as_ref().ok()?.up_until);
    nodes.iter().find(up).or_else(|| nodes.iter().filter(there).max_by_key(ran))
}

/// How far a peer's clock is ahead of ours.
pub fn skew(answer: &Answer, now: DateTime<Local>) -> Duration {
    let clock = answer.clock.as_deref().and_then(|c| DateTime::parse_from_rfc3339(c).ok());
    clock.map_or_else(Duration::zero, |c| c.with_timezone(&Local) - now)
}

/// The same of a peer that is to get authority.
pub fn ahead(answer: &Answer, now: DateTime<Local>) -> Duration {
    sure(skew(answer, now))
}

/// When authority came to `holder`, by our clock as far as whose clock it was told by answers.
fn came(view: &View, holder: &Holder) -> DateTime<Local> {
    let copy = |peer: &str| view.here.copies.of_node(peer).map(|c| &c.name);
    // a handover is written by who gives
    let wrote = |peer: &str| if holder.handed { copy(peer) == holder.from.as_ref() } else { peer == holder.node };
    let ahead = answered(view).find(|(peer, _)| wrote(peer)).map_or_else(Duration::zero, |(_, a)| skew(a, view.here.now));
    holder.since - ahead
}

/// How far the clock of who holds, as far as it answers, is behind ours. `here` is of the time of the answers.
pub fn behind(here: &Here, answers: &Answers) -> Duration {
    let Some((holder, copy)) = here.holder().ok().zip(here.holding()).filter(|(h, _)| h.node != here.node) else {
        return Duration::zero(); // the record goes by this clock
    };
    let said = |node: &String| answers.get(node).and_then(|a| a.as_ref().ok()).map(|a| sure(-skew(a, here.now)));
    // a clock beside it tells less
    let beside = || copy.nodes.iter().find_map(said).map(|behind| behind.min(Duration::zero()));
    said(&holder.node).or_else(beside).unwrap_or_default()
}

/// By how much an instant may be moved between two clocks from which it counts what is newer. Answers take their time,
/// so it is moved to a later one for more than that only: what is taken for newer than it is gets nobody overwritten.
fn sure(by: Duration) -> Duration {
    if by < Duration::zero() || by > Duration::seconds(60) { by } else { Duration::zero() }
}

/// What `boot` does on a node whose copy holds authority, when other copies are configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Boot {
    /// The service starts.
    Start,
    /// Only what is always on: why.
    Standby(String),
    /// For what it has to wait.
    Wait(String),
    /// Somebody who answers is at work: for what it has to wait, and then start, which looks at it itself.
    Busy(String),
}

/// Decides for a boot. `down`: for how long this node was down, if that is known; `alone`: for how long it may have
/// been to start without having asked anybody, `None` for any time; `over`: it has waited long enough.
pub fn boot(view: &View, down: Option<Duration>, alone: Option<Duration>, over: bool) -> Boot {
    let here = view.here;
    if !here.copies.replicated() {
        return Boot::Start;
    }
    match here.holder() {
        Err(why) if over => return Boot::Standby(format!("it is not known who holds the data: {why}")),
        Err(why) => return Boot::Wait(format!("it is not known who holds the data: {why}")),
        Ok(_) if here.rival().is_some() => return Boot::Standby("two copies both hold the data: see `where`".into()),
        Ok(holder) if !here.holds() => {
            return Boot::Standby(format!(
                "{} holds the data since {} (epoch {})",
                holder.node,
                instant(holder.since, here.now),
                holder.epoch
            ));
        }
        Ok(_) => {}
    }
    if answered(view).any(|(node, _)| here.copies.of_node(node) != here.copy()) {
        // of what was written nobody knows when, mostly by who had a look at it, start warns: it is not overwritten, and
        // home is not down for it
        return match later_elsewhere(view).into_iter().find(|later| later.dated) {
            // as good as a higher epoch: two histories are made of one by a person only
            Some(Later { said, remedy, .. }) => {
                let (service, node) = (&here.service, &here.node);
                Boot::Standby(format!("{said}. {remedy}; to keep those of {node}, on {node}: svcmgr -s {service} start"))
            }
            None => hears_soon(view).map_or(Boot::Start, Boot::Busy),
        };
    }
    if !over {
        return Boot::Wait("no node of another copy answers".into());
    }
    match (down, alone) {
        (_, None) => Boot::Start,
        (None, Some(alone)) if !alone.is_zero() => Boot::Start,
        (None, Some(_)) => Boot::Standby("no node of another copy answers, and boot_alone is never".into()),
        (Some(down), Some(alone)) if down.abs() < alone => Boot::Start,
        // a clock that was set back, or lost its battery, tells nothing
        (Some(down), _) if down < Duration::zero() => Boot::Standby(format!(
            "no node of another copy answers, and it is not known for how long this node was down: its clock is {} behind that of its last run. another site may have taken over. to start here: svcmgr -s {} start",
            span(-down),
            here.service
        )),
        (Some(down), Some(alone)) => Boot::Standby(format!(
            "no node of another copy answers, and this node was down for {}: longer than boot_alone ({}). another site may have taken over. to start here: svcmgr -s {} start",
            span(down),
            span(alone),
            here.service
        )),
    }
}
