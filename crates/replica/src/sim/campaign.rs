//! Random runs: each seed draws its cluster, its faults and its operations.

use bytes::Bytes;
use rand::RngExt as _;
use rand::seq::IndexedRandom as _;
use std::fmt;

use super::network::Network;
use super::oracle::Simulated;
use super::simulation::{Round, SimConfig, Simulation};
use super::workload::{
    Gossips, Linearizable, Majority, Operation, Sessions, Siblings, Timestamped, Workload,
};
use crate::{ClockKind, Config, Counters, Gossip, Lww, NodeId, Partition, State};

/// Which system is simulated: the letters are those of `docs/systems.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum System {
    /// A: the majority store.
    #[default]
    Majority,
    /// B: the caller's timestamps, `K` of `N` nodes.
    Timestamped,
    /// C: partitions and sessions.
    Causal,
    /// D: concurrent values, on the protocol that repairs loss.
    Siblings,
    /// E: gossip.
    Gossip,
    /// L: the linearizable level.
    Linearizable,
}

impl System {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Majority,
        Self::Timestamped,
        Self::Causal,
        Self::Siblings,
        Self::Gossip,
        Self::Linearizable,
    ];

    /// Its letter.
    pub const fn letter(self) -> char {
        match self {
            Self::Majority => 'A',
            Self::Timestamped => 'B',
            Self::Causal => 'C',
            Self::Siblings => 'D',
            Self::Gossip => 'E',
            Self::Linearizable => 'L',
        }
    }

    /// The system of a letter.
    pub fn of_letter(letter: char) -> Option<Self> {
        let letter = letter.to_ascii_uppercase();
        Self::ALL.into_iter().find(|s| s.letter() == letter)
    }
}

/// What the seeds of a campaign have in common.
#[derive(Debug, Clone, PartialEq)]
pub struct Campaign {
    /// The system.
    pub system: System,
    /// Random actions in each run: operations, faults, and time that passes.
    pub actions: usize,
    /// Virtual milliseconds within which a healed cluster must have converged.
    pub settle_ms: u64,
    /// Number of nodes; drawn from each seed if it is not said.
    pub nodes: Option<u32>,
    /// How many peers a node gossips with in a round.
    pub fanout: u32,
    /// Probability that a message is lost; drawn from each seed if it is not said.
    pub loss: Option<f64>,
}

impl Default for Campaign {
    fn default() -> Self {
        Self {
            system: System::default(),
            actions: 150,
            settle_ms: 120_000,
            nodes: None,
            fanout: 3,
            loss: None,
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
    /// Nodes.
    pub nodes: u32,
    /// Whether the healed cluster has converged.
    pub converged: bool,
    /// Each sync interval from the end of all faults until it had.
    pub rounds: Vec<Round>,
    /// Messages sent.
    pub messages: u64,
    /// Bytes of all messages.
    pub bytes: u64,
    /// Requests that failed, by what was said of them.
    pub refused: usize,
    /// The system.
    pub system: System,
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
        write!(
            f,
            "  replay with: cargo run --release -p replica --example simulate -- --system {} \
             --seeds {}..{}",
            self.system.letter(),
            self.seed,
            self.seed + 1
        )
    }
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
    match campaign.system {
        System::Majority => run(seed, campaign, Majority),
        System::Timestamped => run(seed, campaign, Timestamped::default()),
        System::Causal => run(seed, campaign, Sessions::default()),
        System::Siblings => run(seed, campaign, Siblings::default()),
        System::Gossip if campaign.nodes > Some(SPREAD_ABOVE) => spread(seed, campaign),
        System::Gossip => run(seed, campaign, Gossips::default()),
        System::Linearizable => run(seed, campaign, Linearizable::default()),
    }
}

/// With more nodes than this a gossip run is about how a write spreads.
const SPREAD_ABOVE: u32 = 100;

/// One write in a large cluster whose network loses messages throughout: how it spreads.
fn spread(seed: u64, campaign: &Campaign) -> Report {
    let mut config = Config::new(NodeId(1), campaign.nodes.unwrap_or(SPREAD_ABOVE));
    configure(&mut config, campaign, seed);
    config.max_log_events = 10_000;
    let nodes = config.nodes;
    let mut sim_config = SimConfig::new(config, seed);
    sim_config.checks_every_step = false;
    let mut simulation = Simulation::<Lww>::new(sim_config);
    simulation.network.loss = campaign.loss.unwrap_or(0.1);
    let mut workload = Gossips::default();
    // Nodes gossip at moments of their own, and the write comes at any of them.
    let pause_ms = simulation.rng().random_range(500..1_000);
    simulation.run_for(pause_ms);
    let (bytes, messages) = (simulation.bytes(), simulation.messages());
    let writer = NodeId(simulation.rng().random_range(1..=nodes));
    let (key, value) = (Bytes::from_static(b"a"), Operation::Put("v".into()));
    workload.ask(&mut simulation, writer, key.clone(), value);
    let (rounds, converged) = simulation.run_rounds(campaign.settle_ms);
    simulation.check_all();
    let mut violations = simulation.violations().to_vec();
    violations.extend(workload.check(&mut simulation, &[key]));
    if !converged {
        violations.push("the write has not reached all nodes".into());
    }
    Report {
        seed,
        setting: format!("{nodes} nodes, fanout {}, one write", campaign.fanout),
        violations,
        counters: (simulation.counters().into_iter()).fold(Counters::default(), Counters::plus),
        succeeded: (1, 1),
        refused: 0,
        nodes,
        converged,
        rounds,
        messages: simulation.messages() - messages,
        bytes: simulation.bytes() - bytes,
        trace_hash: simulation.trace_hash(),
        system: campaign.system,
    }
}

fn run<P: Simulated>(seed: u64, campaign: &Campaign, mut workload: impl Workload<P>) -> Report {
    let (mut simulation, faults, setting) = draw::<P>(seed, campaign);
    let keys: Vec<Bytes> = ["a", "b", "c", "d"]
        .iter()
        .map(|key| Bytes::from_static(key.as_bytes()))
        .collect();
    let mut down = Vec::new();
    for action in 0..campaign.actions {
        act(
            &mut simulation,
            &mut workload,
            &faults,
            &keys,
            action,
            &mut down,
        );
        workload.poll(&mut simulation);
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
    let (rounds, converged) = simulation.run_rounds(campaign.settle_ms);
    workload.poll(&mut simulation);
    let mut violations = Vec::new();
    if converged {
        simulation.check_all();
        simulation.check_final();
        violations.extend(workload.check(&mut simulation, &keys));
    } else {
        let limit_s = campaign.settle_ms / 1000;
        violations.push(format!(
            "the healed cluster has not converged within {limit_s} s"
        ));
        for node in simulation.node_ids().take(7) {
            let partitions = simulation
                .node(node)
                .into_iter()
                .flat_map(|n| n.partitions());
            violations.extend(partitions.map(|(_, p)| format!("{:?}", p.status())));
        }
    }
    violations.splice(0..0, simulation.violations().iter().cloned());
    let counters = simulation.counters().into_iter();
    let counters = counters.fold(Counters::default(), Counters::plus);
    if counters.audits_failed > 0 {
        // No disk damages anything here.
        let failed = counters.audits_failed;
        violations.push(format!("I3: {failed} audits have failed"));
    }
    let (succeeded, asked) = workload.tally(&simulation);
    Report {
        seed,
        setting,
        violations,
        counters,
        succeeded: (succeeded, asked),
        refused: asked - succeeded,
        nodes: nodes.len() as u32,
        converged,
        rounds,
        messages: simulation.messages(),
        bytes: simulation.bytes(),
        trace_hash: simulation.trace_hash(),
        system: campaign.system,
    }
}

/// Draws the cluster and the faults: swarm style, so that some runs have one fault in abundance.
fn draw<P: Simulated>(seed: u64, campaign: &Campaign) -> (Simulation<P>, Faults, String) {
    let smallest = SimConfig::new(Config::new(NodeId(1), 3), seed);
    let mut simulation = Simulation::<P>::new(smallest);
    let rng = simulation.rng();
    let drawn = *[3, 3, 3, 5, 5, 7].choose(rng).unwrap_or(&3);
    let nodes = campaign.nodes.unwrap_or(match campaign.system {
        System::Gossip => 30,
        _ => drawn,
    });
    let mut config = Config::new(NodeId(1), nodes);
    config.clock = match rng.random_bool(0.5) {
        true => ClockKind::Lamport,
        false => ClockKind::Hybrid {
            drift_bound_ms: *[50, 60_000].choose(rng).unwrap_or(&50),
        },
    };
    config.request_timeout_ms = *[300, 2_000].choose(rng).unwrap_or(&300);
    config.resend_ms = *[20, 200].choose(rng).unwrap_or(&20);
    config.audit_interval_ms = 1_000;
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
    configure(&mut config, campaign, seed);
    let network = Network {
        loss: {
            let drawn = *[0.0, 0.05, 0.3].choose(rng).unwrap_or(&0.0);
            campaign.loss.unwrap_or(drawn)
        },
        duplication: *[0.0, 0.2].choose(rng).unwrap_or(&0.0),
        max_latency_ms: *[5, 60].choose(rng).unwrap_or(&5),
        straggler: *[0.0, 0.1].choose(rng).unwrap_or(&0.0),
        ..Network::default()
    };
    let setting = format!(
        "{} nodes, K {}, W {}, R {}, P {}, {:?}, loss {}, duplication {}, latency {} ms, stragglers {}, {faults:?}",
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
    );
    let mut sim_config = SimConfig::new(config, seed);
    sim_config.checks_every_step = nodes <= 30;
    let mut simulation = Simulation::new(sim_config);
    simulation.network = network;
    (simulation, faults, setting)
}

/// What a system changes of the configuration that was drawn.
fn configure(config: &mut Config, campaign: &Campaign, seed: u64) {
    let nodes = config.nodes;
    match campaign.system {
        System::Majority | System::Linearizable | System::Siblings => {}
        System::Timestamped => {
            config.clock = ClockKind::Caller;
            config.replication_factor = (2 + seed % 4).min(u64::from(nodes)) as u32;
            config.write_quorum = config.replication_factor.div_ceil(2);
            config.read_quorum = config.replication_factor - config.write_quorum + 1;
            config.partitions = 1 + (seed % 3) as u32;
        }
        System::Causal => {
            config.partitions = 1 + (seed % 5) as u32;
            *config = config.clone().with_owners(3);
        }
        System::Gossip => {
            let (fanout, peers) = (campaign.fanout, Vec::new());
            config.gossip = Some(Gossip { fanout, peers });
            // The log is all that can name what a peer lacks: without one every difference is a transfer.
            config.max_log_events = config.max_log_events.max(20);
        }
    }
}

/// One random action.
fn act<P: Simulated>(
    simulation: &mut Simulation<P>,
    workload: &mut impl Workload<P>,
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
        0..5 if faults.hot_spot => {
            // All nodes write the same key before any message arrives; some of them delete it.
            for node in nodes {
                let operation = match simulation.rng().random_bool(0.3) {
                    true => Operation::Delete,
                    false => put(simulation, action),
                };
                workload.ask(simulation, node, key.clone(), operation);
            }
        }
        5..10 if faults.hot_spot => {
            // Two or three operations on one key through one node before any message arrives.
            for _ in 0..simulation.rng().random_range(2..=3) {
                let operation = match simulation.rng().random_range(0..3) {
                    0 => Operation::Delete,
                    1 => Operation::Get,
                    _ => put(simulation, action),
                };
                workload.ask(simulation, node, key.clone(), operation);
            }
        }
        0..33 => {
            let operation = put(simulation, action);
            workload.ask(simulation, node, key, operation);
        }
        33..35 => {
            let operation = put(simulation, action);
            workload.ask_one(simulation, node, key, operation);
        }
        35..44 => workload.ask(simulation, node, key, Operation::Delete),
        44..45 => workload.ask_one(simulation, node, key, Operation::Delete),
        45..65 => workload.ask(simulation, node, key, Operation::Get),
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
fn put<P: Simulated>(simulation: &mut Simulation<P>, action: usize) -> Operation {
    let value = match simulation.rng().random_bool(0.3) {
        true => Bytes::from_static(b"same"),
        false => Bytes::from(format!("v{}", action % 7)),
    };
    Operation::Put(value)
}

/// Cuts the network into two random sides, or only one way between two nodes.
fn cut<P: Simulated>(simulation: &mut Simulation<P>, nodes: &[NodeId]) {
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

/// Whether a node serves, in every partition that it owns.
fn is_up<P: Simulated>(simulation: &Simulation<P>, node: NodeId) -> bool {
    simulation.node(node).is_some_and(|node| {
        let mut partitions = node.partitions();
        partitions.all(|(_, p): (_, &Partition<P>)| p.state() == State::Up)
    })
}

/// Whether one more node may lose its data: fewer than make up a write quorum may be without theirs at
/// once. A gossip store promises nothing to those who lose theirs.
fn may_lose_data<P: Simulated>(simulation: &Simulation<P>, faults: &Faults, down: &[Down]) -> bool {
    let config = simulation.config();
    if config.gossip.is_some() {
        return true;
    }
    let without_data = simulation
        .node_ids()
        .filter(|node| match down.iter().find(|d| d.node == *node) {
            Some(down) => !faults.durable || !down.was_up,
            None => !is_up(simulation, *node),
        })
        .count();
    without_data + 1 < config.write_quorum as usize
}

/// Takes a node down; if its data goes with it, only while enough others have theirs.
fn crash<P: Simulated>(
    simulation: &mut Simulation<P>,
    faults: &Faults,
    node: NodeId,
    down: &mut Vec<Down>,
) {
    if simulation.node(node).is_none() {
        return;
    }
    let was_up = is_up(simulation, node);
    if faults.durable || !was_up || may_lose_data(simulation, faults, down) {
        simulation.fail(node);
        down.push(Down { node, was_up });
    }
}

/// Brings a node back: with its disk, or, if that may be lost, sometimes without.
fn bring_back<P: Simulated>(
    simulation: &mut Simulation<P>,
    faults: &Faults,
    down: &mut Vec<Down>,
    at: usize,
) {
    let back = down[at];
    let may_lose = !back.was_up || may_lose_data(simulation, faults, down);
    let keeps_disk = faults.durable && !(may_lose && simulation.rng().random_bool(0.3));
    down.remove(at);
    match keeps_disk {
        true => simulation.restart(back.node),
        false => simulation.recover(back.node),
    }
}
