//! Does a plan: triggers, resources, parallel sets; tells what was activated, for the rollback.

use super::plan::{Plan, Stage, Step, Verb};
use super::{Options, triggers};
use crate::error::{Error, Result};
use crate::host::{Cx, Host};
use crate::log::Logger;
use crate::resource::Done;
use crate::service::{Res, Service};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};

/// What has to be done with the data before anything of them is mounted.
pub type Ground = Box<dyn Fn(&Run) -> Result<()> + Send + Sync>;

/// A service being acted upon.
pub struct Run<'a> {
    /// The service.
    pub service: &'a Service,
    /// This machine.
    pub host: &'a Host,
    /// The service's logger.
    pub log: &'a Logger,
    /// What was asked.
    pub options: &'a Options,
    /// Resources this run has activated, in order.
    pub activated: Mutex<Vec<String>>,
    /// A rollback: goes on though a signal has stopped the action.
    pub undoing: bool,
    /// A launcher has failed to stop; the stop went on, as in 2014.
    pub app_errors: AtomicBool,
    /// A launcher or container was begun to be started: it may have written data.
    pub ran: AtomicBool,
    /// Done once by a start, when the disks are there and nothing is mounted yet.
    pub ground: OnceLock<Ground>,
}

impl<'a> Run<'a> {
    /// An error in the log, unless it is there already.
    pub fn say(&self, error: &Error) {
        if !matches!(error, Error::Reported) {
            self.log.error(error.to_string());
        }
    }

    /// A run that has done nothing yet.
    pub fn new(service: &'a Service, host: &'a Host, log: &'a Logger, options: &'a Options) -> Self {
        Self {
            service,
            host,
            log,
            options,
            activated: Mutex::default(),
            undoing: false,
            app_errors: AtomicBool::new(false),
            ran: AtomicBool::new(false),
            ground: OnceLock::new(),
        }
    }

    /// Does the plan, stage by stage. An error has stopped it; what was done before stays done.
    pub fn execute(&self, plan: &Plan) -> Result<()> {
        // also of a plan with nothing in it: the data of a node may be all it has
        let starts = plan.stages.iter().flat_map(|s| &s.steps).all(|s| s.verb == Verb::Start);
        let mut ground = starts && !self.undoing;
        for stage in &plan.stages {
            // what the data lie on is there, and nothing is mounted yet
            if ground && !matches!(stage.set.split(['.', ':']).next(), Some("ip" | "disk")) {
                self.grounded()?;
                ground = false;
            }
            if stage.parallel && stage.steps.len() > 1 && !self.options.dry_run {
                self.side_by_side(stage)?;
                continue;
            }
            for step in &stage.steps {
                self.step(step, stage)?;
            }
        }
        if ground { self.grounded() } else { Ok(()) }
    }

    fn grounded(&self) -> Result<()> {
        self.ground.get().filter(|_| !self.options.dry_run).map_or(Ok(()), |ground| ground(self))
    }

    fn side_by_side(&self, stage: &Stage) -> Result<()> {
        let results: Vec<Result<()>> = std::thread::scope(|scope| {
            let started: Vec<_> = stage
                .steps
                .iter()
                .map(|step| {
                    self.logger(step).info(format!("action {} started in parallel", verb_name(step.verb)));
                    scope.spawn(|| self.step(step, stage))
                })
                .collect();
            started.into_iter().map(|t| t.join().unwrap_or_else(|_| Err(Error::text("internal error")))).collect()
        });
        results.into_iter().collect()
    }

    fn logger(&self, step: &Step) -> Logger {
        self.log.child(&self.service.find(&step.rid).map_or_else(|| step.rid.clone(), Res::log_name))
    }

    fn step(&self, step: &Step, stage: &Stage) -> Result<()> {
        let Some(res) = self.service.find(&step.rid) else { return Ok(()) };
        let log = self.logger(step);
        if step.verb == Verb::Skip {
            log.info("skip 'stop' on standby resource (--force to override)");
            return Ok(());
        }
        if !self.undoing && crate::cmd::system::interrupted() {
            return Err(Error::text("interrupted by signal"));
        }
        let done = self.with_triggers(res, &log, step);
        match done {
            Ok(()) => Ok(()),
            Err(Error::Text(why)) if step.optional => {
                log.error(why);
                Ok(())
            }
            Err(_) if step.optional => Ok(()),
            Err(e) if stage.set.split(':').next() == Some("app") && step.verb == Verb::Stop => {
                if let Error::Text(why) = e {
                    log.error(why);
                }
                self.app_errors.store(true, Ordering::SeqCst);
                log.info("there were errors during app stop. please check the quality of the scripts. continuing anyway.");
                Ok(())
            }
            Err(e) => Err(e),
        }
    }

    fn with_triggers(&self, res: &Res, log: &Logger, step: &Step) -> Result<()> {
        let verb = verb_name(step.verb);
        self.trigger(res, log, &format!("pre_{verb}"))?;
        if self.options.dry_run {
            log.info(format!("{verb} {}", step.label));
        } else if let Some(run) = res.run() {
            let cx: Cx = self.service.cx(self.host, log, res, self.options.force);
            match step.verb {
                Verb::Start => {
                    if matches!(res.group(), Some("app" | "container")) {
                        self.ran.store(true, Ordering::SeqCst);
                    }
                    if run.start(&cx)? == Done::Changed
                        && let Ok(mut activated) = self.activated.lock()
                    {
                        activated.push(res.rid.clone());
                    }
                }
                Verb::Stop => {
                    run.stop(&cx)?;
                }
                Verb::Skip => {}
            }
        }
        self.trigger(res, log, &format!("post_{verb}"))
    }

    /// Runs the trigger keyword `when` of a resource, and its blocking twin. Only the twin's failure counts.
    fn trigger(&self, res: &Res, log: &Logger, when: &str) -> Result<()> {
        let twin = format!("blocking_{when}");
        for keyword in [when, &twin] {
            if !self.options.dry_run {
                triggers::run(self.service, self.host, log, res, keyword, &twin)?;
            } else if let Some(argv) = res.triggers.get(keyword) {
                let words: Vec<String> = argv.iter().map(|w| format!("'{w}'")).collect();
                log.info(format!("exec trigger [{}]", words.join(", ")));
            }
        }
        Ok(())
    }
}

fn verb_name(verb: Verb) -> &'static str {
    match verb {
        Verb::Start => "start",
        Verb::Stop | Verb::Skip => "stop",
    }
}
