//! The simulation itself: nodes, a queue of events in virtual time, and the checks after every step.

mod checks;
mod lags;
mod machine;
mod stalls;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt as _, SeedableRng as _};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use twox_hash::XxHash3_128;

use lags::{Asked, Lags};
use machine::SimNode;

pub use lags::Lag;

use super::history::{Action, History, Operation};
use super::mints::Mints;
use super::network::Network;
use super::oracle::Simulated;
use crate::{
    Command, Config, Counters, Level, Lww, MemoryStorage, MessageOf, Node, NodeId, NodeOutput, Now,
    Outcome, Partition, PartitionId, Request, RequestError, RequestId,
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
    /// Whether the invariants are checked after every step, or where a driver asks for it: with hundreds of
    /// owners the checks would take longer than the run.
    pub checks_every_step: bool,
}

impl SimConfig {
    /// A simulation that checks every step.
    pub const fn new(node: Config, seed: u64) -> Self {
        Self {
            node,
            seed,
            checks_every_step: true,
        }
    }
}

/// The disk of a node: the storage of each of its partitions.
pub type Disk = BTreeMap<PartitionId, MemoryStorage>;

/// What happened in one sync interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Round {
    /// Owners that lacked something at its end.
    pub behind: usize,
    /// Bytes of all messages sent in it.
    pub bytes: u64,
    /// Messages sent in it.
    pub messages: u64,
}

/// A client request that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(RequestId);

/// Nodes, network, virtual time and the checks.
///
/// Times are in virtual milliseconds. A violation is kept, and found with
/// [`violations`](Self::violations); the run goes on, because what happens next helps to understand.
#[derive(Debug)]
pub struct Simulation<P: Simulated = Lww> {
    config: SimConfig,
    /// The network; may be changed at any time.
    pub network: Network,
    nodes: BTreeMap<NodeId, SimNode<P>>,
    owners: BTreeMap<PartitionId, Vec<NodeId>>,
    queue: BinaryHeap<Reverse<(u64, QueuedId)>>,
    queued: BTreeMap<u64, Queued<P>>,
    next_event: u64,
    now_ms: u64,
    rng: ChaCha8Rng,
    oracles: BTreeMap<PartitionId, P::Oracle>,
    history: History,
    /// The events of named writes.
    pub(super) mints: Mints,
    /// Requests that have not been answered.
    asked: BTreeMap<RequestId, Asked>,
    /// Operations of the history among them.
    pending: BTreeMap<RequestId, Operation>,
    replies: BTreeMap<RequestId, Result<Outcome<P::Cell>, RequestError>>,
    next_request: u64,
    lags: Lags,
    /// What was answered since somebody began to look.
    watched: Option<Vec<Watched>>,
    violations: Vec<String>,
    trace: u128,
    messages: u64,
    bytes: u64,
    /// Counters of partitions that have been dropped.
    past: Vec<Counters>,
    /// Virtual milliseconds of the pauses that have ended.
    paused_ms: u64,
    /// What has waited for nodes that were paused.
    held: u64,
}

/// The node that was asked, and what it has answered.
pub(super) type Watched = (NodeId, Result<(), RequestError>);

type QueuedId = u64;

#[derive(Debug)]
enum Queued<P: Simulated> {
    Deliver {
        from: NodeId,
        to: NodeId,
        message: Box<MessageOf<P>>,
    },
    Wake(NodeId),
}

impl<P: Simulated> Simulation<P> {
    /// A brand-new cluster, every node up and empty.
    ///
    /// # Panics
    /// If the configuration is not valid.
    pub fn new(config: SimConfig) -> Self {
        let (nodes, placement) = (config.node.nodes, config.node.placement());
        let owners = placement.partitions().map(|p| (p, placement.owners(p)));
        let mut simulation = Self {
            owners: owners.collect(),
            network: Network::default(),
            nodes: BTreeMap::new(),
            queue: BinaryHeap::new(),
            queued: BTreeMap::new(),
            next_event: 0,
            now_ms: 0,
            rng: ChaCha8Rng::seed_from_u64(config.seed),
            oracles: placement
                .partitions()
                .map(|p| (p, P::Oracle::default()))
                .collect(),
            history: History::default(),
            mints: Mints::default(),
            asked: BTreeMap::new(),
            pending: BTreeMap::new(),
            replies: BTreeMap::new(),
            next_request: 0,
            lags: Lags::default(),
            watched: None,
            violations: Vec::new(),
            trace: 0,
            messages: 0,
            bytes: 0,
            past: Vec::new(),
            paused_ms: 0,
            held: 0,
            config,
        };
        for node in (1..=nodes).map(NodeId) {
            let (config, random) = (simulation.node_config(node), simulation.rng.random());
            let started = Node::bootstrap(config, random, simulation.now_at(0));
            simulation.nodes.insert(
                node,
                SimNode {
                    node: Some(started.expect("a valid configuration")),
                    storage: BTreeMap::new(),
                    skew_ms: 0,
                    wakes_at: None,
                    next_fault: None,
                    pause: None,
                    frozen_unix_ms: None,
                },
            );
            simulation.after_input(node);
        }
        simulation
    }

    /// All nodes.
    pub fn node_ids(&self) -> impl Iterator<Item = NodeId> + use<P> {
        (1..=self.config.node.nodes).map(NodeId)
    }

    /// The node's state machine; `None` while it is down.
    pub fn node(&self, node: NodeId) -> Option<&Node<P>> {
        self.nodes.get(&node)?.node.as_ref()
    }

    /// The node's state machine of the first partition; `None` while the node is down, or if it does not
    /// own that.
    pub fn partition(&self, node: NodeId) -> Option<&Partition<P>> {
        self.node(node)?.partition(PartitionId(0))
    }

    /// The owners of a partition that are up, with what they hold of it.
    fn up_owners(&self, partition: PartitionId) -> impl Iterator<Item = &Partition<P>> + '_ {
        let owners = self.owners.get(&partition).into_iter().flatten();
        owners.filter_map(move |owner| self.node(*owner)?.partition(partition))
    }

    /// The configuration that all nodes share.
    pub const fn config(&self) -> &Config {
        &self.config.node
    }

    /// Virtual time.
    pub const fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Messages sent so far.
    pub const fn messages(&self) -> u64 {
        self.messages
    }

    /// Bytes of all messages sent so far, in the binary format of nodes.
    pub const fn bytes(&self) -> u64 {
        self.bytes
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

    pub(super) const fn history_mut(&mut self) -> &mut History {
        &mut self.history
    }

    /// A hash of all that happened: equal for equal seeds.
    pub const fn trace_hash(&self) -> u128 {
        self.trace
    }

    /// How often the rarer paths were taken, by all nodes together, past lives included.
    pub fn counters(&self) -> Vec<Counters> {
        let nodes = self.nodes.values().filter_map(|n| n.node.as_ref());
        let current = nodes.flat_map(counters_of);
        self.past.iter().copied().chain(current).collect()
    }

    /// Makes a request, of which the history is not told.
    pub fn ask(&mut self, node: NodeId, request: Request<P::Write>) -> Ticket {
        self.next_request += 1;
        let id = RequestId(self.next_request);
        self.asked
            .insert(id, self.lags.ask(node, &request, self.now_ms));
        self.start(node, id, request);
        Ticket(id)
    }

    /// How far each read at level `One` that was answered was behind.
    pub fn lags(&self) -> &[Lag] {
        self.lags.measured()
    }

    /// From now on takes note of what is answered.
    pub(super) fn watch_answers(&mut self) {
        self.watched = Some(Vec::new());
    }

    /// What was answered since, and no further.
    pub(super) fn take_watched(&mut self) -> Vec<Watched> {
        self.watched.take().unwrap_or_default()
    }

    fn start(&mut self, node: NodeId, id: RequestId, request: Request<P::Write>) {
        let Some(request) = self.hold_request(node, id, request) else {
            return;
        };
        let now = self.now_of(node);
        match self.nodes.get_mut(&node).and_then(|n| n.node.as_mut()) {
            Some(started) => {
                started.handle_request(id, request, now);
                self.after_input(node);
            }
            None => self.note_reply(id, Err(RequestError::NodeFailed(node))),
        }
    }

    /// The answer to a request, if there is one yet. It can be taken once.
    pub fn take_reply(&mut self, ticket: Ticket) -> Option<Result<Outcome<P::Cell>, RequestError>> {
        self.replies.remove(&ticket.0)
    }

    /// Runs until the request is answered and returns the answer.
    ///
    /// # Panics
    /// If it is not answered within its deadline: requests are always answered.
    pub fn wait(&mut self, ticket: Ticket) -> Result<Outcome<P::Cell>, RequestError> {
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
            Some(Queued::Deliver { from, to, message }) => {
                if let Some(message) = self.hold_message(from, to, message) {
                    self.input(to, |node, now| node.handle_message(from, *message, now));
                }
            }
            // It is asked what is due when it goes on.
            Some(Queued::Wake(node)) if self.is_paused(node) => {}
            Some(Queued::Wake(node)) => {
                let due = self.nodes.get_mut(&node).and_then(|n| {
                    let is_current = n.wakes_at == Some(at_ms);
                    n.wakes_at = n.wakes_at.filter(|_| !is_current);
                    n.node.as_ref().and_then(Node::deadline)
                });
                match due {
                    Some(due) if due <= self.now_ms => {
                        self.input(node, |node, now| node.handle_timeout(now));
                    }
                    _ => self.schedule_wake(node),
                }
            }
            None => {}
        }
        true
    }

    fn input(&mut self, node: NodeId, feed: impl FnOnce(&mut Node<P>, Now)) {
        let now = self.now_of(node);
        if let Some(up) = self.nodes.get_mut(&node).and_then(|n| n.node.as_mut()) {
            feed(up, now);
            self.after_input(node);
        }
    }

    /// Releases what an input has brought about, and checks the node.
    fn after_input(&mut self, id: NodeId) {
        let Some(sim_node) = self.nodes.get_mut(&id) else {
            return;
        };
        let Some(node) = sim_node.node.as_mut() else {
            return;
        };
        let mut ready = node.take_ready();
        for (partition, batch) in &ready.persist {
            let committed = sim_node.commit(*partition, batch);
            if let (Err(error), Some(node)) = (committed, sim_node.node.as_mut()) {
                let dropped = std::mem::take(&mut ready.outputs);
                node.handle_storage_failure(*partition, &error, dropped);
                ready.outputs.extend(node.take_ready().outputs);
            }
        }
        if let Some(node) = self.nodes.get(&id).and_then(|n| n.node.as_ref()) {
            self.mints.note(node, self.now_ms);
        }
        match self.config.checks_every_step {
            true => self.check(id),
            false => self.note_minted(id),
        }
        for output in ready.outputs {
            match output {
                NodeOutput::Send { to, message } => self.post(id, to, message),
                NodeOutput::Reply { request, result } => self.note_reply(request, result),
            }
        }
        self.schedule_wake(id);
    }

    fn post(&mut self, from: NodeId, to: NodeId, message: MessageOf<P>) {
        self.messages += 1;
        self.bytes += self.note_trace(&(self.now_ms, from, to, &message));
        let arrivals = self.network.arrivals(from, to, &mut self.rng);
        let mut message = Some(Box::new(message));
        for (i, after_ms) in arrivals.iter().enumerate() {
            let copy = match i + 1 == arrivals.len() {
                true => message.take(),
                false => message.clone(),
            };
            if let Some(message) = copy {
                self.queue_at(
                    self.now_ms + after_ms,
                    Queued::Deliver { from, to, message },
                );
            }
        }
    }

    fn queue_at(&mut self, at_ms: u64, queued: Queued<P>) {
        self.next_event += 1;
        self.queue.push(Reverse((at_ms, self.next_event)));
        self.queued.insert(self.next_event, queued);
    }

    fn schedule_wake(&mut self, node: NodeId) {
        let Some(sim_node) = self.nodes.get_mut(&node) else {
            return;
        };
        let Some(due) = sim_node.node.as_ref().and_then(Node::deadline) else {
            return;
        };
        if sim_node.wakes_at.is_none_or(|at| at > due) {
            let at_ms = due.max(self.now_ms);
            sim_node.wakes_at = Some(at_ms);
            self.queue_at(at_ms, Queued::Wake(node));
        }
    }

    fn note_reply(&mut self, request: RequestId, result: Result<Outcome<P::Cell>, RequestError>) {
        let moment = self.history.tick();
        self.note_trace(&(request.0, format!("{result:?}")));
        let Some(asked) = self.asked.remove(&request) else {
            return;
        };
        if let Some(watched) = &mut self.watched {
            let result = result.as_ref().map(drop).map_err(Clone::clone);
            watched.push((asked.node, result));
        }
        if let Ok(outcome) = &result {
            self.lags.note::<P>(asked, outcome, self.now_ms);
        }
        let Some(mut operation) = self.pending.remove(&request) else {
            self.replies.insert(request, result);
            return;
        };
        match (&result, &mut operation.action) {
            (Ok(Outcome::Read { cell, .. }), Action::Read(read)) => {
                *read = P::shown(cell);
                operation.completed = Some(moment);
                self.history.push(operation);
            }
            (Ok(_), _) => {
                operation.completed = Some(moment);
                self.history.push(operation);
            }
            (Err(error), Action::Write(_)) if error.may_take_effect() => {
                self.history.push(operation);
            }
            (Err(_), _) => {}
        }
        self.replies.insert(request, result);
    }

    /// Adds what happened to the trace; returns how many bytes it takes.
    fn note_trace(&mut self, happened: &impl serde::Serialize) -> u64 {
        let bytes = postcard::to_stdvec(happened).expect("messages serialise into memory");
        let chained = (self.trace >> 64) as u64 ^ self.trace as u64;
        self.trace = XxHash3_128::oneshot_with_seed(chained, &bytes);
        bytes.len() as u64
    }

    fn node_config(&self, node: NodeId) -> Config {
        Config {
            node,
            ..self.config.node.clone()
        }
    }

    fn now_of(&self, node: NodeId) -> Now {
        let sim_node = self.nodes.get(&node);
        let mut now = self.now_at(sim_node.map_or(0, |n| n.skew_ms));
        now.unix_ms = sim_node
            .and_then(|n| n.frozen_unix_ms)
            .unwrap_or(now.unix_ms);
        now
    }

    const fn now_at(&self, skew_ms: i64) -> Now {
        Now {
            elapsed_ms: self.now_ms,
            unix_ms: (START_UNIX_MS + self.now_ms).saturating_add_signed(skew_ms),
        }
    }
}

impl Simulation {
    /// Makes a request at level `Quorum`. It is recorded in the history.
    pub fn request(&mut self, node: NodeId, command: Command) -> Ticket {
        self.request_at(node, command, Level::Quorum)
    }

    /// The same at a level that promises no less.
    pub(super) fn request_at(&mut self, node: NodeId, command: Command, level: Level) -> Ticket {
        self.next_request += 1;
        let request = RequestId(self.next_request);
        let (key, action) = (command.key().clone(), action_of(&command));
        let (invoked, completed) = (self.history.tick(), None);
        let operation = Operation {
            node,
            key,
            action,
            invoked,
            completed,
        };
        self.pending.insert(request, operation);
        let id = request;
        let request = Request::new(command, level);
        self.asked
            .insert(id, self.lags.ask(node, &request, self.now_ms));
        self.start(node, id, request);
        Ticket(id)
    }

    /// Writes at level `One`, which promises no more than that the write may be seen: in the history it
    /// may take effect at any moment.
    pub fn write_one(&mut self, node: NodeId, command: Command) {
        let (key, action) = (command.key().clone(), action_of(&command));
        let (invoked, completed) = (self.history.tick(), None);
        self.history.push(Operation {
            node,
            key,
            action,
            invoked,
            completed,
        });
        let ticket = self.ask(node, Request::new(command, Level::One));
        let _answered = self.take_reply(ticket);
    }
}

/// What the history says of a command.
fn action_of(command: &Command) -> Action {
    match command {
        Command::Get { .. } => Action::Read(None),
        Command::Write { write, .. } => Action::Write(write.value.clone()),
    }
}

fn counters_of<P: Simulated>(node: &Node<P>) -> impl Iterator<Item = Counters> + '_ {
    let forwards = Counters {
        messages_sent_again: node.forwards_sent_again(),
        ..Counters::default()
    };
    let partitions = node.partitions();
    let partitions = partitions.map(|(_, partition)| partition.counters());
    partitions.chain([forwards])
}
