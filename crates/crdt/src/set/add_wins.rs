//! A set in which a concurrent add wins over a remove.

use alloc::vec::Vec;
use core::borrow::Borrow;
use core::fmt::{self, Debug};
use core::hash::{Hash, Hasher};
use core::sync::atomic::{AtomicU32, Ordering};

use crate::causal::dot_blocks::{DotBlocks, DotChange};
use crate::causal::dot_store::digest_of_range;
use crate::lazy::Lazy;
use crate::set::lookup::Lookup;
use crate::{CausalContext, Cell, Dot, DotStore, Edit, InvalidBytes, Knows, Timestamp};

/// A set in which a concurrent add wins over a remove (also known as OR-set). No tombstones.
///
/// | concurrent operations | outcome |
/// |---|---|
/// | add and add | present |
/// | add and remove | present: the remove had not seen the add |
/// | remove and remove | absent |
///
/// **Order and join.** That of the [`DotStore`]: an element stays while any of its adds is live.
///
/// **Invariants.** No dot is live twice.
///
/// **Cost.** Look-up, add and remove take constant time, by an index of hashes that is made when it is first
/// needed: by an edit, or by the ninth look-up, while the first eight look at every add. A join that changes
/// more than an eighth of the set drops the index. Joining takes a few
/// operations for each 64 consecutive events of a writer and what differs; a delta what it touches.
/// Each live add takes the element, a bit and 8 to 18 bytes of index; what was removed leaves nothing.
///
/// **Not for** removals that must win over concurrent adds: use [`RemoveWinsSet`](crate::RemoveWinsSet). The
/// hash has a fixed seed: whoever may choose elements freely can make look-ups of those slow, not wrong.
///
/// Source: Bieniusa et al., *An Optimized Conflict-free Replicated Set*, 2012.
///
/// ```
/// use crdt::{AddWinsSet, CausalReplica, ObjectId, ReplicaId};
///
/// let mut a = CausalReplica::<AddWinsSet<&str>>::new(ObjectId(1), ReplicaId(1));
/// let mut b = CausalReplica::<AddWinsSet<&str>>::new(ObjectId(1), ReplicaId(2));
/// b.join(&a.change(|tags| tags.extend(["sun", "sea"])))?;
/// // A clears the set while B adds one of its elements again.
/// let (cleared, added) = (a.change(|tags| tags.clear()), b.change(|tags| tags.add("sea")));
/// a.join(&added)?;
/// b.join(&cleared)?;
/// assert_eq!(a.state(), b.state());
/// assert_eq!(a.iter().collect::<Vec<_>>(), [&"sea"], "the clear had not seen the second add");
/// # Ok::<(), crdt::IdentityReused>(())
/// ```
pub struct AddWinsSet<E> {
    /// The element of each live add.
    adds: DotBlocks<E>,
    live_digest: u128,
    /// Made when first needed, and again after a join that brought much.
    lookup: Lazy<Lookup>,
    /// How often all adds were looked at while there was no look-up.
    scans: AtomicU32,
}

/// Making the look-up costs about as much as looking at all adds so often.
const SCANS: u32 = 8;

impl<E: Hash + Eq> AddWinsSet<E> {
    /// Whether `element` is present.
    pub fn contains<Q>(&self, element: &Q) -> bool
    where
        E: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let lookup = match self.lookup.get() {
            Some(lookup) => lookup,
            None if self.scans_first() => {
                return self.adds.values().any(|held| held.borrow() == element);
            }
            None => self.lookup(),
        };
        lookup.contains(&self.adds, &lookup.wanted(element))
    }

    /// The elements, each once, in the order of their first live adds (by writer, then as added).
    pub fn iter(&self) -> impl Iterator<Item = &E> + '_ {
        let several = self.adds.len() > self.len();
        let adds = self.adds.iter();
        let first = move |(dot, e): &(Dot, &E)| !several || self.first_add(e) == Some(*dot);
        adds.filter(first).map(|(_, element)| element)
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.lookup().distinct()
    }

    /// Whether there is no element.
    pub const fn is_empty(&self) -> bool {
        self.adds.len() == 0
    }

    fn first_add(&self, element: &E) -> Option<Dot> {
        let lookup = self.lookup();
        let places = lookup.places(&self.adds, &lookup.wanted(element));
        places.into_iter().map(|at| self.adds.dot(at)).min()
    }

    fn lookup(&self) -> &Lookup {
        self.lookup.get_or_make(|| Lookup::of(&self.adds))
    }

    /// Whether to look at all adds instead of making the look-up that is not there. The first few times, so that
    /// who asks rarely never pays for it; who asks often pays at most twice.
    fn scans_first(&self) -> bool {
        !Lookup::is_small(self.adds.len())
            && self.scans.load(Ordering::Relaxed) < SCANS
            && self.scans.fetch_add(1, Ordering::Relaxed) < SCANS
    }
}

impl<E: Eq + Clone + Debug + Hash> Edit<'_, AddWinsSet<E>> {
    /// Adds an element. An element that is present gets a new add, so that a concurrent remove does not
    /// take it away.
    pub fn add(&mut self, element: E) {
        let (set, delta, events) = self.parts();
        let lookup = set.lookup.get_mut_or_make(|| Lookup::of(&set.adds));
        let wanted = lookup.wanted(&element);
        let places = lookup.places(&set.adds, &wanted);
        let mut is_new = true;
        for at in places {
            let dot = set.adds.dot(at);
            if !events.make_obsolete(dot) {
                is_new = false;
                continue;
            }
            delta.drop_add(dot);
            if set.adds.remove_at(at).is_some() {
                set.live_digest = set.live_digest.wrapping_sub(digest_of_range(dot.into()));
                lookup.note_removed(&set.adds, at, &wanted);
            }
        }
        let (dot, hash) = (events.mint(), wanted.hash());
        let digest = digest_of_range(dot.into());
        let at = set.adds.insert(dot, element.clone());
        set.live_digest = set.live_digest.wrapping_add(digest);
        match is_new {
            true => lookup.note_new(&set.adds, at, hash),
            false => lookup.note_added(&set.adds, at),
        }
        delta.insert_with(dot, element, digest);
    }

    /// Adds elements.
    pub fn extend(&mut self, elements: impl IntoIterator<Item = E>) {
        for element in elements {
            self.add(element);
        }
    }

    /// Removes what the author has seen of an element.
    pub fn remove<Q>(&mut self, element: &Q)
    where
        E: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let (set, delta, events) = self.parts();
        let lookup = set.lookup.get_mut_or_make(|| Lookup::of(&set.adds));
        let wanted = lookup.wanted(element);
        for at in lookup.places(&set.adds, &wanted) {
            let dot = set.adds.dot(at);
            if events.make_obsolete(dot) {
                set.adds.remove_at(at);
                set.live_digest = set.live_digest.wrapping_sub(digest_of_range(dot.into()));
                lookup.note_removed(&set.adds, at, &wanted);
                delta.drop_add(dot);
            }
        }
    }

    /// Removes what the author has seen of all elements.
    pub fn clear(&mut self) {
        let (set, delta, events) = self.parts();
        for dot in set.adds.iter().map(|(dot, _)| dot).collect::<Vec<_>>() {
            if events.make_obsolete(dot) {
                set.drop_add(dot);
                delta.drop_add(dot);
            }
        }
    }
}

impl<E: Eq + Clone + Debug + Hash> AddWinsSet<E> {
    fn of(adds: DotBlocks<E>) -> Self {
        let digest = |sum: u128, dot: Dot| sum.wrapping_add(digest_of_range(dot.into()));
        Self {
            live_digest: adds.iter().map(|(dot, _)| dot).fold(0, digest),
            adds,
            lookup: Lazy::new(),
            scans: AtomicU32::new(0),
        }
    }

    /// Whether a join changes so much that making the look-up anew is faster than keeping it.
    fn changes_much(&self, mine: &impl Knows, other: &Self, theirs: &impl Knows) -> bool {
        let few = self.adds.len() / 8;
        let named = theirs.as_context().map(CausalContext::event_count);
        named.is_none_or(|events| events > few as u64) && {
            let removed = self.adds.obsolete_in(&other.adds, theirs);
            let added = other.adds.news_for(&self.adds, mine);
            removed.chain(added).nth(few).is_some()
        }
    }

    /// Adds a live dot that is not there, with its digest.
    fn insert_with(&mut self, dot: Dot, element: E, digest: u128) {
        self.live_digest = self.live_digest.wrapping_add(digest);
        if self.adds.len() == 0 {
            self.adds = DotBlocks::of_one(dot, element);
            self.lookup.forget();
            return;
        }
        let at = self.adds.insert(dot, element);
        if let Some(lookup) = self.lookup.get_mut() {
            lookup.note_added(&self.adds, at);
        }
    }

    fn drop_add(&mut self, dot: Dot) {
        if self.adds.len() == 0 {
            return;
        }
        let Some((at, element)) = self.adds.remove(dot) else {
            return;
        };
        self.live_digest = self.live_digest.wrapping_sub(digest_of_range(dot.into()));
        if let Some(lookup) = self.lookup.get_mut() {
            let wanted = lookup.wanted(&element);
            lookup.note_removed(&self.adds, at, &wanted);
        }
    }
}

impl<E: Eq + Clone + Debug + Hash> DotStore for AddWinsSet<E> {
    fn is_bottom(&self) -> bool {
        self.adds.len() == 0
    }

    fn dots(&self) -> impl Iterator<Item = Dot> + '_ {
        self.adds.iter().map(|(dot, _)| dot)
    }

    fn is_live(&self, dot: Dot) -> bool {
        self.adds.get(dot).is_some()
    }

    fn join(&mut self, mine: &impl Knows, other: &Self, theirs: &impl Knows) -> bool {
        if self.lookup.get().is_some() && self.changes_much(mine, other, theirs) {
            self.lookup.forget();
        }
        let contexts = mine.as_context().zip(theirs.as_context());
        // Neither side has seen any event of the other, so all live events of both stay.
        let is_disjoint = contexts.is_some_and(|(mine, theirs)| !mine.intersects(theirs));
        let counted = if is_disjoint { other.live_digest } else { 0 };
        let mut digest = self.live_digest.wrapping_add(counted);
        let (adds, lookup, mut changed) = (&mut self.adds, self.lookup.get_mut(), false);
        let Some(lookup) = lookup else {
            adds.join(mine, &other.adds, theirs, false, |adds, change| {
                changed = true;
                digest = digest_after(digest, adds, &change, is_disjoint);
            });
            self.live_digest = digest;
            if changed {
                *self.scans.get_mut() = 0;
            }
            return changed;
        };
        adds.join(mine, &other.adds, theirs, true, |adds, change| {
            changed = true;
            digest = digest_after(digest, adds, &change, is_disjoint);
            match change {
                DotChange::Added { at } => lookup.note_added(adds, at),
                DotChange::Removed { at, value } => {
                    let wanted = lookup.wanted(&value);
                    lookup.note_removed(adds, at, &wanted);
                }
            }
        });
        self.live_digest = digest;
        changed
    }

    fn unknown_to(&self, known: &impl Knows) -> Self {
        Self::of(self.adds.unknown_to(known))
    }

    fn conflict(&self, other: &Self) -> Option<Dot> {
        let differs = |(dot, e): &(Dot, &E)| other.adds.get(*dot).is_some_and(|held| held != *e);
        self.adds.iter().find(differs).map(|(dot, _)| dot)
    }

    fn live_digest(&self) -> Option<u128> {
        Some(self.live_digest)
    }

    fn heap_bytes(&self) -> usize {
        let lookup = self.lookup.get().map_or(0, Lookup::heap_bytes);
        self.adds.heap_bytes() + lookup
    }
}

/// The digest of live dots after a change; added ones may be counted already.
fn digest_after<E>(
    before: u128,
    adds: &DotBlocks<E>,
    change: &DotChange<E>,
    added_counted: bool,
) -> u128 {
    match *change {
        DotChange::Added { .. } if added_counted => before,
        DotChange::Added { at } => before.wrapping_add(digest_of_range(adds.dot(at).into())),
        DotChange::Removed { at, .. } => before.wrapping_sub(digest_of_range(adds.dot(at).into())),
    }
}

impl<E: Clone> Clone for AddWinsSet<E> {
    fn clone(&self) -> Self {
        Self {
            adds: self.adds.clone(),
            live_digest: self.live_digest,
            lookup: self.lookup.clone(),
            scans: AtomicU32::new(self.scans.load(Ordering::Relaxed)),
        }
    }
}

impl<E> Default for AddWinsSet<E> {
    fn default() -> Self {
        Self {
            adds: DotBlocks::default(),
            live_digest: 0,
            lookup: Lazy::new(),
            scans: AtomicU32::new(0),
        }
    }
}

impl<E: PartialEq> PartialEq for AddWinsSet<E> {
    fn eq(&self, other: &Self) -> bool {
        self.live_digest == other.live_digest && self.adds == other.adds
    }
}

impl<E: Eq> Eq for AddWinsSet<E> {}

impl<E: Hash> Hash for AddWinsSet<E> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.adds.hash(state);
    }
}

impl<E: Eq + Clone + Debug + Hash> Cell for AddWinsSet<E> {
    const PROVES_ITSELF: bool = false;

    fn is_visible(&self) -> bool {
        !self.is_empty()
    }

    fn tombstone(&self) -> Option<Timestamp> {
        None
    }

    fn validate(&self) -> Result<(), InvalidBytes> {
        Ok(())
    }
}

impl<E: Debug> Debug for AddWinsSet<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.adds.iter()).finish()
    }
}

impl<E: Hash + Eq + fmt::Display> fmt::Display for AddWinsSet<E> {
    /// `{milk, tea}`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, element) in self.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{element}")?;
        }
        f.write_str("}")
    }
}

#[cfg(feature = "serde")]
mod wire {
    use super::AddWinsSet;
    use crate::causal::dot_blocks::DotBlocks;
    use core::fmt::Debug;
    use core::hash::Hash;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    impl<E: Serialize> Serialize for AddWinsSet<E> {
        /// The adds, grouped by writer, with their counters delta-coded.
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            self.adds.serialize(serializer)
        }
    }

    impl<'de, E: Eq + Clone + Debug + Hash + Deserialize<'de>> Deserialize<'de> for AddWinsSet<E> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            Ok(Self::of(DotBlocks::deserialize(deserializer)?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Causal, Difference as _, Lattice as _, ReplicaId};
    use alloc::collections::{BTreeMap, BTreeSet};
    use proptest::prelude::*;

    /// The set as the kernel says it: elements, each with the dots of its live adds.
    type Plain = crate::DotMap<u8, crate::DotSet>;

    fn dot(replica: u64, counter: u64) -> Dot {
        Dot::new(ReplicaId(replica), counter)
    }

    /// Dots of three writers; two of them far away from the others, so that the index must widen.
    fn dots() -> impl Strategy<Value = Dot> {
        let counter = prop_oneof![1_u64..200, (u64::MAX - 70)..=u64::MAX];
        (1_u64..4, counter).prop_map(|(r, c)| dot(r, c))
    }

    /// What all replicas agree a dot adds.
    fn element(dot: Dot) -> u8 {
        (dot.counter % 29) as u8
    }

    fn states(
        live: &BTreeSet<Dot>,
        dead: &BTreeSet<Dot>,
    ) -> ((AddWinsSet<u8>, Plain), CausalContext) {
        let context = live.union(dead).copied().collect();
        let mut set = AddWinsSet::default();
        let mut plain: BTreeMap<u8, crate::DotSet> = BTreeMap::new();
        for dot in live.difference(dead) {
            set.insert_with(*dot, element(*dot), digest_of_range((*dot).into()));
            plain.entry(element(*dot)).or_default().insert(*dot);
        }
        ((set, Plain::from_ascending(plain)), context)
    }

    fn check_same(set: &AddWinsSet<u8>, plain: &Plain) -> Result<(), TestCaseError> {
        let of_plain = plain.dots().collect::<BTreeSet<_>>();
        prop_assert_eq!(set.dots().collect::<BTreeSet<_>>(), of_plain);
        prop_assert_eq!(
            set.iter().copied().collect::<BTreeSet<_>>(),
            plain.keys().copied().collect()
        );
        prop_assert_eq!((set.len(), set.iter().count()), (plain.len(), plain.len()));
        prop_assert_eq!(set.live_digest(), plain.live_digest());
        for e in 0..30 {
            prop_assert_eq!(set.contains(&e), plain.contains_key(&e));
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn the_set_is_the_map_of_dot_sets_that_it_stands_for(
            sides in proptest::collection::vec(
                (proptest::collection::btree_set(dots(), 0..90), proptest::collection::btree_set(dots(), 0..30)), 2),
            shared in proptest::collection::btree_set(dots(), 0..90),
        ) {
            let sides: Vec<_> = sides
                .iter()
                .map(|(live, dead)| states(&live.union(&shared).copied().collect(), dead))
                .collect();
            let ((mut set, mut plain), mine) = sides[0].clone();
            let ((other, other_plain), theirs) = sides[1].clone();
            check_same(&set, &plain)?;
            let unknown = set.unknown_to(&theirs);
            check_same(&unknown, &plain.unknown_to(&theirs))?;
            let changed = set.join(&mine, &other, &theirs);
            prop_assert_eq!(changed, plain.join(&mine, &other_plain, &theirs));
            check_same(&set, &plain)?;
            #[cfg(feature = "serde")]
            {
                let bytes = postcard::to_stdvec(&set).unwrap();
                prop_assert_eq!(&postcard::from_bytes::<AddWinsSet<u8>>(&bytes).unwrap(), &set);
                let json = serde_json::to_string(&set).unwrap();
                prop_assert_eq!(&serde_json::from_str::<AddWinsSet<u8>>(&json).unwrap(), &set);
            }
        }
    }

    #[test]
    fn elements_are_told_apart_by_value_and_counted_once() {
        let mut a = crate::CausalReplica::<AddWinsSet<u64>>::new(crate::ObjectId(1), ReplicaId(1));
        let mut b = crate::CausalReplica::<AddWinsSet<u64>>::new(crate::ObjectId(1), ReplicaId(2));
        let first = a.change(|set| set.extend(0..100));
        let second = b.change(|set| set.extend(50..150));
        a.join(&second).unwrap();
        b.join(&first).unwrap();
        assert_eq!(a.state(), b.state());
        assert_eq!(
            (a.len(), a.iter().count(), a.dots().count()),
            (150, 150, 200)
        );
        let removed = a.change(|set| set.remove(&70));
        let whole: Causal<AddWinsSet<u64>> = a.state().clone();
        assert_eq!(whole.difference(b.state()), removed);
        b.join(&removed).unwrap();
        assert_eq!(
            (b.contains(&70), b.contains(&71), b.len()),
            (false, true, 149)
        );
        assert!(!b.state().clone().join(a.state()));
        let cleared = b.change(|set| set.clear());
        a.join(&cleared).unwrap();
        assert!(a.is_empty() && a.is_bottom());
    }

    #[test]
    fn a_dot_with_two_elements_is_reported() {
        let of = |e| {
            let mut set = AddWinsSet::default();
            set.insert_with(dot(1, 1), e, digest_of_range(dot(1, 1).into()));
            set
        };
        assert_eq!(of(1).conflict(&of(2)), Some(dot(1, 1)));
        assert_eq!(of(1).conflict(&of(1)), None);
    }
}
