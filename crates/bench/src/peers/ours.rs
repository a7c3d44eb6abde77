//! Our types.

use crdt::{
    AddWinsSet, Causal, CausalReplica, DotStore, Edit, Lattice, LwwMap, MvCell, ObjectId, OrMap,
    ReplicaId, Timestamp, VersionVector,
};
use std::collections::BTreeMap;

use crate::data::{Add, Written, fingerprint, fingerprint_pairs, mix};

pub type Set = AddWinsSet<u64>;
pub type MvMap = OrMap<u64, MvCell<u64>>;

pub const OBJECT: ObjectId = ObjectId(1);

/// The state after each writer wrote its part and all met; then writer 1 removed some.
fn causal<S: DotStore>(
    adds: &[Add],
    mut write: impl FnMut(&mut Edit<'_, S>, &[u64]),
    remove: impl FnOnce(&mut Edit<'_, S>),
) -> Causal<S> {
    let mut by_writer: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for &(writer, element) in adds {
        by_writer.entry(writer).or_default().push(element);
    }
    let mut all: Causal<S> = Causal::default();
    for (writer, elements) in by_writer {
        let mut replica = CausalReplica::<S>::new(OBJECT, ReplicaId(writer));
        let _ = replica.change(|edit| write(edit, &elements));
        all.join(replica.state());
    }
    let mut replica = writer(1, all);
    let _ = replica.change(remove);
    replica.state().clone()
}

/// A handle on a copy of a state.
pub fn writer<S: DotStore>(id: u64, state: Causal<S>) -> CausalReplica<S> {
    CausalReplica::restore(OBJECT, ReplicaId(id), state)
}

pub fn set(adds: &[Add], removed: &[u64]) -> Causal<Set> {
    let write = |set: &mut Edit<'_, Set>, elements: &[u64]| set.extend(elements.iter().copied());
    causal(adds, write, |set| {
        removed.iter().for_each(|element| set.remove(element))
    })
}

/// A set that has been asked for an element: the index of elements is there, and its clones have it too.
pub fn set_in_use(adds: &[Add]) -> Causal<Set> {
    let set = set(adds, &[]);
    assert!(adds.iter().all(|add| set.contains(&add.1)));
    set
}

pub fn set_fingerprint(set: &Causal<Set>) -> u64 {
    fingerprint(set.iter().copied())
}

pub fn mv_map(adds: &[Add], removed: &[u64]) -> Causal<MvMap> {
    let write = |map: &mut Edit<'_, MvMap>, keys: &[u64]| {
        for key in keys {
            map.update(*key, |cell| cell.set(mix(*key)));
        }
    };
    causal(adds, write, |map| {
        removed.iter().for_each(|key| map.remove(key))
    })
}

pub fn map_fingerprint(map: &Causal<MvMap>) -> u64 {
    let pairs = map
        .iter()
        .flat_map(|(key, cell)| cell.values().map(|value| (*key, *value)));
    fingerprint_pairs(pairs)
}

pub fn vector(counters: &[(u64, u64)]) -> VersionVector {
    counters
        .iter()
        .map(|&(replica, counter)| (ReplicaId(replica), counter))
        .collect()
}

pub fn lww_map(entries: &[Written]) -> LwwMap<u64, u64> {
    let write = |e: &Written| (e.key, e.value(), Timestamp(e.timestamp));
    entries.iter().map(write).collect()
}

pub fn lww_fingerprint(map: &LwwMap<u64, u64>) -> u64 {
    fingerprint_pairs(map.iter().map(|(key, value)| (*key, *value)))
}
