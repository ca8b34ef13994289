//! Where time comes from: the only place that asks the system for it.

use chrono::{DateTime, Local, NaiveDateTime, TimeZone};

/// A source of wall-clock time, in local time as the logs and state files have it.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> DateTime<Local>;
}

/// The system's clock.
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods)] // the one place
    fn now(&self) -> DateTime<Local> {
        Local::now()
    }
}

/// A clock that stands still, for tests.
pub struct FixedClock(pub DateTime<Local>);

impl FixedClock {
    /// From `YYYY-MM-DD HH:MM:SS`, local time; the epoch if that is not a date.
    pub fn at(s: &str) -> Self {
        let t = NaiveDateTime::parse_from_str(s, "%Y-%m-%d %H:%M:%S").unwrap_or_default();
        Self(Local.from_local_datetime(&t).earliest().unwrap_or_default())
    }
}

impl Clock for FixedClock {
    fn now(&self) -> DateTime<Local> {
        self.0
    }
}
