//! Runs dds; makes stores; the naive model of a stream.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

pub const MAGIC: u32 = 0x7041_6e53;

/// What a run came to.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: Vec<u8>,
    pub err: String,
}

impl Ran {
    /// It succeeded and complained of nothing.
    #[track_caller]
    pub fn good(self) -> Vec<u8> {
        assert_eq!((self.code, self.err.as_str()), (0, ""));
        self.out
    }

    /// It failed in a clean way, with `word` in its message.
    #[track_caller]
    pub fn refused(&self, word: &str) {
        assert_eq!(self.code, 1, "{}", self.err);
        assert!(self.err.starts_with("dds: ") && self.err.contains(word), "{}", self.err);
        assert!(!self.err.contains("panicked") && self.err.lines().count() == 1, "{}", self.err);
    }
}

/// Starts dds with all of its streams piped.
#[allow(clippy::disallowed_methods)] // the program itself
pub fn start(args: &[&str], stdin: Stdio) -> Child {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_dds"));
    command.args(args).stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Runs it to its end, at most a minute, with `input` on stdin through a pipe.
pub fn dds(args: &[&str], input: &[u8]) -> Ran {
    let mut child = start(args, Stdio::piped());
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || _ = stdin.write_all(input)); // it may refuse before it has read all
        ended(child)
    })
}

/// Runs it with a file as stdin.
pub fn dds_from(args: &[&str], input: &Path) -> Ran {
    ended(start(args, fs::File::open(input).unwrap().into()))
}

pub fn ended(mut child: Child) -> Ran {
    let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let out = std::thread::spawn(move || read_all(&mut stdout));
    let err = std::thread::spawn(move || read_all(&mut stderr));
    let limit = Instant::now() + Duration::from_secs(60);
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > limit {
            child.kill().unwrap();
            panic!("dds did not end within a minute");
        }
        std::thread::sleep(Duration::from_micros(500));
    };
    let err = String::from_utf8(err.join().unwrap()).unwrap();
    Ran { code: status.code().unwrap_or(-1), out: out.join().unwrap(), err }
}

fn read_all(from: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).unwrap();
    bytes
}

/// A folder with files in it.
pub struct Bed {
    folder: tempfile::TempDir,
}

impl Bed {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// In memory: where nothing waits for a disk to flush.
    pub fn in_memory() -> Self {
        Self { folder: tempfile::tempdir_in("/dev/shm").unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The path of a file with this content.
    pub fn file(&self, name: &str, content: &[u8]) -> String {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }
}

/// A volume of `size` bytes, no two chunks alike.
pub fn volume(size: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        bytes.extend(next());
    }
    bytes.truncate(size);
    bytes
}

pub fn header(chunk: usize) -> Vec<u8> {
    header_of(MAGIC, 1, 1, u32::try_from(chunk / 512).unwrap(), chunk)
}

pub fn header_of(magic: u32, valid: u32, version: u32, sectors: u32, chunk: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = [magic, valid, version, sectors].iter().flat_map(|w| w.to_le_bytes()).collect();
    bytes.resize(chunk, 0);
    bytes
}

/// The chunk of the volume, zeroes after its end.
pub fn chunk_of(volume: &[u8], chunk: usize, old: u64) -> Vec<u8> {
    let from = usize::try_from(old).unwrap() * chunk;
    let mut bytes = volume[from..(from + chunk).min(volume.len())].to_vec();
    bytes.resize(chunk, 0);
    bytes
}

/// The position in the store of the `i`-th record, as kernels since 2014 give it.
pub fn usual(chunk: usize) -> impl Fn(u64) -> u64 {
    let per_area = (chunk / 16) as u64;
    move |i| 2 + i + i / per_area
}

/// A store: record `i` is `(old, new)`, its data chunk is that of `before`.
pub fn store(chunk: usize, records: &[(u64, u64)], before: &[u8]) -> Vec<u8> {
    let per_area = chunk / 16;
    let areas = records.len() / per_area + 1;
    let last_area = (1 + (areas - 1) * (per_area + 1)) as u64;
    let end = records.iter().map(|r| r.1).max().unwrap_or(0).max(last_area) + 1;
    let mut bytes = vec![0xEE; usize::try_from(end).unwrap() * chunk]; // what is not written is garbage
    bytes[..chunk].copy_from_slice(&header(chunk));
    for area in 0..areas {
        let at = (1 + area * (per_area + 1)) * chunk;
        bytes[at..at + chunk].fill(0);
        for (i, (old, new)) in records.iter().skip(area * per_area).take(per_area).enumerate() {
            bytes[at + i * 16..at + i * 16 + 8].copy_from_slice(&old.to_le_bytes());
            bytes[at + i * 16 + 8..at + i * 16 + 16].copy_from_slice(&new.to_le_bytes());
        }
    }
    for (old, new) in records {
        let at = usize::try_from(*new).unwrap() * chunk;
        bytes[at..at + chunk].copy_from_slice(&chunk_of(before, chunk, *old));
    }
    bytes
}

/// The stream of 2010, the obvious way.
pub fn stream(chunk: usize, olds: &[u64], after: &[u8]) -> Vec<u8> {
    let per_area = chunk / 16;
    let mut bytes = header(chunk);
    for area in 0..=olds.len() / per_area {
        let part = &olds[area * per_area..olds.len().min((area + 1) * per_area)];
        let from = bytes.len();
        for (i, old) in part.iter().enumerate() {
            bytes.extend(old.to_le_bytes());
            bytes.extend(((2 + area * (per_area + 1) + i) as u64).to_le_bytes());
        }
        bytes.resize(from + chunk, 0);
        part.iter().for_each(|old| bytes.extend(chunk_of(after, chunk, *old)));
    }
    bytes
}
