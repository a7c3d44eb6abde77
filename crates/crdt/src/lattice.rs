//! The one operation everything here is built from.

use std::fmt::Debug;

/// A join-semilattice: a state that can absorb any other state of its type.
///
/// `join` computes the least upper bound. It is total, commutative, associative and idempotent.
/// `PartialOrd` is the order of the lattice and agrees with it: `a <= b` exactly when joining `a`
/// into `b` leaves `b` as it was. `Default` is bottom, below every state.
///
/// The functions in [`laws`](crate::laws) check an implementation.
///
/// ```
/// use crdt::{Lattice, VersionVector, ReplicaId};
///
/// let (a, b) = (ReplicaId(1), ReplicaId(2));
/// let mut left: VersionVector = [(a, 2)].into_iter().collect();
/// let right: VersionVector = [(a, 1), (b, 1)].into_iter().collect();
/// assert!(left.join(&right), "left grew");
/// assert_eq!(left.to_string(), "<1:2, 2:1>");
/// assert!(!left.join(&right), "joining again changes nothing");
/// ```
pub trait Lattice: Clone + Debug + Default + Eq + PartialOrd {
    /// Joins `other` into `self` and says whether `self` grew.
    fn join(&mut self, other: &Self) -> bool;

    /// The join of two states, by value.
    #[must_use]
    fn joined(mut self, other: &Self) -> Self {
        self.join(other);
        self
    }
}
