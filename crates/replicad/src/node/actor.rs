//! The actor of one node: a task that feeds the node's two spaces and owns its store.
//!
//! It drains its inbox, makes everything durable in one commit, then releases what follows from it:
//! that is the group commit. While it commits, its inbox fills for the next round.
//!
//! **Threads.** The actor runs beside the connections, on the threads that serve them: handing over costs no change
//! of threads then, and a turn takes all that the connections have read in one round of the runtime. Where each commit
//! waits for the disk, the actor has a thread of its own: to leave those threads at every turn costs more than to hand
//! over, and more arrives while it waits. A single commit that has to wait does so off those threads.
//!
//! **Little room on the disk.** Writes of clients are refused before they are made, forwarded ones too, and
//! messages of peers that bring entries are dropped, as if they were lost. Reads go on. When there is room
//! again, what was missed comes by synchronisation.

use replica::{NodeId, NodeMessage, Now, RequestError, RequestId, StorageError};
use std::collections::BTreeMap;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::mpsc::{Receiver, channel};
use tokio::task::JoinHandle;
use tokio::time::{self, Sleep};

use super::disk::{Batches, Disk};
use super::mailbox::{InboxLimits, Input, Inspection, Mailbox, Reply, Shown};
use super::spaces::{Effectuated, Spaces, Turn};
use super::trails::{self, Trails};
use super::wire::{RequestName, SpaceMessage};
use crate::policies::StringPolicy;
use crate::storage::Room;
use crate::store::{Share, StoreRequest};

/// Inputs handled in one commit at most, so that those that came first are not kept waiting for ever.
const BATCH: usize = 1 << 12;

/// Inputs handled while the lock is held, so that those who look at the node from outside get their turn.
const CHUNK: usize = 64;

/// Bytes of values handled in one commit at most.
const BATCH_BYTES: usize = 8 << 20;

/// How long inputs are taken into one turn at most. Whatever else runs on the thread waits meanwhile, the signs of life
/// that peers wait for among it.
const TURN: Duration = Duration::from_millis(10);

/// How often the system is asked how much room there is.
const ROOM_INTERVAL: Duration = Duration::from_millis(200);

/// Where a node's messages go.
pub(super) trait Router<S: StringPolicy>: Send + Sync {
    /// Delivers a message, with the name of the request that it is for if that is followed, or loses it. Never waits.
    fn deliver(
        &self,
        from: NodeId,
        to: NodeId,
        message: SpaceMessage<S>,
        request: Option<RequestName>,
    );
}

/// A node that runs.
pub(super) struct Actor<S: StringPolicy> {
    node: NodeId,
    shown: Arc<Shown<S>>,
    disk: Box<dyn Disk>,
    router: Arc<dyn Router<S>>,
    inbox: Receiver<Input<S>>,
    /// Where answers go, and what is held until then.
    replies: BTreeMap<RequestId, (Reply, Share)>,
    inspections: Vec<Inspection<S>>,
    /// What follows from the node's start, once all nodes can be reached.
    first: Vec<Effectuated<S>>,
    next_request: u64,
    started: Instant,
    room: Room,
    room_asked: Instant,
    trails: Trails,
    /// What [`Spaces::damage_found`] last said.
    damage: (u64, u64),
    stopping: bool,
    failed: bool,
}

/// The current time as the protocol wants it.
pub(super) fn now(started: Instant) -> Now {
    let unix = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Now {
        elapsed_ms: ms(started.elapsed()),
        unix_ms: ms(unix),
    }
}

impl<S: StringPolicy> Actor<S> {
    /// An actor for a node, with its mailbox. `first` is what follows from the node's first state, which is
    /// durable. `started` is when `elapsed_ms` was zero for the node.
    pub(super) fn new(
        spaces: Spaces<S>,
        first: Vec<Effectuated<S>>,
        disk: Box<dyn Disk>,
        router: Arc<dyn Router<S>>,
        limits: InboxLimits,
        started: Instant,
    ) -> (Self, Mailbox<S>) {
        let (sender, inbox) = channel(limits.inputs);
        let node = spaces.node();
        let shown = Arc::new(Shown::new(spaces));
        let mailbox = Mailbox::new(node, sender, limits, Arc::clone(&shown));
        let actor = Self {
            node,
            shown,
            room: disk.room(),
            room_asked: Instant::now(),
            trails: Trails::default(),
            damage: (0, 0),
            disk,
            router,
            inbox,
            replies: BTreeMap::new(),
            inspections: Vec::new(),
            first,
            next_request: 0,
            started,
            stopping: false,
            failed: false,
        };
        (actor, mailbox)
    }

    /// Runs from now on: on the threads of the caller's runtime, or on one of its own if its commits wait.
    pub(super) fn start(self) -> JoinHandle<()> {
        match self.disk.waits() {
            true => tokio::task::spawn_blocking(move || run_alone(self)),
            false => tokio::spawn(self.run()),
        }
    }

    /// Runs until it is told to stop. What was taken from the inbox by then is finished, as far as it needs
    /// nobody else, and the store is closed.
    pub(super) async fn run(mut self) {
        let first = std::mem::take(&mut self.first);
        first.into_iter().for_each(|effect| self.release(effect));
        let mut alarm = pin!(time::sleep(Duration::ZERO));
        let mut turn = Turn::default();
        while !self.stopping {
            let first = self.first_input(alarm.as_mut()).await;
            self.take_inputs(first, &mut turn);
            self.commit_and_release(&mut turn);
            turn.clear();
            self.inspect();
            self.shown.publish();
        }
        let node = self.node;
        let disk = self.disk;
        if let Err(error) = aside(|| disk.close()) {
            tracing::error!(%node, %error, "the store was not closed properly");
        }
    }

    /// Waits for an input, until the next deadline.
    async fn first_input(&mut self, mut alarm: Pin<&mut Sleep>) -> Option<Input<S>> {
        let due = time::Instant::now() + self.patience();
        // An alarm that goes off too early does no harm, and setting it costs something.
        if alarm.is_elapsed() || due < alarm.deadline() {
            alarm.as_mut().reset(due);
        }
        let first = tokio::select! {
            biased;
            first = self.inbox.recv() => {
                self.stopping |= first.is_none();
                first
            }
            () = alarm => None,
        };
        // What is ready beside this task, connections above all, comes first, and into the same turn.
        tokio::task::yield_now().await;
        first
    }

    /// Takes all that has arrived.
    fn take_inputs(&mut self, first: Option<Input<S>>, turn: &mut Turn<S>) {
        self.look_for_room();
        let mut next = first.or_else(|| self.inbox.try_recv().ok());
        let (began, mut inputs, mut bytes) = (Instant::now(), 0, 0);
        let shown = Arc::clone(&self.shown);
        loop {
            let now = now(self.started);
            let mut spaces = shown.write();
            let chunk_end = inputs + CHUNK;
            while let Some(input) = next.take() {
                inputs += 1;
                let held = input.bytes();
                shown.taken(held);
                bytes += held;
                self.handle(&mut spaces, input, now);
                let goes_on = inputs < BATCH && bytes < BATCH_BYTES && !self.stopping;
                if goes_on && began.elapsed() < TURN {
                    next = self.inbox.try_recv().ok();
                }
                if inputs >= chunk_end {
                    break;
                }
            }
            if next.is_none() {
                spaces.handle_timeout(now);
            }
            // Before the lock is given back: readers must not take what they find there for durable.
            spaces.add_to(turn);
            if !turn.batches.is_empty() {
                shown.set_settled(false);
            }
            if next.is_none() {
                return;
            }
        }
    }

    /// Answers those who look at the node. That may take a while.
    fn inspect(&mut self) {
        if self.inspections.is_empty() {
            return;
        }
        let inspections = std::mem::take(&mut self.inspections);
        aside(|| {
            let spaces = self.shown.read();
            for inspection in inspections {
                inspection(&spaces);
            }
        });
    }

    /// How long there is nothing to do unless something comes.
    fn patience(&self) -> Duration {
        let elapsed_ms = now(self.started).elapsed_ms;
        let deadline = self.shown.read().deadline();
        let wait_ms = deadline.map_or(1_000, |due| due.saturating_sub(elapsed_ms));
        let wait = Duration::from_millis(wait_ms);
        let sync_due = self.disk.sync_due_in().filter(|_| !self.failed);
        sync_due.map_or(wait, |due| due.min(wait))
    }

    fn look_for_room(&mut self) {
        if self.room_asked.elapsed() < ROOM_INTERVAL {
            return;
        }
        self.room_asked = Instant::now();
        self.look_for_damage();
        let room = self.disk.room();
        let node = self.node;
        match (self.room, room) {
            (Room::Enough, Room::Low { free, reserve }) => {
                tracing::error!(%node, free, reserve, "the disk is nearly full: no writes are taken");
            }
            (Room::Low { .. }, Room::Enough) => {
                tracing::info!(%node, "the disk has room again: writes are taken");
            }
            _ => {}
        }
        self.room = room;
    }

    fn look_for_damage(&mut self) {
        let found = self.shown.read().damage_found();
        let (node, (failed, given_up)) = (self.node, self.damage);
        if found.0 > failed {
            let audits = found.0 - failed;
            tracing::error!(%node, audits, "a peer that knows the same holds something else: one of the two is damaged");
        }
        if found.1 > given_up {
            let partitions = found.1 - given_up;
            tracing::error!(%node, partitions, "this node was damaged; it fetches what it held from the others");
        }
        self.damage = found;
    }

    fn handle(&mut self, spaces: &mut Spaces<S>, input: Input<S>, now: Now) {
        match input {
            Input::Request { request, reply } => self.handle_request(spaces, request, reply, now),
            Input::Message {
                from,
                message,
                request,
            } => self.handle_message(spaces, from, (message, request), now),
            Input::Reachable { node, reachable } => spaces.handle_reachable(node, reachable, now),
            Input::Suspected { node, suspected } => spaces.handle_suspected(node, suspected),
            Input::AcceptLoss => spaces.handle_accept_loss(now),
            Input::Inspect(inspection) => self.inspections.push(inspection),
            Input::Stop => self.stopping = true,
        }
    }

    fn handle_request(
        &mut self,
        spaces: &mut Spaces<S>,
        mut request: StoreRequest,
        reply: Reply,
        now: Now,
    ) {
        let share = std::mem::take(&mut request.share);
        if request.operation.is_write()
            && let Some(refusal) = self.no_room()
            && spaces.owns(request.operation.space(), &request.key)
        {
            // A client that is gone needs no answer.
            let _gone = reply.send(Err(refusal));
            return;
        }
        self.next_request += 1;
        let id = RequestId(self.next_request);
        self.replies.insert(id, (reply, share));
        trails::asked(self.node, id, &request);
        spaces.handle_request(id, request, now);
    }

    fn handle_message(
        &mut self,
        spaces: &mut Spaces<S>,
        from: NodeId,
        (message, request): (SpaceMessage<S>, Option<RequestName>),
        now: Now,
    ) {
        self.trails
            .received(self.node, from, &message, request, spaces);
        let Some(refusal) = self.no_room() else {
            return spaces.handle_message(from, message, now);
        };
        if message.brings_entries() {
            return;
        }
        match refused(&message, refusal) {
            Some(answer) => {
                let request = self.trails.sent(self.node, from, &answer, || None);
                self.router.deliver(self.node, from, answer, request);
            }
            None => spaces.handle_message(from, message, now),
        }
    }

    /// Why writes are refused, if they are.
    const fn no_room(&self) -> Option<RequestError> {
        match self.room {
            Room::Enough => None,
            Room::Low { free, reserve } => Some(RequestError::NoRoom {
                node: self.node,
                free,
                reserve,
            }),
        }
    }

    /// Commits once for everything that was taken, then releases what follows from it.
    fn commit_and_release(&mut self, turn: &mut Turn<S>) {
        match self.commit(&turn.batches) {
            Ok(()) => {
                self.shown.set_settled(true);
                for effect in turn.strings() {
                    self.release(effect);
                }
                if turn.has_types() {
                    let effects = self.shown.write().effectuate_types(turn);
                    effects.into_iter().for_each(|effect| self.release(effect));
                }
            }
            Err(error) => {
                let node = self.node;
                self.failed = true;
                tracing::error!(%node, %error, "storage failed; the node stops serving");
                let turn = std::mem::take(turn);
                let refusals = self.shown.write().handle_storage_failure(&error, turn);
                refusals.into_iter().for_each(|effect| self.release(effect));
            }
        }
    }

    fn commit(&mut self, batches: &Batches) -> Result<(), StorageError> {
        let is_due = self.disk.sync_due_in().is_some_and(|due| due.is_zero());
        if is_due && !self.failed {
            self.disk.sync_soon()?;
        }
        if batches.is_empty() {
            return Ok(());
        }
        match self.disk.waits() {
            true => aside(|| self.disk.commit(batches)),
            false => self.disk.commit(batches),
        }
    }

    fn release(&mut self, effect: Effectuated<S>) {
        match effect {
            Effectuated::Send { to, message } => {
                let shown = Arc::clone(&self.shown);
                let requester = || shown.read().requester_of_question(&message);
                let request = self.trails.sent(self.node, to, &message, requester);
                self.router.deliver(self.node, to, message, request);
            }
            Effectuated::Reply { request, result } => {
                trails::answered(self.node, request, &result);
                if let Some((reply, _share)) = self.replies.remove(&request) {
                    // A client that is gone needs no answer.
                    let _gone = reply.send(result);
                }
            }
        }
    }
}

/// Runs an actor on this thread, which it has for itself, until it is told to stop.
pub(super) fn run_alone<S: StringPolicy>(actor: Actor<S>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(actor.run()),
        Err(error) => tracing::error!(%error, "the system refuses what a node needs"),
    }
}

/// Does what may take long, off the threads that others wait for where there are such.
fn aside<T>(work: impl FnOnce() -> T) -> T {
    match Handle::current().runtime_flavor() {
        // The thread is the actor's own.
        RuntimeFlavor::CurrentThread => work(),
        _ => tokio::task::block_in_place(work),
    }
}

/// The refusal of a forwarded write.
fn refused<S: StringPolicy>(
    message: &SpaceMessage<S>,
    refusal: RequestError,
) -> Option<SpaceMessage<S>> {
    fn answer<C, W>(
        message: &NodeMessage<C, W>,
        refusal: RequestError,
    ) -> Option<NodeMessage<C, W>> {
        match message {
            NodeMessage::Forward {
                number, request, ..
            } if request.command.is_write() => Some(NodeMessage::Answer {
                number: *number,
                result: Err(refusal),
            }),
            _ => None,
        }
    }
    match message {
        SpaceMessage::Strings(message) => answer(message, refusal).map(SpaceMessage::Strings),
        SpaceMessage::Types(message) => answer(message, refusal).map(SpaceMessage::Types),
    }
}

#[cfg(test)]
#[path = "actor_tests.rs"]
mod tests;
