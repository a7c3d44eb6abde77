//! Writers that are closed: dead, with every event of theirs that exists known to all.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::cmp::Ordering;

use crate::{CausalContext, Difference, DotRange, Lattice, ReplicaId};

/// The closed writers, and the events that each of them has left.
///
/// A writer that has lost its data never writes again. Once it is certain that nobody holds an event of
/// it that is not known everywhere, the writer is *closed*: all its events, to the last that could ever
/// be numbered, count as known for every key, so that nothing waits for those that were lost. What it
/// has left is kept here: an event of a closed writer that is not in it is **lost** for good.
///
/// **Order and join.** Union of the writers, and of what they have left.
///
/// **Invariants.** What is left is of closed writers, and no run of it goes to the last number there is.
///
/// **Cost.** An id for each loss of data, with a range for each gap that the loss has left.
///
/// ```
/// use crdt::{CausalContext, Closed, Dot, Lattice, ReplicaId};
///
/// let dead = ReplicaId(7);
/// let seen: CausalContext = [1, 2, 3].map(|counter| Dot::new(dead, counter)).into_iter().collect();
/// let (mut here, mut there) = (Closed::default(), Closed::default());
/// // Only the first two of its events were with anyone when the writer was closed.
/// let left = seen.ranges().next().map(|run| crdt::DotRange { last: 2, ..run });
/// here.record(dead, &left.into_iter().collect());
/// there.join(&here);
/// assert!(there.contains(dead));
/// assert_eq!(there.lost_of(&seen).to_string(), "<7:0+3>");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Closed {
    writers: BTreeSet<ReplicaId>,
    left: CausalContext,
}

impl Closed {
    /// Whether no writer is closed.
    pub fn is_empty(&self) -> bool {
        self.writers.is_empty()
    }

    /// Whether `writer` is closed.
    pub fn contains(&self, writer: ReplicaId) -> bool {
        self.writers.contains(&writer)
    }

    /// The closed writers, ascending.
    pub fn writers(&self) -> impl Iterator<Item = ReplicaId> + '_ {
        self.writers.iter().copied()
    }

    /// Their events that are left.
    pub const fn left(&self) -> &CausalContext {
        &self.left
    }

    /// Notes a closed writer with the events of it that are left; true if that was news. Events of other
    /// writers, and runs that go to the last number there is, are not taken.
    /// [`MapReplica::close`](crate::MapReplica::close) does it for its map.
    pub fn record(&mut self, writer: ReplicaId, left: &CausalContext) -> bool {
        let is_new = self.writers.insert(writer);
        let runs = left.ranges();
        let left: CausalContext = runs
            .filter(|range| range.replica == writer && !is_tail(range))
            .collect();
        self.left.join(&left) | is_new
    }

    /// The events of `context` that are lost for good.
    pub fn lost_of(&self, context: &CausalContext) -> CausalContext {
        let of_closed = context.ranges().filter(|r| self.contains(r.replica));
        let of_closed: CausalContext = of_closed.collect();
        of_closed.difference(&self.left)
    }

    /// The events of `context` without those that nobody has written: of a closed writer only those that
    /// are left, in place of all that it could have written.
    pub(crate) fn without_tails(&self, context: CausalContext) -> CausalContext {
        if !context.ranges().any(|range| is_tail(&range)) {
            return context;
        }
        let (tails, rest): (Vec<_>, Vec<_>) = context.ranges().partition(is_tail);
        let tails: CausalContext = tails.into_iter().collect();
        let mut real: CausalContext = rest.into_iter().collect();
        real.join(&tails.intersection(&self.left));
        real
    }
}

/// Whether a run of events has no end: only closing makes one.
const fn is_tail(range: &DotRange) -> bool {
    range.last == u64::MAX
}

impl Lattice for Closed {
    fn join(&mut self, other: &Self) -> bool {
        let before = self.writers.len();
        self.writers.extend(&other.writers);
        self.left.join(&other.left) | (self.writers.len() > before)
    }
}

impl Difference for Closed {
    /// A writer is named if it is new, or if something new is left of it.
    fn difference(&self, other: &Self) -> Self {
        let left = self.left.difference(&other.left);
        let new = self.writers.difference(&other.writers).copied();
        let writers = new.chain(left.ranges().map(|range| range.replica));
        Self {
            writers: writers.collect(),
            left,
        }
    }
}

impl PartialOrd for Closed {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let includes =
            |a: &Self, b: &Self| a.writers.is_superset(&b.writers) && a.left.includes(&b.left);
        crate::laws::order_of_inclusion(includes(other, self), includes(self, other))
    }
}

#[cfg(feature = "serde")]
mod wire {
    use super::{Closed, is_tail};
    use crate::{CausalContext, InvalidBytes, ReplicaId};
    use alloc::collections::BTreeSet;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer};

    impl<'de> Deserialize<'de> for Closed {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            #[derive(Deserialize)]
            #[serde(rename = "Closed")]
            struct Wire {
                #[serde(deserialize_with = "writers")]
                writers: BTreeSet<ReplicaId>,
                left: CausalContext,
            }
            let Wire { writers, left } = Wire::deserialize(deserializer)?;
            if left.ranges().any(|range| !writers.contains(&range.replica)) {
                return Err(D::Error::custom(InvalidBytes::NotClosed));
            }
            if left.ranges().any(|range| is_tail(&range)) {
                return Err(D::Error::custom(InvalidBytes::CounterOverflow));
            }
            Ok(Self { writers, left })
        }
    }

    fn writers<'de, D: Deserializer<'de>>(decoder: D) -> Result<BTreeSet<ReplicaId>, D::Error> {
        let writers = crate::wire::ascending(decoder, "closed writers")?;
        Ok(writers.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(replica: u64, first: u64, last: u64) -> DotRange {
        DotRange {
            replica: ReplicaId(replica),
            first,
            last,
        }
    }

    fn context(ranges: &[DotRange]) -> CausalContext {
        ranges.iter().copied().collect()
    }

    #[test]
    fn what_a_closed_writer_has_not_left_is_lost() {
        let mut closed = Closed::default();
        closed.record(ReplicaId(7), &context(&[range(7, 1, 3), range(7, 5, 5)]));
        let seen = context(&[range(1, 1, 9), range(7, 2, 4)]);
        assert_eq!(closed.lost_of(&seen), context(&[range(7, 4, 4)]));
        assert!(closed.lost_of(&context(&[range(1, 1, 9)])).is_empty());
    }

    #[test]
    fn a_tail_stands_for_the_events_that_are_left() {
        let mut closed = Closed::default();
        closed.record(ReplicaId(7), &context(&[range(7, 1, 3)]));
        let all = context(&[range(1, 1, 9), range(7, 1, u64::MAX)]);
        let real = context(&[range(1, 1, 9), range(7, 1, 3)]);
        assert_eq!(closed.without_tails(all), real);
        assert_eq!(closed.without_tails(real.clone()), real);
        // Beyond what is left there is nothing.
        assert!(
            closed
                .without_tails(context(&[range(7, 4, u64::MAX)]))
                .is_empty()
        );
    }

    #[test]
    fn what_is_recorded_is_of_the_writer_and_has_an_end() {
        let mut closed = Closed::default();
        let all = context(&[range(1, 1, 3), range(7, 1, 3), range(7, 9, u64::MAX)]);
        assert!(closed.record(ReplicaId(7), &all));
        assert_eq!(*closed.left(), context(&[range(7, 1, 3)]));
        assert!(!closed.record(ReplicaId(7), &context(&[range(7, 2, 3)])));
        assert!(closed.record(ReplicaId(7), &context(&[range(7, 5, 5)])));
    }

    #[test]
    fn a_difference_names_the_writers_of_what_is_left() {
        let mut one = Closed::default();
        one.record(ReplicaId(7), &context(&[range(7, 1, 3)]));
        let mut more = one.clone();
        more.record(ReplicaId(7), &context(&[range(7, 5, 5)]));
        more.record(ReplicaId(8), &CausalContext::default());
        let news = more.difference(&one);
        assert_eq!(news.to_string(), "{7, 8} leaving <7:0+5>");
        assert_eq!(one.difference(&more), Closed::default());
        assert_eq!(more.difference(&Closed::default()), more);
    }

    #[test]
    fn joining_tells_whether_there_was_news() {
        let mut one = Closed::default();
        assert!(one.is_empty());
        one.record(ReplicaId(7), &CausalContext::default());
        assert!(!one.is_empty(), "though nothing is left");
        let mut other = Closed::default();
        other.record(ReplicaId(7), &context(&[range(7, 1, 3)]));
        assert!(one.join(&other) && !one.join(&other));
        assert!(Closed::default().join(&one) && one == other);
    }
}
