//! What changes a last-writer-wins map.

use super::{Behind, Horizon, LwwMap, LwwWrite, SortedMap, Timestamp};
use crate::sorted_map::{Fresh, Met, Policy};
use crate::{Change, Lattice, MergeReport};
use alloc::vec::Vec;
use core::fmt::Debug;

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
        self.merge(other.purged_up_to, untold, |entries, winners| {
            entries.merge_owned(other.entries, winners)
        })
    }

    /// Joins `other`, as [`join`](Lattice::join) does, and says which keys changed; none is ever in conflict.
    /// Costs what the join costs, and a logarithmic search for each value that `other` has purged beneath.
    ///
    /// ```
    /// use crdt::{LwwMap, Timestamp};
    ///
    /// let (mut left, mut right) = (LwwMap::default(), LwwMap::default());
    /// let _red = left.insert("colour", "red", Timestamp(1));
    /// let _blue = right.insert("colour", "blue", Timestamp(2));
    /// let _large = right.insert("size", "large", Timestamp(3));
    /// let report = left.join_report(&right);
    /// assert_eq!((report.added, report.overwritten), (vec!["size"], vec!["colour"]));
    /// ```
    pub fn join_report(&mut self, other: &Self) -> MergeReport<K> {
        let mut report = MergeReport::default();
        let advances = other.purged_up_to > self.purged_up_to;
        let beneath = |write: &LwwWrite<V>| {
            advances && write.value.is_some() && Some(write.timestamp) <= other.purged_up_to
        };
        // The merge drops these, and finds them again if the other side holds them.
        let dropped: Vec<(K, LwwWrite<V>)> = match advances {
            true => {
                let entries = self.entries.iter().filter(|(_, write)| beneath(write));
                entries.map(|(k, w)| (k.clone(), w.clone())).collect()
            }
            false => Vec::new(),
        };
        let tell = |key: &K, was: bool, is: bool| {
            let change = Change::between(usize::from(was), usize::from(is));
            report.note(key.clone(), change);
        };
        report.grew = self.merge(other.purged_up_to, tell, |entries, winners| {
            entries.merge_with(&other.entries, winners)
        });
        if !dropped.is_empty() {
            self.correct(&mut report, &dropped);
        }
        report
    }

    /// Corrects what a report says of keys that were visible, and that a merge has dropped first.
    fn correct(&self, report: &mut MergeReport<K>, dropped: &[(K, LwwWrite<V>)]) {
        let was_there = |key: &K| dropped.binary_search_by(|(k, _)| k.cmp(key)).is_ok();
        report.added.retain(|key| !was_there(key));
        for (key, before) in dropped {
            let now = self.entries.get(key);
            match now.filter(|write| write.value.is_some()) {
                Some(write) if write == before => {}
                Some(_) => report.overwritten.push(key.clone()),
                None => report.removed.push(key.clone()),
            }
        }
        report.overwritten.sort_unstable();
        report.removed.sort_unstable();
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

    /// Joins entries that come with a horizon, and tells of each key that changes, in order, whether it had
    /// and has a value. Of a key that was dropped for the horizon it says that it had none.
    pub(super) fn merge<F>(
        &mut self,
        purged_up_to: Option<Timestamp>,
        tell: F,
        merge: impl FnOnce(&mut SortedMap<K, LwwWrite<V>>, &mut Winners<F>) -> bool,
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
            tell,
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

/// For joins that report nothing.
pub(super) const fn untold<K>(_: &K, _: bool, _: bool) {}

/// The winner of each key is taken, if it lies above a time.
pub(super) struct Winners<F> {
    above: Option<Timestamp>,
    visible: usize,
    tell: F,
}

impl<F> Winners<F> {
    fn is_above<V>(&self, write: &LwwWrite<V>) -> bool {
        Some(write.timestamp) > self.above
    }
}

impl<K, V: Ord, F: FnMut(&K, bool, bool)> Policy<K, LwwWrite<V>> for Winners<F> {
    #[inline]
    fn differs(&self, mine: &LwwWrite<V>, theirs: Option<&LwwWrite<V>>) -> bool {
        theirs.is_some_and(|theirs| theirs > mine && self.is_above(theirs))
    }

    fn meet(&mut self, key: &K, mine: &mut LwwWrite<V>, theirs: Option<&LwwWrite<V>>) -> Met {
        let is_visible = |write: &LwwWrite<V>| write.value.is_some();
        let (was, is) = (is_visible(mine), theirs.is_some_and(is_visible));
        self.visible -= usize::from(was);
        self.visible += usize::from(is);
        (self.tell)(key, was, is);
        Met::Replaced
    }

    #[inline]
    fn takes_whole(&self, theirs: &LwwWrite<V>) -> bool {
        self.is_above(theirs)
    }

    #[inline]
    fn fresh(&mut self, key: &K, theirs: &LwwWrite<V>) -> Fresh<LwwWrite<V>> {
        if !self.is_above(theirs) {
            return Fresh::Nothing;
        }
        let is = theirs.value.is_some();
        self.visible += usize::from(is);
        (self.tell)(key, false, is);
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
                core::mem::swap(&mut next.1, &mut kept.1);
            }
            same_key
        });
        Self::of_ascending(entries)
    }
}
