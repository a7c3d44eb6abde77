//! Counters: INCR, DECR, INCRBY, DECRBY.
//!
//! A counter merges: increments through different nodes at the same time all count. What a command answers
//! is the sum as the node that made the increment has it.

use bytes::Bytes;

use super::errors::wrong_type;
use super::table::{Keys, Spec, WRITE, command};
use super::{Session, Started};
use crate::resp::reply::Reply;
use crate::store::Operation;

pub(super) static COMMANDS: &[Spec] = &[
    command(
        "INCR key",
        2,
        WRITE,
        Keys::ONE,
        "string",
        "Adds one to a counter and answers the sum.",
        |session, arguments| add(session, &arguments[0], Some(1)),
    ),
    command(
        "DECR key",
        2,
        WRITE,
        Keys::ONE,
        "string",
        "Takes one off a counter and answers the sum.",
        |session, arguments| add(session, &arguments[0], Some(-1)),
    ),
    command(
        "INCRBY key increment",
        3,
        WRITE,
        Keys::ONE,
        "string",
        "Adds to a counter and answers the sum.",
        |session, arguments| add(session, &arguments[0], integer(&arguments[1])),
    ),
    command(
        "DECRBY key decrement",
        3,
        WRITE,
        Keys::ONE,
        "string",
        "Takes off a counter and answers the sum.",
        decrby,
    ),
];

fn decrby(session: &mut Session, arguments: &[Bytes]) -> Started {
    match integer(&arguments[1]) {
        Some(i64::MIN) => Reply::error("decrement would overflow").into(),
        by => add(session, &arguments[0], by.map(|by| -by)),
    }
}

/// An integer as Redis reads them: no sign `+`, no leading zeros, no spaces.
fn integer(word: &[u8]) -> Option<i64> {
    let number: i64 = std::str::from_utf8(word).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == word).then_some(number)
}

fn add(session: &Session, key: &Bytes, by: Option<i64>) -> Started {
    let Some(by) = by else {
        return Reply::error("value is not an integer or out of range").into();
    };
    let contents = session.backend().contents(key);
    if contents.string {
        return wrong_type("a string, and only what INCR has made is a counter").into();
    }
    if contents.set && !contents.counter {
        return wrong_type("a set").into();
    }
    let (asker, key) = (session.asker(), Bytes::copy_from_slice(key));
    let asked = asker.ask(&key, Operation::Increment { by });
    Started::waiting(async move {
        let sum = async {
            let written = asked.written().await?;
            if let Some(effect) = written.effect {
                return Ok(effect.counter);
            }
            let look = asker.ask_after(&key, Operation::Look, written.seen);
            Ok(look.record().await?.0.counter)
        };
        match sum.await {
            Ok(sum) => Reply::Integer(sum.unwrap_or(0)),
            Err(error) => error,
        }
    })
}
