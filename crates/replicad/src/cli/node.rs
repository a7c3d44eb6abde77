//! `replicad node`: takes a node down, and brings it back.

use clap::{Args, Subcommand};
use std::time::{Duration, Instant};
use tokio::time;

use super::status::cluster_status;
use super::{CliError, Target, print_json};
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
        /// Print JSON instead of a sentence.
        #[arg(long)]
        json: bool,
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
        /// Print JSON instead of a sentence.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        target: Target,
    },
}

#[expect(
    clippy::print_stdout,
    reason = "what happened is the output of the subcommand"
)]
pub(super) async fn node(options: &NodeOptions) -> Result<(), CliError> {
    match &options.action {
        Action::Fail { node, json, target } => {
            let mut client = target.connect().await?;
            client
                .call(&[b"REPLICAD", b"FAIL", node.to_string().as_bytes()])
                .await?;
            if *json {
                return print_json(&serde_json::json!({ "node": node, "state": "failed" }));
            }
            println!("node {node} has failed; bring it back with `replicad node recover {node}`");
        }
        Action::Recover {
            node,
            accept_loss,
            timeout_seconds,
            json,
            target,
        } => {
            let timeout = Duration::from_secs(*timeout_seconds);
            let mut client = target.connect().await?;
            let waited = recover((&mut client, target), *node, *accept_loss, timeout).await?;
            let seconds = waited.as_secs_f64();
            if *json {
                let done = serde_json::json!({ "node": node, "state": "up", "seconds": seconds });
                return print_json(&done);
            }
            println!("node {node} is up again after {seconds:.2} s");
        }
    }
    Ok(())
}

/// Starts a recovery and waits for its end. Returns the time it took.
pub(super) async fn recover(
    (client, target): (&mut Client, &Target),
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
    let there = target.at(address_of(client, node).await?);
    let up = time::timeout(timeout, until_up(&there)).await;
    up.unwrap_or_else(|_| {
        Err(CliError::Other(format!(
            "node {node} is still recovering after {} s and goes on; see `replicad status`",
            timeout.as_secs()
        )))
    })?;
    Ok(started.elapsed())
}

async fn address_of(client: &mut Client, node: u32) -> Result<String, CliError> {
    let status = cluster_status(client).await?;
    let address = status
        .nodes
        .iter()
        .find(|entry| entry.node.0 == node)
        .map(|e| &e.address);
    address
        .filter(|address| !address.is_empty())
        .cloned()
        .ok_or_else(|| CliError::Other(format!("REPLICAD STATUS has no address of node {node}")))
}

/// Asks the node itself, which costs it less than the status of the whole cluster.
async fn until_up(target: &Target) -> Result<(), CliError> {
    let mut client = target.connect().await?;
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
