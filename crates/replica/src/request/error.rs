//! Why a request came to nothing.

use crdt::{CausalContext, Timestamp};
use serde::{Deserialize, Serialize};

use super::Level;
use crate::{NodeId, PartitionId};

/// Why a request failed, and whether a failed write may still take effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum RequestError {
    /// Too few owners can be reached, so that waiting is of no use. A write that was begun may still take effect: it
    /// is held by those that acknowledged it and spreads from there.
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
    /// A retry of a write has not found it, and not all owners could say that they do not have it: it may
    /// have been carried out by one that is silent, or has lost its data. Nothing was changed. The retry can be
    /// repeated; or the write is made anew under another name, beside the one that may still take effect.
    #[error(
        "not known whether the write was carried out: {denied} of {owners} owners say that they do not \
         have it, the others cannot be asked; it may still take effect"
    )]
    OutcomeUnknown {
        /// Owners that do not have it, the coordinator included.
        denied: usize,
        /// Owners of the key.
        owners: usize,
    },
    /// A write had a name, and the store remembers none: it gossips, or
    /// [`Config::operation_memory`](crate::Config::operation_memory) is 0. Nothing was changed.
    #[error("this store does not remember which writes it has carried out")]
    OperationsForgotten,
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
    /// above it. Nothing was changed; unless that has shown only at another owner, which holds the write by then.
    #[error(
        "the key's timestamp is {ahead_ms} ms ahead of this node's clock, the bound is {bound_ms} ms{}",
        if *.may_take_effect { "; the write may still take effect, and lose" } else { "" }
    )]
    TimestampAhead {
        /// How far ahead, in milliseconds.
        ahead_ms: u64,
        /// The drift bound, in milliseconds.
        bound_ms: u64,
        /// Whether the write was made before, has lost, and was to be made again.
        may_take_effect: bool,
    },
    /// The session has seen events that no owner that was reached in time has. Nothing was changed.
    #[error(
        "the session has seen {missing} events of {partition} that the {answered} owners reached do \
         not have yet (the first is {first})"
    )]
    SessionUnmet {
        /// The partition.
        partition: PartitionId,
        /// How many events are missing.
        missing: u64,
        /// The first of them.
        first: String,
        /// Owners whose knowledge was joined, the coordinator included.
        answered: usize,
    },
    /// The session has seen events that are lost for good: the node that had written them lost its data,
    /// and no owner has them. Nothing was changed. A session that goes on without them takes them off its
    /// token: [`Token::prune`](crate::Token::prune).
    #[error("the session has seen events of {partition} that are lost for good: {lost}")]
    SessionLost {
        /// The partition.
        partition: PartitionId,
        /// The events; boxed, as results are handed around far more often than this error is made.
        lost: Box<CausalContext>,
    },
    /// A write of a store that takes the caller's timestamps came without one. Nothing was changed.
    #[error("this store orders writes by the caller's timestamps: the write needs one")]
    TimestampNeeded,
    /// A write came with a timestamp to a store that gives its own. Nothing was changed.
    #[error("this store gives its own timestamps: the write must not bring one")]
    TimestampNotTaken,
    /// The caller's timestamp is not above the horizon up to which tombstones may have been forgotten.
    /// Nothing was changed.
    #[error("timestamp {timestamp} is not above the horizon {horizon}")]
    TimestampBelowHorizon {
        /// The caller's timestamp.
        timestamp: Timestamp,
        /// The horizon.
        horizon: Timestamp,
    },
    /// The session's token has a time far above this node's clock: it was made up, or comes from another
    /// store. Nothing was changed.
    #[error("the session's token is {lead} above this node's clock, the limit is {limit}")]
    TokenAhead {
        /// How far it is ahead.
        lead: u64,
        /// The configured limit.
        limit: u64,
    },
    /// The caller's timestamp is below what the session has seen, so the write could not win over it.
    /// Nothing was changed.
    #[error("timestamp {timestamp} is below {session}, which the session has seen")]
    TimestampBelowSession {
        /// The caller's timestamp.
        timestamp: Timestamp,
        /// The latest that the session has read or written.
        session: Timestamp,
    },
    /// Level `Linearizable` in a store that takes the caller's timestamps, where a later write loses to
    /// an earlier one with a higher timestamp. Nothing was changed.
    #[error(
        "the caller's timestamps decide here, not the moment of a write: nothing is linearizable"
    )]
    TimestampsAreNotMoments,
    /// The level needs quorums that meet (`R + W > K` and `2W > K`). Nothing was changed.
    #[error("level Linearizable needs R + W > K and 2W > K, here K = {k}, W = {w} and R = {r}")]
    LevelNotOffered {
        /// Owners of a key.
        k: u32,
        /// Owners that hold a write.
        w: u32,
        /// Owners that a read joins.
        r: u32,
    },
    /// A store that gossips counts no owners. Nothing was changed.
    #[error("a store that gossips answers at level One only, not at {level:?}")]
    GossipsOnly {
        /// The level asked for.
        level: Level,
    },
    /// The key belongs to a partition that the node asked does not own, and no owner could be asked.
    /// Nothing was changed, unless it was a write that `may_take_effect`.
    #[error(
        "no owner of {partition} answered{}",
        if *.may_take_effect { "; the write may still take effect" } else { "" }
    )]
    Unreachable {
        /// The partition.
        partition: PartitionId,
        /// Whether the request was a write that some owner may hold.
        may_take_effect: bool,
    },
    /// A timestamp could not be given because the clock has reached its end. Nothing was changed, unless the write was
    /// made before.
    #[error(
        "the node's clock cannot advance any further{}",
        if *.may_take_effect { "; the write may still take effect" } else { "" }
    )]
    ClockExhausted {
        /// Whether the write was made before, has lost, and was to be made again.
        may_take_effect: bool,
    },
    /// The disk under the node asked has less room than is kept in reserve: it takes no writes until
    /// there is more, and goes on answering reads. Nothing was changed.
    #[error(
        "{node} takes no writes: its disk has {free} bytes left and keeps {reserve} in reserve"
    )]
    NoRoom {
        /// The node asked.
        node: NodeId,
        /// Bytes that are left.
        free: u64,
        /// Bytes that are kept in reserve.
        reserve: u64,
    },
    /// The time for the request is over, though enough owners seemed to be there. A write may still take effect, as
    /// with [`NoMajority`](Self::NoMajority).
    #[error(
        "the deadline has passed: {answered} of the {needed} needed nodes answered{}",
        if *.may_take_effect { "; the write may still take effect" } else { "" }
    )]
    Deadline {
        /// Owners that answered, the coordinator included. Of a request that was forwarded only the coordinator
        /// counts, and it has not answered.
        answered: usize,
        /// Owners that had to answer.
        needed: usize,
        /// Whether the request was a write that some owner may hold.
        may_take_effect: bool,
    },
    /// The values that wait for their turn at this node take too much room. Nothing was changed.
    #[error("{waiting} bytes of values wait for their turn, the limit is {limit}; try again later")]
    TooMuchWaiting {
        /// Their bytes, those of the request included.
        waiting: usize,
        /// The configured limit, in bytes.
        limit: usize,
    },
}

impl RequestError {
    /// Whether a write that failed like this may still take effect.
    pub const fn may_take_effect(&self) -> bool {
        match self {
            Self::NoMajority {
                may_take_effect, ..
            }
            | Self::Deadline {
                may_take_effect, ..
            }
            | Self::Unreachable {
                may_take_effect, ..
            }
            | Self::TimestampAhead {
                may_take_effect, ..
            }
            | Self::ClockExhausted { may_take_effect } => *may_take_effect,
            Self::StorageFailed { .. } | Self::OutcomeUnknown { .. } => true,
            _ => false,
        }
    }

    /// Why a timestamp could not be given, said of a write that was made before and is to be made again.
    #[must_use]
    pub(crate) const fn of_a_write_made_before(mut self) -> Self {
        if let Self::TimestampAhead {
            may_take_effect, ..
        }
        | Self::ClockExhausted { may_take_effect } = &mut self
        {
            *may_take_effect = true;
        }
        self
    }
}
