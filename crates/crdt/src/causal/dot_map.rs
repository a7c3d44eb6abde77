//! Live events under keys: the kernel of maps, and of everything nested.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Debug};
use std::hash::{Hash, Hasher};
use std::ops::RangeBounds;

use crate::causal::edit::{Events, Touched};
use crate::{CausalContext, Change, Dot, DotStore, Edit, Knows};

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
/// memory for each live event from then on. Joining two full maps is one pass over both. Removed keys
/// leave nothing behind.
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
pub struct DotMap<K, S> {
    entries: BTreeMap<K, S>,
    live_digest: u128,
    /// The key of each live dot; built when a delta first needs it.
    keys_by_dot: Option<BTreeMap<Dot, K>>,
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
        self.entries.contains_key(key)
    }

    /// All keys with their values, in key order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &S)> + ExactSizeIterator + '_ {
        self.entries.iter()
    }

    /// The keys in order.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &K> + ExactSizeIterator + '_ {
        self.entries.keys()
    }

    /// The values in key order.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &S> + ExactSizeIterator + '_ {
        self.entries.values()
    }

    /// The keys of a range with their values, in key order.
    ///
    /// # Panics
    /// If the range starts behind its end.
    pub fn range<Q, R>(&self, range: R) -> impl DoubleEndedIterator<Item = (&K, &S)> + '_
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
        R: RangeBounds<Q>,
    {
        self.entries.range(range)
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
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
        let Some((owned, value)) = map.entries.get_key_value(key) else {
            return;
        };
        let (owned, mark) = (owned.clone(), events.mark());
        let dots: Vec<Dot> = value.dots().collect();
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
    /// Puts a value that was decoded or computed under a key that is absent.
    pub(crate) fn from_entries(entries: BTreeMap<K, S>) -> Self {
        let dots = entries.values().flat_map(DotStore::dots);
        let live_digest = dots.fold(0, |sum: u128, dot| sum.wrapping_add(S::live_digest_of(dot)));
        Self {
            entries,
            live_digest,
            keys_by_dot: None,
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
            match &mut self.keys_by_dot {
                Some(index) if is_live => drop(index.insert(dot, key.clone())),
                Some(index) => drop(index.remove(&dot)),
                None => {}
            }
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

    /// Joins `other` as [`DotStore::join`] does, and tells each key that changes, in key order: whether it
    /// was and is present.
    pub(super) fn join_keys(
        &mut self,
        mine: &impl Knows,
        other: &Self,
        theirs: &impl Knows,
        mut tell: impl FnMut(&K, Change),
    ) {
        let few = theirs
            .as_context()
            .and_then(|theirs| self.keys_of(other, theirs));
        let keys = few.unwrap_or_else(|| {
            let all = self.entries.keys().chain(other.entries.keys());
            all.cloned().collect()
        });
        let absent = S::default();
        for key in &keys {
            let other = other.entries.get(key).unwrap_or(&absent);
            if let Some(change) = self.join_key(key, mine, other, theirs) {
                tell(key, change);
            }
        }
    }

    fn join_key(
        &mut self,
        key: &K,
        mine: &impl Knows,
        other: &S,
        theirs: &impl Knows,
    ) -> Option<Change> {
        let held = self.entries.get_mut(key);
        if held.as_deref() == Some(other) {
            return None;
        }
        let mut absent = S::default();
        let is_held = held.is_some();
        let value = held.unwrap_or(&mut absent);
        let before: Vec<Dot> = value.dots().collect();
        if !value.join(mine, other, theirs) {
            return None;
        }
        let after: Vec<Dot> = value.dots().collect();
        let (emptied, changes) = (value.is_bottom(), changes(&before, &after));
        if emptied {
            self.entries.remove(key);
        } else if !is_held {
            self.entries.insert(key.clone(), absent);
        }
        self.note(key, &changes);
        let (was, is) = (usize::from(is_held), usize::from(!emptied));
        Some(Change::between(was, is))
    }

    /// The keys under which anything is live that `theirs` names, or `None` if that may be most of them.
    fn keys_of(&mut self, other: &Self, theirs: &CausalContext) -> Option<BTreeSet<K>> {
        let named = theirs.event_count();
        if self.len() < INDEX_FROM || named >= self.len() as u64 / 4 {
            return None;
        }
        let mut keys: BTreeSet<K> = other.entries.keys().cloned().collect();
        let listed: u64 = other
            .entries
            .values()
            .map(|s| s.dots().count() as u64)
            .sum();
        if listed < named {
            let entries = &self.entries;
            let index = self.keys_by_dot.get_or_insert_with(|| index(entries));
            for range in theirs.ranges() {
                let dots =
                    Dot::new(range.replica, range.first)..=Dot::new(range.replica, range.last);
                keys.extend(index.range(dots).map(|(_, key)| key.clone()));
            }
        }
        Some(keys)
    }
}

fn index<K: Clone, S: DotStore>(entries: &BTreeMap<K, S>) -> BTreeMap<Dot, K> {
    let dots = entries
        .iter()
        .flat_map(|(key, value)| value.dots().map(move |dot| (dot, key.clone())));
    dots.collect()
}

/// What changed between two lists of live dots.
fn changes(before: &[Dot], after: &[Dot]) -> Vec<Touched> {
    let sorted = |dots: &[Dot]| dots.iter().copied().collect::<BTreeSet<Dot>>();
    let (before, after) = (sorted(before), sorted(after));
    let gone = before.difference(&after).map(|dot| (*dot, false));
    let new = after.difference(&before).map(|dot| (*dot, true));
    let touched = gone.chain(new);
    touched
        .map(|(dot, is_live)| Touched { dot, is_live })
        .collect()
}

impl<K: Ord + Clone + Debug + Hash, S: DotStore> DotStore for DotMap<K, S> {
    fn is_bottom(&self) -> bool {
        self.entries.is_empty()
    }

    fn dots(&self) -> impl Iterator<Item = Dot> + '_ {
        self.entries.values().flat_map(DotStore::dots)
    }

    fn join(&mut self, mine: &impl Knows, other: &Self, theirs: &impl Knows) -> bool {
        let mut changed = false;
        self.join_keys(mine, other, theirs, |_, _| changed = true);
        changed
    }

    fn unknown_to(&self, known: &impl Knows) -> Self {
        let unknown = self.entries.iter().filter_map(|(key, value)| {
            let value = value.unknown_to(known);
            (!value.is_bottom()).then(|| (key.clone(), value))
        });
        Self::from_entries(unknown.collect())
    }

    fn conflict(&self, other: &Self) -> Option<Dot> {
        let inside = self.entries.iter().find_map(|(key, value)| {
            let theirs = other.entries.get(key)?;
            value.conflict(theirs)
        });
        inside.or_else(|| {
            let (mine, theirs) = (index(&self.entries), index(&other.entries));
            let elsewhere = |(dot, key): &(&Dot, &K)| theirs.get(dot).is_some_and(|k| k != *key);
            mine.iter().find(elsewhere).map(|(dot, _)| *dot)
        })
    }

    fn live_digest(&self) -> Option<u128> {
        Some(self.live_digest)
    }
}

impl<K, S> Default for DotMap<K, S> {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
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
        f.debug_map().entries(&self.entries).finish()
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

#[cfg(feature = "serde")]
mod wire {
    use super::DotMap;
    use crate::{DotStore, InvalidBytes};
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::fmt::Debug;
    use std::hash::Hash;

    impl<K: Serialize, T: Serialize> Serialize for DotMap<K, T> {
        /// A list of (key, value), in key order.
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_seq(&self.entries)
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
            Ok(Self::from_entries(entries.into_iter().collect()))
        }
    }
}
