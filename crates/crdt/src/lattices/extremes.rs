//! The largest and the smallest value seen.

use core::cmp::Reverse;
use core::fmt;

use crate::{Difference, Lattice};

/// The largest value seen so far.
///
/// | concurrent operations | outcome |
/// |---|---|
/// | two values are raised to | the larger one |
///
/// **Order and join.** The order of the values, with "nothing yet" below them all; the join is the
/// larger one. Bottom is "nothing yet" and not `T::default()`, which for signed numbers is no bottom.
///
/// **Invariants.** None: every value is a state.
///
/// **Cost.** One comparison; one value; no metadata.
///
/// **Not for** values that must be able to go down again: use [`LwwRegister`](crate::LwwRegister).
///
/// Source: Shapiro et al., *Conflict-free Replicated Data Types*, 2011, section 2.2 (a chain is a
/// join-semilattice).
///
/// ```
/// use crdt::{Lattice, Max};
///
/// let mut left = Max::of(3);
/// let mut right = Max::of(5);
/// let delta = right.raise(9);
/// left.join(&delta);
/// assert_eq!((left.get(), left == right), (Some(&9), true));
/// assert_eq!(left.raise(4), Max::default(), "a smaller value is no news");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
#[cfg_attr(
    feature = "serde",
    serde(bound(
        serialize = "T: serde::Serialize",
        deserialize = "T: serde::Deserialize<'de>"
    ))
)]
pub struct Max<T> {
    #[cfg_attr(feature = "serde", serde(with = "crate::wire::option"))]
    value: Option<T>,
}

impl<T: Ord + Clone + fmt::Debug> Max<T> {
    /// The state that has seen `value` alone.
    pub const fn of(value: T) -> Self {
        Self { value: Some(value) }
    }

    /// The largest value seen; `None` if none was.
    pub const fn get(&self) -> Option<&T> {
        self.value.as_ref()
    }

    /// Sees `value`. The delta is bottom if it is not larger than what was seen.
    #[must_use = "the delta is what other replicas join"]
    pub fn raise(&mut self, value: T) -> Self {
        let delta = Self::of(value);
        match self.join(&delta) {
            true => delta,
            false => Self::default(),
        }
    }
}

impl<T> Default for Max<T> {
    fn default() -> Self {
        Self { value: None }
    }
}

impl<T: Ord + Clone + fmt::Debug> Lattice for Max<T> {
    fn join(&mut self, other: &Self) -> bool {
        let grows = self.value < other.value;
        if grows {
            self.value.clone_from(&other.value);
        }
        grows
    }
}

impl<T: Ord + Clone + fmt::Debug> Difference for Max<T> {
    fn difference(&self, other: &Self) -> Self {
        match self.value > other.value {
            true => self.clone(),
            false => Self::default(),
        }
    }
}

impl<T: fmt::Display> fmt::Display for Max<T> {
    /// `max(7)`; `max()` is bottom.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "max({value})"),
            None => f.write_str("max()"),
        }
    }
}

/// The smallest value seen so far.
///
/// | concurrent operations | outcome |
/// |---|---|
/// | two values are lowered to | the smaller one |
///
/// **Order and join.** The order of the values turned round: a smaller value is a larger state, and
/// "nothing yet" is bottom. The join is the smaller value.
///
/// **Invariants.** None: every value is a state.
///
/// **Cost.** One comparison; one value; no metadata.
///
/// **Not for** values that must be able to go up again: use [`LwwRegister`](crate::LwwRegister).
///
/// Source: as [`Max`], on the opposite chain.
///
/// ```
/// use crdt::{Lattice, Min};
///
/// let mut earliest = Min::of(30);
/// assert!(earliest.join(&Min::of(20)));
/// assert!(!earliest.join(&Min::of(25)));
/// assert_eq!(earliest.get(), Some(&20));
/// assert!(earliest > Min::of(25), "the order is that of the lattice");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
#[cfg_attr(
    feature = "serde",
    serde(bound(
        serialize = "T: serde::Serialize",
        deserialize = "T: serde::Deserialize<'de>"
    ))
)]
pub struct Min<T> {
    #[cfg_attr(feature = "serde", serde(with = "crate::wire::option"))]
    value: Option<Reverse<T>>,
}

impl<T: Ord + Clone + fmt::Debug> Min<T> {
    /// The state that has seen `value` alone.
    pub const fn of(value: T) -> Self {
        Self {
            value: Some(Reverse(value)),
        }
    }

    /// The smallest value seen; `None` if none was.
    pub fn get(&self) -> Option<&T> {
        self.value.as_ref().map(|value| &value.0)
    }

    /// Sees `value`. The delta is bottom if it is not smaller than what was seen.
    #[must_use = "the delta is what other replicas join"]
    pub fn lower(&mut self, value: T) -> Self {
        let delta = Self::of(value);
        match self.join(&delta) {
            true => delta,
            false => Self::default(),
        }
    }
}

impl<T> Default for Min<T> {
    fn default() -> Self {
        Self { value: None }
    }
}

impl<T: Ord + Clone + fmt::Debug> Lattice for Min<T> {
    fn join(&mut self, other: &Self) -> bool {
        let grows = self.value < other.value;
        if grows {
            self.value.clone_from(&other.value);
        }
        grows
    }
}

impl<T: Ord + Clone + fmt::Debug> Difference for Min<T> {
    fn difference(&self, other: &Self) -> Self {
        match self.value > other.value {
            true => self.clone(),
            false => Self::default(),
        }
    }
}

impl<T: fmt::Display> fmt::Display for Min<T> {
    /// `min(7)`; `min()` is bottom.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "min({})", value.0),
            None => f.write_str("min()"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negative_numbers_lie_above_bottom() {
        assert!(Max::default() < Max::of(-1));
        assert!(Min::default() < Min::of(1));
        assert_eq!(Max::default().joined(&Max::of(-1)).get(), Some(&-1));
    }

    #[test]
    fn extremes_read_well() {
        assert_eq!(
            format!("{} {} {}", Max::of(7), Min::of(3), Max::<u8>::default()),
            "max(7) min(3) max()"
        );
    }
}
