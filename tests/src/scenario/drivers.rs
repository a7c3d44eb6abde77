//! The drivers that scenarios are played on.

use replica::sim::{SimConfig, Simulation};
use replica::{
    Cluster, Command, Config, Counters, Level, NodeHandle, NodeId, Outcome, Partition, Request,
    RequestError, State, StoredCell,
};
use std::collections::BTreeSet;
use std::sync::Barrier;
use std::time::Duration;

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

/// The in-process cluster, on real threads.
#[derive(Debug)]
pub struct Threaded {
    cluster: Cluster,
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
            .map(|(node, command)| self.simulation.request(node, command))
            .collect();
        let results = tickets.into_iter();
        results.map(|t| self.simulation.wait(t)).collect()
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
        let needed = config(self.node_count(), 1).sources_needed();
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
