//! What is counted of the clients of a node.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use std::fmt;
use std::sync::OnceLock;
use std::time::Instant;

use super::{Figures, Labels, durations};
use crate::commands;
use crate::resp::reply::Reply;

/// Longest code of an error that is a label of its own; codes come from this program and are few.
const MAX_CODE_BYTES: usize = 24;

/// What is counted of the clients of a node. Counting takes some atomic operations and no memory that
/// clients can make grow.
pub struct RequestMetrics {
    requests: Family<Labels, Counter>,
    durations: Family<Labels, Histogram, fn() -> Histogram>,
    /// By the number of the command, made when it is first sent.
    commands: Vec<OnceLock<CommandMetrics>>,
    /// Connections open now.
    pub(crate) connections: Gauge,
    /// Connections that were taken.
    pub(crate) accepted: Counter,
    /// Connections that were over a limit.
    pub(crate) refused: Counter,
    /// Bytes read, without what TLS adds.
    pub(crate) bytes_received: Counter,
    /// Bytes written, without what TLS adds.
    pub(crate) bytes_sent: Counter,
}

struct CommandMetrics {
    succeeded: Counter,
    duration: Histogram,
}

/// A command that was read and not answered yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Watch {
    command: usize,
    started: Instant,
}

impl Watch {
    /// Begins when the words of a command have been read.
    pub(crate) fn begin(name: Option<&[u8]>) -> Self {
        Self {
            command: commands::number_of(name.unwrap_or_default()),
            started: Instant::now(),
        }
    }
}

impl RequestMetrics {
    /// Counts the reply to a command.
    pub(crate) fn answered(&self, watch: Watch, reply: &Reply) {
        let Some(slot) = self.commands.get(watch.command) else {
            return;
        };
        let name = || commands::name_of(watch.command).to_lowercase();
        let command = slot.get_or_init(|| CommandMetrics {
            succeeded: self.requests(name(), "ok"),
            duration: self
                .durations
                .get_or_create(&vec![("command", name())])
                .clone(),
        });
        match reply {
            Reply::Error(error) => {
                self.requests(name(), &code(error)).inc();
            }
            _ => {
                command.succeeded.inc();
            }
        }
        command
            .duration
            .observe(watch.started.elapsed().as_secs_f64());
    }

    fn requests(&self, command: String, outcome: &str) -> Counter {
        let labels = vec![("command", command), ("outcome", outcome.to_owned())];
        self.requests.get_or_create(&labels).clone()
    }

    /// Adds what was counted.
    pub(crate) fn show(&self, figures: &mut Figures) {
        let registry = figures.registry();
        registry.register(
            "requests",
            "Commands of clients that were answered",
            self.requests.clone(),
        );
        registry.register(
            "request_duration_seconds",
            "From when a command was read until its reply could be sent",
            self.durations.clone(),
        );
        registry.register(
            "client_connections",
            "Connections of clients that are open",
            self.connections.clone(),
        );
        registry.register(
            "client_connections_accepted",
            "Connections of clients that were taken",
            self.accepted.clone(),
        );
        registry.register(
            "client_connections_refused",
            "Connections of clients that were over a limit",
            self.refused.clone(),
        );
        registry.register(
            "client_received_bytes",
            "Bytes read from clients",
            self.bytes_received.clone(),
        );
        registry.register(
            "client_sent_bytes",
            "Bytes written to clients",
            self.bytes_sent.clone(),
        );
    }
}

/// The code of an error, in lower case.
fn code(error: &str) -> String {
    let code = error.split(' ').next().unwrap_or_default();
    let is_code = (1..=MAX_CODE_BYTES).contains(&code.len())
        && code.bytes().all(|byte| byte.is_ascii_uppercase());
    match is_code {
        true => code.to_ascii_lowercase(),
        false => "err".to_owned(),
    }
}

impl Default for RequestMetrics {
    fn default() -> Self {
        let mut commands = Vec::new();
        commands.resize_with(commands::numbers(), OnceLock::new);
        Self {
            requests: Family::default(),
            durations: Family::new_with_constructor(durations),
            commands,
            connections: Gauge::default(),
            accepted: Counter::default(),
            refused: Counter::default(),
            bytes_received: Counter::default(),
            bytes_sent: Counter::default(),
        }
    }
}

impl fmt::Debug for RequestMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestMetrics").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_counted_by_command_and_outcome() {
        let metrics = RequestMetrics::default();
        let get = Watch::begin(Some(b"get"));
        metrics.answered(get, &Reply::Null);
        metrics.answered(get, &Reply::Null);
        metrics.answered(get, &Reply::Error("NOREPLICAS too few".into()));
        metrics.answered(Watch::begin(Some(b"no such thing")), &Reply::error("what?"));
        let mut figures = Figures::new();
        metrics.show(&mut figures);
        let text = figures.encode();
        for line in [
            r#"replicad_requests_total{command="get",outcome="ok"} 2"#,
            r#"replicad_requests_total{command="get",outcome="noreplicas"} 1"#,
            r#"replicad_requests_total{command="unknown",outcome="err"} 1"#,
            r#"replicad_request_duration_seconds_count{command="get"} 3"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }

    #[test]
    fn what_is_no_code_is_no_label() {
        assert_eq!(code("WRONGTYPE it is a set"), "wrongtype");
        assert_eq!(code("Something \"else\""), "err");
        assert_eq!(code(""), "err");
        assert_eq!(code(&"A".repeat(100)), "err");
    }
}
