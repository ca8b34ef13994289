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
use steps::{Step, history};

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
    for what in ["Take", "Done", "Hand", "Copy", "StopThere", "Release", "CRASH", "CUT", "RESTORE", "DAMAGE", "dies", "warning:", "stays"] {
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
