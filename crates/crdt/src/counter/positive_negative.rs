//! A counter that goes up and down.

use core::cmp::Ordering;
use core::fmt;

use crate::laws::product_order;
use crate::{CounterOverflow, Difference, GCounter, Lattice, ReplicaId};

/// A counter that every replica may increment and decrement.
///
/// | concurrent operations | outcome |
/// |---|---|
/// | any two, increments or decrements, by different replicas | both count |
///
/// **Order and join.** A pair of [`GCounter`]s, one of increments and one of decrements, each joined
/// on its own. The value is no part of the order: it may rise or fall when states are joined.
///
/// **Invariants.** Those of [`GCounter`].
///
/// **Cost.** Twice that of a [`GCounter`].
///
/// **Not for** stocks that must not fall below zero: concurrent decrements all count. Nor for counters
/// that are reset.
///
/// Source: Shapiro et al., *A comprehensive study of Convergent and Commutative Replicated Data
/// Types*, 2011, section 3.1.3.
///
/// ```
/// use crdt::{Lattice, PnCounter, ReplicaId};
///
/// let (mut left, mut right) = (PnCounter::default(), PnCounter::default());
/// let up = left.increment(ReplicaId(1), 2)?;
/// let down = right.decrement(ReplicaId(2), 5)?;
/// left.join(&down);
/// right.join(&up);
/// assert_eq!((left.value(), left == right), (-3, true));
/// # Ok::<(), crdt::CounterOverflow>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PnCounter {
    increments: GCounter,
    decrements: GCounter,
}

impl PnCounter {
    /// All increments less all decrements; O(r) for r replicas.
    pub fn value(&self) -> i128 {
        let sum = |counter: &GCounter| -> i128 {
            counter.iter().map(|(_, count)| i128::from(count)).sum()
        };
        sum(&self.increments) - sum(&self.decrements)
    }

    /// Adds `by`, as `replica`, which must be the caller's own identity. By zero the delta is bottom.
    ///
    /// # Errors
    /// If the increments by `replica` would add up to more than `u64::MAX`; nothing has changed then.
    #[must_use = "the delta is what other replicas join"]
    pub fn increment(&mut self, replica: ReplicaId, by: u64) -> Result<Self, CounterOverflow> {
        Ok(Self {
            increments: self.increments.increment(replica, by)?,
            decrements: GCounter::default(),
        })
    }

    /// Subtracts `by`, as `replica`, which must be the caller's own identity. By zero the delta is
    /// bottom.
    ///
    /// # Errors
    /// If the decrements by `replica` would add up to more than `u64::MAX`; nothing has changed then.
    #[must_use = "the delta is what other replicas join"]
    pub fn decrement(&mut self, replica: ReplicaId, by: u64) -> Result<Self, CounterOverflow> {
        Ok(Self {
            increments: GCounter::default(),
            decrements: self.decrements.increment(replica, by)?,
        })
    }
}

impl Lattice for PnCounter {
    fn join(&mut self, other: &Self) -> bool {
        self.increments.join(&other.increments) | self.decrements.join(&other.decrements)
    }
}

impl Difference for PnCounter {
    fn difference(&self, other: &Self) -> Self {
        Self {
            increments: self.increments.difference(&other.increments),
            decrements: self.decrements.difference(&other.decrements),
        }
    }
}

impl PartialOrd for PnCounter {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let increments = self.increments.partial_cmp(&other.increments)?;
        product_order(increments, self.decrements.partial_cmp(&other.decrements)?)
    }
}

impl fmt::Display for PnCounter {
    /// `-1 (+1 <3:1>, -2 <1:1, 2:1>)`: the value, and which replica adds and subtracts what.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, up, down) = (self.value(), &self.increments, &self.decrements);
        write!(f, "{value} (+{up}, -{down})")
    }
}
