//! Messages between the nodes of a cluster, over TCP and, where it is configured, mutual TLS.
//!
//! The protocol above makes good whatever is lost, repeated or reordered, so this layer promises little and
//! never waits: a message is written once to a connection that is up, or dropped and counted. What it does
//! promise: a message arrives whole or not at all, came from the node that it is said to come from, and
//! messages of one lane that arrive keep their order.
//!
//! **Connections.** A node dials each peer twice and sends on what it has dialled only; what it has accepted
//! it only reads. So nobody has to decide which of two connections stays, and each direction is mended by
//! the side that wants to send. The two connections are *lanes*: frames below
//! [`TransportLimits::large_frame_bytes`] take the small lane, all others the large one, so a value of
//! 1 MiB never stands before a small message. Order between lanes is not kept.
//!
//! **Frames.** Four bytes of length, big-endian, and as many bytes. An empty frame is a heartbeat; the receiver
//! answers with another, the only thing it ever sends on a connection that it has accepted. A peer that
//! answers no heartbeat, and takes no bytes that wait for it, is unreachable after
//! [`TransportTimeouts::dead`]; its connections are closed and dialled again.
//!
//! **Handshake.** The first frame each way says who speaks; see `handshake.rs` for the bytes. Whoever is
//! refused is told why.
//!
//! **Bounds.** Each lane to each peer has a queue with a limit of frames and of bytes, the bytes that are being
//! written included. A frame for a full queue, or for a lane that is not connected, is dropped and counted
//! ([`PeerCounters`]). While a lane is down it holds nothing, so that a peer that comes back gets no old news.

mod accept;
mod backoff;
mod batch;
mod counters;
mod error;
mod frame;
mod handshake;
mod lane;
mod options;
mod peer;
mod queue;
mod receiving;
mod stream;
pub mod tls;

#[cfg(test)]
mod tests;

use bytes::Bytes;
use replica::NodeId;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{self, Instant};

pub use crate::storage::ClusterId;
pub use counters::{Counters, LaneCounters, PeerCounters};
pub use error::TransportError;
pub use frame::{Frame, LEAST_PIECE_BYTES};
pub use handshake::{Lane, VERSIONS, Versions};
pub use options::{TransportLimits, TransportOptions, TransportTimeouts};
use peer::Peer;
pub use receiving::OWN_BUFFER_BYTES;

/// What takes the messages. It is called on the tasks of the transport and must not block: a message that
/// finds no room is lost, and the protocol makes good for it.
pub trait Handler: Send + Sync + 'static {
    /// A message of `from`. The bytes are a slice of the receive buffer, which many short frames share; only a frame of
    /// [`OWN_BUFFER_BYTES`] or more has one to itself. Whoever keeps a small part of a message for long copies it, or
    /// keeps the whole buffer.
    fn message(&self, from: NodeId, frame: Bytes);

    /// Whether messages to `node` are sent from now on (`true`) or dropped. A hint: the peer may have gone
    /// the moment before. Calls for one node are in order, and each changes what the last one said.
    fn reachable(&self, node: NodeId, reachable: bool);

    /// Something of `from` has arrived: messages, or a heartbeat. Called once for all that was read at once. Does
    /// nothing unless it is implemented.
    fn heard(&self, from: NodeId) {
        let _ = from;
    }

    /// `from` belongs to this cluster, and this node was started without knowing any
    /// ([`TransportOptions::cluster`]). May be called more than once. Whoever accepts it stores it and calls
    /// [`Transport::set_cluster`]. Does nothing unless it is implemented.
    fn cluster(&self, from: NodeId, cluster: ClusterId) {
        let _ = (from, cluster);
    }
}

/// The connections of one node to all others.
pub struct Transport {
    shared: Arc<Shared>,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    tasks: Mutex<JoinSet<()>>,
}

/// What all tasks see.
struct Shared {
    options: TransportOptions,
    handler: Arc<dyn Handler>,
    cluster: watch::Sender<Option<ClusterId>>,
    peers: BTreeMap<NodeId, Peer>,
    counters: Counters,
    /// Tells this life of the process from others under the same number.
    process: u64,
    started: Instant,
    /// Seconds since the start, and one more, at which something that strangers cause was last logged as a warning.
    last_warning: AtomicU64,
}

impl Shared {
    /// Whether a warning that strangers can cause may be logged: once a second.
    fn may_warn(&self) -> bool {
        let now = self.started.elapsed().as_secs() + 1;
        self.last_warning.swap(now, Relaxed) != now
    }
}

impl Transport {
    /// Listens on `options.listen` and keeps connecting to all peers until [`stop`](Self::stop), or until it
    /// is dropped. Runs on the tokio runtime that it is called on.
    ///
    /// # Errors
    /// If the options contradict themselves, the address cannot be listened on, or the system has no randomness.
    pub async fn start(
        options: TransportOptions,
        handler: Arc<dyn Handler>,
    ) -> Result<Self, TransportError> {
        options.validate()?;
        let listener =
            TcpListener::bind(&options.listen)
                .await
                .map_err(|cause| TransportError::Bind {
                    address: options.listen.clone(),
                    cause,
                })?;
        Self::start_on(listener, options, handler)
    }

    /// The same on a listener that is open already; `options.listen` is not looked at.
    ///
    /// # Errors
    /// If the options contradict themselves, the listener is broken, or the system has no randomness.
    pub fn start_on(
        listener: TcpListener,
        options: TransportOptions,
        handler: Arc<dyn Handler>,
    ) -> Result<Self, TransportError> {
        options.validate()?;
        let process =
            getrandom::u64().map_err(|error| TransportError::Random(error.to_string()))?;
        let address = listener
            .local_addr()
            .map_err(|cause| TransportError::Bind {
                address: options.listen.clone(),
                cause,
            })?;
        let peers = options
            .peers
            .iter()
            .map(|(node, address)| {
                let peer = Peer::new(address.clone(), &options.limits, options.versions.min);
                (*node, peer)
            })
            .collect();
        let shared = Arc::new(Shared {
            cluster: watch::Sender::new(options.cluster),
            options,
            handler,
            peers,
            counters: Counters::default(),
            process,
            started: Instant::now(),
            last_warning: AtomicU64::new(0),
        });
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(accept::run(listener, Arc::clone(&shared), stopped.clone()));
        for node in shared.peers.keys() {
            for lane in Lane::ALL {
                tasks.spawn(lane::run(Arc::clone(&shared), *node, lane, stopped.clone()));
            }
        }
        Ok(Self {
            shared,
            address,
            stop,
            tasks: Mutex::new(tasks),
        })
    }

    /// Sends one encoded message. Never waits: the frame is dropped and counted if the peer is unknown or not
    /// connected, if its queue is full, or if the frame is empty or longer than a frame may be.
    pub fn send(&self, to: NodeId, frame: impl Into<Frame>) {
        self.send_frame(to, frame.into());
    }

    fn send_frame(&self, to: NodeId, frame: Frame) {
        let limits = &self.shared.options.limits;
        let Some(peer) = self.shared.peers.get(&to) else {
            self.shared.counters.dropped_unknown.fetch_add(1, Relaxed);
            return;
        };
        let bytes = frame.len();
        if bytes == 0 || bytes > limits.max_frame_bytes {
            if peer.counters.dropped_length.fetch_add(1, Relaxed) == 0 {
                let limit = limits.max_frame_bytes;
                tracing::error!(
                    node = to.0,
                    bytes,
                    limit,
                    "a message is too long to be sent"
                );
            }
            return;
        }
        let lane = match bytes < limits.large_frame_bytes {
            true => Lane::Small,
            false => Lane::Large,
        };
        peer.queue(lane).push(frame, peer.counters.lane(lane));
    }

    /// The version of messages that `node` understands, as it was agreed on when it was last connected; the earliest that
    /// this node speaks before that, and of a node that is no peer. A frame that waits while the peer is replaced by an
    /// older program is dropped with its connection, or counted there as no message.
    pub fn version(&self, node: NodeId) -> u16 {
        let earliest = self.shared.options.versions.min;
        self.shared.peers.get(&node).map_or(earliest, Peer::version)
    }

    /// Says which cluster this node belongs to, once it knows. Connections that were made without it are made
    /// anew, so that peers hear of it; connections with another cluster are closed.
    pub fn set_cluster(&self, cluster: ClusterId) {
        self.shared.cluster.send_if_modified(|current| {
            let changes = *current != Some(cluster);
            *current = Some(cluster);
            changes
        });
    }

    /// The address that peers connect to.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What was counted of all peers together.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// What was counted of each peer.
    pub fn peers(&self) -> impl Iterator<Item = (NodeId, &PeerCounters)> {
        self.shared
            .peers
            .iter()
            .map(|(node, peer)| (*node, &peer.counters))
    }

    /// Whether messages to `node` are sent and not dropped.
    pub fn is_reachable(&self, node: NodeId) -> bool {
        self.shared.peers.get(&node).is_some_and(Peer::is_reachable)
    }

    /// Why `node` cannot be reached, in words; `None` while it can, or before the first attempt has ended.
    pub fn trouble(&self, node: NodeId) -> Option<String> {
        self.shared.peers.get(&node).and_then(Peer::trouble)
    }

    /// Writes what is queued, for as long as [`TransportTimeouts::stop`], and closes everything. A second call
    /// does nothing.
    pub async fn stop(&self) {
        self.stop.send_replace(true);
        let mut tasks = {
            let mut held = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *held)
        };
        let all = async { while tasks.join_next().await.is_some() {} };
        if time::timeout(self.shared.options.timeouts.stop, all)
            .await
            .is_err()
        {
            tracing::warn!("messages that peers did not take in time are dropped");
            tasks.shutdown().await;
        }
    }
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transport")
            .field("node", &self.shared.options.node)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// Completes when the transport is to stop, or was dropped.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|&stop| stop).await;
}
