//! Version vectors: how many events of each replica have been seen.

use core::cmp::Ordering;
use core::fmt;
use smallvec::SmallVec;

use crate::{CounterOverflow, Difference, Dot, Lattice, ReplicaId};

/// Replicas kept inline, without a heap allocation.
const INLINE: usize = 4;

type Entry = (ReplicaId, u64);

/// Up to this number of replicas, comparing two lists of them in place is faster than a call.
const SHORT: usize = 8;

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
    /// The replicas, ascending, and behind them their counters in the same order, so that either half
    /// is gone over by itself.
    numbers: SmallVec<[u64; 2 * INLINE]>,
}

impl VersionVector {
    /// Number of events of `replica`; 0 if none.
    pub fn counter(&self, replica: ReplicaId) -> u64 {
        self.position(replica).map_or(0, |i| self.halves().1[i])
    }

    /// Whether the history holds `dot`.
    pub fn contains(&self, dot: Dot) -> bool {
        dot.counter <= self.counter(dot.replica)
    }

    /// Whether nothing has been seen.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// Number of replicas with at least one event.
    pub fn replica_count(&self) -> usize {
        self.numbers.len() / 2
    }

    /// The replicas and their counters, sorted by replica.
    pub fn iter(&self) -> impl Iterator<Item = (ReplicaId, u64)> + '_ {
        let (replicas, counters) = self.halves();
        let replicas = replicas.iter().map(|replica| ReplicaId(*replica));
        replicas.zip(counters.iter().copied())
    }

    /// Whether neither vector holds all of the other.
    pub fn is_concurrent(&self, other: &Self) -> bool {
        self.partial_cmp(other).is_none()
    }

    /// Whether this history holds all of `other`: `self >= other`, and cheaper to ask.
    #[inline]
    pub fn dominates(&self, other: &Self) -> bool {
        let (mine, theirs) = (self.halves(), other.halves());
        if same(mine.0, theirs.0) {
            let counters = mine.1.iter().zip(theirs.1);
            return counters.fold(true, |all, (mine, theirs)| all & (mine >= theirs));
        }
        let mut mine = self.iter();
        other.iter().all(|(replica, counter)| {
            let held = mine.find(|e| e.0 >= replica);
            held.is_some_and(|e| e.0 == replica && e.1 >= counter)
        })
    }

    /// Counts one more event of `replica` and returns its dot. The delta is the vector of this dot alone.
    ///
    /// # Panics
    /// If `replica` already has `u64::MAX` events: a vector that comes from outside may say so, and
    /// [`try_increment`](Self::try_increment) gives an error then.
    pub fn increment(&mut self, replica: ReplicaId) -> Dot {
        self.try_increment(replica)
            .expect("a replica has 2^64 events")
    }

    /// As [`increment`](Self::increment), of a vector that may come from anywhere.
    ///
    /// # Errors
    /// [`CounterOverflow`], if `replica` already has `u64::MAX` events. Nothing was changed.
    ///
    /// ```
    /// use crdt::{CounterOverflow, Dot, ReplicaId, VersionVector};
    ///
    /// let (a, b) = (ReplicaId(1), ReplicaId(2));
    /// let mut forged: VersionVector = [(a, u64::MAX)].into_iter().collect();
    /// assert_eq!(forged.try_increment(a), Err(CounterOverflow { replica: a }));
    /// assert_eq!(forged.try_increment(b), Ok(Dot::new(b, 1)));
    /// ```
    pub fn try_increment(&mut self, replica: ReplicaId) -> Result<Dot, CounterOverflow> {
        let counter = self.counter(replica).checked_add(1);
        let counter = counter.ok_or(CounterOverflow { replica })?;
        let dot = Dot::new(replica, counter);
        self.raise(dot);
        Ok(dot)
    }

    /// Raises the counter of the dot's replica to at least the dot's counter. The delta is the vector of
    /// this dot alone.
    pub fn raise(&mut self, dot: Dot) {
        match self.position(dot.replica) {
            Ok(i) => {
                let held = &mut self.halves_mut().1[i];
                *held = dot.counter.max(*held);
            }
            Err(_) if dot.counter == 0 => {}
            Err(i) => {
                let counters = self.replica_count();
                self.numbers.insert(counters + i, dot.counter);
                self.numbers.insert(i, dot.replica.0);
            }
        }
    }

    fn of_ascending(entries: &[Entry]) -> Self {
        let replicas = entries.iter().map(|entry| entry.0.0);
        Self {
            numbers: replicas
                .chain(entries.iter().map(|entry| entry.1))
                .collect(),
        }
    }

    fn halves(&self) -> (&[u64], &[u64]) {
        self.numbers.split_at(self.numbers.len() / 2)
    }

    fn halves_mut(&mut self) -> (&mut [u64], &mut [u64]) {
        let half = self.numbers.len() / 2;
        self.numbers.split_at_mut(half)
    }

    fn lacks_replica_of(&self, other: &Self) -> bool {
        let mut mine = self.halves().0.iter();
        let mut theirs = other.halves().0.iter();
        !theirs.all(|replica| mine.find(|r| *r >= replica) == Some(replica))
    }

    fn join_known_replicas(&mut self, other: &Self) -> bool {
        let mut grew = false;
        let (replicas, counters) = self.halves_mut();
        let mut mine = replicas.iter().zip(counters);
        for (ReplicaId(replica), counter) in other.iter() {
            let (_, held) = mine.find(|e| *e.0 == replica).expect("a known replica");
            grew |= *held < counter;
            *held = counter.max(*held);
        }
        grew
    }

    /// Always grows.
    fn join_new_replicas(&mut self, other: &Self) -> bool {
        let mut mine = self.iter().peekable();
        let mut joined: SmallVec<[Entry; INLINE]> = SmallVec::with_capacity(other.replica_count());
        for (replica, counter) in other.iter() {
            while let Some(before) = mine.next_if(|e| e.0 < replica) {
                joined.push(before);
            }
            let held = mine.next_if(|e| e.0 == replica).map_or(0, |e| e.1);
            joined.push((replica, counter.max(held)));
        }
        joined.extend(mine);
        *self = Self::of_ascending(&joined);
        true
    }

    /// An arbitrary total order, for sorted containers. It says nothing about causality.
    pub(crate) fn canonical_order(&self, other: &Self) -> Ordering {
        self.iter().cmp(other.iter())
    }

    fn position(&self, replica: ReplicaId) -> Result<usize, usize> {
        self.halves().0.binary_search(&replica.0)
    }
}

/// Whether two lists are equal.
#[inline]
fn same(a: &[u64], b: &[u64]) -> bool {
    if a.len() != b.len() || a.len() > SHORT {
        return a == b;
    }
    a.iter().zip(b).fold(0, |bits, (a, b)| bits | (a ^ b)) == 0
}

impl Lattice for VersionVector {
    #[inline]
    fn join(&mut self, other: &Self) -> bool {
        // The common case is that both count the same replicas. Then no step depends on what the steps
        // before have found, so that none waits for another.
        let (mine, theirs) = (self.halves_mut(), other.halves());
        if same(mine.0, theirs.0) {
            let mut grows = false;
            for (mine, theirs) in mine.1.iter_mut().zip(theirs.1) {
                grows |= *mine < *theirs;
                *mine = (*mine).max(*theirs);
            }
            return grows;
        }
        match self.lacks_replica_of(other) {
            true => self.join_new_replicas(other),
            false => self.join_known_replicas(other),
        }
    }
}

impl Difference for VersionVector {
    fn difference(&self, other: &Self) -> Self {
        let mut theirs = other.iter().peekable();
        let lacks = |&(replica, counter): &Entry| {
            while theirs.next_if(|t| t.0 < replica).is_some() {}
            theirs
                .peek()
                .is_none_or(|t| t.0 != replica || t.1 < counter)
        };
        let lacked: SmallVec<[Entry; INLINE]> = self.iter().filter(lacks).collect();
        Self::of_ascending(&lacked)
    }
}

impl PartialOrd for VersionVector {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let (mine, theirs) = (self.halves(), other.halves());
        if same(mine.0, theirs.0) {
            let (mut below, mut above) = (true, true);
            for (mine, theirs) in mine.1.iter().zip(theirs.1) {
                below &= mine <= theirs;
                above &= mine >= theirs;
            }
            return crate::laws::order_of_inclusion(below, above);
        }
        crate::laws::order_of_inclusion(other.dominates(self), self.dominates(other))
    }
}

impl FromIterator<(ReplicaId, u64)> for VersionVector {
    fn from_iter<I: IntoIterator<Item = (ReplicaId, u64)>>(iter: I) -> Self {
        let mut entries: SmallVec<[Entry; INLINE]> = iter.into_iter().collect();
        entries.retain(|entry| entry.1 > 0);
        if !entries.is_sorted_by(|a, b| a.0 < b.0) {
            // The highest counter of a replica comes first and is kept.
            entries.sort_unstable_by_key(|entry| (entry.0, core::cmp::Reverse(entry.1)));
            entries.dedup_by_key(|entry| entry.0);
        }
        Self::of_ascending(&entries)
    }
}

impl fmt::Display for VersionVector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<")?;
        for (i, (replica, counter)) in self.iter().enumerate() {
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
    use alloc::vec::Vec;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    impl Serialize for VersionVector {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let plain = serializer.is_human_readable();
            let mut previous = 0;
            serializer.collect_seq(self.iter().map(|(ReplicaId(replica), counter)| {
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
            let mut entries: Vec<(ReplicaId, u64)> = Vec::with_capacity(list.len());
            for (replica, counter) in list {
                let previous = entries.last().map(|e| e.0.0);
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
                entries.push((ReplicaId(replica), counter));
            }
            Ok(Self::of_ascending(&entries))
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
        let mut empty = VersionVector::default();
        empty.raise(Dot::new(ReplicaId(1), 0));
        assert_eq!(empty, VersionVector::default());
    }

    #[test]
    fn entries_come_in_any_order_and_the_highest_counter_of_a_replica_counts() {
        let sorted = vector(&[(1, 3), (2, 5)]);
        assert_eq!(sorted.replica_count(), 2);
        assert_eq!(vector(&[(2, 5), (1, 3)]), sorted);
        assert_eq!(vector(&[(1, 2), (1, 3), (2, 5)]), sorted);
        assert_eq!(vector(&[(2, 5), (1, 3), (1, 2)]), sorted);
        assert_eq!(vector(&[(1, 2), (1, 3)]), vector(&[(1, 3)]));
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
