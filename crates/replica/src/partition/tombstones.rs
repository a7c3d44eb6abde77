//! Which tombstones may go, and what keeps the others.
//!
//! [`Partition::tombstone_report`] decides: a tombstone goes if nothing in its report holds it back. The purge asks for
//! the report of the earliest tombstone there could be, which lacks only what depends on the time, and leaves that to the
//! [`Horizon`](crdt::Horizon); so what is explained and what is done cannot differ.

use crdt::{OwnerView, Timestamp};
use std::collections::BTreeSet;

use super::{Partition, TombstoneReport};
use crate::clock::Clock;
use crate::{NodeId, Policy};

impl<P: Policy> Partition<P> {
    /// What keeps a tombstone of this time.
    pub(super) fn tombstone_report(&self, time: Timestamp) -> TombstoneReport {
        let (own, base) = (self.replica.id(), self.replica.knowledge().base());
        let view = self.unretired();
        let clock = self.clock.last();
        // The clock of a store that takes the caller's timestamps is its horizon. Zero is one that was never set.
        let no_horizon = matches!(self.clock, Clock::Caller(Timestamp(0)));
        TombstoneReport {
            time,
            held_back_by: self.promises.held_back_by(&view, own, base, time),
            unheard_of: self.unheard_of(),
            own_clock: (clock < time && !no_horizon).then_some(clock),
            no_horizon,
            is_not_serving: !self.is_ready(),
            is_kept_for_good: self.config.gossip.is_some(),
        }
    }

    /// Forgets the tombstones that no unseen write can be older than.
    pub(super) fn purge(&mut self) {
        if self.replica.tombstone_count() == 0
            || !self.tombstone_report(Timestamp::default()).is_free()
        {
            return;
        }
        let horizon = self.promises.horizon(
            &self.unretired(),
            self.config.replication_factor as usize,
            self.replica.id(),
            self.replica.knowledge().base(),
            self.clock.last(),
        );
        let Some(horizon) = horizon else { return };
        for key in self.replica.purge(horizon) {
            self.counters.tombstones_purged += 1;
            self.journal.note_key(&key);
            // The own clock is part of the horizon: after a restart too this node must write above what
            // it has forgotten.
            self.journal.note_meta();
        }
    }

    /// The incarnations that may have written what has not come yet.
    fn unretired(&self) -> OwnerView {
        self.view.without_those_before(&self.retired)
    }

    /// The owners of which some incarnation is not known here, ascending: nothing is known of its promises.
    fn unheard_of(&self) -> Vec<NodeId> {
        let is_unknown = |owner: &NodeId| self.view.current(owner.0).is_none();
        let owners = self.config.peers().filter(is_unknown);
        let all: BTreeSet<NodeId> = owners.chain(self.unheard_of_dead()).collect();
        all.into_iter().collect()
    }

    /// The owners that have lost their data at least once more often than is known here who wrote for
    /// them: a number is one above the highest that was recorded, so there was someone before. An event of
    /// theirs may still come, and their promises are unknown.
    fn unheard_of_dead(&self) -> impl Iterator<Item = NodeId> + '_ {
        let is_heard_of = |position, number| {
            let mut all = self.view.incarnations();
            all.any(|(p, id)| p == position && crate::incarnation_number(id) == number)
        };
        let missing = self.view.currents().filter(move |(position, current)| {
            let retired = self.retired.get(position);
            let first = retired.map_or(0, |id| crate::incarnation_number(*id));
            let mut before = first..crate::incarnation_number(*current);
            before.any(|number| !is_heard_of(*position, number))
        });
        missing.map(|(position, _)| NodeId(position))
    }
}
