//! What an operator asks of a cluster in one process.

use crate::common::{Process, complaint, run, runtime};
use crate::nodes::{text, until};
use replicad::client::{Client, Value};
use std::fs;
use std::path::Path;
use std::process::Output;

fn ask(process: &Process, node: u16, subcommand: &[&str]) -> Output {
    let port = (process.port + node - 1).to_string();
    run(&[subcommand, &["--port", &port]].concat())
}

fn json(output: &Output) -> serde_json::Value {
    assert!(output.status.success(), "{}", complaint(output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn utf8(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

#[test]
fn a_cluster_in_one_process_is_explained_verified_and_copied() {
    let directory = tempfile::tempdir().expect("a directory");
    let process = Process::start(&directory.path().join("data"));
    for n in 0..50_u16 {
        let set = process.ask(n % 3 + 1, &[b"SET", format!("k{n}").as_bytes(), b"v"]);
        assert_eq!(set, text("OK"));
    }
    assert_eq!(process.ask(1, &[b"SADD", b"s", b"m"]), Value::Integer(1));
    let verified = json(&ask(&process, 2, &["verify", "--stores", "--json"]));
    assert_eq!(verified["outcome"], "equal");
    for node in 0..3 {
        assert_eq!(verified["nodes"][node]["store"], "sound");
    }
    let known = json(&ask(&process, 3, &["explain", "k7", "--json"]));
    assert!(
        known["lines"]
            .as_array()
            .is_some_and(|lines| !lines.is_empty())
    );
    assert_eq!(
        json(&ask(&process, 1, &["status", "--json"]))["nodes"][2]["state"],
        "up"
    );

    let copy = directory.path().join("copy");
    let made = json(&ask(&process, 2, &["snapshot", utf8(&copy), "--json"]));
    assert_eq!(made["node"], 2);
    let again = ask(&process, 2, &["snapshot", utf8(&copy)]);
    assert!(
        complaint(&again).contains("exists already"),
        "{}",
        complaint(&again)
    );

    assert!(ask(&process, 1, &["node", "fail", "3"]).status.success());
    let verified = ask(&process, 1, &["verify"]);
    assert_eq!(verified.status.code(), Some(4), "{}", complaint(&verified));
    let refused = ask(
        &process,
        3,
        &["snapshot", utf8(&directory.path().join("c"))],
    );
    assert!(
        complaint(&refused).contains("has failed"),
        "{}",
        complaint(&refused)
    );
    let refused = ask(&process, 3, &["explain", "k7"]);
    assert!(
        complaint(&refused).contains("NODEFAILED"),
        "{}",
        complaint(&refused)
    );
}

#[test]
fn a_set_has_a_limit_which_its_refusal_names() {
    let directory = tempfile::tempdir().expect("a directory");
    let process = Process::start(directory.path());
    let member = |n: u32| format!("{n:0>60000}");
    for n in 0..17 {
        let added = process.ask(1, &[b"SADD", b"s", member(n).as_bytes()]);
        assert_eq!(added, Value::Integer(1), "{n}");
    }
    // The node that has made all of them knows all of them.
    let refused = process.ask(1, &[b"SADD", b"s", member(17).as_bytes()]);
    let Value::Error(refusal) = refused else {
        panic!("18 members of 60,000 bytes are over 1 MiB: {refused:?}");
    };
    assert!(refusal.contains("limit of 1048576 bytes"), "{refusal}");
    assert_eq!(process.ask(3, &[b"SCARD", b"s"]), Value::Integer(17));
    assert_eq!(
        process.ask(3, &[b"SREM", b"s", member(0).as_bytes()]),
        Value::Integer(1)
    );
    let added = process.ask(3, &[b"SADD", b"s", member(17).as_bytes()]);
    assert_eq!(added, Value::Integer(1));
}

#[test]
fn a_restored_node_of_one_process_takes_a_new_identity_and_catches_up() {
    let directory = tempfile::tempdir().expect("a directory");
    let data = directory.path().join("data");
    let process = Process::start(&data);
    let identity = |process: &Process| {
        let status = json(&ask(process, 1, &["status", "--json"]));
        status["nodes"][1]["incarnation"].clone()
    };
    assert_eq!(process.ask(2, &[b"SET", b"old", b"v"]), text("OK"));
    let copy = directory.path().join("copy");
    json(&ask(&process, 2, &["snapshot", utf8(&copy), "--json"]));
    // What the copy does not hold, written under the identity that it was made of.
    assert_eq!(process.ask(2, &[b"SET", b"new", b"v"]), text("OK"));
    assert_eq!(process.ask(2, &[b"DEL", b"old"]), Value::Integer(1));
    let before = identity(&process);
    process.stop();

    let node = data.join("node-2");
    fs::remove_dir_all(&node).expect("it was there");
    let restored = run(&["restore", utf8(&copy), "--data-dir", utf8(&node), "--json"]);
    assert_eq!(json(&restored)["node"], 2);
    let process = Process::start(&data);
    assert_ne!(
        identity(&process),
        before,
        "it has shown what the copy lacks"
    );
    assert_eq!(process.ask(2, &[b"GET", b"new"]), text("v"));
    assert_eq!(process.ask(2, &[b"GET", b"old"]), Value::Null);
    until(|| {
        let verified = ask(&process, 1, &["verify", "--stores"]);
        verified.status.success()
    });
}

/// A read asks other nodes, and a write behind it in the pipeline does not.
#[test]
fn a_read_does_not_show_what_is_written_behind_it_in_the_pipeline() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let process = Process::start(directory.path());
    runtime().block_on(async {
        let mut client = Client::connect(process.port).await.expect("connected");
        for n in 1..=200_u32 {
            let value = n.to_string();
            client.queue(&[b"GET", b"key"]);
            client.queue(&[b"SET", b"key", value.as_bytes()]);
            client.queue(&[b"MGET", b"counter", b"another"]);
            client.queue(&[b"INCR", b"counter"]);
        }
        let text = |n: u32| match n {
            0 => Value::Null,
            n => Value::Bytes(n.to_string().into()),
        };
        for n in 1..=200 {
            assert_eq!(client.receive().await.expect("a reply"), text(n - 1));
            assert_eq!(
                client.receive().await.expect("a reply"),
                Value::Bytes("OK".into())
            );
            let many = Value::Array(vec![text(n - 1), Value::Null]);
            assert_eq!(client.receive().await.expect("a reply"), many);
            let counted = Value::Integer(n.into());
            assert_eq!(client.receive().await.expect("a reply"), counted);
        }
    });
}
