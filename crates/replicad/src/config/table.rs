//! All settings: key, kind, range, default, and meaning, in the order of the file that is printed.

use toml::Value;

/// One setting.
pub(super) struct Setting {
    /// Section and name, with dots between.
    pub(super) key: &'static str,
    pub(super) kind: Kind,
    /// In TOML; an example if there is no default.
    pub(super) value: &'static str,
    pub(super) has_default: bool,
    /// In sentences, a line each.
    pub(super) meaning: &'static str,
}

/// What values a setting takes.
pub(super) enum Kind {
    /// A whole number of a unit.
    Integer(i64, i64, &'static str),
    Boolean,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A label of a domain name.
    Name,
    /// Host and port.
    Address,
    Path,
    /// A hash of a password, which is never shown.
    Hash,
    /// The list of nodes.
    Nodes,
}

use Kind::{Address, Boolean, Choice, Hash, Integer, Name, Nodes, Path};

/// The keys of an entry of `cluster.nodes`.
pub(super) const NODE_KEYS: [&str; 3] = ["id", "address", "client"];
/// The most nodes that a store can have.
pub(super) const MAX_NODES: i64 = replica::MAX_NODES as i64;
const MAX_QUORUM: Kind = Integer(1, MAX_NODES, "nodes");
const MIB: i64 = 1 << 20;
const GIB: i64 = 1 << 30;
const HOUR_MS: i64 = 3_600_000;

const fn setting(
    key: &'static str,
    kind: Kind,
    value: &'static str,
    meaning: &'static str,
) -> Setting {
    Setting {
        key,
        kind,
        value,
        has_default: true,
        meaning,
    }
}

const fn unset(
    key: &'static str,
    kind: Kind,
    value: &'static str,
    meaning: &'static str,
) -> Setting {
    Setting {
        key,
        kind,
        value,
        has_default: false,
        meaning,
    }
}

/// What stands at the head of each section.
pub(super) const SECTIONS: [(&str, &str); 11] = [
    ("node", "This node."),
    ("cluster", "All nodes. The same on each of them."),
    (
        "store",
        "What is promised of keys and values. The same on all nodes, from the first start on.",
    ),
    ("listen", "The ports of this node."),
    (
        "tls",
        "Certificates, as PEM files. `replicad cert` makes them. Each group is set as a whole or not at all.",
    ),
    ("auth", "Who may be a client."),
    ("storage", "The disk."),
    ("limits", "What is taken, queued and held at most."),
    (
        "timeouts",
        "How long things may take. Nodes of a cluster should agree on heartbeat_ms and dead_ms.",
    ),
    ("log", "What is written to standard error."),
    ("metrics", "Figures for Prometheus."),
];

/// All settings, section by section.
#[rustfmt::skip]
pub(super) const SETTINGS: &[Setting] = &[
    unset("node.id", Integer(1, MAX_NODES, ""), "1", "The number of this node in cluster.nodes. Has to be set."),
    setting("node.data_dir", Path, "\"./replicad-node\"", "Directory of this node's store; made if missing."),
    setting("node.threads", Integer(0, 1024, "threads"), "0", "Threads that serve clients and peers and work on the keys. Work on the keys takes one at a time: more help\nmany connections, and TLS. 0: half as many as there are processors, at least one."),

    setting("cluster.name", Name, "\"replicad\"", "Name of the cluster. Nodes of another name are refused.\nPart of the nodes' names in their certificates, node-1.NAME.replicad."),
    unset("cluster.nodes", Nodes, "[\n  { id = 1, address = \"10.0.0.1:7101\", client = \"10.0.0.1:7001\" },\n  { id = 2, address = \"10.0.0.2:7101\", client = \"10.0.0.2:7001\" },\n  { id = 3, address = \"10.0.0.3:7101\", client = \"10.0.0.3:7001\" },\n]", "Every node, this one included: number, address for peers, and, if clients are to be told, for clients.\nHas to be set."),

    setting("store.conflict", Choice(&["hybrid", "lamport", "caller", "siblings"]), "\"hybrid\"", "How concurrent writes of a string are resolved: the later one wins by clocks that follow physical time\n(hybrid), that only count (lamport), or by the timestamps that clients give (caller); or all are kept (siblings)."),
    unset("store.replication_factor", MAX_QUORUM, "3", "K, how many nodes hold each key. Not set: all nodes."),
    unset("store.write_quorum", MAX_QUORUM, "2", "W, how many of those must hold a write at level quorum. Not set: a majority of K."),
    unset("store.read_quorum", MAX_QUORUM, "2", "R, how many of those a read at level quorum joins. Not set: K - W + 1, so that it meets every write."),
    setting("store.read_optimised", Boolean, "false", "Chooses W = K and R = 1: a read costs no messages where the node asked holds the key, and a write fails\nwhile a node that holds the key is down."),
    setting("store.partitions", Integer(1, replica::MAX_PARTITIONS as i64, "partitions"), "16", "Parts of the key space; each is synchronised, checked and recovered by itself."),
    setting("store.drift_bound_ms", Integer(1, 24 * HOUR_MS, "milliseconds"), "60000", "How far a hybrid time may lie ahead of a node's clock. A write that would have to go above is refused."),

    setting("listen.clients", Address, "\"127.0.0.1:7001\"", "Where clients connect."),
    setting("listen.peers", Address, "\"127.0.0.1:7101\"", "Where the other nodes connect."),
    setting("listen.insecure", Boolean, "false", "Allows ports that other machines can reach without TLS. Whoever reaches the port for peers without TLS\ncan read and change everything."),

    unset("tls.peers.ca", Path, "\"ca.pem\"", "Certificate of the cluster's own authority."),
    unset("tls.peers.cert", Path, "\"node-1.pem\"", "This node's certificate."),
    unset("tls.peers.key", Path, "\"node-1-key.pem\"", "Its private key."),
    unset("tls.clients.cert", Path, "\"node-1.pem\"", "The certificate that clients are shown. It may be the same."),
    unset("tls.clients.key", Path, "\"node-1-key.pem\"", "Its private key."),
    unset("tls.clients.ca", Path, "\"ca.pem\"", "Authority whose certificates clients must show. Not set: none are asked for. Not part of the group."),

    unset("auth.password_hash", Hash, "\"$argon2id$...\"", "Hash of the password that clients give with AUTH. Not set: no password."),

    setting("storage.sync", Choice(&["always", "interval", "none"]), "\"always\"", "When writes are forced to the disk: before they are acknowledged; at intervals; when the system likes.\nWithout `always`, a node whose machine fails comes back without what was not forced, as a new incarnation\nthat recovers from the others; if a majority fails at once, acknowledged writes may be lost."),
    setting("storage.interval_ms", Integer(1, HOUR_MS, "milliseconds"), "100", "How often, with sync = \"interval\"."),
    setting("storage.reserve_bytes", Integer(0, 1 << 50, "bytes"), "268435456", "Free space on the disk below which writes are refused; reads go on."),
    unset("storage.snapshot_dir", Path, "\"/var/backups/replicad\"", "The only directory in which clients may have snapshots made (`replicad snapshot`). Not set: anywhere that\nthe process may write."),
    setting("storage.cache_bytes", Integer(MIB, 1 << 50, "bytes"), "67108864", "Memory in which the storage engine caches pages."),
    setting("storage.waiting_bytes", Integer(MIB, 1 << 50, "bytes"), "67108864", "Memory in which writes wait to be forced to the disk together, with sync = \"interval\".\nWrites wait for the disk when it is full."),

    setting("limits.max_key_bytes", Integer(1, 32 * MIB, "bytes"), "65536", "Longest key."),
    setting("limits.max_value_bytes", Integer(1, 32 * MIB, "bytes"), "1048576", "Longest value."),
    setting("limits.max_arguments", Integer(16, 10_000_000, "arguments"), "100000", "Arguments of one command, its name included."),
    setting("limits.max_frame_bytes", Integer(1024, 4 * GIB, "bytes"), "67108864", "Longest command. A longer one is refused."),
    setting("limits.max_skipped_bytes", Integer(1024, 64 * GIB, "bytes"), "536870912", "Most bytes of a refused command that are skipped to keep the connection."),
    setting("limits.max_reply_bytes", Integer(1024, 4 * GIB, "bytes"), "268435456", "Longest reply."),
    setting("limits.max_connections", Integer(1, 1_000_000, "connections"), "10000", "Connections of clients."),
    setting("limits.max_connections_per_address", Integer(1, 1_000_000, "connections"), "10000", "Connections of clients from one address."),
    setting("limits.max_pipeline", Integer(1, 1_000_000, "commands"), "4096", "Commands of one connection that are started and not answered."),
    setting("limits.max_pipeline_bytes", Integer(1024, 4 * GIB, "bytes"), "16777216", "Their bytes."),
    setting("limits.max_long_bytes", Integer(1024, 4 * GIB - 1, "bytes"), "16777216", "Bytes of commands of 64 KiB and longer that are in progress in all connections together; more wait."),
    setting("limits.output_buffer_bytes", Integer(1024, GIB, "bytes"), "1048576", "Encoded replies that wait for a client to read them."),
    setting("limits.scan_cursors", Integer(1, 1_000_000, "cursors"), "4096", "Unfinished scans that are remembered; the oldest is forgotten first."),
    setting("limits.inbox_inputs", Integer(1, 1 << 24, "requests and messages"), "65536", "Requests and messages of peers that wait for their turn. More requests are refused as overloaded; more\nmessages are dropped, and sent again later."),
    setting("limits.inbox_bytes", Integer(1024, 64 * GIB, "bytes"), "268435456", "Bytes of their values; one value always fits. More requests are refused; more messages are dropped."),
    setting("limits.max_pending", Integer(1, 10_000_000, "requests"), "65536", "Requests in progress in this node; more are refused."),
    setting("limits.max_token_lead", Integer(1, 1 << 62, "ticks"), "1099511627776", "How far above this node's Lamport clock the time in a client's session token may lie."),
    setting("limits.max_kept_answers", Integer(0, 10_000_000, "answers"), "4096", "Answers to writes that other nodes have forwarded here, kept in each space for nodes that ask again; some 200\nbytes each. A write whose answer is not kept is not carried out again, and its client learns of no outcome."),
    setting("limits.chunk_keys", Integer(1, 1_000_000, "keys"), "8192", "Keys or events in one message of a synchronisation."),
    setting("limits.chunk_bytes", Integer(1024, GIB, "bytes"), "1048576", "Bytes of values in one message of a synchronisation; one value always fits."),
    setting("limits.max_log_events", Integer(1, 1 << 32, "events"), "1048576", "Events in the log of a partition. A peer that lacks older ones needs a transfer of the whole partition."),
    setting("limits.max_exceptions", Integer(1, 1 << 24, "intervals"), "4096", "Parts of a partition about which this node knows more than about the rest; above it the rest is fetched."),
    setting("limits.max_exception_bytes", Integer(1024, GIB, "bytes"), "4194304", "Bytes of such parts, most of them keys; above it the rest is fetched too."),
    setting("limits.peer_frame_bytes", Integer(65_536, 4 * GIB - 1, "bytes"), "67108864", "Longest message between nodes."),
    setting("limits.peer_large_bytes", Integer(1024, GIB, "bytes"), "65536", "Messages of this length and longer take a connection of their own, so that the others need not wait."),
    setting("limits.peer_queue_frames", Integer(1, 10_000_000, "messages"), "65536", "Messages that wait for one connection to one peer. More are dropped, and sent again later."),
    setting("limits.peer_queue_bytes", Integer(1024, 64 * GIB, "bytes"), "67108864", "Their bytes."),
    setting("limits.peer_handshakes", Integer(1, 100_000, "connections"), "64", "Connections to the port for peers that have not said who they are."),

    setting("timeouts.request_ms", Integer(1, HOUR_MS, "milliseconds"), "5000", "For a request, unless it says so itself."),
    setting("timeouts.resend_ms", Integer(1, HOUR_MS, "milliseconds"), "200", "Until a message that was not answered is sent again; doubled each time. Longer while answers take long."),
    setting("timeouts.sync_interval_ms", Integer(1, HOUR_MS, "milliseconds"), "500", "Between comparisons with a peer."),
    setting("timeouts.audit_interval_ms", Integer(0, 24 * HOUR_MS, "milliseconds"), "600000", "Between audits, in which nodes that know the same compare checksums of what they hold; 0 for none."),
    setting("timeouts.restart_patience_ms", Integer(0, 24 * HOUR_MS, "milliseconds"), "5000", "How long a node that comes back with its store waits until enough others have confirmed that it is the latest;\nthen it serves with what it has. 0 for not waiting."),
    setting("timeouts.client_handshake_ms", Integer(1, HOUR_MS, "milliseconds"), "10000", "For a client to finish the handshake of TLS, and again to give the password where there is one."),
    setting("timeouts.client_stall_ms", Integer(1, 24 * HOUR_MS, "milliseconds"), "60000", "Until a client is cut off that has sent half a command, or does not read its replies."),
    setting("timeouts.client_idle_ms", Integer(0, 1000 * HOUR_MS, "milliseconds"), "0", "Until a client is cut off that does nothing. 0: never, as pools keep connections in reserve."),
    setting("timeouts.connect_ms", Integer(1, HOUR_MS, "milliseconds"), "2000", "To open a connection to a peer."),
    setting("timeouts.handshake_ms", Integer(1, HOUR_MS, "milliseconds"), "3000", "For the handshake that follows, TLS included."),
    setting("timeouts.heartbeat_ms", Integer(1, HOUR_MS, "milliseconds"), "250", "Between heartbeats."),
    setting("timeouts.dead_ms", Integer(2, HOUR_MS, "milliseconds"), "1500", "Without a sign of life until a peer counts as unreachable. Longer than heartbeat_ms."),
    setting("timeouts.suspect_level", Integer(0, 100, "powers of ten"), "8", "How unlikely the silence of a connected peer must be for requests to go around it: 8 for one in 10^8, as far\nas silences are as regular as they were. A wrong suspicion costs a detour. 0: nobody is suspected."),
    setting("timeouts.suspect_pause_ms", Integer(0, HOUR_MS, "milliseconds"), "250", "Silence that is always forgiven for that, beside a heartbeat's."),
    setting("timeouts.reconnect_min_ms", Integer(1, HOUR_MS, "milliseconds"), "50", "Shortest wait before a peer is dialled again."),
    setting("timeouts.reconnect_max_ms", Integer(1, HOUR_MS, "milliseconds"), "2000", "Longest; the wait doubles with each attempt that fails, and half of it is random."),
    setting("timeouts.drain_ms", Integer(0, HOUR_MS, "milliseconds"), "0", "Between SIGTERM, from when on /ready says no, and the end of service: for a load balancer to notice."),
    setting("timeouts.stop_ms", Integer(0, HOUR_MS, "milliseconds"), "2000", "For peers to take what is queued for them when the node stops."),

    setting("log.format", Choice(&["text", "json"]), "\"text\"", "Lines for people, or a JSON object a line."),
    setting("log.level", Choice(&["error", "warn", "info", "debug", "trace"]), "\"info\"", "The least important events that are logged."),

    unset("metrics.listen", Address, "\"127.0.0.1:7201\"", "Where figures can be fetched, unencrypted and without a password. Not set: nowhere."),
];

impl Kind {
    /// What a value must be, to stand after "it must be".
    pub(super) fn allowed(&self) -> String {
        match self {
            Integer(min, max, "") => format!("a whole number from {min} to {max}"),
            Integer(min, max, unit) => format!("a whole number of {unit} from {min} to {max}"),
            Boolean => "true or false".into(),
            Choice(words) => {
                let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
                format!("one of {}", quoted.join(", "))
            }
            Name => {
                "1 to 32 of the characters a-z, 0-9 and -, not beginning or ending with -".into()
            }
            Address => "a host and a port, as in \"127.0.0.1:7001\"".into(),
            Path => "the path of a file or directory".into(),
            Hash => "the hash of a password in PHC form, which begins with $".into(),
            Nodes => format!(
                "a list of 3 to {MAX_NODES} entries {{ id = 1, address = \"host:port\", client = \"host:port\" }}, the last optional"
            ),
        }
    }

    /// Whether a value is allowed. The entries of a list of nodes are checked one by one elsewhere.
    pub(super) fn accepts(&self, value: &Value) -> bool {
        match (self, value) {
            (Integer(min, max, _), Value::Integer(value)) => (min..=max).contains(&value),
            (Boolean, Value::Boolean(_)) => true,
            (Choice(words), Value::String(text)) => words.contains(&text.as_str()),
            (Name, Value::String(text)) => is_label(text),
            (Address, Value::String(text)) => is_address(text),
            (Path, Value::String(text)) => !text.is_empty(),
            (Hash, Value::String(text)) => {
                text.starts_with('$')
                    && text.len() <= 512
                    && text.bytes().all(|b| b.is_ascii_graphic())
            }
            (Nodes, Value::Array(entries)) => (3..=MAX_NODES as usize).contains(&entries.len()),
            _ => false,
        }
    }

    /// The value that the text of a flag or an environment variable means.
    pub(super) fn parse(&self, text: &str) -> Value {
        let string = || Value::String(text.to_owned());
        match self {
            Integer(..) => text.parse().map_or_else(|_| string(), Value::Integer),
            Boolean => text.parse().map_or_else(|_| string(), Value::Boolean),
            Nodes => {
                let table: Option<toml::Table> = format!("nodes = {text}").parse().ok();
                let nodes = table.and_then(|mut table| table.remove("nodes"));
                nodes.unwrap_or_else(string)
            }
            Choice(_) | Name | Address | Path | Hash => string(),
        }
    }
}

/// The setting of this key.
pub(super) fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

/// The key that looks most like one that does not exist, if any looks like it at all.
pub(super) fn nearest<'a>(key: &str, keys: impl Iterator<Item = &'a str>) -> Option<String> {
    let likeness = |other: &&str| strsim::normalized_damerau_levenshtein(key, other);
    let best = keys.max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(&best) > 0.6).then(|| best.to_owned())
}

/// Whether a text is a host and a port.
pub(super) fn is_address(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        !host.is_empty() && !host.contains(char::is_whitespace) && port.parse::<u16>().is_ok()
    })
}

/// Whether a text may stand in a domain name.
pub(crate) fn is_label(text: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    (1..=32).contains(&text.len())
        && text.bytes().all(allowed)
        && !text.starts_with('-')
        && !text.ends_with('-')
}
