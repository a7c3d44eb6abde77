//! Nodes on storage that breaks, and a bag of messages in flight.

use bytes::Bytes;
use replica::sim::{Action, History, Operation};
use replica::storage::{CommitFault, CrashFault, FaultyStorage};
use replica::{
    Command, Config, Envelope, Level, MemoryStorage, NodeId, Now, Outcome, Output, Partition,
    Request, RequestId, State, Storage, StorageError, Table, WriteBatch,
};
use std::collections::BTreeMap;

/// Number of nodes.
pub(crate) const NODES: u32 = 3;

/// Rounds of a sync interval each, after which a cluster without faults has come to rest.
const ROUNDS: usize = 40;

/// Deliveries of one round after which it counts as a flood.
const FLOOD: usize = 20_000;

/// What happened, to see that a run was not vacuous.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) acknowledged: u64,
    pub(crate) values_read: u64,
    pub(crate) restarts: u64,
    pub(crate) failed_commits: u64,
    pub(crate) lost_commits: u64,
    pub(crate) noticed: u64,
}

struct Flight {
    from: u32,
    to: u32,
    envelope: Envelope,
}

/// Three nodes, their disks, what is in flight, and what clients have seen.
pub(crate) struct World {
    config: Config,
    /// `None` while the node is down.
    nodes: BTreeMap<u32, Option<Partition>>,
    disks: BTreeMap<u32, FaultyStorage>,
    bag: Vec<Flight>,
    pub(crate) history: History,
    pending: BTreeMap<u64, Operation>,
    now_ms: u64,
    starts: u64,
    requests: u64,
    pub(crate) tally: Tally,
}

impl World {
    pub(crate) fn new() -> Self {
        let mut config = Config::new(NodeId(1), NODES);
        config.durable = true;
        // What these scripts show is what a node notices by itself.
        config.restart_patience_ms = 0;
        let mut world = Self {
            config,
            nodes: BTreeMap::new(),
            disks: BTreeMap::new(),
            bag: Vec::new(),
            history: History::default(),
            pending: BTreeMap::new(),
            now_ms: 0,
            starts: 0,
            requests: 0,
            tally: Tally::default(),
        };
        for node in 1..=NODES {
            let disk = FaultyStorage::new(MemoryStorage::default()).expect("an empty disk");
            world.disks.insert(node, disk);
            let (config, random, now) = world.start(node);
            let partition = Partition::bootstrap(config, random, now).expect("it is valid");
            world.nodes.insert(node, Some(partition));
            world.release(node);
            world.disk(node).flush().expect("memory takes everything");
        }
        world
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

    pub(crate) fn disk(&mut self, node: u32) -> &mut FaultyStorage {
        self.disks.get_mut(&node).expect("a disk for each node")
    }

    /// The node's state machine; `None` while it is down.
    pub(crate) fn node(&self, node: u32) -> Option<&Partition> {
        self.nodes[&node].as_ref()
    }

    pub(crate) fn is_up(&self, node: u32) -> bool {
        self.node(node).is_some_and(|p| p.state() == State::Up)
    }

    fn feed(&mut self, node: u32, input: impl FnOnce(&mut Partition, Now)) {
        let now = self.now();
        if let Some(Some(partition)) = self.nodes.get_mut(&node) {
            input(partition, now);
            self.release(node);
        }
    }

    /// Makes durable what is to be made durable, and releases the rest.
    fn release(&mut self, node: u32) {
        let Some(Some(partition)) = self.nodes.get_mut(&node) else {
            return;
        };
        let mut ready = partition.take_ready();
        let disk = self.disks.get_mut(&node).expect("a disk for each node");
        if let Some(batch) = &ready.persist
            && let Err(error) = disk.commit(batch)
        {
            self.tally.failed_commits += 1;
            partition.handle_storage_failure(&error, &ready.outputs);
            ready = partition.take_ready();
            assert!(ready.persist.is_none(), "a failed node stores nothing");
        }
        for output in ready.outputs {
            match output {
                Output::Send { to, envelope } => self.bag.push(Flight {
                    from: node,
                    to: to.0,
                    envelope,
                }),
                Output::Reply { request, result } => {
                    let operation = self.pending.remove(&request.0);
                    let operation = operation.unwrap_or_else(|| panic!("{request} answered twice"));
                    self.record(operation, result.ok());
                }
                _ => {}
            }
        }
    }

    fn record(&mut self, mut operation: Operation, outcome: Option<Outcome>) {
        match outcome {
            Some(read @ Outcome::Read { .. }) => {
                let value = read.value().cloned();
                self.tally.values_read += u64::from(value.is_some());
                operation.action = Action::Read(value);
                operation.completed = Some(self.history.tick());
            }
            Some(_) => {
                self.tally.acknowledged += 1;
                operation.completed = Some(self.history.tick());
            }
            // A read that failed says nothing; a write that failed may still take effect.
            None if matches!(operation.action, Action::Read(_)) => return,
            None => {}
        }
        self.history.push(operation);
    }

    /// A request at level `Quorum`: a write, or with `None` a delete.
    pub(crate) fn write(&mut self, node: u32, key: &'static str, value: Option<String>) {
        let key = Bytes::from_static(key.as_bytes());
        let value = value.map(Bytes::from);
        let command = match value.clone() {
            Some(value) => Command::put(key.clone(), value),
            None => Command::delete(key.clone()),
        };
        self.request(node, key, Action::Write(value), command);
    }

    /// A read at level `Quorum`.
    pub(crate) fn read(&mut self, node: u32, key: &'static str) {
        let key = Bytes::from_static(key.as_bytes());
        self.request(node, key.clone(), Action::Read(None), Command::Get { key });
    }

    fn request(&mut self, node: u32, key: Bytes, action: Action, command: Command) {
        if self.node(node).is_none() {
            return;
        }
        self.requests += 1;
        let (id, invoked) = (self.requests, self.history.tick());
        let operation = Operation {
            node: NodeId(node),
            key,
            action,
            invoked,
            completed: None,
        };
        self.pending.insert(id, operation);
        self.feed(node, |partition, now| {
            partition.handle_request(RequestId(id), Request::new(command, Level::Quorum), now);
        });
    }

    /// Delivers one of the messages in flight; with `keep`, a copy of it.
    pub(crate) fn deliver(&mut self, which: usize, keep: bool) {
        if self.bag.is_empty() {
            return;
        }
        let at = which % self.bag.len();
        let flight = self.bag.remove(at);
        if keep {
            self.bag.push(Flight {
                envelope: flight.envelope.clone(),
                ..flight
            });
        }
        self.arrive(flight);
    }

    fn arrive(&mut self, flight: Flight) {
        self.feed(flight.to, |partition, now| {
            partition.handle_message(NodeId(flight.from), flight.envelope, now);
        });
    }

    /// Delivers what goes between these nodes until nothing does.
    pub(crate) fn run(&mut self, among: &[u32]) {
        let goes = |f: &Flight| among.contains(&f.from) && among.contains(&f.to);
        for _ in 0..FLOOD {
            let Some(at) = self.bag.iter().position(goes) else {
                return;
            };
            let flight = self.bag.remove(at);
            self.arrive(flight);
        }
        panic!("the nodes never come to rest");
    }

    /// Loses one of the messages in flight.
    pub(crate) fn lose(&mut self, which: usize) {
        if !self.bag.is_empty() {
            self.bag.remove(which % self.bag.len());
        }
    }

    /// Loses everything in flight, and gives up on all requests.
    pub(crate) fn give_up(&mut self) {
        for _ in 0..2 {
            self.bag.clear();
            self.pass(2 * self.config.request_timeout_ms);
        }
        self.bag.clear();
        assert!(self.pending.is_empty(), "a request was never answered");
    }

    /// Time passes.
    pub(crate) fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
        for node in 1..=NODES {
            self.feed(node, Partition::handle_timeout);
        }
    }

    /// The node stops; its disk keeps, for now, what it has in its cache.
    pub(crate) fn stop(&mut self, node: u32) {
        self.nodes.insert(node, None);
        let (lost, kept) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|(_, operation)| operation.node == NodeId(node));
        self.pending = kept;
        let lost: BTreeMap<u64, Operation> = lost;
        for operation in lost.into_values() {
            self.record(operation, None);
        }
    }

    /// The node stops, its disk crashes, and the node starts with what is left.
    pub(crate) fn restart(&mut self, node: u32, fault: CrashFault) -> Result<(), StorageError> {
        self.come_back(node, fault, Partition::restore)
    }

    /// The same, and the node gives up its identity: what is left is its head start.
    pub(crate) fn restart_as_new(
        &mut self,
        node: u32,
        fault: CrashFault,
    ) -> Result<(), StorageError> {
        self.come_back(node, fault, Partition::recover_with)
    }

    /// The disk of a node holds what the disk of another did, from now on.
    pub(crate) fn copy_disk(&mut self, from: u32, to: u32) {
        let mut copy = MemoryStorage::default();
        for table in Table::ALL {
            let mut batch = WriteBatch::default();
            let read = self.disk(from).scan(table, &mut |key, value| {
                let change = (table, key.to_vec(), Some(value.to_vec()));
                batch.changes.push(change);
                Ok(())
            });
            read.and_then(|()| copy.commit(&batch))
                .expect("memory is read and takes everything");
        }
        let disk = FaultyStorage::new(copy).expect("it is read");
        self.disks.insert(to, disk);
    }

    /// An operator accepts loss at a node.
    pub(crate) fn accept_loss(&mut self, node: u32) {
        self.feed(node, Partition::handle_accept_loss);
    }

    fn come_back(
        &mut self,
        node: u32,
        fault: CrashFault,
        start: impl FnOnce(Config, &dyn Storage, u64, Now) -> Result<Option<Partition>, StorageError>,
    ) -> Result<(), StorageError> {
        self.stop(node);
        self.disk(node).crash(fault)?;
        let (config, random, now) = self.start(node);
        let disk = self.disks.get(&node).expect("a disk for each node");
        let restored = start(config.clone(), disk, random, now)?;
        let partition = match restored {
            Some(restored) => restored,
            None => Partition::recover(config, random, now).expect("it is valid"),
        };
        self.nodes.insert(node, Some(partition));
        self.tally.restarts += 1;
        self.release(node);
        Ok(())
    }

    /// Makes the node's next commit fail.
    pub(crate) fn fail_commit(&mut self, node: u32, fault: CommitFault) {
        self.disk(node).fail_next_commit(fault);
    }

    /// Commits that were to fail no longer will.
    pub(crate) fn heal_disks(&mut self) {
        self.disks.values_mut().for_each(FaultyStorage::heal);
    }

    /// Every node that is up talks to the others for some intervals.
    pub(crate) fn talk(&mut self, rounds: usize) {
        for _ in 0..rounds {
            self.pass(self.config.sync_interval_ms);
            self.run(&[1, 2, 3]);
        }
    }

    /// Everybody comes back, and all talk until they are at rest. Then all must be up and show the same, and
    /// what they show goes into the history.
    pub(crate) fn settle(&mut self, keys: &[&'static str]) {
        self.heal_disks();
        self.restart_failed();
        self.talk(ROUNDS);
        assert!(self.pending.is_empty(), "a request was never answered");
        for node in 1..=NODES {
            assert!(self.is_up(node), "node {node}: {:?}", self.node(node));
            for key in keys {
                let value = self.shown(node, key);
                let key = Bytes::from_static(key.as_bytes());
                self.history.push_final_read(NodeId(node), key, value);
            }
        }
        for key in keys {
            let shown = [1, 2, 3].map(|node| self.shown(node, key));
            assert!(shown.iter().all(|s| *s == shown[0]), "{key}: {shown:?}");
        }
    }

    fn restart_failed(&mut self) {
        for node in 1..=NODES {
            let state = self.node(node).map(Partition::state);
            if matches!(state, None | Some(State::StorageFailed)) {
                let restarted = self.restart(node, CrashFault::Clean);
                restarted.expect("a clean crash leaves a store that is read");
            }
        }
    }

    /// What a node shows for a key.
    pub(crate) fn shown(&self, node: u32, key: &str) -> Option<Bytes> {
        let map = self.node(node)?.replica().map();
        map.get(key.as_bytes())?.value().cloned()
    }
}
