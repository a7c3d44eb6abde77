//! Stores whose bytes are not those that were written.

use replica::{PartitionId, Storage as _, Table, WriteBatch};
use replicad::storage::{Space, Standing, Store, StoreError, SyncPolicy};

use super::{Contents, commit, contents, medium::Medium, open, options, started};

/// Bytes of the engine's header, of which every bit is tried.
const HEADER_BYTES: usize = 320;

/// Positions that are tried in the rest of the file.
const POSITIONS: usize = 1_500;

/// The bytes of a store, what it holds, and what it held before the last commit.
fn made(is_closed: bool) -> (Vec<u8>, Contents, Contents) {
    let medium = Medium::default();
    let mut store = started(medium.clone(), SyncPolicy::Always);
    let (mut expected, mut before) = (Contents::new(), Contents::new());
    for number in 0..80 {
        before.clone_from(&expected);
        commit(&mut store, number, &mut expected).expect("committed");
    }
    if is_closed {
        store.close().expect("it closes");
        return (medium.bytes(), expected, before);
    }
    (medium.after_power_loss().bytes(), expected, before)
}

/// What became of damaged stores.
#[derive(Debug, Default)]
struct Tally {
    refused: u32,
    harmless: u32,
    rolled_back: u32,
}

impl Tally {
    /// Opens what is left, and checks that it is refused or shows nothing wrong, now and after one more commit.
    fn look(&mut self, what: &str, bytes: &[u8], expected: &Contents, before: Option<&Contents>) {
        let medium = Medium::holding(bytes);
        let store = match open(medium.clone(), SyncPolicy::Always) {
            Ok(store) => store,
            Err(StoreError::Damaged { .. }) => return self.refused += 1,
            Err(error) => panic!("{what}: {error}"),
        };
        let standing = store.standing();
        let found = match contents(&store) {
            Ok(found) => found,
            Err(error) => {
                assert!(store.damage().is_some(), "{what}: {error}");
                return self.refused += 1;
            }
        };
        drop(store);
        match () {
            () if found == *expected => self.harmless += 1,
            () if before.is_some_and(|before| found == *before) => self.rolled_back += 1,
            () => panic!("{what}: {standing:?} with {} entries", found.len()),
        }
        assert_eq!(standing, Standing::Intact, "{what}");
        let mut after = found;
        let mut store = started(medium, SyncPolicy::Always);
        commit(&mut store, 1_000, &mut after).expect("committed");
        assert_eq!(contents(&store).expect("it is read"), after, "{what}");
    }
}

/// Positions in the header, and all over the rest.
fn positions(length: usize) -> impl Iterator<Item = usize> {
    let step = (length - HEADER_BYTES) / POSITIONS;
    // Every page has its own structure at its beginning: positions differ within their pages.
    let spread = move |n: usize| HEADER_BYTES + (n * step + n * n % step) % (length - HEADER_BYTES);
    (0..HEADER_BYTES).chain((0..POSITIONS).map(spread))
}

#[test]
fn a_flipped_bit_in_a_closed_store_is_found_or_changes_nothing() {
    let (bytes, expected, _) = made(true);
    let mut tally = Tally::default();
    for (n, position) in positions(bytes.len()).enumerate() {
        let mut altered = bytes.clone();
        altered[position] ^= 1 << (n % 8);
        let what = format!("bit {} of byte {position}", n % 8);
        tally.look(&what, &altered, &expected, None);
    }
    assert!(tally.refused > 100 && tally.harmless > 100, "{tally:?}");
}

/// After an unclean stop, damage in what the last commit wrote looks like a commit that was never finished.
#[test]
fn a_flipped_bit_in_a_store_that_was_not_closed_costs_the_last_commit_at_most() {
    let (bytes, expected, before) = made(false);
    let mut tally = Tally::default();
    for (n, position) in positions(bytes.len()).enumerate() {
        let mut altered = bytes.clone();
        altered[position] ^= 1 << (n % 8);
        let what = format!("bit {} of byte {position}", n % 8);
        tally.look(&what, &altered, &expected, Some(&before));
    }
    assert!(tally.refused > 100 && tally.harmless > 100, "{tally:?}");
}

#[test]
fn a_page_that_is_lost_or_belongs_elsewhere_is_found_or_changes_nothing() {
    const PAGE: usize = 4096;
    let (bytes, expected, _) = made(true);
    let mut tally = Tally::default();
    let pages = bytes.len() / PAGE;
    for page in 1..pages {
        let range = page * PAGE..(page + 1) * PAGE;
        let mut zeroed = bytes.clone();
        zeroed[range.clone()].fill(0);
        tally.look(&format!("page {page} lost"), &zeroed, &expected, None);
        let other = 1 + page * 7 % (pages - 1);
        let mut swapped = bytes.clone();
        swapped.copy_within(other * PAGE..(other + 1) * PAGE, range.start);
        let what = format!("page {other} in place of {page}");
        tally.look(&what, &swapped, &expected, None);
    }
    assert!(tally.refused > 0 && tally.harmless > 0, "{tally:?}");
}

#[test]
fn a_store_that_was_cut_or_has_grown_is_found_or_changes_nothing() {
    let (bytes, expected, _) = made(true);
    let mut tally = Tally::default();
    for n in 0..400 {
        let length = 1 + n * (bytes.len() - 1) / 400;
        let what = format!("cut to {length} bytes");
        tally.look(&what, &bytes[..length], &expected, None);
        let mut grown = bytes.clone();
        grown.resize(bytes.len() + n * 100 + 1, 0xa5);
        let what = format!("grown to {} bytes", grown.len());
        tally.look(&what, &grown, &expected, None);
    }
    assert!(tally.refused > 100, "{tally:?}");
}

#[test]
fn damage_that_comes_while_a_store_is_open_is_found_where_entries_are_read() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("store");
    let place = (Space::Strings, PartitionId(0));
    let mut options = options(SyncPolicy::Always);
    // So that reads come from the file.
    options.cache_bytes = 0;
    let mut store = Store::open(&path, options).expect("it opens");
    store.start(&[]).expect("it starts");
    let changes = (0..2_000_u32)
        .map(|n| {
            (
                Table::Cells,
                n.to_be_bytes().to_vec(),
                Some(vec![0x5a; 100]),
            )
        })
        .collect();
    let batch = WriteBatch { changes };
    store.commit(&[(place.0, place.1, batch)]).expect("done");
    assert_eq!(store.verify(), Ok(()));
    let mut bytes = std::fs::read(&path).expect("it is read");
    let values: Vec<usize> = (0..bytes.len() - 100)
        .filter(|at| bytes[*at..at + 100].iter().all(|byte| *byte == 0x5a))
        .collect();
    for at in &values {
        bytes[*at] ^= 0x20;
    }
    write_in_place(&path, &bytes);
    assert_eq!(store.damage(), None);
    assert!(store.verify().is_err());
    assert!(store.damage().is_some());
    let scanned = store
        .partition(place.0, place.1)
        .scan(Table::Cells, &mut |_, value| {
            assert_eq!(value, [0x5a; 100], "a wrong value is shown");
            Ok(())
        });
    assert!(scanned.is_err());
    let copy = directory.path().join("copy");
    assert!(store.snapshot(&copy).is_err(), "damage must not be copied");
    assert!(!copy.exists());
}

fn write_in_place(path: &std::path::Path, bytes: &[u8]) {
    use std::io::Write as _;
    let file = std::fs::File::options().write(true).open(path);
    let mut file = file.expect("it opens");
    file.write_all(bytes).expect("it is written");
}
