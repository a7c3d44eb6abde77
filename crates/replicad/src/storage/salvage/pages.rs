//! The pages of a damaged file, each proved before it is believed.
//!
//! The engine opens a file as a whole or not at all, and then reads pages without comparing their checksums. So what is sound
//! in a damaged file is read here, in the engine's form (version 3, `docs/design.md` of redb); of another version nothing
//! is. A page is named by its parent together with its checksum, and the root of all by a commit slot that has one of its own.
//! What checks from there down is what that commit held: an older page in the place of a newer one has
//! another checksum, and no page can be left out.

use std::io::{self, Read, Seek, SeekFrom};
use twox_hash::XxHash3_128;

/// Bytes of a page of order 0.
const PAGE_BYTES: u64 = 4096;

/// How a file begins.
const MAGIC: [u8; 9] = *b"redb\x1a\x0a\xa9\x0d\x0a";

/// Bytes of the header: the geometry, and both commit slots.
const HEADER_BYTES: usize = 320;

/// Where the commit slots are in it, and how long they are.
const SLOTS: [usize; 2] = [64, 192];
const SLOT_BYTES: usize = 128;

/// Where a slot has the number of its transaction, and its checksum.
const TRANSACTION: usize = 104;
const SLOT_CHECKSUM: usize = 112;

/// The version of the form that is read.
const VERSION: u8 = 3;

/// Levels of a tree. The engine's own limit, which no real tree comes near.
const MAX_DEPTH: usize = 128;

/// The kinds of pages.
const LEAF: u8 = 1;
const BRANCH: u8 = 2;

/// The kind of a table that has one value for each key.
const PLAIN_TABLE: u8 = 3;

/// A tree of pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tree {
    root: PageRef,
    /// The entries in its leaves.
    pub(super) entries: u64,
}

/// Where a page is, and what its bytes must sum to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PageRef {
    number: u64,
    checksum: u128,
}

/// What visits the entries of a tree. An error ends the visit.
pub(super) trait Visit {
    /// Why it has had enough.
    type Stop: From<io::Error>;

    /// An entry, ascending by key.
    fn entry(&mut self, key: &[u8], value: &[u8]) -> Result<(), Self::Stop>;

    /// A page that is not what was written: of the keys above `after` and up to `until` nothing is known. `None` is the
    /// end of all keys.
    fn gap(&mut self, after: Option<&[u8]>, until: Option<&[u8]>) -> Result<(), Self::Stop>;
}

/// The pages of a file.
#[derive(Debug)]
pub(super) struct Pages<F> {
    file: F,
    length: u64,
    /// Bytes from the beginning of a region to its first page, and to the next region.
    region_header: u64,
    region: u64,
}

impl<F: Read + Seek> Pages<F> {
    /// The pages of a file, and the tree of its tables in its newest commit, if that can be told. If one of the two commit
    /// slots is damaged, it may have been the newer one: then nothing is told.
    pub(super) fn open(mut file: F) -> io::Result<Option<(Self, Tree)>> {
        let length = file.seek(SeekFrom::End(0))?;
        if length < PAGE_BYTES {
            return Ok(None);
        }
        let mut header = [0; HEADER_BYTES];
        file.rewind()?;
        file.read_exact(&mut header)?;
        let found = || {
            let field = |at| Some(u64::from(number_32(&header, at)?));
            let is_known = header.starts_with(&MAGIC) && field(12)? == PAGE_BYTES;
            let region_header = field(16)? * PAGE_BYTES;
            let region = region_header + field(20)? * PAGE_BYTES;
            let [first, second] = SLOTS.map(|at| slot(&header[at..at + SLOT_BYTES]));
            let newest = [first?, second?].into_iter().max_by_key(|slot| slot.0);
            let root = newest.filter(|_| is_known).and_then(|slot| slot.1)?;
            Some((region_header, region, root))
        };
        Ok(found().map(|(region_header, region, root)| {
            let pages = Self {
                file,
                length,
                region_header,
                region,
            };
            (pages, root)
        }))
    }

    /// Visits a tree. `Ok` says nothing of the number of its entries.
    pub(super) fn visit<V: Visit>(&mut self, tree: Tree, visit: &mut V) -> Result<(), V::Stop> {
        self.descend(tree.root, (None, None), 0, visit)
    }

    fn descend<V: Visit>(
        &mut self,
        page: PageRef,
        (after, until): (Option<&[u8]>, Option<&[u8]>),
        depth: usize,
        visit: &mut V,
    ) -> Result<(), V::Stop> {
        let page = match self.read(page)? {
            Some(page) if depth < MAX_DEPTH => page,
            _ => return visit.gap(after, until),
        };
        let count = page.count();
        if page.kind() == LEAF {
            for n in 0..count {
                match page.entry(n) {
                    Some((key, value)) => visit.entry(key, value)?,
                    None => return visit.gap(after, until),
                }
            }
            return Ok(());
        }
        for n in 0..=count {
            // The key between two children is at or above all of the one before it, and below all of the next.
            let low = if n == 0 { after } else { page.separator(n - 1) };
            let high = if n == count { until } else { page.separator(n) };
            match page.child(n) {
                Some(child) => self.descend(child, (low, high), depth + 1, visit)?,
                None => visit.gap(low, high)?,
            }
        }
        Ok(())
    }

    /// A page, if its bytes are those that its parent has named.
    fn read(&mut self, page: PageRef) -> io::Result<Option<Page>> {
        let Some((offset, bytes)) = self.place(page.number) else {
            return Ok(None);
        };
        let mut held = Page(vec![0; bytes]);
        self.file.seek(SeekFrom::Start(offset))?;
        self.file.read_exact(&mut held.0)?;
        let is_sound = held
            .used()
            .is_some_and(|used| XxHash3_128::oneshot(used) == page.checksum);
        Ok(is_sound.then_some(held))
    }

    /// Where a page begins in the file, and how long it is; `None` if that is beyond the end.
    fn place(&self, number: u64) -> Option<(u64, usize)> {
        // 20 bits for the place in the region, of which a page of a higher order uses fewer; 20 for the region; in the
        // highest 5 the order.
        let order = number >> 59;
        let index = number & (0xf_ffff >> order);
        let region = (number >> 20) & 0xf_ffff;
        let bytes = PAGE_BYTES << order;
        let in_region = self.region_header + index * bytes;
        let base = region.checked_mul(self.region)?.checked_add(PAGE_BYTES)?;
        let offset = base.checked_add(in_region)?;
        let is_there = offset.checked_add(bytes)? <= self.length;
        Some((offset, usize::try_from(bytes).ok()?)).filter(|_| is_there)
    }
}

/// The number of a commit, and the tree of its tables; `None` if the slot is damaged or of another version.
fn slot(bytes: &[u8]) -> Option<(u64, Option<Tree>)> {
    let (held, checksum) = bytes.split_at_checked(SLOT_CHECKSUM)?;
    let is_sound = XxHash3_128::oneshot(held).to_le_bytes() == checksum && held[0] == VERSION;
    let tree = if held[1] == 0 { None } else { tree(held, 8) };
    is_sound.then_some((number_64(held, TRANSACTION)?, tree))
}

/// What a table's entry in the tree of tables says: its tree, or that it is empty. `None` if it is no table of ours.
pub(super) fn table_of(definition: &[u8]) -> Option<Option<Tree>> {
    // The kind; entries; whether there are any, and where; then whether keys and values are of a fixed length.
    let is_ours = definition.first() == Some(&PLAIN_TABLE)
        && definition.get(42) == Some(&0)
        && definition.get(47) == Some(&0);
    if !is_ours {
        return None;
    }
    let entries = number_64(definition, 1)?;
    match definition.get(9)? {
        0 => (entries == 0).then_some(None),
        _ => tree(definition, 10).map(|tree| Some(Tree { entries, ..tree })),
    }
}

fn tree(bytes: &[u8], at: usize) -> Option<Tree> {
    let root = PageRef {
        number: number_64(bytes, at)?,
        checksum: checksum(bytes, at + 8)?,
    };
    let entries = number_64(bytes, at + 24)?;
    Some(Tree { root, entries })
}

/// The bytes of a page.
struct Page(Vec<u8>);

impl Page {
    fn kind(&self) -> u8 {
        self.0[0]
    }

    /// Entries of a leaf, or keys of a branch, which has one child more.
    fn count(&self) -> usize {
        usize::from(u16::from_le_bytes([self.0[2], self.0[3]]))
    }

    /// The part that the checksum covers.
    fn used(&self) -> Option<&[u8]> {
        let last = self.count().checked_sub(1)?;
        let end = match self.kind() {
            LEAF => self.value_end(last)?,
            BRANCH => self.separator_end(last)?,
            _ => return None,
        };
        self.0.get(..end)
    }

    /// An entry of a leaf: ends of all keys, ends of all values, the keys, the values.
    fn entry(&self, n: usize) -> Option<(&[u8], &[u8])> {
        let count = self.count();
        let (key, value) = match n {
            0 => (4 + 8 * count, self.key_end(count - 1)?),
            _ => (self.key_end(n - 1)?, self.value_end(n - 1)?),
        };
        let key = self.0.get(key..self.key_end(n)?)?;
        Some((key, self.0.get(value..self.value_end(n)?)?))
    }

    fn key_end(&self, n: usize) -> Option<usize> {
        number(&self.0, 4 + 4 * n)
    }

    fn value_end(&self, n: usize) -> Option<usize> {
        number(&self.0, 4 + 4 * (self.count() + n))
    }

    /// A child of a branch: the checksums of all, their numbers, the ends of all keys between them, these keys.
    fn child(&self, n: usize) -> Option<PageRef> {
        let children = self.count() + 1;
        Some(PageRef {
            checksum: checksum(&self.0, 8 + 16 * n)?,
            number: number_64(&self.0, 8 + 16 * children + 8 * n)?,
        })
    }

    fn separator(&self, n: usize) -> Option<&[u8]> {
        let start = match n {
            0 => 8 + 24 * (self.count() + 1) + 4 * self.count(),
            _ => self.separator_end(n - 1)?,
        };
        self.0.get(start..self.separator_end(n)?)
    }

    fn separator_end(&self, n: usize) -> Option<usize> {
        number(&self.0, 8 + 24 * (self.count() + 1) + 4 * n)
    }
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(number_32(bytes, at)?).ok()
}

fn number_32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn number_64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn checksum(bytes: &[u8], at: usize) -> Option<u128> {
    Some(u128::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_its_place_in_its_region_and_none_beyond_the_end() {
        let pages = Pages {
            file: io::empty(),
            length: 100 << 32,
            region_header: 2 * PAGE_BYTES,
            region: 1 << 32,
        };
        let number = |region: u64, index: u64, order: u64| index | region << 20 | order << 59;
        assert_eq!(pages.place(number(0, 0, 0)), Some((3 * PAGE_BYTES, 4_096)));
        assert_eq!(
            pages.place(number(7, 5, 2)),
            Some(((7 << 32) + 3 * PAGE_BYTES + 5 * 16_384, 16_384))
        );
        // Bits of the place that a page of this order has no use for.
        assert_eq!(
            pages.place(number(0, 0xf_fff1, 16)),
            pages.place(number(0, 1, 16))
        );
        assert!(pages.place(number(99, 0, 0)).is_some());
        assert_eq!(pages.place(number(100, 0, 0)), None);
        assert_eq!(pages.place(u64::MAX), None);
        let huge = Pages {
            region: u64::MAX / 3,
            ..pages
        };
        assert_eq!(huge.place(number(0xf_ffff, 0, 0)), None);
    }
}
