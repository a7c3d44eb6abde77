//! The sibling store: nodes with vector clocks that keep every concurrent version (system D).
//!
//! Here no dot travels, only values with their vector clocks, so versions are compared in full. Where
//! the writes of a store may carry dots, a [`Cluster`](crate::Cluster) of
//! [`MultiValue`](crate::MultiValue) costs less and repairs loss by itself.

#![expect(
    clippy::disallowed_types,
    reason = "a driver: nodes are shared between threads, and hold their own lock"
)]

mod limits;
mod queue;

use bytes::Bytes;
use crdt::{Dot, Lattice as _, MvRegister, ReplicaId, VersionVector};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::codec::{Codec, Postcard};
pub use limits::{Limits, UnknownNode, UpdateError};
use queue::Queue;

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

/// Some of the versions that a node holds, as messages: what [`Node::messages_after`] returns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// The versions of some keys, in the order of the keys.
    pub messages: Vec<Vec<u8>>,
    /// The last of these keys, if there are more: the next page begins after it.
    pub last_key: Option<String>,
}

/// One node of the sibling store, whose updates travel in the format `C`. Shared between threads as it is; no call waits for another node.
///
/// **Clocks.** The node's own entry of [`clock`](Self::clock) counts all its updates. The clock of a
/// version is the join of the clocks of the key's versions that the write replaced, with the own entry
/// set to that counter. It holds no other key's events of other nodes: otherwise it would seem to
/// replace writes that it has never seen.
///
/// **Cost.** A write or update compares the clocks of the key's versions, one entry for each node.
/// Values are reference-counted, and copied only into the bytes of a message.
///
/// **Limits.** Keys, values, messages and what waits in each direction are bounded ([`Limits`]); what goes beyond
/// is refused with an [`UpdateError`], and nothing that was taken is dropped.
///
/// ```
/// use replica::siblings::Node;
///
/// let (a, b): (Node, Node) = (Node::new(0, 2), Node::new(1, 2));
/// a.put("cart".into(), b"tea".to_vec())?;
/// b.put("cart".into(), b"coffee".to_vec())?;
/// for message in a.take_messages() {
///     b.deliver(message)?;
/// }
/// assert_eq!(b.process_messages().applied, 1);
/// let both = b.get("cart");
/// assert_eq!(both, [(b"tea".to_vec(), vec![1, 0]), (b"coffee".to_vec(), vec![0, 1])]);
/// # Ok::<(), replica::siblings::UpdateError>(())
/// ```
pub struct Node<C = Postcard> {
    id: usize,
    nodes: usize,
    limits: Limits,
    state: Mutex<State>,
    codec: PhantomData<fn() -> C>,
}

#[derive(Debug, Default)]
struct State {
    clock: VersionVector,
    registers: BTreeMap<String, MvRegister<Bytes>>,
    /// As they came.
    incoming: Queue,
    /// Encoded when they were written, so that what cannot be sent is not written.
    outgoing: Queue,
    conflicts: u64,
}

impl<C: Codec<Update>> Node<C> {
    /// A node of a store whose nodes are `0..total_nodes`, with the default [`Limits`].
    ///
    /// # Panics
    /// If `node_id` is not one of them; [`with_limits`](Self::with_limits) returns an error instead.
    pub fn new(node_id: usize, total_nodes: usize) -> Self {
        match Self::with_limits(node_id, total_nodes, Limits::default()) {
            Ok(node) => node,
            Err(error) => panic!("{error}"),
        }
    }

    /// The same with other limits.
    ///
    /// # Errors
    /// If `node_id` is not one of the nodes.
    pub fn with_limits(
        node_id: usize,
        total_nodes: usize,
        limits: Limits,
    ) -> Result<Self, UnknownNode> {
        if node_id >= total_nodes {
            return Err(UnknownNode {
                node_id,
                total_nodes,
            });
        }
        Ok(Self {
            id: node_id,
            nodes: total_nodes,
            limits,
            state: Mutex::default(),
            codec: PhantomData,
        })
    }

    /// Writes a value in place of all versions of the key held here, and leaves the message for the other nodes to
    /// be taken.
    ///
    /// # Errors
    /// If the key, the value or the message is over its limit, if too many messages wait to be taken, or if the
    /// format cannot express the update. Nothing has changed then.
    pub fn put(&self, key: String, value: Vec<u8>) -> Result<(), UpdateError> {
        self.limits.check_content(&key, &value)?;
        let mut state = self.state();
        let held = state.registers.get(&key).map(MvRegister::clock);
        let mut clock = held.unwrap_or_default();
        let own = self.replica(self.id);
        let made = state.clock.counter(own).checked_add(1);
        let event = Dot::new(own, made.ok_or(UpdateError::CounterExhausted)?);
        clock.raise(event);
        let update = Update {
            key,
            value: Bytes::from(value),
            vector_clock: self.entries(&clock),
        };
        let message = C::encode(&update)?;
        self.limits.check_message(&message)?;
        let size = message.len();
        state.outgoing.check_room(size, &self.limits, "taken")?;
        state.clock.raise(event);
        let register = state.registers.entry(update.key).or_default();
        let _delta = register.write_at(clock, update.value);
        state.outgoing.push(message);
        Ok(())
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
    /// If no node of this store can have written it, or if it is over a limit.
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
    /// If no node of this store can have written it, or if it is over a limit.
    pub fn receive(&self, update: Update) -> Result<bool, UpdateError> {
        self.limits.check_content(&update.key, &update.value)?;
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
        if let Some(register) = state.registers.get(&update.key) {
            self.check_versions(register, &clock, &update.value)?;
        }
        let register = state.registers.entry(update.key).or_default();
        let conflicts = register.conflicting_clocks().count();
        let is_new = !register.write_at(clock.clone(), update.value).is_empty();
        let conflicts = register.conflicting_clocks().count() - conflicts;
        state.conflicts += conflicts as u64;
        state.clock.join(&clock);
        Ok(is_new)
    }

    /// Whether the key has room for a version beside those that it does not replace.
    fn check_versions(
        &self,
        register: &MvRegister<Bytes>,
        clock: &VersionVector,
        value: &Bytes,
    ) -> Result<(), UpdateError> {
        let limit = self.limits.max_versions;
        if register.versions().len() < limit {
            return Ok(());
        }
        let mut held = register.versions();
        let is_held = held.any(|v| v.clock() > clock || (v.clock() == clock && v.value() == value));
        let replaced = register.versions().filter(|v| v.clock() < clock).count();
        match register.versions().len() - replaced {
            versions if versions >= limit && !is_held => {
                Err(UpdateError::TooManyVersions { versions, limit })
            }
            _ => Ok(()),
        }
    }

    /// Leaves a message in front of the node, as it came. It is looked at by
    /// [`process_messages`](Self::process_messages).
    ///
    /// # Errors
    /// If it is longer than a message may be, or if too many wait already. It is not taken then; whoever has it may
    /// deliver it again later.
    pub fn deliver(&self, message: Vec<u8>) -> Result<(), UpdateError> {
        self.limits.check_message(&message)?;
        let mut state = self.state();
        let size = message.len();
        state.incoming.check_room(size, &self.limits, "processed")?;
        state.incoming.push(message);
        Ok(())
    }

    /// Takes all messages that were delivered so far. Those that are refused change nothing.
    pub fn process_messages(&self) -> Processed {
        let mut processed = Processed::default();
        // Those that are delivered meanwhile wait for the next call, or this one may never end.
        let waiting = self.state().incoming.len();
        for _ in 0..waiting {
            let Some(message) = self.state().incoming.pop() else {
                break;
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
        processed
    }

    /// The messages for all other nodes since the last call. The caller carries each to every one of
    /// them, in any order, as often as it likes.
    pub fn take_messages(&self) -> Vec<Vec<u8>> {
        self.state().outgoing.take()
    }

    /// Messages with every version that the node holds: what a node gets that has missed some. They take as much
    /// memory as everything that is held; [`messages_after`](Self::messages_after) makes them in parts.
    ///
    /// # Errors
    /// If the format cannot express a version that came by [`receive`](Self::receive).
    pub fn all_messages(&self) -> Result<Vec<Vec<u8>>, UpdateError> {
        Ok(self.messages_after(None, usize::MAX)?.messages)
    }

    /// The same for the keys after `key`, or all if there is none, until the messages have `max_bytes`. All versions
    /// of a key come together, at least those of one key.
    ///
    /// # Errors
    /// If the format cannot express a version that came by [`receive`](Self::receive).
    pub fn messages_after(&self, key: Option<&str>, max_bytes: usize) -> Result<Page, UpdateError> {
        let state = self.state();
        let after = key.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = state.registers.range::<str, _>((after, Bound::Unbounded));
        let (mut messages, mut bytes) = (Vec::new(), 0_usize);
        while let Some((key, register)) = rest.next() {
            for version in register.versions() {
                let message = C::encode(&Update {
                    key: key.clone(),
                    value: version.value().clone(),
                    vector_clock: self.entries(version.clock()),
                })?;
                bytes = bytes.saturating_add(message.len());
                messages.push(message);
            }
            if bytes >= max_bytes {
                let last_key = rest.next().map(|_| key.clone());
                return Ok(Page { messages, last_key });
            }
        }
        let last_key = None;
        Ok(Page { messages, last_key })
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
            .field("limits", &self.limits)
            .field("state", &self.state)
            .finish()
    }
}

#[cfg(test)]
mod tests;
