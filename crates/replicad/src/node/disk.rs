//! What the actor of a node needs of its store.

use replica::{PartitionId, StorageError, WriteBatch};
use std::time::Duration;

use crate::storage::{Room, Store};
use crate::store::Space;

/// Changes of partitions of both spaces.
pub(super) type Batches = [(Space, PartitionId, WriteBatch)];

/// The store of a node that runs. [`Store`] is the one that is used; tests bring others.
pub(super) trait Disk: Send {
    /// Makes changes in one transaction, as durable as the policy of the store says.
    fn commit(&mut self, batches: &Batches) -> Result<(), StorageError>;

    /// Whether the next commit waits for the disk, or may.
    fn waits(&self) -> bool;

    /// Whether writes may be taken.
    fn room(&self) -> Room;

    /// How long until [`sync_soon`](Self::sync_soon) is due; `None` while nothing waits for it.
    fn sync_due_in(&self) -> Option<Duration>;

    /// Begins to make everything durable that was committed; a failure is told by the next commit.
    fn sync_soon(&mut self) -> Result<(), StorageError>;

    /// Makes everything durable, and notes that nothing is missing.
    fn close(self: Box<Self>) -> Result<(), StorageError>;
}

impl Disk for Store {
    fn commit(&mut self, batches: &Batches) -> Result<(), StorageError> {
        Self::commit(self, batches)
    }

    fn waits(&self) -> bool {
        Self::waits(self)
    }

    fn room(&self) -> Room {
        self.has_room()
    }

    fn sync_due_in(&self) -> Option<Duration> {
        Self::sync_due_in(self)
    }

    fn sync_soon(&mut self) -> Result<(), StorageError> {
        Self::sync_soon(self)
    }

    fn close(self: Box<Self>) -> Result<(), StorageError> {
        Self::close(*self)
    }
}
