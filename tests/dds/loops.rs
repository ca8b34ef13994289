//! Block devices: loops over files, for which one must be root.

use super::bed::{self, Bed, dds, usual};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, Stdio};

/// A loop device over a file; detached at the end.
struct Loop(String);

impl Loop {
    /// `None`, loudly, where there are none.
    fn new(file: &str, sector: usize) -> Option<Self> {
        let made = run("losetup", &["--find", "--show", "--sector-size", &sector.to_string(), file]);
        match made {
            Some(name) => Some(Self(name.trim().to_owned())),
            None => {
                eprintln!("SKIPPED: no loop devices here (root is needed), block devices are not tested");
                None
            }
        }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        _ = run("losetup", &["--detach", &self.0]);
    }
}

/// What it prints, if it succeeds.
#[allow(clippy::disallowed_methods)] // a test
fn run(program: &str, args: &[&str]) -> Option<String> {
    let done = Command::new(program).args(args).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    done.status.success().then(|| String::from_utf8_lossy(&done.stdout).into_owned())
}

#[test]
fn what_the_page_cache_remembers_of_a_store_is_not_believed() {
    let bed = Bed::new();
    let usual = usual(4096);
    let (before, after) = (bed::volume(64 * 4096, 1), bed::volume(64 * 4096, 2));
    let records: Vec<(u64, u64)> = (0..10).map(|i| (i * 6, usual(i))).collect();
    let full = bed::store(4096, &records, &before);
    let mut earlier = full.clone();
    earlier[4096 + 5 * 16..8192].fill(0); // five records
    let backing = bed.file("cow", &earlier);
    let source = bed.file("source", &after);
    let Some(cow) = Loop::new(&backing, 512) else { return };
    // somebody has read the device and has it open, as the kernel has the store of a snapshot
    let mut held = File::open(&cow.0).unwrap();
    let mut seen = Vec::new();
    held.read_to_end(&mut seen).unwrap();
    assert!(seen == earlier);
    // the store grows below the cache
    let mut below = File::options().write(true).open(&backing).unwrap();
    below.write_all(&full).unwrap();
    below.sync_all().unwrap();
    (_, seen) = (held.rewind(), vec![0; 8192]);
    held.read_exact(&mut seen).unwrap();
    assert!(seen == earlier[..8192], "the cache is fresh here: this test would show nothing");
    let olds: Vec<u64> = records.iter().map(|r| r.0).collect();
    assert!(dds(&["--extract", "--cow", &cow.0, "--source", &source], b"").good() == bed::stream(4096, &olds, &after));
    // rolling back takes its data from the store too
    let dest = bed.file("dest", &after);
    dds(&["--merge", "--cow", &cow.0, "--dest", &dest], b"").good();
    assert!(olds.iter().all(|old| bed::chunk_of(&bed.read("dest"), 4096, *old) == bed::chunk_of(&before, 4096, *old)));
}

#[test]
fn devices_of_any_sector_size() {
    for (sector, chunk, size) in [
        (512, 512, 40 * 512),
        (512, 4096, 70 * 4096 + 1536),
        (4096, 4096, 70 * 4096),
        (512, 65536, 3 * 65536 + 512),
        (4096, 65536, 3 * 65536 + 4096),
    ] {
        let bed = Bed::new();
        let (before, other) = (bed::volume(size, 1), bed::volume(size, 2));
        let usual = usual(chunk);
        let chunks = size.div_ceil(chunk) as u64;
        let olds: Vec<u64> = (0..chunks).rev().filter(|c| c % 3 != 1).collect();
        let records: Vec<(u64, u64)> = olds.iter().zip(0..).map(|(old, i)| (*old, usual(i))).collect();
        let mut after = before.clone();
        for old in &olds {
            let from = usize::try_from(*old).unwrap() * chunk;
            let to = (from + chunk).min(size);
            after[from..to].copy_from_slice(&other[from..to]);
        }
        let mut store = bed::store(chunk, &records, &before);
        store.resize(store.len().next_multiple_of(4096) + 3 * 4096, 0xEE);
        let files = [bed.file("cow", &store), bed.file("source", &after), bed.file("dest", &before)];
        let loops: Vec<Loop> = files.iter().filter_map(|f| Loop::new(f, sector)).collect();
        let [cow, source, dest] = &loops[..] else { return };
        let stream = dds(&["--extract", "--cow", &cow.0, "--source", &source.0], b"").good();
        assert!(stream == bed::stream(chunk, &olds, &after), "{sector} {chunk}");
        dds(&["--merge", "--dest", &dest.0], &stream).good();
        assert!(bed.read("dest") == after, "{sector} {chunk}");
        dds(&["--merge", "--cow", &cow.0, "--dest", &dest.0], b"").good();
        assert!(bed.read("dest") == before, "{sector} {chunk}");
    }
}

#[test]
fn a_device_in_use_or_too_small_is_not_written() {
    let bed = Bed::new();
    let volume = bed::volume(8 << 20, 1);
    let file = bed.file("dest", &volume);
    let stream = bed::stream(4096, &[1, 2, 3], &bed::volume(8 << 20, 2));
    let beyond = bed::stream(4096, &[1, 2048], &bed::volume(16 << 20, 2));
    let Some(dest) = Loop::new(&file, 512) else { return };
    let merge = ["--merge", "--dest", &dest.0];

    dds(&merge, &beyond).refused("Nothing was written");
    dds(&["--merge", "--dest", &file], &stream).refused(&format!("in use: {} is this file", dest.0));
    dds(&["--extract", "--cow", "/nowhere", "--source", &file, "--dest", &dest.0], b"").refused("No such file");
    let cow = bed.file("cow", &bed::store(4096, &[(1, 2)], &volume));
    dds(&["--extract", "--cow", &cow, "--source", &file, "--dest", &dest.0], b"").refused("a block device");

    let other = File::options().write(true).custom_flags(nix::libc::O_EXCL).open(&dest.0).unwrap();
    dds(&merge, &stream).refused("in use: mounted, or held");
    drop(other);
    assert!(bed.read("dest") == volume);

    if run("mkfs.ext4", &["-q", "-F", &dest.0]).is_none() {
        return eprintln!("SKIPPED: no mkfs.ext4");
    }
    let made = bed.read("dest");
    let script = "mount -o ro,noload \"$1\" /mnt && exec \"$0\" --merge --dest \"$1\" </dev/null 2>&1 | grep -c 'in use: mounted'";
    let said = run("unshare", &["--mount", "--propagation", "private", "sh", "-c", script, env!("CARGO_BIN_EXE_dds"), &dest.0]);
    assert_eq!(said.as_deref(), Some("1\n"));
    assert!(bed.read("dest") == made);
    dds(&merge, &stream).good();
    assert!(bed.read("dest")[4096..4 * 4096] == bed::volume(8 << 20, 2)[4096..4 * 4096]);
}
