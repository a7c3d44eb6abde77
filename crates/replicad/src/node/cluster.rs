//! A whole cluster in this process: one actor for each node, messages through their inboxes.

use replica::{ClockKind, Config, ConfigError, Envelope, NodeId, Partition, StorageError};
use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use super::actor::{Actor, Input, Mailbox, Router, now};
use super::data_dir::{DataDir, DataDirError};
use super::local_node::LocalNode;
use super::redb_storage::RedbStorage;
use crate::backend::{AdminError, Backend, NodeState};
use crate::limits::Limits;

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
}

/// The mailboxes of the nodes that run.
#[derive(Default)]
pub(super) struct Inboxes {
    mailboxes: RwLock<BTreeMap<NodeId, Mailbox>>,
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
        });
        let cluster = Self {
            shared,
            was_new: is_new,
        };
        cluster.shared.config(NodeId(1)).validate()?;
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
            let partition =
                Partition::bootstrap(shared.config(node), random(), now(shared.started))?;
            actors.push((node, shared.prepare(node, partition)?));
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
            let (config, now) = (shared.config(node), now(shared.started));
            let (storage, restored) = shared.open(node, &config, now)?;
            let partition = match restored {
                Some(partition) => partition,
                None => Partition::recover(config, random(), now)?,
            };
            prepared.push((node, shared.ready(node, partition, storage)?));
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
            max_key_bytes: self.limits.max_key_bytes,
            max_value_bytes: self.limits.max_value_bytes,
            ..Config::new(node, self.nodes)
        }
    }

    /// Opens a node's store and reads what it holds, if anything.
    fn open(
        &self,
        node: NodeId,
        config: &Config,
        now: replica::Now,
    ) -> Result<(RedbStorage, Option<Partition>), StartError> {
        let in_store = |error| StartError::Store { node, error };
        let path = self.dir.store(node)?;
        let existed = path.exists();
        let mut storage = RedbStorage::open(&path).map_err(in_store)?;
        if existed {
            storage.verify().map_err(in_store)?;
        }
        let restored =
            Partition::restore(config.clone(), &storage, random(), now).map_err(in_store)?;
        Ok((storage, restored))
    }

    /// A node's actor with an empty store.
    fn prepare(&self, node: NodeId, partition: Partition) -> Result<(Actor, Mailbox), StartError> {
        let path = self.dir.store(node)?;
        let storage =
            RedbStorage::open(&path).map_err(|error| StartError::Store { node, error })?;
        self.ready(node, partition, storage)
    }

    /// A node's actor, its first state durable.
    fn ready(
        &self,
        node: NodeId,
        partition: Partition,
        storage: RedbStorage,
    ) -> Result<(Actor, Mailbox), StartError> {
        let router = Arc::clone(&self.inboxes);
        let (mut actor, mailbox) = Actor::new(partition, Box::new(storage), router, self.started);
        actor
            .commit_start()
            .map_err(|error| StartError::Store { node, error })?;
        self.dir.settle(node)?;
        Ok((actor, mailbox))
    }

    /// Starts an actor's thread.
    fn launch(
        &self,
        threads: &mut BTreeMap<NodeId, JoinHandle<()>>,
        node: NodeId,
        (actor, mailbox): (Actor, Mailbox),
    ) -> Result<(), StartError> {
        self.inboxes.set(node, Some(mailbox));
        let builder = thread::Builder::new().name(format!("node-{}", node.0));
        let thread = builder.spawn(move || actor.run());
        threads.insert(
            node,
            thread.map_err(|error| StartError::Thread { node, error })?,
        );
        Ok(())
    }

    /// Stops an actor and waits for its end; its store is closed then.
    fn stop_actor(&self, threads: &mut BTreeMap<NodeId, JoinHandle<()>>, node: NodeId) {
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
        let config = self.config(node);
        let reconciled = self
            .ids()
            .filter(|other| self.state(*other) == NodeState::Up)
            .count();
        let needed = config.sources_needed();
        if reconciled < needed && !accept_loss {
            return Err(AdminError::TooFewReconciled {
                node,
                reconciled,
                needed,
            });
        }
        self.dir.remove_store(node).map_err(other)?;
        let mut partition =
            Partition::recover(config, random(), now(self.started)).map_err(other)?;
        for down in self
            .ids()
            .filter(|id| *id != node && self.inboxes.get(*id).is_none())
        {
            partition.handle_reachable(down, false, now(self.started));
        }
        if accept_loss {
            partition.handle_accept_loss(now(self.started));
        }
        let prepared = self.prepare(node, partition).map_err(other)?;
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
    pub(super) fn get(&self, node: NodeId) -> Option<Mailbox> {
        self.mailboxes
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&node)
            .cloned()
    }

    fn set(&self, node: NodeId, mailbox: Option<Mailbox>) -> Option<Mailbox> {
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

impl Router for Inboxes {
    fn deliver(&self, from: NodeId, to: NodeId, envelope: Envelope) {
        if let Some(mailbox) = self.get(to) {
            mailbox.offer(Input::Message { from, envelope });
        }
    }
}

fn other(error: impl std::fmt::Display) -> AdminError {
    AdminError::Other(error.to_string())
}

/// A lock whose data is sound also when a thread that held it has panicked: it is a list of threads.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Random bits from the system, by way of the standard library's hash keys.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

impl std::fmt::Debug for LocalCluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalCluster")
            .field("data_dir", &self.shared.dir.path())
            .finish_non_exhaustive()
    }
}
