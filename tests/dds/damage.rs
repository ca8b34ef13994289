//! Stores and streams that are damaged, cut, or not for this volume: refused, and the destination is as it was where that can be.

use super::bed::{self, Bed, Ran, dds, header_of, usual};

const CHUNK: usize = 512;
/// 40 chunks and a tail.
const SIZE: usize = 40 * CHUNK + 100;

struct Small {
    bed: Bed,
    before: Vec<u8>,
    after: Vec<u8>,
}

impl Small {
    fn new() -> Self {
        let (before, after) = (bed::volume(SIZE, 1), bed::volume(SIZE, 2));
        let bed = Bed::new();
        bed.file("source", &after);
        Self { bed, before, after }
    }

    fn extract(&self, store: &[u8]) -> Ran {
        let cow = self.bed.file("cow", store);
        dds(&["--extract", "--cow", &cow, "--source", self.bed.path("source").to_str().unwrap()], b"")
    }

    fn merge(&self, stream: &[u8]) -> Ran {
        let dest = self.bed.file("dest", &self.before);
        dds(&["--merge", "--dest", &dest], stream)
    }

    fn merge_file(&self, stream: &[u8]) -> Ran {
        let dest = self.bed.file("dest", &self.before);
        let file = self.bed.file("file", stream);
        dds(&["--merge", "--dest", &dest, "--cow", &file], b"")
    }

    fn untouched(&self) -> bool {
        self.bed.read("dest") == self.before
    }

    /// A store with these records, by any path: nothing good comes of it, and nothing is written.
    #[track_caller]
    fn refused(&self, store: &[u8], word: &str) {
        let extracted = self.extract(store);
        extracted.refused(word);
        self.merge_file(store).refused(word);
        assert!(self.untouched());
        self.merge(store).refused(word);
    }
}

#[test]
fn headers() {
    let small = Small::new();
    let usual = usual(CHUNK);
    let good = bed::store(CHUNK, &[(3, usual(0)), (7, usual(1))], &small.before);
    let with = |magic, valid, version, sectors| {
        let mut store = good.clone();
        store[..CHUNK].copy_from_slice(&header_of(magic, valid, version, sectors, CHUNK));
        store
    };
    assert_eq!(small.extract(&with(bed::MAGIC, 1, 1, 1)).code, 0);
    small.refused(&with(0x7041_6e54, 1, 1, 1), "not an exception store");
    small.refused(&with(0, 0, 0, 0), "not an exception store");
    small.refused(&with(bed::MAGIC, 1, 2, 1), "version 2");
    small.refused(&with(bed::MAGIC, 1, 0, 1), "version 0");
    small.refused(&with(bed::MAGIC, 0, 1, 1), "invalid");
    small.refused(&with(bed::MAGIC, 2, 1, 1), "valid flag is 2");
    for sectors in [0, 3, 5, 1 << 16, u32::MAX, 0x8000_0000] {
        small.refused(&with(bed::MAGIC, 1, 1, sectors), "sectors");
    }
    for short in [0, 1, 15] {
        let cow = &good[..short];
        assert_eq!(small.extract(cow).code, 1);
        assert_eq!(small.merge_file(cow).code, 1);
        small.merge(cow).refused("cut short");
        assert!(small.untouched());
    }
}

#[test]
fn records_that_cannot_be() {
    let small = Small::new();
    let usual = usual(CHUNK);
    let store = |records: &[(u64, u64)]| {
        let mut store = bed::store(CHUNK, &[(3, usual(0)), (7, usual(1)), (9, usual(2))], &small.before);
        for (i, (old, new)) in records.iter().enumerate() {
            store[CHUNK + i * 16..CHUNK + i * 16 + 8].copy_from_slice(&old.to_le_bytes());
            store[CHUNK + i * 16 + 8..CHUNK + i * 16 + 16].copy_from_slice(&new.to_le_bytes());
        }
        store
    };
    for old in [41, 1 << 32, 1 << 55, 1 << 56, u64::MAX] {
        small.refused(&store(&[(3, 2), (old, 3)]), "beyond a volume");
        assert!(small.untouched(), "{old}: the area is checked before its data are written");
    }
    assert_eq!(small.extract(&store(&[(3, 2), (40, 3)])).code, 0); // the tail
    for new in [1 << 56, 1 << 63, u64::MAX] {
        small.refused(&store(&[(3, 2), (7, new)]), "damaged");
        assert!(small.untouched());
    }
    // data outside the store, in the header or in an area: of no matter to extract, which does not read there
    for new in [1, 34, 5, 1 << 40, (1 << 56) - 1] {
        let store = store(&[(3, 2), (7, new)]);
        let extracted = small.extract(&store);
        assert!(extracted.err.contains("warning: 1 of its records"), "{new}: {}", extracted.err);
        assert!(extracted.code == 0 && extracted.out == bed::stream(CHUNK, &[3, 7, 9], &small.after), "{new}");
        small.merge_file(&store).refused("damaged");
        assert!(small.untouched());
    }
}

#[test]
fn a_table_without_an_end() {
    let small = Small::new();
    let usual = usual(CHUNK);
    let full: Vec<(u64, u64)> = (0..32).map(|i| (i, usual(i))).collect();
    let store = bed::store(CHUNK, &full, &small.before);
    assert_eq!(small.extract(&store).good(), bed::stream(CHUNK, &(0..32).collect::<Vec<_>>(), &small.after));
    let without = &store[..store.len() - CHUNK];
    small.extract(without).refused("its table has no end");
    small.merge_file(without).refused("its table has no end");
    assert!(small.untouched());
    small.merge(without).refused("cut short");
    // a part of an area is none
    small.extract(&store[..store.len() - 1]).refused("its table has no end");
    // an extract that fails leaves no end in the stream: whoever merges it fails
    let mut broken = store.clone();
    let second = store.len() - CHUNK;
    broken[second..second + 16].copy_from_slice(&[0xFF; 16]);
    let extracted = small.extract(&broken);
    extracted.refused("damaged");
    assert_eq!(small.merge(&extracted.out).code, 1);
}

#[test]
fn a_stream_cut_at_every_byte() {
    let small = Small::new();
    let whole = bed::stream(CHUNK, &[3, 40, 0], &small.after);
    for at in 0..whole.len() {
        small.merge(&whole[..at]).refused("cut short");
        if at < 2 * CHUNK {
            assert!(small.untouched(), "cut at {at}");
        }
    }
    small.merge(&whole).good();
    for at in (0..whole.len()).step_by(7).chain([whole.len() - 1]) {
        assert_eq!(small.merge_file(&whole[..at]).code, 1, "cut at {at}");
        assert!(small.untouched(), "a file is checked whole before the first write: {at}");
    }
    small.merge_file(&whole).good();
    assert!(!small.untouched());
}

#[test]
fn a_larger_stream_cut_anywhere_and_what_follows_is_ignored() {
    let (chunk, size) = (4096, 600 * 4096);
    let (before, after) = (bed::volume(size, 1), bed::volume(size, 2));
    let olds: Vec<u64> = (0..520).map(|i| i * 7 % 600).collect();
    let whole = bed::stream(chunk, &olds, &after);
    let bed = Bed::new();
    let dest = bed.file("dest", &before);
    let mut place = 12345_usize;
    for _ in 0..1000 {
        place = place.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = (place >> 20) % whole.len();
        dds(&["--merge", "--dest", &dest], &whole[..at]).refused("cut short");
    }
    let torn = dds(&["--merge", "--dest", &dest], &whole[..whole.len() - 1]);
    torn.refused("is torn: up to");
    torn.refused("Merge the same stream again");
    bed.file("dest", &before);
    let mut longer = whole;
    longer.extend(bed::volume(300_000, 9));
    dds(&["--merge", "--dest", &dest], &longer).good();
    let mut expected = before;
    for old in olds {
        let at = usize::try_from(old).unwrap() * chunk;
        expected[at..at + chunk].copy_from_slice(&after[at..at + chunk]);
    }
    assert!(bed.read("dest") == expected);
}
