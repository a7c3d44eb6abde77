//! The add-wins set beside `crdts::Orswot`.

use crdt::{Causal, Lattice};
use crdts::{CmRDT, CvRDT};

use super::{CRDTS, OURS, json_bytes, postcard_bytes};
use crate::alloc::heap_per;
use crate::data::{Difference, N, SetPair, adds, element, set_pair};
use crate::peers::{crdts as theirs, floors::SortedSet, ours};
use crate::report::Report;
use crate::row::{Row, Side, Target, Unit};

/// Operations of one repetition of a row about single operations.
const OPERATIONS: usize = 1_000;

pub fn rows(report: &mut Report) {
    for difference in Difference::ALL {
        merge(report, difference, 0);
        merge(report, difference, 1);
        if !matches!(difference, Difference::Identical | Difference::OneNewer) {
            merge(report, difference, OPERATIONS);
        }
    }
    first_look_up(report);
    merge_clone(report);
    nothing_to_do(report);
    delta(report);
    add(report);
    add_batch(report);
    contains(report);
    remove(report);
    heap(report);
    wire(report);
}

/// The element that the `i`-th look-up after a merge asks for: absent, and present in every second one.
const fn asked(i: usize) -> u64 {
    element(if i % 2 == 0 { 3 * N + i } else { i })
}

/// `look_ups`: if there are any, the left set has its index, and the time until that many look-ups in the
/// merged set are answered counts.
fn merge(report: &mut Report, difference: Difference, look_ups: usize) {
    let suffix = match look_ups {
        0 => "",
        1 => ", then a look-up",
        _ => ", then 1,000 look-ups",
    };
    let name = format!("add-wins set: merge, {}{suffix}", difference.name());
    if !report.wants(&name) {
        return;
    }
    let times = match difference {
        Difference::Identical | Difference::OneNewer => 50.0,
        _ => 20.0,
    };
    let SetPair {
        left,
        right,
        removed_right,
    } = set_pair(difference, N);
    let (a, b) = (ours::set(&left, &[]), ours::set(&right, &removed_right));
    assert!(look_ups == 0 || a.len() == N);
    let (x, y) = (theirs::set(&left, &[]), theirs::set(&right, &removed_right));
    let (p, q) = (
        SortedSet::new(&left, &[]),
        SortedSet::new(&right, &removed_right),
    );
    let row = Row::new(name, Unit::Milliseconds).target(Target::TimesLess(times, "crdts"));
    let row = report
        .contest(row)
        .time(
            OURS,
            1,
            || a.clone(),
            |mut a| {
                a.join(&b);
                let found = (0..look_ups).filter(|i| a.contains(&asked(*i))).count();
                assert_eq!(found, look_ups / 2);
                a
            },
            ours::set_fingerprint,
        )
        .time(
            CRDTS,
            1,
            || (x.clone(), y.clone()),
            |(mut x, y)| {
                x.merge(y);
                let found = (0..look_ups).filter(|i| x.contains(&asked(*i)).val).count();
                assert_eq!(found, look_ups / 2);
                x
            },
            theirs::set_fingerprint,
        )
        .time(
            Side::Floor("sorted vector"),
            1,
            || p.clone(),
            |mut p| {
                p.join(&q);
                p
            },
            SortedSet::fingerprint,
        )
        .finish();
    report.add(&row);
}

/// What a set costs that has been decoded or merged with much, when it is asked for the first time: for an
/// element that it does not hold, and for what needs the index.
fn first_look_up(report: &mut Report) {
    let a = ours::set(&adds(0, N, 1), &[]);
    let mut row = |name: &str, ask: fn(&ours::Set) -> u64| {
        if !report.wants(name) {
            return;
        }
        let row = report
            .contest(Row::new(name, Unit::Milliseconds))
            .time(
                OURS,
                1,
                || a.clone(),
                |a| (ask(&a), a),
                |(answer, _)| *answer,
            )
            .finish();
        report.add(&row);
    };
    row("add-wins set: the first look-up", |set| {
        u64::from(set.contains(&asked(0)))
    });
    row("add-wins set: its index is made", |set| set.len() as u64);
}

fn merge_clone(report: &mut Report) {
    let name = "add-wins set: merge, a clone";
    if !report.wants(name) {
        return;
    }
    let a = ours::set(&adds(0, N, 1), &[]);
    let row = Row::new(name, Unit::Microseconds);
    let row = report
        .contest(row)
        .time(
            OURS,
            OPERATIONS,
            || (a.clone(), a.clone()),
            |(mut a, b)| {
                for _ in 0..OPERATIONS {
                    std::hint::black_box(a.join(std::hint::black_box(&b)));
                }
                a
            },
            ours::set_fingerprint,
        )
        .finish();
    report.add(&row);
}

fn nothing_to_do(report: &mut Report) {
    let name = "add-wins set: merge, nothing to do by digest";
    if !report.wants(name) {
        return;
    }
    let (a, b) = (
        ours::set(&adds(0, N, 1), &[]),
        ours::set(&adds(0, N, 1), &[]),
    );
    let row = Row::new(name, Unit::Microseconds).target(Target::AtMost(1.0));
    let row = report
        .contest(row)
        .time(
            OURS,
            OPERATIONS,
            || a.clone(),
            |mut a| {
                for _ in 0..OPERATIONS {
                    std::hint::black_box(a.join(std::hint::black_box(&b)));
                }
                a
            },
            ours::set_fingerprint,
        )
        .finish();
    report.add(&row);
}

fn delta(report: &mut Report) {
    let name = "add-wins set: join a delta of one element";
    if !report.wants(name) {
        return;
    }
    let (start, new) = (adds(0, N, 1), || (N..N + OPERATIONS).map(element));
    let a = ours::set_in_use(&start);
    let mut author = ours::writer(1, a.clone());
    let mut deltas: Vec<Causal<ours::Set>> =
        new().map(|e| author.change(|set| set.add(e))).collect();
    let x = theirs::set(&start, &[]);
    let mut author = x.clone();
    let operations: Vec<_> = new()
        .map(|element| {
            let operation = author.add(element, author.read_ctx().derive_add_ctx(1));
            author.apply(operation.clone());
            operation
        })
        .collect();
    let first = deltas.remove(0);
    let (first_operation, rest) = operations.split_first().expect("there are operations");
    let row = Row::new(name, Unit::Nanoseconds).target(Target::AtMost(1_000.0));
    let row = report
        .contest(row)
        // The first delta is not timed: it may build an index that the later ones use.
        .time(
            OURS,
            OPERATIONS - 1,
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
        .time(
            CRDTS,
            OPERATIONS - 1,
            || {
                let mut x = x.clone();
                x.apply(first_operation.clone());
                (x, rest.to_vec())
            },
            |(mut x, operations)| {
                for operation in operations {
                    x.apply(operation);
                }
                x
            },
            theirs::set_fingerprint,
        )
        .finish();
    report.add(&row);
}

fn add(report: &mut Report) {
    let name = "add-wins set: add one, with its delta";
    if !report.wants(name) {
        return;
    }
    let start = adds(0, N, 1);
    let (a, x) = (ours::set_in_use(&start), theirs::set(&start, &[]));
    let row = Row::new(name, Unit::Nanoseconds).target(Target::AtMost(30.0));
    let row = report
        .contest(row)
        .time(
            OURS,
            OPERATIONS,
            || ours::writer(1, a.clone()),
            |mut a| {
                for i in N..N + OPERATIONS {
                    let _ = std::hint::black_box(a.change(|set| set.add(element(i))));
                }
                a
            },
            |a| ours::set_fingerprint(a.state()),
        )
        .time(
            CRDTS,
            OPERATIONS,
            || x.clone(),
            |mut x| {
                for i in N..N + OPERATIONS {
                    theirs::add(&mut x, element(i));
                }
                x
            },
            theirs::set_fingerprint,
        )
        .finish();
    report.add(&row);
}

fn add_batch(report: &mut Report) {
    let name = "add-wins set: add 1,000 in one change, each";
    if !report.wants(name) {
        return;
    }
    let start = adds(0, N, 1);
    let (a, x) = (ours::set_in_use(&start), theirs::set(&start, &[]));
    let row = Row::new(name, Unit::Nanoseconds).target(Target::AtMost(30.0));
    let row = report
        .contest(row)
        .time(
            OURS,
            OPERATIONS,
            || ours::writer(1, a.clone()),
            |mut a| {
                let delta = a.change(|set| set.extend((N..N + OPERATIONS).map(element)));
                (a, delta)
            },
            |(a, _)| ours::set_fingerprint(a.state()),
        )
        .time(
            CRDTS,
            OPERATIONS,
            || x.clone(),
            |mut x| {
                let context = x.read_ctx().derive_add_ctx(1);
                let operation = x.add_all((N..N + OPERATIONS).map(element), context);
                x.apply(operation);
                x
            },
            theirs::set_fingerprint,
        )
        .finish();
    report.add(&row);
}

fn contains(report: &mut Report) {
    let name = "add-wins set: contains, half of them present";
    if !report.wants(name) {
        return;
    }
    let start = adds(0, N, 1);
    let (a, x) = (ours::set_in_use(&start), theirs::set(&start, &[]));
    // Asked in an order that is not that of the adds.
    let asked: Vec<u64> = (0..N).map(|i| element(i * 77_777 % (2 * N))).collect();
    let row = Row::new(name, Unit::Nanoseconds).target(Target::AtMost(10.0));
    let row = report
        .contest(row)
        .time(
            OURS,
            N,
            || (),
            |()| asked.iter().filter(|e| a.contains(e)).count(),
            |c| *c as u64,
        )
        .time(
            CRDTS,
            N,
            || (),
            |()| asked.iter().filter(|e| x.contains(e).val).count(),
            |c| *c as u64,
        )
        .finish();
    report.add(&row);
}

fn remove(report: &mut Report) {
    let name = "add-wins set: remove one, with its delta";
    if !report.wants(name) {
        return;
    }
    let start = adds(0, N, 1);
    let (a, x) = (ours::set_in_use(&start), theirs::set(&start, &[]));
    let removed: Vec<u64> = (0..OPERATIONS).map(|i| element(i * 97)).collect();
    let row = Row::new(name, Unit::Nanoseconds).target(Target::AtMost(30.0));
    let row = report
        .contest(row)
        .time(
            OURS,
            OPERATIONS,
            || ours::writer(1, a.clone()),
            |mut a| {
                for element in &removed {
                    let _ = std::hint::black_box(a.change(|set| set.remove(element)));
                }
                a
            },
            |a| ours::set_fingerprint(a.state()),
        )
        .time(
            CRDTS,
            OPERATIONS,
            || x.clone(),
            |mut x| {
                for element in &removed {
                    theirs::remove(&mut x, element);
                }
                x
            },
            theirs::set_fingerprint,
        )
        .finish();
    report.add(&row);
}

fn heap(report: &mut Report) {
    let name = "add-wins set: heap per element";
    if !report.wants(name) {
        return;
    }
    let start = adds(0, N, 1);
    let row = Row::new(name, Unit::Bytes)
        .with(OURS, heap_per(N, || ours::set_in_use(&start)))
        .with(CRDTS, heap_per(N, || theirs::set(&start, &[])))
        .with(Side::Floor("sorted vector"), 16.0)
        .target(Target::AtMost(32.0));
    report.add(&row);
    let name = "add-wins set: heap per element, never asked";
    if report.wants(name) {
        let ours = heap_per(N, || ours::set(&start, &[]));
        report.add(&Row::new(name, Unit::Bytes).with(OURS, ours));
    }
}

fn wire(report: &mut Report) {
    let start = adds(0, N, 1);
    let n = N as f64;
    for (encoding, target) in [("postcard", Some(10.0)), ("JSON", None)] {
        let name = format!("add-wins set: wire bytes per element, {encoding}");
        if !report.wants(&name) {
            continue;
        }
        let (a, x) = (ours::set_in_use(&start), theirs::set(&start, &[]));
        let (ours, theirs) = match encoding {
            "JSON" => (json_bytes(&a), json_bytes(&x)),
            _ => (postcard_bytes(&a), postcard_bytes(&x)),
        };
        let mut row = Row::new(name, Unit::Bytes)
            .with(OURS, ours / n)
            .with(CRDTS, theirs / n);
        if let Some(bytes) = target {
            row = row.target(Target::AtMost(bytes));
        }
        report.add(&row);
    }
}
