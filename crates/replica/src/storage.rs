//! Where a node's state survives a restart: the trait, an implementation in memory, a wrapper that
//! breaks as disks do, and the suite that every implementation has to pass.

pub mod conformance;
mod faulty;
mod memory;

pub use faulty::{CommitFault, CrashFault, FaultRates, FaultyStorage};
pub use memory::MemoryStorage;

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
/// A *crash* is the end of the process, or loss of power, at any moment; after it the storage is opened
/// again. An implementation MUST keep these rules, and [`conformance::check`] tests them:
///
/// - **S1, atomic.** After a crash all changes of a batch are there, or none.
/// - **S2, durable.** A batch whose `commit` returned `Ok` survives every later crash. It is not enough that
///   the system has been handed the bytes.
/// - **S3, ordered.** A batch survives only together with every batch that was committed before it.
/// - **S4, failed commits.** When `commit` returns an error, none of the batch may show until the storage is
///   opened again; afterwards all of it is there, or none. The caller MUST NOT commit again before that, and
///   an implementation may refuse it: what the next batch builds on is not known.
/// - **S5, scans.** A scan visits exactly what the batches committed so far have left, each key once,
///   ascending in the order of byte strings (a prefix comes first). It stops at the visitor's first error
///   and returns that error. What cannot be read is an error, never a shorter scan.
/// - **S6, any bytes.** Keys and values are any bytes, empty ones included. Batches may be empty. Changes of
///   one batch apply in order, so that the last one to a key counts; removing an absent key does nothing.
/// - **S7, tables.** The same key in two tables is two entries.
///
/// Nothing in the protocol makes up for a breach. A node that has lost a tail of its commits notices it at
/// its first contact only if others know of events of its own that it has lost; acknowledgements that it has
/// given and forgotten show nowhere, and an acknowledged write may then be on too few nodes. Where the sync
/// policy is weaker than S2, a node that was not closed properly has to be
/// [recovered](crate::Partition::recover) as one that lost its data. A breach of S1 is refused by
/// [`Partition::restore`](crate::Partition::restore) where it shows; a breach of S3 does not show.
///
/// Calls come from one thread at a time and may block.
pub trait Storage: Send + fmt::Debug {
    /// Makes a batch durable, as a whole.
    ///
    /// # Errors
    /// If the batch is not durable, or not surely so.
    fn commit(&mut self, batch: &WriteBatch) -> Result<(), StorageError>;

    /// Visits all entries of a table, ascending by key; stops at the first error and returns it.
    ///
    /// # Errors
    /// If the storage or the visitor fails.
    fn scan(&self, table: Table, visit: &mut Visitor<'_>) -> Result<(), StorageError>;
}

impl From<crate::ConfigError> for StorageError {
    fn from(error: crate::ConfigError) -> Self {
        Self::new("configuration", error)
    }
}
