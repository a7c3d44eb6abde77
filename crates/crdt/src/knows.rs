//! Asking whether an event is known.

use crate::ranges::Ranges;
use crate::{CausalContext, Dot, DotRange, ReplicaId};

/// Whether an event is known: asked of a [`CausalContext`] and of a base with something beyond it.
pub trait Knows {
    /// Whether the event named by `dot` has been seen.
    fn knows(&self, dot: Dot) -> bool;

    /// All events seen, where they are at hand as one context: large stores then look for the few
    /// events that a small delta names, instead of asking about each event of their own.
    fn as_context(&self) -> Option<&CausalContext> {
        None
    }

    /// Whether any event of `range` has been seen.
    fn knows_any(&self, range: DotRange) -> bool {
        if range.first == range.last {
            return self.knows(Dot::new(range.replica, range.first));
        }
        let events: CausalContext = core::iter::once(range).collect();
        self.unknown_of(&events) != events
    }

    /// Which of the 64 events of `replica` with counters from `first` on have been seen, as bits from
    /// the lowest. Bits beyond the largest counter are not set.
    fn mask(&self, replica: ReplicaId, first: u64) -> u64 {
        (0..64).fold(0, |mask, bit| {
            let counter = first.checked_add(bit);
            let known = counter.is_some_and(|c| self.knows(Dot::new(replica, c)));
            mask | (u64::from(known) << bit)
        })
    }

    /// Runs of counters of `replica` outside of which nothing has been seen, ascending and apart.
    fn spans(&self, replica: ReplicaId) -> impl Iterator<Item = (u64, u64)> {
        let context = self.as_context();
        let ranges = context.and_then(|c| c.of(replica)).map(Ranges::as_slice);
        let all = context.is_none().then_some((1, u64::MAX));
        let ranges = ranges.unwrap_or_default().iter();
        ranges.map(|r| (r.first, r.last)).chain(all)
    }

    /// The part of `events` that has not been seen, found by ranges where the events seen are at hand.
    fn unknown_of(&self, events: &CausalContext) -> CausalContext {
        match self.as_context() {
            Some(seen) => events.difference(seen),
            None => events.dots().filter(|dot| !self.knows(*dot)).collect(),
        }
    }
}
