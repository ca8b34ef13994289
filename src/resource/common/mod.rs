//! What several drivers share.

pub mod docker_range;
pub mod dockerd;
pub mod umount;

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// The last lines of `file` behind byte `from`: what a program has written this time.
pub fn last_lines(file: &Path, from: u64) -> Option<String> {
    const LINES: usize = 5;
    const BYTES: u64 = 4096;
    let mut file = std::fs::File::open(file).ok()?;
    let end = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(from.max(end.saturating_sub(BYTES)))).ok()?;
    let mut bytes = Vec::new();
    file.take(BYTES).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    let last = lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default();
    (!last.is_empty()).then(|| last.join("\n"))
}
