//! What changes a last-writer-wins map.

use super::{Behind, Horizon, LwwMap, LwwWrite, SortedMap, Timestamp};
use crate::Lattice;
use crate::sorted_map::{Fresh, Met, Policy};
use std::fmt::Debug;

impl<K, V> LwwMap<K, V>
where
    K: Ord + Clone + Debug,
    V: Ord + Clone + Debug,
{
    /// Writes `value` to `key`; O(log n). A write that loses against what is held, or is not above the
    /// time up to which was purged, changes nothing, and its delta is bottom.
    #[must_use = "the delta is what other replicas join"]
    pub fn insert(&mut self, key: K, value: V, timestamp: Timestamp) -> Self {
        let value = Some(value);
        self.write(key, LwwWrite { timestamp, value })
    }

    /// Removes `key`, which need not be there, and leaves a tombstone; O(log n). A removal that loses
    /// against what is held, or is not above the time up to which was purged, changes nothing, and its
    /// delta is bottom.
    #[must_use = "the delta is what other replicas join"]
    pub fn remove(&mut self, key: K, timestamp: Timestamp) -> Self {
        let value = None;
        self.write(key, LwwWrite { timestamp, value })
    }

    fn write(&mut self, key: K, write: LwwWrite<V>) -> Self {
        let held = self.entries.get(&key);
        if self.is_past(write.timestamp) || held.is_some_and(|held| *held >= write) {
            return Self::default();
        }
        self.visible -= usize::from(held.is_some_and(|held| held.value.is_some()));
        self.visible += usize::from(write.value.is_some());
        self.entries.insert(key.clone(), write.clone());
        Self::of_ascending([(key, write)])
    }

    /// As [`join`](Lattice::join), but moves entries over from chunks that `other` alone holds.
    pub fn join_owned(&mut self, other: Self) -> bool {
        self.merge(other.purged_up_to, |entries, winners| {
            entries.merge_owned(other.entries, winners)
        })
    }

    /// As [`join`](Lattice::join), but refuses a whole state whose sender has purged less than this
    /// side and holds entries whose fate this side has forgotten. The plain join drops such entries: its
    /// sender has either missed removals, or made writes below a horizon that it had promised to keep.
    ///
    /// # Errors
    /// If there are such entries; nothing has changed then. The sender must be given this side's state.
    pub fn join_checked(&mut self, other: &Self) -> Result<bool, Behind> {
        let Some(purged_up_to) = self
            .purged_up_to
            .filter(|_| other.purged_up_to < self.purged_up_to)
        else {
            return Ok(self.join(other));
        };
        let forgotten = other.entries.iter().filter(|(key, write)| {
            let outdone = || self.entries.get(*key).is_some_and(|held| held >= *write);
            self.is_past(write.timestamp) && !outdone()
        });
        match forgotten.count() {
            0 => Ok(self.join(other)),
            entries => Err(Behind {
                purged_up_to,
                entries,
            }),
        }
    }

    /// Forgets the tombstones up to the horizon, and returns how many; O(n).
    ///
    /// The horizon must have been made for the writes to this map: its counters count them, and its
    /// times are their timestamps. There is no delta: what tells others is the state, or its
    /// [`difference`](crate::Difference::difference) to theirs.
    pub fn purge(&mut self, horizon: &Horizon) -> usize {
        if self.is_past(horizon.time()) {
            return 0;
        }
        self.purged_up_to = Some(horizon.time());
        let keep =
            |_: &K, write: &LwwWrite<V>| write.value.is_some() || write.timestamp > horizon.time();
        self.entries.retain(keep)
    }

    /// Joins entries that come with a horizon.
    pub(super) fn merge(
        &mut self,
        purged_up_to: Option<Timestamp>,
        merge: impl FnOnce(&mut SortedMap<K, LwwWrite<V>>, &mut Winners) -> bool,
    ) -> bool {
        let advances = purged_up_to > self.purged_up_to;
        if advances {
            // What the other side holds of these comes back with it.
            self.entries
                .retain(|_, write| Some(write.timestamp) > purged_up_to);
            self.visible = self
                .entries
                .iter()
                .filter(|(_, write)| write.value.is_some())
                .count();
        }
        let mut winners = Winners {
            above: self
                .purged_up_to
                .filter(|_| self.purged_up_to > purged_up_to),
            visible: self.visible,
        };
        let changed = merge(&mut self.entries, &mut winners);
        self.visible = winners.visible;
        self.purged_up_to = self.purged_up_to.max(purged_up_to);
        changed || advances
    }

    pub(super) fn of_ascending(entries: impl IntoIterator<Item = (K, LwwWrite<V>)>) -> Self {
        let mut visible = 0;
        let entries = entries
            .into_iter()
            .inspect(|(_, write)| visible += usize::from(write.value.is_some()));
        let entries = SortedMap::from_ascending(entries);
        Self {
            purged_up_to: None,
            entries,
            visible,
        }
    }
}

/// The winner of each key is taken, if it lies above a time.
pub(super) struct Winners {
    above: Option<Timestamp>,
    visible: usize,
}

impl Winners {
    fn is_above<V>(&self, write: &LwwWrite<V>) -> bool {
        Some(write.timestamp) > self.above
    }
}

impl<K, V: Ord> Policy<K, LwwWrite<V>> for Winners {
    #[inline]
    fn differs(&self, mine: &LwwWrite<V>, theirs: Option<&LwwWrite<V>>) -> bool {
        theirs.is_some_and(|theirs| theirs > mine && self.is_above(theirs))
    }

    fn meet(&mut self, _: &K, mine: &mut LwwWrite<V>, theirs: Option<&LwwWrite<V>>) -> Met {
        let is_visible = |write: &LwwWrite<V>| usize::from(write.value.is_some());
        self.visible -= is_visible(mine);
        self.visible += theirs.map_or(0, is_visible);
        Met::Replaced
    }

    #[inline]
    fn takes_whole(&self, theirs: &LwwWrite<V>) -> bool {
        self.is_above(theirs)
    }

    #[inline]
    fn fresh(&mut self, _: &K, theirs: &LwwWrite<V>) -> Fresh<LwwWrite<V>> {
        if !self.is_above(theirs) {
            return Fresh::Nothing;
        }
        self.visible += usize::from(theirs.value.is_some());
        Fresh::Whole
    }
}

/// Many writes at once, in any order, each as by [`insert`](LwwMap::insert). Where the delta is wanted,
/// collect the writes into a map of their own and join that.
impl<K, V> Extend<(K, V, Timestamp)> for LwwMap<K, V>
where
    K: Ord + Clone + Debug,
    V: Ord + Clone + Debug,
{
    fn extend<I: IntoIterator<Item = (K, V, Timestamp)>>(&mut self, writes: I) {
        self.join_owned(writes.into_iter().collect());
    }
}

impl<K, V> FromIterator<(K, V, Timestamp)> for LwwMap<K, V>
where
    K: Ord + Clone + Debug,
    V: Ord + Clone + Debug,
{
    fn from_iter<I: IntoIterator<Item = (K, V, Timestamp)>>(writes: I) -> Self {
        let write = |(key, value, timestamp)| {
            let value = Some(value);
            (key, LwwWrite { timestamp, value })
        };
        let mut entries: Vec<(K, LwwWrite<V>)> = writes.into_iter().map(write).collect();
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        entries.dedup_by(|next, kept| {
            let same_key = next.0 == kept.0;
            if same_key && next.1 > kept.1 {
                std::mem::swap(&mut next.1, &mut kept.1);
            }
            same_key
        });
        Self::of_ascending(entries)
    }
}
