//! What a client asks of a node, and what it is told.

use bytes::Bytes;
use crdt::{CausalContext, Dot, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

use crate::message::StoredCell;
use crate::policy::LwwWrite;
use crate::{NodeId, Operation, OperationId, PartitionId};

/// Identifies one client request at the node that coordinates it. Chosen by the driver, unique while
/// the request is pending at that node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// How many owners must agree before a request is answered, and on what.
///
/// A session is no level of its own: it is a [`Floor`] beside any of them, [`One`](Self::One) above all. With a floor
/// `One` is what other stores call level `Session`: the node asked answers alone if it has seen what the session has,
/// asks others if not, and says [`RequestError::SessionUnmet`] rather than go back in time. With a floor `Quorum` is a
/// session whose writes survive as well. A level of its own would say less: it would be `One` with a floor, and a
/// session at `Quorum` or `Linearizable` could not be said. [`Met`] tells both of what was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Level {
    /// The node asked answers alone. A write is durable there and on its way to the others; a read
    /// may be stale, though never older than the [`Floor`] of its session: with one this is a session's level.
    One,
    /// `W` owners hold a write before it is acknowledged, `R` owners are joined for a read. With
    /// `R + W > K` and `2W > K` a write that starts after another was acknowledged wins over it, and a
    /// read sees every write that was acknowledged before it started.
    #[default]
    Quorum,
    /// All owners hold a write, and all are joined for a read.
    All,
    /// Every operation takes effect at one moment between its start and its answer. Holds for a key if
    /// every operation on it uses this level; costs a second round of messages. Needs `R + W > K` and
    /// `2W > K`.
    ///
    /// Source: Lynch, Shvartsman, *Robust Emulation of Shared Memory Using Dynamic Quorum-Acknowledged
    /// Broadcasts*, 1997 (a register with many writers).
    Linearizable,
}

/// One operation on one key. `W` is what the store's [`Policy`](crate::Policy) calls a write.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Command<W = LwwWrite> {
    /// Read a key.
    Get {
        /// The key.
        key: Bytes,
    },
    /// Change a key.
    Write {
        /// The key.
        key: Bytes,
        /// The change.
        write: W,
        /// What its author had read of the key, which is what it replaces; `None` for all that the
        /// coordinator holds. A store by time has no use for it.
        context: Option<CausalContext>,
    },
}

impl Command {
    /// Writes a value in a store by time.
    pub fn put(key: Bytes, value: Bytes) -> Self {
        let (value, timestamp) = (Some(value), None);
        Self::write(key, LwwWrite { value, timestamp })
    }

    /// Deletes a key in a store by time. Deleting an absent key is a write like any other.
    pub fn delete(key: Bytes) -> Self {
        let (value, timestamp) = (None, None);
        Self::write(key, LwwWrite { value, timestamp })
    }

    /// The same with the caller's timestamp, for a store that takes them.
    #[must_use]
    pub fn at(mut self, time: Timestamp) -> Self {
        if let Self::Write { write, .. } = &mut self {
            write.timestamp = Some(time);
        }
        self
    }
}

impl<W> Command<W> {
    /// Reads a key.
    pub const fn get(key: Bytes) -> Self {
        Self::Get { key }
    }

    /// Changes a key, in place of all that the coordinator holds.
    pub fn write(key: Bytes, write: W) -> Self {
        let context = None;
        Self::Write {
            key,
            write,
            context,
        }
    }

    /// The key that the command touches.
    pub const fn key(&self) -> &Bytes {
        match self {
            Self::Get { key } | Self::Write { key, .. } => key,
        }
    }

    /// Whether the command changes the store.
    pub const fn is_write(&self) -> bool {
        matches!(self, Self::Write { .. })
    }
}

/// A command with what it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Request<W = LwwWrite> {
    /// What to do.
    pub command: Command<W>,
    /// How many owners must agree.
    pub level: Level,
    /// What the answer must not be older than.
    pub floor: Floor,
    /// How long it may take, in milliseconds, if that is less than
    /// [`Config::request_timeout_ms`](crate::Config::request_timeout_ms).
    pub timeout_ms: Option<u64>,
    /// The name of a write that is to happen once, however often it is asked for; of no use to a read.
    pub operation: Option<Operation>,
}

impl<W> Request<W> {
    /// A request without a session.
    pub fn new(command: Command<W>, level: Level) -> Self {
        let (floor, timeout_ms, operation) = (Floor::default(), None, None);
        Self {
            command,
            level,
            floor,
            timeout_ms,
            operation,
        }
    }

    /// The same as the first attempt at a write of this name.
    ///
    /// Whether a write has failed is not always known: its coordinator may have fallen silent. Under a name it
    /// can be asked for again, through any node, and happens once: see [`retry_of`](Self::retry_of). Where timestamps
    /// come from the nodes, a write with a name at `Quorum` or `All` takes one more round of messages: it is given its
    /// place before it is made, as at `Linearizable`, so that it never has to be made again above another.
    #[must_use]
    pub const fn named(mut self, id: OperationId) -> Self {
        let is_retry = false;
        self.operation = Some(Operation { id, is_retry });
        self
    }

    /// The same as a further attempt at a write of this name, through this node or any other, also while the attempt
    /// before still waits. Key, level and what is written are those of the first.
    ///
    /// If an owner that can be reached knows what an earlier attempt did, that is the answer, once as many
    /// owners hold it as the level asks for. If no owner knows of one it is carried out now, but only after
    /// every owner has said so: the one that is silent may be the one that has carried it out. Until
    /// then it is [`RequestError::OutcomeUnknown`]. What was acknowledged at `Quorum` is always found by `R`
    /// owners, as long as fewer writes with names than
    /// [`Config::operation_memory`](crate::Config::operation_memory) have come since.
    ///
    /// What an error says of a retry is what that retry did: of earlier attempts it says nothing. A first attempt that
    /// failed with an error that says that nothing was changed was none.
    #[must_use]
    pub const fn retry_of(mut self, id: OperationId) -> Self {
        let is_retry = true;
        self.operation = Some(Operation { id, is_retry });
        self
    }

    /// The same, not older than `floor`.
    #[must_use]
    pub fn after(mut self, floor: Floor) -> Self {
        self.floor = floor;
        self
    }

    /// The same, given up after `timeout_ms` milliseconds.
    #[must_use]
    pub const fn within(mut self, timeout_ms: u64) -> Self {
        self.timeout_ms = Some(timeout_ms);
        self
    }
}

/// What a session has seen of one partition: a read that is answered from less would go back in time.
///
/// It is a test, and never joined into what a node knows: it comes from a client.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Floor {
    /// Events that the answer must have seen.
    pub context: CausalContext,
    /// The time that a write must come above.
    pub time: Timestamp,
}

impl Floor {
    /// Whether nothing is asked for.
    pub fn is_bottom(&self) -> bool {
        self.context.is_empty() && self.time == Timestamp::default()
    }

    /// Raises the floor to cover `other` too.
    pub fn join(&mut self, other: &Self) -> bool {
        let later = self.time < other.time;
        self.time = self.time.max(other.time);
        crdt::Lattice::join(&mut self.context, &other.context) | later
    }
}

/// The answer to a [`Request`] that succeeded.
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

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "request {}", self.0)
    }
}

/// A key or value of the stores whose clients have text.
pub(crate) fn bytes_of(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crdt::ReplicaId;

    fn floor(events: &[u64], time: u64) -> Floor {
        let context = events.iter().map(|c| Dot::new(ReplicaId(1), *c)).collect();
        let time = Timestamp(time);
        Floor { context, time }
    }

    #[test]
    fn a_floor_asks_for_events_or_for_a_time() {
        assert!(floor(&[], 0).is_bottom());
        assert!(!floor(&[1], 0).is_bottom());
        assert!(!floor(&[], 1).is_bottom());
    }

    #[test]
    fn a_join_of_floors_says_whether_it_asks_for_more() {
        let held = floor(&[1], 5);
        for (other, joined, is_news) in [
            (floor(&[1], 5), floor(&[1], 5), false),
            (floor(&[1], 4), floor(&[1], 5), false),
            (floor(&[1], 6), floor(&[1], 6), true),
            (floor(&[2], 4), floor(&[1, 2], 5), true),
            (floor(&[2], 6), floor(&[1, 2], 6), true),
        ] {
            let mut floor = held.clone();
            assert_eq!((floor.join(&other), &floor), (is_news, &joined));
        }
    }

    #[test]
    fn commands_say_what_they_touch_and_whether_they_change_it() {
        let (key, value) = (Bytes::from_static(b"k"), Bytes::from_static(b"v"));
        let put = Command::put(key.clone(), value);
        let commands = [put, Command::delete(key.clone()), Command::get(key.clone())];
        assert_eq!(
            commands.each_ref().map(Command::is_write),
            [true, true, false]
        );
        assert!(commands.iter().all(|command| *command.key() == key));
        assert_eq!(RequestId(3).to_string(), "request 3");
        assert_eq!(bytes_of("k"), key);
    }

    #[test]
    fn outcomes_show_what_was_read_and_when_it_was_written() {
        let dot = Dot::new(ReplicaId(1), 1);
        let value = Bytes::from_static(b"v");
        let read = Outcome::Read {
            cell: StoredCell::entry(dot, Timestamp(7), Some(value.clone())),
            seen: floor(&[1], 7),
            stable: Arc::default(),
            owners: 2,
            met: Met::asked(Level::Quorum, &floor(&[1], 7)),
        };
        let written = Outcome::Written {
            timestamp: Timestamp(8),
            event: Some(dot),
            seen: floor(&[1], 8),
            stable: Arc::new(floor(&[2], 0).context),
            took_effect: true,
            acknowledged: 2,
            met: Met::asked(Level::One, &Floor::default()),
        };
        assert_eq!((read.value(), written.value()), (Some(&value), None));
        let times = [Some(Timestamp(7)), Some(Timestamp(8))];
        assert_eq!([read.timestamp(), written.timestamp()], times);
        assert_eq!(written.seen(), &floor(&[1], 8));
        let met = [read.met(), written.met()].map(|met| met.to_string());
        assert_eq!(met, ["quorum, after the session", "one"]);
        assert_eq!(**written.stable(), floor(&[2], 0).context);
        assert!(read.stable().is_empty());
    }

    #[test]
    fn failures_of_storage_and_clock_leave_the_outcome_open() {
        let cause = String::new();
        let node = NodeId(1);
        assert!(RequestError::StorageFailed { node, cause }.may_take_effect());
        // Of a clock only where the write was made before.
        let clocks = [
            RequestError::TimestampAhead {
                ahead_ms: 2,
                bound_ms: 1,
                may_take_effect: false,
            },
            RequestError::ClockExhausted {
                may_take_effect: false,
            },
        ];
        for clock in clocks {
            assert!(!clock.may_take_effect());
            assert!(!clock.to_string().contains("may still"), "{clock}");
            let again = clock.of_a_write_made_before();
            assert!(again.may_take_effect());
            assert!(again.to_string().contains("may still"), "{again}");
        }
        let other = RequestError::TimestampNeeded.of_a_write_made_before();
        assert_eq!(other, RequestError::TimestampNeeded);
        for may_take_effect in [true, false] {
            let unreachable = RequestError::Unreachable {
                partition: PartitionId(0),
                may_take_effect,
            };
            assert_eq!(unreachable.may_take_effect(), may_take_effect);
            let deadline = RequestError::Deadline {
                answered: 1,
                needed: 2,
                may_take_effect,
            };
            assert_eq!(deadline.may_take_effect(), may_take_effect);
            let text = deadline.to_string();
            assert!(text.starts_with("the deadline has passed: 1 of the 2 needed nodes answered"));
            assert_eq!(
                text.ends_with("; the write may still take effect"),
                may_take_effect
            );
        }
    }
}
