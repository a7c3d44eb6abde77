//! The task of a node that has no cluster yet: it follows [`Formation`] until the node begins.

use replica::StorageError;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time;

use super::actor::{Actor, Router};
use super::formation::{Formation, Offer, Step};
use super::mailbox::Mailbox;
use super::network::{Forming, Network};
use super::starting::{Origin, Unprepared, prepare};
use super::wire::WireMessage;
use crate::policies::StringPolicy;
use crate::storage::{ClusterId, NodeDir, NodeDirError, Standing};

/// How often a node without a cluster shows itself.
const SHOW_INTERVAL: Duration = Duration::from_millis(500);

/// A node could not begin. What is stored is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BeginError {
    /// The data directory cannot be used.
    #[error(transparent)]
    NodeDir(#[from] NodeDirError),
    /// The store holds what no node with this configuration can have stored, or cannot be written.
    #[error("the node cannot start from its store: {0}")]
    Store(#[from] StorageError),
    /// Starting ended unexpectedly.
    #[error("the start was interrupted: {0}")]
    Interrupted(String),
}

/// Brings a node into its cluster: at once if its directory knows it, otherwise when it is told.
pub(super) async fn bring_up<S: StringPolicy>(
    network: Arc<Network<S>>,
    mut dir: NodeDir,
    inbox: mpsc::Receiver<Forming>,
    bootstrap: bool,
) -> Result<(), BeginError> {
    if let Some(cluster) = dir.cluster() {
        return begin(network, dir, cluster).await;
    }
    let (cluster, waiting) = form(&network, &mut dir, inbox, bootstrap).await?;
    let begun = begin(network, dir, cluster).await;
    if begun.is_ok() {
        for operator in waiting {
            // An operator who is gone needs no answer.
            let _gone = operator.send(cluster);
        }
    }
    begun
}

/// Waits until there is a cluster for this node.
async fn form<S: StringPolicy>(
    network: &Network<S>,
    dir: &mut NodeDir,
    mut inbox: mpsc::Receiver<Forming>,
    bootstrap: bool,
) -> Result<(ClusterId, Vec<oneshot::Sender<ClusterId>>), BeginError> {
    let nodes = network.options.configs.strings.nodes;
    let mut formation = Formation::new(network.node, nodes, dir.offer());
    let mut waiting = Vec::new();
    let mut step = match bootstrap {
        true => formation.bootstrap(new_cluster()),
        false => Step::Wait,
    };
    let mut interval = time::interval(SHOW_INTERVAL);
    loop {
        match step {
            Step::Wait => {}
            Step::Keep(offer) => {
                keep(dir, offer)?;
                formation.note_kept(offer);
                show(network, &formation);
            }
            Step::Begin(cluster) | Step::Recover(cluster) => {
                dir.join(cluster)?;
                return Ok((cluster, waiting));
            }
        }
        step = tokio::select! {
            _ = interval.tick() => {
                show(network, &formation);
                Step::Wait
            }
            Some(event) = inbox.recv() => match event {
                Forming::Shown(from, standing) => formation.note(from, standing),
                Forming::Bootstrap(operator) => {
                    waiting.retain(|waiting: &oneshot::Sender<_>| !waiting.is_closed());
                    waiting.push(operator);
                    formation.bootstrap(new_cluster())
                }
            },
        };
    }
}

fn keep(dir: &mut NodeDir, offer: Offer) -> Result<(), NodeDirError> {
    // One small file, written while nothing else goes on here.
    tokio::task::block_in_place(|| dir.keep_offer(offer))
}

fn show<S: StringPolicy>(network: &Network<S>, formation: &Formation) {
    for peer in network.peers() {
        network.send(peer, &WireMessage::Standing(formation.standing()));
    }
}

fn new_cluster() -> ClusterId {
    let word = || u128::from(RandomState::new().build_hasher().finish());
    ClusterId(word() << 64 | word())
}

/// Starts the node from its directory, which knows the cluster.
async fn begin<S: StringPolicy>(
    network: Arc<Network<S>>,
    mut dir: NodeDir,
    cluster: ClusterId,
) -> Result<(), BeginError> {
    let start = move || {
        let prepared = prepare_from(&network, &dir)?;
        dir.note_started()?;
        network.begin(cluster, prepared, dir);
        Ok::<(), BeginError>(())
    };
    let begun = tokio::task::spawn_blocking(start).await;
    begun.map_err(|error| BeginError::Interrupted(error.to_string()))?
}

/// The actor of the node.
fn prepare_from<S: StringPolicy>(
    network: &Arc<Network<S>>,
    dir: &NodeDir,
) -> Result<(Actor<S>, Mailbox<S>), BeginError> {
    let configs = &network.options.configs;
    let file = dir.store_file(|options| network.options.store.apply(options))?;
    let origin = |standing| match standing {
        Standing::Intact => Origin::Store,
        Standing::Empty if dir.may_bootstrap() => Origin::Bootstrap,
        Standing::Empty | Standing::HeadStart(_) => Origin::Others,
    };
    let router: Arc<dyn Router<S>> = Arc::<Network<S>>::clone(network);
    let prepared = prepare(configs, &file, origin, router, network.started, |_, _| ());
    let prepared = prepared.map_err(|failed| match failed {
        Unprepared::Store(error) => NodeDirError::from(error).into(),
        Unprepared::Restore(error) => BeginError::Store(error),
    })?;
    network.set_store(Some(prepared.reader));
    Ok((prepared.actor, prepared.mailbox))
}
