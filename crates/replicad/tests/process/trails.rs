//! A request in the logs of all the nodes that have to do with it.

use crate::common::run;
use crate::nodes::{Cluster, append, until};
use replicad::client::Value;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::process::Stdio;

/// A cluster whose nodes log everything, in these forms.
fn logging(replication_factor: u32, formats: [&str; 3]) -> Cluster {
    let mut cluster = Cluster::new();
    for (i, format) in formats.into_iter().enumerate() {
        let log = format!("[log]\nlevel = \"debug\"\nformat = \"{format}\"\n");
        let store = format!("[store]\nreplication_factor = {replication_factor}\n");
        append(&cluster.config(i), &format!("{store}{log}"));
        let log = File::create(cluster.log(i)).expect("a file");
        cluster.start_with(i, Stdio::from(log));
        until(|| cluster.ask(i, &[b"PING"]).is_some());
    }
    let port = cluster.clients[0].to_string();
    assert!(run(&["bootstrap", "--port", &port]).status.success());
    cluster.until_up();
    cluster
}

fn log(cluster: &Cluster, i: usize) -> String {
    fs::read_to_string(cluster.log(i)).expect("a log")
}

/// The names of the requests of which a log in JSON says this, in order.
fn names(log: &str, message: &str) -> Vec<String> {
    let lines = log.lines().filter_map(|line| {
        // The last line may be half written.
        serde_json::from_str::<serde_json::Value>(line).ok()
    });
    let of = lines.filter(|line| line["message"] == message);
    of.filter_map(|line| line["request"].as_str().map(str::to_owned))
        .collect()
}

fn distinct(log: &str, message: &str) -> BTreeSet<String> {
    names(log, message).into_iter().collect()
}

#[test]
fn a_request_has_one_name_in_the_logs_of_all_nodes_that_serve_a_part_of_it() {
    // Of each key two nodes are owners, and each request needs both: all three nodes have to do with a request
    // to the one that is not.
    let cluster = logging(2, ["json"; 3]);
    for n in 0..20 {
        let (key, counter) = (format!("key-{n}"), format!("counter-{n}"));
        assert!(
            cluster
                .ask(0, &[b"SET", key.as_bytes(), b"value"])
                .is_some()
        );
        assert!(cluster.ask(0, &[b"INCR", counter.as_bytes()]).is_some());
        let linearizable: [&[u8]; 4] = [b"R.GET", key.as_bytes(), b"LEVEL", b"LINEARIZABLE"];
        assert!(cluster.ask(0, &linearizable).is_some());
    }
    let first = log(&cluster, 0);
    let asked = distinct(&first, "a client asks");
    assert_eq!(distinct(&first, "a client is answered"), asked);
    // A read at level `Quorum`, as those of what an increment has done, needs one of two owners.
    let needs_both = |line: &&str| {
        let is_write = ["put", "increment"].map(|name| line.contains(&format!("\"{name}\"")));
        is_write.contains(&true) || line.contains("Linearizable")
    };
    let lines: Vec<&str> = first.lines().filter(needs_both).collect();
    let asked = distinct(&lines.join("\n"), "a client asks");
    assert!(asked.len() >= 60, "{asked:?}");
    let forwarded = &distinct(&first, "a request is forwarded") & &asked;
    assert!(forwarded.len() > 5, "{forwarded:?}");
    // Logs are written as they come, and may be behind what clients are told.
    let shown = |message| {
        let [second, third] = [1, 2].map(|i| distinct(&log(&cluster, i), message));
        &second | &third
    };
    until(|| forwarded.is_subset(&shown("a forwarded request arrives")));
    until(|| forwarded.is_subset(&shown("an owner is asked")));
    until(|| forwarded.is_subset(&shown("asked as an owner")));
    until(|| forwarded.is_subset(&shown("an owner has answered")));
    until(|| forwarded.is_subset(&shown("a forwarded request is answered")));
    let of_others = shown("asked as an owner");
    assert!(
        of_others.iter().all(|name| name.starts_with("1/client/")),
        "nobody else asks"
    );
    let own: BTreeSet<String> = &asked - &forwarded;
    until(|| own.is_subset(&shown("asked as an owner")));
    until(|| own.is_subset(&distinct(&log(&cluster, 0), "an owner has answered")));
    for name in &forwarded {
        for i in 0..3 {
            assert!(log(&cluster, i).contains(&format!("\"{name}\"")), "{name}");
        }
    }
}

#[test]
fn logs_name_requests_in_text_too_and_hold_no_values_and_no_whole_keys() {
    // The last one writes text.
    let cluster = logging(1, ["json", "json", "text"]);
    for n in 0..30 {
        let key = format!("key-{n}-{}", "x".repeat(100));
        let set = cluster.ask(0, &[b"SET", key.as_bytes(), b"a secret value"]);
        assert_eq!(set, Some(Value::Bytes("OK".into())));
        // One that node 3 serves itself, or forwards, is in its text.
        assert!(cluster.ask(2, &[b"GET", key.as_bytes()]).is_some());
        let one: [&[u8]; 4] = [b"R.GET", key.as_bytes(), b"LEVEL", b"ONE"];
        assert!(cluster.ask(0, &one).is_some());
    }
    let logs = [0, 1, 2].map(|i| log(&cluster, i));
    let asked = names(&logs[0], "a client asks");
    assert_eq!(asked.len(), 60, "{asked:?}");
    assert!(asked.iter().all(|name| name.starts_with("1/client/")));
    assert_eq!(names(&logs[0], "a client is answered"), asked);
    let forwarded = distinct(&logs[0], "a request is forwarded");
    assert!(!forwarded.is_empty(), "node 1 owns a third of the keys");
    let arrived = names(&logs[1], "a forwarded request arrives");
    let answered = names(&logs[0], "the answer to a forwarded request arrives");
    for name in &forwarded {
        let in_text = format!("a forwarded request arrives node=node 3 request=\"{name}\"");
        let is_there = arrived.contains(name) || logs[2].contains(&in_text);
        assert!(is_there && answered.contains(name), "{name}");
    }
    for number in 1..=30 {
        let name = format!("node=node 3 request=\"3/client/{number}\"");
        for message in ["a client asks", "a client is answered"] {
            assert!(logs[2].contains(&format!("{message} {name}")), "{name}");
        }
    }
    for log in logs {
        assert!(!log.contains("secret"), "a value");
        assert!(!log.contains(&"x".repeat(40)), "a whole key");
    }
}
