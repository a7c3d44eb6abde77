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
//! | to know what a peer has seen | [`CausalContext`] | gaps included, compact, difference as ranges |
//! | to compare histories without gaps | [`VersionVector`] | one pass, no allocation for few replicas |
//! | to send deltas over a network that loses some | [`DeltaBuffer`] | no delta is joined before an earlier one |
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
mod delta_buffer;
mod dot;
#[cfg(feature = "postcard")]
mod envelope;
mod hybrid_clock;
mod invalid_bytes;
mod lamport_clock;
mod lattice;
pub mod laws;
mod map;
mod memory_use;
mod ranges;
mod set;
mod timestamp;
mod version_vector;

pub use causal::{
    Causal, CausalReplica, Digest, DotConflict, DotFun, DotMap, DotSet, DotStore, Edit, Events,
    IdentityReused, MergeReport, ObjectId, OrMap, ReadContext, ReadContextError,
};
pub use causal_context::{CausalContext, DotRange, Knows};
pub use cell::{Cell, LwwCell, LwwEntry, MvCell};
pub use delta_buffer::{
    Accepted, AcknowledgeError, DeltaBuffer, Gap, Packet, ReceiveError, Received,
};
pub use dot::{Dot, ReplicaId};
#[cfg(feature = "postcard")]
pub use envelope::{EnvelopeError, Enveloped, decode, encode};
pub use hybrid_clock::{HYBRID_EPOCH_UNIX_MS, HybridClock, SlotTooLarge};
pub use invalid_bytes::InvalidBytes;
pub use lamport_clock::LamportClock;
pub use lattice::{Difference, Lattice};
pub use map::{
    Budget, CausalMap, Change, Claim, Cut, Delta, EventLog, Horizon, Interval, IntervalListing,
    Joined, KeyListing, Knowledge, Known, Listing, MapReplica, OwnerView, Promise, Promises,
    TransferChunk, Truncated, Written,
};
pub use memory_use::MemoryUse;
pub use set::AddWinsSet;
pub use timestamp::{ClockError, Timestamp};
pub use version_vector::VersionVector;
