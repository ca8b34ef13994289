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

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}\n  why:      {}\n  at stake: {}\n  type:     {}", self.what, self.why, self.stake, self.remedy)
    }
}
