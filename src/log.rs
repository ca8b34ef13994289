//! Log events: what is said about what is being done, to whom it goes, and how a line looks.

use crate::clock::Clock;
use chrono::{DateTime, Local};
use std::sync::{Arc, Mutex};

/// How much an event matters. The console shows `Info` and above, `--debug` shows all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Details: quiet commands.
    Debug,
    /// What is being done.
    Info,
    /// Something to look at; the action goes on.
    Warning,
    /// Something failed.
    Error,
}

impl Level {
    /// As printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
        }
    }
}

/// One log record.
#[derive(Debug, Clone)]
pub struct Event {
    /// When.
    pub at: DateTime<Local>,
    /// How much it matters.
    pub level: Level,
    /// Upper-case logger name: `SVC1`, `SVC1.FS#1`, `SVC1.FS:A#2`, `SVC1.SYNC#I0`, `INIT`.
    pub logger: String,
    /// Columns the logger name is padded to on the console: length of the service name + 8.
    pub width: usize,
    /// The text; may hold several lines.
    pub message: String,
}

impl Event {
    /// The console line: `HH:MM:SS LEVEL   LOGGER<pad> message`.
    pub fn console_line(&self) -> String {
        format!("{} {:<7} {:<w$} {}", self.at.format("%H:%M:%S"), self.level.name(), self.logger, self.message, w = self.width)
    }

    /// The line of `log/NAME.log`: `YYYY-MM-DD HH:MM:SS,mmm - LOGGER - LEVEL - message`.
    pub fn file_line(&self) -> String {
        format!("{} - {} - {} - {}", self.at.format("%Y-%m-%d %H:%M:%S,%3f"), self.logger, self.level.name(), self.message)
    }
}

/// Receives events. An implementation writes each event whole, never interleaved with another.
pub trait Sink: Send + Sync {
    /// Takes one event; must not fail.
    fn emit(&self, event: &Event);
}

/// Keeps events in memory: for tests, and for output that is shown later in one block.
#[derive(Default)]
pub struct Memory(Mutex<Vec<Event>>);

impl Memory {
    /// The events so far, removed from the memory.
    pub fn take(&self) -> Vec<Event> {
        self.0.lock().map(|mut v| std::mem::take(&mut *v)).unwrap_or_default()
    }

    /// The events so far as `LEVEL LOGGER message` lines: what a test compares.
    pub fn lines(&self) -> Vec<String> {
        let events = self.0.lock().map(|v| v.clone()).unwrap_or_default();
        events.iter().map(|e| format!("{} {} {}", e.level.name(), e.logger, e.message)).collect()
    }
}

impl Sink for Memory {
    fn emit(&self, event: &Event) {
        if let Ok(mut v) = self.0.lock() {
            v.push(event.clone());
        }
    }
}

/// Sends every event to each of several sinks.
pub struct Tee(pub Vec<Arc<dyn Sink>>);

impl Sink for Tee {
    fn emit(&self, event: &Event) {
        self.0.iter().for_each(|sink| sink.emit(event));
    }
}

/// Says things under one name. Cheap to clone.
#[derive(Clone)]
pub struct Logger {
    sink: Arc<dyn Sink>,
    clock: Arc<dyn Clock>,
    name: String,
    width: usize,
}

impl Logger {
    /// The logger of a service.
    pub fn service(sink: Arc<dyn Sink>, clock: Arc<dyn Clock>, service: &str) -> Self {
        Self { sink, clock, name: service.to_uppercase(), width: service.chars().count() + 8 }
    }

    /// The logger used before a service exists.
    pub fn init(sink: Arc<dyn Sink>, clock: Arc<dyn Clock>) -> Self {
        Self { sink, clock, name: "INIT".into(), width: 12 }
    }

    /// The logger of a resource: `fs#1`, or `fs:a#1` for one in subset a.
    pub fn child(&self, rid: &str) -> Self {
        Self { name: format!("{}.{}", self.name, rid.to_uppercase()), ..self.clone() }
    }

    /// Where its events go.
    pub fn sink(&self) -> Arc<dyn Sink> {
        self.sink.clone()
    }

    /// The same name on another sink.
    pub fn with_sink(&self, sink: Arc<dyn Sink>) -> Self {
        Self { sink, ..self.clone() }
    }

    /// Passes on an event another logger made.
    pub fn emit(&self, event: &Event) {
        self.sink.emit(event);
    }

    /// Says `message` at `level`.
    pub fn log(&self, level: Level, message: impl Into<String>) {
        self.sink.emit(&Event { at: self.clock.now(), level, logger: self.name.clone(), width: self.width, message: message.into() });
    }

    /// At level DEBUG.
    pub fn debug(&self, message: impl Into<String>) {
        self.log(Level::Debug, message);
    }

    /// At level INFO.
    pub fn info(&self, message: impl Into<String>) {
        self.log(Level::Info, message);
    }

    /// At level WARNING.
    pub fn warning(&self, message: impl Into<String>) {
        self.log(Level::Warning, message);
    }

    /// At level ERROR.
    pub fn error(&self, message: impl Into<String>) {
        self.log(Level::Error, message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::FixedClock;

    #[test]
    fn lines_have_the_columns_of_2014() {
        let memory = Arc::new(Memory::default());
        let log = Logger::service(memory.clone(), Arc::new(FixedClock::at("2014-06-06 18:11:10")), "busybox.opensvc.com");
        log.child("sync#2").info("lvcreate");
        log.child("container#1").info("docker");
        log.child("fs:a#2").error("boom");
        let lines: Vec<_> = memory.take().iter().map(|e| (e.console_line(), e.file_line())).collect();
        assert_eq!(lines[0].0, "18:11:10 INFO    BUSYBOX.OPENSVC.COM.SYNC#2  lvcreate");
        assert_eq!(lines[1].0, "18:11:10 INFO    BUSYBOX.OPENSVC.COM.CONTAINER#1 docker");
        assert_eq!(lines[2].1, "2014-06-06 18:11:10,000 - BUSYBOX.OPENSVC.COM.FS:A#2 - ERROR - boom");
    }
}
