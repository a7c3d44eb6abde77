//! Runs one node of a cluster whose nodes are processes, until it is told to stop.

use replica::{Lww, MultiValue};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time;

use crate::backend::{Backend, NodeState};
use crate::metrics;
use crate::node::{BeginError, NetworkOptions, ProcessNode, ProcessStartError};
use crate::policies::StringPolicy;
use crate::run::wait_for_signal;
use crate::server::{self, Access};
use crate::storage::{NodeDir, NodeDirError};
use crate::store::ConflictPolicy;
use crate::transport::TransportOptions;

/// How long a node that comes back waits for a quorum before it takes clients all the same: they would be
/// refused what could be answered a moment later.
const QUORUM_PATIENCE: Duration = Duration::from_secs(5);

/// How often that is looked at.
const QUORUM_INTERVAL: Duration = Duration::from_millis(10);

/// What a node is told at its start.
#[derive(Debug, Clone)]
pub struct StartOptions {
    /// Threads that run the node, beside those that wait for the disk; 0 for half as many as there are processors, at
    /// least one.
    pub threads: usize,
    /// The node.
    pub network: NetworkOptions,
    /// Its connections to others.
    pub transport: TransportOptions,
    /// Host and port to listen on for clients.
    pub listen: String,
    /// What a client has to bring.
    pub access: Access,
    /// Host and port to listen on for whoever watches the node; nowhere if not set.
    pub metrics: Option<String>,
    /// How long the node goes on serving when it is told to stop, after it has said that it is not ready.
    pub drain: Duration,
    /// What the settings give up, and who can reach the ports, in sentences: said at the start.
    pub notes: Vec<String>,
    /// An operator's word that the cluster is new and has never held data.
    pub bootstrap: bool,
}

/// A node could not be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartNodeError {
    /// An address cannot be listened on.
    #[error("cannot listen for {what} on {address}: {cause}")]
    Bind {
        /// For whom.
        what: &'static str,
        /// Host and port.
        address: String,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The node cannot be started.
    #[error(transparent)]
    Node(#[from] ProcessStartError),
    /// The data directory cannot be used.
    #[error(transparent)]
    NodeDir(#[from] NodeDirError),
    /// The node cannot begin.
    #[error(transparent)]
    Begin(#[from] BeginError),
    /// The system refused threads or signals.
    #[error("cannot start: {0}")]
    System(#[from] std::io::Error),
}

/// Runs a node until the process is told to stop by Ctrl-C or SIGTERM. What clients have sent by then is
/// finished, in bounded time; then the store is closed.
///
/// # Errors
/// If an address, the data directory or the store cannot be used, or the system refuses.
pub fn start(options: StartOptions) -> Result<(), StartNodeError> {
    let threads = match options.threads {
        0 => (std::thread::available_parallelism().map_or(1, usize::from) / 2).max(1),
        threads => threads,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match options.network.conflict {
            ConflictPolicy::Siblings => run::<MultiValue>(options).await,
            _ => run::<Lww>(options).await,
        }
    })
}

async fn run<S: StringPolicy>(options: StartOptions) -> Result<(), StartNodeError> {
    debug_assert!(S::serves(options.network.conflict));
    let StartOptions {
        threads: _,
        mut network,
        mut transport,
        listen,
        access,
        metrics,
        drain,
        notes,
        bootstrap,
    } = options;
    let node = network.configs.strings.node;
    let dir = NodeDir::open(&network.data_dir, node)?;
    transport.cluster = dir.cluster();
    let is_member = transport.cluster.is_some();
    if is_member && bootstrap {
        tracing::warn!(%node, "the node belongs to a cluster already: --bootstrap does nothing");
    }
    let clients = bind("clients", &listen).await?;
    let watchers = match &metrics {
        Some(address) => Some(bind("metrics", address).await?),
        None => None,
    };
    network.port = clients.local_addr()?.port();
    let peers = transport.listen.clone();
    let (node, begins) = ProcessNode::<S>::start(network, transport, dir, bootstrap).await?;
    announce(&node, &listen, &peers, is_member || bootstrap);
    for note in notes {
        tracing::info!("as it is set up: {note}");
    }
    // Watched to the very end, so that it shows that the node is stopping.
    let (_watch, unwatched) = watch::channel(false);
    if let Some(watchers) = watchers {
        tokio::spawn(metrics::serve(watchers, Arc::new(node.clone()), unwatched));
    }
    let (stop, shutdown) = watch::channel(false);
    let begins = tokio::spawn(begins);
    let served = serve((clients, access), &node, is_member, shutdown);
    let result = tokio::select! {
        signal = wait_for_signal() => signal.map_err(StartNodeError::from),
        failed = failure(begins) => Err(failed.into()),
    };
    node.drain();
    println!("stopping: finishing what has been started");
    if result.is_ok() && !drain.is_zero() {
        // A second signal is an operator who does not want to wait.
        let _hurried = time::timeout(drain, wait_for_signal()).await;
    }
    // The server holds a receiver; none is left only if it has ended.
    let _ended = stop.send(true);
    if served.await.is_err() {
        tracing::error!("the server of the clients had ended with a panic");
    }
    node.stop().await;
    println!("stopped");
    result
}

async fn bind(what: &'static str, address: &str) -> Result<TcpListener, StartNodeError> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|cause| StartNodeError::Bind {
        what,
        address: address.to_owned(),
        cause,
    })
}

/// Serves clients: at once if they are to be told that there is no cluster yet, otherwise as soon as what
/// they ask can be answered.
fn serve<S: StringPolicy>(
    (clients, access): (TcpListener, Access),
    node: &ProcessNode<S>,
    waits: bool,
    shutdown: watch::Receiver<bool>,
) -> JoinHandle<()> {
    let node = node.clone();
    let mut stopping = shutdown.clone();
    tokio::spawn(async move {
        let ready = async {
            while waits && !(node.state() == NodeState::Up && node.reaches_quorum()) {
                time::sleep(QUORUM_INTERVAL).await;
            }
        };
        tokio::select! {
            _in_time = time::timeout(QUORUM_PATIENCE, ready) => {}
            () = server::stopped(&mut stopping) => {}
        }
        let backend: Arc<dyn Backend> = node.backend();
        server::serve(clients, backend, access, shutdown).await;
    })
}

/// Completes when the node cannot begin; never if it has begun.
async fn failure(begins: JoinHandle<Result<(), BeginError>>) -> BeginError {
    match begins.await {
        Ok(Ok(())) => std::future::pending().await,
        Ok(Err(error)) => error,
        Err(error) => BeginError::Interrupted(error.to_string()),
    }
}

#[expect(
    clippy::print_stdout,
    reason = "this is where the program says what it does"
)]
fn announce<S: StringPolicy>(node: &ProcessNode<S>, clients: &str, peers: &str, begins: bool) {
    let version = env!("CARGO_PKG_VERSION");
    println!(
        "replicad {version}: {} with data in {}",
        node.id(),
        node.data_dir().display()
    );
    println!("  clients: {clients}");
    println!("  nodes:   {peers}");
    if !begins {
        println!("no cluster yet: start all nodes, then run `replicad bootstrap` once");
    }
}
