//! Where a node's state survives a restart.

use std::collections::BTreeMap;
use std::fmt;

/// One of a node's tables, each a map from bytes to bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Table {
    /// Key to encoded cell.
    Cells,
    /// Event (replica and counter, big endian) to the key it touched.
    Log,
    /// Identity, knowledge, clock, view and promises, under a name.
    Meta,
}

impl Table {
    /// All tables.
    pub const ALL: [Self; 3] = [Self::Cells, Self::Log, Self::Meta];
}

/// Changes that are made together or not at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WriteBatch {
    /// For each change the table, the key, and the new value or `None` to remove it.
    pub changes: Vec<(Table, Vec<u8>, Option<Vec<u8>>)>,
}

/// Storage that failed. Nothing that depends on the failed call may be shown to anyone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{operation}: {cause}")]
pub struct StorageError {
    /// What was attempted.
    pub operation: &'static str,
    /// What the storage said.
    pub cause: String,
}

impl StorageError {
    /// An error of `operation` with its cause.
    pub fn new(operation: &'static str, cause: impl fmt::Display) -> Self {
        Self {
            operation,
            cause: cause.to_string(),
        }
    }
}

/// What [`Storage::scan`] calls with each key and value.
pub type Visitor<'a> = dyn FnMut(&[u8], &[u8]) -> Result<(), StorageError> + 'a;

/// A durable map for each [`Table`].
///
/// An implementation MUST make a batch atomic: after a crash all of its changes are there or none.
/// When `commit` returns `Ok` the batch MUST survive a crash and loss of power, and so must every batch
/// committed before it. When it returns an error, none of the batch may show until the storage is
/// opened again. Calls come from one thread at a time and may block.
pub trait Storage: Send + fmt::Debug {
    /// Makes a batch durable.
    ///
    /// # Errors
    /// If the batch is not durable.
    fn commit(&mut self, batch: &WriteBatch) -> Result<(), StorageError>;

    /// Visits all entries of a table, ascending by key; stops at the first error and returns it.
    ///
    /// # Errors
    /// If the storage or the visitor fails.
    fn scan(&self, table: Table, visit: &mut Visitor<'_>) -> Result<(), StorageError>;
}

/// Storage in memory, for tests and simulations. What was committed survives as long as the value.
#[derive(Debug, Clone, Default)]
pub struct MemoryStorage {
    entries: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
}

impl Storage for MemoryStorage {
    fn commit(&mut self, batch: &WriteBatch) -> Result<(), StorageError> {
        for (table, key, value) in &batch.changes {
            match value {
                Some(value) => self.entries.insert((*table, key.clone()), value.clone()),
                None => self.entries.remove(&(*table, key.clone())),
            };
        }
        Ok(())
    }

    fn scan(&self, table: Table, visit: &mut Visitor<'_>) -> Result<(), StorageError> {
        let entries = self.entries.range((table, Vec::new())..);
        for ((_, key), value) in entries.take_while(|((t, _), _)| *t == table) {
            visit(key, value)?;
        }
        Ok(())
    }
}

impl From<crate::ConfigError> for StorageError {
    fn from(error: crate::ConfigError) -> Self {
        Self::new("configuration", error)
    }
}
