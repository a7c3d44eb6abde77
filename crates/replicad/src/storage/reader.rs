//! A store as other threads see it while its node runs.

use replica::StorageError;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::SnapshotReport;
use super::engine::Engine;

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
