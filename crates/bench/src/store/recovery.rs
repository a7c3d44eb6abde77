//! A node that comes back empty, beside a clone of a plain map of the same data.

use bytes::Bytes;
use cpu_time::ThreadTime;
use replica::NodeId;
use std::collections::BTreeMap;

use super::nodes::Nodes;
use super::{OURS, keys, value};
use crate::alloc::counted;
use crate::measure::Sample;
use crate::report::Report;
use crate::row::{Row, Side, Target, Unit};

const VALUE_BYTES: usize = 100;
const LOST: NodeId = NodeId(3);
/// Twice the bytes of keys and values that `Config` lets into one answer.
const TWO_CHUNKS: f64 = (2 << 20) as f64;

pub fn rows(report: &mut Report) {
    let n = if report.options.quick {
        100_000
    } else {
        500_000
    };
    let time = format!("recovery: an empty node of 3, {n} keys, values of 100 B");
    let memory = format!("recovery: memory of the sender's largest answer, {n} keys");
    if !report.wants(&time) && !report.wants(&memory) {
        return;
    }
    let mut nodes = Nodes::three_with(n, VALUE_BYTES);
    if report.wants(&memory) {
        let row = Row::new(memory, Unit::Bytes)
            .with(OURS, largest_answer(&mut nodes))
            .target(Target::AtMost(TWO_CHUNKS));
        report.add(&row);
    }
    if !report.wants(&time) {
        return;
    }
    let value = value(VALUE_BYTES);
    let plain: BTreeMap<Bytes, Bytes> = keys(0..n)
        .into_iter()
        .map(|key| (key, value.clone()))
        .collect();
    let row = Row::new(time, Unit::Milliseconds).target(Target::AtMostTimesFloor(6.0));
    let row = report
        .contest(row)
        .repeat(OURS, || {
            // What the node held is dropped before the time starts.
            nodes.lose(LOST);
            let start = ThreadTime::now();
            nodes.run_until_up(LOST);
            Sample {
                nanos: start.elapsed().as_nanos() as f64,
                fingerprint: nodes.node(LOST).replica().map().len() as u64,
            }
        })
        .time(
            Side::Floor("clone of a BTreeMap"),
            1,
            || (),
            |()| plain.clone(),
            |copy| copy.len() as u64,
        )
        .finish();
    report.add(&row);
}

/// The most memory that an answer takes, beside the keys and values that it shares with the sender.
fn largest_answer(nodes: &mut Nodes) -> f64 {
    let mut largest = 0;
    nodes.lose(LOST);
    while let Some(message) = nodes.queue.pop_front() {
        let is_answered_by_sender = message.to != LOST;
        let ((), answer) = counted(|| nodes.deliver(message));
        if is_answered_by_sender {
            largest = largest.max(answer.live_bytes);
        }
    }
    nodes.run_until_up(LOST);
    largest as f64
}
