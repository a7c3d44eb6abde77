//! Random runs: each seed draws its cluster, its faults and its operations.

use bytes::Bytes;
use rand::RngExt as _;
use rand::seq::IndexedRandom as _;
use std::fmt;

use super::network::Network;
use super::simulation::{SimConfig, Simulation};
use crate::{ClockKind, Command, Config, Counters, NodeId, State};

/// What the seeds of a campaign have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Campaign {
    /// Random actions in each run: operations, faults, and time that passes.
    pub actions: usize,
    /// Virtual milliseconds within which a healed cluster must have converged.
    pub settle_ms: u64,
}

impl Default for Campaign {
    fn default() -> Self {
        Self {
            actions: 150,
            settle_ms: 120_000,
        }
    }
}

/// How one seed went.
#[derive(Debug, Clone)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// The cluster and the faults that the seed drew.
    pub setting: String,
    /// What was found to be wrong; empty for a good run.
    pub violations: Vec<String>,
    /// How often the rarer paths were taken, summed over all nodes.
    pub counters: Counters,
    /// Operations that succeeded, and all that were made.
    pub succeeded: (usize, usize),
    /// Messages sent.
    pub messages: u64,
    /// A hash of all that happened.
    pub trace_hash: u128,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "seed {} ({}): {} violations",
            self.seed,
            self.setting,
            self.violations.len()
        )?;
        for violation in self.violations.iter().take(5) {
            writeln!(f, "  {violation}")?;
        }
        write!(f, "  replay with: {}", replay_command(self.seed))
    }
}

/// The command that replays a seed.
fn replay_command(seed: u64) -> String {
    format!(
        "cargo run --release -p replica --example simulate -- --seeds {seed}..{}",
        seed + 1
    )
}

/// Which faults a seed has on.
#[derive(Debug)]
struct Faults {
    partitions: bool,
    crashes: bool,
    skew: bool,
    durable: bool,
}

/// Runs one seed: a random cluster under random operations and faults, then healing, then the checks.
pub fn run_seed(seed: u64, campaign: &Campaign) -> Report {
    let (mut simulation, faults, setting) = draw(seed);
    let keys: Vec<Bytes> = ["a", "b", "c", "d"]
        .iter()
        .map(|key| Bytes::from_static(key.as_bytes()))
        .collect();
    let mut down = Vec::new();
    for action in 0..campaign.actions {
        act(&mut simulation, &faults, &keys, action, &mut down);
    }
    simulation.network = Network::default();
    for node in down {
        bring_back(&mut simulation, &faults, node);
    }
    if !simulation.settle(campaign.settle_ms) {
        let limit_s = campaign.settle_ms / 1000;
        let mut violations = vec![format!(
            "the healed cluster has not converged within {limit_s} s"
        )];
        for node in simulation.node_ids() {
            if let Some(partition) = simulation.partition(node) {
                violations.push(format!("{:?}", partition.status()));
            }
        }
        violations.splice(0..0, simulation.violations().iter().cloned());
        return report(seed, setting, &simulation, violations);
    }
    simulation.check_final();
    let violations = simulation.violations().to_vec();
    report(seed, setting, &simulation, violations)
}

fn report(seed: u64, setting: String, simulation: &Simulation, violations: Vec<String>) -> Report {
    let operations = simulation.history().operations();
    let succeeded = operations
        .iter()
        .filter(|op| op.completed.is_some())
        .count();
    Report {
        seed,
        setting,
        violations,
        counters: simulation
            .counters()
            .into_iter()
            .fold(Counters::default(), Counters::plus),
        succeeded: (succeeded, operations.len()),
        messages: simulation.messages(),
        trace_hash: simulation.trace_hash(),
    }
}

/// Draws the cluster and the faults: swarm style, so that some runs have one fault in abundance.
fn draw(seed: u64) -> (Simulation, Faults, String) {
    let mut config = Config::new(NodeId(1), 3);
    let mut simulation = Simulation::new(SimConfig {
        node: config.clone(),
        seed,
    });
    let rng = simulation.rng();
    config.nodes = *[3, 3, 3, 5, 5, 7].choose(rng).unwrap_or(&3);
    config.clock = match rng.random_bool(0.5) {
        true => ClockKind::Lamport,
        false => ClockKind::Hybrid {
            drift_bound_ms: *[50, 60_000].choose(rng).unwrap_or(&50),
        },
    };
    config.request_timeout_ms = *[300, 2_000].choose(rng).unwrap_or(&300);
    config.resend_ms = *[20, 200].choose(rng).unwrap_or(&20);
    config.sync_interval_ms = *[50, 300, 2_000].choose(rng).unwrap_or(&50);
    config.chunk_keys = *[1, 2, 100].choose(rng).unwrap_or(&1);
    config.max_log_events = *[2, 20, 10_000].choose(rng).unwrap_or(&2);
    config.max_exceptions = *[2, 1_000].choose(rng).unwrap_or(&2);
    let faults = Faults {
        partitions: rng.random_bool(0.5),
        crashes: rng.random_bool(0.7),
        skew: rng.random_bool(0.5),
        durable: rng.random_bool(0.4),
    };
    config.durable = faults.durable;
    let network = Network {
        loss: *[0.0, 0.05, 0.3].choose(rng).unwrap_or(&0.0),
        duplication: *[0.0, 0.2].choose(rng).unwrap_or(&0.0),
        max_latency_ms: *[5, 60].choose(rng).unwrap_or(&5),
        straggler: *[0.0, 0.1].choose(rng).unwrap_or(&0.0),
        ..Network::default()
    };
    let setting = format!(
        "{} nodes, {:?}, loss {}, duplication {}, latency {} ms, stragglers {}, {faults:?}",
        config.nodes,
        config.clock,
        network.loss,
        network.duplication,
        network.max_latency_ms,
        network.straggler,
    );
    let mut simulation = Simulation::new(SimConfig { node: config, seed });
    simulation.network = network;
    (simulation, faults, setting)
}

/// One random action.
fn act(
    simulation: &mut Simulation,
    faults: &Faults,
    keys: &[Bytes],
    action: usize,
    down: &mut Vec<NodeId>,
) {
    let nodes: Vec<NodeId> = simulation.node_ids().collect();
    let rng = simulation.rng();
    let node = *nodes.choose(rng).unwrap_or(&NodeId(1));
    let key = keys.choose(rng).cloned().unwrap_or_default();
    match rng.random_range(0..100) {
        0..35 => {
            // Few values, so that equal values under equal timestamps happen.
            let value = match rng.random_bool(0.3) {
                true => Bytes::from_static(b"same"),
                false => Bytes::from(format!("v{}", action % 7)),
            };
            simulation.request(node, Command::Put { key, value });
        }
        35..45 => {
            simulation.request(node, Command::Delete { key });
        }
        45..65 => {
            simulation.request(node, Command::Get { key });
        }
        65..72 if faults.partitions => cut(simulation, &nodes),
        72..80 if faults.partitions => simulation.network.heal(),
        80..84 if faults.crashes => crash(simulation, faults, node, down),
        84..88 if !down.is_empty() => {
            let node = down.remove(simulation.rng().random_range(0..down.len()));
            bring_back(simulation, faults, node);
        }
        88..90 if faults.skew => {
            let skew_ms = simulation.rng().random_range(-10_000..10_000);
            simulation.set_skew(node, skew_ms);
        }
        _ => {
            let ms = *[1, 5, 40, 400].choose(rng).unwrap_or(&1);
            simulation.run_for(ms);
        }
    }
}

/// Cuts the network into two random sides, or only one way between two nodes.
fn cut(simulation: &mut Simulation, nodes: &[NodeId]) {
    let one_way = simulation.rng().random_bool(0.3);
    let mut sides: (Vec<NodeId>, Vec<NodeId>) = (Vec::new(), Vec::new());
    for node in nodes {
        match simulation.rng().random_bool(0.5) {
            true => sides.0.push(*node),
            false => sides.1.push(*node),
        }
    }
    match (one_way, sides.0.first(), sides.1.first()) {
        (true, Some(a), Some(b)) => simulation.network.cut(*a, *b),
        _ => simulation.network.partition(&sides.0, &sides.1),
    }
}

/// Takes a node down, unless too few reconciled ones would be left to recover it from.
fn crash(simulation: &mut Simulation, faults: &Faults, node: NodeId, down: &mut Vec<NodeId>) {
    let nodes: Vec<NodeId> = simulation.node_ids().collect();
    let is_up = |n: &NodeId| {
        simulation
            .partition(*n)
            .is_some_and(|p| p.state() == State::Up)
    };
    let may_lose = nodes.len() - (nodes.len() / 2 + 1);
    let unreconciled = nodes.iter().filter(|n| !is_up(n)).count();
    let is_safe = faults.durable || unreconciled < may_lose || !is_up(&node);
    if down.contains(&node) || !is_safe {
        return;
    }
    simulation.fail(node);
    down.push(node);
}

/// Brings a node back: with its disk, or, if that may be lost, sometimes without.
fn bring_back(simulation: &mut Simulation, faults: &Faults, node: NodeId) {
    match faults.durable {
        true => simulation.restart(node),
        false => simulation.recover(node),
    }
}
