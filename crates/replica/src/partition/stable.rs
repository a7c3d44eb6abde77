//! What every owner has: events that a session need not ask for any more.

use crdt::CausalContext;
use std::sync::Arc;

use super::Partition;
use crate::Policy;

impl<P: Policy> Partition<P> {
    /// The events that every owner has of every key, as far as this node knows: whichever of them serves, then or
    /// later, knows them. A session takes them off its [token](crate::Token::prune).
    ///
    /// Nothing of what is lost for good is in it, and nothing at all while an owner has not shown what it knows, where
    /// there is no other owner, or where nobody knows who they are. As of the latest sync interval.
    pub const fn stable(&self) -> &Arc<CausalContext> {
        &self.stable
    }

    /// Takes note of what all owners have shown to know.
    pub(super) fn note_stable(&mut self, known_to_all: &CausalContext) {
        if self.peers.all().next().is_none() {
            return;
        }
        // All that a closed writer could have written counts as known. A session that has seen what is lost must be
        // told so: its token has to go on asking for it.
        let lost = self.replica.closed().lost_of(known_to_all);
        let stable = known_to_all.difference(&lost);
        if stable != *self.stable {
            self.stable = Arc::new(stable);
        }
    }

    /// The owners are others than they were, or this one no longer has what it had.
    pub(super) fn forget_stable(&mut self) {
        self.stable = Arc::default();
    }
}
