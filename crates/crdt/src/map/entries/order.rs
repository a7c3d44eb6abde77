//! The places of entries in key order.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::borrow::Borrow;
use core::ops::{Bound, RangeBounds};

use super::keys::Keys;
use super::slab::Slab;

/// Places in a run, at most: an insertion moves half of them.
pub(super) const RUN: usize = 256;

/// The bytes of a key. Keys MUST be ordered as these are.
pub(super) type AsBytes<K> = fn(&K) -> &[u8];

/// The places of entries in the order of their keys, in runs that clones share until one of them writes.
///
/// Keys are in the [`Slab`], but for the first of each run: so a search among the runs stays within few
/// cache lines. Where keys are ordered as bytes a run also has eight bytes of each, and a search within it
/// seldom looks at a key.
///
/// **Invariants.** Keys ascend strictly; no run is empty or longer than `MAX`; `first` is the key at the first
/// place of its run. `MAX` is a parameter so that tests reach with few entries what many entries do.
#[derive(Clone)]
pub(super) struct Order<K, const MAX: usize = RUN> {
    runs: Arc<Vec<Run<K>>>,
    bytes: Option<AsBytes<K>>,
    /// Just behind the last insertion.
    finger: Position,
    /// Whether the last insertion was at the finger: keys come in ascending order.
    is_ascending: bool,
}

#[derive(Clone)]
struct Run<K> {
    first: K,
    keys: Arc<Keys>,
}

/// A run, and an index in it.
pub(super) type Position = (usize, usize);

impl<K, const MAX: usize> Default for Order<K, MAX> {
    fn default() -> Self {
        Self {
            runs: Arc::default(),
            bytes: None,
            finger: (0, 0),
            is_ascending: false,
        }
    }
}

impl<K, const MAX: usize> Order<K, MAX> {
    /// The place at a position that was found.
    pub(super) fn place(&self, (run, at): Position) -> u32 {
        self.runs[run].keys.places()[at]
    }

    /// The position of `key`, or the one where it belongs; O(log n).
    pub(super) fn find<C, Q>(&self, slab: &Slab<K, C>, key: &Q) -> Result<Position, Position>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        let behind = self.runs.partition_point(|run| run.first.borrow() <= key);
        let Some(run) = behind.checked_sub(1) else {
            return Err((0, 0));
        };
        let places = self.runs[run].keys.places();
        let found = places.binary_search_by(|place| slab.get(*place).0.borrow().cmp(key));
        found.map(|at| (run, at)).map_err(|at| (run, at))
    }

    /// The same for a key of which the bytes are known: what stands beside the places spares most looks at
    /// keys.
    pub(super) fn find_key<C>(&self, slab: &Slab<K, C>, key: &K) -> Result<Position, Position>
    where
        K: Ord,
    {
        let Some(bytes) = self.bytes else {
            return self.find(slab, key);
        };
        let behind = self.runs.partition_point(|run| run.first <= *key);
        let Some(run) = behind.checked_sub(1) else {
            return Err((0, 0));
        };
        let keys = &self.runs[run].keys;
        let alike = keys.alike(bytes(&self.runs[run].first), bytes(key));
        let places = &keys.places()[alike.clone()];
        let found = places.binary_search_by(|place| slab.get(*place).0.cmp(key));
        let position = |at| (run, alike.start + at);
        found.map(position).map_err(position)
    }

    /// The position where a key belongs that is absent. O(1) where keys come in ascending order, else
    /// O(log n).
    pub(super) fn find_absent<C>(&self, slab: &Slab<K, C>, key: &K) -> Position
    where
        K: Ord,
    {
        if self.is_ascending && self.fits_at_finger(slab, key) {
            return self.finger;
        }
        self.find_key(slab, key).unwrap_or_else(|position| position)
    }

    fn fits_at_finger<C>(&self, slab: &Slab<K, C>, key: &K) -> bool
    where
        K: Ord,
    {
        let (run, at) = self.finger;
        let places = self.runs.get(run).map(|run| run.keys.places());
        let places = places.unwrap_or_default();
        let before = at.checked_sub(1).and_then(|before| places.get(before));
        let next = match places.get(at) {
            Some(next) => Some(slab.get(*next).0),
            None => self.runs.get(run + 1).map(|run| &run.first),
        };
        before.is_some_and(|before| slab.get(*before).0 < key) && next.is_none_or(|next| key < next)
    }

    /// Where the keys in `bounds` start, and where they end; O(log n).
    pub(super) fn bounds<C, Q, R>(&self, slab: &Slab<K, C>, bounds: &R) -> (Position, Position)
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
        R: RangeBounds<Q>,
    {
        let at = |key| self.find(slab, key).unwrap_or_else(|position| position);
        let behind = |key| match self.find(slab, key) {
            Ok((run, at)) => (run, at + 1),
            Err(position) => position,
        };
        let start = match bounds.start_bound() {
            Bound::Unbounded => (0, 0),
            Bound::Included(key) => at(key),
            Bound::Excluded(key) => behind(key),
        };
        let end = match bounds.end_bound() {
            Bound::Unbounded => (self.runs.len(), 0),
            Bound::Included(key) => behind(key),
            Bound::Excluded(key) => at(key),
        };
        (start, end)
    }

    /// All places, in key order.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = u32> + use<'_, K, MAX> {
        self.between(((0, 0), (self.runs.len(), 0)))
    }

    /// The places from one position up to another, in key order; none if they are reversed.
    pub(super) fn between(
        &self,
        (start, end): (Position, Position),
    ) -> impl DoubleEndedIterator<Item = u32> + use<'_, K, MAX> {
        let last = self.runs.len().min(end.0 + 1).max(start.0);
        let runs = self.runs[start.0..last].iter().enumerate();
        runs.flat_map(move |(i, run)| {
            let i = start.0 + i;
            let from = if i == start.0 { start.1 } else { 0 };
            let places = run.keys.places();
            let to = if i == end.0 { end.1 } else { places.len() };
            let places = places.get(from..to).unwrap_or_default();
            places.iter().copied()
        })
    }
}

impl<K: Clone, const MAX: usize> Order<K, MAX> {
    /// Says how keys are ordered as bytes. Linear in the entries.
    pub(super) fn set_bytes<C>(&mut self, bytes: Option<AsBytes<K>>, slab: &Slab<K, C>) {
        self.bytes = bytes;
        for run in Arc::make_mut(&mut self.runs) {
            run.keys = Arc::new(Keys::new(run.keys.places().to_vec(), slab, bytes));
        }
    }

    /// How keys are ordered as bytes, if that was said.
    pub(super) const fn bytes(&self) -> Option<AsBytes<K>> {
        self.bytes
    }

    /// Inserts the place of a key at the position where the key belongs.
    pub(super) fn insert<C>(&mut self, (run, at): Position, place: u32, slab: &Slab<K, C>) {
        self.is_ascending = (run, at) == self.finger;
        let bytes = self.bytes;
        let runs = Arc::make_mut(&mut self.runs);
        let new = |places: Vec<u32>| Run {
            first: slab.get(places[0]).0.clone(),
            keys: Arc::new(Keys::new(places, slab, bytes)),
        };
        let is_last = run + 1 >= runs.len();
        let held = match runs.get_mut(run) {
            // Keys that come in ascending order leave full runs behind.
            Some(held) if !is_last || at < MAX => held,
            _ => {
                runs.push(new(vec![place]));
                self.finger = (runs.len() - 1, 1);
                return;
            }
        };
        if held.keys.places().len() < MAX {
            Arc::make_mut(&mut held.keys).insert(at, place, slab, bytes);
            if at == 0 {
                held.first = slab.get(place).0.clone();
            }
            self.finger = (run, at + 1);
            return;
        }
        let mut places = held.keys.places().to_vec();
        places.insert(at, place);
        let behind = places.split_off(MAX / 2);
        self.finger = match at.checked_sub(MAX / 2) {
            Some(at) => (run + 1, at + 1),
            None => (run, at + 1),
        };
        *held = new(places);
        runs.insert(run + 1, new(behind));
    }

    /// Removes what is at a position. The slab still holds all keys.
    pub(super) fn remove<C>(&mut self, (run, at): Position, slab: &Slab<K, C>) {
        self.is_ascending = false;
        let bytes = self.bytes;
        let runs = Arc::make_mut(&mut self.runs);
        let held = &mut runs[run];
        let keys = Arc::make_mut(&mut held.keys);
        keys.remove(at);
        let Some(first) = keys.places().first() else {
            runs.remove(run);
            return;
        };
        if at == 0 {
            held.first = slab.get(*first).0.clone();
        }
        // Runs that have become small are united.
        let len = |i: usize| runs.get(i).map_or(MAX, |run| run.keys.places().len());
        if len(run) + len(run + 1) <= MAX / 2 {
            let next = runs.remove(run + 1);
            let places = [runs[run].keys.places(), next.keys.places()].concat();
            runs[run].keys = Arc::new(Keys::new(places, slab, bytes));
        }
    }
}

#[cfg(test)]
impl<K: Ord, const MAX: usize> Order<K, MAX> {
    /// Whether the invariants hold.
    pub(super) fn is_valid<C>(&self, slab: &Slab<K, C>) -> bool {
        let is_valid = |run: &Run<K>| {
            let places = run.keys.places();
            let is_first = run.first == *slab.get(places[0]).0;
            (1..=MAX).contains(&places.len()) && is_first && run.keys.is_valid(slab, self.bytes)
        };
        let keys = self.iter().map(|place| slab.get(place).0);
        self.runs.iter().all(is_valid) && keys.is_sorted_by(|a, b| a < b)
    }

    /// How many places each run has.
    pub(super) fn run_lengths(&self) -> Vec<usize> {
        let lengths = self.runs.iter().map(|run| run.keys.places().len());
        lengths.collect()
    }

    /// Whether all runs but the last are full.
    pub(super) fn has_full_runs(&self) -> bool {
        let (_, full) = self.runs.split_last().expect("there are runs");
        full.iter().all(|run| run.keys.places().len() == MAX)
    }

    /// Whether a new key is found without a search.
    pub(super) fn is_at_finger<C>(&self, slab: &Slab<K, C>, key: &K) -> bool {
        self.is_ascending && self.fits_at_finger(slab, key)
    }
}
