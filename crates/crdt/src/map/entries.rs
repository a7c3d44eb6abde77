//! The container of a map: found by hash, listed in key order, shared with snapshots.

mod keys;
mod order;
mod slab;
#[cfg(test)]
mod tests;

use core::borrow::Borrow;
use core::fmt;
use core::hash::{BuildHasher as _, Hash, Hasher};
use core::ops::RangeBounds;
use foldhash::fast::FixedState;
use hashbrown::HashTable;

use order::{AsBytes, Order, Position, RUN};
use slab::Slab;

/// Seed of the hash until another is [set](Entries::set_seed).
const SEED: u64 = 0x9c6e_6877_736c_46e3;

/// Removals leave free places behind, at most so many times the entries, and [`SPARE`].
const FREE_TIMES: usize = 3;
/// Places that may be free however few entries there are.
const SPARE: usize = 1024;

/// Entries that are found by the hash of their key and listed in key order.
///
/// An entry stands at a place of a [`Slab`], where it stays until it is removed. [`Order`] has the places in
/// key order, and a hash table, which is never iterated, those of the hashes. So a look-up costs two cache
/// misses before it is at the entry, where a search in key order costs one or two for each step.
///
/// **Clones** share everything but the hash table: a clone has none, searches in key order, and makes one when
/// it is given a new key. What it was cloned from keeps its own.
///
/// **Cost.** A look-up is O(1). A new key costs a search, O(log n), unless keys come in ascending order; the
/// hash table doubles now and then, without looking at keys. A clone is O(1); the first write after it copies
/// a pointer for each 32 entries, and later ones the blocks that they touch. About 30 bytes for each entry
/// beside it.
pub(super) struct Entries<K, C, const MAX: usize = RUN> {
    slab: Slab<K, C>,
    order: Order<K, MAX>,
    index: Option<HashTable<Indexed>>,
    hasher: FixedState,
    len: usize,
}

/// The hash of a key, and its place.
type Indexed = (u32, u32);

/// The hash that a table needs: its upper bits tell entries apart, and its lower ones say where they are.
const fn spread(hash: u32) -> u64 {
    (hash as u64) << 32 | hash as u64
}

impl<K, C, const MAX: usize> Entries<K, C, MAX> {
    /// Number of entries.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The entries in key order.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &C)> {
        self.order.iter().map(|place| self.slab.get(place))
    }

    fn hash<Q: Hash + ?Sized>(&self, key: &Q) -> u32 {
        let hash = self.hasher.hash_one(key);
        (hash ^ (hash >> 32)) as u32
    }
}

impl<K: Ord, C, const MAX: usize> Entries<K, C, MAX> {
    /// The cell of `key`.
    pub(super) fn get<Q>(&self, key: &Q) -> Option<&C>
    where
        K: Borrow<Q>,
        Q: Ord + Hash + ?Sized,
    {
        let place = self.place(key, self.hash(key))?;
        Some(self.slab.get(place).1)
    }

    /// Where the keys in `bounds` start and end, for [`between`](Self::between). O(log n).
    pub(super) fn bounds<Q, R>(&self, bounds: &R) -> (Position, Position)
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
        R: RangeBounds<Q>,
    {
        self.order.bounds(&self.slab, bounds)
    }

    /// The entries within bounds, in key order; none if they are reversed.
    pub(super) fn between(
        &self,
        bounds: (Position, Position),
    ) -> impl DoubleEndedIterator<Item = (&K, &C)> {
        let places = self.order.between(bounds);
        places.map(|place| self.slab.get(place))
    }

    fn place<Q>(&self, key: &Q, hash: u32) -> Option<u32>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        let Some(index) = &self.index else {
            let position = self.order.find(&self.slab, key).ok()?;
            return Some(self.order.place(position));
        };
        let is_it = |(h, place): &Indexed| *h == hash && self.slab.get(*place).0.borrow() == key;
        index.find(spread(hash), is_it).map(|(_, place)| *place)
    }
}

impl<K: Ord + Clone + Hash, C: Clone, const MAX: usize> Entries<K, C, MAX> {
    /// Hashes keys with a seed that those who choose keys do not know. Linear in the entries.
    pub(super) fn set_seed(&mut self, seed: u64) {
        self.hasher = FixedState::with_seed(seed);
        self.index = Some(self.make_index());
    }

    /// Says how keys are ordered as bytes. Linear in the entries.
    pub(super) fn set_bytes(&mut self, bytes: AsBytes<K>) {
        self.order.set_bytes(Some(bytes), &self.slab);
    }

    /// Changes the cell of `key` in place. An absent key starts at the default, and a cell that is not to be
    /// kept is removed.
    pub(super) fn alter<T>(
        &mut self,
        key: &K,
        change: impl FnOnce(&mut C) -> T,
        is_kept: impl FnOnce(&C) -> bool,
    ) -> T
    where
        C: Default,
    {
        let hash = self.hash(key);
        let Some(place) = self.place(key, hash) else {
            return self.fill_hashed(key, hash, change, is_kept);
        };
        let cell = self.slab.get_mut(place);
        let result = change(cell);
        if !is_kept(cell) {
            self.remove_at(place, hash);
        }
        result
    }

    /// The same for a key that is absent.
    pub(super) fn fill<T>(
        &mut self,
        key: &K,
        change: impl FnOnce(&mut C) -> T,
        is_kept: impl FnOnce(&C) -> bool,
    ) -> T
    where
        C: Default,
    {
        self.fill_hashed(key, self.hash(key), change, is_kept)
    }

    fn fill_hashed<T>(
        &mut self,
        key: &K,
        hash: u32,
        change: impl FnOnce(&mut C) -> T,
        is_kept: impl FnOnce(&C) -> bool,
    ) -> T
    where
        C: Default,
    {
        let mut cell = C::default();
        let result = change(&mut cell);
        if is_kept(&cell) {
            self.insert_new(key.clone(), hash, cell);
        }
        result
    }

    /// Puts a cell under `key`.
    pub(super) fn insert(&mut self, key: K, cell: C) {
        let hash = self.hash(&key);
        match self.place(&key, hash) {
            Some(place) => *self.slab.get_mut(place) = cell,
            None => self.insert_new(key, hash, cell),
        }
    }

    fn insert_new(&mut self, key: K, hash: u32, cell: C) {
        debug_assert!(self.place(&key, hash).is_none(), "the key is held");
        let position = self.order.find_absent(&self.slab, &key);
        let place = self.slab.insert(key, cell);
        self.order.insert(position, place, &self.slab);
        self.len += 1;
        match &mut self.index {
            Some(index) => {
                index.insert_unique(spread(hash), (hash, place), |(h, _)| spread(*h));
            }
            None => self.index = Some(self.make_index()),
        }
    }

    /// Removes an entry, if there is one.
    pub(super) fn remove(&mut self, key: &K) {
        let hash = self.hash(key);
        if let Some(place) = self.place(key, hash) {
            self.remove_at(place, hash);
        }
    }

    fn remove_at(&mut self, place: u32, hash: u32) {
        let position = self.order.find_key(&self.slab, self.slab.get(place).0);
        let position = position.expect("what is held has a position");
        self.order.remove(position, &self.slab);
        if let Some(index) = &mut self.index {
            let indexed = index.find_entry(spread(hash), |(_, at)| *at == place);
            indexed.expect("what is held is indexed").remove();
        }
        self.slab.remove(place);
        self.len -= 1;
        if self.slab.places() - self.len > FREE_TIMES * self.len + SPARE {
            self.compact();
        }
    }

    /// Moves all entries together, in key order. Linear; what made it needed was as much.
    fn compact(&mut self) {
        let mut compact = Self {
            hasher: self.hasher.clone(),
            ..Self::default()
        };
        compact.order.set_bytes(self.order.bytes(), &compact.slab);
        for (key, cell) in self.iter() {
            let hash = compact.hash(key);
            compact.insert_new(key.clone(), hash, cell.clone());
        }
        *self = compact;
    }

    fn make_index(&self) -> HashTable<Indexed> {
        let mut index = HashTable::with_capacity(self.len);
        for place in self.order.iter() {
            let hash = self.hash(self.slab.get(place).0);
            index.insert_unique(spread(hash), (hash, place), |(h, _)| spread(*h));
        }
        index
    }
}

impl<K, C, const MAX: usize> Default for Entries<K, C, MAX> {
    fn default() -> Self {
        Self {
            slab: Slab::default(),
            order: Order::default(),
            index: Some(HashTable::new()),
            hasher: FixedState::with_seed(SEED),
            len: 0,
        }
    }
}

impl<K: Clone, C: Clone, const MAX: usize> Clone for Entries<K, C, MAX> {
    fn clone(&self) -> Self {
        Self {
            slab: self.slab.clone(),
            order: self.order.clone(),
            index: None,
            hasher: self.hasher.clone(),
            len: self.len,
        }
    }
}

impl<K: Ord + Clone + Hash, C: Clone, const MAX: usize> FromIterator<(K, C)>
    for Entries<K, C, MAX>
{
    fn from_iter<I: IntoIterator<Item = (K, C)>>(entries: I) -> Self {
        let mut collected = Self::default();
        for (key, cell) in entries {
            collected.insert(key, cell);
        }
        collected
    }
}

/// By content, whatever the places.
impl<K: PartialEq, C: PartialEq, const MAX: usize> PartialEq for Entries<K, C, MAX> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl<K: Eq, C: Eq, const MAX: usize> Eq for Entries<K, C, MAX> {}

impl<K: Hash, C: Hash, const MAX: usize> Hash for Entries<K, C, MAX> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.len.hash(state);
        self.iter().for_each(|entry| entry.hash(state));
    }
}

impl<K: fmt::Debug, C: fmt::Debug, const MAX: usize> fmt::Debug for Entries<K, C, MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}
