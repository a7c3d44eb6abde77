//! What a seed draws: a cluster, its faults, and one action after the other.

use bytes::Bytes;
use rand::RngExt as _;
use rand::rngs::ChaCha8Rng;
use rand::seq::IndexedRandom as _;

use super::campaign::{Campaign, GOSSIPING};
use super::network::Network;
use super::oracle::Simulated;
use super::player::{self, Player};
use super::schedule::{Schedule, Step};
use super::simulation::{SimConfig, Simulation};
use super::system::System;
use super::workload::Workload;
use crate::storage::CommitFault;
use crate::{ClockKind, Config, Gossip, Lww, NodeId};

/// Which faults a seed has on.
#[derive(Debug)]
pub(super) struct Faults {
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
    /// Nodes that pause, and clocks that stand still.
    stalls: bool,
}

/// Draws the cluster and the faults: swarm style, so that some runs have one fault in abundance.
pub(super) fn draw(seed: u64, campaign: &Campaign) -> (Schedule, Faults) {
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
        stalls: false,
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
    let (stalls, mixes) = (rng.random_bool(0.4), rng.random_bool(0.75));
    faults.stalls = campaign.stalls.unwrap_or(stalls);
    let mut schedule = Schedule::new(campaign.system, seed, config);
    schedule.mixes = campaign.mixes.unwrap_or(mixes);
    (schedule.network, schedule.settle_ms) = (network, campaign.settle_ms);
    (schedule, faults)
}

/// What a system changes of the configuration that was drawn.
pub(super) fn configure(config: &mut Config, campaign: &Campaign, seed: u64) {
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
pub(super) fn act<P: Simulated>(
    player: &mut Player<P, impl Workload<P>>,
    faults: &Faults,
    action: usize,
) {
    let nodes: Vec<NodeId> = player.simulation.node_ids().collect();
    let (down, imaged) = (player.down(), player.imaged());
    if faults.retries
        && let Some(step) = ask_again(player, &nodes)
    {
        return player.take(step);
    }
    if faults.stalls
        && let Some(step) = stall(player, &nodes)
    {
        return player.take(step);
    }
    if player.raises_horizons() && player.simulation.rng().random_bool(0.06) {
        return raise_horizon(player, &nodes);
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

/// Now and then a node pauses or a clock stops, and they go on.
fn stall<P: Simulated>(player: &mut Player<P, impl Workload<P>>, nodes: &[NodeId]) -> Option<Step> {
    let (paused, frozen) = (player.paused(), player.frozen());
    let rng = player.simulation.rng();
    let node = *nodes.choose(rng)?;
    match rng.random_range(0..100) {
        0..4 => Some(Step::Pause(node)),
        4..10 => paused.choose(rng).map(|node| Step::Resume(*node)),
        10..12 => Some(Step::FreezeClock(node)),
        12..14 => frozen.choose(rng).map(|node| Step::ThawClock(*node)),
        _ => None,
    }
}

/// An operator raises the horizon, at all nodes or at one.
fn raise_horizon<P: Simulated>(player: &mut Player<P, impl Workload<P>>, nodes: &[NodeId]) {
    let held = player.horizon();
    let rng = player.simulation.rng();
    let time = held + rng.random_range(0..60);
    let nodes = match rng.random_bool(0.7) {
        true => nodes.to_vec(),
        false => sample(rng, nodes, 1),
    };
    for node in nodes {
        player.take(Step::RaiseHorizon { node, time });
    }
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
pub(super) fn bring_back<P: Simulated>(
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
