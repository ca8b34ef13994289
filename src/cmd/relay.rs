//! Carries the data of one stage of a pipe to the next by our own hands, so that they can be counted and slowed down.

use super::Meter;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// One piece.
const PIECE: usize = 1 << 20;
/// How long more is awaited when little has come: each turn of ours costs the stages before and after us one of theirs.
const GATHER: Duration = Duration::from_millis(1);
/// How often the count is told.
const TOLD: Duration = Duration::from_millis(200);

/// What the next stage reads instead of `from`. The data end when the stage before ends, and when the next one does not
/// want them any more, the one before is told by a broken pipe.
pub(super) fn between(from: OwnedFd, meter: Meter) -> Result<OwnedFd, String> {
    let (end, to) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(|e| format!("no pipe: {e}"))?;
    for pipe in [from.as_fd(), to.as_fd()] {
        _ = fcntl(pipe, FcntlArg::F_SETPIPE_SZ(1 << 20)); // as large as it may be: fewer turns
    }
    let name = std::thread::Builder::new().name("relay".into());
    name.spawn(move || carry(File::from(from), File::from(to), &meter)).map_err(|e| format!("no thread: {e}"))?;
    Ok(end)
}

#[allow(clippy::needless_pass_by_value, reason = "both ends are closed when this ends")]
fn carry(from: File, to: File, meter: &Meter) {
    let begun = Instant::now();
    let mut told = begun;
    let piece = meter.limit.map_or(PIECE, |limit| usize::try_from(limit / 10).unwrap_or(PIECE).clamp(1024, PIECE));
    let mut passed = 0u64;
    loop {
        // from pipe to pipe the kernel moves pages: nothing is copied
        let n = match splice(&from, None, &to, None, piece, SpliceFFlags::SPLICE_F_MOVE) {
            Ok(0) => break,
            Ok(n) => n,
            Err(Errno::EINTR) => continue,
            Err(_) => break,
        };
        passed += n as u64;
        if n < piece / 4 {
            std::thread::sleep(GATHER);
        }
        if told.elapsed() >= TOLD {
            told = Instant::now();
            (meter.told)(passed);
        }
        if let Some(limit) = meter.limit {
            // what has passed is allowed from here on
            let due = Duration::from_secs_f64(passed as f64 / limit.max(1) as f64);
            std::thread::sleep(due.saturating_sub(begun.elapsed()));
        }
    }
    (meter.told)(passed);
}
