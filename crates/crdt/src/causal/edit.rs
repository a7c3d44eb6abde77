//! One local mutation while it happens.

use core::ops::Deref;
use smallvec::SmallVec;

use crate::{CausalContext, Dot, DotRange, DotStore, Knows, Lattice, ReplicaId};

/// The events of one local mutation: the dots it mints, and the dots it makes obsolete.
///
/// It is made by [`CausalReplica`](crate::CausalReplica) alone, which is what makes every dot unique.
#[derive(Debug)]
pub struct Events {
    replica: ReplicaId,
    /// Counter of the first dot of this mutation.
    first: u64,
    /// Counter of the last dot minted so far, by this mutation or before.
    last: u64,
    /// What the caller had read; `None` for all that is here.
    seen: Option<CausalContext>,
    touched: SmallVec<[Touched; 4]>,
}

/// Dots that a mutation minted or made obsolete.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Touched {
    pub(crate) range: DotRange,
    pub(crate) is_live: bool,
}

impl Events {
    pub(crate) fn new(replica: ReplicaId, last: u64, seen: Option<CausalContext>) -> Self {
        Self {
            replica,
            first: last.saturating_add(1),
            last,
            seen,
            touched: SmallVec::new(),
        }
    }

    /// The dot of a new event.
    ///
    /// # Panics
    /// If the replica has minted `u64::MAX` events.
    pub fn mint(&mut self) -> Dot {
        self.last = self.last.checked_add(1).expect("a replica has 2^64 events");
        let dot = Dot::new(self.replica, self.last);
        let (range, is_live) = (dot.into(), true);
        self.touched.push(Touched { range, is_live });
        dot
    }

    /// The dot that [`mint`](Self::mint) would return.
    pub fn next_dot(&self) -> Dot {
        Dot::new(self.replica, self.last.saturating_add(1))
    }

    /// Makes a live event obsolete that loses against a new one, whether the caller had seen it or not.
    /// The caller replaces it in the store.
    pub fn supersede(&mut self, dot: Dot) {
        let (range, is_live) = (dot.into(), false);
        self.touched.push(Touched { range, is_live });
    }

    /// Makes a live event obsolete, if the caller had seen it: true then, and the caller removes it from
    /// the store. Ask it only of events that are live.
    #[must_use = "an event that became obsolete must leave the store"]
    pub fn make_obsolete(&mut self, dot: Dot) -> bool {
        let seen = self.has_seen(dot);
        if seen {
            self.supersede(dot);
        }
        seen
    }

    /// The same for many live events at once: returns those that became obsolete, which the caller
    /// removes from the store. By ranges, however many events they hold.
    #[must_use = "events that became obsolete must leave the store"]
    pub fn make_all_obsolete(&mut self, live: &CausalContext) -> CausalContext {
        let obsolete = match &self.seen {
            None => live.clone(),
            Some(seen) => {
                let mut own = CausalContext::default();
                own.insert_range(self.minted());
                live.intersection(&own.joined(seen))
            }
        };
        let touched = obsolete.ranges().map(|range| Touched {
            range,
            is_live: false,
        });
        self.touched.extend(touched);
        obsolete
    }

    /// Whether the caller had read the event, or made it in this mutation.
    pub fn has_seen(&self, dot: Dot) -> bool {
        self.is_own(dot) || self.seen.as_ref().is_none_or(|seen| seen.knows(dot))
    }

    /// Whether the event was minted in this mutation.
    fn is_own(&self, dot: Dot) -> bool {
        dot.replica == self.replica && dot.counter >= self.first
    }

    /// Number of dots touched so far: a mark for [`touched_since`](Self::touched_since).
    pub(crate) fn mark(&self) -> usize {
        self.touched.len()
    }

    pub(crate) fn touched_since(&self, mark: usize) -> &[Touched] {
        &self.touched[mark..]
    }

    pub(crate) const fn last(&self) -> u64 {
        self.last
    }

    /// The events minted so far; a run that ends before it starts if there are none.
    pub(crate) const fn minted(&self) -> DotRange {
        DotRange {
            replica: self.replica,
            first: self.first,
            last: self.last,
        }
    }

    /// Adds what was touched to the context of the delta, and what was minted to that of the whole.
    pub(crate) fn note_in(&self, delta: &mut CausalContext, whole: &mut CausalContext) {
        for touched in &self.touched {
            delta.insert_range(touched.range);
            if touched.is_live {
                whole.insert_range(touched.range);
            }
        }
    }
}

/// A store that is being changed: what is written here goes into the store and into the delta.
///
/// Each type adds its own mutators, and reads go through to the store. A type of your own works on
/// [`parts`](Self::parts): mint a dot for what you add, ask before you remove, and make every change
/// both to the store and to the delta.
#[derive(Debug)]
pub struct Edit<'a, S> {
    store: &'a mut S,
    delta: &'a mut S,
    events: &'a mut Events,
}

impl<'a, S: DotStore> Edit<'a, S> {
    /// A mutation of a part of a store: the part, the same part of the delta, and the events of the
    /// mutation that is under way.
    pub const fn new(store: &'a mut S, delta: &'a mut S, events: &'a mut Events) -> Self {
        Self {
            store,
            delta,
            events,
        }
    }

    /// The store, the delta so far, and the events of this mutation.
    ///
    /// In the delta every key or element that is touched holds the events of this mutation alone.
    pub const fn parts(&mut self) -> (&mut S, &mut S, &mut Events) {
        (self.store, self.delta, self.events)
    }
}

impl<S> Deref for Edit<'_, S> {
    type Target = S;

    fn deref(&self) -> &S {
        self.store
    }
}
