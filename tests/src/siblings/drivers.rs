//! The kinds of nodes that keep siblings.

use bytes::Bytes;
use replica::sim::{SimConfig, Simulation};
use replica::{
    Cluster, Command, Config, Level, MultiValue, NodeId, Request, SiblingWrite, siblings,
};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::{Driver, Values};

/// How long real nodes may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long simulated nodes may, in virtual milliseconds.
const PATIENCE_MS: u64 = 60_000;

/// Longer than any scenario takes, in milliseconds: nothing is sent again, and nothing compared, by itself.
const NEVER_MS: u64 = 3_600_000;

/// Nodes with vector clocks, whose messages the driver carries.
#[derive(Debug)]
pub struct Clocks {
    nodes: Vec<siblings::Node>,
    cut: BTreeSet<(usize, usize)>,
    refused: Vec<String>,
}

impl Clocks {
    /// A new store.
    pub fn new(nodes: u32) -> Self {
        let count = nodes as usize;
        Self {
            nodes: (0..count)
                .map(|id| siblings::Node::new(id, count))
                .collect(),
            cut: BTreeSet::new(),
            refused: Vec::new(),
        }
    }

    /// Carries messages from a node to all others that they reach.
    fn carry(&mut self, from: usize, messages: &[Vec<u8>]) {
        let others = self.nodes.iter().enumerate().filter(|(to, _)| *to != from);
        for (to, node) in others {
            if self.cut.contains(&(from, to)) {
                continue;
            }
            for message in messages {
                node.deliver(message.clone()).expect("there is room");
            }
            let refused = node.process_messages().refused.into_iter();
            let refused = refused.map(|error| format!("node {}: {error}", to + 1));
            self.refused.extend(refused);
        }
    }

    fn contents(&self, node: &siblings::Node) -> BTreeSet<Vec<u8>> {
        let all = node.all_messages().expect("there is room");
        all.into_iter().collect()
    }
}

impl Driver for Clocks {
    fn name(&self) -> &'static str {
        "vector clocks"
    }

    fn put(&mut self, node: u32, key: &str, value: &str) {
        let at = node as usize - 1;
        let put = self.nodes[at].put(key.into(), value.into());
        put.expect("there is room");
        let messages = self.nodes[at].take_messages();
        self.carry(at, &messages);
    }

    fn get(&mut self, node: u32, key: &str) -> Values {
        let versions = self.nodes[node as usize - 1].versions(key);
        versions.iter().map(|(value, _)| text(value)).collect()
    }

    fn cut(&mut self, from: u32, to: u32) {
        self.cut.insert((from as usize - 1, to as usize - 1));
    }

    fn heal(&mut self) {
        self.cut.clear();
    }

    fn settle(&mut self) -> bool {
        for from in 0..self.nodes.len() {
            let messages = self.nodes[from].all_messages();
            let messages = messages.expect("there is room");
            self.carry(from, &messages);
        }
        let first = self.contents(&self.nodes[0]);
        let mut others = self.nodes[1..].iter();
        others.all(|node| self.contents(node) == first)
    }

    fn comes_to_hold(&mut self, node: u32, key: &str, values: &Values) -> bool {
        self.get(node, key) == *values
    }

    fn violations(&mut self) -> Vec<String> {
        let conflicts = self.nodes.iter().filter(|node| node.conflict_count() > 0);
        let conflicts = conflicts.map(|node| format!("two values under one clock: {node:?}"));
        self.refused.iter().cloned().chain(conflicts).collect()
    }
}

/// A store of the protocol in which only requests move anything.
fn config(nodes: u32) -> Config {
    let mut config = Config::new(NodeId(1), nodes);
    (config.resend_ms, config.sync_interval_ms) = (NEVER_MS, NEVER_MS);
    config
}

fn put(key: &str, value: &str) -> Request<SiblingWrite> {
    let [key, value] = [key, value].map(|text| Bytes::copy_from_slice(text.as_bytes()));
    Request::new(Command::write(key, SiblingWrite::Put(value)), Level::One)
}

fn text(value: &Bytes) -> String {
    String::from_utf8_lossy(value).into_owned()
}

/// The in-process cluster, on real threads.
#[derive(Debug)]
pub struct Threaded {
    cluster: Cluster<MultiValue>,
}

impl Threaded {
    /// A new cluster.
    ///
    /// # Panics
    /// If there cannot be a cluster of that many nodes.
    pub fn new(nodes: u32) -> Self {
        let builder = Cluster::builder(nodes).configure(|c| c.clone_from(&config(nodes)));
        Self {
            cluster: builder.build_for().expect("a valid configuration"),
        }
    }
}

impl Driver for Threaded {
    fn name(&self) -> &'static str {
        "threads"
    }

    fn put(&mut self, node: u32, key: &str, value: &str) {
        let written = self.cluster.node(NodeId(node)).execute(put(key, value));
        written.expect("level One answers at once");
    }

    fn get(&mut self, node: u32, key: &str) -> Values {
        let cell = self.cluster.node(NodeId(node)).cell_local(key.as_bytes());
        let cell = cell.expect("all nodes are up").unwrap_or_default();
        cell.values().map(text).collect()
    }

    fn cut(&mut self, from: u32, to: u32) {
        self.cluster.cut(NodeId(from), NodeId(to));
    }

    fn heal(&mut self) {
        self.cluster.heal();
    }

    /// Nodes that can reach each other again compare what they know.
    fn settle(&mut self) -> bool {
        let all: Vec<NodeId> = self.cluster.nodes().map(|node| node.id()).collect();
        self.cluster.partition(&all, &all);
        self.cluster.heal();
        self.cluster.wait_until_settled(PATIENCE).is_ok()
    }

    fn comes_to_hold(&mut self, node: u32, key: &str, values: &Values) -> bool {
        let start = Instant::now();
        while self.get(node, key) != *values {
            if start.elapsed() > PATIENCE {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }

    fn violations(&mut self) -> Vec<String> {
        let nodes: Vec<NodeId> = self.cluster.nodes().map(|node| node.id()).collect();
        let first = self.cluster.checksum(nodes[0]);
        let others = nodes
            .into_iter()
            .filter(|n| self.cluster.checksum(*n) != first);
        let others = others.map(|node| format!("{node} shows something else in the end"));
        others.collect()
    }
}

/// The simulator, in virtual time.
#[derive(Debug)]
pub struct Simulated {
    simulation: Simulation<MultiValue>,
}

impl Simulated {
    /// A new cluster; everything random follows from the seed.
    ///
    /// # Panics
    /// If there cannot be a cluster of that many nodes.
    pub fn new(nodes: u32, seed: u64) -> Self {
        let simulation = Simulation::new(SimConfig::new(config(nodes), seed));
        Self { simulation }
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

    fn is_settled(&self) -> bool {
        let nodes = self.simulation.node_ids();
        let mut all = nodes.filter_map(|node| self.simulation.partition(node));
        let Some(first) = all.next() else {
            return false;
        };
        all.all(|other| other.replica().knowledge() == first.replica().knowledge())
    }

    fn held(&self, node: u32, key: &str) -> Values {
        let partition = self.simulation.partition(NodeId(node));
        let map = partition.expect("all nodes are up").replica().map();
        let cell = map.get(key.as_bytes()).into_iter();
        cell.flat_map(|cell| cell.values()).map(text).collect()
    }
}

impl Driver for Simulated {
    fn name(&self) -> &'static str {
        "the simulator"
    }

    fn put(&mut self, node: u32, key: &str, value: &str) {
        let ticket = self.simulation.ask(NodeId(node), put(key, value));
        let written = self.simulation.wait(ticket);
        written.expect("level One answers at once");
    }

    fn get(&mut self, node: u32, key: &str) -> Values {
        self.held(node, key)
    }

    fn cut(&mut self, from: u32, to: u32) {
        self.simulation.network.cut(NodeId(from), NodeId(to));
    }

    fn heal(&mut self) {
        self.simulation.network.heal();
    }

    fn settle(&mut self) -> bool {
        let nodes: Vec<NodeId> = self.simulation.node_ids().collect();
        for reachable in [false, true] {
            for a in &nodes {
                for b in nodes.iter().filter(|b| *b != a) {
                    self.simulation.hint(*a, *b, reachable);
                }
            }
        }
        self.run_until(Self::is_settled)
    }

    fn comes_to_hold(&mut self, node: u32, key: &str, values: &Values) -> bool {
        self.run_until(|this| this.held(node, key) == *values)
    }

    fn violations(&mut self) -> Vec<String> {
        self.simulation.check_all();
        self.simulation.violations().to_vec()
    }
}
