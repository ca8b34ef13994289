//! Words to shell text and back: the one place that quotes for ssh, and the splitter of option keywords.

/// Joins words so that a POSIX shell reads exactly these words again.
pub fn join(words: &[String]) -> String {
    words.iter().map(|w| word(w)).collect::<Vec<_>>().join(" ")
}

fn word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "%+,-./:=@_".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Splits text into words as a shell does: blanks part, quotes and backslashes keep together. Nothing
/// is expanded and `#` starts no comment.
pub fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() => words.extend(word.take()),
            '\'' => quoted(&mut chars, '\'', word.get_or_insert_default())?,
            '"' => quoted(&mut chars, '"', word.get_or_insert_default())?,
            '\\' => word.get_or_insert_default().push(chars.next().ok_or("a backslash at the end")?),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

/// Appends what stands before the closing `mark`. A backslash counts only between double quotes, and
/// there only before the four characters that are special to a shell.
fn quoted(chars: &mut std::str::Chars, mark: char, word: &mut String) -> Result<(), String> {
    loop {
        match chars.next() {
            None => return Err(format!("no closing {mark}")),
            Some(c) if c == mark => return Ok(()),
            Some('\\') if mark == '"' => match chars.next() {
                Some(c @ ('"' | '\\' | '$' | '`')) => word.push(c),
                Some(c) => word.extend(['\\', c]),
                None => return Err(format!("no closing {mark}")),
            },
            Some(c) => word.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{join, split};
    use proptest::prelude::*;

    fn words(list: &[&str]) -> Vec<String> {
        list.iter().map(|&s| s.into()).collect()
    }

    #[test]
    fn plain_words_stay_plain() {
        assert_eq!(join(&words(&["svcmgr", "-s", "svc.1", "--rid=sync#1", "", "it's"])), r"svcmgr -s svc.1 '--rid=sync#1' '' 'it'\''s'");
    }

    #[test]
    fn splits_like_a_shell() {
        assert_eq!(split(r#"-a  --exclude="a b" 'c d'e \ f "" #x"#), Ok(words(&["-a", "--exclude=a b", "c de", " f", "", "#x"])));
        assert_eq!(split(r#""a\"b\c""#), Ok(words(&["a\"b\\c"])));
        assert_eq!(split("  \n "), Ok(vec![]));
        assert_eq!(split("'a"), Err("no closing '".into()));
        assert_eq!(split("a\\"), Err("a backslash at the end".into()));
    }

    proptest! {
        #[test]
        fn what_is_joined_splits_back(list in proptest::collection::vec(any::<String>(), 0..6)) {
            prop_assert_eq!(split(&join(&list)), Ok(list));
        }

        #[test]
        fn split_never_panics(text in any::<String>()) {
            let _ = split(&text);
        }
    }
}
