//! A store as other threads see it while its node runs.

use replica::StorageError;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::SnapshotReport;
use super::engine::Engine;
use super::{StoreMetrics, create};

/// Reads a store beside the thread that writes it. It sees the store as it was when a call began; what is
/// written meanwhile takes room in the file of its own until the call ends.
#[derive(Clone)]
pub struct StoreReader {
    engine: Arc<Engine>,
}

impl StoreReader {
    pub(super) const fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }

    /// What [`Store::verify`](super::Store::verify) does.
    ///
    /// # Errors
    /// If an entry is damaged or cannot be read.
    pub fn verify(&self) -> Result<(), StorageError> {
        self.engine.verify()
    }

    /// What is counted of the store.
    pub(crate) fn metrics(&self) -> StoreMetrics {
        self.engine.metrics.clone()
    }

    /// Bytes that are free on the file system of the store; `None` where that cannot be asked.
    pub fn free_bytes(&self) -> Option<u64> {
        fs4::available_space(create::directory(&self.engine.path)).ok()
    }

    /// What [`Store::has_room`](super::Store::has_room) does.
    pub fn has_room(&self) -> super::Room {
        self.engine.has_room()
    }

    /// Bytes of the file of the store.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn file_bytes(&self) -> std::io::Result<u64> {
        Ok(std::fs::metadata(&self.engine.path)?.len())
    }

    /// What [`Store::snapshot`](super::Store::snapshot) does.
    ///
    /// # Errors
    /// If the store cannot be read, or the copy not be written. Nothing is left at `to` then.
    pub fn snapshot(&self, to: &Path) -> Result<SnapshotReport, StorageError> {
        self.engine.snapshot(to)
    }
}

impl fmt::Debug for StoreReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreReader")
            .field("path", &self.engine.path)
            .finish_non_exhaustive()
    }
}
