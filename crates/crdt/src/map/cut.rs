//! Places between keys, and the intervals they bound.

use core::cmp::Ordering;
use core::ops::Bound;

/// A place between keys: where an interval starts or ends.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Cut<K> {
    /// Before every key.
    BelowAll,
    /// Just before this key.
    Before(K),
    /// Just after this key.
    After(K),
    /// After every key.
    AboveAll,
}

impl<K: Ord> Cut<K> {
    /// Whether the cut lies before `key`.
    pub fn is_before(&self, key: &K) -> bool {
        match self {
            Self::BelowAll => true,
            Self::Before(k) => k <= key,
            Self::After(k) => k < key,
            Self::AboveAll => false,
        }
    }

    /// The bound for a search that starts at this cut.
    pub(crate) fn as_lower_bound(&self) -> Option<Bound<&K>> {
        match self {
            Self::BelowAll => Some(Bound::Unbounded),
            Self::Before(k) => Some(Bound::Included(k)),
            Self::After(k) => Some(Bound::Excluded(k)),
            Self::AboveAll => None,
        }
    }

    /// The bound for a search that ends at this cut.
    pub(crate) fn as_upper_bound(&self) -> Option<Bound<&K>> {
        match self {
            Self::BelowAll => None,
            Self::Before(k) => Some(Bound::Excluded(k)),
            Self::After(k) => Some(Bound::Included(k)),
            Self::AboveAll => Some(Bound::Unbounded),
        }
    }

    fn rank(&self) -> (u8, Option<&K>, u8) {
        match self {
            Self::BelowAll => (0, None, 0),
            Self::Before(k) => (1, Some(k), 0),
            Self::After(k) => (1, Some(k), 1),
            Self::AboveAll => (2, None, 0),
        }
    }
}

impl<K: Ord> Ord for Cut<K> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl<K: Ord> PartialOrd for Cut<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The keys from one cut to another. Never empty of cuts: `start < end`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Interval<K> {
    start: Cut<K>,
    end: Cut<K>,
}

impl<K: Ord> Interval<K> {
    /// The interval from `start` to `end`; `None` if that would be empty.
    pub fn new(start: Cut<K>, end: Cut<K>) -> Option<Self> {
        (start < end).then_some(Self { start, end })
    }

    /// Every key.
    pub const fn all() -> Self {
        Self {
            start: Cut::BelowAll,
            end: Cut::AboveAll,
        }
    }

    /// One key alone.
    pub fn of_key(key: &K) -> Self
    where
        K: Clone,
    {
        Self {
            start: Cut::Before(key.clone()),
            end: Cut::After(key.clone()),
        }
    }

    /// Where the interval starts.
    pub const fn start(&self) -> &Cut<K> {
        &self.start
    }

    /// Where the interval ends.
    pub const fn end(&self) -> &Cut<K> {
        &self.end
    }

    /// Whether the interval holds `key`.
    pub fn contains(&self, key: &K) -> bool {
        self.start.is_before(key) && !self.end.is_before(key)
    }
}

#[cfg(feature = "serde")]
mod wire {
    use super::{Cut, Interval};
    use crate::InvalidBytes;
    use serde::{Deserialize, Deserializer};

    impl<'de, K: Ord + Deserialize<'de>> Deserialize<'de> for Interval<K> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            #[derive(Deserialize)]
            struct Wire<K> {
                start: Cut<K>,
                end: Cut<K>,
            }
            let wire = Wire::deserialize(deserializer)?;
            Self::new(wire.start, wire.end)
                .ok_or_else(|| serde::de::Error::custom(InvalidBytes::EmptyInterval))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_are_ordered_as_places_between_keys() {
        let cuts = [
            Cut::BelowAll,
            Cut::Before(1),
            Cut::After(1),
            Cut::Before(2),
            Cut::After(2),
            Cut::AboveAll,
        ];
        assert!(cuts.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn an_interval_is_half_open_at_its_cuts() {
        let only_two = Interval::of_key(&2);
        assert!(only_two.contains(&2) && !only_two.contains(&1) && !only_two.contains(&3));
        let from_two = Interval::new(Cut::Before(2), Cut::AboveAll).expect("not empty");
        assert!(from_two.contains(&2) && from_two.contains(&9) && !from_two.contains(&1));
        assert!(Interval::all().contains(&0));
        assert_eq!(Interval::new(Cut::After(2), Cut::Before(2)), None);
    }
}
