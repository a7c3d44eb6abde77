//! A run as data: what is asked of the nodes and what is done to them, step by step.

use bytes::Bytes;

mod printing;

use super::network::Network;
use super::player;
use super::report::Report;
use super::system::System;
use crate::storage::CommitFault;
use crate::{Config, NodeId};

/// One thing that happens in a run. What cannot happen when its turn comes is left out: a node that is down
/// cannot fail, and none loses its data while too few others have theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// A client writes at the level that its system promises most of.
    Write {
        /// The node that is asked.
        node: NodeId,
        /// The key.
        key: Bytes,
        /// The value, or `None` to delete.
        value: Option<Bytes>,
    },
    /// A client writes at level `One`, where its system mixes levels.
    WriteOne {
        /// The node that is asked.
        node: NodeId,
        /// The key.
        key: Bytes,
        /// The value, or `None` to delete.
        value: Option<Bytes>,
    },
    /// A client writes under a name, at the level that its system promises most of. Left out if its client
    /// waits for something else; without the name in a gossip store.
    WriteNamed {
        /// The node that is asked.
        node: NodeId,
        /// The key.
        key: Bytes,
        /// A value that no other write of the key has, or `None` to delete.
        value: Option<Bytes>,
        /// The name, of no other write.
        name: u32,
    },
    /// A client asks again for a write that has a name, whatever it was answered before. Left out if there
    /// is no such write, its client has given it up, or too many attempts at it are under way.
    Retry {
        /// The node that is asked.
        node: NodeId,
        /// The name.
        name: u32,
    },
    /// A client reads.
    Read {
        /// The node that is asked.
        node: NodeId,
        /// The key.
        key: Bytes,
    },
    /// Nothing gets through any more from one node to another.
    Cut {
        /// The sender.
        from: NodeId,
        /// The receiver.
        to: NodeId,
    },
    /// Nothing gets through any more between two groups.
    Part {
        /// One group.
        one: Vec<NodeId>,
        /// The other.
        other: Vec<NodeId>,
    },
    /// All cuts are mended.
    Heal,
    /// All cuts are mended, the network loses, repeats and delays nothing any more, commits that were to fail
    /// will not, nodes that are paused go on, and clocks go and are right.
    Calm,
    /// A node goes down.
    Fail(NodeId),
    /// A node that is down comes back with its disk.
    Restart(NodeId),
    /// A node that is down comes back without its data.
    Recover(NodeId),
    /// A node that is down comes back with the last image of its disk, and what it has committed since is
    /// lost, as a sync policy allows that is weaker than the contract of storage: it takes a new identity and
    /// counts as one that has lost its data. Without an image it comes back without its data.
    LoseTail(NodeId),
    /// A node's next commit fails, and the node goes down.
    FailCommit {
        /// The node.
        node: NodeId,
        /// What is on its disk afterwards.
        fault: CommitFault,
    },
    /// An image of a node's disk is kept, if the node is not down.
    Image(NodeId),
    /// The network is mended for a while; when all nodes are up, nothing is under way, and all that this one has
    /// written is known to others, it stops and starts with the last image of its disk, and hears from all others before anything
    /// else happens. Left out while a node is down or paused, and in a gossip store.
    RollBack(NodeId),
    /// A node's physical clock is so far ahead of virtual time from now on.
    Skew {
        /// The node.
        node: NodeId,
        /// How far, in milliseconds.
        ms: i64,
    },
    /// A node takes no input, and its timers do not go off: nothing is lost, and all of it comes later at
    /// once. Left out while the node is down.
    Pause(NodeId),
    /// A node that is paused goes on.
    Resume(NodeId),
    /// A node's physical clock stands still, while the node runs.
    FreezeClock(NodeId),
    /// A physical clock that stands still goes again, and shows at once what it would have shown.
    ThawClock(NodeId),
    /// The horizon of a node that takes the caller's timestamps is raised. Left out while it is paused.
    RaiseHorizon {
        /// The node.
        node: NodeId,
        /// The horizon.
        time: u64,
    },
    /// A node is told whether it can reach another, true or not. Left out while it is paused.
    Hint {
        /// The node that is told.
        node: NodeId,
        /// The other.
        other: NodeId,
        /// What it is told.
        reachable: bool,
    },
    /// Virtual time passes.
    Run {
        /// How much, in milliseconds.
        ms: u64,
    },
}

/// A run that can be replayed, and [made smaller](super::shrink).
///
/// When the steps are done the network is calmed, nodes that are down are brought back, and after the
/// cluster has settled all that its system promises is checked. `Display` prints it as a test.
///
/// ```
/// use replica::sim::{Schedule, Step, System};
/// use replica::{Config, NodeId};
///
/// let mut schedule = Schedule::new(System::Majority, 1, Config::new(NodeId(1), 3));
/// schedule.network.loss = 0.3;
/// schedule.steps = vec![
///     (0, Step::Write { node: NodeId(1), key: "a".into(), value: Some("v".into()) }),
///     (64, Step::Run { ms: 40 }),
///     (128, Step::Read { node: NodeId(2), key: "a".into() }),
/// ];
/// let report = schedule.run();
/// assert!(report.violations.is_empty(), "{report}");
/// assert!(schedule.to_string().contains("#[test]"));
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Schedule {
    /// The system whose clients act and whose promises are checked.
    pub system: System,
    /// Seed of the identities and of the network.
    pub seed: u64,
    /// The configuration of every node; its `node` is set for each.
    pub node: Config,
    /// The network at the start.
    pub network: Network,
    /// Virtual milliseconds within which the healed cluster must have converged.
    pub settle_ms: u64,
    /// Whether clients mix the levels of reads and writes, those of system C ask for one session guarantee
    /// alone or for none, and what those of system D read is judged. Which, the seed decides.
    pub mixes: bool,
    /// The steps, each with the place in the random numbers of the run from which its part of them is drawn:
    /// what becomes of its messages stays the same when other steps are left out.
    pub steps: Vec<(u64, Step)>,
}

impl Schedule {
    /// Nothing happens on a reliable network.
    pub fn new(system: System, seed: u64, node: Config) -> Self {
        Self {
            system,
            seed,
            node,
            network: Network::default(),
            settle_ms: 120_000,
            mixes: false,
            steps: Vec::new(),
        }
    }

    /// Runs it.
    ///
    /// # Panics
    /// If the configuration is not valid, or a step names a node that there is not.
    pub fn run(&self) -> Report {
        player::replay(self)
    }

    /// The cluster and its network in one line.
    pub(super) fn setting(&self) -> String {
        let (config, network) = (&self.node, &self.network);
        format!(
            "{} nodes, K {}, W {}, R {}, P {}, {:?}, loss {}, duplication {}, latency {} ms, stragglers {}",
            config.nodes,
            config.replication_factor,
            config.write_quorum,
            config.read_quorum,
            config.partitions,
            config.clock,
            network.loss,
            network.duplication,
            network.max_latency_ms,
            network.straggler,
        )
    }
}
