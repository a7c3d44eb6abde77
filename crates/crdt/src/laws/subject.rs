//! What a type must say of itself to be put to the test.

use core::fmt::Debug;
use core::hash::Hash;

use crate::laws::History;
use crate::{Difference, ReplicaId, Timestamp};

/// Two small numbers that choose an operation, and a time that it may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Choice {
    /// Which kind of operation.
    pub what: u8,
    /// Which element, key or value.
    pub which: u8,
    /// A Lamport time at the replica where the operation is made: above the times of all that has
    /// arrived there. Concurrent operations often get equal times.
    pub time: Timestamp,
}

/// A replicated type under test, as one replica of it.
///
/// Implement it for a small struct in your tests: usually the state and the replica's identity, or a
/// handle such as [`CausalReplica`](crate::CausalReplica). [`check_script`](crate::laws::check_script) and
/// [`check_small_scope`](crate::laws::check_small_scope) do the rest. The [module](crate::laws) has an example.
pub trait Subject {
    /// What replicas exchange.
    type State: Difference + Hash;
    /// A change that a user can make.
    type Op: Clone + Debug;
    /// What a reader sees.
    type Value: PartialEq + Debug;

    /// Whether a difference is the least of all states that do the same job. False only for types whose
    /// join forgets contents: then a state with the forgotten content may be smaller, but nobody can make
    /// it from what is left.
    const DIFFERENCE_IS_LEAST: bool = true;

    /// An empty replica that writes under this identity.
    fn new(replica: ReplicaId) -> Self;

    /// The state now.
    fn state(&self) -> &Self::State;

    /// Joins a state or a delta; true if the state grew.
    fn join(&mut self, other: &Self::State) -> bool;

    /// The operation that a choice stands for. Any choice is an operation: take the numbers modulo what
    /// there is.
    fn op(choice: Choice) -> Self::Op;

    /// Makes a change and returns its delta. An operation that is refused in the present state changes
    /// nothing and returns bottom.
    fn apply(&mut self, op: &Self::Op) -> Self::State;

    /// What a reader of a state sees.
    fn value(state: &Self::State) -> Self::Value;

    /// The specification: what a reader must see where exactly this history has arrived. Write it in the
    /// plainest way, from the events and from who saw whom, and share no code with the type.
    fn expected(history: &History<'_, Self::Op>) -> Self::Value;
}
