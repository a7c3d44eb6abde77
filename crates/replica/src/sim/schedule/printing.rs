//! A schedule as Rust text.

use bytes::Bytes;
use std::fmt;

use super::{Schedule, Step};
use crate::sim::network::Network;
use crate::{ClockKind, Config, Gossip, NodeId};

/// The configuration where it differs from the default, as statements: every field, as a seed may draw any.
fn config_lines(config: &Config) -> Vec<String> {
    let Config {
        node: _,
        nodes,
        replication_factor,
        write_quorum,
        read_quorum,
        partitions,
        partition: _,
        gossip,
        clock,
        durable,
        max_key_bytes,
        max_value_bytes,
        max_token_lead,
        max_pending,
        request_timeout_ms,
        resend_ms,
        sync_interval_ms,
        audit_interval_ms,
        restart_patience_ms,
        operation_memory,
        max_kept_answers,
        chunk_keys,
        chunk_bytes,
        max_log_events,
        max_exceptions,
        max_exception_bytes,
    } = config;
    let usual = Config::new(NodeId(1), *nodes);
    let mut lines = Vec::new();
    macro_rules! numbers {
        ($($name:ident),*) => {
            $(if *$name != usual.$name {
                lines.push(format!("node.{} = {};", stringify!($name), $name));
            })*
        };
    }
    numbers!(replication_factor, write_quorum, read_quorum, partitions);
    numbers!(request_timeout_ms, resend_ms, sync_interval_ms);
    numbers!(audit_interval_ms, restart_patience_ms, operation_memory);
    numbers!(max_key_bytes, max_value_bytes, max_token_lead, max_pending);
    numbers!(max_kept_answers, chunk_keys, chunk_bytes);
    numbers!(max_log_events, max_exceptions, max_exception_bytes, durable);
    match clock {
        ClockKind::Lamport => {}
        ClockKind::Caller => lines.push("node.clock = ClockKind::Caller;".into()),
        ClockKind::Hybrid { drift_bound_ms } => lines.push(format!(
            "node.clock = ClockKind::Hybrid {{ drift_bound_ms: {drift_bound_ms} }};"
        )),
    }
    if let Some(Gossip { fanout, peers }) = gossip {
        lines.push(format!(
            "node.gossip = Some(Gossip {{ fanout: {fanout}, peers: vec!{peers:?} }});"
        ));
    }
    lines
}

/// The network where it differs from the default.
fn network_lines(network: &Network) -> Vec<String> {
    let usual = Network::default();
    let mut lines = Vec::new();
    let mut share = |name: &str, value: f64, usual: f64| {
        if value != usual {
            lines.push(format!("schedule.network.{name} = {value:?};"));
        }
    };
    share("loss", network.loss, usual.loss);
    share("duplication", network.duplication, usual.duplication);
    share("straggler", network.straggler, usual.straggler);
    for (name, value, usual) in [
        (
            "min_latency_ms",
            network.min_latency_ms,
            usual.min_latency_ms,
        ),
        (
            "max_latency_ms",
            network.max_latency_ms,
            usual.max_latency_ms,
        ),
    ] {
        if value != usual {
            lines.push(format!("schedule.network.{name} = {value};"));
        }
    }
    lines
}

impl fmt::Display for Schedule {
    /// A test, as Rust text that needs nothing but this crate.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = format!("{:?}_{}", self.system, self.seed).to_lowercase();
        let config = config_lines(&self.node);
        let is_used = |name: &str| {
            let steps = || self.steps.iter().map(|(_, step)| step);
            match name {
                "ClockKind" | "Gossip" => config.iter().any(|line| line.contains(name)),
                "CommitFault" => steps().any(|s| matches!(s, Step::FailCommit { .. })),
                _ => true,
            }
        };
        let used = ["ClockKind", "Config", "Gossip", "NodeId"];
        let used: Vec<&str> = used.into_iter().filter(|name| is_used(name)).collect();
        writeln!(f, "use replica::sim::{{Schedule, Step, System}};")?;
        if is_used("CommitFault") {
            writeln!(f, "use replica::storage::CommitFault;")?;
        }
        writeln!(f, "use replica::{{{}}};\n", used.join(", "))?;
        writeln!(f, "fn {name}() -> Schedule {{")?;
        let mutable = if config.is_empty() { "" } else { "mut " };
        writeln!(
            f,
            "    let {mutable}node = Config::new(NodeId(1), {});",
            self.node.nodes
        )?;
        for line in config {
            writeln!(f, "    {line}")?;
        }
        let (system, seed) = (self.system, self.seed);
        writeln!(
            f,
            "    let mut schedule = Schedule::new(System::{system:?}, {seed}, node);"
        )?;
        for line in network_lines(&self.network) {
            writeln!(f, "    {line}")?;
        }
        if self.settle_ms != 120_000 {
            writeln!(f, "    schedule.settle_ms = {};", self.settle_ms)?;
        }
        if self.mixes {
            writeln!(f, "    schedule.mixes = true;")?;
        }
        writeln!(f, "    schedule.steps = vec![")?;
        for (random, step) in &self.steps {
            writeln!(f, "        ({random}, Step::{}),", Printed(step))?;
        }
        writeln!(f, "    ];\n    schedule\n}}\n")?;
        writeln!(f, "#[test]\nfn {name}_breaks_no_promise() {{")?;
        writeln!(f, "    let report = {name}().run();")?;
        writeln!(
            f,
            "    assert!(report.violations.is_empty(), \"{{report}}\");\n}}"
        )
    }
}

/// A step as Rust text: as `Debug` shows it, but for bytes and lists.
struct Printed<'a>(&'a Step);

impl fmt::Display for Printed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let write = |name: &str, node: &NodeId, key: &Bytes, value: Option<&Bytes>| {
            let (key, value) = (literal(key), value.map(literal));
            let value = value.map_or("None".into(), |value| format!("Some({value})"));
            format!("{name} {{ node: {node:?}, key: {key}, value: {value} }}")
        };
        match self.0 {
            Step::Write { node, key, value } => {
                f.write_str(&write("Write", node, key, value.as_ref()))
            }
            Step::WriteOne { node, key, value } => {
                f.write_str(&write("WriteOne", node, key, value.as_ref()))
            }
            Step::WriteNamed {
                node,
                key,
                value,
                name,
            } => {
                let step = write("WriteNamed", node, key, value.as_ref());
                write!(f, "{}, name: {name} }}", step.trim_end_matches(" }"))
            }
            Step::Read { node, key } => {
                write!(f, "Read {{ node: {node:?}, key: {} }}", literal(key))
            }
            Step::Part { one, other } => {
                write!(f, "Part {{ one: vec!{one:?}, other: vec!{other:?} }}")
            }
            Step::FailCommit { node, fault } => {
                write!(
                    f,
                    "FailCommit {{ node: {node:?}, fault: CommitFault::{fault:?} }}"
                )
            }
            other => write!(f, "{other:?}"),
        }
    }
}

/// Bytes as an expression.
fn literal(bytes: &Bytes) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => format!("{text:?}.into()"),
        Err(_) => format!("vec!{:?}.into()", &bytes[..]),
    }
}
