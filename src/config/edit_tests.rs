//! Tests of edit.rs.

use super::*;
use proptest::prelude::*;
use std::path::Path;

const FILE: &str = "\
# made by hand
[DEFAULT]
Mode = hosted ; the only one

; the disks
[fs#1]
dev=/dev/x
mnt : /a
\t/b
# kept
  /c
#mnt_opt = ro

# of fs#2
[fs#2]
dev = /dev/y
empty =
";

fn parse(text: impl Into<Vec<u8>>) -> EnvFile {
    EnvFile::parse(Path::new("etc/svc1.env"), text).unwrap()
}

fn text(file: &EnvFile) -> String {
    String::from_utf8(file.to_bytes().to_vec()).unwrap()
}

#[test]
fn set_touches_one_line() {
    for (section, key, value, old, new) in [
        ("DEFAULT", "mode", "lxc", "Mode = hosted ; the only one\n", "Mode = lxc ; the only one\n"),
        ("default", "MODE", "lxc", "Mode = hosted ; the only one\n", "Mode = lxc ; the only one\n"),
        ("fs#1", "dev", " /dev/z ", "dev=/dev/x\n", "dev=/dev/z\n"),
        ("fs#1", "mnt", "/m", "mnt : /a\n\t/b\n# kept\n  /c\n", "mnt : /m\n# kept\n"),
        ("fs#1", "dev", "a\nb", "dev=/dev/x\n", "dev=a\n\tb\n"),
        ("fs#1", "dev@N1", "/dev/z", "  /c\n", "  /c\ndev@N1 = /dev/z\n"),
        ("fs#2", "empty", "no more", "empty =\n", "empty = no more\n"),
        ("fs#2", "empty", "", "empty =\n", "empty =\n"),
        ("DEFAULT", "app", "x", "the only one\n", "the only one\napp = x\n"),
        ("ip#1", "ipname", "h", "empty =\n", "empty =\n\n[ip#1]\nipname = h\n"),
    ] {
        let edited = set(&parse(FILE), section, key, value).unwrap();
        assert_eq!(text(&edited), FILE.replacen(old, new, 1), "{section}.{key} = {value:?}");
    }
}

#[test]
fn unset_and_remove_touch_only_their_lines() {
    let gone = |old: &str| FILE.replacen(old, "", 1);
    assert_eq!(text(&unset(&parse(FILE), "fs#1", "MNT").unwrap()), gone("mnt : /a\n\t/b\n").replacen("  /c\n", "", 1));
    assert_eq!(text(&unset(&parse(FILE), "default", "mode").unwrap()), gone("Mode = hosted ; the only one\n"));
    assert_eq!(
        text(&remove_section(&parse(FILE), "fs#1").unwrap()),
        gone("[fs#1]\ndev=/dev/x\nmnt : /a\n\t/b\n# kept\n  /c\n#mnt_opt = ro\n\n")
    );
    assert_eq!(text(&remove_section(&parse(FILE), "fs#2").unwrap()), gone("[fs#2]\ndev = /dev/y\nempty =\n"));
    assert_eq!(unset(&parse(FILE), "fs#3", "dev").unwrap_err(), "section 'fs#3' not found");
    assert_eq!(unset(&parse(FILE), "fs#1", "app").unwrap_err(), "option 'app' not found in section 'fs#1'");
    assert_eq!(remove_section(&parse(FILE), "fs#3").unwrap_err(), "section 'fs#3' not found");
}

#[test]
fn repeated_keys_and_sections() {
    let twice = parse("[s]\nk = 1\nk = 2\n[t]\n[s]\nK = 3\n");
    assert_eq!(text(&set(&twice, "s", "k", "4").unwrap()), "[s]\nk = 1\nk = 2\n[t]\n[s]\nK = 4\n");
    assert_eq!(text(&unset(&twice, "s", "k").unwrap()), "[s]\n[t]\n[s]\n");
    assert_eq!(text(&remove_section(&twice, "s").unwrap()), "[t]\n");
}

#[test]
fn ends_of_files_and_lines() {
    assert_eq!(text(&set(&parse("[s]\r\nk = 1\r\n"), "s", "l", "a\nb").unwrap()), "[s]\r\nk = 1\r\nl = a\r\n\tb\r\n");
    assert_eq!(text(&set(&parse("[s]"), "s", "k", "1").unwrap()), "[s]\nk = 1\n");
    assert_eq!(text(&set(&parse("[s]\nk=1"), "t", "k", "1").unwrap()), "[s]\nk=1\n\n[t]\nk = 1\n");
    assert_eq!(text(&set(&parse(""), "DEFAULT", "k", "1").unwrap()), "[DEFAULT]\nk = 1\n");
    let latin = parse(&b"[s]\n# \xe9\nk\xe9 = \xe9\nl = 1\n"[..]);
    assert_eq!(set(&latin, "s", "l", "2").unwrap().to_bytes(), b"[s]\n# \xe9\nk\xe9 = \xe9\nl = 2\n");
}

#[test]
fn what_cannot_be_written_is_refused() {
    let file = parse(FILE);
    for (section, key, value) in [
        ("fs#1", "dev", "a ; b"),
        ("fs#1", "dev", "\"\""),
        ("fs#1", "dev", "a\n\nb"),
        ("fs#1", "a=b", "c"),
        ("fs#1", "a:b", "c"),
        ("fs#1", "", "c"),
        ("fs#1", "#a", "c"),
        ("fs#1", "rem", "c"),
        ("fs#1", "[x]", "c"),
        ("fs#1", "a\nb", "c"),
        ("f]s", "a", "c"),
        ("", "a", "c"),
        ("f\ns", "a", "c"),
    ] {
        let why = set(&file, section, key, value).unwrap_err();
        assert!(why.contains("cannot be written") || why.contains("unreadable"), "{section:?}.{key:?} = {value:?}: {why}");
    }
}

proptest! {
    #[test]
    fn set_gives_what_was_asked_and_nothing_else(
        section in "[a-zA-Z#0-9\\] ]{0,4}|fs#1|default", key in "[a-z@=: #;é]{0,5}|dev|mnt", value in "[a-z;#\"=\\[ \n\té]{0,8}"
    ) {
        let file = parse(FILE);
        if let Ok(edited) = set(&file, &section, &key, &value) {
            let (section, key) = (canonical(&section), strip(&key).to_ascii_lowercase());
            let mut wanted = meaning(&file);
            let value: Vec<&str> = strip(&value).split('\n').map(strip).collect();
            wanted.entry(section.into()).or_default().insert(key.clone(), value.join("\n"));
            prop_assert_eq!(meaning(&edited), wanted);
            if file.section(section).is_some_and(|s| s.get(&key).is_none()) {
                prop_assert_eq!(meaning(&unset(&edited, section, &key).unwrap()), meaning(&file));
            }
        }
    }

    #[test]
    fn edits_never_panic(bytes in "[\\[\\]a-c=:;# \t\n\r\"é]{0,60}", section in "[abc]", key in "[abc]") {
        if let Ok(file) = EnvFile::parse(Path::new("x"), bytes) {
            if let Ok(new) = set(&file, &section, &key, "v") {
                prop_assert_eq!(new.lookup(&section, &key).map(|e| e.value.as_str()), Some("v"));
            }
            if let Ok(new) = unset(&file, &section, &key) {
                prop_assert!(new.section(&section).is_some_and(|s| s.get(&key).is_none()));
            }
            if let Ok(new) = remove_section(&file, &section) {
                prop_assert!(new.section(&section).is_none());
            }
        }
    }
}
