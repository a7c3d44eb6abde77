//! Who the client is: AUTH and HELLO.

use bytes::Bytes;

use super::table::{Keys, OPEN, Spec, command};
use super::{Session, Started, is, number, quoted, wrong_arity};
use crate::resp::reply::{Protocol, Reply};

pub(super) static COMMANDS: &[Spec] = &[
    command(
        "HELLO [2|3 [AUTH default password] [SETNAME name]]",
        -1,
        OPEN,
        Keys::NONE,
        "connection",
        "Chooses version 2 or 3 of the protocol, and names the password.",
        hello,
    ),
    command(
        "AUTH [default] password",
        -2,
        OPEN,
        Keys::NONE,
        "connection",
        "Names the password.",
        auth,
    ),
];

/// The one user there is.
const USER: &str = "default";

/// The reply to anything else of a client that has not named the password.
pub(super) fn required() -> Reply {
    Reply::Error("NOAUTH Authentication required.".into())
}

fn wrong() -> Reply {
    Reply::Error("WRONGPASS invalid username-password pair or user is disabled.".into())
}

fn auth(session: &mut Session, arguments: &[Bytes]) -> Started {
    let (user, password) = match arguments {
        [password] => (None, password),
        [user, password] => (Some(user), password),
        _ => return wrong_arity("auth").into(),
    };
    if user.is_none() && session.shared.password.is_none() {
        return Reply::error(
            "AUTH <password> called without any password configured for the default user. Are you \
             sure your configuration is correct?",
        )
        .into();
    }
    let user = user.map_or(USER.as_bytes(), |user| user);
    checked(session, user, password, |_| Reply::OK)
}

/// Checks the pair, and answers what `accepted` says if it is right. The commands behind it wait.
fn checked(
    session: &Session,
    user: &[u8],
    password: &Bytes,
    accepted: impl FnOnce(&mut Session) -> Reply + Send + 'static,
) -> Started {
    let (is_user, password) = (user == USER.as_bytes(), password.clone());
    let expected = session.shared.password.clone();
    Started::resumed(async move {
        let matches = match expected {
            Some(expected) => expected.matches(password).await,
            // As in Redis, where the default user without a password takes any.
            None => true,
        };
        let is_right = is_user && matches;
        move |session: &mut Session| {
            if !is_right {
                return wrong().into();
            }
            session.is_stranger = false;
            accepted(session).into()
        }
    })
}

/// What a HELLO asks for.
struct Greeting {
    protocol: Protocol,
    name: Bytes,
    /// User and password.
    pair: Option<(Bytes, Bytes)>,
}

/// `HELLO [version [AUTH user password] [SETNAME name]]`. Nothing is changed if any part of it is refused.
fn hello(session: &mut Session, arguments: &[Bytes]) -> Started {
    let Greeting {
        protocol,
        name,
        pair,
    } = match greeting(session, arguments) {
        Ok(greeting) => greeting,
        Err(error) => return error.into(),
    };
    let accept = move |session: &mut Session| {
        session.protocol = protocol;
        session.name = name;
        introduction(session)
    };
    match pair {
        Some((user, password)) => checked(session, &user, &password, accept),
        None if session.is_stranger => Reply::Error(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO \
             <proto> AUTH <user> <pass> option can be used to authenticate the client and select \
             the RESP protocol version at the same time"
                .into(),
        )
        .into(),
        None => accept(session).into(),
    }
}

fn greeting(session: &Session, arguments: &[Bytes]) -> Result<Greeting, Reply> {
    let mut greeting = Greeting {
        protocol: session.protocol,
        name: session.name.clone(),
        pair: None,
    };
    let Some((version, mut rest)) = arguments.split_first() else {
        return Ok(greeting);
    };
    greeting.protocol = match number(version) {
        Some(2) => Protocol::Resp2,
        Some(3) => Protocol::Resp3,
        Some(_) => return Err(Reply::Error("NOPROTO unsupported protocol version".into())),
        None => {
            return Err(Reply::error(
                "Protocol version is not an integer or out of range",
            ));
        }
    };
    while let Some((option, values)) = rest.split_first() {
        rest = match values {
            [user, password, others @ ..] if is(option, "auth") => {
                greeting.pair = Some((user.clone(), password.clone()));
                others
            }
            [value, others @ ..] if is(option, "setname") => {
                greeting.name = client_name(value)?;
                others
            }
            _ => {
                let option = quoted(option);
                return Err(Reply::error(format!(
                    "syntax error in HELLO option '{option}'"
                )));
            }
        };
    }
    Ok(greeting)
}

fn introduction(session: &Session) -> Reply {
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

/// The name that a client may give itself.
pub(super) fn client_name(name: &Bytes) -> Result<Bytes, Reply> {
    const MAX_NAME_BYTES: usize = 256;
    if name.len() > MAX_NAME_BYTES || !name.iter().all(u8::is_ascii_graphic) {
        return Err(Reply::error(
            "Client names cannot contain spaces, newlines or special characters, or be longer than \
             256 bytes",
        ));
    }
    Ok(Bytes::copy_from_slice(name))
}
