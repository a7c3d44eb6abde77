//! A node's store on disk.

use redb::{Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use replica::{Storage, StorageError, Table, Visitor, WriteBatch};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// A [`Storage`] in one `redb` file.
///
/// A commit is one transaction, synced to disk before it returns: it survives a crash of the process
/// and loss of power. The caller batches: one commit of a thousand changes costs little more than a
/// commit of one.
pub struct RedbStorage {
    database: Database,
}

/// Bytes of the file that are kept in memory. Everything is in the node's memory anyway, and the file
/// is only read at the start.
const CACHE_BYTES: usize = 16 << 20;

impl RedbStorage {
    /// Opens the store at `path`, or makes an empty one.
    ///
    /// # Errors
    /// If the file is in use by another process, is not a store, is damaged, or cannot be opened.
    pub fn open(path: &Path) -> Result<Self, StorageError> {
        let opened = guarded("opening the store", || {
            Database::builder()
                .set_cache_size(CACHE_BYTES)
                .create(path)
                .map_err(|error| match error {
                    DatabaseError::DatabaseAlreadyOpen => {
                        StorageError::new("opening the store", "it is in use by another process")
                    }
                    error => StorageError::new("opening the store", error),
                })
        });
        let database = opened.map_err(|error| in_file(path, &error))?;
        Ok(Self { database })
    }

    /// A store in a database that was opened elsewhere, on another medium for instance.
    pub const fn with_database(database: Database) -> Self {
        Self { database }
    }

    /// Checks every page of the store; a damaged one makes an error here instead of a surprise later.
    ///
    /// # Errors
    /// If the store is damaged or cannot be read.
    pub fn verify(&mut self) -> Result<(), StorageError> {
        guarded("verifying the store", || {
            match self.database.check_integrity() {
                Ok(true) => Ok(()),
                Ok(false) => Err(StorageError::new("verifying the store", "it was damaged")),
                Err(error) => Err(StorageError::new("verifying the store", error)),
            }
        })
    }
}

impl Storage for RedbStorage {
    fn commit(&mut self, batch: &WriteBatch) -> Result<(), StorageError> {
        commit(&self.database, batch).map_err(|error| StorageError::new("commit", error))
    }

    fn scan(&self, table: Table, visit: &mut Visitor<'_>) -> Result<(), StorageError> {
        guarded("reading the store", || {
            let failed = |error: redb::Error| StorageError::new("reading the store", error);
            let transaction = self.database.begin_read().map_err(|e| failed(e.into()))?;
            let table = match transaction.open_table(definition(table)) {
                Ok(table) => table,
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(()),
                Err(error) => return Err(failed(error.into())),
            };
            for entry in table.iter().map_err(|e| failed(e.into()))? {
                let (key, value) = entry.map_err(|e| failed(e.into()))?;
                visit(key.value(), value.value())?;
            }
            Ok(())
        })
    }
}

fn commit(database: &Database, batch: &WriteBatch) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    for table in Table::ALL {
        let mut open = transaction.open_table(definition(table))?;
        for (_, key, value) in batch.changes.iter().filter(|(t, ..)| *t == table) {
            match value {
                Some(value) => drop(open.insert(key.as_slice(), value.as_slice())?),
                None => drop(open.remove(key.as_slice())?),
            }
        }
    }
    transaction.commit()?;
    Ok(())
}

const fn definition(table: Table) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(match table {
        Table::Cells => "cells",
        Table::Log => "log",
        _ => "meta",
    })
}

/// Runs what reads a file that may be damaged. The engine asserts some invariants of its pages; a file
/// that breaks one must be an error of this node, not the end of the process.
fn guarded<T>(
    operation: &'static str,
    read: impl FnOnce() -> Result<T, StorageError>,
) -> Result<T, StorageError> {
    catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(StorageError::new(operation, "the file is damaged")))
}

fn in_file(path: &Path, error: &StorageError) -> StorageError {
    StorageError::new(
        "opening the store",
        format!("{}: {}", path.display(), error.cause),
    )
}

impl fmt::Debug for RedbStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbStorage").finish_non_exhaustive()
    }
}
