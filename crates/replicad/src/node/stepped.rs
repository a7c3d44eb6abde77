//! A cluster in memory without threads, clocks and losses: a request is answered before `submit` returns. For fuzzing.

use bytes::Bytes;
use replica::{Config, Node, NodeId, Now, Placement, RequestError, RequestId};
use std::collections::{BTreeMap, VecDeque};
use std::future::ready;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

use super::spaces::{Effectuated, Spaces};
use super::wire::SpaceMessage;
use crate::backend::{AdminError, Backend, BoxFuture, ClusterStatus, NodeInfo, NodeState};
use crate::limits::Limits;
use crate::policies::{StringPolicy, Types};
use crate::storage::SnapshotReport;
use crate::store::{
    ConflictPolicy, Contents, PendingAnswer, ScannedKey, Space, StoreAnswer, StoreRequest,
};
use crate::verification::ClusterVerification;

/// The nodes of a cluster.
const NODES: u32 = 3;

/// Steps of the clock within which every request is answered; a request that is not would wait for ever.
const STEPS: u64 = 100;

/// How far the clock goes in a step, in milliseconds.
const STEP_MS: u64 = 100;

/// The first of three nodes, as its front end sees it.
pub(crate) struct Stepped<S: StringPolicy> {
    conflict: ConflictPolicy,
    limits: Limits,
    world: Mutex<World<S>>,
}

struct World<S: StringPolicy> {
    nodes: Vec<Spaces<S>>,
    messages: VecDeque<(NodeId, NodeId, SpaceMessage<S>)>,
    answers: BTreeMap<RequestId, Result<StoreAnswer, RequestError>>,
    next_request: u64,
    elapsed_ms: u64,
}

impl<S: StringPolicy> Stepped<S> {
    /// A new cluster. Each key is on `replication_factor` of its nodes.
    ///
    /// # Panics
    /// If there are fewer nodes than that.
    pub(crate) fn new(conflict: ConflictPolicy, replication_factor: u32, limits: Limits) -> Self {
        let nodes = (1..=NODES).map(|id| {
            let mut strings = Config {
                partitions: 2,
                ..Config::new(NodeId(id), NODES).with_owners(replication_factor)
            };
            strings.clock = match conflict {
                ConflictPolicy::Caller => replica::ClockKind::Caller,
                ConflictPolicy::Hybrid => replica::ClockKind::Hybrid {
                    drift_bound_ms: 60_000,
                },
                ConflictPolicy::Lamport | ConflictPolicy::Siblings => replica::ClockKind::Lamport,
            };
            let types = Config {
                clock: replica::ClockKind::Lamport,
                ..strings.clone()
            };
            let (now, random) = (at(0), u64::from(id));
            let strings = Node::<S>::bootstrap(strings, random, now);
            let types = Node::<Types>::bootstrap(types, random, now);
            let valid = "a valid configuration";
            Spaces::new(strings.expect(valid), types.expect(valid))
        });
        let world = World {
            nodes: nodes.collect(),
            messages: VecDeque::new(),
            answers: BTreeMap::new(),
            next_request: 0,
            elapsed_ms: 0,
        };
        Self {
            conflict,
            limits,
            world: Mutex::new(world),
        }
    }

    fn world(&self) -> MutexGuard<'_, World<S>> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks the invariants of all replicas.
    ///
    /// # Panics
    /// If one is broken.
    pub(crate) fn check_invariants(&self) {
        for node in &self.world().nodes {
            let strings = node.strings.partitions();
            let checked = strings.map(|(_, partition)| partition.replica().check_invariants());
            checked.for_each(|checked| assert_eq!(checked, Ok(())));
            let types = node.types.partitions();
            let checked = types.map(|(_, partition)| partition.replica().check_invariants());
            checked.for_each(|checked| assert_eq!(checked, Ok(())));
        }
    }
}

const fn at(elapsed_ms: u64) -> Now {
    Now {
        elapsed_ms,
        unix_ms: 1_700_000_000_000 + elapsed_ms,
    }
}

impl<S: StringPolicy> World<S> {
    /// Carries a request out at the first node.
    fn carry_out(&mut self, request: StoreRequest) -> Result<StoreAnswer, RequestError> {
        self.next_request += 1;
        self.elapsed_ms += 1;
        let id = RequestId(self.next_request);
        self.nodes[0].handle_request(id, request, at(self.elapsed_ms));
        for _ in 0..STEPS {
            self.deliver();
            if let Some(answer) = self.answers.remove(&id) {
                return answer;
            }
            self.elapsed_ms += STEP_MS;
            let now = at(self.elapsed_ms);
            self.nodes
                .iter_mut()
                .for_each(|node| node.handle_timeout(now));
        }
        panic!("a request is not answered by its deadline");
    }

    /// Delivers messages until there are none.
    fn deliver(&mut self) {
        loop {
            for (node, spaces) in (1..).map(NodeId).zip(&mut self.nodes) {
                let turn = spaces.take_turn();
                for effect in spaces.effectuate(turn) {
                    match effect {
                        Effectuated::Send { to, message } => {
                            self.messages.push_back((node, to, message));
                        }
                        Effectuated::Reply { request, result } => {
                            let twice = self.answers.insert(request, result);
                            assert!(twice.is_none(), "{request} is answered twice");
                        }
                    }
                }
            }
            if self.messages.is_empty() {
                return;
            }
            for (from, to, message) in std::mem::take(&mut self.messages) {
                let now = at(self.elapsed_ms);
                self.nodes[to.0 as usize - 1].handle_message(from, message, now);
            }
        }
    }
}

/// The refusal of what needs processes, threads or disks.
fn not_here<T: Send + 'static>() -> BoxFuture<Result<T, AdminError>> {
    let refusal = "the nodes of this cluster are in memory alone";
    Box::pin(ready(Err(AdminError::Other(refusal.into()))))
}

impl<S: StringPolicy> Backend for Stepped<S> {
    fn submit(&self, request: StoreRequest) -> PendingAnswer {
        let (sender, receiver) = oneshot::channel();
        let _gone = sender.send(self.world().carry_out(request));
        receiver
    }

    fn read_here(&self, request: &StoreRequest) -> Option<StoreAnswer> {
        self.world().nodes[0].read_one(request)
    }

    fn placement(&self, space: Space) -> Placement {
        let world = self.world();
        match space {
            Space::Strings => world.nodes[0].strings.placement(),
            Space::Types => world.nodes[0].types.placement(),
        }
    }

    fn owns_everything(&self) -> bool {
        let world = self.world();
        let config = world.nodes[0].strings.config();
        config.replication_factor == config.nodes
    }

    fn conflict(&self) -> ConflictPolicy {
        self.conflict
    }

    fn peek(&self, space: Space, key: &Bytes) -> bool {
        !self.world().nodes[0].contents_in(space, key).is_empty()
    }

    fn contents(&self, key: &Bytes) -> Contents {
        self.world().nodes[0].contents(key)
    }

    fn explain(&self, key: Bytes) -> BoxFuture<Result<String, RequestError>> {
        let explained = self.world().nodes[0].explain(&key);
        Box::pin(ready(Ok(explained)))
    }

    fn scan(
        &self,
        after: Option<Bytes>,
        limit: usize,
    ) -> BoxFuture<Result<Vec<ScannedKey>, RequestError>> {
        let page = self.world().nodes[0].scan(after.as_ref(), limit);
        Box::pin(ready(page))
    }

    fn key_count(&self) -> Result<usize, RequestError> {
        Ok(self.world().nodes[0].key_count())
    }

    fn info(&self) -> NodeInfo {
        let world = self.world();
        let config = world.nodes[0].strings.config();
        NodeInfo {
            node: config.node,
            port: 7001,
            state: NodeState::Up,
            keys: world.nodes[0].key_count(),
            nodes: config.nodes as usize,
            write_quorum: config.write_quorum as usize,
            read_quorum: config.read_quorum as usize,
            uptime: Duration::from_millis(world.elapsed_ms),
        }
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn status(&self) -> BoxFuture<Result<ClusterStatus, AdminError>> {
        not_here()
    }

    fn verify(&self, _: bool) -> BoxFuture<Result<ClusterVerification, AdminError>> {
        let verification = ClusterVerification::compare(Vec::new(), []);
        Box::pin(ready(Ok(verification)))
    }

    fn snapshot(&self, _: PathBuf) -> BoxFuture<Result<SnapshotReport, AdminError>> {
        not_here()
    }

    fn fail(&self, _: NodeId) -> BoxFuture<Result<(), AdminError>> {
        not_here()
    }

    fn recover(&self, _: NodeId, _: bool) -> BoxFuture<Result<(), AdminError>> {
        not_here()
    }
}
