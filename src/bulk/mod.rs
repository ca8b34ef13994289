//! Many services in one command: one after the other, or several at a time with their lines kept together.

use crate::log::{Event, Level, Memory, Sink, Tee};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What came of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Its name.
    pub service: String,
    /// Its exit status.
    pub code: u8,
    /// How long it took.
    pub took: Duration,
    /// Why it failed: its last error line.
    pub reason: String,
}

/// What one service printed and said, when it was not shown at once.
#[derive(Default)]
pub struct Block {
    /// For stdout.
    pub text: String,
    /// For stderr.
    pub events: Vec<Event>,
}

/// The work on one service: given its name and where to log, returns its exit status and its text for stdout.
pub type Work<'a> = dyn Fn(&str, Arc<dyn Sink>) -> (u8, String) + Sync + 'a;

/// Remembers the last error said.
#[derive(Default)]
struct LastError(Mutex<String>);

impl Sink for LastError {
    fn emit(&self, event: &Event) {
        if event.level == Level::Error
            && let Ok(mut last) = self.0.lock()
            && !event.message.contains("action stopped on execution error")
        {
            // of a refusal, what is refused: the rest has been said
            let refusal = event.message.contains("\n  why: ").then(|| event.message.lines().next().unwrap_or("").to_owned());
            *last = refusal.unwrap_or_else(|| last_line(&event.message));
        }
    }
}

fn last_line(message: &str) -> String {
    message.lines().map(str::trim).rfind(|l| !l.is_empty() && *l != "stderr:").unwrap_or("").to_owned()
}

fn one(name: &str, console: Arc<dyn Sink>, work: &Work) -> (Outcome, String) {
    let last = Arc::new(LastError::default());
    let began = Instant::now();
    let sink = Arc::new(Tee(vec![console, last.clone()]));
    // a defect that one service brings out must not take the others down
    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(name, sink)));
    let (code, text) = done.unwrap_or_else(|_| {
        if let Ok(mut last) = last.0.lock() {
            *last = "internal error, a defect of svcmgr: please report it".into();
        }
        (1, String::new())
    });
    let reason = last.0.lock().map(|r| r.clone()).unwrap_or_default();
    (Outcome { service: name.into(), code, took: began.elapsed(), reason }, text)
}

/// One after the other; `show` gets each text as soon as it is there.
pub fn in_turn(names: &[String], console: &Arc<dyn Sink>, work: &Work, show: &dyn Fn(&str)) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for name in names {
        if crate::cmd::system::interrupted() {
            break;
        }
        let (outcome, text) = one(name, console.clone(), work);
        show(&text);
        outcomes.push(outcome);
    }
    outcomes
}

/// At most `workers` at a time. Each service's text and log lines are handed to `show` in one block when it
/// is done, so that lines of two services never mix. Blocks and outcomes come in the order of `names` if
/// `ordered`, else blocks as they are done.
pub fn side_by_side(names: &[String], workers: usize, ordered: bool, work: &Work, show: &(dyn Fn(&Outcome, Block) + Sync)) -> Vec<Outcome> {
    let next = AtomicUsize::new(0);
    let done: Vec<Mutex<Option<(Outcome, Block)>>> = names.iter().map(|_| Mutex::new(None)).collect();
    let shown = Mutex::new(0_usize);
    std::thread::scope(|scope| {
        for _ in 0..workers.clamp(1, names.len().max(1)) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let (Some(name), Some(slot)) = (names.get(at), done.get(at)) else { return };
                    if crate::cmd::system::interrupted() {
                        return;
                    }
                    let memory = Arc::new(Memory::default());
                    let (outcome, text) = one(name, memory.clone(), work);
                    let block = Block { text, events: memory.take() };
                    let Ok(mut shown) = shown.lock() else { return };
                    if !ordered {
                        show(&outcome, block);
                        fill(slot, outcome, Block::default());
                        continue;
                    }
                    fill(slot, outcome, block);
                    // everything up to the first one that is still at work
                    while let Some((outcome, block)) = done.get(*shown).and_then(take_block) {
                        show(&outcome, block);
                        *shown += 1;
                    }
                }
            });
        }
    });
    done.into_iter().filter_map(|slot| slot.into_inner().ok().flatten().map(|(outcome, _)| outcome)).collect()
}

fn fill(slot: &Mutex<Option<(Outcome, Block)>>, outcome: Outcome, block: Block) {
    if let Ok(mut slot) = slot.lock() {
        *slot = Some((outcome, block));
    }
}

fn take_block(slot: &Mutex<Option<(Outcome, Block)>>) -> Option<(Outcome, Block)> {
    let mut slot = slot.lock().ok()?;
    let (outcome, block) = slot.as_mut()?;
    Some((outcome.clone(), std::mem::take(block)))
}

/// Workers when nobody says how many: services wait for disks and peers more than they compute.
pub fn default_workers() -> usize {
    std::thread::available_parallelism().map_or(2, std::num::NonZero::get) * 4
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("s{i:02}")).collect()
    }

    #[test]
    fn ordered_blocks_come_in_the_order_of_the_names() {
        let seen = Mutex::new(Vec::new());
        let outcomes = side_by_side(&names(40), 8, true, &|name, _| (u8::from(name == "s07"), format!("{name}\n")), &|_, block| {
            seen.lock().unwrap().push(block.text);
        });
        assert_eq!(seen.into_inner().unwrap().concat(), names(40).iter().map(|n| format!("{n}\n")).collect::<String>());
        assert_eq!(outcomes.iter().filter(|o| o.code == 1).map(|o| o.service.as_str()).collect::<Vec<_>>(), ["s07"]);
    }

    #[test]
    fn a_panic_is_one_service_s_failure() {
        let console: Arc<dyn Sink> = Arc::new(Memory::default());
        let outcomes = in_turn(&names(3), &console, &|name, _| if name == "s01" { panic!("boom") } else { (0, String::new()) }, &|_| {});
        let codes: Vec<_> = outcomes.iter().map(|o| o.code).collect();
        assert_eq!(codes, [0, 1, 0]);
        assert!(outcomes[1].reason.contains("please report"));
    }

    #[test]
    fn every_service_is_shown_once_when_unordered() {
        let count = AtomicUsize::new(0);
        let outcomes = side_by_side(&names(25), 4, false, &|_, _| (0, "x".into()), &|_, block| {
            count.fetch_add(block.text.len(), Ordering::Relaxed);
        });
        assert_eq!((count.into_inner(), outcomes.len()), (25, 25));
    }
}
