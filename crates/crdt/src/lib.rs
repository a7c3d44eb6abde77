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
//! | a map or set, small enough to send whole or by deltas | [`LwwMap`], [`LwwSet`] | no dots, fast joins |
//! | one value | [`LwwRegister`], [`MvRegister`] | by time, or by vector clocks with all concurrent ones |
//! | to count | [`GCounter`], [`PnCounter`] | every operation counts once |
//! | a set that only grows, or whose removals are final | [`GSet`], [`TwoPhaseSet`] | no timestamps |
//! | to compose a state of my own | [`Max`], [`Min`], [`Pair`], [`LexicographicPair`], [`MapOf`], [`SetUnion`] | each is a lattice |
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

mod causal_context;
mod cell;
mod counter;
mod dot;
mod hybrid_clock;
mod invalid_bytes;
mod lamport_clock;
mod lattice;
mod lattices;
pub mod laws;
mod lww_map;
mod lww_order;
mod map;
mod ranges;
mod register;
mod set;
mod sorted_map;
mod text;
mod timestamp;
mod version_vector;
#[cfg(feature = "serde")]
mod wire;

pub use causal_context::{CausalContext, DotRange, Knows};
pub use cell::{Cell, DotStore, LwwCell, LwwEntry, MvCell};
pub use counter::{CounterOverflow, GCounter, PnCounter};
pub use dot::{Dot, ReplicaId};
pub use hybrid_clock::{HYBRID_EPOCH_UNIX_MS, HybridClock, SlotTooLarge};
pub use invalid_bytes::InvalidBytes;
pub use lamport_clock::LamportClock;
pub use lattice::{Difference, Lattice};
pub use lattices::{LexicographicPair, MapOf, Max, Min, Pair, SetUnion};
pub use lww_map::{Behind, LwwMap};
pub use map::{
    Budget, CausalMap, Claim, Cut, Delta, EventLog, Horizon, Interval, IntervalListing, Joined,
    KeyListing, Knowledge, Known, Listing, MapReplica, OwnerView, Promise, Promises, TransferChunk,
    Truncated, Written,
};
pub use register::{LwwRegister, MvRegister, Version};
pub use set::{GSet, LwwSet, TwoPhaseSet};
pub use timestamp::{ClockError, Timestamp};
pub use version_vector::VersionVector;
