//! Files that a sync leaves alone on the target, by the plain `--exclude` patterns of its options: what is written there
//! is not overwritten by a transfer.

use glob::{MatchOptions, Pattern};
use std::path::Path;

/// rsync(1), FILTER RULES: a star stops at a slash.
const MATCH: MatchOptions = MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: false };

/// The patterns. One that is not understood excludes nothing.
#[derive(Debug, Clone, Default)]
pub(super) struct Excluded {
    /// Of a name, wherever it is.
    names: Vec<Pattern>,
    /// Of a path from where the transfer begins.
    paths: Vec<Pattern>,
}

impl Excluded {
    /// Of rsync's options. With an include of any kind the order would count, and with --delete-excluded they are not
    /// left alone: then nothing is.
    pub(super) fn of(options: &[String]) -> Self {
        let mut found = Self { names: vec![plain("lost+found"), plain(".svcmgr-*")].into_iter().flatten().collect(), paths: Vec::new() };
        let odd = ["--include", "--filter", "-f", "-F", "--delete-excluded", "-C", "--cvs-exclude"];
        let ours = |word: &str| word == "--filter=P .svcmgr-*"; // of dst_snap
        if options.iter().any(|o| !ours(o) && odd.iter().any(|odd| o.starts_with(odd))) {
            return found;
        }
        let mut words = options.iter();
        while let Some(word) = words.next() {
            let pattern = match word.strip_prefix("--exclude=") {
                None if word == "--exclude" => words.next().map(String::as_str),
                pattern => pattern,
            };
            if let Some(pattern) = pattern {
                found.add(pattern);
            }
        }
        found
    }

    fn add(&mut self, pattern: &str) {
        let body = pattern.trim_end_matches('/');
        if body.contains('/') {
            // without a slash at its beginning it may begin anywhere
            let anywhere = if body.starts_with('/') { String::new() } else { "**/".to_owned() };
            self.paths.extend(plain(&format!("{anywhere}{}", body.trim_start_matches('/'))));
        } else {
            self.names.extend(plain(body));
        }
    }

    /// `path` is left alone in a transfer that begins at `root`.
    pub(super) fn has(&self, root: &Path, path: &Path) -> bool {
        let named = path.file_name().and_then(|n| n.to_str()).is_some_and(|n| self.names.iter().any(|p| p.matches_with(n, MATCH)));
        let below = || path.strip_prefix(root).is_ok_and(|rest| self.paths.iter().any(|p| p.matches_path_with(rest, MATCH)));
        named || below()
    }
}

fn plain(pattern: &str) -> Option<Pattern> {
    Pattern::new(pattern).ok().filter(|_| !pattern.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_patterns_as_rsync_understands_them() {
        let left = |options: &str, path: &str| {
            let options: Vec<String> = options.split(' ').map(str::to_owned).collect();
            Excluded::of(&options).has(Path::new("/d"), Path::new(path))
        };
        for (options, path, want) in [
            ("", "/d/a/lost+found", true),
            ("", "/d/.svcmgr-svc1-sync_1", true),
            ("--exclude=/log", "/d/log", true),
            ("--exclude=/log/", "/d/log", true),
            ("--exclude=/log", "/d/a/log", false),
            ("--exclude=*.tmp", "/d/a/b.tmp", true),
            ("--exclude *.tmp --exclude c", "/d/a/c", true),
            ("--exclude=/a/*.tmp", "/d/a/b.tmp", true),
            ("--exclude=/a/*.tmp", "/d/a/x/b.tmp", false),
            ("--exclude=a/b", "/d/x/a/b", true),
            ("--exclude=a/b", "/d/a/b", true),
            ("--delete-excluded --exclude=log", "/d/log", false),
            ("--include=/log/x --exclude=log", "/d/log", false),
            ("--exclude=[", "/d/[", false),
            ("--bwlimit 5 --exclude=log", "/d/log", true),
            ("-a --exclude=log", "/d/log", true),
        ] {
            assert_eq!(left(options, path), want, "{options}: {path}");
        }
    }
}
