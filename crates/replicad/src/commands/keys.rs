//! Keys of any type: DEL, UNLINK, EXISTS, TOUCH, TYPE.
//!
//! A key may hold a string in one space, and a counter or a set in the other; concurrent writes can leave
//! both. These commands look at both.

use bytes::Bytes;
use replica::Floor;
use std::collections::BTreeSet;

use super::ask::{Asked, Asker, all_written};
use super::errors::partly;
use super::table::{Keys, READ, Spec, WRITE, command};
use super::{Session, Started};
use crate::resp::reply::Reply;
use crate::store::{ConflictPolicy, Contents, Operation, StoreAnswer};

pub(super) static COMMANDS: &[Spec] = &[
    command(
        "DEL key [key ...]",
        -2,
        WRITE,
        Keys::ALL,
        "generic",
        "Deletes keys of any type and counts those that a quorum read showed.",
        del,
    ),
    command(
        "UNLINK key [key ...]",
        -2,
        WRITE,
        Keys::ALL,
        "generic",
        "The same as DEL.",
        del,
    ),
    command(
        "EXISTS key [key ...]",
        -2,
        READ,
        Keys::ALL,
        "generic",
        "Counts the keys that a quorum read shows.",
        exists,
    ),
    command(
        "TOUCH key [key ...]",
        -2,
        READ,
        Keys::ALL,
        "generic",
        "The same as EXISTS: no access times are kept.",
        exists,
    ),
    command(
        "TYPE key",
        2,
        READ,
        Keys::ONE,
        "generic",
        "string, set or none. A counter is a string, as in Redis.",
        type_of,
    ),
];

/// The type of a key by what it holds; `None` if that is nothing. A string hides a set.
pub(super) const fn type_name(contents: Contents) -> Option<&'static str> {
    match contents {
        Contents { string: true, .. } | Contents { counter: true, .. } => Some("string"),
        Contents { set: true, .. } => Some("set"),
        _ => None,
    }
}

/// A read of both spaces.
struct KeyRead {
    strings: Asked,
    types: Asked,
}

/// What a key holds, and what the reads of it have seen.
struct Found {
    contents: Contents,
    strings: Floor,
    types: Floor,
}

impl KeyRead {
    fn start(asker: &Asker, key: &Bytes) -> Self {
        Self {
            strings: asker.ask(key, Operation::Get),
            types: asker.ask(key, Operation::Look),
        }
    }

    async fn found(self) -> Result<Found, Reply> {
        let mut contents = Contents::default();
        let strings = self.strings.answer().await?;
        if let StoreAnswer::Values { values, .. } = &strings {
            contents.string = !values.is_empty();
        }
        let (record, types) = self.types.record().await?;
        contents.counter = record.counter.is_some();
        contents.set = record.members.is_some();
        Ok(Found {
            contents,
            strings: strings.seen().clone(),
            types,
        })
    }
}

/// Reads every key, then deletes every key, absent strings too: another node may hold a write that the
/// read did not see. If a read fails nothing is deleted. The commands behind it wait for the reads,
/// or they could take effect before the deletion.
fn del(session: &mut Session, arguments: &[Bytes]) -> Started {
    let copied = arguments.iter().map(|key| Bytes::copy_from_slice(key));
    let keys: BTreeSet<Bytes> = copied.collect();
    let asker = session.asker();
    let reads: Vec<_> = keys.iter().map(|key| KeyRead::start(&asker, key)).collect();
    Started::held(async move {
        let mut found = Vec::with_capacity(reads.len());
        for read in reads {
            match read.found().await {
                Ok(read) => found.push(read),
                Err(error) => return error.into(),
            }
        }
        let conflict = asker.shared.backend.conflict();
        if conflict == ConflictPolicy::Caller && found.iter().any(|key| key.contents.string) {
            return Reply::error(
                "this store orders writes by the caller's timestamps: R.DEL key TIMESTAMP t",
            )
            .into();
        }
        let count = found.iter().filter(|key| !key.contents.is_empty()).count();
        let keys = keys.into_iter().zip(found);
        let deletes = keys.map(|(key, found)| delete(&asker, conflict, &key, found));
        let deletes: Vec<_> = deletes.collect();
        Started::waiting(deleted(deletes, count))
    })
}

/// Deletes what was found of a key.
fn delete(asker: &Asker, conflict: ConflictPolicy, key: &Bytes, found: Found) -> Vec<Asked> {
    let mut deletes = Vec::with_capacity(2);
    match conflict {
        ConflictPolicy::Caller => {}
        // What the coordinator does not hold it does not remove: it has to have what was read.
        ConflictPolicy::Siblings => {
            deletes.push(asker.ask_after(key, Operation::delete(), found.strings));
        }
        ConflictPolicy::Hybrid | ConflictPolicy::Lamport => {
            deletes.push(asker.ask(key, Operation::delete()));
        }
    }
    if found.contents.counter || found.contents.set {
        deletes.push(asker.ask_after(key, Operation::Drop, found.types));
    }
    deletes
}

async fn deleted(deletes: Vec<Vec<Asked>>, count: usize) -> Reply {
    let (total, mut done, mut first) = (deletes.len(), 0, None);
    for key in deletes {
        match all_written(key).await {
            (_, None) => done += 1,
            (_, error) => first = first.or(error),
        }
    }
    match first {
        None => Reply::count(count),
        Some(error) => partly(error, "deleted", done, total),
    }
}

fn exists(session: &mut Session, arguments: &[Bytes]) -> Started {
    let asker = session.asker();
    let reads = arguments.iter().map(|key| KeyRead::start(&asker, key));
    let reads: Vec<_> = reads.collect();
    Started::waiting(async move {
        let mut count = 0;
        for read in reads {
            match read.found().await {
                Ok(found) => count += usize::from(!found.contents.is_empty()),
                Err(error) => return error,
            }
        }
        Reply::count(count)
    })
}

fn type_of(session: &mut Session, arguments: &[Bytes]) -> Started {
    let read = KeyRead::start(&session.asker(), &arguments[0]);
    Started::waiting(async move {
        match read.found().await {
            Ok(found) => Reply::Simple(type_name(found.contents).unwrap_or("none")),
            Err(error) => error,
        }
    })
}
