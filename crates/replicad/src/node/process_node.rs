//! One node of a cluster whose nodes are processes: its parts, from start to stop.

use replica::NodeId;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::time;

use super::forming::{BeginError, bring_up};
use super::network::{Arrivals, Network, NetworkOptions};
use super::network_node::NetworkNode;
use super::scrape::scrape;
use super::suspects::LOOK_INTERVAL;
use crate::backend::{Backend, BoxFuture, NodeState};
use crate::metrics::Watched;
use crate::policies::StringPolicy;
use crate::storage::{NodeDir, NodeDirError};
use crate::terms::StoreTerms;
use crate::transport::{Transport, TransportError, TransportOptions};

/// How often the actor is told again who can be reached.
const HINT_INTERVAL: Duration = Duration::from_secs(1);

/// A node could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessStartError {
    /// The connections to other nodes cannot be made.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The data directory cannot be used.
    #[error(transparent)]
    NodeDir(#[from] NodeDirError),
}

/// One node of a cluster whose nodes are processes.
pub struct ProcessNode<S: StringPolicy> {
    network: Arc<Network<S>>,
}

impl<S: StringPolicy> ProcessNode<S> {
    /// Connects to the other nodes. The future beside it brings the node into its cluster and completes when
    /// the node has begun; until then it refuses what clients ask. `bootstrap` is an operator's word that
    /// the cluster is new.
    ///
    /// # Errors
    /// If the address for the other nodes cannot be listened on, the options contradict themselves, or the data was
    /// written under others.
    pub async fn start(
        options: NetworkOptions,
        mut transport: TransportOptions,
        mut dir: NodeDir,
        bootstrap: bool,
    ) -> Result<
        (
            Self,
            impl Future<Output = Result<(), BeginError>> + Send + use<S>,
        ),
        ProcessStartError,
    > {
        let terms = StoreTerms::new(options.conflict, &options.configs.strings);
        dir.keep_terms(terms)?;
        transport.terms = Some(terms);
        let (network, inbox) = Network::new(options);
        let handler = Arc::new(Arrivals(Arc::clone(&network)));
        network.connect(Transport::start(transport, handler).await?);
        let hinted = Arc::clone(&network);
        tokio::spawn(async move {
            while hinted.repeat_hints() {
                time::sleep(HINT_INTERVAL).await;
            }
        });
        let watched = Arc::clone(&network);
        tokio::spawn(async move {
            while watched.look_for_suspects() {
                time::sleep(LOOK_INTERVAL).await;
            }
        });
        let begins = bring_up(Arc::clone(&network), dir, inbox, bootstrap);
        Ok((Self { network }, begins))
    }

    /// The node.
    pub fn id(&self) -> NodeId {
        self.network.node
    }

    /// Its data directory.
    pub fn data_dir(&self) -> &Path {
        &self.network.options.data_dir
    }

    /// Whether it serves.
    pub fn state(&self) -> NodeState {
        self.network.state()
    }

    /// Whether as many nodes can be reached as a write or a read needs.
    pub fn reaches_quorum(&self) -> bool {
        let config = &self.network.options.configs.strings;
        let needed = config.write_quorum.max(config.read_quorum) as usize;
        self.network.reachable_count() + 1 >= needed
    }

    /// Whether another node is connected and has been silent for longer than is likely, so that requests go around
    /// it.
    pub fn suspects(&self, node: NodeId) -> bool {
        self.network.suspects(node)
    }

    /// The node as its front end sees it.
    pub fn backend(&self) -> Arc<dyn Backend> {
        Arc::new(NetworkNode(Arc::clone(&self.network)))
    }

    /// Says that the node is about to stop: it is not ready any more, and serves as before.
    pub fn drain(&self) {
        self.network.drain();
    }

    /// Frames from other nodes that were no messages.
    pub fn invalid_messages(&self) -> u64 {
        self.network.invalid_messages()
    }

    /// Stops the node: what it has taken is made durable, the store is closed, and what is to be sent is
    /// sent as far as the others take it.
    pub async fn stop(&self) {
        self.network.end().await;
        if let Some(transport) = self.network.transport() {
            transport.stop().await;
        }
    }
}

impl<S: StringPolicy> Watched for ProcessNode<S> {
    fn figures(&self) -> BoxFuture<String> {
        let network = Arc::clone(&self.network);
        Box::pin(async move { scrape(&network).await })
    }

    fn readiness(&self) -> Result<(), String> {
        let state = self.state();
        match state {
            _ if self.network.is_draining() => Err("the node is stopping".into()),
            NodeState::Up if self.reaches_quorum() => Ok(()),
            NodeState::Up => Err("too few nodes can be reached for a quorum".into()),
            _ => Err(format!("the node is {}", state.as_str())),
        }
    }
}

impl<S: StringPolicy> Clone for ProcessNode<S> {
    fn clone(&self) -> Self {
        let network = Arc::clone(&self.network);
        Self { network }
    }
}

impl<S: StringPolicy> std::fmt::Debug for ProcessNode<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProcessNode")
            .field("node", &self.network.node)
            .finish_non_exhaustive()
    }
}
