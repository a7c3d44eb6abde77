//! The store's record of itself, in a table of its own.

use redb::{Database, ReadableDatabase as _, TableDefinition, TableError, WriteTransaction};
use std::path::Path;

use super::entry::{CHECKSUM_BYTES, TableName};
use super::state::{FORMAT, Life, StoreState};
use super::{StoreError, StoreOwner};

/// The table of the record.
pub(super) const RECORD_TABLE: &str = "store";

/// The key of the record.
pub(super) const STATE_KEY: &[u8] = b"state";

const RECORD: TableDefinition<'static, &'static [u8], &'static [u8]> =
    TableDefinition::new(RECORD_TABLE);

/// Writes the record of the store in a transaction of its own.
pub(super) fn note_life(
    database: &Database,
    owner: StoreOwner,
    life: Life,
) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    put_state(&transaction, owner, life)?;
    transaction.commit()?;
    Ok(())
}

pub(super) fn put_state(
    transaction: &WriteTransaction,
    owner: StoreOwner,
    life: Life,
) -> Result<(), redb::Error> {
    let state = StoreState {
        format: FORMAT,
        owner,
        life,
    };
    let bytes =
        postcard::to_stdvec(&state).expect("the record serialises into memory without fail");
    let name = TableName::of(RECORD_TABLE.to_owned());
    let mut table = transaction.open_table(RECORD)?;
    let mut into = table.insert_reserve(STATE_KEY, bytes.len() + CHECKSUM_BYTES)?;
    name.seal(STATE_KEY, &bytes, into.as_mut());
    Ok(())
}

/// Reads the record of the store; makes one in a database that holds nothing.
pub(super) fn find_life(
    database: &Database,
    path: &Path,
    owner: StoreOwner,
) -> Result<Life, StoreError> {
    let unread = |error: redb::Error| StoreError::engine(path, error);
    let transaction = database.begin_read().map_err(|e| unread(e.into()))?;
    let table = match transaction.open_table(RECORD) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => {
            let mut tables = transaction.list_tables().map_err(|e| unread(e.into()))?;
            if tables.next().is_some() {
                return Err(StoreError::foreign(path));
            }
            note_life(database, owner, Life::New).map_err(unread)?;
            return Ok(Life::New);
        }
        Err(error) => return Err(unread(error.into())),
    };
    let stored = table.get(STATE_KEY).map_err(|e| unread(e.into()))?;
    let stored = stored.ok_or_else(|| StoreError::foreign(path))?;
    read_life(path, stored.value(), owner)
}

/// Reads a stored record.
pub(super) fn read_life(path: &Path, stored: &[u8], owner: StoreOwner) -> Result<Life, StoreError> {
    let bytes = TableName::of(RECORD_TABLE.to_owned());
    let bytes = bytes
        .open(STATE_KEY, stored)
        .ok_or_else(|| StoreError::damaged(path, "its record of itself has a wrong checksum"))?;
    // The format comes first in every version.
    let (format, _) = postcard::take_from_bytes::<u32>(bytes)
        .map_err(|e| StoreError::damaged(path, format!("its record of itself: {e}")))?;
    if format != FORMAT {
        return Err(StoreError::Format {
            path: path.to_owned(),
            found: format,
            expected: FORMAT,
        });
    }
    let state: StoreState = postcard::from_bytes(bytes)
        .map_err(|e| StoreError::damaged(path, format!("its record of itself: {e}")))?;
    match state.owner == owner {
        true => Ok(state.life),
        false => Err(StoreError::Owner {
            path: path.to_owned(),
            found: state.owner,
            expected: owner,
        }),
    }
}
