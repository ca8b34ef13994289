//! A model of two sites that fail in every way: thousands of random histories, played with the real rules. Beside
//! the rules it knows all writes, and so whether one was lost. `MODEL_CASES` sets how many histories, `MODEL_SEED`
//! which ones.

mod damage;
mod jobs;
mod kinds;
mod operator;
mod send;
mod steps;
mod takeover;
mod world;

use kinds::{NAMES, World};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use steps::{Step, What, history};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

/// Plays a history, then mends everything and lets an operator follow what is printed. The error tells the story.
fn play(steps: &[Step], rids: usize, seen: &mut Seen) -> Result<(), String> {
    let mut world = World::new(rids);
    let told = |world: &World, why: String| Err(format!("{why}\n{}", world.story.join("\n")));
    for step in steps {
        if let Err(why) = world.step(step) {
            return told(&world, why);
        }
    }
    world.repair().and_then(|()| world.way_out()).or_else(|why| told(&world, why))?;
    for line in &world.story {
        let mut words = line.split_whitespace().filter(|w| !NAMES.contains(w));
        *seen.entry(words.next().unwrap_or_default().split('(').next().unwrap_or_default().to_owned()).or_default() += 1;
    }
    Ok(())
}

/// How often what happened.
type Seen = std::collections::BTreeMap<String, usize>;

/// Histories in which little happens prove little.
fn often_enough(seen: &Seen, cases: usize) {
    for what in
        ["Take", "Done", "Hand", "Copy", "StopThere", "Release", "HAND", "CRASH", "CUT", "RESTORE", "DAMAGE", "dies", "warning:", "stays"]
    {
        let times = seen.get(what).copied().unwrap_or_default();
        assert!(times * 200 >= cases, "{what} only {times} times: {seen:?}");
    }
}

#[test]
fn random_histories_lose_no_write() {
    let (cases, seed) = (number("MODEL_CASES", 2500), number("MODEL_SEED", 1));
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config { cases: cases as u32, failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let seen = std::cell::RefCell::new(Seen::new());
    let failed = runner.run(&history(), |(steps, rids)| play(&steps, rids, &mut seen.borrow_mut()).map_err(TestCaseError::fail)).err();
    match failed {
        None => often_enough(&seen.borrow(), cases as usize),
        Some(TestError::Fail(why, (steps, rids))) => panic!("MODEL_SEED={seed}, {rids} replications, {steps:?}\n{why}"),
        Some(other) => panic!("MODEL_SEED={seed}: {other}"),
    }
}

/// Of two who take over at the same moment one wins, whatever the order in which their steps mix.
#[test]
fn of_two_takeovers_at_once_one_wins() {
    for seed in 0..400u64 {
        let mut world = World::new(1);
        let mut mix = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut story = || -> Result<(), String> {
            let step = |what, a| Step { what, a, b: 0, slow: false };
            for (what, a) in [(What::Start, 0), (What::Write, 0), (What::Sync, 0), (What::Stop, 0)] {
                world.step(&step(what, a))?;
            }
            for node in [2, 3] {
                world.step(&Step { slow: true, ..step(What::Force, node) })?;
            }
            while [2, 3].iter().any(|n| world.nodes[*n].job.is_some()) {
                mix ^= mix << 13;
                mix ^= mix >> 7;
                mix ^= mix << 17;
                world.advance(if mix & 256 == 0 { 2 } else { 3 })?;
            }
            match [2, 3].iter().filter(|n| world.nodes[**n].running).count() {
                1 => Ok(()),
                up => Err(format!("{up} have won")),
            }
        };
        if let Err(why) = story() {
            panic!("seed {seed}: {why}\n{}", world.story.join("\n"));
        }
    }
}
