//! A register whose last write wins.

use core::fmt;

use crate::lww_order::LwwWrite;
use crate::{Difference, Lattice, Timestamp};

/// One value; the last write wins.
///
/// | concurrent operations | outcome |
/// |---|---|
/// | two writes | the higher timestamp; on a tie the smaller value |
/// | write and delete | the higher timestamp; on a tie the write |
///
/// **Order and join.** Totally ordered: by timestamp, then value over tombstone, then the smaller
/// value above the larger. Bottom has never been written. Two writes of equal time and value are the
/// same state; no dot tells them apart.
///
/// **Invariants.** None: any write is a state.
///
/// **Cost.** A join compares two writes: constant time apart from comparing equal-timed values. The
/// timestamp is the only metadata; a deleted register keeps it as a tombstone.
///
/// **Not for** values where no concurrent write may be lost: use [`MvRegister`](crate::MvRegister).
/// Nor with timestamps that do not respect causality: a later write with a lower one has no effect.
///
/// Source: Shapiro et al., *A comprehensive study of Convergent and Commutative Replicated Data
/// Types*, 2011, section 3.2.1.
///
/// ```
/// use crdt::{Lattice, LwwRegister, Timestamp};
///
/// let (mut left, mut right) = (LwwRegister::default(), LwwRegister::default());
/// let tea = left.write(Timestamp(5), "tea");
/// let coffee = right.write(Timestamp(5), "coffee");
/// left.join(&coffee);
/// right.join(&tea);
/// assert_eq!(left.value(), Some(&"coffee"), "equal times: the smaller value");
/// assert_eq!(left, right);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
#[cfg_attr(
    feature = "serde",
    serde(bound(
        serialize = "V: serde::Serialize",
        deserialize = "V: serde::Deserialize<'de>"
    ))
)]
pub struct LwwRegister<V: Ord> {
    last: Option<LwwWrite<V>>,
}

impl<V: Ord> LwwRegister<V> {
    /// The value; `None` if it was never written, or deleted.
    pub fn value(&self) -> Option<&V> {
        self.last.as_ref().and_then(|last| last.value.as_ref())
    }

    /// When it was last written or deleted; `None` if never.
    pub fn timestamp(&self) -> Option<Timestamp> {
        self.last.as_ref().map(|last| last.timestamp)
    }
}

impl<V: Ord + Clone + fmt::Debug> LwwRegister<V> {
    /// Writes `value`. A write that loses against what is held changes nothing, and its delta is
    /// bottom.
    #[must_use = "the delta is what other replicas join"]
    pub fn write(&mut self, timestamp: Timestamp, value: V) -> Self {
        self.apply(timestamp, Some(value))
    }

    /// Deletes the value and keeps a tombstone. A delete that loses against what is held changes
    /// nothing, and its delta is bottom.
    #[must_use = "the delta is what other replicas join"]
    pub fn delete(&mut self, timestamp: Timestamp) -> Self {
        self.apply(timestamp, None)
    }

    fn apply(&mut self, timestamp: Timestamp, value: Option<V>) -> Self {
        let delta = Self {
            last: Some(LwwWrite { timestamp, value }),
        };
        match self.join(&delta) {
            true => delta,
            false => Self::default(),
        }
    }
}

impl<V: Ord> Default for LwwRegister<V> {
    fn default() -> Self {
        Self { last: None }
    }
}

impl<V: Ord + Clone + fmt::Debug> Lattice for LwwRegister<V> {
    fn join(&mut self, other: &Self) -> bool {
        let grows = *self < *other;
        if grows {
            self.last.clone_from(&other.last);
        }
        grows
    }
}

impl<V: Ord + Clone + fmt::Debug> Difference for LwwRegister<V> {
    fn difference(&self, other: &Self) -> Self {
        match self > other {
            true => self.clone(),
            false => Self::default(),
        }
    }
}

impl<V: Ord + fmt::Display> fmt::Display for LwwRegister<V> {
    /// `tea@5`; `deleted@6`; `unwritten`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.last {
            Some(last) => last.fmt(f),
            None => f.write_str("unwritten"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delete_at_the_time_of_a_write_loses() {
        let mut register = LwwRegister::default();
        let _delta = register.write(Timestamp(5), "a");
        assert_eq!(register.delete(Timestamp(5)), LwwRegister::default());
        assert_eq!(register.to_string(), "a@5");
        let _delta = register.delete(Timestamp(6));
        assert_eq!(
            (register.value(), register.to_string()),
            (None, "deleted@6".into())
        );
    }
}
