//! Compares what was sent last with what a peer has: what the snapshots are; and, if asked to, what is in their files.

use super::Btrfs;
use super::base::There;
use super::send::{remote, there};
use super::spot::Spot;
use crate::cmd::Cmd;
use crate::error::{Error, Result};
use crate::host::Cx;
use crate::host::btrfs::Subvolume;
use crate::sync::{Job, Share, common};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// So many differences are named.
const NAMED: usize = 10;

/// The options of the comparison: contents, not only times and sizes; whatever a copy keeps of a file; what nobody sent.
const WHOLE: [&str; 3] = ["-nciaHAX", "--numeric-ids", "--delete"];
/// Of the files that are named.
const SOME: [&str; 4] = ["-nciaHAX", "--numeric-ids", "--from0", "--files-from=-"];

/// Compares the snapshots of both sides: a received one names the one it was sent from; and the copy with its snapshot.
pub(super) fn verify(sync: &Btrfs, cx: &Cx, job: &Job) -> Result<()> {
    let there = there(sync, cx, job)?;
    let (mut wrong, mut same) = (Vec::new(), Vec::new());
    sync.with(cx, &sync.way.src, |spots| {
        for spot in spots {
            let (all, there) = (spot.list(cx)?, There::parse(&there, spot.index));
            let Some(sent) = spot.snapshots(&all).find(|s| s.path == spot.sent()) else {
                wrong.push(format!("nothing was ever sent of {}", spot.name));
                continue;
            };
            match &there.copy {
                _ if !there.has(sent.image()) => wrong.push(format!("{} is not there", sent.path)),
                Some(Ok(image)) if image == sent.image() => match job.content.map(|share| walk(sync, cx, job, spot, sent, share)) {
                    None => same.push(image.clone()),
                    Some(walked) => match walked? {
                        Ok(what) => same.push(what),
                        Err(why) => wrong.push(why),
                    },
                },
                Some(Ok(_)) => wrong.push(format!("the copy is of another snapshot than {}", sent.path)),
                Some(Err(why)) => wrong.push(why.clone()),
                None => wrong.push("there is no copy".into()),
            }
        }
        Ok(())
    })?;
    if wrong.is_empty() {
        cx.log.info(format!("src/dst snapshots verified: {} on {} and {}", same.join(" "), cx.host.node, job.peer));
        return Ok(());
    }
    cx.log.error(format!("src/dst snapshots differ for {}/{}: {}", job.peer, sync.way.words.1, wrong.join(", ")));
    Err(Error::Reported)
}

/// Compares a share of the files in `sent`: rsync reads both sides, and writes nothing. Says what was compared; the inner
/// error is what differs.
fn walk(sync: &Btrfs, cx: &Cx, job: &Job, spot: &Spot, sent: &Subvolume, share: Share) -> Result<Result<String, String>> {
    let root = spot.at(&sent.path);
    let found = Found::below(Path::new(&root))?;
    let (count, whole) = (found.files.len(), share == Share::ALL);
    let seed = u64::from(cx.host.clock.now().timestamp_subsec_nanos());
    let chosen: Vec<&PathBuf> = share.sample(found.files.iter(), seed).collect();
    let what = match whole {
        true => format!("{count} files of {}", spot.name),
        false => format!("{} of {count} files of {}", chosen.len(), spot.name),
    };
    cx.log.info(format!("comparing {what} with {}: both sides read them", job.peer));
    let index = spot.index.to_string();
    let (remote, argv) = remote(sync, cx, job, &["walk", &index, sent.image(), "rsync"])?;
    let mut words: Vec<String> = ["rsync"].iter().chain(if whole { WHOLE.as_slice() } else { &SOME }).map(|w| (*w).to_owned()).collect();
    words.extend(found.left_out.iter().filter(|_| whole).map(|folder| format!("--exclude=/{}", literally(folder))));
    words.extend(common::rsync_way(&remote, &argv));
    words.extend([format!("{root}/"), format!("{}:.", cx.host.peers.login(&job.peer))]);
    let list: Vec<u8> = chosen.iter().filter(|_| !whole).flat_map(|f| f.as_os_str().as_bytes().iter().copied().chain([0])).collect();
    let cmd = common::plain_words(Cmd::probe(words)).unbounded().input(list);
    cx.log.info(cmd.line());
    let out = cx.host.runner.run(&cmd);
    if !out.ok() {
        return Err(Error::text(format!(
            "{} could not be compared with what {} has: {}",
            spot.name,
            job.peer,
            common::cause(cx, job, &out)
        )));
    }
    let differing: Vec<String> = out.text().lines().filter_map(difference).collect();
    if differing.is_empty() {
        return Ok(Ok(what));
    }
    let more = differing.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    let named = differing.into_iter().take(NAMED).collect::<Vec<_>>().join(", ");
    let way = format!("svcmgr -s {} sync full --rid {}", cx.service, cx.rid);
    Ok(Err(format!(
        "of {what} not the same: {named}{more}. as nobody can write to snapshots, look at the disks of both nodes: btrfs scrub start -B PATH. to send all of it again: {way}"
    )))
}

/// What is below a folder, by its path from there, in no order.
#[derive(Default)]
struct Found {
    files: Vec<PathBuf>,
    /// Where a subvolume was inside: the snapshot has an empty folder there, which is not sent.
    left_out: Vec<PathBuf>,
}

impl Found {
    fn below(root: &Path) -> Result<Self> {
        /// Linux, btrfs_tree.h: BTRFS_EMPTY_SUBVOL_DIR_OBJECTID.
        const EMPTY_SUBVOLUME: u64 = 2;
        let (mut found, mut folders) = (Self::default(), vec![root.to_path_buf()]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).map_err(Error::io("read", &folder))? {
                let entry = entry.map_err(Error::io("read", &folder))?;
                let path = entry.path();
                let meta = std::fs::symlink_metadata(&path).map_err(Error::io("look at", &path))?;
                let below = || path.strip_prefix(root).unwrap_or(&path).to_path_buf();
                match meta.is_dir() {
                    true if meta.ino() == EMPTY_SUBVOLUME => found.left_out.push(below()),
                    true => folders.push(path),
                    false => found.files.push(below()),
                }
            }
        }
        Ok(found)
    }
}

/// The pattern of rsync(1) that means this path.
fn literally(path: &Path) -> String {
    let text = path.to_string_lossy();
    text.chars().flat_map(|c| ['\\'].into_iter().filter(move |_| "*?[\\".contains(c)).chain([c])).collect()
}

/// What a line of rsync(1)'s `--itemize-changes` says; nothing of a folder that differs in its times only because
/// something in it does.
fn difference(line: &str) -> Option<String> {
    if let Some(name) = line.strip_prefix("*deleting ") {
        return Some(format!("{} (nobody sent it)", name.trim_start()));
    }
    let (marks, name) = line.split_at_checked(11).and_then(|(marks, name)| Some((marks.as_bytes(), name.strip_prefix(' ')?)))?;
    let [b'<' | b'>' | b'c' | b'h' | b'.', _, rest @ ..] = marks else { return None };
    let what = match rest {
        [b'+', ..] => "is not there",
        [c, s, ..] if *c == b'c' || *s == b's' => "content",
        [b'.', b'.', b't', others @ ..] if others.iter().all(|m| *m == b'.') && name.ends_with('/') => return None,
        rest if rest.iter().all(|m| matches!(m, b'.' | b' ')) => return None,
        _ => "owner, mode, times or attributes",
    };
    Some(format!("{name} ({what})"))
}

/// What a sender's rsync may ask of this side to compare with `folder`, which is read-only: nothing is written. The words
/// that run for it.
pub(super) fn receiver(words: &[&str], folder: &str) -> Option<Vec<String>> {
    let ["rsync", "--server", flags, options @ .., ".", _] = words else { return None };
    let compares = flags.strip_prefix('-').is_some_and(|f| f.split('.').next().unwrap_or_default().contains('n') && !f.starts_with('-'));
    let known = |o: &&&str| o.starts_with("--delete") && o.bytes().all(|b| b == b'-' || b.is_ascii_lowercase());
    let fits = options.iter().filter(|o| !known(o)).all(|o| matches!(*o, "--numeric-ids" | "--log-format=%i" | "--from0"));
    let argv = ["rsync", "--server", flags].into_iter().chain(options.iter().copied()).chain([".", folder]);
    (compares && fits).then(|| argv.map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_comparison_is_let_in() {
        let of = |text: &str| receiver(&text.split(' ').collect::<Vec<_>>(), "/top/d@sent/").map(|argv| argv.join(" "));
        let whole = "rsync --server -nlHogDtpAXrce.iLsfxCIvu --log-format=%i --delete --numeric-ids . svc1:data/";
        assert_eq!(of(whole), Some(whole.replace("svc1:data/", "/top/d@sent/")));
        assert!(of("rsync --server -nlHogDtpAXcRe.LsfxCIvu --log-format=%i --numeric-ids . x").is_some());
        for wrong in [
            "rsync --server -lHogDtpAXrce.iLsfxCIvun --delete . x",
            "rsync --server --sender -nlogDtpr . x",
            "rsync --server -nr --log-file=/etc/passwd . x",
            "rsync --server -nr . x y",
            "rsync --server --no-n . x",
            "sh -c -n . x",
            "rsync --daemon -n . x",
        ] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_rsync_itemizes() {
        let of = |line: &str| difference(line);
        for (line, said) in [
            ("*deleting   extra", "extra (nobody sent it)"),
            ("<fc........ f", "f (content)"),
            ("<f.s....... f g", "f g (content)"),
            ("<f+++++++++ only", "only (is not there)"),
            ("cL+++++++++ l -> x", "l -> x (is not there)"),
            (".f...p..... f", "f (owner, mode, times or attributes)"),
            (".d...p..... d/", "d/ (owner, mode, times or attributes)"),
        ] {
            assert_eq!(of(line).as_deref(), Some(said), "{line}");
        }
        for nothing in [".d..t...... d/", "", "sending incremental file list"] {
            assert_eq!(of(nothing), None, "{nothing}");
        }
    }
}
