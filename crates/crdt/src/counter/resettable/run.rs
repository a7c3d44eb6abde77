//! Runs of consecutive events with one amount.

use crate::{Dot, DotRange, InvalidBytes, ReplicaId};
use alloc::vec::Vec;

/// Consecutive increments of one replica, all by the same amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Run {
    pub(super) replica: ReplicaId,
    /// Counter of the first increment.
    first: u64,
    /// Counter of the last increment.
    pub(super) last: u64,
    amount: i64,
}

impl Run {
    pub(super) const fn new(range: DotRange, amount: i64) -> Self {
        Self {
            replica: range.replica,
            first: range.first,
            last: range.last,
            amount,
        }
    }

    pub(super) const fn first(&self) -> Dot {
        Dot::new(self.replica, self.first)
    }

    pub(super) const fn last_dot(&self) -> Dot {
        Dot::new(self.replica, self.last)
    }

    pub(super) const fn range(&self) -> DotRange {
        DotRange {
            replica: self.replica,
            first: self.first,
            last: self.last,
        }
    }

    pub(super) fn dots(&self) -> impl Iterator<Item = Dot> + use<> {
        let replica = self.replica;
        (self.first..=self.last).map(move |counter| Dot::new(replica, counter))
    }

    /// Amount times number: below 2^127, whatever they are.
    pub(super) fn total(&self) -> i128 {
        i128::from(self.amount) * (i128::from(self.last - self.first) + 1)
    }

    /// Whether `next` goes on where this run ends, by the same amount.
    pub(super) fn is_extended_by(&self, next: &Self) -> bool {
        self.replica == next.replica
            && self.last.checked_add(1) == Some(next.first)
            && self.amount == next.amount
    }

    pub(super) const fn validate(&self) -> Result<(), InvalidBytes> {
        if self.first == 0 {
            return Err(InvalidBytes::ZeroCounter);
        }
        if self.first > self.last || self.amount == 0 {
            return Err(InvalidBytes::Empty("a run of a counter"));
        }
        Ok(())
    }
}

/// The events that are in both sorted lists, each run of them with its amount in either.
pub(super) fn overlaps(a: &[Run], b: &[Run]) -> Vec<(DotRange, i64, i64)> {
    let (mut i, mut j) = (0, 0);
    let mut found = Vec::new();
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        let (first, last) = (x.first().max(y.first()), x.last_dot().min(y.last_dot()));
        if x.replica == y.replica && first <= last {
            let range = DotRange {
                replica: x.replica,
                first: first.counter,
                last: last.counter,
            };
            found.push((range, x.amount, y.amount));
        }
        if x.last_dot() < y.last_dot() {
            i += 1;
        } else {
            j += 1;
        }
    }
    found
}
