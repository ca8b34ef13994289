//! All that a driver may touch: runner, clock, node, paths, facts of the host read once, peers.

pub mod blkid;
pub mod boot;
pub mod btrfs;
pub mod busy;
pub mod cipher;
pub mod device;
pub mod disks;
pub mod engine;
pub mod facts;
pub mod holders;
pub mod lock;
pub mod lvm;
pub mod paths;
pub mod patience;
pub mod peers;
pub mod processes;
pub mod zfs;

use crate::clock::Clock;
use crate::cmd::{Cmd, End, Output, Runner};
use crate::config::nodeconf::NodeConf;
use crate::config::scope::Scope;
use crate::error::{Error, Result};
use crate::log::{Level, Logger};
use facts::Facts;
use paths::Paths;
use peers::Peers;
use std::sync::Arc;

/// This machine, for the time of one command.
pub struct Host {
    /// Runs commands.
    pub runner: Arc<dyn Runner>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Host name, lower case.
    pub node: String,
    /// Where files are.
    pub paths: Paths,
    /// Node settings.
    pub conf: NodeConf,
    /// Mounts, addresses…: read once per command, forgotten after each change.
    pub facts: Facts,
    /// The other nodes: reached once per command.
    pub peers: Peers,
}

/// What a driver is given when it is asked something.
#[derive(Clone, Copy)]
pub struct Cx<'a> {
    /// This machine.
    pub host: &'a Host,
    /// Says things under the resource's name.
    pub log: &'a Logger,
    /// Service name.
    pub service: &'a str,
    /// The nodes of the service and who we are among them.
    pub scope: &'a Scope,
    /// The resource.
    pub rid: &'a str,
    /// `--force` was given.
    pub force: bool,
}

impl Cx<'_> {
    /// Runs a command, logged as 2014 did: the line and its output at INFO; stderr at WARNING if it
    /// succeeded, at ERROR if it failed.
    pub fn run(&self, cmd: &Cmd) -> Output {
        self.run_at(cmd, Level::Info, Level::Error)
    }

    /// The same with the line and output at DEBUG: for probes and internal transfers.
    pub fn run_quiet(&self, cmd: &Cmd) -> Output {
        self.run_at(cmd, Level::Debug, Level::Debug)
    }

    /// Runs a command; `said` is the level of the line and the output, `failed` that of a failure's output.
    pub fn run_at(&self, cmd: &Cmd, said: Level, failed: Level) -> Output {
        self.log.log(said, cmd.line());
        let out = self.host.runner.run(cmd);
        if cmd.effect == crate::cmd::Effect::Change {
            self.host.facts.forget();
        }
        for stage in &out.stages {
            match &stage.end {
                End::NotRun(why) => self.log.log(failed, why.clone()),
                End::TimedOut(_) | End::Signaled(_) => self.log.log(failed, stage.why()),
                End::Exited(_) => {}
            }
            if !stage.stderr.trim().is_empty() {
                if stage.ok() {
                    self.log.log(failed.min(Level::Warning), format!("command succesful but stderr:\n{}", stage.stderr));
                } else {
                    self.log.log(failed, format!("stderr:\n{}", stage.stderr));
                }
            }
        }
        let text = out.text();
        if !text.trim().is_empty() {
            if out.ok() {
                self.log.log(said, format!("output:\n{text}"));
            } else {
                self.log.log(failed, format!("command failed with stdout:\n{text}"));
            }
        }
        out
    }

    /// Runs a command that has to succeed; the log has the details when it does not.
    pub fn must(&self, cmd: &Cmd) -> Result<Output> {
        let out = self.run(cmd);
        if out.ok() { Ok(out) } else { Err(Error::Reported) }
    }

    /// Runs a probe without a word in the log.
    pub fn probe(&self, cmd: &Cmd) -> Output {
        self.host.runner.run(cmd)
    }
}

#[cfg(test)]
impl Host {
    /// A machine called `node` on which nothing runs and time stands still.
    pub fn fake(node: &str, root: &std::path::Path) -> Self {
        Self {
            runner: Arc::new(crate::cmd::replay::Replay::default()),
            clock: Arc::new(crate::clock::FixedClock::at("2014-06-06 18:00:00")),
            node: node.into(),
            paths: Paths::classic(root, root.join("bin/svcmgr")),
            conf: NodeConf::default(),
            facts: Facts::default(),
            peers: Peers::plain(Vec::new()),
        }
    }
}
