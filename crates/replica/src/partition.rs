//! The protocol state machine of one partition on one node.
//!
//! The state machine has no clock, socket, thread or randomness of its own. A driver feeds it inputs
//! with the current time, then takes what is [`Ready`]: first the changes to make durable, then the
//! outputs to release.

mod admission;
mod audit;
mod behind;
mod changes;
mod due;
mod explain;
mod gossip;
mod journal;
mod limits;
mod operations;
mod pace;
mod peers;
mod pending_reads;
mod pending_writes;
mod reads;
mod recovery;
mod report;
mod stable;
mod starting;
mod sync;
mod tombstones;
mod write_backs;
mod writes;

use bytes::Bytes;
use crdt::{CausalContext, Change, Cut, MapReplica, OwnerView, Promises, ReplicaId};
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::clock::Clock;
use crate::message::{Envelope, Message, StoreListing, StoredCell};
use crate::policy::{Lww, Policy};
use crate::storage::{StorageError, WriteBatch};
use crate::{
    Command, Config, Met, NodeId, Now, Operation, Outcome, Request, RequestError, RequestId,
};

use audit::Audits;
use changes::Changes;
use due::Due;
pub use explain::{Explanation, TombstoneReport};
use journal::Journal;
use operations::Operations;
use pace::Pace;
use peers::Peers;
use pending_reads::PendingReads;
use pending_writes::PendingWrites;
use recovery::Recovery;
pub use report::{Counters, State, Status};
use writes::Start;

/// Room for outputs that is kept from turn to turn.
const KEPT_OUTPUTS: usize = 256;

/// The replicated state of a node and the protocol around it.
///
/// **Inputs** are the `handle_*` methods; each takes the current time. **Outputs** are taken with
/// [`take_ready`](Self::take_ready), after one input or after many: taking them after many is group
/// commit. [`deadline`](Self::deadline) says when [`handle_timeout`](Self::handle_timeout) is next
/// wanted. `Now::elapsed_ms` must not decrease from call to call.
///
/// **Rules for a driver.** What [`Ready::persist`] holds MUST be durable before any of
/// [`Ready::outputs`] is released. If it cannot be made durable the outputs MUST be dropped and
/// [`handle_storage_failure`](Self::handle_storage_failure) called. Messages may be lost, repeated,
/// delayed and reordered at will.
#[derive(Debug)]
pub struct Partition<P: Policy = Lww> {
    config: Config,
    replica: MapReplica<Bytes, P::Cell>,
    clock: Clock,
    view: Arc<OwnerView>,
    promises: Promises,
    /// For each owner, the incarnation whose predecessors are retired: nothing new can come from them.
    retired: BTreeMap<u32, ReplicaId>,
    phase: Phase,
    peers: Peers,
    writes: PendingWrites<P::Write>,
    reads: PendingReads<P>,
    operations: Operations,
    pace: Pace,
    journal: Journal,
    changes: Changes,
    outputs: Vec<Output<P::Cell>>,
    random: u64,
    next_tick_ms: u64,
    /// The digest of what is known, until that grows.
    digest: Option<u128>,
    audits: Audits,
    /// When a chunk of a transfer was last asked for while serving, and which: one transfer at a time.
    asked_chunk: Option<(u64, Cut<Bytes>)>,
    /// What every owner has.
    stable: Arc<CausalContext>,
    now: Now,
    /// A view that came with a message and holds nothing that `view` does not: it need not be compared again.
    included: Arc<OwnerView>,
    counters: Counters,
}

/// What the node may do.
#[derive(Debug)]
enum Phase {
    /// Serves, acknowledges and counts.
    Ready,
    /// Joins what others send; serves nothing and counts in no quorum.
    Recovering(Recovery),
    /// Storage has failed: does nothing until it is restarted.
    StorageFailed(StorageError),
}

/// What a driver has to do, in this order.
#[derive(Debug)]
#[must_use = "outputs are lost unless they are released, and must not be released before they are durable"]
pub struct Ready<C = StoredCell> {
    /// Changes that must be durable before any output is released.
    pub persist: Option<WriteBatch>,
    /// Messages and replies, in order.
    pub outputs: Vec<Output<C>>,
}

/// An effect of the state machine.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Output<C = StoredCell> {
    /// Send a message.
    Send {
        /// The receiver.
        to: NodeId,
        /// What to send.
        envelope: Envelope<C>,
    },
    /// Answer a client.
    Reply {
        /// The request that is answered.
        request: RequestId,
        /// The answer.
        result: Result<Outcome<C>, RequestError>,
    },
}

impl<P: Policy> Partition<P> {
    /// The configuration.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The map and what is kept beside it.
    pub const fn replica(&self) -> &MapReplica<Bytes, P::Cell> {
        &self.replica
    }

    /// The owner view.
    pub fn view(&self) -> &OwnerView {
        &self.view
    }

    /// How often the rarer paths were taken.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// The identity under which the node writes; `None` while it has none.
    pub fn incarnation(&self) -> Option<ReplicaId> {
        (self.replica.id() != ReplicaId(0)).then_some(self.replica.id())
    }

    /// What the node is doing.
    pub const fn state(&self) -> State {
        match &self.phase {
            Phase::Ready => State::Up,
            Phase::Recovering(recovery) if recovery.is_returning() => State::Returning,
            Phase::Recovering(_) => State::Recovering,
            Phase::StorageFailed(_) => State::StorageFailed,
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is next wanted, in `Now::elapsed_ms`; `None` once
    /// storage has failed.
    pub fn deadline(&self) -> Option<u64> {
        if matches!(self.phase, Phase::StorageFailed(_)) {
            return None;
        }
        let due = [self.writes.next_due(), self.reads.next_due()]
            .into_iter()
            .flatten()
            .min();
        Some(due.map_or(self.next_tick_ms, |due| due.min(self.next_tick_ms)))
    }

    /// Takes what has to be made durable and what may be released after it.
    pub fn take_ready(&mut self) -> Ready<P::Cell> {
        let persist = self.take_batch();
        Ready {
            persist,
            outputs: std::mem::take(&mut self.outputs),
        }
    }

    /// The same for a driver that uses one list again and again: appends the outputs to it, and returns what has to
    /// be durable before they are released.
    #[must_use = "outputs must not be released before this is durable"]
    pub fn take_ready_into(&mut self, outputs: &mut Vec<Output<P::Cell>>) -> Option<WriteBatch> {
        let persist = self.take_batch();
        outputs.append(&mut self.outputs);
        self.outputs.shrink_to(KEPT_OUTPUTS);
        persist
    }

    /// A client's request. The reply comes as an [`Output::Reply`] with the same id.
    pub fn handle_request(&mut self, id: RequestId, request: Request<P::Write>, now: Now) {
        self.now = now;
        let refused = self
            .check_serves()
            .and_then(|()| self.check_limits(&request));
        if let Err(error) = refused {
            return self.reply(id, Err(error));
        }
        let Request {
            command,
            level,
            floor,
            timeout_ms,
            operation,
        } = request;
        let due = Due::new(now.elapsed_ms, &self.config, self.pace, timeout_ms);
        match command {
            Command::Get { key } => self.start_read(id, key, level, floor, due),
            Command::Write {
                key,
                write,
                context,
            } => {
                let operation = operation.map(|named| Operation {
                    id: named.id.of_key(&key),
                    ..named
                });
                let start = Start {
                    request: id,
                    operation,
                    is_cleared: false,
                    key,
                    write,
                    context,
                    level,
                    met: Met::asked(level, &floor),
                    above: floor.time,
                    asked_behind: None,
                    due,
                };
                self.prepare_write(start, floor);
            }
        }
    }

    /// Raises the horizon of a store that takes the caller's timestamps: from now on writes at or below
    /// it are refused here, and tombstones up to it may go once every owner has raised its own. It
    /// never falls. Nothing happens in a store with another clock.
    pub fn handle_horizon(&mut self, horizon: crdt::Timestamp, now: Now) {
        self.now = now;
        if matches!(self.clock, Clock::Caller(held) if held < horizon) {
            self.clock.resume(horizon);
            self.journal.note_meta();
        }
    }

    /// A message from a peer. `from` is the node that the driver received it from.
    pub fn handle_message(&mut self, from: NodeId, envelope: Envelope<P::Cell>, now: Now) {
        self.now = now;
        let is_known = self.config.gossip.is_some() || self.peers.contains(from);
        if matches!(self.phase, Phase::StorageFailed(_)) || !is_known {
            return;
        }
        if !self.admit(from, &envelope) {
            self.counters.fenced_messages += 1;
            return;
        }
        let sender = envelope.from;
        match (envelope.message, sender) {
            (Message::Hello, _) => self.answer_hello(from),
            (Message::HelloAnswer { reconciled }, _) => self.note_hello(from, reconciled),
            (
                Message::Write {
                    dot,
                    listing,
                    operations,
                },
                Some(_),
            ) => self.join_write(from, dot, &listing, &operations),
            (Message::Repair { listing }, Some(_)) => {
                self.join_listing(&listing);
            }
            (Message::Acknowledged { dot, held }, Some(id)) => {
                self.note_acknowledged(id, dot, held);
            }
            (Message::Superseded { dot, time }, Some(id)) => self.note_superseded(id, dot, time),
            (
                Message::Read {
                    read,
                    key,
                    held,
                    with_knowledge,
                    operation,
                },
                Some(_),
            ) => self.answer_read(from, read, key, held, with_knowledge, operation),
            (Message::WriteBack { read, listing }, Some(_)) => {
                self.join_write_back(from, read, &listing);
            }
            (Message::WrittenBack { read }, Some(id)) => self.note_written_back(id, read),
            (
                Message::ReadAnswer {
                    read,
                    listing,
                    operation,
                },
                Some(_),
            ) => {
                let is_current = *envelope.view == *self.view;
                let operation = operation.map(|answer| (answer, is_current));
                self.note_read_answer(from, read, listing, operation);
            }
            (Message::Probe { digest }, Some(_)) => self.answer_probe(from, digest),
            (Message::Audit { digest, checksum }, Some(id)) => {
                self.note_audit(from, id, digest, checksum);
            }
            (
                Message::SyncRequest {
                    knowledge,
                    want_entries,
                },
                Some(id),
            ) => {
                self.answer_sync(from, id, &knowledge, want_entries);
            }
            (Message::SyncAnswer(answer), Some(id)) => {
                self.note_sync_answer(from, id, &answer, envelope.clock, &envelope.view);
            }
            (Message::TransferRequest { from: cut }, Some(_)) => self.answer_transfer(from, cut),
            (
                Message::TransferAnswer {
                    from: cut,
                    listings,
                    next,
                    closed,
                },
                Some(_),
            ) => {
                self.note_transfer(from, &cut, &listings, next, &closed);
            }
            // A sender without an identity can only say hello, and that it is not reconciled.
            (_, None) => {}
        }
        self.check_reconciled();
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Now) {
        self.now = now;
        if matches!(self.phase, Phase::StorageFailed(_)) {
            return;
        }
        self.expire_writes();
        self.expire_reads();
        if now.elapsed_ms >= self.next_tick_ms {
            self.next_tick_ms = now.elapsed_ms + self.config.sync_interval_ms;
            self.tick();
        }
        self.check_reconciled();
    }

    /// A hint that a peer can or cannot be reached. It steers requests; safety never depends on it.
    pub fn handle_reachable(&mut self, node: NodeId, reachable: bool, now: Now) {
        self.now = now;
        if !self.peers.set_reachable(node, reachable) {
            return;
        }
        match reachable {
            true => self.greet(node),
            false => self.fail_hopeless(),
        }
        self.check_reconciled();
    }

    /// A hint that a peer does not answer, or does again, though it can be reached: others are asked first where any
    /// will do. Nothing is given up because of it.
    pub fn handle_suspected(&mut self, node: NodeId, suspected: bool) {
        self.peers.set_suspected(node, suspected);
    }

    /// An operator's decision to let this node serve although acknowledged writes may be lost, because
    /// too few reconciled nodes are left to recover from. It then needs no more sources than there are
    /// reconciled nodes it can reach.
    pub fn handle_accept_loss(&mut self, now: Now) {
        self.now = now;
        if let Phase::Recovering(recovery) = &mut self.phase {
            recovery.stop_waiting();
            recovery.accept_loss();
            self.say_hello();
            self.recover_step();
            self.check_reconciled();
        }
    }

    /// The last batch could not be made durable: the node stops for good, because what it holds in
    /// memory can no longer be shown to anyone. `dropped` are the outputs that came with the batch; the
    /// clients among them are told so.
    pub fn handle_storage_failure(&mut self, error: &StorageError, dropped: &[Output<P::Cell>]) {
        let unanswered = dropped
            .iter()
            .chain(&self.outputs)
            .filter_map(|output| match output {
                Output::Reply { request, .. } => Some(*request),
                Output::Send { .. } => None,
            });
        let unanswered: Vec<RequestId> = unanswered
            .chain(self.writes.drain())
            .chain(self.reads.drain())
            .collect();
        self.outputs.clear();
        let failed = RequestError::StorageFailed {
            node: self.config.node,
            cause: error.to_string(),
        };
        for request in unanswered {
            self.reply(request, Err(failed.clone()));
        }
        self.journal.clear();
        self.phase = Phase::StorageFailed(error.clone());
    }

    /// Joins a listing from a peer into the map and notes what has to be made durable; true if it
    /// brought anything new.
    fn join_listing(&mut self, listing: &StoreListing<P::Cell>) -> bool {
        self.join_and_see(listing, |_| ())
    }

    /// The same, and shows the cell of each key that it lists as it is then, bottom if nothing is there.
    fn join_and_see(
        &mut self,
        listing: &StoreListing<P::Cell>,
        mut see: impl FnMut(&P::Cell),
    ) -> bool {
        // The sign of a disk that was rolled back, or cloned.
        if self.replica.check_identity(listing).is_err() {
            self.start_over();
        }
        let exceptions = self.replica.knowledge().exception_count();
        let (clock, journal, changes) = (&mut self.clock, &mut self.journal, &mut self.changes);
        let now = self.now;
        let joined = self.replica.join_and_see(listing, |key, change, cell| {
            if let Some(timestamp) = P::time_of(cell) {
                let _ahead = clock.observe(timestamp, now);
            }
            if let Some(change) = change {
                journal.note_key(key);
                if change != Change::Hidden {
                    changes.note(key);
                }
            }
            see(cell);
        });
        // Nobody writes without an identity, and a new one is unknown to all: the sender is wrong.
        let Ok(joined) = joined else {
            return false;
        };
        if self.replica.knowledge().exception_count() > exceptions {
            self.counters.exceptions_left += 1;
        }
        for (dot, key) in joined.based {
            self.journal.note_event(dot, key);
        }
        if joined.knowledge_grew {
            self.digest = None;
            self.journal.note_meta();
        }
        joined.knowledge_grew
    }

    fn send(&mut self, to: NodeId, message: Message<P::Cell>) {
        let envelope = Envelope {
            from: self.incarnation(),
            view: self.view_to_send(),
            clock: self.clock.last(),
            message,
        };
        self.outputs.push(Output::Send { to, envelope });
    }

    fn reply(&mut self, request: RequestId, result: Result<Outcome<P::Cell>, RequestError>) {
        self.outputs.push(Output::Reply { request, result });
    }

    fn is_ready(&self) -> bool {
        matches!(self.phase, Phase::Ready)
    }

    /// The next 16 random bits.
    fn random_bits(&mut self) -> u16 {
        (self.random_number() >> 48) as u16
    }

    /// The next random number, from the seed that the driver passed in (splitmix64).
    fn random_number(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// The weight of a key with its cell in a message, in bytes.
fn weight<P: Policy>(key: &Bytes, cell: &P::Cell) -> usize {
    key.len() + P::weight(cell)
}

#[cfg(test)]
mod tests;
