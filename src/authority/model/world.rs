//! Two sites of two machines, what is on their disks, and the truth about all writes.

use super::kinds::{Data, NAMES, Node, SERVICE, World, Write, copy_of};
use crate::authority::Here;
use crate::authority::written::Newest;
use crate::clock::FixedClock;
use crate::config::env::EnvFile;
use crate::config::scope::ServiceConfig;
use crate::state::alive::LastRun;
use crate::state::authority::Known;
use crate::state::gate::{Answer, VERSION, Verdict};
use crate::state::replica::{Replica, State};
use chrono::{DateTime, Duration, Local};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

/// A machine that knows nothing yet.
fn fresh(node: &str, rids: usize) -> &'static Here {
    static ALL: OnceLock<BTreeMap<(&str, usize), Here>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let made = |node: &str, rids: usize| {
            let syncs: String = (1..=rids).map(|i| format!("[sync#{i}]\nsrc = /d{i}\ndst = /d{i}\ntarget = drpnodes\n")).collect();
            let path = dir.path().join("svc1.env");
            std::fs::write(&path, format!("[DEFAULT]\nnodes = n1 n2\ndrpnodes = d1 d2\n{syncs}")).unwrap();
            let config = ServiceConfig::new(Arc::new(EnvFile::load(&path).unwrap()), node);
            Here::load(dir.path(), SERVICE, &config, beginning())
        };
        NAMES.iter().flat_map(|n| [1, 2].map(|rids| ((*n, rids), made(n, rids)))).collect()
    });
    all.iter().find(|((n, r), _)| *n == node && *r == rids).map(|(_, here)| here).unwrap()
}

/// When the story begins.
fn beginning() -> DateTime<Local> {
    static AT: OnceLock<DateTime<Local>> = OnceLock::new();
    *AT.get_or_init(|| FixedClock::at("2014-06-06 10:00:00").0)
}

impl World {
    pub fn new(rids: usize) -> Self {
        let node = |name: &&str| Node {
            here: fresh(name, rids).clone(),
            up: true,
            running: false,
            skew: 0,
            alive: 0,
            job: None,
            receiving: None,
            tear: false,
            backup: None,
            restored_at: 0,
            damaged_at: 0,
            missed: BTreeSet::new(),
            took_at: 0,
        };
        Self {
            nodes: NAMES.iter().map(node).collect(),
            cut: BTreeSet::new(),
            data: vec![vec![Data::default(); rids]; 3],
            writes: Vec::new(),
            given_up: BTreeSet::new(),
            left_behind: BTreeSet::new(),
            chosen: BTreeSet::new(),
            unused: BTreeSet::new(),
            taken: Vec::new(),
            rounds: Vec::new(),
            clock_set: false,
            clock_at: 0,
            time: 0,
            events: 0,
            unaware: false,
            refused: None,
            warnings: Vec::new(),
            story: Vec::new(),
        }
    }

    /// A line of the story that is told when it ends badly.
    pub fn tell(&mut self, line: impl Into<String>) {
        self.story.push(line.into());
    }

    pub fn rid(&self, index: usize) -> String {
        format!("sync#{}", index + 1)
    }

    pub fn now(&self, node: usize) -> DateTime<Local> {
        beginning() + Duration::seconds(self.time + self.nodes[node].skew)
    }

    pub fn reach(&self, a: usize, b: usize) -> bool {
        a == b || (self.nodes[a].up && self.nodes[b].up && !self.cut.contains(&(a.min(b), a.max(b))))
    }

    /// Time goes on a little.
    pub fn tick(&mut self, seconds: i64) {
        self.time += seconds;
        self.events += 1;
        for n in 0..NAMES.len() {
            let now = self.now(n);
            let time = self.time;
            let node = &mut self.nodes[n];
            node.here.now = now;
            if node.up {
                node.alive = time;
            }
        }
    }

    /// Changes what a machine remembers, file by file: it may die between two.
    pub fn change<T>(&mut self, n: usize, f: impl FnOnce(&mut Here) -> T) -> T {
        let before = self.nodes[n].here.clone();
        let node = &mut self.nodes[n];
        let done = f(&mut node.here);
        if node.tear && node.here.record != before.record && node.here.replicas != before.replicas {
            match node.here.record_first() {
                true => node.here.replicas = before.replicas,
                false => node.here.record = before.record,
            }
            self.tell(format!("   {} dies between two of its files", NAMES[n]));
            self.crash(n);
        }
        done
    }

    /// What another machine is told when it asks.
    pub fn answer(&self, n: usize) -> Answer {
        let node = &self.nodes[n];
        let mut here = node.here.clone();
        self.told_by_data(n, true).iter().for_each(|(rid, newest)| here.written(rid, *newest));
        let run = here.last_run.clone().unwrap_or_default();
        Answer {
            version: VERSION,
            service: "known".into(),
            node: here.node.clone(),
            copy: here.copy().map(|c| c.name.clone()),
            epoch: here.holder().map_or_else(|_| here.highest(), |h| h.epoch),
            avail: Some(if node.running { "up" } else { "down" }.into()),
            running: Some(node.running),
            up_until: if node.running { Some(here.now) } else { run.until },
            crashed: run.crashed && !node.running,
            busy: self.busy(n),
            holder: here.holder().ok(),
            rival: here.rival().cloned(),
            promise: here.promise().cloned(),
            abandoned: here.abandoned(),
            unsure: here.record.fault().map(str::to_owned),
            clock: Some(here.now.to_rfc3339()),
            rids: here.copies.rids.iter().map(|rid| (rid.clone(), Verdict { ok: true, why: None, held: Some(here.held(rid)) })).collect(),
            ..Answer::default()
        }
    }

    /// The newest change of the data that a machine has.
    pub fn newest(&self, n: usize, rid: &str) -> Newest {
        let index = rid.rsplit('#').next().and_then(|i| i.parse::<usize>().ok()).unwrap() - 1;
        self.data[copy_of(n)][index].newest.map_or(Newest::Nothing, Newest::At)
    }

    /// What the data of a machine say was written into them, that its files do not know: by rid. `limited`: nobody else is
    /// asked, and of shared disks nothing is said.
    pub fn told_by_data(&self, n: usize, limited: bool) -> Vec<(String, Newest)> {
        let here = &self.nodes[n].here;
        let siblings: Vec<usize> = (0..NAMES.len()).filter(|p| *p != n && copy_of(*p) == copy_of(n)).collect();
        if self.disks_taken(n).is_some() || (limited && !siblings.is_empty()) {
            return Vec::new();
        }
        let written = |rid: &String| {
            let newest = self.newest(n, rid);
            let held: Vec<_> = siblings.iter().filter(|p| self.reach(n, **p)).map(|p| self.nodes[*p].here.held(rid)).collect();
            here.written_after(rid, newest, &[], held.iter()).then(|| (rid.clone(), newest))
        };
        here.rids().iter().filter_map(written).collect()
    }

    /// The same, put on record.
    pub fn ask_data(&mut self, n: usize) {
        for (rid, newest) in self.told_by_data(n, false) {
            self.tell(format!("   the data of {rid} on {} were written", NAMES[n]));
            self.change(n, |here| here.written(&rid, newest));
        }
    }

    pub fn crash(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        (node.up, node.running, node.tear, node.job) = (false, false, false, None);
        for peer in 0..NAMES.len() {
            self.abandoned_by(peer, n);
            if peer == n || self.nodes[peer].receiving.as_ref().is_some_and(|r| r.from == n) {
                self.nodes[peer].receiving = None;
            }
        }
    }

    /// Who works for another one is a program of its own, and `peer` waits for it in vain.
    pub fn abandoned_by(&mut self, peer: usize, n: usize) {
        if let Some(job) = self.nodes[peer].job.take_if(|j| j.helpers.contains(&n)) {
            self.end_receiving(peer, &job);
        }
    }

    /// A machine comes up again; what it finds is what `Here::load` would find.
    pub fn wake(&mut self, n: usize) {
        let alive = beginning() + Duration::seconds(self.nodes[n].alive + self.nodes[n].skew);
        let node = &mut self.nodes[n];
        node.up = true;
        if let Some(run) = node.here.last_run.as_mut().filter(|r| r.until.is_none()) {
            *run = LastRun { until: Some(alive.max(run.since.unwrap_or(alive))), crashed: true, ..run.clone() };
        }
        self.reload(n);
    }

    pub fn reload(&mut self, n: usize) {
        let here = &mut self.nodes[n].here;
        let beside =
            here.replicas.values().any(|r| *r != Known::Absent) || here.sent.values().any(|s| !s.is_empty()) || here.last_run.is_some();
        if here.record == Known::Absent && beside {
            here.record = Known::Unknown("authority.json is missing".into());
        }
    }

    /// Machines of other copies on which the service runs.
    pub fn live_elsewhere(&self, n: usize) -> Vec<usize> {
        (0..NAMES.len()).filter(|p| self.nodes[*p].running && copy_of(*p) != copy_of(n)).collect()
    }

    /// An instance writes.
    pub fn write(&mut self, n: usize) {
        if self.nodes[n].running {
            let id = self.written(n, self.writes.len() % self.data[0].len(), false);
            self.tell(format!("{} writes w{id}", NAMES[n]));
        }
    }

    /// Somebody mounts the copy of a machine on which the service is down, and writes.
    pub fn write_by_hand(&mut self, n: usize, pick: usize) {
        let rid = pick % self.data[0].len();
        let (node, now) = (&self.nodes[n], self.now(n));
        let idle = node.up && !node.running && node.receiving.is_none() && self.busy(n).is_none() && self.disks_taken(n).is_none();
        let file = |n: usize| self.nodes[n].here.replicas.get(&self.rid(rid)).and_then(Known::known);
        // out of reach: what a transfer has left half, as it or another machine with the same disks remembers; what is not
        // known to be a copy; a clock that was set back since it came; a home that was made ready and has got nothing yet
        let copy = |r: &Replica| matches!(r.state, State::Replica | State::Orphan) && now > r.since + Duration::seconds(2);
        let half = |p: usize| copy_of(p) == copy_of(n) && file(p).is_some_and(|r| matches!(r.state, State::InProgress | State::Torn));
        let ready = node.here.receiving() && node.here.given_up(&self.rid(rid));
        if idle && !node.here.holds() && !ready && file(n).is_some_and(copy) && !(0..NAMES.len()).any(half) {
            let id = self.written(n, rid, true);
            self.tell(format!("HAND {} w{id} into {}", NAMES[n], self.rid(rid)));
        }
    }

    /// One more write into the data of a machine.
    fn written(&mut self, n: usize, rid: usize, by_hand: bool) -> usize {
        let epoch = self.nodes[n].here.holder().map_or(0, |h| h.epoch);
        let id = self.writes.len();
        self.writes.push(Write { node: n, copy: copy_of(n), epoch, at: self.events, by_hand });
        let newest = Some(self.now(n));
        let data = &mut self.data[copy_of(n)][rid];
        data.newest = newest;
        data.writes.insert(id);
        id
    }
}
