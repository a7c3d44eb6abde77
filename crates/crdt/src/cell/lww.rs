//! Last writer wins, where every write is an event with a dot.

use core::cmp::Ordering;

use crate::cell::Cell;
use crate::lww_order::write_order;
use crate::{CausalContext, Dot, DotStore, Edit, InvalidBytes, Knows, Timestamp};

/// One write or delete, with the dot that names it.
///
/// Its order is the frozen order of last-writer-wins, and is total on events: the higher timestamp
/// wins; at equal timestamps a value beats a tombstone, and the smaller value beats the larger; at
/// equal values the smaller dot wins. Without the last rule two events of equal time and value would
/// each survive on one replica, be obsolete to the other, and both be lost at the next exchange.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct LwwEntry<V> {
    /// The event.
    pub dot: Dot,
    /// When it was written.
    pub timestamp: Timestamp,
    /// The value, or `None` for a tombstone.
    pub value: Option<V>,
}

impl<V: Ord> LwwEntry<V> {
    /// Compares two events in the order of last-writer-wins; the greater one wins.
    pub fn event_order(&self, other: &Self) -> Ordering {
        let writes = write_order(
            (self.timestamp, self.value.as_ref()),
            (other.timestamp, other.value.as_ref()),
        );
        writes.then_with(|| other.dot.cmp(&self.dot))
    }

    /// Whether this event wins over `other`.
    pub fn wins_over(&self, other: &Self) -> bool {
        self.event_order(other).is_gt()
    }
}

/// A key whose last write wins: at most one live event, a value or a tombstone.
///
/// | concurrent operations | outcome |
/// |---|---|
/// | two writes | the higher timestamp; on a tie the smaller value, then the smaller dot |
/// | write and delete | the higher timestamp; on a tie the write |
///
/// **Order and join.** That of the [`DotStore`]; after the join only the winner stays live. A difference
/// names no loser that its winner beats, and without any dot that it does name it would not do. Still no
/// least one exists in general: of a state that knows of two lost events and one that knows of neither,
/// the difference says that both are obsolete. A state that holds the first live and says that of the
/// second does as much and is smaller, and so is the one with the two exchanged; nothing below both will
/// do. Nobody can make either, as the contents of what lost are forgotten.
///
/// A winner gives way to a greater event and to nothing else: what it has beaten is forgotten, and were it
/// removed, the beaten write would come back on a replica that hears of it late, and on no other. So the
/// keys of an [`OrMap`](crate::OrMap) of these cannot be removed: that does not compile. Delete by a
/// tombstone, or put an [`MvCell`](crate::MvCell) of timestamps and values inside and read the largest.
///
/// **Invariants.** At most one event is live: of two that have not seen each other the greater, in the order
/// of [`LwwEntry::event_order`].
///
/// **Cost.** A join compares two entries: constant time apart from comparing equal-timed values.
///
/// **Not for** values where no concurrent write may be lost: use [`MvCell`](crate::MvCell).
///
/// Source: Shapiro et al., *A comprehensive study of Convergent and Commutative Replicated Data
/// Types*, 2011, section 3.2.2, with an order that is total on events.
///
/// ```
/// use crdt::{Cell, CausalContext, Dot, DotStore, LwwCell, ReplicaId, Timestamp};
///
/// let (a, b) = (Dot::new(ReplicaId(1), 1), Dot::new(ReplicaId(2), 1));
/// let mut left = LwwCell::entry(a, Timestamp(5), Some("tea"));
/// let right = LwwCell::entry(b, Timestamp(5), Some("coffee"));
/// let (seen_a, seen_b): (CausalContext, CausalContext) =
///     ([a].into_iter().collect(), [b].into_iter().collect());
/// left.join(&seen_a, &right, &seen_b);
/// assert_eq!(left.value(), Some(&"coffee"), "equal times: the smaller value");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct LwwCell<V> {
    live: Option<LwwEntry<V>>,
}

impl<V> LwwCell<V> {
    /// A cell that holds one event; `value` is `None` for a tombstone.
    pub const fn entry(dot: Dot, timestamp: Timestamp, value: Option<V>) -> Self {
        Self {
            live: Some(LwwEntry {
                dot,
                timestamp,
                value,
            }),
        }
    }

    /// The live event, a tombstone included.
    pub const fn live(&self) -> Option<&LwwEntry<V>> {
        self.live.as_ref()
    }

    /// The visible value.
    pub fn value(&self) -> Option<&V> {
        self.live.as_ref().and_then(|e| e.value.as_ref())
    }

    /// When the live event was written.
    pub fn timestamp(&self) -> Option<Timestamp> {
        self.live.as_ref().map(|e| e.timestamp)
    }
}

impl<V: Ord> LwwCell<V> {
    /// Writes a new event over the cell; it stays as it was if what it holds wins. True if the new
    /// event is live.
    pub fn write(&mut self, new: LwwEntry<V>) -> bool {
        if self.live.as_ref().is_some_and(|held| held.wins_over(&new)) {
            return false;
        }
        self.live = Some(new);
        true
    }
}

impl<V> Default for LwwCell<V> {
    fn default() -> Self {
        Self { live: None }
    }
}

impl<V: Clone + Ord + core::fmt::Debug + core::hash::Hash> DotStore for LwwCell<V> {
    const FORGETS_LOSERS: bool = true;

    fn is_bottom(&self) -> bool {
        self.live.is_none()
    }

    fn dots(&self) -> impl Iterator<Item = Dot> + '_ {
        self.live.iter().map(|e| e.dot)
    }

    fn join(&mut self, mine: &impl Knows, other: &Self, theirs: &impl Knows) -> bool {
        let same_dot = matches!((&self.live, &other.live), (Some(a), Some(b)) if a.dot == b.dot);
        let keeps = self
            .live
            .as_ref()
            .is_some_and(|e| same_dot || !theirs.knows(e.dot));
        let takes = other
            .live
            .as_ref()
            .filter(|e| same_dot || !mine.knows(e.dot));
        match (keeps, takes) {
            (true, None) => false,
            (true, Some(new)) => {
                let wins = self.live.as_ref().is_none_or(|held| new.wins_over(held));
                if wins {
                    self.live = Some(new.clone());
                }
                wins
            }
            (false, new) => {
                let changed = self.live.is_some() || new.is_some();
                self.live = new.cloned();
                changed
            }
        }
    }

    fn unknown_to(&self, known: &impl Knows) -> Self {
        Self {
            live: self.live.clone().filter(|e| !known.knows(e.dot)),
        }
    }

    fn losers_in(&self, other: &Self) -> CausalContext {
        let both = self.live.as_ref().zip(other.live.as_ref());
        let loser = both.filter(|(mine, theirs)| mine.dot != theirs.dot && mine.wins_over(theirs));
        loser.map(|(_, theirs)| theirs.dot).into_iter().collect()
    }

    fn conflict(&self, other: &Self) -> Option<Dot> {
        let (mine, theirs) = self.live.as_ref().zip(other.live.as_ref())?;
        (mine.dot == theirs.dot && mine != theirs).then_some(mine.dot)
    }

    fn mark_count(&self) -> usize {
        usize::from(self.live.is_some() && self.value().is_none())
    }

    fn heap_bytes(&self) -> usize {
        0
    }
}

impl<V: Clone + Ord + core::fmt::Debug + core::hash::Hash> Edit<'_, LwwCell<V>> {
    /// Writes a value, or deletes it with `None`. False if what is there wins: then nothing changes.
    pub fn write(&mut self, timestamp: Timestamp, value: Option<V>) -> bool {
        let dot_wins = |held: &LwwEntry<V>, dot: Dot| {
            let new = (timestamp, value.as_ref());
            let writes = write_order((held.timestamp, held.value.as_ref()), new);
            writes.then_with(|| dot.cmp(&held.dot)).is_gt()
        };
        let (cell, delta, events) = self.parts();
        // The dot of the next event decides the last tie; it is larger than any the writer has minted.
        let next = events.next_dot();
        if cell.live.as_ref().is_some_and(|held| dot_wins(held, next)) {
            return false;
        }
        if let Some(held) = &cell.live {
            // The winner makes the loser obsolete whether its author had seen it or not.
            events.supersede(held.dot);
        }
        let dot = events.mint();
        *cell = LwwCell::entry(dot, timestamp, value);
        delta.clone_from(cell);
        true
    }
}

impl<V: Clone + Ord + core::fmt::Debug + core::hash::Hash> Cell for LwwCell<V> {
    const PROVES_ITSELF: bool = true;

    fn is_visible(&self) -> bool {
        self.value().is_some()
    }

    fn tombstone(&self) -> Option<Timestamp> {
        self.live
            .as_ref()
            .filter(|e| e.value.is_none())
            .map(|e| e.timestamp)
    }

    fn validate(&self) -> Result<(), InvalidBytes> {
        match &self.live {
            Some(e) if e.dot.counter == 0 => Err(InvalidBytes::ZeroCounter),
            _ => Ok(()),
        }
    }
}

#[cfg(feature = "serde")]
mod wire {
    use super::{LwwCell, LwwEntry};
    use crate::InvalidBytes;
    use serde::{Deserialize, Deserializer};

    impl<'de, V: Deserialize<'de>> Deserialize<'de> for LwwCell<V> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let live: Option<LwwEntry<V>> = Deserialize::deserialize(deserializer)?;
            match &live {
                Some(entry) if entry.dot.counter == 0 => {
                    Err(serde::de::Error::custom(InvalidBytes::ZeroCounter))
                }
                _ => Ok(Self { live }),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ReplicaId;

    fn event(replica: u64, timestamp: u64, value: Option<&str>) -> LwwEntry<&str> {
        LwwEntry {
            dot: Dot::new(ReplicaId(replica), 1),
            timestamp: Timestamp(timestamp),
            value,
        }
    }

    #[test]
    fn the_order_is_the_frozen_one() {
        assert!(
            event(1, 6, None).wins_over(&event(2, 5, Some("a"))),
            "later time"
        );
        assert!(
            event(2, 5, Some("z")).wins_over(&event(1, 5, None)),
            "value over tombstone"
        );
        assert!(
            event(2, 5, Some("a")).wins_over(&event(1, 5, Some("b"))),
            "smaller value"
        );
        assert!(
            event(1, 5, Some("a")).wins_over(&event(2, 5, Some("a"))),
            "smaller dot"
        );
        assert!(
            event(1, 5, None).wins_over(&event(2, 5, None)),
            "smaller dot of two tombstones"
        );
    }

    #[test]
    fn a_local_write_that_loses_is_not_visible_for_a_moment() {
        let mut cell = LwwCell::entry(Dot::new(ReplicaId(1), 1), Timestamp(5), Some("a"));
        assert!(!cell.write(event(2, 5, Some("b"))));
        assert_eq!(cell.value(), Some(&"a"));
        assert!(cell.write(event(2, 6, None)));
        assert_eq!(
            (cell.is_visible(), cell.tombstone()),
            (false, Some(Timestamp(6)))
        );
    }

    #[test]
    fn the_time_is_that_of_the_live_event() {
        let cell = LwwCell::entry(Dot::new(ReplicaId(1), 1), Timestamp(5), Some("a"));
        assert_eq!(cell.timestamp(), Some(Timestamp(5)));
        assert_eq!(LwwCell::<&str>::default().timestamp(), None);
    }

    #[test]
    fn one_dot_with_two_contents_is_a_conflict() {
        let cell = |replica, value| LwwCell {
            live: Some(event(replica, 5, value)),
        };
        let mine = cell(1, Some("a"));
        assert_eq!(
            mine.conflict(&cell(1, Some("b"))),
            Some(Dot::new(ReplicaId(1), 1))
        );
        assert_eq!(mine.conflict(&mine), None);
        assert_eq!(mine.conflict(&cell(2, Some("b"))), None, "another event");
        assert_eq!(mine.conflict(&LwwCell::default()), None);
    }
}
