//! A set whose elements are removed for good.

use alloc::collections::BTreeSet;
use core::borrow::Borrow;
use core::cmp::Ordering;
use core::fmt;

use crate::memory_use::tree_bytes;
use crate::{Difference, Lattice, MemoryUse};

/// A set whose elements can be inserted, and then removed for good.
///
/// | concurrent operations on one element | outcome |
/// |---|---|
/// | insert and remove | removed |
/// | two inserts | inserted |
///
/// **Order and join.** Each element goes from absent to inserted to removed, and never back; the join
/// takes the later of both. Removing an element that was never seen bars it all the same: an insert
/// that comes later, or comes to be known later, has no effect.
///
/// **Invariants.** No element is both inserted and removed.
///
/// **Cost.** Operations O(log n); a join O(log n) for each element of the other side. Each removed
/// element is kept for good; no other metadata.
///
/// **Not for** elements that may come back: use [`LwwSet`](crate::LwwSet).
///
/// Source: Shapiro et al., *A comprehensive study of Convergent and Commutative Replicated Data
/// Types*, 2011, section 3.3.2. There an element must be in the set to be removed.
///
/// ```
/// use crdt::{Lattice, TwoPhaseSet};
///
/// let (mut left, mut right) = (TwoPhaseSet::default(), TwoPhaseSet::default());
/// let inserted = left.insert("job 7");
/// let cancelled = right.remove("job 7");
/// left.join(&cancelled);
/// right.join(&inserted);
/// assert_eq!(left, right);
/// assert!(!left.contains("job 7") && left.is_removed("job 7"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct TwoPhaseSet<T> {
    inserted: BTreeSet<T>,
    removed: BTreeSet<T>,
}

impl<T: Ord> TwoPhaseSet<T> {
    /// Whether `element` is in the set; O(log n).
    pub fn contains<Q: Ord + ?Sized>(&self, element: &Q) -> bool
    where
        T: Borrow<Q>,
    {
        self.inserted.contains(element)
    }

    /// Whether `element` was removed, and is barred for good; O(log n).
    pub fn is_removed<Q: Ord + ?Sized>(&self, element: &Q) -> bool
    where
        T: Borrow<Q>,
    {
        self.removed.contains(element)
    }

    /// The elements, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> + ExactSizeIterator {
        self.inserted.iter()
    }

    /// The removed elements, ascending.
    pub fn removed(&self) -> impl DoubleEndedIterator<Item = &T> + ExactSizeIterator {
        self.removed.iter()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.inserted.len()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.inserted.is_empty()
    }

    /// What this set holds; removed elements are its tombstones. `heap` gives the bytes that an element holds
    /// on the heap itself. Linear in the elements.
    pub fn memory_use(&self, heap: impl Fn(&T) -> usize) -> MemoryUse {
        let (live, tombstones) = (self.inserted.len(), self.removed.len());
        let held = self.inserted.iter().chain(&self.removed).map(heap);
        let trees = tree_bytes::<T>(live).saturating_add(tree_bytes::<T>(tombstones));
        MemoryUse {
            live,
            tombstones,
            bytes: held.fold(trees, usize::saturating_add),
            ..MemoryUse::default()
        }
    }
}

impl<T: Ord + Clone> TwoPhaseSet<T> {
    /// Adds `element`; O(log n). The delta is bottom if it is there, or was removed.
    #[must_use = "the delta is what other replicas join"]
    pub fn insert(&mut self, element: T) -> Self {
        match self.take_inserted(&element) {
            true => Self {
                inserted: [element].into(),
                removed: BTreeSet::new(),
            },
            false => Self::default(),
        }
    }

    /// Removes `element` for good, also if it is not there; O(log n). The delta is bottom if it was
    /// removed before.
    #[must_use = "the delta is what other replicas join"]
    pub fn remove(&mut self, element: T) -> Self {
        match self.take_removed(&element) {
            true => Self {
                inserted: BTreeSet::new(),
                removed: [element].into(),
            },
            false => Self::default(),
        }
    }

    fn take_inserted(&mut self, element: &T) -> bool {
        let is_new = !self.inserted.contains(element) && !self.removed.contains(element);
        is_new && self.inserted.insert(element.clone())
    }

    fn take_removed(&mut self, element: &T) -> bool {
        self.inserted.remove(element);
        !self.removed.contains(element) && self.removed.insert(element.clone())
    }
}

impl<T: Ord> TwoPhaseSet<T> {
    fn is_below(&self, other: &Self) -> bool {
        let held = |element| other.contains(element) || other.is_removed(element);
        self.removed.is_subset(&other.removed) && self.inserted.iter().all(held)
    }
}

impl<T> Default for TwoPhaseSet<T> {
    fn default() -> Self {
        Self {
            inserted: BTreeSet::new(),
            removed: BTreeSet::new(),
        }
    }
}

impl<T: Ord + Clone + fmt::Debug> Lattice for TwoPhaseSet<T> {
    fn join(&mut self, other: &Self) -> bool {
        let removed = other.removed.iter();
        let shrank = removed.fold(false, |grew, element| self.take_removed(element) | grew);
        let inserted = other.inserted.iter();
        inserted.fold(shrank, |grew, element| self.take_inserted(element) | grew)
    }
}

impl<T: Ord + Clone + fmt::Debug> Difference for TwoPhaseSet<T> {
    fn difference(&self, other: &Self) -> Self {
        let lacking = |element: &&T| !other.contains(*element) && !other.is_removed(*element);
        Self {
            inserted: self.inserted.iter().filter(lacking).cloned().collect(),
            removed: self.removed.difference(&other.removed).cloned().collect(),
        }
    }
}

impl<T: Ord> PartialOrd for TwoPhaseSet<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        crate::laws::order_of_inclusion(self.is_below(other), other.is_below(self))
    }
}

impl<T: fmt::Display> fmt::Display for TwoPhaseSet<T> {
    /// `{a, b} removed {c}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::text::list(f, "{", &self.inserted, "}")?;
        crate::text::list(f, " removed {", &self.removed, "}")
    }
}

#[cfg(feature = "serde")]
mod wire {
    use super::TwoPhaseSet;
    use crate::{InvalidBytes, SetUnion};
    use serde::{Deserialize, Deserializer};

    impl<'de, T: Ord + Deserialize<'de>> Deserialize<'de> for TwoPhaseSet<T> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            #[derive(Deserialize)]
            #[serde(bound = "T: Ord + Deserialize<'de>")]
            struct Wire<T> {
                inserted: SetUnion<T>,
                removed: SetUnion<T>,
            }
            let Wire { inserted, removed } = Wire::deserialize(deserializer)?;
            if inserted.iter().any(|element| removed.contains(element)) {
                let error = InvalidBytes::Obsolete("a removed element among the inserted");
                return Err(serde::de::Error::custom(error));
            }
            Ok(Self {
                inserted: inserted.into_elements(),
                removed: removed.into_elements(),
            })
        }
    }
}
