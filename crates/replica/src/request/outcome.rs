//! What a request came to.

use bytes::Bytes;
use crdt::{CausalContext, Dot, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

use super::{Floor, Level};
use crate::message::StoredCell;

/// The answer to a [`Request`](super::Request) that succeeded.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(bound(
    serialize = "C: Serialize",
    deserialize = "C: crdt::Cell + serde::de::DeserializeOwned"
))]
#[non_exhaustive]
pub enum Outcome<C = StoredCell> {
    /// The answer to a read.
    Read {
        /// What the key holds; bottom if it is absent.
        cell: C,
        /// What the answer has seen: the context of a write that replaces it, and what a session's
        /// later reads must have seen too.
        seen: Floor,
        /// What every owner of the key has: a session need not ask for it any more.
        stable: Arc<CausalContext>,
        /// How many owners were joined, the coordinator included.
        owners: usize,
        /// What is guaranteed of it.
        met: Met,
    },
    /// The answer to a write.
    Written {
        /// The timestamp under which it took effect.
        timestamp: Timestamp,
        /// The event with that timestamp: the one minted for the write, or the one that has won over it.
        /// `None` if there was nothing to change.
        event: Option<Dot>,
        /// What a session's later reads must have seen.
        seen: Floor,
        /// What every owner of the key has: a session need not ask for it any more.
        stable: Arc<CausalContext>,
        /// Whether it changed the key: with the caller's timestamps an older write does not. Of a write
        /// that was found by a retry and has no place of its own among all writes (at level `One`, or with the caller's
        /// timestamp), whether nothing has been seen to win over it since, or before.
        took_effect: bool,
        /// How many owners hold it, the coordinator included.
        acknowledged: usize,
        /// What is guaranteed of it.
        met: Met,
    },
}

/// Which guarantee an [`Outcome`] has met. It is never less than was asked for: what cannot be met is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Met {
    /// The level.
    pub level: Level,
    /// Whether there was a [`Floor`], so that a read has seen all that the session had, and a write comes after it.
    pub session: bool,
}

impl Met {
    /// What a request asks for.
    pub fn asked(level: Level, floor: &Floor) -> Self {
        let session = !floor.is_bottom();
        Self { level, session }
    }
}

impl fmt::Display for Met {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::One => "one",
            Level::Quorum => "quorum",
            Level::All => "all",
            Level::Linearizable => "linearizable",
        };
        let session = if self.session {
            ", after the session"
        } else {
            ""
        };
        write!(f, "{level}{session}")
    }
}

impl<C> Outcome<C> {
    /// Which guarantee was met.
    pub const fn met(&self) -> Met {
        match self {
            Self::Read { met, .. } | Self::Written { met, .. } => *met,
        }
    }

    /// What the operation has seen.
    pub const fn seen(&self) -> &Floor {
        match self {
            Self::Read { seen, .. } | Self::Written { seen, .. } => seen,
        }
    }

    /// The events of the key's partition that every owner has: [`Partition::stable`](crate::Partition::stable).
    pub const fn stable(&self) -> &Arc<CausalContext> {
        match self {
            Self::Read { stable, .. } | Self::Written { stable, .. } => stable,
        }
    }
}

impl Outcome {
    /// The value that a read of a store by time has found.
    pub fn value(&self) -> Option<&Bytes> {
        match self {
            Self::Read { cell, .. } => cell.value(),
            Self::Written { .. } => None,
        }
    }

    /// When that value was written, or the key deleted; of a write, when it took effect.
    pub fn timestamp(&self) -> Option<Timestamp> {
        match self {
            Self::Read { cell, .. } => cell.timestamp(),
            Self::Written { timestamp, .. } => Some(*timestamp),
        }
    }
}
