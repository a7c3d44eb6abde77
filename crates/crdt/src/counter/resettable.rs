//! A counter that can be reset exactly, and nested.

mod run;

use alloc::vec::Vec;
use core::fmt;
use smallvec::SmallVec;

use crate::memory_use::spilled_bytes;
use crate::{CausalContext, Cell, Dot, DotRange, DotStore, Edit, InvalidBytes, Knows, Timestamp};
use run::{Run, overlaps};

/// A counter whose increments are events of their own, so that it can be reset, and be a value of an
/// [`OrMap`](crate::OrMap).
///
/// A reset takes away exactly the increments that its author has seen: those that it had not seen
/// survive, and nothing of the others does.
///
/// | concurrent operations | outcome |
/// |---|---|
/// | two increments | the sum |
/// | increment and reset | the increment alone |
/// | two resets | zero |
/// | two resets, one of which had seen more | what neither had seen |
///
/// **Order and join.** That of the [`DotStore`], as a [`DotFun`](crate::DotFun) from events to amounts. Of two
/// amounts under one dot, which no correct replicas make, the smaller stays.
///
/// **Invariants.** The events are held as runs of consecutive events of one replica with one amount.
/// Runs are sorted, do not overlap, and cannot be extended, so equal states are equal values; no
/// amount is zero.
///
/// **Cost.** Time and memory are linear in the runs, not in the events. A replica that counts by one takes
/// one run between two resets, however far it counts. Another amount, or an event of the same replica
/// elsewhere in the object (another key of the map), starts a new run.
///
/// **Not for** counters that are never reset: use [`PnCounter`](crate::PnCounter), which takes two numbers for
/// each replica whatever the amounts. Nor for maps of counters that one replica increments in turns
/// for very long: each turn is a run.
///
/// Source: Almeida, Shoker, Baquero, *Delta State Replicated Data Types*, 2018, section 7; the exact
/// reset is that of Weidner, Almeida, *An Oblivious Observed-Reset Embeddable Replicated Counter*,
/// PaPoC 2022, by keeping the increments apart.
///
/// ```
/// use crdt::{CausalReplica, ObjectId, ReplicaId, ResettableCounter};
///
/// let mut a = CausalReplica::<ResettableCounter>::new(ObjectId(1), ReplicaId(1));
/// let mut b = CausalReplica::<ResettableCounter>::new(ObjectId(1), ReplicaId(2));
/// b.join(&a.change(|visits| visits.add(4)))?;
/// // B resets while a counts on.
/// let (reset, more) = (b.change(|visits| visits.reset()), a.change(|visits| visits.add(1)));
/// a.join(&reset)?;
/// b.join(&more)?;
/// assert_eq!(a.state(), b.state());
/// assert_eq!(a.value(), 1, "the reset had seen the four");
/// # Ok::<(), crdt::IdentityReused>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ResettableCounter {
    runs: SmallVec<[Run; 1]>,
}

impl ResettableCounter {
    /// The sum of the live increments. No set of fewer than 2^63 increments overflows; sums beyond
    /// `i128`, which only forged states have, saturate.
    pub fn value(&self) -> i128 {
        let totals = self.runs.iter().map(Run::total);
        totals.fold(0, i128::saturating_add)
    }

    fn live(&self) -> CausalContext {
        self.dot_ranges().collect()
    }

    /// The increments of `events`.
    fn restricted_to(&self, events: &CausalContext) -> impl Iterator<Item = Run> {
        let events: Vec<Run> = events.ranges().map(|range| Run::new(range, 0)).collect();
        let parts = overlaps(&self.runs, &events).into_iter();
        parts.map(|(range, amount, _)| Run::new(range, amount))
    }

    /// Takes runs of different events, in any order.
    fn from_parts(mut parts: Vec<Run>) -> Self {
        parts.sort_unstable_by_key(Run::first);
        let mut runs: SmallVec<[Run; 1]> = SmallVec::new();
        for part in parts {
            match runs.last_mut() {
                Some(run) if run.is_extended_by(&part) => run.last = part.last,
                _ => runs.push(part),
            }
        }
        Self { runs }
    }

    /// Adds an increment that is new.
    fn insert(&mut self, dot: Dot, amount: i64) {
        let new = Run::new(dot.into(), amount);
        let i = self.runs.partition_point(|run| run.first() < dot);
        match i.checked_sub(1).map(|i| &mut self.runs[i]) {
            Some(run) if run.is_extended_by(&new) => run.last = new.last,
            _ => self.runs.insert(i, new),
        }
    }
}

impl Edit<'_, ResettableCounter> {
    /// Adds an amount, which may be negative. Zero changes nothing, and is no event.
    pub fn add(&mut self, amount: i64) {
        if amount == 0 {
            return;
        }
        let (counter, delta, events) = self.parts();
        let dot = events.mint();
        counter.insert(dot, amount);
        delta.insert(dot, amount);
    }

    /// Takes away the increments that the author has seen.
    pub fn reset(&mut self) {
        let (counter, delta, events) = self.parts();
        let seen = events.make_all_obsolete(&counter.live());
        *counter = counter.unknown_to(&seen);
        *delta = delta.unknown_to(&seen);
    }
}

impl DotStore for ResettableCounter {
    fn is_bottom(&self) -> bool {
        self.runs.is_empty()
    }

    /// One dot for each increment: there may be very many. See [`dot_ranges`](Self::dot_ranges).
    fn dots(&self) -> impl Iterator<Item = Dot> + '_ {
        self.runs.iter().flat_map(Run::dots)
    }

    fn dot_ranges(&self) -> impl Iterator<Item = DotRange> + '_ {
        self.runs.iter().map(Run::range)
    }

    fn is_live(&self, dot: Dot) -> bool {
        let i = self.runs.partition_point(|run| run.first() <= dot);
        let run = i.checked_sub(1).map(|i| self.runs[i]);
        run.is_some_and(|run| run.replica == dot.replica && dot.counter <= run.last)
    }

    fn join(&mut self, mine: &impl Knows, other: &Self, theirs: &impl Knows) -> bool {
        let (here, there) = (self.live(), other.live());
        let both = overlaps(&self.runs, &other.runs).into_iter();
        let mut parts: Vec<Run> = both
            .map(|(range, a, b)| Run::new(range, a.min(b)))
            .collect();
        parts.extend(self.restricted_to(&theirs.unknown_of(&here.difference(&there))));
        parts.extend(other.restricted_to(&mine.unknown_of(&there.difference(&here))));
        let joined = Self::from_parts(parts);
        let changed = joined != *self;
        *self = joined;
        changed
    }

    fn unknown_to(&self, known: &impl Knows) -> Self {
        Self::from_parts(
            self.restricted_to(&known.unknown_of(&self.live()))
                .collect(),
        )
    }

    fn conflict(&self, other: &Self) -> Option<Dot> {
        let mut both = overlaps(&self.runs, &other.runs).into_iter();
        let (range, ..) = both.find(|(_, a, b)| a != b)?;
        Some(Dot::new(range.replica, range.first))
    }

    fn heap_bytes(&self) -> usize {
        spilled_bytes(&self.runs)
    }
}

impl Cell for ResettableCounter {
    const PROVES_ITSELF: bool = false;

    /// Whether anything was counted since the last reset, even if it adds up to zero.
    fn is_visible(&self) -> bool {
        !self.is_bottom()
    }

    fn tombstone(&self) -> Option<Timestamp> {
        None
    }

    fn validate(&self) -> Result<(), InvalidBytes> {
        self.runs.iter().try_for_each(Run::validate)?;
        let pairs = self.runs.windows(2);
        if pairs.clone().any(|w| w[0].last_dot() >= w[1].first()) {
            return Err(InvalidBytes::Unsorted("runs of a counter"));
        }
        if pairs.into_iter().any(|w| w[0].is_extended_by(&w[1])) {
            return Err(InvalidBytes::Unsorted("runs of a counter that touch"));
        }
        Ok(())
    }
}

impl fmt::Display for ResettableCounter {
    /// The value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value().fmt(f)
    }
}

#[cfg(feature = "serde")]
mod wire {
    use super::{ResettableCounter, Run};
    use crate::Cell as _;
    use alloc::vec::Vec;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    impl Serialize for ResettableCounter {
        /// A list of runs.
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_seq(&self.runs)
        }
    }

    impl<'de> Deserialize<'de> for ResettableCounter {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            // Not into a `SmallVec`, which reserves whatever length the input announces.
            let runs: Vec<Run> = Deserialize::deserialize(deserializer)?;
            let runs = runs.into_iter().collect();
            let counter = Self { runs };
            counter.validate().map_err(D::Error::custom)?;
            Ok(counter)
        }
    }
}

#[cfg(test)]
mod tests;
