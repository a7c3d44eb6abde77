//! The order of one connection's commands at a node that does not own every key.
//!
//! A node that owns every key starts commands in order, so that what is sent behind a write sees it. Another node
//! forwards them, and they could overtake each other on their way: a command there waits for those before it that
//! touch one of its keys, and runs beside the others. Within a session each command waits for all before it, as
//! what they have seen is the floor of what it may see; so does a command without keys.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

use super::table::Spec;
use super::{Session, Started};
use crate::backend::BoxFuture;
use crate::resp::reply::Reply;

/// The keys of the commands of a connection that are under way. Their number is bounded as that of the commands is.
#[derive(Debug, Default)]
pub(super) struct UnderWay {
    keys: Mutex<BTreeMap<Bytes, usize>>,
    idle: Notify,
}

/// A command that is under way, until this is dropped.
struct Entry {
    under_way: Arc<UnderWay>,
    keys: Vec<Bytes>,
}

impl UnderWay {
    fn begin(self: &Arc<Self>, keys: Vec<Bytes>) -> Entry {
        let mut held = self.keys();
        for key in &keys {
            *held.entry(key.clone()).or_default() += 1;
        }
        drop(held);
        let under_way = Arc::clone(self);
        Entry { under_way, keys }
    }

    fn is_idle(&self) -> bool {
        self.keys().is_empty()
    }

    fn touches(&self, keys: &[Bytes]) -> bool {
        let held = self.keys();
        keys.iter().any(|key| held.contains_key(key))
    }

    /// Completes when no command is under way.
    async fn idle(&self) {
        loop {
            let idle = self.idle.notified();
            if self.is_idle() {
                return;
            }
            idle.await;
        }
    }

    /// What is inside is whole after each change.
    fn keys(&self) -> MutexGuard<'_, BTreeMap<Bytes, usize>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut held = self.under_way.keys();
        for key in &self.keys {
            if let Some(count) = held.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    held.remove(key);
                }
            }
        }
        if held.is_empty() {
            self.under_way.idle.notify_waiters();
        }
    }
}

/// Starts a command behind those that it must not overtake.
pub(super) fn start(session: &mut Session, spec: &'static Spec, words: &[Bytes]) -> Started {
    let keys: Vec<Bytes> = words
        .iter()
        .enumerate()
        .filter(|(index, _)| spec.is_key(*index))
        .map(|(_, key)| key.clone())
        .collect();
    let is_alone = keys.is_empty() || session.guarantees.is_some();
    let under_way = Arc::clone(&session.under_way);
    let waits = match is_alone {
        true => !under_way.is_idle(),
        false => under_way.touches(&keys),
    };
    let words = words.to_vec();
    let begin = move |session: &mut Session| {
        let started = (spec.start)(session, &words[1..]);
        match is_alone {
            true => started.awaited(),
            false => guarded(started, session.under_way.begin(keys)),
        }
    };
    match waits {
        true => Started::resumed(async move {
            under_way.idle().await;
            begin
        }),
        false => begin(session),
    }
}

/// The same, under way until the reply is known.
fn guarded(started: Started, entry: Entry) -> Started {
    match started {
        Started::Waiting(reply) => Started::Waiting(until_known(reply, entry)),
        Started::Held(rest) => Started::held(async move { guarded(rest.await, entry) }),
        other => other,
    }
}

fn until_known(reply: BoxFuture<Reply>, entry: Entry) -> BoxFuture<Reply> {
    Box::pin(async move {
        let reply = reply.await;
        drop(entry);
        reply
    })
}
