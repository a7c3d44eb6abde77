//! What has changed since the last batch, and how a node's state is stored and read back.

use bytes::Bytes;
use crdt::{Closed, Dot, Knowledge, MapReplica, OwnerView, Promises, ReplicaId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::recovery::Recovery;
use super::{Partition, Phase};
use crate::clock::Clock;
use crate::storage::{Storage, StorageError, Table, WriteBatch};
use crate::{OperationId, PartitionId, Policy};

/// The name in [`Table::Meta`] under which all but cells, log and operations is stored.
const STATE: &[u8] = b"state";

/// The names in [`Table::Meta`] of remembered operations start so; the id follows.
const OPERATION: &[u8] = b"operation ";

/// What the stored form of most cells takes beside their values.
const CELL_BYTES: usize = 32;

/// Version of the stored form; another one is refused.
const FORMAT: u32 = 5;

/// Whether a node goes on as the one whose state is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Identity {
    Kept,
    GivenUp,
}

/// Changes that are not durable yet.
#[derive(Debug)]
pub(super) struct Journal {
    durable: bool,
    keys: BTreeSet<Bytes>,
    /// Events added to the log, or trimmed from it (`None`).
    events: BTreeMap<Dot, Option<Bytes>>,
    /// Operations that are remembered since, otherwise than before, or no longer.
    operations: BTreeSet<OperationId>,
    meta: bool,
}

impl Journal {
    pub(super) const fn new(durable: bool) -> Self {
        Self {
            durable,
            keys: BTreeSet::new(),
            events: BTreeMap::new(),
            operations: BTreeSet::new(),
            meta: false,
        }
    }

    pub(super) fn note_key(&mut self, key: &Bytes) {
        if self.durable {
            self.keys.insert(key.clone());
        }
    }

    pub(super) fn note_event(&mut self, dot: Dot, key: Bytes) {
        if self.durable {
            self.events.insert(dot, Some(key));
        }
        self.note_meta();
    }

    pub(super) fn note_trimmed(&mut self, dots: Vec<Dot>) {
        if self.durable {
            self.events.extend(dots.into_iter().map(|dot| (dot, None)));
        }
    }

    pub(super) fn note_operation(&mut self, id: OperationId) {
        if self.durable {
            self.operations.insert(id);
        }
    }

    pub(super) const fn note_meta(&mut self) {
        self.meta = self.durable;
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new(self.durable);
    }

    fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.events.is_empty() && self.operations.is_empty() && !self.meta
    }
}

/// The stored form of everything but cells and log.
#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
    node: u32,
    nodes: u32,
    replication_factor: u32,
    partition: PartitionId,
    id: ReplicaId,
    reconciled: bool,
    knowledge: Knowledge<Bytes>,
    clock: Clock,
    view: OwnerView,
    promises: Promises,
    retired: BTreeMap<u32, ReplicaId>,
    closed: Arc<Closed>,
    remembers_since: Option<u64>,
}

impl<P: Policy> Partition<P> {
    /// The changes since the last batch as one batch.
    pub(super) fn take_batch(&mut self) -> Option<WriteBatch> {
        if self.journal.is_empty() {
            return None;
        }
        let mut batch = WriteBatch::default();
        for key in std::mem::take(&mut self.journal.keys) {
            let cell = self.replica.map().get(&key);
            let cell = cell.map(|cell| encode_into(cell, CELL_BYTES + P::weight(cell)));
            batch.changes.push((Table::Cells, key.to_vec(), cell));
        }
        for (dot, key) in std::mem::take(&mut self.journal.events) {
            batch
                .changes
                .push((Table::Log, dot_to_bytes(dot), key.map(|key| key.to_vec())));
        }
        for id in std::mem::take(&mut self.journal.operations) {
            let stored = self.operations.stored(id).map(|stored| encode(&stored));
            batch
                .changes
                .push((Table::Meta, operation_name(id), stored));
        }
        if std::mem::take(&mut self.journal.meta) {
            let stored = Stored {
                format: FORMAT,
                node: self.config.node.0,
                nodes: self.config.nodes,
                replication_factor: self.config.replication_factor,
                partition: self.config.partition,
                id: self.replica.id(),
                reconciled: self.is_ready() || self.is_returning(),
                knowledge: self.replica.knowledge().clone(),
                clock: self.clock.clone(),
                view: OwnerView::clone(&self.view),
                promises: self.promises.clone(),
                retired: self.retired.clone(),
                closed: Arc::clone(self.replica.closed()),
                remembers_since: self.operations.since(),
            };
            batch
                .changes
                .push((Table::Meta, STATE.to_vec(), Some(encode(&stored))));
        }
        Some(batch)
    }

    /// Reads back what was stored; false if there is nothing.
    pub(super) fn restore_from(
        &mut self,
        storage: &dyn Storage,
        identity: Identity,
    ) -> Result<bool, StorageError> {
        let mut stored: Option<Stored> = None;
        let mut operations = Vec::new();
        storage.scan(Table::Meta, &mut |name, bytes| {
            if name == STATE {
                stored = Some(decode("state", bytes)?);
            } else if let Some(id) = operation_of(name) {
                operations.push((id, decode("operation", bytes)?));
            }
            Ok(())
        })?;
        let Some(stored) = stored else {
            return Ok(false);
        };
        self.check_stored(&stored, identity)?;
        let mut entries = Vec::new();
        storage.scan(Table::Cells, &mut |key, bytes| {
            entries.push((
                Bytes::copy_from_slice(key),
                decode::<P::Cell>("cell", bytes)?,
            ));
            Ok(())
        })?;
        let mut log = Vec::new();
        storage.scan(Table::Log, &mut |dot, key| {
            log.push((dot_from_bytes(dot)?, Bytes::copy_from_slice(key)));
            Ok(())
        })?;
        let restored = MapReplica::restore(stored.id, entries, stored.knowledge, log)
            .map_err(|e| StorageError::new("reading the stored map", e))?;
        self.replica = super::starting::prepared(restored, self.random);
        self.clock.resume(stored.clock.last());
        self.view = Arc::new(stored.view);
        self.promises = stored.promises;
        self.retired = stored.retired;
        self.replica.note_closed(&stored.closed);
        self.operations.restore(operations, stored.remembers_since);
        self.phase = match stored.reconciled {
            true => Phase::Recovering(Recovery::returning()),
            false => Phase::Recovering(Recovery::nameless()),
        };
        Ok(true)
    }

    fn check_stored(&self, stored: &Stored, identity: Identity) -> Result<(), StorageError> {
        let refuse = |what: &'static str, is: u32, expected: u32| {
            Err(StorageError::new(
                what,
                format!("the store says {is}, expected {expected}"),
            ))
        };
        if stored.format != FORMAT {
            return refuse("format of the store", stored.format, FORMAT);
        }
        let checked = [
            ("node of the store", stored.node, self.config.node.0),
            (
                "number of nodes of the store",
                stored.nodes,
                self.config.nodes,
            ),
            (
                "owners of each key of the store",
                stored.replication_factor,
                self.config.replication_factor,
            ),
            (
                "partition of the store",
                stored.partition.0,
                self.config.partition.0,
            ),
        ];
        // Whose state it was matters to who goes on as that node.
        let skipped = usize::from(identity == Identity::GivenUp);
        for (what, is, expected) in checked.into_iter().skip(skipped) {
            if is != expected {
                return refuse(what, is, expected);
            }
        }
        if std::mem::discriminant(&stored.clock) != std::mem::discriminant(&self.clock) {
            return Err(StorageError::new(
                "clock of the store",
                "it is of another kind",
            ));
        }
        Ok(())
    }
}

fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    encode_into(value, 0)
}

/// The same with room for so many bytes, which saves moving them where that is enough.
fn encode_into<T: Serialize>(value: &T, bytes: usize) -> Vec<u8> {
    postcard::to_extend(value, Vec::with_capacity(bytes))
        .expect("these types serialise into memory without fail")
}

fn decode<T: for<'de> Deserialize<'de>>(
    what: &'static str,
    bytes: &[u8],
) -> Result<T, StorageError> {
    let (value, rest) = postcard::take_from_bytes(bytes)
        .map_err(|e| StorageError::new("decoding", format!("{what}: {e}")))?;
    if !rest.is_empty() {
        return Err(StorageError::new(
            "decoding",
            format!("{what}: {} bytes too many", rest.len()),
        ));
    }
    Ok(value)
}

fn operation_name(id: OperationId) -> Vec<u8> {
    [OPERATION, &id.as_u128().to_be_bytes()].concat()
}

fn operation_of(name: &[u8]) -> Option<OperationId> {
    let id = name.strip_prefix(OPERATION)?.try_into().ok()?;
    Some(OperationId::new(u128::from_be_bytes(id)))
}

fn dot_to_bytes(dot: Dot) -> Vec<u8> {
    [dot.replica.0.to_be_bytes(), dot.counter.to_be_bytes()].concat()
}

fn dot_from_bytes(bytes: &[u8]) -> Result<Dot, StorageError> {
    let wrong = || StorageError::new("decoding", format!("an event of {} bytes", bytes.len()));
    let (replica, counter) = bytes.split_first_chunk::<8>().ok_or_else(wrong)?;
    let counter = counter.try_into().map_err(|_| wrong())?;
    Ok(Dot::new(
        ReplicaId(u64::from_be_bytes(*replica)),
        u64::from_be_bytes(counter),
    ))
}
