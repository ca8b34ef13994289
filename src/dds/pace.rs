//! How fast data go: the limit of `--bwlimit`, and what `--progress` says.

use std::io::{IsTerminal, Write};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A limit that was not used up is not saved for longer than this.
const SAVED: Duration = Duration::from_secs(1);

/// Counts what went, slows down, tells.
#[derive(Debug)]
pub struct Pace {
    limit: Option<u64>,
    /// When, by the limit, all that went should have gone.
    due: Instant,
    moved: u64,
    told: Option<Told>,
}

#[derive(Debug)]
struct Told {
    total: Option<u64>,
    started: Instant,
    last: Instant,
    terminal: bool,
}

impl Pace {
    /// At most `limit` bytes a second, of `total` bytes; `tell`: on stderr how far it is.
    pub fn new(limit: Option<u64>, tell: bool, total: u64) -> Self {
        Self::of(limit, tell, Some(total))
    }

    /// Tells how far it is, of something whose end nobody knows.
    pub fn endless(tell: bool) -> Self {
        Self::of(None, tell, None)
    }

    fn of(limit: Option<u64>, tell: bool, total: Option<u64>) -> Self {
        let now = Instant::now();
        let told = tell.then(|| Told { total, started: now, last: now, terminal: std::io::stderr().is_terminal() });
        Self { limit: limit.filter(|l| *l > 0), due: now, moved: 0, told }
    }

    /// So many bytes went; returns when the next may.
    pub fn moved(&mut self, bytes: u64) {
        self.moved += bytes;
        if let Some(limit) = self.limit {
            let now = Instant::now();
            self.due = self.due.max(now.checked_sub(SAVED).unwrap_or(now));
            self.due += Duration::from_secs_f64(bytes as f64 / limit as f64);
            sleep(self.due.saturating_duration_since(now));
        }
        if let Some(told) = &mut self.told {
            let pause = Duration::from_secs(if told.terminal { 1 } else { 10 });
            if told.last.elapsed() >= pause {
                told.last = Instant::now();
                told.say(self.moved, false);
            }
        }
    }

    /// All went.
    pub fn end(&self) {
        if let Some(told) = &self.told {
            told.say(self.moved, true);
        }
    }
}

impl Told {
    fn say(&self, moved: u64, last: bool) {
        const MIB: f64 = 1_048_576.0;
        let (went, rate) = (moved as f64 / MIB, moved as f64 / MIB / self.started.elapsed().as_secs_f64().max(0.001));
        let line = match self.total {
            Some(total) => {
                let percent = (u128::from(moved.min(total)) * 100).checked_div(u128::from(total)).unwrap_or(100);
                format!("dds: {percent} %, {went:.0} of {:.0} MiB, {rate:.0} MiB/s", total as f64 / MIB)
            }
            None => format!("dds: {went:.0} MiB, {rate:.0} MiB/s"),
        };
        let (start, end) = if self.terminal { ("\r", if last { "\n" } else { "\x1b[K" }) } else { ("", "\n") };
        _ = write!(std::io::stderr().lock(), "{start}{line}{end}"); // nobody may listen
    }
}
