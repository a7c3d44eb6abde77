//! The connection itself: PING, ECHO, SELECT, CLIENT, RESET, QUIT.

use bytes::Bytes;

use super::auth::client_name;
use super::table::{Keys, OPEN, READ, Spec, TALK, command};
use super::{Session, Started, is, number, quoted, refused, unknown_subcommand, wrong_arity};
use crate::resp::reply::Reply;

pub(super) static COMMANDS: &[Spec] = &[
    command(
        "PING [message]",
        -1,
        READ,
        Keys::NONE,
        "connection",
        "Answers PONG or its argument.",
        ping,
    ),
    command(
        "ECHO message",
        2,
        READ,
        Keys::NONE,
        "connection",
        "Answers its argument.",
        echo,
    ),
    command(
        "SELECT 0",
        2,
        TALK,
        Keys::NONE,
        "connection",
        "Chooses database 0, the only one.",
        select,
    ),
    command(
        "CLIENT ID|GETNAME|SETNAME|SETINFO [argument ...]",
        -2,
        TALK,
        Keys::NONE,
        "connection",
        "The number and the name of the connection.",
        client,
    ),
    command(
        "RESET",
        1,
        OPEN,
        Keys::NONE,
        "connection",
        "Forgets what the connection has negotiated.",
        reset,
    ),
    command(
        "QUIT",
        -1,
        OPEN,
        Keys::NONE,
        "connection",
        "Closes the connection once all replies are sent.",
        quit,
    ),
];

fn ping(_: &mut Session, arguments: &[Bytes]) -> Started {
    match arguments {
        [] => Reply::Simple("PONG").into(),
        [message] => Reply::Bulk(message.clone()).into(),
        _ => wrong_arity("ping").into(),
    }
}

fn echo(_: &mut Session, arguments: &[Bytes]) -> Started {
    Reply::Bulk(arguments[0].clone()).into()
}

fn select(_: &mut Session, arguments: &[Bytes]) -> Started {
    match number(&arguments[0]) {
        Some(0) => Reply::OK.into(),
        _ => Reply::error("only database 0 exists").into(),
    }
}

fn client(session: &mut Session, arguments: &[Bytes]) -> Started {
    let (subcommand, rest) = (&arguments[0], &arguments[1..]);
    if is(subcommand, "id") && rest.is_empty() {
        return Reply::Integer(i64::try_from(session.id).unwrap_or(i64::MAX)).into();
    }
    if is(subcommand, "getname") && rest.is_empty() {
        let name = session.name.clone();
        return match name.is_empty() {
            true => Reply::Null.into(),
            false => Reply::Bulk(name).into(),
        };
    }
    if is(subcommand, "setname")
        && let [name] = rest
    {
        return match client_name(name) {
            Ok(name) => {
                session.name = name;
                Reply::OK.into()
            }
            Err(error) => error.into(),
        };
    }
    if is(subcommand, "setinfo")
        && let [attribute, _] = rest
    {
        return if is(attribute, "lib-name") || is(attribute, "lib-ver") {
            Reply::OK.into()
        } else {
            Reply::error(format!("unrecognized option '{}'", quoted(attribute))).into()
        };
    }
    if ["id", "getname", "setname", "setinfo"]
        .iter()
        .any(|known| is(subcommand, known))
    {
        return wrong_arity(&format!("client|{}", quoted(subcommand).to_lowercase())).into();
    }
    match refused::part("CLIENT", subcommand) {
        Some(refusal) => refusal.into(),
        None => unknown_subcommand("CLIENT", subcommand).into(),
    }
}

fn reset(session: &mut Session, _: &[Bytes]) -> Started {
    session.reset();
    Reply::Simple("RESET").into()
}

fn quit(_: &mut Session, _: &[Bytes]) -> Started {
    Started::Last(Reply::OK)
}
