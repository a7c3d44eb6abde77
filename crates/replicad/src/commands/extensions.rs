//! What Redis has no words for: the R. family.

use bytes::Bytes;
use std::sync::Arc;

use super::ask::{Asked, Seen, all_written, lock};
use super::errors::request_error;
use super::options::{self, Kind, Options};
use super::strings::stored;
use super::table::{Keys, READ, READ_MUCH, Spec, TALK, WRITE, command};
use super::{Session, Started, is, quoted, wrong_arity};
use crate::resp::reply::Reply;
use crate::store::{ConflictPolicy, Operation, Space, StoreAnswer, StoreRequest, StoreSession};

const GROUP: &str = "replicad";

pub(super) static COMMANDS: &[Spec] = &[
    command(
        "R.GET key [LEVEL level] [TIMEOUT ms]",
        -2,
        READ,
        Keys::ONE,
        GROUP,
        "All concurrent values of a string, with their timestamp and the context of the read.",
        get,
    ),
    command(
        "R.PUT key value [TIMESTAMP t] [LEVEL level] [TIMEOUT ms]",
        -3,
        WRITE,
        Keys::ONE,
        GROUP,
        "Writes a string, under the caller's timestamp where the store takes them; whether it took effect.",
        put,
    ),
    command(
        "R.SET key value CONTEXT context [LEVEL level] [TIMEOUT ms]",
        -5,
        WRITE,
        Keys::ONE,
        GROUP,
        "Writes a string in place of what a read has seen, and keeps what it has not seen.",
        set,
    ),
    command(
        "R.DEL key [TIMESTAMP t] [CONTEXT context] [LEVEL level] [TIMEOUT ms]",
        -2,
        WRITE,
        Keys::ONE,
        GROUP,
        "Deletes a string, under the caller's timestamp or as far as a read has seen; whether it took effect.",
        del,
    ),
    command(
        "R.LEVEL [ONE|QUORUM|ALL|LINEARIZABLE]",
        -1,
        TALK,
        Keys::NONE,
        GROUP,
        "How many owners of a key must agree, for the commands of this connection.",
        level,
    ),
    command(
        "R.SESSION [ON|OFF|TOKEN [token]]",
        -1,
        TALK,
        Keys::NONE,
        GROUP,
        "Session guarantees for this connection, and the token that carries them to another.",
        session_command,
    ),
    command(
        "R.EXPLAIN key",
        2,
        READ_MUCH,
        Keys::ONE,
        GROUP,
        "What the node asked knows of a key, in words for people.",
        explain,
    ),
];

/// A request for the connection, with the options of its command.
fn request(
    session: &Session,
    key: &Bytes,
    operation: Operation,
    options: &Options,
) -> StoreRequest {
    let mut request = StoreRequest::new(key.clone(), operation);
    request = request.at(options.level.unwrap_or(session.level));
    request.timeout_ms = options.timeout_ms;
    if let Some(seen) = &options.context {
        request.context = Some(seen.context.clone());
        request.floor.time = seen.time;
        if session.backend().conflict() == ConflictPolicy::Siblings {
            // The coordinator replaces what it holds: it has to have all of what was read.
            request.floor.context = seen.context.clone();
        }
    }
    request
}

/// `R.GET key [LEVEL level] [TIMEOUT ms]`
fn get(session: &mut Session, arguments: &[Bytes]) -> Started {
    let options = match Options::parse(&arguments[1..], &[Kind::Level, Kind::Timeout]) {
        Ok(options) => options,
        Err(refusal) => return refusal.into(),
    };
    let get = request(session, &arguments[0], Operation::Get, &options);
    let asked = session.asker().send(get);
    Started::waiting(async move { values(asked).await.unwrap_or_else(|error| error) })
}

async fn values(asked: Asked) -> Result<Reply, Reply> {
    let StoreAnswer::Values {
        values,
        timestamp,
        seen,
        ..
    } = asked.answer().await?
    else {
        return Err(Reply::error(
            "the node answered something that was not asked",
        ));
    };
    let values = values.into_iter().map(Reply::Bulk).collect();
    let timestamp = timestamp.map_or(Reply::Null, |time| Reply::text(time.0.to_string()));
    Ok(Reply::Map(vec![
        (Reply::text("values"), Reply::Array(values)),
        (Reply::text("timestamp"), timestamp),
        (
            Reply::text("context"),
            Reply::text(options::context_text(&seen)?),
        ),
    ]))
}

/// `R.PUT key value [TIMESTAMP t] [LEVEL level] [TIMEOUT ms]`
fn put(session: &mut Session, arguments: &[Bytes]) -> Started {
    let kinds = [Kind::Timestamp, Kind::Level, Kind::Timeout];
    match Options::parse(&arguments[2..], &kinds) {
        Ok(options) => write(session, &arguments[0], Some(&arguments[1]), &options),
        Err(refusal) => refusal.into(),
    }
}

/// `R.SET key value CONTEXT context [LEVEL level] [TIMEOUT ms]`
fn set(session: &mut Session, arguments: &[Bytes]) -> Started {
    let kinds = [Kind::Context, Kind::Level, Kind::Timeout];
    match Options::parse(&arguments[2..], &kinds) {
        Ok(Options { context: None, .. }) => {
            Reply::error("R.SET needs the CONTEXT that R.GET has answered; R.PUT needs none").into()
        }
        Ok(options) => write(session, &arguments[0], Some(&arguments[1]), &options),
        Err(refusal) => refusal.into(),
    }
}

/// `R.DEL key [TIMESTAMP t] [CONTEXT context] [LEVEL level] [TIMEOUT ms]`
fn del(session: &mut Session, arguments: &[Bytes]) -> Started {
    let kinds = [Kind::Timestamp, Kind::Context, Kind::Level, Kind::Timeout];
    match Options::parse(&arguments[1..], &kinds) {
        Ok(options) => write(session, &arguments[0], None, &options),
        Err(refusal) => refusal.into(),
    }
}

/// Writes a value or deletes it, and answers whether that took effect. A value replaces a counter or a set
/// that the local replica shows, as with SET.
fn write(session: &Session, key: &Bytes, value: Option<&Bytes>, options: &Options) -> Started {
    let (backend, timestamp) = (session.backend(), options.timestamp);
    match (backend.conflict(), timestamp) {
        (ConflictPolicy::Caller, None) => {
            return request_error(&replica::RequestError::TimestampNeeded).into();
        }
        (ConflictPolicy::Caller, Some(_)) | (_, None) => {}
        (_, Some(_)) => return request_error(&replica::RequestError::TimestampNotTaken).into(),
    }
    let key = Bytes::copy_from_slice(key);
    let operation = match value {
        Some(value) => Operation::Put {
            value: stored(value),
            timestamp,
        },
        None => Operation::Delete { timestamp },
    };
    let asker = session.asker();
    let asked = asker.send(request(session, &key, operation, options));
    let contents = backend.contents(&key);
    let has_record = value.is_some() && (contents.counter || contents.set);
    let dropped = has_record.then(|| asker.ask(&key, Operation::Drop));
    Started::waiting(async move {
        let written = match asked.written().await {
            Ok(written) => written,
            Err(error) => return error,
        };
        match all_written(dropped.into_iter().collect()).await {
            (_, None) => Reply::Integer(i64::from(written.took_effect)),
            (_, Some(error)) => error,
        }
    })
}

/// `R.LEVEL [level]`
fn level(session: &mut Session, arguments: &[Bytes]) -> Started {
    let reply = match arguments {
        [] => Reply::Simple(options::level_name(session.level)),
        [name] => match options::level(name) {
            Ok(level) => {
                session.level = level;
                Reply::OK
            }
            Err(refusal) => refusal,
        },
        _ => wrong_arity("r.level"),
    };
    reply.into()
}

/// `R.SESSION [ON | OFF | TOKEN [token]]`
fn session_command(session: &mut Session, arguments: &[Bytes]) -> Started {
    match arguments {
        [] => Reply::Simple(if session.guarantees.is_some() {
            "ON"
        } else {
            "OFF"
        })
        .into(),
        [word] if is(word, "on") => {
            session.guarantees = Some(Seen::new(new_session(session)));
            Reply::OK.into()
        }
        [word] if is(word, "off") => {
            session.guarantees = None;
            Reply::OK.into()
        }
        [word] if is(word, "token") => token(session),
        [word, text] if is(word, "token") => match resume(session, text) {
            Ok(()) => Reply::OK.into(),
            Err(refusal) => refusal.into(),
        },
        [word, ..] => Reply::error(format!(
            "syntax error at '{}': R.SESSION [ON|OFF|TOKEN [token]]",
            quoted(word)
        ))
        .into(),
    }
}

fn new_session(session: &Session) -> StoreSession {
    let backend = session.backend();
    StoreSession::new(
        backend.placement(Space::Strings),
        backend.placement(Space::Types),
    )
}

/// The token of the session. Replies go out in order, so when this one is awaited, all commands before it
/// have been taken note of.
fn token(session: &Session) -> Started {
    let Some(guarantees) = &session.guarantees else {
        return Reply::error("there is no session: R.SESSION ON starts one").into();
    };
    let guarantees = Arc::clone(guarantees);
    Started::waiting(async move { Reply::text(lock(&guarantees).session.to_text()) })
}

/// Takes over what another session has seen, and starts one if there is none.
fn resume(session: &mut Session, text: &[u8]) -> Result<(), Reply> {
    let backend = session.backend();
    let (strings, types) = (
        backend.placement(Space::Strings),
        backend.placement(Space::Types),
    );
    let theirs = StoreSession::resume(strings, types, text).map_err(Reply::error)?;
    match &session.guarantees {
        Some(guarantees) => lock(guarantees).session.join(&theirs),
        None => session.guarantees = Some(Seen::new(theirs)),
    }
    Ok(())
}

/// `R.EXPLAIN key`
fn explain(session: &mut Session, arguments: &[Bytes]) -> Started {
    let told = session.backend().explain(arguments[0].clone());
    Started::waiting(async move {
        match told.await {
            Ok(text) => Reply::text(text),
            Err(error) => request_error(&error),
        }
    })
}
