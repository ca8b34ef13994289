//! The words of dds that a sender may say to this node: each verb with the options it may have.

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    /// Data come.
    Merge,
    /// What has come is applied.
    Recover,
    /// Hashes of what is here go back.
    Hash,
    /// The list of what was written here after an image.
    List,
}

/// A verb, its flags, and its options with a value.
type Rule = (Verb, &'static str, &'static [&'static str], &'static [&'static str]);

const RULES: [Rule; 4] = [
    (Verb::Merge, "--merge", &["-v", "--json", "--create", "--hold"], &["--dest", "--expect-base"]),
    (Verb::Recover, "--recover", &["-v", "--json"], &["--dest"]),
    (Verb::Hash, "--hash", &[], &["--source", "--block", "--from", "--length", "--bwlimit"]),
    (Verb::List, "--list", &[], &["--since", "--for"]),
];

/// A command line, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Words {
    verb: Verb,
    flags: Vec<String>,
    values: Vec<(String, String)>,
}

impl Words {
    /// Of `dds VERB…`. The error names the word that is not for senders.
    pub(super) fn parse(words: &[String]) -> Result<Self, String> {
        let strange = |word: &str| format!("{word}: not a word that a sender of dds may say here ({})", words.join(" "));
        let mut rest = words.iter().map(String::as_str);
        match rest.next() {
            Some("dds") => {}
            other => return Err(strange(other.unwrap_or("nothing"))),
        }
        let first = rest.next().unwrap_or_default();
        let (verb, _, flags, valued) = RULES.into_iter().find(|(_, name, ..)| *name == first).ok_or_else(|| strange(first))?;
        let mut parsed = Self { verb, flags: Vec::new(), values: Vec::new() };
        while let Some(word) = rest.next() {
            if flags.contains(&word) {
                parsed.flags.push(word.to_owned());
            } else if valued.contains(&word) && parsed.value(word).is_none() {
                let value = rest.next().filter(|v| !v.starts_with('-')).ok_or_else(|| strange(word))?;
                parsed.values.push((word.to_owned(), value.to_owned()));
            } else {
                return Err(strange(word));
            }
        }
        let needed: &[&str] = match verb {
            Verb::Merge => &["--dest"],
            Verb::Hash => &["--source"],
            Verb::List => &["--since", "--for"],
            Verb::Recover => &[],
        };
        if let Some(missing) = needed.iter().find(|name| parsed.value(name).is_none()) {
            return Err(format!("{missing} is missing ({})", words.join(" ")));
        }
        // it becomes part of the name of a file
        if let Some(strange_name) = parsed.value("--for").filter(|name| name.contains('/')) {
            return Err(strange(strange_name));
        }
        Ok(parsed)
    }

    /// What is asked for.
    pub(super) fn verb(&self) -> Verb {
        self.verb
    }

    /// The flag is there.
    pub(super) fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|f| f == flag)
    }

    /// The value of an option.
    pub(super) fn value(&self, option: &str) -> Option<&str> {
        self.values.iter().find(|(name, _)| name == option).map(|(_, value)| value.as_str())
    }

    /// Those of `wanted` that are there, as words.
    pub(super) fn flags<'a>(&'a self, wanted: &'a [&str]) -> impl Iterator<Item = String> + 'a {
        self.flags.iter().filter(|f| wanted.contains(&f.as_str())).cloned()
    }

    /// The same, of options with a value.
    pub(super) fn values<'a>(&'a self, wanted: &'a [&str]) -> impl Iterator<Item = String> + 'a {
        self.values.iter().filter(|(name, _)| wanted.contains(&name.as_str())).flat_map(|(name, value)| [name.clone(), value.clone()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Words, String> {
        Words::parse(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn what_a_sender_may_say() {
        let words = parse("dds --merge --dest /dev/vg/lv -v --expect-base abc --hold").unwrap();
        assert_eq!((words.verb(), words.value("--dest"), words.value("--expect-base")), (Verb::Merge, Some("/dev/vg/lv"), Some("abc")));
        assert!(words.has("--hold") && !words.has("--create"));
        assert_eq!(words.flags(&["-v", "--json"]).collect::<Vec<_>>(), ["-v"]);
        let words = parse("dds --hash --source /dev/x --from 65536 --length 4096").unwrap();
        assert_eq!(words.values(&["--from", "--length"]).collect::<Vec<_>>(), ["--from", "65536", "--length", "4096"]);
        assert_eq!(parse("dds --recover -v").unwrap().verb(), Verb::Recover);
    }

    #[test]
    fn and_nothing_else() {
        for line in [
            "sh -c x",
            "/tmp/dds --merge --dest /dev/x",
            "dds --extract --source /dev/x",
            "dds --merge",
            "dds --merge --dest",
            "dds --merge --dest -v",
            "dds --merge --dest /dev/x --dest /dev/y",
            "dds --merge --dest /dev/x --spool /etc",
            "dds --merge --dest /dev/x --cow /dev/y",
            "dds --recover --discard",
            "dds --recover /etc",
            "dds --hash --source /dev/x --set /etc/passwd",
            "dds --list --since abc",
            "dds --list --since abc --for ../x",
            "dds --witness /dev/x",
            "dds",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
