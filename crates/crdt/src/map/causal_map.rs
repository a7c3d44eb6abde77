//! The causal map itself: entries and knowledge, and how listings are joined into them.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::borrow::Borrow;
use core::cmp::Ordering;
use core::fmt::{self, Debug};
use core::hash::{Hash, Hasher};
use core::ops::{Bound, RangeBounds};
use smallvec::SmallVec;

use crate::map::change::{Change, Joined};
use crate::map::cut::Interval;
use crate::map::entries::Entries;
use crate::map::knowledge::Knowledge;
use crate::map::listing::{Claim, IntervalListing, KeyListing, Listing};
use crate::{
    CausalContext, Cell, Difference, Dot, DotConflict, DotRange, DotStore, Knows, Lattice,
    ReplicaId, Timestamp,
};

/// A map whose keys share one causal knowledge, so that a removal leaves nothing behind.
///
/// Every mutation, a delete included, is one event with one dot, and touches one key. What is live
/// under a key is a [`Cell`]; which events have been seen is the [`Knowledge`].
///
/// | concurrent operations | outcome |
/// |---|---|
/// | on different keys | independent |
/// | on one key | as the cell says: [`LwwCell`](crate::LwwCell), [`MvCell`](crate::MvCell) |
///
/// **Order and join.** For each key the cells are joined under what each side knows of that key: a
/// live event stays if the other side has it too or has not seen it.
///
/// **Invariants.**
/// - I1 Live dots are known.
/// - I2 A dot that is known for a key and not live there is obsolete: a copy that arrives later is
///   dropped.
/// - I3 Equal bases and no exceptions imply equal visible entries.
/// - I5 The visible cell of a key is what its known events resolve to.
///
/// **Cost.** A look-up or update is constant time; a new key is logarithmic, or constant where keys come in
/// ascending order. Joining a listing costs what it lists. A snapshot (`clone`) is constant time and shares
/// structure: while it is kept, the first change copies a pointer for each 32 keys, and every change the block
/// that it touches. A snapshot has no index of hashes, so its own look-ups are logarithmic. Memory for
/// each live key is the key, the cell and its dot, and about 30 bytes; deleted keys cost nothing once their
/// tombstones are purged, and in multi-value maps at once.
///
/// **Not for** sequences or text: use a library made for them.
///
/// Sources: Almeida, Shoker, Baquero, *Delta State Replicated Data Types*, 2018; Gonçalves et al.,
/// *DottedDB*, SRDS 2017; Novik et al., *Peer-to-Peer Replication in WinFS*, 2006.
///
/// ```
/// use crdt::{MapReplica, MvCell, ReplicaId, Lattice};
///
/// let mut a: MapReplica<&str, MvCell<&str>> = MapReplica::new(ReplicaId(1));
/// let mut b = MapReplica::new(ReplicaId(2));
/// let first = a.write("drink", |cell, dot| cell.write(dot, "tea"));
/// b.join(&first.listing)?;
/// // A deletes while B, concurrently, writes.
/// let deleted = a.write("drink", |cell, _| cell.clear());
/// let written = b.write("drink", |cell, dot| cell.write(dot, "coffee"));
/// a.join(&written.listing)?;
/// b.join(&deleted.listing)?;
/// assert_eq!(a.map(), b.map());
/// let cell = a.map().get("drink").expect("the concurrent write survives the delete");
/// assert_eq!(cell.values().collect::<Vec<_>>(), [&"coffee"]);
/// # Ok::<(), crdt::IdentityReused>(())
/// ```
#[derive(Clone)]
pub struct CausalMap<K, C> {
    entries: Entries<K, C>,
    knowledge: Knowledge<K>,
}

/// A key that was joined.
pub(crate) struct Seen<'a, K, C> {
    pub(crate) key: &'a K,
    /// What became of it, if anything did.
    pub(crate) change: Option<Change>,
    /// The time of the tombstone that was there.
    pub(crate) tombstone: Option<Timestamp>,
    /// The cell that is there now, bottom if there is none.
    pub(crate) cell: &'a C,
}

impl<K: Clone, C> Seen<'_, K, C> {
    /// The key, if it has changed.
    pub(crate) fn changed(&self) -> Option<(K, Change)> {
        Some((self.key.clone(), self.change?))
    }
}

impl<K: Ord + Clone + Debug + Hash, C: Cell> CausalMap<K, C> {
    /// The cell of `key`; `None` if nothing is live there, not even a tombstone.
    pub fn get<Q>(&self, key: &Q) -> Option<&C>
    where
        K: Borrow<Q>,
        Q: Ord + Hash + ?Sized,
    {
        self.entries.get(key)
    }

    /// All cells in key order, tombstones included.
    pub fn entries(&self) -> impl Iterator<Item = (&K, &C)> + '_ {
        self.entries.iter()
    }

    /// The cells that a reader sees, in key order.
    pub fn visible(&self) -> impl Iterator<Item = (&K, &C)> + '_ {
        self.entries.iter().filter(|(_, cell)| cell.is_visible())
    }

    /// The same as [`visible`](Self::visible).
    pub fn iter(&self) -> impl Iterator<Item = (&K, &C)> + '_ {
        self.visible()
    }

    /// The keys under which a reader sees something, in order.
    pub fn keys(&self) -> impl Iterator<Item = &K> + '_ {
        self.visible().map(|(key, _)| key)
    }

    /// The cells that a reader sees, in key order.
    pub fn values(&self) -> impl Iterator<Item = &C> + '_ {
        self.visible().map(|(_, cell)| cell)
    }

    /// The cells of a range of keys that a reader sees, in key order. Logarithmic to start, even if
    /// the range is empty.
    pub fn range<Q, R>(&self, range: R) -> impl Iterator<Item = (&K, &C)> + '_
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
        R: RangeBounds<Q>,
    {
        let cells = self.entries.between(self.entries.bounds(&range));
        cells.filter(|(_, cell)| cell.is_visible())
    }

    /// Whether a reader sees anything under `key`: not under a tombstone.
    pub fn contains_key<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Ord + Hash + ?Sized,
    {
        self.get(key).is_some_and(Cell::is_visible)
    }

    /// The map as it is now: constant time, whatever its size, since both share what neither
    /// changes.
    #[must_use = "a snapshot changes nothing"]
    pub fn snapshot(&self) -> Self {
        self.clone()
    }

    /// The cells of an interval, in key order.
    pub fn within<'a>(&'a self, interval: &'a Interval<K>) -> impl Iterator<Item = (&'a K, &'a C)> {
        let (start, end) = (interval.start(), interval.end());
        let bounds = start.as_lower_bound().zip(end.as_upper_bound());
        let bounds = bounds.map(|bounds| self.entries.bounds::<K, _>(&bounds));
        let within = bounds.map(|bounds| self.entries.between(bounds));
        within.into_iter().flatten()
    }

    /// The cells behind `key`, in key order.
    pub fn after(&self, key: &K) -> impl Iterator<Item = (&K, &C)> + '_ {
        let behind = (Bound::Excluded(key), Bound::Unbounded);
        let bounds = self.entries.bounds::<K, _>(&behind);
        self.entries.between(bounds)
    }

    /// Number of keys with something live, tombstones included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is live.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What is known of each key.
    pub const fn knowledge(&self) -> &Knowledge<K> {
        &self.knowledge
    }

    /// Joins a listing.
    pub fn join_listing(&mut self, listing: &Listing<K, C>) -> Joined<K> {
        let mut changed = SmallVec::new();
        let joined = self.join_and_see(listing, |seen| changed.extend(seen.changed()));
        Joined { changed, ..joined }
    }

    /// Joins a listing, and shows `see` each key that it lists or makes absent. What has changed is told to
    /// `see` only.
    pub(crate) fn join_and_see(
        &mut self,
        listing: &Listing<K, C>,
        see: impl FnMut(Seen<'_, K, C>),
    ) -> Joined<K> {
        match listing {
            Listing::Key(listing) => self.join_key(listing, see),
            Listing::Interval(listing) => self.join_interval(listing, see),
        }
    }

    fn join_key(
        &mut self,
        listing: &KeyListing<K, C>,
        see: impl FnMut(Seen<'_, K, C>),
    ) -> Joined<K> {
        let key = listing.key();
        let mut joined = Joined::default();
        self.join_cell(key, listing.cell(), listing, true, see);
        let own_dots = match listing.claim() {
            Claim::Itself => Some(listing.cell().dots()),
            Claim::Context(_) => None,
        };
        for dot in listing
            .covered()
            .iter()
            .copied()
            .chain(own_dots.into_iter().flatten())
        {
            if self.knowledge.insert(dot) {
                joined.based.push((dot, key.clone()));
            }
        }
        joined.knowledge_grew = !joined.based.is_empty();
        if let Claim::Context(known) = listing.claim() {
            joined.knowledge_grew |= self.knowledge.join_within(&Interval::of_key(key), known);
        }
        joined
    }

    fn join_interval(
        &mut self,
        listing: &IntervalListing<K, C>,
        mut see: impl FnMut(Seen<'_, K, C>),
    ) -> Joined<K> {
        let mut joined = Joined::default();
        let (is_held, held_only) = self.compare_keys(listing);
        let absent = C::default();
        let listed = listing.cells().iter().map(|(key, cell)| (key, cell));
        let unlisted = held_only.iter().map(|key| (key, &absent));
        let is_held = is_held.into_iter().chain(held_only.iter().map(|_| true));
        for ((key, cell), is_held) in listed.chain(unlisted).zip(is_held) {
            let known = &**listing.known();
            self.join_cell(key, cell, known, is_held, &mut see);
        }
        joined.knowledge_grew = self
            .knowledge
            .join_within(listing.interval(), listing.known());
        joined
    }

    /// Whether each listed key is held, and the held keys of the interval that are not listed: one pass
    /// over both, so that no key has to be looked up that is not there.
    fn compare_keys(&self, listing: &IntervalListing<K, C>) -> (Vec<bool>, Vec<K>) {
        let mut held = self
            .within(listing.interval())
            .map(|(key, _)| key)
            .peekable();
        let mut held_only = Vec::new();
        let is_held = listing.cells().iter().map(|(key, _)| {
            while let Some(before) = held.next_if(|held| *held < key) {
                held_only.push(before.clone());
            }
            held.next_if_eq(&key).is_some()
        });
        let is_held = is_held.collect();
        held_only.extend(held.cloned());
        (is_held, held_only)
    }

    /// Joins one cell under what its sender knows of the key; knowledge is left to the caller. A key that
    /// cannot be held is not looked up.
    fn join_cell(
        &mut self,
        key: &K,
        theirs: &C,
        known: &impl Knows,
        may_be_held: bool,
        mut see: impl FnMut(Seen<'_, K, C>),
    ) {
        let mine = self.knowledge.of_key(key);
        let join = |cell: &mut C| {
            let (before, tombstone) = (cell.sibling_count(), cell.tombstone());
            let changed = cell.join(&mine, theirs, known);
            let change = changed.then(|| Change::between(before, cell.sibling_count()));
            see(Seen {
                key,
                change,
                tombstone,
                cell,
            });
        };
        match may_be_held {
            true => self.entries.alter(key, join, is_kept),
            false => self.entries.fill(key, join, is_kept),
        }
    }

    /// Joins `other` unless it holds a dot with another value than here, or under another key.
    ///
    /// [`Lattice::join`] does not look for such dots: correct replicas never make them. This looks at every
    /// event of both sides first.
    ///
    /// # Errors
    /// The dot, if there is one: two writers use one identity. Nothing was changed.
    pub fn join_checked(&mut self, other: &Self) -> Result<bool, DotConflict> {
        match self.conflict(other) {
            Some(dot) => Err(DotConflict { dot }),
            None => Ok(self.join(other)),
        }
    }

    fn conflict(&self, other: &Self) -> Option<Dot> {
        let mut held = self.entries.iter();
        let differs = held.find_map(|(key, cell)| cell.conflict(other.entries.get(key)?));
        differs.or_else(|| dot_under_two_keys(self.entries().chain(other.entries())))
    }

    /// Changes the cell of `key`; the events that did it are made [known](Self::know) afterwards.
    pub(crate) fn change<T>(&mut self, key: &K, change: impl FnOnce(&mut C) -> T) -> T {
        self.entries.alter(key, change, is_kept)
    }

    /// Hashes keys with this seed from now on.
    pub(crate) fn set_hash_seed(&mut self, seed: u64) {
        self.entries.set_seed(seed);
    }

    /// Says how keys are ordered as bytes.
    pub(crate) fn order_by_bytes(&mut self, bytes: fn(&K) -> &[u8]) {
        self.entries.set_bytes(bytes);
    }

    /// Adds an event of this replica to what is known of all keys.
    pub(crate) fn know(&mut self, dot: Dot) {
        self.knowledge.insert(dot);
    }

    /// Counts all events that `writer` could ever number as known for every key; true if that was news.
    pub(crate) fn close(&mut self, writer: ReplicaId) -> bool {
        self.knowledge.close(writer)
    }

    /// Forgets a tombstone. Its dot stays known, so a copy of what it deleted stays obsolete (I2).
    pub(crate) fn forget(&mut self, key: &K) {
        self.entries.remove(key);
    }

    /// Puts back a state that was stored.
    pub(crate) fn restore(
        entries: impl IntoIterator<Item = (K, C)>,
        knowledge: Knowledge<K>,
    ) -> Self {
        Self {
            entries: entries.into_iter().collect(),
            knowledge,
        }
    }

    /// The live events of a cell of another map that are obsolete here. By ranges: a cell may hold a run of
    /// very many events.
    fn obsolete_of(&self, key: &K, cell: &C) -> CausalContext {
        let live: CausalContext = cell.dot_ranges().collect();
        let known = live.difference(&self.knowledge.of_key(key).unknown_of(&live));
        match self.entries.get(key) {
            Some(held) => known.difference(&held.dot_ranges().collect()),
            None => known,
        }
    }

    /// Whether I1 holds and no dot is live under two keys.
    pub(crate) fn validate(&self) -> Result<(), crate::InvalidBytes> {
        for (key, cell) in self.entries.iter() {
            cell.validate()?;
            if cell.is_bottom() {
                return Err(crate::InvalidBytes::Empty("a cell"));
            }
            let known = self.knowledge.of_key(key);
            if !known.unknown_of(&cell.dot_ranges().collect()).is_empty() {
                return Err(crate::InvalidBytes::LiveDotUnknown);
            }
        }
        let live = self.entries().flat_map(|(_, cell)| cell.dot_ranges());
        match CausalContext::of_disjoint(live) {
            Some(_) => Ok(()),
            None => Err(crate::InvalidBytes::DotTwice),
        }
    }
}

impl<K: Ord + Clone + Debug + Hash, C: Cell> Lattice for CausalMap<K, C> {
    fn join(&mut self, other: &Self) -> bool {
        let held = self.entries().chain(other.entries());
        let keys: BTreeSet<&K> = held.map(|(key, _)| key).collect();
        let keys: Vec<K> = keys.into_iter().cloned().collect();
        let (mut grew, absent) = (false, C::default());
        for key in &keys {
            let theirs = other.entries.get(key).unwrap_or(&absent);
            let known = other.knowledge.of_key(key);
            self.join_cell(key, theirs, &known, true, |seen| {
                grew |= seen.change.is_some();
            });
        }
        self.knowledge.join(&other.knowledge) | grew
    }
}

impl<K: Ord + Clone + Debug + Hash, C: Cell> Difference for CausalMap<K, C> {
    /// For each key the live events that are not known there, what is known here alone, and the
    /// events that are obsolete here and live there. Linear in both maps;
    /// [`MapReplica::delta_since`] costs what is missing, and needs no map of the peer.
    ///
    /// [`MapReplica::delta_since`]: crate::MapReplica::delta_since
    fn difference(&self, other: &Self) -> Self {
        let mut knowledge = self.knowledge.difference(&other.knowledge);
        let news = self.entries.iter().filter_map(|(key, cell)| {
            let news = cell.unknown_to(&other.knowledge.of_key(key));
            (!news.is_bottom()).then(|| (key.clone(), news))
        });
        let entries: Entries<K, C> = news.collect();
        for (key, cell) in other.entries.iter() {
            let mut obsolete = self.obsolete_of(key, cell);
            if obsolete.is_empty() {
                continue;
            }
            if let Some(news) = entries.get(key) {
                // A winner that is sent makes its loser obsolete.
                obsolete = obsolete.difference(&news.losers_in(cell));
            }
            knowledge.join_within(&Interval::of_key(key), &obsolete);
        }
        Self { entries, knowledge }
    }
}

impl<K: Ord + Clone + Debug + Hash, C: Cell> PartialOrd for CausalMap<K, C> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let below = |a: &Self, b: &Self| {
            let mut held = b.entries.iter();
            b.knowledge.includes(&a.knowledge)
                && held.all(|(key, cell)| a.obsolete_of(key, cell).is_empty())
        };
        crate::laws::order_of_inclusion(below(self, other), below(other, self))
    }
}

/// A dot that is live under two keys of some cells; under one key it may be live in many of them. In
/// `n log n` for `n` runs of events.
pub(crate) fn dot_under_two_keys<'a, K: Ord + 'a, C: DotStore + 'a>(
    cells: impl Iterator<Item = (&'a K, &'a C)>,
) -> Option<Dot> {
    let runs = cells.flat_map(|(key, cell)| cell.dot_ranges().map(move |run| (run, key)));
    let mut runs: Vec<(DotRange, &K)> = runs.collect();
    runs.sort_unstable_by_key(|(run, _)| (run.replica, run.first));
    // The run that reaches furthest of those that began before.
    let mut furthest: Option<(DotRange, &K)> = None;
    for (run, key) in runs {
        let reaching = furthest.filter(|(before, _)| before.replica == run.replica);
        match reaching {
            Some((before, held)) if before.last >= run.first && held != key => {
                return Some(Dot::new(run.replica, run.first));
            }
            Some((before, _)) if before.last >= run.last => {}
            _ => furthest = Some((run, key)),
        }
    }
    None
}

/// Bottom is not kept.
fn is_kept<C: Cell>(cell: &C) -> bool {
    !cell.is_bottom()
}

impl<K, C> Default for CausalMap<K, C> {
    fn default() -> Self {
        Self {
            entries: Entries::default(),
            knowledge: Knowledge::default(),
        }
    }
}

impl<K: Ord, C: PartialEq> PartialEq for CausalMap<K, C> {
    fn eq(&self, other: &Self) -> bool {
        self.knowledge == other.knowledge && self.entries == other.entries
    }
}

impl<K: Ord, C: Eq> Eq for CausalMap<K, C> {}

impl<K: Ord + Clone + Hash, C: Clone + Hash> Hash for CausalMap<K, C> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.entries.hash(state);
        self.knowledge.hash(state);
    }
}

impl<K: Ord + Clone + Debug, C: Debug> Debug for CausalMap<K, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CausalMap")
            .field("entries", &self.entries)
            .field("knowledge", &self.knowledge)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LwwCell, LwwEntry, MapReplica, ReplicaId};

    #[test]
    fn readers_see_neither_tombstones_nor_what_comes_after_their_snapshot() {
        let mut replica = MapReplica::<String, LwwCell<u8>>::new(ReplicaId(1));
        let put = |replica: &mut MapReplica<_, _>, key: &str, value| {
            let _written = replica.write(key.to_owned(), |cell: &mut LwwCell<u8>, dot| {
                let timestamp = Timestamp(dot.counter);
                cell.write(LwwEntry {
                    dot,
                    timestamp,
                    value,
                });
            });
        };
        for (key, value) in [("a", Some(1)), ("b", None), ("c", Some(3)), ("d", Some(4))] {
            put(&mut replica, key, value);
        }
        let map = replica.map().snapshot();
        put(&mut replica, "a", None);
        assert_eq!(map.keys().collect::<Vec<_>>(), ["a", "c", "d"]);
        assert_eq!(map.values().filter_map(LwwCell::value).sum::<u8>(), 8);
        assert!(map.iter().eq(map.visible()));
        let range = |from: &str, to: &str| -> Vec<&String> {
            let bounds = (Bound::Excluded(from), Bound::Included(to));
            map.range::<str, _>(bounds).map(|(key, _)| key).collect()
        };
        assert_eq!(range("a", "c"), ["c"]);
        assert_eq!(range("c", "z"), ["d"]);
        assert!(range("z", "a").is_empty() && range("x", "y").is_empty());
        assert!(map.contains_key("a") && !map.contains_key("b") && !map.contains_key("z"));
        assert!(!replica.map().contains_key("a"));
        assert_eq!(map.len(), 4, "tombstones count");
        assert!(!map.is_empty() && CausalMap::<String, LwwCell<u8>>::default().is_empty());
        let behind = map.after(&"b".to_owned());
        assert_eq!(behind.map(|(key, _)| key).collect::<Vec<_>>(), ["c", "d"]);
    }

    #[test]
    fn joining_a_listing_tells_which_key_has_changed() {
        let mut replica = MapReplica::<u8, crate::MvCell<u8>>::new(ReplicaId(1));
        let written = replica.write(7, |cell, dot| cell.write(dot, 1));
        let mut map = CausalMap::default();
        let joined = map.join_listing(&written.listing);
        assert_eq!(joined.changed[..], [(7, Change::Added)]);
        assert!(map.join_listing(&written.listing).changed.is_empty());
    }

    /// Of two maps with the same knowledge one still holds a tombstone.
    fn with_and_without_a_tombstone() -> [CausalMap<u8, LwwCell<u8>>; 2] {
        let dot = Dot::new(ReplicaId(1), 1);
        let mut held = CausalMap::default();
        held.change(&7, |cell| {
            *cell = LwwCell::entry(dot, Timestamp(1), None);
        });
        held.know(dot);
        let mut purged = held.clone();
        purged.forget(&7);
        [held, purged]
    }

    #[test]
    fn a_join_that_only_takes_away_has_grown() {
        let [mut held, purged] = with_and_without_a_tombstone();
        assert_eq!(held.knowledge(), purged.knowledge());
        assert!(held.join(&purged));
        assert_eq!(held, purged);
        assert!(!held.join(&purged));
    }

    #[test]
    fn hash_and_debug_output_tell_maps_with_different_entries_apart() {
        let [held, purged] = with_and_without_a_tombstone();
        let hash = |map: &CausalMap<u8, LwwCell<u8>>| {
            let mut state = std::hash::DefaultHasher::new();
            map.hash(&mut state);
            state.finish()
        };
        assert_ne!(hash(&held), hash(&purged));
        assert_ne!(hash(&purged), hash(&CausalMap::default()));
        let (entries, knowledge) = (&held.entries, &held.knowledge);
        let expected = format!("CausalMap {{ entries: {entries:?}, knowledge: {knowledge:?} }}");
        assert_eq!(format!("{held:?}"), expected);
    }
}

#[cfg(feature = "serde")]
mod wire {
    use super::CausalMap;
    use crate::map::knowledge::Knowledge;
    use crate::{Cell, InvalidBytes};
    use alloc::vec::Vec;
    use core::fmt::Debug;
    use core::hash::Hash;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Deserialize)]
    #[serde(bound(deserialize = "K: Ord + Clone + Deserialize<'de>, C: Deserialize<'de>"))]
    struct Wire<K, C> {
        entries: Vec<(K, C)>,
        knowledge: Knowledge<K>,
    }

    impl<K: Ord + Clone + Serialize, C: Clone + Serialize> Serialize for CausalMap<K, C> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeStruct as _;
            let entries: Vec<(&K, &C)> = self.entries.iter().collect();
            let mut map = serializer.serialize_struct("CausalMap", 2)?;
            map.serialize_field("entries", &entries)?;
            map.serialize_field("knowledge", &self.knowledge)?;
            map.end()
        }
    }

    impl<'de, K, C> Deserialize<'de> for CausalMap<K, C>
    where
        K: Ord + Clone + Debug + Hash + Deserialize<'de>,
        C: Cell + Deserialize<'de>,
    {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let wire = Wire::<K, C>::deserialize(deserializer)?;
            if wire.entries.windows(2).any(|w| w[0].0 >= w[1].0) {
                return Err(D::Error::custom(InvalidBytes::Unsorted("keys of a map")));
            }
            let map = Self::restore(wire.entries, wire.knowledge);
            map.validate().map_err(D::Error::custom)?;
            Ok(map)
        }
    }
}
