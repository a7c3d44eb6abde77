//! The plain lattices.

use super::*;
use crdt::{LexicographicPair, MapOf, Max, Min, Pair, SetUnion};
use std::collections::BTreeMap;

/// A map whose values nest all the other lattices.
type Nested = MapOf<u8, Pair<LexicographicPair<i8, SetUnion<u8>>, Pair<Max<i8>, Min<u8>>>>;

fn nested(map: &mut Nested, replica: ReplicaId, a: u8, b: u8) -> Nested {
    map.update(a % 3, |pair| match b % 5 {
        0 => pair.update_first(|first| {
            let version = i8::from_le_bytes([b]) / 50;
            first.restart(version, [a % 4].into_iter().collect())
        }),
        1 => pair.update_first(|first| first.update(|set| set.insert(a % 8))),
        2 => pair.update_second(|second| second.update_second(|min| min.lower(b))),
        3 => pair.update_first(|first| first.restart(replica.0 as i8, SetUnion::default())),
        _ => pair
            .update_second(|second| second.update_first(|max| max.raise(i8::from_le_bytes([b])))),
    })
}

proptest! {
    #[test]
    fn maps_of_pairs_of_all_the_others_obey_the_laws(s in script(), p in picks()) {
        obeys::<Nested>(&s, &p, nested)?;
    }

    #[test]
    fn options_obey_the_laws(states in prop::collection::vec(any::<Option<Option<i8>>>(), 3)) {
        let states: Vec<Option<Max<i8>>> = states
            .into_iter()
            .map(|state| state.map(|max| max.map_or_else(Max::default, Max::of)))
            .collect();
        lawful(check_lattice(&states[0], &states[1], &states[2]))?;
        lawful(check_least_difference(&states[0], &states[1]))?;
    }

    #[test]
    fn arbitrary_bytes_are_harmless(input in prop::collection::vec(0_u8..6, 0..24)) {
        harmless::<Nested>(&input)?;
        harmless::<SetUnion<u8>>(&input)?;
    }
}

#[test]
fn golden_bytes_and_text() {
    let mut map = Nested::default();
    let _delta = nested(&mut map, ReplicaId(1), 4, 5);
    let _delta = nested(&mut map, ReplicaId(1), 4, 7);
    let _delta = nested(&mut map, ReplicaId(1), 4, 9);
    assert_eq!(bytes(&map), [1, 1, 1, 0, 1, 0, 1, 9, 1, 7]);
    let json = serde_json::to_string(&map).expect("values encode");
    assert_eq!(
        json,
        r#"[[1,{"first":{"some":[0,[0]]},"second":{"first":{"some":9},"second":{"some":7}}}]]"#
    );
    assert_eq!(map.to_string(), "{1: ((0: {0}), (max(9), min(7)))}");
}

#[test]
fn bytes_of_maps_and_sets_that_no_replica_can_have_made_are_refused() {
    let refused = |input: &str| {
        let error = serde_json::from_str::<MapOf<u8, Max<u8>>>(input).expect_err(input);
        error.to_string()
    };
    let one = r#"[1,{"some":1}]"#;
    assert!(refused(&format!("[{one},{one}]")).contains("ascending"));
    assert!(refused(r#"[[2,{"some":1}],[1,{"some":1}]]"#).contains("ascending"));
    assert!(refused(r#"[[2,"none"]]"#).contains("empty"));
    assert!(serde_json::from_str::<SetUnion<u8>>("[2,1]").is_err());
    assert!(serde_json::from_str::<SetUnion<u8>>("[1,1]").is_err());
}

#[test]
fn a_value_that_prints_like_nothing_comes_back_in_json() {
    round_trip(&Max::of(())).expect("not bottom");
    round_trip(&Max::of(Option::<u8>::None)).expect("not bottom");
    let map: BTreeMap<u8, ()> = BTreeMap::new();
    round_trip(&Min::of(map)).expect("not bottom");
}
