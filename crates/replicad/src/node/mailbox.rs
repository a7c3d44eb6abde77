//! The outside of an actor: its inbox, and what it shows without being asked.

use bytes::Bytes;
use replica::{NodeId, RequestError, State};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Permit, Sender};
use tokio::sync::oneshot;

use super::spaces::Spaces;
use super::wire::{RequestName, SpaceMessage};
use crate::backend::NodeState;
use crate::policies::StringPolicy;
use crate::store::{
    Contents, Operation, PendingAnswer, ScannedKey, Space, StoreAnswer, StoreRequest,
};

/// What waits in a node's inbox at most. A full inbox refuses clients as overloaded and loses messages of
/// peers, which are sent again: two full inboxes must not wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InboxLimits {
    /// Requests and messages. Most: 2^29.
    pub inputs: usize,
    /// Bytes of their values. A single longer one is taken if nothing else waits.
    pub bytes: usize,
}

impl Default for InboxLimits {
    fn default() -> Self {
        Self {
            inputs: 1 << 16,
            bytes: 256 << 20,
        }
    }
}

/// A look at a node from outside.
pub(super) type Inspection<S> = Box<dyn FnOnce(&Spaces<S>) + Send>;

/// Where the answer to a client goes.
pub(super) type Reply = oneshot::Sender<Result<StoreAnswer, RequestError>>;

/// What arrives in an inbox.
pub(super) enum Input<S: StringPolicy> {
    Request {
        request: StoreRequest,
        reply: Reply,
    },
    Message {
        from: NodeId,
        message: SpaceMessage<S>,
        /// The name of the request that it is for, if its sender has told it.
        request: Option<RequestName>,
    },
    Reachable {
        node: NodeId,
        reachable: bool,
    },
    Suspected {
        node: NodeId,
        suspected: bool,
    },
    AcceptLoss,
    /// Looks at the node once all before it is durable.
    Inspect(Inspection<S>),
    Stop,
}

impl<S: StringPolicy> Input<S> {
    /// Bytes of values in it.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Request { request, .. } => match &request.operation {
                Operation::Put { value, .. } => value.len(),
                Operation::Add { members } | Operation::Remove { members } => {
                    members.iter().map(Bytes::len).sum()
                }
                _ => 0,
            },
            Self::Message { message, .. } => message.weight(),
            _ => 0,
        }
    }
}

/// The outside of an actor.
pub(super) struct Mailbox<S: StringPolicy> {
    node: NodeId,
    inbox: Sender<Input<S>>,
    limits: InboxLimits,
    shown: Arc<Shown<S>>,
}

/// What is shown of a node without the trip through its inbox.
pub(super) struct Shown<S: StringPolicy> {
    /// Written by the actor alone, and never while it waits for the disk. It is ahead of the disk.
    pub(super) spaces: RwLock<Spaces<S>>,
    /// Bytes of values that wait in the inbox.
    waiting_bytes: AtomicUsize,
    /// Whether it is not: all that `spaces` holds is durable.
    settled: AtomicBool,
    keys: AtomicUsize,
    state: AtomicU8,
}

impl<S: StringPolicy> Shown<S> {
    pub(super) fn new(spaces: Spaces<S>) -> Self {
        let shown = Self {
            spaces: RwLock::new(spaces),
            waiting_bytes: AtomicUsize::new(0),
            settled: AtomicBool::new(true),
            keys: AtomicUsize::new(0),
            state: AtomicU8::new(0),
        };
        shown.publish();
        shown
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, Spaces<S>> {
        self.spaces.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// For the actor.
    pub(super) fn write(&self) -> RwLockWriteGuard<'_, Spaces<S>> {
        self.spaces.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// For the actor: so many bytes wait no longer.
    pub(super) fn taken(&self, bytes: usize) {
        if bytes > 0 {
            self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// For the actor: all or not all that `spaces` holds is durable. It says no while it holds the lock for
    /// writing, and readers ask while they hold it for reading: the lock orders the two.
    pub(super) fn set_settled(&self, settled: bool) {
        self.settled.store(settled, Ordering::Release);
    }

    /// Renews what is counted.
    pub(super) fn publish(&self) {
        let spaces = self.read();
        self.keys.store(spaces.key_count(), Ordering::Relaxed);
        let state = match spaces.state() {
            State::Up => 0,
            State::Recovering | State::Returning => 1,
            _ => 2,
        };
        self.state.store(state, Ordering::Relaxed);
    }
}

impl<S: StringPolicy> Clone for Mailbox<S> {
    fn clone(&self) -> Self {
        Self {
            node: self.node,
            inbox: self.inbox.clone(),
            limits: self.limits,
            shown: Arc::clone(&self.shown),
        }
    }
}

impl<S: StringPolicy> Mailbox<S> {
    /// The outside of the actor that takes from the other end of `inbox`, which has room for
    /// `limits.inputs`.
    pub(super) const fn new(
        node: NodeId,
        inbox: Sender<Input<S>>,
        limits: InboxLimits,
        shown: Arc<Shown<S>>,
    ) -> Self {
        Self {
            node,
            inbox,
            limits,
            shown,
        }
    }

    /// A place in the inbox for an input with so many bytes of values.
    fn place_for(&self, bytes: usize) -> Result<Permit<'_, Input<S>>, RequestError> {
        let InboxLimits {
            inputs,
            bytes: limit,
        } = self.limits;
        let place = self.inbox.try_reserve().map_err(|full| match full {
            TrySendError::Full(()) => RequestError::Overloaded {
                pending: inputs,
                limit: inputs,
            },
            TrySendError::Closed(()) => RequestError::NodeFailed(self.node),
        })?;
        if bytes > 0 {
            let waiting_bytes = &self.shown.waiting_bytes;
            let before = waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
            let waiting = before.saturating_add(bytes);
            if before > 0 && waiting > limit {
                waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
                return Err(RequestError::TooMuchWaiting { waiting, limit });
            }
        }
        Ok(place)
    }

    pub(super) fn submit(&self, request: StoreRequest) -> PendingAnswer {
        let (reply, answer) = oneshot::channel();
        let input = Input::Request { request, reply };
        match self.place_for(input.bytes()) {
            Ok(place) => place.send(input),
            Err(refusal) => {
                if let Input::Request { reply, .. } = input {
                    // A client that is gone needs no answer.
                    let _gone = reply.send(Err(refusal));
                }
            }
        }
        answer
    }

    /// Hands over an input that may be lost.
    pub(super) fn offer(&self, input: Input<S>) {
        match self.place_for(input.bytes()) {
            Ok(place) => place.send(input),
            Err(cause) => tracing::debug!(node = self.node.0, %cause, "an input was lost"),
        }
    }

    /// Hands over an input that must not be lost; waits while the inbox is full. Not for threads that run tasks.
    pub(super) fn insist(&self, input: Input<S>) {
        debug_assert_eq!(input.bytes(), 0, "what brings values may be lost");
        // An actor that has stopped needs no input.
        let _stopped = self.inbox.blocking_send(input);
    }

    /// The same for tasks.
    pub(super) async fn insist_here(&self, input: Input<S>) {
        debug_assert_eq!(input.bytes(), 0, "what brings values may be lost");
        let _stopped = self.inbox.send(input).await;
    }

    /// The answer of the node to a question, asked once all before it is durable; an error if the node
    /// has stopped.
    pub(super) fn inspect<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Spaces<S>) -> T + Send + 'static,
    ) -> oneshot::Receiver<T> {
        let (reply, answer) = oneshot::channel();
        self.offer(Input::Inspect(Box::new(move |spaces| {
            // Whoever asked may have gone.
            let _gone = reply.send(question(spaces));
        })));
        answer
    }

    /// A page of keys, once all before it is durable.
    pub(super) async fn scan(
        self,
        after: Option<Bytes>,
        limit: usize,
    ) -> Result<Vec<ScannedKey>, RequestError> {
        let page = self.inspect(move |spaces| spaces.scan(after.as_ref(), limit));
        page.await
            .unwrap_or(Err(RequestError::NodeFailed(self.node)))
    }

    /// What is known of a key, once all before it is durable.
    pub(super) async fn explain(self, key: Bytes) -> Result<String, RequestError> {
        let told = self.inspect(move |spaces| spaces.explain(&key)).await;
        told.map_err(|_| RequestError::NodeFailed(self.node))
    }

    /// Answers a read at level `One` from what is durable here. `None` if it has to go through the inbox; it never
    /// waits for the actor.
    ///
    /// All has to be durable, and not the key alone: a session keeps what the answer says it has seen, and that
    /// names events of other keys.
    pub(super) fn read_here(&self, request: &StoreRequest) -> Option<StoreAnswer> {
        let spaces = self.shown.spaces.try_read().ok()?;
        match self.shown.settled.load(Ordering::Acquire) {
            true => spaces.read_one(request),
            false => None,
        }
    }

    pub(super) fn contents(&self, key: &[u8]) -> Contents {
        self.shown.read().contents(key)
    }

    pub(super) fn peek(&self, space: Space, key: &[u8]) -> bool {
        !self.shown.read().contents_in(space, key).is_empty()
    }

    pub(super) fn keys(&self) -> usize {
        self.shown.keys.load(Ordering::Relaxed)
    }

    pub(super) fn state(&self) -> NodeState {
        match self.shown.state.load(Ordering::Relaxed) {
            0 => NodeState::Up,
            1 => NodeState::Recovering,
            _ => NodeState::Failed,
        }
    }

    /// How many keys there are, if the node serves.
    pub(super) fn key_count(&self, sources_needed: usize) -> Result<usize, RequestError> {
        match self.state() {
            NodeState::Up => Ok(self.keys()),
            NodeState::Recovering => Err(RequestError::Recovering {
                node: self.node,
                reconciled: 0,
                needed: sources_needed,
            }),
            _ => Err(RequestError::NodeFailed(self.node)),
        }
    }
}
