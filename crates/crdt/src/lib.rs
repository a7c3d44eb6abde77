//! Pure data for replication: clocks, causal contexts, the cells a key can hold, and a causal map.
//!
//! A replicated value here is a join-semilattice: replicas change their own copy and exchange what
//! changed; joining in any order, any number of times, with anything lost in between and repaired
//! later, gives the same state everywhere.
//!
//! The crate decides nothing about time, randomness, storage, networks or membership: physical time
//! and identities are arguments, and messages are values that the caller moves.
//!
//! | I need | use | because |
//! |---|---|---|
//! | one value for each key, the last write wins | [`MapReplica`] of [`LwwCell`] | one winner, by a total order on events |
//! | concurrent values kept side by side | [`MapReplica`] of [`MvCell`] | no write is lost that nobody has seen |
//! | a flag | [`EnableWinsFlag`], [`DisableWinsFlag`] | the name says which operation wins |
//! | a set | [`AddWinsSet`], [`RemoveWinsSet`] | the name says which operation wins |
//! | a counter that can be reset, or nested in a map | [`ResettableCounter`] | a reset takes exactly what it has seen |
//! | to free what a remove leaves behind | [`Stability`] | age alone is never a reason |
//! | the siblings of a key whose clients bring a context | [`Siblings`] | clients need no identity |
//! | to know what a peer has seen | [`CausalContext`] | gaps included, compact, difference as ranges |
//! | to compare histories without gaps | [`VersionVector`] | one pass, no allocation for few replicas |
//! | timestamps that respect causality | [`LamportClock`], [`HybridClock`] | system clocks alone do not |
//!
//! ```
//! use crdt::{LwwCell, LwwEntry, MapReplica, ReplicaId, Timestamp};
//!
//! let mut a: MapReplica<&str, LwwCell<&str>> = MapReplica::new(ReplicaId(1));
//! let mut b = MapReplica::new(ReplicaId(2));
//! let put = |time, value| {
//!     move |cell: &mut LwwCell<_>, dot| {
//!         cell.write(LwwEntry { dot, timestamp: Timestamp(time), value });
//!     }
//! };
//! let first = a.write("colour", put(1, Some("red")));
//! let second = b.write("colour", put(2, Some("blue")));
//! a.join(&second.listing);
//! b.join(&first.listing);
//! assert_eq!(a.map(), b.map());
//! assert_eq!(a.map().get("colour").and_then(|cell| cell.value()), Some(&"blue"));
//! ```

mod causal;
mod causal_context;
mod cell;
mod counter;
mod dot;
mod flag;
mod hybrid_clock;
mod invalid_bytes;
mod lamport_clock;
mod lattice;
pub mod laws;
mod map;
mod ranges;
mod register;
mod set;
mod timestamp;
mod version_vector;

pub use causal::{
    BehindFrontier, Causal, CausalReplica, Digest, DotConflict, DotFun, DotMap, DotSet, DotStore,
    Edit, Events, Frontier, IdentityReused, NotStable, ObjectId, OrMap, ReadContext,
    ReadContextError, Report, Stability, Stable,
};
pub use causal_context::{CausalContext, DotRange, Knows};
pub use cell::{Cell, LwwCell, LwwEntry, MvCell};
pub use counter::ResettableCounter;
pub use dot::{Dot, ReplicaId};
pub use flag::{DisableWinsFlag, EnableWinsFlag};
pub use hybrid_clock::{HYBRID_EPOCH_UNIX_MS, HybridClock, SlotTooLarge};
pub use invalid_bytes::InvalidBytes;
pub use lamport_clock::LamportClock;
pub use lattice::{Difference, Lattice};
pub use map::{
    Budget, CausalMap, Claim, Cut, Delta, EventLog, Horizon, Interval, IntervalListing, Joined,
    KeyListing, Knowledge, Known, Listing, MapReplica, OwnerView, Promise, Promises, TransferChunk,
    Truncated, Written,
};
pub use register::{PutError, Siblings, TooManySiblings};
pub use set::{AddWinsSet, RemoveWinsSet};
pub use timestamp::{ClockError, Timestamp};
pub use version_vector::VersionVector;
