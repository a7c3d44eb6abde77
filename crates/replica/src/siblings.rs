//! The sibling store: nodes with vector clocks that keep every concurrent version (system D).
//!
//! Here no dot travels, only values with their vector clocks, so versions are compared in full. Where
//! the writes of a store may carry dots, a [`Cluster`](crate::Cluster) of
//! [`MultiValue`](crate::MultiValue) costs less and repairs loss by itself.

#![expect(
    clippy::disallowed_types,
    reason = "a driver: nodes are shared between threads, and hold their own lock"
)]

use bytes::Bytes;
use crdt::{Dot, Lattice as _, MvRegister, ReplicaId, VersionVector};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::codec::{Codec, CodecError, Postcard};

/// A written value on its way to the other nodes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Update {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Bytes,
    /// How many updates of each node the write had seen of the key, its own included; entry `i` is that
    /// of node `i`.
    pub vector_clock: Vec<u64>,
}

/// An update that a node refuses; nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpdateError {
    /// The clock has not one entry for each node.
    #[error("a vector clock of {entries} entries, the store has {nodes} nodes")]
    Entries {
        /// Entries of the clock.
        entries: usize,
        /// Nodes of the store.
        nodes: usize,
    },
    /// The clock counts nothing, so nobody has written it.
    #[error("a vector clock without an event")]
    Empty,
    /// The clock counts more updates of this node than it has made: another node uses its id, or it has
    /// lost its data.
    #[error("the clock counts {claimed} updates of this node, it has made {made}")]
    OwnFuture {
        /// Updates of this node in the clock.
        claimed: u64,
        /// Updates it has made.
        made: u64,
    },
    /// The bytes are no update.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

/// What one round of [`Node::process_messages`] has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Processed {
    /// Updates that brought something new.
    pub applied: usize,
    /// Updates that were held already, or replaced by what is.
    pub superfluous: usize,
    /// Messages that were refused.
    pub refused: Vec<UpdateError>,
}

/// One node of the sibling store, whose updates travel in the format `C`. Shared between threads as it is; no call waits for another node.
///
/// **Clocks.** The node's own entry of [`clock`](Self::clock) counts all its updates. The clock of a
/// version is the join of the clocks of the key's versions that the write replaced, with the own entry
/// set to that counter. It holds no other key's events of other nodes: otherwise it would seem to
/// replace writes that it has never seen.
///
/// **Cost.** A write or update compares the clocks of the key's versions, one entry for each node.
/// Values are reference-counted and never copied.
///
/// ```
/// use replica::siblings::Node;
///
/// let (a, b): (Node, Node) = (Node::new(0, 2), Node::new(1, 2));
/// a.put("cart".into(), b"tea".to_vec());
/// b.put("cart".into(), b"coffee".to_vec());
/// for message in a.take_messages() {
///     b.deliver(message);
/// }
/// assert_eq!(b.process_messages().applied, 1);
/// let both = b.get("cart");
/// assert_eq!(both, [(b"tea".to_vec(), vec![1, 0]), (b"coffee".to_vec(), vec![0, 1])]);
/// ```
pub struct Node<C = Postcard> {
    id: usize,
    nodes: usize,
    state: Mutex<State>,
    codec: PhantomData<fn() -> C>,
}

#[derive(Debug, Default)]
struct State {
    clock: VersionVector,
    registers: BTreeMap<String, MvRegister<Bytes>>,
    incoming: VecDeque<Vec<u8>>,
    outgoing: Vec<Update>,
    conflicts: u64,
}

impl<C: Codec<Update>> Node<C> {
    /// A node of a store whose nodes are `0..total_nodes`.
    ///
    /// # Panics
    /// If `node_id` is not one of them.
    pub fn new(node_id: usize, total_nodes: usize) -> Self {
        assert!(
            node_id < total_nodes,
            "node {node_id} is not one of the {total_nodes} nodes from 0"
        );
        Self {
            id: node_id,
            nodes: total_nodes,
            state: Mutex::default(),
            codec: PhantomData,
        }
    }

    /// Writes a value in place of all versions of the key held here, and leaves the update to be sent.
    pub fn put(&self, key: String, value: Vec<u8>) {
        let mut state = self.state();
        let mut clock = state
            .registers
            .get(&key)
            .map(MvRegister::clock)
            .unwrap_or_default();
        let own = state.clock.increment(self.replica(self.id));
        clock.raise(own);
        let value = Bytes::from(value);
        let vector_clock = self.entries(&clock);
        let register = state.registers.entry(key.clone()).or_default();
        let _delta = register.write_at(clock, value.clone());
        state.outgoing.push(Update {
            key,
            value,
            vector_clock,
        });
    }

    /// Every concurrent version of a key with its vector clock; empty if it was never written. Copies
    /// the values: [`versions`](Self::versions) shares them.
    pub fn get(&self, key: &str) -> Vec<(Vec<u8>, Vec<usize>)> {
        let versions = self.versions(key).into_iter();
        let narrow = |entry: u64| usize::try_from(entry).unwrap_or(usize::MAX);
        versions
            .map(|(value, clock)| (value.to_vec(), clock.into_iter().map(narrow).collect()))
            .collect()
    }

    /// Every concurrent version of a key with its vector clock, without copying the values.
    pub fn versions(&self, key: &str) -> Vec<(Bytes, Vec<u64>)> {
        let state = self.state();
        let register = state.registers.get(key).into_iter();
        register
            .flat_map(MvRegister::versions)
            .map(|version| (version.value().clone(), self.entries(version.clock())))
            .collect()
    }

    /// Takes an update of another node: it replaces the versions that its clock dominates, is dropped if
    /// one of them dominates it, and is kept beside the others. True if it was new.
    ///
    /// # Errors
    /// If no node of this store can have written it.
    pub fn receive_update(
        &self,
        key: String,
        value: Vec<u8>,
        vector_clock: Vec<usize>,
    ) -> Result<bool, UpdateError> {
        self.receive(Update {
            key,
            value: value.into(),
            vector_clock: vector_clock.into_iter().map(|entry| entry as u64).collect(),
        })
    }

    /// The same for an update as a whole, whose value is shared.
    ///
    /// # Errors
    /// If no node of this store can have written it.
    pub fn receive(&self, update: Update) -> Result<bool, UpdateError> {
        let (entries, nodes) = (update.vector_clock.len(), self.nodes);
        if entries != nodes {
            return Err(UpdateError::Entries { entries, nodes });
        }
        let mut clock = VersionVector::default();
        for (node, counter) in (0..).zip(&update.vector_clock) {
            if *counter > 0 {
                clock.raise(Dot::new(self.replica(node), *counter));
            }
        }
        if clock.is_empty() {
            return Err(UpdateError::Empty);
        }
        let mut state = self.state();
        let own = self.replica(self.id);
        let (claimed, made) = (clock.counter(own), state.clock.counter(own));
        if claimed > made {
            return Err(UpdateError::OwnFuture { claimed, made });
        }
        let register = state.registers.entry(update.key).or_default();
        let conflicts = register.conflicting_clocks().count();
        let is_new = !register.write_at(clock.clone(), update.value).is_empty();
        let conflicts = register.conflicting_clocks().count() - conflicts;
        state.conflicts += conflicts as u64;
        state.clock.join(&clock);
        Ok(is_new)
    }

    /// Leaves a message in front of the node, as it came. It is looked at by
    /// [`process_messages`](Self::process_messages).
    pub fn deliver(&self, message: Vec<u8>) {
        self.state().incoming.push_back(message);
    }

    /// Takes all messages that were delivered so far. Those that are refused change nothing.
    pub fn process_messages(&self) -> Processed {
        let mut processed = Processed::default();
        loop {
            let Some(message) = self.state().incoming.pop_front() else {
                return processed;
            };
            let received = C::decode(&message)
                .map_err(UpdateError::from)
                .and_then(|update| self.receive(update));
            match received {
                Ok(true) => processed.applied += 1,
                Ok(false) => processed.superfluous += 1,
                Err(error) => processed.refused.push(error),
            }
        }
    }

    /// The messages for all other nodes since the last call. The caller carries each to every one of
    /// them, in any order, as often as it likes.
    pub fn take_messages(&self) -> Vec<Vec<u8>> {
        let outgoing = std::mem::take(&mut self.state().outgoing);
        outgoing.iter().filter_map(|u| C::encode(u).ok()).collect()
    }

    /// Messages with every version that the node holds: what a node gets that has missed some.
    pub fn all_messages(&self) -> Vec<Vec<u8>> {
        let state = self.state();
        let versions = state.registers.iter().flat_map(|(key, register)| {
            register.versions().map(|version| Update {
                key: key.clone(),
                value: version.value().clone(),
                vector_clock: self.entries(version.clock()),
            })
        });
        versions.filter_map(|u| C::encode(&u).ok()).collect()
    }

    /// How many updates of each node this one has seen; its own entry counts its own.
    pub fn clock(&self) -> Vec<u64> {
        self.entries(&self.state().clock)
    }

    /// How often two values came under one clock: the mark of two nodes that use one id. Both are kept.
    pub fn conflict_count(&self) -> u64 {
        self.state().conflicts
    }

    const fn replica(&self, node: usize) -> ReplicaId {
        ReplicaId(node as u64 + 1)
    }

    fn entries(&self, clock: &VersionVector) -> Vec<u64> {
        let nodes = 0..self.nodes;
        nodes
            .map(|node| clock.counter(self.replica(node)))
            .collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C> fmt::Debug for Node<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("id", &self.id)
            .field("nodes", &self.nodes)
            .field("state", &self.state)
            .finish()
    }
}
