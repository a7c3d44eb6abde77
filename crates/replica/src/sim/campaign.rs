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
    /// Hints that say of any node that it can or cannot be reached, true or not.
    hints: bool,
    /// All operations on one key, in bursts: what races there is.
    hot_spot: bool,
}

/// A node that is down.
#[derive(Debug, Clone, Copy)]
struct Down {
    node: NodeId,
    /// Whether it served when it went down: otherwise its disk holds no more than part of its data.
    was_up: bool,
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
    while !down.is_empty() {
        bring_back(&mut simulation, &faults, &mut down, 0);
    }
    let nodes: Vec<NodeId> = simulation.node_ids().collect();
    for node in &nodes {
        for other in nodes.iter().filter(|other| *other != node) {
            simulation.hint(*node, *other, true);
        }
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
    let smallest = SimConfig::new(Config::new(NodeId(1), 3), seed);
    let mut simulation = Simulation::<crate::Lww>::new(smallest);
    let rng = simulation.rng();
    let nodes = *[3, 3, 3, 5, 5, 7].choose(rng).unwrap_or(&3);
    let mut config = Config::new(NodeId(1), nodes);
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
        hints: rng.random_bool(0.3),
        hot_spot: rng.random_bool(0.3),
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
    let mut simulation = Simulation::new(SimConfig::new(config, seed));
    simulation.network = network;
    (simulation, faults, setting)
}

/// One random action.
fn act(
    simulation: &mut Simulation,
    faults: &Faults,
    keys: &[Bytes],
    action: usize,
    down: &mut Vec<Down>,
) {
    let nodes: Vec<NodeId> = simulation.node_ids().collect();
    let rng = simulation.rng();
    let node = *nodes.choose(rng).unwrap_or(&NodeId(1));
    let keys = if faults.hot_spot { &keys[..1] } else { keys };
    let key = keys.choose(rng).cloned().unwrap_or_default();
    match rng.random_range(0..100) {
        0..5 if faults.hot_spot => burst(simulation, &nodes, &key, action),
        5..10 if faults.hot_spot => pipeline(simulation, node, &key, action),
        0..33 => {
            let command = put(simulation, key, action);
            simulation.request(node, command);
        }
        33..35 => {
            let command = put(simulation, key, action);
            simulation.write_one(node, command);
        }
        35..44 => {
            simulation.request(node, Command::delete(key));
        }
        44..45 => simulation.write_one(node, Command::delete(key)),
        45..65 => {
            simulation.request(node, Command::get(key));
        }
        65..72 if faults.partitions => cut(simulation, &nodes),
        72..80 if faults.partitions => simulation.network.heal(),
        80..84 if faults.crashes => crash(simulation, faults, node, down),
        84..88 if !down.is_empty() => {
            let at = simulation.rng().random_range(0..down.len());
            bring_back(simulation, faults, down, at);
        }
        88..90 if faults.skew => {
            let skew_ms = simulation.rng().random_range(-10_000..10_000);
            simulation.set_skew(node, skew_ms);
        }
        90..93 if faults.hints => {
            let other = *nodes.choose(rng).unwrap_or(&NodeId(1));
            let is_reachable = simulation.rng().random_bool(0.6);
            simulation.hint(node, other, is_reachable);
        }
        _ => {
            let ms = *[1, 5, 40, 400].choose(rng).unwrap_or(&1);
            simulation.run_for(ms);
        }
    }
}

/// A write of one of few values, so that equal values under equal timestamps happen.
fn put(simulation: &mut Simulation, key: Bytes, action: usize) -> Command {
    let value = match simulation.rng().random_bool(0.3) {
        true => Bytes::from_static(b"same"),
        false => Bytes::from(format!("v{}", action % 7)),
    };
    Command::put(key, value)
}

/// All nodes write the same key before any message arrives; some of them delete it.
fn burst(simulation: &mut Simulation, nodes: &[NodeId], key: &Bytes, action: usize) {
    for node in nodes {
        let command = match simulation.rng().random_bool(0.3) {
            true => Command::delete(key.clone()),
            false => put(simulation, key.clone(), action),
        };
        simulation.request(*node, command);
    }
}

/// Two or three operations on one key through one node before any message arrives.
fn pipeline(simulation: &mut Simulation, node: NodeId, key: &Bytes, action: usize) {
    for _ in 0..simulation.rng().random_range(2..=3) {
        let command = match simulation.rng().random_range(0..3) {
            0 => Command::delete(key.clone()),
            1 => Command::get(key.clone()),
            _ => put(simulation, key.clone(), action),
        };
        simulation.request(node, command);
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

/// Whether one more node may lose its data: a minority at most may be without theirs at once.
fn may_lose_data(simulation: &Simulation, faults: &Faults, down: &[Down]) -> bool {
    let nodes = simulation.node_ids().count();
    let without_data = simulation
        .node_ids()
        .filter(|node| match down.iter().find(|d| d.node == *node) {
            Some(down) => !faults.durable || !down.was_up,
            None => simulation
                .partition(*node)
                .is_none_or(|p| p.state() != State::Up),
        })
        .count();
    without_data < nodes - (nodes / 2 + 1)
}

/// Takes a node down; if its data goes with it, only while enough others have theirs.
fn crash(simulation: &mut Simulation, faults: &Faults, node: NodeId, down: &mut Vec<Down>) {
    let Some(partition) = simulation.partition(node) else {
        return;
    };
    let was_up = partition.state() == State::Up;
    if faults.durable || !was_up || may_lose_data(simulation, faults, down) {
        simulation.fail(node);
        down.push(Down { node, was_up });
    }
}

/// Brings a node back: with its disk, or, if that may be lost, sometimes without.
fn bring_back(simulation: &mut Simulation, faults: &Faults, down: &mut Vec<Down>, at: usize) {
    let back = down[at];
    let may_lose = !back.was_up || may_lose_data(simulation, faults, down);
    let keeps_disk = faults.durable && !(may_lose && simulation.rng().random_bool(0.3));
    down.remove(at);
    match keeps_disk {
        true => simulation.restart(back.node),
        false => simulation.recover(back.node),
    }
}
