//! The one operation everything here is built from.

use core::fmt::Debug;

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

/// A lattice that can say what one state has beyond another, and no more: optimal deltas.
///
/// Every state here is the join of unique smallest parts (its join decomposition); the difference is
/// the join of those parts of `self` that `other` lacks.
///
/// Source: Enes, Almeida, Baquero, Leitão, *Efficient Synchronization of State-based CRDTs*, ICDE 2019.
///
/// ```
/// use crdt::{Difference, Lattice, ReplicaId, VersionVector};
///
/// let a: VersionVector = [(ReplicaId(1), 4), (ReplicaId(2), 2)].into_iter().collect();
/// let mut b: VersionVector = [(ReplicaId(1), 4), (ReplicaId(3), 1)].into_iter().collect();
/// let news = b.join_news(&a);
/// assert_eq!(news.to_string(), "<2:2>", "only what b did not have is worth forwarding");
/// assert_eq!(b.join_news(&a), VersionVector::default(), "the second time nothing is");
/// ```
pub trait Difference: Lattice {
    /// The smallest state `c` with `other ⊔ c = other ⊔ self`: bottom if `self <= other`.
    #[must_use = "the difference is what the other side lacks"]
    fn difference(&self, other: &Self) -> Self;

    /// Joins `other` into `self` and returns its effective part: what `self` did not have. Bottom if
    /// nothing was new; so a receiver forwards only news.
    #[must_use = "the news are what is worth forwarding"]
    fn join_news(&mut self, other: &Self) -> Self {
        let news = other.difference(self);
        self.join(&news);
        news
    }
}
