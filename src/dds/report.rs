//! What is said after the work: the block of 2010, or JSON.

use super::store::{Header, MAGIC, RECORD};
use serde_json::{Map, Value};

/// Counts of a stream or of a store. They are those of the canonical stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Bytes of a chunk.
    pub chunk: u64,
    /// Changed chunks.
    pub exceptions: u64,
    /// Records of a store whose data cannot be where they say: a table that may be damaged.
    pub odd: u64,
}

impl Report {
    /// Of a header, and no exceptions yet.
    pub fn of(header: Header) -> Self {
        Self { chunk: header.chunk, exceptions: 0, odd: 0 }
    }

    /// Areas of the stream: the last is never full, so that a reader knows that it is the last.
    pub fn areas(&self) -> u64 {
        self.exceptions / (self.chunk / RECORD as u64).max(1) + 1
    }

    /// Bytes of header and areas.
    pub fn meta(&self) -> u64 {
        self.areas().saturating_add(1).saturating_mul(self.chunk)
    }

    /// Bytes of data chunks.
    pub fn data(&self) -> u64 {
        self.exceptions.saturating_mul(self.chunk)
    }

    /// Bytes of the stream.
    pub fn total(&self) -> u64 {
        self.meta().saturating_add(self.data())
    }

    /// The block of 2010.
    pub fn text(&self) -> String {
        let mut text = String::from("Snapshot header:\n");
        let mut line = |label: &str, value: String| text.push_str(&format!("  {label:<18}{value}\n"));
        line("magic", format!("{MAGIC:#010x}"));
        line("version", "1".into());
        line("valid", "yes".into());
        line("chunk_size", kb(self.chunk));
        text.push_str("Report:\n");
        let mut line = |label: &str, value: String| text.push_str(&format!("  {label:<18}{value}\n"));
        line("Exception chunks", self.areas().to_string());
        line("Exceptions", self.exceptions.to_string());
        line("Output size meta", kb(self.meta()));
        line("Output size data", kb(self.data()));
        line("Output size total", kb(self.total()));
        text
    }

    /// The same as JSON, sizes in bytes.
    pub fn json(&self, format: &str) -> Map<String, Value> {
        let numbers = [
            ("chunk_size", self.chunk),
            ("exception_chunks", self.areas()),
            ("exceptions", self.exceptions),
            ("bytes_meta", self.meta()),
            ("bytes_data", self.data()),
            ("bytes_total", self.total()),
        ];
        let numbers = numbers.map(|(key, n)| (key.to_owned(), Value::from(n)));
        let odd = (self.odd > 0).then(|| ("odd_records".to_owned(), Value::from(self.odd)));
        std::iter::once(("format".to_owned(), Value::from(format))).chain(numbers).chain(odd).collect()
    }
}

/// KB of 1024 bytes; chunks of 512 bytes make halves.
pub fn kb(bytes: u64) -> String {
    let half = if bytes % 1024 == 512 { ".5" } else { "" };
    format!("{}{half} KB", bytes / 1024)
}

/// The lines that were asked for: `--json`, `-v`, or none.
pub fn asked(json: bool, verbose: bool, text: impl FnOnce() -> String, map: impl FnOnce() -> Map<String, Value>) -> String {
    match (json, verbose) {
        (true, _) => format!("{}\n", Value::Object(map())),
        (false, true) => text(),
        (false, false) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(chunk: u64, exceptions: u64) -> Report {
        Report { chunk, exceptions, odd: 0 }
    }

    #[test]
    fn the_block_of_2010() {
        let text = report(4096, 2728).text();
        let expected = "Snapshot header:\n  magic             0x70416e53\n  version           1\n  valid             yes\n  chunk_size        4 KB\n\
                        Report:\n  Exception chunks  11\n  Exceptions        2728\n  Output size meta  48 KB\n  Output size data  10912 KB\n  \
                        Output size total 10960 KB\n";
        assert_eq!(text, expected);
        let sizes = |n: u64| (report(4096, n).areas(), report(4096, n).total() / 1024);
        assert_eq!([0, 20, 255, 256, 257].map(sizes), [(1, 8), (1, 88), (1, 1028), (2, 1036), (2, 1040)]);
        assert!(report(512, 2).text().contains("chunk_size        0.5 KB"));
    }
}
