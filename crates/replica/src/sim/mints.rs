//! The events that were minted for writes with a name.

use bytes::Bytes;
use crdt::{Dot, ReplicaId, Timestamp};
use std::collections::BTreeMap;

use super::oracle::Simulated;
use crate::{Node, PartitionId, State};

/// An event that was minted for a named write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mint {
    pub(super) dot: Dot,
    /// Its time, in a store by time.
    pub(super) timestamp: Timestamp,
    pub(super) at_ms: u64,
}

/// The events of named writes, which are known by their values: no other write of the key has the same.
#[derive(Debug, Default)]
pub(super) struct Mints {
    names: BTreeMap<(Bytes, Bytes), u32>,
    events: BTreeMap<u32, Vec<Mint>>,
    /// How many events of each identity were looked at.
    seen: BTreeMap<(PartitionId, ReplicaId), u64>,
}

impl Mints {
    /// From now on looks for the events of a write.
    pub(super) fn watch(&mut self, name: u32, key: Bytes, value: Bytes) {
        self.names.insert((key, value), name);
        self.events.insert(name, Vec::new());
    }

    /// The events of a write so far, the oldest first; `None` if nobody looks for them.
    pub(super) fn of(&self, name: u32) -> Option<&[Mint]> {
        self.events.get(&name).map(Vec::as_slice)
    }

    /// Takes note of what a node has minted since it was looked at last.
    pub(super) fn note<P: Simulated>(&mut self, node: &Node<P>, at_ms: u64) {
        if self.names.is_empty() {
            return;
        }
        for (partition, state) in node.partitions() {
            // What could not be made durable was never minted.
            let Some(id) = state.incarnation() else {
                continue;
            };
            if state.state() == State::StorageFailed {
                continue;
            }
            let replica = state.replica();
            let last = replica.own_counter();
            let seen = self.seen.entry((partition, id)).or_insert(0);
            for counter in *seen + 1..=last {
                let dot = Dot::new(id, counter);
                let Some(key) = replica.log().key(dot) else {
                    continue;
                };
                let written = replica.map().get(key).and_then(|c| P::written(c, dot));
                let Some((timestamp, value)) = written else {
                    continue;
                };
                if let Some(name) = self.names.get(&(key.clone(), value)) {
                    let mint = Mint {
                        dot,
                        timestamp,
                        at_ms,
                    };
                    self.events.entry(*name).or_default().push(mint);
                }
            }
            *seen = last.max(*seen);
        }
    }
}
