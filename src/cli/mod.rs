//! Speaks to the user: parses the command line, chooses services, shows what comes of it. The only floor that prints.

pub mod args;
pub mod config;
pub mod console;
mod docker;
pub mod freezer;
mod help;
pub mod nodemgr;
pub mod peer;
pub mod program;
pub mod service;
pub mod svcmon;
pub mod targets;
pub mod template;
pub mod where_is;

use crate::action::{self, ACTIONS, Class, Consent, Id, Info};
use crate::bulk::{self, Block, Outcome};
use crate::clock::{Clock, SystemClock};
use crate::cmd::Runner;
use crate::cmd::readonly::ReadOnly;
use crate::cmd::system::SystemRunner;
use crate::config::nodeconf::NodeConf;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::host::facts::Facts;
use crate::host::paths::Paths;
use crate::host::peers::Peers;
use crate::log::{Level, Logger, Sink};
use crate::render::color::Palette;
use args::{Args, Program};
use console::{Console, err, out};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

/// One invocation: the machine, the command line, where words go.
pub struct Session {
    /// This machine.
    pub host: Host,
    /// The command line.
    pub args: Args,
    /// Console lines.
    pub console: Arc<dyn Sink>,
    /// Colours of stdout.
    pub palette: Palette,
    /// Name the program was called by.
    pub name: String,
    /// Of `where` on several services.
    pub table: where_is::Table,
}

/// The program.
pub fn main() -> ExitCode {
    crate::cmd::system::on_signals();
    let mut argv = std::env::args_os().map(|a| a.to_string_lossy().into_owned());
    let argv0 = argv.next().unwrap_or_else(|| "svcmgr".into());
    let argv: Vec<String> = argv.collect();
    ExitCode::from(invoke(&argv0, &argv).unwrap_or_else(|e| {
        report(&argv0, &e);
        e.exit_code()
    }))
}

fn report(argv0: &str, error: &Error) {
    let name = argv0.rsplit('/').next().unwrap_or(argv0);
    match error {
        Error::Reported => {}
        Error::Usage(text) => err(&format!("{name}: error: {text}\ntry: {name} --help")),
        other => err(&format!("{name}: {other}")),
    }
}

fn invoke(argv0: &str, argv: &[String]) -> Result<u8> {
    let (program, cluster) = Program::of(argv0);
    if program == Program::Svcmgr && argv.first().is_some_and(|w| Program::of(w).0 == Program::Nodemgr || w == "svcmon") {
        // `svcmgr svcmon …`: the other names, where nobody made the links
        return invoke(argv.first().map_or("svcmgr", String::as_str), argv.get(1..).unwrap_or_default());
    }
    let name = argv0.rsplit('/').next().unwrap_or(argv0).to_owned();
    let args = match args::parse(&program, &name, cluster, argv) {
        Ok(args) => args,
        Err(Ok(text)) => {
            out(&text);
            return Ok(0);
        }
        Err(Err(e)) => return Err(e),
    };
    match args.words.first().map(String::as_str) {
        Some("template") => return template::print(&args.rest),
        Some("completion") => return template::completion(&program, &args.rest),
        Some("man") => return template::man(&program),
        _ => {}
    }
    let mut session = session(args, name)?;
    match &program {
        Program::Svcmon => svcmon::run(&session),
        Program::Nodemgr => nodemgr::run(&session),
        Program::Freezer(verb) => freezer::run(&session, verb),
        Program::Svcmgr | Program::All(_) | Program::Service(_) => act(&mut session, &program),
    }
}

fn session(args: Args, name: String) -> Result<Session> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Error::text(format!("insufficient privileges: svcmgr runs as root. try: sudo {name} …")));
    }
    let program = std::env::current_exe().unwrap_or_else(|_| "svcmgr".into());
    let paths = Paths::find(std::env::var("OPENSVC_ROOT").ok().as_deref(), program);
    let conf = NodeConf::load(&paths.etc.join("node.conf")).map_err(Error::Text)?;
    let node = nix::unistd::gethostname().map_err(|e| Error::text(format!("cannot tell the host name: {e}")))?;
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    #[cfg(debug_assertions)]
    crate::steps::of(&paths.var, &args.action, &args.rest);
    let min = if args.debug { Level::Debug } else { Level::Info };
    let stderr = Palette::new(args.color, std::io::stderr().is_terminal(), no_color);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    // a view and a dry run cannot change the host, whatever a driver tries
    let looks = args.options.dry_run || action::find(&args.action).is_some_and(|a| a.class == Class::View && a.id != Id::Docker);
    let runner: Arc<dyn Runner> = if looks { Arc::new(ReadOnly::new(Arc::new(SystemRunner))) } else { Arc::new(SystemRunner) };
    let host =
        Host { runner, clock, node: node.to_string_lossy().to_lowercase(), peers: Peers::new(&conf), facts: Facts::default(), paths, conf };
    let palette = Palette::new(args.color, std::io::stdout().is_terminal(), no_color);
    let console = Arc::new(Console { min, palette: stderr, tell: args.tell });
    let mut session = Session { host, console, args, palette, name, table: where_is::Table::default() };
    session.args.options.live = std::io::stderr().is_terminal() && session.args.parallel.is_none();
    Ok(session)
}

impl Session {
    /// The logger of a service: the given console and `log/NAME.log`.
    pub fn logger(&self, service: &str, console: Arc<dyn Sink>) -> Logger {
        let min = if self.args.debug { Level::Debug } else { Level::Info };
        let file = Arc::new(console::LogFile::new(&self.host.paths, service, min));
        Logger::service(Arc::new(crate::log::Tee(vec![console, file])), self.host.clock.clone(), service)
    }
}

/// The action the words name, or what was probably meant.
fn action_of(session: &Session) -> Result<&'static Info> {
    let typed = session.args.action.as_str();
    if typed.is_empty() {
        return Err(Error::Usage(format!(
            "Missing action: {} print status, start, stop, sync update…",
            session.args.spoken(&session.name)
        )));
    }
    if let Some(info) = action::find(typed) {
        return Ok(info);
    }
    let spoken = session.args.words.join(" ");
    let near = ACTIONS
        .iter()
        .flat_map(|a| std::iter::once(&a.name).chain(a.aliases))
        .filter(|n| n.starts_with(typed) || strsim::damerau_levenshtein(n, typed) <= 2)
        .map(|n| n.replace('_', " "))
        .take(6)
        .collect::<Vec<_>>();
    let hint = match session.args.words.as_slice() {
        [verb, name] if action::find(verb).is_some() && session.host.paths.env_file(name).exists() => {
            format!(". did you mean: svcmgr -s {name} {verb}?")
        }
        _ if near.is_empty() => String::new(),
        _ => format!(". did you mean: {}?", near.join(", ")),
    };
    Err(Error::Usage(format!("unsupported action: {spoken}{hint}")))
}

/// Asks once, for all services, whether to take over from nodes that do not answer. Nobody to ask: no.
fn consent(args: &Args) -> Arc<Consent> {
    let ask = |silent: &[String]| {
        let watched = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        if !watched {
            return false;
        }
        err(&format!(
            "{} does not answer. Start here what is held there, and on any other node that does not answer? Last writes are not here. [y/N]",
            silent.join(", ")
        ));
        typed().is_some_and(|line| matches!(line.trim().to_lowercase().as_str(), "y" | "yes"))
    };
    Arc::new(Consent { yes: args.yes, from: args.options.from.clone(), ask: Box::new(ask), answer: Mutex::default() })
}

/// A line from the terminal; none if a signal comes first.
fn typed() -> Option<String> {
    let stdin = std::io::stdin();
    while !crate::cmd::system::interrupted() {
        let ready = poll(&mut [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)], PollTimeout::from(100u8));
        if ready.is_ok_and(|n| n > 0) {
            let mut line = String::new();
            return stdin.read_line(&mut line).ok().map(|_| line);
        }
    }
    None
}

fn act(session: &mut Session, program: &Program) -> Result<u8> {
    let info = action_of(session)?;
    if session.args.plan && info.class != Class::Run {
        return Err(Error::Usage("--plan is for actions that start and stop; for a sync or an edit there is --dry-run".into()));
    }
    if session.args.options.content.is_some() && info.id != Id::SyncVerify {
        return Err(Error::Usage("--content is for sync verify".into()));
    }
    if matches!(info.class, Class::Peer) {
        return peer::run(session, info);
    }
    if info.id == Id::Gone {
        return Err(Error::text(format!("{} is not carried over from 2014: see docs/compatibility.md", session.args.words.join(" "))));
    }
    let names = targets::select(session, program, info)?;
    if info.id == Id::Docker {
        return docker::run(session, info, &names);
    }
    if let Some(seconds) = session.args.watch.filter(|_| info.id == Id::PrintStatus) {
        return watch(session, info, &names, seconds);
    }
    let many = names.len() != 1 || matches!(program, Program::All(_));
    if many {
        session.args.options.consent = Some(consent(&session.args));
    }
    if names.len() > 1 && (info.class == Class::Run || info.id == Id::Where) {
        session.host.peers.expect(targets::peers(session, &names));
    }
    let outcomes = run_all(session, info, &names, many);
    where_is::end(session);
    if many && names.len() > 1 && !session.args.plan && matches!(info.class, Class::Run | Class::Sync | Class::Freeze) {
        summary(&outcomes, &names);
    }
    Ok(exit_code(info, &outcomes, many, names.len()))
}

fn run_all(session: &Session, info: &Info, names: &[String], many: bool) -> Vec<Outcome> {
    let work = |name: &str, console: Arc<dyn Sink>| service::one(session, info, name, console, many);
    let Some(workers) = session.args.parallel.filter(|_| names.len() > 1) else {
        return bulk::in_turn(names, &session.console, &work, &out);
    };
    let workers = if workers == 0 { bulk::default_workers() } else { workers };
    let ordered = info.class == Class::View;
    // a question that may come must not be drawn over
    let asks = info.id == Id::Start && !session.args.yes && session.args.options.from.is_none();
    let progress = Progress::new(names.len(), !ordered && !asks && std::io::stderr().is_terminal());
    let outcomes = bulk::side_by_side(names, workers, ordered, &work, &|outcome: &Outcome, block: Block| {
        progress.hide(|| {
            out(&block.text);
            block.events.iter().for_each(|e| session.console.emit(e));
        });
        progress.done(outcome);
    });
    progress.end();
    outcomes
}

/// A live line on a terminal while services are worked on side by side.
struct Progress(Option<indicatif::ProgressBar>);

impl Progress {
    fn new(total: usize, on: bool) -> Self {
        Self(on.then(|| {
            let bar = indicatif::ProgressBar::new(total as u64);
            if let Ok(style) = indicatif::ProgressStyle::with_template("{pos}/{len} services done in {elapsed}  {msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(std::time::Duration::from_millis(200));
            bar
        }))
    }

    fn hide(&self, show: impl FnOnce()) {
        match &self.0 {
            Some(bar) => bar.suspend(show),
            None => show(),
        }
    }

    fn done(&self, outcome: &Outcome) {
        if let Some(bar) = &self.0 {
            bar.set_message(format!("last: {}", outcome.service));
            bar.inc(1);
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// One service: its own code. Several: 0 all done, 1 some failed; `status` of several only says that all could be looked at.
fn exit_code(info: &Info, outcomes: &[Outcome], many: bool, asked: usize) -> u8 {
    if outcomes.len() < asked {
        return 1; // interrupted
    }
    if !many {
        return outcomes.first().map_or(0, |o| o.code);
    }
    let failed = |o: &&Outcome| if info.id == Id::Status { o.code == service::CANNOT_TELL } else { o.code != 0 };
    u8::from(outcomes.iter().any(|o| failed(&o)))
}

/// What came of each service, on stderr.
fn summary(outcomes: &[Outcome], names: &[String]) {
    let mut table = tabled::builder::Builder::default();
    table.push_record(["service", "result", "duration", "reason"]);
    for o in outcomes {
        let result = if o.code == 0 { "ok" } else { "failed" };
        let reason = if o.code == 0 { "" } else { o.reason.as_str() };
        table.push_record([&o.service, result, &format!("{:.1} s", o.took.as_secs_f64()), reason]);
    }
    for name in names.get(outcomes.len()..).unwrap_or_default() {
        table.push_record([name, "not done", "", "interrupted"]);
    }
    let mut table = table.build();
    table.with(tabled::settings::Style::blank());
    for line in table.to_string().lines() {
        err(line.trim_end());
    }
    let failed = outcomes.iter().filter(|o| o.code != 0).count();
    err(&format!("{} ok, {failed} failed, {} not done", outcomes.len() - failed, names.len() - outcomes.len()));
}

fn watch(session: &Session, info: &Info, names: &[String], seconds: u64) -> Result<u8> {
    loop {
        session.host.facts.forget();
        let mut screen = String::new();
        for name in names {
            screen.push_str(&service::one(session, info, name, session.console.clone(), true).1);
        }
        if std::io::stdout().is_terminal() {
            out("\x1b[H\x1b[2J"); // home, clear
        }
        out(&format!("{}  {}\n{screen}", session.host.node, session.host.clock.now().format("%Y-%m-%d %H:%M:%S")));
        let until = std::time::Instant::now() + std::time::Duration::from_secs(seconds);
        while std::time::Instant::now() < until {
            if crate::cmd::system::interrupted() {
                return Ok(0);
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
}
