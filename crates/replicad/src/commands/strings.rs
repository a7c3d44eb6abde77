//! Values: GET, SET, DEL, EXISTS, MGET, MSET.
//!
//! A command with several keys submits all of them before it awaits the first answer. Each key is an
//! operation of its own; only the order of submission is kept.

use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::errors::answer;
use super::{Session, Started, quoted, wrong_arity};
use crate::resp::reply::Reply;
use crate::store::{Operation, PendingAnswer, StoreAnswer, StoreRequest};

/// Values shorter than this are copied out of the receive buffer before they are stored, because a
/// slice of it would keep all of it in memory for as long as the value lives.
const COPIED_BELOW_BYTES: usize = 16 * 1024;

pub(super) fn get(session: &mut Session, arguments: &[Bytes]) -> Started {
    let pending = read(session, &arguments[0]);
    Started::waiting(async move {
        match value(pending).await {
            Ok(found) => found.map_or(Reply::Null, Reply::Bulk),
            Err(error) => error,
        }
    })
}

pub(super) fn set(session: &mut Session, arguments: &[Bytes]) -> Started {
    if let Some(option) = arguments.get(2) {
        let option = quoted(option);
        return Reply::error(format!("SET options are not supported: {option}")).into();
    }
    let pending = write(session, &arguments[0], &arguments[1]);
    Started::waiting(async move {
        match answer(pending.await) {
            Ok(_) => Reply::OK,
            Err(error) => error,
        }
    })
}

/// Reads every key, then deletes every key, absent ones too: another node may hold a write that the
/// read did not see. If a read fails nothing is deleted. The commands behind it wait for the reads,
/// or they could take effect before the deletion.
pub(super) fn del(session: &mut Session, arguments: &[Bytes]) -> Started {
    let keys: BTreeSet<Bytes> = arguments
        .iter()
        .map(|key| Bytes::copy_from_slice(key))
        .collect();
    let reads: Vec<_> = keys.iter().map(|key| read(session, key)).collect();
    let shared = Arc::clone(&session.shared);
    Started::held(async move {
        let found = match count(reads).await {
            Ok(found) => found,
            Err(error) => return error.into(),
        };
        let deletes: Vec<_> = keys
            .into_iter()
            .map(|key| {
                let delete = StoreRequest::new(key, Operation::delete());
                shared.backend.submit(delete)
            })
            .collect();
        Started::waiting(async move {
            let total = deletes.len();
            match written(deletes).await {
                (_, None) => Reply::count(found),
                (done, Some(error)) => partly(error, "deleted", done, total),
            }
        })
    })
}

pub(super) fn exists(session: &mut Session, arguments: &[Bytes]) -> Started {
    let reads: Vec<_> = arguments.iter().map(|key| read(session, key)).collect();
    Started::waiting(async move {
        match count(reads).await {
            Ok(found) => Reply::count(found),
            Err(error) => error,
        }
    })
}

pub(super) fn mget(session: &mut Session, arguments: &[Bytes]) -> Started {
    let limit = session.backend().limits().max_reply_bytes;
    let reads: Vec<_> = arguments.iter().map(|key| read(session, key)).collect();
    Started::waiting(async move {
        let mut values = Vec::with_capacity(reads.len());
        let mut size = 0;
        for pending in reads {
            let found = match value(pending).await {
                Ok(found) => found,
                Err(error) => return error,
            };
            size += found.as_ref().map_or(0, Bytes::len);
            if size > limit {
                return Reply::error(format!(
                    "the values are over the limit of {limit} bytes for one reply; ask for fewer keys"
                ));
            }
            values.push(found.map_or(Reply::Null, Reply::Bulk));
        }
        Reply::Array(values)
    })
}

pub(super) fn mset(session: &mut Session, arguments: &[Bytes]) -> Started {
    let (pairs, rest) = arguments.as_chunks::<2>();
    if !rest.is_empty() {
        return wrong_arity("mset").into();
    }
    let writes: Vec<_> = pairs
        .iter()
        .map(|[key, value]| write(session, key, value))
        .collect();
    Started::waiting(async move {
        let total = writes.len();
        match written(writes).await {
            (_, None) => Reply::OK,
            (done, Some(error)) => partly(error, "written", done, total),
        }
    })
}

fn read(session: &Session, key: &Bytes) -> PendingAnswer {
    let get = StoreRequest::new(key.clone(), Operation::Get);
    session.backend().submit(get)
}

fn write(session: &Session, key: &Bytes, value: &Bytes) -> PendingAnswer {
    let key = Bytes::copy_from_slice(key);
    let value = if value.len() < COPIED_BELOW_BYTES {
        Bytes::copy_from_slice(value)
    } else {
        value.clone()
    };
    let put = StoreRequest::new(key, Operation::put(value));
    session.backend().submit(put)
}

/// Awaits a read.
async fn value(pending: PendingAnswer) -> Result<Option<Bytes>, Reply> {
    match answer(pending.await)? {
        StoreAnswer::Values { values, .. } => Ok(values.into_iter().next()),
        other => Err(Reply::error(format!(
            "the node answered a read with {other:?}"
        ))),
    }
}

/// Awaits all reads and counts those that found a value; the first error in order ends it.
async fn count(reads: Vec<PendingAnswer>) -> Result<usize, Reply> {
    let mut found = 0;
    for pending in reads {
        found += usize::from(value(pending).await?.is_some());
    }
    Ok(found)
}

/// Awaits all writes: how many succeeded, and the first error in order.
async fn written(writes: Vec<PendingAnswer>) -> (usize, Option<Reply>) {
    let mut done = 0;
    let mut first = None;
    for pending in writes {
        match answer(pending.await) {
            Ok(_) => done += 1,
            Err(error) => first = first.or(Some(error)),
        }
    }
    (done, first)
}

/// An error reply that says how far a command with several keys got.
fn partly(error: Reply, verb: &str, done: usize, total: usize) -> Reply {
    match error {
        Reply::Error(message) => Reply::Error(format!("{message} ({done} of {total} keys {verb})")),
        other => other,
    }
}
