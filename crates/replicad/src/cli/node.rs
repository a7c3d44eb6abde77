//! `replicad node`: takes a node down, and brings it back.

use clap::{Args, Subcommand};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::time;

use super::status::cluster_status;
use super::{CliError, Target};
use crate::backend::NodeState;
use crate::client::{Client, Value};

/// How often a recovering node is asked whether it is up.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

#[derive(Debug, Args)]
pub(super) struct NodeOptions {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Take a node down. It loses its data and answers every data command with an error.
    Fail {
        /// Number of the node.
        node: u32,
        #[command(flatten)]
        target: Target,
    },
    /// Bring a failed node back, empty, and wait until it has caught up.
    Recover {
        /// Number of the node.
        node: u32,
        /// Go on with too few reconciled nodes; gives up what only nodes that are gone have
        /// acknowledged.
        #[arg(long)]
        accept_loss: bool,
        /// How long to wait. The node goes on catching up after that.
        #[arg(long, default_value_t = 60)]
        timeout_seconds: u64,
        #[command(flatten)]
        target: Target,
    },
}

#[expect(
    clippy::print_stdout,
    reason = "what happened is the output of the subcommand"
)]
pub(super) async fn node(options: &NodeOptions) -> Result<(), CliError> {
    match options.action {
        Action::Fail { node, target } => {
            let mut client = Client::connect(target.port).await?;
            client
                .call(&[b"REPLICAD", b"FAIL", node.to_string().as_bytes()])
                .await?;
            println!("node {node} has failed; bring it back with `replicad node recover {node}`");
        }
        Action::Recover {
            node,
            accept_loss,
            timeout_seconds,
            target,
        } => {
            let mut client = Client::connect(target.port).await?;
            let timeout = Duration::from_secs(timeout_seconds);
            let waited = recover(&mut client, node, accept_loss, timeout).await?;
            println!(
                "node {node} is up again after {:.2} s",
                waited.as_secs_f64()
            );
        }
    }
    Ok(())
}

/// Starts a recovery and waits for its end. Returns the time it took.
pub(super) async fn recover(
    client: &mut Client,
    node: u32,
    accept_loss: bool,
    timeout: Duration,
) -> Result<Duration, CliError> {
    let started = Instant::now();
    let number = node.to_string();
    let mut words: Vec<&[u8]> = vec![b"REPLICAD", b"RECOVER", number.as_bytes()];
    if accept_loss {
        words.push(b"ACCEPT-LOSS");
    }
    client.call(&words).await?;
    let address = address_of(client, node).await?;
    let up = time::timeout(timeout, until_up(address)).await;
    up.unwrap_or_else(|_| {
        Err(CliError::Other(format!(
            "node {node} is still recovering after {} s and goes on; see `replicad status`",
            timeout.as_secs()
        )))
    })?;
    Ok(started.elapsed())
}

async fn address_of(client: &mut Client, node: u32) -> Result<SocketAddr, CliError> {
    let status = cluster_status(client).await?;
    let address = status
        .nodes
        .iter()
        .find(|entry| entry.node.0 == node)
        .map(|e| &e.address);
    address
        .and_then(|address| address.parse().ok())
        .ok_or_else(|| CliError::Other(format!("REPLICAD STATUS has no address of node {node}")))
}

/// Asks the node itself, which costs it less than the status of the whole cluster.
async fn until_up(address: SocketAddr) -> Result<(), CliError> {
    let mut client = Client::connect_to(address).await?;
    let up = format!("state:{}", NodeState::Up.as_str());
    loop {
        let reply = client.call(&[b"INFO", b"node"]).await?;
        let Value::Bytes(info) = &reply else {
            return Err(reply.unexpected("INFO").into());
        };
        if String::from_utf8_lossy(info).lines().any(|line| line == up) {
            return Ok(());
        }
        time::sleep(POLL_INTERVAL).await;
    }
}
