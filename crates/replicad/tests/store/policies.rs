//! What each sync policy keeps, and what the store says of itself afterwards.

use replica::NodeId;
use replica::{PartitionId, Table, WriteBatch};
use replicad::storage::{HeadStart, Space, Standing, Store, StoreError, StoreOwner, SyncPolicy};
use std::path::Path;
use std::time::Duration;

use super::{Contents, NEVER, OWNER, commit, contents, medium::Medium, open, options, started};

const POLICIES: [SyncPolicy; 3] = [SyncPolicy::Always, NEVER, SyncPolicy::None];

#[test]
fn a_new_store_has_nothing_until_it_is_started() {
    let medium = Medium::default();
    for _ in 0..3 {
        let store = open(medium.clone(), SyncPolicy::Always).expect("it opens");
        assert_eq!(store.standing(), Standing::Empty);
        drop(store);
    }
    drop(started(medium.clone(), SyncPolicy::Always));
    let store = open(medium, SyncPolicy::Always).expect("it opens");
    assert_eq!(store.standing(), Standing::Intact);
}

#[test]
fn an_unclean_stop_costs_the_identity_under_weak_policies_whatever_is_configured_later() {
    for policy in POLICIES {
        for later in POLICIES {
            let medium = Medium::default();
            drop(started(medium.clone(), policy));
            let found = open(medium.clone(), later).expect("it opens");
            let expected = match policy {
                SyncPolicy::Always => Standing::Intact,
                _ => Standing::HeadStart(HeadStart::UncleanStop),
            };
            assert_eq!(found.standing(), expected, "{policy:?}, then {later:?}");
            assert!(!found.was_closed_properly());
            drop(found);
            // Looking at it has changed nothing.
            let mut store = open(medium.clone(), later).expect("it opens");
            assert_eq!(store.standing(), expected);
            store.start(&[]).expect("it starts");
            store.close().expect("it closes");
            let store = open(medium, policy).expect("it opens");
            assert_eq!(store.standing(), Standing::Intact);
            assert!(store.was_closed_properly());
        }
    }
}

#[test]
fn a_start_is_durable_under_every_policy() {
    for policy in POLICIES {
        let medium = Medium::default();
        let place = (Space::Strings, PartitionId(0));
        let batch = WriteBatch {
            changes: vec![(Table::Meta, b"state".to_vec(), Some(b"first".to_vec()))],
        };
        let mut store = open(medium.clone(), policy).expect("it opens");
        store.start(&[(place.0, place.1, batch)]).expect("started");
        let survived = open(medium.after_power_loss(), policy).expect("it opens");
        assert_eq!(
            contents(&survived).expect("it is read").len(),
            1,
            "{policy:?}"
        );
        assert_ne!(survived.standing(), Standing::Empty, "{policy:?}");
    }
}

#[test]
fn a_start_without_the_data_removes_it_together_with_the_first_state() {
    let medium = Medium::default();
    let mut expected = Contents::new();
    let mut store = started(medium.clone(), SyncPolicy::Always);
    for number in 0..20 {
        commit(&mut store, number, &mut expected).expect("committed");
    }
    drop(store);
    let mut store = open(medium.clone(), SyncPolicy::Always).expect("it opens");
    assert_eq!(contents(&store).expect("it is read"), expected);
    store.start_empty(&[]).expect("it starts");
    assert_eq!(contents(&store).expect("it is read"), Contents::new());
    let survived = open(medium.after_power_loss(), SyncPolicy::Always).expect("it opens");
    assert_eq!(contents(&survived).expect("it is read"), Contents::new());
}

#[test]
fn lost_power_takes_what_the_policy_says() {
    for (policy, synced) in [
        (SyncPolicy::Always, false),
        (SyncPolicy::Interval(Duration::ZERO), false),
        (NEVER, true),
        (SyncPolicy::None, true),
    ] {
        let medium = Medium::default();
        let mut expected = Contents::new();
        let mut store = started(medium.clone(), policy);
        for number in 0..10 {
            commit(&mut store, number, &mut expected).expect("committed");
            if !synced {
                let survived = open(medium.after_power_loss(), policy).expect("it opens");
                let survived = contents(&survived).expect("it is read");
                assert_eq!(survived, expected, "{policy:?} after commit {number}");
            }
        }
        if synced {
            let syncs = medium.syncs();
            let due = store.sync_due_in();
            assert_eq!(due.is_some(), policy == NEVER, "{policy:?}");
            store.sync().expect("synced");
            assert!(medium.syncs() > syncs);
            store.sync().expect("nothing to do");
        }
        assert_eq!(store.sync_due_in(), None, "{policy:?}");
        let survived = open(medium.after_power_loss(), policy).expect("it opens");
        assert_eq!(
            contents(&survived).expect("it is read"),
            expected,
            "{policy:?}"
        );
    }
}

#[test]
fn under_an_interval_every_crash_leaves_what_some_sync_left() {
    let medium = Medium::default();
    let mut store = started(medium.clone(), NEVER);
    let (mut expected, mut synced) = (Contents::new(), Contents::new());
    for number in 0..60 {
        commit(&mut store, number, &mut expected).expect("committed");
        if number % 7 == 6 {
            store.sync().expect("synced");
            synced = expected.clone();
        }
        let survived = open(medium.after_power_loss(), NEVER).expect("it opens");
        assert_eq!(
            contents(&survived).expect("it is read"),
            synced,
            "after {number}"
        );
    }
    assert_ne!(expected, synced);
}

#[test]
fn a_commit_that_comes_after_the_interval_syncs() {
    let medium = Medium::default();
    let policy = SyncPolicy::Interval(Duration::from_millis(1));
    let mut store = started(medium.clone(), policy);
    let mut expected = Contents::new();
    commit(&mut store, 0, &mut expected).expect("committed");
    while store.sync_due_in() != Some(Duration::ZERO) {
        std::thread::sleep(Duration::from_millis(1));
    }
    commit(&mut store, 1, &mut expected).expect("committed");
    assert_eq!(store.sync_due_in(), None);
    let survived = open(medium.after_power_loss(), policy).expect("it opens");
    assert_eq!(contents(&survived).expect("it is read"), expected);
}

#[test]
fn a_sync_in_the_background_keeps_what_was_committed_before_it() {
    let medium = Medium::default();
    let mut store = started(medium.clone(), NEVER);
    let mut expected = Contents::new();
    for number in 0..20 {
        commit(&mut store, number, &mut expected).expect("committed");
    }
    let before = expected.clone();
    store.sync_soon().expect("it begins");
    for number in 20..30 {
        commit(&mut store, number, &mut expected).expect("taken meanwhile");
    }
    // Waits for what is under way; what came after it is in memory and lost with the process.
    drop(store);
    let survived = open(medium.after_power_loss(), NEVER).expect("it opens");
    assert_eq!(contents(&survived).expect("it is read"), before);
}

#[test]
fn commits_that_wait_are_read_and_bounded() {
    let medium = Medium::default();
    let options = replicad::storage::StoreOptions {
        waiting_bytes: 2_000,
        ..options(NEVER)
    };
    let mut store =
        Store::open_medium(Path::new("medium"), medium.clone(), options).expect("it opens");
    store.start(&[]).expect("it starts");
    let mut expected = Contents::new();
    let syncs = medium.syncs();
    for number in 0..100 {
        commit(&mut store, number, &mut expected).expect("committed");
    }
    assert!(medium.syncs() > syncs, "no more than the limit waits");
    assert_eq!(contents(&store).expect("it is read"), expected);
}

#[test]
fn a_store_of_another_owner_and_a_file_of_another_program_are_refused() {
    let medium = Medium::default();
    drop(started(medium.clone(), SyncPolicy::Always));
    let owner = StoreOwner {
        node: NodeId(2),
        ..OWNER
    };
    let other = replicad::storage::StoreOptions {
        owner,
        ..options(SyncPolicy::Always)
    };
    let refused = Store::open_medium(Path::new("medium"), medium, other);
    assert!(
        matches!(refused, Err(StoreError::Owner { .. })),
        "{refused:?}"
    );

    let medium = Medium::default();
    let database = redb::Database::builder()
        .create_with_backend(medium.clone())
        .expect("a database");
    let transaction = database.begin_write().expect("a transaction");
    let table: redb::TableDefinition<'_, u64, u64> = redb::TableDefinition::new("theirs");
    drop(transaction.open_table(table).expect("a table"));
    transaction.commit().expect("committed");
    drop(database);
    let refused = open(medium, SyncPolicy::Always);
    assert!(
        matches!(refused, Err(StoreError::Foreign { .. })),
        "{refused:?}"
    );
}

#[test]
fn a_store_that_is_open_is_in_use() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("store");
    let _store = Store::open(&path, options(SyncPolicy::Always)).expect("it opens");
    let refused = Store::open(&path, options(SyncPolicy::Always));
    assert!(
        matches!(refused, Err(StoreError::InUse { .. })),
        "{refused:?}"
    );
}
