//! The causal store: partitioned, available, with session guarantees (system C).

use bytes::Bytes;

use crate::request::bytes_of;
use crate::{
    ClockKind, Cluster, ClusterError, Command, Guarantees, Level, NodeHandle, NodeId, Outcome,
    PartitionId, RequestError, Session, Token, TokenTooLarge,
};
use crdt::CausalContext;
use std::time::Duration;

/// The drift bound of the hybrid clocks, in milliseconds.
const DRIFT_BOUND_MS: u64 = 60_000;

/// A store of bytes, each key on a few of many nodes, whose clients work in sessions.
///
/// Reads and writes are answered by one owner as soon as it has seen what the session has; timestamps
/// come from hybrid clocks, so the last writer wins and a write that follows from a read is later than
/// what was read. It is a [`Cluster`] with partitions; faults are injected through
/// [`cluster`](Self::cluster).
///
/// ```
/// use replica::CausalStore;
///
/// let store = CausalStore::new(10, 3)?;
/// let mut ann = store.session();
/// ann.put(&store.node(1), "photo", "beach")?;
/// // The token carries what Ann has seen to Bob, who reads through any node and never less than that.
/// let mut bob = store.resume(ann.token().clone());
/// assert_eq!(bob.get(&store.node(7), "photo")?.as_deref(), Some(&b"beach"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct CausalStore {
    cluster: Cluster,
}

/// A client's session with a [`CausalStore`]. It may ask any node each time.
///
/// Its guarantees hold at each [level](Self::at). At level `One`, the default, one owner answers that has seen what the
/// session has; a session that needs more of some operations asks for more with the same token.
#[derive(Debug, Clone)]
pub struct CausalSession {
    session: Session,
    level: Level,
    timeout_ms: Option<u64>,
}

/// Why an operation of a session failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The store could not answer. [`RequestError::SessionUnmet`] if no owner that could be reached has
    /// seen what the session has.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The session has seen more than its token may hold, and not every owner has it yet. Nothing was asked and nothing
    /// was changed.
    #[error(transparent)]
    Token(#[from] TokenTooLarge),
}

impl CausalStore {
    /// A store of `nodes` nodes with each key on `replication_factor` of them, values of up to 1 MiB.
    ///
    /// # Errors
    /// If there are too few nodes, or more owners than nodes.
    pub fn new(nodes: u32, replication_factor: u32) -> Result<Self, ClusterError> {
        let builder = Cluster::builder(nodes).configure(|config| {
            config.clock = ClockKind::Hybrid {
                drift_bound_ms: DRIFT_BOUND_MS,
            };
            config.partitions = 4 * nodes;
            *config = config.clone().with_owners(replication_factor);
        });
        let cluster = builder.build()?;
        Ok(Self { cluster })
    }

    /// The cluster underneath: faults, recovery, status.
    pub const fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// A node to ask.
    ///
    /// # Panics
    /// If the store has no such node: they are numbered from 1.
    pub fn node(&self, node: u32) -> NodeHandle {
        self.cluster.node(NodeId(node))
    }

    /// A session with all four guarantees that has seen nothing.
    pub fn session(&self) -> CausalSession {
        self.session_with(Guarantees::default())
    }

    /// A session with the guarantees that are asked for.
    pub fn session_with(&self, guarantees: Guarantees) -> CausalSession {
        self.resume_with(Token::default(), guarantees)
    }

    /// A session with all four guarantees that goes on from a token.
    pub fn resume(&self, token: Token) -> CausalSession {
        self.resume_with(token, Guarantees::default())
    }

    /// A session that goes on from a token, with the guarantees that are asked for.
    pub fn resume_with(&self, token: Token, guarantees: Guarantees) -> CausalSession {
        let placement = self.cluster.placement();
        CausalSession {
            session: Session::resume(placement, guarantees, token),
            level: Level::One,
            timeout_ms: None,
        }
    }
}

impl From<Cluster> for CausalStore {
    fn from(cluster: Cluster) -> Self {
        Self { cluster }
    }
}

impl CausalSession {
    /// The same at another level from here on.
    #[must_use]
    pub const fn at(mut self, level: Level) -> Self {
        self.level = level;
        self
    }

    /// The same; its operations are given up after this time, if that is less than
    /// [`Config::request_timeout_ms`](crate::Config::request_timeout_ms). Counted in whole milliseconds, rounded up.
    #[must_use]
    pub fn within(mut self, timeout: Duration) -> Self {
        let ms = timeout.as_nanos().div_ceil(1_000_000);
        self.timeout_ms = Some(u64::try_from(ms).unwrap_or(u64::MAX));
        self
    }

    /// The same with another limit on the ranges of events in its token than [`Session::MAX_RANGES`].
    #[must_use]
    pub fn with_max_ranges(mut self, max_ranges: usize) -> Self {
        self.session = self.session.with_max_ranges(max_ranges);
        self
    }

    /// Reads a key through a node.
    ///
    /// # Errors
    /// If no owner answers in time that has seen what the session has, or the token is over its limit.
    pub fn get(&mut self, node: &NodeHandle, key: &str) -> Result<Option<Bytes>, SessionError> {
        let outcome = self.execute(node, Command::get(bytes_of(key)))?;
        Ok(outcome.value().cloned())
    }

    /// Writes a value through a node.
    ///
    /// # Errors
    /// If no owner answers, the value is too large, or the token is over its limit.
    pub fn put(
        &mut self,
        node: &NodeHandle,
        key: &str,
        value: impl Into<Bytes>,
    ) -> Result<(), SessionError> {
        let put = Command::put(bytes_of(key), value.into());
        self.execute(node, put).map(|_| ())
    }

    /// Deletes a key through a node.
    ///
    /// # Errors
    /// If no owner answers, or the token is over its limit.
    pub fn delete(&mut self, node: &NodeHandle, key: &str) -> Result<(), SessionError> {
        self.execute(node, Command::delete(bytes_of(key)))
            .map(|_| ())
    }

    /// What the session has seen: hand it to another client, or keep it for later.
    pub const fn token(&self) -> &Token {
        self.session.token()
    }

    /// Takes over what another client has seen.
    pub fn join(&mut self, token: &Token) {
        self.session.token_mut().join(token);
    }

    /// Goes on without these events: [`Token::prune`]. So a session does that was told that events are lost.
    ///
    /// ```
    /// use replica::{CausalSession, RequestError, SessionError};
    ///
    /// fn go_on(session: &mut CausalSession, error: &SessionError) {
    ///     if let SessionError::Request(RequestError::SessionLost { partition, lost }) = error {
    ///         session.prune(*partition, lost);
    ///     }
    /// }
    /// ```
    pub fn prune(&mut self, partition: PartitionId, events: &CausalContext) {
        self.session.token_mut().prune(partition, events);
    }

    /// Whether the token has room is asked before the operation: what has succeeded is not reported as failed.
    fn execute(&mut self, node: &NodeHandle, command: Command) -> Result<Outcome, SessionError> {
        if self.session.check_size().is_err() {
            node.prune(self.session.token_mut());
            self.session.check_size()?;
        }
        let key = command.key().clone();
        let mut request = self.session.request(command, self.level);
        request.timeout_ms = self.timeout_ms;
        let outcome = node.execute(request)?;
        let _said_before_the_next = self.session.note(&key, &outcome);
        Ok(outcome)
    }
}
