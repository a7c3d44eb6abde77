//! The node as a server: INFO, COMMAND, CONFIG.

use bytes::Bytes;
use std::fmt::Write;
use std::sync::atomic::Ordering;

use super::table::{self, ADMIN, Keys, READ_MUCH, Spec, command};
use super::{Session, Started, glob, is, refused, unknown_subcommand, wrong_arity};
use crate::resp::reply::Reply;

pub(super) static COMMANDS: &[Spec] = &[
    command(
        "INFO [section ...]",
        -1,
        READ_MUCH,
        Keys::NONE,
        "server",
        "What the node says about itself.",
        info,
    ),
    command(
        "COMMAND [COUNT|INFO|DOCS [name ...]]",
        -1,
        READ_MUCH,
        Keys::NONE,
        "server",
        "The commands: all, or COUNT, INFO and DOCS.",
        commands,
    ),
    command(
        "CONFIG GET pattern [pattern ...]",
        -2,
        ADMIN,
        Keys::NONE,
        "server",
        "The settings that clients ask for.",
        config,
    ),
];

/// A section of INFO: its title and its fields.
type Section = (&'static str, Vec<(&'static str, String)>);

fn info(session: &mut Session, arguments: &[Bytes]) -> Started {
    let all = arguments.is_empty()
        || ["all", "default", "everything"]
            .iter()
            .any(|word| arguments.iter().any(|argument| is(argument, word)));
    let mut text = String::new();
    for (title, fields) in sections(session) {
        if all || arguments.iter().any(|argument| is(argument, title)) {
            let gap = if text.is_empty() { "" } else { "\r\n" };
            let _ = write!(text, "{gap}# {title}\r\n");
            for (name, value) in fields {
                let _ = write!(text, "{name}:{value}\r\n");
            }
        }
    }
    Reply::text(text).into()
}

fn sections(session: &Session) -> Vec<Section> {
    let info = session.backend().info();
    let limits = session.backend().limits();
    let connections = session.shared.connections.load(Ordering::Relaxed);
    vec![
        (
            "Server",
            vec![
                ("replicad_version", env!("CARGO_PKG_VERSION").into()),
                ("process_id", std::process::id().to_string()),
                ("tcp_port", info.port.to_string()),
                ("uptime_in_seconds", info.uptime.as_secs().to_string()),
            ],
        ),
        (
            "Clients",
            vec![
                ("connected_clients", connections.to_string()),
                ("maxclients", limits.max_connections.to_string()),
            ],
        ),
        (
            "Node",
            vec![
                ("node", info.node.0.to_string()),
                ("state", info.state.as_str().into()),
                ("nodes", info.nodes.to_string()),
                ("write_quorum", info.write_quorum.to_string()),
                ("read_quorum", info.read_quorum.to_string()),
                ("max_key_bytes", limits.max_key_bytes.to_string()),
                ("max_value_bytes", limits.max_value_bytes.to_string()),
            ],
        ),
        (
            "Keyspace",
            vec![("db0", format!("keys={},expires=0,avg_ttl=0", info.keys))],
        ),
    ]
}

fn commands(_: &mut Session, arguments: &[Bytes]) -> Started {
    let Some((subcommand, names)) = arguments.split_first() else {
        return Reply::Array(table::all().map(description).collect()).into();
    };
    if is(subcommand, "count") && names.is_empty() {
        return Reply::count(table::all().count()).into();
    }
    if is(subcommand, "info") {
        let described = if names.is_empty() {
            table::all().map(description).collect()
        } else {
            names
                .iter()
                .map(|name| table::find(name).map_or(Reply::Null, description))
                .collect()
        };
        return Reply::Array(described).into();
    }
    if is(subcommand, "docs") {
        let wanted =
            |spec: &&'static Spec| names.is_empty() || names.iter().any(|name| is(name, spec.name));
        return Reply::Map(table::all().filter(wanted).map(documentation).collect()).into();
    }
    unknown_subcommand("COMMAND", subcommand).into()
}

/// What `COMMAND INFO` says of one command, in the ten fields of Redis 7.
fn description(spec: &Spec) -> Reply {
    let position = |word: usize| Reply::count(word);
    Reply::Array(vec![
        Reply::text(spec.name.to_lowercase()),
        Reply::Integer(spec.arity),
        Reply::Array(spec.flags.iter().map(|flag| Reply::Simple(flag)).collect()),
        position(spec.keys.first),
        Reply::Integer(spec.keys.last),
        position(spec.keys.step),
        Reply::Array(Vec::new()),
        Reply::Array(Vec::new()),
        Reply::Array(Vec::new()),
        Reply::Array(Vec::new()),
    ])
}

fn documentation(spec: &Spec) -> (Reply, Reply) {
    let fields = vec![
        (Reply::text("summary"), Reply::text(spec.summary)),
        (Reply::text("since"), Reply::text("0.1.0")),
        (Reply::text("group"), Reply::text(spec.group)),
        (Reply::text("syntax"), Reply::text(spec.syntax)),
    ];
    (Reply::text(spec.name.to_lowercase()), Reply::Map(fields))
}

/// `CONFIG GET pattern ...`: the settings that client libraries and tools look at. Nothing can be
/// set.
fn config(session: &mut Session, arguments: &[Bytes]) -> Started {
    let (subcommand, patterns) = (&arguments[0], &arguments[1..]);
    if !is(subcommand, "get") {
        return match refused::part("CONFIG", subcommand) {
            Some(refusal) => refusal.into(),
            None => unknown_subcommand("CONFIG", subcommand).into(),
        };
    }
    if patterns.is_empty() {
        return wrong_arity("config|get").into();
    }
    let patterns: Vec<_> = patterns
        .iter()
        .map(|pattern| pattern.to_ascii_lowercase())
        .collect();
    let matching = settings(session)
        .into_iter()
        .filter(|(name, _)| patterns.iter().any(|p| glob::matches(p, name.as_bytes())))
        .map(|(name, value)| (Reply::text(name), Reply::text(value)));
    Reply::Map(matching.collect()).into()
}

fn settings(session: &Session) -> Vec<(&'static str, String)> {
    let limits = session.backend().limits();
    let idle = limits.idle_timeout;
    vec![
        ("appendonly", "yes".into()),
        ("databases", "1".into()),
        ("maxclients", limits.max_connections.to_string()),
        ("maxmemory", "0".into()),
        ("port", session.backend().info().port.to_string()),
        ("proto-max-bulk-len", limits.max_value_bytes.to_string()),
        ("save", String::new()),
        ("timeout", idle.map_or(0, |idle| idle.as_secs()).to_string()),
    ]
}
