//! Replicated data types as pure data: clocks, causal contexts, registers, counters, flags, sets and maps,
//! with deltas for all of them and the laws they obey.
//!
//! A replicated value here is a join-semilattice: replicas change their own copy and exchange what
//! changed; joining in any order, any number of times, with anything lost in between and repaired
//! later, gives the same state everywhere.
//!
//! The crate decides nothing about time, randomness, storage, networks or membership: physical time
//! and identities are arguments, and messages are values that the caller moves.
//!
//! # Which type
//!
//! | I need | use | because |
//! |---|---|---|
//! | a value, the last write wins | [`LwwRegister`] | one winner, by a frozen order; no history kept |
//! | a value, no concurrent write lost | [`Causal`] of [`MvCell`] | concurrent writes stay side by side until one has seen them |
//! | the same without a shared context | [`MvRegister`] | each version carries its own vector clock |
//! | the versions of one key of a Dynamo-like store | [`Causal`] of [`Siblings`] | a write names the context it has read; blind writes become siblings |
//! | to count up | [`GCounter`] | one number for each replica |
//! | to count up and down | [`PnCounter`] | two numbers for each replica |
//! | a counter inside a map, or one that is reset | [`Causal`] of [`ResettableCounter`] | a reset takes away exactly what it has seen |
//! | a flag | [`EnableWinsFlag`], [`DisableWinsFlag`] | the name says who wins |
//! | a set that only grows | [`GSet`] | no metadata |
//! | a set with removals, adding wins | [`Causal`] of [`AddWinsSet`] | no tombstones, constant-time look-ups |
//! | a set with removals, removing wins | [`Causal`] of [`RemoveWinsSet`] | revocations must not be undone by a concurrent grant |
//! | a set whose removals are for ever | [`TwoPhaseSet`] | simple, but an element never returns |
//! | a set ordered by time | [`LwwSet`] | the latest of add and remove wins |
//! | a map, the last write of each key wins | [`LwwMap`] | one ordered pass joins two maps |
//! | a map of replicated values, nested to any depth | [`Causal`] of [`OrMap`] | removing a key takes away exactly what was seen |
//! | a large map that a store replicates | [`MapReplica`] | knows what each peer lacks, forgets tombstones safely |
//! | a composition of my own | [`Pair`], [`LexicographicPair`], [`MapOf`], [`Max`], [`Min`], [`SetUnion`] | lattices of lattices are lattices |
//! | to know what a peer has seen | [`CausalContext`] | gaps included, compact, difference as ranges |
//! | to compare histories without gaps | [`VersionVector`] | one pass, no allocation for few replicas |
//! | timestamps that respect causality | [`LamportClock`], [`HybridClock`], [`SharedHybridClock`] | system clocks alone do not |
//! | to send changes over a bad network | [`DeltaBuffer`] | sequence numbers, acknowledgements, no gap is ever joined |
//! | to forget what is no longer needed | [`Stability`], [`Promises`] | nothing is purged without a certificate |
//! | to test a type of my own | [`laws`] | all laws on states that operations reach |
//!
//! # Changes and deltas
//!
//! Types without a context change themselves and return their delta. Clocks, contexts, views and reports, whose
//! delta is their argument in a state of its own, return a dot or whether there was news; purges, which have no
//! small delta, return how much went; and an `extend` returns nothing, as its items can be collected first.
//! Types that need to know which writes
//! have been seen are changed through a [`CausalReplica`], which mints the dots that name events:
//!
//! ```
//! use crdt::{AddWinsSet, CausalReplica, ObjectId, OrMap, ReplicaId};
//!
//! type Tags = OrMap<String, AddWinsSet<String>>;
//! let mut here = CausalReplica::<Tags>::new(ObjectId(1), ReplicaId(1));
//! let mut there = CausalReplica::<Tags>::new(ObjectId(1), ReplicaId(2));
//! let delta = here.change(|photos| photos.update("beach".into(), |tags| tags.add("sun".into())));
//! there.join(&delta)?;
//! assert_eq!(here.state(), there.state());
//! # Ok::<(), crdt::IdentityReused>(())
//! ```
//!
//! # What correctness rests on
//!
//! - Dots are unique: a [`ReplicaId`] belongs to one incarnation of one replica, and a replica that has lost
//!   any of its state goes on under a new one.
//! - Every join is total, commutative, associative and idempotent; the order of states agrees with it.
//! - I1 Live dots are known. I2 A dot that is known and not live is obsolete for ever.
//! - Equal states have equal bytes, and decoding refuses what no replica can have produced.
//!
//! # Features
//!
//! None is on by default: `serde` (serialisation of all data, with validated decoding), `postcard` (the versioned binary envelope),
//! `proptest`, `quickcheck` and `arbitrary` (generators of scripts for the law kit).
//!
//! The crate needs `alloc` and pointers that can be swapped atomically, and not `std`: alone and with `serde` and
//! `postcard` it builds for targets without one, and `.ci/run` does that. The libraries behind `proptest`, `quickcheck`
//! and `arbitrary` need `std`.
//!
//! What does not serialise, and why: [`CausalReplica`], [`MapReplica`] and [`DeltaBuffer`] are handles, and a copy would
//! write under the same identity or count the same deltas, so their states are stored instead;
//! [`Stable`] and [`Horizon`] are proofs, and bytes prove nothing; an [`EventLog`] is stored as the
//! list that [`iter`](EventLog::iter) gives and [`MapReplica::restore`] checks; of a [`SharedHybridClock`] its
//! [`snapshot`](SharedHybridClock::snapshot) is. [`Edit`], [`Events`], [`Known`], [`Received`] and [`Accepted`] are
//! views of something else. Most errors are for the caller at hand; those that go to a peer do serialise.

#![cfg_attr(not(test), no_std)]
#![warn(
    clippy::alloc_instead_of_core,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core
)]

extern crate alloc;

mod causal;
mod causal_context;
mod cell;
mod counter;
mod delta_buffer;
mod dot;
#[cfg(feature = "postcard")]
mod envelope;
mod flag;
mod hybrid_clock;
mod invalid_bytes;
mod knows;
mod lamport_clock;
mod lattice;
mod lattices;
pub mod laws;
mod lazy;
mod lww_map;
mod lww_order;
mod map;
mod memory_use;
mod ranges;
mod register;
mod set;
mod shared_hybrid_clock;
mod sorted_map;
#[cfg(any(feature = "arbitrary", feature = "proptest", feature = "quickcheck"))]
mod strategies;
mod text;
mod timestamp;
mod version_vector;
#[cfg(feature = "serde")]
mod wire;

/// The example of the README, compiled with the other examples.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use causal::{
    BehindFrontier, Causal, CausalReplica, Digest, DotConflict, DotFun, DotMap, DotSet, DotStore,
    Edit, Events, Frontier, IdentityReused, JoinError, MergeReport, NotStable, ObjectId, OrMap,
    ReadContext, ReadContextError, Report, Stability, Stable, live_digest,
};
pub use causal_context::{CausalContext, DotRange};
pub use cell::{Cell, LwwCell, LwwEntry, MvCell};
pub use counter::{CounterOverflow, GCounter, PnCounter, ResettableCounter};
pub use delta_buffer::{
    Accepted, AcknowledgeError, DeltaBuffer, Gap, Packet, ReceiveError, Received,
};
pub use dot::{Dot, ReplicaId};
#[cfg(feature = "postcard")]
pub use envelope::{EnvelopeError, Enveloped, Shape, decode, encode, shape_of};
pub use flag::{DisableWinsFlag, EnableWinsFlag};
pub use hybrid_clock::{HYBRID_EPOCH_UNIX_MS, HybridClock, SlotTooLarge};
pub use invalid_bytes::InvalidBytes;
pub use knows::Knows;
pub use lamport_clock::LamportClock;
pub use lattice::{Difference, Lattice};
pub use lattices::{LexicographicPair, MapOf, Max, Min, Pair, SetUnion};
pub use lww_map::{Behind, LwwMap};
pub use map::{
    Budget, CausalMap, Change, Claim, Closed, Cut, Delta, EventLog, HeldBack, Horizon, Interval,
    IntervalListing, Joined, KeyListing, Knowledge, Known, Listing, MapReplica, OwnerView, Promise,
    Promises, TransferChunk, Truncated, Written,
};
pub use memory_use::MemoryUse;
pub use register::{LwwRegister, MvRegister, PutError, Siblings, TooManySiblings, Version};
pub use set::{AddWinsSet, GSet, LwwSet, RemoveWinsSet, TwoPhaseSet};
pub use shared_hybrid_clock::SharedHybridClock;
pub use timestamp::{ClockError, Timestamp};
pub use version_vector::VersionVector;
