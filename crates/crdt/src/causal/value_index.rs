//! Where a value is among live dots: a hash index that is never iterated.

use core::hash::{BuildHasher as _, Hash};
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use hashbrown::hash_table::{Entry, OccupiedEntry};
use smallvec::SmallVec;

use crate::causal::dot_blocks::{DotBlocks, Place};

/// Bits of a narrow entry that hold the counter; the others hold the writer's position.
const COUNTER_BITS: u32 = 48;

/// Seed of the hash. Fixed, because nothing here may depend on chance; nothing is ever iterated, so
/// only the time of a look-up depends on it.
const SEED: u64 = 0x5bd1_e995_9d1b_899f;

/// The dots of each value in a [`DotBlocks`], as (position of the writer, counter).
///
/// **Cost.** 8 to 18 bytes for each dot, 16 to 34 once a counter or the number of writers is very large.
#[derive(Debug, Clone)]
pub(crate) enum ValueIndex {
    Narrow(HashTable<u64>),
    Wide(HashTable<(u32, u64)>),
}

fn narrow((position, counter): Place) -> Option<u64> {
    let fits = position >> (u64::BITS - COUNTER_BITS) == 0 && counter >> COUNTER_BITS == 0;
    fits.then_some(((position as u64) << COUNTER_BITS) | counter)
}

const fn place(narrow: u64) -> Place {
    let counter = narrow & ((1 << COUNTER_BITS) - 1);
    ((narrow >> COUNTER_BITS) as usize, counter)
}

const fn wide((position, counter): Place) -> (u32, u64) {
    (position as u32, counter)
}

const fn place_of_wide((position, counter): (u32, u64)) -> Place {
    (position as usize, counter)
}

/// The hash that an index of values is asked with.
pub(crate) fn hash<Q: Hash + ?Sized>(value: &Q) -> u64 {
    FixedState::with_seed(SEED).hash_one(value)
}

fn hash_at<V: Hash>(blocks: &DotBlocks<V>, at: Place) -> u64 {
    let value = blocks.get_at(at);
    hash(value.expect("the index names live dots only"))
}

impl ValueIndex {
    /// An empty index with room for `capacity` dots.
    pub(crate) fn new(capacity: usize) -> Self {
        Self::Narrow(HashTable::with_capacity(capacity))
    }

    /// How many bytes it holds on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Self::Narrow(table) => table.allocation_size(),
            Self::Wide(table) => table.allocation_size(),
        }
    }

    /// The place of a dot of a value with that hash; of several, any.
    pub(crate) fn place(&self, hash: u64, is_value: impl Fn(Place) -> bool) -> Option<Place> {
        match self {
            Self::Narrow(table) => table.find(hash, |e| is_value(place(*e))).map(|e| place(*e)),
            Self::Wide(table) => {
                let found = table.find(hash, |e| is_value(place_of_wide(*e)));
                found.map(|e| place_of_wide(*e))
            }
        }
    }

    /// The places of the dots of a value with that hash, in no particular order.
    pub(crate) fn places(
        &self,
        hash: u64,
        is_value: impl Fn(Place) -> bool,
    ) -> SmallVec<[Place; 2]> {
        match self {
            Self::Narrow(table) => {
                let places = table.iter_hash(hash).map(|e| place(*e));
                places.filter(|p| is_value(*p)).collect()
            }
            Self::Wide(table) => {
                let places = table.iter_hash(hash).map(|e| place_of_wide(*e));
                places.filter(|p| is_value(*p)).collect()
            }
        }
    }

    /// Notes a dot that is live in `blocks` with a value of that hash that has no other.
    pub(crate) fn insert_new<V: Hash>(&mut self, blocks: &DotBlocks<V>, at: Place, hash: u64) {
        if let (Self::Narrow(_), None) = (&*self, narrow(at)) {
            self.widen(blocks);
        }
        match self {
            Self::Narrow(table) => {
                let entry = narrow(at).expect("the index was widened");
                table.insert_unique(hash, entry, |e| hash_at(blocks, place(*e)));
            }
            Self::Wide(table) => {
                table.insert_unique(hash, wide(at), |e| hash_at(blocks, place_of_wide(*e)));
            }
        }
    }

    /// Notes a dot that is live in `blocks` with that value; true if it is the only one of the value.
    pub(crate) fn insert<V: Hash + Eq>(
        &mut self,
        blocks: &DotBlocks<V>,
        at: Place,
        value: &V,
    ) -> bool {
        let hash = hash(value);
        if let (Self::Narrow(_), None) = (&*self, narrow(at)) {
            self.widen(blocks);
        }
        let same = |at| blocks.get_at(at) == Some(value);
        match self {
            Self::Narrow(table) => {
                let entry = narrow(at).expect("the index was widened");
                let rehash = |e: &u64| hash_at(blocks, place(*e));
                insert(table, hash, entry, |e| same(place(*e)), rehash)
            }
            Self::Wide(table) => {
                let rehash = |e: &(u32, u64)| hash_at(blocks, place_of_wide(*e));
                insert(table, hash, wide(at), |e| same(place_of_wide(*e)), rehash)
            }
        }
    }

    fn widen<V: Hash>(&mut self, blocks: &DotBlocks<V>) {
        let Self::Narrow(table) = &*self else {
            return;
        };
        let rehash = |e: &(u32, u64)| hash_at(blocks, place_of_wide(*e));
        let mut larger = HashTable::with_capacity(table.len() + 1);
        for entry in table {
            let entry = wide(place(*entry));
            larger.insert_unique(rehash(&entry), entry, rehash);
        }
        *self = Self::Wide(larger);
    }

    /// Forgets a dot that had a value with that hash.
    pub(crate) fn remove(&mut self, at: Place, hash: u64) {
        match self {
            Self::Narrow(table) => {
                let found = table.find_entry(hash, |e| place(*e) == at);
                found.map(OccupiedEntry::remove).ok();
            }
            Self::Wide(table) => {
                let found = table.find_entry(hash, |e| place_of_wide(*e) == at);
                found.map(OccupiedEntry::remove).ok();
            }
        }
    }
}

/// Inserts an entry; true if no other has the same value.
fn insert<E: Copy>(
    table: &mut HashTable<E>,
    hash: u64,
    entry: E,
    same: impl FnMut(&E) -> bool,
    rehash: impl Fn(&E) -> u64,
) -> bool {
    match table.entry(hash, same, &rehash) {
        Entry::Vacant(vacant) => {
            vacant.insert(entry);
            true
        }
        Entry::Occupied(_) => {
            table.insert_unique(hash, entry, rehash);
            false
        }
    }
}
