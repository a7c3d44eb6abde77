//! The laws of section 3.6 for every type that carries no dots, on states that runs of operations on
//! several replicas have reached; and what travels of them.

use crdt::laws::{check_delta, check_difference, check_lattice};
use crdt::{
    Difference, GCounter, Lattice, LexicographicPair, MapOf, Max, Min, Pair, PnCounter, ReplicaId,
    SetUnion,
};
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt::{Debug, Display};

const REPLICAS: usize = 3;

/// One step of a run: which replica, what it does, and two arguments.
type Step = [u8; 4];

/// A delta mutator of a type: of a state, by a replica, with two arguments.
type Mutate<L> = fn(&mut L, ReplicaId, u8, u8) -> L;

/// What a run reached: every state on the way, and every delta.
struct Run<L> {
    replicas: Vec<L>,
    states: Vec<L>,
    deltas: Vec<L>,
}

fn run<L: Lattice>(script: &[Step], mutate: Mutate<L>) -> Result<Run<L>, TestCaseError> {
    let mut run = Run {
        replicas: vec![L::default(); REPLICAS],
        states: vec![L::default()],
        deltas: Vec::new(),
    };
    for &[at, action, a, b] in script {
        let at = usize::from(at) % REPLICAS;
        let before = run.replicas[at].clone();
        match action % 8 {
            0 | 1 => {
                let other = run.replicas[usize::from(a) % REPLICAS].clone();
                run.replicas[at].join(&other);
            }
            2 if !run.deltas.is_empty() => {
                let delta = run.deltas[usize::from(a) % run.deltas.len()].clone();
                run.replicas[at].join(&delta);
            }
            _ => {
                let delta = mutate(&mut run.replicas[at], ReplicaId(at as u64), a, b);
                lawful(check_delta(&before, &run.replicas[at], &delta))?;
                run.deltas.push(delta);
            }
        }
        run.states.push(run.replicas[at].clone());
    }
    Ok(run)
}

fn lawful(result: Result<(), crdt::laws::LawViolation>) -> Result<(), TestCaseError> {
    result.map_err(|violation| TestCaseError::fail(violation.to_string()))
}

/// Every law, on states, deltas and differences of one run.
fn obeys<L>(script: &[Step], picks: &[[usize; 3]], mutate: Mutate<L>) -> Result<(), TestCaseError>
where
    L: Difference + Serialize + DeserializeOwned + std::hash::Hash + Display + Send + Sync,
{
    let Run {
        replicas,
        mut states,
        deltas,
    } = run(script, mutate)?;
    states.extend(deltas.iter().cloned());
    for pick in picks {
        let [a, b, c] = pick.map(|i| states[i % states.len()].clone());
        lawful(check_lattice(&a, &b, &c))?;
        lawful(check_difference(&a, &b))?;
        states.push(a.difference(&b));
    }
    // The deltas alone, backwards and twice, bring a fresh replica to what all replicas know.
    let all = replicas
        .iter()
        .fold(L::default(), |all, one| all.joined(one));
    let twice = deltas.iter().rev().chain(&deltas);
    let by_deltas = twice.fold(L::default(), |all, one| all.joined(one));
    prop_assert_eq!(&by_deltas, &all);
    prop_assert_eq!(bytes(&by_deltas), bytes(&all), "equal states, equal bytes");
    states.iter().try_for_each(round_trip)
}

fn bytes<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("values encode")
}

fn round_trip<T: Serialize + DeserializeOwned + PartialEq + Debug>(
    value: &T,
) -> Result<(), TestCaseError> {
    let decoded: T = postcard::from_bytes(&bytes(value)).expect("bytes decode");
    prop_assert_eq!(&decoded, value, "postcard");
    let json = serde_json::to_string(value).expect("values encode");
    let decoded: T = serde_json::from_str(&json).expect(&json);
    prop_assert_eq!(&decoded, value, "JSON: {}", json);
    Ok(())
}

fn script() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(any::<Step>(), 1..40)
}

fn picks() -> impl Strategy<Value = Vec<[usize; 3]>> {
    prop::collection::vec(any::<[usize; 3]>(), 24)
}

/// Bytes that decode stand for a state: it can be joined, and comes back as it went.
fn harmless<L: Lattice + Serialize + DeserializeOwned>(input: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(state) = postcard::from_bytes::<L>(input) {
        round_trip(&state)?;
        lawful(check_lattice(&state, &L::default(), &state))?;
    }
    Ok(())
}

mod lattices {
    use super::*;

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
            _ => pair.update_second(|second| {
                second.update_first(|max| max.raise(i8::from_le_bytes([b])))
            }),
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
            lawful(check_difference(&states[0], &states[1]))?;
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
}

mod counters {
    use super::*;

    proptest! {
        #[test]
        fn grow_only_counters_obey_the_laws(s in script(), p in picks()) {
            obeys::<GCounter>(&s, &p, |counter, replica, by, _| {
                counter.increment(replica, by.into()).expect("small counts")
            })?;
        }

        #[test]
        fn counters_up_and_down_obey_the_laws(s in script(), p in picks()) {
            obeys::<PnCounter>(&s, &p, |counter, replica, by, up| match up % 2 {
                0 => counter.increment(replica, by.into()).expect("small counts"),
                _ => counter.decrement(replica, by.into()).expect("small counts"),
            })?;
        }

        /// Every operation counts once, whatever was delivered twice or in which order.
        #[test]
        fn the_value_is_the_sum_of_all_operations(
            ops in prop::collection::vec((0_u64..3, any::<i16>()), 0..30),
        ) {
            let mut replicas = vec![PnCounter::default(); 3];
            for &(at, by) in &ops {
                let (counter, size) = (&mut replicas[at as usize], by.unsigned_abs().into());
                let _delta = match by < 0 {
                    true => counter.decrement(ReplicaId(at), size),
                    false => counter.increment(ReplicaId(at), size),
                }
                .expect("small counts");
            }
            let around = replicas.iter().chain(replicas.iter().rev());
            let all = around.fold(PnCounter::default(), |all, one| all.joined(one));
            let sum: i128 = ops.iter().map(|&(_, by)| i128::from(by)).sum();
            prop_assert_eq!(all.value(), sum);
        }

        #[test]
        fn arbitrary_bytes_are_harmless(input in prop::collection::vec(0_u8..6, 0..24)) {
            harmless::<GCounter>(&input)?;
            harmless::<PnCounter>(&input)?;
        }
    }

    #[test]
    fn golden_bytes_and_text() {
        let mut counter = PnCounter::default();
        let _delta = counter.increment(ReplicaId(3), 1).expect("small counts");
        let _delta = counter.decrement(ReplicaId(1), 300).expect("small counts");
        assert_eq!(bytes(&counter), [1, 3, 1, 1, 1, 0xac, 2]);
        assert_eq!(
            serde_json::to_string(&counter).expect("values encode"),
            r#"{"increments":[[3,1]],"decrements":[[1,300]]}"#
        );
        assert_eq!(counter.to_string(), "-299 (+1 <3:1>, -300 <1:300>)");
    }
}
