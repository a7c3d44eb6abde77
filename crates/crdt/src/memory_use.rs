//! What a state takes in memory.

use std::fmt::Debug;
use std::hash::Hash;

use crate::{
    Causal, CausalContext, Cell, Dot, DotRange, DotStore, MapReplica, ReplicaId, Timestamp,
};

/// What a state holds, and about how many bytes that is.
///
/// The bytes are an estimate: each entry counts with its size in its container and a third on top,
/// for tree nodes that are not full. Allocator overhead is not in it, nor is what snapshots share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct MemoryUse {
    /// Keys that a reader sees; of a causal object, its live events.
    pub live: usize,
    /// Tombstones.
    pub tombstones: usize,
    /// Ranges of events in contexts, those of exceptions included.
    pub ranges: usize,
    /// Events that the log names.
    pub log: usize,
    /// Estimated bytes.
    pub bytes: usize,
}

/// The size of `count` entries of a tree.
const fn tree<T>(count: usize) -> usize {
    let bytes = count.saturating_mul(size_of::<T>());
    bytes.saturating_add(bytes / 3)
}

fn context_bytes(ranges: usize) -> usize {
    ranges.saturating_mul(size_of::<DotRange>())
}

impl<S: DotStore> Causal<S> {
    /// What this object holds. The bytes are those of its metadata (dots and ranges): what its
    /// values take is not known here. Linear in the runs of live events.
    pub fn memory_use(&self) -> MemoryUse {
        let ranges = self.context().range_count();
        let mut used = MemoryUse {
            ranges,
            bytes: context_bytes(ranges),
            ..MemoryUse::default()
        };
        for run in self.store().dot_ranges() {
            let events = usize::try_from(run.last - run.first).unwrap_or(usize::MAX);
            let events = events.saturating_add(1);
            let dots = events.saturating_mul(size_of::<Dot>());
            used.live = used.live.saturating_add(events);
            used.bytes = used.bytes.saturating_add(dots.min(size_of::<DotRange>()));
        }
        used
    }
}

impl<K: Ord + Clone + Debug + Hash, C: Cell> MapReplica<K, C> {
    /// What this replica holds. `heap` gives the bytes that a key and its cell hold on the heap
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
        let (map, log, tombstones) = (self.map(), self.log().len(), self.tombstone_count());
        let exceptions = map.knowledge().exceptions();
        let beyond: usize = exceptions.map(|(_, context)| context.range_count()).sum();
        let ranges = map.knowledge().base().range_count() + beyond;
        let held = map.entries().map(|(key, cell)| heap(key, cell));
        let parts = [
            held.fold(0, usize::saturating_add),
            tree::<(K, C)>(map.len()),
            tree::<(u64, K)>(log),
            tree::<(Timestamp, K)>(tombstones),
            tree::<(K, CausalContext, ReplicaId)>(map.knowledge().exception_count()),
            context_bytes(ranges),
        ];
        MemoryUse {
            live: map.visible().count(),
            tombstones,
            ranges,
            log,
            bytes: parts.into_iter().fold(0, usize::saturating_add),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AddWinsSet, CausalReplica, LwwCell, LwwEntry, ObjectId};

    #[test]
    fn what_is_held_is_counted() {
        let mut replica = MapReplica::<u8, LwwCell<u8>>::new(ReplicaId(1));
        let empty = replica.memory_use(|_, _| 9);
        assert_eq!(empty, MemoryUse::default());
        for (key, value) in [(1, Some(7)), (2, None), (1, Some(8))] {
            let _written = replica.write(key, |cell: &mut LwwCell<u8>, dot| {
                let timestamp = Timestamp(dot.counter);
                cell.write(LwwEntry {
                    dot,
                    timestamp,
                    value,
                });
            });
        }
        let used = replica.memory_use(|_, _| 0);
        let counts = (used.live, used.tombstones, used.ranges, used.log);
        assert_eq!(counts, (1, 1, 1, 3));
        assert_eq!(replica.memory_use(|_, _| 500).bytes, used.bytes + 1_000);
        let mut set = CausalReplica::<AddWinsSet<u8>>::new(ObjectId(1), ReplicaId(1));
        let _delta = set.change(|set| set.extend([1, 2, 3]));
        let _delta = set.change(|set| set.remove(&2));
        let used = set.state().memory_use();
        assert_eq!((used.live, used.ranges), (2, 1));
    }
}
