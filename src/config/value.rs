//! Typed values of keywords, with the words and numbers 2014 took.

use serde_json::Value;

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
    use super::{boolean, integer, json_list};

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
    fn json_lists() {
        assert_eq!(json_list("[\"monday\"]").map(|l| l.len()), Ok(1));
        assert!(json_list("{}").is_err());
        assert!(json_list("[1,").is_err());
    }
}
