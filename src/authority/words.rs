//! How instants, durations and nodes are spoken.

use chrono::{DateTime, Duration, Local};

/// `36 s`, `12 min`, `2 h 5 min`, `3 days 4 h`. Negative ones are spoken as 0.
pub fn span(of: Duration) -> String {
    let s = of.num_seconds().max(0);
    match s {
        0..120 => format!("{s} s"),
        120..7200 => format!("{} min", s / 60),
        7200..172_800 => with_rest(s / 3600, "h", s % 3600 / 60, "min"),
        _ => with_rest(s / 86400, "days", s % 86400 / 3600, "h"),
    }
}

/// The same of what is lost: a part of a second counts as one, so that it is never more than was said.
pub fn lost(of: Duration) -> String {
    span(Duration::seconds(of.num_seconds() + i64::from(of.subsec_nanos() > 0)))
}

fn with_rest(n: i64, unit: &str, rest: i64, smaller: &str) -> String {
    if rest == 0 { format!("{n} {unit}") } else { format!("{n} {unit} {rest} {smaller}") }
}

/// `19:09:28` of today, else with the date.
pub fn instant(at: DateTime<Local>, now: DateTime<Local>) -> String {
    let format = if at.date_naive() == now.date_naive() { "%H:%M:%S" } else { "%Y-%m-%d %H:%M:%S" };
    at.format(format).to_string()
}

/// `deb1`, `n1 and n2`, `n1, n2 and n3`.
pub fn list<S: AsRef<str>>(names: &[S]) -> String {
    match names {
        [] => "nobody".into(),
        [one] => one.as_ref().into(),
        [first @ .., last] => format!("{} and {}", first.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", "), last.as_ref()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spoken() {
        let spans =
            [(-5, "0 s"), (36, "36 s"), (119, "119 s"), (120, "2 min"), (7500, "2 h 5 min"), (7200, "2 h"), (180_000, "2 days 2 h")];
        for (s, text) in spans {
            assert_eq!(span(Duration::seconds(s)), text);
        }
        assert_eq!((lost(Duration::milliseconds(5001)), lost(Duration::seconds(5))), ("6 s".into(), "5 s".into()));
        assert_eq!((list(&["a"]), list(&["a", "b", "c"])), ("a".into(), "a, b and c".into()));
    }
}
