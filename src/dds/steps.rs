//! A death at a given step, for tests: in debug builds only, never in the released program.

/// What is on the disk has just changed, or is about to. `DDS_DIE_AT=N` in the environment: the process is killed at its N-th step.
#[cfg(debug_assertions)]
pub fn step() {
    use nix::sys::signal::{Signal, kill};
    use std::sync::atomic::{AtomicU64, Ordering};
    static STEPS: AtomicU64 = AtomicU64::new(0);
    let Some(last) = std::env::var("DDS_DIE_AT").ok().and_then(|n| n.parse::<u64>().ok()) else { return };
    if STEPS.fetch_add(1, Ordering::SeqCst) + 1 == last {
        _ = kill(nix::unistd::Pid::this(), Signal::SIGKILL);
    }
}

/// Nothing.
#[cfg(not(debug_assertions))]
pub fn step() {}
