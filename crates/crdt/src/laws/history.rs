//! What happened in a run, and who had seen what: all that a specification may look at.

use crate::{Dot, ReplicaId};

/// Changes that a run can hold; a script makes no more.
pub(crate) const MAX_CHANGES: usize = 128;

/// A set of changes of one run, by the order in which they were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct EventSet(u128);

const _: () = assert!(MAX_CHANGES == u128::BITS as usize);

impl EventSet {
    pub(crate) const fn all(count: usize) -> Self {
        match count {
            MAX_CHANGES.. => Self(u128::MAX),
            _ => Self((1 << count) - 1),
        }
    }

    pub(crate) const fn of(index: usize) -> Self {
        Self(1 << index)
    }

    pub(crate) const fn contains(self, index: usize) -> bool {
        self.0 & (1 << index) != 0
    }

    pub(crate) const fn includes(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }

    pub(crate) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = usize> {
        (0..MAX_CHANGES).filter(move |index| self.contains(*index))
    }
}

/// One change: what was done, by whom, and what its author had seen.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Event<O> {
    /// What was done.
    pub op: O,
    /// Which change of which replica it is: the `counter`-th, from 1. Types that mint one dot for each
    /// change mint this one; others may use it as a name.
    pub dot: Dot,
    pub(crate) index: usize,
    pub(crate) seen: EventSet,
}

impl<O> Event<O> {
    /// Who made it.
    pub const fn replica(&self) -> ReplicaId {
        self.dot.replica
    }
}

/// The changes that are visible at a replica, and which of them had seen which.
///
/// This is an abstract execution: a specification says from it, and from nothing else, what a reader
/// sees. It holds with every event also those that its author had seen.
///
/// Source: Burckhardt, Gotsman, Yang, Zawirski, *Replicated Data Types: Specification, Verification,
/// Optimality*, POPL 2014, section 3.
#[derive(Debug, Clone, Copy)]
pub struct History<'a, O> {
    events: &'a [Event<O>],
    visible: EventSet,
}

impl<'a, O> History<'a, O> {
    pub(crate) const fn new(events: &'a [Event<O>], visible: EventSet) -> Self {
        Self { events, visible }
    }

    /// Whether with every event those are visible that its author had seen.
    pub(crate) fn is_closed(&self) -> bool {
        self.events().all(|event| self.visible.includes(event.seen))
    }

    /// The visible events, in an order in which an event stands behind all that its author had seen.
    pub fn events(&self) -> impl Iterator<Item = &'a Event<O>> + use<'a, O> {
        let (events, visible) = (self.events, self.visible);
        events
            .iter()
            .filter(move |event| visible.contains(event.index))
    }

    /// Whether the author of `later` had seen `earlier`. Neither has seen the other: they are concurrent.
    ///
    /// The relation holds what had arrived, so it need not be transitive where a delta overtook another:
    /// an author may have seen an event, and not what that one's author had seen. Mind this where the
    /// effect of an operation depends on the state in which it is made.
    pub const fn sees(&self, later: &Event<O>, earlier: &Event<O>) -> bool {
        later.seen.contains(earlier.index)
    }

    /// Whether a visible event that had seen `event` satisfies `undoes`: what most specifications ask.
    ///
    /// Linear in the visible events.
    pub fn is_undone(&self, event: &Event<O>, mut undoes: impl FnMut(&O) -> bool) -> bool {
        self.events()
            .any(|later| self.sees(later, event) && undoes(&later.op))
    }

    /// The visible events that no visible event which had seen them satisfies `undoes` for.
    ///
    /// Quadratic in the visible events.
    pub fn survivors(
        &self,
        mut undoes: impl FnMut(&O, &Event<O>) -> bool,
    ) -> impl Iterator<Item = &'a Event<O>> {
        self.events()
            .filter(move |event| !self.is_undone(event, |later| undoes(later, event)))
    }
}
