//! Sets: SADD, SREM, SMEMBERS, SISMEMBER, SMISMEMBER, SCARD.
//!
//! Of adding and removing a member at the same time, adding wins: the removal had not seen it.

use bytes::Bytes;
use std::collections::BTreeSet;

use super::ask::{Asked, Asker};
use super::errors::wrong_type;
use super::strings::stored;
use super::table::{Keys, READ, READ_MUCH, Spec, WRITE, command};
use super::{Session, Started};
use crate::policies::{MAX_SET_BYTES, MEMBER_BYTES};
use crate::resp::reply::Reply;
use crate::store::{Operation, Record};

pub(super) static COMMANDS: &[Spec] = &[
    command(
        "SADD key member [member ...]",
        -3,
        WRITE,
        Keys::ONE,
        "set",
        "Adds members to a set and counts those that were not in it.",
        sadd,
    ),
    command(
        "SREM key member [member ...]",
        -3,
        WRITE,
        Keys::ONE,
        "set",
        "Removes members from a set and counts those that were in it.",
        srem,
    ),
    command(
        "SMEMBERS key",
        2,
        READ_MUCH,
        Keys::ONE,
        "set",
        "The members of a set, in the order of their bytes.",
        smembers,
    ),
    command(
        "SISMEMBER key member",
        3,
        READ,
        Keys::ONE,
        "set",
        "Whether a set has a member.",
        sismember,
    ),
    command(
        "SMISMEMBER key member [member ...]",
        -3,
        READ,
        Keys::ONE,
        "set",
        "Which of some members a set has.",
        smismember,
    ),
    command(
        "SCARD key",
        2,
        READ,
        Keys::ONE,
        "set",
        "How many members a set has.",
        scard,
    ),
];

/// The refusal of a key that the local replica shows to hold something else.
fn not_a_set(session: &Session, key: &Bytes) -> Result<(), Reply> {
    let contents = session.backend().contents(key);
    if contents.string {
        Err(wrong_type("a string"))
    } else if contents.counter && !contents.set {
        Err(wrong_type("a counter"))
    } else {
        Ok(())
    }
}

fn members(arguments: &[Bytes]) -> Vec<Bytes> {
    arguments.iter().map(stored).collect()
}

fn sadd(session: &mut Session, arguments: &[Bytes]) -> Started {
    if let Err(refusal) = not_a_set(session, &arguments[0]) {
        return refusal.into();
    }
    let (asker, key) = (session.asker(), Bytes::copy_from_slice(&arguments[0]));
    let members = members(&arguments[1..]);
    // Without the word of the node that made the write, all of them count as new.
    let distinct = members.iter().collect::<BTreeSet<_>>().len();
    let asked = asker.ask(&key, Operation::Add { members });
    Started::waiting(async move {
        match asked.written().await {
            Ok(written) if !written.took_effect => too_large(),
            Ok(written) => Reply::count(written.effect.map_or(distinct, |effect| effect.added)),
            Err(error) => error,
        }
    })
}

/// The refusal of members for which there is no room.
fn too_large() -> Reply {
    Reply::error(format!(
        "the set would be over the limit of {MAX_SET_BYTES} bytes, each member counted with {MEMBER_BYTES} \
         more; none was added: spread a large set over several keys"
    ))
}

/// Reads the set, then removes what is in it: a coordinator removes what it holds, so it has to have what
/// was read. The commands behind it wait for the read.
fn srem(session: &mut Session, arguments: &[Bytes]) -> Started {
    if let Err(refusal) = not_a_set(session, &arguments[0]) {
        return refusal.into();
    }
    let (asker, key) = (session.asker(), Bytes::copy_from_slice(&arguments[0]));
    let members = members(&arguments[1..]);
    let look = asker.ask(&key, Operation::Look);
    Started::held(async move {
        match look.record().await {
            Ok((record, seen)) => {
                let wanted: BTreeSet<&Bytes> = members.iter().collect();
                let present = present(&record).intersection(&wanted).count();
                let remove = Operation::Remove { members };
                let asked = asker.ask_after(&key, remove, seen);
                Started::waiting(removed(asked, present))
            }
            Err(error) => error.into(),
        }
    })
}

fn present(record: &Record) -> BTreeSet<&Bytes> {
    record.members.iter().flatten().collect()
}

async fn removed(asked: Asked, present: usize) -> Reply {
    match asked.written().await {
        Ok(written) => Reply::count(written.effect.map_or(present, |effect| effect.removed)),
        Err(error) => error,
    }
}

/// Reads a set and answers what `tell` makes of it.
fn read(
    session: &Session,
    key: &Bytes,
    tell: impl FnOnce(BTreeSet<Bytes>) -> Reply + Send + 'static,
) -> Started {
    if let Err(refusal) = not_a_set(session, key) {
        return refusal.into();
    }
    let asker: Asker = session.asker();
    let look = asker.ask(key, Operation::Look);
    Started::waiting(async move {
        match look.record().await {
            Ok((record, _)) => match (record.members, record.counter) {
                (None, Some(_)) => wrong_type("a counter"),
                (members, _) => tell(members.unwrap_or_default()),
            },
            Err(error) => error,
        }
    })
}

fn smembers(session: &mut Session, arguments: &[Bytes]) -> Started {
    let limit = session.backend().limits().max_reply_bytes;
    read(session, &arguments[0], move |members| {
        let size: usize = members.iter().map(Bytes::len).sum();
        if size > limit {
            return Reply::error(format!(
                "the members are over the limit of {limit} bytes for one reply"
            ));
        }
        Reply::Set(members.into_iter().map(Reply::Bulk).collect())
    })
}

fn sismember(session: &mut Session, arguments: &[Bytes]) -> Started {
    let member = arguments[1].clone();
    read(session, &arguments[0], move |members| {
        Reply::count(usize::from(members.contains(&member)))
    })
}

fn smismember(session: &mut Session, arguments: &[Bytes]) -> Started {
    let wanted = arguments[1..].to_vec();
    read(session, &arguments[0], move |members| {
        let is_in = |member| Reply::count(usize::from(members.contains(member)));
        Reply::Array(wanted.iter().map(is_in).collect())
    })
}

fn scard(session: &mut Session, arguments: &[Bytes]) -> Started {
    read(session, &arguments[0], |members| {
        Reply::count(members.len())
    })
}
