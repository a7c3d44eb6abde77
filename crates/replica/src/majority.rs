//! The majority store: a replicated map from strings to strings, where a majority of the nodes has the
//! last word.

use std::time::Duration;

use crate::request::bytes_of;
use crate::{
    Cluster, ClusterError, Command, Level, NodeHandle, NodeId, Outcome, RecoverError, Request,
    RequestError, WaitTimeout,
};

/// A highly available key-value store of `N` nodes in one process.
///
/// Every node holds every key. A write succeeds once a majority, `N / 2 + 1` nodes, holds it, and a
/// read joins what a majority holds; so every operation goes on while at most `(N - 1) / 2` nodes are
/// down. A client may talk to any node that is up, from any number of threads.
///
/// Of concurrent writes of a key the one with the higher Lamport time wins, on equal times the smaller
/// value. A write or delete that starts after another was acknowledged always wins over it.
///
/// ```
/// use replica::MajorityStore;
/// use std::time::Duration;
///
/// let store = MajorityStore::new(3)?;
/// let (a, b, c) = (store.node(1), store.node(2), store.node(3));
/// std::thread::scope(|threads| {
///     threads.spawn(|| a.insert("key1", "value1"));
///     threads.spawn(|| b.insert("key1", "value2"));
/// });
/// // One of the two has won, and every node says the same.
/// let winner = a.get("key1")?;
/// assert!(matches!(winner.as_deref(), Some("value1" | "value2")));
/// assert_eq!((b.get("key1")?, c.get("key1")?), (winner.clone(), winner.clone()));
///
/// store.fail(3);
/// a.insert("key2", "value3")?;
/// assert!(c.get("key2").is_err(), "a failed node is never served from");
///
/// store.recover(3)?;
/// store.wait_until_up(3, Duration::from_secs(10))?;
/// assert_eq!((c.get("key1")?, c.get("key2")?), (winner, Some("value3".into())));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct MajorityStore {
    cluster: Cluster,
}

/// One node of a [`MajorityStore`], for the clients that talk to it.
#[derive(Debug, Clone)]
pub struct MajorityNode {
    node: NodeHandle,
}

/// Why an operation failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MajorityError {
    /// Replication failed: no majority could be reached.
    #[error(
        "no majority: {acknowledged} of the {needed} needed nodes answered{}",
        if *.may_take_effect { "; the write may still take effect" } else { "" }
    )]
    Replication {
        /// Nodes that acknowledged, the one asked included.
        acknowledged: usize,
        /// Nodes that had to.
        needed: usize,
        /// Whether it was a write that some node holds: it may then still take effect.
        may_take_effect: bool,
    },
    /// The node asked has failed. Nothing was changed.
    #[error("{0} has failed and serves nothing until it is recovered")]
    NodeFailed(NodeId),
    /// The node asked is catching up after a failure. Nothing was changed.
    #[error("{0} is recovering and serves nothing yet")]
    NodeRecovering(NodeId),
    /// The value was not written through this interface and is no text.
    #[error("the value is not valid UTF-8")]
    NotUtf8,
    /// The request was refused, for example because key or value are over a limit.
    #[error(transparent)]
    Refused(RequestError),
}

impl MajorityStore {
    /// A store of that many nodes, all of them up and empty.
    ///
    /// # Errors
    /// If there are fewer than three nodes or more than the limit, or no thread can be started.
    pub fn new(nodes: u32) -> Result<Self, ClusterError> {
        Cluster::new(nodes).map(Self::from)
    }

    /// The cluster underneath.
    pub const fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// A node. Nodes count from 1.
    ///
    /// # Panics
    /// If the store has no such node.
    pub fn node(&self, node: u32) -> MajorityNode {
        let node = self.cluster.node(NodeId(node));
        MajorityNode { node }
    }

    /// Takes a node down: it loses its data and fails every operation.
    ///
    /// # Panics
    /// If the store has no such node.
    pub fn fail(&self, node: u32) {
        self.cluster.fail(NodeId(node));
    }

    /// Brings a failed node back, empty. It serves once it has caught up with the others.
    ///
    /// # Errors
    /// If the node has not failed, or too few others are up to be sure of every acknowledged write.
    ///
    /// # Panics
    /// If the store has no such node.
    pub fn recover(&self, node: u32) -> Result<(), RecoverError> {
        self.cluster.recover(NodeId(node))
    }

    /// Waits until a node serves.
    ///
    /// # Errors
    /// If it does not within `timeout`.
    ///
    /// # Panics
    /// If the store has no such node.
    pub fn wait_until_up(&self, node: u32, timeout: Duration) -> Result<(), WaitTimeout> {
        self.cluster.wait_until_up(NodeId(node), timeout)
    }

    /// Parts the network between two groups of nodes.
    ///
    /// # Panics
    /// If the store has no such node.
    pub fn partition(&self, one: &[u32], other: &[u32]) {
        let ids = |nodes: &[u32]| nodes.iter().copied().map(NodeId).collect::<Vec<_>>();
        self.cluster.partition(&ids(one), &ids(other));
    }

    /// Mends the network.
    pub fn heal(&self) {
        self.cluster.heal();
    }
}

impl From<Cluster> for MajorityStore {
    /// The store on a cluster that was configured otherwise.
    fn from(cluster: Cluster) -> Self {
        Self { cluster }
    }
}

impl MajorityNode {
    /// The node.
    pub const fn id(&self) -> NodeId {
        self.node.id()
    }

    /// Writes a value; returns once a majority holds it.
    ///
    /// # Errors
    /// [`MajorityError`] says whether the write may still take effect.
    pub fn insert(&self, key: &str, value: &str) -> Result<(), MajorityError> {
        let (key, value) = (bytes_of(key), bytes_of(value));
        self.execute(Command::put(key, value)).map(|_| ())
    }

    /// Deletes a key, present or not; returns once a majority holds the deletion.
    ///
    /// # Errors
    /// [`MajorityError`] says whether the deletion may still take effect.
    pub fn delete(&self, key: &str) -> Result<(), MajorityError> {
        let key = bytes_of(key);
        self.execute(Command::delete(key)).map(|_| ())
    }

    /// What a majority holds for a key.
    ///
    /// # Errors
    /// If there is no majority, or the node does not serve.
    pub fn get(&self, key: &str) -> Result<Option<String>, MajorityError> {
        let key = bytes_of(key);
        let outcome = self.execute(Command::get(key))?;
        let text = outcome.value().map(|value| std::str::from_utf8(value));
        match text.transpose() {
            Ok(text) => Ok(text.map(str::to_owned)),
            Err(_) => Err(MajorityError::NotUtf8),
        }
    }

    fn execute(&self, command: Command) -> Result<Outcome, MajorityError> {
        Ok(self.node.execute(Request::new(command, Level::Quorum))?)
    }
}

impl From<RequestError> for MajorityError {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::NoMajority {
                acknowledged,
                needed,
                may_take_effect,
            }
            | RequestError::Deadline {
                answered: acknowledged,
                needed,
                may_take_effect,
            } => Self::Replication {
                acknowledged,
                needed,
                may_take_effect,
            },
            RequestError::NodeFailed(node) => Self::NodeFailed(node),
            RequestError::Recovering { node, .. } => Self::NodeRecovering(node),
            other => Self::Refused(other),
        }
    }
}
