//! Moves the data of running processes: feeds the first, collects what the last prints and what all complain about.

use super::{Cmd, OnOutput};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{ChildStderr, ChildStdin, ChildStdout};
use std::time::Duration;

/// How much of standard error is kept: the end says why.
const TAIL: usize = 64 << 10;

/// The pipes of one command, none of which blocks.
#[derive(Default)]
pub(super) struct Pump<'a> {
    stdin: Option<ChildStdin>,
    input: &'a [u8],
    stdout: Option<ChildStdout>,
    seen: Vec<u8>,
    stderr: Vec<(Option<ChildStderr>, Vec<u8>)>,
    on_output: Option<OnOutput>,
}

impl<'a> Pump<'a> {
    pub(super) fn new(cmd: &'a Cmd) -> Self {
        Self { input: cmd.input.as_deref().unwrap_or_default(), on_output: cmd.on_output.clone(), ..Self::default() }
    }

    /// Adds a stage: what it is fed through (the first) and its standard error.
    pub(super) fn add(&mut self, stdin: Option<ChildStdin>, stderr: Option<ChildStderr>) {
        if let Some(pipe) = stdin {
            nonblocking(&pipe);
            self.stdin = Some(pipe);
        }
        stderr.iter().for_each(nonblocking);
        self.stderr.push((stderr, Vec::new()));
    }

    /// The standard output of the last stage.
    pub(super) fn read_from(&mut self, stdout: Option<ChildStdout>) {
        stdout.iter().for_each(nonblocking);
        self.stdout = stdout;
    }

    /// Something may still come.
    pub(super) fn open(&self) -> bool {
        self.stdout.is_some() || self.stderr.iter().any(|(pipe, _)| pipe.is_some())
    }

    /// Waits until data can be moved, one of `ends` is readable, or `limit` is over; moves what can be.
    pub(super) fn turn(&mut self, ends: &[&OwnedFd], limit: Duration) {
        let mut fds: Vec<PollFd> = ends.iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)).collect();
        fds.extend(self.stdin.iter().map(|p| PollFd::new(p.as_fd(), PollFlags::POLLOUT)));
        fds.extend(self.stdout.iter().map(|p| PollFd::new(p.as_fd(), PollFlags::POLLIN)));
        fds.extend(self.stderr.iter().filter_map(|(p, _)| p.as_ref()).map(|p| PollFd::new(p.as_fd(), PollFlags::POLLIN)));
        // rounded up: a limit below a millisecond must not become a busy loop
        let millis = u16::try_from(limit.as_micros().div_ceil(1000)).unwrap_or(u16::MAX);
        if let Err(e) = poll(&mut fds, PollTimeout::from(millis))
            && e != Errno::EINTR
        {
            std::thread::sleep(Duration::from_millis(10)); // out of memory: the pipes are tried all the same
        }
        drop(fds);
        self.feed();
        self.read_output();
        for (pipe, tail) in &mut self.stderr {
            read(pipe, |bytes| keep_tail(tail, bytes));
        }
    }

    fn feed(&mut self) {
        let Some(pipe) = &mut self.stdin else { return };
        match pipe.write(self.input) {
            Ok(n) => self.input = self.input.get(n..).unwrap_or_default(),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return,
            Err(_) => self.input = &[], // it does not want the rest
        }
        if self.input.is_empty() {
            self.stdin = None; // end of file
        }
    }

    fn read_output(&mut self) {
        let (seen, told) = (&mut self.seen, self.on_output.as_ref());
        read(&mut self.stdout, |bytes| match told {
            Some(tell) => {
                tell(bytes);
                keep_tail(seen, bytes);
            }
            None => seen.extend_from_slice(bytes),
        });
    }

    /// Standard output of the last stage, and the end of each stage's standard error.
    pub(super) fn into_parts(self) -> (Vec<u8>, Vec<Vec<u8>>) {
        let mut seen = self.seen;
        if self.on_output.is_some() {
            cut(&mut seen);
        }
        let tails = self.stderr.into_iter().map(|(_, mut tail)| {
            cut(&mut tail);
            tail
        });
        (seen, tails.collect())
    }
}

/// The flag belongs to our end alone: the child's end of a pipe is another file.
fn nonblocking(fd: &impl AsFd) {
    if let Ok(flags) = fcntl(fd, FcntlArg::F_GETFL) {
        _ = fcntl(fd, FcntlArg::F_SETFL(OFlag::from_bits_retain(flags) | OFlag::O_NONBLOCK));
    }
}

/// Reads what is there; closes at the end. A bounded number of pieces, so that one stream that never
/// rests does not keep the others, and the clock, from being looked at.
fn read<R: Read>(pipe: &mut Option<R>, mut take: impl FnMut(&[u8])) {
    let mut buffer = [0u8; 64 << 10];
    for _ in 0..16 {
        let Some(open) = pipe else { return };
        match open.read(&mut buffer) {
            Ok(0) => *pipe = None,
            Ok(n) => take(buffer.get(..n).unwrap_or_default()),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => return,
            Err(_) => *pipe = None,
        }
    }
}

fn keep_tail(tail: &mut Vec<u8>, bytes: &[u8]) {
    tail.extend_from_slice(bytes);
    if tail.len() > 2 * TAIL {
        cut(tail);
    }
}

fn cut(tail: &mut Vec<u8>) {
    tail.drain(..tail.len().saturating_sub(TAIL));
}
