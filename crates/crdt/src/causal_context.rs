//! Causal contexts: exactly which events have been seen, gaps included.

use alloc::vec::Vec;
use core::cmp::Ordering;
use core::fmt;
use smallvec::SmallVec;

use crate::ranges::{Range, Ranges};
use crate::{Difference, Dot, Knows, Lattice, ReplicaId, VersionVector};

/// Replicas kept inline, without a heap allocation.
const INLINE: usize = 3;

/// Up to this number of replicas, looking at each is faster than a binary search.
const FEW: usize = 8;

/// A run of consecutive events of one replica, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct DotRange {
    /// The writer.
    pub replica: ReplicaId,
    /// Counter of the first event.
    pub first: u64,
    /// Counter of the last event.
    pub last: u64,
}

impl From<Dot> for DotRange {
    fn from(dot: Dot) -> Self {
        let (replica, first, last) = (dot.replica, dot.counter, dot.counter);
        Self {
            replica,
            first,
            last,
        }
    }
}

impl fmt::Display for DotRange {
    /// `1.3..9`, and a lone event as its dot.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Dot::new(self.replica, self.first))?;
        match self.last == self.first {
            true => Ok(()),
            false => write!(f, "..{}", self.last),
        }
    }
}

/// The set of all events seen: for each replica a contiguous prefix plus out-of-order ranges.
///
/// **Order and join.** The order is inclusion, the join is union.
///
/// **Invariants.** Always compact: replicas sorted, none without events, ranges sorted and neither
/// overlapping nor touching. So equal sets are equal values with equal bytes.
///
/// **Cost.** Union, difference and inclusion are linear in the number of ranges; one range for each
/// replica when nothing is missing. Adding the next event of a replica is constant time. Up to three
/// replicas without gaps need no allocation.
///
/// **Not for** histories that never have gaps: a [`VersionVector`](crate::VersionVector) is smaller and faster.
///
/// Source: Almeida, Shoker, Baquero, *Delta State Replicated Data Types*, 2018, section 7.2.
///
/// ```
/// use crdt::{CausalContext, Dot, ReplicaId};
///
/// let a = ReplicaId(1);
/// let mut seen = CausalContext::default();
/// seen.insert(Dot::new(a, 2));
/// assert!(!seen.contains(Dot::new(a, 1)), "event 1 is a gap, and is known to be one");
/// seen.insert(Dot::new(a, 1));
/// assert_eq!(seen.to_string(), "<1:2>");
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct CausalContext {
    replicas: SmallVec<[(ReplicaId, Ranges); INLINE]>,
}

impl CausalContext {
    /// Whether nothing has been seen.
    pub fn is_empty(&self) -> bool {
        self.replicas.is_empty()
    }

    /// Whether `dot` has been seen.
    pub fn contains(&self, dot: Dot) -> bool {
        self.of(dot.replica)
            .is_some_and(|r| r.contains(dot.counter))
    }

    /// Whether a whole run of events has been seen, which an empty run has.
    pub fn contains_range(&self, range: DotRange) -> bool {
        range.last < range.first
            || self.of(range.replica).is_some_and(|r| {
                let DotRange { first, last, .. } = range;
                r.contains_range(Range { first, last })
            })
    }

    /// The events of runs that share none; `None` if two of them share one.
    pub(crate) fn of_disjoint(runs: impl Iterator<Item = DotRange>) -> Option<Self> {
        let mut runs: Vec<DotRange> = runs.collect();
        runs.sort_unstable_by_key(|run| (run.replica, run.first));
        let overlap =
            |pair: &[DotRange]| pair[0].replica == pair[1].replica && pair[0].last >= pair[1].first;
        (!runs.windows(2).any(overlap)).then(|| runs.into_iter().collect())
    }

    /// Whether every event of `other` has been seen.
    pub fn includes(&self, other: &Self) -> bool {
        let mut mine = Ascending::of(self);
        other.replicas.iter().all(|(replica, theirs)| {
            mine.find(*replica)
                .is_some_and(|ranges| ranges.includes(theirs))
        })
    }

    /// Whether all events `1..=counter` of `replica` have been seen.
    pub fn includes_prefix(&self, replica: ReplicaId, counter: u64) -> bool {
        counter == 0 || self.of(replica).is_some_and(|r| r.prefix() >= counter)
    }

    /// The largest counter seen of `replica`; 0 if none.
    pub fn last_counter(&self, replica: ReplicaId) -> u64 {
        self.of(replica).map_or(0, Ranges::last)
    }

    /// Number of events seen, at most `u64::MAX`.
    pub fn event_count(&self) -> u64 {
        self.replicas
            .iter()
            .fold(0, |sum: u64, (_, r)| sum.saturating_add(r.count()))
    }

    /// Number of ranges held: the measure of this context's size.
    pub fn range_count(&self) -> usize {
        self.replicas.iter().map(|(_, r)| r.as_slice().len()).sum()
    }

    /// The events seen, as ranges sorted by replica and counter.
    pub fn ranges(&self) -> impl Iterator<Item = DotRange> + '_ {
        self.replicas.iter().flat_map(|(replica, ranges)| {
            ranges.as_slice().iter().map(|r| DotRange {
                replica: *replica,
                first: r.first,
                last: r.last,
            })
        })
    }

    /// The events seen, one by one. There may be very many; prefer [`ranges`](Self::ranges).
    pub fn dots(&self) -> impl Iterator<Item = Dot> + '_ {
        self.ranges()
            .flat_map(|r| (r.first..=r.last).map(move |c| Dot::new(r.replica, c)))
    }

    /// Adds an event; true if it was new. Counter 0 names no event and is ignored. The delta is the context
    /// of this event alone.
    pub fn insert(&mut self, dot: Dot) -> bool {
        self.insert_range(dot.into())
    }

    /// Adds a run of events; true if any was new. Counter 0 names no event; an empty run adds none. The
    /// delta is the context of this run alone.
    pub fn insert_range(&mut self, range: DotRange) -> bool {
        let first = range.first.max(1);
        if range.last < first {
            return false;
        }
        let i = match self.position(range.replica) {
            Ok(i) => i,
            Err(i) => {
                let ranges = Ranges::of(Range::new(first, range.last));
                self.replicas.insert(i, (range.replica, ranges));
                return true;
            }
        };
        self.replicas[i].1.insert(Range::new(first, range.last))
    }

    /// The events seen here and not in `other`.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        self.combine(other, |mine, theirs| match theirs {
            Some(theirs) => mine.difference(theirs),
            None => mine.clone(),
        })
    }

    /// The events seen in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.combine(other, |mine, theirs| match theirs {
            Some(theirs) => mine.intersection(theirs),
            None => Ranges::default(),
        })
    }

    /// Whether any event has been seen by both.
    pub fn intersects(&self, other: &Self) -> bool {
        let mut others = Ascending::of(other);
        self.replicas.iter().any(|(replica, mine)| {
            others
                .find(*replica)
                .is_some_and(|theirs| mine.intersects(theirs))
        })
    }

    /// For each replica its contiguous prefix: what a version vector can say of this context.
    pub fn prefix(&self) -> VersionVector {
        self.replicas
            .iter()
            .map(|(replica, ranges)| (*replica, ranges.prefix()))
            .collect()
    }

    fn combine(&self, other: &Self, f: impl Fn(&Ranges, Option<&Ranges>) -> Ranges) -> Self {
        let mut others = Ascending::of(other);
        let replicas = self.replicas.iter().filter_map(|(replica, mine)| {
            let ranges = f(mine, others.find(*replica));
            (!ranges.is_empty()).then_some((*replica, ranges))
        });
        Self {
            replicas: replicas.collect(),
        }
    }

    pub(crate) fn of(&self, replica: ReplicaId) -> Option<&Ranges> {
        self.position(replica).ok().map(|i| &self.replicas[i].1)
    }

    #[inline]
    fn position(&self, replica: ReplicaId) -> Result<usize, usize> {
        let replicas = self.replicas.as_slice();
        if replicas.len() > FEW {
            return replicas.binary_search_by_key(&replica, |e| e.0);
        }
        let behind = replicas.iter().position(|e| e.0 >= replica);
        let i = behind.unwrap_or(replicas.len());
        match replicas.get(i) {
            Some(found) if found.0 == replica => Ok(i),
            _ => Err(i),
        }
    }
}

/// How many replicas come before `replica`: a search in steps that double, so that whoever looks up ascending
/// replicas, each from where the last was, takes as long as the shorter of two lists, not the longer.
fn count_before(replicas: &[(ReplicaId, Ranges)], replica: ReplicaId) -> usize {
    let mut end = 1;
    while replicas.get(end - 1).is_some_and(|e| e.0 < replica) {
        end *= 2;
    }
    let (start, end) = ((end / 2).min(replicas.len()), end.min(replicas.len()));
    start + replicas[start..end].partition_point(|e| e.0 < replica)
}

/// Looks up replicas in ascending order.
struct Ascending<'a>(&'a [(ReplicaId, Ranges)]);

impl<'a> Ascending<'a> {
    fn of(context: &'a CausalContext) -> Self {
        Self(&context.replicas)
    }

    fn find(&mut self, replica: ReplicaId) -> Option<&'a Ranges> {
        self.0 = &self.0[count_before(self.0, replica)..];
        let (found, ranges) = self.0.first()?;
        (*found == replica).then_some(ranges)
    }
}

impl Knows for CausalContext {
    fn knows(&self, dot: Dot) -> bool {
        self.contains(dot)
    }

    fn as_context(&self) -> Option<&CausalContext> {
        Some(self)
    }

    #[inline]
    fn knows_any(&self, range: DotRange) -> bool {
        let (first, last) = (range.first.max(1), range.last);
        first <= last
            && (self.of(range.replica)).is_some_and(|r| r.holds_any(Range { first, last }))
    }

    fn mask(&self, replica: ReplicaId, first: u64) -> u64 {
        self.of(replica).map_or(0, |ranges| ranges.mask(first))
    }
}

impl Lattice for CausalContext {
    fn join(&mut self, other: &Self) -> bool {
        let (mut grew, mut at) = (false, 0);
        for (replica, theirs) in &other.replicas {
            at += count_before(&self.replicas[at..], *replica);
            match self.replicas.get_mut(at) {
                Some((found, mine)) if found == replica => grew |= mine.union(theirs),
                _ => {
                    self.replicas.insert(at, (*replica, theirs.clone()));
                    grew = true;
                }
            }
        }
        grew
    }
}

impl Difference for CausalContext {
    fn difference(&self, other: &Self) -> Self {
        Self::difference(self, other)
    }
}

impl PartialOrd for CausalContext {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        crate::laws::order_of_inclusion(other.includes(self), self.includes(other))
    }
}

impl FromIterator<Dot> for CausalContext {
    /// In `n log n` for `n` dots in any order, linear if they are ascending.
    fn from_iter<I: IntoIterator<Item = Dot>>(iter: I) -> Self {
        let mut dots: Vec<Dot> = iter.into_iter().collect();
        dots.sort_unstable();
        let mut context = Self::default();
        context.extend(dots);
        context
    }
}

impl FromIterator<DotRange> for CausalContext {
    /// In `n log n` for `n` ranges in any order, linear if they are ascending.
    fn from_iter<I: IntoIterator<Item = DotRange>>(iter: I) -> Self {
        let mut ranges: Vec<DotRange> = iter.into_iter().collect();
        ranges.sort_unstable_by_key(|range| (range.replica, range.first));
        let mut context = Self::default();
        for range in ranges {
            context.insert_range(range);
        }
        context
    }
}

impl Extend<Dot> for CausalContext {
    fn extend<I: IntoIterator<Item = Dot>>(&mut self, iter: I) {
        for dot in iter {
            self.insert(dot);
        }
    }
}

impl Extend<DotRange> for CausalContext {
    fn extend<I: IntoIterator<Item = DotRange>>(&mut self, iter: I) {
        for range in iter {
            self.insert_range(range);
        }
    }
}

impl From<&VersionVector> for CausalContext {
    fn from(vector: &VersionVector) -> Self {
        let mut context = Self::default();
        for (replica, last) in vector.iter() {
            context.insert_range(DotRange {
                replica,
                first: 1,
                last,
            });
        }
        context
    }
}

impl fmt::Display for CausalContext {
    /// `<1:7, 2:4+6..9+12>`: events 1 to 7 of replica 1; 1 to 4, 6 to 9 and 12 of replica 2.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<")?;
        for (i, (replica, ranges)) in self.replicas.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{replica}:{}", ranges.prefix())?;
            for range in ranges.as_slice().iter().filter(|r| r.first > 1) {
                match range.last - range.first {
                    0 => write!(f, "+{}", range.first)?,
                    _ => write!(f, "+{}..{}", range.first, range.last)?,
                }
            }
        }
        f.write_str(">")
    }
}

impl fmt::Debug for CausalContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CausalContext({self})")
    }
}

#[cfg(feature = "serde")]
mod wire {
    use super::CausalContext;
    use crate::ranges::{Ranges, text::Readable};
    use crate::{InvalidBytes, ReplicaId};
    use alloc::vec::Vec;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    type Replica = (ReplicaId, Ranges);

    impl Serialize for CausalContext {
        /// A list of (replica, ranges). In binary formats a replica is the gap to the one before, and so
        /// are ranges; in JSON they read `[[1, ["1-17", 19]]]`.
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let replicas = self.replicas.iter();
            if serializer.is_human_readable() {
                return serializer.collect_seq(replicas.map(|(id, r)| (id, r.as_slice())));
            }
            let mut before = 0;
            serializer.collect_seq(replicas.map(|(id, ranges)| {
                let gap = id.0 - core::mem::replace(&mut before, id.0);
                (gap, ranges.to_wire())
            }))
        }
    }

    impl<'de> Deserialize<'de> for CausalContext {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let context = if deserializer.is_human_readable() {
                let list: Vec<(ReplicaId, Vec<Readable>)> = Deserialize::deserialize(deserializer)?;
                let list = list.into_iter();
                checked(list.map(|(id, ranges)| Ok((id, Ranges::from_readable(&ranges)?))))
            } else {
                let list: Vec<(u64, Vec<(u64, u64)>)> = Deserialize::deserialize(deserializer)?;
                let mut before = 0_u64;
                checked(list.into_iter().map(|(gap, pairs)| {
                    before = before.checked_add(gap).ok_or(UNSORTED)?;
                    Ok((ReplicaId(before), Ranges::from_wire(&pairs)?))
                }))
            };
            context.map_err(D::Error::custom)
        }
    }

    const UNSORTED: InvalidBytes = InvalidBytes::Unsorted("replicas of a context");

    fn checked(
        replicas: impl Iterator<Item = Result<Replica, InvalidBytes>>,
    ) -> Result<CausalContext, InvalidBytes> {
        let mut context = CausalContext::default();
        for replica in replicas {
            let (id, ranges) = replica?;
            if context.replicas.last().is_some_and(|last| last.0 >= id) {
                return Err(UNSORTED);
            }
            if ranges.is_empty() {
                return Err(InvalidBytes::Empty("a replica's events"));
            }
            context.replicas.push((id, ranges));
        }
        Ok(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(dots: &[(u64, u64)]) -> CausalContext {
        dots.iter()
            .map(|&(r, c)| Dot::new(ReplicaId(r), c))
            .collect()
    }

    #[test]
    fn what_is_asked_of_runs_follows_from_what_is_known_of_events() {
        let c = context(&[(1, 1), (1, 2), (1, 5), (2, 3)]);
        let one_by_one = OneByOne(c.clone());
        for replica in (1..4).map(ReplicaId) {
            for first in 1..8 {
                for last in first..8 {
                    let run = DotRange {
                        replica,
                        first,
                        last,
                    };
                    let knows = |counter| c.contains(Dot::new(replica, counter));
                    let any = (first..=last).any(knows);
                    assert_eq!(one_by_one.knows_any(run), any, "{run}");
                    assert_eq!(c.knows_any(run), any, "{run}");
                }
            }
        }
    }

    #[test]
    fn gaps_are_kept_and_closed() {
        let mut c = context(&[(1, 1), (1, 2), (1, 5), (2, 3)]);
        assert_eq!(c.to_string(), "<1:2+5, 2:0+3>");
        let ranges: Vec<String> = c.ranges().map(|range| range.to_string()).collect();
        assert_eq!(ranges, ["1.1..2", "1.5", "2.3"]);
        assert!(c.includes_prefix(ReplicaId(1), 2));
        assert!(!c.includes_prefix(ReplicaId(1), 3));
        assert!(c.includes_prefix(ReplicaId(9), 0));
        let run = |first, last| DotRange {
            replica: ReplicaId(1),
            first,
            last,
        };
        assert!(c.contains_range(run(1, 2)) && c.contains_range(run(9, 8)));
        assert!(!c.contains_range(run(2, 3)) && !c.contains_range(run(2, 5)));
        assert!(c.contains_range(run(5, 5)) && !c.contains_range(run(4, 4)));
        let disjoint = [run(4, 5), run(1, 2)].into_iter();
        let both = context(&[(1, 1), (1, 2), (1, 4), (1, 5)]);
        assert_eq!(CausalContext::of_disjoint(disjoint), Some(both));
        let shared = [run(2, 3), run(1, 2)].into_iter();
        assert_eq!(CausalContext::of_disjoint(shared), None);
        c.insert_range(DotRange {
            replica: ReplicaId(1),
            first: 3,
            last: 4,
        });
        assert_eq!(c.to_string(), "<1:5, 2:0+3>");
        assert_eq!(
            (
                c.event_count(),
                c.range_count(),
                c.last_counter(ReplicaId(2))
            ),
            (6, 2, 3)
        );
    }

    #[test]
    fn set_operations_drop_replicas_without_events() {
        let (a, b) = (context(&[(1, 1), (2, 1)]), context(&[(2, 1), (3, 1)]));
        assert_eq!(a.difference(&b), context(&[(1, 1)]));
        assert_eq!(a.intersection(&b), context(&[(2, 1)]));
        assert!(a.intersects(&b));
        assert!(!a.difference(&b).intersects(&b));
        assert_eq!(a.partial_cmp(&b), None);
        assert!(a.clone().joined(&b).includes(&a));
    }

    #[test]
    fn inclusion_looks_at_every_replica() {
        let a = context(&[(1, 1), (2, 1), (4, 1)]);
        assert!(a.includes(&context(&[(2, 1), (4, 1)])));
        assert!(!a.includes(&context(&[(2, 1), (3, 1)])));
        assert!(!a.includes(&context(&[(5, 1)])));
        assert!(a.includes(&CausalContext::default()));
    }

    #[test]
    fn counter_zero_is_no_event() {
        assert!(context(&[(1, 0)]).is_empty());
    }

    #[test]
    fn a_vector_is_the_prefixes_of_a_context() {
        let c = context(&[(1, 1), (1, 2), (1, 5), (2, 3), (4, 1)]);
        assert_eq!(c.prefix().to_string(), "<1:2, 4:1>");
        let prefixes = context(&[(1, 1), (1, 2), (4, 1)]);
        assert_eq!(CausalContext::from(&c.prefix()), prefixes);
        assert_eq!(format!("{prefixes:?}"), "CausalContext(<1:2, 4:1>)");
    }

    /// Says of one event at a time whether it is known, as a type without ranges does.
    struct OneByOne(CausalContext);

    impl Knows for OneByOne {
        fn knows(&self, dot: Dot) -> bool {
            self.0.contains(dot)
        }
    }

    #[test]
    fn what_is_known_one_by_one_is_what_is_known_by_ranges() {
        let seen = context(&[(1, 1), (1, 2), (1, 5), (1, 70), (2, 3), (3, u64::MAX)]);
        let single = OneByOne(seen.clone());
        assert!(single.as_context().is_none());
        for (first, last, known) in [(2, 4, true), (3, 4, false), (5, 5, true), (6, 6, false)] {
            let replica = ReplicaId(1);
            let run = DotRange {
                replica,
                first,
                last,
            };
            assert_eq!((seen.knows_any(run), single.knows_any(run)), (known, known));
        }
        let asked = context(&[(1, 2), (1, 3), (2, 3), (9, 1)]);
        let unknown = context(&[(1, 3), (9, 1)]);
        assert_eq!(seen.unknown_of(&asked), unknown);
        assert_eq!(single.unknown_of(&asked), unknown);
        for (replica, first, mask) in [(1, 1, 0b10011), (1, 69, 0b10), (3, u64::MAX - 1, 0b10)] {
            let replica = ReplicaId(replica);
            assert_eq!(seen.mask(replica, first), mask);
            assert_eq!(single.mask(replica, first), mask);
        }
        let spans = |replica| seen.spans(ReplicaId(replica)).collect::<Vec<_>>();
        assert_eq!(spans(1), [(1, 2), (5, 5), (70, 70)]);
        assert_eq!(spans(4), []);
        let everything: Vec<_> = single.spans(ReplicaId(4)).collect();
        assert_eq!(everything, [(1, u64::MAX)]);
    }
}
