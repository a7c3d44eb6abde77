//! How the cost of ours grows with the number of elements, replicas and gaps. No targets: what counts is that
//! the figure of one element or range stays where it is.

mod differences;

use crdt::{Causal, CausalContext, Dot, DotRange, Lattice, ReplicaId};
use std::hint::black_box;

use super::OURS;
use crate::data::{Difference, adds, element, fingerprint, mix, set_pair};
use crate::peers::ours;
use crate::report::Report;
use crate::row::{Row, Unit};

const DELTAS: usize = 200;

pub fn rows(report: &mut Report) {
    let largest = if report.options.quick {
        100_000
    } else {
        1_000_000
    };
    for n in [1_000, 10_000, 100_000, 1_000_000]
        .into_iter()
        .filter(|n| *n <= largest)
    {
        for difference in [
            Difference::OneNewer,
            Difference::HalfOverlap,
            Difference::Disjoint,
        ] {
            join(report, n, difference);
        }
        delta(report, n);
        map_join(report, n);
        differences::rows(report, n);
    }
    let (replicas, gaps): (&[u64], &[u64]) = if report.options.quick {
        (&[3, 1_000], &[0, 100])
    } else {
        (&[3, 30, 300, 1_000], &[0, 10, 100])
    };
    for &replicas in replicas {
        for &gaps in gaps {
            context(report, replicas, gaps);
        }
    }
}

fn join(report: &mut Report, n: usize, difference: Difference) {
    let name = format!(
        "growth: add-wins set of {n}, join, {}, each element",
        difference.name()
    );
    if !report.wants(&name) {
        return;
    }
    let pair = set_pair(difference, n);
    let (a, b) = (
        ours::set(&pair.left, &[]),
        ours::set(&pair.right, &pair.removed_right),
    );
    let row = report
        .contest(Row::new(name, Unit::Nanoseconds))
        .time(
            OURS,
            n,
            || a.clone(),
            |mut a| {
                a.join(&b);
                a
            },
            ours::set_fingerprint,
        )
        .finish();
    report.add(&row);
}

fn map_join(report: &mut Report, n: usize) {
    let name = format!("growth: map of multi-value registers of {n}, join, half overlap, each key");
    if !report.wants(&name) {
        return;
    }
    let pair = set_pair(Difference::HalfOverlap, n);
    let (a, b) = (
        ours::mv_map(&pair.left, &[]),
        ours::mv_map(&pair.right, &[]),
    );
    let row = report
        .contest(Row::new(name, Unit::Nanoseconds))
        .time(
            OURS,
            n,
            || a.clone(),
            |mut a| {
                a.join(&b);
                a
            },
            ours::map_fingerprint,
        )
        .finish();
    report.add(&row);
}

fn delta(report: &mut Report, n: usize) {
    let name = format!("growth: add-wins set of {n}, join a delta of one element");
    if !report.wants(&name) {
        return;
    }
    let a = ours::set_in_use(&adds(0, n, 1));
    let mut author = ours::writer(1, a.clone());
    let mut deltas: Vec<Causal<ours::Set>> = (n..=n + DELTAS)
        .map(|i| author.change(|set| set.add(element(i))))
        .collect();
    let first = deltas.remove(0);
    let row = report
        .contest(Row::new(name, Unit::Nanoseconds))
        .time(
            OURS,
            DELTAS,
            || {
                let mut a = a.clone();
                a.join(&first);
                a
            },
            |mut a| {
                for delta in &deltas {
                    a.join(delta);
                }
                a
            },
            ours::set_fingerprint,
        )
        .finish();
    report.add(&row);
}

/// A context of so many replicas, each with a prefix and so many ranges behind gaps.
fn gappy(replicas: u64, gaps: u64, shift: u64) -> CausalContext {
    let mut context = CausalContext::default();
    for replica in (1..=replicas).map(ReplicaId) {
        for gap in 0..=gaps {
            let first = 1 + gap * 10 + if gap == 0 { 0 } else { shift };
            context.insert_range(DotRange {
                replica,
                first,
                last: first + 4,
            });
        }
    }
    context
}

fn context(report: &mut Report, replicas: u64, gaps: u64) {
    let what = format!("growth: context of {replicas} replicas with {gaps} gaps each");
    let (a, b) = (gappy(replicas, gaps, 0), gappy(replicas, gaps, 2));
    let ranges = a.range_count();
    let name = format!("{what}, join, each range");
    if report.wants(&name) {
        let row = report
            .contest(Row::new(name, Unit::Nanoseconds))
            .time(
                OURS,
                ranges,
                || a.clone(),
                |mut a| {
                    a.join(&b);
                    a
                },
                CausalContext::event_count,
            )
            .finish();
        report.add(&row);
    }
    let name = format!("{what}, difference, each range");
    if report.wants(&name) {
        let row = report
            .contest(Row::new(name, Unit::Nanoseconds))
            .time(
                OURS,
                ranges,
                || (),
                |()| a.difference(&b),
                CausalContext::event_count,
            )
            .finish();
        report.add(&row);
    }
    let name = format!("{what}, contains");
    if report.wants(&name) {
        const ASKED: u64 = 10_000;
        let last = gaps * 10 + 5;
        let dots: Vec<Dot> = (0..ASKED)
            .map(|i| Dot::new(ReplicaId(1 + mix(i) % replicas), 1 + mix(i + ASKED) % last))
            .collect();
        let row = report
            .contest(Row::new(name, Unit::Nanoseconds))
            .time(
                OURS,
                dots.len(),
                || (),
                |()| dots.iter().filter(|d| black_box(&a).contains(**d)).count() as u64,
                |n| fingerprint(std::iter::once(*n)),
            )
            .finish();
        report.add(&row);
    }
    insert(report, &what, &a);
}

fn insert(report: &mut Report, what: &str, context: &CausalContext) {
    let name = format!("{what}, insert the next dot of a replica");
    if !report.wants(&name) {
        return;
    }
    const DOTS: u64 = 1_000;
    let replica = ReplicaId(1);
    let next = context.last_counter(replica) + 1;
    let row = report
        .contest(Row::new(name, Unit::Nanoseconds))
        .time(
            OURS,
            DOTS as usize,
            || context.clone(),
            |mut context| {
                for counter in next..next + DOTS {
                    context.insert(Dot::new(replica, counter));
                }
                context
            },
            CausalContext::event_count,
        )
        .finish();
    report.add(&row);
}
