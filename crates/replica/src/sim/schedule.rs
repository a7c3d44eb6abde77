//! A run as data: what is asked of the nodes and what is done to them, step by step.

use bytes::Bytes;
use std::fmt;

use super::network::Network;
use super::player;
use super::report::Report;
use super::system::System;
use crate::storage::CommitFault;
use crate::{ClockKind, Config, NodeId};

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
    /// All cuts are mended, the network loses, repeats and delays nothing any more, and commits that were to
    /// fail will not.
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
    /// else happens. Left out while a node is down, and in a gossip store.
    RollBack(NodeId),
    /// A node's physical clock is so far ahead of virtual time from now on.
    Skew {
        /// The node.
        node: NodeId,
        /// How far, in milliseconds.
        ms: i64,
    },
    /// A node is told whether it can reach another, true or not.
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

    /// The configuration where it differs from the default, as statements.
    fn config_lines(&self) -> Vec<String> {
        let (config, usual) = (&self.node, Config::new(NodeId(1), self.node.nodes));
        let mut lines = Vec::new();
        let mut number = |name: &str, value: u64, usual: u64| {
            if value != usual {
                lines.push(format!("node.{name} = {value};"));
            }
        };
        let pairs = [
            (
                "replication_factor",
                config.replication_factor,
                usual.replication_factor,
            ),
            ("write_quorum", config.write_quorum, usual.write_quorum),
            ("read_quorum", config.read_quorum, usual.read_quorum),
            ("partitions", config.partitions, usual.partitions),
        ];
        for (name, value, usual) in pairs {
            number(name, value.into(), usual.into());
        }
        number(
            "request_timeout_ms",
            config.request_timeout_ms,
            usual.request_timeout_ms,
        );
        number("resend_ms", config.resend_ms, usual.resend_ms);
        number(
            "sync_interval_ms",
            config.sync_interval_ms,
            usual.sync_interval_ms,
        );
        number(
            "audit_interval_ms",
            config.audit_interval_ms,
            usual.audit_interval_ms,
        );
        number(
            "chunk_keys",
            config.chunk_keys as u64,
            usual.chunk_keys as u64,
        );
        number(
            "max_log_events",
            config.max_log_events as u64,
            usual.max_log_events as u64,
        );
        number(
            "max_exceptions",
            config.max_exceptions as u64,
            usual.max_exceptions as u64,
        );
        number(
            "max_exception_bytes",
            config.max_exception_bytes as u64,
            usual.max_exception_bytes as u64,
        );
        number(
            "operation_memory",
            config.operation_memory as u64,
            usual.operation_memory as u64,
        );
        number(
            "restart_patience_ms",
            config.restart_patience_ms,
            usual.restart_patience_ms,
        );
        if config.durable {
            lines.push("node.durable = true;".into());
        }
        match config.clock {
            ClockKind::Lamport => {}
            ClockKind::Caller => lines.push("node.clock = ClockKind::Caller;".into()),
            ClockKind::Hybrid { drift_bound_ms } => lines.push(format!(
                "node.clock = ClockKind::Hybrid {{ drift_bound_ms: {drift_bound_ms} }};"
            )),
        }
        if let Some(gossip) = &config.gossip {
            lines.push(format!("node.gossip = Some({gossip:?});"));
        }
        lines
    }

    /// The network where it differs from the default.
    fn network_lines(&self) -> Vec<String> {
        let (network, usual) = (&self.network, Network::default());
        let mut lines = Vec::new();
        let mut share = |name: &str, value: f64, usual: f64| {
            if value != usual {
                lines.push(format!("schedule.network.{name} = {value:?};"));
            }
        };
        share("loss", network.loss, usual.loss);
        share("duplication", network.duplication, usual.duplication);
        share("straggler", network.straggler, usual.straggler);
        for (name, value, usual) in [
            (
                "min_latency_ms",
                network.min_latency_ms,
                usual.min_latency_ms,
            ),
            (
                "max_latency_ms",
                network.max_latency_ms,
                usual.max_latency_ms,
            ),
        ] {
            if value != usual {
                lines.push(format!("schedule.network.{name} = {value};"));
            }
        }
        lines
    }
}

impl fmt::Display for Schedule {
    /// A test, as Rust text that needs nothing but this crate.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = format!("{:?}_{}", self.system, self.seed).to_lowercase();
        let config = self.config_lines();
        let is_used = |name: &str| {
            let steps = || self.steps.iter().map(|(_, step)| step);
            match name {
                "ClockKind" | "Gossip" => config.iter().any(|line| line.contains(name)),
                "CommitFault" => steps().any(|s| matches!(s, Step::FailCommit { .. })),
                _ => true,
            }
        };
        let used = ["ClockKind", "Config", "Gossip", "NodeId"];
        let used: Vec<&str> = used.into_iter().filter(|name| is_used(name)).collect();
        writeln!(f, "use replica::sim::{{Schedule, Step, System}};")?;
        if is_used("CommitFault") {
            writeln!(f, "use replica::storage::CommitFault;")?;
        }
        writeln!(f, "use replica::{{{}}};\n", used.join(", "))?;
        writeln!(f, "fn {name}() -> Schedule {{")?;
        let mutable = if config.is_empty() { "" } else { "mut " };
        writeln!(
            f,
            "    let {mutable}node = Config::new(NodeId(1), {});",
            self.node.nodes
        )?;
        for line in config {
            writeln!(f, "    {line}")?;
        }
        let (system, seed) = (self.system, self.seed);
        writeln!(
            f,
            "    let mut schedule = Schedule::new(System::{system:?}, {seed}, node);"
        )?;
        for line in self.network_lines() {
            writeln!(f, "    {line}")?;
        }
        if self.settle_ms != 120_000 {
            writeln!(f, "    schedule.settle_ms = {};", self.settle_ms)?;
        }
        writeln!(f, "    schedule.steps = vec![")?;
        for (random, step) in &self.steps {
            writeln!(f, "        ({random}, Step::{}),", Printed(step))?;
        }
        writeln!(f, "    ];\n    schedule\n}}\n")?;
        writeln!(f, "#[test]\nfn {name}_breaks_no_promise() {{")?;
        writeln!(f, "    let report = {name}().run();")?;
        writeln!(
            f,
            "    assert!(report.violations.is_empty(), \"{{report}}\");\n}}"
        )
    }
}

/// A step as Rust text: as `Debug` shows it, but for bytes and lists.
struct Printed<'a>(&'a Step);

impl fmt::Display for Printed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let write = |name: &str, node: &NodeId, key: &Bytes, value: Option<&Bytes>| {
            let (key, value) = (literal(key), value.map(literal));
            let value = value.map_or("None".into(), |value| format!("Some({value})"));
            format!("{name} {{ node: {node:?}, key: {key}, value: {value} }}")
        };
        match self.0 {
            Step::Write { node, key, value } => {
                f.write_str(&write("Write", node, key, value.as_ref()))
            }
            Step::WriteOne { node, key, value } => {
                f.write_str(&write("WriteOne", node, key, value.as_ref()))
            }
            Step::WriteNamed {
                node,
                key,
                value,
                name,
            } => {
                let step = write("WriteNamed", node, key, value.as_ref());
                write!(f, "{}, name: {name} }}", step.trim_end_matches(" }"))
            }
            Step::Read { node, key } => {
                write!(f, "Read {{ node: {node:?}, key: {} }}", literal(key))
            }
            Step::Part { one, other } => {
                write!(f, "Part {{ one: vec!{one:?}, other: vec!{other:?} }}")
            }
            Step::FailCommit { node, fault } => {
                write!(
                    f,
                    "FailCommit {{ node: {node:?}, fault: CommitFault::{fault:?} }}"
                )
            }
            other => write!(f, "{other:?}"),
        }
    }
}

/// Bytes as an expression.
fn literal(bytes: &Bytes) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => format!("{text:?}.into()"),
        Err(_) => format!("vec!{:?}.into()", &bytes[..]),
    }
}
