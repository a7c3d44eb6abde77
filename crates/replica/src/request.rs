//! What a client asks of a node, and what it is told.

mod error;
mod outcome;

use bytes::Bytes;
use crdt::{CausalContext, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;

use crate::policy::LwwWrite;
use crate::{Operation, OperationId};

pub use error::RequestError;
pub use outcome::{Met, Outcome};

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
    use crate::message::StoredCell;
    use crate::{NodeId, PartitionId};
    use crdt::{Dot, ReplicaId};
    use std::sync::Arc;

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
