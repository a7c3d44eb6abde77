//! The map of multi-value registers beside `crdts::Map` of `MVReg`.

use crdt::Lattice;
use crdts::CvRDT;

use super::{CRDTS, OURS, json_bytes, postcard_bytes};
use crate::alloc::heap_per;
use crate::data::{Difference, N, SetPair, adds, element, set_pair};
use crate::peers::{crdts as theirs, ours};
use crate::report::Report;
use crate::row::{Row, Target, Unit};

const OPERATIONS: usize = 1_000;

pub fn rows(report: &mut Report) {
    put(report);
    get(report);
    for difference in Difference::ALL {
        merge(report, difference);
    }
    bytes(report);
}

/// A map of its own is built for each repetition: clones of ours share their entries until they are written,
/// and copying them is another row.
fn put(report: &mut Report) {
    put_row(
        report,
        "map of multi-value registers: put over a value",
        false,
    );
    put_row(
        report,
        "map of multi-value registers: put over a value of a clone",
        true,
    );
}

fn put_row(report: &mut Report, name: &str, is_clone: bool) {
    if !report.wants(name) {
        return;
    }
    let start = adds(0, N, 1);
    let (a, x) = (ours::mv_map(&start, &[]), theirs::mv_map(&start, &[]));
    let keys: Vec<u64> = (0..OPERATIONS).map(|i| element(i * 97)).collect();
    let mut row = Row::new(name, Unit::Nanoseconds);
    if !is_clone {
        row = row.target(Target::TimesLess(4.0, "crdts"));
    }
    let setup = || match is_clone {
        true => ours::writer(1, a.clone()),
        false => ours::writer(1, ours::mv_map(&start, &[])),
    };
    let row = report
        .contest(row)
        .time(
            OURS,
            OPERATIONS,
            setup,
            |mut a| {
                for key in &keys {
                    let _ =
                        std::hint::black_box(a.change(|map| map.update(*key, |cell| cell.set(7))));
                }
                a
            },
            |a| ours::map_fingerprint(a.state()),
        )
        .time(
            CRDTS,
            OPERATIONS,
            || x.clone(),
            |mut x| {
                for key in &keys {
                    theirs::put(&mut x, 1, *key, 7);
                }
                x
            },
            theirs::map_fingerprint,
        )
        .finish();
    report.add(&row);
}

fn get(report: &mut Report) {
    let name = "map of multi-value registers: get";
    if !report.wants(name) {
        return;
    }
    let start = adds(0, N, 1);
    let (a, x) = (ours::mv_map(&start, &[]), theirs::mv_map(&start, &[]));
    let asked: Vec<u64> = (0..N).map(|i| element(i * 77_777 % N)).collect();
    let first = |key: &u64| a.get(key).and_then(|cell| cell.values().next().copied());
    let sum = |sum: u64, value: Option<u64>| sum.wrapping_add(value.unwrap_or(0));
    let row = Row::new(name, Unit::Nanoseconds).target(Target::TimesLess(4.0, "crdts"));
    let row = report
        .contest(row)
        .time(
            OURS,
            N,
            || (),
            |()| asked.iter().map(first).fold(0, sum),
            |sum| *sum,
        )
        .time(
            CRDTS,
            N,
            || (),
            |()| asked.iter().map(|key| theirs::get(&x, *key)).fold(0, sum),
            |sum| *sum,
        )
        .finish();
    report.add(&row);
}

fn merge(report: &mut Report, difference: Difference) {
    let name = format!("map of multi-value registers: merge, {}", difference.name());
    if !report.wants(&name) {
        return;
    }
    let SetPair {
        left,
        right,
        removed_right,
    } = set_pair(difference, N);
    let b = ours::mv_map(&right, &removed_right);
    let (x, y) = (
        theirs::mv_map(&left, &[]),
        theirs::mv_map(&right, &removed_right),
    );
    let row = Row::new(name, Unit::Milliseconds).target(Target::TimesLess(30.0, "crdts"));
    let row = report
        .contest(row)
        .time(
            OURS,
            1,
            // Not a clone, which would share its entries with the original: copying them would be timed.
            || ours::mv_map(&left, &[]),
            |mut a| {
                a.join(&b);
                a
            },
            ours::map_fingerprint,
        )
        .time(
            CRDTS,
            1,
            || (x.clone(), y.clone()),
            |(mut x, y)| {
                x.merge(y);
                x
            },
            theirs::map_fingerprint,
        )
        .finish();
    report.add(&row);
}

fn bytes(report: &mut Report) {
    let start = adds(0, N, 1);
    let n = N as f64;
    let name = "map of multi-value registers: heap per key";
    if report.wants(name) {
        let row = Row::new(name, Unit::Bytes)
            .with(OURS, heap_per(N, || ours::mv_map(&start, &[])))
            .with(CRDTS, heap_per(N, || theirs::mv_map(&start, &[])))
            .target(Target::AtMost(80.0));
        report.add(&row);
    }
    let (postcard, json) = (
        "map of multi-value registers: wire bytes per key, postcard",
        "map of multi-value registers: wire bytes per key, JSON",
    );
    if !report.wants(postcard) && !report.wants(json) {
        return;
    }
    let (a, x) = (ours::mv_map(&start, &[]), theirs::mv_map(&start, &[]));
    for (name, ours, theirs) in [
        (postcard, postcard_bytes(&a), postcard_bytes(&x)),
        (json, json_bytes(&a), json_bytes(&x)),
    ] {
        let row = Row::new(name, Unit::Bytes)
            .with(OURS, ours / n)
            .with(CRDTS, theirs / n);
        report.add(&row);
    }
}
