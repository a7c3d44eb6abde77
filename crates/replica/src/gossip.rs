//! The gossip store: very many nodes, each with a full copy (system E).

use bytes::Bytes;

use crate::request::bytes_of;
use crate::{
    Cluster, ClusterError, Command, Gossip, Level, Lww, MultiValue, NodeHandle, NodeId, Policy,
    Request, RequestError, SiblingWrite,
};

/// A store whose nodes answer from their own copy and gossip with random peers.
///
/// A write is done once the node asked holds it; it reaches the others within a few rounds. A read
/// returns the latest write that has arrived, by Lamport time, and on a tie the smaller value; a
/// `GossipStore<MultiValue>` keeps concurrent values instead. It is a [`Cluster`] that gossips, on the
/// threads of its callers; faults are injected through [`cluster`](Self::cluster).
///
/// ```
/// use replica::GossipStore;
/// use std::time::Duration;
///
/// let store = GossipStore::new(20, 5)?;
/// store.node(1).put("k", "v")?;
/// store.cluster().wait_until_settled(Duration::from_secs(20))?;
/// assert_eq!(store.node(20).get("k")?.as_deref(), Some(&b"v"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct GossipStore<P: Policy = Lww> {
    cluster: Cluster<P>,
}

/// One node of a [`GossipStore`].
#[derive(Debug, Clone)]
pub struct GossipNode<P: Policy = Lww> {
    node: NodeHandle<P>,
}

/// How often a node gossips unless the cluster is built by hand, in milliseconds.
const ROUND_MS: u64 = 50;

impl GossipStore {
    /// A store of `nodes` nodes that each gossip with `fanout` random peers in a round of 50 ms.
    ///
    /// # Errors
    /// If there are too few nodes, or the fanout is zero.
    pub fn new(nodes: u32, fanout: u32) -> Result<Self, ClusterError> {
        Self::with_policy(nodes, fanout)
    }
}

impl<P: Policy> GossipStore<P> {
    /// The same with another conflict policy.
    ///
    /// # Errors
    /// If there are too few nodes, or the fanout is zero.
    pub fn with_policy(nodes: u32, fanout: u32) -> Result<Self, ClusterError> {
        let builder = Cluster::builder(nodes).configure(|config| {
            let peers = Vec::new();
            config.gossip = Some(Gossip { fanout, peers });
            config.sync_interval_ms = ROUND_MS;
        });
        let cluster = builder.build_for()?;
        Ok(Self { cluster })
    }

    /// A node.
    ///
    /// # Panics
    /// If the store has no such node: they are numbered from 1.
    pub fn node(&self, node: u32) -> GossipNode<P> {
        let node = self.cluster.node(NodeId(node));
        GossipNode { node }
    }

    /// The cluster underneath: faults, recovery, status.
    pub const fn cluster(&self) -> &Cluster<P> {
        &self.cluster
    }
}

impl<P: Policy> Clone for GossipStore<P> {
    fn clone(&self) -> Self {
        let cluster = self.cluster.clone();
        Self { cluster }
    }
}

impl<P: Policy> GossipNode<P> {
    fn write(&self, key: &str, write: P::Write) -> Result<(), RequestError> {
        let write = Command::write(bytes_of(key), write);
        self.node.execute(Request::new(write, Level::One))?;
        Ok(())
    }
}

impl GossipNode {
    /// Writes a value at this node.
    ///
    /// # Errors
    /// If the node has failed, or the value is too large.
    pub fn put(&self, key: &str, value: impl Into<Bytes>) -> Result<(), RequestError> {
        let (value, timestamp) = (Some(value.into()), None);
        self.write(key, crate::LwwWrite { value, timestamp })
    }

    /// Deletes a key at this node.
    ///
    /// # Errors
    /// If the node has failed.
    pub fn delete(&self, key: &str) -> Result<(), RequestError> {
        let (value, timestamp) = (None, None);
        self.write(key, crate::LwwWrite { value, timestamp })
    }

    /// The latest value that has arrived at this node.
    ///
    /// # Errors
    /// If the node has failed.
    pub fn get(&self, key: &str) -> Result<Option<Bytes>, RequestError> {
        self.node.read_local(key.as_bytes())
    }
}

impl GossipNode<MultiValue> {
    /// Writes a value at this node, in place of all that it holds.
    ///
    /// # Errors
    /// If the node has failed, or the value is too large.
    pub fn put(&self, key: &str, value: impl Into<Bytes>) -> Result<(), RequestError> {
        self.write(key, SiblingWrite::Put(value.into()))
    }

    /// The concurrent values that have arrived at this node; none if there are none.
    ///
    /// # Errors
    /// If the node has failed.
    pub fn get(&self, key: &str) -> Result<Vec<Bytes>, RequestError> {
        let cell = self.node.cell_local(key.as_bytes())?.unwrap_or_default();
        Ok(cell.values().cloned().collect())
    }
}
