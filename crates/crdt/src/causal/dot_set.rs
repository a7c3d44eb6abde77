//! Live events without values.

use core::fmt;

use crate::{Cell, Dot, DotFun, DotStore, Edit, InvalidBytes, Knows, Timestamp};

/// Live events and nothing else: what flags and the elements of sets are made of.
///
/// **Order and join.** That of the [`DotStore`].
///
/// **Invariants.** Sorted, no dot twice.
///
/// **Cost.** A join is linear in the events of both sides. One event needs no allocation.
///
/// **Not for** events that say something: [`DotFun`] gives each a value.
///
/// Source: Almeida, Shoker, Baquero, *Delta State Replicated Data Types*, 2018, section 7.1.
///
/// ```
/// use crdt::{CausalReplica, DotSet, ObjectId, ReplicaId};
///
/// let mut a = CausalReplica::<DotSet>::new(ObjectId(1), ReplicaId(1));
/// let mut b = CausalReplica::<DotSet>::new(ObjectId(1), ReplicaId(2));
/// b.join(&a.change(|dots| dots.replace()))?;
/// // A removes what is there while B replaces it.
/// let (removed, replaced) = (a.change(|dots| dots.clear()), b.change(|dots| dots.replace()));
/// a.join(&replaced)?;
/// b.join(&removed)?;
/// assert_eq!(a.state(), b.state());
/// assert_eq!(a.to_string(), "1@1 {2.1} <1:1, 2:1>", "the remove had not seen the second event");
/// # Ok::<(), crdt::IdentityReused>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct DotSet {
    dots: DotFun<()>,
}

impl DotSet {
    /// Number of live events.
    pub fn len(&self) -> usize {
        self.dots.len()
    }

    /// Whether no event is live.
    pub fn is_empty(&self) -> bool {
        self.dots.is_empty()
    }

    pub(crate) fn insert(&mut self, dot: Dot) {
        self.dots.insert(dot, ());
    }

    pub(crate) fn clear(&mut self) {
        self.dots.clear();
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(Dot) -> bool) {
        self.dots.retain(|dot, ()| keep(dot));
    }
}

impl Edit<'_, DotSet> {
    /// Replaces the events that the author has seen by a new one.
    pub fn replace(&mut self) {
        self.clear();
        let (store, delta, events) = self.parts();
        let dot = events.mint();
        store.insert(dot);
        delta.insert(dot);
    }

    /// Removes the events that the author has seen.
    pub fn clear(&mut self) {
        let (store, delta, events) = self.parts();
        store.retain(|dot| !events.make_obsolete(dot));
        delta.clear();
    }
}

impl FromIterator<Dot> for DotSet {
    fn from_iter<I: IntoIterator<Item = Dot>>(iter: I) -> Self {
        Self {
            dots: iter.into_iter().map(|dot| (dot, ())).collect(),
        }
    }
}

impl DotStore for DotSet {
    fn is_bottom(&self) -> bool {
        self.dots.is_bottom()
    }

    fn dots(&self) -> impl Iterator<Item = Dot> + '_ {
        self.dots.dots()
    }

    fn is_live(&self, dot: Dot) -> bool {
        self.dots.is_live(dot)
    }

    fn join(&mut self, mine: &impl Knows, other: &Self, theirs: &impl Knows) -> bool {
        self.dots.join(mine, &other.dots, theirs)
    }

    fn unknown_to(&self, known: &impl Knows) -> Self {
        Self {
            dots: self.dots.unknown_to(known),
        }
    }

    fn conflict(&self, _: &Self) -> Option<Dot> {
        None
    }

    fn heap_bytes(&self) -> usize {
        self.dots.heap_bytes()
    }
}

impl Cell for DotSet {
    const PROVES_ITSELF: bool = false;

    fn is_visible(&self) -> bool {
        !self.is_empty()
    }

    fn tombstone(&self) -> Option<Timestamp> {
        None
    }

    fn validate(&self) -> Result<(), InvalidBytes> {
        self.dots.validate()
    }
}

impl fmt::Display for DotSet {
    /// `{1.3, 2.1}`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, dot) in self.dots().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{dot}")?;
        }
        f.write_str("}")
    }
}

#[cfg(feature = "serde")]
mod wire {
    use super::DotSet;
    use crate::causal::dot_list::{DeltaDots, decode_dots};
    use crate::{Cell as _, Dot, DotStore as _};
    use alloc::vec::Vec;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    impl Serialize for DotSet {
        /// A list of dots; in binary formats delta-coded.
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            if serializer.is_human_readable() {
                return serializer.collect_seq(self.dots());
            }
            let mut code = DeltaDots::default();
            let coded: Vec<(u64, u64)> = self.dots().map(|dot| code.encode(dot)).collect();
            coded.serialize(serializer)
        }
    }

    impl<'de> Deserialize<'de> for DotSet {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let dots: Vec<(Dot, ())> = if deserializer.is_human_readable() {
                let dots: Vec<Dot> = Deserialize::deserialize(deserializer)?;
                dots.into_iter().map(|dot| (dot, ())).collect()
            } else {
                let coded: Vec<(u64, u64)> = Deserialize::deserialize(deserializer)?;
                let coded = coded.into_iter().map(|code| (code, ())).collect();
                decode_dots(coded).map_err(D::Error::custom)?
            };
            let set = Self {
                dots: crate::DotFun::from_decoded(dots),
            };
            set.validate().map_err(D::Error::custom)?;
            Ok(set)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CausalReplica, ObjectId, ReplicaId};

    #[test]
    fn what_a_mutation_replaces_of_its_own_is_not_in_its_delta() {
        let mut replica = CausalReplica::<DotSet>::new(ObjectId(1), ReplicaId(1));
        let delta = replica.change(|dots| {
            dots.replace();
            dots.replace();
        });
        let last = Dot::new(ReplicaId(1), 2);
        assert_eq!(delta.store().dots().collect::<Vec<_>>(), [last]);
        assert_eq!(replica.state(), &delta);
        assert_eq!(delta.to_string(), "{1.2} <1:2>");
    }

    #[test]
    fn dots_are_shown_in_order_between_commas() {
        let dots = [(2, 1), (1, 3)].map(|(r, c)| Dot::new(ReplicaId(r), c));
        assert_eq!(DotSet::from_iter(dots).to_string(), "{1.3, 2.1}");
    }
}
