//! The last-writer-wins map beside those of others.

use crdt::Lattice;
use garage_util::crdt::Crdt;
use lattices::Merge;

use super::OURS;
use crate::alloc::heap_per;
use crate::data::{LwwDifference, N, Written, fingerprint_pairs, lww_pair};
use crate::peers::floors::{self, BTreeLww, HashLww, SortedLww, join_btree, join_hash, pairs};
use crate::peers::{lww, ours};
use crate::report::Report;
use crate::row::{Row, Side, Target, Unit};

const GARAGE: Side = Side::Peer("garage_util", "LwwMap");
const LATTICES_HASH: Side = Side::Peer("lattices", "MapUnion of HashMap");
const LATTICES_BTREE: Side = Side::Peer("lattices", "MapUnion of BTreeMap");
const DATACAKE: Side = Side::Peer("datacake-crdt", "OrSWotSet, no values");
const IMBL_ORD: Side = Side::Peer("imbl", "OrdMap::union_with");
const IMBL_HASH: Side = Side::Peer("imbl", "HashMap::union_with");
const SORTED: Side = Side::Floor("sorted vector");
const HASH: Side = Side::Floor("hashbrown");
const BTREE: Side = Side::Floor("BTreeMap");

pub fn rows(report: &mut Report) {
    // The figures to reach in milliseconds, beside the ratio.
    for (difference, milliseconds) in [
        (LwwDifference::Identical, 0.3),
        (LwwDifference::HalfNewer, 0.5),
        (LwwDifference::HalfOverlap, 1.2),
        (LwwDifference::Disjoint, 1.2),
    ] {
        merge(report, difference, milliseconds);
        merge_owned(report, difference, milliseconds);
    }
    merge_clone(report);
    heap(report);
}

fn merge(report: &mut Report, difference: LwwDifference, milliseconds: f64) {
    let name = format!("LWW map: merge, {}", difference.name());
    if !report.wants(&name) {
        return;
    }
    let (left, right) = lww_pair(difference, N);
    let row = Row::new(name, Unit::Milliseconds)
        .target(Target::TimesLessThanBest(3.0))
        .target(Target::AtMost(milliseconds));
    let contest = report.contest(row);
    let contest = add_ours(contest, &left, &right);
    let contest = add_peers(contest, &left, &right);
    let row = add_floors(contest, &left, &right).finish();
    report.add(&row);
}

type Contest<'a> = crate::measure::Contest<'a>;

/// Both sides are built anew for each repetition, since clones of ours share their chunks.
fn add_ours<'a>(contest: Contest<'a>, left: &'a [Written], right: &'a [Written]) -> Contest<'a> {
    let build = || (ours::lww_map(left), ours::lww_map(right));
    contest.time(
        OURS,
        1,
        build,
        |(mut a, b)| {
            a.join(&b);
            (a, b)
        },
        |(a, _)| ours::lww_fingerprint(a),
    )
}

/// Ours where the other side is given away, as most peers ask.
fn merge_owned(report: &mut Report, difference: LwwDifference, milliseconds: f64) {
    let name = format!("LWW map: merge, other given away, {}", difference.name());
    if !report.wants(&name) {
        return;
    }
    let (left, right) = lww_pair(difference, N);
    let row = Row::new(name, Unit::Milliseconds).target(Target::AtMost(milliseconds));
    let build = || (ours::lww_map(&left), ours::lww_map(&right));
    let contest = report.contest(row).time(
        OURS,
        1,
        build,
        |(mut a, b)| {
            a.join_owned(b);
            a
        },
        ours::lww_fingerprint,
    );
    let row = add_floors(contest, &left, &right).finish();
    report.add(&row);
}

fn merge_clone(report: &mut Report) {
    let name = "LWW map: merge, a clone";
    if !report.wants(name) {
        return;
    }
    let (left, _) = lww_pair(LwwDifference::Identical, N);
    let build = || {
        let a = ours::lww_map(&left);
        (a.clone(), a)
    };
    let row = report
        .contest(Row::new(name, Unit::Microseconds))
        .time(
            OURS,
            1,
            build,
            |(mut a, b)| {
                a.join(&b);
                (a, b)
            },
            |(a, _)| ours::lww_fingerprint(a),
        )
        .finish();
    report.add(&row);
}

fn add_peers<'a>(contest: Contest<'a>, left: &'a [Written], right: &'a [Written]) -> Contest<'a> {
    let (a, b) = (lww::garage(left), lww::garage(right));
    let contest = contest.time(
        GARAGE,
        1,
        move || a.clone(),
        move |mut a| {
            a.merge(&b);
            a
        },
        |a| fingerprint_pairs(lww::garage_pairs(a)),
    );
    let a: lww::LatticesHash = lww::LatticesHash::new(lww::registers(left).collect());
    let b: lww::LatticesHash = lww::LatticesHash::new(lww::registers(right).collect());
    let contest = contest.time(
        LATTICES_HASH,
        1,
        move || (a.clone(), b.clone()),
        |(mut a, b)| {
            a.merge(b);
            a
        },
        |a| fingerprint_pairs(a.as_reveal_ref().iter().map(lww::register_pair)),
    );
    let a: lww::LatticesBTree = lww::LatticesBTree::new(lww::registers(left).collect());
    let b: lww::LatticesBTree = lww::LatticesBTree::new(lww::registers(right).collect());
    let contest = contest.time(
        LATTICES_BTREE,
        1,
        move || (a.clone(), b.clone()),
        |(mut a, b)| {
            a.merge(b);
            a
        },
        |a| fingerprint_pairs(a.as_reveal_ref().iter().map(lww::register_pair)),
    );
    let mut keys: Vec<u64> = left.iter().chain(right).map(|e| e.key).collect();
    keys.sort_unstable();
    keys.dedup();
    let (a, b) = (lww::datacake(left), lww::datacake(right));
    let contest = contest.time(
        DATACAKE,
        1,
        move || (a.clone(), b.clone()),
        |(mut a, b)| {
            a.merge(b);
            a
        },
        move |a| fingerprint_pairs(keys.iter().filter_map(|key| lww::datacake_pair(a, *key))),
    );
    let (a, b): (lww::ImblOrd, lww::ImblOrd) = (pairs(left).collect(), pairs(right).collect());
    let contest = contest.time(
        IMBL_ORD,
        1,
        move || (a.clone(), b.clone()),
        |(a, b)| a.union_with(b, Ord::max),
        |a| fingerprint_pairs(a.iter().map(|(key, stamped)| (*key, stamped.1))),
    );
    let (a, b): (lww::ImblHash, lww::ImblHash) = (pairs(left).collect(), pairs(right).collect());
    contest.time(
        IMBL_HASH,
        1,
        move || (a.clone(), b.clone()),
        |(a, b)| a.union_with(b, Ord::max),
        |a| fingerprint_pairs(a.iter().map(|(key, stamped)| (*key, stamped.1))),
    )
}

fn add_floors<'a>(contest: Contest<'a>, left: &'a [Written], right: &'a [Written]) -> Contest<'a> {
    let values = |(key, stamped): (&u64, &floors::Stamped)| (*key, stamped.1);
    let (a, b) = (SortedLww::new(left), SortedLww::new(right));
    let contest = contest.time(
        SORTED,
        1,
        move || a.clone(),
        move |mut a| {
            a.join(&b);
            a
        },
        |a| fingerprint_pairs(a.iter()),
    );
    let (a, b): (HashLww, HashLww) = (pairs(left).collect(), pairs(right).collect());
    let contest = contest.time(
        HASH,
        1,
        move || a.clone(),
        move |mut a| {
            join_hash(&mut a, &b);
            a
        },
        move |a| fingerprint_pairs(a.iter().map(values)),
    );
    let (a, b): (BTreeLww, BTreeLww) = (pairs(left).collect(), pairs(right).collect());
    contest.time(
        BTREE,
        1,
        move || a.clone(),
        move |mut a| {
            join_btree(&mut a, &b);
            a
        },
        move |a| fingerprint_pairs(a.iter().map(values)),
    )
}

fn heap(report: &mut Report) {
    let name = "LWW map: heap per key";
    if !report.wants(name) {
        return;
    }
    let (entries, _) = lww_pair(LwwDifference::Identical, N);
    let lattices_hash = || lww::LatticesHash::new(lww::registers(&entries).collect());
    let lattices_btree = || lww::LatticesBTree::new(lww::registers(&entries).collect());
    let row = Row::new(name, Unit::Bytes)
        .with(OURS, heap_per(N, || ours::lww_map(&entries)))
        .with(GARAGE, heap_per(N, || lww::garage(&entries)))
        .with(LATTICES_HASH, heap_per(N, lattices_hash))
        .with(LATTICES_BTREE, heap_per(N, lattices_btree))
        .with(DATACAKE, heap_per(N, || lww::datacake(&entries)))
        .with(
            IMBL_ORD,
            heap_per(N, || pairs(&entries).collect::<lww::ImblOrd>()),
        )
        .with(
            IMBL_HASH,
            heap_per(N, || pairs(&entries).collect::<lww::ImblHash>()),
        )
        .with(SORTED, heap_per(N, || SortedLww::new(&entries)));
    report.add(&row);
}
