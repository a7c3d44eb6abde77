//! Last-writer-wins maps of others.

use datacake_crdt::{HLCTimestamp, OrSWotSet};
use garage_util::crdt::{AutoCrdt, LwwMap};
use lattices::map_union::{MapUnionBTreeMap, MapUnionHashMap};
use lattices::{DomPair, Max};

use crate::data::Written;
use crate::peers::floors::{Stamped, pairs};

/// A value for `garage_util`, which asks of values that they are CRDTs themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number(pub u64);

impl AutoCrdt for Number {
    const WARN_IF_DIFFERENT: bool = false;
}

pub type Garage = LwwMap<u64, Number>;
pub type LatticesHash = MapUnionHashMap<u64, Register>;
pub type LatticesBTree = MapUnionBTreeMap<u64, Register>;
/// Of equal times the larger value.
pub type Register = DomPair<Max<u64>, Max<u64>>;
pub type Datacake = OrSWotSet<1>;
pub type ImblOrd = imbl::OrdMap<u64, Stamped>;
pub type ImblHash = imbl::HashMap<u64, Stamped>;

pub fn garage(entries: &[Written]) -> Garage {
    let mut sorted = entries.to_vec();
    sorted.sort_unstable_by_key(|e| e.key);
    let mut map = Garage::new();
    for entry in sorted {
        map.merge_raw(&entry.key, entry.timestamp, &Number(entry.value()));
    }
    map
}

pub fn garage_pairs(map: &Garage) -> impl Iterator<Item = (u64, u64)> + '_ {
    map.items().iter().map(|(key, _, value)| (*key, value.0))
}

pub fn registers(entries: &[Written]) -> impl Iterator<Item = (u64, Register)> + '_ {
    pairs(entries).map(|(key, (time, value))| (key, DomPair::new(Max::new(time), Max::new(value))))
}

pub fn register_pair((key, register): (&u64, &Register)) -> (u64, u64) {
    (*key, *register.as_reveal_ref().1.as_reveal_ref())
}

const SECONDS_SHIFT: u32 = 32;
const COUNTER_SHIFT: u32 = 8;
const COUNTER_BITS: u32 = 16;
const FIRST_SECOND: u64 = 1_000_000;

/// `datacake-crdt` holds keys and times only. Its timestamps: seconds, fraction, counter, node.
pub fn datacake(entries: &[Written]) -> Datacake {
    let mut set = Datacake::default();
    for entry in entries {
        let seconds = FIRST_SECOND + (entry.timestamp >> COUNTER_BITS);
        let counter = entry.timestamp & ((1 << COUNTER_BITS) - 1);
        let time = seconds << SECONDS_SHIFT | counter << COUNTER_SHIFT;
        assert!(
            set.insert(entry.key, HLCTimestamp::from_u64(time)),
            "an entry was refused"
        );
    }
    set
}

/// The entry of a key, its value computed from the time.
pub fn datacake_pair(set: &Datacake, key: u64) -> Option<(u64, u64)> {
    let time = set.get(&key)?.as_u64();
    let seconds = (time >> SECONDS_SHIFT) - FIRST_SECOND;
    let counter = time >> COUNTER_SHIFT & ((1 << COUNTER_BITS) - 1);
    let timestamp = seconds << COUNTER_BITS | counter;
    Some((key, Written { key, timestamp }.value()))
}
