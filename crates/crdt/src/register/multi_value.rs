//! A register that keeps concurrent writes, told apart by their vector clocks.

use alloc::format;
use core::cmp::Ordering;
use core::fmt;
use smallvec::SmallVec;

use crate::{CounterOverflow, Difference, Dot, Lattice, ReplicaId, VersionVector};

/// A written value, and the clock that says which writes it replaces.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Version<V> {
    clock: VersionVector,
    value: V,
}

impl<V> Version<V> {
    /// The writes that this one has seen, itself included.
    pub const fn clock(&self) -> &VersionVector {
        &self.clock
    }

    /// The written value.
    pub const fn value(&self) -> &V {
        &self.value
    }
}

impl<V: Ord> Version<V> {
    /// Whether `other` makes this version superfluous: it replaces it, or is the same.
    fn is_covered_by(&self, other: &Self) -> bool {
        match self.clock.partial_cmp(&other.clock) {
            Some(Ordering::Less) => true,
            Some(Ordering::Equal) => self.value == other.value,
            _ => false,
        }
    }

    /// An arbitrary total order in which versions are kept, by clock and then by value.
    fn canonical_order(&self, other: &Self) -> Ordering {
        let clocks = self.clock.canonical_order(&other.clock);
        clocks.then_with(|| self.value.cmp(&other.value))
    }
}

/// One value, or the values of concurrent writes side by side; a write replaces what it has seen.
///
/// | concurrent operations | outcome |
/// |---|---|
/// | two writes | both values, side by side |
/// | two writes under one clock (a broken writer) | one if the values are equal, else both, reported |
///
/// **Order and join.** `a <= b` when every version of `a` is in `b` or replaced there. The join keeps
/// exactly the versions that no other one replaces: those whose clocks are maximal.
///
/// **Invariants.** No held version's clock is below another's; sorted by clock and value, so equal
/// registers have equal bytes.
///
/// **Cost.** A join compares each pair of versions once, each in one pass over their clocks; decoding
/// does the same. A clock for each version: 16 bytes for each replica that wrote. Where the writes of
/// one store carry dots, [`MvCell`](crate::MvCell) needs no clocks.
///
/// **Not for** readers that cannot handle more than one value: use [`LwwRegister`].
///
/// Source: Shapiro et al., *A comprehensive study of Convergent and Commutative Replicated Data
/// Types*, 2011, section 3.2.2; DeCandia et al., *Dynamo*, 2007, section 4.4.
///
/// [`LwwRegister`]: crate::LwwRegister
///
/// ```
/// use crdt::{Lattice, MvRegister, ReplicaId};
///
/// let (mut left, mut right) = (MvRegister::default(), MvRegister::default());
/// let tea = left.write(ReplicaId(1), "tea")?;
/// let coffee = right.write(ReplicaId(2), "coffee")?;
/// left.join(&coffee);
/// right.join(&tea);
/// assert_eq!(left.to_string(), "{tea <1:1>, coffee <2:1>}");
/// let both_seen = left.write(ReplicaId(1), "milk")?;
/// right.join(&both_seen);
/// assert_eq!(right.to_string(), "{milk <1:2, 2:1>}");
/// # Ok::<(), crdt::CounterOverflow>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct MvRegister<V> {
    versions: SmallVec<[Version<V>; 1]>,
}

impl<V> MvRegister<V> {
    /// The versions that no other one replaces, in an order that depends on nothing but them.
    pub fn versions(&self) -> impl ExactSizeIterator<Item = &Version<V>> {
        self.versions.iter()
    }

    /// The values of [`versions`](Self::versions), in the same order.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &V> {
        self.versions.iter().map(Version::value)
    }

    /// Whether it was never written.
    pub fn is_empty(&self) -> bool {
        self.versions.is_empty()
    }

    /// The join of the clocks of all versions: what a write that has seen them has seen.
    pub fn clock(&self) -> VersionVector {
        let mut clock = VersionVector::default();
        for version in &self.versions {
            clock.join(&version.clock);
        }
        clock
    }

    /// Each clock under which more than one value was written: the mark of a writer that lost its data
    /// and kept its identity, or of two writers that share one.
    pub fn conflicting_clocks(&self) -> impl Iterator<Item = &VersionVector> {
        let same_clock = |a: &Version<V>, b: &Version<V>| a.clock == b.clock;
        let runs = self.versions.chunk_by(same_clock);
        runs.filter(|run| run.len() > 1).map(|run| &run[0].clock)
    }
}

impl<V: Ord + Clone + fmt::Debug> MvRegister<V> {
    /// Writes `value` over all versions held, as `replica`, which must be the caller's own identity.
    ///
    /// The clock is the join of the held ones with the entry of `replica` incremented.
    ///
    /// # Errors
    /// If the entry of `replica` is at `u64::MAX` already; nothing has changed then.
    #[must_use = "the delta is what other replicas join"]
    pub fn write(&mut self, replica: ReplicaId, value: V) -> Result<Self, CounterOverflow> {
        let mut clock = self.clock();
        let counter = clock.counter(replica).checked_add(1);
        let counter = counter.ok_or(CounterOverflow { replica })?;
        clock.raise(Dot::new(replica, counter));
        Ok(self.write_at(clock, value))
    }

    /// Writes `value` under a clock that the caller made: for stores where one counter of a replica
    /// counts its writes to all keys, and for versions that arrive one by one.
    ///
    /// The clock must be above those of the versions that the write has seen, and not above others. A
    /// version that is held, or replaced by one that is, changes nothing, and the delta is bottom.
    #[must_use = "the delta is what other replicas join"]
    pub fn write_at(&mut self, clock: VersionVector, value: V) -> Self {
        let version = Version { clock, value };
        match self.admit(&version) {
            true => Self {
                versions: [version].into_iter().collect(),
            },
            false => Self::default(),
        }
    }

    /// Adds a version unless it is superfluous, and drops those that it replaces.
    fn admit(&mut self, new: &Version<V>) -> bool {
        if self.covers(new) {
            return false;
        }
        self.versions.retain(|held| !held.is_covered_by(new));
        let at = self
            .versions
            .partition_point(|held| held.canonical_order(new).is_lt());
        self.versions.insert(at, new.clone());
        true
    }
}

impl<V: Ord> MvRegister<V> {
    fn covers(&self, version: &Version<V>) -> bool {
        self.versions.iter().any(|held| version.is_covered_by(held))
    }

    fn is_covered_by(&self, other: &Self) -> bool {
        self.versions.iter().all(|version| other.covers(version))
    }
}

impl<V> Default for MvRegister<V> {
    fn default() -> Self {
        Self {
            versions: SmallVec::new(),
        }
    }
}

impl<V: Ord + Clone + fmt::Debug> Lattice for MvRegister<V> {
    fn join(&mut self, other: &Self) -> bool {
        let versions = other.versions.iter();
        versions.fold(false, |grew, version| self.admit(version) | grew)
    }
}

impl<V: Ord + Clone + fmt::Debug> Difference for MvRegister<V> {
    fn difference(&self, other: &Self) -> Self {
        let versions = self.versions.iter();
        let lacking = versions.filter(|version| !other.covers(version));
        Self {
            versions: lacking.cloned().collect(),
        }
    }
}

impl<V: Ord> PartialOrd for MvRegister<V> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        crate::laws::order_of_inclusion(self.is_covered_by(other), other.is_covered_by(self))
    }
}

impl<V: fmt::Display> fmt::Display for MvRegister<V> {
    /// `{tea <1:1>, coffee <2:1>}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let versions = self.versions.iter();
        crate::text::list(
            f,
            "{",
            versions.map(|v| format!("{} {}", v.value, v.clock)),
            "}",
        )
    }
}

#[cfg(feature = "serde")]
mod wire {
    use super::{MvRegister, Version};
    use crate::InvalidBytes;
    use alloc::vec::Vec;
    use serde::{Deserialize, Deserializer, de::Error as _};

    impl<'de, V: Ord + Deserialize<'de>> Deserialize<'de> for MvRegister<V> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            // Not into a `SmallVec`, which reserves whatever length the input announces.
            let versions: Vec<Version<V>> = Deserialize::deserialize(deserializer)?;
            if !versions.is_sorted_by(|a, b| a.canonical_order(b).is_lt()) {
                return Err(D::Error::custom(InvalidBytes::Unsorted("versions")));
            }
            for (i, version) in versions.iter().enumerate() {
                let others = versions[..i].iter().chain(&versions[i + 1..]);
                if others.into_iter().any(|other| version.is_covered_by(other)) {
                    return Err(D::Error::custom(InvalidBytes::Obsolete("a version")));
                }
            }
            Ok(Self {
                versions: versions.into_iter().collect(),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ReplicaId = ReplicaId(1);

    #[test]
    fn a_write_without_a_counter_left_is_an_error_and_changes_nothing() {
        let mut register = MvRegister::default();
        let full: VersionVector = [(A, u64::MAX)].into_iter().collect();
        let _delta = register.write_at(full, 'x');
        let before = register.clone();
        assert_eq!(register.write(A, 'y'), Err(CounterOverflow { replica: A }));
        assert_eq!(register, before);
        assert!(register.write(ReplicaId(2), 'y').is_ok());
        assert_eq!(register.values().collect::<String>(), "y");
    }

    #[test]
    fn one_clock_for_two_values_is_reported() {
        let one: VersionVector = [(A, 1)].into_iter().collect();
        let mut register = MvRegister::default();
        let _delta = register.write_at(one.clone(), 'y');
        assert!(
            register.write_at(one.clone(), 'y').is_empty(),
            "a duplicate"
        );
        assert_eq!(register.conflicting_clocks().count(), 0);
        let _delta = register.write_at(one.clone(), 'x');
        assert_eq!(register.values().collect::<String>(), "xy");
        assert_eq!(register.conflicting_clocks().collect::<Vec<_>>(), [&one]);
    }

    #[test]
    fn a_register_is_shown_as_its_values_with_their_clocks() {
        let mut register = MvRegister::default();
        assert!(register.is_empty());
        let _delta = register.write_at([(A, 1)].into_iter().collect(), 'y');
        let _delta = register.write_at([(ReplicaId(2), 1)].into_iter().collect(), 'x');
        assert!(!register.is_empty());
        assert_eq!(register.to_string(), "{y <1:1>, x <2:1>}");
    }
}
