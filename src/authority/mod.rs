//! Who may write and send: copies of the data, the one that holds authority, and the rules for start, takeover and
//! receiving. Pure: it decides with what was read and answered, and does nothing.

pub mod copies;
pub mod here;
#[cfg(test)]
mod model;
pub mod receive;
#[cfg(test)]
mod refusals_tests;
pub mod start;

pub mod words;
pub mod written;

#[cfg(test)]
mod edges_tests;

pub use copies::{Copies, Copy};
pub use here::{Here, Learned};

use std::fmt;

/// Why something is not done: four lines for who has to decide what to do instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What is refused.
    pub what: String,
    /// Why: who, when.
    pub why: String,
    /// What would be lost.
    pub stake: String,
    /// What to type, and on which node.
    pub remedy: String,
}

impl Refusal {
    /// `what` is not done, as the holder that `here` knows and `other` both hold the data: someone has to choose.
    pub fn split(here: &Here, what: &str, other: &str) -> Self {
        let (service, holder) = (&here.service, here.holder().ok());
        let (mine, epoch) = holder.as_ref().map_or((&here.node, 0), |h| (&h.node, h.epoch));
        let said = |node: &str| match holder.iter().chain(here.rival()).find(|h| h.node == node && h.epoch > 0) {
            Some(holder) => format!("{node} since {}", words::instant(holder.since, here.now)),
            None => node.to_owned(),
        };
        Self {
            what: format!("{what}: two copies both hold the data"),
            why: format!("{} and {} took over without seeing each other (epoch {epoch})", said(mine), said(other)),
            stake: "the writes of one of them: someone has to choose".into(),
            remedy: format!(
                "to keep the data of {mine}, on {mine}: svcmgr -s {service} takeover --abandon {other}; to keep those of {other}, on {other}: svcmgr -s {service} takeover --abandon {mine}   (compare first: svcmgr -s {service} where)"
            ),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}\n  why:      {}\n  at stake: {}\n  type:     {}", self.what, self.why, self.stake, self.remedy)
    }
}
