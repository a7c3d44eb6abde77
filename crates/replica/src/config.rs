//! What a node is told at its start.

use crate::{NodeId, PartitionId, Placement};

/// The most nodes a store can have: the slots of a hybrid timestamp.
pub const MAX_NODES: u32 = crdt::HybridClock::MAX_SLOT as u32;

/// The most partitions a key space can have.
pub const MAX_PARTITIONS: u32 = 1 << 16;

/// The most operations that a node can remember: all of them go into one message of a recovery.
pub const MAX_OPERATION_MEMORY: usize = 1 << 14;

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
    /// Timestamps come with the writes, and an older one than is stored changes nothing. Tombstones
    /// stay, unless a horizon is set below which writes are refused
    /// ([`Partition::handle_horizon`](crate::Partition::handle_horizon)).
    Caller,
}

/// Configuration of one node. Every limit has a default that suits a cluster on a local network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// This node, from 1 to `nodes`.
    pub node: NodeId,
    /// Number of nodes, `N`.
    pub nodes: u32,
    /// How many of them hold each key, `K`.
    pub replication_factor: u32,
    /// How many owners of a key must hold a write at level `Quorum`, `W`.
    pub write_quorum: u32,
    /// How many owners of a key a read at level `Quorum` joins, `R`.
    pub read_quorum: u32,
    /// Number of partitions of the key space, `P`.
    pub partitions: u32,
    /// The partition that this state machine holds.
    pub partition: PartitionId,
    /// Spreads writes by gossip among nodes that do not know the whole membership, instead of counting
    /// owners. Then every node holds every key, and only level `One` is offered.
    pub gossip: Option<Gossip>,
    /// How timestamps are given.
    pub clock: ClockKind,
    /// Whether changes are handed out to be made durable. Without it a restart is a loss of data.
    pub durable: bool,
    /// Longest key, in bytes.
    pub max_key_bytes: usize,
    /// Longest value, in bytes.
    pub max_value_bytes: usize,
    /// How far above a node's Lamport clock the time of a session's token may lie. No token that came from
    /// the store is so far ahead; one that was made up would carry all clocks away.
    pub max_token_lead: u64,
    /// Requests pending at once; more are refused as overload.
    pub max_pending: usize,
    /// How long a request may take, in milliseconds.
    pub request_timeout_ms: u64,
    /// How long until a message that was not answered is sent again, in milliseconds; doubled each
    /// time. Later while answers take long.
    pub resend_ms: u64,
    /// How often a node compares its knowledge with a peer's, in milliseconds.
    pub sync_interval_ms: u64,
    /// How often an owner shows the others a checksum of what it holds, in milliseconds; 0 for never. Taking
    /// it is linear in the entries of the partition; the partitions of a node take turns.
    pub audit_interval_ms: u64,
    /// How long a node that comes back with its data waits, in milliseconds, until enough other owners have
    /// shown that it knows all they know of what it had acknowledged: [`confirmations_needed`
    /// ](Self::confirmations_needed) of them, or all that have not lost their data. Until then it does not serve. If
    /// they cannot be reached in that time it serves with what it has, and a disk that was rolled back is
    /// noticed at the first contact only. `u64::MAX` for no end, 0 for not waiting.
    pub restart_patience_ms: u64,
    /// How many writes with a name an owner remembers, the latest ones of the partition, so that a retry
    /// finds them ([`Request::retry_of`](crate::Request::retry_of)); about 100 bytes each, in memory and on
    /// disk. 0 for none; at most [`MAX_OPERATION_MEMORY`].
    pub operation_memory: usize,
    /// How many answers to writes that others have forwarded here are kept, in memory, for those who ask again because
    /// an answer was lost; the latest ones. A write whose answer is not kept any more is never carried out again, and its
    /// asker does not learn what became of it. Some 200 bytes each. 0 for none.
    pub max_kept_answers: usize,
    /// Most keys or events in one answer to a peer: bounds the size of a message.
    pub chunk_keys: usize,
    /// Most bytes of cells in one answer to a peer, except that one cell always fits.
    pub chunk_bytes: usize,
    /// Most events in the log. A peer that lacks an event no longer there needs a transfer.
    pub max_log_events: usize,
    /// Most intervals with exceptions; beyond it the node runs a transfer, which removes them.
    pub max_exceptions: usize,
    /// Most bytes of exceptions, about as they are sent; beyond it the node runs a transfer too. What a node knows travels
    /// in one message, and keys may be long.
    pub max_exception_bytes: usize,
}

/// How a node of a large cluster gossips.
///
/// Where the protocol otherwise needs all owners it does without: tombstones stay, and logs are trimmed
/// by their size alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gossip {
    /// How many random peers a node compares itself with in each sync interval.
    pub fanout: u32,
    /// The peers that this node has heard of; all nodes if empty.
    pub peers: Vec<NodeId>,
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
    /// More owners than nodes, or none.
    #[error("{owners} owners of each key: there must be 1 to {nodes}, the number of nodes")]
    ReplicationFactor {
        /// Owners asked for.
        owners: u32,
        /// Number of nodes.
        nodes: u32,
    },
    /// A quorum that no owners can make up.
    #[error("{name} is {quorum}: it must be 1 to {owners}, the number of owners of a key")]
    Quorum {
        /// Which quorum.
        name: &'static str,
        /// Its size.
        quorum: u32,
        /// Number of owners.
        owners: u32,
    },
    /// No partitions, or too many.
    #[error("{partitions} partitions: there must be 1 to {MAX_PARTITIONS}")]
    Partitions {
        /// Partitions asked for.
        partitions: u32,
    },
    /// A node that does not own the partition it is to hold.
    #[error("{node} is not one of the owners of {partition}")]
    NotAnOwner {
        /// The node.
        node: NodeId,
        /// The partition.
        partition: PartitionId,
    },
    /// The caller's timestamps in a store that does not resolve conflicts by time.
    #[error("the caller's timestamps decide in a store by time only")]
    TimestampsDecideNothing,
    /// Gossip in a store whose keys are not all on every node.
    #[error("a store that gossips has one partition, and every key on every node")]
    GossipIsPartial,
    /// More operations to remember than a message holds.
    #[error("{operations} operations to remember: there must be at most {MAX_OPERATION_MEMORY}")]
    OperationMemory {
        /// Operations asked for.
        operations: usize,
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
            replication_factor: nodes,
            write_quorum: nodes / 2 + 1,
            read_quorum: nodes / 2 + 1,
            partitions: 1,
            partition: PartitionId(0),
            gossip: None,
            clock: ClockKind::Lamport,
            durable: false,
            max_key_bytes: 64 << 10,
            max_value_bytes: 1 << 20,
            max_token_lead: 1 << 40,
            max_pending: 1 << 16,
            request_timeout_ms: 5_000,
            resend_ms: 200,
            sync_interval_ms: 500,
            audit_interval_ms: 0,
            restart_patience_ms: 5_000,
            operation_memory: 4_096,
            max_kept_answers: 4_096,
            chunk_keys: 8_192,
            chunk_bytes: 1 << 20,
            max_log_events: 1 << 20,
            max_exceptions: 4_096,
            max_exception_bytes: 4 << 20,
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
        let (owners, nodes) = (self.replication_factor, self.nodes);
        if !(1..=nodes).contains(&owners) {
            return Err(ConfigError::ReplicationFactor { owners, nodes });
        }
        let quorums = [
            ("write_quorum", self.write_quorum),
            ("read_quorum", self.read_quorum),
        ];
        if let Some((name, quorum)) = quorums.into_iter().find(|(_, q)| !(1..=owners).contains(q)) {
            return Err(ConfigError::Quorum {
                name,
                quorum,
                owners,
            });
        }
        if !(1..=MAX_PARTITIONS).contains(&self.partitions) || self.partition.0 >= self.partitions {
            let partitions = self.partitions;
            return Err(ConfigError::Partitions { partitions });
        }
        if let Some(gossip) = &self.gossip {
            if owners != nodes || self.partitions != 1 {
                return Err(ConfigError::GossipIsPartial);
            }
            if gossip.fanout == 0 {
                return Err(ConfigError::Zero("fanout"));
            }
            let unknown = |peer: &&NodeId| !(1..=nodes).contains(&peer.0);
            if let Some(node) = gossip.peers.iter().copied().find(|peer| unknown(&peer)) {
                return Err(ConfigError::UnknownNode { node, nodes });
            }
        }
        if self.operation_memory > MAX_OPERATION_MEMORY {
            let operations = self.operation_memory;
            return Err(ConfigError::OperationMemory { operations });
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

    /// The same with each key on `replication_factor` nodes, `W` a majority of them and `R` the fewest
    /// that meet every write: `K - W + 1`.
    #[must_use]
    pub fn with_owners(mut self, replication_factor: u32) -> Self {
        self.replication_factor = replication_factor;
        self.write_quorum = replication_factor / 2 + 1;
        self.read_quorum = replication_factor.saturating_sub(self.write_quorum) + 1;
        self
    }

    /// Where the partitions are.
    pub const fn placement(&self) -> Placement {
        Placement::new(self.nodes, self.replication_factor, self.partitions)
    }

    /// Whether each read quorum has an owner in common with each write quorum.
    pub(crate) const fn reads_meet_writes(&self) -> bool {
        self.read_quorum + self.write_quorum > self.replication_factor
    }

    /// What the quorums do not promise. Empty if `R + W > K` and `2W > K`.
    pub fn gives_up(&self) -> Vec<GivenUp> {
        let (k, w) = (self.replication_factor, self.write_quorum);
        let mut given_up = Vec::new();
        if !self.reads_meet_writes() {
            given_up.push(GivenUp::ReadsSeeWrites);
        }
        if 2 * w <= k {
            given_up.push(GivenUp::LaterWritesWin);
        }
        if w == 1 {
            given_up.push(GivenUp::SurvivesLossOfANode);
        }
        given_up
    }

    /// Other owners, themselves reconciled, whose knowledge a node that lost its data must reach
    /// before it counts again: `K - W + 1`, so that every write quorum is met by at least one. A majority
    /// where that is so few that two recoveries need not share a source that tells one of the other. All
    /// of them where `W` is 1, and then a write that only this node held is lost.
    pub const fn sources_needed(&self) -> usize {
        let (k, w) = (self.replication_factor, self.write_quorum);
        let others = k - 1;
        let meet_all = match 2 * w < k + 3 {
            true => k - w + 1,
            false => k / 2 + 1,
        };
        (if meet_all < others { meet_all } else { others }) as usize
    }

    /// Other owners of which one at least holds any write that a write quorum with this node in it holds:
    /// `K - W + 1`. So many tell a node that comes back with its data what it has to know.
    pub const fn confirmations_needed(&self) -> usize {
        let (k, w) = (self.replication_factor, self.write_quorum);
        let (meet_all, others) = (k - w + 1, k - 1);
        (if meet_all < others { meet_all } else { others }) as usize
    }

    /// The owners of the partition but this node, ascending; of a node that gossips, those it has heard
    /// of.
    pub fn peers(&self) -> impl Iterator<Item = NodeId> + use<> {
        let mut owners = match &self.gossip {
            Some(gossip) if !gossip.peers.is_empty() => gossip.peers.clone(),
            _ => self.placement().owners(self.partition),
        };
        owners.retain(|owner| *owner != self.node);
        owners.sort();
        owners.dedup();
        owners.into_iter()
    }
}

/// A promise that a choice of `K`, `W` and `R` gives up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum GivenUp {
    /// `R + W <= K`.
    #[error("a read may miss a write that was acknowledged before it started (R + W <= K)")]
    ReadsSeeWrites,
    /// `2W <= K`.
    #[error(
        "a write may lose to an older one through a node whose clock lags (2W <= K); with the \
         caller's timestamps nothing is given up by this"
    )]
    LaterWritesWin,
    /// `W = 1`.
    #[error("an acknowledged write may be lost with the one node that holds it (W = 1)")]
    SurvivesLossOfANode,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quorums_and_sources_meet() {
        for nodes in 3..=100 {
            let config = Config::new(NodeId(1), nodes);
            assert!(2 * config.write_quorum > nodes);
            assert_eq!(config.gives_up(), []);
            assert!(config.sources_needed() as u32 + config.write_quorum > nodes);
            assert_eq!(config.peers().count(), nodes as usize - 1);
        }
        assert_eq!(Config::new(NodeId(1), 7).confirmations_needed(), 4);
        assert_eq!(
            Config::new(NodeId(1), 5)
                .with_owners(1)
                .confirmations_needed(),
            0
        );
        assert_eq!(Config::new(NodeId(1), 3).sources_needed(), 2);
        assert_eq!(Config::new(NodeId(1), 5).sources_needed(), 3);
        let mut all = Config::new(NodeId(1), 3);
        (all.write_quorum, all.read_quorum) = (3, 1);
        assert_eq!(
            all.sources_needed(),
            2,
            "one source may know nothing of the other recovery"
        );
    }

    #[test]
    fn small_quorums_say_what_they_give_up() {
        let mut config = Config::new(NodeId(1), 5).with_owners(2);
        assert_eq!((config.write_quorum, config.read_quorum), (2, 1));
        assert_eq!(config.gives_up(), []);
        (config.write_quorum, config.read_quorum) = (1, 2);
        let given_up = [GivenUp::LaterWritesWin, GivenUp::SurvivesLossOfANode];
        assert_eq!(config.gives_up(), given_up);
        config.read_quorum = 1;
        assert_eq!(config.gives_up().len(), 3);
        for given_up in config.gives_up() {
            assert!(!given_up.to_string().contains("  "), "{given_up}");
        }
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
        let mut config = Config::new(NodeId(1), 3);
        config.operation_memory = MAX_OPERATION_MEMORY + 1;
        assert!(matches!(
            config.validate(),
            Err(ConfigError::OperationMemory { operations: 16_385 })
        ));
        let mut config = Config::new(NodeId(1), 5).with_owners(3);
        assert_eq!(config.validate(), Ok(()));
        assert_eq!((config.write_quorum, config.read_quorum), (2, 2));
        config.read_quorum = 4;
        assert!(matches!(
            config.validate(),
            Err(ConfigError::Quorum { owners: 3, .. })
        ));
        let (owners, nodes) = (6, 5);
        assert_eq!(
            Config::new(NodeId(1), nodes).with_owners(owners).validate(),
            Err(ConfigError::ReplicationFactor { owners, nodes })
        );
    }

    /// A valid configuration of five nodes with one part changed.
    fn changed(change: impl FnOnce(&mut Config)) -> Result<(), ConfigError> {
        let mut config = Config::new(NodeId(1), 5);
        change(&mut config);
        config.validate()
    }

    #[test]
    fn every_part_has_its_bounds() {
        let partitions = |count, own| {
            changed(|config| (config.partitions, config.partition) = (count, PartitionId(own)))
        };
        assert_eq!(partitions(1, 0), Ok(()));
        assert_eq!(partitions(MAX_PARTITIONS, MAX_PARTITIONS - 1), Ok(()));
        for (count, own) in [(0, 0), (4, 4), (MAX_PARTITIONS + 1, 0)] {
            let refused = ConfigError::Partitions { partitions: count };
            assert_eq!(partitions(count, own), Err(refused));
        }
        for node in [0, 6].map(NodeId) {
            let unknown = ConfigError::UnknownNode { node, nodes: 5 };
            assert_eq!(changed(|config| config.node = node), Err(unknown));
        }
        let zeros: [(_, fn(&mut Config)); 7] = [
            ("max_key_bytes", |config| config.max_key_bytes = 0),
            ("max_pending", |config| config.max_pending = 0),
            ("chunk_keys", |config| config.chunk_keys = 0),
            ("chunk_bytes", |config| config.chunk_bytes = 0),
            ("request_timeout_ms", |config| config.request_timeout_ms = 0),
            ("resend_ms", |config| config.resend_ms = 0),
            ("sync_interval_ms", |config| config.sync_interval_ms = 0),
        ];
        for (name, change) in zeros {
            assert_eq!(changed(change), Err(ConfigError::Zero(name)));
        }
    }

    #[test]
    fn a_store_that_gossips_has_all_keys_everywhere_and_knows_whom_it_may_ask() {
        let gossip = |fanout, peers: &[u32]| {
            let peers = peers.iter().copied().map(NodeId).collect();
            Some(Gossip { fanout, peers })
        };
        assert_eq!(changed(|config| config.gossip = gossip(1, &[5])), Ok(()));
        let no_fanout = changed(|config| config.gossip = gossip(0, &[]));
        assert_eq!(no_fanout, Err(ConfigError::Zero("fanout")));
        let (node, nodes) = (NodeId(6), 5);
        let unknown = changed(|config| config.gossip = gossip(1, &[5, 6]));
        assert_eq!(unknown, Err(ConfigError::UnknownNode { node, nodes }));
        let partial = Err(ConfigError::GossipIsPartial);
        let two_partitions = |config: &mut Config| {
            config.partitions = 2;
            config.gossip = gossip(1, &[]);
        };
        assert_eq!(changed(two_partitions), partial);
        let three_owners = |config: &mut Config| {
            *config = config.clone().with_owners(3);
            config.gossip = gossip(1, &[]);
        };
        assert_eq!(changed(three_owners), partial);
        let mut config = Config::new(NodeId(1), 5);
        let peers = |config: &Config| config.peers().map(|NodeId(n)| n).collect::<Vec<_>>();
        config.gossip = gossip(1, &[]);
        assert_eq!(peers(&config), [2, 3, 4, 5]);
        config.gossip = gossip(1, &[4, 2, 1, 4]);
        assert_eq!(peers(&config), [2, 4], "each once, and not itself");
    }

    #[test]
    fn sources_and_promises_follow_from_the_quorums() {
        use GivenUp::{LaterWritesWin, ReadsSeeWrites, SurvivesLossOfANode};
        let expected: [(u32, u32, u32, usize, &[GivenUp]); 10] = [
            (1, 1, 1, 0, &[SurvivesLossOfANode]),
            (2, 2, 1, 1, &[]),
            (3, 1, 3, 2, &[LaterWritesWin, SurvivesLossOfANode]),
            (3, 2, 1, 2, &[ReadsSeeWrites]),
            (4, 2, 3, 3, &[LaterWritesWin]),
            (4, 3, 1, 2, &[ReadsSeeWrites]),
            (5, 3, 3, 3, &[]),
            (5, 4, 2, 3, &[]),
            (6, 3, 3, 4, &[ReadsSeeWrites, LaterWritesWin]),
            (7, 4, 4, 4, &[]),
        ];
        for (k, w, r, sources, given_up) in expected {
            let mut config = Config::new(NodeId(1), 9).with_owners(k);
            (config.write_quorum, config.read_quorum) = (w, r);
            assert_eq!(config.gives_up(), given_up, "K = {k}, W = {w}, R = {r}");
            assert_eq!(config.sources_needed(), sources, "K = {k}, W = {w}");
        }
        let owners = Config::new(NodeId(1), 9).with_owners(6);
        assert_eq!((owners.write_quorum, owners.read_quorum), (4, 3));
    }
}
