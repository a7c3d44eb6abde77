//! Who wants to know which keys change at a node.

use bytes::Bytes;
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use super::cell::lock;
use crate::NodeId;
use crate::sync::{Condvar, Moment, Mutex};

/// The keys that change at one node, told after the change: a read through the same node shows it.
///
/// A key is told of once for any number of changes that were made before it was taken, and what is taken is
/// the key only: the reader reads what it shows by then. Changes count through whatever node they were made,
/// when they arrive at this one. A key may be told of that shows what it has shown before. While the node
/// recovers nothing is told; all that it has got by then, once it serves.
///
/// Writers never wait for a subscriber: one that does not keep up is told that it
/// [has lagged](SubscriptionError::Lagged), and has to look at all keys again.
///
/// Dropping it ends it. It does not keep the cluster alive.
///
/// ```
/// use replica::{Cluster, Command, Level, NodeId, Request};
/// use std::time::Duration;
///
/// let cluster = Cluster::new(3)?;
/// let far = cluster.node(NodeId(3));
/// let mut users = far.subscribe("user:");
/// let put = |key: &'static str| Request::new(Command::put(key.into(), "v".into()), Level::All);
/// cluster.node(NodeId(1)).execute(put("user:ada"))?;
/// cluster.node(NodeId(1)).execute(put("page:1"))?;
/// let changed = users.next(Duration::from_secs(10))?;
/// assert_eq!(changed, Some("user:ada".into()));
/// assert_eq!(far.read_local(b"user:ada")?, Some("v".into()));
/// assert_eq!(users.try_next()?, None, "the page has another prefix");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Subscription {
    queue: Arc<Queue>,
}

/// Why a subscription cannot say what has changed. It goes on afterwards, unless it is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscriptionError {
    /// More keys have changed than are kept for the subscriber. They are forgotten: it has to look at all
    /// keys again. Changes from now on are told again.
    #[error(
        "the subscription to {node} has lagged: more than {limit} keys were waiting, {missed} \
         changes are forgotten"
    )]
    Lagged {
        /// The node.
        node: NodeId,
        /// How many keys are kept.
        limit: usize,
        /// How many changes were forgotten.
        missed: u64,
    },
    /// The node has failed and lost its data. Told at least once; when it has been recovered all that it
    /// shows is told of.
    #[error("{0} has failed: its changes are told again when it has been recovered")]
    NodeFailed(NodeId),
    /// The cluster is gone.
    #[error("the cluster is gone")]
    Closed,
}

/// What waits for a subscriber.
#[derive(Debug)]
pub(super) struct Queue {
    node: NodeId,
    prefix: Bytes,
    limit: usize,
    waiting: Mutex<Waiting>,
    filled: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    keys: VecDeque<Bytes>,
    /// The same keys, to find them.
    index: BTreeSet<Bytes>,
    missed: u64,
    has_failed: bool,
    is_closed: bool,
}

impl Waiting {
    fn forget(&mut self) {
        self.keys.clear();
        self.index.clear();
    }

    fn take(&mut self, queue: &Queue) -> Option<Result<Bytes, SubscriptionError>> {
        if std::mem::take(&mut self.has_failed) {
            return Some(Err(SubscriptionError::NodeFailed(queue.node)));
        }
        let missed = std::mem::take(&mut self.missed);
        if missed > 0 {
            let (node, limit) = (queue.node, queue.limit);
            return Some(Err(SubscriptionError::Lagged {
                node,
                limit,
                missed,
            }));
        }
        if let Some(key) = self.keys.pop_front() {
            self.index.remove(&key);
            return Some(Ok(key));
        }
        self.is_closed.then_some(Err(SubscriptionError::Closed))
    }
}

impl Queue {
    pub(super) fn new(node: NodeId, prefix: Bytes, limit: usize) -> Self {
        Self {
            node,
            prefix,
            limit: limit.max(1),
            waiting: Mutex::default(),
            filled: Condvar::new(),
        }
    }

    /// Tells of changed keys. Takes the queue's lock for a moment, and waits for nobody.
    fn push(&self, changed: &BTreeSet<Bytes>) {
        // The keys with the prefix stand together.
        let keys = changed.range::<Bytes, _>(&self.prefix..);
        let keys = keys.take_while(|key| key.starts_with(&self.prefix));
        let mut waiting = lock(&self.waiting);
        for key in keys {
            if waiting.missed > 0 {
                waiting.missed += 1;
            } else if waiting.index.contains(key) {
                // It has not been looked at since.
            } else if waiting.keys.len() >= self.limit {
                waiting.missed = waiting.keys.len() as u64 + 1;
                waiting.forget();
            } else {
                waiting.keys.push_back(key.clone());
                waiting.index.insert(key.clone());
            }
        }
        drop(waiting);
        self.filled.notify_one();
    }

    pub(super) fn fail(&self) {
        let mut waiting = lock(&self.waiting);
        waiting.forget();
        (waiting.missed, waiting.has_failed) = (0, true);
        drop(waiting);
        self.filled.notify_one();
    }

    fn close(&self) {
        lock(&self.waiting).is_closed = true;
        self.filled.notify_one();
    }
}

impl Subscription {
    /// How many keys are kept for a subscriber that does not say how many.
    pub const DEFAULT_LIMIT: usize = 4_096;

    pub(super) const fn new(queue: Arc<Queue>) -> Self {
        Self { queue }
    }

    /// The node.
    pub fn node(&self) -> NodeId {
        self.queue.node
    }

    /// A key that has changed, if there is one now.
    ///
    /// # Errors
    /// As [`SubscriptionError`] says.
    pub fn try_next(&mut self) -> Result<Option<Bytes>, SubscriptionError> {
        lock(&self.queue.waiting).take(&self.queue).transpose()
    }

    /// A key that has changed; waits for one, and gives `None` after `timeout`.
    ///
    /// # Errors
    /// As [`SubscriptionError`] says.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<Bytes>, SubscriptionError> {
        let start = Moment::now();
        let mut waiting = lock(&self.queue.waiting);
        loop {
            let taken = waiting.take(&self.queue);
            let left = timeout.saturating_sub(start.elapsed());
            if taken.is_some() || left.is_zero() {
                return taken.transpose();
            }
            let woken = self.queue.filled.wait_timeout(waiting, left);
            waiting = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// The subscribers of a node.
#[derive(Debug, Default)]
pub(super) struct Subscribers(Vec<Weak<Queue>>);

impl Subscribers {
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn add(&mut self, queue: &Arc<Queue>) {
        self.0.push(Arc::downgrade(queue));
    }

    pub(super) fn tell(&mut self, changed: &BTreeSet<Bytes>) {
        self.each(|queue| queue.push(changed));
    }

    pub(super) fn tell_of_failure(&mut self) {
        self.each(Queue::fail);
    }

    fn each(&mut self, tell: impl Fn(&Queue)) {
        self.0.retain(|queue| match queue.upgrade() {
            Some(queue) => {
                tell(&queue);
                true
            }
            None => false,
        });
    }
}

impl Drop for Subscribers {
    fn drop(&mut self) {
        self.each(Queue::close);
    }
}
