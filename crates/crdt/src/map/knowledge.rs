//! What a replica knows of a map: a base for all keys, and exceptions beyond it.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::fmt;

use crate::map::cut::Interval;
use crate::map::exceptions::Exceptions;
use crate::{CausalContext, Difference, Dot, DotRange, Knows, Lattice, ReplicaId};

/// Which events a replica has seen of each key.
///
/// `known(k) = base + exception(k)`. The base holds for every key; an exception holds for an interval
/// of keys and names events beyond the base. Knowing an event that is not live means that the event is
/// obsolete (invariant I2), so knowledge of one key must never be mistaken for knowledge of all.
///
/// **Order and join.** `a <= b` when `b` knows of each key all that `a` knows; the join unites what is
/// known of each key.
///
/// **Invariants.** The base holds every event that is known of the whole key space; no exception
/// names an event of the base; exceptions are in normal form. So equal knowledge is equal values.
///
/// **Cost.** Asking is a search in a list of contexts, empty in most replicas, plus a look-up in one
/// or two contexts. Joining a key's knowledge is linear in the exceptions only if there are any.
///
/// **Not for** objects with one context: [`CausalContext`] is that. Nor for replicas that only ever learn of single
/// keys: each of these is an exception until its events are known of all keys.
///
/// Source: Novik et al., *Peer-to-Peer Replication in WinFS*, 2006 (knowledge with exceptions);
/// Gonçalves et al., *DottedDB*, SRDS 2017.
///
/// ```
/// use crdt::{Knowledge, Lattice, MapReplica, MvCell, ReplicaId};
///
/// let mut a: MapReplica<&str, MvCell<u8>> = MapReplica::new(ReplicaId(1));
/// let _tea = a.write("tea", |cell, dot| cell.write(dot, 1));
/// let _milk = a.write("milk", |cell, dot| cell.write(dot, 2));
/// assert_eq!(a.knowledge().base().to_string(), "<1:2>");
/// // Who has been told of one key, by a read, knows nothing of the others.
/// let mut b: MapReplica<&str, MvCell<u8>> = MapReplica::new(ReplicaId(2));
/// b.join(&a.list_key("milk"));
/// assert!(b.knowledge().base().is_empty() && b.knowledge() < a.knowledge());
/// assert_eq!(b.knowledge().of_key(&"milk").to_context().to_string(), "<1:2>");
/// assert!(b.knowledge().of_key(&"tea").to_context().is_empty());
/// let both: Knowledge<&str> = b.knowledge().clone().joined(a.knowledge());
/// assert_eq!(both, *a.knowledge());
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Knowledge<K> {
    base: CausalContext,
    exceptions: Exceptions<K>,
}

/// A base with something beyond it, borrowed: what is known of one key. Joins ask it without ever
/// building the sum.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    base: &'a CausalContext,
    beyond: Option<&'a CausalContext>,
}

impl<'a> Known<'a> {
    /// What is known beyond the base.
    pub const fn beyond(&self) -> Option<&'a CausalContext> {
        self.beyond
    }

    /// The sum, as a context of its own.
    pub fn to_context(&self) -> CausalContext {
        let mut context = self.base.clone();
        if let Some(beyond) = self.beyond {
            context.join(beyond);
        }
        context
    }

    /// Whether all of `context` is known.
    pub fn includes(&self, context: &CausalContext) -> bool {
        match self.beyond {
            None => self.base.includes(context),
            Some(beyond) => {
                self.base.includes(context) || beyond.includes(&context.difference(self.base))
            }
        }
    }
}

impl Knows for Known<'_> {
    fn knows(&self, dot: Dot) -> bool {
        self.base.contains(dot) || self.beyond.is_some_and(|c| c.contains(dot))
    }

    fn mask(&self, replica: ReplicaId, first: u64) -> u64 {
        let beyond = self.beyond.map_or(0, |c| c.mask(replica, first));
        self.base.mask(replica, first) | beyond
    }

    fn unknown_of(&self, events: &CausalContext) -> CausalContext {
        let unknown = events.difference(self.base);
        match self.beyond {
            Some(beyond) => unknown.difference(beyond),
            None => unknown,
        }
    }
}

impl<K: Ord + Clone> Knowledge<K> {
    /// What is known of every key.
    pub const fn base(&self) -> &CausalContext {
        &self.base
    }

    /// What is known of `key`.
    pub fn of_key(&self, key: &K) -> Known<'_> {
        Known {
            base: &self.base,
            beyond: self.exceptions.of_key(key),
        }
    }

    /// Number of intervals with an exception.
    pub fn exception_count(&self) -> usize {
        self.exceptions.len()
    }

    /// The intervals in which more than the base is known, and what, in key order.
    pub fn exceptions(&self) -> impl Iterator<Item = (Interval<K>, &Arc<CausalContext>)> + '_ {
        self.exceptions.iter()
    }

    /// `interval`, split where knowledge changes, with what is known in each part.
    pub fn within(&self, interval: &Interval<K>) -> Vec<(Interval<K>, Known<'_>)> {
        let parts = self.exceptions.within(interval).into_iter();
        parts
            .map(|(part, beyond)| {
                (
                    part,
                    Known {
                        base: &self.base,
                        beyond,
                    },
                )
            })
            .collect()
    }

    /// Whether `context` is known everywhere in `interval`.
    pub fn includes_within(&self, interval: &Interval<K>, context: &CausalContext) -> bool {
        if self.base.includes(context) {
            return true;
        }
        self.within(interval)
            .iter()
            .all(|(_, known)| known.includes(context))
    }

    /// Whether everything that `other` knows of a key is known of that key here.
    pub fn includes(&self, other: &Self) -> bool {
        self.includes_within(&Interval::all(), &other.base)
            && other
                .exceptions()
                .all(|(interval, beyond)| self.includes_within(&interval, beyond))
    }

    /// The largest counter of `replica` that is known of any key; 0 if there is none.
    pub(crate) fn last_counter(&self, replica: ReplicaId) -> u64 {
        let beyond = self.exceptions.named().last_counter(replica);
        self.base.last_counter(replica).max(beyond)
    }

    /// Those of some events that are known of any key.
    pub(crate) fn known_of_any_key(&self, events: &CausalContext) -> CausalContext {
        let beyond = self.exceptions.named().intersection(events);
        self.base.intersection(events).joined(&beyond)
    }

    /// Adds an event to the base. The caller must hold the event's effect.
    pub(crate) fn insert(&mut self, dot: Dot) -> bool {
        let grew = self.base.insert(dot);
        if grew {
            self.settle();
        }
        grew
    }

    /// Counts all events that `writer` could ever number as known for every key; true if that was news.
    pub(crate) fn close(&mut self, writer: ReplicaId) -> bool {
        let grew = self.base.insert_range(DotRange {
            replica: writer,
            first: 1,
            last: u64::MAX,
        });
        if grew {
            self.settle();
        }
        grew
    }

    /// Adds events to the base.
    pub(crate) fn join_base(&mut self, context: &CausalContext) -> bool {
        let grew = self.base.join(context);
        if grew {
            self.settle();
        }
        grew
    }

    /// Adds what is known of the keys in `interval`.
    pub(crate) fn join_within(&mut self, interval: &Interval<K>, context: &CausalContext) -> bool {
        if *interval == Interval::all() {
            return self.join_base(context);
        }
        if self.base.includes(context) {
            return false;
        }
        let beyond = Arc::new(context.difference(&self.base));
        let grew = self.exceptions.join(interval, &beyond);
        if grew {
            self.settle();
        }
        grew
    }

    /// Restores the invariants: the meet of all keys joins the base, and what the base holds leaves
    /// the exceptions.
    fn settle(&mut self) {
        if let Some(meet) = self.exceptions.meet() {
            self.base.join(&meet);
        }
        self.exceptions.strip(&self.base);
    }
}

impl<K: Ord + Clone + fmt::Debug> Lattice for Knowledge<K> {
    fn join(&mut self, other: &Self) -> bool {
        let mut grew = self.join_base(&other.base);
        for (interval, beyond) in other.exceptions() {
            grew |= self.join_within(&interval, beyond);
        }
        grew
    }
}

impl<K: Ord + Clone + fmt::Debug> Difference for Knowledge<K> {
    /// For each key what is known here and not there. An event of the base of which `other` knows
    /// for some keys is named for the remaining ones alone.
    fn difference(&self, other: &Self) -> Self {
        let mut news = Self::default();
        let shared = self.base.difference(&other.base);
        if self.exceptions.is_empty() && other.exceptions.is_empty() {
            news.base = shared;
            return news;
        }
        let shared = Arc::new(shared);
        for (part, mine) in self.within(&Interval::all()) {
            for (part, theirs) in other.within(&part) {
                let beyond = match (mine.beyond, theirs.beyond) {
                    (None, None) => Arc::clone(&shared),
                    _ => Arc::new(mine.to_context().difference(&theirs.to_context())),
                };
                news.exceptions.join(&part, &beyond);
            }
        }
        news.settle();
        news
    }
}

impl<K: Ord + Clone> PartialOrd for Knowledge<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        crate::laws::order_of_inclusion(other.includes(self), self.includes(other))
    }
}

impl<K> Default for Knowledge<K> {
    fn default() -> Self {
        Self {
            base: CausalContext::default(),
            exceptions: Exceptions::default(),
        }
    }
}

impl<K: Ord + Clone> fmt::Display for Knowledge<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.exceptions.len() {
            0 => write!(f, "{}", self.base),
            1 => write!(f, "{} and 1 exception", self.base),
            n => write!(f, "{} and {n} exceptions", self.base),
        }
    }
}

impl<K: Ord + Clone + fmt::Debug> fmt::Debug for Knowledge<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Knowledge")
            .field("base", &self.base)
            .field("exceptions", &self.exceptions().collect::<Vec<_>>())
            .finish()
    }
}

#[cfg(feature = "serde")]
mod wire {
    use super::Knowledge;
    use crate::map::cut::Interval;
    use crate::{CausalContext, InvalidBytes};
    use alloc::vec::Vec;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(rename = "Knowledge")]
    struct Wire<K: Ord> {
        base: CausalContext,
        exceptions: Vec<(Interval<K>, CausalContext)>,
    }

    impl<K: Ord + Clone + Serialize> Serialize for Knowledge<K> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let exceptions = self
                .exceptions()
                .map(|(i, c)| (i, CausalContext::clone(c)))
                .collect();
            Wire {
                base: self.base.clone(),
                exceptions,
            }
            .serialize(serializer)
        }
    }

    impl<'de, K: Ord + Clone + Deserialize<'de>> Deserialize<'de> for Knowledge<K> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let wire = Wire::<K>::deserialize(deserializer)?;
            let mut knowledge = Self {
                base: wire.base,
                ..Self::default()
            };
            let count = wire.exceptions.len();
            if wire
                .exceptions
                .windows(2)
                .any(|w| w[0].0.end() > w[1].0.start())
            {
                return Err(D::Error::custom(InvalidBytes::Unsorted("exceptions")));
            }
            for (interval, context) in wire.exceptions {
                // Joining one by one would settle each time: quadratic for hostile input.
                if context.is_empty() || context.intersects(&knowledge.base) {
                    return Err(D::Error::custom(InvalidBytes::Exceptions));
                }
                knowledge.exceptions.push_step(&interval, context);
            }
            if !knowledge.exceptions.is_normal(count) || knowledge.exceptions.meet().is_some() {
                return Err(D::Error::custom(InvalidBytes::Exceptions));
            }
            Ok(knowledge)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(counters: &[u64]) -> CausalContext {
        let dots = counters.iter().map(|c| Dot::new(ReplicaId(1), *c));
        dots.collect()
    }

    #[test]
    fn what_is_known_of_a_key_is_the_base_and_what_is_beyond_it() {
        let mut knowledge = Knowledge::<u8>::default();
        assert!(knowledge.join_base(&of(&[1, 2])) && !knowledge.join_base(&of(&[2])));
        assert!(knowledge.join_within(&Interval::of_key(&7), &of(&[2, 4, 70])));
        for (key, seen) in [(7, of(&[1, 2, 4, 70])), (8, of(&[1, 2]))] {
            let known = knowledge.of_key(&key);
            assert_eq!(known.to_context(), seen);
            for first in [1, 4, 65] {
                let mask = known.mask(ReplicaId(1), first);
                assert_eq!(mask, seen.mask(ReplicaId(1), first));
            }
            for asked in [of(&[1]), of(&[2, 4]), of(&[2, 3, 4])] {
                assert_eq!(known.unknown_of(&asked), asked.difference(&seen));
                assert_eq!(known.includes(&asked), seen.includes(&asked));
            }
        }
        assert_eq!(knowledge.to_string(), "<1:2> and 1 exception");
        assert_eq!(knowledge.exception_count(), 1);
        assert_eq!(Knowledge::<u8>::default().exception_count(), 0);
        let exceptions: Vec<_> = knowledge.exceptions().collect();
        let expected = format!(
            "Knowledge {{ base: {:?}, exceptions: {exceptions:?} }}",
            knowledge.base()
        );
        assert_eq!(format!("{knowledge:?}"), expected);
    }

    #[test]
    fn knowledge_is_ordered_by_what_is_known_of_each_key() {
        let of_key = |key: u8, counters: &[u64]| {
            let mut knowledge = Knowledge::default();
            knowledge.join_within(&Interval::of_key(&key), &of(counters));
            knowledge
        };
        let mut everywhere = Knowledge::default();
        everywhere.join_base(&of(&[1]));
        assert!(Knowledge::default() < of_key(7, &[1]));
        assert!(of_key(7, &[1]) < everywhere && everywhere > of_key(7, &[1]));
        assert_eq!(of_key(7, &[1]).partial_cmp(&of_key(8, &[1])), None);
        assert_eq!(everywhere.partial_cmp(&of_key(7, &[2])), None);
        let same = of_key(7, &[1]).partial_cmp(&of_key(7, &[1]));
        assert_eq!(same, Some(Ordering::Equal));
    }
}
