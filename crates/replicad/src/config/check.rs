//! Whether settings fit together, and what they give up.

use std::net::IpAddr;

use super::error::{SettingsError, SettingsErrors};
use super::settings::{Conflict, Settings, SyncMode};
use super::table;

impl Settings {
    /// Checks that the settings make a node: that everything without a default is there, and that all fit
    /// together.
    ///
    /// # Errors
    /// With everything that does not.
    pub fn check(&self) -> Result<(), SettingsErrors> {
        let mut errors = Vec::new();
        self.check_nodes(&mut errors);
        self.check_quorums(&mut errors);
        self.check_certificates(&mut errors);
        self.check_ports(&mut errors);
        self.check_sizes(&mut errors);
        if errors.is_empty()
            && let Err(error) = self.strings().validate()
        {
            errors.push(error.into());
        }
        match errors.is_empty() {
            true => Ok(()),
            false => Err(SettingsErrors(errors)),
        }
    }

    fn check_nodes(&self, errors: &mut Vec<SettingsError>) {
        let is_there = [
            ("node.id", self.node.id.is_some()),
            ("cluster.nodes", !self.cluster.nodes.is_empty()),
        ];
        for (key, _) in is_there.into_iter().filter(|(_, is_there)| !is_there) {
            let allowed = table::find(key).map_or_else(String::new, |s| s.kind.allowed());
            errors.push(SettingsError::Missing { key, allowed });
        }
        let mut ids: Vec<u32> = self.cluster.nodes.iter().map(|node| node.id).collect();
        ids.sort_unstable();
        if !ids.iter().copied().eq(1..=ids.len() as u32) {
            let count = ids.len();
            errors.push(SettingsError::NodeIds { ids, count });
        }
    }

    fn check_quorums(&self, errors: &mut Vec<SettingsError>) {
        let chosen = [
            ("store.write_quorum", self.store.write_quorum),
            ("store.read_quorum", self.store.read_quorum),
        ];
        for (second, quorum) in chosen {
            if self.store.read_optimised && quorum.is_some() {
                let first = "store.read_optimised";
                errors.push(SettingsError::Both { first, second });
            }
        }
    }

    fn check_certificates(&self, errors: &mut Vec<SettingsError>) {
        let (peers, clients) = (&self.tls.peers, &self.tls.clients);
        let peers = [
            ("tls.peers.ca", peers.ca.is_some()),
            ("tls.peers.cert", peers.cert.is_some()),
            ("tls.peers.key", peers.key.is_some()),
        ];
        let shown = [
            ("tls.clients.cert", clients.cert.is_some()),
            ("tls.clients.key", clients.key.is_some()),
        ];
        let asked = [
            ("tls.clients.ca", clients.ca.is_some()),
            ("tls.clients.cert", clients.cert.is_some()),
        ];
        for group in [&peers[..], &shown[..]] {
            let there = group.iter().find(|(_, is_there)| *is_there);
            let missing = group.iter().find(|(_, is_there)| !is_there);
            if let (Some((key, _)), Some((needs, _))) = (there, missing) {
                errors.push(SettingsError::Half { key, needs });
            }
        }
        if let [(key, true), (needs, false)] = asked {
            errors.push(SettingsError::Half { key, needs });
        }
    }

    fn check_ports(&self, errors: &mut Vec<SettingsError>) {
        for (key, address, is_encrypted, certificates) in self.ports() {
            if !is_encrypted && !is_loopback(address) && !self.listen.insecure {
                errors.push(SettingsError::Insecure {
                    key,
                    address: address.to_owned(),
                    certificates,
                });
            }
        }
    }

    /// The two ports with whether they are encrypted, and what would make them so.
    fn ports(&self) -> [(&'static str, &str, bool, &'static str); 2] {
        let (listen, tls) = (&self.listen, &self.tls);
        let clients = tls.clients.cert.is_some();
        let peers = tls.peers.cert.is_some();
        [
            (
                "listen.clients",
                &listen.clients,
                clients,
                "tls.clients.cert and key",
            ),
            (
                "listen.peers",
                &listen.peers,
                peers,
                "tls.peers.ca, cert and key",
            ),
        ]
    }

    fn check_sizes(&self, errors: &mut Vec<SettingsError>) {
        let (limits, times) = (&self.limits, &self.timeouts);
        let one_of_each = limits.max_key_bytes + limits.max_value_bytes;
        let checks = [
            (
                "limits.peer_frame_bytes",
                limits.peer_frame_bytes as u64,
                (one_of_each + limits.chunk_bytes + limits.max_exception_bytes + (64 << 10)) as u64,
                "so that a message holds max_key_bytes, max_value_bytes, chunk_bytes and max_exception_bytes and 64 KiB more",
            ),
            (
                "limits.max_frame_bytes",
                limits.max_frame_bytes as u64,
                (one_of_each + 1024) as u64,
                "so that a command holds max_key_bytes and max_value_bytes and 1 KiB more",
            ),
            (
                "timeouts.dead_ms",
                times.dead_ms,
                times.heartbeat_ms + 1,
                "longer than heartbeat_ms",
            ),
            (
                "timeouts.reconnect_max_ms",
                times.reconnect_max_ms,
                times.reconnect_min_ms,
                "the value of reconnect_min_ms",
            ),
        ];
        for (key, value, least, because) in checks {
            if value < least {
                errors.push(SettingsError::TooSmall {
                    key,
                    value,
                    least,
                    because,
                });
            }
        }
    }

    /// What the settings give up, and what is worth knowing of them, in sentences. Of settings that
    /// [`check`](Self::check) refuses it says no more than it can.
    pub fn gives_up(&self) -> Vec<String> {
        let config = self.strings();
        let caller = self.store.conflict == Conflict::Caller;
        let lost = config.gives_up().into_iter();
        let mut said: Vec<String> = lost
            .filter(|lost| !(caller && *lost == replica::GivenUp::LaterWritesWin))
            .map(|lost| format!("store: {lost}"))
            .collect();
        let (k, w, r) = (
            config.replication_factor,
            config.write_quorum,
            config.read_quorum,
        );
        if w == k && k > 1 {
            said.push(format!("store: a write of a key fails while any of the {k} nodes that hold it is down (W = K)"));
        }
        if r == k && k > 1 {
            said.push(format!("store: a read of a key fails while any of the {k} nodes that hold it is down (R = K)"));
        }
        let interval = self.storage.interval_ms;
        match self.storage.sync {
            SyncMode::Always => {}
            SyncMode::Interval => said.push(format!("storage.sync: acknowledged writes of the last {interval} ms may be lost if the machines of a write quorum fail at once")),
            SyncMode::None => said.push("storage.sync: acknowledged writes that the system has not yet written may be lost if the machines of a write quorum fail at once".into()),
        }
        for (key, address, is_encrypted, certificates) in self.ports() {
            if is_loopback(address) {
                said.push(format!(
                    "{key}: {address} is loopback: only programs on this machine can connect"
                ));
            } else if !is_encrypted {
                said.push(format!(
                    "{key}: {address} is not encrypted; set {certificates}"
                ));
            }
        }
        if let Some(listen) = &self.metrics.listen
            && !is_loopback(listen)
        {
            said.push(format!(
                "metrics.listen: whoever reaches {listen} can read the figures, without a password"
            ));
        }
        if self.auth.password_hash.is_none() && !is_loopback(&self.listen.clients) {
            said.push("auth.password_hash: clients need no password".into());
        }
        said
    }
}

/// Whether only this machine can connect to an address.
fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
