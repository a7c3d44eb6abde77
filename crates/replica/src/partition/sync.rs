//! Anti-entropy: comparing knowledge with peers, exchanging what is missing, forgetting tombstones.

use bytes::Bytes;
use crdt::{
    Budget, CausalContext, Closed, Cut, Knowledge, Lattice as _, OwnerView, Promise, Promises,
    ReplicaId, Timestamp,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Partition, Phase, weight};
use crate::NodeId;
use crate::Policy;
use crate::message::{Extent, Message, StoreListing, SyncAnswer};

/// About what a range of events takes in a message.
const BYTES_OF_RANGE: usize = 16;

impl<P: Policy> Partition<P> {
    /// The regular duties, once in every sync interval.
    pub(super) fn tick(&mut self) {
        if !self.is_ready() {
            return self.recover_step();
        }
        if self.config.gossip.is_some() {
            return self.gossip();
        }
        if let Some(peer) = self.peers.next_in_turn() {
            self.ask_unless_asked(peer);
        }
        if self.has_too_many_exceptions()
            && let Some(peer) = self.transfer_source()
        {
            self.start_transfer(peer);
        }
        self.audit();
        self.trim_log();
        self.retire_the_dead();
        self.close_the_dead();
        self.purge();
    }

    /// A peer can be reached again: shows it what is known here, so that it asks for what it lacks, and
    /// gets what it has.
    pub(super) fn greet(&mut self, node: NodeId) {
        if self.is_ready() {
            self.ask(node, true);
        } else {
            self.recover_step();
        }
    }

    /// Asks a peer for what is missing here, unless an answer is probably on its way: two nodes that
    /// both lack something must not ask each other for ever faster.
    fn ask_unless_asked(&mut self, node: NodeId) {
        let patience_ms = self.config.sync_interval_ms.min(self.config.resend_ms);
        if !self.peers.is_asked(node, self.now.elapsed_ms, patience_ms) {
            self.ask(node, true);
        }
    }

    pub(super) fn ask(&mut self, node: NodeId, want_entries: bool) {
        if want_entries {
            self.peers.note_asked(node, self.now.elapsed_ms);
        }
        let knowledge = Arc::new(self.replica.knowledge().clone());
        self.send(
            node,
            Message::SyncRequest {
                knowledge,
                want_entries,
            },
        );
    }

    fn budget(&self) -> Budget {
        Budget {
            events: self.config.chunk_keys,
            bytes: self.config.chunk_bytes,
        }
    }

    /// Answers what a peer lacks, and asks in turn if it knows something that is not known here.
    pub(super) fn answer_sync(
        &mut self,
        from: NodeId,
        id: ReplicaId,
        remote: &Knowledge<Bytes>,
        want_entries: bool,
    ) {
        if self.peer_knows_own_future(remote) {
            self.start_over();
        }
        self.note_shown(from, id, remote.base());
        if self.incarnation().is_none() {
            return;
        }
        let (listings, extent) = match want_entries {
            false => (Vec::new(), Extent::KnowledgeOnly),
            true => match self.replica.delta_since(remote, self.budget(), weight::<P>) {
                Ok(delta) if delta.complete => (delta.listings, Extent::Complete),
                Ok(delta) => {
                    self.counters.cut_answers += 1;
                    (delta.listings, Extent::Part)
                }
                Err(crdt::Truncated) => {
                    self.counters.truncated_answers += 1;
                    (Vec::new(), Extent::Truncated)
                }
            },
        };
        let promises =
            (extent == Extent::Complete && self.is_ready() && self.config.gossip.is_none())
                .then(|| self.promise());
        let answer = SyncAnswer {
            to: id,
            reconciled: self.is_ready(),
            returning: self.is_returning(),
            knowledge: self.knowledge_to_show(),
            listings,
            extent,
            promises,
            retired: self.retired.clone(),
            closed: Arc::clone(self.replica.closed()),
            operations: match extent {
                Extent::KnowledgeOnly => self.operations_to_show(),
                _ => Vec::new(),
            },
        };
        self.send(from, Message::SyncAnswer(answer));
        if self.is_ready() && want_entries && !self.replica.knowledge().includes(remote) {
            self.ask_unless_asked(from);
        }
    }

    /// The promises to pass on, with this node's own: "all my later events have later timestamps". A
    /// promise that was shown must hold after a restart too, so the clock is made durable with it.
    fn promise(&mut self) -> Promises {
        self.journal.note_meta();
        let own = Promise {
            time: self.clock.last(),
            counter: self.replica.own_counter(),
        };
        self.promises.record(self.replica.id(), own);
        self.promises.clone()
    }

    pub(super) fn note_sync_answer(
        &mut self,
        from: NodeId,
        id: ReplicaId,
        answer: &SyncAnswer<P::Cell>,
        clock: Timestamp,
        view: &Arc<OwnerView>,
    ) {
        if answer.to != self.replica.id() {
            return;
        }
        if self.peer_knows_own_future(&answer.knowledge) {
            return self.start_over();
        }
        self.note_shown(from, id, answer.knowledge.base());
        self.note_closed(&answer.closed);
        self.peers.note_retired(from, id, &answer.retired);
        let truncated = self
            .peers
            .note_truncated(from, answer.extent == Extent::Truncated);
        let mut grew = false;
        for listing in &answer.listings {
            grew |= self.join_listing(listing);
        }
        // A listing may have shown that this node has lost events of its own. What it asked for under
        // the identity it had before proves nothing to the one it takes next.
        if answer.to != self.replica.id() {
            return;
        }
        // A promise counts only once what it promises about is known, and not beside a view that is
        // older: the view was merged before this message was looked at.
        if let Some(promises) = &answer.promises
            && self.promises.join(promises)
        {
            self.journal.note_meta();
        }
        // Who waits for a confirmation may know less than it did.
        if answer.extent == Extent::Complete && !answer.returning {
            self.peers.note_complete(from, id, view);
        }
        self.note_standing(from, answer.reconciled || answer.returning);
        if answer.reconciled || (answer.returning && self.is_returning()) {
            self.note_source((from, id), answer, clock);
        }
        match answer.extent {
            // A part that brings nothing new has been followed up already, or overtaken: if copies of an
            // answer were each followed up, they would multiply with every part.
            Extent::Part if grew => self.ask(from, true),
            // Between two refusals of one peer the others have been asked too: none could help.
            Extent::Truncated if self.is_ready() && truncated >= 2 => self.start_transfer(from),
            _ => self.recover_step_after(from, answer.extent),
        }
    }

    /// Whether a peer knows an event of this identity that this node has not minted.
    fn peer_knows_own_future(&self, remote: &Knowledge<Bytes>) -> bool {
        let (own, last) = (self.replica.id(), self.replica.own_counter());
        let mut beyond = remote.exceptions().map(|(_, beyond)| beyond);
        own != ReplicaId(0)
            && (remote.base().last_counter(own) > last
                || beyond.any(|events| events.last_counter(own) > last))
    }

    /// Whether what is known beyond the base is more than may stay so: every comparison carries it.
    fn has_too_many_exceptions(&self) -> bool {
        let knowledge = self.replica.knowledge();
        let bytes = knowledge.exceptions().map(|(interval, beyond)| {
            let cuts = [interval.start(), interval.end()];
            let key_bytes = cuts.map(|cut| match cut {
                Cut::Before(key) | Cut::After(key) => key.len(),
                Cut::BelowAll | Cut::AboveAll => 0,
            });
            key_bytes[0] + key_bytes[1] + beyond.range_count() * BYTES_OF_RANGE
        });
        knowledge.exception_count() > self.config.max_exceptions
            || bytes.sum::<usize>() > self.config.max_exception_bytes
    }

    /// Whom to ask for a transfer: a peer that has shown most of what is missing here. In turn, if none
    /// has, but then nobody can help yet.
    fn transfer_source(&mut self) -> Option<NodeId> {
        let lacking = self.lacking();
        let reachable: Vec<NodeId> = self.peers.reachable().collect();
        let ahead = lacking
            .into_iter()
            .filter(|(node, events)| *events > 0 && reachable.contains(node));
        let most = ahead
            .max_by_key(|(_, events)| *events)
            .map(|(node, _)| node);
        most.or_else(|| self.peers.next_in_turn())
    }

    /// Starts a full transfer of a serving node, unless one is under way.
    fn start_transfer(&mut self, peer: NodeId) {
        let (now_ms, patience_ms) = (self.now.elapsed_ms, 4 * self.config.sync_interval_ms);
        if let Some((at, _)) = &self.asked_chunk
            && now_ms < at + patience_ms
        {
            return;
        }
        self.continue_transfer(peer, Cut::BelowAll);
    }

    fn continue_transfer(&mut self, peer: NodeId, from: Cut<Bytes>) {
        self.asked_chunk = Some((self.now.elapsed_ms, from.clone()));
        self.send(peer, Message::TransferRequest { from });
    }

    pub(super) fn answer_transfer(&mut self, from: NodeId, cut: Cut<Bytes>) {
        if self.incarnation().is_none() {
            return;
        }
        let chunk = self
            .replica
            .transfer_chunk(&cut, self.budget(), weight::<P>);
        let message = Message::TransferAnswer {
            from: cut,
            listings: chunk.listings,
            next: chunk.next,
            closed: Arc::clone(self.replica.closed()),
        };
        self.send(from, message);
    }

    /// Joins a chunk and asks for the next. Chunks may come from any transfer: what they list is true.
    pub(super) fn note_transfer(
        &mut self,
        from: NodeId,
        cut: &Cut<Bytes>,
        listings: &[StoreListing<P::Cell>],
        next: Option<Cut<Bytes>>,
        closed: &Closed,
    ) {
        self.note_closed(closed);
        for listing in listings {
            self.counters.transfer_chunks += 1;
            self.join_listing(listing);
        }
        let Phase::Recovering(recovery) = &mut self.phase else {
            // A serving node whose peers' logs were trimmed: on to the end, then compare again. A copy
            // of a chunk is not followed up a second time.
            if self
                .asked_chunk
                .as_ref()
                .is_none_or(|(_, asked)| asked != cut)
            {
                return;
            }
            return match next {
                Some(next) => self.continue_transfer(from, next),
                None => {
                    self.asked_chunk = None;
                    self.ask(from, true);
                }
            };
        };
        if recovery.note_chunk(cut, next) {
            self.recover_step();
        }
    }

    /// Takes note of what every owner has. Forgets these events in the log, and the oldest ones over the limit.
    fn trim_log(&mut self) {
        let known_to_all = self.peers.known_to_all(self.replica.knowledge().base());
        self.note_stable(&known_to_all);
        let limit = self.config.max_log_events;
        let log = self.replica.log_mut();
        let mut trimmed = log.trim(&known_to_all);
        trimmed.extend(log.trim_to(limit));
        self.journal.note_trimmed(trimmed);
    }

    /// Retires dead incarnations, so that they no longer hold tombstones back.
    ///
    /// An owner refuses what a dead incarnation has sent, from the moment its view names the one that
    /// followed. So an event of the dead that is still to come can only come from an owner that had it by
    /// then. Once every owner has given a complete answer while its view named all the current ones that
    /// this node knows of, all those events are known here; and no owner can learn of another, since it
    /// would have to hear it from one of the dead.
    fn retire_the_dead(&mut self) {
        let successors = self.view.currents();
        let successors = successors.filter(|(_, id)| crate::incarnation_number(*id) > 0);
        let successors: BTreeMap<u32, ReplicaId> = successors.collect();
        if self.retired == successors || !self.peers.all_complete_since(&self.view) {
            return;
        }
        self.counters.incarnations_retired += 1;
        self.retired = successors;
        self.journal.note_meta();
    }

    /// Takes note of what closed writers have left.
    pub(super) fn note_closed(&mut self, closed: &Closed) {
        if self.replica.note_closed(closed) {
            self.journal.note_meta();
            self.fail_lost();
        }
    }

    /// Closes the dead incarnations that every owner has retired: each of them knows all their events
    /// that are left, so those that nobody has are lost, and nothing has to wait for them.
    ///
    /// Having retired them here is not enough: another owner may still lack an event that this one has,
    /// and one that has just come back may even have heard from the dead. What an owner says of itself
    /// holds for the incarnation that said it.
    fn close_the_dead(&mut self) {
        if self.retired.is_empty() {
            return;
        }
        let knowledge = self.replica.knowledge();
        let beyond = knowledge
            .exceptions()
            .flat_map(|(_, beyond)| beyond.ranges());
        let known = knowledge.base().ranges().chain(beyond);
        let writers = known.map(|range| range.replica);
        let writers = writers.chain(self.view.incarnations().map(|(_, id)| id));
        let dead = writers.filter(|writer| self.is_closed(*writer));
        let dead: BTreeSet<ReplicaId> = dead.collect();
        for writer in dead {
            if self.replica.close(writer) {
                self.counters.incarnations_closed += 1;
                self.digest = None;
                self.journal.note_meta();
            }
        }
        self.fail_lost();
    }

    /// Whether every owner has retired the writer.
    fn is_closed(&self, writer: ReplicaId) -> bool {
        let position = crate::node_of(writer).0;
        let first = self.retired.get(&position);
        first.is_some_and(|first| writer < *first && self.peers.all_retired(position, *first))
    }

    /// The events of `context` that are lost for good: those of closed writers that nobody has. A writer
    /// that nobody has ever heard of, and that all have retired by its place, has left none.
    pub(super) fn lost_of(&self, context: &CausalContext) -> CausalContext {
        let closed = self.replica.closed();
        let of_unheard_of = context
            .ranges()
            .filter(|r| !closed.contains(r.replica) && self.is_closed(r.replica));
        let of_unheard_of: CausalContext = of_unheard_of.collect();
        let mut lost = of_unheard_of.difference(self.replica.knowledge().base());
        lost.join(&closed.lost_of(context));
        lost
    }

    /// For each peer that has shown what it knows, how many events of it are not known here.
    pub(super) fn lacking(&self) -> Vec<(NodeId, u64)> {
        let events = |base: &_| self.replica.lacking(base).event_count();
        let shown = self.peers.shown();
        shown.map(|(node, base)| (node, events(base))).collect()
    }
}
