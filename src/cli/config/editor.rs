//! edit config: the caller's editor on a copy; the copy replaces the file only if it is no worse.

use super::store::Store;
use crate::cli::console::err;
use crate::cmd::{Cmd, Sink};
use crate::config::env::EnvFile;
use crate::error::{Error, Result};
use crate::render::diagnostics;
use crate::service::validate::{Diagnostic, Severity, of_parse_errors, validate};
use std::fs;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;
use tempfile::NamedTempFile;

pub(super) fn edit(store: &Store<'_>, color: bool) -> Result<String> {
    let path = store.path();
    // a file that cannot be parsed is edited to mend it
    let before = fs::read(&path).map_err(Error::io("read", &path))?;
    if store.dry_run {
        store.log.info(format!("would edit {}", path.display()));
        return Ok(String::new());
    }
    let copy = copy(store, &before)?;
    loop {
        if let Err(why) = run_editor(store, copy.path()) {
            return kept(copy, &before, &why.to_string());
        }
        let after = fs::read(copy.path()).map_err(Error::io("read", copy.path()))?;
        if after == before {
            return Ok(format!("{}: unchanged\n", path.display()));
        }
        let worse = new_errors(store, &before, &after);
        if worse.is_empty() {
            return match replace(store, &before, &after) {
                Ok(()) => Ok(format!("{}: replaced\n", path.display())),
                Err(why) => kept(copy, &before, &why.to_string()),
            };
        }
        err(diagnostics::text(&worse, copy.path(), &after, color).trim_end());
        if !again()? {
            return kept(copy, &before, &format!("{}: not replaced", path.display()));
        }
    }
}

fn copy(store: &Store<'_>, bytes: &[u8]) -> Result<NamedTempFile> {
    let folder = &store.host.paths.tmp;
    fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    let prefix = format!("{}.", store.name);
    let mut copy = tempfile::Builder::new().prefix(&prefix).suffix(".env").tempfile_in(folder).map_err(Error::io("write in", folder))?;
    copy.write_all(bytes).and_then(|()| copy.as_file().sync_all()).map_err(Error::io("write", folder))?;
    Ok(copy)
}

/// `VISUAL`, `EDITOR`, else vi; words as a shell would split them.
fn run_editor(store: &Store<'_>, copy: &Path) -> Result<()> {
    let set = |name: &str| std::env::var(name).ok().filter(|v| !v.trim().is_empty());
    let editor = set("VISUAL").or_else(|| set("EDITOR")).unwrap_or_else(|| "vi".into());
    let Some(mut argv) = shlex::split(&editor) else { return Err(Error::text(format!("EDITOR cannot be split into words: {editor}"))) };
    argv.push(copy.display().to_string());
    let out = store.host.runner.run(&Cmd::change(argv).sink(Sink::Inherit).unbounded());
    match out.failure() {
        None => Ok(()),
        Some(stage) => Err(Error::text(stage.why())),
    }
}

/// The errors that were not there before: an old one does not stand in the way of other edits.
fn new_errors(store: &Store<'_>, before: &[u8], after: &[u8]) -> Vec<Diagnostic> {
    let found = |bytes: &[u8]| match EnvFile::parse(&store.path(), bytes) {
        Ok(file) => (validate(&Arc::new(file), store.name, store.viewer()), false),
        Err(errors) => (of_parse_errors(&errors), true),
    };
    let ((old, _), (new, unreadable)) = (found(before), found(after));
    let is_old = |d: &Diagnostic| !unreadable && old.iter().any(|o| o.message == d.message);
    new.into_iter().filter(|d| d.severity == Severity::Error && !is_old(d)).collect()
}

fn replace(store: &Store<'_>, before: &[u8], after: &[u8]) -> Result<()> {
    let _lock = store.lock()?;
    let path = store.path();
    let real = fs::canonicalize(&path).map_err(Error::io("read", &path))?;
    if fs::read(&real).map_err(Error::io("read", &real))? != before {
        return Err(Error::text(format!("{}: changed by somebody else meanwhile", path.display())));
    }
    crate::state::atomic::write(&real, after)?;
    let old = EnvFile::parse(&path, before.to_vec()).map(|file| validate(&Arc::new(file), store.name, store.viewer())).unwrap_or_default();
    if let Ok(new) = EnvFile::parse(&path, after.to_vec()) {
        store.say_new(&old, new);
    }
    Ok(())
}

/// Asks on a terminal; elsewhere nobody could answer.
fn again() -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Ok(false);
    }
    err("edit again? [Y/n]");
    let mut line = String::new();
    let read = std::io::stdin().read_line(&mut line).map_err(|e| Error::text(format!("cannot read the answer: {e}")))?;
    Ok(read > 0 && !line.trim().to_lowercase().starts_with('n'))
}

/// The error, and where the work is.
fn kept(copy: NamedTempFile, before: &[u8], why: &str) -> Result<String> {
    if fs::read(copy.path()).is_ok_and(|now| now == before) {
        return Err(Error::text(why));
    }
    let path = copy.into_temp_path().keep().map_err(|e| Error::text(format!("{why}; the copy is lost: {e}")))?;
    Err(Error::text(format!("{why}. your copy is kept: {}", path.display())))
}
