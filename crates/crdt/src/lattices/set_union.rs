//! Sets that only grow.

use alloc::collections::BTreeSet;
use core::borrow::Borrow;
use core::cmp::Ordering;
use core::fmt;

use crate::{Difference, Lattice};

/// A set that only grows; also known as [`GSet`](crate::GSet).
///
/// | concurrent operations | outcome |
/// |---|---|
/// | two inserts | both elements |
///
/// **Order and join.** The order is inclusion, the join is union.
///
/// **Invariants.** None: every set is a state.
///
/// **Cost.** An insert takes O(log n); a join one insert for each element of the other side; the
/// elements and no metadata.
///
/// **Not for** sets from which elements are removed: use [`TwoPhaseSet`](crate::TwoPhaseSet) or
/// [`LwwSet`](crate::LwwSet).
///
/// Source: Shapiro et al., *A comprehensive study of Convergent and Commutative Replicated Data
/// Types*, 2011, section 3.3.1.
///
/// ```
/// use crdt::{Lattice, SetUnion};
///
/// let (mut left, mut right) = (SetUnion::default(), SetUnion::default());
/// let tea = left.insert("tea");
/// let coffee = right.insert("coffee");
/// left.join(&coffee);
/// right.join(&tea);
/// assert_eq!(left, right);
/// assert_eq!(left.to_string(), "{coffee, tea}");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct SetUnion<T> {
    elements: BTreeSet<T>,
}

impl<T: Ord> SetUnion<T> {
    /// Whether `element` is in the set; O(log n).
    pub fn contains<Q: Ord + ?Sized>(&self, element: &Q) -> bool
    where
        T: Borrow<Q>,
    {
        self.elements.contains(element)
    }

    /// The elements, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> + ExactSizeIterator {
        self.elements.iter()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.elements.len()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }
}

impl<T: Ord + Clone> SetUnion<T> {
    /// Adds `element`; O(log n). The delta is bottom if it was there.
    #[must_use = "the delta is what other replicas join"]
    pub fn insert(&mut self, element: T) -> Self {
        if self.elements.contains(&element) {
            return Self::default();
        }
        self.elements.insert(element.clone());
        [element].into_iter().collect()
    }
}

impl<T> SetUnion<T> {
    /// The elements, by value.
    pub fn into_elements(self) -> BTreeSet<T> {
        self.elements
    }
}

impl<T> Default for SetUnion<T> {
    fn default() -> Self {
        Self {
            elements: BTreeSet::new(),
        }
    }
}

impl<T: Ord + Clone + fmt::Debug> Lattice for SetUnion<T> {
    fn join(&mut self, other: &Self) -> bool {
        let mut grew = false;
        for element in &other.elements {
            if !self.elements.contains(element) {
                self.elements.insert(element.clone());
                grew = true;
            }
        }
        grew
    }
}

impl<T: Ord + Clone + fmt::Debug> Difference for SetUnion<T> {
    fn difference(&self, other: &Self) -> Self {
        let lacking = self.elements.difference(&other.elements);
        lacking.cloned().collect()
    }
}

impl<T: Ord> PartialOrd for SetUnion<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        crate::laws::order_of_inclusion(
            self.elements.is_subset(&other.elements),
            other.elements.is_subset(&self.elements),
        )
    }
}

impl<T: Ord> FromIterator<T> for SetUnion<T> {
    fn from_iter<I: IntoIterator<Item = T>>(iter: I) -> Self {
        Self {
            elements: iter.into_iter().collect(),
        }
    }
}

impl<T: fmt::Display> fmt::Display for SetUnion<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::text::list(f, "{", &self.elements, "}")
    }
}

#[cfg(feature = "serde")]
impl<'de, T: Ord + serde::Deserialize<'de>> serde::Deserialize<'de> for SetUnion<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let elements = crate::wire::ascending(deserializer, "a set")?;
        Ok(elements.into_iter().collect())
    }
}
