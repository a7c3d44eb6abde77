//! What the store and its partitions share: the engine's database, and the transactions on it.

use redb::{Database, Durability, ReadableDatabase as _, ReadableTable as _, StorageBackend};
use redb::{ReadTransaction, WriteTransaction};
use redb::{ReadableTableMetadata as _, TableDefinition, TableError, TableHandle as _};
use replica::{PartitionId, StorageError, Table, Visitor, WriteBatch};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::backend::{SwitchedBackend, SyncSwitch};
use super::entry::{CHECKSUM_BYTES, TableName};
use super::state::{FORMAT, Life, StoreState};
use super::{Space, StoreError, StoreOptions, StoreOwner, SyncPolicy};

/// The table of the store's record of itself.
pub(super) const STATE_TABLE: &str = "store";

/// The key of that record.
const STATE_KEY: &[u8] = b"state";

/// The database and how it is kept.
pub(super) struct Engine {
    database: Database,
    switch: SyncSwitch,
    progress: Mutex<Progress>,
    damage: OnceLock<String>,
    pub(super) path: PathBuf,
    pub(super) options: StoreOptions,
    /// What the store said of its last run.
    pub(super) found: Life,
}

/// How far this run has come.
#[derive(Debug, Default)]
struct Progress {
    started: bool,
    /// A commit has failed: what the next one would build on is not known.
    failed: bool,
    /// When the oldest commit was made that is not on the disk yet.
    unsynced_since: Option<Instant>,
}

impl Engine {
    pub(super) fn open(
        path: &Path,
        medium: impl StorageBackend,
        options: StoreOptions,
    ) -> Result<Self, StoreError> {
        let switch = SyncSwitch::new(true);
        let medium = SwitchedBackend {
            medium,
            switch: switch.clone(),
        };
        let mut builder = Database::builder();
        builder.set_cache_size(options.cache_bytes);
        let mut database = guarded_open(path, || {
            builder
                .create_with_backend(medium)
                .map_err(|e| StoreError::opening(path, e))
        })?;
        guarded_open(path, || match database.check_integrity() {
            Ok(true) => Ok(()),
            Ok(false) => Err(StoreError::damaged(
                path,
                "pages and checksums do not match",
            )),
            Err(error) => Err(StoreError::opening(path, error)),
        })?;
        let found = guarded_open(path, || find_life(&database, path, options.owner))?;
        Ok(Self {
            database,
            switch,
            progress: Mutex::default(),
            damage: OnceLock::new(),
            path: path.to_owned(),
            options,
            found,
        })
    }

    pub(super) fn start(
        &self,
        batches: &[(Space, PartitionId, WriteBatch)],
        clears: bool,
    ) -> Result<(), StorageError> {
        let mut progress = self.progress();
        if progress.started {
            return Err(StorageError::new("starting a run", "it was started before"));
        }
        let life = Life::running(self.options.policy);
        self.write(&mut progress, true, |transaction| {
            if clears {
                clear(transaction)?;
            }
            put_state(transaction, self.options.owner, life)?;
            for (space, partition, batch) in batches {
                put_batch(transaction, *space, *partition, batch)?;
            }
            Ok(())
        })?;
        progress.started = true;
        Ok(())
    }

    pub(super) fn commit<'b>(
        &self,
        batches: impl Iterator<Item = (Space, PartitionId, &'b WriteBatch)>,
    ) -> Result<(), StorageError> {
        let mut progress = self.progress();
        if !progress.started {
            return Err(StorageError::new("commit", "the run was not started"));
        }
        let mut batches = batches
            .filter(|(_, _, batch)| !batch.changes.is_empty())
            .peekable();
        if batches.peek().is_none() {
            return Ok(());
        }
        let syncs = match self.options.policy {
            SyncPolicy::Always => true,
            SyncPolicy::None => false,
            SyncPolicy::Interval(interval) => progress
                .unsynced_since
                .map_or(interval.is_zero(), |since| since.elapsed() >= interval),
        };
        self.write(&mut progress, syncs, |transaction| {
            for (space, partition, batch) in batches {
                put_batch(transaction, space, partition, batch)?;
            }
            Ok(())
        })
    }

    pub(super) fn sync_due_in(&self) -> Option<Duration> {
        let since = self.progress().unsynced_since?;
        match self.options.policy {
            SyncPolicy::Interval(interval) => Some(interval.saturating_sub(since.elapsed())),
            SyncPolicy::Always | SyncPolicy::None => None,
        }
    }

    pub(super) fn sync(&self) -> Result<(), StorageError> {
        let mut progress = self.progress();
        match progress.unsynced_since {
            Some(_) => self.write(&mut progress, true, |_| Ok(())),
            None => Ok(()),
        }
    }

    pub(super) fn close(&self) -> Result<(), StorageError> {
        let mut progress = self.progress();
        if !progress.started {
            return Ok(());
        }
        let closed = self.write(&mut progress, true, |transaction| {
            put_state(transaction, self.options.owner, Life::Closed)
        });
        // Whoever still holds a partition commits nothing after this.
        progress.failed = true;
        closed
    }

    /// One transaction. `syncs` says whether it is on the disk when this returns.
    fn write(
        &self,
        progress: &mut Progress,
        syncs: bool,
        change: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), StorageError> {
        if progress.failed {
            let cause =
                "it has failed or was closed; it takes nothing more until it is opened again";
            return Err(StorageError::new("writing to the store", cause));
        }
        // Under `None` the engine writes everything to the file each time, and the file is not synced.
        let is_written = syncs || self.options.policy == SyncPolicy::None;
        self.switch.set(syncs);
        let written = guarded("writing to the store", || {
            let write = || -> Result<(), redb::Error> {
                let mut transaction = self.database.begin_write()?;
                if !is_written {
                    transaction.set_durability(Durability::None)?;
                }
                change(&transaction)?;
                transaction.commit()?;
                Ok(())
            };
            write().map_err(|e| StorageError::new("writing to the store", e))
        });
        // What the engine does when it is closed reaches the disk.
        self.switch.set(true);
        progress.failed = written.is_err();
        progress.unsynced_since = match syncs {
            true => None,
            false => progress.unsynced_since.or_else(|| Some(Instant::now())),
        };
        written
    }

    pub(super) fn scan(
        &self,
        (space, partition, table): (Space, PartitionId, Table),
        visit: &mut Visitor<'_>,
    ) -> Result<(), StorageError> {
        self.read(|transaction| scan(transaction, &TableName::new(space, partition, table), visit))
    }

    pub(super) fn verify(&self) -> Result<(), StorageError> {
        self.read(|transaction| {
            for name in data_tables(transaction)? {
                scan(transaction, &name, &mut |_, _| Ok(()))?;
            }
            Ok(())
        })
    }

    /// Reads in one transaction, and remembers damage.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&ReadTransaction) -> Result<T, ReadError>,
    ) -> Result<T, StorageError> {
        let begin = || read(&self.database.begin_read()?);
        let result = catch_unwind(AssertUnwindSafe(begin))
            .unwrap_or_else(|_| Err(ReadError::Damaged("the engine gave up on it".into())));
        result.map_err(|error| match error {
            ReadError::Damaged(cause) => {
                let cause = self.damage.get_or_init(|| cause);
                StorageError::new("reading the store", format!("it is damaged: {cause}"))
            }
            ReadError::Engine(error) => StorageError::new("reading the store", error),
            ReadError::Visitor(error) => error,
        })
    }

    pub(super) fn damage(&self) -> Option<&str> {
        self.damage.get().map(String::as_str)
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

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
        .filter(|name| name != STATE_TABLE)
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

fn put_batch(
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
fn clear(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    let tables: Vec<_> = transaction.list_tables()?.collect();
    for table in tables {
        if table.name() != STATE_TABLE {
            transaction.delete_table(table)?;
        }
    }
    Ok(())
}

const STATE: TableDefinition<'static, &'static [u8], &'static [u8]> =
    TableDefinition::new(STATE_TABLE);

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

fn put_state(
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
    let name = TableName::of(STATE_TABLE.to_owned());
    let mut table = transaction.open_table(STATE)?;
    let mut into = table.insert_reserve(STATE_KEY, bytes.len() + CHECKSUM_BYTES)?;
    name.seal(STATE_KEY, &bytes, into.as_mut());
    Ok(())
}

/// Reads the record of the store; makes one in a database that holds nothing.
fn find_life(database: &Database, path: &Path, owner: StoreOwner) -> Result<Life, StoreError> {
    let unread = |error: redb::Error| StoreError::engine(path, error);
    let transaction = database.begin_read().map_err(|e| unread(e.into()))?;
    let table = match transaction.open_table(STATE) {
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
    let bytes = TableName::of(STATE_TABLE.to_owned());
    let bytes = bytes
        .open(STATE_KEY, stored.value())
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

/// Runs what opens a file that may be damaged. The engine asserts some invariants of its pages; a file
/// that breaks one must be an error of this store, not the end of the process.
pub(super) fn guarded_open<T>(
    path: &Path,
    open: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(open))
        .unwrap_or_else(|_| Err(StoreError::damaged(path, "the engine gave up on it")))
}

fn guarded<T>(
    operation: &'static str,
    work: impl FnOnce() -> Result<T, StorageError>,
) -> Result<T, StorageError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(StorageError::new(operation, "the store is damaged")))
}
