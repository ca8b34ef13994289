//! Tests of env.rs.

use super::*;
use proptest::prelude::*;

fn parse(text: impl Into<Vec<u8>>) -> Result<EnvFile, ParseErrors> {
    EnvFile::parse(Path::new("etc/svc1.env"), text)
}

fn value(text: &str, section: &str, key: &str) -> Option<String> {
    parse(text).unwrap().lookup(section, key).map(|e| e.value.clone())
}

fn names(file: &EnvFile) -> Vec<&str> {
    file.sections().map(|s| s.name.as_str()).collect()
}

#[test]
fn a_value_is_cut_at_the_first_semicolon_behind_a_blank() {
    for (line, wanted) in [
        ("k = v ; c", "v"),
        ("k = v;c", "v;c"),
        ("k = x;y ; z", "x;y ; z"),
        ("k = v # c", "v # c"),
        ("k = \"\"", ""),
        ("k = \"\" ; c", ""),
        ("k = \"v\"", "\"v\""),
        ("k =", ""),
        ("k=v", "v"),
        ("k: v = w", "v = w"),
        ("k = a:b", "a:b"),
        ("k = 100%\r", "100%"),
        ("k = v\t; c\r", "v"),
        ("k = ;v", ";v"),
        ("k = ;v ", ""),
        ("k   =   v   ", "v"),
        ("K = V", "V"),
        ("k = Motörhead", "Motörhead"),
    ] {
        assert_eq!(value(&format!("[s]\n{line}\n"), "s", "k").as_deref(), Some(wanted), "{line}");
        assert_eq!(value(&format!("[s]\n{line}"), "s", "k").as_deref(), Some(wanted), "{line} without an end");
    }
}

#[test]
fn continuation_takes_everything_indented() {
    let text = "[s]\nk = a ; c\n  b ; d\n\n# comment\n\t# e\n ; f\nrem g\n [h]\n i = j\nl = m\n";
    assert_eq!(value(text, "s", "k").as_deref(), Some("a\nb ; d\n# e\n; f\n[h]\ni = j"));
    assert_eq!(value(text, "s", "l").as_deref(), Some("m"));
    let file = parse(text).unwrap();
    assert_eq!(file.lookup("s", "k").unwrap().continued, [3, 6, 7, 9, 10]);
    assert_eq!(names(&file), ["s"]);
}

#[test]
fn sections_merge_defaults_are_inherited_the_last_key_wins() {
    let text = "[b]\nk = 1\n[default]\nd = 1\nk = 9\n[a]\n[b]\nK = 2\n[DEFAULT]\ne = 2\n";
    let file = parse(text).unwrap();
    assert_eq!(names(&file), ["b", "a"]);
    let b = file.section("b").unwrap();
    assert_eq!((b.headers.as_slice(), b.entries.len(), b.shadowed.len()), (&[1, 7][..], 1, 1));
    for (section, key, wanted) in [
        ("b", "k", Some("2")),
        ("a", "k", Some("9")),
        ("nosuch", "d", Some("1")),
        ("a", "e", Some("2")),
        ("DEFAULT", "k", Some("9")),
        ("b", "x", None),
    ] {
        assert_eq!(file.lookup(section, key).map(|e| e.value.as_str()), wanted, "{section}.{key}");
    }
    assert_eq!(b.entries[0].spelled, "K");
    assert_eq!(file.to_bytes(), text.as_bytes());
}

#[test]
fn section_names_are_verbatim() {
    let file = parse("[fs #3]\na=1\n[ fs#4 ]\nb=1\n[FS#1] trailing words\nc=1\n[[x]\nd=1\n").unwrap();
    assert_eq!(names(&file), ["fs #3", " fs#4 ", "FS#1", "[x"]);
}

#[test]
fn comments_and_rem() {
    let file = parse("# c\n; c\nREM c\nrem\n\n[s]\nremark = 1\nrem = 2\nRem: 3\n#k = 4\n").unwrap();
    let keys: Vec<&str> = file.section("s").unwrap().entries.iter().map(|e| e.key.as_str()).collect();
    assert_eq!(keys, ["remark", "rem"]);
    assert_eq!(value("[s]\nRem: 3\n", "s", "rem").as_deref(), Some("3"));
}

#[test]
fn all_errors_are_reported_at_once_with_their_place() {
    for (text, places) in [
        ("k = v\nl = w\n[s]\ngarbage\nk = v\n", &[(1, 1, "before any"), (4, 1, "neither")][..]),
        ("[s]\n  k = v\n", &[(2, 3, "indented")]),
        ("  k = v\n", &[(1, 3, "before any")]),
        ("[s]\nk = v\n[]\n= v\n[unclosed\n", &[(3, 1, "neither"), (4, 1, "neither"), (5, 1, "neither")]),
        ("\u{feff}[s]\nk=v\n", &[(1, 1, "byte order mark")]),
    ] {
        let wrong = parse(text).unwrap_err();
        let got: Vec<_> = wrong.errors.iter().map(|e| (e.line, e.column)).collect();
        assert_eq!(got, places.iter().map(|p| (p.0, p.1)).collect::<Vec<_>>(), "{text:?}");
        assert!(wrong.errors.iter().zip(places).all(|(e, p)| e.why.contains(p.2)), "{wrong}");
    }
    let shown = parse("[s]\ngarbage\nmore \"garbage\"\n").unwrap_err().to_string();
    assert_eq!(
        shown,
        "etc/svc1.env:2:1: neither a [section], a key = value, nor a comment: \"garbage\"\n\
         etc/svc1.env:3:1: neither a [section], a key = value, nor a comment: \"more \\\"garbage\\\"\""
    );
}

#[test]
fn a_continued_value_survives_garbage_as_in_2014() {
    // the error is the garbage alone: the indented line still continues `k`
    assert_eq!(parse("[s]\nk = v\ngarbage\n  more\n").unwrap_err().errors.len(), 1);
}

#[test]
fn places() {
    let file = parse("[DEFAULT]\nmode  =   hosted\n[fs#1]\ndev = /dev/x\nné = x\n").unwrap();
    for (section, key, wanted) in [
        ("fs#1", "dev", "etc/svc1.env:4:7"),
        ("fs#1", "né", "etc/svc1.env:5:6"),
        ("fs#1", "mode", "etc/svc1.env:2:11"),
        ("fs#1", "mnt", "etc/svc1.env:3:1"),
        ("ip#1", "ipname", "etc/svc1.env"),
    ] {
        assert_eq!(file.place(section, key), wanted, "{section}.{key}");
    }
}

#[test]
fn latin_1_is_read_as_such() {
    let file = parse(&b"# d\xe9j\xe0\n[s]\nk = \xe9t\xe9\nl = v\n"[..]).unwrap();
    assert_eq!(file.lookup("s", "k").unwrap().value, "été");
    assert_eq!(file.to_bytes(), b"# d\xe9j\xe0\n[s]\nk = \xe9t\xe9\nl = v\n");
}

#[test]
fn an_unreadable_file_says_why() {
    let wrong = EnvFile::load(Path::new("/nonexistent/x.env")).unwrap_err();
    assert_eq!(wrong.io, Some(std::io::ErrorKind::NotFound));
    assert!(wrong.to_string().starts_with("/nonexistent/x.env: cannot read: "), "{wrong}");
}

/// Lines near the grammar's edges.
fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("[s]".to_owned()),
        "\\[[a-z#\\] ]{0,6}\\]? ?",
        "[ \t]{0,2}[a-zA-Z@#;=:]{0,6} ?[=:]? ?[a-z;#\" é]{0,8}",
        "[ \t;#rem]{0,5}",
        "\\PC{0,12}",
    ]
}

proptest! {
    #[test]
    fn any_bytes_never_panic_and_accepted_ones_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(file) = parse(bytes.clone()) {
            prop_assert_eq!(file.to_bytes(), bytes.as_slice());
        }
    }

    #[test]
    fn lines_near_the_grammar(lines in proptest::collection::vec(line(), 0..12), crlf: bool) {
        let text = lines.join(if crlf { "\r\n" } else { "\n" });
        match parse(text.clone()) {
            Ok(file) => {
                prop_assert_eq!(file.to_bytes(), text.as_bytes());
                let entries = file.sections().chain([file.defaults()]).flat_map(|s| &s.entries);
                for e in entries {
                    // each line: an empty first one leaves a newline in front of the others, as in 2014
                    prop_assert!(!e.key.is_empty() && e.value.split('\n').all(|l| l == strip(l)));
                    prop_assert!(e.line <= text.lines().count() && e.column >= 2);
                }
            }
            Err(wrong) => prop_assert!(!wrong.errors.is_empty() && wrong.errors.iter().all(|e| e.line > 0 && e.column > 0)),
        }
    }
}
