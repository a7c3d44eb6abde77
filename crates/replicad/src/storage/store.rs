//! The store of a node: one file.

use redb::StorageBackend;
use redb::backends::FileBackend;
use replica::{PartitionId, StorageError, WriteBatch};
use std::fmt;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::create;
use super::engine::Engine;
use super::state::Standing;
use super::{PartitionStore, SnapshotReport, Space, StoreError, StoreOptions, StoreReader};

/// The store of a node.
///
/// Calls are made in this order: [`open`](Self::open); look at the [`standing`](Self::standing) and read what
/// is there through [`partition`](Self::partition); [`start`](Self::start) once, with the node's first state;
/// then [`commit`](Self::commit); [`close`](Self::close) at the end. Commits before `start` are refused.
pub struct Store {
    engine: Arc<Engine>,
}

/// Whether there is room for writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// There is.
    Enough,
    /// Less is free than has to be.
    Low {
        /// Bytes that are free on the file system.
        free: u64,
        /// Bytes that have to be.
        reserve: u64,
    },
}

impl Store {
    /// Opens the store at `path`, or makes an empty one where there is none, and checks every page of it.
    /// What the store holds and remembers of itself is not changed.
    ///
    /// # Errors
    /// If the file is in use, damaged, of another version or of another owner, or the system refuses it.
    pub fn open(path: &Path, options: StoreOptions) -> Result<Self, StoreError> {
        if !path.try_exists().map_err(|e| StoreError::io(path, e))? {
            create::create(path, &options)?;
        }
        let file = File::options().read(true).write(true).open(path);
        let file = file.map_err(|e| StoreError::io(path, e))?;
        let length = file.metadata().map_err(|e| StoreError::io(path, e))?.len();
        if length == 0 {
            // The engine would make a new store of it.
            return Err(StoreError::damaged(path, "it is empty"));
        }
        let medium = FileBackend::new(file).map_err(|e| StoreError::opening(path, e))?;
        Self::open_medium(path, medium, options)
    }

    /// Opens the store on a medium of the caller's, which holds a store or nothing at all. `path` names it
    /// in errors, and is where [`has_room`](Self::has_room) looks.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub fn open_medium(
        path: &Path,
        medium: impl StorageBackend,
        options: StoreOptions,
    ) -> Result<Self, StoreError> {
        let engine = Arc::new(Engine::open(path, medium, options)?);
        Ok(Self { engine })
    }

    /// What the node may make of what the store held when it was opened.
    #[must_use = "a node that keeps an identity which its store does not vouch for loses acknowledged writes"]
    pub fn standing(&self) -> Standing {
        self.engine.found.standing()
    }

    /// Whether the last run was closed, or there was none.
    pub fn was_closed_properly(&self) -> bool {
        !self.engine.found.is_running()
    }

    /// The tables of one partition.
    pub fn partition(&self, space: Space, partition: PartitionId) -> PartitionStore {
        PartitionStore::new(Arc::clone(&self.engine), space, partition)
    }

    /// Begins a run: makes the first state of *all* partitions of both spaces durable, whatever the sync
    /// policy, and notes in the same transaction that a run has begun. Until it returns, an unclean stop
    /// leaves the store as it was found; after it, the store vouches for the identities in this state.
    ///
    /// # Errors
    /// If it is not durable.
    pub fn start(
        &mut self,
        batches: &[(Space, PartitionId, WriteBatch)],
    ) -> Result<(), StorageError> {
        self.engine.start(batches, false)
    }

    /// [`start`](Self::start), with everything removed that the store held: for a node that makes no use
    /// of it.
    ///
    /// # Errors
    /// If it is not durable.
    pub fn start_empty(
        &mut self,
        batches: &[(Space, PartitionId, WriteBatch)],
    ) -> Result<(), StorageError> {
        self.engine.start(batches, true)
    }

    /// Makes changes of any number of partitions in one transaction, as durable as the sync policy says.
    /// After an error the store takes no more commits until it is opened again.
    ///
    /// # Errors
    /// If the changes were not made, or not surely.
    pub fn commit(
        &mut self,
        batches: &[(Space, PartitionId, WriteBatch)],
    ) -> Result<(), StorageError> {
        let batches = batches
            .iter()
            .map(|(space, id, batch)| (*space, *id, batch));
        self.engine.commit(batches)
    }

    /// Whether the next [`commit`](Self::commit) waits for the disk, or may: not where it is kept in memory, as far as
    /// there is room for it.
    pub fn waits(&self) -> bool {
        self.engine.waits()
    }

    /// How long until [`sync`](Self::sync) is due; `None` while nothing waits for it. A commit that comes
    /// later than that does the same.
    pub fn sync_due_in(&self) -> Option<Duration> {
        self.engine.sync_due_in()
    }

    /// Makes everything durable that was committed.
    ///
    /// # Errors
    /// If it is not.
    pub fn sync(&mut self) -> Result<(), StorageError> {
        self.engine.sync()
    }

    /// Begins to make everything durable that was committed, and does not wait for it: further commits are
    /// taken meanwhile. Does nothing while an earlier one is under way, nor where nothing waits. If it fails, the
    /// next commit says so.
    ///
    /// # Errors
    /// If an earlier one has failed.
    pub fn sync_soon(&mut self) -> Result<(), StorageError> {
        self.engine.sync_soon()
    }

    /// Reads every entry and checks it, to find damage that has come since the store was opened.
    ///
    /// # Errors
    /// If an entry is damaged or cannot be read.
    pub fn verify(&mut self) -> Result<(), StorageError> {
        self.engine.verify()
    }

    /// Copies what the store holds at this moment, commits that are not synced included, to a new
    /// directory at `to`, which appears once it is complete and durable. Every entry is checked on the
    /// way. [`reader`](Self::reader) does the same beside a running node.
    ///
    /// # Errors
    /// If the store cannot be read, or the copy not be written. Nothing is left at `to` then.
    pub fn snapshot(&self, to: &Path) -> Result<SnapshotReport, StorageError> {
        self.engine.snapshot(to)
    }

    /// The store as another thread may read it meanwhile.
    pub fn reader(&self) -> StoreReader {
        StoreReader::new(Arc::clone(&self.engine))
    }

    /// What was found to be damaged since the store was opened. An error of reading may come from the
    /// disk, the store or the reader; this says whether the store has to be put aside.
    pub fn damage(&self) -> Option<&str> {
        self.engine.damage()
    }

    /// Whether the file system has room for writes. Where that cannot be asked, there is: a commit that
    /// then fails says so.
    pub fn has_room(&self) -> Room {
        self.engine.has_room()
    }

    /// Ends a run: makes everything durable, and notes that nothing is missing.
    ///
    /// # Errors
    /// If it is not durable. The store is closed all the same, as one that was not closed properly.
    pub fn close(self) -> Result<(), StorageError> {
        self.engine.close()
    }
}

impl Drop for Store {
    /// Waits until nothing more is written to the file.
    fn drop(&mut self) {
        self.engine.wait();
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("path", &self.engine.path)
            .field("options", &self.engine.options)
            .field("found", &self.engine.found)
            .finish_non_exhaustive()
    }
}
