//! States of resources and how they combine.

use Status::{Down, Na, StdbyDown, StdbyUp, StdbyUpWithDown, StdbyUpWithUp, Todo, Undef, Up, Warn};
use serde::{Serialize, Serializer};

/// A state. The discriminant is the exit status of the `status` action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Running.
    Up = 0,
    /// Not running.
    Down = 1,
    /// Needs a look.
    Warn = 2,
    /// Not applicable: does not count, except against `Todo`.
    Na = 3,
    /// Not written yet (kept for scripts that ask for it).
    Todo = 4,
    /// Nothing known: neutral.
    Undef = 5,
    /// Up on a node where it is always on.
    StdbyUp = 6,
    /// Down on a node where it is always on.
    StdbyDown = 7,
    /// A standby resource up beside others up; shown as `up`.
    StdbyUpWithUp = 8,
    /// A standby resource up beside others down; shown as `stdby up`.
    StdbyUpWithDown = 9,
}

impl Status {
    /// All states, by number.
    pub const ALL: [Self; 10] = [Up, Down, Warn, Na, Todo, Undef, StdbyUp, StdbyDown, StdbyUpWithUp, StdbyUpWithDown];

    /// As printed.
    pub fn name(self) -> &'static str {
        match self {
            Up | StdbyUpWithUp => "up",
            Down => "down",
            Warn => "warn",
            Na => "n/a",
            Todo => "todo",
            Undef => "undef",
            StdbyUp | StdbyUpWithDown => "stdby up",
            StdbyDown => "stdby down",
        }
    }

    /// The number of `status`: 0 up … 7 stdby down.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The state a word of `--status` names; lower case only.
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "na" => Some(Na),
            _ => Self::ALL.into_iter().take(8).find(|s| s.name() == word),
        }
    }

    /// Two states seen as one. Symmetric (the table of the 2014 agent).
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        if self == other {
            return self;
        }
        let pair = |a, b| (self == a && other == b) || (self == b && other == a);
        let one = |a| self == a || other == a;
        let rest = if self == Undef || self == Na { other } else { self };
        if one(Warn) {
            Warn
        } else if pair(Undef, Todo) {
            Todo
        } else if one(Undef) || (one(Na) && !one(Todo)) {
            if pair(Undef, Na) { Na } else { rest }
        } else if one(Todo) {
            if one(Up) || one(Down) || one(Na) { Warn } else { Todo }
        } else if pair(Up, StdbyUp) || pair(Up, StdbyUpWithUp) || pair(StdbyUp, StdbyUpWithUp) {
            StdbyUpWithUp
        } else if pair(Down, StdbyUp) || pair(Down, StdbyUpWithDown) || pair(StdbyUp, StdbyUpWithDown) {
            StdbyUpWithDown
        } else if pair(Down, StdbyDown) {
            StdbyDown
        } else {
            Warn
        }
    }

    /// The merge of many, from `Undef`, which is neutral.
    pub fn merge_all(states: impl IntoIterator<Item = Self>) -> Self {
        states.into_iter().fold(Undef, Self::merge)
    }

    /// The two inner states as the one they are shown as.
    #[must_use]
    pub fn fold(self) -> Self {
        match self {
            StdbyUpWithUp => Up,
            StdbyUpWithDown => StdbyUp,
            s => s,
        }
    }

    /// The state of a resource on a node where it is always on.
    #[must_use]
    pub fn standby(self) -> Self {
        match self {
            Up => StdbyUp,
            Down => StdbyDown,
            s => s,
        }
    }

    /// Up, as a standby resource or not.
    pub fn is_up(self) -> bool {
        matches!(self, Up | StdbyUp | StdbyUpWithUp)
    }

    /// Nothing of it is there: not up, not half up.
    pub fn is_idle(self) -> bool {
        matches!(self, Down | StdbyDown | Na | Undef)
    }
}

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The merge table as it was produced by running the 2014 agent; rows and columns in the order of the codes.
    const TABLE: [[Status; 10]; 10] = {
        const U: Status = Up;
        const D: Status = Down;
        const W: Status = Warn;
        const N: Status = Na;
        const T: Status = Todo;
        const X: Status = Undef;
        const S: Status = StdbyUp;
        const E: Status = StdbyDown;
        const P: Status = StdbyUpWithUp;
        const Q: Status = StdbyUpWithDown;
        [
            [U, W, W, U, W, U, P, W, P, W],
            [W, D, W, D, W, D, Q, E, W, Q],
            [W, W, W, W, W, W, W, W, W, W],
            [U, D, W, N, W, N, S, E, P, Q],
            [W, W, W, W, T, T, T, T, T, T],
            [U, D, W, N, T, X, S, E, P, Q],
            [P, Q, W, S, T, S, S, W, P, Q],
            [W, E, W, E, T, E, W, E, W, W],
            [P, W, W, P, T, P, P, W, P, W],
            [W, Q, W, Q, T, Q, Q, W, W, Q],
        ]
    };

    #[test]
    fn merge_is_the_table_and_symmetric() {
        for (a, row) in Status::ALL.into_iter().zip(TABLE) {
            for (b, want) in Status::ALL.into_iter().zip(row) {
                assert_eq!(a.merge(b), want, "{a:?} + {b:?}");
                assert_eq!(b.merge(a), want, "{b:?} + {a:?}");
            }
        }
    }

    #[test]
    fn words_of_the_status_option() {
        for (word, want) in [("up", Some(Up)), ("n/a", Some(Na)), ("na", Some(Na)), ("stdby up", Some(StdbyUp)), ("Up", None), ("", None)] {
            assert_eq!(Status::from_word(word), want);
        }
    }
}
