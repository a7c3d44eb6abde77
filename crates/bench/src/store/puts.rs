//! Writes that a majority of three nodes in this process holds, beside inserts into three plain maps.

use bytes::Bytes;
use cpu_time::ProcessTime;
use hashbrown::HashMap;
use replica::{Command, Level, NodeHandle, NodeId, Request};
use std::time::Instant;

use super::{KEYS, OURS, cluster, keys, value};
use crate::measure::Sample;
use crate::report::Report;
use crate::row::{Row, Side, Target, Unit};

const PUTS: usize = 10_000;
const VALUE_BYTES: usize = 64;
/// Real time between two acknowledgements at 400,000 a second.
const BETWEEN_PUTS_NS: f64 = 2_500.0;
const CORES: f64 = 2.0;

pub fn rows(report: &mut Report) {
    let names = [
        "quorum put, 3 nodes, one thread: processor time",
        "quorum put, 3 nodes, 2 threads: real time between two",
        "quorum put, 3 nodes, 2 threads: processor time of both, for each put",
    ];
    if !names.iter().any(|name| report.wants(name)) {
        return;
    }
    let (keys, value) = (keys(0..KEYS), value(VALUE_BYTES));
    let cluster = cluster(3);
    let nodes = [1, 2].map(|node| cluster.node(NodeId(node)));
    put_all(&nodes[0], &keys, &value);
    if report.wants(names[0]) {
        let row = Row::new(names[0], Unit::Nanoseconds).target(Target::AtMostTimesFloor(8.0));
        one_thread(report, row, &nodes[0], &keys, &value);
    }
    let halves = [&keys[..PUTS], &keys[PUTS..2 * PUTS]];
    let both = || {
        std::thread::scope(|scope| {
            for (node, half) in nodes.iter().zip(halves) {
                scope.spawn(|| put_all(node, half, &value));
            }
        });
    };
    if report.wants(names[1]) {
        let row = Row::new(names[1], Unit::Nanoseconds).target(Target::AtMost(BETWEEN_PUTS_NS));
        let run = || {
            let start = Instant::now();
            both();
            sample(start.elapsed().as_nanos() as f64 / (2 * PUTS) as f64)
        };
        let row = report.contest(row).repeat(OURS, run).finish();
        report.add(&row);
    }
    if report.wants(names[2]) {
        let row =
            Row::new(names[2], Unit::Nanoseconds).target(Target::AtMost(BETWEEN_PUTS_NS * CORES));
        let run = || {
            let start = ProcessTime::now();
            both();
            sample(start.elapsed().as_nanos() as f64 / (2 * PUTS) as f64)
        };
        let row = report.contest(row).repeat(OURS, run).finish();
        report.add(&row);
    }
}

/// Each put was seen to succeed.
const fn sample(nanos: f64) -> Sample {
    Sample {
        nanos,
        fingerprint: PUTS as u64,
    }
}

fn one_thread(report: &mut Report, row: Row, node: &NodeHandle, keys: &[Bytes], value: &Bytes) {
    let mut plain: [HashMap<Bytes, Bytes>; 3] =
        std::array::from_fn(|_| keys.iter().map(|k| (k.clone(), value.clone())).collect());
    let written = &keys[..PUTS];
    let row = report
        .contest(row)
        .time(
            OURS,
            PUTS,
            || (),
            |()| put_all(node, written, value),
            |()| KEYS as u64,
        )
        .time(
            Side::Floor("inserts into three hash maps"),
            PUTS,
            || (),
            |()| {
                for key in written {
                    for map in &mut plain {
                        map.insert(key.clone(), value.clone());
                    }
                }
                plain[0].len() as u64
            },
            |entries| *entries,
        )
        .finish();
    report.add(&row);
}

/// Writes each key at level `Quorum`.
///
/// # Panics
/// If one is not acknowledged.
pub fn put_all(node: &NodeHandle, keys: &[Bytes], value: &Bytes) {
    for key in keys {
        let put = Command::put(key.clone(), value.clone());
        let written = node.execute(Request::new(put, Level::Quorum));
        written.expect("a majority is up");
    }
}
