//! Wraps messages as the 2014 agent did: at blanks, after hyphens inside words, long words cut.

/// Lines of at most `width` characters. The rules are those of Python 2's textwrap: a line may also end
/// after a hyphen between words, and a word longer than a line is cut where the line ends.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut used = 0;
    for chunk in chunks(text) {
        let blank = chunk.chars().all(char::is_whitespace);
        let len = chunk.chars().count();
        if blank && used == 0 {
            continue;
        }
        if used + len <= width {
            line.push_str(&chunk);
            used += len;
            continue;
        }
        let mut rest: Vec<char> = if blank { Vec::new() } else { chunk.chars().collect() };
        if len > width {
            let head = rest.drain(..width.saturating_sub(used).min(rest.len())).collect::<String>();
            line.push_str(&head);
        }
        loop {
            let full = line.trim_end().to_owned();
            if !full.is_empty() {
                lines.push(full);
            }
            line = rest.drain(..rest.len().min(width.max(1))).collect();
            used = line.chars().count();
            if rest.is_empty() {
                break;
            }
        }
    }
    let last = line.trim_end();
    if !last.is_empty() {
        lines.push(last.to_owned());
    }
    lines
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The pieces between which a line may end: blanks, and words cut after their inner hyphens.
fn chunks(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).collect();
    let mut out = Vec::new();
    let mut begin = 0;
    let mut at = 0;
    let mut push = |from: usize, to: usize| {
        if let Some(piece) = chars.get(from..to).filter(|p| !p.is_empty()) {
            out.push(piece.iter().collect());
        }
    };
    while at < chars.len() {
        let end = blanks(&chars, at).or_else(|| hyphenated(&chars, at));
        if let Some(end) = end {
            push(begin, at);
            push(at, end);
            begin = end;
            at = end;
        } else {
            at += 1;
        }
    }
    push(begin, chars.len());
    out
}

fn run(chars: &[char], from: usize, want: impl Fn(char) -> bool) -> usize {
    from + chars.iter().skip(from).take_while(|c| want(**c)).count()
}

fn blanks(chars: &[char], at: usize) -> Option<usize> {
    let end = run(chars, at, |c| c == ' ');
    (end > at).then_some(end)
}

/// Marks, a word of two or more characters that ends in a letter, a hyphen, and a word to follow.
fn hyphenated(chars: &[char], at: usize) -> Option<usize> {
    let word = run(chars, at, |c| c != ' ' && !is_word(c));
    let hyphen = run(chars, word, is_word);
    let last = *chars.get(hyphen.checked_sub(1)?)?;
    let next = run(chars, hyphen + 1, is_word);
    let follows = chars.get(hyphen + 2..next).is_some_and(|rest| rest.iter().any(|c| !c.is_ascii_digit()));
    (hyphen >= word + 2 && !last.is_ascii_digit() && chars.get(hyphen) == Some(&'-') && follows).then_some(hyphen + 1)
}

#[cfg(test)]
mod tests {
    use super::wrap;

    #[test]
    fn blanks_hyphens_and_long_words() {
        assert_eq!(wrap("# passive node not in sync destination nodes", 43), ["# passive node not in sync destination", "nodes"]);
        assert_eq!(
            wrap("# averylonghostname-number-one.opensvc.com need update", 30),
            ["# averylonghostname-number-", "one.opensvc.com need update"]
        );
        assert_eq!(wrap("# n1, n2 need update", 43), ["# n1, n2 need update"]);
        assert_eq!(wrap("ab 0123456789012", 5), ["ab 01", "23456", "78901", "2"]);
        assert_eq!(wrap("", 10), Vec::<String>::new());
        assert_eq!(wrap("é é", 1), ["é", "é"]);
    }
}
