//! The connection itself: PING, ECHO, HELLO, SELECT, CLIENT, RESET, QUIT.

use bytes::Bytes;

use super::{Session, Started, is, number, quoted, unknown_subcommand, wrong_arity};
use crate::resp::reply::{Protocol, Reply};

pub(super) fn ping(_: &mut Session, arguments: &[Bytes]) -> Started {
    match arguments {
        [] => Reply::Simple("PONG").into(),
        [message] => Reply::Bulk(message.clone()).into(),
        _ => wrong_arity("ping").into(),
    }
}

pub(super) fn echo(_: &mut Session, arguments: &[Bytes]) -> Started {
    Reply::Bulk(arguments[0].clone()).into()
}

/// `HELLO [version [SETNAME name]]`. Nothing is changed if any part of it is refused.
pub(super) fn hello(session: &mut Session, arguments: &[Bytes]) -> Started {
    match hello_options(session, arguments) {
        Ok((protocol, name)) => {
            session.protocol = protocol;
            session.name = name;
            greeting(session).into()
        }
        Err(error) => error.into(),
    }
}

fn hello_options(session: &Session, arguments: &[Bytes]) -> Result<(Protocol, Bytes), Reply> {
    let Some((version, mut rest)) = arguments.split_first() else {
        return Ok((session.protocol, session.name.clone()));
    };
    let protocol = match number(version) {
        Some(2) => Protocol::Resp2,
        Some(3) => Protocol::Resp3,
        Some(_) => return Err(Reply::Error("NOPROTO unsupported protocol version".into())),
        None => {
            return Err(Reply::error(
                "Protocol version is not an integer or out of range",
            ));
        }
    };
    let mut name = session.name.clone();
    while let Some((option, values)) = rest.split_first() {
        if is(option, "auth") {
            return Err(Reply::error(
                "AUTH is not supported: there are no users or passwords",
            ));
        }
        match values {
            [value, others @ ..] if is(option, "setname") => {
                name = client_name(value)?;
                rest = others;
            }
            _ => {
                let option = quoted(option);
                return Err(Reply::error(format!(
                    "syntax error in HELLO option '{option}'"
                )));
            }
        }
    }
    Ok((protocol, name))
}

fn greeting(session: &Session) -> Reply {
    let id = i64::try_from(session.id).unwrap_or(i64::MAX);
    Reply::Map(vec![
        (Reply::text("server"), Reply::text("replicad")),
        (
            Reply::text("version"),
            Reply::text(env!("CARGO_PKG_VERSION")),
        ),
        (
            Reply::text("proto"),
            Reply::Integer(session.protocol.version()),
        ),
        (Reply::text("id"), Reply::Integer(id)),
        (Reply::text("mode"), Reply::text("standalone")),
        (Reply::text("role"), Reply::text("master")),
        (Reply::text("modules"), Reply::Array(Vec::new())),
    ])
}

pub(super) fn select(_: &mut Session, arguments: &[Bytes]) -> Started {
    match number(&arguments[0]) {
        Some(0) => Reply::OK.into(),
        _ => Reply::error("only database 0 exists").into(),
    }
}

pub(super) fn client(session: &mut Session, arguments: &[Bytes]) -> Started {
    let (subcommand, rest) = (&arguments[0], &arguments[1..]);
    if is(subcommand, "id") && rest.is_empty() {
        return Reply::Integer(i64::try_from(session.id).unwrap_or(i64::MAX)).into();
    }
    if is(subcommand, "getname") && rest.is_empty() {
        return Reply::Bulk(session.name.clone()).into();
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
    unknown_subcommand("CLIENT", subcommand).into()
}

fn client_name(name: &Bytes) -> Result<Bytes, Reply> {
    const MAX_NAME_BYTES: usize = 256;
    if name.len() > MAX_NAME_BYTES || !name.iter().all(u8::is_ascii_graphic) {
        return Err(Reply::error(
            "Client names cannot contain spaces, newlines or special characters, or be longer than \
             256 bytes",
        ));
    }
    Ok(Bytes::copy_from_slice(name))
}

pub(super) fn reset(session: &mut Session, _: &[Bytes]) -> Started {
    session.protocol = Protocol::default();
    session.name = Bytes::new();
    Reply::Simple("RESET").into()
}

pub(super) fn quit(_: &mut Session, _: &[Bytes]) -> Started {
    Started::Last(Reply::OK)
}
