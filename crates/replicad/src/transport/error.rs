//! What can go wrong with a transport, and with one of its connections.

use replica::NodeId;
use std::io;
use std::time::Duration;

/// A transport could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The address cannot be listened on.
    #[error("cannot listen for peers on {address}: {cause}")]
    Bind {
        /// Host and port.
        address: String,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// A peer that is in the list twice, or is this node.
    #[error("{node} is in the list of peers twice, or is this node itself")]
    PeerTwice {
        /// The peer.
        node: NodeId,
    },
    /// A frame whose length does not fit into four bytes.
    #[error("frames of {bytes} bytes: the length of a frame has to fit into 32 bits")]
    Frame {
        /// The limit asked for.
        bytes: usize,
    },
    /// A limit or time of zero.
    #[error("{0} must not be zero")]
    Zero(&'static str),
    /// A peer would be given up before it could answer.
    #[error(
        "a peer is given up after {dead:?} and heard of every {heartbeat:?}: the first has to be longer"
    )]
    Heartbeat {
        /// Time between heartbeats.
        heartbeat: Duration,
        /// Time until a peer is given up.
        dead: Duration,
    },
    /// The system has no randomness.
    #[error("the system gives no random numbers: {0}")]
    Random(String),
}

/// Why a connection was not made, or has ended. The text goes into the log and to whoever asks for the
/// state of a peer.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error("cannot connect to {address}: {cause}")]
    Connect { address: String, cause: io::Error },
    #[error("{address} does not answer within {after:?}")]
    ConnectTimeout { address: String, after: Duration },
    #[error("the handshake took longer than {0:?}")]
    HandshakeTimeout(Duration),
    #[error("TLS: {0}")]
    Tls(io::Error),
    #[error("the peer refused: {0}")]
    RefusedByPeer(String),
    #[error("refused: {0}")]
    Refused(#[from] super::handshake::Refusal),
    #[error("the peer does not speak the protocol of replicad nodes: {0}")]
    Malformed(&'static str),
    #[error("no sign of life for {0:?}")]
    Dead(Duration),
    #[error("the peer closed the connection")]
    Closed,
    #[error("a later connection of the peer took its place")]
    Replaced,
    #[error("connection lost: {0}")]
    Io(#[from] io::Error),
}
