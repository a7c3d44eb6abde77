//! Writing back what a linearizable read is about to return, so that no later read can miss it.

use crdt::ReplicaId;
use smallvec::SmallVec;
use std::sync::Arc;

use super::Partition;
use super::pending_reads::{PendingRead, Purpose, WrittenBack};
use crate::message::{Message, StoreListing};
use crate::{NodeId, Outcome, Policy, RequestId};

impl<P: Policy> Partition<P> {
    /// Settles what a linearizable read returns and writes it back.
    pub(super) fn start_write_back(
        &mut self,
        read: u64,
        request: RequestId,
        outcome: Outcome<P::Cell>,
    ) {
        let back = WrittenBack {
            request,
            outcome,
            held: SmallVec::new(),
        };
        if let Some(pending) = self.reads.reads.get_mut(&read) {
            pending.purpose = Some(Purpose::WrittenBack(Box::new(back)));
        }
        self.write_back(read);
    }

    /// Sends what a linearizable read is about to return, absent included, to the owners that have not
    /// confirmed that they hold it. What is known here of the key by now includes it.
    pub(super) fn write_back(&mut self, read: u64) {
        let Some(pending) = self.reads.reads.get(&read) else {
            return;
        };
        let Some(Purpose::WrittenBack(back)) = &pending.purpose else {
            return;
        };
        let is_silent = |peer: &NodeId| !back.held.iter().any(|id| crate::node_of(*id) == *peer);
        let silent: Vec<NodeId> = self.peers.all().filter(is_silent).collect();
        let listing = Arc::new(self.replica.list_known(pending.key.clone()));
        for peer in silent {
            let listing = Arc::clone(&listing);
            self.send(peer, Message::WriteBack { read, listing });
        }
        self.finish_write_back(read);
    }

    /// Joins what a linearizable read is about to return.
    pub(super) fn join_write_back(
        &mut self,
        from: NodeId,
        read: u64,
        listing: &StoreListing<P::Cell>,
    ) {
        self.join_listing(listing);
        if self.is_ready() {
            self.send(from, Message::WrittenBack { read });
        }
    }

    pub(super) fn note_written_back(&mut self, from: ReplicaId, read: u64) {
        let pending = self.reads.reads.get_mut(&read);
        if let Some(Purpose::WrittenBack(back)) = pending.and_then(|p| p.purpose.as_mut()) {
            if !back.held.contains(&from) {
                back.held.push(from);
            }
            self.finish_write_back(read);
        }
    }

    fn finish_write_back(&mut self, read: u64) {
        let needed = self.config.write_quorum as usize;
        let is_held = |pending: &PendingRead<P>| matches!(&pending.purpose, Some(Purpose::WrittenBack(back)) if back.held.len() + 1 >= needed);
        if !self.reads.reads.get(&read).is_some_and(is_held) {
            return;
        }
        let pending = self.reads.reads.remove(&read);
        if let Some(Purpose::WrittenBack(back)) = pending.and_then(|p| p.purpose) {
            self.reads.unanswered -= 1;
            self.counters.write_backs += 1;
            self.reply(back.request, Ok(back.outcome));
        }
    }
}
