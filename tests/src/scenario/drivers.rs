//! The drivers that scenarios are played on.

use crdt::Timestamp;
use replica::sim::{SimConfig, Simulation};
use replica::{
    ClockKind, Cluster, Command, Config, Counters, Guarantees, Level, NodeHandle, NodeId, Outcome,
    Partition, Placement, Request, RequestError, Session, State, StoredCell,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use super::{Driver, Held};

/// How long real nodes may take to come to rest.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long simulated nodes may, in virtual milliseconds.
const PATIENCE_MS: u64 = 600_000;

/// A configuration with short times, Lamport clocks, and this much time between two comparisons of
/// what nodes know.
pub fn config(nodes: u32, sync_interval_ms: u64) -> Config {
    let mut config = Config::new(NodeId(1), nodes);
    config.request_timeout_ms = 400;
    config.resend_ms = 20;
    config.sync_interval_ms = sync_interval_ms;
    config
}

/// The sessions of a scenario.
#[derive(Debug)]
struct Sessions {
    placement: Placement,
    begun: BTreeMap<&'static str, Session>,
}

impl Sessions {
    fn new(config: &Config) -> Self {
        Self {
            placement: config.placement(),
            begun: BTreeMap::new(),
        }
    }

    fn get(&mut self, name: &'static str) -> &mut Session {
        let begin = || Session::new(self.placement, Guarantees::default());
        self.begun.entry(name).or_insert_with(begin)
    }

    fn hand_over(&mut self, from: &'static str, to: &'static str) {
        let token = self.get(from).token().clone();
        self.get(to).token_mut().join(&token);
    }

    fn ask(
        &mut self,
        name: &'static str,
        command: Command,
        ask: impl FnOnce(Request) -> Result<Outcome, RequestError>,
    ) -> Result<Outcome, RequestError> {
        let session = self.get(name);
        let key = command.key().clone();
        let outcome = ask(session.request(command, Level::One))?;
        let noted = session.note(&key, &outcome);
        noted.expect("a scenario is short");
        Ok(outcome)
    }
}

/// The in-process cluster, on real threads.
#[derive(Debug)]
pub struct Threaded {
    cluster: Cluster,
    sessions: Sessions,
}

impl Threaded {
    /// A new cluster.
    ///
    /// # Panics
    /// If the configuration cannot work.
    pub fn new(config: &Config) -> Self {
        let builder = Cluster::builder(config.nodes).configure(|c| c.clone_from(config));
        Self {
            cluster: builder.build().expect("a valid configuration"),
            sessions: Sessions::new(config),
        }
    }
}

impl Driver for Threaded {
    fn name(&self) -> &'static str {
        "threads"
    }

    fn node_count(&self) -> u32 {
        self.cluster.node_count() as u32
    }

    fn ask(&mut self, requests: Vec<(NodeId, Command)>) -> Vec<Result<Outcome, RequestError>> {
        let barrier = Barrier::new(requests.len());
        let ask = |node: NodeHandle, command| {
            barrier.wait();
            node.execute(Request::new(command, Level::Quorum))
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = requests
                .into_iter()
                .map(|(node, command)| {
                    let node = self.cluster.node(node);
                    scope.spawn(move || ask(node, command))
                })
                .collect();
            let results = threads.into_iter().map(|thread| thread.join());
            results.map(|r| r.expect("no panic")).collect()
        })
    }

    fn ask_in(
        &mut self,
        session: &'static str,
        node: NodeId,
        command: Command,
    ) -> Result<Outcome, RequestError> {
        let node = self.cluster.node(node);
        self.sessions
            .ask(session, command, |request| node.execute(request))
    }

    fn hand_over(&mut self, from: &'static str, to: &'static str) {
        self.sessions.hand_over(from, to);
    }

    fn fail(&mut self, node: NodeId) {
        self.cluster.fail(node);
    }

    fn recover(&mut self, node: NodeId, accepts_loss: bool) -> bool {
        let recovered = match accepts_loss {
            true => self.cluster.recover_accepting_loss(node),
            false => self.cluster.recover(node),
        };
        recovered.is_ok() && self.cluster.wait_until_up(node, PATIENCE).is_ok()
    }

    fn partition(&mut self, one: &[NodeId], other: &[NodeId]) {
        self.cluster.partition(one, other);
    }

    fn cut(&mut self, from: NodeId, to: NodeId) {
        self.cluster.cut(from, to);
    }

    fn heal(&mut self) {
        self.cluster.heal();
    }

    fn settle(&mut self) -> bool {
        self.cluster.wait_until_settled(PATIENCE).is_ok()
    }

    fn raise_horizon(&mut self, horizon: u64) -> bool {
        self.cluster.raise_horizon(Timestamp(horizon));
        let statuses = |node: NodeHandle| self.cluster.status(node.id());
        let are_gone = || {
            let mut up = self.cluster.nodes().filter_map(statuses);
            up.all(|status| status.tombstones == 0)
        };
        let start = Instant::now();
        while !are_gone() {
            if start.elapsed() > PATIENCE {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }

    fn holds(&mut self, node: NodeId, key: &str) -> Option<Held> {
        let cell = self.cluster.node(node).cell_local(key.as_bytes()).ok()?;
        Some(held(cell.as_ref()))
    }

    fn checksum(&mut self, node: NodeId) -> Option<u128> {
        self.cluster.status(node)?;
        Some(self.cluster.checksum(node))
    }

    fn incarnation(&mut self, node: NodeId) -> Option<u64> {
        self.cluster.status(node)?.incarnation.map(|id| id.0)
    }

    fn counters(&mut self) -> Counters {
        let up = self.cluster.nodes();
        up.filter_map(|node| self.cluster.status(node.id()))
            .fold(Counters::default(), |sum, s| sum.plus(s.counters))
    }

    fn violations(&mut self) -> Vec<String> {
        Vec::new()
    }
}

/// The simulator, in virtual time.
#[derive(Debug)]
pub struct Simulated {
    simulation: Simulation,
    down: BTreeSet<NodeId>,
    /// Pairs of nodes that know they are parted.
    parted: BTreeSet<(NodeId, NodeId)>,
    sessions: Sessions,
    /// Whether the order of writes is that of time, which is what the history of the simulator is judged by.
    is_by_time: bool,
}

impl Simulated {
    /// A new cluster; everything random follows from the seed.
    ///
    /// # Panics
    /// If the configuration cannot work.
    pub fn new(config: &Config, seed: u64) -> Self {
        let node = config.clone();
        Self {
            simulation: Simulation::new(SimConfig::new(node, seed)),
            down: BTreeSet::new(),
            parted: BTreeSet::new(),
            sessions: Sessions::new(config),
            is_by_time: config.clock != ClockKind::Caller,
        }
    }

    /// Tells every node whom it can reach.
    fn announce(&mut self) {
        let nodes: Vec<NodeId> = self.simulation.node_ids().collect();
        for a in &nodes {
            for b in nodes.iter().filter(|b| *b != a) {
                let reachable = !self.down.contains(b) && !self.parted.contains(&(*a, *b));
                self.simulation.hint(*a, *b, reachable);
            }
        }
    }

    fn run_until(&mut self, is_so: impl Fn(&Self) -> bool) -> bool {
        let end_ms = self.simulation.now_ms() + PATIENCE_MS;
        while !is_so(self) {
            if self.simulation.now_ms() >= end_ms {
                return false;
            }
            self.simulation.run_for(5);
        }
        true
    }

    /// Whether all nodes that are up know the same.
    fn is_settled(&self) -> bool {
        let up = self.simulation.node_ids();
        let mut up = up.filter_map(|node| self.simulation.partition(node));
        let Some(first) = up.next() else { return false };
        let is_up = |p: &Partition| p.state() == State::Up;
        is_up(first)
            && up.all(|p| is_up(p) && p.replica().knowledge() == first.replica().knowledge())
    }
}

impl Driver for Simulated {
    fn name(&self) -> &'static str {
        "the simulator"
    }

    fn node_count(&self) -> u32 {
        self.simulation.node_ids().count() as u32
    }

    fn ask(&mut self, requests: Vec<(NodeId, Command)>) -> Vec<Result<Outcome, RequestError>> {
        let asked = requests.into_iter();
        let tickets: Vec<_> = asked
            .map(|(node, command)| match self.is_by_time {
                true => self.simulation.request(node, command),
                false => self
                    .simulation
                    .ask(node, Request::new(command, Level::Quorum)),
            })
            .collect();
        let results = tickets.into_iter();
        results.map(|t| self.simulation.wait(t)).collect()
    }

    fn ask_in(
        &mut self,
        session: &'static str,
        node: NodeId,
        command: Command,
    ) -> Result<Outcome, RequestError> {
        let simulation = &mut self.simulation;
        self.sessions.ask(session, command, |request| {
            let ticket = simulation.ask(node, request);
            simulation.wait(ticket)
        })
    }

    fn hand_over(&mut self, from: &'static str, to: &'static str) {
        self.sessions.hand_over(from, to);
    }

    fn fail(&mut self, node: NodeId) {
        self.simulation.fail(node);
        self.down.insert(node);
        self.announce();
    }

    fn recover(&mut self, node: NodeId, accepts_loss: bool) -> bool {
        let state = |n: NodeId| self.simulation.partition(n).map(Partition::state);
        let up = self.simulation.node_ids();
        let reconciled = up.filter(|n| state(*n) == Some(State::Up)).count();
        let needed = self.simulation.config().sources_needed();
        if reconciled < needed && !accepts_loss {
            return false;
        }
        self.simulation.recover(node);
        self.down.remove(&node);
        self.announce();
        if accepts_loss {
            self.simulation.accept_loss(node);
        }
        self.run_until(|this| {
            let partition = this.simulation.partition(node);
            partition.is_some_and(|p| p.state() == State::Up)
        })
    }

    fn partition(&mut self, one: &[NodeId], other: &[NodeId]) {
        self.simulation.network.partition(one, other);
        for a in one {
            for b in other {
                self.parted.extend([(*a, *b), (*b, *a)]);
            }
        }
        self.announce();
    }

    fn cut(&mut self, from: NodeId, to: NodeId) {
        self.simulation.network.cut(from, to);
    }

    fn heal(&mut self) {
        self.simulation.network.heal();
        self.parted.clear();
        self.announce();
    }

    fn settle(&mut self) -> bool {
        self.run_until(Self::is_settled)
    }

    fn raise_horizon(&mut self, horizon: u64) -> bool {
        let nodes: Vec<NodeId> = self.simulation.node_ids().collect();
        for node in nodes {
            self.simulation.raise_horizon(node, Timestamp(horizon));
        }
        self.run_until(|this| {
            let up = this.simulation.node_ids();
            let mut up = up.filter_map(|node| this.simulation.partition(node));
            up.all(|partition| partition.status().tombstones == 0)
        })
    }

    fn holds(&mut self, node: NodeId, key: &str) -> Option<Held> {
        let partition = self.simulation.partition(node)?;
        Some(held(partition.replica().map().get(key.as_bytes())))
    }

    fn checksum(&mut self, node: NodeId) -> Option<u128> {
        let partition = self.simulation.partition(node)?;
        Some(replica::checksum(partition.replica().map()))
    }

    fn incarnation(&mut self, node: NodeId) -> Option<u64> {
        let partition = self.simulation.partition(node)?;
        partition.incarnation().map(|id| id.0)
    }

    fn counters(&mut self) -> Counters {
        let all = self.simulation.counters().into_iter();
        all.fold(Counters::default(), Counters::plus)
    }

    fn violations(&mut self) -> Vec<String> {
        let found = self.simulation.history().check().err().unwrap_or_default();
        [self.simulation.violations().to_vec(), found].concat()
    }
}

fn held(cell: Option<&StoredCell>) -> Held {
    let value = cell.and_then(StoredCell::value);
    Held {
        value: value.map(|v| String::from_utf8_lossy(v).into_owned()),
        time: cell.and_then(StoredCell::timestamp).map(|t| t.0),
    }
}
