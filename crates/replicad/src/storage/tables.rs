//! Reading and writing the tables of partitions in a transaction of the engine.

use redb::{ReadTransaction, ReadableTable as _, ReadableTableMetadata as _, TableError};
use redb::{TableHandle as _, WriteTransaction};
use replica::{PartitionId, StorageError, Table, Visitor, WriteBatch};

use super::Space;
use super::entry::{CHECKSUM_BYTES, TableName};
use super::record::RECORD_TABLE;

/// Why a read ended early.
#[derive(Debug)]
pub(super) enum ReadError {
    /// What is there is not what was written.
    Damaged(String),
    /// The engine or the system refused.
    Engine(redb::Error),
    /// The reader had enough.
    Visitor(StorageError),
}

impl<E: Into<redb::Error>> From<E> for ReadError {
    fn from(error: E) -> Self {
        match error.into() {
            redb::Error::Corrupted(cause) => Self::Damaged(cause),
            error => Self::Engine(error),
        }
    }
}

/// The tables that hold entries of partitions, ascending by name.
pub(super) fn data_tables(transaction: &ReadTransaction) -> Result<Vec<TableName>, ReadError> {
    let tables = transaction.list_tables()?;
    let names = tables.map(|table| table.name().to_owned());
    Ok(names
        .filter(|name| name != RECORD_TABLE)
        .map(TableName::of)
        .collect())
}

/// Visits the entries of a table; checks each, their order and their number.
pub(super) fn scan(
    transaction: &ReadTransaction,
    name: &TableName,
    visit: &mut Visitor<'_>,
) -> Result<(), ReadError> {
    let table = match transaction.open_table(name.definition()) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let damaged = |what: &str| ReadError::Damaged(format!("{} in table {}", what, name.as_str()));
    let mut last: Option<Vec<u8>> = None;
    let mut visited = 0;
    for entry in table.iter()? {
        let (key, stored) = entry?;
        let (key, stored) = (key.value(), stored.value());
        if last.as_deref().is_some_and(|last| last >= key) {
            return Err(damaged("an entry is out of order"));
        }
        let value = name
            .open(key, stored)
            .ok_or_else(|| damaged("the checksum of an entry does not match"))?;
        visit(key, value).map_err(ReadError::Visitor)?;
        let last = last.get_or_insert_default();
        last.clear();
        last.extend_from_slice(key);
        visited += 1;
    }
    match table.len()? == visited {
        true => Ok(()),
        false => Err(damaged("entries are missing")),
    }
}

pub(super) fn put_batch(
    transaction: &WriteTransaction,
    space: Space,
    partition: PartitionId,
    batch: &WriteBatch,
) -> Result<(), redb::Error> {
    for table in Table::ALL {
        let mut changes = batch
            .changes
            .iter()
            .filter(|(t, ..)| *t == table)
            .peekable();
        if changes.peek().is_none() {
            continue;
        }
        let name = TableName::new(space, partition, table);
        let mut open = transaction.open_table(name.definition())?;
        for (_, key, value) in changes {
            match value {
                Some(value) => {
                    let length = value.len() + CHECKSUM_BYTES;
                    let mut into = open.insert_reserve(key.as_slice(), length)?;
                    name.seal(key, value, into.as_mut());
                }
                None => drop(open.remove(key.as_slice())?),
            }
        }
    }
    Ok(())
}

/// Removes all entries of all partitions.
pub(super) fn clear(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    let tables: Vec<_> = transaction.list_tables()?.collect();
    for table in tables {
        if table.name() != RECORD_TABLE {
            transaction.delete_table(table)?;
        }
    }
    Ok(())
}
