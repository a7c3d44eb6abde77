//! A node in memory, for tests: answers at once unless told to hold its answers back.

use bytes::Bytes;
use crdt::Timestamp;
use replica::{Floor, NodeId, Placement, RequestError};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::oneshot;

use crate::backend::{
    AdminError, Backend, BoxFuture, ClusterStatus, Lack, NodeInfo, NodeState, NodeStatus,
};
use crate::limits::Limits;
use crate::storage::SnapshotReport;
use crate::store::{
    ConflictPolicy, Contents, Effect, Operation, PendingAnswer, Record, ScannedKey, Share, Space,
    StoreAnswer, StoreRequest,
};
use crate::verification::ClusterVerification;

type Answer = Result<StoreAnswer, RequestError>;

/// The node. It is one of three; the other two hold nothing.
#[derive(Debug, Default)]
pub(crate) struct Fake {
    limits: Limits,
    state: Mutex<State>,
}

/// What the fake node holds, open to the tests.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Its strings.
    pub(crate) values: BTreeMap<Bytes, Bytes>,
    /// Its counters and sets.
    pub(crate) records: BTreeMap<Bytes, Record>,
    /// Concurrent values beside those in `values`.
    pub(crate) siblings: BTreeMap<Bytes, Vec<Bytes>>,
    /// The highest timestamp of each key, where callers bring them.
    pub(crate) times: BTreeMap<Bytes, Timestamp>,
    /// What it does with concurrent writes of strings.
    pub(crate) conflict: ConflictPolicy,
    /// What every answer says that it has seen.
    pub(crate) seen: Floor,
    /// Whether it owns no key and asks another node for everything.
    pub(crate) forwards: bool,
    /// Every request submitted.
    pub(crate) submitted: Vec<StoreRequest>,
    /// Answers to requests whose key starts with a byte, instead of doing them.
    pub(crate) failures: BTreeMap<u8, RequestError>,
    /// Whether answers are held back.
    pub(crate) holding: bool,
    /// The answers held back.
    pub(crate) held: VecDeque<(oneshot::Sender<Answer>, Answer, Share)>,
    /// The nodes that have failed.
    pub(crate) failed: Vec<NodeId>,
    /// Whether node 3 counts as recovering.
    pub(crate) recovering: bool,
}

impl Fake {
    /// A node with these limits.
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: Mutex::default(),
        }
    }

    /// What it holds.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("no test panics while it holds the lock")
    }

    /// Lets one held answer go.
    pub(crate) fn release(&self) -> bool {
        let held = self.state().held.pop_front();
        held.is_some_and(|(sender, answer, _)| sender.send(answer).is_ok())
    }

    fn node_status(&self, id: u32) -> NodeStatus {
        let state = self.state();
        let node = NodeId(id);
        let failed = state.failed.contains(&node);
        let recovering = id == 3 && state.recovering;
        NodeStatus {
            node,
            address: format!("127.0.0.1:{}", 7000 + id),
            state: match (failed, recovering) {
                (true, _) => NodeState::Failed,
                (_, true) => NodeState::Recovering,
                _ => NodeState::Up,
            },
            incarnation: format!("{id}.0"),
            keys: if failed { 0 } else { state.values.len() },
            tombstones: 0,
            context: "<1:500, 2:20>".into(),
            exceptions: 0,
            log_entries: 7,
            disagreeing: Vec::new(),
            lacks: if recovering {
                vec![Lack {
                    from: NodeId(1),
                    events: 5,
                }]
            } else {
                vec![]
            },
            checksum: (!failed).then(|| "00ff".into()),
        }
    }
}

impl State {
    fn apply(&mut self, request: StoreRequest) -> Answer {
        let StoreRequest { key, operation, .. } = request;
        let failure = key.first().and_then(|byte| self.failures.get(byte));
        if let Some(failure) = failure {
            return Err(failure.clone());
        }
        let seen = self.seen.clone();
        let (mut effect, mut took_effect) = (None, true);
        let mut timestamp = None;
        match operation {
            Operation::Get => {
                let mut values: Vec<_> = self.values.get(&key).cloned().into_iter().collect();
                values.extend(self.siblings.get(&key).into_iter().flatten().cloned());
                let timestamp = self.times.get(&key).copied();
                return Ok(StoreAnswer::Values {
                    values,
                    timestamp,
                    seen,
                    stable: Arc::default(),
                });
            }
            Operation::Look => {
                let record = self.records.get(&key).cloned().unwrap_or_default();
                return Ok(StoreAnswer::Record {
                    record,
                    seen,
                    stable: Arc::default(),
                });
            }
            Operation::Put {
                value,
                timestamp: time,
            } => {
                (took_effect, timestamp) = self.wins(&key, time);
                if took_effect {
                    self.siblings.remove(&key);
                    self.values.insert(key, value);
                }
            }
            Operation::Delete { timestamp: time } => {
                (took_effect, timestamp) = self.wins(&key, time);
                if took_effect {
                    self.siblings.remove(&key);
                    self.values.remove(&key);
                }
            }
            change => effect = Some(self.change(key, change)).filter(|_| !self.forwards),
        }
        Ok(StoreAnswer::Written {
            took_effect,
            timestamp,
            acknowledged: 2,
            seen,
            stable: Arc::default(),
            effect,
        })
    }

    /// Whether a write under the caller's timestamp wins, and the timestamp that has won.
    fn wins(&mut self, key: &Bytes, time: Option<Timestamp>) -> (bool, Option<Timestamp>) {
        let Some(time) = time else {
            return (true, None);
        };
        let latest = self.times.entry(key.clone()).or_default();
        let wins = time > *latest;
        *latest = time.max(*latest);
        (wins, Some(*latest))
    }

    fn change(&mut self, key: Bytes, change: Operation) -> Effect {
        let mut record = self.records.remove(&key).unwrap_or_default();
        let mut effect = Effect::default();
        let mut set = record.members.take().unwrap_or_default();
        match change {
            Operation::Increment { by } => record.counter = Some(record.counter.unwrap_or(0) + by),
            Operation::Add { members } => {
                effect.added = members
                    .into_iter()
                    .filter(|m| set.insert(m.clone()))
                    .count();
            }
            Operation::Remove { members } => {
                effect.removed = members.iter().filter(|m| set.remove(*m)).count();
            }
            _ => (record.counter, set) = Default::default(),
        }
        effect.counter = record.counter;
        record.members = (!set.is_empty()).then_some(set);
        if record != Record::default() {
            self.records.insert(key, record);
        }
        effect
    }

    fn contents(&self, key: &Bytes) -> Contents {
        let record = self.records.get(key);
        Contents {
            string: self.values.contains_key(key),
            counter: record.is_some_and(|record| record.counter.is_some()),
            set: record.is_some_and(|record| record.members.is_some()),
        }
    }
}

impl Backend for Fake {
    fn submit(&self, mut request: StoreRequest) -> PendingAnswer {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.state();
        let share = std::mem::take(&mut request.share);
        state.submitted.push(request.clone());
        let answer = state.apply(request);
        if state.holding {
            state.held.push_back((sender, answer, share));
        } else {
            let _ = sender.send(answer);
        }
        receiver
    }

    fn placement(&self, _: Space) -> Placement {
        Placement::new(3, 3, 1)
    }

    fn owns_everything(&self) -> bool {
        !self.state().forwards
    }

    fn conflict(&self) -> ConflictPolicy {
        self.state().conflict
    }

    fn peek(&self, space: Space, key: &Bytes) -> bool {
        let state = self.state();
        match space {
            Space::Strings => state.values.contains_key(key),
            Space::Types => state.records.contains_key(key),
        }
    }

    fn contents(&self, key: &Bytes) -> Contents {
        self.state().contents(key)
    }

    fn explain(&self, key: Bytes) -> BoxFuture<Result<String, RequestError>> {
        let contents = self.state().contents(&key);
        Box::pin(std::future::ready(Ok(format!("{contents:?}"))))
    }

    fn scan(
        &self,
        after: Option<Bytes>,
        limit: usize,
    ) -> BoxFuture<Result<Vec<ScannedKey>, RequestError>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let range = (from, Bound::Unbounded);
        let state = self.state();
        let strings = state.values.range::<Bytes, _>(range.clone());
        let types = state.records.range::<Bytes, _>(range);
        let keys: BTreeSet<&Bytes> = strings
            .map(|(k, _)| k)
            .chain(types.map(|(k, _)| k))
            .collect();
        let scanned = |key: &Bytes| ScannedKey {
            key: key.clone(),
            contents: state.contents(key),
        };
        let page = keys.into_iter().take(limit).map(scanned).collect();
        Box::pin(std::future::ready(Ok(page)))
    }

    fn key_count(&self) -> Result<usize, RequestError> {
        Ok(self.state().values.len())
    }

    fn info(&self) -> NodeInfo {
        NodeInfo {
            node: NodeId(1),
            port: 7001,
            state: NodeState::Up,
            keys: self.state().values.len(),
            nodes: 3,
            write_quorum: 2,
            read_quorum: 2,
            uptime: Duration::from_secs(5),
        }
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn status(&self) -> BoxFuture<Result<ClusterStatus, AdminError>> {
        let status = ClusterStatus {
            version: "0.1.0".into(),
            data_dir: "./data".into(),
            write_quorum: 2,
            read_quorum: 2,
            nodes: (1..=3).map(|id| self.node_status(id)).collect(),
        };
        Box::pin(async { Ok(status) })
    }

    fn verify(&self, _: bool) -> BoxFuture<Result<ClusterVerification, AdminError>> {
        let verification = ClusterVerification::compare(Vec::new(), []);
        Box::pin(async { Ok(verification) })
    }

    fn snapshot(&self, _: PathBuf) -> BoxFuture<Result<SnapshotReport, AdminError>> {
        Box::pin(async { Err(AdminError::Other("it has no store".into())) })
    }

    fn fail(&self, node: NodeId) -> BoxFuture<Result<(), AdminError>> {
        let mut state = self.state();
        let result = if !(1..=3).contains(&node.0) {
            Err(AdminError::UnknownNode { node, nodes: 3 })
        } else if state.failed.contains(&node) {
            Err(AdminError::AlreadyFailed(node))
        } else {
            state.failed.push(node);
            Ok(())
        };
        Box::pin(async { result })
    }

    fn recover(&self, node: NodeId, accept_loss: bool) -> BoxFuture<Result<(), AdminError>> {
        let mut state = self.state();
        let result = if !state.failed.contains(&node) {
            Err(AdminError::NotFailed(node))
        } else if state.failed.len() > 1 && !accept_loss {
            Err(AdminError::TooFewReconciled {
                node,
                reconciled: 1,
                needed: 2,
            })
        } else {
            state.failed.retain(|failed| *failed != node);
            Ok(())
        };
        Box::pin(async { result })
    }
}
