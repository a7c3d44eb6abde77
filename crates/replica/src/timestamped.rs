//! The timestamped store: the caller's timestamps decide, each key on `K` of the nodes (system B).

use bytes::Bytes;
use crdt::Timestamp;

use crate::request::bytes_of;
use crate::{
    ClockKind, Cluster, ClusterError, Command, Level, NodeHandle, NodeId, Outcome, Request,
    RequestError,
};

/// How a store reads, and what that costs a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReadMode {
    /// A read joins `R = K - W + 1` owners, so that it sees every acknowledged write, and a write is
    /// acknowledged by `W = (K + 1) / 2` of them.
    #[default]
    Quorum,
    /// A read is answered by one owner, without a round of messages where the node asked is one; a write
    /// is acknowledged by all `K` owners, and fails while one is down.
    ReadOptimised,
}

/// A store of strings whose writers bring the timestamps.
///
/// Of two writes of a key the one with the higher timestamp wins, whatever order they arrive in; at
/// equal timestamps a value wins over a deletion, and the smaller value over the larger. It is a
/// [`Cluster`] with [`ClockKind::Caller`]; faults are injected through [`cluster`](Self::cluster).
///
/// Tombstones stay for ever, unless a horizon is set ([`raise_horizon`](Self::raise_horizon)): a
/// deletion at time `t` must win over an older write that arrives years later.
///
/// ```
/// use replica::TimestampedStore;
///
/// let store = TimestampedStore::new(5, None)?;
/// assert!(store.node(1).put("k", "new", 20));
/// assert!(store.node(2).put("k", "old", 10), "ignored, but something newer is held");
/// assert_eq!(store.node(3).get("k").as_deref(), Some("new"));
/// assert!(store.node(4).delete("k", 20));
/// assert_eq!(store.node(5).get("k").as_deref(), Some("new"), "a tie does not delete");
/// assert!(store.node(4).delete("k", 21));
/// assert_eq!(store.node(5).get("k"), None);
/// # Ok::<(), replica::ClusterError>(())
/// ```
#[derive(Debug, Clone)]
pub struct TimestampedStore {
    cluster: Cluster,
    mode: ReadMode,
}

/// One node of a [`TimestampedStore`], as its clients see it.
#[derive(Debug, Clone)]
pub struct TimestampedNode {
    node: NodeHandle,
    mode: ReadMode,
}

impl TimestampedStore {
    /// A store of `nodes` nodes with each key on `owners` of them; a majority, `(nodes + 1) / 2`, if that
    /// is not said.
    ///
    /// # Errors
    /// If there are too few nodes, or more owners than nodes.
    pub fn new(nodes: u32, owners: Option<u32>) -> Result<Self, ClusterError> {
        Self::with_mode(nodes, owners, ReadMode::Quorum)
    }

    /// The same with the way it reads.
    ///
    /// # Errors
    /// If there are too few nodes, or more owners than nodes.
    pub fn with_mode(
        nodes: u32,
        owners: Option<u32>,
        mode: ReadMode,
    ) -> Result<Self, ClusterError> {
        let owners = owners.unwrap_or(nodes.div_ceil(2));
        let builder = Cluster::builder(nodes).configure(|config| {
            config.clock = ClockKind::Caller;
            config.replication_factor = owners;
            config.partitions = 16 * nodes;
            (config.write_quorum, config.read_quorum) = match mode {
                ReadMode::Quorum => (
                    owners.div_ceil(2),
                    owners - owners.div_ceil(2).min(owners) + 1,
                ),
                ReadMode::ReadOptimised => (owners, 1),
            };
        });
        let cluster = builder.build()?;
        Ok(Self { cluster, mode })
    }

    /// A node. One that has failed is an error at its first use.
    ///
    /// # Panics
    /// If the store has no such node: they are numbered from 1.
    pub fn node(&self, node: u32) -> TimestampedNode {
        TimestampedNode {
            node: self.cluster.node(NodeId(node)),
            mode: self.mode,
        }
    }

    /// The cluster underneath: faults, recovery, status.
    pub const fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Refuses writes at or below `horizon` from now on, at every node, so that tombstones up to it can
    /// be forgotten. It never falls.
    pub fn raise_horizon(&self, horizon: u64) {
        self.cluster.raise_horizon(Timestamp(horizon));
    }
}

impl TimestampedNode {
    /// Writes a value with a timestamp. True once `W` of the key's nodes hold it or something newer; false
    /// if that many could not be reached, and then it may still take effect.
    #[must_use = "a write that is not acknowledged may be lost"]
    pub fn put(&self, key: &str, value: &str, timestamp: u64) -> bool {
        self.try_put(key, value, timestamp).is_ok()
    }

    /// Reads a key: the value with the highest timestamp, `None` if there is none or it was deleted, or
    /// if the key's nodes could not be reached ([`try_get`](Self::try_get) tells these apart).
    pub fn get(&self, key: &str) -> Option<String> {
        self.try_get(key).ok().flatten()
    }

    /// Deletes a key with a timestamp: hides every value with a lower one. True as for
    /// [`put`](Self::put).
    #[must_use = "a deletion that is not acknowledged may be lost"]
    pub fn delete(&self, key: &str, timestamp: u64) -> bool {
        self.try_delete(key, timestamp).is_ok()
    }

    /// [`put`](Self::put) with its outcome: whether the value took effect, and how many nodes hold it.
    ///
    /// # Errors
    /// Why it was not acknowledged.
    pub fn try_put(&self, key: &str, value: &str, timestamp: u64) -> Result<Outcome, RequestError> {
        let put = Command::put(bytes_of(key), bytes_of(value));
        self.write(put.at(Timestamp(timestamp)))
    }

    /// [`delete`](Self::delete) with its outcome.
    ///
    /// # Errors
    /// Why it was not acknowledged.
    pub fn try_delete(&self, key: &str, timestamp: u64) -> Result<Outcome, RequestError> {
        self.write(Command::delete(bytes_of(key)).at(Timestamp(timestamp)))
    }

    /// [`get`](Self::get) with its errors. A value that is not UTF-8, written by other means, is read
    /// with replacement characters.
    ///
    /// # Errors
    /// Why too few of the key's nodes answered.
    pub fn try_get(&self, key: &str) -> Result<Option<String>, RequestError> {
        let level = match self.mode {
            ReadMode::Quorum => Level::Quorum,
            ReadMode::ReadOptimised => Level::One,
        };
        let request = Request::new(Command::get(bytes_of(key)), level);
        let outcome = self.node.execute(request)?;
        let text = |value: &Bytes| String::from_utf8_lossy(value).into_owned();
        Ok(outcome.value().map(text))
    }

    fn write(&self, command: Command) -> Result<Outcome, RequestError> {
        self.node.execute(Request::new(command, Level::Quorum))
    }
}
