//! Multi-value: concurrent writes are kept side by side.

use core::fmt::{self, Debug};
use core::hash::Hash;

use crate::cell::Cell;
use crate::{Dot, DotFun, DotStore, Edit, InvalidBytes, Knows, Timestamp};

/// A register that keeps every concurrent write as a sibling; a write replaces the siblings it has seen.
///
/// | concurrent operations | outcome |
/// |---|---|
/// | two writes | both values, side by side |
/// | write and delete | the write stays |
///
/// **Order and join.** That of the [`DotStore`].
///
/// **Invariants.** Sorted by dot, no dot twice.
///
/// **Cost.** A join is linear in the siblings; one live dot for each; nothing for what was deleted.
///
/// **Not for** readers that cannot handle more than one value: use [`LwwCell`](crate::LwwCell). Where no
/// context can be shared and each version must carry its own clock: [`MvRegister`](crate::MvRegister).
///
/// Source: DeCandia et al., *Dynamo*, 2007; Almeida et al., *Scalable and Accurate Causality Tracking
/// for Eventually Consistent Stores*, 2014.
///
/// ```
/// use crdt::{CausalReplica, MvCell, ObjectId, ReplicaId};
///
/// let mut a = CausalReplica::<MvCell<&str>>::new(ObjectId(1), ReplicaId(1));
/// let mut b = CausalReplica::<MvCell<&str>>::new(ObjectId(1), ReplicaId(2));
/// let (tea, coffee) = (a.change(|v| v.set("tea")), b.change(|v| v.set("coffee")));
/// a.join(&coffee)?;
/// b.join(&tea)?;
/// assert_eq!(a.values().collect::<Vec<_>>(), [&"tea", &"coffee"]);
/// b.join(&a.change(|v| v.set("water")))?;
/// assert_eq!(b.values().collect::<Vec<_>>(), [&"water"], "this write had seen both");
/// # Ok::<(), crdt::IdentityReused>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct MvCell<V> {
    siblings: DotFun<V>,
}

impl<V> MvCell<V> {
    /// The siblings with their dots, ascending by dot.
    pub fn siblings(&self) -> impl ExactSizeIterator<Item = (Dot, &V)> + '_ {
        self.siblings.iter()
    }

    /// The values of the siblings, ascending by dot.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &V> + '_ {
        self.siblings.values()
    }

    /// Replaces all siblings by a new write.
    pub fn write(&mut self, dot: Dot, value: V) {
        self.siblings.clear();
        self.siblings.insert(dot, value);
    }

    /// Removes all siblings.
    pub fn clear(&mut self) {
        self.siblings.clear();
    }
}

impl<V: Clone + Ord + Debug + Hash> Edit<'_, MvCell<V>> {
    /// Writes a value over the siblings that the author has seen.
    pub fn set(&mut self, value: V) {
        self.inner().replace(value);
    }

    /// Removes the siblings that the author has seen.
    pub fn unset(&mut self) {
        self.inner().clear();
    }

    const fn inner(&mut self) -> Edit<'_, DotFun<V>> {
        let (cell, delta, events) = self.parts();
        Edit::new(&mut cell.siblings, &mut delta.siblings, events)
    }
}

impl<V> Default for MvCell<V> {
    fn default() -> Self {
        Self {
            siblings: DotFun::default(),
        }
    }
}

impl<V> FromIterator<(Dot, V)> for MvCell<V> {
    /// The cell with these siblings. Of two under one dot the first stays.
    fn from_iter<I: IntoIterator<Item = (Dot, V)>>(iter: I) -> Self {
        Self {
            siblings: iter.into_iter().collect(),
        }
    }
}

impl<V: Clone + Ord + Debug + Hash> DotStore for MvCell<V> {
    fn is_bottom(&self) -> bool {
        self.siblings.is_bottom()
    }

    fn dots(&self) -> impl Iterator<Item = Dot> + '_ {
        self.siblings.dots()
    }

    fn is_live(&self, dot: Dot) -> bool {
        self.siblings.is_live(dot)
    }

    fn join(&mut self, mine: &impl Knows, other: &Self, theirs: &impl Knows) -> bool {
        self.siblings.join(mine, &other.siblings, theirs)
    }

    fn unknown_to(&self, known: &impl Knows) -> Self {
        Self {
            siblings: self.siblings.unknown_to(known),
        }
    }

    fn conflict(&self, other: &Self) -> Option<Dot> {
        self.siblings.conflict(&other.siblings)
    }

    fn heap_bytes(&self) -> usize {
        self.siblings.heap_bytes()
    }
}

impl<V: Clone + Ord + Debug + Hash> Cell for MvCell<V> {
    const PROVES_ITSELF: bool = false;

    fn is_visible(&self) -> bool {
        !self.siblings.is_empty()
    }

    fn sibling_count(&self) -> usize {
        self.siblings.len()
    }

    fn tombstone(&self) -> Option<Timestamp> {
        None
    }

    fn validate(&self) -> Result<(), InvalidBytes> {
        self.siblings.validate()
    }
}

impl<V: fmt::Display> fmt::Display for MvCell<V> {
    /// `{1.3: tea, 2.1: coffee}`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.siblings, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ReplicaId;

    #[test]
    fn a_cell_is_made_of_siblings_in_any_order() {
        let dot = |replica| Dot::new(ReplicaId(replica), 1);
        let siblings = [(dot(2), 'b'), (dot(1), 'a'), (dot(2), 'c')];
        let cell: MvCell<char> = siblings.into_iter().collect();
        let made: Vec<_> = cell.siblings().collect();
        assert_eq!(made, [(dot(1), &'a'), (dot(2), &'b')]);
        assert_eq!(cell.validate(), Ok(()));
    }

    #[test]
    fn one_dot_with_two_values_is_a_conflict() {
        let dot = Dot::new(ReplicaId(1), 1);
        let cell = |value| {
            let mut cell = MvCell::default();
            cell.write(dot, value);
            cell
        };
        assert_eq!(cell('a').conflict(&cell('b')), Some(dot));
        assert_eq!(cell('a').conflict(&cell('a')), None);
    }
}
