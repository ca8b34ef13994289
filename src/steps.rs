//! Steps of a command, and a death at one of them: for tests, in debug builds only, never in the released program.
//! A step is where what is on the disk, here or on a peer, has just changed, or is about to: after each state file is
//! written, before each command that changes something. `var/.die` holds `ACTION N`: the processes of that action
//! count their steps together, and the one that makes the N-th is killed as by SIGKILL; `ACTION WORD`: who makes the first
//! one that is called so. `recv-VERB` are the receivers of that verb alone. The file is gone before, `var/.died` says what
//! the step was.

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// The folder of state, and the names of what this process does. Not set in unit tests: no step counts there.
static AT: OnceLock<(PathBuf, [String; 2])> = OnceLock::new();
/// Something has been changed since the last step.
static CHANGED: AtomicBool = AtomicBool::new(true);

/// This process does `action`, with the words of a peer; its state is below `var`.
pub fn of(var: &Path, action: &str, words: &[String]) {
    let verb = words.get(1).map_or("", String::as_str);
    _ = AT.set((var.to_owned(), [action.to_owned(), format!("{action}-{verb}")]));
}

/// A command that changes something is about to be run.
pub fn before(what: &str) {
    if CHANGED.swap(true, Ordering::SeqCst) {
        step(&format!("before {what}"));
    }
}

/// A state file is about to be written.
pub fn writing(path: &Path) {
    if counts(path) {
        before(&format!("writing {}", path.display()));
    }
}

/// A state file is on the disk.
pub fn written(path: &Path) {
    if counts(path) {
        step(&format!("after writing {}", path.display()));
        CHANGED.store(false, Ordering::SeqCst);
    }
}

/// `var/alive` does not: it says when the program was called last, if that was some seconds ago.
fn counts(path: &Path) -> bool {
    path.file_name().is_none_or(|n| n != "alive")
}

fn step(what: &str) {
    let Some((var, actions)) = AT.get() else { return };
    let (armed, died) = (var.join(".die"), var.join(".died"));
    // most commands are not meant
    let Ok(file) = File::open(&armed) else { return };
    let Ok(_one) = Flock::lock(file, FlockArg::LockExclusive) else { return };
    let text = fs::read_to_string(&armed).unwrap_or_default();
    let Some((meant, left)) = text.trim().split_once(' ') else { return };
    if !actions.iter().any(|action| action == meant) {
        return;
    }
    match left.parse::<u32>() {
        Ok(left) if left > 1 => _ = fs::write(&armed, format!("{meant} {}", left - 1)),
        Err(_) if !what.contains(left) => {}
        _ => {
            _ = fs::remove_file(&armed);
            _ = File::create(died).and_then(|mut f| f.write_all(what.as_bytes()));
            _ = kill(Pid::this(), Signal::SIGKILL);
        }
    }
}
