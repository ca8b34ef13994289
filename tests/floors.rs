//! Holds the floors of src/lib.rs: a folder imports only from the folders below it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_macros,
    missing_docs,
    reason = "a test may panic"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Lowest first. Folders of one floor do not know each other.
const FLOORS: [&[&str]; 10] = [
    &["error", "status", "clock", "rid", "log", "steps"],
    &["config", "cmd", "report", "state"],
    &["host", "authority"],
    &["resource"],
    &["sync"],
    &["service"],
    &["action"],
    &["bulk", "dr", "render"],
    &["cli"],
    &["bin"],
];

/// The other program: it imports nothing, and only its binary imports it.
const ISLAND: &str = "dds";

/// Folders with one file a driver: these may share only their mod.rs and the files named here.
const DRIVERS: [(&str, &[&str]); 2] = [("resource", &["common"]), ("sync", &["common", "schedule"])];

/// A source file: `path` below src, the folder it is in, its module's name, and the paths it mentions from
/// the crate's root on.
struct Source {
    path: String,
    folder: String,
    module: Vec<String>,
    uses: Vec<Vec<String>>,
}

#[test]
fn a_folder_imports_only_from_lower_floors() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|s| s.folder != ISLAND) {
        let own = floor(&source.folder).unwrap_or_else(|| panic!("{}: on no floor: add it to FLOORS", source.path));
        for used in source.uses.iter().filter(|u| u[0] != source.folder) {
            match floor(&used[0]) {
                Some(theirs) if theirs < own || own == 0 => {} // words may use words, in no circle
                Some(_) => wrong.push(format!("{} imports {}", source.path, used.join("::"))),
                None => {} // an item of lib.rs, or a macro
            }
        }
    }
    assert!(wrong.is_empty(), "upwards or sideways:\n{}", wrong.join("\n"));
}

#[test]
fn the_island_is_alone() {
    let mut wrong = Vec::new();
    for source in sources() {
        let own = source.folder == ISLAND;
        for used in &source.uses {
            let theirs = used[0] == ISLAND;
            let binary = source.path == format!("bin/{ISLAND}.rs");
            if theirs != (own || binary) {
                wrong.push(format!("{} imports {}", source.path, used.join("::")));
            }
        }
    }
    assert!(wrong.is_empty(), "{ISLAND} shares something with the rest:\n{}", wrong.join("\n"));
}

#[test]
fn drivers_do_not_know_each_other() {
    let all = sources();
    let mut wrong = Vec::new();
    for source in &all {
        let Some((_, shared)) = DRIVERS.iter().find(|(folder, _)| *folder == source.folder) else { continue };
        if source.module.len() < 2 {
            continue; // mod.rs lists them all
        }
        for used in source.uses.iter().filter(|u| u[0] == source.folder && u.len() > 1) {
            let sibling = all.iter().any(|s| s.module == used[..2]) && used[1] != source.module[1];
            if sibling && !shared.contains(&used[1].as_str()) {
                wrong.push(format!("{} imports {}", source.path, used.join("::")));
            }
        }
    }
    assert!(wrong.is_empty(), "a driver imports only mod.rs and common:\n{}", wrong.join("\n"));
}

#[test]
fn siblings_import_in_no_circle() {
    let all = sources();
    let modules: BTreeSet<&[String]> = all.iter().map(|s| s.module.as_slice()).collect();
    let mut edges: BTreeMap<&[String], BTreeSet<&[String]>> = BTreeMap::new();
    for source in &all {
        for used in &source.uses {
            let target = (1..=used.len()).rev().find_map(|n| modules.get(&used[..n]));
            // a folder's mod.rs lists its files and they know it: no circle in that
            if let Some(target) = target.filter(|t| !t.starts_with(&source.module) && !source.module.starts_with(t)) {
                edges.entry(&source.module).or_default().insert(target);
            }
        }
    }
    let on_circle: Vec<String> = edges.keys().filter(|m| reaches(&edges, m, m)).map(|m| m.join("::")).collect();
    assert!(on_circle.is_empty(), "these import each other in a circle: {}", on_circle.join(", "));
}

fn reaches<'a>(edges: &BTreeMap<&'a [String], BTreeSet<&'a [String]>>, from: &[String], to: &[String]) -> bool {
    let mut seen = BTreeSet::new();
    let mut open: Vec<&[String]> = edges.get(from).into_iter().flatten().copied().collect();
    while let Some(at) = open.pop() {
        if at == to {
            return true;
        }
        if seen.insert(at) {
            open.extend(edges.get(at).into_iter().flatten());
        }
    }
    false
}

#[test]
fn the_first_line_of_a_file_says_what_it_owns() {
    let silent: Vec<_> = files(&src()).into_iter().filter(|f| !fs::read_to_string(f).unwrap().starts_with("//! ")).collect();
    assert!(silent.is_empty(), "no //! on the first line: {silent:?}");
}

#[test]
fn paths_are_found_in_code() {
    let own = ["sync".to_owned(), "rsync".to_owned()];
    let found = |text: &str| mentions(&code(text), &own).iter().map(|p| p.join("::")).collect::<Vec<_>>();
    assert_eq!(
        found("use crate::{config::{env, scope::Scope}, error::Result as R};"),
        ["config::env", "config::scope::Scope", "error::Result"]
    );
    assert_eq!(
        found("use super::schedule::Schedule; // crate::cli\nfn f() -> crate::status::Status {}"),
        ["status::Status", "sync::schedule::Schedule"]
    );
    assert_eq!(found("use super::super::log;"), ["log"]);
    assert_eq!(found("use super::*;"), ["sync"]);
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn floor(folder: &str) -> Option<usize> {
    FLOORS.iter().position(|names| names.contains(&folder))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()) {
        if entry.is_dir() {
            found.extend(files(&entry));
        } else if entry.extension().is_some_and(|e| e == "rs") {
            found.push(entry);
        }
    }
    found.sort();
    found
}

/// The crate's files but lib.rs.
fn sources() -> Vec<Source> {
    let mut all = Vec::new();
    for file in files(&src()) {
        let path = file.strip_prefix(src()).unwrap().to_str().unwrap().to_owned();
        let mut module: Vec<String> = path.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
        if module.last().is_some_and(|m| m == "mod") {
            module.pop();
        }
        if module == ["lib"] {
            continue;
        }
        let uses = mentions(&code(&fs::read_to_string(&file).unwrap()), &module);
        all.push(Source { path, folder: module[0].clone(), module, uses });
    }
    assert!(all.len() > 10, "src not found");
    all
}

/// The text without its comments.
fn code(text: &str) -> String {
    text.lines().map(|l| l.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The paths that begin with `crate::`, `svcmgr::` or `super::`, from the crate's root on. `super` counts from
/// the module of the file (in an inner `mod tests` it is the file itself, which does no harm here).
fn mentions(code: &str, module: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (root, up) in [("crate::", None), ("svcmgr::", None), ("super::super::", Some(2)), ("super::", Some(1))] {
        for (at, _) in code.match_indices(root) {
            let before = code[..at].chars().next_back().unwrap_or(' ');
            if before == ':' || before == '_' || before.is_alphanumeric() {
                continue; // the middle of another path
            }
            let rest = &code[at + root.len()..];
            if root == "super::" && rest.starts_with("super::") {
                continue;
            }
            let base: Vec<String> = up.map_or_else(Vec::new, |n| module[..module.len().saturating_sub(n)].to_vec());
            tree(rest, &base, &mut found);
        }
    }
    found.retain(|path| !path.is_empty());
    found
}

/// Reads `a::b`, `a::{b, c::d}` or `{a, b}` below `base`; returns the length read.
fn tree(text: &str, base: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let blank = |t: &str| t.len() - t.trim_start().len();
    let mut at = blank(text);
    if text[at..].starts_with('{') {
        at += 1;
        loop {
            at += tree(&text[at..], base, found);
            at += text[at..].find([',', '}', ';']).unwrap_or(text.len() - at);
            if !text[at..].starts_with(',') {
                return at + 1;
            }
            at += 1;
            if text[at..].trim_start().starts_with('}') {
                return at + blank(&text[at..]) + 1;
            }
        }
    }
    let name: String = text[at..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    at += name.len();
    let mut path = base.to_vec();
    if !name.is_empty() && name != "self" {
        path.push(name);
    }
    match text[at..].strip_prefix("::") {
        Some(rest) => at + 2 + tree(rest, &path, found),
        None => {
            found.push(path);
            at
        }
    }
}
