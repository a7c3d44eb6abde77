//! Live events under keys: the kernel of maps, and of everything nested.

mod joining;
#[cfg(feature = "serde")]
mod wire;

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::borrow::Borrow;
use core::fmt::{self, Debug};
use core::hash::{Hash, Hasher};
use core::ops::{Bound, RangeBounds};

use crate::causal::dot_store::live_digest;
use crate::causal::edit::Touched;
use crate::causal::key_index::KeyIndex;
use crate::sorted_map::SortedMap;
use crate::{
    CausalContext, Cell, Dot, DotRange, DotStore, Edit, InvalidBytes, Knows, Lattice, Stable,
    Timestamp,
};

/// A map that holds other stores as values.
///
/// Another name of [`DotMap`], which is the map and the kernel of everything nested.
pub type OrMap<K, S> = DotMap<K, S>;

/// A map from keys to causal stores, maps included, that all share the context of the outermost object.
///
/// A key is present while anything is live under it. Removing a key makes obsolete exactly the events
/// under it that its author has seen (reset-remove): concurrent changes survive, and only they.
///
/// | concurrent operations | outcome |
/// |---|---|
/// | updates of different keys | independent |
/// | updates of one key | as the value's type says |
/// | update and remove of one key | the key stays, with the update and without what the remove had seen |
/// | two removes | the key is gone |
///
/// **Order and join.** That of the [`DotStore`], key by key.
///
/// **Invariants.** No key holds an empty store, no dot is live twice.
///
/// **Cost.** Look-ups and changes are logarithmic in the keys. Joining a delta costs what it touches; the
/// first delta that removes something builds an index from dots to keys, which takes one key and one dot of
/// memory for each run of live events. Joining two full maps is one ordered pass over both, and drops
/// the index. Removed keys leave nothing behind. A clone shares the entries until one side changes them.
///
/// **Not for** values whose last write must win, with nothing kept of the others: use [`LwwMap`](crate::LwwMap), or
/// put an [`LwwCell`](crate::LwwCell) inside, whose keys stay and are deleted by tombstones.
///
/// Source: Almeida, Shoker, Baquero, *Delta State Replicated Data Types*, 2018, sections 7.1 and 7.6.
///
/// ```
/// use crdt::{AddWinsSet, CausalReplica, ObjectId, OrMap, ReplicaId};
///
/// type Tags = OrMap<String, AddWinsSet<String>>;
/// let mut a = CausalReplica::<Tags>::new(ObjectId(1), ReplicaId(1));
/// let mut b = CausalReplica::<Tags>::new(ObjectId(1), ReplicaId(2));
/// let first = a.change(|photos| photos.update("beach".into(), |tags| tags.add("sun".into())));
/// b.join(&first)?;
/// // A removes the photo while B tags it.
/// let removed = a.change(|photos| photos.remove("beach"));
/// let tagged = b.change(|photos| photos.update("beach".into(), |tags| tags.add("sea".into())));
/// a.join(&tagged)?;
/// b.join(&removed)?;
/// assert_eq!(a.state(), b.state());
/// let tags = a.get("beach").expect("the concurrent tag keeps the photo");
/// assert!(tags.contains("sea") && !tags.contains("sun"), "the remove had seen the sun alone");
/// # Ok::<(), crdt::IdentityReused>(())
/// ```
pub struct DotMap<K, S> {
    entries: SortedMap<K, S>,
    live_digest: u128,
    /// The key of each live dot; built when a delta first needs it.
    keys_by_dot: Option<KeyIndex<K>>,
}

/// Below this number of keys asking each of them is as fast as the index.
const INDEX_FROM: usize = 32;

impl<K: Ord, S> DotMap<K, S> {
    /// The value of `key`.
    pub fn get<Q>(&self, key: &Q) -> Option<&S>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        self.entries.get(key)
    }

    /// Whether anything is live under `key`.
    pub fn contains_key<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        self.entries.get(key).is_some()
    }

    /// The keys of a range with their values, in key order; none if the range starts behind its end.
    pub fn range<Q, R>(&self, range: R) -> impl DoubleEndedIterator<Item = (&K, &S)>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
        R: RangeBounds<Q>,
    {
        self.entries.range(range)
    }
}

impl<K, S> DotMap<K, S> {
    /// All keys with their values, in key order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &S)> + '_ {
        self.entries.iter()
    }

    /// The keys in order.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> + '_ {
        self.entries.iter().map(|(key, _)| key)
    }

    /// The values in key order.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &S> + '_ {
        self.entries.iter().map(|(_, value)| value)
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.entries.len() == 0
    }
}

impl<K: Ord + Clone + Debug + Hash, S: DotStore> Edit<'_, DotMap<K, S>> {
    /// Changes the value of `key`; an absent key starts empty.
    pub fn update<R>(&mut self, key: K, change: impl FnOnce(&mut Edit<'_, S>) -> R) -> R {
        let (map, delta, events) = self.parts();
        let mark = events.mark();
        let (at, news_at) = (
            map.entries.find_from_end(&key),
            delta.entries.find_from_end(&key),
        );
        let mut absent = S::default();
        let value = match at {
            Ok(place) => map.entries.value_mut(place),
            Err(_) => &mut absent,
        };
        let mut news = match news_at {
            Ok(place) => core::mem::take(delta.entries.value_mut(place)),
            Err(_) => S::default(),
        };
        let before = (live_digest(value), live_digest(&news));
        let result = change(&mut Edit::new(value, &mut news, events));
        let (after, is_bottom) = ((live_digest(value), live_digest(&news)), value.is_bottom());
        map.note_digest(before.0, after.0);
        delta.note_digest(before.1, after.1);
        map.note_keys(&key, events.touched_since(mark));
        match (at, is_bottom) {
            (Ok(place), true) => drop(map.entries.remove_at(place)),
            (Err(place), false) => map.entries.insert_at(place, key.clone(), absent),
            (Ok(_), false) | (Err(_), true) => {}
        }
        match (news_at, news.is_bottom()) {
            (Ok(place), true) => drop(delta.entries.remove_at(place)),
            (Ok(place), false) => *delta.entries.value_mut(place) = news,
            (Err(place), false) => delta.entries.insert_at(place, key, news),
            (Err(_), true) => {}
        }
        result
    }

    /// Changes the values of many keys, each with an item of its own, in the order of the keys; the items
    /// of one key in the order in which they come. Faster than an [`update`](Self::update) for each.
    pub fn extend<T>(
        &mut self,
        items: impl IntoIterator<Item = (K, T)>,
        mut change: impl FnMut(&mut Edit<'_, S>, T),
    ) {
        // In order, each key is mostly behind all that the delta has, which needs no search and moves
        // nothing.
        let mut items: Vec<(K, T)> = items.into_iter().collect();
        items.sort_by(|a, b| a.0.cmp(&b.0));
        for (key, item) in items {
            self.update(key, |value| change(value, item));
        }
    }

    /// Removes what the author has seen under `key`.
    ///
    /// It does not compile for values that forget losers, such as an [`LwwCell`](crate::LwwCell): write a
    /// tombstone there instead.
    ///
    /// ```compile_fail
    /// use crdt::{CausalReplica, LwwCell, ObjectId, OrMap, ReplicaId};
    ///
    /// let mut map = CausalReplica::<OrMap<u8, LwwCell<u8>>>::new(ObjectId(1), ReplicaId(1));
    /// let delta = map.change(|map| map.remove(&7));
    /// ```
    pub fn remove<Q>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        const {
            assert!(
                !S::FORGETS_LOSERS,
                "removing the winner would bring back what it has beaten: write a tombstone"
            );
        }
        let (map, delta, events) = self.parts();
        let range = (Bound::Included(key), Bound::Included(key));
        let Some((owned, value)) = map.entries.range(range).next() else {
            return;
        };
        let (owned, mark) = (owned.clone(), events.mark());
        let live: CausalContext = value.dot_ranges().collect();
        let seen = events.make_all_obsolete(&live);
        for map in [&mut *map, &mut *delta] {
            if let Some(value) = map.entries.get_mut(key) {
                let rest = value.unknown_to(&seen);
                let (before, after) = (live_digest(value), live_digest(&rest));
                *value = rest;
                if value.is_bottom() {
                    map.entries.remove(key);
                }
                map.note_digest(before, after);
            }
        }
        map.note_keys(&owned, events.touched_since(mark));
    }

    /// Removes what the author has seen under every key. What [`remove`](Self::remove) refuses, it refuses.
    pub fn clear(&mut self) {
        let keys: Vec<K> = self.keys().cloned().collect();
        for key in keys {
            self.remove(&key);
        }
    }
}

impl<K: Ord + Clone + Debug + Hash, S: DotStore> DotMap<K, S> {
    /// A map of entries whose keys ascend strictly, none of them empty.
    pub(crate) fn from_ascending(entries: impl IntoIterator<Item = (K, S)>) -> Self {
        let entries = SortedMap::from_ascending(entries);
        let digests = entries.iter().map(|(_, value)| live_digest(value));
        Self {
            live_digest: digests.fold(0, u128::wrapping_add),
            entries,
            keys_by_dot: None,
        }
    }

    /// Notes that the digest of one value has changed.
    const fn note_digest(&mut self, before: u128, after: u128) {
        let others = self.live_digest.wrapping_sub(before);
        self.live_digest = others.wrapping_add(after);
    }

    /// Notes in the index what became of events under `key`.
    fn note_keys(&mut self, key: &K, touched: &[Touched]) {
        let Some(index) = &mut self.keys_by_dot else {
            return;
        };
        for Touched { range, is_live } in touched.iter().copied() {
            match is_live {
                true => index.insert(range, key.clone()),
                false => index.remove(range),
            }
        }
        self.keys_by_dot.take_if(|index| index.is_worn());
    }

    /// Notes in the index what a delta made obsolete and what it brought.
    fn note_delta(&mut self, mine: &impl Knows, other: &Self, theirs: &CausalContext) {
        let Some(index) = &mut self.keys_by_dot else {
            return;
        };
        let obsolete = theirs.difference(&other.dot_ranges().collect());
        obsolete.ranges().for_each(|range| index.remove(range));
        for (key, value) in other.iter() {
            let news = mine.unknown_of(&value.dot_ranges().collect());
            news.ranges()
                .for_each(|range| index.insert(range, key.clone()));
        }
        self.keys_by_dot.take_if(|index| index.is_worn());
    }

    /// Joins `other` as [`DotStore::join`] does, and tells of each key that changes, in order, whether it
    /// was present, and the value that it has now, if it has one.
    pub(super) fn join_telling(
        &mut self,
        mine: &impl Knows,
        other: &Self,
        theirs: &impl Knows,
        mut tell: impl FnMut(&K, bool, Option<&S>),
    ) {
        let context = theirs.as_context();
        let few = context.and_then(|theirs| self.keys_of(other, theirs));
        let (Some(context), Some(keys)) = (context, few) else {
            // After one pass over all keys another one, to build the index again, costs no more.
            self.keys_by_dot = None;
            return self.join_all(mine, other, theirs, tell);
        };
        self.note_delta(mine, other, context);
        let absent = S::default();
        for key in &keys {
            let other = other.entries.get(key).unwrap_or(&absent);
            self.join_key(key, mine, other, theirs, &mut tell);
        }
    }

    fn join_key(
        &mut self,
        key: &K,
        mine: &impl Knows,
        other: &S,
        theirs: &impl Knows,
        tell: &mut impl FnMut(&K, bool, Option<&S>),
    ) {
        let held = self.entries.get_mut(key);
        if held.as_deref() == Some(other) {
            return;
        }
        let mut absent = S::default();
        let is_held = held.is_some();
        let value = held.unwrap_or(&mut absent);
        let before = live_digest(value);
        if !value.join(mine, other, theirs) {
            return;
        }
        let (emptied, after) = (value.is_bottom(), live_digest(value));
        tell(key, is_held, (!emptied).then_some(&*value));
        if emptied {
            self.entries.remove(key);
        } else if !is_held {
            self.entries.insert(key.clone(), absent);
        }
        self.note_digest(before, after);
    }

    /// The keys under which anything is live that `theirs` names, or `None` if that may be most of them.
    fn keys_of(&mut self, other: &Self, theirs: &CausalContext) -> Option<BTreeSet<K>> {
        let named = theirs.event_count();
        if self.len() < INDEX_FROM || named >= self.len() as u64 / 4 {
            return None;
        }
        let mut keys: BTreeSet<K> = other.keys().cloned().collect();
        let listed: CausalContext = other.dot_ranges().collect();
        if listed != *theirs {
            let entries = &self.entries;
            let index = self.keys_by_dot.get_or_insert_with(|| index(entries));
            for range in theirs.ranges() {
                keys.extend(index.overlapping(range).map(|(_, key)| key.clone()));
            }
        }
        Some(keys)
    }
}

fn index<K: Ord + Clone, S: DotStore>(entries: &SortedMap<K, S>) -> KeyIndex<K> {
    KeyIndex::new(entries.iter().flat_map(|(key, value)| {
        let live = value.dot_ranges();
        live.map(move |range| (range, key.clone()))
    }))
}

impl<K: Ord + Clone + Debug + Hash, S: DotStore> DotStore for DotMap<K, S> {
    const FORGETS_LOSERS: bool = S::FORGETS_LOSERS;

    fn is_bottom(&self) -> bool {
        self.is_empty()
    }

    fn dots(&self) -> impl Iterator<Item = Dot> + '_ {
        self.values().flat_map(DotStore::dots)
    }

    fn dot_ranges(&self) -> impl Iterator<Item = DotRange> + '_ {
        self.values().flat_map(DotStore::dot_ranges)
    }

    fn is_live(&self, dot: Dot) -> bool {
        self.values().any(|value| value.is_live(dot))
    }

    fn losers_in(&self, other: &Self) -> CausalContext {
        let mut losers = CausalContext::default();
        for (key, value) in self.iter() {
            if let Some(theirs) = other.entries.get(key) {
                losers.join(&value.losers_in(theirs));
            }
        }
        losers
    }

    fn join(&mut self, mine: &impl Knows, other: &Self, theirs: &impl Knows) -> bool {
        let mut changed = false;
        self.join_telling(mine, other, theirs, |_, _, _| changed = true);
        changed
    }

    fn unknown_to(&self, known: &impl Knows) -> Self {
        let unknown = self.entries.iter().filter_map(|(key, value)| {
            let value = value.unknown_to(known);
            (!value.is_bottom()).then(|| (key.clone(), value))
        });
        Self::from_ascending(unknown)
    }

    fn conflict(&self, other: &Self) -> Option<Dot> {
        let inside = self.entries.iter().find_map(|(key, value)| {
            let theirs = other.entries.get(key)?;
            value.conflict(theirs)
        });
        inside.or_else(|| {
            let theirs = index(&other.entries);
            let elsewhere = |key: &K, live: DotRange| {
                let mut hits = theirs.overlapping(live);
                let (run, _) = hits.find(|(_, k)| *k != key)?;
                Some(Dot::new(live.replica, live.first.max(run.first)))
            };
            let mut entries = self.entries.iter();
            entries
                .find_map(|(key, value)| value.dot_ranges().find_map(|live| elsewhere(key, live)))
        })
    }

    fn purge(&mut self, stable: &Stable) -> CausalContext {
        let mut purged = CausalContext::default();
        let keys: Vec<K> = self.keys().cloned().collect();
        for key in &keys {
            let Some(value) = self.entries.get_mut(key) else {
                continue;
            };
            let before = live_digest(value);
            let gone = value.purge(stable);
            if gone.is_empty() {
                continue;
            }
            purged.join(&gone);
            let after = live_digest(value);
            if value.is_bottom() {
                self.entries.remove(key);
            }
            self.note_digest(before, after);
        }
        if let Some(index) = &mut self.keys_by_dot {
            purged.ranges().for_each(|range| index.remove(range));
        }
        purged
    }

    fn live_digest(&self) -> Option<u128> {
        Some(self.live_digest)
    }

    fn mark_count(&self) -> usize {
        self.values().map(DotStore::mark_count).sum()
    }

    fn heap_bytes(&self) -> usize {
        let index = self.keys_by_dot.as_ref().map_or(0, KeyIndex::heap_bytes);
        let inside: usize = self.values().map(DotStore::heap_bytes).sum();
        self.entries.heap_bytes() + inside + index
    }
}

impl<K: Ord + Clone + Debug + Hash, S: Cell> Cell for DotMap<K, S> {
    const PROVES_ITSELF: bool = false;

    fn is_visible(&self) -> bool {
        !self.is_empty()
    }

    fn tombstone(&self) -> Option<Timestamp> {
        None
    }

    fn validate(&self) -> Result<(), InvalidBytes> {
        self.values().try_for_each(Cell::validate)
    }
}

impl<K, S> Default for DotMap<K, S> {
    fn default() -> Self {
        Self {
            entries: SortedMap::default(),
            live_digest: 0,
            keys_by_dot: None,
        }
    }
}

impl<K: Clone, S: Clone> Clone for DotMap<K, S> {
    /// The index is not copied: the copy builds its own when it needs one.
    fn clone(&self) -> Self {
        Self {
            entries: self.entries.clone(),
            live_digest: self.live_digest,
            keys_by_dot: None,
        }
    }
}

impl<K: PartialEq, S: PartialEq> PartialEq for DotMap<K, S> {
    fn eq(&self, other: &Self) -> bool {
        self.live_digest == other.live_digest && self.entries == other.entries
    }
}

impl<K: Eq, S: Eq> Eq for DotMap<K, S> {}

impl<K: Hash, S: Hash> Hash for DotMap<K, S> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.entries.hash(state);
    }
}

impl<K: Debug, S: Debug> Debug for DotMap<K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entries.fmt(f)
    }
}

impl<K: fmt::Display, S: fmt::Display> fmt::Display for DotMap<K, S> {
    /// `{beach: {sun, sea}}`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, (key, value)) in self.entries.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{key}: {value}")?;
        }
        f.write_str("}")
    }
}

#[cfg(test)]
mod tests;
