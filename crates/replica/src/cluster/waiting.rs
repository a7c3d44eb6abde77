//! Answers that come on another thread than the one that asked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::cell::lock;
use crate::sync::{Condvar, Moment, Mutex, tries, yield_now};
use crate::{Outcome, RequestError, RequestId};

/// The answer to a request.
pub(super) type Answer<C> = Result<Outcome<C>, RequestError>;

/// How often a waiting thread gives way before it sleeps: whoever holds the answer's message is at work
/// on another core most of the time.
const YIELDS: usize = tries(32);

/// The requests to one node that are answered by another thread than the one that asks.
///
/// Most requests are answered on the thread that made them and never come here. Of the two threads that
/// meet over the others either may come first.
#[derive(Debug)]
pub(super) struct Waiting<C> {
    entries: Mutex<BTreeMap<RequestId, Entry<C>>>,
}

#[derive(Debug)]
enum Entry<C> {
    /// A thread waits for the answer.
    Asked(Arc<Slot<C>>),
    /// The answer came first.
    Answered(Answer<C>),
    /// The thread has given up; the answer will be dropped.
    Abandoned,
}

/// Where an answer is put.
#[derive(Debug)]
struct Slot<C> {
    answer: Mutex<Option<Answer<C>>>,
    filled: Condvar,
}

/// A thread's place among those that wait.
#[derive(Debug)]
pub(super) enum Place<C> {
    /// The answer is there.
    Answered(Answer<C>),
    /// It has to be waited for.
    Waits(WaitingPlace<C>),
}

/// A place where an answer is waited for.
#[derive(Debug)]
pub(super) struct WaitingPlace<C> {
    request: RequestId,
    slot: Arc<Slot<C>>,
}

impl<C> Default for Waiting<C> {
    fn default() -> Self {
        Self {
            entries: Mutex::default(),
        }
    }
}

impl<C> Default for Slot<C> {
    fn default() -> Self {
        Self {
            answer: Mutex::default(),
            filled: Condvar::new(),
        }
    }
}

impl<C: Clone> Waiting<C> {
    /// Registers the asking thread.
    pub(super) fn register(&self, request: RequestId) -> Place<C> {
        let mut entries = lock(&self.entries);
        if let Some(Entry::Answered(answer)) = entries.remove(&request) {
            return Place::Answered(answer);
        }
        let slot = Arc::new(Slot::default());
        entries.insert(request, Entry::Asked(Arc::clone(&slot)));
        Place::Waits(WaitingPlace { request, slot })
    }

    /// Waits for the answer; `None` if it has not come within `timeout`.
    pub(super) fn wait(&self, place: &WaitingPlace<C>, timeout: Duration) -> Option<Answer<C>> {
        for _ in 0..YIELDS {
            yield_now();
            if let Some(answer) = lock(&place.slot.answer).take() {
                return Some(answer);
            }
        }
        let start = Moment::now();
        let mut answer = lock(&place.slot.answer);
        while answer.is_none() {
            let left = timeout.saturating_sub(start.elapsed());
            if left.is_zero() {
                drop(answer);
                return self.abandon(place);
            }
            let woken = place.slot.filled.wait_timeout(answer, left);
            answer = woken.unwrap_or_else(|e| e.into_inner()).0;
        }
        answer.take()
    }

    /// Gives an answer to the thread that waits for it, or will.
    pub(super) fn answer(&self, request: RequestId, answer: Answer<C>) {
        let mut entries = lock(&self.entries);
        match entries.remove(&request) {
            Some(Entry::Asked(slot)) => {
                // Still under the lock of the entries, or a thread that gives up in this moment would
                // find neither its entry nor its answer.
                *lock(&slot.answer) = Some(answer);
                slot.filled.notify_one();
            }
            None => {
                entries.insert(request, Entry::Answered(answer));
            }
            // The thread has given up, or, which requests rule out, was answered before.
            Some(Entry::Abandoned | Entry::Answered(_)) => {}
        }
    }

    /// Answers every thread that waits: the node behind them is gone.
    pub(super) fn answer_all(&self, answer: &Answer<C>) {
        let asked: Vec<RequestId> = {
            let entries = lock(&self.entries);
            let asked = entries.iter();
            let asked = asked.filter(|(_, entry)| matches!(entry, Entry::Asked(_)));
            asked.map(|(request, _)| *request).collect()
        };
        for request in asked {
            self.answer(request, answer.clone());
        }
    }

    /// Gives up; returns the answer after all if it came in this moment.
    fn abandon(&self, place: &WaitingPlace<C>) -> Option<Answer<C>> {
        let mut entries = lock(&self.entries);
        if matches!(entries.get(&place.request), Some(Entry::Asked(_))) {
            entries.insert(place.request, Entry::Abandoned);
            return None;
        }
        drop(entries);
        lock(&place.slot.answer).take()
    }
}
