//! Sources and destinations that are refused, and what is left when an output fails.

use super::bed::{self, Bed, dds, ended, start, usual};
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::process::Stdio;

const CHUNK: usize = 4096;

fn three(bed: &Bed) -> (String, String, String) {
    let (before, after) = (bed::volume(64 * CHUNK, 1), bed::volume(64 * CHUNK, 2));
    let usual = usual(CHUNK);
    let records: Vec<(u64, u64)> = (0..40).map(|i| (63 - i, usual(i))).collect();
    (bed.file("cow", &bed::store(CHUNK, &records, &before)), bed.file("source", &after), bed.file("dest", &before))
}

#[test]
fn what_cannot_be_meant() {
    let bed = Bed::new();
    let (cow, source, _) = three(&bed);
    let link = bed.path("link").to_str().unwrap().to_owned();
    symlink(&cow, &link).unwrap();
    let extract = |cow: &str, source: &str, more: &[&str]| dds(&[&["--extract", "--cow", cow, "--source", source], more].concat(), b"");
    extract(&cow, &link, &[]).refused("the same as");
    extract(&cow, &source, &["--dest", &source]).refused("the same as");
    extract(&cow, &source, &["--dest", &link]).refused("the same as");
    extract(&cow, "/nowhere", &[]).refused("No such file");
    extract("/dev/null", &source, &[]).refused("neither a block device nor a regular file");
    extract(&cow, &source, &["--dest", "/tmp"]).refused("a folder");
    let merge = |more: &[&str]| dds(&[&["--merge", "--dest"], more].concat(), b"");
    merge(&["/nowhere"]).refused("does not exist");
    merge(&["/tmp"]).refused("neither");
    merge(&[&link, "--cow", &cow]).refused("the same as");
    assert!(bed.read("source") == bed::volume(64 * CHUNK, 2) && bed.read("dest") == bed::volume(64 * CHUNK, 1));
}

#[test]
fn a_source_or_destination_that_is_too_small() {
    let bed = Bed::new();
    let (cow, source, _) = three(&bed);
    let stream = dds(&["--extract", "--cow", &cow, "--source", &source], b"").good();
    let small = bed.file("small", &bed::volume(63 * CHUNK, 1));
    dds(&["--extract", "--cow", &cow, "--source", &small], b"").refused("beyond a volume");
    dds(&["--merge", "--dest", &small], &stream).refused("Nothing was written");
    assert!(bed.read("small") == bed::volume(63 * CHUNK, 1));
    bed.file("small", &bed::volume(63 * CHUNK + 1, 1)); // a part of the last chunk
    dds(&["--merge", "--dest", &small], &stream).good();
    assert!(bed.read("small")[63 * CHUNK..] == bed.read("source")[63 * CHUNK..=63 * CHUNK]);
}

#[test]
fn a_file_that_fails_is_not_there() {
    let bed = Bed::new();
    let (cow, source, _) = three(&bed);
    let invalid = bed.file("old", b"the last good one");
    let damaged = bed.file("bad", &vec![0; 3 * CHUNK]);
    dds(&["--extract", "--cow", &damaged, "--source", &source, "--dest", &invalid], b"").refused("not an exception store");
    assert_eq!(bed.read("old"), b"the last good one");
    let small = bed.file("small", &bed::volume(63 * CHUNK, 1));
    dds(&["--extract", "--cow", &cow, "--source", &small, "--dest", &invalid], b"").refused("beyond a volume");
    assert_eq!(bed.read("old"), b"the last good one");
    assert!(!bed.path("old.part").exists());
    let link = bed.path("link").to_str().unwrap().to_owned();
    symlink(&invalid, &link).unwrap();
    dds(&["--extract", "--cow", &cow, "--source", &source, "--dest", &link], b"").good();
    assert!(bed.path("link").is_symlink() && bed.read("old") == dds(&["--extract", "--cow", &cow, "--source", &source], b"").good());
    dds(&["--extract", "--cow", &cow, "--source", &source, "--dest", "/dev/full"], b"").refused("No space left");
}

#[test]
fn a_receiver_that_ends_early() {
    let bed = Bed::new();
    let cow = bed.path("cow");
    let size = 4096 * CHUNK;
    let records: Vec<(u64, u64)> = (0..4096).map(|i| (i, usual(CHUNK)(i))).collect();
    let volume = bed::volume(size, 1);
    bed.file("cow", &bed::store(CHUNK, &records, &volume));
    let source = bed.file("source", &volume);
    let mut child = start(&["--extract", "--cow", cow.to_str().unwrap(), "--source", &source], Stdio::null());
    let out = child.stdout.replace(tempfile_as_stdout()); // the pipe's other end is closed
    drop(out);
    ended(child).refused("the receiver ended");
}

#[test]
fn a_snapshot_that_overflows_meanwhile_leaves_no_complete_stream() {
    let bed = Bed::new();
    let records: Vec<(u64, u64)> = (0..4096).map(|i| (i, usual(CHUNK)(i))).collect();
    let volume = bed::volume(4096 * CHUNK, 1);
    let mut store = bed::store(CHUNK, &records, &volume);
    let cow = bed.file("cow", &store);
    let source = bed.file("source", &volume);
    let mut child = start(&["--extract", "--cow", &cow, "--source", &source], Stdio::null());
    let mut stream = vec![0; 100];
    child.stdout.as_mut().unwrap().read_exact(&mut stream).unwrap(); // the rest fills pipe and buffers: it waits there
    store[4] = 0;
    std::fs::File::options().write(true).open(&cow).unwrap().write_all(&store[..CHUNK]).unwrap();
    let ran = ended(child);
    ran.refused("the snapshot is invalid");
    stream.extend(&ran.out);
    let dest = bed.file("dest", &volume);
    dds(&["--merge", "--dest", &dest], &stream).refused("cut short");
    assert!(stream.len() > 10 << 20 && stream.len() < 4096 * (1 + 17 + 4096));
}

/// Something to read nothing from.
fn tempfile_as_stdout() -> std::process::ChildStdout {
    let mut child = start(&["--version"], Stdio::null());
    let out = child.stdout.take().unwrap();
    child.wait().unwrap();
    out
}

#[test]
fn two_at_a_time_are_refused() {
    let bed = Bed::new();
    let (_, _, dest) = three(&bed);
    let other = std::fs::File::options().write(true).open(&dest).unwrap();
    other.lock().unwrap();
    dds(&["--merge", "--dest", &dest], b"").refused("another dds writes to it");
    drop(other);
    dds(&["--merge", "--dest", &dest], b"").refused("cut short");
}

#[test]
fn command_lines() {
    let usage = |args: &[&str], word: &str| {
        let ran = dds(args, b"");
        assert!(ran.code == 2 && ran.err.contains(word) && ran.err.lines().count() == 1, "{args:?}: {} {}", ran.code, ran.err);
    };
    usage(&[], "no verb");
    usage(&["-v"], "say what to do");
    usage(&["--extract", "--merge"], "two commands");
    usage(&["--extract", "--source", "x"], "--extract needs --cow");
    usage(&["--extract", "--cow", "x"], "--extract needs --source");
    usage(&["--merge"], "--merge needs --dest");
    usage(&["--merge", "--dest", "x", "--source", "y"], "--source is not an option of --merge");
    usage(&["--extract", "--cow", "x", "--source", "y", "--all"], "add --frame");
    usage(&["--extract", "--cow", "x", "--source", "y", "--bwlimit", "9"], "add --frame");
    usage(&["--nonsense"], "unexpected argument");
    usage(&["--merge", "--dest", "x", "--hold"], "--hold is for --spool");
    usage(&["--note", "s", "--source", "x", "--cow", "y", "--from", "z"], "takes one of --cow and --from");
    usage(&["--extract", "--frame", "--source", "x"], "needs --cow, --behind or --all");
    assert!(String::from_utf8(dds(&["--help"], b"").good()).unwrap().contains("--extract"));
    assert!(String::from_utf8(dds(&["--man"], b"").good()).unwrap().contains(".TH dds"));
    assert!(String::from_utf8(dds(&["--completion", "bash"], b"").good()).unwrap().contains("--expect-base"));
}
