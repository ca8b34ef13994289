//! What was written into a copy after it had arrived whole: told by the data themselves, as no record needs to know of
//! it. The records may be of an older backup; or somebody has mounted the copy by hand.

use super::words::{instant, lost};
use super::{Here, Refusal};
use crate::state::authority::{Holder, Known};
use crate::state::gate::Held;
use crate::state::replica::{Replica, State};
use chrono::{DateTime, Local, TimeDelta};

/// The steps that a filesystem's clock may go in: FAT counts in twos.
const STEP: TimeDelta = TimeDelta::seconds(2);

/// When data were written last, as their filesystem tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Newest {
    /// The newest change of anything there.
    At(DateTime<Local>),
    /// There is nothing.
    Nothing,
    /// It could not be found out, or not in time.
    Unknown,
}

impl Here {
    /// Of `rid` here is a copy that nobody has touched, as far as this node remembers: only of those the data are asked.
    /// Not of one whose writes are given up; nor of 2014's stamps, which do not tell when a transfer ended.
    pub fn untouched(&self, rid: &str) -> bool {
        !self.given_up(rid) && self.replica(rid).is_some()
    }

    fn replica(&self, rid: &str) -> Option<&Replica> {
        let file = self.replicas.get(rid)?.known()?;
        Some(file).filter(|_| self.data(rid).state == Some(State::Replica))
    }

    /// The copy of `rid` was written here after it had arrived whole: the newest change of anything below it is
    /// `newest`. `together`: replications with the same or a part of the same files, whose transfers change them too.
    /// `beside`: what the other nodes of this copy have of `rid`, as a transfer may have come by way of them.
    pub fn written_after<'a>(
        &self,
        rid: &str,
        newest: Newest,
        together: &[String],
        beside: impl Iterator<Item = &'a Held> + Clone,
    ) -> bool {
        let (Newest::At(newest), Some(replica)) = (newest, self.replica(rid).filter(|_| self.untouched(rid))) else { return false };
        let unfinished = |state: State| matches!(state, State::InProgress | State::Torn);
        let files = || together.iter().filter_map(|other| self.replicas.get(other).and_then(Known::known)).filter(|r| r.node == self.node);
        // what has broken off has changed files as well
        if files().any(|r| unfinished(r.state)) || beside.clone().any(|held| held.state.is_some_and(unfinished)) {
            return false;
        }
        let ours = files().filter(|r| r.state == State::Replica).map(|r| r.since);
        let theirs = beside.filter(|held| held.state == Some(State::Replica)).filter_map(|held| held.since);
        newest > ours.chain(theirs).fold(replica.since, DateTime::max) + STEP
    }

    /// Puts on record that it was: nothing overwrites it before someone chooses.
    pub fn written(&mut self, rid: &str, newest: Newest) {
        let now = self.now;
        if let (Newest::At(newest), Some(Known::Known(replica))) = (newest, self.replicas.get_mut(rid)) {
            (replica.state, replica.since, replica.written_until) = (State::Orphan, now, Some(newest));
        }
    }

    /// The service ran here until `at`, as this node remembers. Else something was written of which nobody knows why.
    pub fn ran_until(&self, at: DateTime<Local>) -> bool {
        self.last_run.as_ref().is_some_and(|run| run.until.is_none_or(|until| until + STEP >= at))
    }
}

/// Of what this node wrote of its own as `rid`, before the data of `holder` come over it: a warning, if it is older than
/// the takeover and lost by it; refused, if it is newer. `skew`: how far the holder's clock is ahead; `abandon`: someone
/// gives it up.
pub fn given_up_for(
    here: &Here,
    holder: &Holder,
    rid: &str,
    newest: Newest,
    skew: TimeDelta,
    abandon: bool,
) -> Result<Option<String>, Refusal> {
    let (name, node, taker) = (&here.service, &here.node, &holder.node);
    // the data do not tell, and it may have run longer than it was seen
    let crashed = newest == Newest::Unknown && here.last_run.as_ref().is_some_and(|run| run.crashed);
    let newest = match newest {
        Newest::Nothing => return Ok(None),
        Newest::At(at) => Some(at),
        Newest::Unknown => here.last_run.as_ref().and_then(|r| r.until),
    };
    // a second holder after the first: home has been without them since the first
    let left = holder.away.unwrap_or(holder.since);
    let base = here.data(rid).image.frozen_at;
    let until = here.last_run.as_ref().filter(|r| !r.crashed).and_then(|r| r.until);
    // it ended before the last image that it sent: the times of what was written then are as wrong
    let set_back = base.zip(until).filter(|(base, until)| *until + STEP < *base).map(|(_, until)| until);
    let what = newest.map_or_else(|| "at a time that could not be found out".into(), |at| instant(at, here.now));
    if newest.is_none_or(|at| at + skew > left) && !abandon {
        return Err(Refusal {
            what: format!("{rid} of {name} is not brought to {node}: {node} has written data after {taker} took over"),
            why: format!("the newest data on {node} are of {what}; {taker} took over at {} (its clock)", instant(left, here.now)),
            stake: format!("the writes of {node} since then, or those of {taker}: someone has to choose"),
            remedy: format!(
                "to keep those of {taker}: on {taker}: svcmgr -s {name} giveback --abandon {node}; to keep those of {node}: on {node}: svcmgr -s {name} takeover --abandon {taker}"
            ),
        });
    }
    Ok(match (base, newest) {
        (Some(base), Some(at)) if at > base => Some(format!(
            "the writes made on {node} between {} and {what} ({}) were never sent: they are overwritten with the data of {taker}",
            instant(base, here.now),
            lost(at - base),
        )),
        (Some(base), _) if crashed => Some(format!(
            "what {node} wrote after {}, until it crashed (it was seen last at {what}), was never sent: it is overwritten with the data of {taker}",
            instant(base, here.now),
        )),
        (Some(base), _) if let Some(until) = set_back => Some(format!(
            "what {node} wrote after its last sync was never sent: it is overwritten with the data of {taker}. how much that is cannot be told, as the clock of {node} was set back: the sync is of {}, and {name} ran until {}",
            instant(base, here.now),
            instant(until, here.now),
        )),
        (None, _) => Some(format!("what {node} wrote of its own, until {what}, is overwritten with the data of {taker}")),
        _ => None,
    })
}
