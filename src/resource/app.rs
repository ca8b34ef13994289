//! app: a launcher script, from an `[app#N]` section or an S/K/C link in the launcher folder.

use super::common::last_lines;
use super::{Done, Driver, Dropped, Resource, Sequence};
use crate::cmd::{Cmd, End, Sink};
use crate::config::keyword::{
    Keyword,
    Type::{Int, Text},
};
use crate::config::scope::Params;
use crate::error::{Error, Result};
use crate::host::patience::within;
use crate::host::{Cx, Host};
use crate::report::Probe;
use crate::status::Status;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Its row in the driver table.
pub const DRIVER: Driver = Driver {
    kind: "app",
    types: &[],
    rtype: "app",
    about: "a launcher called with start, stop, status and info",
    keywords: &[
        Keyword::new("script", Text, "the launcher: a path, or a name in etc/NAME.d").required().example("/srv/app1/launcher"),
        Keyword::new("start", Int, "sequence number at start; absent: not started").example("10"),
        Keyword::new("stop", Int, "sequence number at stop; absent: not stopped").example("90"),
        Keyword::new("check", Int, "sequence number of the check; absent: not checked").example("50"),
        Keyword::new("info", Int, "sequence number of info"),
        Keyword::new("run_as", Text, "user the launcher runs as; default root"),
        Keyword::new("timeout", Int, "seconds a start or stop may take; default: no bound"),
    ],
    build,
};

/// A check that takes longer is reported, not waited for.
const CHECK_TIMEOUT: Duration = Duration::from_secs(10);
/// The launcher's output starts anew beyond this size.
const LOG_MAX: u64 = 5 * 1024 * 1024;

/// One launcher.
pub struct App {
    script: String,
    start: Option<i64>,
    stop: Option<i64>,
    check: Option<i64>,
    run_as: Option<String>,
    timeout: Option<Duration>,
}

fn build(p: &Params) -> std::result::Result<Box<dyn Resource>, Dropped> {
    let script = p.text("script").ok_or_else(|| format!("'script' is not defined in config file section {}", p.section))?;
    let number = |key: &str| match p.text(key) {
        Some(text) => {
            text.trim().parse().map(Some).map_err(|_| format!("config file section {} param {key} must be an integer", p.section))
        }
        None => Ok(None),
    };
    let timeout: Option<i64> = number("timeout")?;
    Ok(Box::new(App {
        script: script.into(),
        start: number("start")?,
        stop: number("stop")?,
        check: number("check")?,
        run_as: p.text("run_as").map(str::to_owned),
        timeout: timeout.and_then(|s| u64::try_from(s).ok()).map(Duration::from_secs),
    }))
}

/// The launchers in `folder` that `declared` scripts do not name already: links `S<nn>x`, `K<nn>x`, `C<nn>x`,
/// those to the same file being one launcher. Links are read, never followed: they may lead into a filesystem of the service.
pub fn launchers(folder: &Path, declared: &[String]) -> Vec<App> {
    let mut found: BTreeMap<PathBuf, App> = BTreeMap::new();
    let mut entries: Vec<_> = std::fs::read_dir(folder).into_iter().flatten().flatten().collect();
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some((letter @ ('S' | 'K' | 'C'), rest)) = name.chars().next().map(|c| (c, name.get(1..).unwrap_or(""))) else { continue };
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        let Ok(number) = digits.parse::<i64>() else { continue };
        let target = std::fs::read_link(entry.path()).map_or_else(|_| entry.path(), |to| folder.join(to));
        let script = target.to_string_lossy().into_owned();
        if declared.iter().any(|d| *d == script || folder.join(d) == target) {
            continue;
        }
        let app = found.entry(target).or_insert_with(|| App { script, start: None, stop: None, check: None, run_as: None, timeout: None });
        match letter {
            'S' => app.start = Some(number),
            'K' => app.stop = Some(number),
            _ => app.check = Some(number),
        }
    }
    found.into_values().collect()
}

impl App {
    /// The launcher's path.
    fn path(&self, cx: &Cx) -> String {
        if self.script.starts_with('/') {
            return self.script.clone();
        }
        cx.host.paths.etc.join(format!("{}.d/{}", cx.service, self.script)).to_string_lossy().into_owned()
    }

    fn name(&self) -> &str {
        self.script.rsplit('/').next().unwrap_or(&self.script)
    }

    fn log_file(&self, cx: &Cx) -> PathBuf {
        cx.host.paths.tmp.join(format!("svc_{}_{}.log", cx.service, self.name()))
    }

    /// Its mode, if it is there; `None` when the filesystem it is on hangs.
    fn mode(path: &str) -> Option<Option<u32>> {
        let path = path.to_owned();
        within(CHECK_TIMEOUT, move || std::fs::metadata(path).ok().map(|m| m.permissions().mode()))
    }

    /// Runs the check. `Err`: it could not be run, and why.
    fn checked(&self, cx: &Cx) -> std::result::Result<End, Probe> {
        let path = self.path(cx);
        match Self::mode(&path) {
            None => return Err(Probe::because(Status::Warn, format!("script {path}: its filesystem does not answer"))),
            Some(None) => return Err(Probe::because(Status::Na, format!("script {path} does not exist"))),
            Some(Some(mode)) if mode & 0o111 == 0 => return Err(Probe::because(Status::Na, format!("script {path} is not executable"))),
            Some(Some(_)) => {}
        }
        let cmd = Cmd::probe([path, "status".into()]).timeout(CHECK_TIMEOUT).user(self.run_as.clone()).env("OPENSVC_SVCNAME", cx.service);
        let out = cx.probe(&cmd);
        match out.stages.into_iter().next().map(|s| s.end) {
            Some(End::NotRun(why)) => Err(Probe::because(Status::Warn, why)),
            Some(End::TimedOut(after)) => Err(Probe::because(Status::Warn, format!("check did not end in {} s", after.as_secs()))),
            Some(end) => Ok(end),
            None => Err(Probe::new(Status::Undef)),
        }
    }

    fn run(&self, cx: &Cx, verb: &str) -> Result<()> {
        let path = self.path(cx);
        let file = self.log_file(cx);
        std::fs::create_dir_all(&cx.host.paths.tmp).map_err(Error::io("create", &cx.host.paths.tmp))?;
        if std::fs::metadata(&file).is_ok_and(|m| m.len() > LOG_MAX) {
            std::fs::remove_file(&file).map_err(Error::io("remove", &file))?;
        }
        let written = std::fs::metadata(&file).map_or(0, |m| m.len());
        cx.log.info(format!("spawn: {path} {verb}"));
        let began = Instant::now();
        let mut cmd = Cmd::change([path, verb.to_owned()])
            .sink(Sink::File(file.clone()))
            .user(self.run_as.clone())
            .env("OPENSVC_SVCNAME", cx.service);
        cmd.timeout = self.timeout;
        let out = cx.host.runner.run(&cmd);
        cx.host.facts.forget(); // who knows what a launcher mounts
        let took = began.elapsed();
        let clock =
            format!("{}:{:02}:{:02}.{:06}", took.as_secs() / 3600, took.as_secs() / 60 % 60, took.as_secs() % 60, took.subsec_micros());
        let end = out.stages.into_iter().next().map_or(End::Exited(0), |s| s.end);
        let done = |ret: String| format!("{verb} done in {clock} - ret {ret} - logs in {}", file.display());
        match end {
            End::Exited(0) => {
                cx.log.info(done("0".into()));
                return Ok(());
            }
            End::Exited(code) => cx.log.error(done(code.to_string())),
            End::Signaled(signal) => cx.log.error(done(format!("signal {signal}"))),
            End::TimedOut(after) => {
                cx.log.error(format!("execution timeout ({} seconds): the launcher and its children were ended", after.as_secs()));
            }
            End::NotRun(why) => cx.log.error(why),
        }
        if let Some(said) = last_lines(&file, written) {
            cx.log.error(format!("the launcher said last:\n{said}"));
        }
        Err(Error::Reported)
    }
}

impl Resource for App {
    fn label(&self, _host: &Host) -> String {
        self.name().to_owned()
    }

    fn status(&self, cx: &Cx) -> Probe {
        if self.check.is_none() {
            return Probe::because(Status::Na, "check disabled");
        }
        match self.checked(cx) {
            Ok(End::Exited(0)) => Probe::new(Status::Up),
            Ok(End::Exited(1)) => Probe::new(Status::Down),
            Ok(End::Exited(code)) => Probe::because(Status::Warn, format!("check reports errors ({code})")),
            Ok(_) => Probe::because(Status::Warn, "check was killed"),
            Err(probe) => probe,
        }
    }

    fn start(&self, cx: &Cx) -> Result<Done> {
        if self.start.is_none() {
            return Ok(Done::Already);
        }
        let path = self.path(cx);
        if !Path::new(&path).exists() {
            cx.log.error(format!("script {path} does not exist"));
            return Err(Error::Reported);
        }
        if self.check.is_some() && self.checked(cx) == Ok(End::Exited(0)) {
            cx.log.info(format!("{} is already started", self.name()));
            return Ok(Done::Already);
        }
        self.run(cx, "start")?;
        Ok(Done::Changed)
    }

    fn stop(&self, cx: &Cx) -> Result<Done> {
        if self.stop.is_none() {
            return Ok(Done::Already);
        }
        let path = self.path(cx);
        if !Path::new(&path).exists() {
            cx.log.info(format!("script {path} does not exist. hosting fs might already be down"));
            return Ok(Done::Already);
        }
        self.run(cx, "stop")?;
        Ok(Done::Changed)
    }

    fn only_when_up(&self) -> bool {
        true
    }

    fn has_standby(&self) -> bool {
        false
    }

    fn sequence(&self, action: Sequence) -> Option<i64> {
        match action {
            Sequence::Start => self.start,
            Sequence::Stop => self.stop,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_to_one_file_are_one_launcher() {
        let dir = tempfile::tempdir().unwrap();
        for (link, to) in [("S10web", "web"), ("K90web", "web"), ("C50web", "web"), ("S20db", "/opt/db"), ("Sx", "web"), ("S30app", "mine")]
        {
            symlink(to, dir.path().join(link)).unwrap();
        }
        let apps = launchers(dir.path(), &["mine".into()]);
        let rows: Vec<_> = apps.iter().map(|a| (a.name(), a.start, a.stop, a.check)).collect();
        assert_eq!(rows, [("db", Some(20), None, None), ("web", Some(10), Some(90), Some(50))]);
    }
}
