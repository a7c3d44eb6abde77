//! State machines of some nodes with a queue between them: no threads, no clock, nothing else that costs.

use bytes::Bytes;
use replica::{
    Command, Config, Envelope, Level, NodeId, Now, Output, Partition, Request, RequestId, State,
};
use std::collections::VecDeque;

use super::{keys, value};

/// Steps in which virtual time passes, in milliseconds.
const STEP_MS: u64 = 50;

pub struct Message {
    pub from: NodeId,
    pub to: NodeId,
    pub envelope: Envelope,
}

pub struct Nodes {
    config: Config,
    nodes: Vec<Partition>,
    pub queue: VecDeque<Message>,
    now: Now,
    requests: u64,
    /// Requests that have succeeded.
    pub succeeded: u64,
}

/// The configuration of so many nodes that each hold every key.
pub const fn config(nodes: u32) -> Config {
    Config::new(NodeId(1), nodes)
}

impl Nodes {
    /// Empty nodes, up.
    pub fn new(config: Config) -> Self {
        let now = Now::default();
        let start = |node: u32| {
            let config = Config {
                node: NodeId(node),
                ..config.clone()
            };
            Partition::bootstrap(config, u64::from(node), now).expect("a valid configuration")
        };
        Self {
            nodes: (1..=config.nodes).map(start).collect(),
            config,
            queue: VecDeque::new(),
            now,
            requests: 0,
            succeeded: 0,
        }
    }

    /// Three nodes with so many keys of 16 bytes, all known to all.
    pub fn three_with(n: usize, value_bytes: usize) -> Self {
        let mut nodes = Self::new(config(3));
        let value = value(value_bytes);
        for key in keys(0..n) {
            nodes.put(NodeId(1), &key, &value, Level::One);
            nodes.run();
        }
        nodes
    }

    pub fn node(&self, node: NodeId) -> &Partition {
        &self.nodes[node.0 as usize - 1]
    }

    /// Starts a write; [`run`](Self::run) delivers what it causes.
    pub fn put(&mut self, node: NodeId, key: &Bytes, value: &Bytes, level: Level) {
        self.requests += 1;
        let request = Request::new(Command::put(key.clone(), value.clone()), level);
        let (id, now) = (RequestId(self.requests), self.now);
        self.input(node, |partition| {
            partition.handle_request(id, request, now);
        });
    }

    /// Delivers messages until there are none.
    pub fn run(&mut self) {
        while let Some(message) = self.queue.pop_front() {
            self.deliver(message);
        }
    }

    /// Delivers the messages between two nodes, and lets `see` look at each; the others are lost.
    pub fn run_between(&mut self, one: NodeId, other: NodeId, mut see: impl FnMut(&Message)) {
        while let Some(message) = self.queue.pop_front() {
            let is_between = |from, to| (message.from, message.to) == (from, to);
            if is_between(one, other) || is_between(other, one) {
                see(&message);
                self.deliver(message);
            }
        }
    }

    pub fn deliver(&mut self, message: Message) {
        let Message { from, to, envelope } = message;
        let now = self.now;
        self.input(to, |partition| {
            partition.handle_message(from, envelope, now);
        });
    }

    /// Lets a node compare itself with another at once: it hears that the other is back.
    pub fn compare(&mut self, node: NodeId, with: NodeId) {
        let now = self.now;
        self.input(node, |partition| {
            partition.handle_reachable(with, false, now);
            partition.handle_reachable(with, true, now);
        });
    }

    /// Lets virtual time pass, delivers everything, and lets `see` look at each message.
    pub fn pass(&mut self, ms: u64, mut see: impl FnMut(&Message)) {
        let end_ms = self.now.elapsed_ms + ms;
        while self.now.elapsed_ms < end_ms {
            self.now.elapsed_ms += STEP_MS;
            self.now.unix_ms += STEP_MS;
            let now = self.now;
            for node in 1..=self.config.nodes {
                self.input(NodeId(node), |partition| {
                    if partition
                        .deadline()
                        .is_some_and(|due| due <= now.elapsed_ms)
                    {
                        partition.handle_timeout(now);
                    }
                });
            }
            while let Some(message) = self.queue.pop_front() {
                see(&message);
                self.deliver(message);
            }
        }
    }

    /// Replaces a node by one that has lost its data.
    pub fn lose(&mut self, node: NodeId) {
        let config = Config {
            node,
            ..self.config.clone()
        };
        self.requests += 1;
        let recovered = Partition::recover(config, self.requests, self.now);
        self.nodes[node.0 as usize - 1] = recovered.expect("a valid configuration");
        self.input(node, |_| ());
    }

    /// Runs until the node serves.
    pub fn run_until_up(&mut self, node: NodeId) {
        const MOST_STEPS: usize = 1_000;
        for _ in 0..MOST_STEPS {
            self.run();
            if self.node(node).state() == State::Up {
                return;
            }
            self.pass(STEP_MS, |_| ());
        }
        panic!("{node} has not recovered");
    }

    fn input(&mut self, node: NodeId, feed: impl FnOnce(&mut Partition)) {
        let partition = &mut self.nodes[node.0 as usize - 1];
        feed(partition);
        for output in partition.take_ready().outputs {
            match output {
                Output::Send { to, envelope } => self.queue.push_back(Message {
                    from: node,
                    to,
                    envelope,
                }),
                Output::Reply { result, .. } => self.succeeded += u64::from(result.is_ok()),
                _ => {}
            }
        }
    }
}

/// Size of a message on the wire.
pub fn wire_bytes(message: &Message) -> usize {
    encoded(&message.envelope)
}

pub fn encoded<T: serde::Serialize>(value: &T) -> usize {
    postcard::to_allocvec(value)
        .expect("a message serialises into memory")
        .len()
}
