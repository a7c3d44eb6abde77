//! Damaged stores are put aside, and what is sound in them goes on.

use replica::{PartitionId, Storage as _, Table, WriteBatch};
use replicad::storage::{
    DAMAGED_STORES, PutAside, Space, Standing, Store, StoreError, StoreFile, SyncPolicy,
};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::options;

/// So much that each partition has pages of its own.
const ENTRIES: u32 = 200;

const PARTITIONS: u32 = 4;

fn places() -> BTreeSet<(Space, PartitionId)> {
    let places = (0..PARTITIONS).map(|id| (Space::Strings, PartitionId(id)));
    places.collect()
}

fn value(partition: u32) -> Vec<u8> {
    vec![b'a' + partition as u8; 100]
}

fn batch(partition: u32) -> WriteBatch {
    let changes = (0..ENTRIES).map(|n| {
        let key = n.to_be_bytes().to_vec();
        (Table::Cells, key, Some(value(partition)))
    });
    let changes = changes.collect();
    WriteBatch { changes }
}

fn file(path: &Path) -> StoreFile {
    let mut options = options(SyncPolicy::Always);
    // So that reads come from the file.
    options.cache_bytes = 0;
    StoreFile::new(path, options)
}

/// A store that runs, with the same in each partition but for the letter.
fn filled(file: &StoreFile) -> Store {
    let mut store = file.open().expect("it opens").store;
    let batches = places().into_iter();
    let batches: Vec<_> = batches
        .map(|(space, id)| (space, id, batch(id.0)))
        .collect();
    store.start(&batches).expect("it starts");
    store
}

/// Changes every value of a partition in the file, wherever one lies.
fn damage(path: &Path, partition: u32) {
    let mut bytes = fs::read(path).expect("it is read");
    let value = value(partition);
    for at in 0..bytes.len() - value.len() {
        if bytes[at..].starts_with(&value) {
            bytes[at + 50] ^= 0x80;
        }
    }
    // In place: the store may be open.
    use std::io::Write as _;
    let opened = fs::File::options().write(true).open(path);
    opened
        .expect("it opens")
        .write_all(&bytes)
        .expect("written");
}

/// The entries of a partition, each of which must be the one that was written.
fn entries(store: &Store, partition: u32) -> u32 {
    let mut entries = 0;
    let tables = store.partition(Space::Strings, PartitionId(partition));
    let scanned = tables.scan(Table::Cells, &mut |_, found| {
        assert_eq!(found, value(partition));
        entries += 1;
        Ok(())
    });
    scanned.expect("it is sound");
    entries
}

fn check(aside: &PutAside, store: &Store, lost: u32) {
    let mut expected = places();
    expected.remove(&(Space::Strings, PartitionId(lost)));
    assert_eq!(aside.saved, expected);
    for partition in 0..PARTITIONS {
        let count = if partition == lost { 0 } else { ENTRIES };
        assert_eq!(entries(store, partition), count, "partition {partition}");
    }
}

#[test]
fn a_damaged_store_is_kept_as_it_was_and_only_what_is_damaged_is_lost() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("store");
    let file = file(&path);
    filled(&file).close().expect("it closes");
    damage(&path, 2);
    let damaged = fs::read(&path).expect("it is read");
    let opened = file.open().expect("it opens");
    let aside = opened.put_aside.expect("it was damaged");
    assert!(fs::read(&aside.path).expect("it is kept") == damaged);
    assert_eq!(aside.path, directory.path().join("store.damaged-1"));
    assert_eq!(opened.store.standing(), Standing::Intact);
    assert!(opened.store.was_closed_properly());
    check(&aside, &opened.store, 2);
    // The partition that has lost its data gets it from others, and all is as before.
    let mut store = opened.store;
    store
        .start(&[(Space::Strings, PartitionId(2), batch(2))])
        .expect("it starts");
    store.close().expect("it closes");
    let opened = file.open().expect("it opens");
    assert_eq!(opened.put_aside, None);
    assert_eq!(
        (0..PARTITIONS)
            .map(|id| entries(&opened.store, id))
            .sum::<u32>(),
        ENTRIES * PARTITIONS
    );
    let left = fs::read_dir(directory.path()).expect("a directory").count();
    assert_eq!(left, 2, "the store and the damaged one");
}

#[test]
fn damage_that_comes_while_a_store_is_open_costs_what_is_damaged() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("store");
    let file = file(&path);
    let mut store = filled(&file);
    damage(&path, 1);
    assert!(store.verify().is_err());
    let cause = store.damage().expect("it is known").to_owned();
    drop(store);
    let aside = file.put_aside(&cause).expect("there is room");
    assert_eq!(aside.cause, cause);
    let opened = file.open().expect("it opens");
    assert_eq!(opened.put_aside, None, "what was saved is sound");
    assert_eq!(opened.store.standing(), Standing::Intact);
    assert!(!opened.store.was_closed_properly(), "it was not");
    check(&aside, &opened.store, 1);
}

#[test]
fn a_disk_that_damages_one_store_after_another_needs_somebody_who_looks_at_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("store");
    let file = file(&path);
    for _ in 0..DAMAGED_STORES {
        filled(&file).close().expect("it closes");
        damage(&path, 0);
        assert!(file.open().expect("it opens").put_aside.is_some());
        fs::remove_file(&path).expect("for a new one");
    }
    filled(&file).close().expect("it closes");
    damage(&path, 0);
    let damaged = fs::read(&path).expect("it is read");
    let refused = file.open().expect_err("once more");
    assert!(
        matches!(refused, StoreError::DamagedAgain { .. }),
        "{refused}"
    );
    assert!(fs::read(&path).expect("it is there") == damaged);
}
