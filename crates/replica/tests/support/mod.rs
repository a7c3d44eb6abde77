//! Partitions driven message by message: a bag of messages in flight, nothing random, and the checks
//! of I1, I3 and I4 after every step.

use bytes::Bytes;
use crdt::{Dot, Timestamp};
use replica::{
    Command, Config, Envelope, Floor, Level, Lww, MemoryStorage, Message, NodeId, Now, Outcome,
    Output, Partition, Policy, Request, RequestError, RequestId, State, Storage as _, StoredCell,
};
use std::collections::BTreeMap;

/// Deliveries after which a run that has not come to rest counts as a flood.
const FLOOD: usize = 5_000;

/// A message in flight.
#[derive(Debug, Clone)]
pub(crate) struct Flight<C = StoredCell> {
    pub(crate) from: u32,
    pub(crate) to: u32,
    pub(crate) envelope: Envelope<C>,
}

impl<C> Flight<C> {
    /// The kind of message, as a word.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.envelope.message {
            Message::Write { .. } => "write",
            Message::Repair { .. } => "repair",
            Message::Acknowledged { .. } => "acknowledged",
            Message::Superseded { .. } => "superseded",
            Message::Read { .. } => "read",
            Message::ReadAnswer { .. } => "read answer",
            Message::WriteBack { .. } => "write back",
            Message::WrittenBack { .. } => "written back",
            Message::Audit { .. } => "audit",
            Message::Hello => "hello",
            Message::HelloAnswer { .. } => "hello answer",
            Message::SyncRequest { .. } => "sync request",
            Message::SyncAnswer(_) => "sync answer",
            Message::TransferRequest { .. } => "transfer request",
            Message::TransferAnswer { .. } => "transfer answer",
            _ => "other",
        }
    }

    /// Whether both ends are among these nodes.
    pub(crate) fn among(&self, nodes: &[u32]) -> bool {
        nodes.contains(&self.from) && nodes.contains(&self.to)
    }

    /// Whether it goes from one node to another.
    pub(crate) fn goes(&self, from: u32, to: u32) -> bool {
        (self.from, self.to) == (from, to)
    }
}

/// A node that the network does not reach, with its disk.
pub(crate) type Twin<P = Lww> = (Partition<P>, MemoryStorage);

/// The nodes, their disks, and the messages in flight in the order in which they were sent.
#[derive(Debug)]
pub(crate) struct Bench<P: Policy = Lww> {
    config: Config,
    nodes: BTreeMap<u32, Partition<P>>,
    disks: BTreeMap<u32, MemoryStorage>,
    pub(crate) bag: Vec<Flight<P::Cell>>,
    replies: BTreeMap<u64, Result<Outcome<P::Cell>, RequestError>>,
    now_ms: u64,
    starts: u64,
    requests: u64,
    /// Whether a disk has changed what it holds, so that I3 need not hold.
    pub(crate) are_damaged: bool,
}

impl Bench {
    /// A new cluster of a store by time.
    pub(crate) fn new(nodes: u32, change: impl FnOnce(&mut Config)) -> Self {
        Self::with_policy(nodes, change)
    }
}

impl<P: Policy> Bench<P> {
    /// A new cluster. Nothing is sent again by itself: only what a schedule delivers happens.
    pub(crate) fn with_policy(nodes: u32, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(NodeId(1), nodes);
        (config.resend_ms, config.request_timeout_ms) = (1 << 40, 1 << 40);
        config.restart_patience_ms = 0;
        change(&mut config);
        let mut bench = Self {
            config,
            nodes: BTreeMap::new(),
            disks: BTreeMap::new(),
            bag: Vec::new(),
            replies: BTreeMap::new(),
            now_ms: 0,
            starts: 0,
            requests: 0,
            are_damaged: false,
        };
        for NodeId(node) in bench.config.placement().owners(bench.config.partition) {
            let (config, random, now) = bench.start(node);
            let partition =
                Partition::bootstrap(config, random, now).expect("a valid configuration");
            bench.nodes.insert(node, partition);
            bench.release(node);
        }
        bench
    }

    fn start(&mut self, node: u32) -> (Config, u64, Now) {
        self.starts += 1;
        let node = NodeId(node);
        let config = Config {
            node,
            ..self.config.clone()
        };
        (config, self.starts << 32, self.now())
    }

    fn now(&self) -> Now {
        Now {
            elapsed_ms: self.now_ms,
            unix_ms: 1_720_000_000_000 + self.now_ms,
        }
    }

    /// The nodes that own the partition, ascending.
    pub(crate) fn owners(&self) -> Vec<u32> {
        self.nodes.keys().copied().collect()
    }

    pub(crate) fn node(&self, node: u32) -> &Partition<P> {
        &self.nodes[&node]
    }

    /// Feeds an input, releases what it brings about, and checks.
    pub(crate) fn feed(&mut self, node: u32, input: impl FnOnce(&mut Partition<P>, Now)) {
        let now = self.now();
        input(self.nodes.get_mut(&node).expect("a node"), now);
        self.release(node);
    }

    fn release(&mut self, node: u32) {
        let ready = self.nodes.get_mut(&node).expect("a node").take_ready();
        if let Some(batch) = &ready.persist {
            let disk = self.disks.entry(node).or_default();
            disk.commit(batch).expect("memory takes everything");
        }
        for output in ready.outputs {
            match output {
                Output::Send { to, envelope } => {
                    self.bag.push(Flight {
                        from: node,
                        to: to.0,
                        envelope,
                    });
                }
                Output::Reply { request, result } => {
                    assert!(
                        self.replies.insert(request.0, result).is_none(),
                        "{request} answered twice"
                    );
                }
                _ => {}
            }
        }
        self.check(node);
    }

    fn check(&self, node: u32) {
        let this = self.node(node).replica();
        assert_eq!(this.check_invariants(), Ok(()), "at {node}");
        for (other, that) in self.nodes.iter().filter(|(other, _)| **other != node) {
            let that = that.replica();
            if that.knowledge() == this.knowledge() && !self.are_damaged {
                assert!(
                    this.map().visible().eq(that.map().visible()),
                    "I3: {node} and {other} know the same and show different entries"
                );
            }
        }
    }

    /// A request as a client makes it; the reply is found under the number that is returned.
    pub(crate) fn ask(&mut self, node: u32, request: Request<P::Write>) -> u64 {
        self.requests += 1;
        let id = self.requests;
        self.feed(node, |p, now| {
            p.handle_request(RequestId(id), request, now);
        });
        id
    }

    /// A read at this level.
    pub(crate) fn get_at(&mut self, node: u32, key: &'static str, level: Level) -> u64 {
        let key = Bytes::from_static(key.as_bytes());
        self.ask(node, Request::new(Command::get(key), level))
    }

    /// Carries a node's clock up to `time` by a message that does nothing else.
    pub(crate) fn nudge(&mut self, node: u32, time: u64) {
        let peer = if node == 1 { 2 } else { 1 };
        let sender = self.node(peer);
        let envelope = Envelope {
            from: sender.incarnation(),
            view: sender.view().clone().into(),
            clock: Timestamp(time),
            message: Message::WrittenBack { read: 0 },
        };
        self.feed(node, |p, now| p.handle_message(NodeId(peer), envelope, now));
    }

    pub(crate) fn reply(&self, request: u64) -> Option<&Result<Outcome<P::Cell>, RequestError>> {
        self.replies.get(&request)
    }

    /// What an operation has seen; panics if it has not succeeded.
    pub(crate) fn seen(&self, request: u64) -> Floor {
        match self.reply(request) {
            Some(Ok(outcome)) => outcome.seen().clone(),
            other => panic!("the reply is {other:?}"),
        }
    }

    /// Why a request failed; panics if it has not.
    pub(crate) fn failure(&self, request: u64) -> &RequestError {
        match self.reply(request) {
            Some(Err(error)) => error,
            other => panic!("the reply is {other:?}"),
        }
    }

    pub(crate) fn is_written(&self, request: u64) -> bool {
        matches!(self.reply(request), Some(Ok(Outcome::Written { .. })))
    }

    /// Delivers what is in flight now and matches, in order; says how many messages that were.
    pub(crate) fn deliver(&mut self, matches: impl Fn(&Flight<P::Cell>) -> bool) -> usize {
        let (now, later) = std::mem::take(&mut self.bag)
            .into_iter()
            .partition(|f| matches(f));
        self.bag = later;
        let now: Vec<Flight<P::Cell>> = now;
        let count = now.len();
        for flight in now {
            self.arrive(flight);
        }
        count
    }

    /// Delivers a message, or a copy of one.
    pub(crate) fn arrive(&mut self, flight: Flight<P::Cell>) {
        let from = NodeId(flight.from);
        self.feed(flight.to, |p, now| {
            p.handle_message(from, flight.envelope, now);
        });
    }

    /// An operator lets a node serve with what it has.
    pub(crate) fn accept_loss(&mut self, node: u32) {
        self.feed(node, |p, now| p.handle_accept_loss(now));
    }

    /// Takes messages out of the bag: lost, or to arrive later.
    pub(crate) fn take(
        &mut self,
        matches: impl Fn(&Flight<P::Cell>) -> bool,
    ) -> Vec<Flight<P::Cell>> {
        let (taken, rest) = std::mem::take(&mut self.bag)
            .into_iter()
            .partition(|f| matches(f));
        self.bag = rest;
        taken
    }

    /// Loses everything in flight.
    pub(crate) fn lose_all(&mut self) {
        self.bag.clear();
    }

    /// Delivers what matches until nothing that matches is in flight.
    pub(crate) fn run(&mut self, matches: impl Fn(&Flight<P::Cell>) -> bool) -> usize {
        let mut delivered = 0;
        while let Some(at) = self.bag.iter().position(&matches) {
            let flight = self.bag.remove(at);
            self.arrive(flight);
            delivered += 1;
            assert!(delivered < FLOOD, "the nodes never come to rest");
        }
        delivered
    }

    /// A sync interval passes at a node.
    pub(crate) fn tick(&mut self, node: u32) {
        self.pass(node, self.config.sync_interval_ms);
    }

    /// Time passes at a node.
    pub(crate) fn pass(&mut self, node: u32, ms: u64) {
        self.now_ms += ms;
        self.feed(node, |p, now| p.handle_timeout(now));
    }

    /// A node is told whether another can be reached.
    pub(crate) fn hint(&mut self, node: u32, other: u32, reachable: bool) {
        self.feed(node, |p, now| {
            p.handle_reachable(NodeId(other), reachable, now);
        });
    }

    /// Lets these nodes talk to each other for some intervals; other messages are lost.
    pub(crate) fn talk(&mut self, nodes: &[u32]) {
        for _ in 0..12 {
            for node in nodes {
                self.tick(*node);
            }
            self.run(|f| f.among(nodes));
        }
        self.lose_all();
    }

    /// Everybody talks; then all must know and show the same.
    pub(crate) fn settle(&mut self) {
        let nodes: Vec<u32> = self.nodes.keys().copied().collect();
        self.talk(&nodes);
        self.talk(&nodes);
        let first = self.node(nodes[0]);
        for other in self.nodes.values() {
            assert_eq!(other.state(), State::Up);
            assert_eq!(other.replica().knowledge(), first.replica().knowledge());
            assert!(
                other
                    .replica()
                    .map()
                    .visible()
                    .eq(first.replica().map().visible())
            );
        }
    }

    /// A node starts again without its data. What it had sent stays in flight.
    pub(crate) fn lose_data(&mut self, node: u32) {
        let (config, random, now) = self.start(node);
        let recovered = Partition::recover(config, random, now).expect("a valid configuration");
        self.disks.remove(&node);
        self.nodes.insert(node, recovered);
        self.release(node);
    }

    pub(crate) fn is_up(&self, node: u32) -> bool {
        self.node(node).state() == State::Up
    }

    /// Whether a node has anything on its disk.
    pub(crate) fn has_disk(&self, node: u32) -> bool {
        self.disks.contains_key(&node)
    }

    /// A copy of a node's disk.
    pub(crate) fn disk(&self, node: u32) -> MemoryStorage {
        self.disks[&node].clone()
    }

    /// A node starts again with this disk.
    pub(crate) fn restart_with(&mut self, node: u32, disk: MemoryStorage) {
        let (config, random, now) = self.start(node);
        let restored = Partition::restore(config, &disk, random, now).expect("a valid disk");
        self.disks.insert(node, disk);
        self.nodes
            .insert(node, restored.expect("a disk that is not empty"));
        self.release(node);
    }

    /// Starts a second node at a place whose first one lives on, with this disk. The network now reaches the
    /// second one; returns the first.
    pub(crate) fn start_twin(&mut self, node: u32, disk: MemoryStorage) -> Twin<P> {
        let first = (self.nodes.remove(&node).expect("a node"), self.disk(node));
        self.restart_with(node, disk);
        first
    }

    /// Of two nodes at one place the network now reaches this one; returns the other.
    pub(crate) fn swap(&mut self, node: u32, (twin, disk): Twin<P>) -> Twin<P> {
        let disk = self.disks.insert(node, disk).expect("it has one");
        (self.nodes.insert(node, twin).expect("a node"), disk)
    }

    /// A node starts under a new identity, with this disk as a head start.
    pub(crate) fn come_back_with(&mut self, node: u32, disk: MemoryStorage) {
        let (config, random, now) = self.start(node);
        let recovered = Partition::recover_with(config, &disk, random, now).expect("a valid disk");
        self.disks.insert(node, disk);
        self.nodes
            .insert(node, recovered.expect("a disk that is not empty"));
        self.release(node);
    }

    /// The node learns the promises of all others by complete answers, and nothing else happens; then
    /// it forgets what it may.
    pub(crate) fn collect_promises(&mut self, node: u32) {
        let others: Vec<u32> = self.nodes.keys().copied().filter(|n| *n != node).collect();
        self.collect_promises_of(node, &others);
    }

    /// The same, from some of the others.
    pub(crate) fn collect_promises_of(&mut self, node: u32, others: &[u32]) {
        for _ in 0..2 * self.nodes.len() {
            self.tick(node);
            self.deliver(|f| {
                f.from == node && others.contains(&f.to) && f.kind() == "sync request"
            });
            self.deliver(|f| f.to == node && f.kind() == "sync answer");
            self.take(|f| f.kind() == "sync request");
        }
        self.tick(node);
        self.take(|f| f.from == node && f.kind() == "sync request");
    }
}

impl Bench {
    /// A write at level `Quorum`.
    pub(crate) fn put(&mut self, node: u32, key: &'static str, value: &'static str) -> u64 {
        self.put_at(node, key, value, Level::Quorum)
    }

    /// A write at this level.
    pub(crate) fn put_at(
        &mut self,
        node: u32,
        key: &'static str,
        value: &'static str,
        level: Level,
    ) -> u64 {
        self.ask(node, Request::new(put(key, value), level))
    }

    /// A delete at level `Quorum`.
    pub(crate) fn delete(&mut self, node: u32, key: &'static str) -> u64 {
        let key = Bytes::from_static(key.as_bytes());
        self.ask(node, Request::new(Command::delete(key), Level::Quorum))
    }

    /// A read at level `Quorum`.
    pub(crate) fn get(&mut self, node: u32, key: &'static str) -> u64 {
        self.get_at(node, key, Level::Quorum)
    }

    /// A write, or with `None` a delete, at level `One`; its messages stay in flight.
    pub(crate) fn write_one(&mut self, node: u32, key: &'static str, value: Option<&'static str>) {
        let command = match value {
            Some(value) => put(key, value),
            None => Command::delete(Bytes::from_static(key.as_bytes())),
        };
        let id = self.ask(node, Request::new(command, Level::One));
        assert!(self.is_written(id), "level One answers at once");
    }

    /// What a read returned; panics if it has not.
    pub(crate) fn read(&self, request: u64) -> Option<&str> {
        match self.reply(request) {
            Some(Ok(outcome @ Outcome::Read { .. })) => outcome
                .value()
                .map(|v| std::str::from_utf8(v).expect("text")),
            other => panic!("the read returned {other:?}"),
        }
    }

    /// What a node shows for a key, whether it serves or not.
    pub(crate) fn shows(&self, node: u32, key: &str) -> Option<&str> {
        let cell = self.node(node).replica().map().get(key.as_bytes())?;
        cell.value().map(|v| std::str::from_utf8(v).expect("text"))
    }

    /// The event that is live for a key, tombstones included.
    pub(crate) fn live(&self, node: u32, key: &str) -> Option<Dot> {
        let cell = self.node(node).replica().map().get(key.as_bytes())?;
        cell.live().map(|entry| entry.dot)
    }

    /// What everybody shows for a key after all have talked.
    pub(crate) fn settled(&mut self, key: &str) -> Option<&str> {
        self.settle();
        self.shows(1, key)
    }
}

/// A write of a store by time.
pub(crate) fn put(key: &'static str, value: &'static str) -> Command {
    Command::put(
        Bytes::from_static(key.as_bytes()),
        Bytes::from_static(value.as_bytes()),
    )
}
