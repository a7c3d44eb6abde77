//! Values: GET, SET, MGET, MSET, STRLEN.
//!
//! A command with several keys submits all of them before it awaits the first answer. Each key is an
//! operation of its own; only the order of submission is kept.

use bytes::Bytes;
use replica::Level;

use super::ask::{Asked, Asker, all_written};
use super::errors::{partly, siblings, wrong_type};
use super::table::{Keys, READ, Spec, WRITE, command};
use super::{Session, Started, quoted, refused, wrong_arity};
use crate::resp::reply::Reply;
use crate::store::{ConflictPolicy, Operation, Record, Space, StoreAnswer};

pub(super) static COMMANDS: &[Spec] = &[
    command(
        "GET key",
        2,
        READ,
        Keys::ONE,
        "string",
        "The value of a key, as a quorum of nodes has it.",
        get,
    ),
    command(
        "SET key value",
        -3,
        WRITE,
        Keys::ONE,
        "string",
        "Writes a value to a quorum of nodes. Takes no options.",
        set,
    ),
    command(
        "MGET key [key ...]",
        -2,
        READ,
        Keys::ALL,
        "string",
        "The values of several keys, each read by itself.",
        mget,
    ),
    command(
        "MSET key value [key value ...]",
        -3,
        WRITE,
        Keys::PAIRS,
        "string",
        "Writes several values, each by itself: not atomic.",
        mset,
    ),
    command(
        "STRLEN key",
        2,
        READ,
        Keys::ONE,
        "string",
        "The length of a value.",
        strlen,
    ),
];

/// Values shorter than this are copied out of the receive buffer before they are stored, because a
/// slice of it would keep all of it in memory for as long as the value lives.
const COPIED_BELOW_BYTES: usize = 16 * 1024;

/// What a key holds for those who ask for a string.
enum Text {
    Absent,
    Value(Bytes),
    Siblings(usize),
    Set,
}

impl Text {
    /// What is there if there is no string.
    fn of(record: Record) -> Self {
        match (record.counter, record.members) {
            (Some(sum), _) => Self::Value(sum.to_string().into()),
            (None, Some(_)) => Self::Set,
            (None, None) => Self::Absent,
        }
    }

    /// The reply to GET.
    fn bulk(self) -> Reply {
        match self {
            Self::Absent => Reply::Null,
            Self::Value(value) => Reply::Bulk(value),
            Self::Siblings(count) => siblings(count),
            Self::Set => wrong_type("a set"),
        }
    }
}

/// A read of a key as a string: a value, or the sum of a counter.
struct TextRead {
    asker: Asker,
    key: Bytes,
    strings: Asked,
    /// Asked at the same time if the local replica shows no string, so that commands behind this one
    /// are not seen.
    types: Option<Asked>,
}

impl TextRead {
    fn start(session: &Session, key: &Bytes) -> Self {
        let asker = session.asker();
        let strings = asker.ask(key, Operation::Get);
        let has_string = session.backend().peek(Space::Strings, key);
        let types = (!has_string).then(|| asker.ask(key, Operation::Look));
        Self {
            asker,
            key: key.clone(),
            strings,
            types,
        }
    }

    async fn text(self) -> Result<Text, Reply> {
        let mut values = self.strings.values().await?;
        match values.len() {
            0 => {}
            1 => return Ok(Text::Value(values.remove(0))),
            more => return Ok(Text::Siblings(more)),
        }
        let types = match self.types {
            Some(asked) => asked,
            None => self.asker.ask(&self.key, Operation::Look),
        };
        let (record, _) = types.record().await?;
        Ok(Text::of(record))
    }
}

/// The value of a key at level `One`, if it can be told at once.
fn look(session: &Session, key: &Bytes) -> Option<Text> {
    if session.level != Level::One || session.is_behind {
        return None;
    }
    let asker = session.asker();
    if let StoreAnswer::Values { mut values, .. } = asker.look(key, Operation::Get)? {
        match values.len() {
            0 => {}
            1 => return Some(Text::Value(values.remove(0))),
            more => return Some(Text::Siblings(more)),
        }
    }
    match asker.look(key, Operation::Look)? {
        StoreAnswer::Record { record, .. } => Some(Text::of(record)),
        _ => None,
    }
}

fn get(session: &mut Session, arguments: &[Bytes]) -> Started {
    if let Some(text) = look(session, &arguments[0]) {
        return text.bulk().into();
    }
    let read = TextRead::start(session, &arguments[0]);
    Started::waiting(async move {
        match read.text().await {
            Ok(text) => text.bulk(),
            Err(error) => error,
        }
    })
}

fn strlen(session: &mut Session, arguments: &[Bytes]) -> Started {
    let read = TextRead::start(session, &arguments[0]);
    Started::waiting(async move {
        match read.text().await {
            Ok(Text::Absent) => Reply::count(0),
            Ok(Text::Value(value)) => Reply::count(value.len()),
            Ok(Text::Siblings(count)) => siblings(count),
            Ok(Text::Set) => wrong_type("a set"),
            Err(error) => error,
        }
    })
}

fn mget(session: &mut Session, arguments: &[Bytes]) -> Started {
    let limit = session.backend().limits().max_reply_bytes;
    let reads = arguments.iter().map(|key| TextRead::start(session, key));
    let reads: Vec<_> = reads.collect();
    Started::waiting(async move {
        let mut values = Vec::with_capacity(reads.len());
        let mut size = 0;
        for read in reads {
            let value = match read.text().await {
                // As in Redis, a key of another type has no value here.
                Ok(Text::Absent | Text::Set) => {
                    values.push(Reply::Null);
                    continue;
                }
                Ok(Text::Value(value)) => value,
                Ok(Text::Siblings(count)) => return siblings(count),
                Err(error) => return error,
            };
            size += value.len();
            if size > limit {
                return Reply::error(format!(
                    "the values are over the limit of {limit} bytes for one reply; ask for fewer keys"
                ));
            }
            values.push(Reply::Bulk(value));
        }
        Reply::Array(values)
    })
}

fn set(session: &mut Session, arguments: &[Bytes]) -> Started {
    if let Some(option) = arguments.get(2) {
        let refusal = refused::part("SET", option);
        let unknown = || Reply::error(format!("syntax error: SET takes no {}", quoted(option)));
        return refusal.unwrap_or_else(unknown).into();
    }
    let writes = match write(session, &arguments[0], &arguments[1]) {
        Ok(writes) => writes,
        Err(refusal) => return refusal.into(),
    };
    Started::waiting(async move {
        let (_, error) = all_written(writes).await;
        error.unwrap_or(Reply::OK)
    })
}

fn mset(session: &mut Session, arguments: &[Bytes]) -> Started {
    let (pairs, rest) = arguments.as_chunks::<2>();
    if !rest.is_empty() {
        return wrong_arity("mset").into();
    }
    let writes = pairs.iter().map(|[key, value]| write(session, key, value));
    let writes: Vec<Vec<Asked>> = match writes.collect() {
        Ok(writes) => writes,
        Err(refusal) => return refusal.into(),
    };
    Started::waiting(async move {
        let (total, mut done, mut first) = (writes.len(), 0, None);
        for key in writes {
            match all_written(key).await {
                (_, None) => done += 1,
                (_, error) => first = first.or(error),
            }
        }
        match first {
            None => Reply::OK,
            Some(error) => partly(error, "written", done, total),
        }
    })
}

/// Writes a value, in place of a counter or a set that the local replica shows.
fn write(session: &Session, key: &Bytes, value: &Bytes) -> Result<Vec<Asked>, Reply> {
    if session.backend().conflict() == ConflictPolicy::Caller {
        return Err(Reply::error(
            "this store orders writes by the caller's timestamps: R.PUT key value TIMESTAMP t",
        ));
    }
    let (asker, key) = (session.asker(), Bytes::copy_from_slice(key));
    let mut writes = vec![asker.ask(&key, Operation::put(stored(value)))];
    if session.backend().peek(Space::Types, &key) {
        writes.push(asker.ask(&key, Operation::Drop));
    }
    Ok(writes)
}

/// A value of the receive buffer, fit to be kept.
pub(super) fn stored(value: &Bytes) -> Bytes {
    if value.len() < COPIED_BELOW_BYTES {
        Bytes::copy_from_slice(value)
    } else {
        value.clone()
    }
}
