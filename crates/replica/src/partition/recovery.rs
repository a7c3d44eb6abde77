//! Coming back without data: a new incarnation, and what it must know before it counts.

use bytes::Bytes;
use crdt::{Cut, Knowledge, OwnerView, ReplicaId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Partition, Phase};
use crate::message::{Extent, Message, SyncAnswer};
use crate::{NodeId, Policy};

/// A node that has lost its data, on its way back.
///
/// First it asks the others which incarnations they have seen at its position, and takes a higher
/// number. Then it is reconciled once it knows all that each of `K - W + 1` other owners, themselves
/// reconciled, showed in answer to a request of this incarnation: every write quorum has at least one
/// of them in it. Until then it joins what it is sent, and counts in no quorum.
#[derive(Debug)]
pub(super) struct Recovery {
    /// Who has answered the hello, and whether it is reconciled itself.
    hellos: BTreeMap<NodeId, bool>,
    /// What each reconciled source knew when it was first asked.
    targets: BTreeMap<NodeId, (ReplicaId, Arc<Knowledge<Bytes>>)>,
    /// Where the next chunk of the full transfer starts; `None` once the end was reached.
    transfer: Option<Cut<Bytes>>,
    /// When the chunk was asked for; `None` if none is on its way.
    asked_chunk_ms: Option<u64>,
    /// An operator has decided to go on with fewer sources.
    loss_accepted: bool,
    /// Of a node that has come back with its data.
    returning: Option<Returning>,
}

/// A node that has come back with its data and waits for others to confirm it.
///
/// It knows what it had acknowledged, unless its disk was rolled back. Each such write is held by `W` owners, and
/// so by one of any `K - W + 1` others: once it knows what they showed, it knows them all; and if an event
/// of its own is among them that it does not know, it starts over. Those that have lost their data have nothing
/// to confirm, and it does not wait for them: otherwise the two would wait for each other.
#[derive(Debug)]
struct Returning {
    /// When it stops waiting.
    until_ms: u64,
    /// The owners that have lost their data, and are not back yet.
    without_data: BTreeSet<NodeId>,
}

impl Recovery {
    /// A recovery that starts from nothing, without an identity.
    pub(super) fn nameless() -> Self {
        Self {
            hellos: BTreeMap::new(),
            targets: BTreeMap::new(),
            transfer: Some(Cut::BelowAll),
            asked_chunk_ms: None,
            loss_accepted: false,
            returning: None,
        }
    }

    /// The return of a node that has its data.
    pub(super) const fn returning() -> Self {
        Self {
            hellos: BTreeMap::new(),
            targets: BTreeMap::new(),
            transfer: None,
            asked_chunk_ms: None,
            loss_accepted: false,
            returning: Some(Returning {
                until_ms: u64::MAX,
                without_data: BTreeSet::new(),
            }),
        }
    }

    pub(super) const fn is_returning(&self) -> bool {
        self.returning.is_some()
    }

    /// An operator lets a node serve that waits for confirmation.
    pub(super) const fn stop_waiting(&mut self) {
        if let Some(returning) = &mut self.returning {
            returning.until_ms = 0;
        }
    }

    /// An operator accepts loss: what the others said of themselves so far is asked again.
    pub(super) fn accept_loss(&mut self) {
        self.loss_accepted = true;
        self.hellos.clear();
    }

    /// Drops what sources showed that have lost their data since: two recoveries that rely on each other's
    /// former lives could both miss a write.
    pub(super) fn forget_dead(&mut self, view: &OwnerView) {
        self.targets
            .retain(|node, (id, _)| !view.is_fenced(node.0, *id));
    }

    /// Sources whose knowledge is covered.
    pub(super) fn covered(&self, own: &Knowledge<Bytes>) -> usize {
        self.targets
            .values()
            .filter(|(_, target)| own.includes(target))
            .count()
    }

    /// Takes note of a chunk; true if it is the one that was asked for.
    pub(super) fn note_chunk(&mut self, from: &Cut<Bytes>, next: Option<Cut<Bytes>>) -> bool {
        let is_asked = self.transfer.as_ref() == Some(from);
        if is_asked {
            self.transfer = next;
            self.asked_chunk_ms = None;
        }
        is_asked
    }
}

impl<P: Policy> Partition<P> {
    /// Sources that this recovery needs: [`Config::sources_needed`](crate::Config::sources_needed), or less where an
    /// operator has accepted that. A node that has come back with its data needs
    /// [`Config::confirmations_needed`](crate::Config::confirmations_needed), or as many as have data of their own.
    pub(super) fn sources_needed(&self) -> usize {
        let Phase::Recovering(recovery) = &self.phase else {
            return self.config.sources_needed();
        };
        if let Some(returning) = &recovery.returning {
            let with_data = self.peers.all().count() - returning.without_data.len();
            return self.config.confirmations_needed().min(with_data);
        }
        let needed = self.config.sources_needed();
        match recovery.loss_accepted {
            true => needed.min(recovery.hellos.values().filter(|r| **r).count()),
            false => needed,
        }
    }

    pub(super) const fn is_returning(&self) -> bool {
        matches!(&self.phase, Phase::Recovering(recovery) if recovery.is_returning())
    }

    /// Begins to wait for others to confirm what was restored. There is nobody to ask where there are no
    /// other owners, or where nobody knows who they are.
    pub(super) fn ask_for_confirmation(&mut self) {
        let until_ms = (self.now.elapsed_ms).saturating_add(self.config.restart_patience_ms);
        let asks = self.config.gossip.is_none() && self.config.restart_patience_ms > 0;
        match &mut self.phase {
            Phase::Recovering(Recovery {
                returning: Some(returning),
                ..
            }) if asks => returning.until_ms = until_ms,
            Phase::Recovering(recovery) if recovery.is_returning() => self.phase = Phase::Ready,
            _ => {}
        }
        if self.is_returning() {
            self.recover_step();
            self.check_returned();
        }
    }

    /// Takes note whether another owner has its data.
    pub(super) fn note_standing(&mut self, from: NodeId, has_data: bool) {
        if let Phase::Recovering(recovery) = &mut self.phase
            && let Some(returning) = &mut recovery.returning
        {
            match has_data {
                true => returning.without_data.remove(&from),
                false => returning.without_data.insert(from),
            };
        }
    }

    /// Lets a node that has come back serve once others have confirmed what it has, or its patience ends.
    fn check_returned(&mut self) {
        let Phase::Recovering(recovery) = &self.phase else {
            return;
        };
        let Some(returning) = &recovery.returning else {
            return;
        };
        let is_confirmed = recovery.covered(self.replica.knowledge()) >= self.sources_needed();
        match is_confirmed {
            true => self.counters.returns_confirmed += 1,
            false if self.now.elapsed_ms >= returning.until_ms => {
                self.counters.returns_unconfirmed += 1;
            }
            false => return,
        }
        self.serve();
    }

    /// From now on this node counts.
    fn serve(&mut self) {
        self.phase = Phase::Ready;
        self.journal.note_meta();
        for peer in self.peers.all() {
            self.ask(peer, true);
        }
    }

    pub(super) fn say_hello(&mut self) {
        for peer in self.peers.all() {
            self.send(peer, Message::Hello);
        }
    }

    pub(super) fn answer_hello(&mut self, from: NodeId) {
        self.note_standing(from, false);
        let reconciled = self.is_ready();
        self.send(from, Message::HelloAnswer { reconciled });
    }

    /// Takes note of an answer to the hello. Only news that suffices moves the recovery on: if every
    /// answer called for more hellos, two answers would become four, and so on without end. Who has not
    /// answered is asked again in the next interval.
    pub(super) fn note_hello(&mut self, from: NodeId, reconciled: bool) {
        let Phase::Recovering(recovery) = &mut self.phase else {
            return;
        };
        let is_news = recovery.hellos.insert(from, reconciled) != Some(reconciled);
        if is_news && self.has_heard_enough() {
            self.recover_step();
        }
    }

    /// Gives up the identity, because it has lost events or another has taken the position: the node
    /// goes on as a new incarnation, with what it still holds as a head start.
    pub(super) fn start_over(&mut self) {
        self.abandon_writes();
        self.abandon_reads();
        self.replica.set_id(ReplicaId(0));
        // What was concluded from complete answers does not hold for what is left of the state.
        self.retired.clear();
        self.peers.forget_complete();
        self.forget_stable();
        if self.config.gossip.is_some() {
            return self.join_gossip();
        }
        let mut recovery = Recovery::nameless();
        if !self.replica.map().is_empty() {
            recovery.transfer = None;
        }
        self.phase = Phase::Recovering(recovery);
        self.journal.note_meta();
        self.say_hello();
    }

    /// Takes an identity and records it in the own view.
    pub(super) fn adopt_identity(&mut self, id: ReplicaId) {
        self.replica.set_id(id);
        Arc::make_mut(&mut self.view).record(self.config.node.0, id);
        self.counters.incarnations += 1;
        self.journal.note_meta();
    }

    /// Does what comes next in a recovery.
    pub(super) fn recover_step(&mut self) {
        if !matches!(self.phase, Phase::Recovering(_)) {
            return;
        }
        if self.incarnation().is_none() {
            if !self.has_heard_enough() {
                return self.say_hello();
            }
            self.take_identity();
        }
        let repeats_hello = !self.is_returning() && !self.has_heard_enough();
        let Phase::Recovering(recovery) = &self.phase else {
            return;
        };
        let (sources, silent): (Vec<NodeId>, Vec<NodeId>) = self
            .peers
            .all()
            .partition(|peer| recovery.targets.contains_key(peer));
        for peer in silent {
            self.ask(peer, false);
            if repeats_hello {
                self.send(peer, Message::Hello);
            }
        }
        self.ask_chunk(&sources);
        let Phase::Recovering(recovery) = &self.phase else {
            return;
        };
        if recovery.transfer.is_none() {
            let own = self.replica.knowledge();
            let behind: Vec<NodeId> = recovery
                .targets
                .iter()
                .filter(|(_, (_, target))| !own.includes(target))
                .map(|(node, _)| *node)
                .collect();
            for node in behind {
                self.ask(node, true);
            }
        }
    }

    /// Whether enough nodes have said which incarnations they have seen: the sources, or, where loss is
    /// accepted, all that can be reached.
    fn has_heard_enough(&self) -> bool {
        let Phase::Recovering(recovery) = &self.phase else {
            return false;
        };
        if recovery.loss_accepted {
            return self
                .peers
                .reachable()
                .all(|node| recovery.hellos.contains_key(&node));
        }
        recovery
            .hellos
            .values()
            .filter(|reconciled| **reconciled)
            .count()
            >= self.sources_needed()
    }

    /// One above the highest number that anyone has recorded at this position.
    fn take_identity(&mut self) {
        let highest = self
            .view
            .current(self.config.node.0)
            .map_or(0, crate::incarnation_number);
        // After 65,535 losses of data the random bits alone tell incarnations apart.
        let number = highest.saturating_add(1);
        let id = crate::incarnation(self.config.node, number, self.random_bits());
        self.operations.begin_anew();
        self.adopt_identity(id);
    }

    /// Asks for the next chunk of the full transfer, if none is on its way: from a source that knows what
    /// is missing here, if there is one. All may have the same entries, and one alone know who is closed.
    fn ask_chunk(&mut self, sources: &[NodeId]) {
        let (now_ms, patience_ms) = (self.now.elapsed_ms, 2 * self.config.sync_interval_ms);
        let Phase::Recovering(recovery) = &mut self.phase else {
            return;
        };
        let Some(cut) = recovery.transfer.clone() else {
            return;
        };
        let waits = recovery
            .asked_chunk_ms
            .is_some_and(|at| now_ms < at + patience_ms);
        if waits || sources.is_empty() {
            return;
        }
        recovery.asked_chunk_ms = Some(now_ms);
        let own = self.replica.knowledge();
        let knows_more = |peer: &NodeId| {
            let target = recovery.targets.get(peer);
            target.is_none_or(|(_, target)| !own.includes(target))
        };
        let helpful: Vec<NodeId> = sources.iter().copied().filter(knows_more).collect();
        let sources = if helpful.is_empty() {
            sources
        } else {
            &helpful
        };
        let turn = self
            .peers
            .next_in_turn()
            .filter(|peer| sources.contains(peer));
        let source = turn.unwrap_or(sources[0]);
        self.send(source, Message::TransferRequest { from: cut });
    }

    /// A reconciled owner has answered a request of this incarnation: what it knew then is a target,
    /// and this node's clock goes on above its clock. The clock is taken over even from beyond the
    /// drift bound: what others have forgotten on the strength of their promises must stay below what
    /// this node writes.
    pub(super) fn note_source(
        &mut self,
        (from, id): (NodeId, ReplicaId),
        answer: &SyncAnswer<P::Cell>,
        clock: Timestamp,
    ) {
        let Phase::Recovering(recovery) = &mut self.phase else {
            return;
        };
        // Who keeps its identity keeps its clock.
        if recovery.returning.is_none() {
            self.clock.resume(clock);
            self.journal.note_meta();
        }
        // Who counts again must remember what its sources remember, as it must know what they know.
        let is_new = !recovery.targets.contains_key(&from);
        if is_new && answer.extent != Extent::KnowledgeOnly {
            return;
        }
        recovery
            .targets
            .entry(from)
            .or_insert_with(|| (id, Arc::clone(&answer.knowledge)));
        if is_new {
            let sources: Vec<NodeId> = recovery.targets.keys().copied().collect();
            self.take_operations(&answer.operations);
            self.ask_chunk(&sources);
        }
    }

    /// What follows an answer during a recovery.
    pub(super) fn recover_step_after(&mut self, from: NodeId, extent: Extent) {
        let Phase::Recovering(recovery) = &mut self.phase else {
            return;
        };
        match extent {
            // The head start was not enough for the log to bridge the rest.
            Extent::Truncated if recovery.transfer.is_none() => {
                recovery.transfer = Some(Cut::BelowAll);
                recovery.asked_chunk_ms = None;
                self.ask_chunk(&[from]);
            }
            // No event is missing, and still not all is known: a writer is closed there, which only a
            // transfer can tell.
            Extent::Complete if recovery.transfer.is_none() => {
                let own = self.replica.knowledge();
                let lacks_closing = recovery.targets.get(&from).is_some_and(|(_, target)| {
                    !own.includes(target) && self.replica.lacking(target.base()).is_empty()
                });
                if lacks_closing {
                    recovery.transfer = Some(Cut::BelowAll);
                    recovery.asked_chunk_ms = None;
                    self.ask_chunk(&[from]);
                }
            }
            Extent::KnowledgeOnly if recovery.transfer.is_none() => {
                let own = self.replica.knowledge();
                if recovery
                    .targets
                    .get(&from)
                    .is_some_and(|(_, target)| !own.includes(target))
                {
                    self.ask(from, true);
                }
            }
            _ => {}
        }
    }

    /// Ends the recovery once enough sources are covered.
    pub(super) fn check_reconciled(&mut self) {
        let Phase::Recovering(recovery) = &self.phase else {
            return;
        };
        if self.incarnation().is_none() {
            return;
        }
        if recovery.is_returning() {
            return self.check_returned();
        }
        if recovery.loss_accepted && !self.has_heard_enough() {
            return;
        }
        if recovery.covered(self.replica.knowledge()) >= self.sources_needed() {
            self.serve();
        }
    }
}
