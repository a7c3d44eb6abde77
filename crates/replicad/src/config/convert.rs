//! What the parts of a node are told.

use replica::liveness::PhiConfig;
use replica::{ClockKind, Config, NodeId};
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::rustls::ServerConfig;

use super::settings::{Conflict, Settings};
use crate::limits::Limits;
use crate::node::InboxLimits;
use crate::transport::tls::{PeerTls, TlsError, client_facing};
use crate::transport::{TransportLimits, TransportOptions, TransportTimeouts, VERSIONS};

impl Settings {
    /// This node; node 1 if that is not set, which [`check`](Self::check) refuses.
    pub fn node_id(&self) -> NodeId {
        NodeId(self.node.id.unwrap_or(1))
    }

    /// The configuration of the space of strings.
    pub fn strings(&self) -> Config {
        let drift_bound_ms = self.store.drift_bound_ms;
        let clock = match self.store.conflict {
            Conflict::Hybrid => ClockKind::Hybrid { drift_bound_ms },
            Conflict::Caller => ClockKind::Caller,
            Conflict::Lamport | Conflict::Siblings => ClockKind::Lamport,
        };
        self.config(clock)
    }

    /// The configuration of the space of counters and sets, which need no time.
    pub fn types(&self) -> Config {
        self.config(ClockKind::Lamport)
    }

    fn config(&self, clock: ClockKind) -> Config {
        let (store, limits, times) = (&self.store, &self.limits, &self.timeouts);
        let nodes = self.cluster.nodes.len() as u32;
        let owners = store.replication_factor.unwrap_or(nodes);
        let defaults = Config::new(self.node_id(), nodes).with_owners(owners);
        let write_quorum = match store.read_optimised {
            true => owners,
            false => store.write_quorum.unwrap_or(defaults.write_quorum),
        };
        let meets_every_write = owners.saturating_sub(write_quorum) + 1;
        Config {
            write_quorum,
            read_quorum: store.read_quorum.unwrap_or(meets_every_write),
            partitions: store.partitions,
            clock,
            durable: true,
            max_key_bytes: limits.max_key_bytes,
            max_value_bytes: limits.max_value_bytes,
            max_token_lead: limits.max_token_lead,
            max_pending: limits.max_pending,
            request_timeout_ms: times.request_ms,
            resend_ms: times.resend_ms,
            sync_interval_ms: times.sync_interval_ms,
            audit_interval_ms: times.audit_interval_ms,
            restart_patience_ms: times.restart_patience_ms,
            max_kept_answers: limits.max_kept_answers,
            chunk_keys: limits.chunk_keys,
            chunk_bytes: limits.chunk_bytes,
            max_log_events: limits.max_log_events,
            max_exceptions: limits.max_exceptions,
            max_exception_bytes: limits.max_exception_bytes,
            ..defaults
        }
    }

    /// What waits in the inbox of the node.
    pub const fn inbox(&self) -> InboxLimits {
        InboxLimits {
            inputs: self.limits.inbox_inputs,
            bytes: self.limits.inbox_bytes,
        }
    }

    /// The limits of the front end.
    pub fn front_end(&self) -> Limits {
        let (limits, times) = (&self.limits, &self.timeouts);
        let idle = Duration::from_millis(times.client_idle_ms);
        Limits {
            max_key_bytes: limits.max_key_bytes,
            max_value_bytes: limits.max_value_bytes,
            max_arguments: limits.max_arguments,
            max_frame_bytes: limits.max_frame_bytes,
            max_skipped_bytes: limits.max_skipped_bytes,
            max_reply_bytes: limits.max_reply_bytes,
            max_connections: limits.max_connections,
            max_connections_per_address: limits.max_connections_per_address,
            handshake_timeout: Duration::from_millis(times.client_handshake_ms),
            stall_timeout: Duration::from_millis(times.client_stall_ms),
            idle_timeout: (!idle.is_zero()).then_some(idle),
            max_pipeline: limits.max_pipeline,
            max_pipeline_bytes: limits.max_pipeline_bytes,
            max_long_bytes: limits.max_long_bytes,
            output_buffer_bytes: limits.output_buffer_bytes,
            scan_cursors: limits.scan_cursors,
        }
    }

    /// How silent peers are judged; `None` if nobody is to be suspected.
    pub fn liveness(&self) -> Option<PhiConfig> {
        let times = &self.timeouts;
        let defaults = PhiConfig::default();
        // A quiet peer is heard from with each heartbeat, and after a busy spell that is an unlikely silence.
        let acceptable_pause_ms = times.heartbeat_ms + times.suspect_pause_ms;
        (times.suspect_level > 0).then_some(PhiConfig {
            threshold: f64::from(times.suspect_level),
            acceptable_pause_ms,
            expected_interval_ms: times.heartbeat_ms,
            ..defaults
        })
    }

    /// What the port for clients needs to speak TLS, if it does.
    ///
    /// # Errors
    /// If a certificate cannot be used.
    pub fn client_tls(&self) -> Result<Option<Arc<ServerConfig>>, TlsError> {
        let files = &self.tls.clients;
        match (&files.cert, &files.key) {
            (Some(cert), Some(key)) => client_facing(cert, key, files.ca.as_deref()).map(Some),
            _ => Ok(None),
        }
    }

    /// The options of the transport. Reads the certificates. The identity of the cluster is not a setting, and
    /// the node itself says what its store is: whoever knows them puts them in.
    ///
    /// # Errors
    /// If a certificate cannot be used, or is not that of this node.
    pub fn transport(&self) -> Result<TransportOptions, TlsError> {
        let node = self.node_id();
        let files = &self.tls.peers;
        let tls = match (&files.ca, &files.cert, &files.key) {
            (Some(ca), Some(cert), Some(key)) => {
                let tls = PeerTls::load(ca, cert, key)?;
                tls.check(node, &self.cluster.name)?;
                Some(tls)
            }
            _ => None,
        };
        let others = self.cluster.nodes.iter().filter(|peer| peer.id != node.0);
        let (limits, times) = (&self.limits, &self.timeouts);
        Ok(TransportOptions {
            node,
            cluster_name: self.cluster.name.clone(),
            cluster: None,
            terms: None,
            listen: self.listen.peers.clone(),
            peers: others
                .map(|peer| (NodeId(peer.id), peer.address.clone()))
                .collect(),
            tls,
            limits: TransportLimits {
                max_frame_bytes: limits.peer_frame_bytes,
                large_frame_bytes: limits.peer_large_bytes,
                queue_frames: limits.peer_queue_frames,
                queue_bytes: limits.peer_queue_bytes,
                max_handshakes: limits.peer_handshakes,
            },
            timeouts: TransportTimeouts {
                connect: Duration::from_millis(times.connect_ms),
                handshake: Duration::from_millis(times.handshake_ms),
                heartbeat: Duration::from_millis(times.heartbeat_ms),
                dead: Duration::from_millis(times.dead_ms),
                reconnect_min: Duration::from_millis(times.reconnect_min_ms),
                reconnect_max: Duration::from_millis(times.reconnect_max_ms),
                stop: Duration::from_millis(times.stop_ms),
            },
            versions: VERSIONS,
        })
    }
}
