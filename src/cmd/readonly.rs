//! A runner that only looks: probes are run, changes are refused and counted. For status and dry runs.

use super::{Cmd, Effect, End, Output, Runner, Stage};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Runs probes with another runner; refuses changes.
pub struct ReadOnly {
    inner: Arc<dyn Runner>,
    refused: AtomicUsize,
}

impl ReadOnly {
    /// Wraps `inner`.
    pub fn new(inner: Arc<dyn Runner>) -> Self {
        Self { inner, refused: AtomicUsize::new(0) }
    }

    /// How many changes were refused so far.
    pub fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }
}

impl Runner for ReadOnly {
    fn run(&self, cmd: &Cmd) -> Output {
        let Some(change) = cmd.stages().into_iter().find(|s| s.effect == Effect::Change) else {
            return self.inner.run(cmd);
        };
        self.refused.fetch_add(1, Ordering::Relaxed);
        let why = format!("not run, as nothing may be changed now: {}", cmd.line());
        Output { stages: vec![Stage { argv: change.argv.clone(), end: End::NotRun(why), stderr: String::new() }], stdout: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::replay::Replay;

    #[test]
    fn looks_but_does_not_touch() {
        let replay = Arc::new(Replay::default().then("lvs", 0, "lv1\n"));
        let runner = ReadOnly::new(replay.clone());
        assert_eq!(runner.run(&Cmd::probe(["lvs"])).text(), "lv1\n");
        let out = runner.run(&Cmd::probe(["lvs"]).pipe(Cmd::change(["lvremove", "x"])));
        assert!(matches!(out.stages[0].end, End::NotRun(_)));
        assert_eq!(runner.refused(), 1);
        assert_eq!(replay.faults(), Vec::<String>::new());
    }
}
