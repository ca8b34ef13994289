//! sync.docker: the images of the service's containers are on each target, in the data folder of its engine there.

use super::schedule::Schedule;
use super::{Class, Driver, Job, Sent, SyncDriver, View, common};
use crate::cmd::Cmd;
use crate::config::keyword::{Keyword, Type::Words};
use crate::config::scope::Params;
use crate::error::{Error, Result};
use crate::host::Cx;
use crate::host::engine::{Engine, Image, Silence, is_id, short};
use crate::report::Probe;
use crate::resource::Dropped;
use crate::resource::common::dockerd::Daemon;
use crate::state::{atomic, gate, stamp};
use crate::status::Status;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Its row in the driver table.
pub const DRIVER: Driver = Driver {
    types: &["docker"],
    rtype: "sync.docker",
    about: "images of the service's docker containers",
    keywords: &[Keyword::new("target", Words, "nodes, drpnodes").required().example("nodes drpnodes")],
    build,
    redirect: |way| Err(common::no_way_back(way, "docker")),
};

/// A peer may have to start its engine before it can say what it has.
const ASK: Duration = Duration::from_secs(180);

struct Docker {
    daemon: Daemon,
    targets: Vec<Class>,
    schedule: Schedule,
}

fn build(p: &Params) -> std::result::Result<Box<dyn SyncDriver>, Dropped> {
    common::required(p, "target")?;
    Ok(Box::new(Docker { daemon: Daemon::of(p.config), targets: common::targets(p), schedule: Schedule::of(p.config, p.section) }))
}

/// An image that a container of the service is made of.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    /// As the file has it.
    image: String,
    /// 64 digits.
    id: String,
    /// What it is saved by: a name, if it has one, arrives with it.
    reference: String,
}

impl Wanted {
    fn of(image: &str, found: &Image) -> Self {
        let named = !is_id(image) || found.names.iter().any(|n| n == image);
        let reference = if named { image } else { found.names.first().map_or(image, String::as_str) };
        Self { image: image.into(), id: found.id.clone(), reference: reference.into() }
    }

    /// It is there under the name that a start will look for.
    fn is_in(&self, there: &Engine) -> bool {
        there.image(&self.image).is_some_and(|i| i.id == self.id)
    }
}

/// What a peer has, from the lines `ID NAME` of `docker images`.
fn listing(text: &str) -> Engine {
    let lines = text.lines().filter_map(|l| l.split_once(' '));
    let images = lines.map(|(id, name)| Image { id: id.trim_start_matches("sha256:").to_owned(), names: vec![name.trim().to_owned()] });
    Engine { images: images.collect(), ..Engine::default() }
}

/// `image A`, `images A,B`.
fn named(missing: &[&Wanted]) -> String {
    let names: Vec<&str> = missing.iter().map(|w| w.image.as_str()).collect();
    format!("image{} {}", if names.len() == 1 { "" } else { "s" }, names.join(","))
}

impl Docker {
    /// The images the file names, as the engine here has them.
    fn wanted(&self, cx: &Cx) -> Result<Vec<Wanted>> {
        let heard = self.daemon.look(cx.host);
        let engine = match heard.as_ref() {
            Ok(engine) => engine,
            Err(Silence::Down) => return Err(Error::text("docker daemon is not running: its images cannot be sent")),
            Err(Silence::Mute(why)) => return Err(self.daemon.mute(cx.host, why)),
        };
        let mut wanted: Vec<Wanted> = Vec::new();
        for (_, image) in self.daemon.members() {
            let Some(found) = engine.image(image) else {
                return Err(Error::text(format!("image {image} is not on {}: it cannot be sent", cx.host.node)));
            };
            let one = Wanted::of(image, found);
            if !wanted.contains(&one) {
                wanted.push(one);
            }
        }
        Ok(wanted)
    }

    /// What runs on the peer below `svcmgr recv`, which has the engine there running meanwhile.
    fn there(cx: &Cx, job: &Job, verb: &str) -> Result<Cmd> {
        let remote = cx.host.peers.connect(&job.peer).map_err(|why| Error::text(format!("{} cannot be reached: {why}", job.peer)))?;
        let mut argv = common::receiver(cx.host, &job.peer, cx.service, cx.rid, job.epoch);
        argv.extend(["docker".to_owned(), verb.to_owned()]);
        Ok(Cmd::change(argv).on(&remote))
    }

    /// What of `wanted` the peer says that it does not have; remembered for the status.
    fn missing<'w>(cx: &Cx, job: &Job, wanted: &'w [Wanted]) -> Result<Vec<&'w Wanted>> {
        let out = cx.run_quiet(&Self::there(cx, job, "images")?.timeout(ASK));
        if let Some(stage) = out.failure() {
            return Err(Error::text(format!("{} does not tell which images it has: {}", job.peer, stage.why())));
        }
        let there = listing(&out.text());
        remember(cx, &job.peer, &there)?;
        Ok(wanted.iter().filter(|w| !w.is_in(&there)).collect())
    }

    fn carry(&self, cx: &Cx, job: &Job, missing: &[&Wanted]) -> Result<()> {
        let names = missing.iter().map(|w| w.reference.as_str());
        let save = Cmd::change(self.daemon.words(cx.host, std::iter::once("save").chain(names)));
        // docker load takes it compressed; the shared connection has no compression of its own
        let pipe = save.pipe(Cmd::change(["gzip", "-1"])).pipe(Self::there(cx, job, "load")?);
        let out = cx.run(&pipe.unbounded());
        out.failure().map_or(Ok(()), |stage| Err(Error::text(format!("sync update failed: {}: {}", job.peer, stage.why()))))
    }
}

/// `var/NAME/RID.images.json`: for each peer, image names and ids as it told them last.
fn memory(cx: &Cx) -> PathBuf {
    cx.host.paths.service_var(cx.service).join(format!("{}.images.json", cx.rid))
}

type Memory = BTreeMap<String, Vec<(String, String)>>;

fn recall(cx: &Cx) -> Memory {
    // unreadable is unknown: the next sync asks
    std::fs::read(memory(cx)).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

fn remember(cx: &Cx, peer: &str, there: &Engine) -> Result<()> {
    let mut all = recall(cx);
    let pairs = there.images.iter().flat_map(|i| i.names.iter().map(|n| (i.id.clone(), n.clone())));
    all.insert(peer.to_owned(), pairs.collect());
    let bytes = serde_json::to_vec(&all).map_err(|e| Error::text(e.to_string()))?;
    atomic::write(&memory(cx), &bytes)
}

impl SyncDriver for Docker {
    fn label(&self) -> String {
        let words: Vec<&str> = self.targets.iter().map(|c| c.word()).collect();
        format!("docker img sync to {}", words.join(", "))
    }

    fn targets(&self) -> &[Class] {
        &self.targets
    }

    fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Of the sender, from what its targets told last; of the others, from the stamp of the last sync to them.
    fn status(&self, cx: &Cx, view: &View) -> Probe {
        let mut peers: Vec<String> = self.targets.iter().flat_map(|c| c.peers(cx.scope)).collect();
        peers.sort();
        peers.dedup();
        let node = &cx.scope.node;
        let sends = view.avail_without_app == Status::Up && !(view.flex && cx.scope.flex_primary != *node);
        if peers.is_empty() {
            return Probe::because(Status::Na, "no target nodes");
        }
        if cx.scope.is_drp() && sends {
            return Probe::because(Status::Na, "service up on drp node, sync disabled");
        }
        if !sends {
            let receives = self.targets.iter().any(|c| match c {
                Class::Nodes => cx.scope.nodes.contains(node),
                Class::Drpnodes => cx.scope.drpnodes.contains(node),
            });
            let last = stamp::read(&stamp::of_node(&cx.host.paths.var, node, cx.service, cx.rid));
            return match (receives, self.schedule.late(cx.host.clock.now(), last)) {
                (false, _) => Probe::because(Status::Na, "passive node not in sync destination nodes"),
                (true, true) => Probe::because(Status::Warn, "passive node needs update"),
                (true, false) => Probe::new(Status::Up),
            };
        }
        let wanted = match self.wanted(cx) {
            Ok(wanted) => wanted,
            Err(e) => return Probe::because(Status::Warn, e.to_string()),
        };
        let known = recall(cx);
        let mut messages = Vec::new();
        for peer in peers {
            let Some(pairs) = known.get(&peer) else {
                messages.push(format!("{peer} need update"));
                continue;
            };
            let there = Engine {
                images: pairs.iter().map(|(id, name)| Image { id: id.clone(), names: vec![name.clone()] }).collect(),
                ..Engine::default()
            };
            let missing: Vec<&Wanted> = wanted.iter().filter(|w| !w.is_in(&there)).collect();
            if !missing.is_empty() {
                messages.push(format!("target node {peer} miss {}", named(&missing)));
            }
        }
        Probe { status: if messages.is_empty() { Status::Up } else { Status::Warn }, messages, ..Probe::new(Status::Up) }
    }

    fn question(&self, _cx: &Cx, _peer: &str) -> gate::Detail {
        gate::Detail { driver: "docker".into(), ..gate::Detail::default() }
    }

    fn ready(&self, cx: &Cx) -> Result<()> {
        self.wanted(cx).map(|_| ())
    }

    fn send(&self, cx: &Cx, job: &Job) -> Result<Sent> {
        let wanted = self.wanted(cx)?;
        let missing = Self::missing(cx, job, &wanted)?;
        if missing.is_empty() {
            return Ok(Sent { bytes: None, summary: "no image is missing".into() });
        }
        cx.log.info(format!("target node {} miss {}", job.peer, named(&missing)));
        self.carry(cx, job, &missing)?;
        // an engine may keep its images in another kind of store, and know them by other ids
        let left = Self::missing(cx, job, &wanted)?;
        if left.is_empty() {
            let plural = if missing.len() == 1 { "" } else { "s" };
            return Ok(Sent { bytes: None, summary: format!("{} image{plural}", missing.len()) });
        }
        let ids: Vec<&str> = left.iter().map(|w| short(&w.id)).collect();
        Err(Error::text(format!(
            "{} has loaded {} and does not know {}: do the two engines have the same kind of image store?",
            job.peer,
            named(&left),
            ids.join(",")
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_there_when_its_name_leads_to_its_id() {
        let there = listing("sha256:aa11bb22cc33dd44 ubuntu:14.10\nsha256:ffff0000ffff0000 opensvc/nginx:build5\n");
        let wanted = |image: &str, id: &str, names: &[&str]| {
            Wanted::of(image, &Image { id: id.into(), names: names.iter().map(|n| (*n).to_owned()).collect() })
        };
        assert!(wanted("ubuntu:14.10", "aa11bb22cc33dd44", &["ubuntu:14.10"]).is_in(&there));
        assert!(!wanted("opensvc/nginx:build5", "aa11bb22cc33dd44", &[]).is_in(&there), "an older one of that name");
        assert!(wanted("aa11bb22cc33", "aa11bb22cc33dd44", &[]).is_in(&there));
        // what has a name goes by it: an id alone would arrive without
        assert_eq!(wanted("aa11bb22cc33", "aa11bb22cc33dd44", &["ubuntu:14.10"]).reference, "ubuntu:14.10");
        assert_eq!(wanted("aa11bb22cc33", "aa11bb22cc33dd44", &[]).reference, "aa11bb22cc33");
        assert_eq!(wanted("ubuntu", "aa", &["ubuntu:latest"]).reference, "ubuntu");
    }
}
