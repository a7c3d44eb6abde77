//! Random runs: each seed draws its cluster, its faults and its operations.

use bytes::Bytes;
use rand::RngExt as _;

use super::oracle::Simulated;
use super::player::Player;
use super::report::{Course, DiskFaults, NamedWrites, Report};
use super::schedule::{Schedule, Step};
use super::simulation::{SimConfig, Simulation};
use super::swarm::{act, bring_back, configure, draw};
use super::system::System;
use super::workload::{
    Gossips, Linearizable, Majority, Operation, Sessions, Siblings, Timestamped, Workload,
};
use crate::{Config, Counters, Lww, NodeId};

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
    /// Whether nodes pause and clocks stand still; drawn from each seed if it is not said.
    pub stalls: Option<bool>,
    /// Whether clients mix levels and choose what a session promises, and horizons are raised
    /// ([`Schedule::mixes`]); drawn from each seed if it is not said.
    pub mixes: Option<bool>,
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
            stalls: None,
            mixes: None,
        }
    }
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
pub(super) const GOSSIPING: u32 = 30;

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
        course: Course::default(),
        lags: simulation.lags().to_vec(),
        succeeded: (1, 1),
        refused: 0,
        unjudged: 0,
        nodes,
        converged,
        converge_ms: rounds.len() as u64 * simulation.config().sync_interval_ms,
        live_rounds: 0,
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
