//! The commands of the protocol: the table they are looked up in, and one file per group.

mod admin;
mod ask;
mod auth;
mod connection;
mod counters;
mod cursors;
mod errors;
mod extensions;
mod glob;
mod keys;
mod keyspace;
mod options;
mod order;
mod refused;
mod server;
mod sets;
mod strings;
mod table;

use bytes::Bytes;
use replica::Level;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::backend::{Backend, BoxFuture};
use crate::metrics::RequestMetrics;
use crate::password::Password;
use crate::resp::admit::Refusal;
use crate::resp::reply::{Protocol, Reply};
use crate::store::{Bound, Share};

use ask::{Asker, Guarantees};
use cursors::Cursors;
use order::UnderWay;
use table::Spec;
pub(crate) use table::{name_of, number_of, numbers};

/// What the connections of one node share.
pub(crate) struct Shared {
    /// The node.
    pub(crate) backend: Arc<dyn Backend>,
    /// Connections open now.
    pub(crate) connections: AtomicUsize,
    /// What is counted of them.
    pub(crate) metrics: Arc<RequestMetrics>,
    /// Bytes of long commands that may be in progress.
    pub(crate) long: Bound,
    next_client: AtomicU64,
    /// Reads that were answered without the node's inbox, as far as they were logged.
    reads_here: AtomicU64,
    cursors: Cursors,
    /// What clients have to name before anything else.
    password: Option<Password>,
}

impl Shared {
    /// The shared part of a front end without connections.
    pub(crate) fn new(backend: Arc<dyn Backend>, password: Option<Password>) -> Self {
        let cursors = Cursors::new(backend.limits().scan_cursors);
        let metrics = backend.metrics();
        Self {
            long: Bound::new(backend.limits().max_long_bytes),
            backend,
            connections: AtomicUsize::new(0),
            metrics,
            next_client: AtomicU64::new(1),
            reads_here: AtomicU64::new(1),
            cursors,
            password,
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
    /// Whether the password is still to be named.
    is_stranger: bool,
    /// How many owners must agree, unless a command says otherwise.
    level: Level,
    /// What the connection has seen, if it asked for session guarantees.
    guarantees: Option<Guarantees>,
    /// Whether a command before the next one has not been answered by the node yet.
    is_behind: bool,
    /// What is held for the next command until the node has answered what it asks.
    share: Share,
    /// Commands that must not be overtaken.
    under_way: Arc<UnderWay>,
}

impl Session {
    /// A new connection to the node.
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let id = shared.next_client.fetch_add(1, Ordering::Relaxed);
        Self::with_id(shared, id)
    }

    fn with_id(shared: Arc<Shared>, id: u64) -> Self {
        let is_stranger = shared.password.is_some();
        Self {
            shared,
            id,
            name: Bytes::new(),
            protocol: Protocol::default(),
            is_stranger,
            level: Level::default(),
            guarantees: None,
            is_behind: false,
            share: Share::default(),
            under_way: Arc::default(),
        }
    }

    /// Forgets everything that was negotiated, the password too.
    fn reset(&mut self) {
        *self = Self::with_id(Arc::clone(&self.shared), self.id);
    }

    /// Whether the client has still to name the password.
    pub(crate) fn is_stranger(&self) -> bool {
        self.is_stranger
    }

    /// Says whether a command before the next one has not been answered by the node yet. The next one is not
    /// answered past it then.
    pub(crate) const fn set_behind(&mut self, is_behind: bool) {
        self.is_behind = is_behind;
    }

    /// Holds something for the next command until the node has answered what it asks.
    pub(crate) fn set_share(&mut self, share: Share) {
        self.share = share;
    }

    /// How the reply to the last command that was started is spelled.
    pub(crate) fn protocol(&self) -> Protocol {
        self.protocol
    }

    fn backend(&self) -> &dyn Backend {
        &*self.shared.backend
    }

    /// What it takes to ask the node, now and later.
    fn asker(&self) -> Asker {
        Asker {
            shared: Arc::clone(&self.shared),
            level: self.level,
            guarantees: self.guarantees.clone(),
            share: self.share.weak(),
        }
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
    /// The connection itself is still to be changed. The next command may start when that is done.
    Resumed(BoxFuture<Resume>),
    /// The reply is the last one; the connection closes behind it.
    Last(Reply),
}

/// The rest of a command that changes its connection.
pub(crate) type Resume = Box<dyn FnOnce(&mut Session) -> Started + Send>;

impl Started {
    fn waiting(future: impl Future<Output = Reply> + Send + 'static) -> Self {
        Self::Waiting(Box::pin(future))
    }

    fn held(future: impl Future<Output = Started> + Send + 'static) -> Self {
        Self::Held(Box::pin(future))
    }

    fn resumed<R>(future: impl Future<Output = R> + Send + 'static) -> Self
    where
        R: FnOnce(&mut Session) -> Self + Send + 'static,
    {
        Self::Resumed(Box::pin(async { Box::new(future.await) as Resume }))
    }

    /// The same, and the next command may start when the reply is known.
    fn awaited(self) -> Self {
        match self {
            Self::Waiting(reply) => Self::held(async { Self::Ready(reply.await) }),
            Self::Held(rest) => Self::held(async { rest.await.awaited() }),
            other => other,
        }
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
    let spec = table::find(name);
    if session.is_stranger && !spec.is_some_and(Spec::is_open) {
        return auth::required().into();
    }
    let Some(spec) = spec else {
        return unknown_command(name, arguments).into();
    };
    if !spec.accepts(words.len()) {
        return wrong_arity(spec.name).into();
    }
    if let Some(refused) = over_limit(session.backend(), spec, words) {
        return refused.into();
    }
    match session.backend().owns_everything() {
        true => order::start_here(session, spec, words),
        false => order::start(session, spec, words),
    }
}

/// The reply to a command that was too long to be admitted.
pub(crate) fn too_long(session: &Session, refusal: &Refusal) -> Reply {
    if session.is_stranger {
        return auth::required();
    }
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
    let name = name.to_lowercase();
    Reply::error(format!("wrong number of arguments for '{name}' command"))
}

fn unknown_command(name: &[u8], arguments: &[Bytes]) -> Reply {
    if let Some(refusal) = refused::command(name) {
        return refusal;
    }
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

/// The names of all commands, for tests that make some up.
#[cfg(test)]
pub(crate) fn names() -> Vec<&'static str> {
    let refused = refused::REFUSED.iter().flat_map(|refused| refused.names);
    let known = table::all().map(|spec| spec.name);
    known.chain(refused.copied()).collect()
}

#[cfg(test)]
mod tests;
