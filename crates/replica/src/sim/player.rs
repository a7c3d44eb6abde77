//! Plays the steps of a run, and judges it when they are done.

use bytes::Bytes;
use crdt::{CausalContext, Dot, Knows as _, ReplicaId};
use std::collections::{BTreeMap, BTreeSet};

use super::campaign::{DiskFaults, NamedWrites, Report, System};
use super::network::Network;
use super::oracle::Simulated;
use super::schedule::{Schedule, Step};
use super::simulation::{Disk, SimConfig, Simulation};
use super::workload::{
    Gossips, Linearizable, Majority, NamedWrite, Operation, Sessions, Siblings, Timestamped,
    Workload,
};
use crate::storage::CommitFault;
use crate::{Counters, NodeId, Partition, PartitionId, RequestError, State};

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
    pub(super) fn new(schedule: Schedule, workload: W) -> Self {
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
            Step::Hint {
                node,
                other,
                reachable,
            } => {
                self.misled.insert((*node, *other));
                simulation.hint(*node, *other, *reachable);
            }
            Step::Run { ms } => simulation.run_for(*ms),
        }
        self.stop_failed();
        self.check_rolled_back();
        self.workload.poll(&mut self.simulation);
        if !self.simulation.checks_every_step() {
            let nodes = u64::from(self.schedule.node.nodes);
            let any = self.simulation.rng().get_word_pos() as u64 % nodes;
            self.simulation.check(NodeId(1 + any as u32));
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

    /// Starts a node with an older image of its disk. Where it has written since what a write quorum knows, that may
    /// happen at any moment, like any loss of data. Otherwise nothing can tell that it is not what it was, and what it
    /// has acknowledged may be on its way: then all must be at rest.
    fn roll_back(&mut self, node: NodeId) {
        let gossips = self.simulation.config().gossip.is_some();
        let Some(image) = self.images.get(&node).cloned() else {
            return;
        };
        if gossips || !self.down.is_empty() {
            return;
        }
        if self.may_lose_data(node) && self.is_shown_to_be_older(node, &image) {
            return self.roll_back_under_way(node, image);
        }
        let network = std::mem::take(&mut self.simulation.network);
        let limit_ms = self.schedule.settle_ms;
        self.simulation.heal_disks();
        // Until it has heard from others it would reuse the events that it has lost, for a request that is
        // forwarded to it; and those that nobody else knows are lost with its disk.
        let is_quiet = |player: &Self| {
            let mut nodes = player.simulation.node_ids();
            player.simulation.is_idle() && nodes.all(|node| player.is_up(node))
        };
        let is_safe = |player: &Self| is_quiet(player) && player.is_known_by_others(node);
        let mut may_go_on = self.run_until(limit_ms, is_quiet);
        self.simulation.run_for(network.longest_ms());
        may_go_on &= self.run_until(limit_ms, is_safe);
        if may_go_on {
            let before = self.knowledge_of_others(node);
            self.simulation.fail(node);
            self.simulation.set_disk(node, image);
            self.simulation.restart(node);
            self.disk_faults.rollbacks += 1;
            let must_notice = self.must_notice(node);
            if !self.run_until(limit_ms, |player| player.has_caught_up(node, &before)) {
                self.violation(&format!("{node} was rolled back and has not caught up"));
            }
            for (partition, id) in must_notice {
                let now = self
                    .partition(node, partition)
                    .and_then(Partition::incarnation);
                self.disk_faults.rollbacks_noticed += 1;
                if now == Some(id) {
                    self.violation(&format!("{node} was rolled back and has not noticed"));
                }
            }
        }
        self.simulation.network = network;
    }

    fn roll_back_under_way(&mut self, node: NodeId, image: Disk) {
        self.simulation.fail(node);
        self.simulation.set_disk(node, image);
        self.simulation.restart(node);
        self.disk_faults.rollbacks += 1;
        self.disk_faults.rollbacks_under_way += 1;
        let state = self.simulation.node(node).into_iter();
        let partitions = state.flat_map(crate::Node::partitions);
        let older = partitions.filter_map(|(p, own)| Some((node, p, own.incarnation()?)));
        self.rolled_back.extend(older);
    }

    /// Whether an image is older than what a node has shown to a write quorum, in every partition that it owns and by
    /// an event of the identity that it has there.
    fn is_shown_to_be_older(&self, node: NodeId, image: &Disk) -> bool {
        let config = crate::Config {
            node,
            ..self.simulation.config().clone()
        };
        let stored = |partition| Some(image.get(&partition)? as &dyn crate::Storage);
        let restored = crate::Node::<P>::restore(config, stored, 0, crate::Now::default());
        let (Ok(older), Some(state)) = (restored, self.simulation.node(node)) else {
            return false;
        };
        let others_needed = self.simulation.config().write_quorum as usize - 1;
        // Whose patience ends serves with what it has.
        let waits = self.simulation.config().restart_patience_ms == u64::MAX;
        let everybody_has_data = self.simulation.node_ids().all(|node| self.has_data(node));
        waits
            && everybody_has_data
            && state.partitions().all(|(partition, own)| {
                let Some(older) = older.partition(partition) else {
                    return false;
                };
                let (Some(id), first) = (own.incarnation(), older.replica().own_counter() + 1)
                else {
                    return false;
                };
                let is_shown = |counter| {
                    let event = Dot::new(id, counter);
                    let others = self.others(node).filter(|(p, _)| *p == partition);
                    let knows = others.filter(|(_, p)| p.replica().knowledge().base().knows(event));
                    knows.count() >= others_needed.max(1)
                };
                let mut since = first..=own.replica().own_counter();
                older.incarnation() == Some(id) && since.any(is_shown)
            })
    }

    /// Checks that nobody serves as who it was before its disk was rolled back, and forgets who has noticed.
    fn check_rolled_back(&mut self) {
        let mut serving = Vec::new();
        let simulation = &self.simulation;
        self.rolled_back.retain(|(node, partition, id)| {
            let Some(state) = simulation.node(*node) else {
                return true;
            };
            let own = state.partition(*partition);
            let is_same = own.is_some_and(|own| own.incarnation() == Some(*id));
            if is_same && own.is_some_and(|own| own.state() == State::Up) {
                serving.push(*node);
            }
            is_same
        });
        for node in serving {
            self.violation(&format!("{node} was rolled back and serves as who it was"));
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

    fn partition(&self, node: NodeId, partition: PartitionId) -> Option<&Partition<P>> {
        self.simulation.node(node)?.partition(partition)
    }

    /// What the other owners of a node's partitions hold.
    fn others(&self, node: NodeId) -> impl Iterator<Item = (PartitionId, &Partition<P>)> + '_ {
        let others = self.simulation.node_ids().filter(move |n| *n != node);
        let others = others.filter_map(|other| self.simulation.node(other));
        let all = others.flat_map(|other| other.partitions());
        all.filter(move |(partition, _)| self.partition(node, *partition).is_some())
    }

    /// Whether of each event of a node some other owner knows.
    fn is_known_by_others(&self, node: NodeId) -> bool {
        let Some(state) = self.simulation.node(node) else {
            return false;
        };
        state.partitions().all(|(partition, own)| {
            let Some(id) = own.incarnation() else {
                return true;
            };
            let others = || self.others(node).filter(|(p, _)| *p == partition);
            (1..=own.replica().own_counter()).all(|counter| {
                let event = Dot::new(id, counter);
                others().any(|(_, other)| other.replica().knowledge().base().knows(event))
            })
        })
    }

    fn knowledge_of_others(&self, node: NodeId) -> Vec<(PartitionId, CausalContext)> {
        let others = self.others(node);
        others
            .map(|(partition, other)| (partition, other.replica().knowledge().base().clone()))
            .collect()
    }

    fn has_caught_up(&self, node: NodeId, others: &[(PartitionId, CausalContext)]) -> bool {
        self.is_up(node)
            && others.iter().all(|(partition, known)| {
                self.partition(node, *partition)
                    .is_some_and(|own| own.replica().knowledge().base() >= known)
            })
    }

    /// The partitions in which others know of events of this node that it does not know itself, or of a
    /// later life of it, each with its identity.
    fn must_notice(&self, node: NodeId) -> Vec<(PartitionId, ReplicaId)> {
        let Some(state) = self.simulation.node(node) else {
            return Vec::new();
        };
        let own = state.partitions();
        let own =
            own.filter_map(|(p, own)| Some((p, own.incarnation()?, own.replica().own_counter())));
        own.filter(|(partition, id, counter)| {
            let mut others = self.others(node).filter(|(p, _)| p == partition);
            others.any(|(_, other)| {
                let shown = other.replica().knowledge().base().last_counter(*id);
                shown > *counter || other.view().is_fenced(node.0, *id)
            })
        })
        .map(|(partition, id, _)| (partition, id))
        .collect()
    }

    /// Asks once more for all writes with a name that were not answered well, each through another node.
    fn ask_for_what_is_open(&mut self) {
        let nodes = self.schedule.node.nodes;
        for name in self.open_names() {
            let node = NodeId(1 + name % nodes);
            if let Some(names) = self.workload.names() {
                names.retry(&mut self.simulation, node, name);
            }
        }
        let limit_ms = self.simulation.config().request_timeout_ms + 1;
        self.run_until(limit_ms, |player| player.simulation.is_idle());
        self.workload.poll(&mut self.simulation);
    }

    /// What is wrong with the writes that have a name. Each of them is known to have happened or not by now,
    /// unless a node has lost its data, or is too far behind another's clock to write.
    fn judge_names(&mut self, tally: &mut NamedWrites) -> Vec<String> {
        let counters = self.simulation.counters().into_iter();
        let has_lost_data = counters.map(|c| c.incarnations).any(|count| count > 0);
        let Some(names) = self.workload.names() else {
            return Vec::new();
        };
        let mut found = names.check(&self.simulation);
        *tally = names.tally();
        let failures = names.failures();
        self.workload.close(&mut self.simulation);
        for (name, error) in failures {
            tally.undecided += 1;
            let is_behind = matches!(
                error,
                RequestError::TimestampAhead { .. } | RequestError::ClockExhausted { .. }
            );
            if !has_lost_data && !is_behind {
                found.push(format!(
                    "write {name} fails although all nodes are up with their data: {error}"
                ));
            }
        }
        found
    }

    /// Ends all faults, lets the cluster settle, and judges the run.
    pub(super) fn finish(mut self, setting: String) -> (Report, Schedule) {
        self.simulation.network = Network::default();
        self.simulation.heal_disks();
        while let Some(down) = self.down.first() {
            self.bring_back(down.node, true);
        }
        for (node, other) in std::mem::take(&mut self.misled) {
            self.simulation.hint(node, other, true);
        }
        let settle_ms = self.schedule.settle_ms;
        let (rounds, mut converged) = self.simulation.run_rounds(settle_ms);
        self.check_rolled_back();
        self.workload.poll(&mut self.simulation);
        let mut found = Vec::new();
        if converged {
            self.ask_for_what_is_open();
            converged = self.simulation.run_rounds(settle_ms).1;
        }
        let nodes: Vec<NodeId> = self.simulation.node_ids().collect();
        let mut named = NamedWrites::default();
        if converged {
            found.extend(self.judge_names(&mut named));
            self.simulation.check_all();
            self.simulation.check_final();
            let keys = keys(self.schedule.node.nodes);
            found.extend(self.workload.check(&mut self.simulation, &keys));
        } else {
            let limit_s = settle_ms / 1000;
            found.push(format!(
                "the healed cluster has not converged within {limit_s} s"
            ));
            for node in nodes
                .iter()
                .take(7)
                .filter_map(|n| self.simulation.node(*n))
            {
                found.extend(node.partitions().map(|(_, p)| format!("{:?}", p.status())));
            }
        }
        let simulation = &self.simulation;
        let counters = simulation.counters().into_iter();
        let counters = counters.fold(Counters::default(), Counters::plus);
        if counters.audits_failed > 0 {
            // No disk changes an entry here.
            let failed = counters.audits_failed;
            found.push(format!("I3: {failed} audits have failed"));
        }
        let violations = [simulation.violations(), &self.violations, &found].concat();
        let (succeeded, asked) = self.workload.tally(simulation);
        let report = Report {
            seed: self.schedule.seed,
            setting,
            violations,
            counters,
            disk_faults: self.disk_faults,
            named,
            succeeded: (succeeded, asked),
            refused: asked - succeeded,
            unjudged: self.workload.unjudged(),
            nodes: nodes.len() as u32,
            converged,
            rounds,
            messages: simulation.messages(),
            bytes: simulation.bytes(),
            trace_hash: simulation.trace_hash(),
            system: self.schedule.system,
        };
        (report, self.schedule)
    }
}

fn write(value: &Option<Bytes>) -> Operation {
    match value {
        Some(value) => Operation::Put(value.clone()),
        None => Operation::Delete,
    }
}
