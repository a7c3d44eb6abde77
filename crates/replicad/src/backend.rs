//! The seam between the protocol front end and the node behind it.

use bytes::Bytes;
use replica::{NodeId, Placement, RequestError};
use serde::{Deserialize, Serialize};
use std::future::{Future, ready};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::limits::Limits;
use crate::metrics::RequestMetrics;
use crate::storage::SnapshotReport;
use crate::store::{
    ConflictPolicy, Contents, PendingAnswer, ScannedKey, Space, StoreAnswer, StoreRequest,
};
use crate::verification::ClusterVerification;

/// A boxed future that may move between threads.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send + 'static>>;

/// One node as its front end sees it. No method blocks the calling thread for longer than a lock of
/// bounded duration.
pub trait Backend: Send + Sync + 'static {
    /// Hands a request to the node.
    ///
    /// A node that owns the key MUST start requests in the order of the calls: a write submitted after
    /// another one wins over it, and a read submitted after a write sees it or something newer. Requests
    /// that are forwarded may overtake each other.
    fn submit(&self, request: StoreRequest) -> PendingAnswer;

    /// Answers a read at level `One` at once, if what is durable in the local replica is enough. `None` says
    /// nothing but that the request is to be submitted. Whoever has submitted others and not been answered
    /// submits: this is not in their order.
    fn read_here(&self, request: &StoreRequest) -> Option<StoreAnswer> {
        let _ = request;
        None
    }

    /// Where the keys of a space are.
    fn placement(&self, space: Space) -> Placement;

    /// Whether the node owns every key, so that requests start in the order in which they are submitted.
    fn owns_everything(&self) -> bool;

    /// What the strings of the store do with concurrent writes.
    fn conflict(&self) -> ConflictPolicy;

    /// Whether the local replica shows a key in a space. Asks nobody, and may lag; false of a key that the
    /// node does not own.
    fn peek(&self, space: Space, key: &Bytes) -> bool;

    /// What the local replica shows of a key in both spaces. Asks nobody, and may lag. A node that cannot tell
    /// a counter from a set says that it is both.
    fn contents(&self, key: &Bytes) -> Contents {
        let is_typed = self.peek(Space::Types, key);
        Contents {
            string: self.peek(Space::Strings, key),
            counter: is_typed,
            set: is_typed,
        }
    }

    /// What the node knows of a key in both spaces, in lines of text for people: the local replica and what
    /// is known of others, without asking them.
    ///
    /// # Errors
    ///
    /// If the node has failed.
    fn explain(&self, key: Bytes) -> BoxFuture<Result<String, RequestError>>;

    /// Up to `limit` keys of the local replica that hold something in either space, in key order,
    /// strictly after `after`. Fewer than `limit` means that there are no more.
    ///
    /// # Errors
    ///
    /// If the node has failed or is recovering.
    fn scan(
        &self,
        after: Option<Bytes>,
        limit: usize,
    ) -> BoxFuture<Result<Vec<ScannedKey>, RequestError>>;

    /// How many keys of the local replica hold something. A key that is in both spaces may count twice.
    ///
    /// # Errors
    ///
    /// If the node has failed or is recovering.
    fn key_count(&self) -> Result<usize, RequestError>;

    /// What the node says about itself. A failed node answers too.
    fn info(&self) -> NodeInfo;

    /// The bounds of this node, the same for its whole life.
    fn limits(&self) -> &Limits;

    /// Where the front end counts what it does. What is counted here is not shown to anybody.
    fn metrics(&self) -> Arc<RequestMetrics> {
        Arc::default()
    }

    /// What every node of the cluster holds and lacks. Answered through failed nodes too.
    fn status(&self) -> BoxFuture<Result<ClusterStatus, AdminError>>;

    /// Compares what the owners of each partition hold. With `stores` every node reads every entry of its
    /// store too, which takes a while.
    fn verify(&self, stores: bool) -> BoxFuture<Result<ClusterVerification, AdminError>>;

    /// Copies the store of this node to a new directory on its machine.
    fn snapshot(&self, to: PathBuf) -> BoxFuture<Result<SnapshotReport, AdminError>>;

    /// An operator's word that the cluster is new and has never held data: it begins, with all of its
    /// nodes. Complete when this node has begun; the answer is the id of the cluster.
    fn bootstrap(&self) -> BoxFuture<Result<String, AdminError>> {
        let refusal = "the nodes of this cluster are one process, which begins by itself";
        Box::pin(ready(Err(AdminError::Other(refusal.into()))))
    }

    /// Takes a node down: it loses its data and answers nothing. Complete when the node is down.
    fn fail(&self, node: NodeId) -> BoxFuture<Result<(), AdminError>>;

    /// Brings a failed node back, empty. Complete when it has started to recover; it serves once its
    /// state is [`NodeState::Up`]. `accept_loss` lets it start with fewer reconciled nodes than are
    /// needed to be sure that nothing acknowledged is lost.
    fn recover(&self, node: NodeId, accept_loss: bool) -> BoxFuture<Result<(), AdminError>>;
}

/// Whether a node serves its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeState {
    /// It serves.
    Up,
    /// It is down and holds nothing.
    Failed,
    /// It came back empty and is catching up; it serves nothing yet.
    Recovering,
    /// It belongs to no cluster yet: it waits for `replicad bootstrap`, or for a node that knows one.
    Waiting,
    /// It does not answer the node that was asked.
    Unreachable,
}

impl NodeState {
    /// The word used in `INFO` and `REPLICAD STATUS`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Failed => "failed",
            Self::Recovering => "recovering",
            Self::Waiting => "waiting",
            Self::Unreachable => "unreachable",
        }
    }
}

/// What one node says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeInfo {
    /// The node asked.
    pub node: NodeId,
    /// Its port for clients, on loopback.
    pub port: u16,
    /// Whether it serves.
    pub state: NodeState,
    /// Keys of its replica that hold a value.
    pub keys: usize,
    /// Nodes of the cluster.
    pub nodes: usize,
    /// Nodes that hold a write before it is acknowledged.
    pub write_quorum: usize,
    /// Nodes that a read joins.
    pub read_quorum: usize,
    /// Time since the node was started.
    pub uptime: Duration,
}

/// What `REPLICAD STATUS` answers, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterStatus {
    /// The version of the program that answers.
    pub version: String,
    /// Where the nodes keep their stores.
    pub data_dir: String,
    /// Nodes that hold a write before it is acknowledged.
    pub write_quorum: usize,
    /// Nodes that a read joins.
    pub read_quorum: usize,
    /// Every node, in the order of their ids.
    pub nodes: Vec<NodeStatus>,
}

/// What one node holds and lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// The node.
    pub node: NodeId,
    /// Its address for clients, as `host:port`.
    pub address: String,
    /// Whether it serves.
    pub state: NodeState,
    /// Its current incarnation.
    pub incarnation: String,
    /// Keys that hold a value.
    pub keys: usize,
    /// Keys of which only the deletion is kept.
    pub tombstones: usize,
    /// Its causal context, as `<1:500, 2:20>`.
    pub context: String,
    /// Exceptions in its knowledge.
    pub exceptions: usize,
    /// Entries in its log of recent events.
    pub log_entries: usize,
    /// How many events it lacks of what each other node last showed to know. Empty when it lacks none.
    pub lacks: Vec<Lack>,
    /// Nodes that know the same and hold something else, by its latest audit: they or it are damaged.
    #[serde(default)]
    pub disagreeing: Vec<NodeId>,
    /// Checksum of its contents in hexadecimal; equal contents give equal checksums. `None` if it
    /// holds nothing because it has failed.
    pub checksum: Option<String>,
}

/// Events that one node has shown to know and another lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lack {
    /// The node that knows them.
    pub from: NodeId,
    /// How many are.
    pub events: u64,
}

/// Why an administrative command was refused. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// The cluster has no such node.
    #[error("there is no {node}; the nodes are 1 to {nodes}")]
    UnknownNode {
        /// The node named in the command.
        node: NodeId,
        /// Nodes of the cluster.
        nodes: usize,
    },
    /// The node to be taken down is down.
    #[error("{0} has already failed")]
    AlreadyFailed(NodeId),
    /// The node to be recovered is not down.
    #[error("{0} has not failed")]
    NotFailed(NodeId),
    /// Too few nodes are reconciled for the recovered one to be sure of every acknowledged write.
    #[error(
        "{node} needs {needed} reconciled nodes to recover from and there are {reconciled}; recover \
         the others first, or give up what only they held: `replicad node recover {} --accept-loss`",
        .node.0
    )]
    TooFewReconciled {
        /// The node to be recovered.
        node: NodeId,
        /// Nodes that are up and reconciled.
        reconciled: usize,
        /// Nodes that must be.
        needed: usize,
    },
    /// There is a cluster already.
    #[error(
        "the node belongs to the cluster {cluster} already, which may hold data; nothing was done"
    )]
    HasCluster {
        /// The id of the cluster.
        cluster: String,
    },
    /// A new cluster has not begun yet, because it begins with all of its nodes.
    #[error(
        "a new cluster begins with all of its nodes, and {reachable} of the {needed} others can be \
         reached from here; it will begin once all can"
    )]
    NodesMissing {
        /// Other nodes that can be reached.
        reachable: usize,
        /// Other nodes.
        needed: usize,
    },
    /// Anything else, in words.
    #[error("{0}")]
    Other(String),
}
