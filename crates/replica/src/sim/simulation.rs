//! The simulation itself: nodes, a queue of events in virtual time, and the checks after every step.

use bytes::Bytes;
use crdt::ReplicaId;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt as _, SeedableRng as _};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use twox_hash::XxHash3_128;

use super::history::{Action, History, Operation};
use super::network::Network;
use super::oracle::Oracle;
use crate::{
    Command, Config, Counters, Envelope, Level, MemoryStorage, NodeId, Now, Outcome, Output,
    Partition, RequestError, RequestId, State, Storage as _,
};

/// Where virtual time starts, as nodes see it: some moment in 2024.
const START_UNIX_MS: u64 = 1_720_000_000_000;

/// What a simulation is made of.
#[derive(Debug, Clone)]
pub struct SimConfig {
    /// The configuration of every node; its `node` is set for each.
    pub node: Config,
    /// Seed of all that is random.
    pub seed: u64,
}

/// A client request that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(RequestId);

/// Nodes, network, virtual time and the checks.
///
/// Times are in virtual milliseconds. A violation is kept, and found with
/// [`violations`](Self::violations); the run goes on, because what happens next helps to understand.
#[derive(Debug)]
pub struct Simulation {
    config: SimConfig,
    /// The network; may be changed at any time.
    pub network: Network,
    nodes: BTreeMap<NodeId, SimNode>,
    queue: BinaryHeap<Reverse<(u64, QueuedId)>>,
    queued: BTreeMap<u64, Queued>,
    next_event: u64,
    now_ms: u64,
    rng: ChaCha8Rng,
    oracle: Oracle,
    history: History,
    pending: BTreeMap<RequestId, Operation>,
    replies: BTreeMap<RequestId, Result<Outcome, RequestError>>,
    next_request: u64,
    violations: Vec<String>,
    trace: u128,
    messages: u64,
    /// Counters of partitions that have been dropped.
    past: Vec<Counters>,
}

type QueuedId = u64;

#[derive(Debug)]
struct SimNode {
    partition: Option<Partition>,
    storage: MemoryStorage,
    /// How far the node's physical clock is ahead of virtual time, in milliseconds.
    skew_ms: i64,
    /// When the next timeout is queued for.
    wakes_at: Option<u64>,
}

#[derive(Debug)]
enum Queued {
    Deliver {
        from: NodeId,
        to: NodeId,
        envelope: Box<Envelope>,
    },
    Wake(NodeId),
}

impl Simulation {
    /// A brand-new cluster, every node up and empty.
    ///
    /// # Panics
    /// If the configuration is not valid.
    pub fn new(config: SimConfig) -> Self {
        let nodes = config.node.nodes;
        let mut simulation = Self {
            network: Network::default(),
            nodes: BTreeMap::new(),
            queue: BinaryHeap::new(),
            queued: BTreeMap::new(),
            next_event: 0,
            now_ms: 0,
            rng: ChaCha8Rng::seed_from_u64(config.seed),
            oracle: Oracle::default(),
            history: History::default(),
            pending: BTreeMap::new(),
            replies: BTreeMap::new(),
            next_request: 0,
            violations: Vec::new(),
            trace: 0,
            messages: 0,
            past: Vec::new(),
            config,
        };
        for node in (1..=nodes).map(NodeId) {
            let (config, random) = (simulation.node_config(node), simulation.rng.random());
            let partition = Partition::bootstrap(config, random, simulation.now_at(0));
            let partition = Some(partition.expect("a valid configuration"));
            let storage = MemoryStorage::default();
            simulation.nodes.insert(
                node,
                SimNode {
                    partition,
                    storage,
                    skew_ms: 0,
                    wakes_at: None,
                },
            );
            simulation.after_input(node);
        }
        simulation
    }

    /// All nodes.
    pub fn node_ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        (1..=self.config.node.nodes).map(NodeId)
    }

    /// The node's state machine; `None` while it is down.
    pub fn partition(&self, node: NodeId) -> Option<&Partition> {
        self.nodes.get(&node)?.partition.as_ref()
    }

    /// Virtual time.
    pub const fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Messages sent so far.
    pub const fn messages(&self) -> u64 {
        self.messages
    }

    /// The random numbers of this run.
    pub const fn rng(&mut self) -> &mut ChaCha8Rng {
        &mut self.rng
    }

    /// What was found to be wrong so far.
    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    /// The history of operations so far.
    pub const fn history(&self) -> &History {
        &self.history
    }

    /// A hash of all that happened: equal for equal seeds.
    pub const fn trace_hash(&self) -> u128 {
        self.trace
    }

    /// How often the rarer paths were taken, by all nodes together, past lives included.
    pub fn counters(&self) -> Vec<Counters> {
        let current = self
            .nodes
            .values()
            .filter_map(|n| n.partition.as_ref())
            .map(Partition::counters);
        self.past.iter().copied().chain(current).collect()
    }

    /// Makes a request at level `Quorum`. It is recorded in the history.
    pub fn request(&mut self, node: NodeId, command: Command) -> Ticket {
        self.next_request += 1;
        let request = RequestId(self.next_request);
        let action = match &command {
            Command::Get { .. } => Action::Read(None),
            Command::Put { value, .. } => Action::Write(Some(value.clone())),
            Command::Delete { .. } => Action::Write(None),
        };
        let (key, invoked) = (command.key().clone(), self.history.tick());
        self.pending.insert(
            request,
            Operation {
                node,
                key,
                action,
                invoked,
                completed: None,
            },
        );
        let now = self.now_of(node);
        match self.nodes.get_mut(&node).and_then(|n| n.partition.as_mut()) {
            Some(partition) => {
                partition.handle_request(request, command, Level::Quorum, now);
                self.after_input(node);
            }
            None => self.note_reply(request, Err(RequestError::NodeFailed(node))),
        }
        Ticket(request)
    }

    /// Writes at level `One`, which promises no more than that the write may be seen: in the history it
    /// may take effect at any moment.
    pub fn write_one(&mut self, node: NodeId, command: Command) {
        let action = match &command {
            Command::Put { value, .. } => Action::Write(Some(value.clone())),
            _ => Action::Write(None),
        };
        self.next_request += 1;
        let (request, key) = (RequestId(self.next_request), command.key().clone());
        let invoked = self.history.tick();
        self.history.push(Operation {
            node,
            key,
            action,
            invoked,
            completed: None,
        });
        self.input(node, |partition, now| {
            partition.handle_request(request, command, Level::One, now);
        });
    }

    /// Runs until the request is answered and returns the answer.
    ///
    /// # Panics
    /// If it is not answered within its deadline: requests are always answered.
    pub fn wait(&mut self, ticket: Ticket) -> Result<Outcome, RequestError> {
        let end_ms = self.now_ms + 2 * self.config.node.request_timeout_ms;
        loop {
            if let Some(result) = self.replies.remove(&ticket.0) {
                return result;
            }
            assert!(
                self.now_ms <= end_ms && self.step(end_ms + 1),
                "{} is never answered",
                ticket.0
            );
        }
    }

    /// Runs for some virtual milliseconds.
    pub fn run_for(&mut self, ms: u64) {
        let end_ms = self.now_ms + ms;
        while self.step(end_ms) {}
        self.now_ms = end_ms;
    }

    /// Takes a node down; with its disk if it has one, otherwise with all its data.
    pub fn fail(&mut self, node: NodeId) {
        let failed = self.nodes.get_mut(&node).and_then(|n| n.partition.take());
        self.past
            .extend(failed.map(|partition| partition.counters()));
        let lost: Vec<RequestId> = self
            .pending
            .iter()
            .filter(|(_, op)| op.node == node)
            .map(|(id, _)| *id)
            .collect();
        for request in lost {
            // Nobody knows whether a write that was pending has taken effect.
            self.note_reply(
                request,
                Err(RequestError::NoMajority {
                    acknowledged: 0,
                    needed: 0,
                    may_take_effect: true,
                }),
            );
        }
    }

    /// Brings a node back without its data.
    pub fn recover(&mut self, node: NodeId) {
        let (config, random, now) = (self.node_config(node), self.rng.random(), self.now_of(node));
        let recovered = Partition::recover(config, random, now).expect("a valid configuration");
        if let Some(sim_node) = self.nodes.get_mut(&node) {
            sim_node.storage = MemoryStorage::default();
            sim_node.partition = Some(recovered);
            sim_node.wakes_at = None;
        }
        self.after_input(node);
    }

    /// Brings a node back with what is on its disk, or, if that is nothing, without data.
    ///
    /// # Panics
    /// If the disk holds what no node can have stored.
    pub fn restart(&mut self, node: NodeId) {
        let (config, random, now) = (self.node_config(node), self.rng.random(), self.now_of(node));
        let Some(sim_node) = self.nodes.get_mut(&node) else {
            return;
        };
        let restored = Partition::restore(config, &sim_node.storage, random, now);
        match restored.expect("a valid store") {
            Some(restored) => {
                sim_node.partition = Some(restored);
                sim_node.wakes_at = None;
                self.after_input(node);
            }
            None => self.recover(node),
        }
    }

    /// The state of a node's disk, to be put back later with [`set_disk`](Self::set_disk).
    pub fn disk(&self, node: NodeId) -> Option<MemoryStorage> {
        self.nodes.get(&node).map(|n| n.storage.clone())
    }

    /// Replaces a node's disk, as restoring an old image does.
    pub fn set_disk(&mut self, node: NodeId, disk: MemoryStorage) {
        if let Some(sim_node) = self.nodes.get_mut(&node) {
            sim_node.storage = disk;
        }
    }

    /// Sets how far a node's physical clock is ahead of virtual time.
    pub fn set_skew(&mut self, node: NodeId, skew_ms: i64) {
        if let Some(sim_node) = self.nodes.get_mut(&node) {
            sim_node.skew_ms = skew_ms;
        }
    }

    /// An operator's decision that a recovering node goes on with fewer sources.
    pub fn accept_loss(&mut self, node: NodeId) {
        self.input(node, |partition, now| partition.handle_accept_loss(now));
    }

    /// Tells a node whether it can reach another.
    pub fn hint(&mut self, node: NodeId, other: NodeId, reachable: bool) {
        self.input(node, |partition, now| {
            partition.handle_reachable(other, reachable, now);
        });
    }

    /// Heals the network, brings every node up, and runs until all nodes are ready, know the same and
    /// show the same; false if that takes more than `limit_ms`.
    pub fn settle(&mut self, limit_ms: u64) -> bool {
        self.network = Network::default();
        let end_ms = self.now_ms + limit_ms;
        while self.now_ms < end_ms {
            if self.is_settled() {
                return true;
            }
            self.run_for(self.config.node.sync_interval_ms);
        }
        self.is_settled()
    }

    fn is_settled(&self) -> bool {
        let mut partitions = self.nodes.values().map(|n| n.partition.as_ref());
        let Some(Some(first)) = partitions.next() else {
            return false;
        };
        // What only the dead knew of the rest of the key space stays an exception until they are closed.
        let is_of_the_dead = |p: &Partition, writer: ReplicaId| {
            let node = crate::node_of(writer);
            p.view().is_fenced(node.0, writer)
        };
        let is_quiet = |p: &Partition| {
            let mut exceptions = p.replica().knowledge().exceptions();
            p.state() == State::Up
                && exceptions.all(|(_, beyond)| {
                    beyond
                        .ranges()
                        .all(|range| is_of_the_dead(p, range.replica))
                })
        };
        is_quiet(first)
            && self.pending.is_empty()
            && partitions.all(|other| {
                other.is_some_and(|other| {
                    is_quiet(other) && other.replica().knowledge() == first.replica().knowledge()
                })
            })
    }

    /// Reads every key at every node after all is quiet, then checks the whole history.
    pub fn check_final(&mut self) {
        let keys: BTreeSet<Bytes> = self
            .history
            .operations()
            .iter()
            .map(|op| op.key.clone())
            .collect();
        for node in self.node_ids() {
            for key in &keys {
                let Some(partition) = self.partition(node) else {
                    continue;
                };
                match partition.read_local(key) {
                    Ok(value) => self.history.push_final_read(node, key.clone(), value),
                    Err(error) => self
                        .violations
                        .push(format!("{node} does not serve: {error}")),
                }
            }
        }
        if let Err(found) = self.history.check() {
            self.violations.extend(found);
        }
    }

    /// Handles the next event that is due before `end_ms`; false if there is none.
    fn step(&mut self, end_ms: u64) -> bool {
        match self.queue.peek() {
            Some(Reverse((at_ms, _))) if *at_ms < end_ms => {}
            _ => return false,
        }
        let Some(Reverse((at_ms, id))) = self.queue.pop() else {
            return false;
        };
        self.now_ms = at_ms;
        match self.queued.remove(&id) {
            Some(Queued::Deliver { from, to, envelope }) => {
                self.input(to, |partition, now| {
                    partition.handle_message(from, *envelope, now);
                });
            }
            Some(Queued::Wake(node)) => {
                let due = self.nodes.get_mut(&node).and_then(|n| {
                    let is_current = n.wakes_at == Some(at_ms);
                    n.wakes_at = n.wakes_at.filter(|_| !is_current);
                    n.partition.as_ref().and_then(Partition::deadline)
                });
                match due {
                    Some(due) if due <= self.now_ms => {
                        self.input(node, |partition, now| partition.handle_timeout(now));
                    }
                    _ => self.schedule_wake(node),
                }
            }
            None => {}
        }
        true
    }

    fn input(&mut self, node: NodeId, feed: impl FnOnce(&mut Partition, Now)) {
        let now = self.now_of(node);
        if let Some(partition) = self.nodes.get_mut(&node).and_then(|n| n.partition.as_mut()) {
            feed(partition, now);
            self.after_input(node);
        }
    }

    /// Releases what an input has brought about, and checks the node.
    fn after_input(&mut self, node: NodeId) {
        let Some(sim_node) = self.nodes.get_mut(&node) else {
            return;
        };
        let Some(partition) = sim_node.partition.as_mut() else {
            return;
        };
        let mut ready = partition.take_ready();
        if let Some(batch) = &ready.persist
            && let Err(error) = sim_node.storage.commit(batch)
        {
            partition.handle_storage_failure(&error, &ready.outputs);
            ready = partition.take_ready();
        }
        self.check(node);
        for output in ready.outputs {
            match output {
                Output::Send { to, envelope } => self.post(node, to, &envelope),
                Output::Reply { request, result } => self.note_reply(request, result),
            }
        }
        self.schedule_wake(node);
    }

    fn check(&mut self, node: NodeId) {
        let Some(partition) = self.nodes.get(&node).and_then(|n| n.partition.as_ref()) else {
            return;
        };
        let found = self
            .oracle
            .note_minted(partition)
            .and_then(|()| self.oracle.check_node(partition));
        let others = self.nodes.iter().filter(|(other, _)| **other != node);
        let others = others.filter_map(|(_, n)| n.partition.as_ref());
        let pairs = others.map(|other| Oracle::check_pair(partition, other));
        for violation in pairs.chain([found]).filter_map(Result::err) {
            self.violations
                .push(format!("at {} ms: {violation}", self.now_ms));
        }
    }

    fn post(&mut self, from: NodeId, to: NodeId, envelope: &Envelope) {
        self.messages += 1;
        self.note_trace(&(self.now_ms, from, to, envelope));
        for after_ms in self.network.arrivals(from, to, &mut self.rng) {
            let envelope = Box::new(envelope.clone());
            self.queue_at(
                self.now_ms + after_ms,
                Queued::Deliver { from, to, envelope },
            );
        }
    }

    fn queue_at(&mut self, at_ms: u64, queued: Queued) {
        self.next_event += 1;
        self.queue.push(Reverse((at_ms, self.next_event)));
        self.queued.insert(self.next_event, queued);
    }

    fn schedule_wake(&mut self, node: NodeId) {
        let Some(sim_node) = self.nodes.get_mut(&node) else {
            return;
        };
        let Some(due) = sim_node.partition.as_ref().and_then(Partition::deadline) else {
            return;
        };
        if sim_node.wakes_at.is_none_or(|at| at > due) {
            let at_ms = due.max(self.now_ms);
            sim_node.wakes_at = Some(at_ms);
            self.queue_at(at_ms, Queued::Wake(node));
        }
    }

    fn note_reply(&mut self, request: RequestId, result: Result<Outcome, RequestError>) {
        let moment = self.history.tick();
        self.note_trace(&(request.0, format!("{result:?}")));
        let Some(mut operation) = self.pending.remove(&request) else {
            return;
        };
        match (&result, &mut operation.action) {
            (Ok(Outcome::Read { value, .. }), Action::Read(read)) => {
                read.clone_from(value);
                operation.completed = Some(moment);
                self.history.push(operation);
            }
            (Ok(_), _) => {
                operation.completed = Some(moment);
                self.history.push(operation);
            }
            (Err(error), Action::Write(_)) if may_take_effect(error) => {
                self.history.push(operation);
            }
            (Err(_), _) => {}
        }
        self.replies.insert(request, result);
    }

    fn note_trace(&mut self, happened: &impl serde::Serialize) {
        let bytes = postcard::to_stdvec(happened).expect("messages serialise into memory");
        let chained = (self.trace >> 64) as u64 ^ self.trace as u64;
        self.trace = XxHash3_128::oneshot_with_seed(chained, &bytes);
    }

    fn node_config(&self, node: NodeId) -> Config {
        Config {
            node,
            ..self.config.node.clone()
        }
    }

    fn now_of(&self, node: NodeId) -> Now {
        self.now_at(self.nodes.get(&node).map_or(0, |n| n.skew_ms))
    }

    const fn now_at(&self, skew_ms: i64) -> Now {
        Now {
            elapsed_ms: self.now_ms,
            unix_ms: (START_UNIX_MS + self.now_ms).saturating_add_signed(skew_ms),
        }
    }
}

/// Whether a failed write may have had an effect.
fn may_take_effect(error: &RequestError) -> bool {
    match error {
        RequestError::NoMajority {
            may_take_effect, ..
        } => *may_take_effect,
        RequestError::StorageFailed { .. }
        | RequestError::TimestampAhead { .. }
        | RequestError::ClockExhausted => true,
        _ => false,
    }
}
