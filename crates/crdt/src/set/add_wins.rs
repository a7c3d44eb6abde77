//! A set in which a concurrent add wins over a remove.

use std::borrow::Borrow;
use std::fmt::{self, Debug};
use std::hash::Hash;

use crate::{Cell, Dot, DotMap, DotSet, DotStore, Edit, InvalidBytes, Knows, Timestamp};

/// A set in which a concurrent add wins over a remove (also known as OR-set). No tombstones.
///
/// | concurrent operations | outcome |
/// |---|---|
/// | add and add | present |
/// | add and remove | present: the remove had not seen the add |
/// | remove and remove | absent |
///
/// **Order and join.** That of the [`DotStore`]: an element stays while any of its adds is live.
///
/// **Invariants.** Those of [`DotMap`].
///
/// **Cost.** Those of [`DotMap`]: one element and one dot for each live add, nothing for what was
/// removed.
///
/// **Not for** removals that must win over concurrent adds: use [`RemoveWinsSet`](crate::RemoveWinsSet).
///
/// Source: Bieniusa et al., *An Optimized Conflict-free Replicated Set*, 2012. The example of
/// [`Causal`](crate::Causal) shows a conflict.
#[derive(Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
#[cfg_attr(
    feature = "serde",
    serde(bound(
        serialize = "E: serde::Serialize",
        deserialize = "E: Ord + Clone + Debug + Hash + serde::Deserialize<'de>"
    ))
)]
pub struct AddWinsSet<E> {
    elements: DotMap<E, DotSet>,
}

impl<E: Ord> AddWinsSet<E> {
    /// Whether `element` is present.
    pub fn contains<Q>(&self, element: &Q) -> bool
    where
        E: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        self.elements.contains_key(element)
    }

    /// The elements in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &E> + ExactSizeIterator + '_ {
        self.elements.keys()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.elements.len()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }
}

impl<E: Ord + Clone + Debug + Hash> Edit<'_, AddWinsSet<E>> {
    /// Adds an element. An element that is present gets a new add, so that a concurrent remove does not
    /// take it away.
    pub fn add(&mut self, element: E) {
        self.inner().update(element, |adds| adds.replace());
    }

    /// Adds elements.
    pub fn extend(&mut self, elements: impl IntoIterator<Item = E>) {
        for element in elements {
            self.add(element);
        }
    }

    /// Removes what the author has seen of an element.
    pub fn remove<Q>(&mut self, element: &Q)
    where
        E: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        self.inner().remove(element);
    }

    /// Removes what the author has seen of all elements.
    pub fn clear(&mut self) {
        self.inner().clear();
    }

    const fn inner(&mut self) -> Edit<'_, DotMap<E, DotSet>> {
        let (set, delta, events) = self.parts();
        Edit::new(&mut set.elements, &mut delta.elements, events)
    }
}

impl<E> Default for AddWinsSet<E> {
    fn default() -> Self {
        Self {
            elements: DotMap::default(),
        }
    }
}

impl<E: Ord + Clone + Debug + Hash> DotStore for AddWinsSet<E> {
    fn is_bottom(&self) -> bool {
        self.elements.is_bottom()
    }

    fn dots(&self) -> impl Iterator<Item = Dot> + '_ {
        self.elements.dots()
    }

    fn join(&mut self, mine: &impl Knows, other: &Self, theirs: &impl Knows) -> bool {
        self.elements.join(mine, &other.elements, theirs)
    }

    fn unknown_to(&self, known: &impl Knows) -> Self {
        Self {
            elements: self.elements.unknown_to(known),
        }
    }

    fn conflict(&self, other: &Self) -> Option<Dot> {
        self.elements.conflict(&other.elements)
    }

    fn live_digest(&self) -> Option<u128> {
        self.elements.live_digest()
    }
}

impl<E: Ord + Clone + Debug + Hash> Cell for AddWinsSet<E> {
    const PROVES_ITSELF: bool = false;

    fn is_visible(&self) -> bool {
        !self.is_empty()
    }

    fn tombstone(&self) -> Option<Timestamp> {
        None
    }

    fn validate(&self) -> Result<(), InvalidBytes> {
        self.elements.validate()
    }
}

impl<E: Debug> Debug for AddWinsSet<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.elements.fmt(f)
    }
}

impl<E: Ord + fmt::Display> fmt::Display for AddWinsSet<E> {
    /// `{milk, tea}`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, element) in self.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{element}")?;
        }
        f.write_str("}")
    }
}
