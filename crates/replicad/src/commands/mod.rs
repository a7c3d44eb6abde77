//! The commands of the protocol: the table they are looked up in, and one file per group.

mod admin;
mod connection;
mod cursors;
mod errors;
mod glob;
mod keyspace;
mod server;
mod strings;
mod table;

use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::backend::{Backend, BoxFuture};
use crate::resp::admit::Refusal;
use crate::resp::reply::{Protocol, Reply};

use cursors::Cursors;
use table::Spec;

/// What the connections of one node share.
pub(crate) struct Shared {
    /// The node.
    pub(crate) backend: Arc<dyn Backend>,
    /// Connections open now.
    pub(crate) connections: AtomicUsize,
    next_client: AtomicU64,
    cursors: Cursors,
}

impl Shared {
    /// The shared part of a front end without connections.
    pub(crate) fn new(backend: Arc<dyn Backend>) -> Self {
        let cursors = Cursors::new(backend.limits().scan_cursors);
        Self {
            backend,
            connections: AtomicUsize::new(0),
            next_client: AtomicU64::new(1),
            cursors,
        }
    }
}

/// One connection: what it has negotiated.
pub(crate) struct Session {
    shared: Arc<Shared>,
    /// Number of the connection, unique at this node.
    id: u64,
    /// The name that the client gave itself.
    name: Bytes,
    /// How replies are spelled from here on.
    protocol: Protocol,
}

impl Session {
    /// A new connection to the node.
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let id = shared.next_client.fetch_add(1, Ordering::Relaxed);
        Self {
            shared,
            id,
            name: Bytes::new(),
            protocol: Protocol::default(),
        }
    }

    /// How the reply to the last command that was started is spelled.
    pub(crate) fn protocol(&self) -> Protocol {
        self.protocol
    }

    fn backend(&self) -> &dyn Backend {
        &*self.shared.backend
    }
}

/// A command that has been started.
pub(crate) enum Started {
    /// The reply is known.
    Ready(Reply),
    /// Everything was submitted; the reply follows. The next command may start.
    Waiting(BoxFuture<Reply>),
    /// Something is still to be submitted. The next command may start when this is complete.
    Held(BoxFuture<Started>),
    /// The reply is the last one; the connection closes behind it.
    Last(Reply),
}

impl Started {
    fn waiting(future: impl Future<Output = Reply> + Send + 'static) -> Self {
        Self::Waiting(Box::pin(future))
    }

    fn held(future: impl Future<Output = Started> + Send + 'static) -> Self {
        Self::Held(Box::pin(future))
    }
}

impl From<Reply> for Started {
    fn from(reply: Reply) -> Self {
        Self::Ready(reply)
    }
}

/// Starts a command: its name and arguments.
pub(crate) fn start(session: &mut Session, words: &[Bytes]) -> Started {
    let Some((name, arguments)) = words.split_first() else {
        return Reply::error("empty command").into();
    };
    let Some(spec) = table::find(name) else {
        return unknown_command(name, arguments).into();
    };
    if !spec.accepts(words.len()) {
        return wrong_arity(spec.name).into();
    }
    if let Some(refused) = over_limit(session.backend(), spec, words) {
        return refused.into();
    }
    (spec.start)(session, arguments)
}

/// The reply to a command that was too long to be admitted.
pub(crate) fn refused(session: &Session, refusal: &Refusal) -> Reply {
    let limits = session.backend().limits();
    match refusal {
        Refusal::Frame => Reply::error(format!(
            "command is over the limit of {} bytes and {} arguments",
            limits.max_frame_bytes, limits.max_arguments
        )),
        Refusal::Argument {
            name,
            index: 0,
            size,
        } => {
            debug_assert!(name.is_empty());
            Reply::error(format!("unknown command with a name of {size} bytes"))
        }
        Refusal::Argument { name, index, size } => match table::find(name) {
            None => unknown_command(name, &[]),
            Some(spec) if spec.is_key(*index) => over("key", *size, limits.max_key_bytes),
            Some(_) => over("value", *size, limits.max_value_bytes),
        },
    }
}

/// The error for a key or value among the words that is over its limit, if there is one. Other
/// arguments are bounded as values are.
fn over_limit(backend: &dyn Backend, spec: &Spec, words: &[Bytes]) -> Option<Reply> {
    let limits = backend.limits();
    words.iter().enumerate().find_map(|(index, word)| {
        let (what, limit) = if spec.is_key(index) {
            ("key", limits.max_key_bytes)
        } else {
            ("value", limits.max_value_bytes)
        };
        (word.len() > limit).then(|| over(what, word.len(), limit))
    })
}

fn over(what: &str, size: usize, limit: usize) -> Reply {
    Reply::error(format!(
        "{what} of {size} bytes is over the limit of {limit}"
    ))
}

fn wrong_arity(name: &str) -> Reply {
    Reply::error(format!("wrong number of arguments for '{name}' command"))
}

fn unknown_command(name: &[u8], arguments: &[Bytes]) -> Reply {
    let mut message = format!(
        "unknown command '{}', with args beginning with: ",
        quoted(name)
    );
    for argument in arguments.iter().take(3) {
        message.push_str(&format!("'{}' ", quoted(argument)));
    }
    Reply::error(message.trim_end())
}

fn unknown_subcommand(family: &str, name: &[u8]) -> Reply {
    Reply::error(format!(
        "unknown or unsupported subcommand '{}' of {family}",
        quoted(name)
    ))
}

/// The start of what a client sent, fit for an error message.
fn quoted(bytes: &[u8]) -> String {
    const SHOWN_BYTES: usize = 64;
    bytes[..bytes.len().min(SHOWN_BYTES)]
        .escape_ascii()
        .to_string()
}

/// A decimal number and nothing else.
fn number(bytes: &[u8]) -> Option<u64> {
    if !bytes.first()?.is_ascii_digit() {
        return None;
    }
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

fn is(word: &[u8], expected: &str) -> bool {
    word.eq_ignore_ascii_case(expected.as_bytes())
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
