//! What it costs to favour reads: a store with the caller's timestamps whose reads ask a quorum, beside one whose
//! writes go to every owner and whose reads ask one.

use cpu_time::ThreadTime;
use replica::{ReadMode, TimestampedStore};

use super::OURS;
use crate::measure::Sample;
use crate::report::Report;
use crate::row::{Row, Unit};

const NODES: u32 = 5;
const OWNERS: u32 = 3;
const KEYS: usize = 10_000;

pub fn rows(report: &mut Report) {
    for (mode, what) in [
        (ReadMode::Quorum, "reads ask a quorum"),
        (ReadMode::ReadOptimised, "reads ask one owner"),
    ] {
        let put = format!("modes, 3 owners of 5 nodes, {what}: put");
        let get = format!("modes, 3 owners of 5 nodes, {what}: get");
        if !report.wants(&put) && !report.wants(&get) {
            continue;
        }
        let store = TimestampedStore::with_mode(NODES, Some(OWNERS), mode);
        let store = store.expect("a valid configuration");
        let keys: Vec<String> = (0..KEYS).map(|n| format!("{n:016x}")).collect();
        let value = "v".repeat(64);
        let mut time = 0;
        let mut put_all = || {
            time += 1;
            nanos_of_each(&keys, |node, key| store.node(node).put(key, &value, time))
        };
        put_all();
        row(report, &put, &mut put_all);
        row(report, &get, &mut || {
            nanos_of_each(&keys, |node, key| store.node(node).get(key).is_some())
        });
    }
}

fn row(report: &mut Report, name: &str, measure: &mut dyn FnMut() -> f64) {
    if !report.wants(name) {
        return;
    }
    let contest = report.contest(Row::new(name, Unit::Nanoseconds));
    let sample = || Sample {
        nanos: measure(),
        fingerprint: KEYS as u64,
    };
    let row = contest.repeat(OURS, sample).finish();
    report.add(&row);
}

/// Processor time of an operation on each key, through the nodes in turn.
///
/// # Panics
/// If one fails.
fn nanos_of_each(keys: &[String], operation: impl Fn(u32, &str) -> bool) -> f64 {
    let start = ThreadTime::now();
    for (key, node) in keys.iter().zip((1..=NODES).cycle()) {
        assert!(operation(node, key), "{key} through node {node}");
    }
    start.elapsed().as_nanos() as f64 / keys.len() as f64
}
