//! Writes that have a name: a retry finds what became of them, and carries them out only if nothing did.
//!
//! An owner remembers the operations whose events it minted or was sent with a write, and those that it has
//! said it does not know. Nothing is carried out on the word of a quorum: the event of a write that was
//! never acknowledged may be with any one owner. So a retry begins the write only after every owner has said
//! that it does not know it, all of them while their view was this node's; having said so an owner does not
//! begin it either. Until then it is enough that one knows it.

use bytes::Bytes;
use crdt::{CausalContext, Dot, Knows as _};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Partition;
use super::writes::{Start, Waiting};
use crate::operation::OperationAnswer;
use crate::{NodeId, OperationId, Policy, RequestError, Verdict};

/// What an owner remembers of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Trace {
    /// Its event.
    Done(Dot),
    /// Another was told that it is not known here.
    Denied,
}

/// The operations that an owner remembers, the latest of them.
#[derive(Debug)]
pub(super) struct Operations {
    limit: usize,
    by_id: BTreeMap<OperationId, (u64, Trace)>,
    /// The oldest first.
    order: BTreeMap<u64, OperationId>,
    next: u64,
    /// Since when this identity remembers, if it began by losing its data: what was before may be lost.
    since: Option<u64>,
}

impl Operations {
    pub(super) const fn new(limit: usize) -> Self {
        Self {
            limit,
            by_id: BTreeMap::new(),
            order: BTreeMap::new(),
            next: 0,
            since: None,
        }
    }

    /// Whether any are remembered.
    pub(super) const fn is_kept(&self) -> bool {
        self.limit > 0
    }

    pub(super) fn trace(&self, id: OperationId) -> Option<Trace> {
        self.by_id.get(&id).map(|(_, trace)| *trace)
    }

    pub(super) fn event_of(&self, id: OperationId) -> Option<Dot> {
        match self.trace(id) {
            Some(Trace::Done(dot)) => Some(dot),
            _ => None,
        }
    }

    /// Whether what is not remembered here was not here. After a loss of data that is so again once as many
    /// operations have come as are remembered: any older one would be forgotten in any case.
    pub(super) fn vouches(&self) -> bool {
        self.since
            .is_none_or(|since| self.next - since >= self.limit as u64)
    }

    /// Since when this identity remembers.
    pub(super) const fn since(&self) -> Option<u64> {
        self.since
    }

    /// What was there before may be lost.
    pub(super) const fn begin_anew(&mut self) {
        self.since = Some(self.next);
    }

    /// All that are remembered, the oldest first.
    pub(super) fn all(&self) -> impl Iterator<Item = (OperationId, Trace)> + '_ {
        let ids = self.order.values();
        ids.filter_map(|id| Some((*id, self.trace(*id)?)))
    }

    /// The place of an operation in the order, and what is remembered of it; as it is stored.
    pub(super) fn stored(&self, id: OperationId) -> Option<(u64, Trace)> {
        self.by_id.get(&id).copied()
    }

    /// Puts back what was stored.
    pub(super) fn restore(
        &mut self,
        stored: impl IntoIterator<Item = (OperationId, (u64, Trace))>,
        since: Option<u64>,
    ) {
        for (id, (place, trace)) in stored {
            self.by_id.insert(id, (place, trace));
            self.order.insert(place, id);
            self.next = self.next.max(place + 1);
        }
        self.since = since;
        self.next = self.next.max(since.unwrap_or(0));
    }

    /// Forgets an event that is lost for good: it was said, or is now to be said, that there is none.
    fn deny(&mut self, id: OperationId) {
        if let Some((_, held)) = self.by_id.get_mut(&id) {
            *held = Trace::Denied;
        }
    }

    /// Remembers; returns the operations whose trace has changed, those forgotten among them. An operation has
    /// one event.
    fn note(&mut self, id: OperationId, trace: Trace) -> SmallVec<[OperationId; 2]> {
        let mut changed = SmallVec::new();
        if self.limit == 0 {
            return changed;
        }
        if let Some((_, held)) = self.by_id.get_mut(&id) {
            if matches!((*held, trace), (Trace::Denied, Trace::Done(_))) {
                *held = trace;
                changed.push(id);
            }
            return changed;
        }
        self.by_id.insert(id, (self.next, trace));
        self.order.insert(self.next, id);
        self.next += 1;
        changed.push(id);
        while self.order.len() > self.limit
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.by_id.remove(&oldest);
            changed.push(oldest);
        }
        changed
    }
}

/// A write that others are asked about before it is carried out.
#[derive(Debug)]
pub(super) struct Retry<W> {
    pub(super) start: Start<W>,
    /// Its event, as owners have named it. One that another remembers may be lost for good, and not be the one.
    found: SmallVec<[Dot; 1]>,
    /// The owners that do not know it, and have said so since the view last changed.
    denied: BTreeSet<NodeId>,
}

impl<W> Retry<W> {
    pub(super) fn id(&self) -> Option<OperationId> {
        self.start.operation.map(|operation| operation.id)
    }

    /// The view has changed: what was said before may have been said by the dead, or by one that would still
    /// have listened to them.
    pub(super) fn ask_anew(&mut self) {
        self.denied.clear();
    }

    /// Takes note of an answer; `is_current` if its sender's view was this node's.
    pub(super) fn note(&mut self, from: NodeId, answer: OperationAnswer, is_current: bool) {
        match answer {
            OperationAnswer::Done(dot) if self.found.contains(&dot) => {}
            OperationAnswer::Done(dot) => self.found.push(dot),
            OperationAnswer::NotHere if is_current => {
                self.denied.insert(from);
            }
            OperationAnswer::NotHere | OperationAnswer::Forgotten => {}
        }
    }

    /// Why the retry has come to nothing.
    pub(super) fn failure(&self, owners: u32) -> RequestError {
        RequestError::OutcomeUnknown {
            denied: self.denied.len() + 1,
            owners: owners as usize,
        }
    }
}

impl<P: Policy> Partition<P> {
    pub(super) fn note_operation(&mut self, id: OperationId, dot: Dot) {
        if let Some(held) = self.operations.event_of(id)
            && held != dot
            && self.is_lost(held)
        {
            self.operations.deny(id);
        }
        for id in self.operations.note(id, Trace::Done(dot)) {
            self.journal.note_operation(id);
        }
    }

    fn note_denied(&mut self, id: OperationId) {
        for id in self.operations.note(id, Trace::Denied) {
            self.journal.note_operation(id);
        }
    }

    /// Whether an event is lost for good: its writer is closed, and nobody has it. Names travel without their events
    /// (`take_operations`), so an owner may remember one that never came to anybody who lived on.
    fn is_lost(&self, dot: Dot) -> bool {
        let event: CausalContext = std::iter::once(dot).collect();
        !self.lost_of(&event).is_empty()
    }

    /// Whether an event has come here.
    fn has_come(&self, key: &Bytes, dot: Dot) -> bool {
        self.replica.knowledge().of_key(key).knows(dot) && !self.is_lost(dot)
    }

    /// The event that is remembered of an operation, unless it is lost for good. Then there is none: this node
    /// remembers that, and will not begin the operation without asking the others.
    fn event_of(&mut self, id: OperationId) -> Option<Dot> {
        let dot = self.operations.event_of(id)?;
        if self.is_lost(dot) {
            self.operations.deny(id);
            self.journal.note_operation(id);
            return None;
        }
        Some(dot)
    }

    /// Takes over what a source of a recovery remembers.
    pub(super) fn take_operations(&mut self, all: &[(OperationId, Option<Dot>)]) {
        for (id, dot) in all {
            match dot {
                Some(dot) => self.note_operation(*id, *dot),
                None => self.note_denied(*id),
            }
        }
    }

    /// What is remembered here, for a node that recovers.
    pub(super) fn operations_to_show(&self) -> Vec<(OperationId, Option<Dot>)> {
        let all = self.operations.all();
        all.map(|(id, trace)| match trace {
            Trace::Done(dot) => (id, Some(dot)),
            Trace::Denied => (id, None),
        })
        .collect()
    }

    /// Whether a write must not be minted now: it was carried out, or the others have to be asked first. Then
    /// this has been seen to.
    pub(super) fn is_done_or_asked_about(&mut self, start: &Start<P::Write>) -> bool {
        let Some(operation) = start.operation else {
            return false;
        };
        let event = self.event_of(operation.id);
        if let Some(dot) = event.filter(|dot| self.has_come(&start.key, *dot)) {
            self.complete_operation(start, dot);
            return true;
        }
        let is_unheard_of = self.operations.trace(operation.id).is_none();
        if event.is_none() && (start.is_cleared || (is_unheard_of && !operation.is_retry)) {
            return false;
        }
        self.note_denied(operation.id);
        self.counters.operations_asked_about += 1;
        self.ask_about(Box::new(Retry {
            start: Start {
                asked_behind: Some(self.replica.own_counter()),
                ..start.clone()
            },
            found: SmallVec::new(),
            denied: BTreeSet::new(),
        }));
        true
    }

    /// What to say of an operation that another owner is about to begin. Nothing, if this node is about to
    /// begin it itself and comes first; if it does not, it gives way.
    pub(super) fn answer_about(
        &mut self,
        from: NodeId,
        id: OperationId,
    ) -> Option<OperationAnswer> {
        if let Some(dot) = self.event_of(id) {
            return Some(OperationAnswer::Done(dot));
        }
        if self.is_asking_about(id) {
            if self.config.node < from {
                return None;
            }
            self.give_way(id);
        }
        self.note_denied(id);
        Some(match self.operations.vouches() {
            true => OperationAnswer::NotHere,
            false => OperationAnswer::Forgotten,
        })
    }

    /// Whether a retry can go on, with which event; `Some(None)` if it is to be carried out.
    pub(super) fn settled(&self, retry: &Retry<P::Write>) -> Option<Option<Dot>> {
        let id = retry.id()?;
        let own = self.operations.event_of(id);
        let mut found = own.into_iter().chain(retry.found.iter().copied());
        if let Some(dot) = found.find(|dot| self.has_come(&retry.start.key, *dot)) {
            return Some(Some(dot));
        }
        if own.is_some_and(|dot| !self.is_lost(dot)) {
            return None;
        }
        let all_deny = self.peers.all().all(|peer| retry.denied.contains(&peer));
        (all_deny && self.operations.vouches()).then_some(None)
    }

    /// Sees to it that as many owners know the event of an operation as its level asks for, and answers with
    /// it. Nothing is minted, also if something else has won over the event by now: whoever asks for the
    /// write again cannot tell whether that came before or after it.
    pub(super) fn complete_operation(&mut self, start: &Start<P::Write>, dot: Dot) {
        self.counters.operations_found += 1;
        let needed = self.owners_needed(start.level, self.config.write_quorum);
        if let Err(error) = self.check_reachable(needed) {
            return self.reply(start.request, Err(error));
        }
        if let Some(operation) = start.operation {
            self.note_operation(operation.id, dot);
        }
        let cell = self.replica.map().get(&start.key);
        let has_lost = matches!(P::verdict(cell, dot), Verdict::Lost(_));
        let timestamp = cell.and_then(P::time_of).unwrap_or_default();
        let waiting = Waiting {
            dot,
            timestamp,
            needed,
            has_lost,
            is_placed: self.is_placed(start),
        };
        let listing = Arc::new(self.replica.list_known(start.key.clone()));
        self.wait_for_event(start, waiting, &listing);
    }
}
