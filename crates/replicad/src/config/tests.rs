//! Settings from files, the environment and flags.

use super::*;
use crate::limits::Limits;
use crate::transport::{TransportLimits, TransportTimeouts};
use replica::{ClockKind, Config, NodeId};
use std::path::Path;
use toml::Table;

/// A file with all that has no default.
const SMALL: &str = r#"
[node]
id = 2
[cluster]
nodes = [
  { id = 1, address = "a:1" },
  { id = 2, address = "b:2", client = "c:3" },
  { id = 3, address = "[::1]:3" },
]
"#;

/// The settings that a file gives, or all that is wrong with it.
fn read(text: &str) -> Result<Settings, String> {
    let mut reader = read::Reader::default();
    reader.file(Path::new("node.toml"), text);
    reader.finish().map_err(|errors| errors.to_string())
}

/// What is wrong with [`SMALL`] and more.
fn wrong_with(more: &str) -> String {
    let settings = read(&format!("{SMALL}{more}"));
    let checked = settings.and_then(|settings| settings.check().map_err(|e| e.to_string()));
    checked.expect_err(more)
}

fn environment(pairs: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
    let owned: Vec<_> = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    owned.into_iter()
}

#[test]
fn the_file_that_is_printed_means_the_defaults() {
    let settings = read(&default_file()).expect("it is valid");
    assert_eq!(read(""), Ok(settings.clone()));
    assert_eq!(settings.front_end(), Limits::default());
    let transport = settings.transport().expect("no certificates are needed");
    assert_eq!(transport.limits, TransportLimits::default());
    assert_eq!(transport.timeouts, TransportTimeouts::default());
}

#[test]
fn the_defaults_of_the_protocol_are_those_of_its_crate() {
    let settings = read(SMALL).expect("it is valid");
    assert_eq!(settings.check(), Ok(()));
    let expected = Config {
        partitions: 16,
        durable: true,
        audit_interval_ms: 600_000,
        ..Config::new(NodeId(2), 3)
    };
    assert_eq!(settings.types(), expected);
    let drift_bound_ms = 60_000;
    let clock = ClockKind::Hybrid { drift_bound_ms };
    assert_eq!(settings.strings(), Config { clock, ..expected });
    let transport = settings.transport().expect("no certificates are needed");
    let peers = [(NodeId(1), "a:1".into()), (NodeId(3), "[::1]:3".into())];
    assert_eq!(transport.peers, peers);
    assert_eq!(settings.cluster.nodes[1].client.as_deref(), Some("c:3"));
}

#[test]
fn every_setting_is_printed_and_each_example_is_valid() {
    let mut with_examples = default_file();
    let lines: Vec<&str> = with_examples.lines().collect();
    let names: Vec<&str> = table::SETTINGS
        .iter()
        .map(|setting| setting.key.split_once('.').expect("a section").1)
        .collect();
    // An example is a comment that begins with the name of a setting, or goes on with a list.
    let is_example = |line: &str| {
        let starts = |name: &&str| {
            line.strip_prefix("# ")
                .and_then(|l| l.strip_prefix(*name))
                .is_some_and(|l| l.starts_with(" = "))
        };
        names.iter().any(starts) || line.starts_with("#   {") || line == "# ]"
    };
    let uncommented = lines
        .iter()
        .map(|line| if is_example(line) { &line[2..] } else { line });
    with_examples = uncommented.collect::<Vec<_>>().join("\n");
    let table: Table = with_examples.parse().expect("TOML");
    let mut in_file = 0;
    for setting in table::SETTINGS {
        let mut value = Some(&toml::Value::Table(table.clone()));
        for name in setting.key.split('.') {
            value = value
                .and_then(|value| value.get(name))
                .map(|value| value as _);
        }
        let value = value.unwrap_or_else(|| panic!("{} is not printed", setting.key));
        assert!(setting.kind.accepts(value), "{} = {value}", setting.key);
        in_file += 1;
    }
    assert_eq!(in_file, table::SETTINGS.len());
    read(&with_examples)
        .expect("it is valid")
        .check()
        .expect("and makes a node");
}

#[test]
fn flags_come_before_the_environment_and_that_before_the_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("node.toml");
    std::fs::write(
        &path,
        format!("{SMALL}[limits]\nmax_key_bytes = 1\nmax_value_bytes = 1\nscan_cursors = 1"),
    )
    .expect("written");
    let arguments = ConfigArgs {
        config: Some(path),
        set: vec![
            "limits.max_key_bytes=3".into(),
            "store.conflict = siblings".into(),
        ],
        node_id: Some("3".into()),
        data_dir: Some("/elsewhere".into()),
        listen_clients: Some("127.0.0.1:9".into()),
        listen_peers: None,
    };
    let variables = [
        ("REPLICAD_LIMITS__MAX_KEY_BYTES", "2"),
        ("REPLICAD_LIMITS__MAX_VALUE_BYTES", "2"),
        ("REPLICAD_NODE__ID", "1"),
        ("REPLICAD_LISTEN__PEERS", "127.0.0.1:10"),
        ("REPLICAD_TLS__PEERS__CA", "ca.pem"),
        ("REPLICAD_HOME", "not a setting"),
        ("PATH", "/bin"),
    ];
    let settings = arguments
        .load_with(environment(&variables))
        .expect("it is valid");
    assert_eq!(settings.limits.max_key_bytes, 3);
    assert_eq!(settings.limits.max_value_bytes, 2);
    assert_eq!(settings.limits.scan_cursors, 1);
    assert_eq!(settings.store.conflict, Conflict::Siblings);
    assert_eq!(settings.node.id, Some(3));
    assert_eq!(settings.node.data_dir, Path::new("/elsewhere"));
    assert_eq!(settings.listen.clients, "127.0.0.1:9");
    assert_eq!(settings.listen.peers, "127.0.0.1:10");
    assert_eq!(settings.tls.peers.ca.as_deref(), Some(Path::new("ca.pem")));
}

#[test]
fn the_list_of_nodes_can_come_from_the_environment() {
    let nodes = r#"[{id=1,address="a:1"},{id=2,address="b:1"},{id=3,address="c:1"}]"#;
    let variables = [("REPLICAD_CLUSTER__NODES", nodes)];
    let settings = ConfigArgs::default().load_with(environment(&variables));
    assert_eq!(settings.expect("it is valid").cluster.nodes.len(), 3);
    let variables = [("REPLICAD_CLUSTER__NODES", "a,b,c")];
    let error = ConfigArgs::default().load_with(environment(&variables));
    let error = error.expect_err("no list").to_string();
    assert!(error.starts_with("environment variable REPLICAD_CLUSTER__NODES: cluster.nodes is \"a,b,c\": it must be a list of"), "{error}");
}

#[test]
fn an_error_names_the_place_the_key_the_value_and_what_is_allowed() {
    let cases = [
        (
            "[limits]\nmax_key_bytes = 0",
            "node.toml: limits.max_key_bytes is 0: it must be a whole number of bytes from 1 to 33554432",
        ),
        (
            "[limits]\nmax_key_bytes = \"1\"",
            "node.toml: limits.max_key_bytes is \"1\": it must be a whole number of bytes from 1 to 33554432",
        ),
        (
            "[store]\nconflict = \"newest\"",
            "node.toml: store.conflict is \"newest\": it must be one of \"hybrid\", \"lamport\", \"caller\", \"siblings\"",
        ),
        (
            "[listen]\ninsecure = 1",
            "node.toml: listen.insecure is 1: it must be true or false",
        ),
        (
            "[listen]\nclients = \"7001\"",
            "node.toml: listen.clients is \"7001\": it must be a host and a port, as in \"127.0.0.1:7001\"",
        ),
        (
            "[listen]\nclients = \"a:70000\"",
            "node.toml: listen.clients is \"a:70000\": it must be a host and a port, as in \"127.0.0.1:7001\"",
        ),
        (
            "[limits]\nmax_keybytes = 1",
            "node.toml: there is no setting limits.max_keybytes; did you mean limits.max_key_bytes?",
        ),
        (
            "[limit]\nmax_key_bytes = 1",
            "node.toml: there is no setting limit.max_key_bytes; did you mean limits.max_key_bytes?",
        ),
        ("[zzz]\nqqq = 1", "node.toml: there is no setting zzz.qqq"),
        (
            "[auth]\npassword_hash = \"hunter2\"",
            "node.toml: auth.password_hash is something else (not shown): it must be the hash of a password in PHC form, which begins with $",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(read(text).expect_err(text), expected);
    }
    let variables = [
        ("REPLICAD_LIMITS__MAX_KEY", "1"),
        ("REPLICAD_LISTEN__INSECURE", "yes"),
    ];
    let error = ConfigArgs::default()
        .load_with(environment(&variables))
        .expect_err("wrong");
    assert_eq!(
        error.to_string(),
        "environment variable REPLICAD_LIMITS__MAX_KEY: there is no setting limits.max_key; did you mean limits.max_key_bytes?\n\
         environment variable REPLICAD_LISTEN__INSECURE: listen.insecure is \"yes\": it must be true or false"
    );
    let flags = |flag: &str| ConfigArgs {
        set: vec![flag.into()],
        ..ConfigArgs::default()
    };
    let error = |flag: &str| {
        flags(flag)
            .load_with(environment(&[]))
            .expect_err(flag)
            .to_string()
    };
    assert_eq!(
        error("node.id=0"),
        "--set node.id: node.id is 0: it must be a whole number from 1 to 1023"
    );
    assert!(error("secret").starts_with("--set ...: it takes the form"));
    assert!(error("node.ix=0").ends_with("did you mean node.id?"));
    let missing = ConfigArgs {
        config: Some("/nowhere/node.toml".into()),
        ..ConfigArgs::default()
    };
    let error = missing
        .load_with(environment(&[]))
        .expect_err("no file")
        .to_string();
    assert!(
        error.starts_with("cannot read /nowhere/node.toml: "),
        "{error}"
    );
}

#[test]
fn a_file_that_is_not_toml_is_refused_by_line_without_showing_it() {
    let error = read("[auth]\n\npassword_hash = hunter2\n").expect_err("no TOML");
    assert!(error.starts_with("node.toml: line 3: "), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
    let hash = "[auth]\npassword_hash = \"$argon2id$v=19$secret\"";
    let settings = read(hash).expect("it is valid");
    assert!(!format!("{settings:?}").contains("secret"));
}

#[test]
fn entries_of_the_list_of_nodes_are_checked_one_by_one() {
    let with = |entry: &str| {
        let other = "{ id = 2, address = \"a:1\" }, { id = 3, address = \"a:1\" }";
        read(&format!("[cluster]\nnodes = [{entry}, {other}]")).expect_err(entry)
    };
    assert!(with("{ id = 1, adress = \"a:1\" }").contains(
        "there is no setting cluster.nodes[0].adress; did you mean cluster.nodes[0].address?"
    ));
    assert!(with("{ id = 1 }").contains("and address is not there"));
    assert!(
        with("{ id = 5000, address = \"a:1\" }")
            .contains("cluster.nodes[0].id is 5000: it must be a whole number from 1 to 1023")
    );
    assert!(with("7").contains("cluster.nodes[0] is 7: it must be a list of 3 to"));
}

#[test]
fn settings_that_do_not_fit_together_are_refused() {
    let cases = [
        (
            "[store]\nwrite_quorum = 4",
            "store: write_quorum is 4: it must be 1 to 3, the number of owners of a key",
        ),
        (
            "[store]\nread_optimised = true\nread_quorum = 2",
            "store.read_optimised and store.read_quorum cannot both be set",
        ),
        (
            "[listen]\nclients = \"0.0.0.0:7001\"",
            "listen.clients is 0.0.0.0:7001, which others can reach, without TLS",
        ),
        (
            "[listen]\npeers = \"10.0.0.1:7101\"",
            "listen.peers is 10.0.0.1:7101, which others can reach, without TLS",
        ),
        (
            "[tls.peers]\nca = \"ca.pem\"",
            "tls.peers.ca is set and tls.peers.cert is not",
        ),
        (
            "[tls.clients]\nkey = \"k.pem\"",
            "tls.clients.key is set and tls.clients.cert is not",
        ),
        (
            "[tls.clients]\nca = \"ca.pem\"",
            "tls.clients.ca is set and tls.clients.cert is not",
        ),
        (
            "[limits]\npeer_frame_bytes = 100000",
            "limits.peer_frame_bytes is 100000: it must be at least",
        ),
        (
            "[timeouts]\nheartbeat_ms = 9000",
            "timeouts.dead_ms is 1500: it must be at least 9001, longer than heartbeat_ms",
        ),
        (
            "[timeouts]\nreconnect_min_ms = 9000",
            "timeouts.reconnect_max_ms is 2000: it must be at least 9000",
        ),
    ];
    for (more, expected) in cases {
        let error = wrong_with(more);
        assert!(error.starts_with(expected), "{error}");
    }
    let alone = read("")
        .expect("it is valid")
        .check()
        .expect_err("no nodes")
        .to_string();
    assert!(alone.starts_with("node.id is not set: it must be a whole number from 1 to 1023\ncluster.nodes is not set: "), "{alone}");
    let twice = SMALL.replace("id = 3", "id = 1");
    let error = read(&twice)
        .expect("each value is valid")
        .check()
        .expect_err("twice")
        .to_string();
    assert!(
        error.contains("the ids are [1, 1, 2]: with 3 nodes they must be 1 to 3"),
        "{error}"
    );
}

#[test]
fn insecure_ports_can_be_asked_for_and_what_that_gives_up_is_said() {
    let more = "[listen]\nclients = \"0.0.0.0:1\"\npeers = \"0.0.0.0:2\"\ninsecure = true\n\
                [store]\nwrite_quorum = 1\nread_quorum = 1\n[storage]\nsync = \"none\"";
    let settings = read(&format!("{SMALL}{more}")).expect("it is valid");
    assert_eq!(settings.check(), Ok(()));
    let said = settings.gives_up().join("\n");
    for part in [
        "R + W <= K",
        "2W <= K",
        "W = 1",
        "storage.sync",
        "0.0.0.0:1 is not encrypted",
        "0.0.0.0:2 is not encrypted",
        "no password",
    ] {
        assert!(said.contains(part), "{part} is not in: {said}");
    }
    let quiet = read(SMALL).expect("it is valid").gives_up();
    assert_eq!(quiet.len(), 2, "{quiet:?}");
    assert!(
        quiet.iter().all(|sentence| sentence.contains("loopback")),
        "{quiet:?}"
    );
}

#[test]
fn read_optimised_stores_write_everywhere_and_read_once() {
    let more = "[store]\nread_optimised = true\nconflict = \"caller\"";
    let settings = read(&format!("{SMALL}{more}")).expect("it is valid");
    assert_eq!(settings.check(), Ok(()));
    let config = settings.strings();
    assert_eq!((config.write_quorum, config.read_quorum), (3, 1));
    assert_eq!(config.clock, ClockKind::Caller);
    assert!(settings.gives_up()[0].contains("W = K"));
}
