//! Commits that wait in memory to be written together, under [`SyncPolicy::Interval`](super::SyncPolicy).
//!
//! A key that is written again before that is written once, and the engine is handed long sorted runs: both
//! cost much less than a transaction for each commit.

use redb::WriteTransaction;
use replica::{PartitionId, Table, WriteBatch};
use std::collections::BTreeMap;

use super::Space;
use super::tables::put_batch;

/// What an entry of a map costs in memory beside its bytes, about.
const ENTRY_BYTES: usize = 96;

/// What became of each key of a table: its new value, or `None` if it was removed.
type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// The last change of each key.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    places: BTreeMap<(Space, PartitionId, Table), Changes>,
    bytes: usize,
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Bytes that it holds. What is replaced counts on, so that it is an upper bound.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn add(&mut self, space: Space, partition: PartitionId, batch: &WriteBatch) {
        for (table, key, value) in &batch.changes {
            self.bytes += ENTRY_BYTES + key.len() + value.as_ref().map_or(0, Vec::len);
            let place = self.places.entry((space, partition, *table)).or_default();
            match place.get_mut(key) {
                Some(held) => held.clone_from(value),
                None => drop(place.insert(key.clone(), value.clone())),
            }
        }
    }

    /// Writes everything, and tells how many entries that were.
    pub(super) fn put(self, transaction: &WriteTransaction) -> Result<usize, redb::Error> {
        let mut count = 0;
        for ((space, partition, table), changes) in self.places {
            let changes = changes.into_iter().map(|(key, value)| (table, key, value));
            let batch = WriteBatch {
                changes: changes.collect(),
            };
            count += batch.changes.len();
            put_batch(transaction, space, partition, &batch)?;
        }
        Ok(count)
    }
}
