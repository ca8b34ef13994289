//! Stores and volumes that a kernel wrote (Debian 12, LVM 2.03.16), with what must come of them.

use super::bed::{Bed, dds, dds_from};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dds/vectors")
}

/// Each vector by its name, with its three images.
pub fn each(what: &str, mut test: impl FnMut(&str, &Value, &Images)) {
    let manifest: Value = serde_json::from_str(&fs::read_to_string(folder().join("manifest.json")).unwrap()).unwrap();
    let mut seen = 0;
    for (name, vector) in manifest["vectors"].as_object().unwrap().iter().filter(|(_, v)| v["expect"] == what) {
        if !folder().join(name).exists() {
            continue; // named in the manifest, not taken along
        }
        test(name, vector, &Images::of(name));
        seen += 1;
    }
    assert!(seen >= if what == "ok" { 18 } else { 1 }, "only {seen} vectors of {what}");
}

pub struct Images {
    pub bed: Bed,
    pub before: Vec<u8>,
    pub after: Vec<u8>,
}

impl Images {
    fn of(name: &str) -> Self {
        let image = |part: &str| zstd::decode_all(fs::File::open(folder().join(name).join(format!("{part}.img.zst"))).unwrap()).unwrap();
        let bed = Bed::in_memory();
        bed.file("cow", &image("cow"));
        let (before, after) = (image("before"), image("after"));
        bed.file("after", &after);
        Self { bed, before, after }
    }

    pub fn path(&self, name: &str) -> String {
        self.bed.path(name).to_str().unwrap().to_owned()
    }

    /// A destination as it was before.
    pub fn dest(&self) -> String {
        self.bed.file("dest", &self.before)
    }
}

pub fn sha(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// The block of 2010 from the manifest's numbers.
fn report(vector: &Value) -> String {
    let r = &vector["report"];
    format!(
        "Snapshot header:\n  magic             0x70416e53\n  version           1\n  valid             yes\n  chunk_size        {} KB\nReport:\n  \
         Exception chunks  {}\n  Exceptions        {}\n  Output size meta  {} KB\n  Output size data  {} KB\n  Output size total {} KB\n",
        vector["chunk_bytes"].as_u64().unwrap() / 1024,
        r["exception_chunks"],
        r["exceptions"],
        r["meta_kb"],
        r["data_kb"],
        r["total_kb"]
    )
}

#[test]
fn every_vector_by_pipes() {
    each("ok", |name, vector, images| {
        let (cow, after) = (images.path("cow"), images.path("after"));
        let extracted = dds(&["--extract", "--cow", &cow, "--source", &after, "-v"], b"");
        assert_eq!((extracted.code, extracted.err.as_str()), (0, report(vector).as_str()), "{name}");
        assert_eq!(sha(&extracted.out), vector["stream_sha256"], "{name}");
        assert_eq!(extracted.out.len() as u64, vector["stream_bytes"], "{name}");

        let said = dds(&["--merge", "--dest", &images.dest(), "-v"], &extracted.out).good();
        assert_eq!(String::from_utf8(said).unwrap(), report(vector), "{name}");
        assert_eq!(sha(&images.bed.read("dest")), vector["merged_sha256"], "{name}");
    });
}

#[test]
fn every_vector_by_files() {
    each("ok", |name, vector, images| {
        let (cow, after, file) = (images.path("cow"), images.path("after"), images.path("stream"));
        let said = dds(&["--extract", "--cow", &cow, "--source", &after, "--dest", &file, "-v"], b"").good();
        assert_eq!(String::from_utf8(said).unwrap(), report(vector), "{name}");
        assert_eq!(sha(&images.bed.read("stream")), vector["stream_sha256"], "{name}");
        assert!(!images.bed.path("stream.part").exists());

        let merged = dds(&["--merge", "--cow", &file, "--dest", &images.dest(), "--progress"], b"");
        assert!(merged.code == 0 && merged.out.is_empty() && merged.err.ends_with(" MiB/s\n"), "{name}: {}", merged.err);
        assert_eq!(sha(&images.bed.read("dest")), vector["merged_sha256"], "{name}: --cow");
        dds_from(&["--merge", "--dest", &images.dest()], Path::new(&file)).good();
        assert_eq!(sha(&images.bed.read("dest")), vector["merged_sha256"], "{name}: < file");
    });
}

#[test]
fn a_store_itself_rolls_back() {
    each("ok", |name, vector, images| {
        if vector["cow_data_equal_before"] != vector["exceptions"] {
            return; // the snapshot was written to: its store is not what was before
        }
        let dest = images.bed.file("dest", &images.after);
        dds(&["--merge", "--cow", &images.path("cow"), "--dest", &dest], b"").good();
        assert_eq!(sha(&images.bed.read("dest")), vector["sha256"]["before"], "{name}");
        // a kernel's store in a pipe is read by its order, which is that of its data
        images.bed.file("dest", &images.after);
        dds(&["--merge", "--dest", &dest], &images.bed.read("cow")).good();
        assert_eq!(sha(&images.bed.read("dest")), vector["sha256"]["before"], "{name}: piped");
    });
}

#[test]
fn a_store_that_overflowed_is_refused() {
    each("refuse", |name, _, images| {
        let (cow, after, dest) = (images.path("cow"), images.path("after"), images.dest());
        let extracted = dds(&["--extract", "--cow", &cow, "--source", &after], b"");
        extracted.refused("the snapshot is invalid");
        assert!(extracted.out.is_empty(), "{name}");
        dds(&["--merge", "--cow", &cow, "--dest", &dest], b"").refused("invalid");
        dds(&["--merge", "--dest", &dest], &images.bed.read("cow")).refused("invalid");
        assert_eq!(images.bed.read("dest"), images.before, "{name}");
    });
}

#[test]
fn a_dry_run_counts_and_json_has_the_same_numbers() {
    each("ok", |name, vector, images| {
        let (cow, after) = (images.path("cow"), images.path("after"));
        let base = ["--extract", "--cow", &cow, "--source", &after, "--dry-run"];
        assert_eq!(String::from_utf8(dds(&base, b"").good()).unwrap(), report(vector), "{name}");
        let json: Value = serde_json::from_slice(&dds(&[&base[..], &["--json"]].concat(), b"").good()).unwrap();
        assert_eq!(json["exceptions"], vector["exceptions"], "{name}");
        assert_eq!(json["chunk_size"], vector["chunk_bytes"], "{name}");
        assert_eq!(json["bytes_total"], vector["stream_bytes"], "{name}");
    });
}
