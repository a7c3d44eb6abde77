//! `replicad start` and `replicad bootstrap`: a cluster whose nodes are processes.

use clap::Args;
use replica::NodeId;
use replica::liveness::PhiAccrual;
use std::time::Duration;
use tokio_rustls::TlsAcceptor;

use super::{CliError, Target, print_json};
use crate::client::Value;
use crate::config::{ConfigArgs, Conflict, Settings, SyncMode};
use crate::logs;
use crate::node::{NetworkOptions, SpaceConfigs, StoreSettings};
use crate::password::Password;
use crate::server::Access;
use crate::start::{self, StartOptions};
use crate::storage::SyncPolicy;
use crate::store::ConflictPolicy;

#[derive(Debug, Args)]
pub(super) struct StartArgs {
    #[command(flatten)]
    settings: ConfigArgs,
    /// The cluster is new and has never held data: begin it, once all nodes have been started. Does nothing
    /// on a node that belongs to a cluster.
    #[arg(long)]
    bootstrap: bool,
}

#[derive(Debug, Args)]
pub(super) struct BootstrapArgs {
    /// Print JSON instead of a sentence.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// Runs a node until it is told to stop.
pub(super) fn start(arguments: &StartArgs) -> Result<(), CliError> {
    let other = |error: &dyn std::fmt::Display| CliError::Other(error.to_string());
    let settings = arguments.settings.load().map_err(|e| other(&e))?;
    settings.check().map_err(|e| other(&e))?;
    let options = options(&settings, arguments.bootstrap)?;
    logs::install(&settings.log);
    start::start(options).map_err(|e| other(&e))
}

fn options(settings: &Settings, bootstrap: bool) -> Result<StartOptions, CliError> {
    let transport = settings.transport();
    let transport = transport.map_err(|error| CliError::Other(error.to_string()))?;
    let addresses = settings.cluster.nodes.iter().map(|node| {
        let own = (node.id == transport.node.0).then(|| settings.listen.clients.clone());
        let address = node.client.clone().or(own);
        (NodeId(node.id), address.unwrap_or_default())
    });
    let liveness = settings.liveness().map(PhiAccrual::new).transpose();
    let network = NetworkOptions {
        conflict: match settings.store.conflict {
            Conflict::Hybrid => ConflictPolicy::Hybrid,
            Conflict::Lamport => ConflictPolicy::Lamport,
            Conflict::Caller => ConflictPolicy::Caller,
            Conflict::Siblings => ConflictPolicy::Siblings,
        },
        configs: SpaceConfigs {
            strings: settings.strings(),
            types: settings.types(),
            inbox: settings.inbox(),
        },
        clients: addresses.collect(),
        limits: settings.front_end(),
        port: 0,
        data_dir: settings.node.data_dir.clone(),
        snapshot_dir: settings.storage.snapshot_dir.clone(),
        liveness: liveness.map_err(|error| CliError::Other(error.to_string()))?,
        store: StoreSettings {
            policy: match settings.storage.sync {
                SyncMode::Always => SyncPolicy::Always,
                SyncMode::Interval => {
                    SyncPolicy::Interval(Duration::from_millis(settings.storage.interval_ms))
                }
                SyncMode::None => SyncPolicy::None,
            },
            cache_bytes: settings.storage.cache_bytes,
            waiting_bytes: settings.storage.waiting_bytes,
            reserve_bytes: settings.storage.reserve_bytes,
        },
    };
    Ok(StartOptions {
        threads: settings.node.threads,
        network,
        transport,
        listen: settings.listen.clients.clone(),
        access: access(settings)?,
        metrics: settings.metrics.listen.clone(),
        drain: Duration::from_millis(settings.timeouts.drain_ms),
        notes: settings.gives_up(),
        bootstrap,
    })
}

/// What clients have to bring.
fn access(settings: &Settings) -> Result<Access, CliError> {
    let tls = settings.client_tls();
    let tls = tls.map_err(|error| CliError::Other(error.to_string()))?;
    let hash = settings.auth.password_hash.as_deref();
    let password = hash.map(Password::from_hash).transpose();
    Ok(Access {
        tls: tls.map(TlsAcceptor::from),
        password: password
            .map_err(|error| CliError::Other(format!("auth.password_hash: {error}")))?,
    })
}

/// Says the word to a node.
#[expect(
    clippy::print_stdout,
    reason = "what happened is the output of the subcommand"
)]
pub(super) async fn bootstrap(arguments: &BootstrapArgs) -> Result<(), CliError> {
    let mut client = arguments.target.connect().await?;
    let reply = client.call(&[b"REPLICAD", b"BOOTSTRAP"]).await?;
    let Value::Bytes(cluster) = &reply else {
        return Err(reply.unexpected("REPLICAD BOOTSTRAP").into());
    };
    let cluster = String::from_utf8_lossy(cluster);
    if arguments.json {
        return print_json(&serde_json::json!({ "cluster": cluster }));
    }
    println!("a new cluster has begun: {cluster}");
    Ok(())
}
