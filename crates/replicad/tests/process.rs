//! The program as an operator sees it: its subcommands, its restarts, and what it refuses.

#[path = "process/clients.rs"]
mod clients;
mod common;
#[path = "process/differential.rs"]
mod differential;
#[path = "process/nodes.rs"]
mod nodes;
#[path = "process/one_process.rs"]
mod one_process;
#[path = "process/operations.rs"]
mod operations;
#[path = "process/policies.rs"]
mod policies;
#[path = "process/rolling.rs"]
mod rolling;
#[path = "process/trails.rs"]
mod trails;

use common::{Process, complaint, free_ports, run};
use replicad::client::{Client, Value};
use std::fs;
use std::path::Path;

fn text(value: &str) -> Value {
    Value::Bytes(bytes::Bytes::copy_from_slice(value.as_bytes()))
}

fn temporary() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn utf8(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

#[test]
fn what_is_loaded_survives_a_failure_a_recovery_and_a_restart() {
    let directory = temporary();
    let data = directory.path().join("data");
    let rows: String = (0..2_000).map(|n| format!("key{n}\tvalue {n}\n")).collect();
    let file = directory.path().join("rows.tsv");
    fs::write(&file, rows + "a row without a value\n").expect("the rows are written");

    let process = Process::start(&data);
    let port = process.port.to_string();
    assert!(
        run(&["node", "fail", "3", "--port", &port])
            .status
            .success()
    );
    let refused = process.ask(3, &[b"GET", b"key1"]);
    assert!(
        format!("{refused:?}").contains("NODEFAILED node 3 has failed"),
        "{refused:?}"
    );
    let loaded = run(&["load", utf8(&file), "--port", &port]);
    assert!(!loaded.status.success(), "a bad row is not a success");
    assert!(
        complaint(&loaded).contains("2001"),
        "the bad row is named: {}",
        complaint(&loaded)
    );
    assert_eq!(process.ask(2, &[b"GET", b"key1999"]), text("value 1999"));
    assert!(
        run(&["node", "recover", "3", "--port", &port])
            .status
            .success()
    );
    assert_eq!(process.ask(3, &[b"DBSIZE"]), Value::Integer(2_000));
    let status = run(&["status", "--json", "--port", &port]);
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).expect("JSON");
    let nodes = status["nodes"].as_array().expect("nodes");
    assert!(
        nodes
            .iter()
            .all(|n| n["checksum"] == nodes[0]["checksum"] && n["state"] == "up")
    );
    assert!(
        nodes
            .iter()
            .all(|n| n["lacks"].as_array().is_some_and(Vec::is_empty))
    );
    process.stop();

    let process = Process::start(&data);
    let dump = run(&[
        "dump",
        "--format",
        "tsv",
        "--port",
        &process.port.to_string(),
    ]);
    assert!(dump.status.success());
    assert_eq!(dump.stdout.iter().filter(|b| **b == b'\n').count(), 2_000);
    for node in 1..=3 {
        assert_eq!(process.ask(node, &[b"GET", b"key7"]), text("value 7"));
    }
}

#[test]
fn every_acknowledged_write_is_there_after_a_kill() {
    let directory = temporary();
    let port = free_ports();
    let mut acknowledged: Vec<(u32, u32)> = Vec::new();
    for round in 0..3_u32 {
        let process = Process::start_on(directory.path(), port);
        for (key, round) in &acknowledged {
            let (key, node) = (format!("k{key}"), (key % 3 + 1) as u16);
            assert_eq!(
                process.ask(node, &[b"GET", key.as_bytes()]),
                text(&format!("r{round}"))
            );
        }
        acknowledged.clear();
        // Some replies are read, the rest is under way when the process is killed.
        common::runtime().block_on(async {
            let mut client = Client::connect(port + (round % 3) as u16)
                .await
                .expect("connected");
            for key in 0..600_u32 {
                let (key, value) = (format!("k{key}"), format!("r{round}"));
                client.queue(&[b"SET", key.as_bytes(), value.as_bytes()]);
            }
            for key in 0..500 {
                assert_eq!(client.receive().await.expect("a reply"), text("OK"));
                acknowledged.push((key, round));
            }
        });
        process.kill();
    }
}

#[test]
fn with_too_few_nodes_left_an_operator_must_decide() {
    let directory = temporary();
    let process = Process::start(directory.path());
    let port = process.port.to_string();
    process.ask(1, &[b"SET", b"k", b"v"]);
    for node in ["1", "2"] {
        assert!(
            run(&["node", "fail", node, "--port", &port])
                .status
                .success()
        );
    }
    let reply = process.ask(3, &[b"SET", b"k", b"w"]);
    assert!(
        format!("{reply:?}").contains("NOREPLICAS no majority: 1 of the 2"),
        "{reply:?}"
    );
    let refused = run(&["node", "recover", "1", "--port", &port]);
    assert!(!refused.status.success());
    assert!(complaint(&refused).contains("replicad node recover 1 --accept-loss"));
    let accepted = run(&["node", "recover", "1", "--accept-loss", "--port", &port]);
    assert!(accepted.status.success(), "{}", complaint(&accepted));
    assert!(
        run(&["node", "recover", "2", "--port", &port])
            .status
            .success()
    );
    assert_eq!(process.ask(2, &[b"GET", b"k"]), text("v"));
    let not_failed = run(&["node", "recover", "2", "--port", &port]);
    assert!(complaint(&not_failed).contains("node 2 has not failed"));
}

#[test]
fn a_failed_node_stays_failed_over_a_restart_and_comes_back_as_another() {
    let directory = temporary();
    let process = Process::start(directory.path());
    let port = process.port;
    process.ask(2, &[b"SET", b"k", b"v"]);
    assert!(
        run(&["node", "fail", "2", "--port", &port.to_string()])
            .status
            .success()
    );
    process.kill();
    let mut command = common::replicad(&["--data-dir", utf8(directory.path())]);
    let mut child = command
        .args(["--port", &port.to_string()])
        .spawn()
        .expect("it starts");
    let started = std::time::Instant::now();
    let answered = loop {
        let recovered = run(&["node", "recover", "2", "--port", &port.to_string()]);
        if recovered.status.success() || started.elapsed().as_secs() > 60 {
            break recovered;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    let status = run(&["status", "--json", "--port", &port.to_string()]);
    child.kill().expect("killed");
    child.wait().expect("ended");
    assert!(answered.status.success(), "{}", complaint(&answered));
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).expect("JSON");
    let incarnation = status["nodes"][1]["incarnation"]
        .as_str()
        .expect("an incarnation");
    assert!(
        incarnation.starts_with("2~0001"),
        "the first incarnation after the bootstrapped one: {incarnation}"
    );
}

#[test]
fn a_node_whose_store_is_gone_recovers_from_the_others() {
    let directory = temporary();
    let process = Process::start(directory.path());
    process.ask(1, &[b"SET", b"k", b"v"]);
    process.stop();
    fs::remove_file(directory.path().join("node-2/store")).expect("the store is there");
    let process = Process::start(directory.path());
    assert_eq!(process.ask(2, &[b"GET", b"k"]), text("v"));
    process.stop();
    for node in 1..=3 {
        fs::remove_file(directory.path().join(format!("node-{node}/store"))).expect("removed");
    }
    let refused = run(&[
        "--data-dir",
        utf8(directory.path()),
        "--port",
        &free_ports().to_string(),
    ]);
    assert!(
        complaint(&refused).contains("no node has a store left"),
        "{}",
        complaint(&refused)
    );
}

#[test]
fn ports_and_directories_in_use_are_refused() {
    let (directory, other) = (temporary(), temporary());
    let process = Process::start(directory.path());
    let port = process.port.to_string();
    let same_port = run(&["--data-dir", utf8(other.path()), "--port", &port]);
    assert!(!same_port.status.success());
    assert!(complaint(&same_port).contains(&format!("cannot listen on 127.0.0.1:{port}")));
    let free = free_ports().to_string();
    let same_directory = run(&["--data-dir", utf8(directory.path()), "--port", &free]);
    assert!(!same_directory.status.success());
    assert!(complaint(&same_directory).contains("in use by another process"));
    assert!(process.is_up(1), "the first one is not disturbed");
}

#[test]
fn stores_of_other_nodes_are_refused_and_damaged_stores_are_put_aside() {
    let directory = temporary();
    let process = Process::start(directory.path());
    for n in 0..500 {
        process.ask(1, &[b"SET", format!("key{n}").as_bytes(), &[b'x'; 200]]);
    }
    process.ask(1, &[b"INCRBY", b"count", b"41"]);
    process.stop();
    let node = directory.path().join("node-1");
    let store = node.join("store");
    let intact = fs::read(&store).expect("the store is read");
    fs::copy(directory.path().join("node-2/store"), &store).expect("copied");
    let port = free_ports().to_string();
    let refused = run(&["--data-dir", utf8(directory.path()), "--port", &port]);
    assert!(!refused.status.success(), "it must not start");
    let refusal = complaint(&refused);
    assert!(refusal.contains("node 2"), "{refusal}");
    // A flipped bit in every page: whatever the engine makes of it, it is an error, not a panic.
    let mut flipped = intact.clone();
    let bytes = flipped.iter_mut().skip(4_096 + 60).step_by(4_096);
    bytes.for_each(|byte| *byte ^= 0x10);
    let garbage = b"this is no store".to_vec();
    let cut = intact[..intact.len() / 2].to_vec();
    for (n, damaged) in [garbage, flipped, cut].into_iter().enumerate() {
        fs::write(&store, &damaged).expect("written");
        let process = Process::start(directory.path());
        assert_eq!(process.ask(1, &[b"DBSIZE"]), Value::Integer(501));
        let count = process.ask(1, &[b"INCR", b"count"]);
        assert_eq!(count, Value::Integer(42 + n as i64));
        process.stop();
        let aside = fs::read(node.join(format!("store.damaged-{}", n + 1)));
        assert!(aside.expect("it was put aside") == damaged, "as it was");
    }
}
