//! Coordinating writes, and acknowledging those of others.

use bytes::Bytes;
use crdt::{CausalContext, Dot, DotStore as _, ReplicaId, Timestamp};
use smallvec::SmallVec;
use std::sync::Arc;

use super::Partition;
use super::due::Due;
use super::limits::clock_error;
use super::pending_writes::{Attempt, Pending};
use crate::message::{Message, StoreListing};
use crate::{
    Floor, Level, Met, NodeId, Operation, OperationId, Outcome, Policy, RequestError, RequestId,
    Verdict,
};

/// An event that was made, or the one that has won over what was to be written.
struct Minted<P: Policy> {
    attempt: Attempt<P::Write>,
    listing: Arc<StoreListing<P::Cell>>,
    /// The latest time that the key now holds, its own or a later one.
    held: Timestamp,
    took_effect: bool,
    /// Whether an owner has to hold it: not where nothing is there to be lost.
    is_to_be_held: bool,
}

/// An event that was minted before, as a request waits for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting {
    pub(super) dot: Dot,
    /// The latest time that the key holds here.
    pub(super) timestamp: Timestamp,
    pub(super) needed: usize,
    /// Whether something else has won here.
    pub(super) has_lost: bool,
    /// Whether it has its place among all writes, also where it has lost.
    pub(super) is_placed: bool,
}

/// A write that is being started.
#[derive(Debug, Clone)]
pub(super) struct Start<W> {
    pub(super) request: RequestId,
    /// Its name, as owners keep it.
    pub(super) operation: Option<Operation>,
    /// Whether every owner has said that the operation was not carried out.
    pub(super) is_cleared: bool,
    pub(super) key: Bytes,
    pub(super) write: W,
    pub(super) context: Option<CausalContext>,
    pub(super) level: Level,
    /// What is met once the level is.
    pub(super) met: Met,
    /// The time that the event must come above.
    pub(super) above: Timestamp,
    /// The last event that this node had minted when it asked others before it mints this one.
    pub(super) asked_behind: Option<u64>,
    pub(super) due: Due,
}

impl<P: Policy> Partition<P> {
    /// Mints a write and sends it to the other owners.
    pub(super) fn start_write(&mut self, start: &Start<P::Write>) {
        if self.is_done_or_asked_about(start) {
            return;
        }
        let id = start.request;
        let needed = self.owners_needed(start.level, self.config.write_quorum);
        if let Err(error) = self.check_reachable(needed) {
            return self.reply(id, Err(error));
        }
        let minted = match self.mint(start) {
            Ok(minted) => minted,
            Err(error) => return self.reply(id, Err(error)),
        };
        let (dot, listing) = (minted.attempt.dot, minted.listing);
        let request = Pending {
            id,
            dot,
            timestamp: minted.attempt.timestamp,
            needed,
            took_effect: minted.took_effect,
            may_lose: minted.attempt.again.is_none(),
            is_doubtful: Self::asks_first(start) && !self.is_placed(start),
            operation: start.operation.map(|operation| operation.id),
            met: start.met,
            due: start.due,
        };
        if needed > 1 && minted.is_to_be_held {
            self.writes.insert(&start.key, request, minted.attempt);
            return self.send_write(dot, &listing);
        }
        match request.operation.filter(|_| minted.took_effect) {
            Some(operation) => self.send_to_all(dot, &listing, &[(operation, dot)]),
            None if minted.took_effect => self.spread(&listing),
            None => {}
        }
        let seen = self.seen(&start.key, minted.held);
        self.reply_written(request, seen, 1);
    }

    /// Waits with a request for an event that was minted before, and sends that to the other owners.
    pub(super) fn wait_for_event(
        &mut self,
        start: &Start<P::Write>,
        waiting: Waiting,
        listing: &Arc<StoreListing<P::Cell>>,
    ) {
        let (own, none) = (SmallVec::from_slice(&[self.replica.id()]), SmallVec::new());
        let lost = waiting.has_lost.then(|| self.replica.id());
        let Waiting { dot, timestamp, .. } = waiting;
        let request = Pending {
            id: start.request,
            dot,
            timestamp,
            needed: waiting.needed,
            took_effect: waiting.is_placed || !waiting.has_lost,
            may_lose: true,
            is_doubtful: P::BY_TIME && !waiting.is_placed,
            operation: start.operation.map(|operation| operation.id),
            met: start.met,
            due: start.due,
        };
        if waiting.needed == 1 {
            let seen = self.seen(&start.key, timestamp);
            return self.reply_written(request, seen, 1);
        }
        let attempt = Attempt {
            dot,
            timestamp,
            again: None,
            placed_behind: None,
            acknowledged: if waiting.has_lost { none } else { own },
            lost: lost.into_iter().collect(),
        };
        self.writes.insert(&start.key, request, attempt);
        self.send_write(dot, listing);
    }

    /// How many owners a level asks for, given the size of the quorum.
    pub(super) const fn owners_needed(&self, level: Level, quorum: u32) -> usize {
        match level {
            Level::One => 1,
            Level::Quorum | Level::Linearizable => quorum as usize,
            Level::All => self.config.replication_factor as usize,
        }
    }

    /// Refuses what cannot succeed because too few owners can be reached.
    pub(super) fn check_reachable(&self, needed: usize) -> Result<(), RequestError> {
        if self.peers.reachable_count() + 1 >= needed {
            return Ok(());
        }
        // Nobody was asked: this node alone knows of it.
        Err(RequestError::NoMajority {
            acknowledged: 1,
            needed,
            may_take_effect: false,
        })
    }

    fn reply_written(&mut self, request: Pending, seen: Floor, acknowledged: usize) {
        let (dot, timestamp) = (request.dot, request.timestamp);
        let outcome = Outcome::Written {
            timestamp,
            event: (dot.counter > 0).then_some(dot),
            seen,
            stable: Arc::clone(self.stable()),
            took_effect: request.took_effect,
            acknowledged,
            met: request.met,
        };
        self.reply(request.id, Ok(outcome));
    }

    /// Whether a round of questions goes before the write, which is then never minted again: at level
    /// `Linearizable`, and under a name, since an event that is minted again is a second time that the write
    /// happens, which a retry that has found the first event knows nothing of.
    pub(super) fn asks_first(start: &Start<P::Write>) -> bool {
        match start.level {
            Level::Linearizable => true,
            Level::Quorum | Level::All => {
                let takes_time = P::BY_TIME && P::timestamp_of(&start.write).is_none();
                takes_time && start.operation.is_some()
            }
            Level::One => false,
        }
    }

    /// Whether the questions give the write its place among all writes of its key: behind all that is complete,
    /// as long as they meet all that.
    pub(super) fn is_placed(&self, start: &Start<P::Write>) -> bool {
        Self::asks_first(start) && self.config.reads_meet_writes()
    }

    /// Makes a new event that wins over everything this node has seen of the key. With the caller's
    /// timestamp it may lose; then the event that has won stands for it.
    fn mint(&mut self, start: &Start<P::Write>) -> Result<Minted<P>, RequestError> {
        let given = P::timestamp_of(&start.write);
        // The horizon may have risen since the request came.
        self.check_timestamp(given)?;
        let (clock, now) = (&mut self.clock, self.now);
        // What asks for the cell of the key does so where it is changed: one look-up serves all.
        let mut time = given.ok_or(RequestError::TimestampNeeded);
        let mut held = None;
        let write = |edit: &mut crdt::Edit<'_, P::Cell>| {
            if given.is_none() {
                let above = P::time_of(edit).unwrap_or_default().max(start.above);
                time = clock.tick_above(above, now).map_err(clock_error);
            }
            let time = time.as_ref().ok();
            let took_effect = time.is_some_and(|time| P::apply(edit, &start.write, *time));
            held = P::time_of(edit);
            took_effect
        };
        let first = self.replica.own_counter() + 1;
        let acknowledged = SmallVec::from_slice(&[self.replica.id()]);
        let written = self
            .replica
            .edit(start.key.clone(), start.context.clone(), write);
        let timestamp = time?;
        let Some(written) = written else {
            let live = self.replica.map().get(&start.key);
            let live = live.into_iter().flat_map(crdt::DotStore::dots).next();
            let timestamp = held.unwrap_or(timestamp);
            return Ok(Minted {
                is_to_be_held: live.is_some(),
                held: timestamp,
                attempt: Attempt {
                    dot: live.unwrap_or(Dot::new(self.replica.id(), 0)),
                    timestamp,
                    again: None,
                    placed_behind: None,
                    acknowledged,
                    lost: SmallVec::new(),
                },
                listing: Arc::new(self.replica.list_key(start.key.clone())),
                took_effect: false,
            });
        };
        // Nobody waits for a write at level `One`, but who waits for an earlier one may wait for it.
        let is_waited_for = start.level != Level::One || self.writes.waits_for(&start.key);
        let is_final = Self::asks_first(start) || start.operation.is_some();
        let is_minted_again = P::BY_TIME && given.is_none() && !is_final && is_waited_for;
        let again = is_minted_again.then(|| start.clone());
        let attempt = Attempt {
            dot: written.dot,
            timestamp,
            again,
            placed_behind: start.asked_behind.filter(|_| self.is_placed(start)),
            acknowledged,
            lost: SmallVec::new(),
        };
        self.writes.note_attempt(&start.key, &attempt);
        if let Some(operation) = start.operation {
            self.note_operation(operation.id, written.dot);
        }
        self.digest = None;
        self.journal.note_key(&start.key);
        self.changes.note(&start.key);
        for counter in first..=written.dot.counter {
            let dot = Dot::new(written.dot.replica, counter);
            self.journal.note_event(dot, start.key.clone());
        }
        Ok(Minted {
            attempt,
            listing: Arc::new(written.listing),
            held: held.unwrap_or_default().max(timestamp),
            took_effect: true,
            is_to_be_held: true,
        })
    }

    /// Joins another coordinator's write and says whether it has its effect here.
    pub(super) fn join_write(
        &mut self,
        from: NodeId,
        dot: Dot,
        listing: &StoreListing<P::Cell>,
        operations: &[(OperationId, Dot)],
    ) {
        let mut verdict = None;
        self.join_and_see(listing, |cell| {
            verdict = Some(P::verdict((!cell.is_bottom()).then_some(cell), dot));
        });
        for (id, dot) in operations {
            self.note_operation(*id, *dot);
        }
        if !self.is_ready() {
            return;
        }
        let (crdt::Listing::Key(_), Some(verdict)) = (listing, verdict) else {
            return;
        };
        let message = self.judge(dot, verdict);
        if matches!(message, Message::Superseded { .. }) {
            self.counters.superseded_answers += 1;
        }
        self.send(from, message);
    }

    /// Whether an event has its effect here, or has lost to another. If a later event of its writer has
    /// taken its place, the acknowledgement names that one, the one that is held. What has lost stays
    /// lost: it is superseded also when its conqueror has been purged meanwhile.
    fn judge(&self, dot: Dot, verdict: Verdict) -> Message<P::Cell> {
        match verdict {
            Verdict::Holds(held) => Message::Acknowledged { dot, held },
            Verdict::Lost(winner) => Message::Superseded {
                dot,
                time: winner.unwrap_or_default().max(self.clock.last()),
            },
        }
    }

    pub(super) fn note_acknowledged(&mut self, from: ReplicaId, dot: Dot, held: Dot) {
        let is_final =
            matches!(self.writes.beside_newest(dot), Some((_, a, _)) if a.again.is_none());
        self.count_acknowledgement(from, if is_final { dot } else { held }, false);
    }

    fn count_acknowledgement(&mut self, from: ReplicaId, dot: Dot, has_lost: bool) {
        let Some(answered) = self.writes.acknowledge(from, dot, has_lost) else {
            return;
        };
        for mut request in answered.requests {
            request.took_effect &= !(request.is_doubtful && answered.has_lost);
            self.pace.note(request.due.waited_ms(self.now.elapsed_ms));
            let held = self.replica.map().get(&answered.key).and_then(P::time_of);
            let time = held.unwrap_or_default().max(request.timestamp);
            let seen = self.seen(&answered.key, time);
            self.reply_written(request, seen, answered.acknowledged);
        }
    }

    /// An owner holds something that wins over `dot`. Where losing is an answer like any other, it counts
    /// as an acknowledgement. Otherwise, if `dot` is this node's last word on its key, the clock goes
    /// above the winner and the same value is minted again; if not, the later event gets an answer of
    /// its own.
    pub(super) fn note_superseded(&mut self, from: ReplicaId, dot: Dot, time: Timestamp) {
        let Some((key, attempt, newest)) = self.writes.beside_newest(dot) else {
            return;
        };
        let Some(again) = &attempt.again else {
            return self.count_acknowledgement(from, dot, true);
        };
        if newest.dot != dot {
            return;
        }
        let (key, mut again) = (key.clone(), again.clone());
        again.above = again.above.max(time);
        match self.mint(&again) {
            Ok(minted) => {
                self.counters.writes_minted_again += 1;
                let Attempt {
                    dot: again,
                    timestamp,
                    ..
                } = minted.attempt;
                self.writes.move_requests(&key, dot, again, timestamp);
                self.send_write(again, &minted.listing);
            }
            Err(error) => {
                let error = error.of_a_write_made_before();
                for (request, _) in self.writes.remove(&key, |_| true) {
                    self.reply(request.id, Err(error.clone()));
                }
            }
        }
    }

    /// Sends a write to the others that nobody waits for.
    fn spread(&mut self, listing: &Arc<StoreListing<P::Cell>>) {
        for peer in self.peers_to_tell() {
            let listing = Arc::clone(listing);
            self.send(peer, Message::Repair { listing });
        }
    }

    fn send_write(&mut self, dot: Dot, listing: &Arc<StoreListing<P::Cell>>) {
        let operations = self.writes.operations_answered_by(dot);
        self.send_to_all(dot, listing, &operations);
    }

    fn send_to_all(
        &mut self,
        dot: Dot,
        listing: &Arc<StoreListing<P::Cell>>,
        operations: &[(OperationId, Dot)],
    ) {
        for peer in self.peers.all() {
            let message = Message::Write {
                dot,
                listing: Arc::clone(listing),
                operations: operations.to_vec(),
            };
            self.send(peer, message);
        }
    }

    /// Gives up writes past their deadline; of the others sends the newest events of the key again.
    pub(super) fn expire_writes(&mut self) {
        let now_ms = self.now.elapsed_ms;
        if self.writes.due_ms.is_none_or(|due| due > now_ms) {
            return;
        }
        let (mut expired, mut resend, mut next) = (Vec::new(), Vec::new(), None::<u64>);
        for (key, writes) in &mut self.writes.by_key {
            let (mut is_expired, mut is_sent_again) = (false, false);
            for request in &mut writes.requests {
                if now_ms >= request.due.deadline_ms {
                    is_expired = true;
                    continue;
                }
                is_sent_again |= request.due.take_resend(now_ms);
                let due = request.due.next();
                next = Some(next.map_or(due, |held| held.min(due)));
            }
            if is_expired {
                expired.push(key.clone());
            }
            if is_sent_again {
                resend.push(key.clone());
            }
        }
        self.writes.due_ms = next;
        for key in expired {
            let is_late = |request: &Pending| now_ms >= request.due.deadline_ms;
            for (request, answered) in self.writes.remove(&key, is_late) {
                let error = RequestError::Deadline {
                    answered,
                    needed: request.needed,
                    may_take_effect: true,
                };
                self.reply(request.id, Err(error));
            }
        }
        let before = self.outputs.len();
        for key in resend {
            self.send_again(&key);
        }
        self.count_sent_again(before);
    }

    /// Sends the newest event of each writer that requests on the key wait for to the owners that have
    /// not acknowledged it.
    fn send_again(&mut self, key: &Bytes) {
        let Some(writes) = self.writes.by_key.get(key) else {
            return;
        };
        let newest = writes.newest_of_each_writer();
        for (dot, acknowledged) in newest {
            let listing = Arc::new(match dot.replica == self.replica.id() {
                true => self.replica.list_written(key.clone(), dot),
                // What others have minted may be known by its key alone, or be lost.
                false => self.replica.list_known(key.clone()),
            });
            let operations = self.writes.operations_answered_by(dot);
            for peer in self.peers.all() {
                if !acknowledged.iter().any(|id| crate::node_of(*id) == peer) {
                    let message = Message::Write {
                        dot,
                        listing: Arc::clone(&listing),
                        operations: operations.clone(),
                    };
                    self.send(peer, message);
                }
            }
        }
    }

    /// Answers the writes that too few reachable nodes are left for.
    pub(super) fn fail_hopeless_writes(&mut self) {
        let reachable = self.peers.reachable_count() + 1;
        self.give_up_all_writes(|request| request.needed > reachable);
    }

    /// Answers all pending writes: this node no longer coordinates.
    pub(super) fn abandon_writes(&mut self) {
        self.give_up_all_writes(|_| true);
    }

    fn give_up_all_writes(&mut self, is_given_up: impl Fn(&Pending) -> bool + Copy) {
        let keys: Vec<Bytes> = self.writes.by_key.keys().cloned().collect();
        for key in keys {
            for (request, acknowledged) in self.writes.remove(&key, is_given_up) {
                let error = RequestError::NoMajority {
                    acknowledged,
                    needed: request.needed,
                    may_take_effect: true,
                };
                self.reply(request.id, Err(error));
            }
        }
    }
}
