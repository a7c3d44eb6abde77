//! The rules of storage, under each sync policy.

use replica::storage::conformance::{self, Rule};
use replica::{PartitionId, Storage, StorageError, Table, Visitor, WriteBatch};
use replicad::storage::{PartitionStore, Space, Store, SyncPolicy};
use std::cell::{Cell, RefCell};

use super::{NEVER, medium::Medium, open, options, started};

const PLACE: (Space, PartitionId) = (Space::Types, PartitionId(3));

/// A store seen through one of its partitions.
#[derive(Debug)]
struct OfOnePartition {
    partition: PartitionStore,
    store: Store,
}

impl OfOnePartition {
    fn new(store: Store) -> Self {
        Self {
            partition: store.partition(PLACE.0, PLACE.1),
            store,
        }
    }

    fn close(self) {
        drop(self.partition);
        self.store.close().expect("it closes");
    }
}

impl Storage for OfOnePartition {
    fn commit(&mut self, batch: &WriteBatch) -> Result<(), StorageError> {
        self.partition.commit(batch)
    }

    fn scan(&self, table: Table, visit: &mut Visitor<'_>) -> Result<(), StorageError> {
        self.partition.scan(table, visit)
    }
}

#[test]
fn a_store_file_keeps_the_rules_of_storage() {
    let directory = tempfile::tempdir().expect("a directory");
    let stores = Cell::new(0_u32);
    let start = || {
        let path = directory.path().join(stores.get().to_string());
        let mut store = Store::open(&path, options(SyncPolicy::Always)).expect("it opens");
        store.start(&[]).expect("it starts");
        OfOnePartition::new(store)
    };
    let make = || {
        stores.set(stores.get() + 1);
        start()
    };
    let reopen = |store| {
        drop(store);
        start()
    };
    assert_eq!(conformance::check(make, reopen), Ok(()));
}

/// Makes stores on a medium, and cuts the power.
fn on_a_medium<T>(
    policy: SyncPolicy,
    check: impl FnOnce(
        &dyn Fn() -> OfOnePartition,
        &dyn Fn(&mut OfOnePartition),
        &dyn Fn(OfOnePartition) -> OfOnePartition,
    ) -> T,
) -> T {
    let current = RefCell::new(Medium::default());
    let make = || {
        *current.borrow_mut() = Medium::default();
        OfOnePartition::new(started(current.borrow().clone(), policy))
    };
    let fail = |_: &mut OfOnePartition| current.borrow().fail();
    let reopen = |store: OfOnePartition| {
        // The power is cut while the store is open: closing it must not be what saves it.
        let survived = current.borrow().after_power_loss();
        drop(store);
        *current.borrow_mut() = survived;
        OfOnePartition::new(started(current.borrow().clone(), policy))
    };
    check(&make, &fail, &reopen)
}

#[test]
fn always_keeps_every_rule_over_lost_power_and_a_disk_that_refuses() {
    on_a_medium(SyncPolicy::Always, |make, fail, reopen| {
        assert_eq!(conformance::check(make, reopen), Ok(()));
        assert_eq!(conformance::check_failed_commit(make, fail, reopen), Ok(()));
    });
}

#[test]
fn interval_breaks_no_rule_over_lost_power_but_that_of_durability() {
    let breaches = on_a_medium(NEVER, |make, _, reopen| conformance::check(make, reopen));
    let breaches = breaches.expect_err("nothing is synced in time");
    assert_eq!(breaches.rules(), [Rule::Durable], "{breaches}");
}

#[test]
fn every_policy_keeps_every_rule_where_stores_are_closed() {
    for policy in [SyncPolicy::Always, NEVER, SyncPolicy::None] {
        let current = RefCell::new(Medium::default());
        let make = || {
            *current.borrow_mut() = Medium::default();
            OfOnePartition::new(started(current.borrow().clone(), policy))
        };
        let reopen = |store: OfOnePartition| {
            store.close();
            let survived = current.borrow().after_power_loss();
            *current.borrow_mut() = survived;
            OfOnePartition::new(started(current.borrow().clone(), policy))
        };
        assert_eq!(conformance::check(make, reopen), Ok(()), "{policy:?}");
    }
}

#[test]
fn without_syncs_every_rule_holds_over_the_end_of_the_process() {
    let current = RefCell::new(Medium::default());
    let make = || {
        *current.borrow_mut() = Medium::default();
        OfOnePartition::new(started(current.borrow().clone(), SyncPolicy::None))
    };
    let reopen = |store: OfOnePartition| {
        // What the system has been handed it still has.
        let handed_over = current.borrow().bytes();
        drop(store);
        *current.borrow_mut() = Medium::holding(&handed_over);
        OfOnePartition::new(started(current.borrow().clone(), SyncPolicy::None))
    };
    assert_eq!(conformance::check(make, reopen), Ok(()));
}

#[test]
fn a_commit_before_the_start_or_after_the_end_of_a_run_is_refused() {
    let medium = Medium::default();
    let store = open(medium.clone(), SyncPolicy::Always).expect("it opens");
    let mut partition = store.partition(PLACE.0, PLACE.1);
    let batch = WriteBatch {
        changes: vec![(Table::Cells, b"key".to_vec(), Some(b"value".to_vec()))],
    };
    assert!(partition.commit(&batch).is_err());
    drop((partition, store));
    let mut store = started(medium, SyncPolicy::Always);
    assert!(store.start(&[]).is_err(), "a second time");
    let mut partition = store.partition(PLACE.0, PLACE.1);
    assert_eq!(partition.commit(&batch), Ok(()));
    store.close().expect("it closes");
    assert!(partition.commit(&batch).is_err());
}
