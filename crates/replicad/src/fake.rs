//! A node in memory, for tests: answers at once unless told to hold its answers back.

use bytes::Bytes;
use crdt::{Dot, LwwCell, ReplicaId, Timestamp};
use replica::{Command, Floor, NodeId, Outcome, RequestError};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::oneshot;

use crate::backend::{
    AdminError, Backend, BoxFuture, ClusterStatus, Lack, NodeInfo, NodeState, NodeStatus,
    PendingOutcome,
};
use crate::limits::Limits;

type Answer = Result<Outcome, RequestError>;

/// The node. It is one of three; the other two hold nothing.
#[derive(Debug, Default)]
pub(crate) struct Fake {
    limits: Limits,
    state: Mutex<State>,
}

/// What the fake node holds, open to the tests.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Its keys.
    pub(crate) values: BTreeMap<Bytes, Bytes>,
    /// Every command submitted.
    pub(crate) submitted: Vec<Command>,
    /// Answers to commands whose key starts with a byte, instead of doing them.
    pub(crate) failures: BTreeMap<u8, RequestError>,
    /// Whether answers are held back.
    pub(crate) holding: bool,
    /// The answers held back.
    pub(crate) held: VecDeque<(oneshot::Sender<Answer>, Answer)>,
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
        held.is_some_and(|(sender, answer)| sender.send(answer).is_ok())
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
    fn apply(&mut self, command: Command) -> Answer {
        let failure = command
            .key()
            .first()
            .and_then(|byte| self.failures.get(byte));
        if let Some(failure) = failure {
            return Err(failure.clone());
        }
        match command {
            Command::Get { key } => {
                let entry = |value: &Bytes| {
                    let dot = Dot::new(ReplicaId(1), 1);
                    LwwCell::entry(dot, Timestamp::default(), Some(value.clone()))
                };
                return Ok(Outcome::Read {
                    cell: self.values.get(&key).map(entry).unwrap_or_default(),
                    seen: Floor::default(),
                    owners: 2,
                });
            }
            Command::Write { key, write, .. } => {
                match write.value {
                    Some(value) => self.values.insert(key, value),
                    None => self.values.remove(&key),
                };
            }
            _ => unreachable!("there are two commands"),
        }
        Ok(Outcome::Written {
            timestamp: Default::default(),
            event: None,
            seen: Floor::default(),
            took_effect: true,
            acknowledged: 2,
        })
    }
}

impl Backend for Fake {
    fn submit(&self, command: Command) -> PendingOutcome {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.state();
        state.submitted.push(command.clone());
        let answer = state.apply(command);
        if state.holding {
            state.held.push_back((sender, answer));
        } else {
            let _ = sender.send(answer);
        }
        receiver
    }

    fn scan(
        &self,
        after: Option<Bytes>,
        limit: usize,
    ) -> BoxFuture<Result<Vec<Bytes>, RequestError>> {
        let from = after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let state = self.state();
        let keys = state.values.range::<Bytes, _>((from, Bound::Unbounded));
        let page = keys.map(|(key, _)| key.clone()).take(limit).collect();
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
