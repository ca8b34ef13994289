//! A large set of numbers in bounded memory: a bitmap of pages, of which some are in memory and the others in a file.

use super::error::{Error, Result};
use nix::unistd::{Whence, lseek};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Bytes of a page.
pub const PAGE: usize = 4096;
/// Numbers of a page.
pub const PAGE_BITS: u64 = PAGE as u64 * 8;
/// Pages in memory at most: 12 MiB, 384 GiB of a volume with chunks of 4 KiB.
const PAGES_MAX: usize = 3072;

type Page = Box<[u8; PAGE]>;

/// The set. Numbers that come in ascending runs cost little; random ones cost a page read and written each once the set is
/// larger than memory, so sort them as far as memory goes.
#[derive(Debug)]
pub struct Bits {
    pages: BTreeMap<u64, Page>,
    file: Option<File>,
    /// Where page 0 is in the file.
    offset: u64,
    limit: usize,
}

impl Default for Bits {
    fn default() -> Self {
        Self::new()
    }
}

impl Bits {
    /// Empty; a temporary file is made when memory does not suffice.
    pub fn new() -> Self {
        Self { pages: BTreeMap::new(), file: None, offset: 0, limit: PAGES_MAX }
    }

    /// What is in `file` from `offset` on, which is a multiple of `PAGE`; holes are pages without a number. The file is whole after `spill`.
    pub fn of(file: File, offset: u64) -> Self {
        Self { file: Some(file), offset, ..Self::new() }
    }

    /// Adds `count` numbers from `first` on.
    ///
    /// # Errors
    /// The file's.
    pub fn add(&mut self, first: u64, count: u64) -> Result<()> {
        let end = first.saturating_add(count);
        let mut at = first;
        while at < end {
            let index = at / PAGE_BITS;
            let stop = end.min((index + 1).saturating_mul(PAGE_BITS));
            set_range(self.page(index)?, (at % PAGE_BITS) as usize, (stop - index * PAGE_BITS) as usize);
            at = stop;
        }
        Ok(())
    }

    /// Whether `number` is in the set.
    ///
    /// # Errors
    /// The file's.
    #[cfg(test)]
    pub fn has(&mut self, number: u64) -> Result<bool> {
        let bit = (number % PAGE_BITS) as usize;
        Ok(self.page(number / PAGE_BITS)?.get(bit / 8).is_some_and(|byte| byte >> (bit % 8) & 1 == 1))
    }

    fn page(&mut self, index: u64) -> Result<&mut [u8; PAGE]> {
        if self.pages.len() >= self.limit && !self.pages.contains_key(&index) {
            self.spill()?;
        }
        match self.pages.entry(index) {
            std::collections::btree_map::Entry::Occupied(page) => Ok(page.into_mut()),
            std::collections::btree_map::Entry::Vacant(place) => {
                let mut page = Box::new([0; PAGE]);
                if let Some(file) = &self.file {
                    read_page(file, self.offset + index * PAGE as u64, &mut page)?;
                }
                Ok(place.insert(page))
            }
        }
    }

    /// Writes all pages to the file and forgets them.
    ///
    /// # Errors
    /// The file's; a temporary one that cannot be made.
    pub fn spill(&mut self) -> Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(tempfile::tempfile().map_err(|e| {
                let place = std::env::temp_dir();
                Error::new(place.display().to_string(), e)
                    .hint("A set of chunks too large for memory goes there; TMPDIR names another folder")
            })?),
        };
        for (index, page) in std::mem::take(&mut self.pages) {
            file.write_all_at(page.as_slice(), self.offset + index * PAGE as u64).map_err(unkept)?;
        }
        Ok(())
    }

    /// The first page at or after `index` that has a number, and its index.
    ///
    /// # Errors
    /// The file's.
    pub fn page_from(&mut self, mut index: u64) -> Result<Option<(u64, Page)>> {
        let Some(file) = &self.file else {
            let found = self.pages.range(index..).find(|(_, page)| !blank(page.as_slice()));
            return Ok(found.map(|(index, page)| (*index, page.clone())));
        };
        if !self.pages.is_empty() {
            self.spill()?;
            return self.page_from(index);
        }
        loop {
            let at = self.offset + index * PAGE as u64;
            let data = match lseek(file, i64::try_from(at).unwrap_or(i64::MAX), Whence::SeekData) {
                Ok(data) => data.unsigned_abs(),
                Err(nix::errno::Errno::ENXIO) => return Ok(None),
                Err(e) => return Err(unkept(e.into())),
            };
            index = (data - self.offset) / PAGE as u64;
            let mut page = Box::new([0; PAGE]);
            read_page(file, self.offset + index * PAGE as u64, &mut page)?;
            if !blank(page.as_slice()) {
                return Ok(Some((index, page)));
            }
            index += 1;
        }
    }

    /// The runs of the set, (first, count), ascending; a run does not cross a page.
    pub fn runs(&mut self) -> Runs<'_> {
        Runs { bits: self, index: 0, page: None, bit: 0 }
    }

    /// The file, if there is one.
    pub fn file(&self) -> Option<&File> {
        self.file.as_ref()
    }
}

/// Iterates over the runs of a set.
pub struct Runs<'a> {
    bits: &'a mut Bits,
    /// The page after the current one.
    index: u64,
    page: Option<(u64, Page)>,
    bit: usize,
}

impl Iterator for Runs<'_> {
    type Item = Result<(u64, u64)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((index, page)) = &self.page {
                if let Some(first) = find(page, self.bit, true) {
                    let end = find(page, first, false).unwrap_or(PAGE * 8);
                    self.bit = end;
                    return Some(Ok((index * PAGE_BITS + first as u64, (end - first) as u64)));
                }
                self.page = None;
            }
            match self.bits.page_from(self.index) {
                Ok(Some((index, page))) => {
                    self.index = index + 1;
                    self.bit = 0;
                    self.page = Some((index, page));
                }
                Ok(None) => return None,
                Err(e) => return Some(Err(e)),
            }
        }
    }
}

/// Every byte is zero.
pub fn blank(bytes: &[u8]) -> bool {
    let (blocks, rest) = bytes.as_chunks::<64>();
    blocks.iter().all(|block| block.iter().fold(0, |a, b| a | b) == 0) && rest.iter().all(|b| *b == 0)
}

fn set_range(page: &mut [u8; PAGE], from: usize, to: usize) {
    let mut bit = from;
    while bit < to {
        let whole = bit.is_multiple_of(8) && to - bit >= 8;
        if let Some(byte) = page.get_mut(bit / 8) {
            *byte |= if whole { 0xff } else { 1 << (bit % 8) };
        }
        bit += if whole { 8 } else { 1 };
    }
}

/// The first bit at or after `from` that is `wanted`.
fn find(page: &[u8; PAGE], from: usize, wanted: bool) -> Option<usize> {
    let first = from / 64;
    page.as_chunks::<8>().0.iter().enumerate().skip(first).find_map(|(index, word)| {
        let word = u64::from_le_bytes(*word);
        let mut word = if wanted { word } else { !word };
        if index == first {
            word &= u64::MAX << (from % 64);
        }
        (word != 0).then(|| index * 64 + word.trailing_zeros() as usize)
    })
}

/// What is after the file's end is zero.
fn read_page(file: &File, at: u64, page: &mut [u8; PAGE]) -> Result<()> {
    let mut done = 0;
    while let Some(rest) = page.get_mut(done..).filter(|r| !r.is_empty()) {
        match file.read_at(rest, at + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(unkept(e)),
        }
    }
    Ok(())
}

fn unkept(e: std::io::Error) -> Error {
    Error::new("a set of chunks", e)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn numbers(bits: &mut Bits) -> BTreeSet<u64> {
        bits.runs().flat_map(|run| run.map(|(first, count)| first..first + count).unwrap()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn it_is_a_set(ranges in proptest::collection::vec((0_u64..200_000, 1_u64..50_000), 0..8), limit in 1_usize..8) {
            let mut bits = Bits { limit, ..Bits::new() };
            let mut model = BTreeSet::new();
            for (first, count) in ranges {
                bits.add(first, count).unwrap();
                model.extend(first..first + count);
            }
            prop_assert_eq!(numbers(&mut bits), model);
        }
    }

    #[test]
    fn far_numbers_cost_a_page_each() {
        let mut bits = Bits { limit: 1, ..Bits::new() };
        for n in [0, 1 << 45, 7, (1 << 45) + 1] {
            bits.add(n, 1).unwrap();
        }
        assert_eq!(bits.runs().map(Result::unwrap).collect::<Vec<_>>(), [(0, 1), (7, 1), (1 << 45, 2)]);
        assert!(bits.has(7).unwrap() && !bits.has(8).unwrap());
        bits.spill().unwrap();
        let blocks = std::os::unix::fs::MetadataExt::blocks(&bits.file().unwrap().metadata().unwrap());
        assert!(blocks <= 2 * 8 + 8, "{blocks} sectors");
    }
}
