//! What a client asks of a node, and what it is told.

use bytes::Bytes;
use crdt::Timestamp;
use std::fmt;

use crate::NodeId;

/// Identifies one client request at the node that coordinates it. Chosen by the driver, unique while
/// the request is pending at that node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// How many owners must agree before a request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Level {
    /// The node asked answers alone. A write is durable there and on its way to the others; a read
    /// may be stale.
    One,
    /// `W` owners hold a write before it is acknowledged, `R` owners are joined for a read. A write
    /// that starts after another was acknowledged wins over it, and a read sees every write that was
    /// acknowledged before it started.
    #[default]
    Quorum,
}

/// One operation on one key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Command {
    /// Read a key.
    Get {
        /// The key.
        key: Bytes,
    },
    /// Write a value.
    Put {
        /// The key.
        key: Bytes,
        /// Its new value.
        value: Bytes,
    },
    /// Delete a key. Deleting an absent key is a write like any other.
    Delete {
        /// The key.
        key: Bytes,
    },
}

impl Command {
    /// The key that the command touches.
    pub fn key(&self) -> &Bytes {
        match self {
            Self::Get { key } | Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }

    /// Whether the command changes the store.
    pub fn is_write(&self) -> bool {
        !matches!(self, Self::Get { .. })
    }
}

/// The answer to a [`Command`] that succeeded.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The answer to a read: the value, or `None` if the key is absent.
    Read {
        /// The value.
        value: Option<Bytes>,
        /// When that value was written, or the key deleted; `None` if nothing is held for the key.
        timestamp: Option<Timestamp>,
    },
    /// The answer to a write or delete.
    Written {
        /// The timestamp under which it took effect.
        timestamp: Timestamp,
        /// How many owners acknowledged it, the coordinator included.
        acknowledged: usize,
    },
}

/// Why a request failed, and whether a failed write may still take effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// Too few owners answered in time, or too few are up. A write may still take effect: it is held
    /// by those that acknowledged it and spreads from there.
    #[error(
        "no majority: {acknowledged} of the {needed} needed nodes answered{}",
        if *.may_take_effect { "; the write may still take effect" } else { "" }
    )]
    NoMajority {
        /// Owners that answered, the coordinator included.
        acknowledged: usize,
        /// Owners that had to answer.
        needed: usize,
        /// Whether the request was a write that some node holds.
        may_take_effect: bool,
    },
    /// The node asked has failed. Nothing was changed.
    #[error("{0} has failed and serves nothing until it is recovered")]
    NodeFailed(NodeId),
    /// The node asked is catching up after losing its data. Nothing was changed.
    #[error("{node} is recovering: {reconciled} of {needed} nodes reconciled; ask another node")]
    Recovering {
        /// The node asked.
        node: NodeId,
        /// Sources whose knowledge it already covers.
        reconciled: usize,
        /// Sources it needs.
        needed: usize,
    },
    /// Storage failed under the node asked. It serves nothing until it is restarted. A write in
    /// flight may still take effect.
    #[error("storage of {node} failed ({cause}); a write in flight may still take effect")]
    StorageFailed {
        /// The node asked.
        node: NodeId,
        /// What the storage said.
        cause: String,
    },
    /// The key is longer than the limit. Nothing was changed.
    #[error("key of {size} bytes is over the limit of {limit}")]
    KeyTooLarge {
        /// Size of the key in bytes.
        size: usize,
        /// The configured limit in bytes.
        limit: usize,
    },
    /// The value is longer than the limit. Nothing was changed.
    #[error("value of {size} bytes is over the limit of {limit}")]
    ValueTooLarge {
        /// Size of the value in bytes.
        size: usize,
        /// The configured limit in bytes.
        limit: usize,
    },
    /// Too many requests are pending at this node. Nothing was changed.
    #[error("{pending} requests are pending, the limit is {limit}; try again later")]
    Overloaded {
        /// Requests pending.
        pending: usize,
        /// The configured limit.
        limit: usize,
    },
    /// The key was last written with a timestamp too far ahead of this node's physical clock to write
    /// above it. A write in flight may still take effect, and lose.
    #[error(
        "the key's timestamp is {ahead_ms} ms ahead of this node's clock, the bound is {bound_ms} ms"
    )]
    TimestampAhead {
        /// How far ahead, in milliseconds.
        ahead_ms: u64,
        /// The drift bound, in milliseconds.
        bound_ms: u64,
    },
    /// A timestamp could not be given because the clock has reached its end. A write in flight may
    /// still take effect.
    #[error("the node's clock cannot advance any further; a write in flight may still take effect")]
    ClockExhausted,
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "request {}", self.0)
    }
}
