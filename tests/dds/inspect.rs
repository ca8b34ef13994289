//! What dds says of its own files: `--inspect` and `--check`.

use super::bed::{Bed, Ran, dds, header_of, store, usual, volume};
use super::framed::{Small, json};
use std::fs;

fn seen(verb: &str, path: &str) -> serde_json::Value {
    json(&dds(&[verb, path, "--json"], b"").good())
}

#[test]
fn each_kind_is_recognised() {
    let small = Small::new(&["--base", "B", "--image", "I", "--frozen-at", "then", "--note", "round 7"]);
    let bed = &small.bed;
    let file = bed.file("framed", &small.stream);
    for (verb, groups) in [("--inspect", None), ("--check", Some(1))] {
        for told in [seen(verb, &file), json(&dds(&[verb, "--json"], &small.stream).good())] {
            let texts = ["format", "base", "image", "frozen_at", "note"].map(|key| told[key].as_str().unwrap().to_owned());
            assert_eq!(texts, ["framed", "B", "I", "then", "round 7"]);
            assert_eq!((told["chunks"].as_u64(), told["groups"].as_u64()), (Some(4), groups));
        }
        let cow = bed.path("cow");
        let told = seen(verb, cow.to_str().unwrap());
        assert_eq!((told["format"].as_str(), told["exceptions"].as_u64(), told["valid"].as_bool()), (Some("store"), Some(4), Some(true)));
        let classic = super::bed::stream(512, &[3, 1], &small.after);
        let told = json(&dds(&[verb, "--json"], &classic).good());
        assert_eq!((told["format"].as_str(), told["exceptions"].as_u64()), (Some("stream"), Some(2)));
        let source = bed.path("after");
        let hashes = dds(&["--hash", "--source", source.to_str().unwrap(), "--block", "512"], b"").good();
        for told in [json(&dds(&[verb, "--json"], &hashes).good()), seen(verb, &bed.file("hashes", &hashes))] {
            assert_eq!((told["format"].as_str(), told["blocks"].as_u64()), (Some("hashes"), Some(10)));
        }
        let set = bed.path("set");
        dds(&["--note", set.to_str().unwrap(), "--cow", cow.to_str().unwrap(), "--source", source.to_str().unwrap()], b"").good();
        let told = seen(verb, set.to_str().unwrap());
        assert_eq!((told["format"].as_str(), told["chunks"].as_u64(), told["source_size"].as_u64()), (Some("set"), Some(4), Some(5000)));
    }
    dds(&["--inspect"], b"something else").refused("not a stream, store, set");
    dds(&["--check"], b"").refused("cut");
    dds(&["--inspect", &bed.file("empty", b"")], b"").refused("not a stream");
}

#[test]
fn a_spool_folder_says_what_waits_in_it() {
    let small = Small::new(&["--base", "B", "--image", "I"]);
    let (dest, spool) = (small.dest(), small.bed.path("spool"));
    fs::create_dir(&spool).unwrap();
    let spool = spool.to_str().unwrap();
    assert_eq!(seen("--inspect", spool).to_string(), r#"{"format":"spool","state":"nothing"}"#);
    dds(&["--merge", "--spool", spool, "--dest", &dest, "--hold"], &small.stream).good();
    for state in ["held", "begun"] {
        for verb in ["--inspect", "--check"] {
            let told = seen(verb, spool);
            let texts = ["format", "state", "dest", "base", "image"].map(|key| told[key].as_str().unwrap().to_owned());
            assert_eq!(texts, ["spool", state, &dest, "B", "I"]);
        }
        small.bed.file("spool/applying", b"");
    }
    let mut delta = small.bed.read("spool/delta");
    *delta.last_mut().unwrap() ^= 1;
    small.bed.file("spool/delta", &delta);
    seen("--inspect", spool);
    dds(&["--check", spool], b"").refused("does not match");
    let text = String::from_utf8(dds(&["--inspect", spool], b"").good()).unwrap();
    insta::assert_snapshot!(text.replace(&dest, "DEST"), @r"
    Stream header:
      format            framed
      version           1
      chunk_size        0.5 KB
      source size       5 KB
      whole             no
      base              B
      image             I
    Report:
      Exceptions        4
      Output size data  at most 2 KB
      Output size total at most 3 KB
      State             begun
      Destination       DEST
    ");
}

#[test]
fn what_is_damaged_or_invalid_is_told() {
    let (bed, before) = (Bed::in_memory(), volume(1 << 16, 1));
    let invalid = [header_of(super::bed::MAGIC, 0, 1, 8, 4096), vec![0; 4096]].concat();
    let path = bed.file("invalid", &invalid);
    assert_eq!(seen("--inspect", &path)["valid"], false);
    dds(&["--check", &path], b"").refused("invalid");
    let odd = bed.file("odd", &store(4096, &[(3, 2)], &before)[..2 * 4096 + 100]);
    seen("--inspect", &odd);
    dds(&["--check", &odd], b"").refused("point outside its data");
    let whole = store(4096, &[(3, usual(4096)(0))], &before);
    for length in [3, 17, 5000, 2 * 4096, whole.len() - 1] {
        let ran: Ran = dds(&["--check"], &whole[..length]);
        assert_eq!(ran.code, 1, "{length}: {}", ran.err);
    }
    let small = Small::new(&[]);
    for length in (0..small.stream.len()).step_by(11) {
        assert_eq!(dds(&["--check"], &small.stream[..length]).code, 1, "{length}");
    }
}
