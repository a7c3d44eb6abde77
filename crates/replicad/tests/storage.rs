//! The store on disk keeps the rules of the storage trait.

use replica::storage::conformance;
use replicad::node::RedbStorage;
use std::cell::Cell;
use std::path::PathBuf;

#[test]
fn the_store_on_disk_keeps_the_rules_of_storage() {
    let directory = tempfile::tempdir().expect("a directory");
    let stores = Cell::new(0_u32);
    let path = || -> PathBuf { directory.path().join(format!("{}.redb", stores.get())) };
    let make = || {
        stores.set(stores.get() + 1);
        RedbStorage::open(&path()).expect("a new store")
    };
    let reopen = |storage| {
        drop(storage);
        RedbStorage::open(&path()).expect("a store that exists")
    };
    assert_eq!(conformance::check(make, reopen), Ok(()));
}
