//! Hashes of blocks: two volumes compared, mended by what differs, and the hash of both ends.

use super::bed::{Bed, dds, ended, start, volume};
use super::framed::json;
use proptest::prelude::*;
use serde_json::Value;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::process::Stdio;

fn hash(source: &str, more: &[&str]) -> Vec<u8> {
    dds(&[&["--hash", "--source", source][..], more].concat(), b"").good()
}

fn diff(source: &str, hashes: &[u8], more: &[&str]) -> Value {
    json(&dds(&[&["--diff", "--source", source, "--hashes", "-", "--json"][..], more].concat(), hashes).good())
}

#[test]
fn ten_blocks_of_a_gib_are_found_and_mended() {
    let bed = Bed::in_memory();
    let (here, there, set) = (bed.path("here"), bed.path("there"), bed.path("set"));
    for path in [&here, &there] {
        let file = File::create(path).unwrap();
        file.set_len(1 << 30).unwrap();
        file.write_all_at(&volume(300_000, 7), 123_456).unwrap();
    }
    let file = File::options().write(true).open(&here).unwrap();
    let planted: Vec<u64> = (0..10).map(|n| n * 26_214 + n % 3).collect();
    planted.iter().for_each(|block| file.write_all_at(&volume(4096, block + 1), block * 4096).unwrap());
    let (here, there, set) = (here.to_str().unwrap(), there.to_str().unwrap(), set.to_str().unwrap());
    let mut moved = 0;
    for block in ["4096", "65536"] {
        let hashes = hash(there, &["--block", block]);
        let found = diff(here, &hashes, &["--set", set]);
        assert_eq!((found["differing"].as_u64(), found["first"].as_u64()), (Some(10), Some(0)), "{found}");
        let delta = dds(&["--extract", "--frame", "--source", here, "--behind", set], b"").good();
        moved = hashes.len() + delta.len();
        assert!(moved < (1 << 30) / 100, "{moved} bytes moved");
        if block == "65536" {
            dds(&["--merge", "--dest", there], &delta).good();
        }
    }
    println!("{moved} bytes moved");
    let found = diff(here, &hash(there, &[]), &["--set", set]);
    assert_eq!(found.to_string(), r#"{"blocks":16384,"differing":0,"bytes":0,"source_size":1073741824,"hashed_size":1073741824}"#);
    assert_eq!(dds(&["--witness", here], b"").good(), dds(&["--witness", there], b"").good());
    assert_eq!(json(&dds(&["--check", set, "--json"], b"").good())["chunks"], 0);
}

#[test]
fn sizes_that_differ_and_parts() {
    let bed = Bed::in_memory();
    let long = volume(10_000, 1);
    let (long_path, short) = (bed.file("long", &long), bed.file("short", &long[..5000]));
    let set = bed.path("set");
    let set = set.to_str().unwrap();
    let of =
        |v: &Value| (v["blocks"].as_u64().unwrap(), v["differing"].as_u64().unwrap(), v["bytes"].as_u64().unwrap(), v["first"].as_u64());
    let block = ["--block", "1024"];
    // here longer: block 4 is equal as far as both have it, and differs behind that
    assert_eq!(of(&diff(&long_path, &hash(&short, &block), &["--set", set])), (10, 6, 5000, Some(4096)));
    assert_eq!(json(&dds(&["--inspect", set, "--json"], b"").good())["chunks"], 6);
    // there longer: block 4 ends early here
    assert_eq!(of(&diff(&short, &hash(&long_path, &block), &["--set", set])), (10, 6, 904 + 5000, Some(4096)));
    assert_eq!(json(&dds(&["--inspect", set, "--json"], b"").good())["chunks"], 1);
    let text = dds(&["--diff", "--source", &short, "--hashes", "-"], &hash(&long_path, &block)).good();
    let text = String::from_utf8(text).unwrap();
    assert_eq!(
        text,
        "6 of 10 blocks differ (5904 bytes), the first at byte 4096, what only one of both has among them: 5000 bytes here, 10000 there\n"
    );
    // a part that does not touch the end says nothing of it
    let part = [&block[..], &["--from", "2048", "--length", "2000"]].concat();
    assert_eq!(of(&diff(&long_path, &hash(&short, &part), &[])), (2, 0, 0, None));
    let mut other = long.clone();
    other[4047] ^= 1;
    other[4048] ^= 1;
    let other_path = bed.file("other", &other);
    assert_eq!(of(&diff(&other_path, &hash(&short, &part), &[])), (2, 1, 976, Some(3072)));
    dds(&["--hash", "--source", &short, "--from", "5"], b"").code.eq(&2).then_some(()).unwrap();
    dds(&["--hash", "--source", &short, "--block", "1000"], b"").code.eq(&2).then_some(()).unwrap();
    let empty = bed.file("empty", b"");
    assert_eq!(of(&diff(&empty, &hash(&empty, &[]), &[])), (0, 0, 0, None));
}

#[test]
fn hashes_that_are_not_whole_say_nothing() {
    let bed = Bed::in_memory();
    let (here, there) = (bed.file("here", &volume(9000, 1)), bed.file("there", &volume(9000, 2)));
    let hashes = hash(&there, &["--block", "4096"]);
    let set = bed.path("set");
    let args = ["--diff", "--source", &here, "--hashes", "-", "--set", set.to_str().unwrap()];
    for length in 0..hashes.len() {
        dds(&args, &hashes[..length]).refused("cut: it ends");
    }
    for bit in 0..hashes.len() * 8 {
        let mut flipped = hashes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        dds(&args, &flipped).refused("the hashes: ");
    }
    dds(&args, &[&hashes[..], b"x"].concat()).refused("damaged");
    assert!(!set.exists());
    let file = bed.file("hashes", &hashes);
    let said = dds(&["--diff", "--source", &here, "--hashes", &file], b"").good();
    assert_eq!(String::from_utf8(said).unwrap(), "3 of 3 blocks differ (9000 bytes), the first at byte 0\n");
}

#[test]
fn a_limit_slows_down() {
    let bed = Bed::in_memory();
    let source = bed.file("source", &volume(3 << 20, 1));
    let from = std::time::Instant::now();
    hash(&source, &["--bwlimit", "3072"]);
    assert!(from.elapsed().as_millis() >= 600, "{:?}", from.elapsed());
}

#[test]
fn the_witness_is_a_blake3_of_both_ends() {
    let bed = Bed::in_memory();
    let mut content = volume(3 << 20, 1);
    let path = bed.file("device", &content);
    let told = || String::from_utf8(dds(&["--witness", &path], b"").good()).unwrap();
    let (first, last) = (&content[..1 << 20], &content[2 << 20..]);
    assert_eq!(told().trim(), blake3::hash(&[first, last].concat()).to_hex().as_str());
    let before = told();
    content[(1 << 20) + 5] ^= 1;
    fs::write(&path, &content).unwrap();
    assert_eq!(told(), before);
    content[(3 << 20) - 21] ^= 1;
    fs::write(&path, &content).unwrap();
    assert_ne!(told(), before);
    fs::write(&path, b"ab").unwrap();
    assert_eq!(told().trim(), blake3::hash(b"abab").to_hex().as_str());
    dds(&["--witness", "/nowhere"], b"").refused("No such file");
}

#[test]
fn a_sender_that_dies_is_noticed() {
    let bed = Bed::in_memory();
    let here = bed.file("here", &volume(1 << 20, 1));
    let mut child = start(&["--diff", "--source", &here, "--hashes", "-"], Stdio::piped());
    drop(child.stdin.take());
    ended(child).refused("cut: it ends in the header");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn what_differs_is_found(here in 0_usize..40_000, there in 0_usize..40_000, changes in proptest::collection::vec(any::<prop::sample::Index>(), 0..6), shift in 9_u32..14) {
        let (bed, block) = (Bed::in_memory(), 1_usize << shift);
        let a = volume(here, 1);
        let mut b = volume(there, 1);
        if !b.is_empty() {
            changes.iter().for_each(|at| b[at.index(there)] ^= 1);
        }
        let (a_path, b_path, set) = (bed.file("a", &a), bed.file("b", &b), bed.path("set"));
        let hashes = hash(&b_path, &["--block", &block.to_string()]);
        let found = diff(&a_path, &hashes, &["--set", set.to_str().unwrap()]);
        let blocks = here.max(there).div_ceil(block);
        let piece = |v: &[u8], n: usize| v[(n * block).min(v.len())..((n + 1) * block).min(v.len())].to_vec();
        let expected: Vec<usize> = (0..blocks).filter(|n| piece(&a, *n) != piece(&b, *n)).collect();
        prop_assert_eq!(found["differing"].as_u64().unwrap(), expected.len() as u64);
        prop_assert_eq!(found["blocks"].as_u64().unwrap(), blocks as u64);
        prop_assert_eq!(found["first"].as_u64(), expected.first().map(|n| (n * block) as u64));
        let delta = dds(&["--extract", "--frame", "--source", &a_path, "--behind", set.to_str().unwrap()], b"").good();
        dds(&["--merge", "--create", "--dest", &b_path], &delta).good();
        prop_assert!(bed.read("b")[..here] == a[..]);
    }
}
