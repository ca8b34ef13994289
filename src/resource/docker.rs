//! container.docker: a container of the service's private docker daemon.

use super::common::dockerd::Daemon;
use super::{Done, Driver, Dropped, Resource};
use crate::cmd::{Cmd, Stage};
use crate::config::keyword::{
    Keyword,
    Type::{Text, Words},
};
use crate::config::scope::Params;
use crate::error::{Error, Result};
use crate::host::engine::{Container, Engine, Silence, is_id, listens, short};
use crate::host::patience::wait_until;
use crate::host::{Cx, Host};
use crate::log::Level;
use crate::report::Probe;
use crate::status::Status;
use std::time::Duration;

/// Its row in the driver table.
pub const DRIVER: Driver = Driver {
    kind: "container",
    types: &["docker"],
    rtype: "container.docker",
    about: "a container of the service's own docker daemon",
    keywords: &[
        Keyword::new("run_image", Text, "image: name[:tag] or id").required().example("opensvc/busybox:date"),
        Keyword::new("run_command", Text, "command, instead of the image's own; split as a shell does, run without one"),
        Keyword::new("run_args", Words, "arguments of docker run, of the first start").example("-v /etc/localtime:/etc/localtime:ro"),
    ],
    build,
};

/// The engine makes and starts a container of an image that is here within this time.
const RUN_TIMEOUT: Duration = Duration::from_secs(300);
/// With an image that a registry has.
const PULL_TIMEOUT: Duration = Duration::from_secs(3600);
/// From the polite signal to the other, when the container does not say.
const STOP_GRACE: u64 = 10;
/// What the engine needs beside that.
const STOP_MARGIN: u64 = 50;
/// How long a container that was started or stopped may take to be seen so.
const SETTLE: Duration = Duration::from_secs(10);

struct Docker {
    daemon: Daemon,
    name: String,
    image: String,
    args: Vec<String>,
    command: Vec<String>,
}

fn build(p: &Params) -> std::result::Result<Box<dyn Resource>, Dropped> {
    let image = p.text("run_image").ok_or_else(|| format!("'run_image' parameter is mandatory in section {}", p.section))?;
    let daemon = Daemon::of(p.config);
    let name = daemon.member(p.section).map(|(name, _)| name.to_owned()).unwrap_or_default();
    let command = p.text("run_command").unwrap_or_default();
    let command = shlex::split(command).ok_or_else(|| format!("run_command of section {}: a quote is not closed: {command}", p.section))?;
    Ok(Box::new(Docker { daemon, name, image: image.into(), args: p.words("run_args"), command }))
}

impl Docker {
    /// The image's name for people: that of the engine when the file has an id.
    fn image_label(&self, engine: Option<&Engine>) -> String {
        let named = || engine?.image(&self.image)?.names.first().cloned();
        if is_id(&self.image) && !self.image.contains(':') { named().unwrap_or_else(|| self.image.clone()) } else { self.image.clone() }
    }

    fn label_of(&self, engine: Option<&Engine>) -> String {
        let image = self.image_label(engine);
        match engine.and_then(|e| e.container(&self.name)) {
            Some(container) => format!("{}@{image}", short(&container.id)),
            None => image,
        }
    }

    /// What there is to say of an instance on another image than the file asks for now.
    fn mismatch(&self, engine: &Engine, container: &Container) -> Option<String> {
        let wanted = &engine.image(&self.image)?.id;
        (*wanted != container.image)
            .then(|| format!("the running container is based on image '{}' instead of '{}'", short(&container.image), short(wanted)))
    }

    fn seen(&self, engine: &Engine) -> Probe {
        let Some(container) = engine.container(&self.name) else { return Probe::because(Status::Down, "can not find container id") };
        let probe = Probe::up_if(container.running);
        match self.mismatch(engine, container) {
            Some(why) => Probe::because(probe.status.merge(Status::Warn), why),
            None => probe,
        }
    }

    /// The instance now, asked anew.
    fn instance(&self, cx: &Cx) -> Result<Option<Container>> {
        cx.host.facts.forget();
        match self.daemon.look(cx.host).as_ref() {
            Ok(engine) => Ok(engine.container(&self.name).cloned()),
            Err(Silence::Down) => match self.left().as_str() {
                "" => Ok(None),
                left => {
                    Err(Error::text(format!("the docker daemon has ended and left running: {left}. again: svcmgr -s {} stop", cx.service)))
                }
            },
            Err(Silence::Mute(why)) => Err(self.daemon.mute(cx.host, why)),
        }
    }

    /// What runs though the daemon does not.
    fn left(&self) -> String {
        self.daemon.orphans().iter().map(|id| short(id).to_owned()).collect::<Vec<_>>().join(", ")
    }

    fn is_down(&self, cx: &Cx) -> bool {
        matches!(self.daemon.look(cx.host).as_ref(), Err(Silence::Down))
    }

    fn client<'a>(&self, cx: &Cx, words: impl IntoIterator<Item = &'a str>) -> Cmd {
        Cmd::change(self.daemon.words(cx.host, words)).timeout(RUN_TIMEOUT)
    }

    /// Makes the instance and starts it.
    fn run(&self, cx: &Cx, has_image: bool) -> Result<()> {
        if !has_image && is_id(&self.image) {
            return Err(self.no_image(cx, "an id cannot be asked of a registry"));
        }
        if !has_image {
            cx.log.info(format!("image {} is not on this node: docker asks its registry for it", self.image));
        }
        let name = format!("--name={}", self.name);
        let mut words = vec!["run", "-t", "-i", "-d", &name];
        words.extend(self.args.iter().map(String::as_str));
        if self.args.iter().any(|a| a.starts_with("--restart")) {
            cx.log.warning(
                "run_args has --restart: --restart=no is added. where and when it runs is decided by the service, not by the engine",
            );
            words.push("--restart=no");
        }
        words.push(&self.image);
        words.extend(self.command.iter().map(String::as_str));
        let limit = if has_image { RUN_TIMEOUT } else { PULL_TIMEOUT };
        let out = cx.run(&self.client(cx, words).timeout(limit));
        if out.ok() {
            return Ok(());
        }
        if self.instance(cx)?.is_some_and(|c| !c.running) {
            // made, and never run: the next start is to make it anew, as the file then says
            cx.run_quiet(&self.client(cx, ["rm", &self.name]));
        }
        if has_image { Err(Error::Reported) } else { Err(self.no_image(cx, &out.failure().map(Stage::why).unwrap_or_default())) }
    }

    fn no_image(&self, cx: &Cx, why: &str) -> Error {
        let (image, service) = (&self.image, cx.service);
        Error::text(format!(
            "image {image} is not on {} and could not be had: {why}. from a file: svcmgr -s {service} docker load -i FILE. \
             from a node that has it: svcmgr -s {service} docker save {image} | ssh {} svcmgr -s {service} docker load",
            cx.host.node, cx.host.node
        ))
    }

    /// It runs; or an error with its exit status and last words.
    fn await_up(&self, cx: &Cx) -> Result<()> {
        cx.log.info("wait for container up status");
        let mut last = None;
        let up = wait_until(SETTLE, || match self.instance(cx) {
            Ok(Some(container)) => {
                let ended = !container.running;
                last = Some(container);
                !ended
            }
            _ => false,
        });
        if up {
            cx.log.info("wait for container operational");
            return Ok(());
        }
        let Some(container) = last else { return Err(Error::text(format!("container {} is gone", self.name))) };
        let out = cx.probe(&Cmd::probe(self.daemon.words(cx.host, ["logs", "--tail", "5", &self.name])));
        let said = [out.text(), out.stages.iter().map(|s| s.stderr.clone()).collect()].concat();
        let said = if said.trim().is_empty() { String::new() } else { format!(". it said last:\n{}", said.trim_end()) };
        Err(Error::text(format!("container {} has ended with exit status {}{said}", self.name, container.exit)))
    }

    fn begin(&self, cx: &Cx) -> Result<Done> {
        let heard = self.daemon.look(cx.host);
        let engine = match heard.as_ref() {
            Ok(engine) => engine,
            Err(Silence::Mute(why)) => return Err(self.daemon.mute(cx.host, why)),
            Err(Silence::Down) => return Err(Error::text("the docker daemon has ended")),
        };
        match engine.container(&self.name) {
            Some(c) if c.running => {
                cx.log.info(format!("container {} already started on {}", self.label_of(Some(engine)), cx.host.node));
                return Ok(Done::Already);
            }
            Some(c) => _ = cx.must(&self.client(cx, ["start", short(&c.id)]))?,
            None => self.run(cx, engine.image(&self.image).is_some())?,
        }
        self.await_up(cx)?;
        Ok(Done::Changed)
    }

    fn end(&self, cx: &Cx, container: &Container) -> Result<()> {
        let id = short(&container.id);
        let limit = Duration::from_secs(container.stop_timeout.unwrap_or(STOP_GRACE) + STOP_MARGIN);
        let stopped = cx.run(&self.client(cx, ["stop", id]).timeout(limit)).ok();
        cx.log.info("wait for container down status");
        let down = || wait_until(SETTLE, || self.instance(cx).is_ok_and(|c| c.is_none_or(|c| !c.running)));
        if stopped && down() {
            return Ok(());
        }
        cx.log.error("Waited too long for shutdown");
        let killed = cx.run(&self.client(cx, ["kill", id]).timeout(Duration::from_secs(STOP_MARGIN))).ok();
        if down() {
            return Ok(());
        }
        let why = if killed { "it was killed, and runs" } else { "it could not be killed" };
        Err(Error::text(format!("container {} does not stop: {why}", self.name)))
    }
}

impl Resource for Docker {
    fn label(&self, host: &Host) -> String {
        let heard = self.daemon.heard(host);
        self.label_of(heard.as_deref().and_then(|h| h.as_ref().ok()))
    }

    fn status(&self, cx: &Cx) -> Probe {
        let mut probe = match self.daemon.look(cx.host).as_ref() {
            Ok(engine) => self.seen(engine),
            Err(Silence::Mute(why)) => Probe::because(Status::Warn, format!("docker daemon does not answer: {why}")),
            Err(Silence::Down) => match self.left().as_str() {
                "" => Probe::because(Status::Down, "docker daemon is not running"),
                left => Probe::because(Status::Warn, format!("docker daemon is not running, its containers are: {left}")),
            },
        };
        if !self.daemon.has_data_dir() {
            probe.messages.push("DEFAULT.docker_data_dir must be defined".into());
        }
        probe
    }

    fn start(&self, cx: &Cx) -> Result<Done> {
        self.daemon.start(cx, Level::Info)?;
        self.begin(cx).inspect_err(|_| {
            // nothing of a failed start may keep the data folder busy
            if let Err(e) = self.daemon.stop_if_idle(cx, Level::Info) {
                cx.log.warning(e.to_string());
            }
        })
    }

    fn stop(&self, cx: &Cx) -> Result<Done> {
        let mute = matches!(self.daemon.look(cx.host).as_ref(), Err(Silence::Mute(_)));
        if mute && !listens(&self.daemon.socket(cx.host)) {
            // one that is being killed at this moment does not answer first, and is down then
            cx.host.facts.forget();
        }
        if self.is_down(cx) {
            if self.left().is_empty() {
                cx.log.info(format!("container {} already stopped", self.label(cx.host)));
                return Ok(Done::Already);
            }
            self.daemon.start(cx, Level::Info)?;
        }
        let done = match self.instance(cx)?.filter(|c| c.running) {
            Some(container) => self.end(cx, &container).map(|()| Done::Changed)?,
            None => {
                cx.log.info(format!("container {} already stopped", self.label(cx.host)));
                Done::Already
            }
        };
        self.daemon.stop_if_idle(cx, Level::Info)?;
        Ok(done)
    }

    fn has_standby(&self) -> bool {
        false
    }
}
