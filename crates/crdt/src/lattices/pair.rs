//! Two lattices side by side.

use core::cmp::Ordering;
use core::fmt;

use crate::laws::product_order;
use crate::{Difference, Lattice};

/// Two states that are joined each on its own.
///
/// | concurrent operations | outcome |
/// |---|---|
/// | one on each part | both |
/// | two on the same part | what that part makes of them |
///
/// **Order and join.** Componentwise: `(a, b) <= (c, d)` when `a <= c` and `b <= d`.
///
/// **Invariants.** None: any two states make one.
///
/// **Cost.** The sum of the parts; no metadata of its own.
///
/// **Not for** a part that must be reset when the other one changes: use
/// [`LexicographicPair`](crate::LexicographicPair).
///
/// Source: Baquero, Almeida, Cunha, Ferreira, *Composition in State-based Replicated Data Types*,
/// 2017, section 4 (products).
///
/// ```
/// use crdt::{Lattice, Max, Min, Pair};
///
/// let mut left = Pair { first: Min::of(3), second: Max::of(3) };
/// let mut right = Pair { first: Min::of(5), second: Max::of(5) };
/// let delta = right.update_second(|longest| longest.raise(9));
/// left.join(&delta);
/// assert_eq!(left.to_string(), "(min(3), max(9))");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Pair<A, B> {
    /// The first part.
    pub first: A,
    /// The second part.
    pub second: B,
}

impl<A: Lattice, B: Lattice> Pair<A, B> {
    /// Applies a delta mutator to the first part.
    #[must_use = "the delta is what other replicas join"]
    pub fn update_first(&mut self, mutate: impl FnOnce(&mut A) -> A) -> Self {
        Self {
            first: mutate(&mut self.first),
            second: B::default(),
        }
    }

    /// Applies a delta mutator to the second part.
    #[must_use = "the delta is what other replicas join"]
    pub fn update_second(&mut self, mutate: impl FnOnce(&mut B) -> B) -> Self {
        Self {
            first: A::default(),
            second: mutate(&mut self.second),
        }
    }
}

impl<A: Lattice, B: Lattice> Lattice for Pair<A, B> {
    fn join(&mut self, other: &Self) -> bool {
        self.first.join(&other.first) | self.second.join(&other.second)
    }
}

impl<A: Difference, B: Difference> Difference for Pair<A, B> {
    fn difference(&self, other: &Self) -> Self {
        Self {
            first: self.first.difference(&other.first),
            second: self.second.difference(&other.second),
        }
    }
}

impl<A: PartialOrd, B: PartialOrd> PartialOrd for Pair<A, B> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let first = self.first.partial_cmp(&other.first)?;
        product_order(first, self.second.partial_cmp(&other.second)?)
    }
}

impl<A: fmt::Display, B: fmt::Display> fmt::Display for Pair<A, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}, {})", self.first, self.second)
    }
}
