//! Typed values of keywords, with the words and numbers 2014 took.

use serde_json::Value;
use std::time::Duration;

/// `1/yes/true/on` or `0/no/false/off`, any case, blanks around ignored.
pub fn boolean(text: &str) -> Result<bool, String> {
    let is = |words: [&str; 4]| words.iter().any(|w| text.trim().eq_ignore_ascii_case(w));
    if is(["1", "yes", "true", "on"]) {
        Ok(true)
    } else if is(["0", "no", "false", "off"]) {
        Ok(false)
    } else {
        Err(format!("not a boolean: {text:?} (1, yes, true, on, 0, no, false or off)"))
    }
}

/// A decimal integer with an optional sign, blanks around ignored.
pub fn integer(text: &str) -> Result<i64, String> {
    text.trim().parse().map_err(|_| format!("not an integer: {text:?}"))
}

/// `90s`, `2m`, `1h`, `3d`; a bare number is seconds. Blanks around ignored, no sign.
pub fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let wrong = || format!("not a duration: {text:?} (90s, 2m, 1h, 3d, or a number of seconds)");
    let (number, unit) = match text.char_indices().last() {
        Some((at, 's')) => (text.get(..at), 1),
        Some((at, 'm')) => (text.get(..at), 60),
        Some((at, 'h')) => (text.get(..at), 3600),
        Some((at, 'd')) => (text.get(..at), 86_400),
        _ => (Some(text), 1),
    };
    let digits = number.filter(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit())).ok_or_else(wrong)?;
    // no calendar reaches further, and who adds it to a date must not overflow
    let seconds = digits.parse::<u32>().ok().and_then(|n| n.checked_mul(unit)).ok_or_else(|| format!("too long: {text:?}"))?;
    Ok(Duration::from_secs(seconds.into()))
}

/// A JSON list: schedules (`[["00:00", "03:00"]]`, `["monday"]`).
pub fn json_list(text: &str) -> Result<Vec<Value>, String> {
    match serde_json::from_str(text) {
        Ok(Value::Array(list)) => Ok(list),
        Ok(_) => Err(format!("not a JSON list: {text:?}")),
        Err(e) => Err(format!("not JSON: {text:?}: {e}")),
    }
}

#[cfg(test)]
mod tests {
    use super::{boolean, duration, integer, json_list};
    use proptest::prelude::*;

    #[test]
    fn booleans() {
        for yes in ["1", "yes", "TRUE", "On", " true "] {
            assert_eq!(boolean(yes), Ok(true), "{yes}");
        }
        for no in ["0", "no", "False", "OFF"] {
            assert_eq!(boolean(no), Ok(false), "{no}");
        }
        for neither in ["", "y", "2", "tru", "truee", "yes no"] {
            assert!(boolean(neither).is_err(), "{neither}");
        }
    }

    #[test]
    fn integers() {
        for (text, n) in [("0", 0), (" 42 ", 42), ("-1", -1), ("+7", 7), ("007", 7)] {
            assert_eq!(integer(text), Ok(n), "{text}");
        }
        for wrong in ["", "1.0", "0x10", "1 2", "1h", "--1", "99999999999999999999"] {
            assert!(integer(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations() {
        for (text, seconds) in [("0", 0), ("45", 45), ("90s", 90), (" 2m ", 120), ("15m", 900), ("1h", 3600), ("3d", 259_200)] {
            assert_eq!(duration(text).map(|d| d.as_secs()), Ok(seconds), "{text}");
        }
        for wrong in ["", "m", "-1", "+5", "1.5h", "2 m", "2min", "1h30m", "h1", "10\u{b5}", "\u{661}", "never", "4294967296", "100000000d"]
        {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived_as_a_duration(text in ".{0,12}", n in 0..9_999_u32, unit in "[smhd]") {
            let _ = duration(&text);
            prop_assert_eq!(duration(&format!("{n}{unit}")).map(|d| d.as_secs() % u64::from(n.max(1))), Ok(0));
        }
    }

    #[test]
    fn json_lists() {
        assert_eq!(json_list("[\"monday\"]").map(|l| l.len()), Ok(1));
        assert!(json_list("{}").is_err());
        assert!(json_list("[1,").is_err());
    }
}
