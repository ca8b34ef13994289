//! The templates say what the keyword tables say. `UPDATE_TEMPLATES=1 cargo test --test templates` writes them anew.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_macros,
    missing_docs,
    reason = "a test may panic"
)]

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use svcmgr::cli::template::TEMPLATES;
use svcmgr::config::env::EnvFile;
use svcmgr::config::keyword::{Keyword, Type};
use svcmgr::resource::{COMMON, TRIGGERS};
use svcmgr::service::drivers::{INTERNAL_SCHEDULE, RESOURCES, SERVICE, SUBSET, SYNCS};
use svcmgr::service::validate::{Severity, Viewer, validate};

#[test]
fn each_template_is_what_the_tables_give() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
    let update = std::env::var_os("UPDATE_TEMPLATES").is_some();
    let all = generated();
    for (name, text) in &all {
        let path = folder.join(format!("{name}.env"));
        if update {
            std::fs::write(&path, text).unwrap();
        }
        let there = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(there == *text, "{} is not what the keyword tables give: UPDATE_TEMPLATES=1 cargo test --test templates", path.display());
    }
    let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
    let mut files: Vec<String> =
        std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name().to_str().unwrap().trim_end_matches(".env").to_owned()).collect();
    files.sort();
    let mut wanted = names.clone();
    wanted.sort_unstable();
    assert_eq!(files, wanted, "files of templates/");
    let printed: Vec<&str> = TEMPLATES.iter().map(|(name, _)| *name).collect();
    assert_eq!(printed, names, "what `svcmgr template` prints");
}

/// What a person does with them: DEFAULT and the resource's, as they stand; then every line switched on.
#[test]
fn templates_make_valid_services() {
    let all = generated();
    let default = &all.iter().find(|(name, _)| name == "DEFAULT").unwrap().1;
    for (name, text) in all.iter().filter(|(name, _)| name != "DEFAULT" && name != "subset") {
        let found = findings(&format!("{default}\n{text}"));
        assert!(found.is_empty(), "{name}: {found:#?}");
        let on = findings(&switched_on(&format!("{default}\n{text}")));
        assert!(on.iter().all(|(_, message)| !message.contains("unknown keyword")), "{name}, all lines on: {on:#?}");
    }
}

fn findings(text: &str) -> Vec<(Severity, String)> {
    let env = EnvFile::parse(Path::new("etc/svc1.env"), text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let viewer = Viewer { node: "deb1", host_mode: "TST" };
    validate(&Arc::new(env), "svc1", viewer).into_iter().map(|d| (d.severity, format!("{:?} {}", d.span, d.message))).collect()
}

fn switched_on(text: &str) -> String {
    text.lines().map(|line| format!("{}\n", line.strip_prefix('#').filter(|l| !l.starts_with(' ')).unwrap_or(line))).collect()
}

fn generated() -> Vec<(String, String)> {
    let about = "the service: what it is, and where it runs. Resources inherit every other key written here: keep those in their sections";
    let schedule = ("Schedule of all syncs.", INTERNAL_SCHEDULE);
    let mut all = vec![
        ("DEFAULT".into(), template("DEFAULT", about, None, &[("", SERVICE), schedule])),
        ("subset".into(), template("subset#fs:a", "a set of resources of one type: those with subset = a", None, &[("", SUBSET)])),
    ];
    let common =
        [("Every resource has these.", COMMON), ("Commands run around actions, on the node that acts, without a shell.", TRIGGERS)];
    for name in ["ip", "loop", "vg", "pool", "fs", "fs.zfs", "container.docker", "app", "hb"] {
        let (kind, ty) = name.split_once('.').unwrap_or((name, ""));
        let driver = RESOURCES.iter().find(|d| d.kind == kind && (ty.is_empty() || d.types.contains(&ty))).unwrap();
        let ty = if kind == "hb" { Some("openha") } else { Some(ty).filter(|t| !t.is_empty()) };
        let tables = [&[("", driver.keywords)][..], &common].concat();
        all.push((name.into(), template(&format!("{kind}#1"), driver.about, ty, &tables)));
    }
    for name in ["rsync", "dds", "zfs", "btrfs", "docker"] {
        let driver = SYNCS.iter().find(|d| d.types.contains(&name)).unwrap();
        let tables = [&[("", driver.keywords), ("When it runs by itself.", INTERNAL_SCHEDULE)][..], &common].concat();
        all.push((format!("sync.{name}"), template("sync#1", driver.about, Some(name), &tables)));
    }
    all
}

fn template(section: &str, about: &str, ty: Option<&str>, tables: &[(&str, &[Keyword])]) -> String {
    let mut out = format!(
        "# {about}.\n#\n\
         # Lines that begin with a key must be there; take the `#` from others as needed. Unless noted, a key may be\n\
         # scoped: key@nodes, key@drpnodes, key@HOST beat key on these nodes. This file is made from the keyword tables.\n\n\
         [{section}]\n"
    );
    let mut seen: Vec<&str> = Vec::new();
    if let Some(ty) = ty {
        writeln!(out, "type = {ty}").unwrap();
        seen.push("type");
    }
    for (title, table) in tables {
        let mut rest: Vec<&Keyword> = table.iter().filter(|k| is_of_use(k) && !seen.contains(&k.name)).collect();
        rest.sort_by_key(|k| !k.required);
        if !title.is_empty() && !rest.is_empty() {
            write!(out, "\n# --- {title}\n").unwrap();
        }
        for keyword in rest {
            seen.push(keyword.name);
            keyword_lines(&mut out, keyword);
        }
    }
    out
}

/// Not an old spelling, nor one that is only tolerated.
fn is_of_use(keyword: &Keyword) -> bool {
    keyword.deprecated.is_none() && !keyword.help.starts_with("accepted, unused")
}

fn keyword_lines(out: &mut String, keyword: &Keyword) {
    let mut notes = vec![keyword.ty.name()];
    if !keyword.default.is_empty() {
        notes.push(format!("default {}", keyword.default));
    }
    if !keyword.scopable {
        notes.push("not scoped".into());
    }
    let sample = match (keyword.example, keyword.default, keyword.ty) {
        ("", "", Type::Bool) => "true",
        ("", default, _) => default,
        (example, ..) => example,
    };
    let mark = if keyword.required { "" } else { "#" };
    write!(out, "\n# {} ({})\n", keyword.help, notes.join("; ")).unwrap();
    writeln!(out, "{}", format!("{mark}{} = {sample}", keyword.name).trim_end()).unwrap();
}
