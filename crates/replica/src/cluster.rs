//! A cluster inside one process: the protocol of every node, called by as many threads as there are
//! clients.
//!
//! Messages are delivered by direct calls on the thread of the client that caused them, one node's lock
//! at a time. A node whose lock is held by someone else is left its message and not waited for, so a
//! slow node does not hold up what has its majority without it. One thread in the background drives
//! timeouts and moves bulk: synchronisation and the transfer to a node that comes back.
//!
//! Each partition of a node has a lock of its own, and there is one partition unless the configuration says
//! otherwise. Where several threads write take some ten times as many partitions as threads:
//!
//! ```
//! use replica::Cluster;
//!
//! let cluster = Cluster::builder(3).configure(|config| config.partitions = 32).build()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | fault | what the nodes are told |
//! |---|---|
//! | [`fail`](Cluster::fail), [`partition`](Cluster::partition) | that they cannot reach the others: what has no majority left fails at once |
//! | [`cut`](Cluster::cut) | nothing: what has no majority left fails at its deadline |
//!
//! ```
//! use replica::{Cluster, Command, Level, NodeId, Request};
//!
//! let cluster = Cluster::new(3)?;
//! let put = Command::put("k".into(), "v".into());
//! cluster.node(NodeId(1)).execute(Request::new(put, Level::Quorum))?;
//! cluster.fail(NodeId(1));
//! let get = Request::new(Command::get("k".into()), Level::Quorum);
//! let read = cluster.node(NodeId(2)).execute(get)?;
//! assert_eq!(read.value(), Some(&"v".into()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![expect(
    clippy::disallowed_types,
    reason = "a driver: it holds the locks, the clock and the randomness that the core is passed"
)]

mod background;
mod builder;
mod cell;
mod engine;
mod latency;
mod links;
mod subscription;
mod topology;
mod waiting;

pub use builder::{ClusterBuilder, ClusterError};
pub use subscription::{Subscription, SubscriptionError};

use bytes::Bytes;
use crdt::CausalMap;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::sync::{JoinHandle, Moment};
use crate::{
    Config, Explanation, Lww, NodeId, Outcome, Partition, PartitionId, Placement, Policy, Request,
    RequestError, State, Status, Token,
};
use engine::Engine;
use latency::Latency;

/// Nodes in one process, all of them up and empty at the start.
///
/// A clone is another handle to the same cluster; the nodes stop when the last handle, of the cluster
/// or of a node, is dropped.
#[derive(Debug)]
pub struct Cluster<P: Policy = Lww> {
    inner: Arc<Inner<P>>,
}

/// One node of a [`Cluster`], for the clients that talk to it.
pub struct NodeHandle<P: Policy = Lww> {
    inner: Arc<Inner<P>>,
    node: NodeId,
}

/// The engine with the thread that works for it.
#[derive(Debug)]
struct Inner<P: Policy> {
    engine: Arc<Engine<P>>,
    background: Option<JoinHandle<()>>,
}

/// A node could not be recovered. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecoverError {
    /// The node is up.
    #[error("{0} has not failed")]
    NotFailed(NodeId),
    /// The node is recovering.
    #[error("{0} is recovering already")]
    Recovering(NodeId),
    /// Too few other nodes are up and reconciled to be sure of every acknowledged write.
    #[error(
        "{node} needs {needed} other nodes that are up and reconciled, there are {reconciled}: recover \
         it later, or accept the loss of acknowledged writes that only failed nodes held \
         (`recover_accepting_loss`, accept-loss)"
    )]
    TooFewSources {
        /// The node to be recovered.
        node: NodeId,
        /// Other nodes that are up and reconciled.
        reconciled: usize,
        /// How many are needed.
        needed: usize,
    },
}

/// What was waited for has not happened in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not {what} within {} ms", .timeout.as_millis())]
pub struct WaitTimeout {
    /// What was waited for.
    pub what: &'static str,
    /// How long.
    pub timeout: Duration,
}

impl Cluster {
    /// A brand-new cluster with the default configuration.
    ///
    /// # Errors
    /// If there cannot be a cluster of that many nodes, or no thread can be started.
    pub fn new(nodes: u32) -> Result<Self, ClusterError> {
        Self::builder(nodes).build()
    }

    /// A cluster of that many nodes, to be configured.
    pub fn builder(nodes: u32) -> ClusterBuilder {
        ClusterBuilder::new(nodes)
    }
}

impl<P: Policy> Cluster<P> {
    fn start(config: &Config, seed: u64, latency: Option<Latency>) -> Result<Self, ClusterError> {
        let engine = Arc::new(Engine::new(config, seed, latency)?);
        let background = background::spawn(&engine)?;
        Ok(Self {
            inner: Arc::new(Inner {
                engine,
                background: Some(background),
            }),
        })
    }

    /// Number of nodes, failed ones included.
    pub fn node_count(&self) -> usize {
        self.inner.engine.nodes().len()
    }

    /// All nodes, failed ones included.
    pub fn nodes(&self) -> impl Iterator<Item = NodeHandle<P>> + '_ {
        self.inner.engine.nodes().map(|node| self.node(node))
    }

    /// A node. Nodes count from 1.
    ///
    /// # Panics
    /// If the cluster has no such node.
    pub fn node(&self, node: NodeId) -> NodeHandle<P> {
        let inner = Arc::clone(&self.inner);
        let node = inner.engine.known(node);
        NodeHandle { inner, node }
    }

    /// Takes a node down: it loses its data, and every later operation through it fails with
    /// [`RequestError::NodeFailed`]. Nothing happens if it is down.
    ///
    /// # Panics
    /// If the cluster has no such node.
    pub fn fail(&self, node: NodeId) {
        self.inner.engine.fail(node);
    }

    /// Brings a failed node back, empty. It catches up in the background, and serves once it knows all
    /// that enough others know; [`wait_until_up`](Self::wait_until_up) waits for that.
    ///
    /// # Errors
    /// If the node has not failed, or too few others are left to recover it from. In the second case
    /// [`recover_accepting_loss`](Self::recover_accepting_loss) is the way out.
    ///
    /// # Panics
    /// If the cluster has no such node.
    pub fn recover(&self, node: NodeId) -> Result<(), RecoverError> {
        self.inner.engine.recover(node, false)
    }

    /// Brings a failed node back although too few others are left to be sure of every acknowledged
    /// write, or lets one that is recovering go on with those that are left. Writes that only failed
    /// nodes held are lost.
    ///
    /// # Errors
    /// If the node has not failed.
    ///
    /// # Panics
    /// If the cluster has no such node.
    pub fn recover_accepting_loss(&self, node: NodeId) -> Result<(), RecoverError> {
        self.inner.engine.recover(node, true)
    }

    /// Waits until a node serves.
    ///
    /// # Errors
    /// If it does not within `timeout`.
    ///
    /// # Panics
    /// If the cluster has no such node.
    pub fn wait_until_up(&self, node: NodeId, timeout: Duration) -> Result<(), WaitTimeout> {
        self.wait_until("up", timeout, |engine| {
            let cells = engine.cells_of(node).iter();
            let mut states = cells.map(|cell| engine.look(cell, Partition::state));
            states.all(|state| state == Some(State::Up)) && engine.is_up(node)
        })
    }

    /// Waits until all nodes that have not failed serve, know the same, and so show the same.
    ///
    /// # Errors
    /// If they do not within `timeout`: for example because writes go on, or the network is cut.
    pub fn wait_until_settled(&self, timeout: Duration) -> Result<(), WaitTimeout> {
        self.wait_until("settled", timeout, Engine::is_settled)
    }

    /// Parts the network: nothing gets through between the two groups, and their members are told.
    ///
    /// # Panics
    /// If the cluster has no such node.
    pub fn partition(&self, one: &[NodeId], other: &[NodeId]) {
        self.inner.engine.partition(one, other);
    }

    /// Drops every later message from one node to another, in this direction, and tells nobody.
    ///
    /// # Panics
    /// If the cluster has no such node.
    pub fn cut(&self, from: NodeId, to: NodeId) {
        self.inner.engine.cut(from, to);
    }

    /// Mends every partition and cut of the network.
    pub fn heal(&self) {
        self.inner.engine.heal();
    }

    /// What an operator sees of a node, in the first partition that it owns; `None` if it has failed.
    ///
    /// # Panics
    /// If the cluster has no such node.
    pub fn status(&self, node: NodeId) -> Option<Status> {
        self.statuses(node)?.into_iter().next()
    }

    /// The same for each partition that the node owns, ascending.
    ///
    /// # Panics
    /// If the cluster has no such node.
    pub fn statuses(&self, node: NodeId) -> Option<Vec<Status>> {
        let engine = &self.inner.engine;
        let cells = engine.cells_of(node).iter();
        cells
            .map(|cell| engine.look(cell, Partition::status))
            .collect()
    }

    /// Raises the horizon of a store that takes the caller's timestamps, at every node:
    /// [`Partition::handle_horizon`].
    pub fn raise_horizon(&self, horizon: crdt::Timestamp) {
        self.inner.engine.raise_horizon(horizon);
    }

    /// Where the keys are.
    pub fn placement(&self) -> Placement {
        self.inner.engine.placement()
    }

    /// The [checksum](crate::checksum) of what a node shows; equal on nodes that show the same. That
    /// of a failed node is that of an empty one. Linear in the entries; the node goes on working.
    ///
    /// # Panics
    /// If the cluster has no such node.
    pub fn checksum(&self, node: NodeId) -> u128 {
        let engine = &self.inner.engine;
        let cells = engine.cells_of(node).iter();
        let maps = cells.filter_map(|cell| engine.look(cell, |p| p.replica().snapshot()));
        maps.fold(0, |sum, map| sum.wrapping_add(crate::checksum(&map)))
    }

    fn wait_until(
        &self,
        what: &'static str,
        timeout: Duration,
        is_so: impl Fn(&Engine<P>) -> bool,
    ) -> Result<(), WaitTimeout> {
        let engine = &self.inner.engine;
        let start = Moment::now();
        while !is_so(engine) {
            let left = timeout.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Err(WaitTimeout { what, timeout });
            }
            engine.background().wait_for_progress(left);
        }
        Ok(())
    }
}

impl<P: Policy> NodeHandle<P> {
    /// The node.
    pub const fn id(&self) -> NodeId {
        self.node
    }

    /// Runs a request through this node and returns its outcome. Blocks until the level is met, or the
    /// request has failed, at the latest when its time is up. A node that does not own the key asks one
    /// that does.
    ///
    /// # Errors
    /// As [`RequestError`] says, each time with whether a write may still take effect.
    pub fn execute(&self, request: Request<P::Write>) -> Result<Outcome<P::Cell>, RequestError> {
        self.inner.engine.execute(self.node, request)
    }

    /// What this node holds for a key, without asking the others: a read at level `One`. Nothing if the
    /// node does not own the key.
    ///
    /// # Errors
    /// If the node does not serve.
    pub fn cell_local(&self, key: &[u8]) -> Result<Option<P::Cell>, RequestError> {
        self.see_local(key, |p| Ok(p.cell_local(key)?.cloned()))
    }

    /// Looks at the partition of a key at this node; nothing is there if the node does not own it.
    fn see_local<T>(
        &self,
        key: &[u8],
        see: impl FnOnce(&Partition<P>) -> Result<Option<T>, RequestError>,
    ) -> Result<Option<T>, RequestError> {
        let engine = &self.inner.engine;
        let partition = engine.placement().partition_of(key);
        let Some(cell) = engine.cell(self.node, partition) else {
            return Ok(None);
        };
        let seen = engine.look(cell, see);
        seen.unwrap_or(Err(RequestError::NodeFailed(self.node)))
    }

    /// Says from now on which keys with this prefix change at this node; with the empty prefix all of them.
    /// At most [`Subscription::DEFAULT_LIMIT`] keys wait to be taken. If the node has failed the subscription
    /// says so first.
    pub fn subscribe(&self, prefix: impl Into<Bytes>) -> Subscription {
        self.subscribe_within(prefix, Subscription::DEFAULT_LIMIT)
    }

    /// The same; at most `limit` keys wait to be taken, at least one.
    pub fn subscribe_within(&self, prefix: impl Into<Bytes>, limit: usize) -> Subscription {
        let engine = &self.inner.engine;
        Subscription::new(engine.subscribe(self.node, prefix.into(), limit))
    }

    /// Why this node shows what it shows for a key, and what keeps its tombstone; `None` if the node has
    /// failed, or does not own the key.
    pub fn explain(&self, key: &Bytes) -> Option<Explanation<P::Cell>> {
        let engine = &self.inner.engine;
        let cell = engine.cell(self.node, engine.placement().partition_of(key))?;
        engine.look(cell, |p| p.explain(key))
    }

    /// Drops from a token what every owner has, in all partitions that it names: [`Partition::stable`] of those
    /// owners that are up. A session drops what the answers from a partition tell it; this does so for partitions that it
    /// has not asked for a while.
    pub fn prune(&self, token: &mut Token) {
        let engine = &self.inner.engine;
        let placement = engine.placement();
        let named: BTreeSet<PartitionId> = token.partitions().collect();
        for partition in placement.partitions().filter(|p| named.contains(p)) {
            for owner in placement.owners(partition) {
                let cell = engine.cell(owner, partition);
                let stable = cell.and_then(|cell| engine.look(cell, |p| Arc::clone(p.stable())));
                if let Some(stable) = stable {
                    token.prune(partition, &stable);
                }
            }
        }
    }

    /// A snapshot of what this node holds, a map for each partition, for scans. Constant time for each;
    /// while it is kept, the node's writes copy the parts of the map that they change.
    ///
    /// # Errors
    /// If the node does not serve.
    pub fn snapshot(&self) -> Result<Vec<CausalMap<Bytes, P::Cell>>, RequestError> {
        let engine = &self.inner.engine;
        let cells = engine.cells_of(self.node).iter();
        cells
            .map(|cell| {
                let map = engine.look(cell, |p| p.cell_local(b"").map(|_| p.replica().snapshot()));
                map.unwrap_or(Err(RequestError::NodeFailed(self.node)))
            })
            .collect()
    }
}

impl NodeHandle {
    /// The value that this node holds for a key of a store by time: [`cell_local`](Self::cell_local).
    ///
    /// # Errors
    /// If the node does not serve.
    pub fn read_local(&self, key: &[u8]) -> Result<Option<Bytes>, RequestError> {
        self.see_local(key, |p| p.read_local(key))
    }
}

impl<P: Policy> Clone for Cluster<P> {
    fn clone(&self) -> Self {
        let inner = Arc::clone(&self.inner);
        Self { inner }
    }
}

impl<P: Policy> Clone for NodeHandle<P> {
    fn clone(&self) -> Self {
        let (inner, node) = (Arc::clone(&self.inner), self.node);
        Self { inner, node }
    }
}

impl<P: Policy> fmt::Debug for NodeHandle<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeHandle({})", self.node)
    }
}

impl<P: Policy> Drop for Inner<P> {
    fn drop(&mut self) {
        self.engine.background().stop();
        if let Some(thread) = self.background.take() {
            // A panic there has failed a node, and been reported by the panic hook.
            let _panicked = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
