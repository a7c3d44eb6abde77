//! Every bound of the client-facing half, in one place.

use std::time::Duration;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// What one node accepts from its clients and holds on their behalf. Every queue, buffer and table of
/// the front end is bounded by one of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a key. Keys stay in memory, tombstones included, so they are kept short.
    pub max_key_bytes: usize,
    /// Bytes of a value. A value is one message between nodes and one entry on disk, and neither is
    /// split.
    pub max_value_bytes: usize,
    /// Arguments of one command, its name included. Each costs tens of bytes before it is looked at.
    pub max_arguments: usize,
    /// Bytes of one command that are buffered. A longer command is refused and its bytes dropped as
    /// they arrive.
    pub max_frame_bytes: usize,
    /// Bytes of one refused command that are dropped to keep the connection usable. A client that
    /// announces more is disconnected.
    pub max_skipped_bytes: usize,
    /// Bytes of one reply. `MGET` of many large values is refused above it instead of being built in
    /// memory.
    pub max_reply_bytes: usize,
    /// Client connections of one node. Each holds two buffers and one task.
    pub max_connections: usize,
    /// Client connections from one address. As many as of all addresses, unless it is set lower.
    pub max_connections_per_address: usize,
    /// How long a new connection has for the handshake of TLS, and again for the password where there is one.
    pub handshake_timeout: Duration,
    /// How long a connection may rest with a command half sent, or with a reply that the client does not
    /// read. It is cut off then, as it holds memory.
    pub stall_timeout: Duration,
    /// How long a connection may do nothing, with nothing half sent and no reply outstanding. `None`, as
    /// in Redis, for any time: pools of clients keep connections in reserve.
    pub idle_timeout: Option<Duration>,
    /// Commands of one connection that are started and not answered. The connection is not read
    /// further until one is.
    pub max_pipeline: usize,
    /// Bytes of the started and unanswered commands of one connection, with the same effect. A single
    /// command may be longer; it is then alone.
    pub max_pipeline_bytes: usize,
    /// Bytes of the commands of 64 KiB and longer that are in progress in all connections together. Connections with
    /// more wait and are not read meanwhile, so that long values do not pile up in front of short ones.
    pub max_long_bytes: usize,
    /// Bytes of encoded replies at which a connection stops encoding until the client has read them.
    pub output_buffer_bytes: usize,
    /// Positions of unfinished scans that a node remembers. The oldest is forgotten first.
    pub scan_cursors: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_key_bytes: 64 * KIB,
            max_value_bytes: MIB,
            max_arguments: 100_000,
            max_frame_bytes: 64 * MIB,
            max_skipped_bytes: 512 * MIB,
            max_reply_bytes: 256 * MIB,
            max_connections: 10_000,
            max_connections_per_address: 10_000,
            handshake_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(60),
            idle_timeout: None,
            max_pipeline: 4096,
            max_pipeline_bytes: 16 * MIB,
            max_long_bytes: 16 * MIB,
            output_buffer_bytes: MIB,
            scan_cursors: 4096,
        }
    }
}

impl Limits {
    /// The longest argument that any command takes, in bytes.
    pub(crate) fn max_argument_bytes(&self) -> usize {
        self.max_key_bytes.max(self.max_value_bytes)
    }
}
