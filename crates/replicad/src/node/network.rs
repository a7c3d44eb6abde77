//! One node of a cluster whose nodes are processes: what it is connected to, and what passes through.

use bytes::Bytes;
use replica::NodeId;
use replica::liveness::PhiAccrual;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::actor::{Actor, Router};
use super::formation::ClusterStanding;
use super::mailbox::{Input, Mailbox};
use super::questions::Questions;
use super::starting::{SpaceConfigs, random};
use super::status::StatusMessage;
use super::suspects::Suspects;
use super::wire::{RequestName, SpaceMessage, WireMessage};
use crate::backend::NodeState;
use crate::limits::Limits;
use crate::metrics::RequestMetrics;
use crate::policies::StringPolicy;
use crate::storage::{ClusterId, NodeDir, StoreOptions, StoreReader, SyncPolicy};
use crate::store::ConflictPolicy;
use crate::transport::{Frame, Handler, Transport};

/// News of other nodes that wait to be looked at while this one has no cluster. More are lost; nodes
/// repeat what they show.
pub(super) const FORMING_INBOX: usize = 1 << 10;

/// What a node of a network is told at its start.
#[derive(Debug, Clone)]
pub struct NetworkOptions {
    /// What it does with concurrent writes of a string.
    pub conflict: ConflictPolicy,
    /// The nodes of both spaces.
    pub configs: SpaceConfigs,
    /// Where each node, this one too, listens for clients, as others are told.
    pub clients: BTreeMap<NodeId, String>,
    /// Bounds of the front end.
    pub limits: Limits,
    /// The port for clients.
    pub port: u16,
    /// The data directory.
    pub data_dir: PathBuf,
    /// The only directory in which clients may have snapshots made; anywhere if not set.
    pub snapshot_dir: Option<PathBuf>,
    /// Judges who is connected and yet silent, so that requests go around it; nobody is suspected if not set.
    pub liveness: Option<PhiAccrual>,
    /// How the store is kept.
    pub store: StoreSettings,
}

/// How the store of a node is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreSettings {
    /// When commits reach the disk.
    pub policy: SyncPolicy,
    /// Bytes of the file that are kept in memory.
    pub cache_bytes: usize,
    /// Bytes of commits that wait in memory to be synced together.
    pub waiting_bytes: usize,
    /// Bytes that have to be free for writes to be taken.
    pub reserve_bytes: u64,
}

impl StoreSettings {
    /// The options of the store with this owner.
    pub(super) const fn apply(self, options: StoreOptions) -> StoreOptions {
        StoreOptions {
            policy: self.policy,
            cache_bytes: self.cache_bytes,
            waiting_bytes: self.waiting_bytes,
            reserve_bytes: self.reserve_bytes,
            ..options
        }
    }
}

/// What comes to a node that has no cluster yet.
pub(super) enum Forming {
    /// What another node shows.
    Shown(NodeId, ClusterStanding),
    /// An operator's word. The answer is the id of the cluster, or the nodes that are missing.
    Bootstrap(oneshot::Sender<ClusterId>),
}

/// A node and its connections.
pub(super) struct Network<S: StringPolicy> {
    pub(super) node: NodeId,
    pub(super) options: NetworkOptions,
    pub(super) started: Instant,
    transport: OnceLock<Transport>,
    /// The actor, once the node has begun.
    running: OnceLock<Mailbox<S>>,
    /// The actor's task, and the directory that it works in.
    task: Mutex<Option<(JoinHandle<()>, NodeDir)>>,
    /// The cluster, once the node has begun.
    cluster: watch::Sender<Option<ClusterId>>,
    forming: mpsc::Sender<Forming>,
    reachable: Mutex<BTreeSet<NodeId>>,
    suspects: Mutex<Suspects>,
    pub(super) questions: Mutex<Questions>,
    /// What was sent last: most is sent to several nodes, one after the other, and encoded once.
    last: Mutex<Option<(WireMessage<S>, Frame)>>,
    /// The store beside the actor that writes it, once the node has begun.
    store: Mutex<Option<StoreReader>>,
    /// What the front end counts.
    pub(super) metrics: Arc<RequestMetrics>,
    /// One at a time: each takes the disk and a core for as long as it takes to read everything.
    pub(super) verifying: Arc<Semaphore>,
    /// The same of snapshots.
    pub(super) snapshotting: Arc<Semaphore>,
    /// Whether the node is about to stop.
    draining: AtomicBool,
    /// Frames that were no messages.
    invalid_messages: AtomicU64,
    stopped: AtomicBool,
}

impl<S: StringPolicy> Network<S> {
    /// A node that has not begun, and the inbox of what has to happen before it does.
    pub(super) fn new(options: NetworkOptions) -> (Arc<Self>, mpsc::Receiver<Forming>) {
        let (forming, inbox) = mpsc::channel(FORMING_INBOX);
        let network = Self {
            node: options.configs.strings.node,
            suspects: Mutex::new(Suspects::new(options.liveness.clone())),
            options,
            started: Instant::now(),
            transport: OnceLock::new(),
            running: OnceLock::new(),
            task: Mutex::new(None),
            cluster: watch::Sender::new(None),
            forming,
            reachable: Mutex::default(),
            questions: Mutex::new(Questions::new(random())),
            last: Mutex::new(None),
            store: Mutex::default(),
            metrics: Arc::default(),
            verifying: Arc::new(Semaphore::new(1)),
            snapshotting: Arc::new(Semaphore::new(1)),
            draining: AtomicBool::new(false),
            invalid_messages: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
        };
        (Arc::new(network), inbox)
    }

    /// Takes over the connections. Called once, before anything is sent.
    pub(super) fn connect(&self, transport: Transport) {
        let _again = self.transport.set(transport);
    }

    pub(super) fn transport(&self) -> Option<&Transport> {
        self.transport.get()
    }

    /// The other nodes.
    pub(super) fn peers(&self) -> impl Iterator<Item = NodeId> + use<S> {
        let node = self.node;
        let nodes = 1..=self.options.configs.strings.nodes;
        nodes.map(NodeId).filter(move |id| *id != node)
    }

    /// The outside of the actor, once the node has begun.
    pub(super) fn mailbox(&self) -> Option<&Mailbox<S>> {
        self.running.get()
    }

    /// The cluster, once it is known.
    pub(super) fn cluster(&self) -> watch::Receiver<Option<ClusterId>> {
        self.cluster.subscribe()
    }

    /// Whether the node serves.
    pub(super) fn state(&self) -> NodeState {
        self.mailbox()
            .map_or(NodeState::Waiting, |mailbox| mailbox.state())
    }

    /// How many other nodes can be reached.
    pub(super) fn reachable_count(&self) -> usize {
        self.reachable_nodes().len()
    }

    /// Whether another node can be reached.
    pub(super) fn reaches(&self, node: NodeId) -> bool {
        self.reachable_nodes().contains(&node)
    }

    fn reachable_nodes(&self) -> MutexGuard<'_, BTreeSet<NodeId>> {
        self.reachable
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether another node is connected and yet silent.
    pub(super) fn suspects(&self, node: NodeId) -> bool {
        self.suspected().contains(node)
    }

    fn suspected(&self) -> MutexGuard<'_, Suspects> {
        self.suspects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks who is silent, and tells the actor. False once the node has stopped.
    pub(super) fn look_for_suspects(&self) -> bool {
        let now_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut suspects = self.suspected();
        for node in suspects.look(now_ms) {
            tracing::info!(node = node.0, "connected and silent: requests go around it");
            self.offer_suspicion(node, true);
        }
        !self.stopped.load(Ordering::Relaxed)
    }

    /// Tells the actor. Called under the lock of what is told, so that the last word is right.
    fn offer_suspicion(&self, node: NodeId, suspected: bool) {
        if let Some(mailbox) = self.mailbox() {
            mailbox.offer(Input::Suspected { node, suspected });
        }
    }

    /// Frames that were no messages.
    pub(super) fn invalid_messages(&self) -> u64 {
        self.invalid_messages.load(Ordering::Relaxed)
    }

    /// The store beside the actor that writes it, once the node has begun.
    pub(super) fn store(&self) -> Option<StoreReader> {
        let store = self.store.lock();
        store.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes note of the store that the node runs on, and lets go of it at the end.
    pub(super) fn set_store(&self, store: Option<StoreReader>) {
        *self.store.lock().unwrap_or_else(PoisonError::into_inner) = store;
    }

    /// Says that the node is about to stop.
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Whether the node is about to stop.
    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// An operator's word, for the task that forms the cluster; false if it has too much to do, or is done.
    pub(super) fn ask_to_bootstrap(&self, done: oneshot::Sender<ClusterId>) -> bool {
        self.forming.try_send(Forming::Bootstrap(done)).is_ok()
    }

    /// Begins: starts the actor, and tells it who cannot be reached.
    pub(super) fn begin(
        &self,
        cluster: ClusterId,
        (actor, mailbox): (Actor<S>, Mailbox<S>),
        dir: NodeDir,
    ) {
        let task = actor.start();
        *self.task.lock().unwrap_or_else(PoisonError::into_inner) = Some((task, dir));
        // Whoever comes or goes from here on is told to the actor by `reachable`.
        let reachable = self.reachable_nodes();
        for node in self.peers().filter(|node| !reachable.contains(node)) {
            let reachable = false;
            mailbox.offer(Input::Reachable { node, reachable });
        }
        let _again = self.running.set(mailbox);
        drop(reachable);
        self.cluster.send_replace(Some(cluster));
        if let Some(transport) = self.transport() {
            transport.set_cluster(cluster);
        }
    }

    /// Tells the actor again who can be reached: a hint that its inbox had no room for would otherwise be
    /// missing until the next change. False once the node has stopped.
    pub(super) fn repeat_hints(&self) -> bool {
        let held = self.reachable_nodes();
        if let Some(mailbox) = self.mailbox() {
            for node in self.peers() {
                let reachable = held.contains(&node);
                mailbox.offer(Input::Reachable { node, reachable });
            }
        }
        drop(held);
        let suspects = self.suspected();
        for node in self.peers() {
            self.offer_suspicion(node, suspects.contains(node));
        }
        !self.stopped.load(Ordering::Relaxed)
    }

    /// Stops the actor and waits for its end; its store is closed then.
    pub(super) async fn end(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.set_store(None);
        if let Some(mailbox) = self.mailbox() {
            mailbox.insist_here(Input::Stop).await;
        }
        let task = self.take_task();
        if let Some((task, _dir)) = task
            && task.await.is_err()
        {
            let node = self.node.0;
            tracing::error!(node, "the node had ended with a panic");
        }
    }

    fn take_task(&self) -> Option<(JoinHandle<()>, NodeDir)> {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        task.take()
    }

    /// Hands a message of the protocol to the actor.
    fn offer_message(&self, from: NodeId, message: SpaceMessage<S>, request: Option<RequestName>) {
        if let Some(mailbox) = self.mailbox() {
            mailbox.offer(Input::Message {
                from,
                message,
                request,
            });
        }
    }

    /// Sends a message, or loses it.
    pub(super) fn send(&self, to: NodeId, message: &WireMessage<S>) {
        if let Some(transport) = self.transport() {
            transport.send(to, message.frame());
        }
    }

    /// The address of a node for clients.
    pub(super) fn address_of(&self, node: NodeId) -> String {
        let address = self.options.clients.get(&node);
        address.cloned().unwrap_or_default()
    }
}

/// A network as its transport sees it: what arrives is handed on without waiting.
pub(super) struct Arrivals<S: StringPolicy>(pub(super) Arc<Network<S>>);

impl<S: StringPolicy> Handler for Arrivals<S> {
    fn message(&self, from: NodeId, frame: Bytes) {
        let network = &self.0;
        let message = match WireMessage::<S>::decode_frame(&frame) {
            Ok(message) => message,
            Err(error) => {
                if network.invalid_messages.fetch_add(1, Ordering::Relaxed) == 0 {
                    tracing::warn!(%from, %error, "a frame that is no message; more are only counted");
                }
                return;
            }
        };
        match message {
            WireMessage::Space(message) => network.offer_message(from, message, None),
            WireMessage::Named(request, message) => {
                network.offer_message(from, message, Some(request));
            }
            WireMessage::Standing(standing) => {
                // Shown again and again until this node belongs to a cluster.
                let _full = network.forming.try_send(Forming::Shown(from, standing));
            }
            WireMessage::Status(StatusMessage::Ask { number }) => {
                let network = Arc::clone(network);
                tokio::spawn(async move {
                    let status = Box::new(network.own_status().await);
                    let answer = StatusMessage::Answer { number, status };
                    network.send(from, &WireMessage::Status(answer));
                });
            }
            WireMessage::Status(StatusMessage::Answer { number, status }) => {
                network.note_status(from, number, *status);
            }
            WireMessage::Status(StatusMessage::Verify { number, store }) => {
                let network = Arc::clone(network);
                tokio::spawn(async move {
                    let verification = Box::new(network.own_verification(store).await);
                    let answer = StatusMessage::Verified {
                        number,
                        verification,
                    };
                    network.send(from, &WireMessage::Status(answer));
                });
            }
            WireMessage::Status(StatusMessage::Verified {
                number,
                verification,
            }) => network.note_verification(from, number, *verification),
        }
    }

    fn reachable(&self, node: NodeId, reachable: bool) {
        let network = &self.0;
        let mut held = network.reachable_nodes();
        match reachable {
            true => held.insert(node),
            false => held.remove(&node),
        };
        if let Some(mailbox) = network.mailbox() {
            mailbox.offer(Input::Reachable { node, reachable });
        }
        drop(held);
        let mut suspects = network.suspected();
        if suspects.note_connected(node, reachable) {
            network.offer_suspicion(node, false);
        }
    }

    fn heard(&self, from: NodeId) {
        let network = &self.0;
        let mut suspects = network.suspected();
        if suspects.note_heard(from) {
            tracing::info!(node = from.0, "heard from again");
            network.offer_suspicion(from, false);
        }
    }

    fn cluster(&self, from: NodeId, cluster: ClusterId) {
        let standing = ClusterStanding::Member(cluster);
        let _full = self.0.forming.try_send(Forming::Shown(from, standing));
    }
}

impl<S: StringPolicy> Router<S> for Network<S> {
    fn deliver(
        &self,
        _: NodeId,
        to: NodeId,
        message: SpaceMessage<S>,
        request: Option<RequestName>,
    ) {
        let Some(transport) = self.transport() else {
            return;
        };
        let version = transport.version(to);
        let message = WireMessage::space(message, request, version);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let frame = match &*last {
            Some((sent, frame)) if sent.is_same(&message) => frame.clone(),
            _ => {
                let frame = message.frame();
                *last = Some((message, frame.clone()));
                frame
            }
        };
        drop(last);
        transport.send(to, frame);
    }
}
