//! Version vectors: how many events of each replica have been seen.

use smallvec::SmallVec;
use std::cmp::Ordering;
use std::fmt;

use crate::{Difference, Dot, Lattice, ReplicaId};

/// Replicas kept inline, without a heap allocation.
const INLINE: usize = 4;

type Entry = (ReplicaId, u64);

/// For each replica the number of its events that are in a causal history without gaps.
///
/// **Order and join.** `a <= b` when `b` has at least as many events of every replica; two vectors
/// may be concurrent. The join is the maximum for each replica.
///
/// **Invariants.** Sorted by replica, no replica twice, no zero counters; so equal vectors have equal
/// bytes.
///
/// **Cost.** Comparing, joining and dominance are linear in the replicas, and do without a search where
/// both vectors count the same ones; no allocation up to four replicas. Encoded, replicas are gaps from
/// one to the next (in text formats, plain).
///
/// **Not for** histories with gaps: a vector cannot say "events 1 and 3". [`CausalContext`] can.
///
/// Source: Parker et al., *Detection of Mutual Inconsistency in Distributed Systems*, 1983.
///
/// [`CausalContext`]: crate::CausalContext
///
/// ```
/// use crdt::{ReplicaId, VersionVector};
///
/// let (a, b) = (ReplicaId(1), ReplicaId(2));
/// let mut left = VersionVector::default();
/// left.increment(a);
/// let mut right = VersionVector::default();
/// right.increment(b);
/// assert!(left.is_concurrent(&right));
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct VersionVector {
    entries: SmallVec<[Entry; INLINE]>,
}

impl VersionVector {
    /// Number of events of `replica`; 0 if none.
    pub fn counter(&self, replica: ReplicaId) -> u64 {
        self.position(replica).map_or(0, |i| self.entries[i].1)
    }

    /// Whether the history holds `dot`.
    pub fn contains(&self, dot: Dot) -> bool {
        dot.counter <= self.counter(dot.replica)
    }

    /// Whether nothing has been seen.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Number of replicas with at least one event.
    pub fn replica_count(&self) -> usize {
        self.entries.len()
    }

    /// The replicas and their counters, sorted by replica.
    pub fn iter(&self) -> impl Iterator<Item = (ReplicaId, u64)> + '_ {
        self.entries.iter().copied()
    }

    /// Whether neither vector holds all of the other.
    pub fn is_concurrent(&self, other: &Self) -> bool {
        self.partial_cmp(other).is_none()
    }

    /// Whether this history holds all of `other`: `self >= other`, and cheaper to ask.
    #[inline]
    pub fn dominates(&self, other: &Self) -> bool {
        let (mut all, mut different) = (true, self.entries.len() != other.entries.len());
        for (mine, theirs) in self.entries.iter().zip(other.entries.iter()) {
            different |= mine.0 != theirs.0;
            all &= mine.1 >= theirs.1;
        }
        if !different {
            return all;
        }
        let mut mine = self.entries.iter();
        other.entries.iter().all(|&(replica, counter)| {
            let held = mine.find(|e| e.0 >= replica);
            held.is_some_and(|e| e.0 == replica && e.1 >= counter)
        })
    }

    /// Counts one more event of `replica` and returns its dot.
    ///
    /// # Panics
    /// If `replica` already has `u64::MAX` events.
    pub fn increment(&mut self, replica: ReplicaId) -> Dot {
        let counter = self
            .counter(replica)
            .checked_add(1)
            .expect("a replica has 2^64 events");
        let dot = Dot::new(replica, counter);
        self.raise(dot);
        dot
    }

    /// Raises the counter of the dot's replica to at least the dot's counter.
    pub fn raise(&mut self, dot: Dot) {
        match self.position(dot.replica) {
            Ok(i) => self.entries[i].1 = self.entries[i].1.max(dot.counter),
            Err(_) if dot.counter == 0 => {}
            Err(i) => self.entries.insert(i, (dot.replica, dot.counter)),
        }
    }

    fn lacks_replica_of(&self, other: &Self) -> bool {
        let mut mine = self.entries.iter().map(|e| e.0);
        let mut theirs = other.entries.iter().map(|e| e.0);
        !theirs.all(|replica| mine.find(|r| *r >= replica) == Some(replica))
    }

    fn join_known_replicas(&mut self, other: &Self) -> bool {
        let mut grew = false;
        let mut mine = self.entries.iter_mut();
        for &(replica, counter) in &other.entries {
            let held = mine.find(|e| e.0 == replica).expect("a known replica");
            grew |= held.1 < counter;
            held.1 = held.1.max(counter);
        }
        grew
    }

    /// Always grows.
    fn join_new_replicas(&mut self, other: &Self) -> bool {
        let mut mine = self.entries.drain(..).peekable();
        let mut joined = SmallVec::with_capacity(other.entries.len());
        for &(replica, counter) in &other.entries {
            while let Some(before) = mine.next_if(|e| e.0 < replica) {
                joined.push(before);
            }
            let held = mine.next_if(|e| e.0 == replica).map_or(0, |e| e.1);
            joined.push((replica, counter.max(held)));
        }
        joined.extend(mine);
        self.entries = joined;
        true
    }

    /// An arbitrary total order, for sorted containers. It says nothing about causality.
    pub(crate) fn canonical_order(&self, other: &Self) -> Ordering {
        self.entries.cmp(&other.entries)
    }

    fn position(&self, replica: ReplicaId) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&replica, |e| e.0)
    }
}

impl Lattice for VersionVector {
    #[inline]
    fn join(&mut self, other: &Self) -> bool {
        // The common case is that both count the same replicas. No step depends on what the steps before
        // have found, so that none waits for another; joining the counters of equal replicas is right
        // whatever the others turn out to be.
        let (mut grows, mut different) = (false, self.entries.len() != other.entries.len());
        for (mine, theirs) in self.entries.iter_mut().zip(other.entries.iter()) {
            let same = mine.0 == theirs.0;
            different |= !same;
            let higher = same & (mine.1 < theirs.1);
            grows |= higher;
            mine.1 = if higher { theirs.1 } else { mine.1 };
        }
        if !different {
            return grows;
        }
        match self.lacks_replica_of(other) {
            true => self.join_new_replicas(other),
            false => self.join_known_replicas(other) | grows,
        }
    }
}

impl Difference for VersionVector {
    fn difference(&self, other: &Self) -> Self {
        let mut theirs = other.entries.iter().peekable();
        let lacks = |&(replica, counter): &(ReplicaId, u64)| {
            while theirs.next_if(|t| t.0 < replica).is_some() {}
            theirs
                .peek()
                .is_none_or(|t| t.0 != replica || t.1 < counter)
        };
        Self {
            entries: self.entries.iter().copied().filter(lacks).collect(),
        }
    }
}

impl PartialOrd for VersionVector {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        // As in `join`: one pass for the common case, in which no step waits for another.
        let (mut below, mut above) = (true, true);
        let mut different = self.entries.len() != other.entries.len();
        for (mine, theirs) in self.entries.iter().zip(other.entries.iter()) {
            different |= mine.0 != theirs.0;
            below &= mine.1 <= theirs.1;
            above &= mine.1 >= theirs.1;
        }
        if !different {
            return crate::laws::order_of_inclusion(below, above);
        }
        crate::laws::order_of_inclusion(other.dominates(self), self.dominates(other))
    }
}

impl FromIterator<(ReplicaId, u64)> for VersionVector {
    fn from_iter<I: IntoIterator<Item = (ReplicaId, u64)>>(iter: I) -> Self {
        let mut vector = Self::default();
        for (replica, counter) in iter {
            vector.raise(Dot::new(replica, counter));
        }
        vector
    }
}

impl fmt::Display for VersionVector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<")?;
        for (i, (replica, counter)) in self.entries.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{replica}:{counter}")?;
        }
        f.write_str(">")
    }
}

impl fmt::Debug for VersionVector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VersionVector({self})")
    }
}

#[cfg(feature = "serde")]
mod wire {
    use super::VersionVector;
    use crate::{InvalidBytes, ReplicaId};
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    impl Serialize for VersionVector {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let plain = serializer.is_human_readable();
            let mut previous = 0;
            serializer.collect_seq(self.entries.iter().map(|&(ReplicaId(replica), counter)| {
                let gap = replica - previous;
                previous = replica;
                (if plain { replica } else { gap }, counter)
            }))
        }
    }

    impl<'de> Deserialize<'de> for VersionVector {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let plain = deserializer.is_human_readable();
            // Not into a `SmallVec`, which reserves whatever length the input announces.
            let list: Vec<(u64, u64)> = Deserialize::deserialize(deserializer)?;
            let mut vector = Self::default();
            for (replica, counter) in list {
                let previous = vector.entries.last().map(|e| e.0.0);
                let replica = match previous {
                    Some(previous) if !plain => previous.checked_add(replica),
                    _ => Some(replica),
                };
                let Some(replica) = replica.filter(|id| previous.is_none_or(|p| p < *id)) else {
                    return Err(D::Error::custom(InvalidBytes::Unsorted("version vector")));
                };
                if counter == 0 {
                    return Err(D::Error::custom(InvalidBytes::ZeroCounter));
                }
                vector.entries.push((ReplicaId(replica), counter));
            }
            Ok(vector)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(entries: &[(u64, u64)]) -> VersionVector {
        entries.iter().map(|&(r, c)| (ReplicaId(r), c)).collect()
    }

    #[test]
    fn order_is_that_of_every_counter() {
        let a = vector(&[(1, 2), (3, 1)]);
        assert_eq!(a.partial_cmp(&a), Some(Ordering::Equal));
        assert!(vector(&[(1, 2)]) < a);
        assert!(vector(&[(3, 1)]) < a);
        assert!(a > VersionVector::default());
        assert!(vector(&[(1, 3)]).is_concurrent(&a));
        assert!(vector(&[(2, 1)]).is_concurrent(&a));
        assert!(!a.is_concurrent(&a) && !a.is_concurrent(&vector(&[(1, 2)])));
    }

    #[test]
    fn a_history_holds_the_events_up_to_its_counters() {
        let history = vector(&[(1, 2)]);
        let held = |replica, counter| history.contains(Dot::new(ReplicaId(replica), counter));
        assert!(held(1, 1) && held(1, 2) && !held(1, 3) && !held(2, 1));
        assert!(!history.is_empty() && VersionVector::default().is_empty());
        assert_eq!(format!("{history:?}"), "VersionVector(<1:2>)");
    }

    #[test]
    fn zero_counters_are_not_stored() {
        assert_eq!(vector(&[(1, 0)]), VersionVector::default());
    }

    #[test]
    fn join_interleaves() {
        let mut a = vector(&[(1, 5), (3, 1)]);
        assert!(a.join(&vector(&[(0, 1), (1, 2), (2, 2), (4, 9)])));
        assert_eq!(a.to_string(), "<0:1, 1:5, 2:2, 3:1, 4:9>");
        assert!(!a.join(&vector(&[(4, 9)])));
    }

    /// The shortcut for equal lists of replicas, and the way without, against counter by counter.
    #[test]
    fn shortcuts_say_what_the_counters_say() {
        let counters = |bits: u64| -> VersionVector {
            let entries = (0..4).map(|i| (ReplicaId(i), bits >> (2 * i) & 3));
            entries.collect()
        };
        for a in (0..256).map(counters) {
            for b in (0..256).step_by(3).map(counters) {
                let all = |f: fn(u64, u64) -> bool| {
                    (0..4).map(ReplicaId).all(|r| f(a.counter(r), b.counter(r)))
                };
                let (below, above) = (all(|a, b| a <= b), all(|a, b| a >= b));
                assert_eq!(a.dominates(&b), above);
                assert_eq!(
                    a.partial_cmp(&b),
                    crate::laws::order_of_inclusion(below, above)
                );
                let mut joined = a.clone();
                assert_eq!(joined.join(&b), !above, "{a} {b}");
                let max = |r| a.counter(r).max(b.counter(r));
                assert_eq!(joined, (0..4).map(ReplicaId).map(|r| (r, max(r))).collect());
            }
        }
    }
}
