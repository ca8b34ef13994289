//! Streams made and read in memory: what comes out is what went in, or nothing does.

use super::group::{Group, Run, Totals};
use super::read::Reader;
use super::write::{Packed, Packer, Writer, bound, chunks_of_group};
use super::{Header, MAGIC};
use crate::dds::error::Result;
use proptest::prelude::*;

const CHUNK: u32 = 512;

/// A volume of which some chunks changed, one of them zero, the last one not whole.
fn groups() -> Vec<Group> {
    let data = |n: u8| vec![n; CHUNK as usize];
    let one = Group {
        runs: vec![Run { first: 0, count: 2, zero: false }, Run { first: 5, count: 3, zero: true }],
        data: [data(1), data(2)].concat(),
    };
    let two = Group { runs: vec![Run { first: 9, count: 1, zero: false }], data: data(3) };
    vec![one, two]
}

fn header(chunks: u64) -> Header {
    let text = |t: &str| t.to_owned();
    Header {
        source_size: 10 * u64::from(CHUNK) - 7,
        chunk: CHUNK,
        chunks,
        bound: 9999,
        base: text("old"),
        image: text("new"),
        frozen_at: text("2026-11-21T15:00:00Z"),
        note: text("é"),
        ..Header::default()
    }
}

fn stream(header: &Header, groups: &[Group], level: Option<i32>) -> Vec<u8> {
    let header = Header { compressed: level.is_some(), ..header.clone() }.encode().unwrap();
    let packer = Packer::new(&header, level, 1).unwrap();
    let (mut writer, mut out) = (Writer::begin(&header), header);
    for (group, number) in groups.iter().zip(0..) {
        let mut packed = Packed::default();
        packer.pack(number, group, &mut packed).unwrap();
        out.extend(writer.group(group, &packed).concat());
    }
    let (totals, end) = writer.end();
    out.extend(end);
    assert_eq!(totals.stream, out.len() as u64);
    out
}

type Content = (Header, Vec<(Vec<Run>, Vec<u8>)>, Totals);

/// All that a stream has, if all of it is in order.
fn read(bytes: &[u8]) -> Result<Content> {
    let mut reader = Reader::begin(bytes)?;
    let (mut group, mut all) = (Group::default(), Vec::new());
    while reader.next(&mut group)? {
        all.push((group.runs.clone(), group.data.clone()));
    }
    Ok((reader.header().clone(), all, reader.totals()))
}

#[test]
fn what_is_written_is_read() {
    for level in [None, Some(1), Some(19)] {
        let bytes = stream(&header(6), &groups(), level);
        let (found, all, totals) = read(&bytes).unwrap();
        assert_eq!(found, Header { compressed: level.is_some(), ..header(6) });
        let sent: Vec<_> = groups().into_iter().map(|g| (g.runs, g.data)).collect();
        assert_eq!(all, sent);
        assert_eq!(totals, Totals { groups: 2, chunks: 6, zero: 3, data: 3 * 512, stream: bytes.len() as u64 });
    }
    assert!(stream(&header(6), &groups(), Some(1)).len() < 500);
}

#[test]
fn a_stream_without_chunks_is_one() {
    let bytes = stream(&header(0), &[], None);
    assert_eq!(read(&bytes).unwrap().1, []);
    assert!(bytes.len() as u64 <= bound(header(0).encode().unwrap().len(), CHUNK, 0));
}

#[test]
fn a_cut_anywhere_and_a_byte_too_many_are_seen() {
    for level in [None, Some(3)] {
        let mut bytes = stream(&header(6), &groups(), level);
        for length in 0..bytes.len() {
            let e = read(&bytes[..length]).unwrap_err();
            assert!(e.to_string().contains("cut: it ends"), "at {length}: {e}");
        }
        bytes.push(0);
        assert!(read(&bytes).unwrap_err().to_string().contains("goes on after its end"));
    }
}

#[test]
fn no_flipped_bit_changes_what_is_read() {
    for level in [None, Some(3)] {
        let bytes = stream(&header(6), &groups(), level);
        let right = read(&bytes).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Ok(content) = read(&flipped) {
                assert_eq!(content, right, "bit {bit}");
                assert!(level.is_some(), "bit {bit} of a plain stream has no meaning");
            }
        }
    }
}

#[test]
fn streams_that_lie_are_refused_though_their_checksums_hold() {
    let refused = |header: &Header, groups: &[Group]| read(&stream(header, groups, None)).unwrap_err().to_string();
    let run = |first, count, zero| Run { first, count, zero };
    let of = |runs: &[Run], chunks: usize| Group { runs: runs.to_vec(), data: vec![7; chunks * CHUNK as usize] };
    let twice = of(&[run(3, 1, false), run(3, 1, false)], 2);
    assert!(refused(&header(2), &[twice]).contains("out of order"));
    assert!(refused(&header(2), &[of(&[run(3, 1, false)], 1), of(&[run(2, 1, false)], 1)]).contains("out of order"));
    assert!(refused(&header(2), &[of(&[run(9, 2, false)], 2)]).contains("beyond the source"));
    assert!(refused(&header(2), &[of(&[run(1, 1, false)], 2)]).contains("more or less"));
    assert!(refused(&header(2), &[of(&[run(1, 2, false)], 1)]).contains("more or less"));
    assert!(refused(&header(1), &[of(&[run(1, 2, false)], 2)]).contains("more or less"));
    assert!(refused(&header(3), &[of(&[run(1, 2, false)], 2)]).contains("end record"));
    assert!(refused(&Header { chunks: 11, ..header(0) }, &[]).contains("contradict"));
    assert!(refused(&Header { whole: true, ..header(0) }, &[]).contains("contradict"));
    assert!(refused(&Header { chunk: 3 << 9, ..header(0) }, &[]).contains("chunk size"));
    assert!(refused(&Header { chunk: 2 << 20, ..header(0) }, &[]).contains("chunk size"));
}

#[test]
fn a_group_of_another_stream_is_no_group_of_this_one() {
    let ours = stream(&header(6), &groups(), None);
    let theirs = stream(&Header { note: "e ".to_owned(), ..header(6) }, &groups(), None);
    let length = header(6).encode().unwrap().len();
    let mixed = [&ours[..length], &theirs[length..]].concat();
    assert_eq!(ours.len(), theirs.len());
    assert!(read(&mixed).unwrap_err().to_string().contains("checksum"));
}

#[test]
fn another_version_is_told_apart_from_damage() {
    let mut bytes = stream(&header(6), &groups(), None);
    bytes[8] = 2;
    let e = read(&bytes).unwrap_err().to_string();
    assert_eq!(e, "the stream: it is of version 2, this program reads version 1. Install the same version of dds on both sides");
    let long = Header { note: "x".repeat(256), ..header(0) };
    assert_eq!(long.encode().unwrap_err().code(), 2);
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(tail in proptest::collection::vec(any::<u8>(), 0..400), start in 0_usize..3) {
        let valid = stream(&header(6), &groups(), Some(1));
        let start = [&[][..], &MAGIC[..], &valid[..header(6).encode().unwrap().len()]][start];
        prop_assert!(read(&[start, tail.as_slice()].concat()).is_err());
    }

    #[test]
    fn bytes_changed_at_random_are_seen(at in proptest::collection::vec((any::<prop::sample::Index>(), 1_u8..), 1..5)) {
        let right = stream(&header(6), &groups(), Some(1));
        let mut bytes = right.clone();
        for (at, change) in at {
            bytes[at.index(right.len())] ^= change;
        }
        if let Ok(content) = read(&bytes) {
            prop_assert_eq!(content, read(&right).unwrap());
        }
    }

    #[test]
    fn the_bound_is_one(chunks in proptest::collection::vec((1_u64..4, any::<bool>()), 1..600), chunk in prop::sample::select(vec![4096_u32, 65536])) {
        let (mut number, mut bytes) = (0, 100 + 64);
        for part in chunks.chunks(chunks_of_group(chunk)) {
            let mut group = Group::default();
            for (gap, zero) in part {
                number += gap;
                group.push(number, *zero);
                bytes += if *zero { 0 } else { u64::from(chunk) };
            }
            bytes += 52 + 8 * group.runs.len() as u64;
        }
        prop_assert!(bytes <= bound(100, chunk, chunks.len() as u64));
    }
}
