//! A node of a network as its front end sees it.

use bytes::Bytes;
use replica::{NodeId, Placement, RequestError};
use std::future::ready;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time;

use super::mailbox::{Input, Mailbox};
use super::network::Network;
use super::snapshots::snapshot;
use super::status::without_data;
use super::verifying::{compare, unsaid};
use crate::backend::{AdminError, Backend, BoxFuture, ClusterStatus, NodeInfo, NodeState};
use crate::limits::Limits;
use crate::metrics::RequestMetrics;
use crate::policies::StringPolicy;
use crate::storage::SnapshotReport;
use crate::store::{
    ConflictPolicy, Contents, PendingAnswer, ScannedKey, Space, StoreAnswer, StoreRequest,
};
use crate::verification::{ClusterVerification, StoreVerdict};

/// How long another node may take to say how it is.
const STATUS_PATIENCE: Duration = Duration::from_secs(2);

/// How long another node may take to sum up what it holds.
const SUMS_PATIENCE: Duration = Duration::from_secs(60);

/// How long it may take with its store.
const STORES_PATIENCE: Duration = Duration::from_secs(60 * 60);

/// How often it is looked at whether a node that is waited for can still be reached.
const REACHABLE_INTERVAL: Duration = Duration::from_millis(250);

/// How long an operator waits for a new cluster to begin.
const BOOTSTRAP_PATIENCE: Duration = Duration::from_secs(30);

/// How often the other nodes of a new cluster are asked whether they have begun.
const BEGIN_INTERVAL: Duration = Duration::from_millis(50);

/// A node of a network as its front end sees it.
pub(super) struct NetworkNode<S: StringPolicy>(pub(super) Arc<Network<S>>);

impl<S: StringPolicy> NetworkNode<S> {
    /// The node while it has no cluster: it refuses as one that holds nothing yet.
    fn not_begun(&self) -> RequestError {
        RequestError::Recovering {
            node: self.0.node,
            reconciled: 0,
            needed: self.0.options.configs.strings.sources_needed(),
        }
    }

    fn mailbox(&self) -> Result<&Mailbox<S>, RequestError> {
        self.0.mailbox().ok_or_else(|| self.not_begun())
    }
}

impl<S: StringPolicy> Backend for NetworkNode<S> {
    fn submit(&self, request: StoreRequest) -> PendingAnswer {
        match self.mailbox() {
            Ok(mailbox) => mailbox.submit(request),
            Err(refusal) => {
                let (reply, answer) = oneshot::channel();
                let _gone = reply.send(Err(refusal));
                answer
            }
        }
    }

    fn read_here(&self, request: &StoreRequest) -> Option<StoreAnswer> {
        self.0.mailbox()?.read_here(request)
    }

    fn placement(&self, space: Space) -> Placement {
        let configs = &self.0.options.configs;
        match space {
            Space::Strings => configs.strings.placement(),
            Space::Types => configs.types.placement(),
        }
    }

    fn owns_everything(&self) -> bool {
        let configs = &self.0.options.configs;
        [&configs.strings, &configs.types]
            .iter()
            .all(|config| config.replication_factor == config.nodes)
    }

    fn conflict(&self) -> ConflictPolicy {
        self.0.options.conflict
    }

    fn peek(&self, space: Space, key: &Bytes) -> bool {
        let mailbox = self.0.mailbox();
        mailbox.is_some_and(|mailbox| mailbox.peek(space, key))
    }

    fn contents(&self, key: &Bytes) -> Contents {
        let mailbox = self.0.mailbox();
        mailbox.map_or_else(Contents::default, |mailbox| mailbox.contents(key))
    }

    fn explain(&self, key: Bytes) -> BoxFuture<Result<String, RequestError>> {
        match self.mailbox() {
            Ok(mailbox) => Box::pin(mailbox.clone().explain(key)),
            Err(refusal) => Box::pin(ready(Err(refusal))),
        }
    }

    fn scan(
        &self,
        after: Option<Bytes>,
        limit: usize,
    ) -> BoxFuture<Result<Vec<ScannedKey>, RequestError>> {
        match self.mailbox() {
            Ok(mailbox) => Box::pin(mailbox.clone().scan(after, limit)),
            Err(refusal) => Box::pin(ready(Err(refusal))),
        }
    }

    fn key_count(&self) -> Result<usize, RequestError> {
        let needed = self.0.options.configs.strings.sources_needed();
        self.mailbox()?.key_count(needed)
    }

    fn info(&self) -> NodeInfo {
        let config = &self.0.options.configs.strings;
        NodeInfo {
            node: self.0.node,
            port: self.0.options.port,
            state: self.0.state(),
            keys: self.0.mailbox().map_or(0, |mailbox| mailbox.keys()),
            nodes: config.nodes as usize,
            write_quorum: config.write_quorum as usize,
            read_quorum: config.read_quorum as usize,
            uptime: self.0.started.elapsed(),
        }
    }

    fn limits(&self) -> &Limits {
        &self.0.options.limits
    }

    fn metrics(&self) -> Arc<RequestMetrics> {
        Arc::clone(&self.0.metrics)
    }

    fn verify(&self, stores: bool) -> BoxFuture<Result<ClusterVerification, AdminError>> {
        let network = Arc::clone(&self.0);
        Box::pin(async move {
            let asked: Vec<_> = network
                .peers()
                .map(|peer| (peer, network.ask_verification(peer, stores)))
                .collect();
            let patience = match stores {
                true => STORES_PATIENCE,
                false => SUMS_PATIENCE,
            };
            let deadline = time::Instant::now() + patience;
            let mut nodes = vec![network.own_verification(stores).await];
            for (peer, answer) in asked {
                let answered = while_reachable(&network, peer, answer, deadline).await;
                let silent = || unsaid(peer, NodeState::Unreachable, StoreVerdict::Unchecked);
                nodes.push(answered.unwrap_or_else(silent));
            }
            Ok(compare(nodes, &network.options.configs))
        })
    }

    fn snapshot(&self, to: PathBuf) -> BoxFuture<Result<SnapshotReport, AdminError>> {
        let network = Arc::clone(&self.0);
        Box::pin(async move {
            let (node, store) = (network.node, network.store());
            let allowed = network.options.snapshot_dir.as_deref();
            snapshot(node, store, &network.snapshotting, allowed, &to).await
        })
    }

    fn status(&self) -> BoxFuture<Result<ClusterStatus, AdminError>> {
        let network = Arc::clone(&self.0);
        Box::pin(async move {
            let asked: Vec<_> = network
                .peers()
                .map(|peer| (peer, network.ask_status(peer)))
                .collect();
            let mut nodes = vec![network.own_status().await];
            let deadline = time::Instant::now() + STATUS_PATIENCE;
            for (peer, answer) in asked {
                let answered = time::timeout_at(deadline, answer).await;
                let silent = || {
                    let address = network.address_of(peer);
                    without_data(peer, address, NodeState::Unreachable)
                };
                nodes.push(answered.ok().and_then(Result::ok).unwrap_or_else(silent));
            }
            nodes.sort_by_key(|status| status.node);
            let config = &network.options.configs.strings;
            Ok(ClusterStatus {
                version: env!("CARGO_PKG_VERSION").into(),
                data_dir: network.options.data_dir.display().to_string(),
                write_quorum: config.write_quorum as usize,
                read_quorum: config.read_quorum as usize,
                nodes,
            })
        })
    }

    fn bootstrap(&self) -> BoxFuture<Result<String, AdminError>> {
        let network = Arc::clone(&self.0);
        Box::pin(async move {
            if let Some(cluster) = *network.cluster().borrow() {
                let cluster = cluster.to_string();
                return Err(AdminError::HasCluster { cluster });
            }
            let (done, begun) = oneshot::channel();
            let busy = || AdminError::Other("the node is about to begin; ask again".into());
            if !network.ask_to_bootstrap(done) {
                return Err(busy());
            }
            match time::timeout(BOOTSTRAP_PATIENCE, begun).await {
                Ok(Ok(cluster)) => {
                    // The others begin by themselves; who asks for a cluster wants one that serves.
                    let _late = time::timeout(BOOTSTRAP_PATIENCE, until_all_up(&network)).await;
                    Ok(cluster.to_string())
                }
                Ok(Err(_)) => Err(busy()),
                Err(_) => {
                    let reachable = network.reachable_count();
                    let needed = network.peers().count();
                    Err(AdminError::NodesMissing { reachable, needed })
                }
            }
        })
    }

    fn fail(&self, _: NodeId) -> BoxFuture<Result<(), AdminError>> {
        let refusal = "a node of this cluster is a process of its own: stop the process";
        Box::pin(ready(Err(AdminError::Other(refusal.into()))))
    }

    fn recover(&self, node: NodeId, accept_loss: bool) -> BoxFuture<Result<(), AdminError>> {
        let nodes = self.0.options.configs.strings.nodes as usize;
        let result = match self.0.mailbox() {
            _ if node.0 == 0 || node.0 as usize > nodes => {
                Err(AdminError::UnknownNode { node, nodes })
            }
            _ if node != self.0.node => Err(AdminError::Other(format!(
                "{node} is a process of its own: start it, and ask it and not {} if loss is to be \
                 accepted",
                self.0.node
            ))),
            Some(mailbox) if mailbox.state() == NodeState::Recovering => {
                if accept_loss {
                    mailbox.offer(Input::AcceptLoss);
                }
                Ok(())
            }
            _ => Err(AdminError::NotFailed(node)),
        };
        Box::pin(ready(result))
    }
}

/// Waits for the answer of a node until it cannot be reached any more.
async fn while_reachable<S: StringPolicy, T>(
    network: &Network<S>,
    node: NodeId,
    mut answer: oneshot::Receiver<T>,
    deadline: time::Instant,
) -> Option<T> {
    loop {
        match time::timeout(REACHABLE_INTERVAL, &mut answer).await {
            Ok(answered) => return answered.ok(),
            Err(_) if time::Instant::now() >= deadline || !network.reaches(node) => return None,
            Err(_) => {}
        }
    }
}

/// Waits until every other node serves.
async fn until_all_up<S: StringPolicy>(network: &Network<S>) {
    for peer in network.peers() {
        loop {
            let asked = time::timeout(BEGIN_INTERVAL, network.ask_status(peer)).await;
            if matches!(asked, Ok(Ok(status)) if status.state == NodeState::Up) {
                break;
            }
            time::sleep(BEGIN_INTERVAL).await;
        }
    }
}
