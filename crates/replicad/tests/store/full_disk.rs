//! A disk without room.

use replicad::storage::{Room, Store, StoreOptions, SyncPolicy};

use super::{Contents, NEVER, commit, contents, medium::Medium, open, options, started};

#[test]
fn room_is_what_the_file_system_has_beyond_the_reserve() {
    let directory = tempfile::tempdir().expect("a directory");
    let room = |reserve_bytes| {
        let options = StoreOptions {
            reserve_bytes,
            ..options(SyncPolicy::Always)
        };
        let store = Store::open(&directory.path().join("store"), options).expect("it opens");
        store.has_room()
    };
    assert_eq!(room(0), Room::Enough);
    let Room::Low { free, reserve } = room(u64::MAX) else {
        panic!("no file system has so much");
    };
    assert_eq!(reserve, u64::MAX);
    assert!(free > 0);
}

#[test]
fn a_full_disk_is_reported_and_the_store_opens_again_with_all_that_was_committed() {
    for policy in [SyncPolicy::Always, NEVER, SyncPolicy::None] {
        let medium = Medium::default();
        let mut expected = Contents::new();
        let mut store = started(medium.clone(), policy);
        commit(&mut store, 0, &mut expected).expect("there is room");
        store.sync().expect("there is room");
        medium.limit(Some(0));
        let committed = |store: &mut Store, number, expected: &mut Contents| {
            commit(store, number, expected).and_then(|()| store.sync())
        };
        let mut number = 1;
        let mut before = expected.clone();
        let error = loop {
            before.clone_from(&expected);
            match committed(&mut store, number, &mut expected) {
                Ok(()) => number += 1,
                Err(error) => break error,
            }
            assert!(number < 20_000, "the disk is never full");
        };
        assert!(!error.cause.is_empty(), "{policy:?}");
        let again = commit(&mut store, number, &mut expected.clone());
        assert!(again.is_err(), "{policy:?}: it takes nothing more");
        drop(store);
        medium.limit(None);
        let store = open(medium.clone(), policy).expect("it opens again");
        let left = contents(&store).expect("it is read");
        let mut after = before.clone();
        drop(store);
        let mut store = started(medium, policy);
        assert!(
            left == before || left == expected,
            "{policy:?}: half a commit"
        );
        after.clone_from(&left);
        commit(&mut store, number, &mut after).expect("there is room again");
        assert_eq!(contents(&store).expect("it is read"), after, "{policy:?}");
    }
}
