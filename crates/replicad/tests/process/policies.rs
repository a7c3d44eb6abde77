//! What a store makes of concurrent writes, by its setting, with three processes and through the clients' protocol.

use crate::common::{complaint, run};
use crate::nodes::{Cluster, append, text, until};
use replicad::client::Value;

/// A new cluster whose strings are kept by this policy.
fn begun(conflict: &str) -> Cluster {
    let mut cluster = Cluster::new();
    for i in 0..3 {
        append(
            &cluster.config(i),
            &format!("[store]\nconflict = \"{conflict}\"\n"),
        );
        cluster.start(i);
        until(|| cluster.ask(i, &[b"PING"]).is_some());
    }
    let word = run(&["bootstrap", "--port", &cluster.clients[0].to_string()]);
    assert!(word.status.success(), "{}", complaint(&word));
    cluster.until_up();
    cluster
}

/// Asks in words of text, and expects an answer.
fn ask(cluster: &Cluster, i: usize, line: &str) -> Value {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    let answer = cluster.ask(i, &words);
    answer.unwrap_or_else(|| panic!("no answer to {line}"))
}

fn refusal(answer: Value) -> String {
    match answer {
        Value::Error(refusal) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

/// What `R.GET` shows: values, timestamp, context.
fn shown(cluster: &Cluster, i: usize, key: &str) -> (Vec<Value>, Option<u64>, String) {
    let Value::Array(fields) = ask(cluster, i, &format!("R.GET {key}")) else {
        panic!("R.GET {key} shows no map");
    };
    let field = |name: &str| {
        let at = fields.iter().position(|field| *field == text(name));
        fields[at.unwrap_or_else(|| panic!("no {name}")) + 1].clone()
    };
    let utf8 = |value: Value| match value {
        Value::Bytes(bytes) => Some(String::from_utf8(bytes.to_vec()).expect("text")),
        _ => None,
    };
    let Value::Array(values) = field("values") else {
        panic!("values are an array");
    };
    let timestamp = utf8(field("timestamp")).map(|time| time.parse().expect("a number"));
    (values, timestamp, utf8(field("context")).expect("text"))
}

#[test]
fn a_lamport_store_counts_its_writes_and_goes_on_counting_after_a_restart() {
    let mut cluster = begun("lamport");
    for n in 1..=9 {
        let (node, value) = (n % 3, n.to_string());
        assert_eq!(ask(&cluster, node, &format!("SET k {value}")), text("OK"));
        for node in 0..3 {
            let (values, time, _) = shown(&cluster, node, "k");
            assert_eq!(values, [text(&value)], "the last writer wins");
            assert_eq!(time, Some(n as u64), "no clock of a machine is in it");
        }
    }
    let refused = refusal(ask(&cluster, 0, "R.PUT k v TIMESTAMP 99"));
    assert!(refused.contains("timestamp"), "{refused}");
    for node in 0..3 {
        cluster.kill(node);
        cluster.start(node);
        cluster.until_up();
    }
    assert_eq!(ask(&cluster, 1, "DEL k"), Value::Integer(1));
    let (values, time, _) = shown(&cluster, 2, "k");
    assert!(
        values.is_empty() && time >= Some(10),
        "{values:?} at {time:?}"
    );
    assert_eq!(ask(&cluster, 2, "INCRBY n 5"), Value::Integer(5));
    cluster.until_equal();
}

#[test]
fn a_store_of_callers_takes_their_timestamps_and_nothing_without() {
    let mut cluster = begun("caller");
    let refused = refusal(ask(&cluster, 0, "SET k v"));
    assert!(refused.contains("R.PUT key value TIMESTAMP t"), "{refused}");
    let refused = refusal(ask(&cluster, 0, "R.PUT k v"));
    assert!(refused.contains("timestamp"), "{refused}");
    let writes = [
        (0, "R.PUT k v TIMESTAMP 20", 1),
        // Older, through another node: acknowledged, and without effect.
        (1, "R.PUT k old TIMESTAMP 19", 0),
        // At the same time the smaller value wins, and a value over a deletion.
        (2, "R.PUT k a TIMESTAMP 20", 1),
        (0, "R.PUT k b TIMESTAMP 20", 0),
        (1, "R.DEL k TIMESTAMP 20", 0),
    ];
    for (node, line, took_effect) in writes {
        assert_eq!(
            ask(&cluster, node, line),
            Value::Integer(took_effect),
            "{line}"
        );
    }
    for node in 0..3 {
        assert_eq!(ask(&cluster, node, "GET k"), text("a"));
        assert_eq!(shown(&cluster, node, "k").1, Some(20));
    }
    let refused = refusal(ask(&cluster, 0, "DEL k"));
    assert!(refused.contains("R.DEL key TIMESTAMP t"), "{refused}");
    assert_eq!(ask(&cluster, 2, "R.DEL k TIMESTAMP 21"), Value::Integer(1));
    cluster.kill(1);
    cluster.start(1);
    cluster.until_up();
    assert_eq!(
        ask(&cluster, 1, "R.PUT k late TIMESTAMP 21"),
        Value::Integer(1),
        "a value over a deletion of the same time"
    );
    let last = format!("R.PUT k last TIMESTAMP {}", u64::MAX);
    assert_eq!(ask(&cluster, 0, &last), Value::Integer(1));
    assert_eq!(
        ask(&cluster, 1, "R.PUT k later TIMESTAMP 22"),
        Value::Integer(0)
    );
    assert_eq!(shown(&cluster, 2, "k").1, Some(u64::MAX));
    // Counters and sets have no use for timestamps.
    assert_eq!(ask(&cluster, 0, "SADD s x y"), Value::Integer(2));
    assert_eq!(ask(&cluster, 1, "DEL s"), Value::Integer(1));
    cluster.until_equal();
}

#[test]
fn a_store_of_siblings_keeps_what_nobody_has_seen() {
    let cluster = begun("siblings");
    assert_eq!(ask(&cluster, 0, "SET k base"), text("OK"));
    let (values, time, context) = shown(&cluster, 1, "k");
    assert_eq!((values, time), (vec![text("base")], None));
    // Two clients decide on the same read, through two nodes.
    for (node, value) in [(1, "one"), (2, "two")] {
        let set = format!("R.SET k {value} CONTEXT {context}");
        assert_eq!(ask(&cluster, node, &set), Value::Integer(1));
    }
    let refused = refusal(ask(&cluster, 0, "GET k"));
    assert!(refused.starts_with("SIBLINGS"), "{refused}");
    let (values, _, both) = shown(&cluster, 0, "k");
    assert_eq!(values, [text("one"), text("two")]);
    // What this names has been replaced already: nothing is left to be deleted.
    let stale = ask(&cluster, 2, &format!("R.DEL k CONTEXT {context}"));
    assert!(matches!(stale, Value::Integer(_)), "{stale:?}");
    assert_eq!(shown(&cluster, 1, "k").0, [text("one"), text("two")]);
    let merged = format!("R.SET k both CONTEXT {both}");
    assert_eq!(ask(&cluster, 1, &merged), Value::Integer(1));
    for node in 0..3 {
        assert_eq!(ask(&cluster, node, "GET k"), text("both"));
    }
    cluster.until_equal();
}
