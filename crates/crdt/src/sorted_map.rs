//! An ordered map made for joins: one pass over two maps, in place, sharing what is the same.

mod merge;
mod pass;
#[cfg(test)]
mod tests;

use alloc::vec;
use alloc::vec::Vec;
pub(crate) use merge::{Fresh, Met, Policy};

use alloc::sync::Arc;
use core::borrow::Borrow;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::ops::{Bound, RangeBounds};
use smallvec::SmallVec;

use crate::memory_use::spilled_bytes;

/// Entries in a chunk, at most. Large enough that the list of chunks is small beside the entries, small
/// enough that moving half a chunk costs less than the cache misses of a search.
const CHUNK: usize = 256;

/// Bytes in a chunk, about and at most: an insertion moves half of them, and the first write after a
/// snapshot copies them.
const CHUNK_BYTES: usize = 6144;

/// Entries in key order, cut into chunks that clones share until one of them writes.
///
/// Invariants: keys ascend strictly, no chunk is empty or larger than `LIMIT`, `first` is the first key
/// of its chunk, `len` is the number of entries. `MAX` is a parameter so that tests reach with few
/// entries what many entries do.
#[derive(Clone)]
pub(crate) struct SortedMap<K, V, const MAX: usize = CHUNK> {
    chunks: Chunks<K, V>,
    len: usize,
}

/// A map of one chunk, as most deltas are, needs no list of chunks on the heap.
type Chunks<K, V> = SmallVec<[Chunk<K, V>; 1]>;

struct Chunk<K, V> {
    first: K,
    entries: Arc<Vec<(K, V)>>,
}

impl<K: Clone, V> Chunk<K, V> {
    fn new(entries: Vec<(K, V)>) -> Self {
        Self {
            first: entries[0].0.clone(),
            entries: Arc::new(entries),
        }
    }
}

impl<K: Clone, V> Clone for Chunk<K, V> {
    fn clone(&self) -> Self {
        Self {
            first: self.first.clone(),
            entries: Arc::clone(&self.entries),
        }
    }
}

/// Where an entry stands: its chunk, and its place in it.
pub(crate) type Place = (usize, usize);

impl<K, V, const MAX: usize> SortedMap<K, V, MAX> {
    /// Entries in a chunk, at most: `MAX`, or fewer where entries are large.
    const LIMIT: usize = {
        let by_size = match CHUNK_BYTES.checked_div(size_of::<(K, V)>()) {
            Some(entries) => entries,
            None => MAX,
        };
        let at_least = if by_size < 16 { 16 } else { by_size };
        if at_least < MAX { at_least } else { MAX }
    };

    /// Number of entries.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// How many bytes it holds on the heap, those that clones share included, without what keys and values
    /// hold there. Linear in the chunks.
    pub(crate) fn heap_bytes(&self) -> usize {
        let chunk = |chunk: &Chunk<K, V>| {
            let entries = chunk.entries.capacity() * size_of::<(K, V)>();
            // The counts of an `Arc` stand before what it holds.
            entries + size_of::<Vec<(K, V)>>() + 2 * size_of::<usize>()
        };
        spilled_bytes(&self.chunks) + self.chunks.iter().map(chunk).sum::<usize>()
    }

    /// The entries in key order.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        let chunks = self.chunks.iter();
        chunks.flat_map(|chunk| chunk.entries.iter().map(|(k, v)| (k, v)))
    }
}

impl<K: Ord, V, const MAX: usize> SortedMap<K, V, MAX> {
    /// The value of `key`; O(log n).
    pub(crate) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let (chunk, at) = self.find(key).ok()?;
        Some(&self.chunks[chunk].entries[at].1)
    }

    /// The entries whose keys lie in `bounds`, in key order; none if the bounds are reversed. O(log n)
    /// to the first.
    pub(crate) fn range<Q, R>(&self, bounds: R) -> impl DoubleEndedIterator<Item = (&K, &V)>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
        R: RangeBounds<Q>,
    {
        let start = match bounds.start_bound() {
            Bound::Unbounded => (0, 0),
            Bound::Included(key) => self.find(key).unwrap_or_else(|place| place),
            Bound::Excluded(key) => self.behind(key),
        };
        let end = match bounds.end_bound() {
            Bound::Unbounded => (self.chunks.len(), 0),
            Bound::Included(key) => self.behind(key),
            Bound::Excluded(key) => self.find(key).unwrap_or_else(|place| place),
        };
        let last = self.chunks.len().min(end.0 + 1).max(start.0);
        let chunks = self.chunks[start.0..last].iter().enumerate();
        chunks.flat_map(move |(i, chunk)| {
            let i = start.0 + i;
            let from = if i == start.0 { start.1 } else { 0 };
            let to = if i == end.0 {
                end.1
            } else {
                chunk.entries.len()
            };
            let entries = chunk.entries.get(from..to).unwrap_or_default();
            entries.iter().map(|(k, v)| (k, v))
        })
    }

    /// The place of the first entry behind `key`.
    fn behind<Q: Ord + ?Sized>(&self, key: &Q) -> Place
    where
        K: Borrow<Q>,
    {
        match self.find(key) {
            Ok((chunk, at)) => (chunk, at + 1),
            Err(place) => place,
        }
    }

    /// The place of `key`, or the place where it belongs.
    pub(crate) fn find<Q: Ord + ?Sized>(&self, key: &Q) -> Result<Place, Place>
    where
        K: Borrow<Q>,
    {
        let behind = self.chunks.partition_point(|c| c.first.borrow() <= key);
        let Some(chunk) = behind.checked_sub(1) else {
            return Err((0, 0));
        };
        let found = self.chunks[chunk]
            .entries
            .binary_search_by(|e| e.0.borrow().cmp(key));
        found.map(|at| (chunk, at)).map_err(|at| (chunk, at))
    }
}

impl<K: Ord + Clone, V: Clone, const MAX: usize> SortedMap<K, V, MAX> {
    /// A map of entries whose keys ascend strictly, in one pass.
    pub(crate) fn from_ascending(entries: impl IntoIterator<Item = (K, V)>) -> Self {
        let mut entries = entries.into_iter();
        let mut map = Self::default();
        loop {
            let chunk: Vec<(K, V)> = entries.by_ref().take(Self::LIMIT).collect();
            if chunk.is_empty() {
                break;
            }
            map.len += chunk.len();
            map.chunks.push(Chunk::new(chunk));
        }
        debug_assert!(map.iter().is_sorted_by(|a, b| a.0 < b.0), "not ascending");
        map
    }

    /// The value of `key`, to be changed; O(log n). Copies its chunk if a clone shares it.
    pub(crate) fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let place = self.find(key).ok()?;
        Some(self.value_mut(place))
    }

    /// Puts an entry, and returns the value that it replaces; O(log n).
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.find(&key) {
            Ok((chunk, at)) => {
                let entry = &mut Arc::make_mut(&mut self.chunks[chunk].entries)[at];
                Some(core::mem::replace(&mut entry.1, value))
            }
            Err(place) => {
                self.insert_at(place, key, value);
                None
            }
        }
    }

    /// As [`find`](Self::find), and faster for keys that come in ascending order.
    pub(crate) fn find_from_end(&self, key: &K) -> Result<Place, Place> {
        if let Some(last) = self.chunks.last()
            && let Some((highest, _)) = last.entries.last()
            && highest < key
        {
            return Err((self.chunks.len() - 1, last.entries.len()));
        }
        self.find(key)
    }

    /// The value at a place where a key was found. Copies its chunk if a clone shares it.
    pub(crate) fn value_mut(&mut self, (chunk, at): Place) -> &mut V {
        &mut Arc::make_mut(&mut self.chunks[chunk].entries)[at].1
    }

    /// Inserts where [`find`](Self::find) did not find `key`.
    pub(crate) fn insert_at(&mut self, (chunk, at): Place, key: K, value: V) {
        self.len += 1;
        let is_last = chunk + 1 >= self.chunks.len();
        let Some(held) = self.chunks.get_mut(chunk) else {
            self.chunks.push(Chunk::new(vec![(key, value)]));
            return;
        };
        if at == Self::LIMIT && is_last {
            // Keys that come in ascending order leave full chunks behind.
            self.chunks.push(Chunk::new(vec![(key, value)]));
            return;
        }
        if at == 0 {
            held.first = key.clone();
        }
        let entries = Arc::make_mut(&mut held.entries);
        if entries.len() < Self::LIMIT {
            entries.insert(at, (key, value));
            return;
        }
        let mut behind = entries.split_off(Self::LIMIT / 2);
        match at.checked_sub(Self::LIMIT / 2) {
            Some(at) => behind.insert(at, (key, value)),
            None => entries.insert(at, (key, value)),
        }
        self.chunks.insert(chunk + 1, Chunk::new(behind));
    }

    /// Removes an entry, and returns its value; O(log n). Chunks that have become small are united.
    pub(crate) fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let place = self.find(key).ok()?;
        Some(self.remove_at(place))
    }

    /// Removes the entry at a place where a key was found, and returns its value.
    pub(crate) fn remove_at(&mut self, (chunk, at): Place) -> V {
        let held = &mut self.chunks[chunk];
        let (_, value) = Arc::make_mut(&mut held.entries).remove(at);
        self.len -= 1;
        match held.entries.first() {
            None => {
                self.chunks.remove(chunk);
            }
            Some((first, _)) => {
                if at == 0 {
                    held.first = first.clone();
                }
                self.unite(chunk);
            }
        }
        value
    }

    /// Unites a chunk with the next one if both together are small.
    fn unite(&mut self, chunk: usize) {
        let len = |i: usize| self.chunks.get(i).map_or(Self::LIMIT, |c| c.entries.len());
        if len(chunk) + len(chunk + 1) <= Self::LIMIT / 2 {
            let next = self.chunks.remove(chunk + 1);
            let entries = Arc::make_mut(&mut self.chunks[chunk].entries);
            entries.extend(Arc::unwrap_or_clone(next.entries));
        }
    }

    /// Keeps the entries for which `keep` says so; returns how many were dropped.
    /// Nothing is touched if all are kept; otherwise O(n).
    pub(crate) fn retain(&mut self, keep: impl Fn(&K, &V) -> bool) -> usize {
        let before = self.len;
        if self.iter().all(|(k, v)| keep(k, v)) {
            return 0;
        }
        let kept = core::mem::take(self);
        let entries = kept.into_entries().filter(|(k, v)| keep(k, v));
        *self = Self::from_ascending(entries);
        before - self.len
    }

    /// The entries in key order, by value; those of shared chunks are cloned.
    fn into_entries(self) -> impl Iterator<Item = (K, V)> {
        let chunks = self.chunks.into_iter();
        chunks.flat_map(|chunk| Arc::unwrap_or_clone(chunk.entries))
    }
}

impl<K, V, const MAX: usize> Default for SortedMap<K, V, MAX> {
    fn default() -> Self {
        Self {
            chunks: Chunks::new(),
            len: 0,
        }
    }
}

/// By content: two maps may cut the same entries differently.
impl<K: PartialEq, V: PartialEq, const MAX: usize> PartialEq for SortedMap<K, V, MAX> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl<K: Eq, V: Eq, const MAX: usize> Eq for SortedMap<K, V, MAX> {}

impl<K: Hash, V: Hash, const MAX: usize> Hash for SortedMap<K, V, MAX> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.len.hash(state);
        self.iter().for_each(|entry| entry.hash(state));
    }
}

impl<K: fmt::Debug, V: fmt::Debug, const MAX: usize> fmt::Debug for SortedMap<K, V, MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(feature = "serde")]
mod wire {
    use super::SortedMap;
    use serde::ser::SerializeSeq as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// A list of pairs, which formats can hold whose maps need strings as keys.
    impl<K: Serialize, V: Serialize, const MAX: usize> Serialize for SortedMap<K, V, MAX> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut list = serializer.serialize_seq(Some(self.len))?;
            for entry in self.iter() {
                list.serialize_element(&entry)?;
            }
            list.end()
        }
    }

    impl<'de, K, V, const MAX: usize> Deserialize<'de> for SortedMap<K, V, MAX>
    where
        K: Ord + Clone + Deserialize<'de>,
        V: Clone + Deserialize<'de>,
    {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let entries = crate::wire::ascending_keys(deserializer, "keys of a map")?;
            Ok(Self::from_ascending(entries))
        }
    }
}
