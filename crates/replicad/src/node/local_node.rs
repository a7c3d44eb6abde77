//! One node of a cluster in this process, as its front end sees it.

use bytes::Bytes;
use replica::{NodeId, Placement, RequestError, checksum};
use std::sync::Arc;
use tokio::sync::oneshot;

use super::cluster::Shared;
use crate::backend::{
    AdminError, Backend, BoxFuture, ClusterStatus, Lack, NodeInfo, NodeState, NodeStatus,
};
use crate::limits::Limits;
use crate::store::{ConflictPolicy, Contents, PendingAnswer, ScannedKey, Space, StoreRequest};

/// One node of a cluster, as its front end sees it.
pub(super) struct LocalNode {
    shared: Arc<Shared>,
    node: NodeId,
}

impl LocalNode {
    pub(super) const fn new(shared: Arc<Shared>, node: NodeId) -> Self {
        Self { shared, node }
    }
}

impl Shared {
    async fn node_status(&self, node: NodeId) -> Option<NodeStatus> {
        let address = format!("127.0.0.1:{}", self.port(node));
        let answer = self
            .inboxes
            .get(node)?
            .inspect(|partition| (partition.status(), partition.replica().map().clone()));
        let (status, map) = answer.await.ok()?;
        // Hashing every entry takes a while: not on a thread that serves clients.
        let sum = tokio::task::spawn_blocking(move || checksum(&map))
            .await
            .ok()?;
        let lacks = status.lacks.iter().filter(|(_, events)| *events > 0);
        Some(NodeStatus {
            node,
            address,
            state: self.state(node),
            incarnation: status
                .incarnation
                .map(|id| id.to_string())
                .unwrap_or_default(),
            keys: status.entries - status.tombstones,
            tombstones: status.tombstones,
            context: status.context.to_string(),
            exceptions: status.exceptions,
            log_entries: status.log_events,
            lacks: lacks
                .map(|(from, events)| Lack {
                    from: *from,
                    events: *events,
                })
                .collect(),
            checksum: Some(format!("{sum:032x}")),
        })
    }

    fn failed_status(&self, node: NodeId) -> NodeStatus {
        NodeStatus {
            node,
            address: format!("127.0.0.1:{}", self.port(node)),
            state: NodeState::Failed,
            incarnation: String::new(),
            keys: 0,
            tombstones: 0,
            context: String::new(),
            exceptions: 0,
            log_entries: 0,
            lacks: Vec::new(),
            checksum: None,
        }
    }
}

impl Backend for LocalNode {
    fn submit(&self, request: StoreRequest) -> PendingAnswer {
        match self.shared.inboxes.get(self.node) {
            Some(mailbox) => mailbox.submit(request),
            None => {
                let (reply, answer) = oneshot::channel();
                let _gone = reply.send(Err(RequestError::NodeFailed(self.node)));
                answer
            }
        }
    }

    fn placement(&self, _: Space) -> Placement {
        self.shared.config(self.node).placement()
    }

    fn owns_everything(&self) -> bool {
        true
    }

    fn conflict(&self) -> ConflictPolicy {
        ConflictPolicy::Hybrid
    }

    fn peek(&self, _: Space, _: &Bytes) -> bool {
        false
    }

    fn explain(&self, key: Bytes) -> BoxFuture<Result<String, RequestError>> {
        let node = self.node;
        let told =
            self.shared.inboxes.get(node).map(|mailbox| {
                mailbox.inspect(move |partition| partition.explain(&key).to_string())
            });
        Box::pin(async move {
            let stopped = RequestError::NodeFailed(node);
            match told {
                Some(told) => told.await.map_err(|_| stopped),
                None => Err(stopped),
            }
        })
    }

    fn scan(
        &self,
        after: Option<Bytes>,
        limit: usize,
    ) -> BoxFuture<Result<Vec<ScannedKey>, RequestError>> {
        let node = self.node;
        let page = self.shared.inboxes.get(node).map(|mailbox| {
            mailbox.inspect(move |partition| {
                let contents = Contents {
                    string: true,
                    ..Contents::default()
                };
                let keys = partition.scan_local(after.as_ref(), limit)?;
                Ok(keys
                    .into_iter()
                    .map(|key| ScannedKey { key, contents })
                    .collect())
            })
        });
        Box::pin(async move {
            let stopped = Err(RequestError::NodeFailed(node));
            match page {
                Some(page) => page.await.unwrap_or(stopped),
                None => stopped,
            }
        })
    }

    fn key_count(&self) -> Result<usize, RequestError> {
        match self.shared.inboxes.get(self.node) {
            Some(mailbox) if mailbox.state() == NodeState::Up => Ok(mailbox.keys()),
            Some(mailbox) if mailbox.state() == NodeState::Recovering => {
                let needed = self.shared.config(self.node).sources_needed();
                Err(RequestError::Recovering {
                    node: self.node,
                    reconciled: 0,
                    needed,
                })
            }
            _ => Err(RequestError::NodeFailed(self.node)),
        }
    }

    fn info(&self) -> NodeInfo {
        let config = self.shared.config(self.node);
        NodeInfo {
            node: self.node,
            port: self.shared.port(self.node),
            state: self.shared.state(self.node),
            keys: self
                .shared
                .inboxes
                .get(self.node)
                .map_or(0, |mailbox| mailbox.keys()),
            nodes: self.shared.nodes as usize,
            write_quorum: config.write_quorum as usize,
            read_quorum: config.read_quorum as usize,
            uptime: self.shared.started.elapsed(),
        }
    }

    fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    fn status(&self) -> BoxFuture<Result<ClusterStatus, AdminError>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let config = shared.config(NodeId(1));
            let mut nodes = Vec::new();
            for node in shared.ids() {
                let status = shared.node_status(node).await;
                nodes.push(status.unwrap_or_else(|| shared.failed_status(node)));
            }
            Ok(ClusterStatus {
                version: env!("CARGO_PKG_VERSION").into(),
                data_dir: shared.dir.path().display().to_string(),
                write_quorum: config.write_quorum as usize,
                read_quorum: config.read_quorum as usize,
                nodes,
            })
        })
    }

    fn fail(&self, node: NodeId) -> BoxFuture<Result<(), AdminError>> {
        let shared = Arc::clone(&self.shared);
        blocking(move || shared.fail(node))
    }

    fn recover(&self, node: NodeId, accept_loss: bool) -> BoxFuture<Result<(), AdminError>> {
        let shared = Arc::clone(&self.shared);
        blocking(move || shared.recover(node, accept_loss))
    }
}

/// Runs what waits for threads and files off the threads that serve clients.
fn blocking(
    work: impl FnOnce() -> Result<(), AdminError> + Send + 'static,
) -> BoxFuture<Result<(), AdminError>> {
    Box::pin(async move {
        let done = tokio::task::spawn_blocking(work).await;
        done.unwrap_or_else(|error| Err(AdminError::Other(error.to_string())))
    })
}
