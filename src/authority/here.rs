//! What this node knows of one service: who holds authority, what its own data are. Learns from peers.

mod arrive;
mod change;
mod consent;
mod promise;

use super::copies::{Copies, Copy};
use crate::config::scope::ServiceConfig;
use crate::state::alive::{self, LastRun};
use crate::state::authority::{self, Holder, Known, Promise, Record};
use crate::state::gate::{Broken, Held};
use crate::state::replica::{self, Image, Replica, State};
use crate::state::stamp;
use chrono::{DateTime, Local};
use std::collections::BTreeMap;
use std::path::Path;

/// What this node knows.
#[derive(Debug, Clone, PartialEq)]
pub struct Here {
    /// The service.
    pub service: String,
    /// This node.
    pub node: String,
    /// Whose nodes share data with whom.
    pub copies: Copies,
    /// The nodes of the primary site.
    pub home_site: Vec<String>,
    /// `authority.json`.
    pub record: Known<Record>,
    /// `RID.replica.json` of each replication of data.
    pub replicas: BTreeMap<String, Known<Replica>>,
    /// What 2014's stamps tell, by rid: believed only while there is nothing else.
    pub stamps: BTreeMap<String, Image>,
    /// What peers have, by rid and node.
    pub sent: BTreeMap<String, BTreeMap<String, replica::Sent>>,
    /// The last run here.
    pub last_run: Option<LastRun>,
    /// This node's time.
    pub now: DateTime<Local>,
}

/// What came of being told who holds authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Learned {
    /// It was known.
    Nothing,
    /// Another epoch than known.
    Newer,
    /// Another holder of the same epoch: nobody sends until someone chooses.
    Split,
}

/// What the data of one replication are on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Data {
    /// What they are to the holder's; `None`: not known.
    pub state: Option<State>,
    /// The last whole image here.
    pub image: Image,
    /// Of an orphan: when it was written last.
    pub written_until: Option<DateTime<Local>>,
    /// A snapshot of what was before an unfinished transfer.
    pub kept: Option<String>,
    /// It is being made that image from a store beside it: whoever needs it finishes that first.
    pub applying: bool,
    /// Why the state is not known.
    pub fault: Option<String>,
}

impl Here {
    /// Reads all files of a service below `var`.
    pub fn load(var: &Path, service: &str, config: &ServiceConfig, now: DateTime<Local>) -> Self {
        let copies = Copies::of(config);
        let node = config.scope.node.clone();
        let replicas: BTreeMap<_, _> = copies.rids.iter().map(|rid| (rid.clone(), replica::read(var, service, rid))).collect();
        let stamps = copies.rids.iter().filter_map(|rid| Some((rid.clone(), stamped(var, &node, service, config, rid)?)));
        let stamps = stamps.collect();
        let sent: BTreeMap<_, _> = copies.rids.iter().map(|rid| (rid.clone(), replica::read_sent(var, service, rid))).collect();
        let last_run = alive::run(var, service);
        let mut record = authority::read(var, service);
        let beside = replicas.values().any(|r| *r != Known::Absent) || sent.values().any(|s| !s.is_empty()) || last_run.is_some();
        if record == Known::Absent && beside {
            // the record is written before any of these
            record = Known::Unknown(format!("{} is missing", authority::path(var, service).display()));
        }
        let home_site = config.scope.nodes.clone();
        Self { service: service.into(), node, copies, home_site, record, replicas, stamps, sent, last_run, now }
    }

    /// Writes what [`Here::learn`], [`Here::resolve`] and the setters have changed since `before`, in the order that a
    /// crash between two files does no harm to.
    pub fn save(&self, var: &Path, before: &Self) -> crate::error::Result<()> {
        let record = || match self.record.known().filter(|_| self.record != before.record) {
            Some(record) => authority::write(var, &self.service, record),
            None => Ok(()),
        };
        if self.record_first() {
            record()?;
        }
        for (rid, replica) in &self.replicas {
            if let Some(known) = replica.known().filter(|_| before.replicas.get(rid) != Some(replica)) {
                replica::write(var, &self.service, rid, known)?;
            }
        }
        if self.record_first() { Ok(()) } else { record() }
    }

    /// Who takes authority writes that first: dying before the data are live on record, it holds all the same. Who
    /// gives it, or loses it, writes first what the data are: dying between, it still holds and hears of it again, while
    /// a record of another holder would make a replica of data that were handed to this node and never ran here.
    pub(super) fn record_first(&self) -> bool {
        self.holds()
    }

    /// This node's copy. `None`: the node has none, as it is not among the service's nodes.
    pub fn copy(&self) -> Option<&Copy> {
        self.copies.of_node(&self.node)
    }

    /// Who holds authority: the record's word; without a record, home has held it from the beginning (epoch 0).
    /// The error says why it is not known.
    pub fn holder(&self) -> Result<Holder, String> {
        match &self.record {
            Known::Known(record) => Ok(record.holder.clone()),
            Known::Unknown(why) => Err(why.clone()),
            Known::Absent => {
                let home = self.copies.home().ok_or("the service has no nodes")?;
                let node = home.nodes.first().cloned().unwrap_or_default();
                Ok(Holder {
                    epoch: 0,
                    copy: home.name.clone(),
                    node,
                    since: self.now,
                    from: None,
                    handed: false,
                    partial: false,
                    away: None,
                })
            }
        }
    }

    /// The holder's copy.
    pub fn holding(&self) -> Option<&Copy> {
        let holder = self.holder().ok()?;
        self.copies.named(&holder.copy, &holder.node)
    }

    /// This node's copy holds authority, and no other claims to.
    pub fn holds(&self) -> bool {
        self.rival().is_none() && self.holding().is_some_and(|h| Some(h) == self.copy())
    }

    /// The other one of the same epoch.
    pub fn rival(&self) -> Option<&Holder> {
        self.record.known()?.rival.as_ref()
    }

    /// How to go on with what `node` was made ready for, to be given the data, and how to undo that.
    pub fn go_on(&self, node: &str) -> String {
        let (service, holder) = (&self.service, self.holder().map_or_else(|_| node.to_owned(), |h| h.node));
        let home = self.copies.home() == self.copies.of_node(node);
        let (at, words) = if home { (holder.as_str(), "giveback") } else { (node, "takeover") };
        format!("to go on, on {at}: svcmgr -s {service} {words}; to undo it, on {node}: svcmgr -s {service} stop")
    }

    /// A promise that is still to be kept: of a higher epoch than the holder's.
    pub fn promise(&self) -> Option<&Promise> {
        let record = self.record.known()?;
        record.promise.as_ref().filter(|p| p.epoch > record.holder.epoch)
    }

    /// The highest epoch that anything here is of.
    pub fn highest(&self) -> u64 {
        let record = self.record.known().map_or(0, |r| r.holder.epoch.max(r.promise.as_ref().map_or(0, |p| p.epoch)));
        self.replicas.values().filter_map(|r| r.known().map(|r| r.epoch)).fold(record, u64::max)
    }

    /// The replications that bring data to this node's copy, or send them from home.
    pub fn rids(&self) -> Vec<String> {
        self.copies.rids.iter().filter(|rid| self.copies.reaches(rid, &self.node)).cloned().collect()
    }

    /// What the data of `rid` are here.
    pub fn data(&self, rid: &str) -> Data {
        let file = self.replicas.get(rid).unwrap_or(&Known::Absent);
        let of = |state: Option<State>, r: Option<&Replica>, fault: Option<String>| Data {
            state,
            image: r.map(|r| r.applying.as_ref().unwrap_or(&r.image).clone()).unwrap_or_default(),
            applying: r.is_some_and(|r| r.applying.is_some()),
            written_until: r.and_then(|r| r.written_until),
            kept: r.and_then(|r| r.kept.clone()),
            fault,
        };
        if self.record.fault().is_none() && self.holds() {
            return of(Some(State::Live), file.known(), None);
        }
        match file {
            Known::Known(r) if r.node != self.node => {
                of(None, None, Some(format!("{rid}.replica.json is of {}, not of {}", r.node, self.node)))
            }
            // only that image can come of it, and this node alone makes it
            Known::Known(r) if r.applying.is_some() && r.state == State::Torn => of(Some(State::Replica), Some(r), None),
            Known::Known(r) if r.state == State::Live => of(Some(State::Orphan), Some(r), None),
            Known::Known(r) => of(Some(r.state), Some(r), None),
            Known::Unknown(why) => of(None, None, Some(why.clone())),
            Known::Absent => match self.stamps.get(rid).filter(|_| self.holder().is_ok_and(|h| h.epoch == 0)) {
                Some(image) => Data { image: image.clone(), ..of(Some(State::Replica), None, None) },
                None if self.lost(rid) => of(None, None, Some(format!("{rid}.replica.json is missing"))),
                None => of(Some(State::None), None, None),
            },
        }
    }

    /// There is no file of `rid`, and there must have been one: home has data from the beginning; or the service ran
    /// here, and what other files say speaks for writes of its own.
    fn lost(&self, rid: &str) -> bool {
        let mut others = self.replicas.iter().filter(|(other, file)| *other != rid && **file != Known::Absent).peekable();
        let own = |file: &Known<Replica>| file.known().is_none_or(|r| matches!(r.state, State::Live | State::Orphan));
        match others.peek() {
            None => self.last_run.is_some() || self.copies.home() == self.copy(),
            Some(_) => others.any(|(_, file)| own(file)),
        }
    }

    /// What was being received here when this node came to hold: it was given authority and did not hear of it, and who
    /// had it before sent something else meanwhile. A start settles it.
    pub fn broken(&self, rid: &str) -> Option<&Replica> {
        let file = self.replicas.get(rid)?.known()?;
        Some(file).filter(|r| self.holds() && r.node == self.node && matches!(r.state, State::InProgress | State::Torn))
    }

    /// The same, for an answer.
    pub fn held(&self, rid: &str) -> Held {
        let data = self.data(rid);
        let file = self.replicas.get(rid).and_then(Known::known);
        let since = file.filter(|r| r.node == self.node && Some(r.state) == data.state).map(|r| r.since);
        let (witness, written_until) = (file.and_then(|r| r.witness.clone()), data.written_until);
        let (kept, applying) = (data.kept, data.applying);
        let unfinished = |r: &&Replica| r.node == self.node && r.applying.is_none() && matches!(r.state, State::InProgress | State::Torn);
        let broken = file.filter(unfinished).map(|r| Broken { since: r.since, from: r.from.clone() });
        Held { state: data.state, image: data.image, since, written_until, kept, applying, broken, witness }
    }
}

/// What 2014 has left of `rid`: the stamp of rsync, or the state file of a driver with images; dds calls an image by the
/// uuid that LVM has for its snapshot.
fn stamped(var: &Path, node: &str, service: &str, config: &ServiceConfig, rid: &str) -> Option<Image> {
    let (id, frozen_at) = match config.text(rid, "type").unwrap_or_default() {
        "" | "rsync" => (None, stamp::read(&stamp::of_node(var, node, service, rid))?),
        driver => {
            let (at, id) = stamp::read_image(&var.join(format!("{service}_{rid}_{driver}_state")))?;
            (Some(id).filter(|_| driver == "dds"), at)
        }
    };
    Some(Image { id, frozen_at: Some(frozen_at), ..Image::default() })
}

#[cfg(test)]
#[path = "here_tests.rs"]
mod tests;
