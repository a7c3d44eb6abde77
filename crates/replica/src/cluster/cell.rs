//! One node of the cluster with the locks around it.

use std::sync::{PoisonError, TryLockError, TryLockResult};

use super::subscription::Subscribers;
use super::waiting::Waiting;
use crate::sync::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, spin_loop, tries};
use crate::{Config, Envelope, NodeId, Partition, PartitionId, Policy, State};

/// How often a busy lock is tried again before its node is left a message: about as long as joining a
/// write takes.
const SPINS: usize = tries(200);

/// Messages that may lie in front of a busy node. More are lost, as on a network, and sent again.
const MAX_INBOX: usize = 1 << 16;

/// A message on its way.
#[derive(Debug)]
pub(super) struct Delivery<C> {
    pub(super) from: NodeId,
    pub(super) to: NodeId,
    pub(super) partition: PartitionId,
    pub(super) envelope: Envelope<C>,
    /// Whether it has taken its time on the way.
    pub(super) has_travelled: bool,
}

/// A node.
///
/// Whoever leaves a message in the inbox afterwards tries the lock, and whoever gives up the lock
/// afterwards looks into the inbox: so a message left in front of a busy node is always seen by one of
/// the two.
#[derive(Debug)]
pub(super) struct NodeCell<P: Policy> {
    pub(super) node: NodeId,
    pub(super) config: Config,
    /// The other owners of its partition.
    pub(super) peers: Vec<NodeId>,
    /// Held for the time of some inputs, never while another node's is waited for.
    state: RwLock<NodeState<P>>,
    inbox: Mutex<Vec<Delivery<P::Cell>>>,
    pub(super) waiting: Waiting<P::Cell>,
}

/// What a node's lock guards.
#[derive(Debug)]
pub(super) struct NodeState<P: Policy> {
    /// `None` while the node has failed.
    pub(super) partition: Option<Partition<P>>,
    pub(super) last_request: u64,
    /// How often the state machine has panicked. Requests of an earlier life are never answered.
    pub(super) panics: u64,
    pub(super) subscribers: Subscribers,
}

impl<P: Policy> NodeState<P> {
    /// Tells the subscribers what has changed, once the node serves: before that they could not read it.
    /// The lock is still held, so whoever reads because of it sees the change.
    pub(super) fn tell_subscribers(&mut self) {
        if self.subscribers.is_empty() {
            return;
        }
        let Some(partition) = &mut self.partition else {
            return;
        };
        if partition.state() != State::Up {
            return;
        }
        let changed = partition.take_changed();
        if !changed.is_empty() {
            self.subscribers.tell(&changed);
            if self.subscribers.is_empty() {
                partition.watch_changes(false);
            }
        }
    }
}

/// A lock that was asked for without waiting.
pub(super) enum Entered<'a, P: Policy> {
    /// It is held.
    Guard(RwLockWriteGuard<'a, NodeState<P>>),
    /// Someone else holds it and will look into the inbox.
    Busy,
}

impl<P: Policy> NodeCell<P> {
    pub(super) fn new(config: Config, partition: Partition<P>) -> Self {
        Self {
            node: config.node,
            peers: config.peers().collect(),
            config,
            state: RwLock::new(NodeState {
                partition: Some(partition),
                last_request: 0,
                panics: 0,
                subscribers: Subscribers::default(),
            }),
            inbox: Mutex::default(),
            waiting: Waiting::default(),
        }
    }

    /// Takes the lock, however long it takes.
    pub(super) fn enter(&self) -> RwLockWriteGuard<'_, NodeState<P>> {
        self.state
            .write()
            .unwrap_or_else(|poisoned| self.bury(poisoned))
    }

    /// Takes the lock unless another writer holds it for longer than a moment.
    pub(super) fn try_enter(&self) -> Entered<'_, P> {
        for _ in 0..SPINS {
            if let Some(guard) = self.unpoisoned(self.state.try_write()) {
                return Entered::Guard(guard);
            }
            spin_loop();
        }
        match self.state.try_read() {
            Err(TryLockError::WouldBlock) => Entered::Busy,
            // Only readers hold it. They do not look into the inbox, and are gone in a moment.
            Ok(reader) => {
                drop(reader);
                Entered::Guard(self.enter())
            }
            Err(TryLockError::Poisoned(_)) => Entered::Guard(self.enter()),
        }
    }

    /// Takes the lock for reading: for a moment only.
    pub(super) fn look(&self) -> RwLockReadGuard<'_, NodeState<P>> {
        loop {
            match self.state.read() {
                Ok(guard) => return guard,
                Err(poisoned) => {
                    drop(poisoned);
                    drop(self.enter());
                }
            }
        }
    }

    /// Takes the lock for reading, unless a writer holds it.
    pub(super) fn peek(&self) -> Option<RwLockReadGuard<'_, NodeState<P>>> {
        match self.state.try_read() {
            Ok(guard) => Some(guard),
            Err(TryLockError::WouldBlock) => None,
            Err(TryLockError::Poisoned(poisoned)) => {
                drop(poisoned);
                Some(self.look())
            }
        }
    }

    /// Leaves a message in front of a busy node. If it is not busy any more, returns all that was left.
    pub(super) fn leave(&self, delivery: Delivery<P::Cell>) -> Vec<Delivery<P::Cell>> {
        let mut inbox = lock(&self.inbox);
        if inbox.len() < MAX_INBOX {
            inbox.push(delivery);
        }
        drop(inbox);
        match self.unpoisoned(self.state.try_write()) {
            Some(guard) => {
                drop(guard);
                self.take_left()
            }
            None => Vec::new(),
        }
    }

    /// What was left in front of the node while it was busy.
    pub(super) fn take_left(&self) -> Vec<Delivery<P::Cell>> {
        std::mem::take(&mut *lock(&self.inbox))
    }

    fn unpoisoned<'a>(
        &self,
        tried: TryLockResult<RwLockWriteGuard<'a, NodeState<P>>>,
    ) -> Option<RwLockWriteGuard<'a, NodeState<P>>> {
        match tried {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(self.bury(poisoned)),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// The state machine has panicked under a thread that held the lock: nobody knows what state it is
    /// in, so the node has failed. The others go on.
    fn bury<'a>(
        &self,
        poisoned: PoisonError<RwLockWriteGuard<'a, NodeState<P>>>,
    ) -> RwLockWriteGuard<'a, NodeState<P>> {
        let mut guard = poisoned.into_inner();
        self.state.clear_poison();
        guard.partition = None;
        guard.panics += 1;
        guard.subscribers.tell_of_failure();
        let lost = self.no_answer();
        self.waiting.answer_all(&lost);
        guard
    }

    /// What is said of a request whose node has taken the answer with it.
    pub(super) fn no_answer(&self) -> super::waiting::Answer<P::Cell> {
        Err(crate::RequestError::NoMajority {
            acknowledged: 0,
            needed: self.config.write_quorum as usize,
            may_take_effect: true,
        })
    }
}

/// Locks a mutex that guards plain data, which no panic leaves half changed.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
