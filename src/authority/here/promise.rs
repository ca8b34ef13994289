//! Promises: an epoch is for one claimant, who takes it up or gives it back.

use super::Here;
use crate::authority::receive::GOOD;
use crate::authority::words::{instant, span};
use crate::state::authority::{Known, Promise, Record};

impl Here {
    /// Promises `claim`, or says why not. `busy`: the service runs here, or is being started.
    pub fn promise_to(&mut self, claim: &Promise, busy: Option<&str>) -> Result<(), String> {
        let holder = match self.holder() {
            Ok(holder) => holder,
            // it cannot be written down: nothing is settled here while the claimant is at work. It has seen of which
            // epoch the data here are
            Err(_) if claim.epoch > self.highest() => return busy.map_or(Ok(()), |what| Err(what.to_owned())),
            Err(why) => return Err(format!("{} does not know who holds {}: {why}", self.node, self.service)),
        };
        if holder.epoch >= claim.epoch {
            return Err(format!("{} knows {} to hold {} (epoch {})", self.node, holder.node, self.service, holder.epoch));
        }
        // also to who asks for a higher epoch: the other one does not hear of it, and would go on
        if let Some(other) = self.promise().filter(|p| p.node != claim.node) {
            return Err(format!("{} is taking {} over (epoch {}, promised by {})", other.node, self.service, other.epoch, self.node));
        }
        if let Some(what) = busy {
            return Err(what.to_owned());
        }
        let mut record = self.record.known().cloned().unwrap_or_else(|| Record::of(holder));
        record.promise = Some(Promise { at: self.now, ..claim.clone() });
        self.record = Known::Known(record);
        Ok(())
    }

    /// Promises `claim` to ourselves. A record that is not known here is no hindrance: someone has chosen.
    pub fn promise_self(&mut self, claim: &Promise) -> Result<(), String> {
        if self.record.fault().is_some() { Ok(()) } else { self.promise_to(claim, None) }
    }

    /// What this node has promised to itself still stands: nobody has taken authority meanwhile, and the others keep
    /// what they promised. A record that is not known promises nothing, and is no hindrance. The error says why not.
    pub fn claims(&self, claim: &Promise) -> Result<(), String> {
        let age = (self.now - claim.at).abs();
        if age >= GOOD {
            return Err(format!(
                "the others promised {} to {} at {}, {} ago by this clock, and their promises are good for {}",
                self.service,
                self.node,
                instant(claim.at, self.now),
                span(age),
                span(GOOD)
            ));
        }
        let ours = |p: &Promise| p.epoch == claim.epoch && p.node == self.node;
        if self.record.fault().is_some() || self.promise().is_some_and(ours) { Ok(()) } else { Err(self.held_by()) }
    }

    /// Who holds now, for who has come too late.
    pub fn held_by(&self) -> String {
        self.holder().map_or_else(|why| why, |h| format!("{} holds {} now (epoch {})", h.node, self.service, h.epoch))
    }

    /// Forgets exactly this promise, which its claimant has forgotten: it was asked, and is not taking over. One that
    /// was given to it since stays.
    pub fn forget(&mut self, stale: &Promise) {
        if let Known::Known(record) = &mut self.record
            && record.promise.as_ref() == Some(stale)
        {
            record.promise = None;
        }
    }

    /// Forgets a promise that its claimant has given up.
    pub fn release(&mut self, claim: &Promise) {
        if let Known::Known(record) = &mut self.record
            && record.promise.as_ref().is_some_and(|p| p.node == claim.node && p.epoch == claim.epoch)
        {
            record.promise = None;
        }
    }
}
