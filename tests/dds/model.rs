//! Any store, any volume: what dds makes of them is what the naive model makes.

use super::bed::{self, Bed, chunk_of, dds};
use proptest::prelude::*;
use proptest::sample::subsequence;

/// A volume before and after, which of its chunks the store has, and where.
#[derive(Debug, Clone)]
struct Case {
    chunk: usize,
    size: usize,
    records: Vec<(u64, u64)>,
    /// Which of the recorded chunks did change.
    changed: Vec<bool>,
}

impl Case {
    fn before(&self) -> Vec<u8> {
        bed::volume(self.size, 1)
    }

    fn after(&self) -> Vec<u8> {
        let (mut after, other) = (self.before(), bed::volume(self.size, 2));
        for ((old, _), _) in self.records.iter().zip(&self.changed).filter(|(_, changed)| **changed) {
            let from = usize::try_from(*old).unwrap() * self.chunk;
            let to = (from + self.chunk).min(self.size);
            after[from..to].copy_from_slice(&other[from..to]);
        }
        after
    }
}

/// Kernels of old left holes and wrote out of order.
fn case() -> impl Strategy<Value = Case> {
    let shape =
        (prop::sample::select(vec![512_usize, 1024, 4096, 8192, 65536]), 1..200_usize, prop::sample::select(vec![0_usize, 512, 17, 4095]));
    shape
        .prop_flat_map(|(chunk, chunks, tail)| {
            let tail = tail.min(chunk - 1);
            let all: Vec<u64> = (0..(chunks + usize::from(tail > 0)) as u64).collect();
            let olds = subsequence(all.clone(), 0..=all.len()).prop_shuffle();
            (Just(chunk), Just(chunks * chunk + tail), olds, any::<bool>(), any::<u64>(), prop::collection::vec(any::<bool>(), all.len()))
        })
        .prop_map(|(chunk, size, olds, holey, seed, changed)| {
            let usual = bed::usual(chunk);
            let spread = if holey { 3 } else { 1 };
            let count = olds.len() as u64;
            let records = olds.iter().enumerate().map(|(i, old)| {
                // a permutation of the places, every third of them
                let place = if holey { (i as u64 + seed % count.max(1)) % count * spread } else { i as u64 };
                (*old, usual(place))
            });
            Case { chunk, size, records: records.collect(), changed }
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn extract_and_merge_are_the_model(case in case()) {
        let bed = Bed::new();
        let (before, after) = (case.before(), case.after());
        let olds: Vec<u64> = case.records.iter().map(|r| r.0).collect();
        let cow = bed.file("cow", &bed::store(case.chunk, &case.records, &before));
        let source = bed.file("source", &after);
        let extracted = dds(&["--extract", "--cow", &cow, "--source", &source], b"").good();
        prop_assert!(extracted == bed::stream(case.chunk, &olds, &after), "the stream differs");

        let dest = bed.file("dest", &before);
        dds(&["--merge", "--dest", &dest], &extracted).good();
        prop_assert!(bed.read("dest") == after, "merged from a pipe");
        bed.file("dest", &before);
        let file = bed.file("stream", &extracted);
        dds(&["--merge", "--dest", &dest, "--cow", &file], b"").good();
        prop_assert!(bed.read("dest") == after, "merged from a file");
        dds(&["--merge", "--dest", &dest, "--cow", &cow], b"").good();
        prop_assert!(bed.read("dest") == before, "rolled back");
    }
}

#[test]
fn the_largest_chunks_and_a_longer_destination() {
    for chunk in [1 << 20, 16 << 20] {
        let bed = Bed::new();
        let size = 2 * chunk + 4096;
        let (before, after) = (bed::volume(size, 3), bed::volume(size, 4));
        let usual = bed::usual(chunk);
        let cow = bed.file("cow", &bed::store(chunk, &[(2, usual(0)), (0, usual(1))], &before));
        let source = bed.file("source", &after);
        let stream = dds(&["--extract", "--cow", &cow, "--source", &source], b"").good();
        assert!(stream == bed::stream(chunk, &[2, 0], &after));
        let mut longer = before.clone();
        longer.resize(4 * chunk, 7);
        let dest = bed.file("dest", &longer);
        dds(&["--merge", "--dest", &dest], &stream).good();
        longer[..chunk].copy_from_slice(&after[..chunk]);
        // the last chunk of the source is padded with zeroes, and a longer destination gets them
        longer[2 * chunk..3 * chunk].copy_from_slice(&chunk_of(&after, chunk, 2));
        assert!(bed.read("dest") == longer);
    }
}
