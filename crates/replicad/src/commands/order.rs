//! The order of one connection's commands.
//!
//! A node that owns every key starts commands in order, so that what is sent behind a write sees it. Two things would
//! not come in order by that alone, and there a command waits for those before it that touch one of its keys: a read takes
//! a while, and would show what a write behind it has made meanwhile; and whether a key holds a string, or a counter or
//! set, is looked up when a command starts, when a write before it may still wait for its turn.
//!
//! Another node forwards commands, and they could overtake each other on their way: a command there waits for those
//! before it that touch one of its keys, and runs beside the others. Within a session each command waits for all before
//! it, as what they have seen is the floor of what it may see; so does a command without keys.

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
    keys: Mutex<BTreeMap<Bytes, Touched>>,
    /// Some key is not touched any more.
    freed: Notify,
}

/// What a command does to its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    /// Refuses a key that holds anything else.
    ReadsSets,
    WritesStrings,
    WritesCounters,
    WritesSets,
    WritesAll,
}

/// How many commands under way do what to a key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Touched {
    reads: usize,
    strings: usize,
    counters: usize,
    sets: usize,
}

/// A command that is under way, until this is dropped.
struct Entry {
    under_way: Arc<UnderWay>,
    keys: Vec<Bytes>,
    kind: Kind,
}

impl Kind {
    fn of(spec: &Spec) -> Self {
        match spec.name {
            "SMEMBERS" | "SISMEMBER" | "SMISMEMBER" | "SCARD" => Self::ReadsSets,
            _ if !spec.is_write() => Self::Read,
            "SET" | "MSET" | "R.PUT" | "R.SET" | "R.DEL" => Self::WritesStrings,
            "INCR" | "DECR" | "INCRBY" | "DECRBY" => Self::WritesCounters,
            "SADD" | "SREM" => Self::WritesSets,
            _ => Self::WritesAll,
        }
    }

    /// Whether a command of this kind waits for those that do this to one of its keys.
    const fn waits_for(self, touched: Touched) -> bool {
        let Touched {
            reads,
            strings,
            counters,
            sets,
        } = touched;
        match self {
            Self::Read => false,
            Self::ReadsSets => strings + counters > 0,
            Self::WritesStrings => reads + counters + sets > 0,
            Self::WritesCounters => reads + strings + sets > 0,
            Self::WritesSets => reads + strings + counters > 0,
            // It reads what it removes, and waits for that.
            Self::WritesAll => reads > 0,
        }
    }

    /// Whether it is counted as a read, a write of strings, of counters, of sets.
    const fn counts(self) -> [bool; 4] {
        match self {
            Self::Read | Self::ReadsSets => [true, false, false, false],
            Self::WritesStrings => [false, true, false, false],
            Self::WritesCounters => [false, false, true, false],
            Self::WritesSets => [false, false, false, true],
            Self::WritesAll => [false, true, true, true],
        }
    }
}

impl Touched {
    fn each(&mut self) -> [&mut usize; 4] {
        [
            &mut self.reads,
            &mut self.strings,
            &mut self.counters,
            &mut self.sets,
        ]
    }

    fn add(&mut self, kind: Kind) {
        for (counter, counts) in self.each().into_iter().zip(kind.counts()) {
            *counter += usize::from(counts);
        }
    }

    fn remove(&mut self, kind: Kind) {
        for (counter, counts) in self.each().into_iter().zip(kind.counts()) {
            *counter -= usize::from(counts);
        }
    }
}

impl UnderWay {
    fn begin(self: &Arc<Self>, kind: Kind, keys: Vec<Bytes>) -> Entry {
        let mut held = self.keys();
        for key in &keys {
            held.entry(key.clone()).or_default().add(kind);
        }
        drop(held);
        let under_way = Arc::clone(self);
        Entry {
            under_way,
            keys,
            kind,
        }
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
        self.until(Self::is_idle).await;
    }

    /// Whether a command of a kind has to wait before it touches these keys.
    fn holds_up(&self, kind: Kind, keys: &[Bytes]) -> bool {
        let held = self.keys();
        let touched = keys.iter().filter_map(|key| held.get(key));
        !held.is_empty() && touched.into_iter().any(|touched| kind.waits_for(*touched))
    }

    /// Completes when it does not.
    async fn ready_for(&self, kind: Kind, keys: &[Bytes]) {
        self.until(|under_way| !under_way.holds_up(kind, keys))
            .await;
    }

    async fn until(&self, holds: impl Fn(&Self) -> bool) {
        loop {
            let freed = self.freed.notified();
            if holds(self) {
                return;
            }
            freed.await;
        }
    }

    /// What is inside is whole after each change.
    fn keys(&self) -> MutexGuard<'_, BTreeMap<Bytes, Touched>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut held = self.under_way.keys();
        for key in &self.keys {
            if let Some(touched) = held.get_mut(key) {
                touched.remove(self.kind);
                if *touched == Touched::default() {
                    held.remove(key);
                }
            }
        }
        drop(held);
        self.under_way.freed.notify_waiters();
    }
}

/// The keys among the words of a command.
fn keys_of(spec: &Spec, words: &[Bytes]) -> Vec<Bytes> {
    let words = words.iter().enumerate();
    let keys = words.filter(|(index, _)| spec.is_key(*index));
    keys.map(|(_, key)| key.clone()).collect()
}

/// Starts a command at a node that owns every key.
pub(super) fn start_here(session: &mut Session, spec: &'static Spec, words: &[Bytes]) -> Started {
    let (kind, keys) = (Kind::of(spec), keys_of(spec, words));
    if !session.under_way.holds_up(kind, &keys) {
        return noted(session, (spec, kind), words, keys);
    }
    let (under_way, words) = (Arc::clone(&session.under_way), words.to_vec());
    Started::resumed(async move {
        under_way.ready_for(kind, &keys).await;
        move |session: &mut Session| noted(session, (spec, kind), &words, keys)
    })
}

/// Starts a command, under way until its reply is known.
fn noted(
    session: &mut Session,
    (spec, kind): (&'static Spec, Kind),
    words: &[Bytes],
    keys: Vec<Bytes>,
) -> Started {
    match (spec.start)(session, &words[1..]) {
        Started::Waiting(reply) if !keys.is_empty() => {
            Started::Waiting(until_known(reply, session.under_way.begin(kind, keys)))
        }
        Started::Held(rest) if !keys.is_empty() => {
            let entry = session.under_way.begin(kind, keys);
            Started::held(async move { guarded(rest.await, entry) })
        }
        started => started,
    }
}

/// Starts a command at a node that forwards, behind those that it must not overtake.
pub(super) fn start(session: &mut Session, spec: &'static Spec, words: &[Bytes]) -> Started {
    let keys = keys_of(spec, words);
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
            false => guarded(started, session.under_way.begin(Kind::of(spec), keys)),
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
