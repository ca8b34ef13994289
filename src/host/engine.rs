//! What a docker engine says of the containers and images of a service, in one question.

use super::patience::within;
use crate::cmd::{Cmd, End, Runner};
use serde_json::Value;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the engine may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may take: at once, or its queue is full.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A container, as `docker inspect` tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Container {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Without the slash the engine puts before it.
    pub name: String,
    /// Id of its image, 64 hexadecimal digits.
    pub image: String,
    /// Its first process runs.
    pub running: bool,
    /// That process; 0 when there is none.
    pub pid: i32,
    /// Exit status of the last run.
    pub exit: i64,
    /// Seconds from the polite signal to the other; `None`: the engine's own, 10.
    pub stop_timeout: Option<u64>,
}

/// An image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    /// 64 hexadecimal digits.
    pub id: String,
    /// `repository:tag` and `repository@sha256:…`, as the engine knows it.
    pub names: Vec<String>,
}

/// An engine's answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Engine {
    /// Those that were asked for and are there.
    pub containers: Vec<Container>,
    /// The same.
    pub images: Vec<Image>,
}

/// Why an engine did not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Silence {
    /// Nobody listens.
    Down,
    /// Somebody listens, and this came of the question.
    Mute(String),
}

/// The first 12 digits: how the engine's client shows an id.
pub fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// The client program. Debian once called it docker.io.
pub fn client() -> &'static str {
    if crate::cmd::find("docker.io").is_some() { "docker.io" } else { "docker" }
}

/// The words of a client call of the engine at `socket`.
pub fn words<'a>(socket: &Path, more: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let first = [client().to_owned(), "-H".into(), format!("unix://{}", socket.display())];
    first.into_iter().chain(more.into_iter().map(str::to_owned)).collect()
}

/// Somebody listens at `socket`.
pub fn listens(socket: &Path) -> bool {
    let socket = PathBuf::from(socket);
    // no file, no thread to ask
    socket.exists() && within(CONNECT_TIMEOUT, move || UnixStream::connect(socket).is_ok()).unwrap_or(true)
}

impl Engine {
    /// Asks the engine at `socket` about containers and images by name or id; at most one child process.
    pub fn ask(runner: &dyn Runner, socket: &Path, about: &[&str]) -> Result<Self, Silence> {
        if !listens(socket) {
            return Err(Silence::Down);
        }
        let argv = words(socket, ["inspect"].iter().chain(about).copied());
        let out = runner.run(&Cmd::probe(argv).timeout(ANSWER_TIMEOUT));
        if let Some(stage) = out.failure() {
            if matches!(stage.end, End::TimedOut(_)) {
                return Err(Silence::Mute(format!("no answer within {} s", ANSWER_TIMEOUT.as_secs())));
            }
            // what is not there is told as an error, beside what is
            let unknown = |line: &str| line.to_lowercase().contains("no such object");
            let mut lines = stage.stderr.lines().filter(|l| !l.trim().is_empty()).peekable();
            if out.code().is_none() || lines.peek().is_none() || !lines.all(unknown) {
                return Err(Silence::Mute(stage.why()));
            }
        }
        Self::parse(&out.stdout).ok_or_else(|| Silence::Mute("its answer to docker inspect is not understood".into()))
    }

    /// Reads the JSON of `docker inspect` (the engine's API: ContainerInspect, ImageInspect).
    pub fn parse(json: &[u8]) -> Option<Self> {
        let Value::Array(all) = serde_json::from_slice(json).ok()? else { return None };
        let mut engine = Self::default();
        for one in &all {
            if let Some(state) = one.get("State").filter(|s| s.is_object()) {
                engine.containers.push(container(one, state)?);
            } else if one.get("RepoTags").is_some() {
                engine.images.push(image(one)?);
            }
        }
        Some(engine)
    }

    /// The container called `name`.
    pub fn container(&self, name: &str) -> Option<&Container> {
        self.containers.iter().find(|c| c.name == name)
    }

    /// The image that `wanted` names, as the engine itself would choose it: by name (`latest` if no tag is given),
    /// else by the beginning of its id.
    pub fn image(&self, wanted: &str) -> Option<&Image> {
        let name = full_name(wanted);
        self.images.iter().find(|i| i.names.iter().any(|n| full_name(n) == name)).or_else(|| {
            let digits = wanted.strip_prefix("sha256:").unwrap_or(wanted);
            self.images.iter().find(|i| is_id(digits) && i.id.starts_with(digits))
        })
    }
}

/// `text` may be the id of an image, or the beginning of one, rather than its name.
pub fn is_id(text: &str) -> bool {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    digits.len() >= 4 && digits.len() <= 64 && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// With the tag that is meant, without the registry that is meant.
fn full_name(name: &str) -> String {
    let bare = ["docker.io/library/", "docker.io/", "library/"].into_iter().find_map(|p| name.strip_prefix(p)).unwrap_or(name);
    // the colon of a registry's port is before a slash
    let last = bare.rsplit('/').next().unwrap_or(bare);
    if last.contains([':', '@']) { bare.to_owned() } else { format!("{bare}:latest") }
}

fn text(of: &Value, key: &str) -> Option<String> {
    of.get(key)?.as_str().map(str::to_owned)
}

fn digits(of: &Value, key: &str) -> Option<String> {
    text(of, key).map(|id| id.trim_start_matches("sha256:").to_owned())
}

fn container(one: &Value, state: &Value) -> Option<Container> {
    Some(Container {
        id: text(one, "Id")?,
        name: text(one, "Name")?.trim_start_matches('/').to_owned(),
        image: digits(one, "Image")?,
        running: state.get("Running")?.as_bool()?,
        pid: state.get("Pid").and_then(Value::as_i64).and_then(|p| i32::try_from(p).ok()).unwrap_or(0),
        exit: state.get("ExitCode").and_then(Value::as_i64).unwrap_or(0),
        stop_timeout: one.pointer("/Config/StopTimeout").and_then(Value::as_u64),
    })
}

fn image(one: &Value) -> Option<Image> {
    let names = |key: &str| one.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
    Some(Image { id: digits(one, "Id")?, names: names("RepoTags").chain(names("RepoDigests")).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine() -> Engine {
        let json = br#"[
            {"Id":"ce6204fcec5a1e44","Name":"/svc1.container.1","Image":"sha256:b073e328878e9e14",
             "State":{"Running":true,"Pid":77,"ExitCode":0},"Config":{"StopTimeout":3}},
            {"Id":"sha256:b073e328878e9e14","RepoTags":["opensvc/busybox:date"],"RepoDigests":null},
            {"Id":"sha256:aaaa0000","RepoTags":["busybox:latest","reg:5000/a:1"]},
            {"Name":"a-volume","Mountpoint":"/x"}]"#;
        Engine::parse(json).unwrap()
    }

    #[test]
    fn containers_and_images_are_told_apart() {
        let e = engine();
        assert_eq!((e.containers.len(), e.images.len()), (1, 2));
        let c = e.container("svc1.container.1").unwrap();
        assert_eq!((c.running, c.pid, c.stop_timeout, short(&c.id)), (true, 77, Some(3), "ce6204fcec5a"));
        assert_eq!(c.image, e.image("opensvc/busybox:date").unwrap().id);
        assert_eq!(Engine::parse(b"no"), None);
    }

    #[test]
    fn images_by_name_by_tag_and_by_id() {
        let e = engine();
        let id = |wanted: &str| e.image(wanted).map(|i| i.id.as_str());
        for (wanted, found) in [
            ("b073e328878e", Some("b073e328878e9e14")),
            ("sha256:b073e328878e", Some("b073e328878e9e14")),
            ("opensvc/busybox:date", Some("b073e328878e9e14")),
            ("docker.io/opensvc/busybox:date", Some("b073e328878e9e14")),
            ("opensvc/busybox", None), // that is its latest
            ("busybox", Some("aaaa0000")),
            ("docker.io/library/busybox", Some("aaaa0000")),
            ("reg:5000/a:1", Some("aaaa0000")),
            ("reg:5000/a", None),
            ("ubuntu:14.10", None), // 12 characters, and no id
            ("b07", None),
        ] {
            assert_eq!(id(wanted), found, "{wanted}");
        }
    }
}
