//! What the front end asks of a node and what it is told, whatever the store's conflict policy is.
//!
//! A node holds two key spaces beside each other: [`Space::Strings`], whose concurrent writes are resolved by
//! the store's [`ConflictPolicy`], and [`Space::Types`], whose values merge by themselves. The words here
//! are translated into those of `replica` by the policies.

mod session;
mod share;

use bytes::Bytes;
use crdt::{CausalContext, Timestamp};
use replica::{Floor, Level, RequestError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use tokio::sync::oneshot;

pub use session::{InvalidSession, StoreSession};
pub use share::Share;
pub(crate) use share::{Bound, WeakShare};

/// One of the two key spaces of a node. The same key in both is two entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Space {
    /// Values that replace each other.
    Strings,
    /// Counters and sets, which merge.
    Types,
}

impl Space {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Strings, Self::Types];

    /// Its name on disk.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Strings => "strings",
            Self::Types => "types",
        }
    }
}

impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the strings of a store do with concurrent writes of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConflictPolicy {
    /// The last writer wins, by hybrid logical time.
    #[default]
    Hybrid,
    /// The last writer wins, by Lamport time.
    Lamport,
    /// The highest timestamp wins, and every write brings its own.
    Caller,
    /// All are kept, until a write has seen them.
    Siblings,
}

impl ConflictPolicy {
    /// The word in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hybrid => "hybrid",
            Self::Lamport => "lamport",
            Self::Caller => "caller",
            Self::Siblings => "siblings",
        }
    }
}

/// One operation on one key, with what it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreRequest {
    /// The key.
    pub key: Bytes,
    /// What to do.
    pub operation: Operation,
    /// How many owners must agree.
    pub level: Level,
    /// What the answer must not be older than, in the space of the operation.
    pub floor: Floor,
    /// What the author of a write had read of the key, which is what the write replaces or removes; `None`
    /// for all that the coordinator holds. Strings by time have no use for it.
    pub context: Option<CausalContext>,
    /// How long it may take, in milliseconds, if that is less than the store's own limit.
    pub timeout_ms: Option<u64>,
    /// What is held for it until it is answered.
    pub share: Share,
}

impl StoreRequest {
    /// A request at level `Quorum`, without a session.
    pub fn new(key: Bytes, operation: Operation) -> Self {
        Self {
            key,
            operation,
            level: Level::Quorum,
            floor: Floor::default(),
            context: None,
            timeout_ms: None,
            share: Share::default(),
        }
    }

    /// The same at another level.
    #[must_use]
    pub const fn at(mut self, level: Level) -> Self {
        self.level = level;
        self
    }

    /// The same, not older than `floor`.
    #[must_use]
    pub fn after(mut self, floor: Floor) -> Self {
        self.floor = floor;
        self
    }

    /// The same as a write that replaces or removes only what is in `context`.
    #[must_use]
    pub fn having_read(mut self, context: CausalContext) -> Self {
        self.context = Some(context);
        self
    }
}

/// What is done to a key.
///
/// **Removing.** A coordinator removes what it holds. What was acknowledged elsewhere may not have reached
/// it yet: a command that has to remove that too reads first, at a level that sees it, and makes the removal
/// with the answer's `seen` as its floor, so that the coordinator fetches what it lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Reads a string.
    Get,
    /// Writes a string.
    Put {
        /// The value.
        value: Bytes,
        /// The caller's timestamp, where the store takes them.
        timestamp: Option<Timestamp>,
    },
    /// Deletes a string.
    Delete {
        /// The caller's timestamp, where the store takes them.
        timestamp: Option<Timestamp>,
    },
    /// Reads the counter and the set of a key.
    Look,
    /// Adds to the counter of a key; by zero it does nothing.
    Increment {
        /// How much, which may be negative.
        by: i64,
    },
    /// Adds members to the set of a key. It does not take effect if that would take the set over
    /// [`MAX_SET_BYTES`](crate::policies::MAX_SET_BYTES).
    Add {
        /// The members.
        members: Vec<Bytes>,
    },
    /// Removes members from the set of a key.
    Remove {
        /// The members.
        members: Vec<Bytes>,
    },
    /// Removes the counter and the set of a key.
    Drop,
}

impl Operation {
    /// A write of a string under a timestamp of the store.
    pub const fn put(value: Bytes) -> Self {
        let timestamp = None;
        Self::Put { value, timestamp }
    }

    /// A deletion of a string under a timestamp of the store.
    pub const fn delete() -> Self {
        let timestamp = None;
        Self::Delete { timestamp }
    }

    /// The space that it works on.
    pub const fn space(&self) -> Space {
        match self {
            Self::Get | Self::Put { .. } | Self::Delete { .. } => Space::Strings,
            Self::Look
            | Self::Increment { .. }
            | Self::Add { .. }
            | Self::Remove { .. }
            | Self::Drop => Space::Types,
        }
    }

    /// Its name in logs.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Put { .. } => "put",
            Self::Delete { .. } => "delete",
            Self::Look => "look",
            Self::Increment { .. } => "increment",
            Self::Add { .. } => "add",
            Self::Remove { .. } => "remove",
            Self::Drop => "drop",
        }
    }

    /// Whether it changes the store.
    pub const fn is_write(&self) -> bool {
        !matches!(self, Self::Get | Self::Look)
    }
}

/// The answer to a [`StoreRequest`] that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreAnswer {
    /// The answer to [`Operation::Get`].
    Values {
        /// What the key holds: nothing, one value, or siblings.
        values: Vec<Bytes>,
        /// When the value was written or deleted, in a store by time.
        timestamp: Option<Timestamp>,
        /// What the answer has seen: the context of a write that replaces it, and the floor of later reads.
        seen: Floor,
        /// What every owner has: a session need not ask for it any more.
        stable: Arc<CausalContext>,
    },
    /// The answer to [`Operation::Look`].
    Record {
        /// What the key holds.
        record: Record,
        /// What the answer has seen.
        seen: Floor,
        /// What every owner has: a session need not ask for it any more.
        stable: Arc<CausalContext>,
    },
    /// The answer to a write.
    Written {
        /// Whether it changed the key.
        took_effect: bool,
        /// The timestamp under which it took effect, or of what has won over it, in a store by time.
        timestamp: Option<Timestamp>,
        /// How many owners hold it, the coordinator included.
        acknowledged: usize,
        /// What later reads must have seen.
        seen: Floor,
        /// What every owner has: a session need not ask for it any more.
        stable: Arc<CausalContext>,
        /// What a write of [`Space::Types`] did where it was made; `None` if that is another node than the
        /// one asked, which does not own the key. [`Operation::Look`] with `seen` as its floor tells then.
        effect: Option<Effect>,
    },
}

impl StoreAnswer {
    /// What the operation has seen.
    pub const fn seen(&self) -> &Floor {
        match self {
            Self::Values { seen, .. } | Self::Record { seen, .. } | Self::Written { seen, .. } => {
                seen
            }
        }
    }

    /// What every owner of the key has.
    pub fn stable(&self) -> &CausalContext {
        match self {
            Self::Values { stable, .. }
            | Self::Record { stable, .. }
            | Self::Written { stable, .. } => stable,
        }
    }
}

/// The counter and the set of a key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// The counter, if anything was counted since it was last removed. Sums beyond the range saturate.
    pub counter: Option<i64>,
    /// The members of the set, ascending, if there are any.
    pub members: Option<BTreeSet<Bytes>>,
}

/// What a write of [`Space::Types`] did at its coordinator. What happens elsewhere at the same time is not
/// in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Effect {
    /// The counter after the write.
    pub counter: Option<i64>,
    /// How many of its members were not in the set before.
    pub added: usize,
    /// How many of its members were in the set before.
    pub removed: usize,
}

/// What a key holds, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Contents {
    /// A string, or siblings.
    pub string: bool,
    /// A counter.
    pub counter: bool,
    /// A set.
    pub set: bool,
}

impl Contents {
    /// Whether the key holds nothing.
    pub const fn is_empty(self) -> bool {
        !(self.string || self.counter || self.set)
    }

    /// All kinds that are in either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self {
            string: self.string || other.string,
            counter: self.counter || other.counter,
            set: self.set || other.set,
        }
    }
}

/// A key of the local replica, and what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScannedKey {
    /// The key.
    pub key: Bytes,
    /// What it holds: something.
    pub contents: Contents,
}

/// Where the answer to a submitted request arrives. A dropped sender means that the node stopped.
pub type PendingAnswer = oneshot::Receiver<Result<StoreAnswer, RequestError>>;
