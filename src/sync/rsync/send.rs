//! The transfer: the rsync command, its progress, what it says at its end.

use super::{Kind, Rsync, origin, snap, sources};
use crate::cmd::{Cmd, End, OnOutput, Output, Stage};
use crate::error::{Error, Result};
use crate::host::Cx;
use crate::log::Level;
use crate::sync::{Job, OnProgress, Progress, Sent, common};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The options of 2014.
const OPTIONS: [&str; 5] = ["-HpogDtrlvx", "--stats", "--delete", "--force", "--timeout=3600"];

/// rsync(1): times are compared to the nanosecond; without, a file of the same size written twice in a second is not
/// sent again. Before 3.1.3 no two times are the same: all is compared, nothing is missed.
const EXACT: &str = "--modify-window=-1";

/// How long a few stamps may take.
const PUSH: Duration = Duration::from_secs(20);

/// rsync(1): some source files vanished before they could be transferred. So it is with a service at work.
const VANISHED: i32 = 24;

/// The words of one rsync to `peer`, up to the sources. The receiving end is svcmgr, which lets rsync in.
fn words(cx: &Cx, peer: &str, rid: &str, epoch: u64, options: &[String]) -> Result<(Vec<String>, String)> {
    let remote = cx.host.peers.connect(peer).map_err(|why| Error::text(format!("{peer} cannot be reached: {why}")))?;
    let mut argv: Vec<String> = ["rsync"].into_iter().chain(OPTIONS).map(str::to_owned).collect();
    argv.extend_from_slice(options);
    let mut receiver = common::receiver(cx.host, peer, cx.service, rid, epoch);
    receiver.push("rsync".into());
    argv.extend(common::rsync_way(&remote, &receiver));
    Ok((argv, cx.host.peers.login(peer)))
}

pub(super) fn send(sync: &Rsync, cx: &Cx, job: &Job) -> Result<Sent> {
    let quiet = sync.kind != Kind::User;
    let sources = sources::ready(sync, cx)?;
    let grounds = origin::check(sync, cx)?;
    // of data, also what was written anew in the second of the last transfer; the user's own word comes later, and counts
    let exact = (sync.kind != Kind::System).then(|| EXACT.to_owned());
    let options: Vec<String> = exact.into_iter().chain(sync.options.iter().cloned()).collect();
    let (mut argv, login) = words(cx, &job.peer, cx.rid, job.epoch, &options)?;
    if let Some(limit) = sync.bwlimit {
        argv.push(format!("--bwlimit={limit}"));
    }
    if job.progress.is_some() {
        argv.push("--info=progress2".into());
    }
    let to = format!("{login}:{}", sync.dst);
    let paths = snap::rerooted(sync, cx, &sources)?;
    let mounts = sources::below(cx, &paths);
    argv.extend_from_slice(&paths);
    argv.push(to.clone());
    let told = listener(cx, job.progress.clone().map(|tell| (tell, job.peer.clone())));
    let cmd = common::plain_words(Cmd::change(argv)).unbounded().on_output(told);
    cx.log.log(if quiet { Level::Debug } else { Level::Info }, cmd.line());
    let out = cx.host.runner.run(&cmd);
    if out.code() == Some(VANISHED) {
        cx.log.warning(format!("files vanished while they were sent to {}: all others are there", job.peer));
    } else if let Some(stage) = out.failure() {
        if !stage.stderr.trim().is_empty() {
            cx.log.error(format!("stderr:\n{}", stage.stderr));
        }
        let route = format!("{} => {to}", sources::python_list(&sources));
        return Err(Error::text(format!("node {} synchronization failed ({route})\n{}", job.peer, cause(cx, &job.peer, stage))));
    }
    complain(cx, &out);
    sources::unchanged(sync, cx, &paths, &mounts)?;
    origin::remember(cx, &grounds)?;
    Ok(summary(&out.text()))
}

/// Why it failed. The first complaint says what happened, the later ones what followed from it.
fn cause(cx: &Cx, peer: &str, stage: &Stage) -> String {
    if crate::cmd::system::interrupted() {
        return "interrupted by signal".into();
    }
    // rsync(1): socket, stream and timeout errors; 255 is ssh's own. The end of the shared connection, which
    // brought them about, may be noticed a moment later
    let broken = matches!(stage.end, End::Exited(10 | 12 | 30 | 255));
    for _ in 0..if broken { 30 } else { 1 } {
        if cx.host.peers.lost(peer) {
            return format!("the connection to {peer} was lost");
        }
        if broken {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    stage.stderr.lines().find(|l| !l.trim().is_empty()).map_or_else(|| stage.why(), str::to_owned)
}

fn complain(cx: &Cx, out: &Output) {
    for stage in out.stages.iter().filter(|s| !s.stderr.trim().is_empty()) {
        cx.log.warning(format!("command succesful but stderr:\n{}", stage.stderr));
    }
}

/// Pushes files below `/` to the same place on `peer`: the stamps.
pub fn push(cx: &Cx, peer: &str, rid: &str, files: &[String]) -> Result<()> {
    // the receiver writes some of them itself, of the same length, perhaps in the same second
    let options = [EXACT, "-R", "--no-implied-dirs"].map(str::to_owned);
    let (mut argv, login) = words(cx, peer, rid, 0, &options)?;
    argv.extend_from_slice(files);
    argv.push(format!("{login}:/"));
    let cmd = Cmd::change(argv).timeout(PUSH);
    cx.log.debug(cmd.line());
    let out = cx.host.runner.run(&cmd);
    out.failure().map_or(Ok(()), |stage| Err(Error::text(stage.why())))
}

/// Parts what rsync prints: progress to who watches, the listing to the debug log.
fn listener(cx: &Cx, watcher: Option<(OnProgress, String)>) -> OnOutput {
    let (log, rid) = (cx.log.clone(), cx.rid.to_owned());
    let rest = Mutex::new(Vec::new());
    Arc::new(move |bytes| {
        let Ok(mut rest) = rest.lock() else { return };
        rest.extend_from_slice(bytes);
        let Some(end) = rest.iter().rposition(|b| matches!(b, b'\n' | b'\r')) else { return };
        let whole: Vec<u8> = rest.drain(..=end).collect();
        let text = String::from_utf8_lossy(&whole);
        let (progress, listing): (Vec<&str>, Vec<&str>) = text.split(['\n', '\r']).filter(|l| !l.is_empty()).partition(|l| is_progress(l));
        if let (Some((tell, peer)), Some(last)) = (&watcher, progress.last()) {
            tell(Progress { peer: peer.clone(), rid: rid.clone(), words: words_of(last) });
        }
        if !listing.is_empty() {
            log.debug(listing.join("\n"));
        }
    })
}

/// `    12,345,678  45%   10.20MB/s    0:00:12`, with `(xfr#5, to-chk=…)` at times.
fn is_progress(line: &str) -> bool {
    let fields: Vec<&str> = line.split_whitespace().take(4).collect();
    matches!(fields.as_slice(), [bytes, percent, rate, time]
        if bytes.chars().all(|c| c.is_ascii_digit() || c == ',') && percent.ends_with('%') && rate.ends_with("B/s") && time.contains(':'))
}

fn words_of(progress: &str) -> String {
    let fields: Vec<&str> = progress.split_whitespace().take(4).collect();
    match fields.as_slice() {
        [bytes, percent, rate, time] => format!("{} {percent} {rate} {time}", common::size(number(bytes))),
        _ => String::new(),
    }
}

fn number(text: &str) -> u64 {
    text.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0)
}

/// What `--stats` counts.
fn summary(text: &str) -> Sent {
    let stat = |names: &[&str]| {
        let line = text.lines().rev().find_map(|l| names.iter().find_map(|n| l.trim().strip_prefix(n)));
        line.and_then(|l| l.split_whitespace().next()).map(number)
    };
    let files = stat(&["Number of regular files transferred:", "Number of files transferred:"]).unwrap_or(0);
    let deleted = stat(&["Number of deleted files:"]).unwrap_or(0);
    let bytes = stat(&["Total transferred file size:"]).unwrap_or(0);
    let plural = if files == 1 { "" } else { "s" };
    let mut summary = format!("{files} file{plural}, {}", common::size(bytes));
    if deleted > 0 {
        summary.push_str(&format!(", {deleted} deleted"));
    }
    Sent { bytes: stat(&["Total bytes sent:"]), summary }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rsync_counts() {
        let text = "a\n\nNumber of files: 5 (reg: 3, dir: 2)\nNumber of deleted files: 1\nNumber of regular files transferred: 2\n\
                    Total file size: 9 bytes\nTotal transferred file size: 1,234,567 bytes\nTotal bytes sent: 12,345\nTotal bytes received: 60\n";
        let sent = summary(text);
        assert_eq!((sent.summary.as_str(), sent.bytes), ("2 files, 1.2 MB, 1 deleted", Some(12345)));
        assert_eq!(summary("Number of files transferred: 1\n").summary, "1 file, 0 B");
    }

    #[test]
    fn progress_is_told_from_the_listing() {
        assert!(is_progress("     12,345,678  45%   10.20MB/s    0:00:12 (xfr#5, to-chk=1/9)"));
        assert!(!is_progress("a file 45% 3kB/s"));
        assert_eq!(words_of("     12,345,678  45%   10.20MB/s    0:00:12"), "12.3 MB 45% 10.20MB/s 0:00:12");
    }
}
