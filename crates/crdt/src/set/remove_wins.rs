//! A set in which a concurrent remove wins over an add.

use alloc::vec::Vec;
use core::borrow::Borrow;
use core::fmt::{self, Debug};
use core::hash::Hash;

use crate::causal::RemoveWins;
use crate::{
    CausalContext, Cell, Dot, DotMap, DotStore, Edit, InvalidBytes, Knows, Stable, Timestamp,
};

/// A set in which a concurrent remove wins over an add.
///
/// Adds and removes of an element are kept until a later operation on it has seen them. An element is
/// present while an add of it is live and no remove is.
///
/// | concurrent operations | outcome |
/// |---|---|
/// | add and add | present |
/// | add and remove | absent: the add had not seen the remove |
/// | remove and remove | absent |
/// | add, and remove of an element that is absent | absent: such a remove is recorded too |
/// | add and clear | absent if the element was present to who cleared, else present |
///
/// **Order and join.** That of the [`DotStore`], element by element.
///
/// **Invariants.** Those of [`DotMap`]; no dot is both an add and a remove.
///
/// **Cost.** Look-ups and changes are logarithmic in the elements that hold anything, removed ones
/// included: a removed element keeps its last remove as a tombstone, one element and one dot, until it
/// is stable and purged ([`CausalReplica::purge`](crate::CausalReplica::purge)).
///
/// **Not for** sets from which very many elements are removed and which are never purged: use
/// [`AddWinsSet`](crate::AddWinsSet), which leaves nothing behind.
///
/// Source: Almeida, Shoker, Baquero, *Delta State Replicated Data Types*, 2018, section 7.4.
///
/// ```
/// use crdt::{CausalReplica, ObjectId, RemoveWinsSet, ReplicaId};
///
/// let mut a = CausalReplica::<RemoveWinsSet<&str>>::new(ObjectId(1), ReplicaId(1));
/// let mut b = CausalReplica::<RemoveWinsSet<&str>>::new(ObjectId(1), ReplicaId(2));
/// // A takes the right away, which b has never granted; b grants it at the same time.
/// let (removed, added) = (a.change(|who| who.remove("eve")), b.change(|who| who.add("eve")));
/// a.join(&added)?;
/// b.join(&removed)?;
/// assert_eq!(a.state(), b.state());
/// assert!(!a.contains("eve"), "the add had not seen the remove");
/// let _ = a.change(|who| who.add("eve"));
/// assert!(a.contains("eve"), "this one had");
/// # Ok::<(), crdt::IdentityReused>(())
/// ```
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
pub struct RemoveWinsSet<E> {
    elements: DotMap<E, RemoveWins>,
}

impl<E: Ord> RemoveWinsSet<E> {
    /// Whether `element` is present.
    pub fn contains<Q>(&self, element: &Q) -> bool
    where
        E: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        self.elements
            .get(element)
            .is_some_and(RemoveWins::is_present)
    }

    /// The elements that are present, in order. Passes over those that were removed and not purged.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &E> + '_ {
        let present = self.elements.iter().filter(|(_, marks)| marks.is_present());
        present.map(|(element, _)| element)
    }

    /// Number of elements that are present. Linear in the elements that hold anything.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether no element is present. Linear in the removed elements before the first present one.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Number of elements that hold a remove: what [`CausalReplica::purge`](crate::CausalReplica::purge)
    /// can free once they are stable. Linear in the elements that hold anything.
    pub fn tombstone_count(&self) -> usize {
        self.elements
            .values()
            .filter(|marks| marks.is_removed())
            .count()
    }
}

impl<E: Ord + Clone + Debug + Hash> Edit<'_, RemoveWinsSet<E>> {
    /// Adds an element. It is present then, unless a remove that the author has not seen is live.
    pub fn add(&mut self, element: E) {
        self.inner().update(element, |marks| marks.add());
    }

    /// Adds elements.
    pub fn extend(&mut self, elements: impl IntoIterator<Item = E>) {
        for element in elements {
            self.add(element);
        }
    }

    /// Removes an element. One that is absent is removed too: against concurrent adds.
    pub fn remove(&mut self, element: E) {
        self.inner().update(element, |marks| marks.remove());
    }

    /// Removes every element that is present to the author: of whose live adds and removes it has seen
    /// an add and no remove. Elements that were absent to it stay as they are, so concurrent adds of them
    /// stay too.
    pub fn clear(&mut self) {
        let (set, _, events) = self.parts();
        let elements = set.elements.iter();
        let present: Vec<E> = elements
            .filter(|(_, marks)| marks.is_present_to(events))
            .map(|(element, _)| element.clone())
            .collect();
        for element in present {
            self.remove(element);
        }
    }

    const fn inner(&mut self) -> Edit<'_, DotMap<E, RemoveWins>> {
        let (set, delta, events) = self.parts();
        Edit::new(&mut set.elements, &mut delta.elements, events)
    }
}

impl<E> Default for RemoveWinsSet<E> {
    fn default() -> Self {
        Self {
            elements: DotMap::default(),
        }
    }
}

impl<E: Ord + Clone + Debug + Hash> DotStore for RemoveWinsSet<E> {
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

    fn purge(&mut self, stable: &Stable) -> CausalContext {
        self.elements.purge(stable)
    }

    fn live_digest(&self) -> Option<u128> {
        self.elements.live_digest()
    }

    fn mark_count(&self) -> usize {
        self.elements.mark_count()
    }

    fn heap_bytes(&self) -> usize {
        self.elements.heap_bytes()
    }
}

impl<E: Ord + Clone + Debug + Hash> Cell for RemoveWinsSet<E> {
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

impl<E: Debug> Debug for RemoveWinsSet<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.elements.fmt(f)
    }
}

impl<E: Ord + fmt::Display> fmt::Display for RemoveWinsSet<E> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CausalReplica, IdentityReused, ObjectId, ReplicaId};

    type Set = RemoveWinsSet<u8>;
    type Op = fn(&mut Edit<'_, Set>);
    const ADD: Op = |set| set.add(7);
    const REMOVE: Op = |set| set.remove(7);
    const NOTHING: Op = |_| ();

    fn replica(id: u64) -> CausalReplica<Set> {
        CausalReplica::new(ObjectId(1), ReplicaId(id))
    }

    #[test]
    fn every_row_of_the_outcome_table_holds() -> Result<(), IdentityReused> {
        for start in [ADD, REMOVE, NOTHING] {
            for (ops, present) in [
                ([ADD, ADD], true),
                ([ADD, REMOVE], false),
                ([REMOVE, ADD], false),
                ([REMOVE, REMOVE], false),
            ] {
                let (mut a, mut b) = (replica(1), replica(2));
                b.join(&a.change(start))?;
                let (by_a, by_b) = (a.change(ops[0]), b.change(ops[1]));
                a.join(&by_b)?;
                b.join(&by_a)?;
                assert_eq!(a.state(), b.state());
                assert_eq!(a.contains(&7), present, "{:?}", a.state());
            }
        }
        Ok(())
    }

    #[test]
    fn removed_elements_are_not_counted_nor_shown() {
        let mut set = replica(1);
        let _ = set.change(|set| set.extend([1, 2, 3]));
        let _ = set.change(|set| set.remove(2));
        assert_eq!(set.to_string(), "1@1 {1, 3} <1:4>");
        assert_eq!((set.len(), set.tombstone_count()), (2, 1));
        let _ = set.change(|set| set.clear());
        assert!(set.is_empty() && !set.is_bottom());
        assert_eq!(set.tombstone_count(), 3);
    }

    #[test]
    fn clearing_leaves_elements_of_which_the_author_has_seen_no_add() {
        let mut set = replica(1);
        let _ = set.change(|set| set.add(1));
        let read = set.read_context();
        let _ = set.change(|set| set.add(2));
        let cleared = set.change_seen(&read, |set| set.clear());
        assert!(cleared.is_ok());
        assert_eq!(set.iter().collect::<Vec<_>>(), [&2]);
    }

    #[test]
    fn clearing_removes_what_the_author_saw_whatever_remove_has_arrived_since()
    -> Result<(), IdentityReused> {
        let [mut a, mut b, mut c] = [1, 2, 3].map(replica);
        let (added, removed) = (a.change(|set| set.add(7)), b.change(|set| set.remove(7)));
        let read = a.read_context();
        a.join(&removed)?;
        let cleared = a.change_seen(&read, |set| set.clear());
        for delta in [&added, &removed] {
            c.join(delta)?;
        }
        let _ = c.change(|set| set.add(7));
        assert!(c.contains(&7), "it had seen the remove");
        c.join(&cleared.expect("all of it is here"))?;
        assert!(!c.contains(&7), "it had not seen the clear");
        Ok(())
    }
}
