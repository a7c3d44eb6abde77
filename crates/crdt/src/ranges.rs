//! Sorted sets of counters, kept as ranges: the part of a causal context that belongs to one replica.

#[cfg(feature = "serde")]
pub(crate) mod text;

use smallvec::SmallVec;

/// Counters `first..=last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Range {
    pub(crate) first: u64,
    pub(crate) last: u64,
}

/// A set of counters as sorted ranges that neither overlap nor touch; so equal sets are equal lists.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Ranges(SmallVec<[Range; 1]>);

impl Range {
    pub(crate) fn new(first: u64, last: u64) -> Self {
        debug_assert!(1 <= first && first <= last, "range {first}..={last}");
        Self { first, last }
    }
}

impl Ranges {
    pub(crate) fn of(range: Range) -> Self {
        Self(SmallVec::from_buf([range]))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn as_slice(&self) -> &[Range] {
        &self.0
    }

    pub(crate) fn last(&self) -> u64 {
        self.0.last().map_or(0, |r| r.last)
    }

    /// The largest `n` for which all of `1..=n` are in the set.
    pub(crate) fn prefix(&self) -> u64 {
        self.0
            .first()
            .filter(|r| r.first == 1)
            .map_or(0, |r| r.last)
    }

    pub(crate) fn count(&self) -> u64 {
        self.0
            .iter()
            .fold(0, |sum: u64, r| sum.saturating_add(r.last - r.first + 1))
    }

    pub(crate) fn contains(&self, counter: u64) -> bool {
        self.contains_range(Range {
            first: counter,
            last: counter,
        })
    }

    #[inline]
    pub(crate) fn contains_range(&self, range: Range) -> bool {
        let holds = |r: &Range| r.first <= range.first && range.last <= r.last;
        // Mostly nothing is missing.
        if let [all] = self.0.as_slice() {
            return holds(all);
        }
        let i = self.0.partition_point(|r| r.last < range.first);
        self.0.get(i).is_some_and(holds)
    }

    #[inline]
    pub(crate) fn holds_any(&self, range: Range) -> bool {
        let overlaps = |r: &Range| r.first <= range.last && range.first <= r.last;
        if let [all] = self.0.as_slice() {
            return overlaps(all);
        }
        let i = self.0.partition_point(|r| r.last < range.first);
        self.0.get(i).is_some_and(overlaps)
    }

    pub(crate) fn includes(&self, other: &Self) -> bool {
        other.0.iter().all(|&r| self.contains_range(r))
    }

    /// Which of the 64 counters from `first` on are in the set, as bits from the lowest.
    pub(crate) fn mask(&self, first: u64) -> u64 {
        let last = first.saturating_add(63);
        let start = self.0.partition_point(|r| r.last < first);
        let within = self.0[start..].iter().take_while(|r| r.first <= last);
        within.fold(0, |mask, r| {
            let (low, high) = (r.first.max(first) - first, r.last.min(last) - first);
            mask | ((u64::MAX >> (63 - (high - low))) << low)
        })
    }

    /// Adds a range; true if anything in it was new. Constant time at the end of the set.
    pub(crate) fn insert(&mut self, new: Range) -> bool {
        // Nearly always the next event of a replica, or one seen before: only the last range is touched.
        if let Some(last) = self.0.last_mut()
            && last.first <= new.first
            && new.first <= last.last.saturating_add(1)
        {
            let grew = last.last < new.last;
            last.last = last.last.max(new.last);
            return grew;
        }
        // The first range that overlaps or touches `new`, and the first one behind it.
        let from = match self.0.last() {
            Some(last) if last.last.saturating_add(1) < new.first => self.0.len(),
            _ => self
                .0
                .partition_point(|r| r.last.saturating_add(1) < new.first),
        };
        let until =
            from + self.0[from..].partition_point(|r| r.first <= new.last.saturating_add(1));
        if from == until {
            self.0.insert(from, new);
            return true;
        }
        let joined = Range {
            first: self.0[from].first.min(new.first),
            last: self.0[until - 1].last.max(new.last),
        };
        if until == from + 1 && self.0[from] == joined {
            return false;
        }
        self.0[from] = joined;
        self.0.drain(from + 1..until);
        true
    }

    /// Adds all of `other`; true if anything was new.
    pub(crate) fn union(&mut self, other: &Self) -> bool {
        if other.0.len() <= 2 {
            return other.0.iter().fold(false, |grew, &r| self.insert(r) | grew);
        }
        if self.includes(other) {
            return false;
        }
        let mut all: SmallVec<[Range; 1]> = SmallVec::with_capacity(self.0.len() + other.0.len());
        let (mut a, mut b) = (self.0.iter().peekable(), other.0.iter().peekable());
        loop {
            let next = match (a.peek(), b.peek()) {
                (Some(x), Some(y)) if x.first <= y.first => a.next(),
                (Some(_), None) => a.next(),
                (_, Some(_)) => b.next(),
                (None, None) => break,
            };
            let Some(&next) = next else { break };
            match all.last_mut() {
                Some(last) if next.first <= last.last.saturating_add(1) => {
                    last.last = last.last.max(next.last);
                }
                _ => all.push(next),
            }
        }
        self.0 = all;
        true
    }

    /// What is here and not in `other`.
    pub(crate) fn difference(&self, other: &Self) -> Self {
        let mut out = SmallVec::new();
        let mut i = 0;
        for &range in &self.0 {
            let mut first = range.first;
            while i < other.0.len() && other.0[i].last < first {
                i += 1;
            }
            let mut j = i;
            let mut open = true;
            while j < other.0.len() && other.0[j].first <= range.last {
                if first < other.0[j].first {
                    out.push(Range {
                        first,
                        last: other.0[j].first - 1,
                    });
                }
                if other.0[j].last >= range.last {
                    open = false;
                    break;
                }
                first = other.0[j].last + 1;
                j += 1;
            }
            if open {
                out.push(Range {
                    first,
                    last: range.last,
                });
            }
        }
        Self(out)
    }

    pub(crate) fn intersects(&self, other: &Self) -> bool {
        let (mut i, mut j) = (0, 0);
        while i < self.0.len() && j < other.0.len() {
            let (a, b) = (self.0[i], other.0[j]);
            if a.first.max(b.first) <= a.last.min(b.last) {
                return true;
            }
            if a.last < b.last {
                i += 1;
            } else {
                j += 1;
            }
        }
        false
    }

    /// What is in both.
    pub(crate) fn intersection(&self, other: &Self) -> Self {
        let mut out = SmallVec::new();
        let (mut i, mut j) = (0, 0);
        while i < self.0.len() && j < other.0.len() {
            let (a, b) = (self.0[i], other.0[j]);
            let (first, last) = (a.first.max(b.first), a.last.min(b.last));
            if first <= last {
                out.push(Range { first, last });
            }
            if a.last < b.last {
                i += 1;
            } else {
                j += 1;
            }
        }
        Self(out)
    }
}

#[cfg(feature = "serde")]
mod wire {
    //! Compact formats hold ranges as gap and length pairs: small numbers, whatever the counters. A gap
    //! counts the absent counters before the range, a length is one less than the number of counters in it.

    use super::{Range, Ranges};
    use crate::InvalidBytes;
    use alloc::vec::Vec;

    impl Ranges {
        pub(crate) fn to_wire(&self) -> Vec<(u64, u64)> {
            let mut end = 0;
            self.0
                .iter()
                .map(|r| {
                    let pair = (r.first - end - 1, r.last - r.first);
                    end = r.last;
                    pair
                })
                .collect()
        }

        pub(crate) fn from_wire(pairs: &[(u64, u64)]) -> Result<Self, InvalidBytes> {
            let mut ranges = Self::default();
            for &(gap, length) in pairs {
                ranges.push_coded(gap, length)?;
            }
            Ok(ranges)
        }

        /// Adds a range behind the others.
        pub(super) fn push_coded(&mut self, gap: u64, length: u64) -> Result<(), InvalidBytes> {
            if !self.is_empty() && gap == 0 {
                return Err(InvalidBytes::Unsorted("ranges that touch"));
            }
            let first = self
                .last()
                .checked_add(gap)
                .and_then(|end| end.checked_add(1));
            let range = first.and_then(|f| f.checked_add(length).map(|l| Range::new(f, l)));
            self.0.push(range.ok_or(InvalidBytes::CounterOverflow)?);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use proptest::prelude::*;

    fn of(set: &BTreeSet<u64>) -> Ranges {
        let mut ranges = Ranges::default();
        for &n in set {
            ranges.insert(Range::new(n, n));
        }
        ranges
    }

    fn counters() -> impl Strategy<Value = BTreeSet<u64>> {
        proptest::collection::btree_set(1_u64..24, 0..16)
    }

    proptest! {
        #[test]
        fn ranges_behave_as_a_set_of_counters(a in counters(), b in counters(), n in 1_u64..24, m in 0_u64..5) {
            let (ra, rb) = (of(&a), of(&b));
            prop_assert_eq!(ra.count(), a.len() as u64);
            prop_assert_eq!(ra.contains(n), a.contains(&n));
            prop_assert_eq!(ra.includes(&rb), a.is_superset(&b));
            let run = Range::new(n, n + m);
            prop_assert_eq!(ra.holds_any(run), (n..=n + m).any(|n| a.contains(&n)));
            prop_assert_eq!(ra.contains_range(run), (n..=n + m).all(|n| a.contains(&n)));
            prop_assert_eq!(&ra.difference(&rb), &of(&(&a - &b)));
            prop_assert_eq!(&ra.intersection(&rb), &of(&(&a & &b)));
            prop_assert_eq!(ra.intersects(&rb), !a.is_disjoint(&b));
            let mut union = ra.clone();
            prop_assert_eq!(union.union(&rb), !a.is_superset(&b));
            prop_assert_eq!(&union, &of(&(&a | &b)));
            let bits = (0..64).filter(|bit| a.contains(&(n + bit))).map(|bit| 1_u64 << bit);
            prop_assert_eq!(ra.mask(n), bits.sum::<u64>());
            let mut more = ra.clone();
            let added: BTreeSet<u64> = (n..=n + m).collect();
            prop_assert_eq!(more.insert(Range::new(n, n + m)), !a.is_superset(&added));
            prop_assert_eq!(&more, &of(&(&a | &added)));
            #[cfg(feature = "serde")]
            prop_assert_eq!(Ranges::from_wire(&ra.to_wire()), Ok(ra));
        }
    }

    #[test]
    fn the_largest_counter_does_not_overflow() {
        let mut ranges = Ranges::default();
        assert!(ranges.insert(Range::new(u64::MAX, u64::MAX)));
        assert!(ranges.insert(Range::new(1, u64::MAX - 2)));
        assert!(ranges.insert(Range::new(u64::MAX - 1, u64::MAX - 1)));
        assert_eq!(ranges.as_slice(), &[Range::new(1, u64::MAX)]);
        assert_eq!(ranges.mask(0), u64::MAX - 1);
        assert_eq!(ranges.mask(u64::MAX - 1), 0b11);
        assert_eq!(ranges.mask(u64::MAX - 63), u64::MAX);
    }
}
