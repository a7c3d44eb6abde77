//! A whole cluster in this process: one actor for each node, messages through their inboxes.

use replica::{ClockKind, Config, ConfigError, Lww, NodeId, Now, StorageError};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::Instant;
use tokio::sync::Semaphore;

use super::actor::{Actor, Router, run_alone};
use super::data_dir::{DataDir, DataDirError};
use super::local_node::LocalNode;
use super::mailbox::{InboxLimits, Input, Mailbox};
use super::spaces::Spaces;
use super::starting::{Origin, SpaceConfigs, Unprepared, prepare};
use super::wire::{RequestName, SpaceMessage};
use crate::backend::{AdminError, Backend, NodeState};
use crate::limits::Limits;
use crate::storage::{
    ClusterId, Standing, StoreError, StoreFile, StoreOptions, StoreOwner, StoreReader,
};

/// The cluster of a store here: it is told from others by its directory, and never meets them.
const LOCAL: ClusterId = ClusterId(0);

/// How far ahead of a node's physical clock a timestamp may lie, in milliseconds: more than clocks
/// drift that are looked after, less than a day that was set wrongly.
const DRIFT_BOUND_MS: u64 = 60_000;

/// Why a cluster could not be started. Nothing that was stored is lost.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The store of a node cannot be used.
    #[error("{node}: {error}")]
    Store {
        /// The node.
        node: NodeId,
        /// What is wrong with its store.
        error: StoreError,
    },
    /// A node cannot be started from its store.
    #[error("{node}: {error}")]
    Restore {
        /// The node.
        node: NodeId,
        /// What is wrong.
        error: StorageError,
    },
    /// The configuration cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No node has any data left.
    #[error(
        "no node has a store left under {data_dir}: what the cluster held is lost; remove the \
         directory to start a new one"
    )]
    AllLost {
        /// The data directory.
        data_dir: String,
    },
    /// The system refused a thread.
    #[error("cannot start the thread of {node}: {error}")]
    Thread {
        /// The node.
        node: NodeId,
        /// What the system said.
        error: std::io::Error,
    },
}

/// The nodes of a cluster on this machine.
///
/// A brand-new data directory is bootstrapped; otherwise every node comes back with its store, a node
/// whose store is gone recovers from the others, and a node that was taken down stays down.
pub struct LocalCluster {
    shared: Arc<Shared>,
    was_new: bool,
}

pub(super) struct Shared {
    pub(super) dir: DataDir,
    pub(super) limits: Limits,
    pub(super) nodes: u32,
    first_port: u16,
    pub(super) started: Instant,
    pub(super) inboxes: Arc<Inboxes>,
    /// The threads; locked for as long as a node is taken down or brought back.
    threads: Mutex<BTreeMap<NodeId, JoinHandle<()>>>,
    /// The stores beside the actors that write them.
    readers: Mutex<BTreeMap<NodeId, StoreReader>>,
    /// One check at a time, and one snapshot: each reads everything.
    pub(super) verifying: Semaphore,
    pub(super) snapshotting: Semaphore,
}

/// The mailboxes of the nodes that run.
#[derive(Default)]
pub(super) struct Inboxes {
    mailboxes: RwLock<BTreeMap<NodeId, Mailbox<Lww>>>,
}

impl LocalCluster {
    /// Opens the data directory and starts every node.
    ///
    /// # Errors
    /// If the directory or a store cannot be used.
    pub fn start(
        data_dir: &Path,
        nodes: u32,
        first_port: u16,
        limits: Limits,
    ) -> Result<Self, StartError> {
        let (dir, is_new) = DataDir::open(data_dir, nodes)?;
        let shared = Arc::new(Shared {
            dir,
            limits,
            nodes,
            first_port,
            started: Instant::now(),
            inboxes: Arc::default(),
            threads: Mutex::default(),
            readers: Mutex::default(),
            verifying: Semaphore::new(1),
            snapshotting: Semaphore::new(1),
        });
        let cluster = Self {
            shared,
            was_new: is_new,
        };
        cluster.shared.configs(NodeId(1)).strings.validate()?;
        match is_new {
            true => cluster.bootstrap()?,
            false => cluster.come_back()?,
        }
        Ok(cluster)
    }

    /// Whether the data directory was new.
    pub const fn was_new(&self) -> bool {
        self.was_new
    }

    /// One node, for its front end.
    pub fn node(&self, node: NodeId) -> Arc<dyn Backend> {
        Arc::new(LocalNode::new(Arc::clone(&self.shared), node))
    }

    /// Stops every node; what they have acknowledged is durable.
    pub fn stop(self) {
        let nodes: Vec<NodeId> = self.shared.ids().collect();
        let mut threads = lock(&self.shared.threads);
        for node in nodes {
            self.shared.stop_actor(&mut threads, node);
        }
    }

    fn bootstrap(&self) -> Result<(), StartError> {
        let shared = &self.shared;
        let mut actors = Vec::new();
        for node in shared.ids() {
            // What an interrupted first start has left was never acknowledged to anyone.
            shared.dir.remove_store(node)?;
            let prepared = shared.prepare(node, Origin::Bootstrap, |_, _| ())?;
            actors.push((node, prepared));
        }
        shared.dir.establish(shared.nodes)?;
        let mut threads = lock(&shared.threads);
        for (node, prepared) in actors {
            shared.launch(&mut threads, node, prepared)?;
        }
        Ok(())
    }

    fn come_back(&self) -> Result<(), StartError> {
        let shared = &self.shared;
        let up: Vec<NodeId> = shared
            .ids()
            .filter(|node| !shared.dir.is_failed(*node))
            .collect();
        if !up.iter().any(|node| shared.dir.has_store(*node)) {
            return Err(StartError::AllLost {
                data_dir: shared.dir.path().display().to_string(),
            });
        }
        let mut prepared = Vec::new();
        for node in up {
            prepared.push((node, shared.prepare(node, Origin::Store, |_, _| ())?));
        }
        let mut threads = lock(&shared.threads);
        for (node, prepared) in prepared {
            shared.launch(&mut threads, node, prepared)?;
        }
        for node in shared.ids().filter(|node| shared.dir.is_failed(*node)) {
            shared.announce(node, false);
        }
        Ok(())
    }
}

impl Shared {
    pub(super) fn ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        (1..=self.nodes).map(NodeId)
    }

    pub(super) fn config(&self, node: NodeId) -> Config {
        Config {
            clock: ClockKind::Hybrid {
                drift_bound_ms: DRIFT_BOUND_MS,
            },
            durable: true,
            // All stores are in one directory, and their nodes start and stop together.
            restart_patience_ms: 0,
            max_key_bytes: self.limits.max_key_bytes,
            max_value_bytes: self.limits.max_value_bytes,
            ..Config::new(node, self.nodes)
        }
    }

    pub(super) fn configs(&self, node: NodeId) -> SpaceConfigs {
        let strings = self.config(node);
        let types = Config {
            clock: ClockKind::Lamport,
            ..strings.clone()
        };
        SpaceConfigs {
            strings,
            types,
            inbox: InboxLimits::default(),
        }
    }

    /// A node's actor, its first state durable.
    fn prepare(
        &self,
        node: NodeId,
        origin: Origin,
        change: impl Fn(&mut Spaces<Lww>, Now),
    ) -> Result<(Actor<Lww>, Mailbox<Lww>), StartError> {
        let path = self.dir.store(node)?;
        let options = StoreOptions::new(StoreOwner {
            cluster: LOCAL,
            node,
        });
        let file = StoreFile::new(&path, options);
        let origin = |standing| match (origin, standing) {
            // It was restored from a snapshot, or there is none.
            (Origin::Store, Standing::HeadStart(_) | Standing::Empty) => Origin::Others,
            (origin, _) => origin,
        };
        let router: Arc<dyn Router<Lww>> = Arc::<Inboxes>::clone(&self.inboxes);
        let configs = self.configs(node);
        let prepared = prepare(&configs, &file, origin, router, self.started, change);
        let prepared = prepared.map_err(|failed| match failed {
            Unprepared::Store(error) => StartError::Store { node, error },
            Unprepared::Restore(error) => StartError::Restore { node, error },
        })?;
        self.dir.settle(node)?;
        lock(&self.readers).insert(node, prepared.reader);
        Ok((prepared.actor, prepared.mailbox))
    }

    /// Starts an actor's thread.
    fn launch(
        &self,
        threads: &mut BTreeMap<NodeId, JoinHandle<()>>,
        node: NodeId,
        (actor, mailbox): (Actor<Lww>, Mailbox<Lww>),
    ) -> Result<(), StartError> {
        self.inboxes.set(node, Some(mailbox));
        let builder = thread::Builder::new().name(format!("node-{}", node.0));
        let thread = builder.spawn(move || run_alone(actor));
        threads.insert(
            node,
            thread.map_err(|error| StartError::Thread { node, error })?,
        );
        Ok(())
    }

    /// Stops an actor and waits for its end; its store is closed then.
    fn stop_actor(&self, threads: &mut BTreeMap<NodeId, JoinHandle<()>>, node: NodeId) {
        lock(&self.readers).remove(&node);
        if let Some(mailbox) = self.inboxes.set(node, None) {
            mailbox.insist(Input::Stop);
        }
        if let Some(thread) = threads.remove(&node)
            && thread.join().is_err()
        {
            tracing::error!(%node, "the node's thread had ended with a panic");
        }
    }

    /// Tells the other nodes whether a node can be reached.
    fn announce(&self, node: NodeId, reachable: bool) {
        for other in self.ids().filter(|other| *other != node) {
            if let Some(mailbox) = self.inboxes.get(other) {
                mailbox.insist(Input::Reachable { node, reachable });
            }
        }
    }

    /// The store of a node that runs, beside the actor that writes it.
    pub(super) fn reader(&self, node: NodeId) -> Option<StoreReader> {
        lock(&self.readers).get(&node).cloned()
    }

    pub(super) fn state(&self, node: NodeId) -> NodeState {
        self.inboxes
            .get(node)
            .map_or(NodeState::Failed, |mailbox| mailbox.state())
    }

    fn check_known(&self, node: NodeId) -> Result<(), AdminError> {
        match (1..=self.nodes).contains(&node.0) {
            true => Ok(()),
            false => Err(AdminError::UnknownNode {
                node,
                nodes: self.nodes as usize,
            }),
        }
    }

    pub(super) fn fail(&self, node: NodeId) -> Result<(), AdminError> {
        self.check_known(node)?;
        let mut threads = lock(&self.threads);
        if self.dir.is_failed(node) {
            return Err(AdminError::AlreadyFailed(node));
        }
        self.dir.set_failed(node, true).map_err(other)?;
        self.stop_actor(&mut threads, node);
        self.announce(node, false);
        self.dir.remove_store(node).map_err(other)
    }

    pub(super) fn recover(&self, node: NodeId, accept_loss: bool) -> Result<(), AdminError> {
        self.check_known(node)?;
        let mut threads = lock(&self.threads);
        if !self.dir.is_failed(node) {
            return self.accept_loss(node, accept_loss);
        }
        let reconciled = self
            .ids()
            .filter(|other| self.state(*other) == NodeState::Up)
            .count();
        let needed = self.config(node).sources_needed();
        if reconciled < needed && !accept_loss {
            return Err(AdminError::TooFewReconciled {
                node,
                reconciled,
                needed,
            });
        }
        self.dir.remove_store(node).map_err(other)?;
        let down: Vec<NodeId> = self
            .ids()
            .filter(|id| *id != node && self.inboxes.get(*id).is_none())
            .collect();
        let change = |spaces: &mut Spaces<Lww>, now: Now| {
            for &node in &down {
                spaces.handle_reachable(node, false, now);
            }
            if accept_loss {
                spaces.handle_accept_loss(now);
            }
        };
        let prepared = self.prepare(node, Origin::Others, change).map_err(other)?;
        self.dir.set_failed(node, false).map_err(other)?;
        self.launch(&mut threads, node, prepared).map_err(other)?;
        self.announce(node, true);
        Ok(())
    }

    /// An operator's word to a node that is already on its way back.
    fn accept_loss(&self, node: NodeId, accept_loss: bool) -> Result<(), AdminError> {
        match self.inboxes.get(node) {
            Some(mailbox) if accept_loss && mailbox.state() == NodeState::Recovering => {
                mailbox.insist(Input::AcceptLoss);
                Ok(())
            }
            _ => Err(AdminError::NotFailed(node)),
        }
    }

    pub(super) fn port(&self, node: NodeId) -> u16 {
        let offset = u16::try_from(node.0 - 1).unwrap_or(u16::MAX);
        self.first_port.saturating_add(offset)
    }
}

impl Inboxes {
    pub(super) fn get(&self, node: NodeId) -> Option<Mailbox<Lww>> {
        self.mailboxes
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&node)
            .cloned()
    }

    fn set(&self, node: NodeId, mailbox: Option<Mailbox<Lww>>) -> Option<Mailbox<Lww>> {
        let mut mailboxes = self
            .mailboxes
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        match mailbox {
            Some(mailbox) => mailboxes.insert(node, mailbox),
            None => mailboxes.remove(&node),
        }
    }
}

impl Router<Lww> for Inboxes {
    fn deliver(
        &self,
        from: NodeId,
        to: NodeId,
        message: SpaceMessage<Lww>,
        request: Option<RequestName>,
    ) {
        if let Some(mailbox) = self.get(to) {
            mailbox.offer(Input::Message {
                from,
                message,
                request,
            });
        }
    }
}

fn other(error: impl std::fmt::Display) -> AdminError {
    AdminError::Other(error.to_string())
}

/// A lock whose data is sound also when a thread that held it has panicked: it is a list.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for LocalCluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalCluster")
            .field("data_dir", &self.shared.dir.path())
            .finish_non_exhaustive()
    }
}
