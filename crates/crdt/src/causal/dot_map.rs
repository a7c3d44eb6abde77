//! Live events under keys: the kernel of maps, and of everything nested.

use smallvec::SmallVec;
use std::borrow::Borrow;
use std::fmt::{self, Debug};
use std::hash::{Hash, Hasher};
use std::ops::{Bound, RangeBounds};

use crate::causal::dot_blocks::DotBlocks;
use crate::causal::edit::{Events, Touched};
use crate::sorted_map::{Policy, SortedMap};
use crate::{CausalContext, Dot, DotStore, Edit, Knows};

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
/// **Cost.** Look-ups and changes are logarithmic in the keys. Joining a delta costs what it touches, and
/// joining two full maps that differ little costs a few operations for each 64 events of a writer: from
/// 32 keys on the key of each live dot is kept, one more copy of the key and a bit for each. Joining
/// maps that differ much is one pass over both. Removed keys leave nothing behind. A clone shares
/// the entries until one side changes them.
///
/// **Not for** values whose last write must win, with nothing kept of the others: use [`LwwMap`](crate::LwwMap) or
/// put an [`LwwCell`](crate::LwwCell) inside.
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
#[derive(Clone)]
pub struct DotMap<K, S> {
    entries: SortedMap<K, S>,
    live_digest: u128,
    /// The key of each live dot, once there are many keys: a delta finds what it removes by its dots.
    keys: Option<DotBlocks<K>>,
}

/// From this number of keys the key of each dot is kept; among fewer it is looked for.
const INDEX_FROM: usize = 32;

/// Live dots under one key: few.
type Dots = SmallVec<[Dot; 4]>;

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
        let mut absent = S::default();
        let held = map.entries.get_mut(&key);
        let is_held = held.is_some();
        let value = held.unwrap_or(&mut absent);
        let mut news = delta.entries.remove(&key).unwrap_or_default();
        let result = change(&mut Edit::new(value, &mut news, events));
        match (is_held, value.is_bottom()) {
            (true, true) => drop(map.entries.remove(&key)),
            (false, false) => drop(map.entries.insert(key.clone(), absent)),
            (true, false) | (false, true) => {}
        }
        let touched = events.touched_since(mark);
        map.note(&key, touched);
        delta.note_delta(events, touched);
        if !news.is_bottom() {
            delta.entries.insert(key, news);
        }
        result
    }

    /// Removes what the author has seen under `key`.
    pub fn remove<Q>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        let (map, delta, events) = self.parts();
        let range = (Bound::Included(key), Bound::Included(key));
        let Some((owned, value)) = map.entries.range(range).next() else {
            return;
        };
        let (owned, mark) = (owned.clone(), events.mark());
        let dots: Dots = value.dots().collect();
        let seen: CausalContext = dots
            .into_iter()
            .filter(|dot| events.make_obsolete(*dot))
            .collect();
        for entries in [&mut map.entries, &mut delta.entries] {
            if let Some(value) = entries.get_mut(key) {
                *value = value.unknown_to(&seen);
                if value.is_bottom() {
                    entries.remove(key);
                }
            }
        }
        let touched = events.touched_since(mark);
        map.note(&owned, touched);
        delta.note_delta(events, touched);
    }

    /// Removes what the author has seen under every key.
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
        let dots = entries.iter().flat_map(|(_, value)| value.dots());
        let live_digest = dots.fold(0, |sum: u128, dot| sum.wrapping_add(S::live_digest_of(dot)));
        let keys = (entries.len() >= INDEX_FROM).then(|| keys_of(&entries));
        Self {
            entries,
            live_digest,
            keys,
        }
    }

    /// Notes what became of the events under `key`, in the digest and in the index.
    fn note(&mut self, key: &K, touched: &[Touched]) {
        for Touched { dot, is_live } in touched.iter().copied() {
            let digest = S::live_digest_of(dot);
            self.live_digest = match is_live {
                true => self.live_digest.wrapping_add(digest),
                false => self.live_digest.wrapping_sub(digest),
            };
            match &mut self.keys {
                Some(keys) if is_live => {
                    keys.insert(dot, key.clone());
                }
                Some(keys) => drop(keys.remove(dot)),
                None => {}
            }
        }
        self.index_if_many();
    }

    fn index_if_many(&mut self) {
        if self.keys.is_none() && self.entries.len() >= INDEX_FROM {
            self.keys = Some(keys_of(&self.entries));
        }
    }

    /// The same for a delta, which holds only what this mutation minted.
    fn note_delta(&mut self, events: &Events, touched: &[Touched]) {
        for Touched { dot, is_live } in touched.iter().copied() {
            let digest = S::live_digest_of(dot);
            if is_live {
                self.live_digest = self.live_digest.wrapping_add(digest);
            } else if events.is_own(dot) {
                self.live_digest = self.live_digest.wrapping_sub(digest);
            }
        }
    }

    fn join_key(&mut self, key: &K, mine: &impl Knows, other: &S, theirs: &impl Knows) -> bool {
        let mut absent = S::default();
        let held = self.entries.get_mut(key);
        let is_held = held.is_some();
        let value = held.unwrap_or(&mut absent);
        let before: Dots = value.dots().collect();
        if !value.join(mine, other, theirs) {
            return false;
        }
        let after: Dots = value.dots().collect();
        match (is_held, value.is_bottom()) {
            (true, true) => drop(self.entries.remove(key)),
            (false, false) => drop(self.entries.insert(key.clone(), absent)),
            (true, false) | (false, true) => {}
        }
        self.note(key, &changes(before, after));
        true
    }

    /// Joins the keys that the dots show to differ. `None`, and nothing is done, if the keys of dots are
    /// not kept here or too many differ.
    fn join_few(&mut self, mine: &impl Knows, other: &Self, theirs: &impl Knows) -> Option<bool> {
        let keys = self.keys.as_ref()?;
        let few = self.entries.len() / 8;
        let small = match other.keys {
            Some(_) => None,
            None => Some(keys_of(&other.entries)),
        };
        let other_keys = other.keys.as_ref().or(small.as_ref())?;
        let differing = keys.obsolete_in(other_keys, theirs);
        let differing = differing.chain(other_keys.news_for(keys, mine));
        let mut differing: Vec<K> = differing.take(few + 1).cloned().collect();
        if differing.len() > few {
            return None;
        }
        differing.sort_unstable();
        differing.dedup();
        let absent = S::default();
        Some(differing.iter().fold(false, |changed, key| {
            let other = other.entries.get(key).unwrap_or(&absent);
            self.join_key(key, mine, other, theirs) | changed
        }))
    }

    /// Joins in one pass over both sides: first what is here, then what is only there.
    fn join_all(&mut self, mine: &impl Knows, other: &Self, theirs: &impl Knows) -> bool {
        let (mut differing, mut fresh) = (Vec::new(), Vec::new());
        let mut held = self.entries.iter().peekable();
        let is_known = |value: &S| value.dots().any(|dot| theirs.knows(dot));
        for (key, value) in other.entries.iter() {
            while let Some((before, held)) = held.next_if(|(held, _)| *held < key) {
                differing.extend(is_known(held).then(|| before.clone()));
            }
            match held.next_if(|(held, _)| *held == key) {
                Some((_, held)) if held == value => {}
                Some(_) => differing.push(key.clone()),
                None => {
                    let news = value.unknown_to(mine);
                    fresh.extend((!news.is_bottom()).then(|| (key.clone(), news)));
                }
            }
        }
        for (key, held) in held {
            differing.extend(is_known(held).then(|| key.clone()));
        }
        let (absent, mut changed) = (S::default(), !fresh.is_empty());
        for key in &differing {
            let other = other.entries.get(key).unwrap_or(&absent);
            changed |= self.join_key(key, mine, other, theirs);
        }
        self.add_fresh(fresh);
        changed
    }

    /// Adds entries under keys that are absent, ascending.
    fn add_fresh(&mut self, fresh: Vec<(K, S)>) {
        if self.entries.len() == 0 {
            *self = Self::from_ascending(fresh);
            return;
        }
        for (key, value) in &fresh {
            for dot in value.dots() {
                let digest = S::live_digest_of(dot);
                self.live_digest = self.live_digest.wrapping_add(digest);
                if let Some(keys) = &mut self.keys {
                    keys.insert(dot, key.clone());
                }
            }
        }
        let fresh = SortedMap::from_ascending(fresh);
        self.entries.merge_owned(fresh, &mut AddAbsent);
        self.index_if_many();
    }
}

struct AddAbsent;

impl<S> Policy<S> for AddAbsent {
    fn takes(&self, mine: Option<&S>, _: &S) -> bool {
        mine.is_none()
    }

    fn took(&mut self, _: Option<&S>, _: &S) {}
}

fn keys_of<K: Ord + Clone, S: DotStore>(entries: &SortedMap<K, S>) -> DotBlocks<K> {
    let mut keys = DotBlocks::default();
    for (key, value) in entries.iter() {
        for dot in value.dots() {
            keys.insert(dot, key.clone());
        }
    }
    keys
}

/// What changed between two lists of live dots.
fn changes(mut before: Dots, mut after: Dots) -> SmallVec<[Touched; 4]> {
    before.sort_unstable();
    after.sort_unstable();
    let is_in = |dots: &Dots, dot: Dot| dots.binary_search(&dot).is_ok();
    let mut touched = SmallVec::new();
    for (dots, others, is_live) in [(&before, &after, false), (&after, &before, true)] {
        let only = dots.iter().copied().filter(|dot| !is_in(others, *dot));
        touched.extend(only.map(|dot| Touched { dot, is_live }));
    }
    touched
}

impl<K: Ord + Clone + Debug + Hash, S: DotStore> DotStore for DotMap<K, S> {
    fn is_bottom(&self) -> bool {
        self.is_empty()
    }

    fn dots(&self) -> impl Iterator<Item = Dot> + '_ {
        self.values().flat_map(DotStore::dots)
    }

    fn join(&mut self, mine: &impl Knows, other: &Self, theirs: &impl Knows) -> bool {
        let few = self.join_few(mine, other, theirs);
        few.unwrap_or_else(|| self.join_all(mine, other, theirs))
    }

    fn unknown_to(&self, known: &impl Knows) -> Self {
        let unknown = self.entries.iter().filter_map(|(key, value)| {
            let value = value.unknown_to(known);
            (!value.is_bottom()).then(|| (key.clone(), value))
        });
        Self::from_ascending(unknown)
    }

    fn conflict(&self, other: &Self) -> Option<Dot> {
        let theirs = keys_of(&other.entries);
        self.entries.iter().find_map(|(key, value)| {
            let is_elsewhere = |dot: &Dot| theirs.get(*dot).is_some_and(|k| k != key);
            let inside = other.entries.get(key).and_then(|t| value.conflict(t));
            inside.or_else(|| value.dots().find(is_elsewhere))
        })
    }

    fn live_digest(&self) -> Option<u128> {
        Some(self.live_digest)
    }
}

impl<K, S> Default for DotMap<K, S> {
    fn default() -> Self {
        Self {
            entries: SortedMap::default(),
            live_digest: 0,
            keys: None,
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

#[cfg(feature = "serde")]
mod wire {
    use super::DotMap;
    use crate::{DotStore, InvalidBytes};
    use serde::de::Error as _;
    use serde::ser::SerializeSeq as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::fmt::Debug;
    use std::hash::Hash;

    impl<K: Serialize, T: Serialize> Serialize for DotMap<K, T> {
        /// A list of (key, value), in key order.
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            // Not `collect_seq`: some formats need the length first.
            let mut list = serializer.serialize_seq(Some(self.entries.len()))?;
            for entry in self.entries.iter() {
                list.serialize_element(&entry)?;
            }
            list.end()
        }
    }

    impl<'de, K, T> Deserialize<'de> for DotMap<K, T>
    where
        K: Ord + Clone + Debug + Hash + Deserialize<'de>,
        T: DotStore + Deserialize<'de>,
    {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let entries: Vec<(K, T)> = Deserialize::deserialize(deserializer)?;
            if entries.windows(2).any(|pair| pair[0].0 >= pair[1].0) {
                return Err(D::Error::custom(InvalidBytes::Unsorted("keys of a map")));
            }
            if entries.iter().any(|(_, value)| value.is_bottom()) {
                return Err(D::Error::custom(InvalidBytes::Empty("a value of a map")));
            }
            Ok(Self::from_ascending(entries))
        }
    }
}
