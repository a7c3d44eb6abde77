//! Asking the node on behalf of a connection: at its level, and for no less than its session has seen.

use bytes::Bytes;
use replica::{Floor, Level, TokenTooLarge};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Shared;
use super::errors;
use crate::logs::shown;
use crate::resp::reply::Reply;
use crate::store::{
    Effect, Operation, PendingAnswer, Record, Space, StoreAnswer, StoreRequest, StoreSession,
    WeakShare,
};

/// The session guarantees of one connection: what it has seen. Commands that are under way share it.
pub(super) type Guarantees = Arc<Mutex<Seen>>;

/// What a session has seen, and whether that has outgrown its limit.
pub(super) struct Seen {
    pub(super) session: StoreSession,
    pub(super) full: Option<TokenTooLarge>,
}

impl Seen {
    /// A session as it begins.
    pub(super) fn new(session: StoreSession) -> Guarantees {
        let full = None;
        Arc::new(Mutex::new(Self { session, full }))
    }
}

/// What is inside is whole after each change, so a panic elsewhere does not spoil it.
pub(super) fn lock(guarantees: &Guarantees) -> MutexGuard<'_, Seen> {
    guarantees.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What it takes to ask the node for one connection.
#[derive(Clone)]
pub(super) struct Asker {
    pub(super) shared: Arc<Shared>,
    pub(super) level: Level,
    pub(super) guarantees: Option<Guarantees>,
    /// What is held for the command until the node has answered what it asks. A reply that waits for its client to
    /// read holds nothing.
    pub(super) share: WeakShare,
}

impl Asker {
    /// Asks for an operation at the connection's level.
    pub(super) fn ask(&self, key: &Bytes, operation: Operation) -> Asked {
        self.send(StoreRequest::new(key.clone(), operation).at(self.level))
    }

    /// Asks for an operation on what has been read.
    pub(super) fn ask_after(&self, key: &Bytes, operation: Operation, floor: Floor) -> Asked {
        let request = StoreRequest::new(key.clone(), operation);
        self.send(request.at(self.level).after(floor))
    }

    /// Reads a key at level `One`, if that takes nobody but the local replica and no waiting. `None` says that it is
    /// to be asked for.
    pub(super) fn look(&self, key: &Bytes, operation: Operation) -> Option<StoreAnswer> {
        let request = StoreRequest::new(key.clone(), operation).at(Level::One);
        let Some(guarantees) = &self.guarantees else {
            let answer = self.shared.backend.read_here(&request)?;
            self.note_read_here(&request);
            return Some(answer);
        };
        let mut seen = lock(guarantees);
        if seen.full.is_some() {
            return None;
        }
        let request = seen.session.follow(request);
        let answer = self.shared.backend.read_here(&request)?;
        self.note_read_here(&request);
        let kind = kind(&request.operation);
        seen.full = seen.session.note(&request.key, &kind, &answer).err();
        Some(answer)
    }

    /// A read that went past the inbox of the node is in the logs too, under a number of its own.
    fn note_read_here(&self, request: &StoreRequest) {
        if !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        let number = self.shared.reads_here.fetch_add(1, Ordering::Relaxed);
        let node = self.shared.backend.info().node;
        let (name, key) = (format!("{}/here/{number}", node.0), shown(&request.key));
        tracing::debug!(%node, request = name, %key, "a client is answered from the local replica");
    }

    /// Submits a request, which has its level.
    pub(super) fn send(&self, mut request: StoreRequest) -> Asked {
        request.share = self.share.upgrade();
        let Some(guarantees) = &self.guarantees else {
            return Asked::Pending {
                answer: self.shared.backend.submit(request),
                note: None,
            };
        };
        let seen = lock(guarantees);
        if let Some(error) = &seen.full {
            return Asked::Refused(session_full(error));
        }
        let request = seen.session.follow(request);
        drop(seen);
        let note = Note {
            guarantees: Arc::clone(guarantees),
            key: Bytes::copy_from_slice(&request.key),
            kind: kind(&request.operation),
        };
        Asked::Pending {
            answer: self.shared.backend.submit(request),
            note: Some(note),
        }
    }
}

fn session_full(error: &TokenTooLarge) -> Reply {
    Reply::Error(format!(
        "SESSIONFULL {error}; R.SESSION ON starts a new one"
    ))
}

/// An operation of the same space and direction, without what it carries.
fn kind(operation: &Operation) -> Operation {
    match (operation.space(), operation.is_write()) {
        (Space::Strings, false) => Operation::Get,
        (Space::Strings, true) => Operation::delete(),
        (Space::Types, false) => Operation::Look,
        (Space::Types, true) => Operation::Drop,
    }
}

/// What a session has to be told when the answer is there.
pub(super) struct Note {
    guarantees: Guarantees,
    key: Bytes,
    kind: Operation,
}

/// A request under way.
pub(super) enum Asked {
    /// It was not submitted.
    Refused(Reply),
    /// Its answer follows.
    Pending {
        answer: PendingAnswer,
        note: Option<Note>,
    },
}

/// The answer to a write.
pub(super) struct Written {
    pub(super) took_effect: bool,
    pub(super) seen: Floor,
    pub(super) effect: Option<Effect>,
}

impl Asked {
    /// Awaits the answer, whatever was asked.
    pub(super) async fn answer(self) -> Result<StoreAnswer, Reply> {
        let (answer, note) = match self {
            Self::Refused(reply) => return Err(reply),
            Self::Pending { answer, note } => (answer, note),
        };
        let answer = errors::answer(answer.await)?;
        if let Some(Note {
            guarantees,
            key,
            kind,
        }) = note
        {
            let mut seen = lock(&guarantees);
            seen.full = seen.session.note(&key, &kind, &answer).err();
        }
        Ok(answer)
    }

    /// Awaits the values of a string.
    pub(super) async fn values(self) -> Result<Vec<Bytes>, Reply> {
        match self.answer().await? {
            StoreAnswer::Values { values, .. } => Ok(values),
            other => Err(unexpected(&other)),
        }
    }

    /// Awaits a counter and a set.
    pub(super) async fn record(self) -> Result<(Record, Floor), Reply> {
        match self.answer().await? {
            StoreAnswer::Record { record, seen, .. } => Ok((record, seen)),
            other => Err(unexpected(&other)),
        }
    }

    /// Awaits a write.
    pub(super) async fn written(self) -> Result<Written, Reply> {
        match self.answer().await? {
            StoreAnswer::Written {
                took_effect,
                seen,
                effect,
                ..
            } => Ok(Written {
                took_effect,
                seen,
                effect,
            }),
            other => Err(unexpected(&other)),
        }
    }
}

fn unexpected(answer: &StoreAnswer) -> Reply {
    let what = match answer {
        StoreAnswer::Values { .. } => "values",
        StoreAnswer::Record { .. } => "a record",
        StoreAnswer::Written { .. } => "a write",
    };
    Reply::error(format!(
        "the node answered with {what}, which was not asked"
    ))
}

/// Awaits all writes: how many succeeded, and the first error in order.
pub(super) async fn all_written(writes: Vec<Asked>) -> (usize, Option<Reply>) {
    let mut done = 0;
    let mut first = None;
    for asked in writes {
        match asked.written().await {
            Ok(_) => done += 1,
            Err(error) => first = first.or(Some(error)),
        }
    }
    (done, first)
}
