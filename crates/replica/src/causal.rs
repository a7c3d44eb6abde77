//! The causal store: partitioned, available, with session guarantees (system C).

use bytes::Bytes;

use crate::request::bytes_of;
use crate::{
    ClockKind, Cluster, ClusterError, Command, Guarantees, Level, NodeHandle, NodeId, Outcome,
    RequestError, Session, Token, TokenTooLarge,
};

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
#[derive(Debug, Clone)]
pub struct CausalSession {
    session: Session,
}

/// Why an operation of a session failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The store could not answer. [`RequestError::SessionUnmet`] if no owner that could be reached has
    /// seen what the session has.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The operation succeeded; but the session has now seen more than its token may hold.
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
        let session = Session::new(self.cluster.placement(), guarantees);
        CausalSession { session }
    }

    /// A session that goes on from a token.
    pub fn resume(&self, token: Token) -> CausalSession {
        let placement = self.cluster.placement();
        let session = Session::resume(placement, Guarantees::default(), token);
        CausalSession { session }
    }
}

impl From<Cluster> for CausalStore {
    fn from(cluster: Cluster) -> Self {
        Self { cluster }
    }
}

impl CausalSession {
    /// Reads a key through a node.
    ///
    /// # Errors
    /// If no owner answers in time that has seen what the session has.
    pub fn get(&mut self, node: &NodeHandle, key: &str) -> Result<Option<Bytes>, SessionError> {
        let outcome = self.execute(node, Command::get(bytes_of(key)))?;
        Ok(outcome.value().cloned())
    }

    /// Writes a value through a node.
    ///
    /// # Errors
    /// If no owner answers, or the value is too large.
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
    /// If no owner answers.
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

    fn execute(&mut self, node: &NodeHandle, command: Command) -> Result<Outcome, SessionError> {
        let key = command.key().clone();
        let outcome = node.execute(self.session.request(command, Level::One))?;
        self.session.note(&key, &outcome)?;
        Ok(outcome)
    }
}
