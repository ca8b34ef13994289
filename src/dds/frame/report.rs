//! What a framed stream is, in words and as JSON: after sending, after receiving, and when it is only looked at.

use super::Header;
use super::group::Totals;
use crate::dds::report;
use serde_json::{Map, Value};

/// Text as `-v` gives it. Without totals: the most that there may be.
pub fn text(header: &Header, totals: Option<Totals>) -> String {
    let mut out = String::from("Stream header:\n");
    let mut line = |label: &str, value: &str| {
        if !value.is_empty() {
            out.push_str(&format!("  {label:<18}{value}\n"));
        }
    };
    line("format", "framed");
    line("version", &super::VERSION.to_string());
    line("chunk_size", &report::kb(u64::from(header.chunk)));
    line("source size", &kb(header.source_size));
    line("whole", if header.whole { "yes" } else { "no" });
    line("base", &header.base);
    line("image", &header.image);
    line("frozen at", &header.frozen_at);
    line("note", &header.note);
    out.push_str("Report:\n");
    let mut line = |label: &str, value: String| out.push_str(&format!("  {label:<18}{value}\n"));
    line("Exceptions", header.chunks.to_string());
    let Some(totals) = totals else {
        line("Output size data", format!("at most {}", kb(data(header))));
        line("Output size total", format!("at most {}", kb(header.bound)));
        return out;
    };
    line("Zero chunks", totals.zero.to_string());
    line("Groups", totals.groups.to_string());
    line("Output size data", kb(totals.data));
    line("Output size total", kb(totals.stream));
    out
}

/// The same as JSON; sizes in bytes. Without totals there are the header's numbers only.
pub fn json(header: &Header, totals: Option<Totals>) -> Map<String, Value> {
    let mut out = Map::new();
    out.insert("format".into(), "framed".into());
    out.insert("version".into(), super::VERSION.into());
    out.insert("chunk_size".into(), header.chunk.into());
    out.insert("source_size".into(), header.source_size.into());
    out.insert("whole".into(), header.whole.into());
    out.insert("compressed".into(), header.compressed.into());
    for (key, text) in [("base", &header.base), ("image", &header.image), ("frozen_at", &header.frozen_at), ("note", &header.note)] {
        out.insert(key.into(), if text.is_empty() { Value::Null } else { text.as_str().into() });
    }
    out.insert("chunks".into(), header.chunks.into());
    out.insert("bytes".into(), data(header).into());
    out.insert("bytes_bound".into(), header.bound.into());
    if let Some(totals) = totals {
        let numbers =
            [("zero_chunks", totals.zero), ("groups", totals.groups.into()), ("bytes_data", totals.data), ("bytes_total", totals.stream)];
        out.extend(numbers.map(|(key, n)| (key.to_owned(), n.into())));
    }
    out
}

/// Bytes of the volume that the stream replaces.
fn data(header: &Header) -> u64 {
    header.chunks.saturating_mul(u64::from(header.chunk)).min(header.source_size)
}

fn kb(bytes: u64) -> String {
    format!("{} KB", bytes.div_ceil(1024))
}
