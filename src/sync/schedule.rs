//! When a sync may run by itself: interval, days and period. A pure function of the time and the last stamp.

use crate::config::keyword::{
    Keyword,
    Type::{Int, Json},
};
use crate::config::scope::ServiceConfig;
use crate::config::value;
use chrono::{DateTime, Datelike, Local, NaiveTime, Timelike};
use serde_json::Value;

/// The keywords: of each sync section, of `[sync]` for the internal ones, or inherited from DEFAULT.
pub const KEYWORDS: &[Keyword] = &[
    Keyword::new("sync_max_delay", Int, "minutes after which the copy is late").default("1500").unscoped(),
    Keyword::new("sync_interval", Int, "minutes between two runs by schedule; 0: never. default: sync_max_delay if set")
        .default("121")
        .unscoped(),
    Keyword::new("sync_min_delay", Int, "minutes").deprecated("sync_interval").unscoped(),
    Keyword::new("sync_period", Json, "window: [\"HH:MM\",\"HH:MM\"] or a list of them; []: any time")
        .default("[\"03:59\",\"05:59\"]")
        .unscoped(),
    Keyword::new("sync_days", Json, "days: [\"monday\",…]; []: never. default: all").unscoped(),
];

const MAX_DELAY: i64 = 1500;
const INTERVAL: i64 = 121;
const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// The schedule of one sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// Minutes between two runs; 0: never.
    pub interval: i64,
    /// Minutes after which the copy is late.
    pub max_delay: i64,
    /// First and last minute of each window, both inside; none: any time.
    periods: Vec<(NaiveTime, NaiveTime)>,
    /// A period was given and cannot be read: never.
    no_period: bool,
    period_text: String,
    days: Vec<&'static str>,
    /// As the file has them, for the refusal; all days refuse nothing.
    days_text: String,
    /// Error lines about the values, said on each command.
    pub faults: Vec<String>,
    /// Warning lines.
    pub warnings: Vec<String>,
}

impl Default for Schedule {
    fn default() -> Self {
        let at = |h, m| NaiveTime::from_hms_opt(h, m, 0).unwrap_or_default();
        Self {
            interval: INTERVAL,
            max_delay: MAX_DELAY,
            periods: vec![(at(3, 59), at(5, 59))],
            no_period: false,
            period_text: "['03:59', '05:59']".into(),
            days: DAYS.to_vec(),
            days_text: String::new(),
            faults: Vec::new(),
            warnings: Vec::new(),
        }
    }
}

/// Whether it may run now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It may; what 2014 said about it, if anything.
    Run(Option<String>),
    /// Not now, and why.
    Skip(String),
}

impl Schedule {
    /// The schedule that `section` sets: a sync's own, or `sync` for the internal ones.
    pub fn of(config: &ServiceConfig, section: &str) -> Self {
        let mut this = Self::default();
        let text = |key: &str| config.plain(section, key).filter(|v| !v.is_empty());
        let mut number = |key: &str| text(key).and_then(|v| value::integer(v).map_err(|_| this.faults.push(malformed(section, key))).ok());
        let (max_delay, interval, min_delay) = (number("sync_max_delay"), number("sync_interval"), number("sync_min_delay"));
        if text("sync_min_delay").is_some() {
            this.warnings.push("sync_min_delay is deprecated. replace with sync_interval.".into());
        }
        this.interval = interval.or(min_delay).or(max_delay).unwrap_or(INTERVAL);
        this.max_delay = max_delay.unwrap_or(MAX_DELAY);
        if let Some(text) = text("sync_period") {
            match value::json_list(text) {
                Ok(list) => this.set_period(list),
                Err(_) => this.faults.push(malformed(section, "sync_period")),
            }
        }
        if let Some(text) = text("sync_days") {
            match value::json_list(text) {
                Ok(list) => {
                    let listed = |day: &&str| list.iter().filter_map(Value::as_str).any(|d| d.to_lowercase() == *day);
                    this.days = DAYS.into_iter().filter(listed).collect();
                    this.days_text = python(&Value::Array(list));
                }
                Err(_) => this.faults.push(malformed(section, "sync_days")),
            }
        }
        this
    }

    fn set_period(&mut self, list: Vec<Value>) {
        let pairs = match list.first() {
            Some(Value::Array(_)) => list.iter().map(pair).collect(),
            Some(_) => vec![pair(&Value::Array(list.clone()))],
            None => Vec::new(),
        };
        self.period_text = python(&Value::Array(list));
        match pairs.into_iter().collect::<Option<Vec<_>>>() {
            Some(periods) => self.periods = periods,
            None => {
                self.no_period = true;
                self.faults.push(format!("malformed period: {}", self.period_text));
            }
        }
    }

    /// May it run at `now`, the last success being `last`? The first reason against it wins.
    pub fn decide(&self, now: DateTime<Local>, last: Option<DateTime<Local>>) -> Decision {
        let last = last.filter(|last| !from_future(now, *last));
        if self.interval == 0 {
            return Decision::Skip("skip sync: disabled by sync_interval = 0".into());
        }
        let today = DAYS.get(now.weekday().num_days_from_monday() as usize).copied().unwrap_or_default();
        if !self.days.contains(&today) {
            return Decision::Skip(format!("skip sync: not in allowed days ({})", self.days_text));
        }
        if !self.in_period(now.time()) {
            return Decision::Skip(format!("skip sync: not in allowed period ({})", self.period_text));
        }
        match last {
            None => Decision::Run(Some("don't skip sync: no timestamp".into())),
            Some(last) if now < last + minutes(self.interval) => Decision::Skip(format!("skip sync: too soon ({})", self.interval)),
            Some(_) => Decision::Run(None),
        }
    }

    /// Days, interval and period for a table; `-`: never, or no limit for the period.
    pub fn columns(&self) -> [String; 3] {
        // Sunday first, each in its place
        let order = [6, 0, 1, 2, 3, 4, 5].map(|at| DAYS.get(at).copied().unwrap_or_default());
        let allowed = |day: &str| self.days.contains(&day);
        let days = order.iter().map(|day| if allowed(day) { day.get(..2).unwrap_or_default() } else { "  " }).collect::<Vec<_>>().join(" ");
        let interval = if self.interval == 0 { "-".into() } else { self.interval.to_string() };
        let period = self.periods.iter().map(|(start, end)| format!("{}->{}", start.format("%H:%M"), end.format("%H:%M")));
        let period = if self.no_period { "never".into() } else { period.collect::<Vec<_>>().join(", ") };
        let or_dash = |s: String| if s.trim().is_empty() { "-".into() } else { s };
        [or_dash(days), interval, or_dash(period)]
    }

    fn in_period(&self, now: NaiveTime) -> bool {
        let now = now.with_second(0).and_then(|t| t.with_nanosecond(0)).unwrap_or(now); // windows are of whole minutes
        let inside = |(start, end): &(NaiveTime, NaiveTime)| match start <= end {
            true => (start..=end).contains(&&now),
            false => now >= *start || now <= *end, // over midnight
        };
        !self.no_period && (self.periods.is_empty() || self.periods.iter().any(inside))
    }

    /// The copy stamped `last` is too old at `now`, or there is none.
    pub fn late(&self, now: DateTime<Local>, last: Option<DateTime<Local>>) -> bool {
        last.is_none_or(|last| from_future(now, last) || last + minutes(self.max_delay) < now)
    }
}

/// A stamp that a wrong clock has written, or that a wrong clock looks at: it tells nothing.
pub fn from_future(now: DateTime<Local>, last: DateTime<Local>) -> bool {
    last > now + minutes(5)
}

fn malformed(section: &str, key: &str) -> String {
    format!("malformed parameter value: {section}.{key}")
}

/// Minutes as a span; a value too large for one is for ever.
fn minutes(n: i64) -> chrono::Duration {
    chrono::Duration::minutes(n.clamp(0, 100 * 366 * 24 * 60))
}

fn pair(value: &Value) -> Option<(NaiveTime, NaiveTime)> {
    let [start, end] = value.as_array()?.as_slice() else { return None };
    let time = |v: &Value| NaiveTime::parse_from_str(v.as_str()?, "%H:%M").ok();
    Some((time(start)?, time(end)?))
}

/// JSON as Python 2 prints it: text from a file is `u'…'`.
fn python(value: &Value) -> String {
    match value {
        Value::Array(list) => format!("[{}]", list.iter().map(python).collect::<Vec<_>>().join(", ")),
        Value::String(s) if s.contains('\'') && !s.contains('"') => format!("u\"{s}\""),
        Value::String(s) => format!("u'{}'", s.replace('\\', "\\\\").replace('\'', "\\'")),
        Value::Null => "None".into(),
        Value::Bool(b) => if *b { "True" } else { "False" }.into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, FixedClock};
    use crate::config::env::EnvFile;
    use std::sync::Arc;

    fn schedule(body: &str) -> Schedule {
        let env = EnvFile::parse(std::path::Path::new("x.env"), format!("[DEFAULT]\nnodes = n1\n{body}").as_bytes()).unwrap();
        Schedule::of(&ServiceConfig::new(Arc::new(env), "n1"), "sync#1")
    }

    fn at(s: &str) -> DateTime<Local> {
        FixedClock::at(s).now()
    }

    fn skip(s: &Schedule, now: &str, last: Option<&str>) -> String {
        match s.decide(at(now), last.map(at)) {
            Decision::Run(None) => "run".into(),
            Decision::Run(Some(why)) | Decision::Skip(why) => why,
        }
    }

    #[test]
    fn by_default_once_a_night() {
        let s = schedule("[sync#1]\n");
        assert_eq!(s, Schedule::default());
        let out = "skip sync: not in allowed period (['03:59', '05:59'])";
        // 2014-06-06 is a Friday
        for (now, last, want) in [
            ("2014-06-06 03:58:59", None, out),
            ("2014-06-06 03:59:00", None, "don't skip sync: no timestamp"),
            ("2014-06-06 05:59:59", None, "don't skip sync: no timestamp"),
            ("2014-06-06 06:00:00", None, out),
            ("2014-06-06 04:00:00", Some("2014-06-06 01:59:01"), "skip sync: too soon (121)"),
            ("2014-06-06 04:00:00", Some("2014-06-06 01:59:00"), "run"),
            ("2014-06-06 04:00:00", Some("2014-06-06 04:05:00"), "skip sync: too soon (121)"),
            ("2014-06-06 04:00:00", Some("2014-06-06 04:05:01"), "don't skip sync: no timestamp"),
        ] {
            assert_eq!(skip(&s, now, last), want, "{now} {last:?}");
        }
    }

    #[test]
    fn values_of_the_section_and_of_default() {
        let s = schedule(
            "sync_interval = 5\nsync_period = [[\"10:00\", \"11:00\"], [\"23:00\", \"01:00\"]]\n[sync#1]\nsync_days = [\"Friday\"]\n",
        );
        for (now, want) in [
            ("2014-06-06 10:30:00", "don't skip sync: no timestamp"),
            ("2014-06-06 23:30:00", "don't skip sync: no timestamp"),
            ("2014-06-06 01:00:30", "don't skip sync: no timestamp"),
            ("2014-06-06 01:01:00", "skip sync: not in allowed period ([[u'10:00', u'11:00'], [u'23:00', u'01:00']])"),
            ("2014-06-07 10:30:00", "skip sync: not in allowed days ([u'Friday'])"),
        ] {
            assert_eq!(skip(&s, now, None), want, "{now}");
        }
        assert_eq!(skip(&s, "2014-06-06 10:30:00", Some("2014-06-06 10:26:00")), "skip sync: too soon (5)");
    }

    #[test]
    fn never_and_always() {
        assert_eq!(
            skip(&schedule("[sync#1]\nsync_interval = 0\nsync_days = []\n"), "2014-06-06 04:00:00", None),
            "skip sync: disabled by sync_interval = 0"
        );
        assert_eq!(skip(&schedule("[sync#1]\nsync_days = []\n"), "2014-06-06 04:00:00", None), "skip sync: not in allowed days ([])");
        assert_eq!(skip(&schedule("[sync#1]\nsync_period = []\n"), "2014-06-06 12:00:00", None), "don't skip sync: no timestamp");
    }

    #[test]
    fn delays_stand_in_for_each_other() {
        assert_eq!((schedule("[sync#1]\nsync_max_delay = 7\n").interval, schedule("[sync#1]\nsync_max_delay = 7\n").max_delay), (7, 7));
        let s = schedule("[sync#1]\nsync_max_delay = 7\nsync_min_delay = 3\n");
        assert_eq!((s.interval, s.warnings.as_slice()), (3, &["sync_min_delay is deprecated. replace with sync_interval.".to_owned()][..]));
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let s = schedule("[sync#1]\nsync_period = [\"03:59\"\nsync_days = x\nsync_interval = often\n");
        let malformed = |key: &str| format!("malformed parameter value: sync#1.{key}");
        assert_eq!(s.faults, [malformed("sync_interval"), malformed("sync_period"), malformed("sync_days")]);
        assert_eq!(skip(&s, "2014-06-06 04:00:00", None), "don't skip sync: no timestamp", "the defaults hold");
        for bad in ["[\"25:00\", \"26:00\"]", "[\"03:59\"]", "[1, 2]", "[[\"03:59\", \"04:00\"], null]"] {
            let s = schedule(&format!("[sync#1]\nsync_period = {bad}\n"));
            assert!(s.faults[0].starts_with("malformed period: ["), "{:?}", s.faults);
            assert!(skip(&s, "2014-06-06 04:00:00", None).starts_with("skip sync: not in allowed period ("), "{bad}");
        }
        assert_eq!(
            schedule("[sync#1]\nsync_period = [[\"03:59\", \"04:00\"], null]\n").faults,
            ["malformed period: [[u'03:59', u'04:00'], None]"]
        );
    }

    #[test]
    fn as_columns() {
        assert_eq!(Schedule::default().columns(), ["su mo tu we th fr sa", "121", "03:59->05:59"]);
        let s = schedule("[sync#1]\nsync_days = [\"monday\"]\nsync_period = []\nsync_interval = 0\n");
        assert_eq!(s.columns(), ["   mo               ", "-", "-"]);
    }

    #[test]
    fn late_after_the_delay() {
        let s = schedule("[sync#1]\nsync_max_delay = 60\n");
        let now = at("2014-06-06 12:00:00");
        assert!(s.late(now, None) && s.late(now, Some(at("2014-06-06 10:59:59"))));
        assert!(!s.late(now, Some(at("2014-06-06 11:00:00"))));
        assert!(schedule("[sync#1]\nsync_max_delay = 0\n").late(now, Some(at("2014-06-06 11:59:59"))));
        assert!(!schedule("[sync#1]\nsync_max_delay = 9223372036854775807\n").late(now, Some(at("2014-06-06 11:00:00"))));
    }
}
