//! A counter that only grows.

use core::cmp::Ordering;
use core::fmt;

use crate::{Difference, Dot, Lattice, ReplicaId, VersionVector};

/// A replica's count would go beyond `u64::MAX`. The caller is at fault; the state is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the count of replica {replica} would overflow")]
pub struct CounterOverflow {
    /// The replica whose count is full.
    pub replica: ReplicaId,
}

/// A counter that every replica may increment.
///
/// | concurrent operations | outcome |
/// |---|---|
/// | two increments by different replicas | both count |
///
/// **Order and join.** That of a [`VersionVector`] of the replicas' own counts: the maximum of each.
///
/// **Invariants.** A replica increments its own count only, and no two writers share a [`ReplicaId`].
///
/// **Cost.** An increment takes O(log r), reading and joining O(r) for r replicas that ever
/// incremented; 16 bytes for each of them, for good; no allocation up to four.
///
/// **Not for** counts that go down: use [`PnCounter`](crate::PnCounter).
///
/// Source: Shapiro et al., *A comprehensive study of Convergent and Commutative Replicated Data
/// Types*, 2011, section 3.1.1.
///
/// ```
/// use crdt::{GCounter, Lattice, ReplicaId};
///
/// let (mut left, mut right) = (GCounter::default(), GCounter::default());
/// let three = left.increment(ReplicaId(1), 3)?;
/// let four = right.increment(ReplicaId(2), 4)?;
/// left.join(&four);
/// right.join(&three);
/// right.join(&three);
/// assert_eq!((left.value(), left == right), (7, true));
/// # Ok::<(), crdt::CounterOverflow>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct GCounter {
    counts: VersionVector,
}

impl GCounter {
    /// The sum of all increments; O(r).
    pub fn value(&self) -> u128 {
        self.counts.iter().map(|(_, count)| u128::from(count)).sum()
    }

    /// The sum of the increments by `replica`.
    pub fn count_of(&self, replica: ReplicaId) -> u64 {
        self.counts.counter(replica)
    }

    /// The replicas that have incremented and their sums, ascending by replica.
    pub fn iter(&self) -> impl Iterator<Item = (ReplicaId, u64)> + '_ {
        self.counts.iter()
    }

    /// Adds `by`, as `replica`, which must be the caller's own identity. By zero the delta is bottom.
    ///
    /// # Errors
    /// If the count of `replica` would go beyond `u64::MAX`; nothing has changed then.
    #[must_use = "the delta is what other replicas join"]
    pub fn increment(&mut self, replica: ReplicaId, by: u64) -> Result<Self, CounterOverflow> {
        if by == 0 {
            return Ok(Self::default());
        }
        let count = self.count_of(replica).checked_add(by);
        let count = count.ok_or(CounterOverflow { replica })?;
        self.counts.raise(Dot::new(replica, count));
        Ok(Self {
            counts: [(replica, count)].into_iter().collect(),
        })
    }
}

impl Lattice for GCounter {
    fn join(&mut self, other: &Self) -> bool {
        self.counts.join(&other.counts)
    }
}

impl Difference for GCounter {
    fn difference(&self, other: &Self) -> Self {
        Self {
            counts: self.counts.difference(&other.counts),
        }
    }
}

impl PartialOrd for GCounter {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.counts.partial_cmp(&other.counts)
    }
}

impl fmt::Display for GCounter {
    /// `7 <1:3, 2:4>`: the value and what each replica adds to it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.value(), self.counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overflow_is_an_error_and_changes_nothing() {
        let (a, b) = (ReplicaId(1), ReplicaId(2));
        let mut counter = GCounter::default();
        let _delta = counter.increment(a, u64::MAX).expect("the first increment");
        let before = counter.clone();
        assert_eq!(counter.increment(a, 1), Err(CounterOverflow { replica: a }));
        assert_eq!(counter, before);
        let _delta = counter.increment(b, u64::MAX).expect("another replica");
        assert_eq!(counter.value(), 2 * u128::from(u64::MAX));
    }

    #[test]
    fn an_increment_by_zero_is_no_news() {
        let mut counter = GCounter::default();
        assert_eq!(counter.increment(ReplicaId(1), 0), Ok(GCounter::default()));
        assert_eq!(counter, GCounter::default());
    }
}
