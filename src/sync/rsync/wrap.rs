//! What a user may not write, as it would undo what svcmgr puts around rsync: options, and places to write to.

use super::way::relative;
use crate::config::scope::Params;
use std::path::{Component, Path, PathBuf};

/// Long options that are refused, and why.
const LONG: [(&[&str], &str); 7] = [
    (&["dry-run", "list-only", "only-write-batch"], "it would send nothing, and the copy would be taken for a new one"),
    (&["remove-source-files", "remove-sent-files"], "it would delete the data of the service"),
    (&["rsync-path"], "svcmgr itself is the receiver, which protects the target"),
    (&["server", "daemon", "sender", "read-batch"], "it makes rsync another program"),
    (&["protect-args", "secluded-args", "old-args"], "the receiver could not tell what is written to"),
    (&["remote-option"], "the receiver could not tell what is written to"),
    (&["rsh"], RSH),
];
/// The same for short ones.
const SHORT: [(char, &str); 4] = [
    ('n', "it would send nothing, and the copy would be taken for a new one"),
    ('s', "the receiver could not tell what is written to"),
    ('M', "the receiver could not tell what is written to"),
    ('e', RSH),
];
const RSH: &str = "all connections are made in one way: set ssh in section [node] of node.conf";

/// Long options whose value may be the next word (rsync(1)).
const VALUED: [&str; 38] = [
    "address",
    "backup-dir",
    "block-size",
    "bwlimit",
    "checksum-choice",
    "checksum-seed",
    "chmod",
    "chown",
    "compare-dest",
    "compress-choice",
    "compress-level",
    "contimeout",
    "copy-as",
    "copy-dest",
    "debug",
    "exclude",
    "exclude-from",
    "files-from",
    "filter",
    "groupmap",
    "iconv",
    "include",
    "include-from",
    "info",
    "link-dest",
    "log-file",
    "log-file-format",
    "max-delete",
    "max-size",
    "min-size",
    "modify-window",
    "out-format",
    "partial-dir",
    "skip-compress",
    "suffix",
    "temp-dir",
    "timeout",
    "usermap",
];

/// The first of `options` that may not be there, and why.
pub(super) fn forbidden(options: &[String]) -> Option<String> {
    let mut words = options.iter();
    while let Some(word) = words.next() {
        let why = match word.strip_prefix("--") {
            Some("") => Some("what follows it would be taken for files"),
            Some(long) => {
                let name = long.split('=').next().unwrap_or_default();
                if !long.contains('=') && VALUED.contains(&name) {
                    words.next();
                }
                LONG.iter().find(|(names, _)| names.contains(&name)).map(|(_, why)| *why)
            }
            None => match word.strip_prefix('-') {
                Some(letters) => short(letters, &mut words),
                None => None,
            },
        };
        if let Some(why) = why {
            return Some(format!("option {word} of rsync is not allowed: {why}"));
        }
    }
    None
}

/// Letters together: `-az`, `-zf RULE`.
fn short<'a>(letters: &str, words: &mut impl Iterator<Item = &'a String>) -> Option<&'static str> {
    for (at, letter) in letters.char_indices() {
        if let Some((_, why)) = SHORT.iter().find(|(c, _)| *c == letter) {
            return Some(why);
        }
        if matches!(letter, 'B' | 'T' | 'f' | '@') {
            if letters.get(at + 1..).is_none_or(str::is_empty) {
                words.next();
            }
            return None;
        }
    }
    None
}

/// Folders of the system that no content is mirrored into.
const SYSTEM: [&str; 22] = [
    "/",
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/home",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/sys",
    "/usr",
    "/usr/local",
    "/var",
    "/var/lib",
    "/var/lib/opensvc",
    "/var/log",
    "/var/log/opensvc",
];

/// Why nothing may be written to `dst`. `src` ending in a slash means the content: the rest of `dst` is deleted.
pub(super) fn unsafe_dst(p: &Params, src: &[String], options: &[String], dst: &str) -> Option<String> {
    if !dst.starts_with('/') {
        return Some(format!("dst {dst} must be an absolute path"));
    }
    // each source then keeps its own path below dst
    if relative(options) || !src.iter().any(|s| s.ends_with('/') || s.ends_with("/.")) {
        return None;
    }
    let folder = plain(dst);
    let etc = p.config.env.path().parent().unwrap_or(Path::new("/"));
    let own = |f: &Path| {
        etc.starts_with(f) || ["bin", "lib", "log", "tmp", "var"].iter().any(|n| etc.parent().is_some_and(|root| root.join(n) == f))
    };
    let what = if SYSTEM.iter().any(|s| folder == Path::new(s)) {
        "a folder of the system"
    } else if own(&folder) {
        "where svcmgr itself is"
    } else {
        return None;
    };
    Some(format!(
        "dst {dst} is {what}: all there that is not in src would be deleted. give a folder of its own, or name the source without the slash at its end"
    ))
}

/// Without `.`, `..` and double slashes.
fn plain(path: &str) -> PathBuf {
    Path::new(path).components().fold(PathBuf::new(), |mut all, part| {
        match part {
            Component::ParentDir => {
                all.pop();
            }
            Component::CurDir => {}
            other => all.push(other),
        }
        all
    })
}

/// A remote shell would take `dst` apart, unless rsync protects it.
pub(super) fn needs_protection(dst: &str) -> bool {
    !dst.chars().all(|c| c.is_alphanumeric() || "/._-+,:=@%".contains(c))
}

/// rsync protects words from the remote shell since 3.2.4. `version`: what `rsync --version` prints.
pub(super) fn protects(version: &str) -> bool {
    let number = version.split_whitespace().skip_while(|w| *w != "version").nth(1).unwrap_or_default();
    let parts: Vec<u32> = number.trim_start_matches('v').split('.').map_while(|n| n.parse().ok()).collect();
    parts >= vec![3, 2, 4]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn options_that_break_the_wrap() {
        for bad in [
            "--",
            "-n",
            "-azn",
            "--dry-run",
            "--list-only",
            "--remove-source-files",
            "--rsync-path=/x",
            "--rsync-path /x",
            "--server",
            "--daemon",
            "-s",
            "--protect-args",
            "--secluded-args",
            "-M--x",
            "--remote-option=--x",
            "-e ssh",
            "--rsh=ssh",
            "--exclude a -n",
            "-zf x -n",
        ] {
            assert!(forbidden(&words(bad)).is_some(), "{bad}");
        }
        assert!(forbidden(&words("-e ssh")).unwrap().contains("node.conf"));
        for good in ["-z", "--exclude -n", "--exclude=-n", "-f -n", "-T/tmp/snm", "--no-p", "--numeric-ids --delete-excluded", "-zR"] {
            assert_eq!(forbidden(&words(good)), None, "{good}");
        }
    }

    #[test]
    fn a_version_that_protects() {
        for (text, want) in [
            ("rsync  version 3.2.3  protocol", false),
            ("rsync  version 3.2.4  protocol", true),
            ("rsync  version v3.10.0dev x", true),
            ("rsync  version 3.1  p", false),
            ("", false),
        ] {
            assert_eq!(protects(text), want, "{text}");
        }
    }
}
