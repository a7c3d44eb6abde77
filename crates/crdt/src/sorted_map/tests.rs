//! Against `BTreeMap`, with chunks so small that few entries reach what many do.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::hash::BuildHasher;
use proptest::prelude::*;

use super::SortedMap;
use super::merge::{Fresh, Met, Policy};

const TINY: usize = 4;

type Tiny = SortedMap<u8, u8, TINY>;
type Twin = BTreeMap<u8, u8>;

/// The larger value wins.
#[derive(Default)]
struct Larger {
    added: usize,
    replaced: usize,
}

impl Policy<u8, u8> for Larger {
    fn differs(&self, mine: &u8, theirs: Option<&u8>) -> bool {
        theirs.is_some_and(|theirs| *theirs != REFUSED && mine < theirs)
    }

    fn meet(&mut self, _: &u8, _: &mut u8, _: Option<&u8>) -> Met {
        self.replaced += 1;
        Met::Replaced
    }

    fn takes_whole(&self, theirs: &u8) -> bool {
        *theirs != REFUSED
    }

    fn fresh(&mut self, _: &u8, theirs: &u8) -> Fresh<u8> {
        if !self.takes_whole(theirs) {
            return Fresh::Nothing;
        }
        self.added += 1;
        Fresh::Whole
    }
}

/// Looks at own entries as well: odd values that only one side has go, multiples of 8 are halved there;
/// where both have one, they go if their sum is a multiple of 5, and else the smaller stays.
#[derive(Default)]
struct Mixed {
    /// Number of entries by what became of them: inserted, changed, gone.
    counts: [usize; 3],
}

impl Mixed {
    /// What becomes of a key.
    fn outcome(mine: Option<u8>, theirs: Option<u8>) -> Option<u8> {
        match (mine, theirs) {
            (Some(a), Some(b)) if a == b => Some(a),
            (Some(a), Some(b)) => {
                (!(u32::from(a) + u32::from(b)).is_multiple_of(5)).then_some(a.min(b))
            }
            (one, other) => one
                .or(other)
                .filter(|v| v.is_multiple_of(2))
                .map(|v| if v.is_multiple_of(8) { v / 2 } else { v }),
        }
    }
}

impl Policy<u8, u8> for Mixed {
    fn looks_at_own(&self) -> bool {
        true
    }

    fn differs(&self, mine: &u8, theirs: Option<&u8>) -> bool {
        theirs.map_or(mine % 2 == 1 || mine.is_multiple_of(8), |theirs| {
            theirs != mine
        })
    }

    fn meet(&mut self, _: &u8, mine: &mut u8, theirs: Option<&u8>) -> Met {
        let outcome = Self::outcome(Some(*mine), theirs.copied());
        let met = match outcome {
            None => Met::Gone,
            Some(value) if value == *mine => Met::Stays,
            Some(value) if Some(&value) == theirs => Met::Replaced,
            Some(value) => {
                *mine = value;
                Met::Changed
            }
        };
        self.counts[1] += usize::from(matches!(met, Met::Replaced | Met::Changed));
        self.counts[2] += usize::from(matches!(met, Met::Gone));
        met
    }

    fn takes_whole(&self, theirs: &u8) -> bool {
        Self::outcome(None, Some(*theirs)) == Some(*theirs)
    }

    fn fresh(&mut self, _: &u8, theirs: &u8) -> Fresh<u8> {
        let outcome = Self::outcome(None, Some(*theirs));
        self.counts[0] += usize::from(outcome.is_some());
        match outcome {
            None => Fresh::Nothing,
            Some(value) if value == *theirs => Fresh::Whole,
            Some(value) => Fresh::Part(value),
        }
    }
}

fn mixed(map: &Tiny, twin: &Twin, other: &Tiny, other_twin: &Twin) {
    let keys = twin.keys().chain(other_twin.keys()).copied();
    let keys: alloc::collections::BTreeSet<u8> = keys.collect();
    let outcome = |key: u8| {
        let (mine, theirs) = (twin.get(&key), other_twin.get(&key));
        Mixed::outcome(mine.copied(), theirs.copied()).map(|value| (key, value))
    };
    let expected: Twin = keys.into_iter().filter_map(outcome).collect();
    let held = |twin: &Twin, key: &u8| twin.contains_key(key);
    let inserted = expected.keys().filter(|key| !held(twin, key)).count();
    let changed = twin
        .iter()
        .filter(|(k, v)| expected.get(k).is_some_and(|now| now != *v));
    let gone = twin.keys().filter(|key| !held(&expected, key)).count();
    for moves in [false, true] {
        let mut notes = Mixed::default();
        // A map of its own changes in place, one that shares chunks does not.
        let mut into = match moves {
            true => Tiny::from_ascending(twin.clone()),
            false => map.clone(),
        };
        let has_changed = match moves {
            true => into.merge_owned(Tiny::from_ascending(other_twin.clone()), &mut notes),
            false => into.merge_with(other, &mut notes),
        };
        assert_sound(&into, &expected);
        assert_eq!(has_changed, expected != *twin);
        assert_eq!(notes.counts, [inserted, changed.clone().count(), gone]);
        assert_sound(map, twin);
    }
}

/// A value that the policy never takes.
const REFUSED: u8 = 250;

fn merged_twin(mine: &Twin, theirs: &Twin) -> Twin {
    let mut out = mine.clone();
    for (k, v) in theirs.iter().filter(|(_, v)| **v != REFUSED) {
        let held = out.entry(*k).or_insert(*v);
        *held = (*held).max(*v);
    }
    out
}

fn assert_sound(map: &Tiny, twin: &Twin) {
    assert!(map.iter().eq(twin.iter()), "{map:?} is not {twin:?}");
    assert_eq!(map.len(), twin.len());
    for chunk in &map.chunks {
        assert!((1..=TINY).contains(&chunk.entries.len()), "{map:?}");
        assert_eq!(chunk.first, chunk.entries[0].0);
    }
}

#[derive(Debug, Clone)]
enum Op {
    Insert(u8, u8),
    Remove(u8),
    Set(u8, u8),
    Retain(u8),
}

fn op() -> impl Strategy<Value = Op> {
    let key = 0_u8..60;
    prop_oneof![
        5 => (key.clone(), any::<u8>()).prop_map(|(k, v)| Op::Insert(k, v)),
        3 => key.clone().prop_map(Op::Remove),
        1 => (key, any::<u8>()).prop_map(|(k, v)| Op::Set(k, v)),
        1 => (2_u8..9).prop_map(Op::Retain),
    ]
}

fn apply(op: &Op, map: &mut Tiny, twin: &mut Twin) {
    match *op {
        Op::Insert(k, v) => assert_eq!(map.insert(k, v), twin.insert(k, v)),
        Op::Remove(k) => assert_eq!(map.remove(&k), twin.remove(&k)),
        Op::Set(k, v) => {
            assert_eq!(
                map.get_mut(&k).map(|held| *held = v),
                twin.get_mut(&k).map(|held| *held = v)
            );
        }
        Op::Retain(n) => {
            let before = twin.len();
            twin.retain(|k, _| k % n != 0);
            assert_eq!(map.retain(|k, _| k % n != 0), before - twin.len());
        }
    }
}

fn built(ops: &[Op]) -> (Tiny, Twin) {
    let (mut map, mut twin) = (Tiny::default(), Twin::new());
    for op in ops {
        apply(op, &mut map, &mut twin);
        assert_sound(&map, &twin);
    }
    (map, twin)
}

fn owned(map: &mut Tiny, other: &Tiny, notes: &mut Larger) -> bool {
    map.merge_owned(other.clone(), notes)
}

fn merges(map: &Tiny, twin: &Twin, other: &Tiny, other_twin: &Twin) {
    let expected = merged_twin(twin, other_twin);
    for how in [
        Tiny::merge_with,
        Tiny::merge_by_pass,
        Tiny::merge_by_search,
        owned,
    ] {
        let (mut into, mut notes) = (map.clone(), Larger::default());
        let changed = how(&mut into, other, &mut notes);
        assert_sound(&into, &expected);
        assert_eq!(changed, expected != *twin);
        assert_eq!(notes.added, expected.len() - twin.len());
        let replaced = twin.iter().filter(|(k, v)| expected[k] != **v).count();
        assert_eq!(notes.replaced, replaced);
        assert_sound(map, twin);
        assert_sound(other, other_twin);
    }
}

proptest! {
    #[test]
    fn operations_and_look_ups_agree_with_a_btree_map(
        ops in prop::collection::vec(op(), 0..120),
        (from, to) in (0_u8..62, 0_u8..62),
    ) {
        use core::ops::Bound::{Excluded, Included, Unbounded};
        let (map, twin) = built(&ops);
        for key in 0..62 {
            prop_assert_eq!(map.get(&key), twin.get(&key));
        }
        prop_assert!(map.iter().rev().eq(twin.iter().rev()));
        for start in [Included(from), Excluded(from), Unbounded] {
            for end in [Included(to), Excluded(to), Unbounded] {
                let inside = |k: &u8| {
                    core::ops::RangeBounds::contains(&(start, end), k)
                };
                let expected: Vec<_> = twin.iter().filter(|(k, _)| inside(k)).collect();
                prop_assert_eq!(map.range::<u8, _>((start, end)).collect::<Vec<_>>(), expected.clone());
                prop_assert!(map.range::<u8, _>((start, end)).rev().eq(expected.into_iter().rev()));
            }
        }
    }

    /// Strangers, relatives that share chunks, small ones into large ones, and the other way round.
    #[test]
    fn merges_agree_with_a_btree_map(
        ops in prop::collection::vec(op(), 0..120),
        others in prop::collection::vec(op(), 0..120),
        few in prop::collection::vec(op(), 0..3),
    ) {
        let (map, twin) = built(&ops);
        let (other, other_twin) = built(&others);
        let (small, small_twin) = built(&few);
        let (mut relative, mut relative_twin) = (map.clone(), twin.clone());
        few.iter().for_each(|op| apply(op, &mut relative, &mut relative_twin));
        let all = [(map, twin), (other, other_twin), (small, small_twin), (relative, relative_twin)];
        for (map, twin) in &all {
            for (other, other_twin) in &all {
                merges(map, twin, other, other_twin);
                mixed(map, twin, other, other_twin);
            }
        }
    }

    /// However it was cut into chunks.
    #[test]
    fn equality_and_hash_are_those_of_the_content(
        ops in prop::collection::vec(op(), 0..60), others in prop::collection::vec(op(), 0..60),
    ) {
        let (map, twin) = built(&ops);
        let (other, other_twin) = built(&others);
        let bulk = Tiny::from_ascending(twin.clone());
        let hasher = core::hash::BuildHasherDefault::<std::hash::DefaultHasher>::default();
        prop_assert_eq!(&map, &bulk);
        prop_assert_eq!(hasher.hash_one(&map), hasher.hash_one(&bulk));
        prop_assert_eq!(map == other, twin == other_twin);
    }
}

#[test]
fn clones_share_chunks_until_one_writes() {
    let mut map = Tiny::from_ascending((0..40).map(|k| (k, 0)));
    let old = map.clone();
    map.insert(20, 1);
    let shared = map.chunks.iter().zip(&old.chunks);
    let shared = shared
        .filter(|(a, b)| Arc::ptr_eq(&a.entries, &b.entries))
        .count();
    assert_eq!((shared, old.get(&20)), (9, Some(&0)));
}

#[test]
fn a_merge_that_changes_nothing_copies_nothing_and_a_chunk_in_a_gap_is_shared() {
    let low = Tiny::from_ascending((0..8).map(|k| (k, 7)));
    let high = Tiny::from_ascending((20..28).map(|k| (k, 7)));
    let mut both = low.clone();
    assert!(both.merge_with(&high, &mut Larger::default()));
    let older = Tiny::from_ascending((0..8).map(|k| (k, 6)));
    assert!(!both.merge_with(&older, &mut Larger::default()));
    let parts = low.chunks.iter().chain(&high.chunks);
    assert!(
        both.chunks
            .iter()
            .zip(parts)
            .all(|(a, b)| Arc::ptr_eq(&a.entries, &b.entries))
    );
}

/// So few that each is searched for, in several chunks of which some bring nothing.
#[test]
fn few_entries_are_searched_for_one_by_one() {
    let twin: Twin = (0..200).map(|k| (k, 5)).collect();
    let map = Tiny::from_ascending(twin.clone());
    let few = [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4), (201, 4)];
    for raised in [vec![], vec![0], vec![4], vec![0, 4], vec![5], vec![0, 5]] {
        let mut few = few;
        raised.iter().for_each(|i: &usize| few[*i].1 = 6);
        for few in [&few[..5], &few[..]] {
            let few: Twin = few.iter().copied().collect();
            merges(&map, &twin, &Tiny::from_ascending(few.clone()), &few);
        }
    }
}

/// Counts how often it is asked.
#[derive(Default)]
struct Asked(core::cell::Cell<usize>);

impl Policy<u8, u8> for Asked {
    fn differs(&self, _: &u8, _: Option<&u8>) -> bool {
        self.0.set(self.0.get() + 1);
        false
    }

    fn meet(&mut self, _: &u8, _: &mut u8, _: Option<&u8>) -> Met {
        unreachable!("nothing differs")
    }

    fn takes_whole(&self, _: &u8) -> bool {
        self.0.set(self.0.get() + 1);
        true
    }

    fn fresh(&mut self, _: &u8, theirs: &u8) -> Fresh<u8> {
        match self.takes_whole(theirs) {
            true => Fresh::Whole,
            false => Fresh::Nothing,
        }
    }
}

#[test]
fn chunks_that_both_share_are_not_looked_at() {
    let map = Tiny::from_ascending((0..40).map(|k| (2 * k, 0)));
    let mut relative = map.clone();
    relative.insert(21, 1);
    let mut asked = Asked::default();
    assert!(map.clone().merge_with(&relative, &mut asked));
    assert!(asked.0.take() <= 2 * TINY, "of 41 entries");
    assert!(!map.clone().merge_with(&map, &mut asked));
    assert_eq!(asked.0.take(), 0);
    // Nor are own entries, where the other side has nothing to say of them.
    assert!(
        map.clone()
            .merge_with(&Tiny::from_ascending([(100, 0)]), &mut asked)
    );
    assert_eq!(asked.0.take(), 1);
}

fn chunk_lengths(map: &Tiny) -> Vec<usize> {
    map.chunks.iter().map(|chunk| chunk.entries.len()).collect()
}

#[test]
fn keys_in_ascending_order_fill_their_chunks_and_small_chunks_are_united() {
    let mut map = Tiny::default();
    for key in 0..40 {
        let place = map.find_from_end(&key).expect_err("the key is new");
        map.insert_at(place, key, 0);
        assert_eq!(map.find_from_end(&key), map.find(&key));
    }
    assert_eq!(chunk_lengths(&map), [TINY; 10]);
    for key in (0..40).rev().filter(|key| key % 4 != 0) {
        assert_eq!(map.remove(&key), Some(0));
    }
    // One entry of each chunk is left: two of them fill half a chunk.
    assert_eq!(chunk_lengths(&map), [TINY / 2; 5]);
    assert!(map.iter().map(|(key, _)| *key).eq((0..40).step_by(4)));
}

#[test]
fn the_small_end_of_what_was_rewritten_is_shared_out_with_the_chunk_before_it() {
    let map = Tiny::from_ascending((0..40).map(|key| (2 * key, 0)));
    let merged = |keys: &[u8]| {
        let mut merged = map.clone();
        // Those that are held already make it too many to be inserted one by one.
        let held = (20..40).map(|key| 2 * key);
        let others = Tiny::from_ascending(keys.iter().copied().chain(held).map(|key| (key, 0)));
        assert!(merged.merge_with(&others, &mut Larger::default()));
        chunk_lengths(&merged)
    };
    assert_eq!(chunk_lengths(&map), [TINY; 10]);
    // One entry is left over, then two, which are enough for a chunk.
    assert_eq!(merged(&[1])[..3], [3, 2, 4]);
    assert_eq!(merged(&[1, 3])[..3], [4, 2, 4]);
}
