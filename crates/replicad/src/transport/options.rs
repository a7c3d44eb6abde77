//! What a transport is told at its start.

use replica::NodeId;
use std::collections::BTreeSet;
use std::time::Duration;

use super::error::TransportError;
use super::handshake::{VERSIONS, Versions};
use super::tls::PeerTls;
use crate::storage::ClusterId;
use crate::terms::StoreTerms;

/// Everything that a transport is told.
#[derive(Debug, Clone)]
pub struct TransportOptions {
    /// This node.
    pub node: NodeId,
    /// The name of the cluster. Peers that give another are refused, and it is part of the name in each node's
    /// certificate.
    pub cluster_name: String,
    /// The random identity of the cluster, or `None` of a node that does not know it yet. Two nodes that know
    /// different ones refuse each other.
    pub cluster: Option<ClusterId>,
    /// What the node says of its store; peers that say something else are refused. `None` of a transport that serves
    /// no store.
    pub terms: Option<StoreTerms>,
    /// Host and port to listen on for peers.
    pub listen: String,
    /// The other nodes, with host and port. Names are looked up anew for each attempt to connect.
    pub peers: Vec<(NodeId, String)>,
    /// Certificates. Without them peers are believed what they say, which suits loopback only.
    pub tls: Option<PeerTls>,
    /// Bounds.
    pub limits: TransportLimits,
    /// Times.
    pub timeouts: TransportTimeouts,
    /// The versions of the wire protocol that are spoken.
    pub versions: Versions,
}

/// Bounds of queues and frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransportLimits {
    /// Longest frame, in bytes, in both directions. A peer that announces a longer one is disconnected.
    pub max_frame_bytes: usize,
    /// Frames of this length and longer take the large lane.
    pub large_frame_bytes: usize,
    /// Frames that are queued or being written, for each lane of each peer.
    pub queue_frames: usize,
    /// Their bytes, for each lane of each peer. A single longer frame is taken if nothing else is queued.
    pub queue_bytes: usize,
    /// Connections that have not finished their handshake; more are closed at once.
    pub max_handshakes: usize,
}

impl Default for TransportLimits {
    fn default() -> Self {
        Self {
            max_frame_bytes: 64 << 20,
            large_frame_bytes: 64 << 10,
            queue_frames: 1 << 16,
            queue_bytes: 64 << 20,
            max_handshakes: 64,
        }
    }
}

/// How long things may take. Nodes of one cluster should agree on `heartbeat` and `dead`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransportTimeouts {
    /// To open a TCP connection.
    pub connect: Duration,
    /// From the open connection to the end of the handshake, TLS included.
    pub handshake: Duration,
    /// Between heartbeats.
    pub heartbeat: Duration,
    /// Without a sign of life, until a connection is given up.
    pub dead: Duration,
    /// Least wait before a peer is dialled again.
    pub reconnect_min: Duration,
    /// Most; the wait doubles with each attempt that fails, and half of it is random.
    pub reconnect_max: Duration,
    /// For peers to take what is queued when the transport stops.
    pub stop: Duration,
}

impl Default for TransportTimeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            handshake: Duration::from_secs(3),
            heartbeat: Duration::from_millis(250),
            dead: Duration::from_millis(1_500),
            reconnect_min: Duration::from_millis(50),
            reconnect_max: Duration::from_secs(2),
            stop: Duration::from_secs(2),
        }
    }
}

impl TransportOptions {
    /// Options with the default bounds and times, without TLS.
    pub fn new(
        node: NodeId,
        cluster_name: impl Into<String>,
        listen: impl Into<String>,
        peers: Vec<(NodeId, String)>,
    ) -> Self {
        Self {
            node,
            cluster_name: cluster_name.into(),
            cluster: None,
            terms: None,
            listen: listen.into(),
            peers,
            tls: None,
            limits: TransportLimits::default(),
            timeouts: TransportTimeouts::default(),
            versions: VERSIONS,
        }
    }

    /// Checks that the parts fit together.
    pub(super) fn validate(&self) -> Result<(), TransportError> {
        let mut seen = BTreeSet::from([self.node]);
        if let Some((node, _)) = self.peers.iter().find(|(node, _)| !seen.insert(*node)) {
            return Err(TransportError::PeerTwice { node: *node });
        }
        let (limits, times) = (&self.limits, &self.timeouts);
        if u32::try_from(limits.max_frame_bytes).is_err() {
            return Err(TransportError::Frame {
                bytes: limits.max_frame_bytes,
            });
        }
        let zeros = [
            ("max_frame_bytes", limits.max_frame_bytes == 0),
            ("queue_frames", limits.queue_frames == 0),
            ("queue_bytes", limits.queue_bytes == 0),
            ("max_handshakes", limits.max_handshakes == 0),
            ("heartbeat", times.heartbeat.is_zero()),
            ("reconnect_min", times.reconnect_min.is_zero()),
        ];
        if let Some((name, _)) = zeros.into_iter().find(|(_, zero)| *zero) {
            return Err(TransportError::Zero(name));
        }
        if times.dead <= times.heartbeat {
            let (heartbeat, dead) = (times.heartbeat, times.dead);
            return Err(TransportError::Heartbeat { heartbeat, dead });
        }
        Ok(())
    }
}
