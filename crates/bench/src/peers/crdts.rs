//! `crdts`: `Orswot` and `Map` of `MVReg`.

use crdts::{CmRDT, Dot, MVReg, Map, Orswot};

use crate::data::{Add, fingerprint, fingerprint_pairs, mix};

pub type Set = Orswot<u64, u64>;
pub type MvMap = Map<u64, MVReg<u64, u64>, u64>;

pub fn set(adds: &[Add], removed: &[u64]) -> Set {
    let mut set = Set::new();
    for &(writer, element) in adds {
        let context = set.read_ctx().derive_add_ctx(writer);
        set.apply(set.add(element, context));
    }
    for element in removed {
        remove(&mut set, element);
    }
    set
}

/// A local add by writer 1, as the documentation shows it.
pub fn add(set: &mut Set, element: u64) {
    let context = set.read_ctx().derive_add_ctx(1);
    let operation = set.add(element, context);
    set.apply(operation);
}

pub fn remove(set: &mut Set, element: &u64) {
    let context = set.contains(element).derive_rm_ctx();
    let operation = set.rm(*element, context);
    set.apply(operation);
}

pub fn set_fingerprint(set: &Set) -> u64 {
    fingerprint(set.read().val.into_iter())
}

pub fn mv_map(adds: &[Add], removed: &[u64]) -> MvMap {
    let mut map = MvMap::new();
    for &(writer, key) in adds {
        put(&mut map, writer, key, mix(key));
    }
    for key in removed {
        let context = map.get(key).derive_rm_ctx();
        let operation = map.rm(*key, context);
        map.apply(operation);
    }
    map
}

pub fn put(map: &mut MvMap, writer: u64, key: u64, value: u64) {
    let context = map.read_ctx().derive_add_ctx(writer);
    let operation = map.update(key, context, |register, context| {
        register.write(value, context)
    });
    map.apply(operation);
}

/// The first sibling.
pub fn get(map: &MvMap, key: u64) -> Option<u64> {
    map.get(&key).val?.read().val.first().copied()
}

pub fn map_fingerprint(map: &MvMap) -> u64 {
    let pairs = map.iter().flat_map(|read| {
        let (key, register) = read.val;
        register.read().val.into_iter().map(|value| (*key, value))
    });
    fingerprint_pairs(pairs)
}

/// A version vector.
pub fn clock(counters: &[(u64, u64)]) -> crdts::VClock<u64> {
    counters
        .iter()
        .map(|&(replica, counter)| Dot::new(replica, counter))
        .collect()
}
