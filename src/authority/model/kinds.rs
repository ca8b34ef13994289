//! What the model is made of: machines, their data, what they are doing, and the truth about all writes.

use crate::authority::start::{Answers, Go, How};
use crate::authority::{Here, Refusal};
use crate::state::authority::Promise;
use crate::state::replica::Image;
use chrono::{DateTime, Local};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The machines: the first two share one copy.
pub const NAMES: [&str; 4] = ["n1", "n2", "d1", "d2"];
pub const SERVICE: &str = "svc1";

/// The number of the copy a machine has.
pub fn copy_of(node: usize) -> usize {
    node.saturating_sub(1)
}

/// The machine called so.
pub fn number_of(name: &str) -> usize {
    NAMES.iter().position(|n| *n == name).unwrap_or_else(|| panic!("no machine {name}"))
}

/// A transfer that a machine is receiving.
#[derive(Debug, Clone, PartialEq)]
pub struct Receiving {
    pub from: usize,
    pub round: usize,
}

/// A machine.
pub struct Node {
    /// What is on its disk below var.
    pub here: Here,
    pub up: bool,
    pub running: bool,
    /// How far its clock is wrong, seconds.
    pub skew: i64,
    /// When it was alive last, true seconds.
    pub alive: i64,
    pub job: Option<Job>,
    pub receiving: Option<Receiving>,
    /// It dies between the next two files it writes.
    pub tear: bool,
    /// Yesterday's var, and when it came back.
    pub backup: Option<Here>,
    pub restored_at: usize,
    /// When one of its files was damaged last.
    pub damaged_at: usize,
    /// Whom its running instance could not ask, and when it asked and took.
    pub missed: BTreeSet<usize>,
    pub took_at: usize,
}

/// The data of one replication in one copy: numbers of writes.
#[derive(Debug, Clone, Default)]
pub struct Data {
    pub writes: BTreeSet<usize>,
    /// When it was written last, by the clock of who wrote.
    pub newest: Option<DateTime<Local>>,
    /// A transfer ended in the middle.
    pub torn: bool,
}

/// One acknowledged write.
#[derive(Debug, Clone)]
pub struct Write {
    pub node: usize,
    pub copy: usize,
    pub epoch: u64,
    pub at: usize,
    /// Nobody ran the service for it.
    pub by_hand: bool,
}

pub struct World {
    pub nodes: Vec<Node>,
    pub cut: BTreeSet<(usize, usize)>,
    /// By copy and replication.
    pub data: Vec<Vec<Data>>,
    pub writes: Vec<Write>,
    /// Writes that someone has chosen to lose.
    pub given_up: BTreeSet<usize>,
    /// Writes that a takeover left behind, and said so.
    pub left_behind: BTreeSet<usize>,
    /// Whose writes someone has given up: epoch, keeper's copy, loser's copy.
    pub chosen: BTreeSet<(u64, usize, usize)>,
    /// Those of them that no transfer has begun to overwrite since.
    pub unused: BTreeSet<(u64, usize, usize)>,
    /// When authority was taken: epoch, copy, step.
    pub taken: Vec<(u64, usize, usize)>,
    /// What was frozen in a round.
    pub rounds: Vec<Vec<BTreeSet<usize>>>,
    /// A clock was set in the middle of the story; one that was wrong from the beginning is no excuse.
    pub clock_set: bool,
    /// When one was set last.
    pub clock_at: usize,
    /// True time in seconds, and in events.
    pub time: i64,
    pub events: usize,
    /// Who is being written to takes what it has for a replica, or was made ready to lose it.
    pub unaware: bool,
    pub refused: Option<Refusal>,
    pub warnings: Vec<String>,
    pub story: Vec<String>,
}

/// Why something is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A sync of a service that is up.
    Sync,
    /// The last writes of one that was stopped for it.
    Handover,
    /// To home.
    Giveback,
}

/// One thing to do.
#[derive(Debug, Clone, Copy)]
pub enum Todo {
    /// Ask and decide whether a boot starts the service; has it waited long enough?
    Boot(bool),
    /// Ask everybody, decide.
    Ask,
    /// Stop the service there, as its writes are given up.
    StopThere(usize),
    /// Ask for a promise.
    Claim(usize),
    /// Write that we hold.
    Take,
    /// Tell who holds.
    Tell(usize),
    /// Give a promise back.
    Release(usize),
    /// The first resource starts.
    Start,
    /// Who holds stops, down to its disks.
    GiveStop(usize),
    /// Get home ready to receive.
    Prepare(usize),
    /// Freeze the data of `from`.
    Freeze(usize),
    /// The gate of a peer.
    Gate(usize, usize, Mode),
    /// The receiving end begins.
    Open(usize, usize, Mode),
    /// One replication is written.
    Copy(usize, usize, usize),
    /// It is confirmed.
    Done(usize, usize, Mode),
    /// Who holds writes that the other one does now.
    Hand(usize, usize),
    /// The other one hears it.
    Learn(usize, usize),
}

/// What it is doing, and with what.
#[derive(Default, Clone)]
pub struct Job {
    pub name: String,
    pub how: How,
    pub todo: VecDeque<Todo>,
    pub go: Go,
    pub answers: Answers,
    pub claim: Option<Promise>,
    pub promised: Vec<usize>,
    /// Machines that did not answer at any time.
    pub missed: BTreeSet<usize>,
    /// When the others were asked.
    pub asked_at: usize,
    pub before: Option<Here>,
    pub taken: bool,
    /// Machines that work for this one.
    pub helpers: BTreeSet<usize>,
    pub round: usize,
    pub images: BTreeMap<String, Image>,
    /// A start with `--force` did not reach this one, and has left its claim aside.
    pub overruled: bool,
    /// `--abandon` of a giveback.
    pub give_up: bool,
}

/// A refusal that is not one of the rules.
pub fn refuse(what: impl Into<String>, remedy: impl Into<String>) -> Refusal {
    Refusal { what: what.into(), why: String::new(), stake: String::new(), remedy: remedy.into() }
}
