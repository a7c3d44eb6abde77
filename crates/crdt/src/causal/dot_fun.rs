//! Live events with a value each.

#[cfg(feature = "serde")]
use alloc::vec::Vec;
use core::fmt::{self, Debug};
use core::hash::{Hash, Hasher};
use smallvec::SmallVec;

use crate::memory_use::spilled_bytes;
use crate::{Cell, Dot, DotStore, Edit, InvalidBytes, Knows, Timestamp};

/// Live events, each with a value: what registers and counters are made of.
///
/// **Order and join.** That of the [`DotStore`]: an event stays if both sides hold it, or if the other side
/// has not seen it. Of two values under one dot, which no correct replicas make, the smaller stays.
///
/// **Invariants.** Sorted by dot, no dot twice.
///
/// **Cost.** A join is linear in the events of both sides. One event needs no allocation.
///
/// **Not for** large collections, as every join looks at all events: [`AddWinsSet`](crate::AddWinsSet) and
/// [`OrMap`](crate::OrMap) are made for those.
///
/// Source: Almeida, Shoker, Baquero, *Delta State Replicated Data Types*, 2018, section 7.1.
///
/// ```
/// use crdt::{Causal, CausalReplica, DotFun, ObjectId, ReplicaId};
///
/// let mut a = CausalReplica::<DotFun<&str>>::new(ObjectId(1), ReplicaId(1));
/// let mut b = CausalReplica::<DotFun<&str>>::new(ObjectId(1), ReplicaId(2));
/// let (tea, coffee) = (a.change(|v| v.replace("tea")), b.change(|v| v.replace("coffee")));
/// a.join(&coffee)?;
/// b.join(&tea)?;
/// assert_eq!(a.values().collect::<Vec<_>>(), [&"tea", &"coffee"]);
/// # Ok::<(), crdt::IdentityReused>(())
/// ```
#[derive(Debug, Eq)]
pub struct DotFun<V> {
    events: SmallVec<[(Dot, V); 1]>,
}

impl<V> DotFun<V> {
    /// The live events, ascending by dot.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Dot, &V)> + '_ {
        self.events.iter().map(|(dot, value)| (*dot, value))
    }

    /// The values of the live events, ascending by dot.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &V> + '_ {
        self.events.iter().map(|(_, value)| value)
    }

    /// The value of a live event.
    pub fn value(&self, dot: Dot) -> Option<&V> {
        self.position(dot).ok().map(|i| &self.events[i].1)
    }

    /// Number of live events.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether no event is live.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Adds a live event. One that is live already keeps its value.
    pub(crate) fn insert(&mut self, dot: Dot, value: V) {
        if let Err(i) = self.position(dot) {
            self.events.insert(i, (dot, value));
        }
    }

    /// Keeps the events that `keep` says.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(Dot, &V) -> bool) {
        self.events.retain(|(dot, value)| keep(*dot, value));
    }

    pub(crate) fn clear(&mut self) {
        self.events.clear();
    }

    /// Takes events as they were decoded; [`validate`](Self::validate) tells whether they are a store.
    #[cfg(feature = "serde")]
    pub(crate) fn from_decoded(events: Vec<(Dot, V)>) -> Self {
        Self {
            events: events.into_iter().collect(),
        }
    }

    /// Checks what decoding cannot see of itself.
    pub(crate) fn validate(&self) -> Result<(), InvalidBytes> {
        if self.events.iter().any(|e| e.0.counter == 0) {
            return Err(InvalidBytes::ZeroCounter);
        }
        if self.events.windows(2).any(|w| w[0].0 >= w[1].0) {
            return Err(InvalidBytes::Unsorted("dots of a store"));
        }
        Ok(())
    }

    fn position(&self, dot: Dot) -> Result<usize, usize> {
        self.events.binary_search_by_key(&dot, |e| e.0)
    }
}

impl<V: Clone + Ord + Debug + Hash> Edit<'_, DotFun<V>> {
    /// Replaces the events that the author has seen by a new one.
    pub fn replace(&mut self, value: V) {
        self.clear();
        self.add(value);
    }

    /// Adds a new event beside those that are live.
    pub fn add(&mut self, value: V) {
        let (store, delta, events) = self.parts();
        let dot = events.mint();
        store.insert(dot, value.clone());
        delta.insert(dot, value);
    }

    /// Removes the events that the author has seen.
    pub fn clear(&mut self) {
        let (store, delta, events) = self.parts();
        store.retain(|dot, _| !events.make_obsolete(dot));
        delta.clear();
    }
}

/// Nearly always one event is live, so that cloning and comparing it by itself is worth a case.
impl<V: Clone> Clone for DotFun<V> {
    #[inline]
    fn clone(&self) -> Self {
        let events = match self.events.as_slice() {
            [one] => SmallVec::from_buf([one.clone()]),
            events => events.iter().cloned().collect(),
        };
        Self { events }
    }
}

impl<V: PartialEq> PartialEq for DotFun<V> {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        match (self.events.as_slice(), other.events.as_slice()) {
            ([mine], [theirs]) => mine == theirs,
            (mine, theirs) => mine == theirs,
        }
    }
}

impl<V: Hash> Hash for DotFun<V> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.events.hash(state);
    }
}

impl<V> Default for DotFun<V> {
    fn default() -> Self {
        Self {
            events: SmallVec::new(),
        }
    }
}

impl<V> FromIterator<(Dot, V)> for DotFun<V> {
    fn from_iter<I: IntoIterator<Item = (Dot, V)>>(iter: I) -> Self {
        let mut store = Self::default();
        for (dot, value) in iter {
            store.insert(dot, value);
        }
        store
    }
}

impl<V: Clone + Ord + Debug + Hash> DotStore for DotFun<V> {
    fn is_bottom(&self) -> bool {
        self.events.is_empty()
    }

    fn dots(&self) -> impl Iterator<Item = Dot> + '_ {
        self.events.iter().map(|e| e.0)
    }

    fn is_live(&self, dot: Dot) -> bool {
        self.position(dot).is_ok()
    }

    fn join(&mut self, mine: &impl Knows, other: &Self, theirs: &impl Knows) -> bool {
        if let ([(dot, _)], []) = (self.events.as_slice(), other.events.as_slice()) {
            // Most of what goes is the only event.
            let goes = theirs.knows(*dot);
            if goes {
                self.events.clear();
            }
            return goes;
        }
        let held = self.events.len();
        let mut changed = false;
        self.events.retain(|(dot, value)| match other.value(*dot) {
            Some(theirs) => {
                if theirs < value {
                    value.clone_from(theirs);
                    changed = true;
                }
                true
            }
            None => !theirs.knows(*dot),
        });
        changed |= self.events.len() != held;
        for (dot, value) in &other.events {
            if !mine.knows(*dot) {
                changed |= !self.is_live(*dot);
                self.insert(*dot, value.clone());
            }
        }
        changed
    }

    fn unknown_to(&self, known: &impl Knows) -> Self {
        let unknown = self.events.iter().filter(|e| !known.knows(e.0));
        Self {
            events: unknown.cloned().collect(),
        }
    }

    fn conflict(&self, other: &Self) -> Option<Dot> {
        let differs = |(dot, value): &(Dot, &V)| other.value(*dot).is_some_and(|v| v != *value);
        self.iter().find(differs).map(|(dot, _)| dot)
    }

    fn heap_bytes(&self) -> usize {
        spilled_bytes(&self.events)
    }
}

impl<V: Clone + Ord + Debug + Hash> Cell for DotFun<V> {
    const PROVES_ITSELF: bool = false;

    fn is_visible(&self) -> bool {
        !self.is_empty()
    }

    fn tombstone(&self) -> Option<Timestamp> {
        None
    }

    fn validate(&self) -> Result<(), InvalidBytes> {
        Self::validate(self)
    }
}

impl<V: fmt::Display> fmt::Display for DotFun<V> {
    /// `{1.3: tea, 2.1: coffee}`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, (dot, value)) in self.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{dot}: {value}")?;
        }
        f.write_str("}")
    }
}

#[cfg(feature = "serde")]
mod wire {
    use super::DotFun;
    use crate::Dot;
    use crate::causal::dot_list::{DeltaDots, decode_dots};
    use alloc::vec::Vec;
    use serde::de::Error as _;
    use serde::ser::SerializeSeq as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    impl<V: Serialize> Serialize for DotFun<V> {
        /// A list of (dot, value); in binary formats the dots are delta-coded.
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let readable = serializer.is_human_readable();
            let mut list = serializer.serialize_seq(Some(self.len()))?;
            let mut code = DeltaDots::default();
            for (dot, value) in self.iter() {
                match readable {
                    true => list.serialize_element(&(dot, value))?,
                    false => list.serialize_element(&(code.encode(dot), value))?,
                }
            }
            list.end()
        }
    }

    impl<'de, V: Deserialize<'de>> Deserialize<'de> for DotFun<V> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            // Not into a `SmallVec`, which reserves whatever length the input announces.
            let events: Vec<(Dot, V)> = if deserializer.is_human_readable() {
                Deserialize::deserialize(deserializer)?
            } else {
                let coded: Vec<((u64, u64), V)> = Deserialize::deserialize(deserializer)?;
                decode_dots(coded).map_err(D::Error::custom)?
            };
            let store = Self::from_decoded(events);
            store.validate().map_err(D::Error::custom)?;
            Ok(store)
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use crate::{InvalidBytes, ReplicaId};

        #[test]
        fn dots_that_are_not_ascending_are_refused() {
            let dot = |r, c| Dot::new(ReplicaId(r), c);
            for dots in [
                vec![dot(1, 2), dot(1, 1)],
                vec![dot(1, 1), dot(1, 1)],
                vec![dot(1, 0)],
            ] {
                let list: Vec<(Dot, u8)> = dots.into_iter().map(|d| (d, 7)).collect();
                let json = serde_json::to_string(&list).expect("a list encodes");
                let error = serde_json::from_str::<DotFun<u8>>(&json).expect_err("invalid");
                let causes = [
                    InvalidBytes::ZeroCounter,
                    InvalidBytes::Unsorted("dots of a store"),
                ];
                assert!(
                    causes
                        .iter()
                        .any(|c| error.to_string().contains(&c.to_string()))
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CausalContext, ReplicaId};

    #[test]
    fn of_two_values_under_one_dot_the_smaller_stays() {
        let dot = Dot::new(ReplicaId(1), 1);
        let seen: CausalContext = [dot].into_iter().collect();
        let of = |value| DotFun::from_iter([(dot, value)]);
        for (mine, theirs, changes) in [('b', 'a', true), ('a', 'b', false), ('a', 'a', false)] {
            let mut store = of(mine);
            assert_eq!(store.join(&seen, &of(theirs), &seen), changes);
            assert_eq!(store, of('a'));
            assert_eq!(
                of(mine).conflict(&of(theirs)),
                (mine != theirs).then_some(dot)
            );
        }
    }
}
