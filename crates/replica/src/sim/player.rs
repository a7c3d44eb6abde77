//! Plays the steps of a run, and judges it when they are done.

mod liveness;
mod rollbacks;
mod verdict;

use bytes::Bytes;
use crdt::ReplicaId;
use std::collections::{BTreeMap, BTreeSet};

use super::network::Network;
use super::oracle::Simulated;
use super::report::{Course, DiskFaults, Report};
use super::schedule::{Schedule, Step};
use super::simulation::{Disk, SimConfig, Simulation};
use super::system::System;
use super::workload::{
    Gossips, Linearizable, Majority, NamedWrite, Operation, Sessions, Siblings, Timestamped,
    Workload,
};
use crate::storage::CommitFault;
use crate::{NodeId, Partition, PartitionId, State};

/// The keys that clients use.
const KEYS: [&str; 4] = ["a", "b", "c", "d"];

/// With more nodes than this a run is large: there are more keys.
pub(super) const SMALL: u32 = 30;

/// With more owners of a partition than this not every step is checked.
const CHECKED_OWNERS: u32 = 30;

/// Keys of a large run.
const MANY_KEYS: usize = 64;

/// The keys that clients use in a cluster of so many nodes.
pub(super) fn keys(nodes: u32) -> Vec<Bytes> {
    match nodes <= SMALL {
        true => KEYS.map(|key| Bytes::from_static(key.as_bytes())).to_vec(),
        false => (0..MANY_KEYS).map(|n| format!("k{n}").into()).collect(),
    }
}

/// A node that is down.
#[derive(Debug, Clone, Copy)]
struct Down {
    node: NodeId,
    /// Whether it had all its data when it went down: otherwise its disk may hold no more than part of its data.
    was_up: bool,
    /// Whether its disk must not be taken from it.
    keeps_disk: bool,
}

/// A run under way: the cluster, its clients, and who is down.
#[derive(Debug)]
pub(super) struct Player<P: Simulated, W> {
    pub(super) simulation: Simulation<P>,
    workload: W,
    /// What has happened so far.
    schedule: Schedule,
    down: Vec<Down>,
    images: BTreeMap<NodeId, Disk>,
    /// Who was rolled back while it was under way, and must not serve in these partitions as who it was.
    rolled_back: Vec<(NodeId, PartitionId, ReplicaId)>,
    /// Who was told that another cannot be reached.
    misled: BTreeSet<(NodeId, NodeId)>,
    /// How many names were given to writes.
    names: u32,
    disk_faults: DiskFaults,
    course: Course,
    /// Who has come back and does not serve yet.
    returning: BTreeSet<NodeId>,
    /// Whose clocks stand still.
    frozen: BTreeSet<NodeId>,
    /// The highest horizon of a node.
    horizon: u64,
    violations: Vec<String>,
}

/// Runs a schedule.
pub(super) fn replay(schedule: &Schedule) -> Report {
    match schedule.system {
        System::Majority => replay_with(schedule, Majority::default()),
        System::Timestamped => replay_with(schedule, Timestamped::default()),
        System::Causal => replay_with(schedule, Sessions::default()),
        System::Siblings => replay_with(schedule, Siblings::default()),
        System::Gossip => replay_with(schedule, Gossips::default()),
        System::Linearizable => replay_with(schedule, Linearizable::default()),
    }
}

fn replay_with<P: Simulated>(schedule: &Schedule, workload: impl Workload<P>) -> Report {
    let steps = Vec::new();
    let start = Schedule {
        steps,
        ..schedule.clone()
    };
    let mut player = Player::new(start, workload);
    for (random, step) in &schedule.steps {
        player.simulation.rng().set_word_pos((*random).into());
        player.apply(step);
    }
    player.finish(schedule.setting()).0
}

impl<P: Simulated, W: Workload<P>> Player<P, W> {
    /// Before the first step; `schedule` has none yet.
    pub(super) fn new(schedule: Schedule, mut workload: W) -> Self {
        workload.set_up(&schedule);
        let mut config = SimConfig::new(schedule.node.clone(), schedule.seed);
        config.checks_every_step = schedule.node.replication_factor <= CHECKED_OWNERS;
        let mut simulation = Simulation::new(config);
        simulation.network = schedule.network.clone();
        Self {
            simulation,
            workload,
            schedule,
            down: Vec::new(),
            images: BTreeMap::new(),
            rolled_back: Vec::new(),
            misled: BTreeSet::new(),
            names: 0,
            disk_faults: DiskFaults::default(),
            course: Course::default(),
            returning: BTreeSet::new(),
            frozen: BTreeSet::new(),
            horizon: 0,
            violations: Vec::new(),
        }
    }

    /// Takes the next step, and keeps it.
    pub(super) fn take(&mut self, step: Step) {
        let random = self.simulation.rng().get_word_pos() as u64;
        self.apply(&step);
        self.schedule.steps.push((random, step));
    }

    /// The nodes that are down.
    pub(super) fn down(&self) -> Vec<NodeId> {
        self.down.iter().map(|down| down.node).collect()
    }

    /// The nodes of whose disk there is an image.
    pub(super) fn imaged(&self) -> Vec<NodeId> {
        self.images.keys().copied().collect()
    }

    /// The nodes that are paused.
    pub(super) fn paused(&self) -> Vec<NodeId> {
        let nodes = self.simulation.node_ids();
        nodes.filter(|n| self.simulation.is_paused(*n)).collect()
    }

    /// The nodes whose clocks stand still.
    pub(super) fn frozen(&self) -> Vec<NodeId> {
        self.frozen.iter().copied().collect()
    }

    /// Whether horizons are raised in this run.
    pub(super) const fn raises_horizons(&self) -> bool {
        self.schedule.mixes && matches!(self.schedule.system, System::Timestamped)
    }

    /// The highest horizon of a node.
    pub(super) const fn horizon(&self) -> u64 {
        self.horizon
    }

    /// A name that no write has had.
    pub(super) const fn next_name(&mut self) -> u32 {
        self.names += 1;
        self.names
    }

    /// How many names were given to writes: they are numbered from one.
    pub(super) const fn names(&self) -> u32 {
        self.names
    }

    /// The names of writes that clients still wait for.
    pub(super) fn open_names(&mut self) -> Vec<u32> {
        let names = self.workload.names();
        names.map_or_else(Vec::new, |names| names.open())
    }

    fn apply(&mut self, step: &Step) {
        let (simulation, workload) = (&mut self.simulation, &mut self.workload);
        match step {
            Step::Write { node, key, value } => {
                workload.ask(simulation, *node, key.clone(), write(value));
            }
            Step::WriteOne { node, key, value } => {
                workload.ask_one(simulation, *node, key.clone(), write(value));
            }
            Step::WriteNamed {
                node,
                key,
                value,
                name,
            } => {
                let (node, key, value) = (*node, key.clone(), value.clone());
                workload.begin(simulation, *name, NamedWrite { node, key, value });
            }
            Step::Retry { node, name } => {
                if let Some(names) = workload.names() {
                    names.retry(simulation, *node, *name);
                }
            }
            Step::Read { node, key } => {
                workload.ask(simulation, *node, key.clone(), Operation::Get);
            }
            Step::Cut { from, to } => simulation.network.cut(*from, *to),
            Step::Part { one, other } => simulation.network.partition(one, other),
            Step::Heal => simulation.network.heal(),
            Step::Calm => {
                simulation.network = Network::default();
                simulation.heal_disks();
                simulation.heal_clocks();
                self.frozen.clear();
            }
            Step::Fail(node) => self.fail(*node),
            Step::Restart(node) => self.bring_back(*node, true),
            Step::Recover(node) => self.bring_back(*node, false),
            Step::LoseTail(node) => self.lose_tail(*node),
            Step::FailCommit { node, fault } => self.fail_commit(*node, *fault),
            Step::Image(node) => {
                // A disk with a torn commit on it is no image of anything.
                let is_whole = simulation.config().durable && simulation.node(*node).is_some();
                if let Some(disk) = simulation.disk(*node).filter(|_| is_whole) {
                    self.images.insert(*node, disk);
                }
            }
            Step::RollBack(node) => self.roll_back(*node),
            Step::Skew { node, ms } => simulation.set_skew(*node, *ms),
            Step::Pause(_) | Step::Resume(_) | Step::FreezeClock(_) | Step::ThawClock(_) => {
                self.stall(step);
            }
            Step::RaiseHorizon { node, time } if !simulation.is_paused(*node) => {
                self.course.horizons_raised += 1;
                self.horizon = self.horizon.max(*time);
                workload.raise_horizon(simulation, *node, *time);
            }
            Step::Hint {
                node,
                other,
                reachable,
            } if !simulation.is_paused(*node) => {
                self.misled.insert((*node, *other));
                simulation.hint(*node, *other, *reachable);
            }
            // A node that is paused hears nothing.
            Step::Hint { .. } | Step::RaiseHorizon { .. } => {}
            Step::Run { ms } => simulation.run_for(*ms),
        }
        self.stop_failed();
        self.note_returns();
        self.check_rolled_back();
        self.workload.poll(&mut self.simulation);
        if !self.simulation.checks_every_step() {
            let nodes = u64::from(self.schedule.node.nodes);
            let any = self.simulation.rng().get_word_pos() as u64 % nodes;
            self.simulation.check(NodeId(1 + any as u32));
        }
    }

    fn stall(&mut self, step: &Step) {
        let simulation = &mut self.simulation;
        match step {
            Step::Pause(node) if !simulation.is_paused(*node) => {
                simulation.pause(*node);
                self.course.pauses += u64::from(simulation.is_paused(*node));
            }
            Step::Resume(node) => simulation.resume(*node),
            Step::FreezeClock(node) => {
                simulation.freeze_clock(*node);
                self.course.frozen_clocks += u64::from(self.frozen.insert(*node));
            }
            Step::ThawClock(node) => {
                simulation.thaw_clock(*node);
                self.frozen.remove(node);
            }
            _ => {}
        }
    }

    /// Takes note of who serves again.
    fn note_returns(&mut self) {
        let is_cut = !self.simulation.network.cut.is_empty();
        for node in self.simulation.node_ids() {
            if self.simulation.node(node).is_none() {
                self.returning.remove(&node);
            } else if !self.is_up(node) {
                self.returning.insert(node);
            } else if self.returning.remove(&node) && is_cut {
                self.course.recoveries_while_cut += 1;
            }
        }
    }

    /// Whether a node serves, in every partition that it owns.
    fn is_up(&self, node: NodeId) -> bool {
        self.simulation.node(node).is_some_and(|node| {
            let mut partitions = node.partitions();
            partitions.all(|(_, p): (_, &Partition<P>)| p.state() == State::Up)
        })
    }

    /// Whether a node has all its data, in every partition that it owns: it serves, or waits for others to confirm
    /// what it has.
    fn has_data(&self, node: NodeId) -> bool {
        let is_older = self.rolled_back.iter().any(|(older, ..)| *older == node);
        self.simulation.node(node).is_some_and(|state| {
            let mut partitions = state.partitions();
            partitions.all(|(_, p): (_, &Partition<P>)| match p.state() {
                State::Up => true,
                State::Returning => !is_older,
                _ => false,
            })
        })
    }

    /// Whether one more node may lose its data: fewer than make up a write quorum may be without theirs at
    /// once; in a large cluster, of the owners of each partition. A gossip store promises nothing to those
    /// who lose theirs.
    fn may_lose_data(&self, node: NodeId) -> bool {
        let config = self.simulation.config();
        if config.gossip.is_some() {
            return true;
        }
        let nodes = self.simulation.node_ids();
        let without_data: BTreeSet<NodeId> = nodes
            .filter(|node| match self.down.iter().find(|d| d.node == *node) {
                Some(down) => !config.durable || !down.was_up,
                None => !self.has_data(*node) || self.simulation.is_about_to_tear(*node),
            })
            .collect();
        let allowed = config.write_quorum as usize - 1;
        if config.nodes <= SMALL {
            return without_data.len() < allowed;
        }
        let partitions = self.simulation.owners().values();
        let mut owned = partitions.filter(|owners| owners.contains(&node));
        owned.all(|owners| {
            let others = owners.iter().filter(|owner| without_data.contains(owner));
            others.count() < allowed
        })
    }

    /// Whether a node that is up may go down: if its data goes with it, only while enough others have
    /// theirs.
    pub(super) fn may_fail(&self, node: NodeId) -> bool {
        let is_there = self.simulation.node(node).is_some();
        let keeps_data = self.simulation.config().durable || !self.has_data(node);
        is_there && (keeps_data || self.may_lose_data(node))
    }

    /// Whether a node that is down may come back without its data.
    pub(super) fn may_come_back_empty(&self, node: NodeId) -> bool {
        let down = self.down.iter().find(|down| down.node == node);
        down.is_some_and(|down| !down.keeps_disk && (!down.was_up || self.may_lose_data(node)))
    }

    fn fail(&mut self, node: NodeId) {
        if !self.may_fail(node) {
            return;
        }
        let was_up = self.has_data(node);
        self.simulation.fail(node);
        self.down.push(Down {
            node,
            was_up,
            keeps_disk: false,
        });
    }

    fn bring_back(&mut self, node: NodeId, with_disk: bool) {
        let Some(at) = self.down.iter().position(|down| down.node == node) else {
            return;
        };
        let is_durable = self.simulation.config().durable;
        let with_disk = is_durable && (with_disk || !self.may_come_back_empty(node));
        self.down.remove(at);
        if !with_disk {
            self.simulation.recover(node);
        } else if self.simulation.try_restart(node).is_err() {
            // The commit that failed was torn. Its data counted as lost since then.
            self.disk_faults.torn_stores_refused += 1;
            self.simulation.recover(node);
        }
    }

    fn lose_tail(&mut self, node: NodeId) {
        let image = self.images.get(&node).cloned();
        let Some(image) = image.filter(|_| self.may_come_back_empty(node)) else {
            return self.bring_back(node, false);
        };
        self.down.retain(|down| down.node != node);
        self.simulation.set_disk(node, image);
        let started = self.simulation.recover_with(node);
        if let Err(error) = started {
            self.violation(&format!(
                "the image of the disk of {node} is refused: {error}"
            ));
            return self.simulation.recover(node);
        }
        self.disk_faults.lost_tails += 1;
    }

    /// Lets the next commit of a node fail. It is torn only where that is sure to show: a store by time
    /// loses at most tombstones of a commit that it does not refuse, and others may show less than they
    /// know.
    fn fail_commit(&mut self, node: NodeId, fault: CommitFault) {
        if !self.simulation.config().durable || self.simulation.node(node).is_none() {
            return;
        }
        let shows = self.schedule.system != System::Siblings;
        let fault = match fault {
            CommitFault::Prefix(_) if !shows || !self.may_lose_data(node) => CommitFault::Gone,
            fault => fault,
        };
        self.simulation.fail_next_commit(node, fault);
    }

    /// Stops the nodes whose storage has failed, as a program does.
    fn stop_failed(&mut self) {
        for node in self.simulation.node_ids() {
            let has_failed = self.simulation.node(node).is_some_and(|node| {
                let mut partitions = node.partitions();
                partitions.any(|(_, p)| p.state() == State::StorageFailed)
            });
            if has_failed {
                self.disk_faults.failed_commits += 1;
                self.simulation.fail(node);
                self.down.push(Down {
                    node,
                    was_up: false,
                    keeps_disk: true,
                });
            }
        }
    }

    fn violation(&mut self, what: &str) {
        let now_ms = self.simulation.now_ms();
        self.violations.push(format!("at {now_ms} ms: {what}"));
    }

    /// Runs until something is so; false if that takes longer than `limit_ms`.
    fn run_until(&mut self, limit_ms: u64, is_so: impl Fn(&Self) -> bool) -> bool {
        let end_ms = self.simulation.now_ms() + limit_ms;
        while !is_so(self) {
            if self.simulation.now_ms() >= end_ms {
                return false;
            }
            self.simulation.run_for(10);
            self.workload.poll(&mut self.simulation);
        }
        true
    }
}

fn write(value: &Option<Bytes>) -> Operation {
    match value {
        Some(value) => Operation::Put(value.clone()),
        None => Operation::Delete,
    }
}
