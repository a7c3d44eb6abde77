//! A map whose entries are last-writer-wins registers, with tombstones that may be forgotten.

mod ops;
#[cfg(feature = "serde")]
mod wire;

use alloc::format;
use core::borrow::Borrow;
use core::cmp::Ordering;
use core::fmt;
use core::ops::RangeBounds;

use crate::lww_order::LwwWrite;
use crate::sorted_map::SortedMap;
use crate::{Difference, Horizon, Lattice, MemoryUse, Timestamp};

/// A map in which the last write to each key wins; a removal is a write of a tombstone.
///
/// | concurrent operations | outcome |
/// |---|---|
/// | two inserts of one key | the higher timestamp; on a tie the smaller value |
/// | insert and remove of one key | the higher timestamp; on a tie the insert |
/// | any operation and a purge above its time | what the purging side holds; the other is late |
///
/// **Order and join.** For each key that of [`LwwRegister`](crate::LwwRegister), as long as nothing was
/// purged. A side that has purged up to time `p` says that it holds the outcome of every write up to
/// `p`. So the join takes the higher `p` of both; a write at or below it counts only if the side with
/// that `p` holds it; of the writes that count, the winner of each key stays.
///
/// **Invariants.** No tombstone at or below `p` is held. Nor does a write at or below `p` change
/// anything.
///
/// **Cost.** Look-ups and writes O(log n); a join one pass over both sides, O(m log n) where the other
/// side is much smaller, and nothing for chunks of entries that the two share; clones share all chunks.
/// A timestamp for each key, and a tombstone for each removed key until it is purged. After a purge a
/// [`difference`](Difference::difference) to a side that has purged less holds all older entries.
///
/// **Not for** keys where no concurrent write may be lost, nor for maps with many removals whose
/// replicas exchange deltas only: a horizon travels with states and differences, not with the deltas of
/// writes. [`CausalMap`](crate::CausalMap) forgets tombstones without being sent whole.
///
/// Source: Shapiro et al., *A comprehensive study of Convergent and Commutative Replicated Data
/// Types*, 2011, section 3.2.1, for each key; the purge is our own.
///
/// ```
/// use crdt::{Lattice, LwwMap, Timestamp};
///
/// let (mut left, mut right) = (LwwMap::default(), LwwMap::default());
/// let red = left.insert("colour", "red", Timestamp(1));
/// right.join(&red);
/// let removed = left.remove("colour", Timestamp(2));
/// let blue = right.insert("colour", "blue", Timestamp(3));
/// left.join(&blue);
/// right.join(&removed);
/// assert_eq!(left, right);
/// assert_eq!(left.get("colour"), Some(&"blue"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct LwwMap<K: Ord + Clone, V: Ord + Clone> {
    /// All tombstones at or below this time have been forgotten.
    purged_up_to: Option<Timestamp>,
    entries: SortedMap<K, LwwWrite<V>>,
    /// Number of entries that are not tombstones.
    #[cfg_attr(feature = "serde", serde(skip))]
    visible: usize,
}

/// The other side has purged less, and holds entries whose fate has been forgotten here. Nothing was
/// changed: it must be given this side's whole state before its own may be joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{entries} entries are not above {purged_up_to}, up to which this side has purged")]
pub struct Behind {
    /// Up to which time this side has purged.
    pub purged_up_to: Timestamp,
    /// How many such entries the other side holds.
    pub entries: usize,
}

impl<K: Ord + Clone, V: Ord + Clone> LwwMap<K, V> {
    /// The value of `key`; `None` if it was never written, or removed. O(log n).
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.entries.get(key).and_then(|write| write.value.as_ref())
    }

    /// Whether `key` has a value; O(log n).
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get(key).is_some()
    }

    /// When `key` was last written or removed; `None` if never, or if that was purged. O(log n).
    pub fn timestamp<Q: Ord + ?Sized>(&self, key: &Q) -> Option<Timestamp>
    where
        K: Borrow<Q>,
    {
        self.entries.get(key).map(|write| write.timestamp)
    }

    /// The keys that have values, with these, in key order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        let entries = self.entries.iter();
        entries.filter_map(|(key, write)| Some((key, write.value.as_ref()?)))
    }

    /// As [`iter`](Self::iter), for the keys in `bounds`; none if the bounds are reversed. O(log n) to
    /// the first.
    pub fn range<Q, R>(&self, bounds: R) -> impl DoubleEndedIterator<Item = (&K, &V)>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
        R: RangeBounds<Q>,
    {
        let entries = self.entries.range(bounds);
        entries.filter_map(|(key, write)| Some((key, write.value.as_ref()?)))
    }

    /// Number of keys that have values.
    pub const fn len(&self) -> usize {
        self.visible
    }

    /// Whether no key has a value. There may be tombstones.
    pub const fn is_empty(&self) -> bool {
        self.visible == 0
    }

    /// Number of removed keys that are remembered.
    pub const fn tombstone_count(&self) -> usize {
        self.entries.len() - self.visible
    }

    /// Up to which time tombstones have been forgotten, here or at a side that was joined.
    pub const fn purged_up_to(&self) -> Option<Timestamp> {
        self.purged_up_to
    }

    /// What this map holds. `heap` gives the bytes that a key and its value hold on the heap themselves; of a
    /// tombstone there is no value. Linear in the entries.
    ///
    /// ```
    /// use crdt::{LwwMap, Timestamp};
    ///
    /// let mut colours: LwwMap<String, u32> = LwwMap::default();
    /// let _delta = colours.insert("red".into(), 0xff0000, Timestamp(1));
    /// let _delta = colours.remove("blue".into(), Timestamp(2));
    /// let used = colours.memory_use(|name, _| name.capacity());
    /// assert_eq!((used.live, used.tombstones), (1, 1));
    /// ```
    pub fn memory_use(&self, heap: impl Fn(&K, Option<&V>) -> usize) -> MemoryUse {
        let entries = self.entries.iter();
        let held = entries.map(|(key, write)| heap(key, write.value.as_ref()));
        MemoryUse {
            live: self.len(),
            tombstones: self.tombstone_count(),
            bytes: held.fold(self.entries.heap_bytes(), usize::saturating_add),
            ..MemoryUse::default()
        }
    }

    /// Whether a write of that time comes too late to change anything.
    fn is_past(&self, timestamp: Timestamp) -> bool {
        self.purged_up_to >= Some(timestamp)
    }

    /// The entries, tombstones included, in key order.
    pub(crate) fn writes(&self) -> impl Iterator<Item = (&K, &LwwWrite<V>)> {
        self.entries.iter()
    }

    /// The entries that `other` lacks: those that change it when the two are joined.
    fn lacked_by<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = (&'a K, &'a LwwWrite<V>)> {
        let past = |write: &LwwWrite<V>, mine, theirs: Option<Timestamp>| {
            mine < theirs && Some(write.timestamp) <= theirs
        };
        let mut theirs = other.entries.iter().peekable();
        self.entries.iter().filter(move |&(key, mine)| {
            while theirs.next_if(|(k, _)| *k < key).is_some() {}
            let held = theirs
                .peek()
                .filter(|(k, _)| *k == key)
                .map(|(_, write)| *write);
            let counts = |held: &&LwwWrite<V>| !past(held, other.purged_up_to, self.purged_up_to);
            !past(mine, self.purged_up_to, other.purged_up_to)
                && held.filter(counts).is_none_or(|held| mine > held)
        })
    }

    fn is_below(&self, other: &Self) -> bool {
        self.purged_up_to <= other.purged_up_to && self.lacked_by(other).next().is_none()
    }
}

impl<K: Ord + Clone, V: Ord + Clone> Default for LwwMap<K, V> {
    fn default() -> Self {
        Self {
            purged_up_to: None,
            entries: SortedMap::default(),
            visible: 0,
        }
    }
}

impl<K, V> Lattice for LwwMap<K, V>
where
    K: Ord + Clone + fmt::Debug,
    V: Ord + Clone + fmt::Debug,
{
    fn join(&mut self, other: &Self) -> bool {
        self.merge(other.purged_up_to, ops::untold, |entries, winners| {
            entries.merge_with(&other.entries, winners)
        })
    }
}

impl<K, V> Difference for LwwMap<K, V>
where
    K: Ord + Clone + fmt::Debug,
    V: Ord + Clone + fmt::Debug,
{
    fn difference(&self, other: &Self) -> Self {
        let lacked = self
            .lacked_by(other)
            .map(|(k, write)| (k.clone(), write.clone()));
        let mut out = Self::of_ascending(lacked);
        // An entry at or below the horizon counts only with it.
        let needs_horizon = |(_, write): (_, &LwwWrite<V>)| other.is_past(write.timestamp);
        if self.purged_up_to > other.purged_up_to || out.entries.iter().any(needs_horizon) {
            out.purged_up_to = self.purged_up_to;
        }
        out
    }
}

impl<K: Ord + Clone, V: Ord + Clone> PartialOrd for LwwMap<K, V> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        crate::laws::order_of_inclusion(self.is_below(other), other.is_below(self))
    }
}

impl<K, V> fmt::Display for LwwMap<K, V>
where
    K: Ord + Clone + fmt::Display,
    V: Ord + Clone + fmt::Display,
{
    /// `{apple: red@5, pear: deleted@6}`, and ` purged@4` behind it if tombstones were forgotten.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self
            .entries
            .iter()
            .map(|(k, write)| format!("{k}: {write}"));
        crate::text::list(f, "{", entries, "}")?;
        self.purged_up_to
            .map_or(Ok(()), |time| write!(f, " purged{time}"))
    }
}
