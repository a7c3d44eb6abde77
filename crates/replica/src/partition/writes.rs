//! Coordinating writes, and acknowledging those of others.

use bytes::Bytes;
use crdt::{Dot, LwwEntry, OwnerView, ReplicaId, Timestamp};
use smallvec::SmallVec;
use std::collections::{BTreeMap, BTreeSet};

use super::{Partition, clock_error};
use crate::message::{Message, StoreListing};
use crate::{Config, Level, NodeId, Outcome, RequestError, RequestId};

/// The writes that this node coordinates and that have not been answered.
///
/// A write is answered when one event of its key, its own or a later one of this node, is held by a
/// write quorum. A later event was minted knowing the earlier one, so pipelined writes of one key keep
/// their order. Acknowledgements of different events are never added up: an owner that holds the later
/// event says nothing about what the earlier one would have lost to there. A write that was minted again
/// is answered by its new event only.
#[derive(Debug, Default)]
pub(super) struct PendingWrites {
    /// The requests, by the counter of the event that was minted for them.
    requests: BTreeMap<u64, Request>,
    /// The events of each key that has requests pending, oldest first.
    attempts: BTreeMap<Bytes, SmallVec<[Attempt; 1]>>,
    /// The key of each of those events, by counter.
    keys: BTreeMap<u64, Bytes>,
}

#[derive(Debug)]
struct Request {
    id: RequestId,
    key: Bytes,
    due: Due,
}

/// An event that may answer requests, and who holds it.
#[derive(Debug)]
struct Attempt {
    dot: Dot,
    timestamp: Timestamp,
    value: Option<Bytes>,
    acknowledged: SmallVec<[ReplicaId; 4]>,
}

/// When a request gives up, and when it asks again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due {
    pub(super) deadline_ms: u64,
    pub(super) resend_ms: u64,
    pub(super) resend_after_ms: u64,
}

impl Due {
    pub(super) const fn new(now_ms: u64, config: &Config) -> Self {
        Self {
            deadline_ms: now_ms + config.request_timeout_ms,
            resend_ms: now_ms + config.resend_ms,
            resend_after_ms: config.resend_ms,
        }
    }

    pub(super) fn next(&self) -> u64 {
        self.deadline_ms.min(self.resend_ms)
    }

    /// Whether it is time to ask again; the next time is twice as far off.
    pub(super) const fn take_resend(&mut self, now_ms: u64) -> bool {
        let due = now_ms >= self.resend_ms;
        if due {
            self.resend_after_ms = self.resend_after_ms.saturating_mul(2);
            self.resend_ms = now_ms.saturating_add(self.resend_after_ms);
        }
        due
    }
}

impl PendingWrites {
    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    pub(super) fn next_due(&self) -> Option<u64> {
        self.requests.values().map(|r| r.due.next()).min()
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = RequestId> + use<> {
        std::mem::take(self).requests.into_values().map(|r| r.id)
    }

    /// Drops acknowledgements of incarnations that have lost their data since; returns how many.
    pub(super) fn drop_dead(&mut self, view: &OwnerView) -> u64 {
        let mut dropped = 0;
        for attempt in self.attempts.values_mut().flatten() {
            let before = attempt.acknowledged.len();
            attempt
                .acknowledged
                .retain(|id| !view.is_fenced(crate::node_of(*id).0, *id));
            dropped += (before - attempt.acknowledged.len()) as u64;
        }
        dropped
    }

    /// Notes a new event of a key, if requests on that key are pending.
    fn note_attempt(&mut self, key: &Bytes, attempt: Attempt) {
        if let Some(attempts) = self.attempts.get_mut(key) {
            self.keys.insert(attempt.dot.counter, key.clone());
            attempts.push(attempt);
        }
    }

    fn insert(&mut self, request: Request, counter: u64) {
        self.attempts.entry(request.key.clone()).or_default();
        self.requests.insert(counter, request);
    }

    /// A request's value was minted again: from now on only the new event, or a later one, answers it.
    /// If the event that lost could still answer it, a write that starts after the answer could lose to
    /// the new event, which is not at a quorum yet.
    fn move_request(&mut self, lost: Dot, again: Dot) {
        if let Some(request) = self.requests.remove(&lost.counter) {
            self.requests.insert(again.counter, request);
        }
    }

    /// The newest event of the key that `dot` belongs to.
    fn newest_beside(&self, dot: Dot) -> Option<(&Bytes, &Attempt)> {
        let key = self.keys.get(&dot.counter)?;
        Some((key, self.attempts.get(key)?.last()?))
    }

    /// Counts an acknowledgement. Once `needed` owners hold the event, returns the requests that this
    /// answers, the event's time and the number of owners.
    fn acknowledge(
        &mut self,
        from: ReplicaId,
        dot: Dot,
        needed: usize,
    ) -> Option<(Vec<RequestId>, Timestamp, usize)> {
        let key = self.keys.get(&dot.counter)?.clone();
        let attempts = self.attempts.get_mut(&key)?;
        let attempt = attempts.iter_mut().find(|a| a.dot == dot)?;
        if !attempt.acknowledged.contains(&from) {
            attempt.acknowledged.push(from);
        }
        let (timestamp, acknowledged) = (attempt.timestamp, attempt.acknowledged.len());
        if acknowledged < needed {
            return None;
        }
        let answered: Vec<u64> = attempts
            .iter()
            .map(|a| a.dot.counter)
            .filter(|c| *c <= dot.counter)
            .collect();
        attempts.retain(|a| a.dot.counter > dot.counter);
        for counter in &answered {
            self.keys.remove(counter);
        }
        let ids = answered
            .iter()
            .filter_map(|c| self.requests.remove(c))
            .map(|r| r.id)
            .collect();
        self.forget_idle(&key);
        Some((ids, timestamp, acknowledged))
    }

    /// Takes a request off the list; returns it with the most owners that hold an event that would have
    /// answered it.
    fn remove(&mut self, counter: u64) -> Option<(Request, usize)> {
        let request = self.requests.remove(&counter)?;
        let held = self.best(&request.key, counter);
        self.forget_idle(&request.key);
        Some((request, held))
    }

    /// The requests pending on a key.
    fn pending_on(&self, key: &Bytes) -> Vec<u64> {
        let attempts = self.attempts.get(key).into_iter().flatten();
        attempts
            .map(|a| a.dot.counter)
            .filter(|c| self.requests.contains_key(c))
            .collect()
    }

    /// The most owners that hold one event that would answer the request.
    fn best(&self, key: &Bytes, counter: u64) -> usize {
        let attempts = self.attempts.get(key).into_iter().flatten();
        let later = attempts.filter(|a| a.dot.counter >= counter);
        later.map(|a| a.acknowledged.len()).max().unwrap_or(0)
    }

    /// Forgets the events of a key that has no requests left.
    fn forget_idle(&mut self, key: &Bytes) {
        let Some(attempts) = self.attempts.get(key) else {
            return;
        };
        if attempts
            .iter()
            .any(|a| self.requests.contains_key(&a.dot.counter))
        {
            return;
        }
        for attempt in self.attempts.remove(key).unwrap_or_default() {
            self.keys.remove(&attempt.dot.counter);
        }
    }
}

impl Partition {
    pub(super) fn start_write(
        &mut self,
        request: RequestId,
        key: &Bytes,
        value: Option<Bytes>,
        level: Level,
    ) {
        let needed = match level {
            Level::One => 1,
            Level::Quorum => self.config.quorum(),
        };
        let reachable = self.peers.reachable_count() + 1;
        if reachable < needed {
            let error = RequestError::NoMajority {
                acknowledged: reachable,
                needed,
                may_take_effect: false,
            };
            self.reply(request, Err(error));
            return;
        }
        if needed > 1 {
            let due = Due::new(self.now.elapsed_ms, &self.config);
            let next = self.replica.own_counter() + 1;
            self.writes.insert(
                Request {
                    id: request,
                    key: key.clone(),
                    due,
                },
                next,
            );
        }
        let (dot, timestamp, listing) = match self.mint(key, value) {
            Ok(minted) => minted,
            Err(error) => {
                self.writes.remove(self.replica.own_counter() + 1);
                return self.reply(request, Err(error));
            }
        };
        if needed == 1 {
            for peer in self.peers.all() {
                self.send(
                    peer,
                    Message::Repair {
                        listing: listing.clone(),
                    },
                );
            }
            return self.reply(
                request,
                Ok(Outcome::Written {
                    timestamp,
                    acknowledged: 1,
                }),
            );
        }
        self.send_write(dot, &listing);
    }

    /// Makes a new event that wins over everything this node has seen of the key.
    fn mint(
        &mut self,
        key: &Bytes,
        value: Option<Bytes>,
    ) -> Result<(Dot, Timestamp, StoreListing), RequestError> {
        let held = self
            .replica
            .map()
            .get(key)
            .and_then(|cell| cell.timestamp());
        if let Some(held) = held {
            self.clock.observe(held, self.now).map_err(clock_error)?;
        }
        let timestamp = self.clock.tick(self.now).map_err(clock_error)?;
        let written = self.replica.write(key.clone(), |cell, dot| {
            cell.write(LwwEntry {
                dot,
                timestamp,
                value: value.clone(),
            });
        });
        let acknowledged = SmallVec::from_slice(&[written.dot.replica]);
        let attempt = Attempt {
            dot: written.dot,
            timestamp,
            value,
            acknowledged,
        };
        self.writes.note_attempt(key, attempt);
        self.journal.note_key(key);
        self.journal.note_event(written.dot, key.clone());
        Ok((written.dot, timestamp, written.listing))
    }

    /// Joins another coordinator's write and says whether it is live here.
    pub(super) fn join_write(&mut self, from: NodeId, dot: Dot, listing: &StoreListing) {
        self.join_listing(listing);
        if !self.is_ready() {
            return;
        }
        let crdt::Listing::Key(listing) = listing else {
            return;
        };
        let message = self.judge(dot, listing.key());
        if matches!(message, Message::Superseded { .. }) {
            self.counters.superseded_answers += 1;
        }
        self.send(from, message);
    }

    /// Whether an event is live here, was superseded by its own writer, or has lost to another. In the
    /// second case the acknowledgement names the later event, the one that is held. What has lost stays
    /// lost: it is superseded also when its conqueror has been purged meanwhile.
    fn judge(&self, dot: Dot, key: &[u8]) -> Message {
        let live = self.replica.map().get(key).and_then(|cell| cell.live());
        match live {
            Some(entry) if entry.dot.replica == dot.replica && entry.dot.counter >= dot.counter => {
                Message::Acknowledged { dot: entry.dot }
            }
            live => {
                let time = live.map_or(Timestamp(0), |entry| entry.timestamp);
                Message::Superseded {
                    dot,
                    time: time.max(self.clock.last()),
                }
            }
        }
    }

    pub(super) fn note_acknowledged(&mut self, from: ReplicaId, dot: Dot) {
        if dot.replica != self.replica.id() {
            return;
        }
        let needed = self.config.quorum();
        let Some((requests, timestamp, acknowledged)) = self.writes.acknowledge(from, dot, needed)
        else {
            return;
        };
        for request in requests {
            self.reply(
                request,
                Ok(Outcome::Written {
                    timestamp,
                    acknowledged,
                }),
            );
        }
    }

    /// An owner holds something that wins over `dot`. If `dot` is this node's last word on its key, the
    /// clock goes above the winner and the same value is minted again; otherwise the later event gets
    /// an answer of its own.
    pub(super) fn note_superseded(&mut self, dot: Dot, time: Timestamp) {
        if dot.replica != self.replica.id() {
            return;
        }
        let Some((key, newest)) = self.writes.newest_beside(dot) else {
            return;
        };
        if newest.dot != dot {
            return;
        }
        let (key, value) = (key.clone(), newest.value.clone());
        let above = self.clock.observe(time, self.now).map_err(clock_error);
        match above.and_then(|()| self.mint(&key, value)) {
            Ok((again, _, listing)) => {
                self.counters.writes_minted_again += 1;
                self.writes.move_request(dot, again);
                self.send_write(again, &listing);
            }
            Err(error) => {
                for counter in self.writes.pending_on(&key) {
                    if let Some((request, _)) = self.writes.remove(counter) {
                        self.reply(request.id, Err(error.clone()));
                    }
                }
            }
        }
    }

    fn send_write(&mut self, dot: Dot, listing: &StoreListing) {
        for peer in self.peers.all() {
            self.send(
                peer,
                Message::Write {
                    dot,
                    listing: listing.clone(),
                },
            );
        }
    }

    /// Gives up writes past their deadline; of the others sends the newest event of the key again.
    pub(super) fn expire_writes(&mut self) {
        let now_ms = self.now.elapsed_ms;
        let (mut expired, mut resend) = (Vec::new(), BTreeSet::new());
        for (counter, request) in &mut self.writes.requests {
            if now_ms >= request.due.deadline_ms {
                expired.push(*counter);
            } else if request.due.take_resend(now_ms) {
                resend.insert(request.key.clone());
            }
        }
        self.give_up_writes(&expired);
        for key in resend {
            let Some(newest) = self.writes.attempts.get(&key).and_then(|all| all.last()) else {
                continue;
            };
            let (dot, acknowledged) = (newest.dot, newest.acknowledged.clone());
            let listing = self.replica.list_written(key, dot);
            for peer in self.peers.all() {
                if !acknowledged.iter().any(|id| crate::node_of(*id) == peer) {
                    self.send(
                        peer,
                        Message::Write {
                            dot,
                            listing: listing.clone(),
                        },
                    );
                }
            }
        }
    }

    /// Answers the writes that too few reachable nodes are left for.
    pub(super) fn fail_hopeless_writes(&mut self) {
        let (needed, reachable) = (self.config.quorum(), self.peers.reachable_count() + 1);
        if reachable < needed {
            let all: Vec<u64> = self.writes.requests.keys().copied().collect();
            self.give_up_writes(&all);
        }
    }

    /// Answers all pending writes: this node no longer coordinates.
    pub(super) fn abandon_writes(&mut self) {
        let all: Vec<u64> = self.writes.requests.keys().copied().collect();
        self.give_up_writes(&all);
    }

    fn give_up_writes(&mut self, counters: &[u64]) {
        let needed = self.config.quorum();
        for counter in counters {
            if let Some((request, acknowledged)) = self.writes.remove(*counter) {
                let error = RequestError::NoMajority {
                    acknowledged,
                    needed,
                    may_take_effect: true,
                };
                self.reply(request.id, Err(error));
            }
        }
    }
}
