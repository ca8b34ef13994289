//! What is sent: patterns expanded, and the guard against sending the emptiness of an unmounted filesystem.

use super::{Kind, Rsync, fixed, is_pattern, origin, wrap};
use crate::cmd::Cmd;
use crate::config::scope::ServiceConfig;
use crate::config::value;
use crate::error::{Error, Result};
use crate::host::Cx;
use crate::host::patience::within;
use crate::rid::kind_of;
use std::path::Path;
use std::time::Duration;

/// How long a filesystem may take to tell what a pattern names.
const EXPAND: Duration = Duration::from_secs(5);

/// The filesystems of the service on this node.
#[derive(Debug, Clone, Default)]
pub(super) struct Guard(pub(super) Vec<ServiceFs>);

/// One fs section.
#[derive(Debug, Clone)]
pub(super) struct ServiceFs {
    pub(super) rid: String,
    pub(super) mnt: String,
    pub(super) disabled: bool,
    /// MB.
    pub(super) snap_size: Option<i64>,
}

impl Guard {
    pub(super) fn of(config: &ServiceConfig) -> Self {
        let sections = config.env.sections().filter(|s| kind_of(&s.name) == Some("fs"));
        let all = sections.filter_map(|s| {
            let p = config.section(&s.name);
            let mnt = p.text("mnt")?;
            Some(ServiceFs {
                rid: s.name.clone(),
                mnt: mnt.strip_suffix('/').filter(|m| !m.is_empty()).unwrap_or(mnt).to_owned(),
                disabled: p.text("disable").is_some_and(|v| value::boolean(v) == Ok(true)),
                snap_size: p.integer("snap_size").ok().flatten(),
            })
        });
        Self(all.collect())
    }

    /// Refuses a source that lies on, or over, a filesystem of the service that is not mounted: what is
    /// there is only the empty mount point, and the target's files would be deleted to match it.
    fn check(&self, cx: &Cx, source: &str) -> Result<()> {
        // a link may lead onto the filesystem
        let path = source.to_owned();
        let Some(real) = within(EXPAND, move || std::fs::canonicalize(path)) else { return Err(no_answer(source)) };
        let real = real.map(|p| p.to_string_lossy().into_owned()).unwrap_or_default();
        for fs in &self.0 {
            let mnt = cx.host.facts.real_path(&fs.mnt);
            let on = Path::new(source).starts_with(&fs.mnt) || Path::new(&real).starts_with(&mnt);
            let over = !fs.disabled && (Path::new(&fs.mnt).starts_with(source) || (!real.is_empty() && Path::new(&mnt).starts_with(&real)));
            if (on || over) && cx.host.facts.mount_at(&mnt).is_none() {
                return Err(Error::text(format!(
                    "{source} is not sent: {} ({}) is not mounted here, and the files on the target would be deleted",
                    fs.mnt, fs.rid
                )));
            }
        }
        Ok(())
    }

    /// The filesystem `source` is on: the deepest mount point.
    pub(super) fn holding(&self, source: &str) -> Option<&ServiceFs> {
        self.0.iter().filter(|fs| Path::new(source).starts_with(&fs.mnt)).max_by_key(|fs| fs.mnt.len())
    }
}

fn no_answer(source: &str) -> Error {
    Error::text(format!("no answer within {} s from the filesystem of {source}", EXPAND.as_secs()))
}

/// What is there of the sources of `sync`, safe to be sent. An error when there is nothing at all.
pub(super) fn ready(sync: &Rsync, cx: &Cx) -> Result<Vec<String>> {
    cx.host.facts.forget(); // the peers were asked meanwhile, and other transfers have taken their time
    safe(sync, cx)
}

fn safe(sync: &Rsync, cx: &Cx) -> Result<Vec<String>> {
    // before the expansion: on an unmounted filesystem a pattern matches nothing, and nothing is said about it
    for source in &sync.src {
        sync.guard.check(cx, fixed(source))?;
    }
    let Some(found) = expand(&sync.src) else {
        return Err(no_answer(&sync.src.join(", ")));
    };
    for source in &found {
        sync.guard.check(cx, source)?;
    }
    origin::check(sync, cx)?;
    if found.is_empty() {
        cx.log.info("no files to sync");
        return Err(Error::text(format!("nothing to send: none of {} exists here", sync.src.join(", "))));
    }
    complete(sync)?;
    if wrap::needs_protection(&sync.dst) && !wrap::protects(&cx.probe(&Cmd::probe(["rsync", "--version"])).text()) {
        return Err(Error::text(format!("dst {} has blanks or signs of the shell: this takes rsync 3.2.4 or later", sync.dst)));
    }
    Ok(found)
}

/// What `paths` lie on, to be compared: mount points and devices.
pub(super) fn below(cx: &Cx, paths: &[String]) -> Vec<(String, String)> {
    cx.host.facts.forget();
    let mounts = paths.iter().filter_map(|path| cx.host.facts.mount_of(&cx.host.facts.real_path(path)));
    mounts.map(|m| (m.target, m.dev)).collect()
}

/// After a transfer of `paths`, which lay on `before`: they still do. If not, what was sent may have been an empty
/// mount point, or half of one.
pub(super) fn unchanged(sync: &Rsync, cx: &Cx, paths: &[String], before: &[(String, String)]) -> Result<()> {
    let now = below(cx, paths);
    // what a snapshot is of may go
    let mounted = sync.snap || sync.src.iter().all(|s| sync.guard.check(cx, fixed(s)).is_ok());
    if now == before && mounted {
        return Ok(());
    }
    let name = |mounts: &[(String, String)]| mounts.iter().map(|(target, dev)| format!("{target} ({dev})")).collect::<Vec<_>>().join(", ");
    Err(Error::text(format!(
        "what is mounted below {} has changed while it was sent, from {} to {}: the copy may lack files. sync again when it is mounted",
        sync.src.join(", "),
        name(before),
        name(&now)
    )))
}

/// Refuses what is not all there: several sources make one picture on the target, and what a missing one has sent
/// before would be deleted. A pattern for files may match none; one for the content of folders is a source like any.
/// Internal syncs name what there may be.
fn complete(sync: &Rsync) -> Result<()> {
    let must_be = |s: &&String| !is_pattern(s) || s.ends_with('/');
    for source in sync.src.iter().filter(must_be).filter(|_| sync.kind == Kind::User) {
        match expand(std::slice::from_ref(source)) {
            None => return Err(no_answer(source)),
            Some(found) if found.is_empty() => {
                return Err(Error::text(format!(
                    "{source} does not exist here: nothing is sent, as what it has sent before would be deleted on the target. remove it from src if it is gone for good"
                )));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Says which sources of `sync` are not there.
pub(super) fn tell_missing(sync: &Rsync, cx: &Cx) {
    if sync.kind != Kind::User {
        return;
    }
    for source in &sync.src {
        if expand(std::slice::from_ref(source)).is_some_and(|found| found.is_empty()) {
            cx.log.warning(format!("{source} does not exist here: skipped"));
        }
    }
}

/// The files that `patterns` name, each pattern's in byte order; `None` when the filesystem does not answer.
/// What does not exist is left out.
pub(super) fn expand(patterns: &[String]) -> Option<Vec<String>> {
    let patterns = patterns.to_vec();
    within(EXPAND, move || patterns.iter().flat_map(|p| matches(p)).collect())
}

fn matches(pattern: &str) -> Vec<String> {
    if !is_pattern(pattern) {
        return if std::fs::symlink_metadata(pattern).is_ok() { vec![pattern.to_owned()] } else { Vec::new() };
    }
    let options = glob::MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };
    // a slash at the end means the content of folders; glob would lose it
    let (body, folders) = pattern.strip_suffix('/').map_or((pattern, false), |body| (body, true));
    let Ok(paths) = glob::glob_with(body, options) else { return Vec::new() };
    let found = paths.filter_map(std::result::Result::ok).filter(|p| !folders || p.is_dir());
    found.map(|p| format!("{}{}", p.display(), if folders { "/" } else { "" })).collect()
}

/// A Python list, as 2014's messages have it.
pub(super) fn python_list(words: &[String]) -> String {
    format!("[{}]", words.iter().map(|w| format!("'{w}'")).collect::<Vec<_>>().join(", "))
}
