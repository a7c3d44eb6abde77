//! What a state takes in memory.

use core::fmt::Debug;
use core::hash::Hash;
use smallvec::{Array, SmallVec};

use crate::{
    Causal, CausalContext, CausalMap, Cell, DotRange, DotStore, MapReplica, ReplicaId, Timestamp,
};

/// What a state holds, and about how many bytes that is.
///
/// Made by `memory_use` of [`Causal`], [`CausalMap`], [`MapReplica`], [`LwwMap`](crate::LwwMap),
/// [`LwwSet`](crate::LwwSet), [`TwoPhaseSet`](crate::TwoPhaseSet) and [`DeltaBuffer`](crate::DeltaBuffer).
/// What keys and values hold on the heap themselves is known to the caller alone, and is given by a
/// closure.
///
/// The bytes are an estimate of what is on the heap: an entry of a tree counts with its size and a third
/// on top, for nodes that are not full. Allocator overhead is not in it. What snapshots share counts at
/// each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct MemoryUse {
    /// Keys or elements that a reader sees; of a causal object, its live events without the tombstones.
    pub live: usize,
    /// Keys or elements that are remembered as removed; of a causal object, its live events that show a
    /// reader nothing: removes with the adds that they beat.
    pub tombstones: usize,
    /// Ranges of events in contexts, those of exceptions included.
    pub ranges: usize,
    /// Events that the log names; of a delta buffer, the deltas that it keeps.
    pub log: usize,
    /// Estimated bytes.
    pub bytes: usize,
}

/// The size of `count` entries of a tree.
pub(crate) const fn tree_bytes<T>(count: usize) -> usize {
    let bytes = count.saturating_mul(size_of::<T>());
    bytes.saturating_add(bytes / 3)
}

/// What a vector that may be inline holds on the heap.
pub(crate) fn spilled_bytes<A: Array>(vector: &SmallVec<A>) -> usize {
    match vector.spilled() {
        true => vector.capacity() * size_of::<A::Item>(),
        false => 0,
    }
}

fn context_bytes(ranges: usize) -> usize {
    ranges.saturating_mul(size_of::<DotRange>())
}

impl<S: DotStore> Causal<S> {
    /// What this object holds. `heap` gives the bytes that the keys, elements and values of the store hold on
    /// the heap themselves. Linear in the store.
    ///
    /// ```
    /// use crdt::{CausalReplica, ObjectId, RemoveWinsSet, ReplicaId};
    ///
    /// let mut guests = CausalReplica::<RemoveWinsSet<String>>::new(ObjectId(1), ReplicaId(1));
    /// let _delta = guests.change(|set| set.extend(["eve", "bob"].map(String::from)));
    /// let _delta = guests.change(|set| set.remove("eve".into()));
    /// let used = guests.state().memory_use(|set| set.iter().map(String::capacity).sum());
    /// assert_eq!((used.live, used.tombstones, used.ranges), (1, 1, 1));
    /// ```
    pub fn memory_use(&self, heap: impl FnOnce(&S) -> usize) -> MemoryUse {
        let (store, ranges) = (self.store(), self.context().range_count());
        let count = |run: DotRange| usize::try_from(run.last - run.first).unwrap_or(usize::MAX);
        let counts = store.dot_ranges().map(|run| count(run).saturating_add(1));
        let (events, tombstones) = (counts.fold(0, usize::saturating_add), store.mark_count());
        let parts = [store.heap_bytes(), heap(store), context_bytes(ranges)];
        MemoryUse {
            live: events.saturating_sub(tombstones),
            tombstones,
            ranges,
            log: 0,
            bytes: parts.into_iter().fold(0, usize::saturating_add),
        }
    }
}

/// What a map keeps for each key beside the key and its cell: the place in the table of hashes, and that in
/// the order of keys.
const PLACES: usize = 30;

impl<K: Ord + Clone + Debug + Hash, C: Cell> CausalMap<K, C> {
    /// What this map holds. `heap` gives the bytes that a key and the values of its cell hold on the heap
    /// themselves. Linear in the keys and the exceptions.
    pub fn memory_use(&self, heap: impl Fn(&K, &C) -> usize) -> MemoryUse {
        let exceptions = self.knowledge().exceptions();
        let beyond: usize = exceptions.map(|(_, context)| context.range_count()).sum();
        let ranges = self.knowledge().base().range_count() + beyond;
        let entry = size_of::<(K, C)>() + PLACES;
        let mut used = MemoryUse {
            ranges,
            bytes: tree_bytes::<(K, CausalContext, ReplicaId)>(self.knowledge().exception_count())
                .saturating_add(context_bytes(ranges)),
            ..MemoryUse::default()
        };
        for (key, cell) in self.entries() {
            used.live += usize::from(cell.is_visible());
            used.tombstones += usize::from(cell.tombstone().is_some());
            let parts = [entry, cell.heap_bytes(), heap(key, cell)];
            used.bytes = parts.into_iter().fold(used.bytes, usize::saturating_add);
        }
        used
    }
}

impl<K: Ord + Clone + Debug + Hash, C: Cell> MapReplica<K, C> {
    /// What this replica holds. `heap` gives the bytes that a key and the values of its cell hold on the heap
    /// themselves; the log and the index of tombstones hold copies of keys, which count without
    /// those. Linear in the keys and the exceptions.
    ///
    /// ```
    /// use crdt::{MapReplica, MvCell, ReplicaId};
    ///
    /// let mut replica: MapReplica<u64, MvCell<u64>> = MapReplica::new(ReplicaId(1));
    /// for key in 0..100 {
    ///     let _written = replica.write(key, |cell, dot| cell.write(dot, 7));
    /// }
    /// let used = replica.memory_use(|_, _| 0);
    /// assert_eq!((used.live, used.log, used.ranges), (100, 100, 1));
    /// assert!(used.bytes > 100 * 24, "a key, a value and a dot for each");
    /// ```
    pub fn memory_use(&self, heap: impl Fn(&K, &C) -> usize) -> MemoryUse {
        let (map, log) = (self.map().memory_use(heap), self.log().len());
        let beside = [
            tree_bytes::<(u64, K)>(log),
            tree_bytes::<(Timestamp, K)>(self.tombstone_count()),
        ];
        MemoryUse {
            log,
            bytes: beside.into_iter().fold(map.bytes, usize::saturating_add),
            ..map
        }
    }
}

#[cfg(test)]
mod tests;
