//! What the store and its partitions share: the engine's database, and the transactions on it.

use redb::WriteTransaction;
use redb::{Database, ReadTransaction, ReadableDatabase as _, StorageBackend};
use replica::{PartitionId, StorageError, Table, Visitor, WriteBatch};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::backend::{SwitchedBackend, SyncSwitch};
use super::create;
use super::entry::TableName;
use super::hold::Hold;
use super::record::{find_life, put_state};
use super::state::Life;
use super::tables::{ReadError, clear, data_tables, put_batch, scan};
use super::waiting::Waiting;
use super::{Room, Space, StoreError, StoreMetrics, StoreOptions, SyncPolicy};
use crate::panics::caught;

/// When to look again whether what is under way is done.
const BUSY: Duration = Duration::from_millis(5);

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
    /// When the oldest commit was made that is not on the disk yet, nor on its way.
    unsynced_since: Option<Instant>,
    /// Commits that the engine has not been given yet. Only under an interval.
    waiting: Waiting,
    /// The thread that gives it earlier ones.
    writing: Option<JoinHandle<Result<(), StorageError>>>,
}

impl Progress {
    fn check(&self) -> Result<(), StorageError> {
        if !self.failed {
            return Ok(());
        }
        let cause = "it has failed or was closed; it takes nothing more until it is opened again";
        Err(StorageError::new("writing to the store", cause))
    }
}

impl Engine {
    pub(super) fn open(
        path: &Path,
        medium: impl StorageBackend,
        options: StoreOptions,
    ) -> Result<Self, StoreError> {
        let length = medium.len().map_err(|e| StoreError::io(path, e))?;
        let (switch, hold) = (SyncSwitch::new(true), Hold::new(length));
        let medium = Arc::new(medium);
        let backend = SwitchedBackend {
            medium: Arc::clone(&medium),
            switch: switch.clone(),
            hold: hold.clone(),
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
                .create_with_backend(backend)
                .map_err(|e| StoreError::opening(path, e))
        })?;
        if !was_checked.load(Ordering::Relaxed) {
            guarded_open(path, || check_pages(&mut database, path))?;
        }
        let found = guarded_open(path, || find_life(&database, path, options.owner))?;
        hold.release(&*medium)
            .map_err(|e| StoreError::io(path, e))?;
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
            Ok(batches
                .iter()
                .map(|(_, _, batch)| batch.changes.len())
                .sum())
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
        let SyncPolicy::Interval(interval) = self.options.policy else {
            let syncs = self.options.policy == SyncPolicy::Always;
            return self.write(&mut progress, syncs, |transaction| {
                let mut changes = 0;
                for (space, partition, batch) in batches {
                    changes += batch.changes.len();
                    put_batch(transaction, space, partition, batch)?;
                }
                Ok(changes)
            });
        };
        self.reap(&mut progress, false)?;
        progress.check()?;
        for (space, partition, batch) in batches {
            progress.waiting.add(space, partition, batch);
        }
        let since = *progress.unsynced_since.get_or_insert_with(Instant::now);
        let is_due = since.elapsed() >= interval && progress.writing.is_none();
        match is_due || progress.waiting.bytes() > self.options.waiting_bytes {
            true => self.settle(&mut progress),
            false => Ok(()),
        }
    }

    /// Whether the next commit waits for the disk, or may.
    pub(super) fn waits(&self) -> bool {
        let SyncPolicy::Interval(interval) = self.options.policy else {
            return true;
        };
        let progress = self.progress();
        let is_late = |since: Instant| since.elapsed() >= interval;
        let is_due = progress.unsynced_since.is_some_and(is_late) && progress.writing.is_none();
        // A turn is far smaller than what may wait.
        is_due || progress.waiting.bytes() > self.options.waiting_bytes / 2
    }

    pub(super) fn sync_due_in(&self) -> Option<Duration> {
        let progress = self.progress();
        let since = progress.unsynced_since?;
        let SyncPolicy::Interval(interval) = self.options.policy else {
            return None;
        };
        let due = interval.saturating_sub(since.elapsed());
        let is_busy = progress
            .writing
            .as_ref()
            .is_some_and(|thread| !thread.is_finished());
        Some(if is_busy { due.max(BUSY) } else { due })
    }

    pub(super) fn sync(&self) -> Result<(), StorageError> {
        let mut progress = self.progress();
        match progress.unsynced_since {
            Some(_) => self.settle(&mut progress),
            None => self.reap(&mut progress, true),
        }
    }

    /// Begins to make durable what was committed, in a thread of its own. What is under way is finished first.
    pub(super) fn sync_soon(self: &Arc<Self>) -> Result<(), StorageError> {
        let mut progress = self.progress();
        self.reap(&mut progress, false)?;
        if progress.writing.is_some() || progress.waiting.is_empty() {
            return Ok(());
        }
        let waiting = std::mem::take(&mut progress.waiting);
        progress.unsynced_since = None;
        let engine = Arc::clone(self);
        let write = move || engine.transact(true, |transaction| waiting.put(transaction));
        let thread = std::thread::Builder::new()
            .name("store".into())
            .spawn(write);
        match thread {
            Ok(thread) => progress.writing = Some(thread),
            Err(error) => {
                progress.failed = true;
                return Err(StorageError::new("starting a thread", error));
            }
        }
        Ok(())
    }

    /// Waits until nothing is under way, and forgets what was not begun: the store is dropped.
    pub(super) fn wait(&self) {
        // Whoever drops a store without closing it does not ask what became of it.
        let _result = self.reap(&mut self.progress(), true);
    }

    /// Makes durable what waits.
    fn settle(&self, progress: &mut Progress) -> Result<(), StorageError> {
        self.reap(progress, true)?;
        let waiting = std::mem::take(&mut progress.waiting);
        self.write(progress, true, |transaction| waiting.put(transaction))
    }

    /// Takes note of what became of the thread that writes, if it has ended or if it is to be waited for.
    fn reap(&self, progress: &mut Progress, waits: bool) -> Result<(), StorageError> {
        let writing = progress
            .writing
            .take_if(|thread| waits || thread.is_finished());
        let Some(thread) = writing else {
            return Ok(());
        };
        let written = thread.join();
        let damaged = |_| {
            Err(StorageError::new(
                "writing to the store",
                "the thread gave up",
            ))
        };
        let written = written.unwrap_or_else(damaged);
        progress.failed |= written.is_err();
        written
    }

    pub(super) fn close(&self) -> Result<(), StorageError> {
        let mut progress = self.progress();
        if !progress.started {
            return Ok(());
        }
        self.reap(&mut progress, true)?;
        let waiting = std::mem::take(&mut progress.waiting);
        let closed = self.write(&mut progress, true, |transaction| {
            let changes = waiting.put(transaction)?;
            put_state(transaction, self.options.owner, Life::Closed)?;
            Ok(changes)
        });
        // Whoever still holds a partition commits nothing after this.
        progress.failed = true;
        closed
    }

    /// One transaction, whose `change` tells how many entries it has changed. `syncs` says whether it is on
    /// the disk when this returns.
    fn write(
        &self,
        progress: &mut Progress,
        syncs: bool,
        change: impl FnOnce(&WriteTransaction) -> Result<usize, redb::Error>,
    ) -> Result<(), StorageError> {
        progress.check()?;
        let written = self.transact(syncs, change);
        progress.failed = written.is_err();
        progress.unsynced_since = match syncs {
            true => None,
            false => progress.unsynced_since.or_else(|| Some(Instant::now())),
        };
        written
    }

    fn transact(
        &self,
        syncs: bool,
        change: impl FnOnce(&WriteTransaction) -> Result<usize, redb::Error>,
    ) -> Result<(), StorageError> {
        let begun = Instant::now();
        self.switch.set(syncs);
        let written = guarded("writing to the store", || {
            let write = || -> Result<usize, redb::Error> {
                let transaction = self.database.begin_write()?;
                let changes = change(&transaction)?;
                transaction.commit()?;
                Ok(changes)
            };
            write().map_err(|e| StorageError::new("writing to the store", e))
        });
        // What the engine does when it is closed reaches the disk.
        self.switch.set(true);
        match &written {
            Ok(changes) => self.metrics.committed(begun.elapsed(), *changes, syncs),
            Err(_) => self.metrics.failed(),
        }
        written.map(drop)
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

    /// Reads in one transaction all that was committed, and remembers damage.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&ReadTransaction) -> Result<T, ReadError>,
    ) -> Result<T, StorageError> {
        let mut progress = self.progress();
        self.reap(&mut progress, true)?;
        if !progress.waiting.is_empty() {
            self.settle(&mut progress)?;
        }
        drop(progress);
        let begin = || read(&self.database.begin_read()?);
        let result = caught(begin).unwrap_or_else(|cause| Err(ReadError::Damaged(gave_up(&cause))));
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
    caught(open).unwrap_or_else(|cause| Err(StoreError::damaged(path, gave_up(&cause))))
}

fn guarded<T>(
    operation: &'static str,
    work: impl FnOnce() -> Result<T, StorageError>,
) -> Result<T, StorageError> {
    caught(work).unwrap_or_else(|cause| {
        let damaged = format!("the store is damaged: {}", gave_up(&cause));
        Err(StorageError::new(operation, damaged))
    })
}

fn gave_up(cause: &str) -> String {
    format!("the engine gave up on it ({cause})")
}
