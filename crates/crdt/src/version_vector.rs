//! Version vectors: how many events of each replica have been seen.

use smallvec::SmallVec;
use std::cmp::Ordering;
use std::fmt;

use crate::{Difference, Dot, Lattice, ReplicaId};

/// Replicas kept inline, without a heap allocation.
const INLINE: usize = 4;

/// For each replica the number of its events that are in a causal history without gaps.
///
/// **Order and join.** `a <= b` when `b` has at least as many events of every replica; two vectors
/// may be concurrent. The join is the maximum for each replica.
///
/// **Invariants.** Sorted by replica, no replica twice, no zero counters; so equal vectors have equal
/// bytes.
///
/// **Cost.** Comparing, joining and dominance take one pass over both vectors; no allocation up to
/// four replicas.
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
    entries: SmallVec<[(ReplicaId, u64); INLINE]>,
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

    /// An arbitrary total order, for sorted containers. It says nothing about causality.
    pub(crate) fn canonical_order(&self, other: &Self) -> Ordering {
        self.entries.cmp(&other.entries)
    }

    fn position(&self, replica: ReplicaId) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&replica, |e| e.0)
    }
}

impl Lattice for VersionVector {
    fn join(&mut self, other: &Self) -> bool {
        let mut grew = false;
        let mut i = 0;
        for &(replica, counter) in &other.entries {
            while i < self.entries.len() && self.entries[i].0 < replica {
                i += 1;
            }
            match self.entries.get_mut(i) {
                Some(mine) if mine.0 == replica => {
                    grew |= mine.1 < counter;
                    mine.1 = mine.1.max(counter);
                }
                _ => {
                    self.entries.insert(i, (replica, counter));
                    grew = true;
                }
            }
        }
        grew
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
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let (mut less, mut greater) = (false, false);
        let (mut a, mut b) = (
            self.entries.iter().peekable(),
            other.entries.iter().peekable(),
        );
        loop {
            match (a.peek(), b.peek()) {
                (None, None) => break,
                (Some(_), None) => {
                    greater = true;
                    break;
                }
                (None, Some(_)) => {
                    less = true;
                    break;
                }
                (Some(x), Some(y)) => match x.0.cmp(&y.0) {
                    Ordering::Less => {
                        greater = true;
                        a.next();
                    }
                    Ordering::Greater => {
                        less = true;
                        b.next();
                    }
                    Ordering::Equal => {
                        less |= x.1 < y.1;
                        greater |= x.1 > y.1;
                        a.next();
                        b.next();
                    }
                },
            }
            if less && greater {
                return None;
            }
        }
        match (less, greater) {
            (false, false) => Some(Ordering::Equal),
            (true, false) => Some(Ordering::Less),
            (false, true) => Some(Ordering::Greater),
            (true, true) => None,
        }
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
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    impl Serialize for VersionVector {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            self.entries.serialize(serializer)
        }
    }

    impl<'de> Deserialize<'de> for VersionVector {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            // Not into a `SmallVec`, which reserves whatever length the input announces.
            let entries: Vec<(ReplicaId, u64)> = Deserialize::deserialize(deserializer)?;
            if entries.windows(2).any(|w| w[0].0 >= w[1].0) {
                return Err(serde::de::Error::custom(InvalidBytes::Unsorted(
                    "version vector",
                )));
            }
            if entries.iter().any(|e| e.1 == 0) {
                return Err(serde::de::Error::custom(InvalidBytes::ZeroCounter));
            }
            Ok(Self {
                entries: entries.into_iter().collect(),
            })
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
}
