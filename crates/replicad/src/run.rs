//! Runs a cluster on this machine until it is told to stop.

use replica::NodeId;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::cli::RunOptions;
use crate::config::{Log, LogFormat, LogLevel};
use crate::logs;
use crate::node::{LocalCluster, StartError};
use crate::server::{self, Access, BindError};

/// The cluster could not be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A port could not be opened.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The nodes could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The ports asked for go beyond the largest.
    #[error("{nodes} nodes from port {port} on: the last port would be over 65535")]
    Ports {
        /// Port of the first node.
        port: u16,
        /// Number of nodes.
        nodes: u32,
    },
    /// The system refused threads or signals.
    #[error("cannot start: {0}")]
    System(#[from] std::io::Error),
}

/// Runs a cluster until the process is told to stop by Ctrl-C or SIGTERM.
///
/// # Errors
/// If a port is in use, the data directory or a store cannot be used, or the system refuses.
pub fn run(options: RunOptions) -> Result<(), RunError> {
    logs::install(&Log {
        format: LogFormat::Text,
        level: LogLevel::Warn,
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve_until_stopped(options))
}

async fn serve_until_stopped(options: RunOptions) -> Result<(), RunError> {
    let limits = options.limits();
    let RunOptions {
        data_dir,
        port,
        nodes,
        ..
    } = options;
    let last_port = u16::try_from(nodes - 1)
        .ok()
        .and_then(|more| port.checked_add(more));
    let last_port = last_port.ok_or(RunError::Ports { port, nodes })?;
    let mut listeners: Vec<TcpListener> = Vec::new();
    for port in port..=last_port {
        listeners.push(server::bind(port).await?);
    }
    let directory = data_dir.clone();
    let start = move || LocalCluster::start(&directory, nodes, port, limits);
    let cluster = tokio::task::spawn_blocking(start)
        .await
        .map_err(std::io::Error::other)??;
    announce(&cluster, &data_dir.display().to_string(), port, last_port);

    let (stop, shutdown) = watch::channel(false);
    let mut servers = JoinSet::new();
    for (node, listener) in (1..=nodes).map(NodeId).zip(listeners) {
        servers.spawn(server::serve(
            listener,
            cluster.node(node),
            Access::default(),
            shutdown.clone(),
        ));
    }
    wait_for_signal().await?;
    println!("stopping: finishing what has been started");
    // Every server holds a receiver; none is left only if all have ended.
    let _ended = stop.send(true);
    while servers.join_next().await.is_some() {}
    tokio::task::spawn_blocking(move || cluster.stop())
        .await
        .map_err(std::io::Error::other)?;
    println!(
        "stopped; everything acknowledged is in {}",
        data_dir.display()
    );
    Ok(())
}

fn announce(cluster: &LocalCluster, data_dir: &str, first: u16, last: u16) {
    let what = if cluster.was_new() {
        "a new cluster"
    } else {
        "the cluster"
    };
    println!(
        "replicad {}: {what} in {data_dir}",
        env!("CARGO_PKG_VERSION")
    );
    for (node, port) in (first..=last).enumerate() {
        println!("  node {} listens on 127.0.0.1:{port}", node + 1);
    }
    println!("only programs on this machine can connect");
    println!("connect with any Redis client:   redis-cli -p {first}");
    println!("look at the nodes:               replicad status");
    println!("take one down and bring it back: replicad node fail 3; replicad node recover 3");
    println!("stop with Ctrl-C");
}

pub(crate) async fn wait_for_signal() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted,
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}
