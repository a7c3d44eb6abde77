//! The actor of one node: a thread that owns the node's state machine and its store.
//!
//! It drains its inbox, makes everything durable in one commit, then releases what follows from it:
//! that is the group commit. While it commits, its inbox fills for the next round.

use replica::{
    Command, Envelope, Lww, LwwWrite, NodeId, Now, Output, Partition, Request, RequestError,
    RequestId, State, Storage, StorageError,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::oneshot;

use crate::backend::NodeState;
use crate::policies::StorePolicy as _;
use crate::store::{PendingAnswer, StoreAnswer, StoreRequest};

/// Inputs that wait in a node's inbox. A full inbox refuses clients as overloaded and loses messages of
/// peers, which are sent again: two full inboxes must not wait for each other.
const INBOX: usize = 1 << 16;

/// Inputs handled in one commit at most, so that those that came first are not kept waiting for ever.
const BATCH: usize = 1 << 12;

/// Bytes of values handled in one commit at most.
const BATCH_BYTES: usize = 8 << 20;

/// A look at a node from outside.
type Inspection = Box<dyn FnOnce(&Partition) + Send>;

type Reply = oneshot::Sender<Result<StoreAnswer, RequestError>>;

/// What arrives in an inbox.
pub(super) enum Input {
    Request {
        request: Request<LwwWrite>,
        reply: Reply,
    },
    Message {
        from: NodeId,
        envelope: Envelope,
    },
    Reachable {
        node: NodeId,
        reachable: bool,
    },
    AcceptLoss,
    /// Looks at the node once all before it is durable.
    Inspect(Inspection),
    Stop,
}

/// Where a node's messages go: to the other nodes' inboxes.
pub(super) trait Router: Send + Sync {
    /// Delivers a message, or loses it.
    fn deliver(&self, from: NodeId, to: NodeId, envelope: Envelope);
}

/// The outside of an actor: its inbox, and what it last said of itself.
#[derive(Clone)]
pub(super) struct Mailbox {
    node: NodeId,
    inbox: SyncSender<Input>,
    summary: Arc<Summary>,
}

/// What is asked so often that it must not wait for the actor.
#[derive(Default)]
struct Summary {
    keys: AtomicUsize,
    state: AtomicU8,
}

impl Mailbox {
    pub(super) fn submit(&self, request: StoreRequest) -> PendingAnswer {
        let (reply, answer) = oneshot::channel();
        let request = Lww::request(request);
        match self.inbox.try_send(Input::Request { request, reply }) {
            Ok(()) => {}
            Err(TrySendError::Full(Input::Request { reply, .. })) => {
                let overloaded = RequestError::Overloaded {
                    pending: INBOX,
                    limit: INBOX,
                };
                // A client that is gone needs no answer.
                let _gone = reply.send(Err(overloaded));
            }
            Err(TrySendError::Disconnected(Input::Request { reply, .. })) => {
                let _gone = reply.send(Err(RequestError::NodeFailed(self.node)));
            }
            Err(_) => {}
        }
        answer
    }

    /// Hands over an input that may be lost.
    pub(super) fn offer(&self, input: Input) {
        if self.inbox.try_send(input).is_err() {
            tracing::debug!(node = self.node.0, "an input was lost: the inbox is full");
        }
    }

    /// Hands over an input that must not be lost; waits while the inbox is full.
    pub(super) fn insist(&self, input: Input) {
        // An actor that has stopped needs no input.
        let _stopped = self.inbox.send(input);
    }

    /// The answer of the node to a question, asked once all before it is durable; an error if the node
    /// has stopped.
    pub(super) fn inspect<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Partition) -> T + Send + 'static,
    ) -> oneshot::Receiver<T> {
        let (reply, answer) = oneshot::channel();
        self.offer(Input::Inspect(Box::new(move |partition| {
            // Whoever asked may have gone.
            let _gone = reply.send(question(partition));
        })));
        answer
    }

    pub(super) fn keys(&self) -> usize {
        self.summary.keys.load(Ordering::Relaxed)
    }

    pub(super) fn state(&self) -> NodeState {
        match self.summary.state.load(Ordering::Relaxed) {
            0 => NodeState::Up,
            1 => NodeState::Recovering,
            _ => NodeState::Failed,
        }
    }
}

/// A node that runs.
pub(super) struct Actor {
    partition: Partition,
    storage: Box<dyn Storage>,
    router: Arc<dyn Router>,
    inbox: Receiver<Input>,
    replies: BTreeMap<RequestId, Reply>,
    inspections: Vec<Inspection>,
    /// What follows from the node's start, once all nodes can be reached.
    first_outputs: Vec<Output>,
    next_request: u64,
    started: Instant,
    summary: Arc<Summary>,
    stopping: bool,
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

impl Actor {
    /// An actor for a node, with its mailbox. `started` is when `elapsed_ms` was zero for the partition.
    pub(super) fn new(
        partition: Partition,
        storage: Box<dyn Storage>,
        router: Arc<dyn Router>,
        started: Instant,
    ) -> (Self, Mailbox) {
        let (sender, inbox) = sync_channel(INBOX);
        let summary = Arc::new(Summary::default());
        let mailbox = Mailbox {
            node: partition.config().node,
            inbox: sender,
            summary: Arc::clone(&summary),
        };
        let actor = Self {
            partition,
            storage,
            router,
            inbox,
            replies: BTreeMap::new(),
            inspections: Vec::new(),
            first_outputs: Vec::new(),
            next_request: 0,
            started,
            summary,
            stopping: false,
        };
        actor.publish();
        (actor, mailbox)
    }

    /// Makes the node's first state durable.
    pub(super) fn commit_start(&mut self) -> Result<(), StorageError> {
        let ready = self.partition.take_ready();
        if let Some(batch) = &ready.persist {
            self.storage.commit(batch)?;
        }
        self.first_outputs = ready.outputs;
        Ok(())
    }

    /// Runs until it is told to stop. What was taken from the inbox by then is finished.
    pub(super) fn run(mut self) {
        let outputs = std::mem::take(&mut self.first_outputs);
        self.release(outputs);
        while !self.stopping {
            self.take_inputs();
            let now = now(self.started);
            if self
                .partition
                .deadline()
                .is_some_and(|due| due <= now.elapsed_ms)
            {
                self.partition.handle_timeout(now);
            }
            self.commit_and_release();
            for inspection in std::mem::take(&mut self.inspections) {
                inspection(&self.partition);
            }
            self.publish();
        }
    }

    /// Waits for an input or the next deadline, then takes all that has arrived.
    fn take_inputs(&mut self) {
        let elapsed_ms = now(self.started).elapsed_ms;
        let wait_ms = self
            .partition
            .deadline()
            .map_or(1_000, |due| due.saturating_sub(elapsed_ms));
        let first = match self.inbox.recv_timeout(Duration::from_millis(wait_ms)) {
            Ok(first) => first,
            Err(RecvTimeoutError::Timeout) => return,
            Err(RecvTimeoutError::Disconnected) => {
                self.stopping = true;
                return;
            }
        };
        let (mut inputs, mut bytes) = (1, size(&first));
        self.handle(first);
        while inputs < BATCH && bytes < BATCH_BYTES && !self.stopping {
            let Ok(input) = self.inbox.try_recv() else {
                break;
            };
            inputs += 1;
            bytes += size(&input);
            self.handle(input);
        }
    }

    fn handle(&mut self, input: Input) {
        let now = now(self.started);
        match input {
            Input::Request { request, reply } => {
                self.next_request += 1;
                let id = RequestId(self.next_request);
                self.replies.insert(id, reply);
                self.partition.handle_request(id, request, now);
            }
            Input::Message { from, envelope } => self.partition.handle_message(from, envelope, now),
            Input::Reachable { node, reachable } => {
                self.partition.handle_reachable(node, reachable, now);
            }
            Input::AcceptLoss => self.partition.handle_accept_loss(now),
            Input::Inspect(inspection) => self.inspections.push(inspection),
            Input::Stop => self.stopping = true,
        }
    }

    /// Commits once for everything that was taken, then releases what follows from it.
    fn commit_and_release(&mut self) {
        let ready = self.partition.take_ready();
        let committed = ready
            .persist
            .map_or(Ok(()), |batch| self.storage.commit(&batch));
        match committed {
            Ok(()) => self.release(ready.outputs),
            Err(error) => {
                let node = self.partition.config().node;
                tracing::error!(%node, %error, "storage failed; the node stops serving");
                self.partition
                    .handle_storage_failure(&error, &ready.outputs);
                let refusals = self.partition.take_ready().outputs;
                self.release(refusals);
            }
        }
    }

    fn release(&mut self, outputs: Vec<Output>) {
        let node = self.partition.config().node;
        for output in outputs {
            match output {
                Output::Send { to, envelope } => self.router.deliver(node, to, envelope),
                Output::Reply { request, result } => {
                    if let Some(reply) = self.replies.remove(&request) {
                        // A client that is gone needs no answer.
                        let _gone = reply.send(result.map(Lww::answer));
                    }
                }
                _ => {}
            }
        }
    }

    fn publish(&self) {
        let replica = self.partition.replica();
        let keys = replica.map().len() - replica.tombstone_count();
        self.summary.keys.store(keys, Ordering::Relaxed);
        let state = match self.partition.state() {
            State::Up => 0,
            State::Recovering => 1,
            _ => 2,
        };
        self.summary.state.store(state, Ordering::Relaxed);
    }
}

/// Bytes of values in an input.
fn size(input: &Input) -> usize {
    match input {
        Input::Request {
            request:
                Request {
                    command: Command::Write { write, .. },
                    ..
                },
            ..
        } => write.value.as_ref().map_or(0, bytes::Bytes::len),
        Input::Message { envelope, .. } => {
            let listings = envelope.message.listings().iter();
            listings
                .map(|listing| match listing {
                    crdt::Listing::Key(l) => l.cell().value().map_or(0, bytes::Bytes::len),
                    crdt::Listing::Interval(l) => l.cells().len() * 64,
                })
                .sum()
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Operation;
    use bytes::Bytes;
    use replica::{Config, Table, Visitor, WriteBatch};
    use std::sync::Mutex;

    /// What happened, in order.
    #[derive(Debug, Clone, Default)]
    struct Diary(Arc<Mutex<Vec<&'static str>>>);

    impl Diary {
        fn note(&self, what: &'static str) {
            self.0.lock().expect("not poisoned").push(what);
        }

        fn entries(&self) -> Vec<&'static str> {
            self.0.lock().expect("not poisoned").clone()
        }
    }

    /// A store that takes its time, and can refuse.
    #[derive(Debug)]
    struct Slow {
        diary: Diary,
        refuses: bool,
    }

    impl Storage for Slow {
        fn commit(&mut self, _: &WriteBatch) -> Result<(), StorageError> {
            self.diary.note("commit starts");
            std::thread::sleep(Duration::from_millis(20));
            self.diary.note("commit ends");
            match self.refuses {
                true => Err(StorageError::new("commit", "no space left")),
                false => Ok(()),
            }
        }

        fn scan(&self, _: Table, _: &mut Visitor<'_>) -> Result<(), StorageError> {
            Ok(())
        }
    }

    impl Router for Diary {
        fn deliver(&self, _: NodeId, to: NodeId, _: Envelope) {
            if to == NodeId(2) {
                self.note("message");
            }
        }
    }

    fn start(refuses: bool) -> (Diary, Mailbox, std::thread::JoinHandle<()>) {
        let (diary, started) = (Diary::default(), Instant::now());
        let config = Config {
            durable: true,
            sync_interval_ms: 60_000,
            ..Config::new(NodeId(1), 3)
        };
        let partition = Partition::bootstrap(config, 1, now(started)).expect("valid");
        let storage = Slow {
            diary: diary.clone(),
            refuses,
        };
        let router = Arc::new(diary.clone());
        let (actor, mailbox) = Actor::new(partition, Box::new(storage), router, started);
        (diary, mailbox, std::thread::spawn(move || actor.run()))
    }

    fn put(key: &'static str) -> StoreRequest {
        let put = Operation::put(Bytes::from_static(b"v"));
        StoreRequest::new(Bytes::from_static(key.as_bytes()), put)
    }

    #[test]
    fn nothing_is_released_before_it_is_durable_and_one_commit_serves_all_that_waited() {
        let (diary, mailbox, thread) = start(false);
        let _first = mailbox.submit(put("a"));
        std::thread::sleep(Duration::from_millis(5));
        // These arrive while the first commit is under way.
        let _others: Vec<_> = ["b", "c", "d"].map(|key| mailbox.submit(put(key))).into();
        mailbox.insist(Input::Stop);
        thread.join().expect("the actor ends");
        let entries = diary.entries();
        let commits = entries.iter().filter(|e| **e == "commit ends").count();
        assert_eq!(entries.iter().filter(|e| **e == "message").count(), 4);
        assert!(commits < 4, "four writes, {commits} commits: {entries:?}");
        assert_eq!(entries[..2], ["commit starts", "commit ends"]);
        let inside = entries
            .windows(2)
            .any(|w| w == ["commit starts", "message"]);
        assert!(!inside, "a message left during a commit: {entries:?}");
    }

    #[test]
    fn a_refused_commit_releases_nothing_and_tells_the_clients() {
        let (diary, mailbox, thread) = start(true);
        let outcome = mailbox.submit(put("a")).blocking_recv().expect("an answer");
        assert!(
            matches!(outcome, Err(RequestError::StorageFailed { .. })),
            "{outcome:?}"
        );
        let after = mailbox.submit(put("b")).blocking_recv().expect("an answer");
        assert!(
            matches!(after, Err(RequestError::StorageFailed { .. })),
            "{after:?}"
        );
        mailbox.insist(Input::Stop);
        thread.join().expect("the actor ends");
        assert!(!diary.entries().contains(&"message"));
    }
}
