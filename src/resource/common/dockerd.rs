//! The private docker daemon of a service on this node: where it is, whether it runs, its start and its end.

use super::{docker_range, last_lines};
use crate::cmd::{Cmd, Sink};
use crate::config::scope::ServiceConfig;
use crate::error::{Error, Result};
use crate::host::engine::{self, Engine, Silence};
use crate::host::facts::Heard;
use crate::host::lock::Lock;
use crate::host::patience::wait_until;
use crate::host::processes::{has_ended, is_stopped, processes, program};
use crate::host::{Cx, Host};
use crate::log::Level;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A daemon that has to stop what an earlier one left running takes some 15 s.
const START_TIMEOUT: Duration = Duration::from_secs(90);
/// From SIGTERM to its end: 0.3 to 1 s when nothing runs in it, 15 s when something does.
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
/// The daemon's log starts anew beyond this size.
const LOG_MAX: u64 = 5 * 1024 * 1024;
/// unix(7): the path of a socket, with its final zero.
const SOCKET_MAX: usize = 108;

/// The daemon of one service, and what the service wants of it.
#[derive(Debug, Clone)]
pub struct Daemon {
    service: String,
    data_dir: Option<String>,
    args: Vec<String>,
    /// The fs of the service that the data folder is on: rid and mount point.
    ground: Option<(String, String)>,
    /// Its containers: rid, name, image as configured.
    members: Vec<(String, String, String)>,
}

/// The name of the container of a section: `container#1` of `svc1` is `svc1.container.1`.
fn name_of(service: &str, rid: &str) -> String {
    format!("{service}.{}", rid.replace('#', "."))
}

impl Daemon {
    /// The daemon of the service whose file `config` is.
    pub fn of(config: &ServiceConfig) -> Self {
        let service = config.env.path().file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        let text = |key: &str| config.text("DEFAULT", key).filter(|v| !v.is_empty());
        let data_dir = text("docker_data_dir").map(|d| d.trim_end_matches('/').to_owned());
        let kind = |name: &str, kind: &str| crate::rid::kind_of(name) == Some(kind);
        let sections = || config.env.sections().map(|s| s.name.as_str());
        let members = sections().filter(|s| kind(s, "container") && config.text(s, "type") == Some("docker"));
        let members = members
            .filter_map(|s| Some((s.to_owned(), name_of(&service, s), config.text(s, "run_image").filter(|i| !i.is_empty())?.to_owned())));
        let grounds = sections().filter(|s| kind(s, "fs")).filter_map(|s| Some((s.to_owned(), config.text(s, "mnt")?.to_owned())));
        let below = |mnt: &str| !mnt.is_empty() && data_dir.as_ref().is_some_and(|d| Path::new(d).starts_with(mnt));
        let ground = grounds.filter(|(_, mnt)| below(mnt)).max_by_key(|(_, mnt)| Path::new(mnt).components().count());
        Self {
            members: members.collect(),
            ground,
            args: text("docker_daemon_args").unwrap_or_default().split_whitespace().map(str::to_owned).collect(),
            data_dir,
            service,
        }
    }

    /// Name and image of the container of section `rid`.
    pub fn member(&self, rid: &str) -> Option<(&str, &str)> {
        self.members.iter().find(|(r, ..)| r == rid).map(|(_, name, image)| (name.as_str(), image.as_str()))
    }

    /// Its containers: name, image as configured.
    pub fn members(&self) -> impl Iterator<Item = (&str, &str)> {
        self.members.iter().map(|(_, name, image)| (name.as_str(), image.as_str()))
    }

    /// A data folder is configured.
    pub fn has_data_dir(&self) -> bool {
        self.data_dir.is_some()
    }

    fn file(&self, host: &Host, name: &str) -> PathBuf {
        host.paths.service_var(&self.service).join(name)
    }

    /// Where it listens.
    pub fn socket(&self, host: &Host) -> PathBuf {
        self.file(host, "docker.sock")
    }

    /// Its sockets and states that do not outlive the machine. Two daemons cannot share one.
    fn exec_root(&self) -> String {
        format!("/run/docker.{}", self.service)
    }

    /// What it says of the service's containers and images: asked once a command and change.
    pub fn look(&self, host: &Host) -> Heard {
        let mut about: Vec<&str> = self.members.iter().flat_map(|(_, name, image)| [name.as_str(), image.as_str()]).collect();
        about.sort_unstable();
        about.dedup();
        host.facts.engine(host.runner.as_ref(), &self.socket(host), &about)
    }

    /// What it has said in this command, if it was asked.
    pub fn heard(&self, host: &Host) -> Option<Heard> {
        host.facts.heard(&self.socket(host))
    }

    /// A call of its client.
    pub fn words<'a>(&self, host: &Host, more: impl IntoIterator<Item = &'a str>) -> Vec<String> {
        engine::words(&self.socket(host), more)
    }

    /// Its process: known by its own words, so that a number that has become another's is never taken for it.
    fn process(&self, host: &Host) -> Option<i32> {
        let socket = format!("unix://{}", self.socket(host).display());
        processes(|argv| program(argv) == "dockerd" && argv.contains(&socket)).next().map(|(pid, _)| pid)
    }

    /// Ids of containers that run though the daemon does not: their keepers outlive a daemon that is killed.
    pub fn orphans(&self) -> Vec<String> {
        let address = format!("{}/containerd/containerd.sock", self.exec_root());
        if !Path::new(&self.exec_root()).exists() {
            return Vec::new();
        }
        let keepers = processes(|argv| program(argv).starts_with("containerd-shim") && argv.contains(&address));
        let id = |argv: &[String]| argv.iter().skip_while(|w| *w != "-id").nth(1).cloned();
        keepers.filter_map(|(_, argv)| id(&argv)).collect()
    }

    /// Makes it answer; whether it had to be started for that. `said`: the level of what is told of the start.
    pub fn start(&self, cx: &Cx, said: Level) -> Result<bool> {
        if self.answers(cx.host)? {
            return Ok(false);
        }
        let _lock = Lock::wait(&self.file(cx.host, "docker.lock"), START_TIMEOUT + STOP_TIMEOUT)?;
        cx.host.facts.forget();
        if self.answers(cx.host)? {
            return Ok(false); // somebody else did
        }
        let data_dir = self.ready(cx)?;
        cx.log.log(said, "starting docker daemon");
        let log = self.fresh_log(cx.host)?;
        let written = std::fs::metadata(&log).map_or(0, |m| m.len());
        let out = cx.run_at(&Cmd::change(self.argv(cx.host, &data_dir)).background().sink(Sink::File(log.clone())), said, Level::Error);
        if !out.ok() {
            return Err(Error::Reported);
        }
        self.await_start(cx.host, &log, written)?;
        cx.host.facts.forget();
        Ok(true)
    }

    fn answers(&self, host: &Host) -> Result<bool> {
        match self.look(host).as_ref() {
            Ok(_) => Ok(true),
            Err(Silence::Down) => Ok(false),
            Err(Silence::Mute(why)) => Err(self.mute(host, why)),
        }
    }

    /// The error of a daemon that is there and of no use.
    pub fn mute(&self, host: &Host, why: &str) -> Error {
        let name = &self.service;
        let way_out = match self.process(host) {
            Some(pid) if is_stopped(pid) => format!("it is stopped (SIGSTOP). to let it go on: kill -CONT {pid}"),
            // the next action finds it dead, and mends that
            Some(pid) => format!("to end it and try again: kill -9 {pid}; svcmgr -s {name} …"),
            None => "is something else listening there?".into(),
        };
        Error::text(format!("the docker daemon of {name} ({}) does not answer: {why}. {way_out}", self.socket(host).display()))
    }

    /// What keeps it from being started on this node. Changes nothing.
    pub fn obstacle(&self, host: &Host) -> Option<String> {
        let Some(data_dir) = &self.data_dir else { return Some("DEFAULT.docker_data_dir must be defined".into()) };
        if let Some((rid, mnt)) = &self.ground
            && host.facts.mount_at(&host.facts.real_path(mnt)).is_none()
        {
            return Some(format!(
                "the docker daemon data dir {data_dir} is on {rid}, and {mnt} is not mounted. can't start the docker daemon. first: svcmgr -s {0} --rid {rid} startfs   (where it is always on: svcmgr -s {0} startstandby)",
                self.service
            ));
        }
        if let Some(program) = ["dockerd", engine::client()].into_iter().find(|p| crate::cmd::find(p).is_none()) {
            let why = crate::cmd::not_found(program);
            return Some(format!("{why}: install the docker engine (Debian, Ubuntu: apt install docker.io)"));
        }
        let sockets = [self.socket(host), Path::new(&self.exec_root()).join("containerd/containerd.sock")];
        let long = sockets.iter().find(|p| p.as_os_str().len() >= SOCKET_MAX)?;
        Some(format!("{} is too long for a socket ({SOCKET_MAX} bytes): the service needs a shorter name", long.display()))
    }

    /// Checks what a start needs, and clears what an earlier daemon has left; the data folder.
    fn ready(&self, cx: &Cx) -> Result<String> {
        if let Some(why) = self.obstacle(cx.host) {
            return Err(Error::text(why));
        }
        if let Some(pid) = self.process(cx.host) {
            let log = self.file(cx.host, "dockerd.log");
            return Err(Error::text(format!(
                "the docker daemon of {} runs (process {pid}) and does not listen. see {}. to end it and try again: kill {pid}",
                self.service,
                log.display()
            )));
        }
        let pid_file = self.file(cx.host, "docker.pid");
        if pid_file.exists() {
            // not ours any more: the daemon would refuse to start beside whatever has the number now
            std::fs::remove_file(&pid_file).map_err(Error::io("remove", &pid_file))?;
        }
        let left = self.orphans();
        if !left.is_empty() {
            let ids: Vec<&str> = left.iter().map(|id| engine::short(id)).collect();
            cx.log.warning(format!("the docker daemon has died and left running: {}. the new one stops that first", ids.join(", ")));
        }
        Ok(cx.host.facts.real_path(self.data_dir.as_deref().unwrap_or_default()))
    }

    fn argv(&self, host: &Host, data_dir: &str) -> Vec<String> {
        let socket = format!("unix://{}", self.socket(host).display());
        let pid_file = self.file(host, "docker.pid").display().to_string();
        let exec_root = self.exec_root();
        let own = ["dockerd", "-H", &socket, "--data-root", data_dir, "-p", &pid_file, "--exec-root", &exec_root];
        own.into_iter().map(str::to_owned).chain(self.range(host)).chain(self.args.iter().cloned()).collect()
    }

    /// Keeps it from giving addresses away that another daemon of this node gives. Nothing while there is no bridge yet:
    /// the first daemon makes it, in a network that is free.
    fn range(&self, host: &Host) -> Option<String> {
        let addresses = host.facts.addresses();
        let bridge = addresses.iter().find_map(|a| match a.addr {
            Some(IpAddr::V4(ip)) if a.device() == "docker0" => Some((ip, a.prefix)),
            _ => None,
        })?;
        if docker_range::is_said(&self.args) {
            return None;
        }
        let others: Vec<Vec<String>> = processes(|argv| program(argv) == "dockerd").map(|(_, argv)| argv).collect();
        let taken = docker_range::taken(others.iter().map(Vec::as_slice));
        docker_range::of(&self.service, bridge, &taken).map(|range| format!("--fixed-cidr={range}"))
    }

    fn fresh_log(&self, host: &Host) -> Result<PathBuf> {
        let log = self.file(host, "dockerd.log");
        if let Some(folder) = log.parent() {
            std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        }
        if std::fs::metadata(&log).is_ok_and(|m| m.len() > LOG_MAX) {
            std::fs::remove_file(&log).map_err(Error::io("remove", &log))?;
        }
        Ok(log)
    }

    /// Waits until it answers. It listens early and lets its clients wait until it is ready.
    fn await_start(&self, host: &Host, log: &Path, written: u64) -> Result<()> {
        let (socket, begun) = (self.socket(host), Instant::now());
        let words = || last_lines(log, written).map(|said| format!(". it said last:\n{said}")).unwrap_or_default();
        loop {
            let left = START_TIMEOUT.saturating_sub(begun.elapsed());
            if engine::listens(&socket) && host.runner.run(&Cmd::probe(self.words(host, ["version"])).timeout(left)).ok() {
                return Ok(());
            }
            if self.process(host).is_none() {
                return Err(Error::text(format!("the docker daemon has ended at once{} ({})", words(), log.display())));
            }
            if crate::cmd::system::interrupted() {
                return Err(Error::text("interrupted by signal"));
            }
            if left.is_zero() {
                return Err(Error::text(format!("the docker daemon does not answer after {} s{}", START_TIMEOUT.as_secs(), words())));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends it if it runs and no container does. When this returns Ok it is gone, or has something to do.
    pub fn stop_if_idle(&self, cx: &Cx, said: Level) -> Result<()> {
        let _lock = Lock::wait(&self.file(cx.host, "docker.lock"), START_TIMEOUT + STOP_TIMEOUT)?;
        if !engine::listens(&self.socket(cx.host)) {
            return Ok(());
        }
        let out = cx.probe(&Cmd::probe(self.words(cx.host, ["ps", "--format", "{{.Names}}"])));
        if let Some(stage) = out.failure() {
            return Err(Error::text(format!("cannot tell what still runs in the docker daemon: {}", stage.why())));
        }
        let text = out.text();
        let left: Vec<&str> = text.lines().filter(|l| !l.is_empty()).collect();
        if left.is_empty() {
            cx.log.log(said, "no more container handled by docker daemon. shut it down");
            return self.end(cx);
        }
        let strangers: Vec<&str> = left.into_iter().filter(|l| !self.members.iter().any(|(_, name, _)| name == l)).collect();
        if !strangers.is_empty() {
            cx.log.warning(format!(
                "the docker daemon goes on, for containers that are not of this service's file: {0}. to stop them: svcmgr -s {1} docker stop {0}",
                strangers.join(" "),
                self.service
            ));
        }
        Ok(())
    }

    /// SIGTERM, and the wait for the end: its data folder may be umounted next.
    fn end(&self, cx: &Cx) -> Result<()> {
        let Some(pid) = self.process(cx.host) else {
            let socket = self.socket(cx.host);
            return Err(Error::text(format!(
                "cannot shut down the docker daemon at {}: it is not a process of this node",
                socket.display()
            )));
        };
        // it ends its containerd, which has files below the data folder as well
        let exec_root = format!("{}/", self.exec_root());
        let helpers = processes(|argv| program(argv) == "containerd" && argv.iter().any(|w| w.starts_with(&exec_root)));
        let all: Vec<i32> = helpers.map(|(helper, _)| helper).chain([pid]).collect();
        let asked = kill(Pid::from_raw(pid), Signal::SIGTERM);
        let gone = asked.is_err() || wait_until(STOP_TIMEOUT, || all.iter().all(|p| has_ended(*p)) && self.orphans().is_empty());
        cx.host.facts.forget();
        if gone {
            return Ok(());
        }
        let log = self.file(cx.host, "dockerd.log");
        Err(Error::text(format!(
            "the docker daemon (process {pid}) does not end in {} s. see {}. to end it: kill -9 {pid}",
            STOP_TIMEOUT.as_secs(),
            log.display()
        )))
    }

    /// The words of a client call with `%instances%` and `%images%` replaced by the containers that are there and the
    /// images of the file.
    pub fn expanded(&self, host: &Host, args: &[String]) -> Vec<String> {
        let heard = self.look(host);
        let there = |name: &str| heard.as_ref().as_ref().is_ok_and(|e: &Engine| e.container(name).is_some());
        let mut words = Vec::new();
        for arg in args {
            match arg.as_str() {
                "%instances%" => words.extend(self.members().filter(|(name, _)| there(name)).map(|(name, _)| name.to_owned())),
                "%images%" => words.extend(self.members().map(|(_, image)| image.to_owned())),
                other => words.push(other.to_owned()),
            }
        }
        words
    }
}
