//! Random runs: each seed draws its cluster, its faults and its operations.

use bytes::Bytes;
use rand::RngExt as _;
use rand::rngs::ChaCha8Rng;
use rand::seq::IndexedRandom as _;
use std::fmt;

use super::network::Network;
use super::oracle::Simulated;
use super::player::{self, Player};
use super::schedule::{Schedule, Step};
use super::simulation::{Round, SimConfig, Simulation};
use super::workload::{
    Gossips, Linearizable, Majority, Operation, Sessions, Siblings, Timestamped, Workload,
};
use crate::storage::CommitFault;
use crate::{ClockKind, Config, Counters, Gossip, Lww, NodeId};

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
    /// Whether a run is about how one write spreads while messages are lost, and nothing else happens; for
    /// [`System::Gossip`].
    pub spread: bool,
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
    /// Whether clients name their writes and ask again for them; drawn from each seed if it is not said.
    pub retries: Option<bool>,
}

impl Default for Campaign {
    fn default() -> Self {
        Self {
            system: System::default(),
            spread: false,
            actions: 150,
            settle_ms: 120_000,
            nodes: None,
            fanout: 3,
            loss: None,
            retries: None,
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
    /// How often disks failed, and what was noticed of it.
    pub disk_faults: DiskFaults,
    /// What became of writes that have a name.
    pub named: NamedWrites,
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
    /// Keys whose history has too many possible orders to be judged: nothing is said of them.
    pub unjudged: usize,
    /// The system.
    pub system: System,
    /// A hash of all that happened.
    pub trace_hash: u128,
}

/// How often the disks of a run failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DiskFaults {
    /// Commits that failed: their node stopped, and started again with what was there.
    pub failed_commits: u64,
    /// Torn stores that were refused at the start: their node came back without data.
    pub torn_stores_refused: u64,
    /// Nodes that came back without the last of their commits.
    pub lost_tails: u64,
    /// Nodes that were started with an older image of their disk.
    pub rollbacks: u64,
    /// Nodes among them that were under way: with requests pending, messages in flight and faults on.
    pub rollbacks_under_way: u64,
    /// Partitions in which the others knew more of such a node than it did itself, so that it had to notice.
    pub rollbacks_noticed: u64,
}

impl DiskFaults {
    /// The sums.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            failed_commits: self.failed_commits + other.failed_commits,
            torn_stores_refused: self.torn_stores_refused + other.torn_stores_refused,
            lost_tails: self.lost_tails + other.lost_tails,
            rollbacks: self.rollbacks + other.rollbacks,
            rollbacks_under_way: self.rollbacks_under_way + other.rollbacks_under_way,
            rollbacks_noticed: self.rollbacks_noticed + other.rollbacks_noticed,
        }
    }
}

/// What became of the writes of a run that have a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct NamedWrites {
    /// Writes that were asked for under a name.
    pub begun: u64,
    /// Times that one of them was asked for again.
    pub retries: u64,
    /// Retries that were answered by another owner than the one that had carried out the write.
    pub answered_elsewhere: u64,
    /// Answers that it is not known whether the write was carried out.
    pub unknown: u64,
    /// Writes that were carried out twice, since the owners had forgotten their names.
    pub forgotten: u64,
    /// Writes of which it is not known whether they were carried out, after all else has come to an end.
    pub undecided: u64,
}

impl NamedWrites {
    /// The sums.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            begun: self.begun + other.begun,
            retries: self.retries + other.retries,
            answered_elsewhere: self.answered_elsewhere + other.answered_elsewhere,
            unknown: self.unknown + other.unknown,
            forgotten: self.forgotten + other.forgotten,
            undecided: self.undecided + other.undecided,
        }
    }
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
             --seeds {}..{} (--shrink prints it as a small test)",
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
    /// Commits that fail or are torn, and disks that are rolled back.
    disks: bool,
    /// Clients that name their writes, and ask again for them.
    retries: bool,
}

/// Runs one seed: a random cluster under random operations and faults, then healing, then the checks.
pub fn run_seed(seed: u64, campaign: &Campaign) -> Report {
    record_seed(seed, campaign).0
}

/// The same, with the run as a schedule; one in which a single write spreads has none.
pub fn record_seed(seed: u64, campaign: &Campaign) -> (Report, Option<Schedule>) {
    let (report, schedule) = match campaign.system {
        System::Majority => run(seed, campaign, Majority::default()),
        System::Timestamped => run(seed, campaign, Timestamped::default()),
        System::Causal => run(seed, campaign, Sessions::default()),
        System::Siblings => run(seed, campaign, Siblings::default()),
        System::Gossip if campaign.spread => return (spread(seed, campaign), None),
        System::Gossip => run(seed, campaign, Gossips::default()),
        System::Linearizable => run(seed, campaign, Linearizable::default()),
    };
    (report, Some(schedule))
}

/// Nodes of a gossip store, if it is not said how many.
const GOSSIPING: u32 = 30;

/// One write in a large cluster whose network loses messages throughout: how it spreads.
fn spread(seed: u64, campaign: &Campaign) -> Report {
    let mut config = Config::new(NodeId(1), campaign.nodes.unwrap_or(GOSSIPING));
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
        disk_faults: DiskFaults::default(),
        named: NamedWrites::default(),
        succeeded: (1, 1),
        refused: 0,
        unjudged: 0,
        nodes,
        converged,
        rounds,
        messages: simulation.messages() - messages,
        bytes: simulation.bytes() - bytes,
        trace_hash: simulation.trace_hash(),
        system: campaign.system,
    }
}

fn run<P: Simulated>(
    seed: u64,
    campaign: &Campaign,
    workload: impl Workload<P>,
) -> (Report, Schedule) {
    let (schedule, faults) = draw(seed, campaign);
    let setting = format!("{}, {faults:?}", schedule.setting());
    let mut player = Player::new(schedule, workload);
    for action in 0..campaign.actions {
        act(&mut player, &faults, action);
    }
    player.take(Step::Calm);
    while let Some(node) = player.down().first() {
        bring_back(&mut player, &faults, *node);
    }
    player.finish(setting)
}

/// Draws the cluster and the faults: swarm style, so that some runs have one fault in abundance.
fn draw(seed: u64, campaign: &Campaign) -> (Schedule, Faults) {
    let smallest = SimConfig::new(Config::new(NodeId(1), 3), seed);
    let mut simulation = Simulation::<Lww>::new(smallest);
    let rng = simulation.rng();
    let drawn = *[3, 3, 3, 5, 5, 7].choose(rng).unwrap_or(&3);
    let nodes = campaign.nodes.unwrap_or(match campaign.system {
        System::Gossip => GOSSIPING,
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
    let mut faults = Faults {
        partitions: rng.random_bool(0.5),
        crashes: rng.random_bool(0.7),
        skew: rng.random_bool(0.5),
        durable: rng.random_bool(0.4),
        hints: rng.random_bool(0.3),
        hot_spot: rng.random_bool(0.3),
        disks: false,
        retries: false,
    };
    config.durable = faults.durable;
    // A disk may be rolled back at any time.
    config.restart_patience_ms = u64::MAX;
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
    // Drawn last: what was drawn before stays the same for seeds that are kept.
    faults.disks = faults.durable && rng.random_bool(0.5);
    let (names_writes, remembers_few) = (rng.random_bool(0.4), rng.random_bool(0.25));
    let few = *[2, 4, 16].choose(rng).unwrap_or(&2);
    // A gossip store refuses names.
    faults.retries = campaign.retries.unwrap_or(names_writes) && config.gossip.is_none();
    // A write whose name was forgotten is two writes of one value, which are hard to put in order.
    if faults.retries && remembers_few && campaign.system != System::Linearizable {
        config.operation_memory = few;
    }
    let mut schedule = Schedule::new(campaign.system, seed, config);
    (schedule.network, schedule.settle_ms) = (network, campaign.settle_ms);
    (schedule, faults)
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
            config.partitions = match nodes <= player::SMALL {
                true => 1 + (seed % 5) as u32,
                // Most nodes own a part of the keys, and none of most keys.
                false => 32 + (seed % 33) as u32,
            };
            *config = config.clone().with_owners(3);
        }
        System::Gossip => {
            let (fanout, peers) = (campaign.fanout, Vec::new());
            config.gossip = Some(Gossip { fanout, peers });
            // The log is all that can name what a peer lacks: without one every difference is a transfer.
            config.max_log_events = config.max_log_events.max(20);
            if nodes > player::SMALL {
                // A round of all nodes is many messages.
                config.sync_interval_ms = config.sync_interval_ms.max(300);
            }
        }
    }
}

/// One random action.
fn act<P: Simulated>(player: &mut Player<P, impl Workload<P>>, faults: &Faults, action: usize) {
    let nodes: Vec<NodeId> = player.simulation.node_ids().collect();
    let (down, imaged) = (player.down(), player.imaged());
    if faults.retries
        && let Some(step) = ask_again(player, &nodes)
    {
        return player.take(step);
    }
    let is_large = nodes.len() > player::SMALL as usize;
    let keys = player::keys(nodes.len() as u32);
    let rng = player.simulation.rng();
    let node = *nodes.choose(rng).unwrap_or(&NodeId(1));
    let keys = if faults.hot_spot { &keys[..1] } else { &keys };
    let key = keys.choose(rng).cloned().unwrap_or_default();
    let step = match rng.random_range(0..100) {
        0..5 if faults.hot_spot => {
            // All nodes, or many, write the same key before any message arrives; some of them delete it.
            let writers = match is_large {
                true => sample(rng, &nodes, player::SMALL as usize),
                false => nodes,
            };
            for node in writers {
                let rng = player.simulation.rng();
                let (key, is_delete) = (key.clone(), rng.random_bool(0.3));
                let value = (!is_delete).then(|| value(rng, action));
                take(player, faults, Step::Write { node, key, value });
            }
            return;
        }
        5..10 if faults.hot_spot => {
            // Two or three operations on one key through one node before any message arrives.
            for _ in 0..player.simulation.rng().random_range(2..=3) {
                let rng = player.simulation.rng();
                let key = key.clone();
                let step = match rng.random_range(0..3) {
                    0 => write(node, key, None),
                    1 => Step::Read { node, key },
                    _ => write(node, key, Some(value(rng, action))),
                };
                take(player, faults, step);
            }
            return;
        }
        0..33 => write(node, key, Some(value(rng, action))),
        33..35 => {
            let value = Some(value(rng, action));
            Step::WriteOne { node, key, value }
        }
        35..44 => write(node, key, None),
        44..45 => {
            let value = None;
            Step::WriteOne { node, key, value }
        }
        45..65 => Step::Read { node, key },
        65..72 if faults.partitions && is_large && rng.random_bool(0.7) => {
            let count = rng.random_range(1..=player::SMALL as usize);
            let one = sample(rng, &nodes, count);
            let other = nodes.into_iter().filter(|node| !one.contains(node));
            let other = other.collect();
            Step::Part { one, other }
        }
        65..72 if faults.partitions => cut(rng, &nodes),
        72..80 if faults.partitions => Step::Heal,
        80..84 if faults.crashes => match player.may_fail(node) {
            true => Step::Fail(node),
            false => return,
        },
        84..88 if !down.is_empty() => {
            let at = rng.random_range(0..down.len());
            return bring_back(player, faults, down[at]);
        }
        88..90 if faults.skew => {
            let ms = rng.random_range(-10_000..10_000);
            Step::Skew { node, ms }
        }
        90..93 if faults.hints => {
            let other = *nodes.choose(rng).unwrap_or(&NodeId(1));
            let reachable = rng.random_bool(0.6);
            Step::Hint {
                node,
                other,
                reachable,
            }
        }
        93..95 if faults.disks => {
            let fault = match rng.random_range(0..3) {
                0 => CommitFault::Gone,
                1 => CommitFault::Whole,
                _ => CommitFault::Prefix(rng.random_range(1..4)),
            };
            Step::FailCommit { node, fault }
        }
        95..98 if faults.disks => match rng.random_bool(0.4) {
            true => Step::Image(node),
            false => Step::RollBack(*imaged.choose(rng).unwrap_or(&node)),
        },
        _ => {
            let ms = *[1, 5, 40, 400].choose(rng).unwrap_or(&1);
            Step::Run { ms }
        }
    };
    take(player, faults, step);
}

/// Takes a step; most writes of clients who name theirs get a name, and with it a value of their own.
fn take<P: Simulated>(player: &mut Player<P, impl Workload<P>>, faults: &Faults, step: Step) {
    let step = match step {
        Step::Write { node, key, value }
            if faults.retries && player.simulation.rng().random_bool(0.6) =>
        {
            let name = player.next_name();
            let value = value.map(|_| Bytes::from(format!("n{name}")));
            Step::WriteNamed {
                node,
                key,
                value,
                name,
            }
        }
        step => step,
    };
    player.take(step);
}

/// Now and then a client asks again for a write: mostly for one that was not answered yet, or not well.
fn ask_again<P: Simulated>(
    player: &mut Player<P, impl Workload<P>>,
    nodes: &[NodeId],
) -> Option<Step> {
    if player.names() == 0 || !player.simulation.rng().random_bool(0.2) {
        return None;
    }
    let (open, last) = (player.open_names(), player.names());
    let rng = player.simulation.rng();
    let any = rng.random_range(1..=last);
    let name = match rng.random_bool(0.8) {
        true => open.choose(rng).copied().unwrap_or(any),
        false => any,
    };
    let node = *nodes.choose(rng)?;
    Some(Step::Retry { node, name })
}

/// Some of the nodes, ascending.
fn sample(rng: &mut ChaCha8Rng, nodes: &[NodeId], count: usize) -> Vec<NodeId> {
    let mut sample: Vec<NodeId> = nodes.sample(rng, count).copied().collect();
    sample.sort_unstable();
    sample
}

const fn write(node: NodeId, key: Bytes, value: Option<Bytes>) -> Step {
    Step::Write { node, key, value }
}

/// One of few values, so that equal values under equal timestamps happen.
fn value(rng: &mut ChaCha8Rng, action: usize) -> Bytes {
    match rng.random_bool(0.3) {
        true => Bytes::from_static(b"same"),
        false => Bytes::from(format!("v{}", action % 7)),
    }
}

/// Cuts the network into two random sides, or only one way between two nodes.
fn cut(rng: &mut ChaCha8Rng, nodes: &[NodeId]) -> Step {
    let one_way = rng.random_bool(0.3);
    let (mut one, mut other) = (Vec::new(), Vec::new());
    for node in nodes {
        match rng.random_bool(0.5) {
            true => one.push(*node),
            false => other.push(*node),
        }
    }
    match (one_way, one.first().copied(), other.first().copied()) {
        (true, Some(from), Some(to)) => Step::Cut { from, to },
        _ => Step::Part { one, other },
    }
}

/// Brings a node back: with its disk, or, if that may be lost, sometimes without.
fn bring_back<P: Simulated>(
    player: &mut Player<P, impl Workload<P>>,
    faults: &Faults,
    node: NodeId,
) {
    let may_lose = player.may_come_back_empty(node);
    let rng = player.simulation.rng();
    let keeps_disk = faults.durable && !(may_lose && rng.random_bool(0.3));
    let step = match keeps_disk {
        true => Step::Restart(node),
        false if faults.disks && rng.random_bool(0.5) => Step::LoseTail(node),
        false => Step::Recover(node),
    };
    player.take(step);
}
