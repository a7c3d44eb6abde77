//! Whom a node listens to: what travels beside each message, and the dead.

use crdt::{Lattice as _, OwnerView, ReplicaId};
use std::cmp::Ordering;
use std::sync::Arc;

use super::{Partition, Phase};
use crate::message::{Envelope, Message};
use crate::{NodeId, Policy};

impl<P: Policy> Partition<P> {
    /// Merges what travels beside a message; false if the sender is fenced.
    pub(super) fn admit(&mut self, from: NodeId, envelope: &Envelope<P::Cell>) -> bool {
        if self.config.gossip.is_some() {
            // Nobody knows all members, so there is no view to merge, and nobody to be fenced.
            let _ahead = self.clock.observe(envelope.clock, self.now);
            return envelope.from.is_some_and(|id| crate::node_of(id) == from);
        }
        if !self.includes_view(&envelope.view) {
            Arc::make_mut(&mut self.view).join(&envelope.view);
            self.view_changed();
        }
        let Some(sender) = envelope.from else {
            // Where an operator accepts loss, those without an identity are heard too, as unreconciled.
            return matches!(
                envelope.message,
                Message::Hello | Message::HelloAnswer { reconciled: false }
            );
        };
        if crate::node_of(sender) != from || self.view.is_fenced(from.0, sender) {
            return false;
        }
        if self.view.current(from.0) != Some(sender) {
            Arc::make_mut(&mut self.view).record(from.0, sender);
            self.view_changed();
        }
        // Beyond the drift bound: ignored here, refused where a write would have to go above it.
        let _ahead = self.clock.observe(envelope.clock, self.now);
        true
    }

    /// Whether a view names no incarnation that is not known of here. Of two equal views the nodes of one
    /// process keep one, the same for all: then the next comparison sees that without looking inside.
    fn includes_view(&mut self, view: &Arc<OwnerView>) -> bool {
        if Arc::ptr_eq(&self.view, view) || Arc::ptr_eq(&self.included, view) {
            return true;
        }
        let order = self.view.partial_cmp(view);
        if order == Some(Ordering::Equal) && Arc::as_ptr(view) < Arc::as_ptr(&self.view) {
            self.view = Arc::clone(view);
        }
        let includes = order.is_some_and(Ordering::is_ge);
        if includes {
            // Views only grow: it will stay so.
            self.included = Arc::clone(view);
        }
        includes
    }

    /// The view has learnt of an incarnation: what the dead one said no longer counts.
    fn view_changed(&mut self) {
        self.journal.note_meta();
        self.forget_stable();
        self.peers.forget_dead(&self.view);
        if let Phase::Recovering(recovery) = &mut self.phase {
            recovery.forget_dead(&self.view);
        }
        self.counters.acknowledgements_dropped +=
            self.writes.drop_dead(&self.view) + self.reads.drop_dead(&self.view);
        let own = self.replica.id();
        if own != ReplicaId(0) && self.view.is_fenced(self.config.node.0, own) {
            self.start_over();
        }
    }
}
