//! Maps and sets whose last write wins, purges included.

use super::*;
use crdt::{Behind, CausalContext, Horizon, LwwMap, LwwSet, OwnerView, Promises, Timestamp};
use std::collections::BTreeMap;

type Map = LwwMap<u8, u8>;

const ME: ReplicaId = ReplicaId(1);

/// A horizon as a store with one owner has it: its own clock.
fn horizon(time: u64) -> Horizon {
    let mut view = OwnerView::default();
    view.record(0, ME);
    let (promises, base) = (Promises::default(), CausalContext::default());
    let horizon = promises.horizon(&view, 1, ME, &base, Timestamp(time));
    horizon.expect("the only owner promises itself")
}

fn write(map: &mut Map, _: ReplicaId, a: u8, b: u8) -> Map {
    let (key, time) = (a % 5, Timestamp(u64::from(a / 16)));
    match b % 3 {
        0 => map.remove(key, time),
        _ => map.insert(key, b, time),
    }
}

/// Purges as no honest owner would make them: at any time, below writes that are still to come. The laws
/// must hold even so. The delta of a purge is the whole state.
fn write_or_purge(map: &mut Map, replica: ReplicaId, a: u8, b: u8) -> Map {
    if b.is_multiple_of(5) {
        map.purge(&horizon(u64::from(a / 16)));
        return map.clone();
    }
    write(map, replica, a, b)
}

fn write_set(set: &mut LwwSet<u8>, _: ReplicaId, a: u8, b: u8) -> LwwSet<u8> {
    let (element, time) = (a % 5, Timestamp(u64::from(a / 16)));
    match b % 5 {
        0 => {
            set.purge(&horizon(time.0));
            set.clone()
        }
        1 | 2 => set.remove(element, time),
        _ => set.insert(element, time),
    }
}

/// What look-ups say, against the entries one by one.
fn look_ups_agree(map: &Map) -> Result<(), TestCaseError> {
    let visible: Vec<_> = (0..5).filter_map(|k| Some((k, *map.get(&k)?))).collect();
    prop_assert_eq!(map.len(), visible.len());
    prop_assert!(
        map.iter()
            .map(|(k, v)| (*k, *v))
            .eq(visible.iter().copied())
    );
    let held = (0..5).filter(|k| map.timestamp(k).is_some()).count();
    prop_assert_eq!(map.tombstone_count(), held - visible.len());
    let inside = visible.iter().filter(|(k, _)| (1..4).contains(k));
    prop_assert!(map.range(1..4).map(|(k, v)| (*k, *v)).eq(inside.copied()));
    Ok(())
}

proptest! {
    #[test]
    fn last_writer_wins_maps_obey_the_laws(s in script(), p in picks()) {
        obeys::<Map>(&s, &p, write)?;
    }

    #[test]
    fn they_obey_the_laws_with_purges_at_any_time(s in script(), p in picks()) {
        obeys::<Map>(&s, &p, write_or_purge)?;
    }

    #[test]
    fn last_writer_wins_sets_obey_the_laws_with_purges(s in script(), p in picks()) {
        obeys::<LwwSet<u8>>(&s, &p, write_set)?;
    }

    /// Against the definition: of all writes to a key, the one that wins.
    #[test]
    fn the_winner_of_each_key_is_visible(s in script()) {
        // Nothing but joins of replicas, and writes.
        let is_join = |step: &Step| step[1] == 0;
        let plain = |[at, action, a, b]: Step| [at, if action % 3 == 0 { 0 } else { 7 }, a, b];
        let s: Vec<Step> = s.into_iter().map(plain).collect();
        let run = run::<Map>(&s, write)?;
        let joined = run.replicas.iter().fold(Map::default(), |all, one| all.joined(one));
        let mut winners: BTreeMap<u8, (u64, bool, std::cmp::Reverse<u8>)> = BTreeMap::new();
        for &[_, _, a, b] in s.iter().filter(|step| !is_join(step)) {
            let write = (u64::from(a / 16), b % 3 != 0, std::cmp::Reverse(b));
            let held = winners.entry(a % 5).or_insert(write);
            *held = (*held).max(write);
        }
        for key in 0..5 {
            let winner = winners.get(&key);
            let value = winner.filter(|w| w.1).map(|w| &w.2.0);
            prop_assert_eq!(joined.timestamp(&key), winner.map(|w| Timestamp(w.0)));
            prop_assert_eq!(joined.get(&key), value);
        }
        run.states.iter().try_for_each(look_ups_agree)?;
    }

    /// Joins by value, and careful joins, do what joins do.
    #[test]
    fn the_other_joins_agree_with_the_plain_one(s in script(), p in picks()) {
        let run = run::<Map>(&s, write_or_purge)?;
        for [a, b, _] in p {
            let [a, b] = [a, b].map(|i| run.states[i % run.states.len()].clone());
            let (mut plain, mut owned, mut checked) = (a.clone(), a.clone(), a.clone());
            let grew = plain.join(&b);
            prop_assert_eq!((owned.join_owned(b.clone()), &owned), (grew, &plain));
            look_ups_agree(&owned)?;
            match checked.join_checked(&b) {
                Ok(checked_grew) => prop_assert_eq!((checked_grew, &checked), (grew, &plain)),
                Err(Behind { entries, .. }) => {
                    prop_assert!(entries > 0 && b.purged_up_to() < a.purged_up_to());
                    prop_assert_eq!(checked, a, "refused, unchanged");
                }
            }
        }
    }

    /// A report says what a comparison of the maps before and after says.
    #[test]
    fn a_report_says_what_a_comparison_says(s in script(), p in picks()) {
        let run = run::<Map>(&s, write_or_purge)?;
        for [a, b, _] in p {
            let [a, b] = [a, b].map(|i| &run.states[i % run.states.len()]);
            let mut both = a.clone();
            let report = both.join_report(b);
            prop_assert_eq!((&both, report.grew), (&a.clone().joined(b), both != *a));
            let held = |map: &Map, key| map.get(&key).map(|value| (*value, map.timestamp(&key)));
            let keys = |which: fn(bool, bool) -> bool| -> Vec<u8> {
                let which = |key: &u8| {
                    let (old, new) = (held(a, *key), held(&both, *key));
                    old != new && which(old.is_some(), new.is_some())
                };
                (0..5).filter(which).collect()
            };
            prop_assert_eq!(&report.added, &keys(|old, new| !old && new));
            prop_assert_eq!(&report.removed, &keys(|old, new| old && !new));
            prop_assert_eq!(&report.overwritten, &keys(|old, new| old && new));
            prop_assert!(report.conflicting.is_empty());
        }
    }

    /// A certificate is honest when every write up to its time has been seen by whoever purges, and no
    /// later one is made at or below it. Then nothing that is visible depends on purges.
    #[test]
    fn honest_purges_cannot_be_seen(
        ops in prop::collection::vec((0_usize..3, 0_u8..5, any::<u8>(), 0_usize..8), 0..40),
    ) {
        let mut purging = vec![Map::default(); 3];
        let mut keeping = purging.clone();
        let (mut clock, mut purged) = (1, 0);
        for (at, key, value, action) in ops {
            if action == 0 {
                // Promises: all writes so far are seen by one replica, and later ones are above.
                let states = [&mut purging, &mut keeping].map(|all| {
                    all.iter().fold(Map::default(), |sum, one| sum.joined(one))
                });
                let [state, kept] = states;
                (purging[at], keeping[at]) = (state, kept);
                purging[at].purge(&horizon(clock));
                purged = clock;
            } else if action < 3 {
                let from = usize::from(value) % 3;
                let (state, kept) = (purging[from].clone(), keeping[from].clone());
                purging[at].join(&state);
                keeping[at].join(&kept);
            } else {
                clock += u64::from(value % 2);
                let time = Timestamp(clock.max(purged + 1));
                for map in [&mut purging[at], &mut keeping[at]] {
                    let _delta = match action == 3 {
                        true => map.remove(key, time),
                        false => map.insert(key, value, time),
                    };
                }
            }
        }
        let [all, kept] = [&purging, &keeping].map(|all| {
            all.iter().fold(Map::default(), |sum, one| sum.joined(one))
        });
        prop_assert!(all.iter().eq(kept.iter()), "{} is not {}", all, kept);
    }

    #[test]
    fn arbitrary_bytes_are_harmless(input in prop::collection::vec(0_u8..6, 0..24)) {
        harmless::<Map>(&input)?;
        harmless::<LwwSet<u8>>(&input)?;
    }
}

#[test]
fn golden_bytes_and_text() {
    let mut map = LwwMap::default();
    map.extend([
        ("b", 7_u8, Timestamp(300)),
        ("a", 1, Timestamp(2)),
        ("a", 9, Timestamp(4)),
    ]);
    let _delta = map.remove("c", Timestamp(5));
    map.purge(&horizon(4));
    let golden = [
        1, 4, 3, 1, b'a', 4, 1, 9, 1, b'b', 0xac, 2, 1, 7, 1, b'c', 5, 0,
    ];
    assert_eq!(bytes(&map), golden);
    assert_eq!(
        serde_json::to_string(&map).expect("values encode"),
        r#"{"purged_up_to":4,"entries":[["a",{"timestamp":4,"value":{"some":9}}],"#.to_owned()
            + r#"["b",{"timestamp":300,"value":{"some":7}}],["c",{"timestamp":5,"value":"none"}]]}"#
    );
    assert_eq!(map.to_string(), "{a: 9@4, b: 7@300, c: deleted@5} purged@4");
    let mut set = LwwSet::default();
    let _delta = set.insert(1, Timestamp(5));
    let _delta = set.remove(2, Timestamp(6));
    assert_eq!(set.to_string(), "{1@5, 2 deleted@6}");
    round_trip(&set).expect("JSON tells a tombstone from a unit");
}

#[test]
fn maps_that_no_replica_can_have_made_are_refused() {
    let refused = |entries: &str| {
        let text = format!(r#"{{"purged_up_to":4,"entries":[{entries}]}}"#);
        let error = serde_json::from_str::<Map>(&text).expect_err(&text);
        error.to_string()
    };
    let entry = r#"[1,{"timestamp":9,"value":{"some":1}}]"#;
    assert!(refused(&format!("{entry},{entry}")).contains("ascending"));
    assert!(refused(r#"[1,{"timestamp":4,"value":"none"}]"#).contains("obsolete"));
}

#[test]
fn a_write_at_or_below_the_purge_changes_nothing() {
    let mut map = Map::default();
    map.purge(&horizon(10));
    assert_eq!(map.insert(1, 1, Timestamp(10)), Map::default());
    assert_eq!(map.remove(1, Timestamp(9)), Map::default());
    assert!(map.is_empty());
    assert_ne!(map.insert(1, 1, Timestamp(11)), Map::default());
}

/// A side that was away brings back nothing that was removed and forgotten.
#[test]
fn a_laggard_does_not_bring_back_what_was_removed_and_purged() {
    let (mut map, mut laggard) = (Map::default(), Map::default());
    let delta = map.insert(1, 7, Timestamp(5));
    laggard.join(&delta);
    let _delta = map.remove(1, Timestamp(6));
    assert_eq!(map.purge(&horizon(10)), 1);
    let late = Behind {
        purged_up_to: Timestamp(10),
        entries: 1,
    };
    assert_eq!(map.join_checked(&laggard), Err(late));
    assert!(!map.join(&delta), "nor does a late delta");
    assert!(laggard.join(&map));
    assert_eq!((laggard.get(&1), &laggard), (None, &map));
}
