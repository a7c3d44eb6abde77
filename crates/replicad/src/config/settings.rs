//! The settings as values. The meaning, unit and range of each is in the file that
//! [`default_file`](super::default_file) gives.

use serde::Deserialize;
use std::fmt;
use std::path::PathBuf;

/// All settings of a node. They are what [`ConfigArgs::load`](super::ConfigArgs::load) gives: each within
/// its range, and all of them fitting together if [`check`](Self::check) says so.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// This node.
    pub node: Node,
    /// All nodes.
    pub cluster: Cluster,
    /// What is promised of keys and values; the same on all nodes.
    pub store: Store,
    /// Ports.
    pub listen: Listen,
    /// Certificates.
    pub tls: Tls,
    /// Who may be a client.
    pub auth: Auth,
    /// The disk.
    pub storage: Storage,
    /// Bounds.
    pub limits: SizeLimits,
    /// Times.
    pub timeouts: Timeouts,
    /// What is logged.
    pub log: Log,
    /// Figures for Prometheus.
    pub metrics: Metrics,
}

/// This node.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Its number, which has no default.
    #[serde(default)]
    pub id: Option<u32>,
    /// Where its store is.
    pub data_dir: PathBuf,
    /// Threads that serve clients and peers; 0 for half as many as there are processors.
    pub threads: usize,
}

/// All nodes of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// Its name, part of the nodes' names in their certificates.
    pub name: String,
    /// The nodes, which have no default.
    #[serde(default)]
    pub nodes: Vec<NodeEntry>,
}

/// One node in the list of all.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeEntry {
    /// Its number.
    pub id: u32,
    /// Host and port at which peers find it.
    pub address: String,
    /// Host and port at which clients find it, to tell other clients.
    #[serde(default)]
    pub client: Option<String>,
}

/// How concurrent writes of a string are resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Conflict {
    /// The later hybrid time wins.
    Hybrid,
    /// The later Lamport time wins.
    Lamport,
    /// The later timestamp of the clients wins.
    Caller,
    /// All are kept.
    Siblings,
}

/// What is promised of keys and values.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// How concurrent writes of a string are resolved.
    pub conflict: Conflict,
    /// How many nodes hold each key; all of them if not set.
    #[serde(default)]
    pub replication_factor: Option<u32>,
    /// How many of those must hold a write; a majority if not set.
    #[serde(default)]
    pub write_quorum: Option<u32>,
    /// How many of those a read joins; as many as meet every write if not set.
    #[serde(default)]
    pub read_quorum: Option<u32>,
    /// Reads join one node, and writes need all.
    pub read_optimised: bool,
    /// Parts of the key space.
    pub partitions: u32,
    /// How far ahead of physical time a hybrid time may be.
    pub drift_bound_ms: u64,
}

/// The ports of this node.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// Host and port for clients.
    pub clients: String,
    /// Host and port for peers.
    pub peers: String,
    /// Whether ports that others can reach may go without TLS.
    pub insecure: bool,
}

/// Certificates.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Between nodes.
    #[serde(default)]
    pub peers: PeerTlsFiles,
    /// For clients.
    #[serde(default)]
    pub clients: ClientTlsFiles,
}

/// PEM files for TLS between nodes: all of them, or none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerTlsFiles {
    /// Certificate of the cluster's authority.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// This node's certificate.
    #[serde(default)]
    pub cert: Option<PathBuf>,
    /// Its private key.
    #[serde(default)]
    pub key: Option<PathBuf>,
}

/// PEM files for TLS with clients: certificate and key, or none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientTlsFiles {
    /// The authority whose certificates clients must show; none are asked for if not set.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// The certificate that clients are shown.
    #[serde(default)]
    pub cert: Option<PathBuf>,
    /// Its private key.
    #[serde(default)]
    pub key: Option<PathBuf>,
}

/// Who may be a client.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// The hash of the password that clients give with AUTH; none is asked for if not set.
    #[serde(default)]
    pub password_hash: Option<String>,
}

/// When what was written is forced to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SyncMode {
    /// Before it is acknowledged.
    Always,
    /// At intervals.
    Interval,
    /// When the system likes to.
    None,
}

/// The disk.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Storage {
    /// When what was written is forced to the disk.
    pub sync: SyncMode,
    /// How often, with [`SyncMode::Interval`].
    pub interval_ms: u64,
    /// The only directory in which clients may have snapshots made.
    #[serde(default)]
    pub snapshot_dir: Option<PathBuf>,
    /// Free space below which writes are refused.
    pub reserve_bytes: u64,
    /// Memory that the engine uses to cache what is on disk.
    pub cache_bytes: usize,
    /// Memory in which commits wait to be synced together, with [`SyncMode::Interval`].
    pub waiting_bytes: usize,
}

/// Bounds of what is taken, queued and held.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    missing_docs,
    reason = "each is documented where it ends up: limits::Limits, transport::TransportLimits, node::InboxLimits, replica::Config"
)]
pub struct SizeLimits {
    pub max_key_bytes: usize,
    pub max_value_bytes: usize,
    pub max_arguments: usize,
    pub max_frame_bytes: usize,
    pub max_skipped_bytes: usize,
    pub max_reply_bytes: usize,
    pub max_connections: usize,
    pub max_connections_per_address: usize,
    pub max_pipeline: usize,
    pub max_pipeline_bytes: usize,
    pub max_long_bytes: usize,
    pub output_buffer_bytes: usize,
    pub scan_cursors: usize,
    pub inbox_inputs: usize,
    pub inbox_bytes: usize,
    pub max_pending: usize,
    pub max_token_lead: u64,
    pub max_kept_answers: usize,
    pub chunk_keys: usize,
    pub chunk_bytes: usize,
    pub max_log_events: usize,
    pub max_exceptions: usize,
    pub max_exception_bytes: usize,
    pub peer_frame_bytes: usize,
    pub peer_large_bytes: usize,
    pub peer_queue_frames: usize,
    pub peer_queue_bytes: usize,
    pub peer_handshakes: usize,
}

/// Times, in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    missing_docs,
    reason = "each is documented where it ends up: transport::TransportTimeouts, limits::Limits, replica::Config, replica::liveness::PhiConfig"
)]
pub struct Timeouts {
    pub request_ms: u64,
    pub resend_ms: u64,
    pub sync_interval_ms: u64,
    pub audit_interval_ms: u64,
    pub restart_patience_ms: u64,
    pub client_handshake_ms: u64,
    pub client_stall_ms: u64,
    pub client_idle_ms: u64,
    pub connect_ms: u64,
    pub handshake_ms: u64,
    pub heartbeat_ms: u64,
    pub dead_ms: u64,
    pub suspect_level: u32,
    pub suspect_pause_ms: u64,
    pub reconnect_min_ms: u64,
    pub reconnect_max_ms: u64,
    pub drain_ms: u64,
    pub stop_ms: u64,
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The least important events that are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the usual levels")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// What is logged, on standard error.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// How a line looks.
    pub format: LogFormat,
    /// The least important events that are logged.
    pub level: LogLevel,
}

/// Figures for Prometheus.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// Host and port; nothing is listened on if not set.
    #[serde(default)]
    pub listen: Option<String>,
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.password_hash.as_ref().map(|_| "not shown");
        f.debug_struct("Auth")
            .field("password_hash", &shown)
            .finish()
    }
}
