//! The live line on a terminal while transfers run: how far each is, with rate and time left.

use crate::log::{Event, Logger, Sink};
use crate::sync::OnProgress;
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One line for all transfers; nothing where nobody watches.
pub(super) struct Live {
    bar: Option<ProgressBar>,
    running: Arc<Mutex<BTreeMap<String, String>>>,
}

/// Takes the line away while an event is printed, so that the two do not mix.
struct Aside {
    bar: ProgressBar,
    sink: Arc<dyn Sink>,
}

impl Sink for Aside {
    fn emit(&self, event: &Event) {
        self.bar.suspend(|| self.sink.emit(event));
    }
}

impl Live {
    pub(super) fn new(on: bool) -> Self {
        let bar = on.then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {wide_msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Self { bar, running: Arc::default() }
    }

    /// A logger that goes well with the line.
    pub(super) fn logger(&self, log: &Logger) -> Logger {
        match &self.bar {
            Some(bar) => log.with_sink(Arc::new(Aside { bar: bar.clone(), sink: log.sink() })),
            None => log.clone(),
        }
    }

    /// What a transfer tells its progress to.
    pub(super) fn listener(&self) -> Option<OnProgress> {
        let (bar, running) = (self.bar.clone()?, self.running.clone());
        Some(Arc::new(move |progress| {
            let Ok(mut running) = running.lock() else { return };
            running.insert(progress.peer, format!("{} {}", progress.rid, progress.words));
            bar.set_message(line(&running));
        }))
    }

    /// The transfer to `peer` is over.
    pub(super) fn done(&self, peer: &str) {
        if let (Some(bar), Ok(mut running)) = (&self.bar, self.running.lock()) {
            running.remove(peer);
            bar.set_message(line(&running));
        }
    }

    /// Takes the line away.
    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn line(running: &BTreeMap<String, String>) -> String {
    running.iter().map(|(peer, words)| format!("{peer} {words}")).collect::<Vec<_>>().join("   ")
}
