//! One partition of a store, as the library sees storage.

use replica::{PartitionId, Storage, StorageError, Table, Visitor, WriteBatch};
use std::sync::Arc;

use super::Space;
use super::engine::Engine;

/// The tables of one partition in a [`Store`](super::Store): what a node is restored from.
///
/// Under [`SyncPolicy::Always`](super::SyncPolicy::Always) it keeps every rule of [`Storage`]; under the
/// others every rule but S2, durable. The store's own [`commit`](super::Store::commit) does the same for
/// many partitions at once.
pub struct PartitionStore {
    engine: Arc<Engine>,
    space: Space,
    partition: PartitionId,
}

impl PartitionStore {
    pub(super) const fn new(engine: Arc<Engine>, space: Space, partition: PartitionId) -> Self {
        Self {
            engine,
            space,
            partition,
        }
    }
}

impl Storage for PartitionStore {
    fn commit(&mut self, batch: &WriteBatch) -> Result<(), StorageError> {
        self.engine
            .commit([(self.space, self.partition, batch)].into_iter())
    }

    fn scan(&self, table: Table, visit: &mut Visitor<'_>) -> Result<(), StorageError> {
        self.engine.scan((self.space, self.partition, table), visit)
    }
}

impl std::fmt::Debug for PartitionStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PartitionStore")
            .field("space", &self.space)
            .field("partition", &self.partition)
            .finish_non_exhaustive()
    }
}
