//! The table beside plain sets of dots.

use super::*;
use crate::{CausalContext, InvalidBytes};
use alloc::collections::BTreeSet;
use proptest::collection::btree_set;
use proptest::prelude::*;

/// Says of one event at a time whether it is known: a join must then look at every block.
struct OneByOne<'a>(&'a CausalContext);

impl Knows for OneByOne<'_> {
    fn knows(&self, dot: Dot) -> bool {
        self.0.contains(dot)
    }
}

fn dot(replica: u64, counter: u64) -> Dot {
    Dot::new(ReplicaId(replica), counter)
}

/// Dots of three writers in adjacent blocks, and in blocks far away.
fn dots() -> impl Strategy<Value = Dot> {
    let counter = prop_oneof![1_u64..200, 1000_u64..1200, (u64::MAX - 70)..=u64::MAX];
    (1_u64..4, counter).prop_map(|(r, c)| dot(r, c))
}

/// Every dot is its own value.
fn table(live: &BTreeSet<Dot>) -> DotBlocks<Dot> {
    let mut table = DotBlocks::default();
    for dot in live {
        table.insert(*dot, *dot);
    }
    table
}

fn has_empty_block(table: &DotBlocks<Dot>) -> bool {
    let mut blocks = table.writers.iter().flat_map(|writer| &writer.blocks);
    blocks.any(|block| block.live == 0)
}

fn set<'a>(values: impl Iterator<Item = &'a Dot>) -> BTreeSet<Dot> {
    let listed: Vec<Dot> = values.copied().collect();
    let set: BTreeSet<Dot> = listed.iter().copied().collect();
    assert_eq!(set.len(), listed.len(), "no event is named twice");
    set
}

proptest! {
    #[test]
    fn a_join_does_what_was_foretold(
        shared in btree_set(dots(), 0..60),
        sides in proptest::collection::vec((btree_set(dots(), 0..60), btree_set(dots(), 0..30)), 2),
    ) {
        let side = |(more, dead): &(BTreeSet<Dot>, BTreeSet<Dot>)| {
            let seen: BTreeSet<Dot> = shared.union(more).copied().collect();
            let live: BTreeSet<Dot> = seen.difference(dead).copied().collect();
            (live, seen)
        };
        let ((mine, i_saw), (theirs, they_saw)) = (side(&sides[0]), side(&sides[1]));
        let only_here: BTreeSet<Dot> = mine.difference(&theirs).copied().collect();
        let only_there: BTreeSet<Dot> = theirs.difference(&mine).copied().collect();
        let gone: BTreeSet<Dot> = only_here.intersection(&they_saw).copied().collect();
        let news: BTreeSet<Dot> = only_there.difference(&i_saw).copied().collect();
        let (here, there) = (table(&mine), table(&theirs));
        let [i_saw, they_saw] = [&i_saw, &they_saw].map(|s| s.iter().copied().collect());

        prop_assert_eq!(&set(here.obsolete_in(&there, &they_saw)), &gone);
        prop_assert_eq!(&set(here.obsolete_in(&there, &OneByOne(&they_saw))), &gone);
        prop_assert_eq!(&set(there.news_for(&here, &i_saw)), &news);

        let (mut added, mut removed) = (BTreeSet::new(), BTreeSet::new());
        let mut joined = here.clone();
        joined.join(&i_saw, &there, &they_saw, true, |table, change| match change {
            DotChange::Added { at } => assert!(added.insert(table.dot(at))),
            DotChange::Removed { at, value } => {
                assert_eq!(table.dot(at), value, "a removal hands out the value that was there");
                assert!(removed.insert(value));
            }
        });
        prop_assert_eq!((added, removed), (news.clone(), gone.clone()));
        let kept = mine.difference(&gone).copied();
        let want = table(&kept.chain(news.iter().copied()).collect());
        prop_assert_eq!(joined.len(), want.len());
        prop_assert_eq!(&joined, &want);
        let mut by_one = here.clone();
        by_one.join(&OneByOne(&i_saw), &there, &OneByOne(&they_saw), true, |_, _| {});
        prop_assert_eq!(&by_one, &want);
        let (mut together, mut reported) = (here, 0);
        together.join(&i_saw, &there, &they_saw, false, |table, change| {
            let (at, is_live) = match change {
                DotChange::Added { at } => (at, true),
                DotChange::Removed { at, value } => {
                    assert_eq!(table.dot(at), value);
                    (at, false)
                }
            };
            assert_eq!(table.get_at(at).is_some(), is_live);
            reported += 1;
        });
        prop_assert!(!has_empty_block(&joined) && !has_empty_block(&together));
        prop_assert_eq!(together, want);
        prop_assert_eq!(reported, gone.len() + news.len());
    }
}

#[test]
fn an_event_is_foretold_once_where_several_spans_reach_into_its_block() {
    let (live, seen) = (dot(3, 9), [dot(3, 9), dot(3, 11)]);
    let theirs: CausalContext = seen.into_iter().collect();
    assert_eq!(theirs.spans(ReplicaId(3)).count(), 2);
    let (mine, other) = (table(&[live].into()), DotBlocks::default());
    let obsolete: Vec<_> = mine.obsolete_in(&other, &theirs).collect();
    assert_eq!(obsolete, [&live]);
}

#[test]
fn a_dot_beside_live_ones_is_not_live() {
    let mut table = table(&[dot(1, 3), dot(1, 5), dot(1, 200)].into());
    for live in [dot(1, 3), dot(1, 5), dot(1, 200)] {
        assert_eq!(table.get(live), Some(&live));
    }
    for other in [dot(1, 2), dot(1, 4), dot(1, 6), dot(1, 100), dot(2, 3)] {
        assert_eq!(table.get(other), None);
        assert_eq!(table.remove(other), None);
    }
    assert_eq!(table.len(), 3);
    assert_eq!(table.remove(dot(1, 5)), Some(((0, 5), dot(1, 5))));
    assert_eq!((table.len(), table.get(dot(1, 5))), (2, None));
}

#[test]
fn equality_and_hash_tell_tables_apart_by_dots_and_values() {
    let of = |dots: &[(u64, u64, char)]| {
        let mut table = DotBlocks::default();
        for (replica, counter, value) in dots {
            table.insert(dot(*replica, *counter), *value);
        }
        let mut state = std::hash::DefaultHasher::new();
        table.hash(&mut state);
        (table, state.finish())
    };
    let one = of(&[(1, 1, 'a'), (2, 1, 'b')]);
    assert_eq!(one, of(&[(2, 1, 'b'), (1, 1, 'a')]), "in any order");
    let others = [
        of(&[(1, 1, 'a'), (2, 1, 'c')]),
        of(&[(1, 1, 'a'), (2, 2, 'b')]),
        of(&[(1, 1, 'a')]),
    ];
    for other in others {
        assert_ne!(one.0, other.0);
        assert_ne!(one.1, other.1);
    }
}

#[cfg(feature = "serde")]
#[test]
fn counters_that_do_not_ascend_are_refused() {
    let decoded = |json: &str| serde_json::from_str::<DotBlocks<u8>>(json);
    assert_eq!(decoded("[[1,[[1,7],[2,8]]]]").expect("valid").len(), 2);
    let unsorted = InvalidBytes::Unsorted("dots of a store");
    for (json, cause) in [
        ("[[1,[[0,7]]]]", InvalidBytes::ZeroCounter),
        ("[[1,[[2,7],[1,8]]]]", unsorted.clone()),
        ("[[1,[[2,7],[2,8]]]]", unsorted),
    ] {
        let error = decoded(json).expect_err(json);
        assert!(
            error.to_string().contains(&cause.to_string()),
            "{json}: {error}"
        );
    }
}
