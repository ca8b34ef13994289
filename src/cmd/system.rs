//! The runner of real processes: pipes, time limits, interrupts, ends.

use super::pump::Pump;
use super::spawn::{self, Group, Streams};
use super::{Cmd, End, Output, Runner, Sink, Stage, relay};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use std::fs::{File, OpenOptions};
use std::io::IsTerminal;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// From SIGTERM to SIGKILL.
const GRACE: Duration = Duration::from_secs(5);
/// How long output is awaited after the end of the process: a daemon it left may hold the pipe for ever.
const DRAIN: Duration = Duration::from_millis(100);
/// How often the clock and the flags are looked at.
const TICK: Duration = Duration::from_millis(200);

static INTERRUPTS: AtomicUsize = AtomicUsize::new(0);

/// From now on SIGINT, SIGTERM and SIGHUP end the running commands, not the process: what is under way then fails, is
/// rolled back, and the lock goes with us. A SIGHUP that nohup has us ignore stays ignored.
pub fn on_signals() {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut wanted = vec![SIGINT, SIGTERM];
    wanted.extend((!ignored(SIGHUP)).then_some(SIGHUP));
    if let Ok(mut signals) = signal_hook::iterator::Signals::new(wanted) {
        std::thread::spawn(move || signals.forever().for_each(|_| interrupt_all()));
    }
}

/// Whether we were started with `signal` ignored. proc(5): SigIgn is a mask in hexadecimal, signal 1 its lowest bit.
fn ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|l| l.strip_prefix("SigIgn:")).and_then(|m| u64::from_str_radix(m.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// Ends every command that is running now, in all threads, with its process group. Commands run later
/// are not concerned: what has to be undone can be.
pub fn interrupt_all() {
    INTERRUPTS.fetch_add(1, Ordering::SeqCst);
}

/// Somebody asked to stop: no new work should be begun.
pub fn interrupted() -> bool {
    INTERRUPTS.load(Ordering::SeqCst) > 0
}

/// A hold on one running command, from another thread.
#[derive(Default)]
pub struct Control {
    stop: AtomicBool,
    through_interrupts: bool,
    group: Mutex<Option<Pid>>,
}

impl Control {
    /// One that an interrupt of svcmgr does not end: what has to be said after it goes through this command.
    pub fn through_interrupts() -> Self {
        Self { through_interrupts: true, ..Self::default() }
    }

    /// Ends the command: SIGTERM to its group at once, SIGKILL after a grace.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        // under the lock the leader is not reaped yet, so the number is still its group's
        if let Some(group) = *self.group.lock().unwrap_or_else(PoisonError::into_inner) {
            _ = killpg(group, Signal::SIGTERM);
        }
    }

    /// It was told to end.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn hold(&self, group: Option<Pid>) {
        *self.group.lock().unwrap_or_else(PoisonError::into_inner) = group;
    }
}

/// Runs real processes. All stages of a pipe are one process group, which is ended when the time is
/// over, when svcmgr is interrupted, and (the direct children) when svcmgr dies.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemRunner;

impl Runner for SystemRunner {
    fn run(&self, cmd: &Cmd) -> Output {
        self.run_held(cmd, &Control::default())
    }
}

impl SystemRunner {
    /// The same; another thread may end it through `control`.
    pub fn run_held(&self, cmd: &Cmd, control: &Control) -> Output {
        #[cfg(debug_assertions)]
        if cmd.effect == super::Effect::Change {
            crate::steps::before(&cmd.line());
        }
        let started = if cmd.background { background(cmd) } else { Running::start(cmd) };
        match started {
            Ok(running) => running.finish(control),
            Err((argv, why)) => Output { stages: vec![Stage { argv, end: End::NotRun(why), stderr: String::new() }], stdout: Vec::new() },
        }
    }
}

/// The stage that could not be run, and why. The others were not started, or ended.
type Refused = (Vec<String>, String);

fn log_file(path: &std::path::Path) -> Result<File, String> {
    OpenOptions::new().append(true).create(true).open(path).map_err(|e| format!("cannot write {}: {e}", path.display()))
}

fn background(cmd: &Cmd) -> Result<Running<'_>, Refused> {
    let refused = |why: String| (cmd.argv.clone(), why);
    if cmd.next.is_some() {
        return Err(refused("a pipe cannot be left in the background".into()));
    }
    let ready = spawn::prepare(cmd).map_err(refused)?;
    let (stdout, stderr) = match &cmd.sink {
        Sink::File(path) => {
            let file = log_file(path).map_err(refused)?;
            let twin = file.try_clone().map_err(|e| refused(e.to_string()))?;
            (Stdio::from(file), Stdio::from(twin))
        }
        _ => (Stdio::null(), Stdio::null()),
    };
    let mut child = spawn::spawn(ready, Streams { stdin: Stdio::null(), stdout, stderr }, Group::Session).map_err(refused)?;
    // takes its exit status, so that it does not stay as a zombie; nobody waits for this thread
    std::thread::spawn(move || _ = child.wait());
    Ok(Running { cmd, children: Vec::new(), pump: Pump::default(), grouped: false })
}

/// One process of a pipe.
struct Member<'a> {
    argv: &'a [String],
    child: Child,
    pidfd: Option<std::os::fd::OwnedFd>,
    /// Ended; not reaped before all have, so that the group's number cannot be reused.
    ended: bool,
    timed_out: bool,
}

struct Running<'a> {
    cmd: &'a Cmd,
    children: Vec<Member<'a>>,
    pump: Pump<'a>,
    /// The children have a process group of their own.
    grouped: bool,
}

impl<'a> Running<'a> {
    fn start(cmd: &'a Cmd) -> Result<Self, Refused> {
        let stages = cmd.stages();
        let mut ready = Vec::new();
        for stage in &stages {
            ready.push(spawn::prepare(stage).map_err(|why| (stage.argv.clone(), why))?);
        }
        // an editor or a shell on the terminal needs the group that owns it
        let grouped = !(cmd.sink == Sink::Inherit && std::io::stdin().is_terminal());
        let mut running = Self { cmd, children: Vec::new(), pump: Pump::new(cmd), grouped };
        let last = stages.len().saturating_sub(1);
        let mut previous: Option<Stdio> = None;
        for (i, (stage, ready)) in stages.into_iter().zip(ready).enumerate() {
            match running.stage(stage, ready, previous.take(), i == last) {
                Ok(stdout) => previous = stdout,
                Err(why) => {
                    running.signal(Signal::SIGKILL);
                    running.children.iter_mut().for_each(|m| _ = m.child.wait());
                    return Err((stage.argv.clone(), why));
                }
            }
        }
        Ok(running)
    }

    /// Starts one stage; its standard output, if another stage is to read it.
    fn stage(&mut self, stage: &'a Cmd, ready: spawn::Ready, previous: Option<Stdio>, last: bool) -> Result<Option<Stdio>, String> {
        let first = previous.is_none();
        let group = match self.children.first() {
            _ if !self.grouped => Group::Callers,
            None => Group::Own,
            Some(leader) => Group::Join(leader.child.id().cast_signed()),
        };
        let (out, err) = match &self.cmd.sink {
            Sink::Capture => (Stdio::piped(), Stdio::piped()),
            Sink::Inherit => (Stdio::inherit(), Stdio::inherit()),
            Sink::File(path) => (log_file(path)?.into(), log_file(path)?.into()),
        };
        let stdin = match previous {
            Some(pipe) => pipe,
            None if self.cmd.input.is_some() => Stdio::piped(),
            None if self.cmd.sink == Sink::Inherit => Stdio::inherit(),
            None => Stdio::null(),
        };
        let stdout = if last { out } else { Stdio::piped() };
        let mut child = spawn::spawn(ready, Streams { stdin, stdout, stderr: err }, group)?;
        let stdout = child.stdout.take();
        self.pump.add(first.then(|| child.stdin.take()).flatten(), child.stderr.take());
        let pidfd = spawn::pidfd(&child);
        self.children.push(Member { argv: &stage.argv, child, pidfd, ended: false, timed_out: false });
        if last {
            self.pump.read_from(stdout);
            return Ok(None);
        }
        match (stdout, &stage.meter) {
            (Some(stdout), Some(meter)) => relay::between(stdout.into(), meter.clone()).map(|end| Some(end.into())),
            (stdout, _) => Ok(stdout.map(Stdio::from)),
        }
    }

    fn leader(&self) -> Option<Pid> {
        self.children.first().map(Member::pid)
    }

    fn signal(&self, signal: Signal) {
        match self.leader() {
            Some(leader) if self.grouped => _ = killpg(leader, signal),
            _ => self.children.iter().filter(|m| !m.ended).for_each(|m| _ = kill(m.pid(), signal)),
        }
    }

    /// Waits for the end of all stages, or brings it about.
    fn finish(mut self, control: &Control) -> Output {
        if self.children.is_empty() {
            return Output::of(&self.cmd.argv, 0, "", "");
        }
        control.hold(self.leader().filter(|_| self.grouped));
        let interrupts = INTERRUPTS.load(Ordering::SeqCst);
        let begun = Instant::now();
        while !self.all_ended() {
            let over = self.cmd.timeout.is_some_and(|limit| begun.elapsed() >= limit);
            // who shares our terminal gets its own Ctrl-C
            let interrupted = self.grouped && !control.through_interrupts && INTERRUPTS.load(Ordering::SeqCst) != interrupts;
            if over || interrupted || control.stopped() {
                self.end(over);
                break;
            }
            let left = self.cmd.timeout.map_or(TICK, |limit| limit.saturating_sub(begun.elapsed()).min(TICK));
            self.wait(left);
        }
        let ended = Instant::now();
        while self.pump.open() && ended.elapsed() < DRAIN {
            self.pump.turn(&[], DRAIN.saturating_sub(ended.elapsed()));
        }
        control.hold(None);
        self.collect()
    }

    /// Moves data until something happens or `limit` is over.
    fn wait(&mut self, limit: Duration) {
        let watched: Vec<_> = self.children.iter().filter(|m| !m.ended).map(|m| m.pidfd.as_ref()).collect();
        let ends: Vec<_> = watched.iter().copied().flatten().collect();
        // without the descriptors the ends are looked for often
        let limit = if ends.len() == watched.len() { limit } else { limit.min(Duration::from_millis(10)) };
        self.pump.turn(&ends, limit);
    }

    fn all_ended(&mut self) -> bool {
        self.children.iter_mut().for_each(Member::look);
        self.children.iter().all(|m| m.ended)
    }

    /// Asks the group to end, then makes it.
    fn end(&mut self, timed_out: bool) {
        self.children.iter_mut().for_each(|m| m.timed_out = timed_out && !m.ended);
        self.signal(Signal::SIGTERM);
        let asked = Instant::now();
        while asked.elapsed() < GRACE && (!self.all_ended() || self.group_lives()) {
            self.pump.turn(&[], Duration::from_millis(20));
        }
        self.signal(Signal::SIGKILL);
        let killed = Instant::now();
        while !self.all_ended() && killed.elapsed() < GRACE {
            self.pump.turn(&[], Duration::from_millis(20));
        }
    }

    /// A process of the group, other than the ended children, is there: one that they started.
    fn group_lives(&self) -> bool {
        let Some(leader) = self.leader().filter(|_| self.grouped) else { return false };
        let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        processes.filter_map(|e| std::fs::read_to_string(e.path().join("stat")).ok()).any(|stat| {
            // "PID (NAME) STATE PPID PGRP …"; the name may hold blanks and brackets
            let mut rest = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
            rest.next() != Some("Z") && rest.nth(1) == Some(leader.to_string().as_str())
        })
    }

    fn collect(self) -> Output {
        let (stdout, tails) = self.pump.into_parts();
        let limit = self.cmd.timeout.unwrap_or_default();
        let stages = self.children.into_iter().zip(tails).map(|(member, stderr)| member.stage(limit, &stderr)).collect();
        Output { stages, stdout }
    }
}

impl Member<'_> {
    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Sees whether it has ended, and leaves it unreaped.
    fn look(&mut self) {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        self.ended = self.ended || !matches!(waitid(Id::Pid(self.pid()), flags), Ok(WaitStatus::StillAlive));
    }

    fn stage(mut self, limit: Duration, stderr: &[u8]) -> Stage {
        let status = if self.ended { self.child.wait().ok() } else { None };
        let end = match status.map(|s: ExitStatus| (s.code(), s.signal())) {
            _ if self.timed_out => End::TimedOut(limit),
            Some((Some(code), _)) => End::Exited(code),
            Some((None, Some(signal))) => End::Signaled(signal),
            // killed, and still not gone: it hangs in the kernel
            _ => End::Signaled(Signal::SIGKILL as i32),
        };
        Stage { argv: self.argv.to_vec(), end, stderr: String::from_utf8_lossy(stderr).into_owned() }
    }
}

#[cfg(test)]
#[path = "system_tests.rs"]
mod tests;
