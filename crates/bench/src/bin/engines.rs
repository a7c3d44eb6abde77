//! What a SET costs the storage of one node: the store of this repository beside the engines that could be in its
//! place, with the same commits.
//!
//! ```sh
//! cargo run --release --manifest-path crates/bench/Cargo.toml --bin engines -- --keys 1000000 --sets 300000
//! ```
//!
//! A SET is a row at a random place and a row at the end of another table; a commit has one more row, which is the
//! same each time. Processor time is that of all threads until nothing is under way, less that of making the load.

use cpu_time::{ProcessTime, ThreadTime};
use redb::{ReadableDatabase as _, TableDefinition};
use replica::{NodeId, PartitionId, Table, WriteBatch};
use replicad::storage::{ClusterId, Space, Store, StoreOptions, StoreOwner, SyncPolicy};
use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

type Failure = Box<dyn Error>;

/// SETs of a commit with which the keys are made.
const FILLED: u64 = 50_000;

/// Bytes of a value.
const VALUE_BYTES: usize = 100;

/// Bytes of the row that every commit writes.
const STATE_BYTES: usize = 300;

/// Bytes of cache that each engine is given.
const CACHE_BYTES: usize = 64 << 20;

/// Something that takes commits. Without `syncs` a commit may be lost with the power.
trait Engine {
    fn commit(&mut self, batch: WriteBatch, syncs: bool) -> Result<(), Failure>;

    /// Waits until nothing is under way.
    fn finish(&mut self) -> Result<(), Failure>;
}

struct Ours(Store);

impl Ours {
    fn open(directory: &Path, policy: SyncPolicy, waiting_bytes: usize) -> Result<Self, Failure> {
        let owner = StoreOwner {
            cluster: ClusterId(1),
            node: NodeId(1),
        };
        let options = StoreOptions {
            policy,
            cache_bytes: CACHE_BYTES,
            waiting_bytes,
            ..StoreOptions::new(owner)
        };
        let mut store = Store::open(&directory.join("store"), options)?;
        store.start(&[])?;
        Ok(Self(store))
    }
}

impl Engine for Ours {
    fn commit(&mut self, batch: WriteBatch, syncs: bool) -> Result<(), Failure> {
        self.0.commit(&[(Space::Strings, PartitionId(0), batch)])?;
        if syncs && self.0.sync_due_in().is_some() {
            self.0.sync()?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Failure> {
        self.0.sync()?;
        // Until no thread has used the processor for a while.
        let mut quiet = 0;
        while quiet < 10 {
            let used = ProcessTime::now();
            std::thread::sleep(Duration::from_millis(20));
            let is_busy = used.elapsed() > Duration::from_millis(2);
            quiet = if is_busy { 0 } else { quiet + 1 };
        }
        Ok(())
    }
}

/// redb, a transaction for each commit; or where commits are not synced, one for all until the next sync.
struct Redb {
    database: redb::Database,
    waiting: Vec<(Table, Vec<u8>, Option<Vec<u8>>)>,
}

impl Redb {
    fn open(directory: &Path) -> Result<Self, Failure> {
        let mut builder = redb::Database::builder();
        builder.set_cache_size(CACHE_BYTES);
        Ok(Self {
            database: builder.create(directory.join("redb"))?,
            waiting: Vec::new(),
        })
    }
}

impl Engine for Redb {
    fn commit(&mut self, batch: WriteBatch, syncs: bool) -> Result<(), Failure> {
        self.waiting.extend(batch.changes);
        if !syncs {
            return Ok(());
        }
        let mut changes = std::mem::take(&mut self.waiting);
        changes.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        let transaction = self.database.begin_write()?;
        for (table, name) in [
            (Table::Cells, "cells"),
            (Table::Log, "log"),
            (Table::Meta, "meta"),
        ] {
            let definition: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new(name);
            let mut open = transaction.open_table(definition)?;
            for (_, key, value) in changes.iter().filter(|change| change.0 == table) {
                open.insert(key.as_slice(), value.as_deref().unwrap_or_default())?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn finish(&mut self) -> Result<(), Failure> {
        self.commit(WriteBatch::default(), true)?;
        Ok(drop(self.database.begin_read()?))
    }
}

struct Fjall {
    database: fjall::Database,
    tables: [fjall::Keyspace; 3],
}

impl Fjall {
    fn open(directory: &Path) -> Result<Self, Failure> {
        let database = fjall::Database::builder(directory.join("fjall"))
            .cache_size(CACHE_BYTES as u64)
            .manual_journal_persist(true)
            .open()?;
        let table = |name| database.keyspace(name, fjall::KeyspaceCreateOptions::default);
        let tables = [table("cells")?, table("log")?, table("meta")?];
        Ok(Self { database, tables })
    }
}

impl Engine for Fjall {
    fn commit(&mut self, batch: WriteBatch, syncs: bool) -> Result<(), Failure> {
        let mut batched = self.database.batch();
        if syncs {
            batched = batched.durability(Some(fjall::PersistMode::SyncAll));
        }
        for (table, key, value) in batch.changes {
            let table = match table {
                Table::Cells => &self.tables[0],
                Table::Log => &self.tables[1],
                _ => &self.tables[2],
            };
            batched.insert(table, key, value.unwrap_or_default());
        }
        Ok(batched.commit()?)
    }

    fn finish(&mut self) -> Result<(), Failure> {
        self.database.persist(fjall::PersistMode::SyncAll)?;
        let mut quiet = 0;
        while quiet < 10 {
            std::thread::sleep(Duration::from_millis(20));
            let is_busy =
                self.database.outstanding_flushes() > 0 || self.database.active_compactions() > 0;
            quiet = if is_busy { 0 } else { quiet + 1 };
        }
        Ok(())
    }
}

struct Load {
    random: u64,
    events: u64,
}

impl Load {
    fn set(&mut self, into: &mut WriteBatch, number: u64) {
        self.events += 1;
        let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let key = [spread.to_be_bytes(), number.to_be_bytes()].concat();
        let mut value = vec![7; VALUE_BYTES];
        value[..8].copy_from_slice(&self.events.to_be_bytes());
        let event = [1_u64.to_be_bytes(), self.events.to_be_bytes()].concat();
        into.changes.push((Table::Cells, key.clone(), Some(value)));
        into.changes.push((Table::Log, event, Some(key)));
    }

    fn commit(&mut self, sets: u64, keys: u64) -> WriteBatch {
        let mut batch = WriteBatch::default();
        for _ in 0..sets {
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            self.set(&mut batch, self.random % keys);
        }
        let state = (Table::Meta, b"state".to_vec(), Some(vec![3; STATE_BYTES]));
        batch.changes.push(state);
        batch
    }
}

/// How much is done.
#[derive(Clone, Copy)]
struct Size {
    keys: u64,
    sets: u64,
    commit: u64,
    /// SETs from sync to sync.
    sync: u64,
}

fn measure(name: &str, engine: &mut dyn Engine, size: Size) -> Result<(), Failure> {
    let mut load = Load {
        random: 0x1234_5678,
        events: 0,
    };
    for from in (0..size.keys).step_by(FILLED as usize) {
        let mut batch = WriteBatch::default();
        (from..size.keys.min(from + FILLED)).for_each(|number| load.set(&mut batch, number));
        engine.commit(batch, true)?;
    }
    engine.finish()?;
    let mut making = Duration::ZERO;
    let mut commits = Vec::new();
    let (processor, wall) = (ProcessTime::now(), Instant::now());
    let mut unsynced = 0;
    for _ in 0..size.sets / size.commit {
        let made = ThreadTime::now();
        let batch = load.commit(size.commit, size.keys);
        making += made.elapsed();
        unsynced += size.commit;
        let syncs = unsynced >= size.sync;
        if syncs {
            unsynced = 0;
        }
        let begun = Instant::now();
        engine.commit(batch, syncs)?;
        commits.push(begun.elapsed());
    }
    let taken = wall.elapsed();
    engine.finish()?;
    let processor = processor.elapsed().saturating_sub(making);
    commits.sort_unstable();
    let at = |part: usize| commits[(commits.len() - 1) * part / 1000].as_secs_f64() * 1e3;
    println!(
        "{name:24} commits of {:5}, a sync per {:6}: {:7.2} us of processor time per SET, {:7.0} SETs/s, \
         a commit p50 {:.3} ms, p99 {:.3} ms, longest {:.1} ms",
        size.commit,
        size.sync,
        processor.as_secs_f64() * 1e6 / size.sets as f64,
        size.sets as f64 / taken.as_secs_f64(),
        at(500),
        at(990),
        at(1000),
    );
    Ok(())
}

fn main() -> Result<(), Failure> {
    let mut arguments = pico_args::Arguments::from_env();
    let keys = arguments.opt_value_from_str("--keys")?.unwrap_or(1_000_000);
    let sets = arguments.opt_value_from_str("--sets")?.unwrap_or(300_000);
    let waiting: usize = arguments
        .opt_value_from_str("--waiting-bytes")?
        .unwrap_or(32 << 20);
    let only: Option<String> = arguments.opt_value_from_str("--only")?;
    for (commit, sync) in [(10, 10), (100, 100), (1_000, 1_000), (10, 1_000)] {
        let size = Size {
            keys,
            sets,
            commit,
            sync,
        };
        let policy = match commit == sync {
            true => SyncPolicy::Always,
            // Longer than any run: it is synced where the others are.
            false => SyncPolicy::Interval(Duration::from_secs(86_400)),
        };
        for name in ["redb", "fjall", "replicad"] {
            if only.as_deref().is_some_and(|only| only != name) {
                continue;
            }
            let directory = tempfile::tempdir_in(".")?;
            let mut engine: Box<dyn Engine> = match name {
                "redb" => Box::new(Redb::open(directory.path())?),
                "fjall" => Box::new(Fjall::open(directory.path())?),
                _ => Box::new(Ours::open(directory.path(), policy, waiting)?),
            };
            measure(name, &mut *engine, size)?;
        }
    }
    Ok(())
}
