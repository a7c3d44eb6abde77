//! What a node is told at its start.

use crate::NodeId;

/// The most nodes a store can have: the slots of a hybrid timestamp.
pub const MAX_NODES: u32 = crdt::HybridClock::MAX_SLOT as u32;

/// How timestamps are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClockKind {
    /// Lamport times: a counter.
    Lamport,
    /// Hybrid logical times, which may lie at most this far ahead of physical time, in milliseconds.
    Hybrid {
        /// The drift bound in milliseconds.
        drift_bound_ms: u64,
    },
}

/// Configuration of one node. Every limit has a default that suits a cluster on a local network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// This node, from 1 to `nodes`.
    pub node: NodeId,
    /// Number of nodes, each of which holds every key.
    pub nodes: u32,
    /// How timestamps are given.
    pub clock: ClockKind,
    /// Whether changes are handed out to be made durable. Without it a restart is a loss of data.
    pub durable: bool,
    /// Longest key, in bytes.
    pub max_key_bytes: usize,
    /// Longest value, in bytes.
    pub max_value_bytes: usize,
    /// Requests pending at once; more are refused as overload.
    pub max_pending: usize,
    /// How long a request may take, in milliseconds.
    pub request_timeout_ms: u64,
    /// How long until a message that was not answered is sent again, in milliseconds; doubled each
    /// time.
    pub resend_ms: u64,
    /// How often a node compares its knowledge with a peer's, in milliseconds.
    pub sync_interval_ms: u64,
    /// Most keys or events in one answer to a peer: bounds the size of a message.
    pub chunk_keys: usize,
    /// Most bytes of cells in one answer to a peer, except that one cell always fits.
    pub chunk_bytes: usize,
    /// Most events in the log. A peer that lacks an event no longer there needs a transfer.
    pub max_log_events: usize,
    /// Most intervals with exceptions; beyond it the node runs a transfer, which removes them.
    pub max_exceptions: usize,
}

/// A configuration that cannot work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Too few nodes for one to fail, or more than can mint timestamps.
    #[error(
        "{nodes} nodes: a store needs 3 to {MAX_NODES}, so that a majority remains when one fails"
    )]
    Nodes {
        /// Nodes asked for.
        nodes: u32,
    },
    /// A node id outside `1..=nodes`.
    #[error("{node} is not one of the nodes 1 to {nodes}")]
    UnknownNode {
        /// The node.
        node: NodeId,
        /// Number of nodes.
        nodes: u32,
    },
    /// A limit or interval of zero.
    #[error("{0} must not be zero")]
    Zero(&'static str),
}

impl Config {
    /// The defaults for `node` of a cluster of `nodes`, with Lamport time and without storage.
    pub const fn new(node: NodeId, nodes: u32) -> Self {
        Self {
            node,
            nodes,
            clock: ClockKind::Lamport,
            durable: false,
            max_key_bytes: 64 << 10,
            max_value_bytes: 1 << 20,
            max_pending: 1 << 16,
            request_timeout_ms: 5_000,
            resend_ms: 200,
            sync_interval_ms: 500,
            chunk_keys: 8_192,
            chunk_bytes: 1 << 20,
            max_log_events: 1 << 20,
            max_exceptions: 4_096,
        }
    }

    /// Checks that the parts fit together.
    ///
    /// # Errors
    /// The first part that does not.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if !(3..=MAX_NODES).contains(&self.nodes) {
            return Err(ConfigError::Nodes { nodes: self.nodes });
        }
        if !(1..=self.nodes).contains(&self.node.0) {
            return Err(ConfigError::UnknownNode {
                node: self.node,
                nodes: self.nodes,
            });
        }
        let positive = [
            ("max_key_bytes", self.max_key_bytes),
            ("max_pending", self.max_pending),
            ("chunk_keys", self.chunk_keys),
            ("chunk_bytes", self.chunk_bytes),
        ];
        if let Some((name, _)) = positive.into_iter().find(|(_, value)| *value == 0) {
            return Err(ConfigError::Zero(name));
        }
        let intervals = [
            ("request_timeout_ms", self.request_timeout_ms),
            ("resend_ms", self.resend_ms),
            ("sync_interval_ms", self.sync_interval_ms),
        ];
        match intervals.into_iter().find(|(_, value)| *value == 0) {
            Some((name, _)) => Err(ConfigError::Zero(name)),
            None => Ok(()),
        }
    }

    /// Owners that must hold a write, and owners that a read joins: a majority. Any two majorities
    /// share a node, which is what makes an acknowledged write visible.
    pub const fn quorum(&self) -> usize {
        self.nodes as usize / 2 + 1
    }

    /// Other owners, themselves reconciled, whose knowledge a node that lost its data must reach
    /// before it counts again: `K - W + 1`, so that every write quorum is met by at least one.
    pub const fn sources_needed(&self) -> usize {
        self.nodes as usize - self.quorum() + 1
    }

    /// All nodes but this one.
    pub fn peers(&self) -> impl Iterator<Item = NodeId> + use<> {
        let own = self.node;
        (1..=self.nodes)
            .map(NodeId)
            .filter(move |node| *node != own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quorums_and_sources_meet() {
        for nodes in 3..=100 {
            let config = Config::new(NodeId(1), nodes);
            assert!(2 * config.quorum() > nodes as usize);
            assert!(config.sources_needed() + config.quorum() > nodes as usize);
            assert_eq!(config.peers().count(), nodes as usize - 1);
        }
        assert_eq!(Config::new(NodeId(1), 3).sources_needed(), 2);
        assert_eq!(Config::new(NodeId(1), 5).sources_needed(), 3);
    }

    #[test]
    fn what_cannot_work_is_refused() {
        assert_eq!(
            Config::new(NodeId(1), 2).validate(),
            Err(ConfigError::Nodes { nodes: 2 })
        );
        assert!(Config::new(NodeId(4), 3).validate().is_err());
        let mut config = Config::new(NodeId(1), 3);
        config.chunk_keys = 0;
        assert_eq!(config.validate(), Err(ConfigError::Zero("chunk_keys")));
    }
}
