//! The framed stream by the program: every vector in every way, and what happens when it is not whole.

use super::bed::{Bed, dds, dds_from, store, usual, volume};
use super::vectors::{each, sha};
use serde_json::Value;
use std::fs;
use std::path::Path;

const IDS: [&str; 8] = ["--base", "old image", "--image", "new image", "--frozen-at", "2026-11-21T12:00:00Z", "--note", "é"];

/// The options of a framed extract.
pub fn extract<'a>(cow: &'a str, source: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["--extract", "--frame", "--source", source, "--cow", cow], more].concat()
}

pub fn json(text: &[u8]) -> Value {
    serde_json::from_slice(text).unwrap()
}

#[test]
fn every_vector_in_every_way() {
    each("ok", |name, vector, images| {
        let (cow, after, file, spool) = (images.path("cow"), images.path("after"), images.path("framed"), images.path("spool"));
        fs::create_dir(&spool).unwrap();
        for options in [&[][..], &["--compress"], &["--compress=19"], &["--all"], &IDS, &["--bwlimit", "1000000", "--progress"]] {
            let stream = dds(&extract(&cow, &after, options), b"").out;
            for way in [&[][..], &["--create"], &["--expect-base", "old image"], &["--spool", &spool]] {
                if way.contains(&"--expect-base") && options != IDS {
                    continue;
                }
                let dest = images.dest();
                dds(&[&["--merge", "--dest", &dest][..], way].concat(), &stream).good();
                assert_eq!(sha(&images.bed.read("dest")), vector["merged_sha256"], "{name} {options:?} {way:?}");
            }
            assert_eq!(fs::read_dir(&spool).unwrap().count(), 0);
        }
        dds(&extract(&cow, &after, &["--dest", &file]), b"").good();
        assert_eq!(images.bed.read("framed"), dds(&extract(&cow, &after, &[]), b"").good());
        let dest = images.dest();
        dds_from(&["--merge", "--dest", &dest], Path::new(&file)).good();
        assert_eq!(sha(&images.bed.read("dest")), vector["merged_sha256"], "{name}: < file");
        let dest = images.dest();
        dds(&["--merge", "--dest", &dest, "--cow", &file], b"").good();
        assert_eq!(sha(&images.bed.read("dest")), vector["merged_sha256"], "{name}: --cow file");
    });
}

#[test]
fn every_vector_that_is_invalid() {
    each("refuse", |name, _, images| {
        let (cow, after) = (images.path("cow"), images.path("after"));
        let ran = dds(&extract(&cow, &after, &[]), b"");
        ran.refused("the snapshot is invalid");
        assert!(ran.out.is_empty(), "{name}");
    });
}

#[test]
fn reports() {
    each("ok", |name, vector, images| {
        let (cow, after) = (images.path("cow"), images.path("after"));
        let would = json(&dds(&extract(&cow, &after, &["--dry-run", "--json"]), b"").good());
        let sent = dds(&[extract(&cow, &after, &["--json"]), IDS.to_vec()].concat(), b"");
        let (stream, sent) = (sent.out, json(sent.err.as_bytes()));
        let got = json(&dds(&["--merge", "--dest", &images.dest(), "--json"], &stream).good());
        for told in [&would, &sent, &got] {
            assert_eq!(told["chunks"], vector["exceptions"], "{name}");
        }
        assert_eq!((sent["bytes_total"].as_u64().unwrap(), &got["bytes_total"]), (stream.len() as u64, &sent["bytes_total"]));
        assert!(would["bytes_bound"].as_u64() >= sent["bytes_total"].as_u64().map(|n| n - 50), "{name}: {would} {sent}");
        assert_eq!((&got["state"], &got["base"], &got["image"]), (&"applied".into(), &"old image".into(), &"new image".into()));
        assert_eq!((&got["frozen_at"], &got["note"]), (&"2026-11-21T12:00:00Z".into(), &"é".into()));
        let data = vector["exceptions"].as_u64().unwrap() * vector["chunk_bytes"].as_u64().unwrap();
        assert!(stream.len() as f64 <= data as f64 * 1.005 + 600.0, "{name}: {} for {data}", stream.len());
    });
}

/// A small volume before and after, and the framed stream between them.
pub struct Small {
    pub bed: Bed,
    pub before: Vec<u8>,
    pub after: Vec<u8>,
    pub stream: Vec<u8>,
}

impl Small {
    /// Chunks of 512 bytes, one of them zero now, the last one not whole.
    pub fn new(options: &[&str]) -> Self {
        let (bed, before, mut after) = (Bed::in_memory(), volume(5000, 1), volume(5000, 2));
        after[1024..1536].fill(0);
        after[512..1024].fill(7); // as something that compresses
        let olds = [9, 1, 2, 4];
        for old in (0..10).filter(|old| !olds.contains(old)) {
            let chunk = old * 512..5000.min(old * 512 + 512);
            after[chunk.clone()].copy_from_slice(&before[chunk]);
        }
        let records: Vec<(u64, u64)> = olds.iter().zip(0..).map(|(old, i)| (*old as u64, usual(512)(i))).collect();
        let (cow, source) = (bed.file("cow", &store(512, &records, &before)), bed.file("after", &after));
        let stream = dds(&extract(&cow, &source, options), b"").good();
        Self { bed, before, after, stream }
    }

    pub fn dest(&self) -> String {
        self.bed.file("dest", &self.before)
    }

    /// Every byte is old or new.
    #[track_caller]
    fn not_wrong(&self) {
        let found = self.bed.read("dest");
        assert_eq!(found.len(), self.before.len());
        assert!((0..found.len()).all(|i| found[i] == self.before[i] || found[i] == self.after[i]));
    }
}

#[test]
fn cut_at_every_byte() {
    let small = Small::new(&["--compress"]);
    for length in 0..small.stream.len() {
        let dest = small.dest();
        let ran = dds(&["--merge", "--dest", &dest], &small.stream[..length]);
        assert_eq!(ran.code, 1, "{length}");
        assert!(!ran.err.contains("panicked"), "{}", ran.err);
        let found = small.bed.read("dest");
        let said =
            if found == small.before { ran.err.contains("Nothing was written") || length < 700 } else { ran.err.contains("is torn") };
        assert!(said || ran.err.contains("is torn"), "{length}: {}", ran.err);
        small.not_wrong();
    }
    let dest = small.dest();
    dds(&["--merge", "--dest", &dest], &small.stream).good();
    assert_eq!(small.bed.read("dest"), small.after);
}

#[test]
fn a_stream_that_goes_on_is_not_believed() {
    let small = Small::new(&[]);
    let dest = small.dest();
    dds(&["--merge", "--dest", &dest], &[&small.stream[..], b"x"].concat()).refused("goes on after its end");
}

#[test]
fn another_base_a_small_destination_and_no_destination_are_refused() {
    let small = Small::new(&["--base", "A"]);
    let dest = small.dest();
    dds(&["--merge", "--dest", &dest, "--expect-base", "B"], &small.stream).refused("changes the image \"A\", and here is \"B\"");
    dds(&["--merge", "--dest", &dest, "--expect-base", ""], &small.stream).refused("changes the image \"A\"");
    assert_eq!(small.bed.read("dest"), small.before);
    let short = small.bed.file("short", &small.before[..4999]);
    dds(&["--merge", "--dest", &short], &small.stream).refused("4999 bytes, the source has 5000. Nothing was written");
    assert_eq!(small.bed.read("short"), small.before[..4999]);
    let none = small.bed.path("none");
    dds(&["--merge", "--dest", none.to_str().unwrap()], &small.stream).refused("does not exist");
    assert!(!none.exists());
}

#[test]
fn options_for_framed_streams_refuse_another() {
    let (bed, before) = (Bed::new(), volume(8192, 1));
    let stream = super::bed::stream(512, &[1], &volume(8192, 2));
    let (dest, spool) = (bed.file("dest", &before), bed.file("spool", b""));
    for option in [&["--create"][..], &["--expect-base", "A"], &["--spool", &spool]] {
        dds(&[&["--merge", "--dest", &dest][..], option].concat(), &stream).refused(&format!("not a framed one, and {}", option[0]));
    }
    assert_eq!(bed.read("dest"), before);
}

#[test]
fn a_first_copy_makes_or_extends_a_file_and_leaves_holes_in_it() {
    let bed = Bed::new();
    let mut content = volume(70_000, 3);
    content.extend(vec![0; 3 << 20]);
    content.extend(volume(123, 4));
    let source = bed.file("source", &content);
    let sent = dds(&["--extract", "--frame", "--all", "--source", &source, "--json"], b"");
    assert_eq!((json(sent.err.as_bytes())["zero_chunks"].as_u64(), sent.out.len() < 300_000), (Some(47), true), "{}", sent.err);
    for before in [None, Some(vec![1; 100]), Some(vec![1; content.len() + 9])] {
        let dest = bed.path("made");
        _ = fs::remove_file(&dest);
        if let Some(before) = &before {
            fs::write(&dest, before).unwrap();
        }
        dds(&["--merge", "--create", "--dest", dest.to_str().unwrap()], &sent.out).good();
        let found = fs::read(&dest).unwrap();
        assert!(found[..content.len()] == content, "{:?}", before.map(|b| b.len()));
        assert_eq!(found.len(), content.len().max(before.map_or(0, |b| b.len())));
        assert!(std::os::unix::fs::MetadataExt::blocks(&fs::metadata(&dest).unwrap()) < 1000);
    }
}

#[test]
fn behind_sets_join_the_table() {
    let (bed, before, after) = (Bed::new(), volume(1 << 20, 1), volume(1 << 20, 2));
    let (source, one, two) = (bed.file("after", &after), bed.path("one"), bed.path("two"));
    let (one, two) = (one.to_str().unwrap(), two.to_str().unwrap());
    let cow = |chunk: usize, olds: &[u64]| {
        let records: Vec<_> = olds.iter().zip(0..).map(|(old, i)| (*old, usual(chunk)(i))).collect();
        bed.file("cow", &store(chunk, &records, &before))
    };
    let said = json(&dds(&["--note", one, "--cow", &cow(65536, &[1, 15]), "--source", &source, "--json"], b"").good());
    assert_eq!((said["chunks"].as_u64(), said["chunk_size"].as_u64()), (Some(2), Some(65536)));
    dds(&["--note", one, "--cow", &cow(4096, &[0, 255]), "--source", &source], b"").good();
    dds(&["--note", two, "--from", one, "--source", &source], b"").good();
    let cow = cow(512, &[300, 2047]);
    let ran = dds(&extract(&cow, &source, &["--behind", one, "--behind", two, "--json"]), b"");
    let sent = json(ran.err.as_bytes());
    assert_eq!((sent["chunk_size"].as_u64(), sent["chunks"].as_u64()), (Some(512), Some(3 * 128 + 1)), "{sent}");
    let dest = bed.file("dest", &before);
    dds(&["--merge", "--dest", &dest], &ran.out).good();
    let mut expected = before.clone();
    for range in [0..131_072, 300 * 512..301 * 512, 15 * 65536..1 << 20] {
        expected[range.clone()].copy_from_slice(&after[range]);
    }
    assert!(bed.read("dest") == expected);
    fs::write(two, &fs::read(two).unwrap()[..5000]).unwrap();
    dds(&extract(&cow, &source, &["--behind", two]), b"").refused("damaged");
    dds(&extract(&cow, &source, &["--behind", "/nowhere"]), b"").refused("No such file");
    dds(&["--note", two, "--from", one, "--source", &source], b"").refused("dds --hash there, dds --diff");
}
