//! One node of a cluster in this process, as its front end sees it.

use bytes::Bytes;
use replica::{NodeId, Placement, RequestError};
use std::future::ready;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::oneshot;

use super::cluster::Shared;
use super::snapshots::snapshot;
use super::status::{status, without_data};
use super::verifying::{compare, unsaid, verification};
use crate::backend::{AdminError, Backend, BoxFuture, ClusterStatus, NodeInfo, NodeState};
use crate::limits::Limits;
use crate::storage::SnapshotReport;
use crate::store::{ConflictPolicy, Contents, PendingAnswer, ScannedKey, Space, StoreRequest};
use crate::verification::{ClusterVerification, StoreVerdict};

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

    fn placement(&self, space: Space) -> Placement {
        let configs = self.shared.configs(self.node);
        match space {
            Space::Strings => configs.strings.placement(),
            Space::Types => configs.types.placement(),
        }
    }

    fn owns_everything(&self) -> bool {
        true
    }

    fn conflict(&self) -> ConflictPolicy {
        ConflictPolicy::Hybrid
    }

    fn peek(&self, space: Space, key: &Bytes) -> bool {
        let mailbox = self.shared.inboxes.get(self.node);
        mailbox.is_some_and(|mailbox| mailbox.peek(space, key))
    }

    fn contents(&self, key: &Bytes) -> Contents {
        let mailbox = self.shared.inboxes.get(self.node);
        mailbox.map_or_else(Contents::default, |mailbox| mailbox.contents(key))
    }

    fn explain(&self, key: Bytes) -> BoxFuture<Result<String, RequestError>> {
        match self.shared.inboxes.get(self.node) {
            Some(mailbox) => Box::pin(mailbox.explain(key)),
            None => Box::pin(ready(Err(RequestError::NodeFailed(self.node)))),
        }
    }

    fn scan(
        &self,
        after: Option<Bytes>,
        limit: usize,
    ) -> BoxFuture<Result<Vec<ScannedKey>, RequestError>> {
        match self.shared.inboxes.get(self.node) {
            Some(mailbox) => Box::pin(mailbox.scan(after, limit)),
            None => Box::pin(ready(Err(RequestError::NodeFailed(self.node)))),
        }
    }

    fn key_count(&self) -> Result<usize, RequestError> {
        let needed = self.shared.config(self.node).sources_needed();
        match self.shared.inboxes.get(self.node) {
            Some(mailbox) => mailbox.key_count(needed),
            None => Err(RequestError::NodeFailed(self.node)),
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
                let address = format!("127.0.0.1:{}", shared.port(node));
                let running = match shared.inboxes.get(node) {
                    Some(mailbox) => status(node, address.clone(), mailbox).await,
                    None => None,
                };
                let failed = || without_data(node, address, NodeState::Failed);
                nodes.push(running.unwrap_or_else(failed));
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

    fn verify(&self, stores: bool) -> BoxFuture<Result<ClusterVerification, AdminError>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let Ok(_turn) = shared.verifying.try_acquire() else {
                let refusal = "another check of these nodes is going on; ask again when it is done";
                return Err(AdminError::Other(refusal.into()));
            };
            let mut nodes = Vec::new();
            for node in shared.ids() {
                let reader = shared.reader(node).filter(|_| stores);
                let said = match shared.inboxes.get(node) {
                    Some(mailbox) => verification(node, mailbox, reader).await,
                    None => None,
                };
                let silent = || unsaid(node, shared.state(node), StoreVerdict::Unchecked);
                nodes.push(said.unwrap_or_else(silent));
            }
            Ok(compare(nodes, &shared.configs(NodeId(1))))
        })
    }

    fn snapshot(&self, to: PathBuf) -> BoxFuture<Result<SnapshotReport, AdminError>> {
        let (shared, node) = (Arc::clone(&self.shared), self.node);
        Box::pin(async move {
            let store = shared.reader(node);
            snapshot(node, store, &shared.snapshotting, None, &to).await
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
