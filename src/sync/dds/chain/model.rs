//! A model of the chain: three volumes on four nodes, that write, send, crash, take over, fill their snapshots and lose
//! their files, thousands of random histories, played with the real decisions. Beside them it knows what every image
//! was. `MODEL_CASES` sets how many histories, `MODEL_SEED` which ones.

mod lvm;
mod round;
mod sender;
mod world;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use std::cell::RefCell;
use std::collections::BTreeMap;
use world::World;

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// The holder writes some chunks.
    Write,
    /// The holder sends.
    Round,
    /// The same, by comparing.
    Resync,
    /// The other node of the primary site goes on with the same volume.
    Failover,
    /// A node with another copy takes over.
    Takeover,
    /// What is home's goes home.
    Giveback,
    /// A node's files are put aside, as a backup does.
    Backup,
    /// They come back.
    Restore,
    /// They are lost.
    Forget,
    /// A list of chunks is lost.
    LoseList,
    /// Somebody removes a snapshot.
    RemoveSnapshot,
    /// A snapshot is full.
    Overflow,
    /// A node that was to apply something looks after it by itself.
    Recover,
}

/// One event; the numbers choose who, how much, and where it breaks off.
#[derive(Debug, Clone, Copy)]
pub(super) struct Event {
    pub what: What,
    pub a: u64,
    pub b: u64,
    pub c: u64,
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

/// Histories of crashes, absent peers and broken transfers alone; and those in which some of everything else happens:
/// few kinds in each, so that they meet.
fn history(all: bool) -> impl Strategy<Value = Vec<Event>> {
    use What::*;
    let wild = vec![Resync, Failover, Takeover, Giveback, Backup, Restore, Forget, LoseList, RemoveSnapshot, Overflow];
    let kinds = if all { proptest::sample::subsequence(wild, 0..=4) } else { proptest::sample::subsequence(Vec::new(), 0) };
    kinds.prop_flat_map(|kinds| {
        let tame = [Write, Write, Round, Round, Round, Recover];
        let what = proptest::sample::select([&tame[..], &kinds, &kinds].concat());
        let event = (what, any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(what, a, b, c)| Event { what, a, b, c });
        proptest::collection::vec(event, 1..40)
    })
}

/// How often what happened.
type Told = BTreeMap<&'static str, usize>;

fn run(all: bool, cases: u64, told: &RefCell<Told>) {
    let seed = number("MODEL_SEED", 1);
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config { cases: cases as u32, failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let failed = runner.run(&history(all), |events| {
        let mut world = World::new(!all);
        let played = world.play(&events);
        world.told.iter().for_each(|(what, n)| *told.borrow_mut().entry(what).or_default() += n);
        played.map_err(|why| TestCaseError::fail(format!("{why}\n{}", world.story.join("\n"))))
    });
    match failed {
        Ok(()) => {}
        Err(TestError::Fail(why, events)) => panic!("MODEL_SEED={seed} {events:?}\n{why}"),
        Err(other) => panic!("MODEL_SEED={seed}: {other}"),
    }
}

/// Histories in which little happens prove little.
fn often(told: &Told, cases: u64, what: &[&str]) {
    for what in what {
        let times = told.get(what).copied().unwrap_or_default() as u64;
        assert!(times * 50 >= cases, "{what} only {times} times: {told:?}");
    }
}

#[test]
fn a_replica_is_an_image_or_says_that_it_is_none() {
    let (cases, told) = (number("MODEL_CASES", 3000), RefCell::default());
    run(true, cases, &told);
    let expected = ["delta", "behind", "whole", "hashes", "union", "crash", "peer crash", "cut", "takeover", "giveback", "full", "stale"];
    often(&told.borrow(), cases, &expected);
}

/// Nothing but time and crashes: what was compared once need never be compared again.
#[test]
fn crashes_and_absence_alone_need_no_comparing() {
    let (cases, told) = (number("MODEL_CASES", 3000) / 3, RefCell::default());
    run(false, cases, &told);
    often(&told.borrow(), cases, &["delta", "behind", "whole", "crash", "peer crash", "cut"]);
}
