//! A set whose last insert or removal of an element wins.

use alloc::format;
use core::borrow::Borrow;
use core::fmt::{self, Debug};
use core::ops::RangeBounds;

use crate::{Behind, Difference, Horizon, Lattice, LwwMap, MemoryUse, Timestamp};

/// A set in which the last insert or removal of each element wins (the "LWW-element set").
///
/// | concurrent operations on one element | outcome |
/// |---|---|
/// | insert and remove | the higher timestamp; on a tie the insert |
/// | two inserts, or two removals | one of the higher timestamp |
///
/// **Order and join.** That of an [`LwwMap`] from elements to nothing, which it is.
///
/// **Invariants**, **Cost** and **purges**: those of [`LwwMap`].
///
/// **Not for** timestamps that do not respect causality: an insert after a removal may have no effect.
///
/// Source: Shapiro et al., *A comprehensive study of Convergent and Commutative Replicated Data
/// Types*, 2011, section 3.3.3.
///
/// ```
/// use crdt::{Lattice, LwwSet, Timestamp};
///
/// let (mut left, mut right) = (LwwSet::default(), LwwSet::default());
/// let inserted = left.insert("tea", Timestamp(5));
/// let removed = right.remove("tea", Timestamp(5));
/// left.join(&removed);
/// right.join(&inserted);
/// assert_eq!(left, right);
/// assert!(left.contains("tea"), "equal times: the insert");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
#[cfg_attr(
    feature = "serde",
    serde(bound(deserialize = "T: Ord + Clone + serde::Deserialize<'de>"))
)]
pub struct LwwSet<T: Ord + Clone> {
    elements: LwwMap<T, ()>,
}

impl<T: Ord + Clone> LwwSet<T> {
    /// Whether `element` is in the set; O(log n).
    pub fn contains<Q: Ord + ?Sized>(&self, element: &Q) -> bool
    where
        T: Borrow<Q>,
    {
        self.elements.contains_key(element)
    }

    /// The elements, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.elements.iter().map(|(element, ())| element)
    }

    /// The elements in `bounds`, ascending; none if the bounds are reversed. O(log n) to the first.
    pub fn range<Q, R>(&self, bounds: R) -> impl DoubleEndedIterator<Item = &T>
    where
        T: Borrow<Q>,
        Q: Ord + ?Sized,
        R: RangeBounds<Q>,
    {
        self.elements.range(bounds).map(|(element, ())| element)
    }

    /// Number of elements.
    pub const fn len(&self) -> usize {
        self.elements.len()
    }

    /// Whether there are no elements. There may be tombstones.
    pub const fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    /// What this set holds. `heap` gives the bytes that an element holds on the heap itself, present or
    /// removed. Linear in the elements.
    pub fn memory_use(&self, heap: impl Fn(&T) -> usize) -> MemoryUse {
        self.elements.memory_use(|element, _| heap(element))
    }

    /// The map that this set is: for timestamps and tombstones.
    pub const fn as_map(&self) -> &LwwMap<T, ()> {
        &self.elements
    }
}

impl<T: Ord + Clone + Debug> LwwSet<T> {
    /// Adds `element`; O(log n). If that loses against what is held, or is not above the time up to
    /// which was purged, nothing changes, and the delta is bottom.
    #[must_use = "the delta is what other replicas join"]
    pub fn insert(&mut self, element: T, timestamp: Timestamp) -> Self {
        let elements = self.elements.insert(element, (), timestamp);
        Self { elements }
    }

    /// Removes `element`, which need not be there, and leaves a tombstone; O(log n). If that loses
    /// against what is held, or is not above the time up to which was purged, nothing changes, and the
    /// delta is bottom.
    #[must_use = "the delta is what other replicas join"]
    pub fn remove(&mut self, element: T, timestamp: Timestamp) -> Self {
        let elements = self.elements.remove(element, timestamp);
        Self { elements }
    }

    /// As [`join`](Lattice::join), but moves elements over; see [`LwwMap::join_owned`].
    pub fn join_owned(&mut self, other: Self) -> bool {
        self.elements.join_owned(other.elements)
    }

    /// As [`join`](Lattice::join), but refuses a state that has purged too little; see
    /// [`LwwMap::join_checked`].
    ///
    /// # Errors
    /// If it holds elements whose fate this side has forgotten; nothing has changed then.
    pub fn join_checked(&mut self, other: &Self) -> Result<bool, Behind> {
        self.elements.join_checked(&other.elements)
    }

    /// Forgets the tombstones up to the horizon, and returns how many. There is no delta; see
    /// [`LwwMap::purge`].
    pub fn purge(&mut self, horizon: &Horizon) -> usize {
        self.elements.purge(horizon)
    }
}

impl<T: Ord + Clone> Default for LwwSet<T> {
    fn default() -> Self {
        Self {
            elements: LwwMap::default(),
        }
    }
}

impl<T: Ord + Clone + Debug> Lattice for LwwSet<T> {
    fn join(&mut self, other: &Self) -> bool {
        self.elements.join(&other.elements)
    }
}

impl<T: Ord + Clone + Debug> Difference for LwwSet<T> {
    fn difference(&self, other: &Self) -> Self {
        Self {
            elements: self.elements.difference(&other.elements),
        }
    }
}

/// Many inserts at once, in any order. Where the delta is wanted, collect the inserts into a set of their own,
/// by `extend` from empty, and join that.
impl<T: Ord + Clone + Debug> Extend<(T, Timestamp)> for LwwSet<T> {
    fn extend<I: IntoIterator<Item = (T, Timestamp)>>(&mut self, inserts: I) {
        let inserts = inserts
            .into_iter()
            .map(|(element, time)| (element, (), time));
        self.elements.extend(inserts);
    }
}

impl<T: Ord + Clone + fmt::Display> fmt::Display for LwwSet<T> {
    /// `{tea@5, milk deleted@6}`, and ` purged@4` behind it if tombstones were forgotten.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let elements = self
            .elements
            .writes()
            .map(|(element, write)| match write.value {
                Some(()) => format!("{element}{}", write.timestamp),
                None => format!("{element} deleted{}", write.timestamp),
            });
        crate::text::list(f, "{", elements, "}")?;
        let purged = self.elements.purged_up_to();
        purged.map_or(Ok(()), |time| write!(f, " purged{time}"))
    }
}
