//! What the store and its partitions share: the engine's database, and the transactions on it.

use redb::WriteTransaction;
use redb::{Database, Durability, ReadTransaction, ReadableDatabase as _, StorageBackend};
use replica::{PartitionId, StorageError, Table, Visitor, WriteBatch};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::backend::{SwitchedBackend, SyncSwitch};
use super::create;
use super::entry::TableName;
use super::record::{find_life, put_state};
use super::state::Life;
use super::tables::{ReadError, clear, data_tables, put_batch, scan};
use super::{Room, Space, StoreError, StoreMetrics, StoreOptions, SyncPolicy};

/// The database and how it is kept.
pub(super) struct Engine {
    database: Database,
    switch: SyncSwitch,
    progress: Mutex<Progress>,
    damage: OnceLock<String>,
    pub(super) metrics: StoreMetrics,
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
        // After an unclean stop the engine checks every page before it opens.
        let was_checked = Arc::new(AtomicBool::new(false));
        let note = Arc::clone(&was_checked);
        let mut builder = Database::builder();
        builder
            .set_cache_size(options.cache_bytes)
            .set_repair_callback(move |_| note.store(true, Ordering::Relaxed));
        let mut database = guarded_open(path, || {
            builder
                .create_with_backend(medium)
                .map_err(|e| StoreError::opening(path, e))
        })?;
        if !was_checked.load(Ordering::Relaxed) {
            guarded_open(path, || check_pages(&mut database, path))?;
        }
        let found = guarded_open(path, || find_life(&database, path, options.owner))?;
        Ok(Self {
            database,
            switch,
            progress: Mutex::default(),
            damage: OnceLock::new(),
            metrics: StoreMetrics::default(),
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
        let (begun, mut changes) = (Instant::now(), 0);
        let written = self.write(&mut progress, syncs, |transaction| {
            for (space, partition, batch) in batches {
                changes += batch.changes.len();
                put_batch(transaction, space, partition, batch)?;
            }
            Ok(())
        });
        match &written {
            Ok(()) => self.metrics.committed(begun.elapsed(), changes, syncs),
            Err(_) => self.metrics.failed(),
        }
        written
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

    pub(super) fn has_room(&self) -> Room {
        let reserve = self.options.reserve_bytes;
        match fs4::available_space(create::directory(&self.path)) {
            Ok(free) if free < reserve => Room::Low { free, reserve },
            _ => Room::Enough,
        }
    }

    pub(super) fn damage(&self) -> Option<&str> {
        self.damage.get().map(String::as_str)
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check_pages(database: &mut Database, path: &Path) -> Result<(), StoreError> {
    match database.check_integrity() {
        Ok(true) => Ok(()),
        Ok(false) => Err(StoreError::damaged(
            path,
            "pages and checksums do not match",
        )),
        Err(error) => Err(StoreError::opening(path, error)),
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
