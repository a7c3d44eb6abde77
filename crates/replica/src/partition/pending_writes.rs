//! The writes that a node coordinates, and who holds their events.

use bytes::Bytes;
use crdt::{Dot, OwnerView, ReplicaId, Timestamp};
use smallvec::SmallVec;
use std::collections::BTreeMap;

use super::due::Due;
use super::writes::Start;
use crate::{Met, OperationId, RequestId};

/// The writes that this node coordinates and that have not been answered.
///
/// A write is answered when one event of its key, its own or a later one of this node, is held by as many
/// owners as its level asks for. A later event was minted knowing the earlier one, so pipelined writes of
/// one key keep their order. Acknowledgements of different events are never added up: an owner that
/// holds the later event says nothing about what the earlier one would have lost to there. A write that
/// was minted again is answered by its new event only.
#[derive(Debug)]
pub(super) struct PendingWrites<W> {
    /// Boxed: most of the time there is one entry or none, and a node of the tree has room for eleven.
    pub(super) by_key: BTreeMap<Bytes, Box<KeyWrites<W>>>,
    /// The key of each event that may answer requests.
    keys: BTreeMap<Dot, Bytes>,
    count: usize,
    /// No request is due before this time; it may be earlier than the first one is.
    pub(super) due_ms: Option<u64>,
}

/// The writes of one key.
#[derive(Debug)]
pub(super) struct KeyWrites<W> {
    /// Never empty: a key without requests is forgotten.
    pub(super) requests: SmallVec<[Pending; 1]>,
    /// The events of the key, oldest first.
    pub(super) attempts: SmallVec<[Attempt<W>; 1]>,
}

/// A write that waits for an event to be held by enough owners.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pending {
    pub(super) id: RequestId,
    /// The event that was minted for it, or that has won over it.
    pub(super) dot: Dot,
    pub(super) timestamp: Timestamp,
    pub(super) needed: usize,
    pub(super) took_effect: bool,
    /// Whether an owner where it loses counts, too.
    pub(super) may_lose: bool,
    /// Whether to have lost anywhere is to have taken no effect.
    pub(super) is_doubtful: bool,
    pub(super) operation: Option<OperationId>,
    pub(super) met: Met,
    pub(super) due: Due,
}

/// An event that may answer requests, and who holds it.
#[derive(Debug, Clone)]
pub(super) struct Attempt<W> {
    pub(super) dot: Dot,
    pub(super) timestamp: Timestamp,
    /// What to mint again if the event loses; `None` where losing is an answer like any other.
    pub(super) again: Option<Start<W>>,
    /// The last event that this node had minted when it asked for the place of this one, if it did.
    pub(super) placed_behind: Option<u64>,
    pub(super) acknowledged: SmallVec<[ReplicaId; 4]>,
    /// Who has joined it and holds something that wins over it. They count for requests to which losing
    /// is an answer. They do not for one that this event answers too but that must win, unless it came before this
    /// event was given its place: then what has won was not complete when that request came.
    pub(super) lost: SmallVec<[ReplicaId; 1]>,
}

/// Requests that an event has answered.
pub(super) struct Answered {
    pub(super) key: Bytes,
    pub(super) requests: SmallVec<[Pending; 1]>,
    pub(super) acknowledged: usize,
    pub(super) has_lost: bool,
}

/// Whether `event` answers a request that waits for `waited`: it is the same, or a later one of its
/// writer, which was minted knowing it.
const fn answers(event: Dot, waited: Dot) -> bool {
    event.replica.0 == waited.replica.0 && event.counter >= waited.counter
}

impl<W> KeyWrites<W> {
    /// An event has answered a request: a quorum holds it, and it wins over all that was acknowledged before.
    /// It is not minted again for earlier requests that ask for more owners, or it would win once more, over what
    /// was acknowledged since. To them it is an answer also where it has lost: whatever has won there came later.
    fn settle(&mut self, dot: Dot) {
        for attempt in self.attempts.iter_mut().filter(|a| a.dot == dot) {
            attempt.again = None;
        }
        for request in self.requests.iter_mut().filter(|r| answers(dot, r.dot)) {
            request.may_lose = true;
        }
    }

    /// Where timestamps come from the callers, requests may wait for events of several writers: no later
    /// event of one answers for another's.
    pub(super) fn newest_of_each_writer(&self) -> SmallVec<[(Dot, SmallVec<[ReplicaId; 4]>); 1]> {
        let is_newest = |attempt: &Attempt<W>| {
            let later =
                |other: &Attempt<W>| other.dot != attempt.dot && answers(other.dot, attempt.dot);
            !self.attempts.iter().any(later)
        };
        let newest = self.attempts.iter().filter(|a| is_newest(a));
        newest.map(|a| (a.dot, a.acknowledged.clone())).collect()
    }
}

impl<W> Default for KeyWrites<W> {
    fn default() -> Self {
        Self {
            requests: SmallVec::new(),
            attempts: SmallVec::new(),
        }
    }
}

impl<W> Default for PendingWrites<W> {
    fn default() -> Self {
        Self {
            by_key: BTreeMap::new(),
            keys: BTreeMap::new(),
            count: 0,
            due_ms: None,
        }
    }
}

impl<W> PendingWrites<W> {
    pub(super) const fn len(&self) -> usize {
        self.count
    }

    /// No request is due before this.
    pub(super) const fn next_due(&self) -> Option<u64> {
        self.due_ms
    }

    /// Takes all requests off the list.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = RequestId> + use<W> {
        let all = std::mem::take(self).by_key.into_values();
        all.flat_map(|writes| writes.requests).map(|r| r.id)
    }

    /// Drops acknowledgements of incarnations that have lost their data since; returns how many.
    pub(super) fn drop_dead(&mut self, view: &OwnerView) -> u64 {
        let mut dropped = 0;
        for attempt in self.by_key.values_mut().flat_map(|w| &mut w.attempts) {
            let is_alive = |id: &mut ReplicaId| !view.is_fenced(crate::node_of(*id).0, *id);
            let before = attempt.acknowledged.len() + attempt.lost.len();
            attempt.acknowledged.retain(is_alive);
            attempt.lost.retain(is_alive);
            dropped += (before - attempt.acknowledged.len() - attempt.lost.len()) as u64;
        }
        dropped
    }

    /// Whether requests on the key are pending.
    pub(super) fn waits_for(&self, key: &Bytes) -> bool {
        self.by_key.contains_key(key)
    }

    /// Notes a new event of a key, if requests on that key are pending.
    pub(super) fn note_attempt(&mut self, key: &Bytes, attempt: &Attempt<W>)
    where
        W: Clone,
    {
        if let Some(writes) = self.by_key.get_mut(key) {
            self.keys.insert(attempt.dot, key.clone());
            writes.attempts.push(attempt.clone());
        }
    }

    /// Waits with a request for an event to be held.
    pub(super) fn insert(&mut self, key: &Bytes, request: Pending, attempt: Attempt<W>) {
        let due_ms = request.due.next();
        self.due_ms = Some(self.due_ms.map_or(due_ms, |held| held.min(due_ms)));
        self.count += 1;
        self.keys.insert(attempt.dot, key.clone());
        let writes = self.by_key.entry(key.clone()).or_default();
        writes.requests.push(request);
        if !writes.attempts.iter().any(|a| a.dot == attempt.dot) {
            writes.attempts.push(attempt);
        }
    }

    /// A value was minted again: from now on only the new event, or a later one, answers its requests.
    /// If the event that lost could still answer them, a write that starts after the answer could lose
    /// to the new event, which is not at a quorum yet.
    pub(super) fn move_requests(
        &mut self,
        key: &Bytes,
        lost: Dot,
        again: Dot,
        timestamp: Timestamp,
    ) {
        let requests = self.by_key.get_mut(key).map(|w| &mut w.requests);
        for request in requests.into_iter().flatten().filter(|r| r.dot == lost) {
            (request.dot, request.timestamp) = (again, timestamp);
        }
        self.forget_idle(key);
    }

    /// The event, and the newest event of its key.
    pub(super) fn beside_newest(&self, dot: Dot) -> Option<(&Bytes, &Attempt<W>, &Attempt<W>)> {
        let key = self.keys.get(&dot)?;
        let attempts = &self.by_key.get(key)?.attempts;
        let attempt = attempts.iter().find(|a| a.dot == dot)?;
        Some((key, attempt, attempts.last()?))
    }

    /// Counts an acknowledgement, and takes off the list what it answers.
    pub(super) fn acknowledge(
        &mut self,
        from: ReplicaId,
        dot: Dot,
        has_lost: bool,
    ) -> Option<Answered> {
        let key = self.keys.get(&dot)?.clone();
        let writes = self.by_key.get_mut(&key)?;
        let attempt = writes.attempts.iter_mut().find(|a| a.dot == dot)?;
        if !attempt.acknowledged.contains(&from) && !attempt.lost.contains(&from) {
            match has_lost {
                true => attempt.lost.push(from),
                false => attempt.acknowledged.push(from),
            }
        }
        let held = attempt.acknowledged.len();
        let or_lost = held + attempt.lost.len();
        let placed_behind = attempt.placed_behind;
        let may_lose = |r: &Pending| {
            r.may_lose || placed_behind.is_some_and(|counter| r.dot.counter <= counter)
        };
        let counted = |r: &Pending| if may_lose(r) { or_lost } else { held };
        let is_answered = |r: &Pending| answers(dot, r.dot) && r.needed <= counted(r);
        let requests: SmallVec<[Pending; 1]> = writes
            .requests
            .iter()
            .filter(|r| is_answered(r))
            .copied()
            .collect();
        writes.requests.retain(|r| !is_answered(r));
        if requests.iter().any(|r| r.needed <= held) {
            writes.settle(dot);
        }
        self.count -= requests.len();
        self.forget_idle(&key);
        Some(Answered {
            key,
            requests,
            acknowledged: or_lost,
            has_lost: or_lost > held,
        })
    }

    /// The request that the event was made for.
    pub(super) fn request_of(&self, dot: Dot) -> Option<RequestId> {
        let requests = &self.by_key.get(self.keys.get(&dot)?)?.requests;
        let made_for = requests.iter().find(|request| request.dot == dot);
        made_for.map(|request| request.id)
    }

    /// The named writes that wait for the event, or for an earlier one that it would answer too.
    pub(super) fn operations_answered_by(&self, dot: Dot) -> Vec<(OperationId, Dot)> {
        let writes = self.keys.get(&dot).and_then(|key| self.by_key.get(key));
        let requests = writes.into_iter().flat_map(|w| &w.requests);
        let answered = requests.filter(|r| answers(dot, r.dot));
        answered
            .filter_map(|r| Some((r.operation?, r.dot)))
            .collect()
    }

    /// Takes the requests of a key off the list that are to be given up; returns each with the most
    /// owners that hold one event that would have answered it.
    pub(super) fn remove(
        &mut self,
        key: &Bytes,
        is_given_up: impl Fn(&Pending) -> bool,
    ) -> Vec<(Pending, usize)> {
        let Some(writes) = self.by_key.get_mut(key) else {
            return Vec::new();
        };
        let held = |request: &Pending| {
            let attempts = writes
                .attempts
                .iter()
                .filter(|a| answers(a.dot, request.dot));
            let lost = |a: &Attempt<W>| if request.may_lose { a.lost.len() } else { 0 };
            attempts
                .map(|a| a.acknowledged.len() + lost(a))
                .max()
                .unwrap_or(0)
        };
        let given_up = writes.requests.iter().filter(|r| is_given_up(r));
        let given_up: Vec<_> = given_up.map(|r| (*r, held(r))).collect();
        writes.requests.retain(|r| !is_given_up(r));
        self.count -= given_up.len();
        self.forget_idle(key);
        given_up
    }

    /// Forgets the events of a key that answer no request any more.
    fn forget_idle(&mut self, key: &Bytes) {
        let Some(writes) = self.by_key.get_mut(key) else {
            return;
        };
        let (requests, keys) = (&writes.requests, &mut self.keys);
        writes.attempts.retain(|attempt| {
            let is_waited_for = requests.iter().any(|r| answers(attempt.dot, r.dot));
            if !is_waited_for {
                keys.remove(&attempt.dot);
            }
            is_waited_for
        });
        if writes.requests.is_empty() {
            self.by_key.remove(key);
        }
    }
}
