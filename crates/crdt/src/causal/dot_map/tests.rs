//! The map beside the same map without index, digest or ordered passes.

use super::*;
use crate::{CausalContext, CausalReplica, DotSet, ObjectId, ReplicaId};
use alloc::collections::{BTreeMap, BTreeSet};
use proptest::collection::btree_set;
use proptest::prelude::*;

type Naive = BTreeMap<u16, BTreeSet<Dot>>;

fn dots() -> impl Strategy<Value = Dot> {
    (1_u64..4, 1_u64..120).prop_map(|(r, c)| Dot::new(ReplicaId(r), c))
}

/// Under which key an event is, on every replica.
fn key(dot: Dot) -> u16 {
    (dot.counter * 7 % 90 + dot.replica.0) as u16
}

fn naive(live: &BTreeSet<Dot>) -> Naive {
    let mut naive = Naive::new();
    for dot in live {
        naive.entry(key(*dot)).or_default().insert(*dot);
    }
    naive
}

fn map(live: &BTreeSet<Dot>) -> DotMap<u16, DotSet> {
    let entries = naive(live).into_iter();
    DotMap::from_ascending(entries.map(|(key, dots)| (key, dots.into_iter().collect())))
}

fn check(map: &DotMap<u16, DotSet>, live: &BTreeSet<Dot>) -> Result<(), TestCaseError> {
    let held = map.iter().map(|(key, dots)| (*key, dots.dots().collect()));
    prop_assert_eq!(held.collect::<Naive>(), naive(live));
    let fresh = self::map(live);
    prop_assert_eq!(map.live_digest, fresh.live_digest);
    if let Some(index) = &map.keys_by_dot {
        for dot in live {
            let mut named = index.overlapping((*dot).into()).map(|(_, key)| *key);
            prop_assert_eq!(named.next(), Some(key(*dot)));
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn joins_are_those_of_the_naive_map(
        shared in btree_set(dots(), 0..200),
        sides in proptest::collection::vec((btree_set(dots(), 0..40), btree_set(dots(), 0..12)), 2),
    ) {
        let side = |(more, dead): &(BTreeSet<Dot>, BTreeSet<Dot>)| {
            let seen: BTreeSet<Dot> = shared.union(more).copied().collect();
            let live: BTreeSet<Dot> = seen.difference(dead).copied().collect();
            (live, seen)
        };
        let ((mine, i_saw), (theirs, they_saw)) = (side(&sides[0]), side(&sides[1]));
        let want: BTreeSet<Dot> = mine
            .iter()
            .filter(|dot| theirs.contains(dot) || !they_saw.contains(dot))
            .chain(theirs.iter().filter(|dot| !i_saw.contains(dot)))
            .copied()
            .collect();
        let contexts = [&i_saw, &they_saw].map(|s| s.iter().copied().collect::<CausalContext>());
        let mut joined = map(&mine);
        let changed = joined.join(&contexts[0], &map(&theirs), &contexts[1]);
        prop_assert_eq!(changed, want != mine);
        check(&joined, &want)?;
        let unknown: BTreeSet<Dot> = mine.difference(&they_saw).copied().collect();
        check(&map(&mine).unknown_to(&contexts[1]), &unknown)?;
        // The same as a small delta: only what they lack or have dropped is named.
        let delta: BTreeSet<Dot> = theirs.difference(&i_saw).copied().collect();
        let mut named: CausalContext = delta.iter().copied().collect();
        named.join(&mine.difference(&theirs).filter(|d| they_saw.contains(d)).copied().collect());
        let mut by_delta = map(&mine);
        by_delta.join(&contexts[0], &map(&delta), &named);
        check(&by_delta, &want)?;
    }
}

#[test]
fn one_dot_under_two_keys_is_a_conflict() {
    let dot = Dot::new(ReplicaId(1), 1);
    let under = |key: u8| -> DotMap<u8, DotSet> {
        DotMap::from_ascending([(key, [dot].into_iter().collect())])
    };
    assert_eq!(under(1).conflict(&under(2)), Some(dot));
    assert_eq!(under(1).conflict(&under(1)), None);
}

/// The index that the first removal of a peer builds must follow the changes made here.
#[test]
fn a_removal_finds_events_that_came_after_the_index_was_built() {
    type Map = DotMap<u16, DotSet>;
    let mut a = CausalReplica::<Map>::new(ObjectId(1), ReplicaId(1));
    let mut b = CausalReplica::<Map>::new(ObjectId(1), ReplicaId(2));
    let keys = 0..2 * INDEX_FROM as u16;
    let filled = a.change(|map| map.extend(keys.map(|key| (key, ())), |dots, ()| dots.replace()));
    b.join(&filled).unwrap();
    a.join(&b.change(|map| map.remove(&1))).unwrap();
    assert!(a.keys_by_dot.is_some(), "the removal has built the index");
    let replaced = a.change(|map| map.update(2, |dots| dots.replace()));
    b.join(&replaced).unwrap();
    a.join(&b.change(|map| map.remove(&2))).unwrap();
    assert!(!a.contains_key(&1) && !a.contains_key(&2));
    assert_eq!(a.state(), b.state());
}

#[test]
fn a_map_is_shown_as_its_entries() {
    let map = map(&[Dot::new(ReplicaId(1), 1), Dot::new(ReplicaId(1), 2)].into());
    assert_eq!(map.to_string(), "{8: {1.1}, 15: {1.2}}");
    assert_eq!(format!("{map:?}"), format!("{:?}", map.entries));
    assert_ne!(format!("{map:?}"), "");
}
