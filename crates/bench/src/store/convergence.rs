//! Keys that are written at one of three replicas, until all hold them.

use cpu_time::ProcessTime;
use replica::{Cluster, Command, Level, NodeId, Request};
use std::time::{Duration, Instant};

use super::nodes::{Nodes, config};
use super::{OURS, keys, value};
use crate::alloc::heap_per;
use crate::measure::Sample;
use crate::report::Report;
use crate::row::{Row, Side, Target, Unit};

const KEYS: usize = 10_000;
const VALUE_BYTES: usize = 64;
const REPLICAS: usize = 3;
/// Several sync intervals, after which logs are trimmed.
const SETTLE_MS: u64 = 5_000;
const PEER: Side = Side::Recorded("delta_crdt_ex");

pub fn rows(report: &mut Report) {
    add(report);
    converge(report);
    memory(report);
}

/// What a write costs the node that takes it, its messages to the others included.
fn add(report: &mut Report) {
    let name = "convergence: add one key at one of 3 replicas";
    if !report.wants(name) {
        return;
    }
    let (keys, value) = (keys(0..KEYS), value(VALUE_BYTES));
    let row = Row::new(name, Unit::Microseconds)
        .with(PEER, 8.4)
        .target(Target::AtMost(0.5));
    let row = report
        .contest(row)
        .time(
            OURS,
            KEYS,
            || Nodes::new(config(3)),
            |mut nodes| {
                for key in &keys {
                    nodes.put(NodeId(1), key, &value, Level::One);
                }
                nodes
            },
            |nodes| nodes.succeeded,
        )
        .finish();
    report.add(&row);
}

/// From the first write until every node holds every key.
fn converge(report: &mut Report) {
    let (keys, value) = (keys(0..KEYS), value(VALUE_BYTES));
    let write = || {
        let cluster = Cluster::new(3).expect("a valid configuration");
        let writer = cluster.node(NodeId(1));
        let (start, processor) = (Instant::now(), ProcessTime::now());
        for key in &keys {
            let put = Command::put(key.clone(), value.clone());
            let written = writer.execute(Request::new(put, Level::One));
            written.expect("the node is up");
        }
        while !holds_all(&cluster) {
            std::thread::yield_now();
        }
        (start.elapsed(), processor.elapsed())
    };
    let sample = |elapsed: Duration| Sample {
        nanos: elapsed.as_nanos() as f64,
        fingerprint: KEYS as u64,
    };
    let name = "convergence: 10,000 keys at one of 3, until all hold them: real time";
    if report.wants(name) {
        let row = Row::new(name, Unit::Milliseconds)
            .with(PEER, 463.0)
            .target(Target::AtMost(20.0));
        let row = report
            .contest(row)
            .repeat(OURS, || sample(write().0))
            .finish();
        report.add(&row);
    }
    let name = "convergence: 10,000 keys at one of 3, until all hold them: processor time";
    if report.wants(name) {
        let row = Row::new(name, Unit::Milliseconds).target(Target::AtMost(20.0));
        let row = report
            .contest(row)
            .repeat(OURS, || sample(write().1))
            .finish();
        report.add(&row);
    }
}

fn holds_all(cluster: &Cluster) -> bool {
    let mut statuses = cluster.nodes().map(|node| cluster.status(node.id()));
    statuses.all(|status| status.is_some_and(|status| status.entries == KEYS))
}

/// Memory of three replicas that share the bytes of keys and values, which are not counted.
fn memory(report: &mut Report) {
    let rows = [
        ("once all know it", SETTLE_MS),
        ("while the log names each write", 0),
    ];
    for (when, settle_ms) in rows {
        let name = format!("convergence: memory per key and replica beyond key and value, {when}");
        if !report.wants(&name) {
            continue;
        }
        let figure = heap_of(KEYS, settle_ms);
        let mut row = Row::new(name, Unit::Bytes)
            .with(OURS, figure)
            .target(Target::AtMost(200.0));
        // What is recorded is the whole heap of a key.
        row.put(PEER, 1_200.0);
        report.add(&row);
    }
}

/// Heap for each key and replica beyond keys and values, in bytes.
pub fn heap_of(n: usize, settle_ms: u64) -> f64 {
    let (keys, value) = (keys(0..n), value(VALUE_BYTES));
    heap_per(n * REPLICAS, || {
        let mut nodes = Nodes::new(config(3));
        for key in &keys {
            nodes.put(NodeId(1), key, &value, Level::One);
            nodes.run();
        }
        nodes.pass(settle_ms, |_| ());
        nodes
    })
}
