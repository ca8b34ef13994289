//! Commands as values: what is to be run, and what came of it. A [`Runner`] runs them.

mod pump;
pub mod quote;
pub mod readonly;
mod relay;
pub mod replay;
mod spawn;
pub mod system;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How long a command may take when nobody says otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// Looks only, or changes something. A dry run and a status refuse to run changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Reads the state of the host; may be run at any time.
    Probe,
    /// Changes the host or a peer.
    Change,
}

/// Where a command's output goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Sink {
    /// Kept in [`Output`].
    #[default]
    Capture,
    /// The terminal of the caller: `docker attach`, an editor.
    Inherit,
    /// Standard output and error appended to a file, created when missing.
    File(PathBuf),
}

/// Called with each piece of standard output of the last stage as it arrives (progress).
pub type OnOutput = Arc<dyn Fn(&[u8]) + Send + Sync>;

/// What crosses from one stage of a pipe to the next is counted and, if asked for, slowed down.
#[derive(Clone)]
pub struct Meter {
    /// Bytes a second.
    pub limit: Option<u64>,
    /// Told how many bytes have passed so far, at most five times a second, and at the end.
    pub told: Arc<dyn Fn(u64) + Send + Sync>,
}

/// One command, or a pipe of them. Build it with [`Cmd::probe`] or [`Cmd::change`].
#[derive(Clone)]
pub struct Cmd {
    /// Program and arguments; never a shell line.
    pub argv: Vec<String>,
    /// Looks or changes.
    pub effect: Effect,
    /// Its output feeds this one's input.
    pub next: Option<Box<Cmd>>,
    /// Bound on the whole pipe; `None`: no bound (a long transfer, which has bounds of its own).
    pub timeout: Option<Duration>,
    /// What the first stage reads; the null device when `None`.
    pub input: Option<Vec<u8>>,
    /// Where output goes.
    pub sink: Sink,
    /// Extra environment.
    pub env: Vec<(String, String)>,
    /// User to run as; root's own when `None`.
    pub user: Option<String>,
    /// Working directory.
    pub cwd: Option<PathBuf>,
    /// Not waited for: the output says only whether it could be started.
    pub background: bool,
    /// Told of output as it comes; [`Output::stdout`] then keeps only the last 64 KiB.
    pub on_output: Option<OnOutput>,
    /// Watches what this stage of a pipe gives to the next.
    pub meter: Option<Meter>,
}

impl Cmd {
    fn new<S: Into<String>>(effect: Effect, argv: impl IntoIterator<Item = S>) -> Self {
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
            effect,
            next: None,
            timeout: Some(DEFAULT_TIMEOUT),
            input: None,
            sink: Sink::Capture,
            env: Vec::new(),
            user: None,
            cwd: None,
            background: false,
            on_output: None,
            meter: None,
        }
    }

    /// A command that only looks.
    pub fn probe<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Self {
        Self::new(Effect::Probe, argv)
    }

    /// A command that changes something.
    pub fn change<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Self {
        Self::new(Effect::Change, argv)
    }

    /// The same on a peer: the ssh words, the host, then this argv quoted for the remote shell.
    #[must_use]
    pub fn on(mut self, peer: &Remote) -> Self {
        let line = quote::join(&self.argv);
        self.argv = peer.ssh.iter().cloned().chain([peer.host.clone(), line]).collect();
        self
    }

    /// Feeds its output to `next`. Every stage is checked.
    #[must_use]
    pub fn pipe(mut self, next: Self) -> Self {
        self.next = Some(Box::new(match self.next.take() {
            Some(inner) => inner.pipe(next),
            None => next,
        }));
        self
    }

    /// Bounds the whole pipe.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// No bound: for transfers, which are ended by their connection.
    #[must_use]
    pub fn unbounded(mut self) -> Self {
        self.timeout = None;
        self
    }

    /// What the first stage reads.
    #[must_use]
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Some(bytes.into());
        self
    }

    /// Where output goes.
    #[must_use]
    pub fn sink(mut self, sink: Sink) -> Self {
        self.sink = sink;
        self
    }

    /// Adds to the environment.
    #[must_use]
    pub fn env(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((key.into(), value.into()));
        self
    }

    /// Runs as another user.
    #[must_use]
    pub fn user(mut self, user: Option<String>) -> Self {
        self.user = user;
        self
    }

    /// Starts it and does not wait.
    #[must_use]
    pub fn background(mut self) -> Self {
        self.background = true;
        self
    }

    /// Told of standard output as it comes.
    #[must_use]
    pub fn on_output(mut self, f: OnOutput) -> Self {
        self.on_output = Some(f);
        self
    }

    /// Watches what it gives to the next stage of its pipe.
    #[must_use]
    pub fn meter(mut self, meter: Meter) -> Self {
        self.meter = Some(meter);
        self
    }

    /// The stages in order.
    pub fn stages(&self) -> Vec<&Self> {
        let mut all = vec![self];
        while let Some(next) = all.last().and_then(|c| c.next.as_deref()) {
            all.push(next);
        }
        all
    }

    /// As logged: arguments joined by blanks, stages by ` | `.
    pub fn line(&self) -> String {
        self.stages().iter().map(|c| c.argv.join(" ")).collect::<Vec<_>>().join(" | ")
    }
}

/// How to run something on a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// Host name, as in the service file.
    pub host: String,
    /// `ssh` and its options, before the host.
    pub ssh: Vec<String>,
}

/// How one stage ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// By itself, with this exit status.
    Exited(i32),
    /// By this signal.
    Signaled(i32),
    /// Killed by us: the time was over.
    TimedOut(Duration),
    /// Never ran: not found, not executable, no such user.
    NotRun(String),
}

/// What came of one stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// Its words.
    pub argv: Vec<String>,
    /// How it ended.
    pub end: End,
    /// Standard error, the last 64 KiB of it.
    pub stderr: String,
}

impl Stage {
    /// Exit status 0.
    pub fn ok(&self) -> bool {
        self.end == End::Exited(0)
    }

    /// What went wrong, in words; the last line of stderr says why.
    pub fn why(&self) -> String {
        let program = self.argv.first().map_or("", String::as_str);
        let how = match &self.end {
            End::Exited(code) => format!("{program}: exit status {code}"),
            End::Signaled(signal) => format!("{program}: killed by signal {signal}"),
            End::TimedOut(after) => format!("{program}: no end after {} s, killed", after.as_secs()),
            End::NotRun(why) => why.clone(),
        };
        match self.stderr.trim_end().lines().last() {
            Some(last) if !last.is_empty() => format!("{how}: {last}"),
            _ => how,
        }
    }
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Output {
    /// Each stage, in pipe order.
    pub stages: Vec<Stage>,
    /// Standard output of the last stage.
    pub stdout: Vec<u8>,
}

impl Output {
    /// Every stage ended with 0.
    pub fn ok(&self) -> bool {
        self.stages.iter().all(Stage::ok)
    }

    /// The exit status of the last stage, if it exited.
    pub fn code(&self) -> Option<i32> {
        match self.stages.last().map(|s| &s.end) {
            Some(End::Exited(code)) => Some(*code),
            _ => None,
        }
    }

    /// Standard output as text; bytes that are not UTF-8 are replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// The first failed stage.
    pub fn failure(&self) -> Option<&Stage> {
        self.stages.iter().find(|s| !s.ok())
    }

    /// For transcripts and fakes: one stage that exited with `code`.
    pub fn of(argv: &[String], code: i32, stdout: &str, stderr: &str) -> Self {
        let stage = Stage { argv: argv.to_vec(), end: End::Exited(code), stderr: stderr.into() };
        Self { stages: vec![stage], stdout: stdout.as_bytes().to_vec() }
    }
}

/// Runs commands. Never panics, never fails: what happened is in the [`Output`].
pub trait Runner: Send + Sync {
    /// Runs `cmd` to its end (or starts it, for a background one).
    fn run(&self, cmd: &Cmd) -> Output;
}

/// The 2014 words for a program that is not there.
pub fn not_found(program: &str) -> String {
    format!("{program} does not exist or not in path or is not executable")
}

/// Where the program `name` is, as a command would find it.
pub fn find(name: &str) -> Option<PathBuf> {
    which::which_in(name, Some(spawn::search_path()), ".").ok()
}
