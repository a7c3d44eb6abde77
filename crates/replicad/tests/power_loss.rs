//! Loss of power: a medium that keeps only what was synced.
//!
//! Killing a process does not show it, because the system still writes what the process had handed over.

use redb::backends::InMemoryBackend;
use redb::{Database, StorageBackend};
use replica::storage::conformance;
use replica::{Storage, Table, WriteBatch};
use replicad::node::RedbStorage;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

/// A medium with a volatile cache: writes reach what survives only when they are synced.
#[derive(Debug, Clone, Default)]
struct Medium {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// What a reader sees.
    volatile: Vec<u8>,
    /// What is left after the power was cut.
    synced: Vec<u8>,
    /// Whether the medium refuses to sync.
    fails: bool,
}

impl Medium {
    /// Makes every sync fail from now on.
    fn fail(&self) {
        self.state.lock().expect("not poisoned").fails = true;
    }

    /// The medium as it is after the power was cut now.
    fn after_power_loss(&self) -> Self {
        let synced = self.state.lock().expect("not poisoned").synced.clone();
        let state = State {
            volatile: synced.clone(),
            synced,
            fails: false,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }
}

impl StorageBackend for Medium {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state.lock().expect("not poisoned").volatile.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let state = self.state.lock().expect("not poisoned");
        let end = start + out.len();
        let source = state
            .volatile
            .get(start..end)
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(source);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(io::Error::other)?;
        self.state
            .lock()
            .expect("not poisoned")
            .volatile
            .resize(len, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state.lock().expect("not poisoned");
        if state.fails {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.synced = state.volatile.clone();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let mut state = self.state.lock().expect("not poisoned");
        let target = state.volatile.get_mut(start..start + data.len());
        target
            .ok_or(io::ErrorKind::UnexpectedEof)?
            .copy_from_slice(data);
        Ok(())
    }
}

fn open(medium: Medium) -> RedbStorage {
    let database = Database::builder()
        .create_with_backend(medium)
        .expect("the store opens");
    RedbStorage::with_database(database)
}

fn contents(storage: &dyn Storage) -> BTreeMap<(Table, Vec<u8>), Vec<u8>> {
    let mut contents = BTreeMap::new();
    for table in Table::ALL {
        storage
            .scan(table, &mut |key, value| {
                contents.insert((table, key.to_vec()), value.to_vec());
                Ok(())
            })
            .expect("the store is read");
    }
    contents
}

#[test]
fn a_committed_batch_survives_loss_of_power_whole_and_an_uncommitted_one_leaves_nothing() {
    let medium = Medium::default();
    let mut storage = open(medium.clone());
    let mut expected = BTreeMap::new();
    for round in 0..40_u8 {
        let mut batch = WriteBatch::default();
        for n in 0..=round {
            let table = Table::ALL[usize::from(n) % Table::ALL.len()];
            let value = (n % 5 != round % 5).then(|| vec![round; 50]);
            match &value {
                Some(value) => expected.insert((table, vec![n]), value.clone()),
                None => expected.remove(&(table, vec![n])),
            };
            batch.changes.push((table, vec![n], value));
        }
        storage.commit(&batch).expect("committed");
        let survived = open(medium.after_power_loss());
        assert_eq!(contents(&survived), expected, "after batch {round}");
    }
}

#[test]
fn the_store_keeps_the_rules_of_storage_over_loss_of_power_and_a_full_disk() {
    let current = RefCell::new(Medium::default());
    let make = || {
        *current.borrow_mut() = Medium::default();
        open(current.borrow().clone())
    };
    let reopen = |storage: RedbStorage| {
        // The power is cut while the store is open: closing it must not be what saves it.
        let survived = current.borrow().after_power_loss();
        drop(storage);
        *current.borrow_mut() = survived;
        open(current.borrow().clone())
    };
    assert_eq!(conformance::check(make, reopen), Ok(()));
    let fail = |_: &mut RedbStorage| current.borrow().fail();
    assert_eq!(conformance::check_failed_commit(make, fail, reopen), Ok(()));
}

#[test]
fn the_test_medium_does_lose_what_is_not_synced() {
    let medium = Medium::default();
    medium.set_len(4).expect("resized");
    medium.write(0, b"lost").expect("written");
    assert_eq!(medium.after_power_loss().len().expect("a length"), 0);
    // The engine's own backend in memory, for comparison, has no such cache.
    let memory = InMemoryBackend::new();
    memory.set_len(4).expect("resized");
    memory.write(0, b"kept").expect("written");
    assert_eq!(memory.len().expect("a length"), 4);
}
