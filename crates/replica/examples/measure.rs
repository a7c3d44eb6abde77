//! Measures a cluster of three nodes inside one process: writes, reads, and the recovery of an empty
//! node, each beside a plain map that does the same work without replication.
//!
//! ```text
//! cargo run --release -p replica --example measure
//! ```

#![expect(
    clippy::disallowed_macros,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a command-line front reads the clock, starts threads and prints"
)]

use bytes::Bytes;
use replica::{Cluster, Command, Level, NodeHandle, NodeId, Request};
use std::collections::BTreeMap;
use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Keys that are written and read, in no particular order.
const KEYS: usize = 200_000;
/// Keys that a node recovers.
const RECOVERED_KEYS: usize = 500_000;

fn main() -> Result<(), Box<dyn Error>> {
    let value = Bytes::from(vec![7; 64]);
    let keys: Vec<Bytes> = (0..KEYS).map(|n| key(n * 7_919 % KEYS)).collect();
    for threads in [1, 2] {
        let cluster = Cluster::new(3)?;
        let put = |node: &NodeHandle, key: &Bytes| {
            let command = Command::put(key.clone(), value.clone());
            node.execute(Request::new(command, Level::Quorum)).is_ok()
        };
        let get = |node: &NodeHandle, key: &Bytes| {
            node.execute(Request::new(Command::get(key.clone()), Level::Quorum))
                .is_ok()
        };
        let look = |node: &NodeHandle, key: &Bytes| node.read_local(key).is_ok();
        println!("{threads} threads, each through a node of its own");
        each_key("  write at level Quorum", &cluster, &keys, threads, &put);
        each_key("  read at level Quorum", &cluster, &keys, threads, &get);
        each_key("  read at level One", &cluster, &keys, threads, &look);
    }
    let mut plain = BTreeMap::new();
    let insert = || {
        for key in &keys {
            plain.insert(key.clone(), value.clone());
        }
    };
    println!("one thread, a plain map");
    per_operation("  insert", KEYS, insert);
    per_operation("  look-up", KEYS, || {
        for key in &keys {
            black_box(plain.get(key));
        }
    });
    recover()
}

/// How long an empty node takes to catch up, and how long copying the data takes.
fn recover() -> Result<(), Box<dyn Error>> {
    let cluster = Cluster::new(3)?;
    let (writer, value) = (cluster.node(NodeId(1)), Bytes::from(vec![7; 100]));
    for n in 0..RECOVERED_KEYS {
        writer.execute(Request::new(
            Command::put(key(n), value.clone()),
            Level::Quorum,
        ))?;
    }
    cluster.fail(NodeId(3));
    let start = Instant::now();
    cluster.recover(NodeId(3))?;
    cluster.wait_until_up(NodeId(3), Duration::from_secs(120))?;
    println!(
        "recovery of {RECOVERED_KEYS} keys of 100 bytes: {:?}",
        start.elapsed()
    );
    let plain: BTreeMap<Bytes, Bytes> = (0..RECOVERED_KEYS)
        .map(|n| (key(n), value.clone()))
        .collect();
    let start = Instant::now();
    let copy = black_box(&plain).clone();
    println!("copy of a plain map of the same: {:?}", start.elapsed());
    assert_eq!(copy.len(), black_box(plain).len());
    Ok(())
}

/// Does something once for each key, on several threads, each through a node of its own.
fn each_key(
    name: &str,
    cluster: &Cluster,
    keys: &[Bytes],
    threads: usize,
    work: &(impl Fn(&NodeHandle, &Bytes) -> bool + Sync),
) {
    per_operation(name, keys.len(), || {
        std::thread::scope(|scope| {
            for (node, share) in (1..)
                .map(NodeId)
                .zip(keys.chunks(keys.len().div_ceil(threads)))
            {
                let node = cluster.node(node);
                scope.spawn(move || assert!(share.iter().all(|key| work(&node, key))));
            }
        });
    });
}

fn per_operation(name: &str, operations: usize, work: impl FnOnce()) {
    let start = Instant::now();
    work();
    let seconds = start.elapsed().as_secs_f64();
    let operations = operations as f64;
    println!(
        "{name}: {:.0} ns, {:.0} per second",
        seconds * 1e9 / operations,
        operations / seconds
    );
}

fn key(n: usize) -> Bytes {
    Bytes::from(format!("key{n:013}"))
}
