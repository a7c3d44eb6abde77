//! How the cost of what a peer lacks grows with the number of elements, and that of maps by time.

use crdt::{Causal, Difference as _, DotStore, Lattice as _};

use super::super::OURS;
use crate::data::{Add, Difference, LwwDifference, lww_pair, set_pair};
use crate::peers::ours;
use crate::report::Report;
use crate::row::{Row, Unit};

/// The rows of `n` elements.
pub fn rows(report: &mut Report, n: usize) {
    for difference in [Difference::OneNewer, Difference::HalfOverlap] {
        let what = "add-wins set";
        answer(
            report,
            what,
            n,
            difference,
            ours::set,
            ours::set_fingerprint,
        );
        let what = "map of multi-value registers";
        answer(
            report,
            what,
            n,
            difference,
            ours::mv_map,
            ours::map_fingerprint,
        );
    }
    for difference in [
        LwwDifference::OneNewer,
        LwwDifference::HalfNewer,
        LwwDifference::HalfOverlap,
    ] {
        lww_join(report, n, difference);
        lww_difference(report, n, difference);
    }
}

/// What the peer lacks that showed its digest; that the digest was made is not timed.
fn answer<S: DotStore>(
    report: &mut Report,
    what: &str,
    n: usize,
    difference: Difference,
    build: fn(&[Add], &[u64]) -> Causal<S>,
    fingerprint: fn(&Causal<S>) -> u64,
) {
    let name = format!(
        "growth: {what} of {n}, difference from a digest, {}, each element",
        difference.name()
    );
    if !report.wants(&name) {
        return;
    }
    let pair = set_pair(difference, n);
    let (asked, answers) = (
        build(&pair.left, &[]).digest(),
        build(&pair.right, &pair.removed_right),
    );
    let row = report
        .contest(Row::new(name, Unit::Nanoseconds))
        .time(
            OURS,
            n,
            || (),
            |()| answers.delta_since(&asked),
            fingerprint,
        )
        .finish();
    report.add(&row);
}

/// Both sides are built anew for each repetition, since clones share their chunks.
fn lww_join(report: &mut Report, n: usize, difference: LwwDifference) {
    let name = format!(
        "growth: LWW map of {n}, join, {}, each key",
        difference.name()
    );
    if !report.wants(&name) {
        return;
    }
    let (left, right) = lww_pair(difference, n);
    let row = report
        .contest(Row::new(name, Unit::Nanoseconds))
        .time(
            OURS,
            n,
            || (ours::lww_map(&left), ours::lww_map(&right)),
            |(mut a, b)| {
                a.join(&b);
                (a, b)
            },
            |(a, _)| ours::lww_fingerprint(a),
        )
        .finish();
    report.add(&row);
}

fn lww_difference(report: &mut Report, n: usize, difference: LwwDifference) {
    let name = format!(
        "growth: LWW map of {n}, difference, {}, each key",
        difference.name()
    );
    if !report.wants(&name) {
        return;
    }
    let (left, right) = lww_pair(difference, n);
    let (a, b) = (ours::lww_map(&left), ours::lww_map(&right));
    let row = report
        .contest(Row::new(name, Unit::Nanoseconds))
        .time(OURS, n, || (), |()| b.difference(&a), ours::lww_fingerprint)
        .finish();
    report.add(&row);
}
