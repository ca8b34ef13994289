//! What a machine is doing: a list of things to do, one after the other. It may die, or be cut off, between any two.

use super::kinds::{Job, NAMES, Receiving, Todo, World, copy_of};
use crate::authority::Refusal;
use crate::authority::start::How;

impl World {
    /// What a machine is doing with the service, for itself or for another one.
    pub fn busy(&self, n: usize) -> Option<String> {
        self.nodes[n].job.as_ref().map(|j| j.name.clone()).or_else(|| self.helping(n))
    }

    /// What it is doing for another one.
    fn helping(&self, n: usize) -> Option<String> {
        let helps = |m: usize| self.nodes[m].job.as_ref().filter(|j| j.helpers.contains(&n) && self.reach(m, n)).map(|j| j.name.clone());
        (0..NAMES.len()).find_map(helps)
    }

    /// Begins a job, if the machine is up and free.
    pub fn begin(&mut self, n: usize, name: &str, how: How, todo: Vec<Todo>) -> bool {
        if !self.nodes[n].up || self.busy(n).is_some() {
            return false;
        }
        self.tell(format!(
            "{}: {name} {}{}",
            NAMES[n],
            if how.force { "--force " } else { "" },
            how.abandon.as_deref().unwrap_or_default()
        ));
        self.refused = None;
        self.warnings.clear();
        self.nodes[n].job = Some(Job { name: name.into(), how, todo: todo.into(), ..Job::default() });
        true
    }

    /// Does all that is left to do.
    pub fn finish(&mut self, n: usize) -> Result<(), String> {
        while self.nodes[n].job.is_some() {
            self.advance(n)?;
        }
        Ok(())
    }

    /// Does the next thing. The error is a failure of the rules, not of the job.
    pub fn advance(&mut self, n: usize) -> Result<(), String> {
        self.tick(1);
        let Some(mut job) = self.nodes[n].job.take() else { return Ok(()) };
        let Some(todo) = job.todo.pop_front() else { return Ok(()) };
        self.tell(format!("   {} {todo:?}", NAMES[n]));
        // it is busy while it works
        self.nodes[n].job = Some(job.clone());
        let done = self.work(n, &mut job, todo)?;
        if self.nodes[n].job.is_none() {
            return Ok(()); // it died of it
        }
        if let Err(refusal) = done {
            self.tell(format!("   {} is refused: {refusal}", NAMES[n]));
            self.refused = Some(refusal);
            self.end_receiving(n, &job);
            job.todo = job.promised.drain(..).map(Todo::Release).collect();
            for helper in std::mem::take(&mut job.helpers) {
                if self.reach(n, helper) && self.nodes[helper].here.receiving() {
                    self.change(helper, |here| here.receive(false, false));
                }
            }
            if job.taken {
                let before = job.before.clone().unwrap();
                self.change(n, |here| here.give_back(&before));
                job.taken = false;
                job.todo.extend((0..NAMES.len()).filter(|p| *p != n).map(Todo::Tell));
            }
        }
        if self.nodes[n].up && self.nodes[n].job.is_some() {
            self.nodes[n].job = Some(job).filter(|j| !j.todo.is_empty());
        }
        Ok(())
    }

    fn work(&mut self, n: usize, job: &mut Job, todo: Todo) -> Result<Result<(), Refusal>, String> {
        Ok(match todo {
            Todo::Boot(over) => self.boot(n, job, over),
            Todo::Ask => self.ask(n, job)?,
            Todo::StopThere(p) => self.stop_there(n, p, job.how.force),
            Todo::Claim(p) => self.claim(n, job, p),
            Todo::Take => self.take(n, job),
            Todo::Tell(p) => {
                self.announce(n, p);
                Ok(())
            }
            Todo::Release(p) => {
                self.release(n, job, p);
                Ok(())
            }
            Todo::Start => return self.start(n, job),
            Todo::GiveStop(g) => self.give_stop(n, job, g),
            Todo::Prepare(h) => self.prepare(n, job, h),
            Todo::Freeze(from) => {
                self.freeze(from, job);
                Ok(())
            }
            Todo::Gate(from, to, mode) => self.gate(n, from, to, mode),
            Todo::Open(from, to, mode) => self.open(n, job, from, to, mode),
            Todo::Copy(from, to, rid) => return self.copy(job, from, to, rid),
            Todo::Done(from, to, mode) => self.done(n, job, from, to, mode),
            Todo::Hand(giver, taker) => return self.hand(n, job, giver, taker),
            Todo::Learn(giver, taker) => self.hear(giver, taker),
        })
    }

    /// Receiving ends with the connection.
    pub fn end_receiving(&mut self, n: usize, job: &Job) {
        for node in &mut self.nodes {
            let ours = |r: &Receiving| r.round == job.round && (r.from == n || job.helpers.contains(&r.from));
            if node.receiving.as_ref().is_some_and(ours) {
                node.receiving = None;
            }
        }
    }

    /// The service stops on a machine.
    pub fn stop(&mut self, n: usize) {
        let now = self.now(n);
        let node = &mut self.nodes[n];
        node.running = false;
        if let Some(run) = node.here.last_run.as_mut().filter(|r| r.until.is_none()) {
            run.until = Some(now);
        }
        if node.here.receiving() {
            self.change(n, |here| here.receive(false, false));
        }
        self.tell(format!("   {} stops", NAMES[n]));
    }

    /// Another machine of the same copy has the disks.
    pub fn disks_taken(&self, n: usize) -> Option<usize> {
        let has = |p: usize| self.nodes[p].running || self.nodes[p].receiving.is_some() || self.helping(p).is_some();
        (0..NAMES.len()).find(|p| *p != n && copy_of(*p) == copy_of(n) && has(*p))
    }
}
