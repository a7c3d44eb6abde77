//! Used as a map of documents: 10,000 string keys, beside the text-editing libraries.

use automerge::{AutoCommit, ReadDoc, transaction::Transactable};
use crdt::{Causal, CausalReplica, Lattice, LwwMap, MvCell, OrMap, ReplicaId, Timestamp};
use loro::{ExportMode, LoroDoc};
use yrs::updates::decoder::Decode;
use yrs::{Doc, Map, ReadTxn, StateVector, Transact, Update};

use super::OURS;
use crate::data::document_keys;
use crate::peers::ours::OBJECT;
use crate::report::Report;
use crate::row::{Row, Side, Target, Unit};

const KEYS: usize = 10_000;
const AUTOMERGE: Side = Side::Peer("automerge", "");
const YRS: Side = Side::Peer("yrs", "");
const LORO: Side = Side::Peer("loro", "");
const VALUE: i64 = 7;

type Ours = OrMap<String, MvCell<i64>>;

pub fn rows(report: &mut Report) {
    put(report);
    put_one_by_one(report);
    put_lww(report);
    merge(report);
    merge_lww(report);
}

fn ours(writer: u64, keys: Vec<String>) -> (CausalReplica<Ours>, Causal<Ours>) {
    let mut map = CausalReplica::<Ours>::new(OBJECT, ReplicaId(writer));
    let items = keys.into_iter().map(|key| (key, VALUE));
    let delta = map.change(|map| map.extend(items, |cell, value| cell.set(value)));
    (map, delta)
}

fn ours_one_by_one(keys: Vec<String>) -> (CausalReplica<Ours>, Causal<Ours>) {
    let mut map = CausalReplica::<Ours>::new(OBJECT, ReplicaId(1));
    let delta = map.change(|map| {
        for key in keys {
            map.update(key, |cell| cell.set(VALUE));
        }
    });
    (map, delta)
}

fn automerge(keys: &[String]) -> AutoCommit {
    let mut document = AutoCommit::new();
    for key in keys {
        document.put(automerge::ROOT, key, VALUE).expect("a put");
    }
    document.commit();
    document
}

fn yrs(client: u64, keys: &[String]) -> Doc {
    let document = Doc::with_client_id(client);
    let map = document.get_or_insert_map("map");
    let mut transaction = document.transact_mut();
    for key in keys {
        map.insert(&mut transaction, key.as_str(), VALUE);
    }
    drop(transaction);
    document
}

fn yrs_len(document: &Doc) -> u64 {
    let map = document.get_or_insert_map("map");
    u64::from(map.len(&document.transact()))
}

fn loro(keys: &[String]) -> LoroDoc {
    let document = LoroDoc::new();
    let map = document.get_map("map");
    for key in keys {
        map.insert(key, VALUE).expect("an insert");
    }
    document.commit();
    document
}

fn put(report: &mut Report) {
    let name = "map of documents: put 10,000 string keys in one go, each";
    if !report.wants(name) {
        return;
    }
    let keys = document_keys(0, KEYS);
    let row = Row::new(name, Unit::Nanoseconds).target(Target::AtMost(60.0));
    let row = report
        .contest(row)
        // The keys are given away here, so their allocation is not timed; the peers copy them.
        .time(
            OURS,
            KEYS,
            || keys.clone(),
            |keys| ours(1, keys),
            |map| map.0.len() as u64,
        )
        .time(
            AUTOMERGE,
            KEYS,
            || (),
            |()| automerge(&keys),
            |d| d.length(automerge::ROOT) as u64,
        )
        .time(YRS, KEYS, || (), |()| yrs(1, &keys), yrs_len)
        .time(
            LORO,
            KEYS,
            || (),
            |()| loro(&keys),
            |d| d.get_map("map").len() as u64,
        )
        .finish();
    report.add(&row);
}

/// The same by an update of each key, in an order that is not theirs.
fn put_one_by_one(report: &mut Report) {
    let name = "map of documents: put 10,000 string keys one by one in one change, each";
    if !report.wants(name) {
        return;
    }
    let keys = document_keys(0, KEYS);
    let row = report
        .contest(Row::new(name, Unit::Nanoseconds))
        .time(
            OURS,
            KEYS,
            || keys.clone(),
            ours_one_by_one,
            |map| map.0.len() as u64,
        )
        .time(YRS, KEYS, || (), |()| yrs(1, &keys), yrs_len)
        .finish();
    report.add(&row);
}

/// `automerge` merges documents; `yrs` and `loro` read an update, made before, so its encoding is not timed.
fn merge(report: &mut Report) {
    let name = "map of documents: merge disjoint, 10,000 string keys each";
    if !report.wants(name) {
        return;
    }
    let (left, right) = (document_keys(0, KEYS), document_keys(KEYS, KEYS));
    let b = ours(2, right.clone()).0;
    let (c, d) = (automerge(&left), automerge(&right));
    let update_yrs = yrs(2, &right)
        .transact()
        .encode_state_as_update_v1(&StateVector::default());
    let update_loro = loro(&right)
        .export(ExportMode::all_updates())
        .expect("an export");
    let row = Row::new(name, Unit::Milliseconds).target(Target::AtMost(0.3));
    let row = report
        .contest(row)
        .time(
            OURS,
            1,
            // Not a clone, which would share its entries with the original.
            || ours(1, left.clone()).0.state().clone(),
            |mut a| {
                a.join(b.state());
                a
            },
            |a| a.len() as u64,
        )
        .time(
            AUTOMERGE,
            1,
            || (c.clone(), d.clone()),
            |(mut c, mut d)| {
                c.merge(&mut d).expect("a merge");
                c
            },
            |c| c.length(automerge::ROOT) as u64,
        )
        .time(
            YRS,
            1,
            || yrs(1, &left),
            |document| {
                let update = Update::decode_v1(&update_yrs).expect("an update");
                document
                    .transact_mut()
                    .apply_update(update)
                    .expect("it applies");
                document
            },
            yrs_len,
        )
        .time(
            LORO,
            1,
            || loro(&left),
            |document| {
                document.import(&update_loro).expect("an import");
                document
            },
            |d| d.get_map("map").len() as u64,
        )
        .finish();
    report.add(&row);
}

fn lww(keys: Vec<String>) -> LwwMap<String, i64> {
    keys.into_iter()
        .map(|key| (key, VALUE, Timestamp(1)))
        .collect()
}

fn put_lww(report: &mut Report) {
    let name = "map of documents, ours last-writer-wins: put in one go, each";
    if !report.wants(name) {
        return;
    }
    let keys = document_keys(0, KEYS);
    let row = Row::new(name, Unit::Nanoseconds).target(Target::AtMost(60.0));
    let row = report
        .contest(row)
        .time(OURS, KEYS, || keys.clone(), lww, |map| map.len() as u64)
        .time(YRS, KEYS, || (), |()| yrs(1, &keys), yrs_len)
        .finish();
    report.add(&row);
}

fn merge_lww(report: &mut Report) {
    let name = "map of documents, ours last-writer-wins: merge disjoint";
    if !report.wants(name) {
        return;
    }
    let (left, right) = (document_keys(0, KEYS), document_keys(KEYS, KEYS));
    let build = || (lww(left.clone()), lww(right.clone()));
    let row = Row::new(name, Unit::Milliseconds).target(Target::AtMost(0.3));
    let row = report
        .contest(row)
        .time(
            OURS,
            1,
            build,
            |(mut a, b)| {
                a.join_owned(b);
                a
            },
            |a| a.len() as u64,
        )
        .finish();
    report.add(&row);
}
