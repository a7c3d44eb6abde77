//! The causal map against a naive model that keeps every event.
//!
//! A [`Script`] is data: property tests, quickcheck, the fuzzer and the replay of its corpus all make
//! scripts, and one executor, [`run`], plays them in a [`World`] of two to four replicas over a network
//! that loses, repeats and reorders, with trimmed logs, cut answers, chunked transfers, read repairs and
//! tombstone purges. After every step the replica that changed is checked against the model
//! (invariants I1, I3, I4 and I5 of the map); at the end all replicas must have converged.
//!
//! Beside it stand all replicated types as [`mod@subjects`] of the law kit, and a worked example of it: [`HighScores`], a
//! type of one's own.
//!
//! Everything here sees the public interface of `crdt` only. Whoever links this crate gets an allocator that
//! counts, as decoding may take no more memory than its input justifies.

mod check;
mod copy;
mod fuzz;
mod kind;
mod own_type;
mod script;
mod settle;
pub mod subjects;
mod world;

pub use copy::copy_of;
pub use fuzz::{causal_decoded, causal_script, envelope, join_decoded};
pub use fuzz::{laws, map_script, plain_decoded};
pub use kind::{Content, Event, KEYS, Key, Kind, Lww, Mv, Value};
pub use own_type::{GameResult, HighScores, Machine, own_type, own_type_planted};
pub use script::{Op, Script, Setup};
pub use world::{Probes, World, run};
