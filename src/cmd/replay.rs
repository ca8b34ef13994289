//! A runner for tests: plays a transcript. What is not next in it is not run, and remembered as a fault.

use super::{Cmd, End, Output, Runner, Stage};
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// One expected command and what comes of it.
struct Entry {
    line: String,
    output: Output,
    /// May be asked at any time and any number of times.
    always: bool,
}

#[derive(Default)]
struct State {
    entries: VecDeque<Entry>,
    faults: Vec<String>,
    ran: Vec<String>,
}

/// Commands by their logged line (words joined by blanks, stages by ` | `), in order.
#[derive(Default)]
pub struct Replay(Mutex<State>);

impl Replay {
    /// Expects `line` next; it exits with `code` and prints `stdout`.
    #[must_use]
    pub fn then(self, line: &str, code: i32, stdout: &str) -> Self {
        self.then_with(line, code, stdout, "")
    }

    /// The same with something on standard error.
    #[must_use]
    pub fn then_with(self, line: &str, code: i32, stdout: &str, stderr: &str) -> Self {
        self.add(line, Output::of(&argv(line), code, stdout, stderr), false)
    }

    /// Answers `line` whenever it is asked.
    #[must_use]
    pub fn always(self, line: &str, code: i32, stdout: &str) -> Self {
        self.add(line, Output::of(&argv(line), code, stdout, ""), true)
    }

    /// Expects `line` next, as a program that is not installed.
    #[must_use]
    pub fn missing(self, line: &str) -> Self {
        let argv = argv(line);
        let why = super::not_found(argv.first().map_or("", String::as_str));
        self.add(line, Output { stages: vec![Stage { argv, end: End::NotRun(why), stderr: String::new() }], stdout: Vec::new() }, false)
    }

    fn add(self, line: &str, output: Output, always: bool) -> Self {
        self.lock().entries.push_back(Entry { line: line.into(), output, always });
        self
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What went otherwise than written: commands that were not next, then those that never came.
    pub fn faults(&self) -> Vec<String> {
        let state = self.lock();
        let left = state.entries.iter().filter(|e| !e.always).map(|e| format!("never run: {}", e.line));
        state.faults.iter().cloned().chain(left).collect()
    }

    /// Every command asked for so far, as logged.
    pub fn ran(&self) -> Vec<String> {
        self.lock().ran.clone()
    }
}

fn argv(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

impl Runner for Replay {
    fn run(&self, cmd: &Cmd) -> Output {
        let line = cmd.line();
        let mut state = self.lock();
        state.ran.push(line.clone());
        if let Some(entry) = state.entries.iter().find(|e| e.always && e.line == line) {
            return entry.output.clone();
        }
        let next = state.entries.iter().position(|e| !e.always);
        if let Some(at) = next
            && state.entries.get(at).is_some_and(|e| e.line == line)
            && let Some(entry) = state.entries.remove(at)
        {
            return entry.output;
        }
        let why = match next.and_then(|at| state.entries.get(at)) {
            Some(entry) => format!("not in the transcript: {line}; next is: {}", entry.line),
            None => format!("not in the transcript: {line}"),
        };
        state.faults.push(why.clone());
        Output { stages: vec![Stage { argv: cmd.argv.clone(), end: End::NotRun(why), stderr: String::new() }], stdout: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plays_in_order_and_tells_on_strangers() {
        let replay = Replay::default().then("a 1", 0, "one").always("p", 3, "").then_with("b | c", 1, "", "bad").then("d", 0, "");
        assert_eq!(replay.run(&Cmd::probe(["a", "1"])).text(), "one");
        assert_eq!(replay.run(&Cmd::probe(["p"])).code(), Some(3));
        assert!(matches!(replay.run(&Cmd::probe(["x"])).stages[0].end, End::NotRun(_)));
        assert_eq!(replay.run(&Cmd::probe(["b"]).pipe(Cmd::probe(["c"]))).failure().unwrap().stderr, "bad");
        assert_eq!(replay.faults(), ["not in the transcript: x; next is: b | c", "never run: d"]);
        assert_eq!(replay.ran(), ["a 1", "p", "x", "b | c"]);
    }
}
