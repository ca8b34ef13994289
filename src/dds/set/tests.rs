//! Sets in files: nothing that was in one is lost, nothing damaged is believed.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;
use tempfile::TempDir;

/// In memory: a disk takes its time to flush, and ext4 has no files of 64 TiB.
fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap()
}

fn args(source: &Path) -> Args {
    Args { source: Some(source.to_owned()), ..Args::default() }
}

/// A source of `size` bytes.
fn source(dir: &TempDir, size: u64) -> PathBuf {
    let path = dir.path().join("source");
    File::create(&path).unwrap().set_len(size).unwrap();
    path
}

/// A store of chunks of `chunk` bytes that lists `old`.
fn store(dir: &TempDir, chunk: usize, old: &[u64]) -> PathBuf {
    let area = chunk / 16;
    let mut bytes = [0x7041_6e53_u32, 1, 1, chunk as u32 / 512].map(u32::to_le_bytes).as_flattened().to_vec();
    bytes.resize(chunk, 0);
    for number in 0..=old.len() / area {
        let part: Vec<_> = old.iter().skip(number * area).take(area).collect();
        let first = (number * (area + 1) + 2) as u64;
        bytes.extend(part.iter().enumerate().flat_map(|(n, old)| [**old, first + n as u64].map(u64::to_le_bytes)).flatten());
        bytes.resize((number * (area + 1) + 2) * chunk, 0);
        if number < old.len() / area {
            bytes.resize(((number + 1) * (area + 1) + 1) * chunk, 0);
        }
    }
    let path = dir.path().join("cow");
    fs::write(&path, &bytes).unwrap();
    File::options().write(true).open(&path).unwrap().set_len((bytes.len() + old.len() * chunk) as u64).unwrap(); // nobody reads the data
    path
}

/// The bytes that a set covers, as numbers of sectors.
fn sectors(path: &Path) -> BTreeSet<u64> {
    let mut set = Set::open(path).unwrap();
    let each = u64::from(set.shape.chunk) / 512;
    set.runs().flat_map(|run| run.map(|(first, count)| first * each..(first + count) * each).unwrap()).collect()
}

#[test]
fn tables_add_up() {
    let dir = folder();
    let (volume, set) = (source(&dir, 1 << 30), dir.path().join("peer"));
    let note = |old: &[u64]| note(&set, &Args { cow: Some(store(&dir, 4096, old)), ..args(&volume) }).unwrap();
    let json = Value::Object(note(&[262_143, 7, 3])).to_string();
    assert_eq!(json, format!(r#"{{"set":"{}","chunk_size":4096,"chunks":3,"added":3,"source_size":1073741824}}"#, set.display()));
    let many: Vec<u64> = (0..1000).map(|n| n * 200).collect();
    assert_eq!(note(&many).get("added").unwrap(), 1000);
    assert_eq!(note(&[]).get("chunks").unwrap(), 1003);
    let mut all: Vec<u64> = [many, vec![3, 7, 262_143]].concat();
    all.sort_unstable();
    let found: Vec<u64> = Set::open(&set).unwrap().runs().flat_map(|run| run.map(|(f, n)| f..f + n).unwrap()).collect();
    assert_eq!(found, all);
    assert!(!dir.path().join("peer.new").exists());
}

#[test]
fn a_volume_that_grew_is_noted_where_it_grew() {
    let dir = folder();
    let set = dir.path().join("peer");
    note(&set, &args(&source(&dir, 10_000))).unwrap();
    assert_eq!(sectors(&set), BTreeSet::new());
    note(&set, &args(&source(&dir, 20_000))).unwrap();
    assert_eq!(sectors(&set), (16..40).collect()); // the chunk that ended at 10,000 was not whole
    let e = note(&set, &args(&source(&dir, 19_999))).unwrap_err().to_string();
    assert!(e.contains("of a volume of 20000 bytes, this one has 19999"), "{e}");
}

#[test]
fn what_is_damaged_is_refused_and_left() {
    let dir = folder();
    let (volume, set) = (source(&dir, 1 << 28), dir.path().join("peer"));
    note(&set, &Args { cow: Some(store(&dir, 4096, &[1, 65535])), ..args(&volume) }).unwrap();
    let whole = fs::read(&set).unwrap();
    assert_eq!(whole.len(), 3 * PAGE);
    let refused = |bytes: &[u8]| {
        fs::write(&set, bytes).unwrap();
        let e = note(&set, &args(&volume)).unwrap_err().to_string();
        assert_eq!(fs::read(&set).unwrap(), bytes);
        e
    };
    for byte in (0..HEADER + 8).chain(PAGE - 8..PAGE + 8).chain((2 * PAGE - 8..2 * PAGE + 8).chain(3 * PAGE - 8..3 * PAGE)) {
        let mut bytes = whole.clone();
        bytes[byte] ^= 0x10;
        let e = refused(&bytes);
        assert!(e.contains(REBUILD) || e.contains("version") || e.contains("not a set"), "byte {byte}: {e}");
    }
    for length in [0, 1, PAGE - 1, PAGE, 2 * PAGE, 3 * PAGE - 1] {
        refused(&whole[..length]);
    }
    refused(&[whole.clone(), vec![0]].concat());
    fs::write(&set, &whole).unwrap();
    assert_eq!(note(&set, &args(&volume)).unwrap().get("chunks").unwrap(), 2);
}

#[test]
fn a_store_that_is_no_longer_valid_changes_nothing() {
    let dir = folder();
    let (volume, set, cow) = (source(&dir, 1 << 20), dir.path().join("peer"), store(&dir, 4096, &[5]));
    let mut bytes = fs::read(&cow).unwrap();
    bytes[4] = 0;
    fs::write(&cow, bytes).unwrap();
    assert!(note(&set, &Args { cow: Some(cow), ..args(&volume) }).unwrap_err().to_string().contains("invalid"));
    let e = note(&set, &Args { cow: Some(store(&dir, 4096, &[256])), ..args(&volume) }).unwrap_err().to_string();
    assert!(e.contains("beyond a volume"), "{e}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn a_set_of_64_tib_is_small_where_it_is_empty() {
    let dir = folder();
    let (volume, set) = (source(&dir, 64 << 40), dir.path().join("peer"));
    let old = [0, 1 << 33, (1 << 34) - 1];
    note(&set, &Args { cow: Some(store(&dir, 4096, &old)), ..args(&volume) }).unwrap();
    let meta = fs::metadata(&set).unwrap();
    assert!(meta.len() > 2 << 30 && std::os::unix::fs::MetadataExt::blocks(&meta) < 200, "{meta:?}");
    assert_eq!(Set::open(&set).unwrap().count, 3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn no_chunk_size_loses_a_bit(steps in proptest::collection::vec((prop::sample::select(vec![512_usize, 4096, 65536, 1 << 20, 2 << 20]), proptest::collection::btree_set(any::<u16>(), 0..12)), 1..5)) {
        let dir = folder();
        let size = 8 * 1_048_576 - 700;
        let (volume, set, copy) = (source(&dir, size), dir.path().join("peer"), dir.path().join("copy"));
        let mut model = BTreeSet::new();
        for (chunk, old) in steps {
            let old: Vec<u64> = old.into_iter().map(|o| u64::from(o) % size.div_ceil(chunk as u64)).collect::<BTreeSet<_>>().into_iter().collect();
            note(&set, &Args { cow: Some(store(&dir, chunk, &old)), ..args(&volume) }).unwrap();
            let each = chunk as u64 / 512;
            model.extend(old.iter().flat_map(|o| o * each..((o + 1) * each).min(size / 512)));
            let of_file = Set::open(&set).unwrap().shape.chunk as u64 / 512;
            let chunks: BTreeSet<u64> = model.iter().map(|s| s / of_file).collect();
            let exact: BTreeSet<u64> = chunks.iter().flat_map(|c| c * of_file..(c + 1) * of_file).collect();
            let found = sectors(&set);
            prop_assert!(found.is_superset(&model));
            prop_assert!(found.difference(&exact).all(|s| *s >= size / 512), "only what the chunk size asks for");
        }
        note(&copy, &Args { from_set: Some(set.clone()), ..args(&volume) }).unwrap();
        prop_assert!(fs::read(&copy).unwrap() == fs::read(&set).unwrap());
    }
}
