//! Version vectors beside `crdts::VClock`.

use crdt::Lattice;
use crdts::CvRDT;
use std::cmp::Ordering;
use std::hint::black_box;

use super::{CRDTS, OURS};
use crate::alloc::counted;
use crate::peers::{crdts as theirs, ours};
use crate::report::Report;
use crate::row::{Row, Side, Target, Unit};

/// Repeated in one timed run.
const TIMES: usize = 20_000;
/// Rounds of a merge; the vectors are small enough to stay in the nearest cache.
const ROUNDS: usize = 64;
const VECTORS: usize = 32;

const FLAT: Side = Side::Floor("flat counters");

pub fn rows(report: &mut Report) {
    for (replicas, compare_ns, merge_ns) in [(3, 4.0, 3.0), (16, 15.0, 12.0), (100, 75.0, 60.0)] {
        compare(report, replicas, compare_ns);
        merge(report, replicas, merge_ns);
    }
    allocations(report);
}

/// Counters of `replicas` that are `more` above a first vector.
fn counters(replicas: u64, more: u64) -> Vec<(u64, u64)> {
    (1..=replicas)
        .map(|replica| (replica, replica * 10 + more))
        .collect()
}

/// Counters by position, where every vector has the same replicas.
fn flat(counters: &[(u64, u64)]) -> Vec<u64> {
    counters.iter().map(|c| c.1).collect()
}

fn flat_compare(a: &[u64], b: &[u64]) -> Option<Ordering> {
    let (mut less, mut greater) = (false, false);
    for (a, b) in a.iter().zip(b) {
        less |= a < b;
        greater |= a > b;
    }
    match (less, greater) {
        (true, true) => None,
        (true, false) => Some(Ordering::Less),
        (false, true) => Some(Ordering::Greater),
        (false, false) => Some(Ordering::Equal),
    }
}

fn count_less(times: usize, compare: impl Fn() -> Option<Ordering>) -> u64 {
    (0..times)
        .filter(|_| compare() == Some(Ordering::Less))
        .count() as u64
}

fn compare(report: &mut Report, replicas: u64, target_ns: f64) {
    let name = format!("version vector: compare, dominated, {replicas} replicas");
    if !report.wants(&name) {
        return;
    }
    let (low, high) = (counters(replicas, 0), counters(replicas, 1));
    let (a, b) = (ours::vector(&low), ours::vector(&high));
    let (x, y) = (theirs::clock(&low), theirs::clock(&high));
    let (p, q) = (flat(&low), flat(&high));
    let row = Row::new(name, Unit::Nanoseconds).target(Target::AtMost(target_ns));
    let row = report
        .contest(row)
        .time(
            OURS,
            TIMES,
            || (),
            |()| count_less(TIMES, || black_box(&a).partial_cmp(black_box(&b))),
            |n| *n,
        )
        .time(
            CRDTS,
            TIMES,
            || (),
            |()| count_less(TIMES, || black_box(&x).partial_cmp(black_box(&y))),
            |n| *n,
        )
        .time(
            FLAT,
            TIMES,
            || (),
            |()| count_less(TIMES, || flat_compare(black_box(&p), black_box(&q))),
            |n| *n,
        )
        .finish();
    report.add(&row);
}

fn merge(report: &mut Report, replicas: u64, target_ns: f64) {
    let name = format!("version vector: merge, grows, {replicas} replicas");
    if !report.wants(&name) {
        return;
    }
    let base = counters(replicas, 0);
    let steps: Vec<_> = (1..=ROUNDS as u64)
        .map(|more| counters(replicas, more))
        .collect();
    let (a, more) = (
        ours::vector(&base),
        steps.iter().map(|s| ours::vector(s)).collect::<Vec<_>>(),
    );
    let (x, more_x) = (
        theirs::clock(&base),
        steps.iter().map(|s| theirs::clock(s)).collect::<Vec<_>>(),
    );
    let (p, more_p) = (
        flat(&base),
        steps.iter().map(|s| flat(s)).collect::<Vec<_>>(),
    );
    let last = |counter: u64| counter;
    let row = Row::new(name, Unit::Nanoseconds).target(Target::AtMost(target_ns));
    let operations = ROUNDS * VECTORS;
    let row = report
        .contest(row)
        .time(
            OURS,
            operations,
            || vec![a.clone(); VECTORS],
            |mut vectors| {
                for more in &more {
                    for vector in &mut vectors {
                        black_box(vector.join(more));
                    }
                }
                vectors
            },
            |vectors| last(vectors[0].counter(crdt::ReplicaId(replicas))),
        )
        .time(
            CRDTS,
            operations,
            || {
                (
                    vec![x.clone(); VECTORS],
                    more_x
                        .iter()
                        .map(|m| vec![m.clone(); VECTORS])
                        .collect::<Vec<_>>(),
                )
            },
            |(mut vectors, more)| {
                for more in more {
                    for (vector, more) in vectors.iter_mut().zip(more) {
                        vector.merge(more);
                    }
                }
                vectors
            },
            |vectors| last(vectors[0].get(&replicas)),
        )
        .time(
            FLAT,
            operations,
            || vec![p.clone(); VECTORS],
            |mut vectors| {
                for more in &more_p {
                    for vector in &mut vectors {
                        for (mine, theirs) in vector.iter_mut().zip(more) {
                            *mine = (*mine).max(*theirs);
                        }
                        black_box(vector);
                    }
                }
                vectors
            },
            |vectors| last(vectors[0][replicas as usize - 1]),
        )
        .finish();
    report.add(&row);
}

fn allocations(report: &mut Report) {
    let name = "version vector: allocations to make, clone and merge, 4 replicas";
    if !report.wants(name) {
        return;
    }
    let (low, high) = (counters(4, 0), counters(4, 1));
    let (_, ours) = counted(|| {
        let (mut a, b) = (ours::vector(&low), ours::vector(&high));
        a.join(&b);
        [a.clone(), a, b]
    });
    let (_, theirs) = counted(|| {
        let (mut x, y) = (theirs::clock(&low), theirs::clock(&high));
        x.merge(y.clone());
        [x.clone(), x, y]
    });
    let row = Row::new(name, Unit::Allocations)
        .with(OURS, ours.calls as f64)
        .with(CRDTS, theirs.calls as f64)
        .target(Target::AtMost(0.0));
    report.add(&row);
}
